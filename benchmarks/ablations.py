"""Our ablations: one thing changed at a time, scored on generated scenes held out of training.

    make ablations                                     all runs that are not kept yet
    python benchmarks/ablations.py --table             the table of the runs there are
    python benchmarks/ablations.py --one "stride 8" 1  one run, printed and not kept

Every run has the same number of steps, one core and float32; three seeds change the weights
and the order of the pictures. A run's CPU-minutes are process time of its training, pictures
made beforehand. Two runs go side by side, each is written to benchmarks/ablations.json as it
ends, and only what is missing there is run. Size, rate and steps were chosen on other scenes
and seeds than those reported, so that the baseline is far from both ends of the scale. All
48 runs together are under half an hour of two cores.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache, partial
from multiprocessing import get_context
import numpy as np
import torch
from common import HERE, RUNS, keep, kept

RESULTS, SCENES = HERE / "ablations.json", RUNS / "ablations"
SETTINGS = dict(size=64, fitted=96, pictures=1000, held=200)  # "fitted": side of 4:3 and 2:1
SETTINGS |= dict(steps=200, batch_size=8, lr=2e-3, ema=0.97, warmup=20)
SEEDS, TRAIN, HELD = (0, 1, 2), 21, 22  # seeds of runs; series of scenes to train and score on
WIDE = dict(gaussian="fixed", smooth_kernel_size=5)  # Gaussians that meet where it is crowded
VARIANTS = {
    "baseline": {},
    "without the offset": dict(loss=dict(l_offset_lambda=0), offset=False),
    "without the bias": dict(head=dict(prior=0.5)),
    "fixed Gaussian, 3×3": dict(loss=dict(gaussian="fixed")),
    "elliptic Gaussian": dict(loss=dict(gaussian="ellipse")),
    "λ_size 0.01": dict(loss=dict(l_size_lambda=0.01)),
    "λ_size 1": dict(loss=dict(l_size_lambda=1)),
    "stride 8": dict(stride=8),
    "ResNet-34": dict(depth=34),
    "crowded: max": dict(scenes="crowded", loss=WIDE),
    "crowded: sum": dict(scenes="crowded", loss=WIDE, overlap="sum"),
    "crowded: sum, cut off at 1": dict(scenes="crowded", loss=WIDE, overlap="cut"),
    "4:3 letterboxed": dict(scenes="4:3"),
    "4:3 squashed": dict(scenes="4:3", squash=True),
    "2:1 letterboxed": dict(scenes="2:1"),
    "2:1 squashed": dict(scenes="2:1", squash=True),
}
SHAPES = {"4:3": (96, 128), "2:1": (64, 128)}  # (H, W) of the scenes before they are fitted


class Halved(torch.utils.data.Dataset):
    "`dataset` with the map of what is ignored at stride 8."

    def __init__(self, dataset):
        self.dataset, self.names = dataset, dataset.names

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        image, objects, ignore = self.dataset[i]
        return image, objects, ignore[::2, ::2]


def crowded(n, seed, size):
    "`n` scenes in which twice as many shapes are tried, all of one class."
    from centernet_nb.shapes import SceneDataset, make_scene

    class Crowded(SceneDataset):
        def scene(self, i):
            if i not in self._kept:
                picture, boxes, classes, seen = make_scene(
                    self.seed, i, self.size, objects=(14, 24)
                )
                self._kept[i] = picture, boxes, 0 * classes, seen
            return self._kept[i]

    data = Crowded(n, seed, size, cache=True)
    data.names = ["shape"]
    return data


@lru_cache(maxsize=None)
def scenes(kind, n, seed, squash=False):
    "`n` generated scenes of series `seed`, ready made."
    from centernet_nb.data import CocoObjects
    from centernet_nb.shapes import SceneDataset, generate_scenes

    size = SETTINGS["fitted" if kind in SHAPES else "size"]
    if kind in SHAPES:
        folder = SCENES / f"{kind.replace(':', 'x')}-{seed}-{n}"
        file = generate_scenes(folder, n, seed, SHAPES[kind])
        data = CocoObjects(folder, file, size=size, squash=squash, cache=True)
    else:
        make = crowded if kind == "crowded" else partial(SceneDataset, cache=True)
        data = make(n, seed, size)
    for i in range(n):
        data[i]
    return data


def added_up(loss, overlap):
    "Targets in which the Gaussians of several objects add up, cut off at 1 or not."
    from centernet_nb.convert import ObjectsToPoints

    def targets(objects):
        whole, (b, n, _) = ObjectsToPoints(SETTINGS["size"] // 4, 1, **loss), objects.shape
        points = whole(objects)
        heat = (
            whole(objects.reshape(b * n, 1, 6))[:, :1]
            .reshape(b, n, 1, *points.shape[2:])
            .sum(1)
        )
        points[:, :1] = heat.clamp(max=1) if overlap == "cut" else heat
        return points

    return targets


def network(classes, depth=18, stride=4, head={}):
    "Lesson 05's network for scenes; at stride 8 it is upscaled once less."
    from torch import nn
    from centernet_nb.backbone import UpscaleTwiceLayer
    from centernet_nb.network import CenterNet, ScaleObjects

    body = dict(depth=depth, stages=3, skips=True)
    net = CenterNet(
        pretrained=False, head_kwargs=dict(c_classes=classes, **head), backbone_kwargs=body
    )
    if stride == 8:
        net.backbone.up = nn.ModuleList([UpscaleTwiceLayer(256, 64)])
        net.backbone.lateral = nn.ModuleList([nn.Conv2d(128, 64, 1)])
        net.scale_objects = ScaleObjects(8)
    return net


def middle_of_cell(net):
    "Let `net` answer every offset by 0.5: all centres in the middle of their cells."
    last = net.head.offset[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, 0.5)


def run(name, seed):
    "Train and score one variant; what is kept of it."
    from centernet_nb.evaluate import evaluate
    from centernet_nb.loss import CenterNetLoss
    from centernet_nb.train import train

    torch.set_num_threads(1)
    how, s = VARIANTS[name], SETTINGS
    kind, stride = how.get("scenes", "plain"), how.get("stride", 4)
    data = scenes(kind, s["pictures"], TRAIN, how.get("squash", False))
    held = scenes(kind, s["held"], HELD, how.get("squash", False))
    loss = {"gaussian": "adaptive", **how.get("loss", {})}
    if "overlap" in how:
        loss = dict(obj_to_points=added_up(how["loss"], how["overlap"]))
    torch.manual_seed(seed)
    net = network(len(data.names), how.get("depth", 18), stride, how.get("head", {}))
    options = {k: s[k] for k in ("steps", "batch_size", "lr", "ema", "warmup")}
    options |= dict(
        criterion=CenterNetLoss(from_logits=True, r_scale=stride, **loss), seed=seed
    )
    start = time.process_time()
    train(Halved(data) if stride == 8 else data, net=net, amp="no", progress=False, **options)
    minutes = (time.process_time() - start) / 60
    if not how.get("offset", True):
        middle_of_cell(net)
    result = evaluate(net, held)
    return dict(ap=round(result.ap, 4), ap50=round(result.ap50, 4), minutes=round(minutes, 3))


def meeting(data, **loss):
    "Share of objects whose Gaussian meets another; share of centres another raises above 1."
    from centernet_nb.convert import ObjectsToPoints

    whole, met, raised = (
        ObjectsToPoints(SETTINGS["size"] // 4, len(data.names), **loss),
        [],
        [],
    )
    for _, objects, _ in (data[i] for i in range(len(data))):
        cells = torch.cat([objects[:, :4] / 4, objects[:, 4:]], 1)
        heat = whole(cells[:, None])[:, :-4].flatten(1)  # each object alone
        others = torch.stack(
            [torch.cat([heat[:i], heat[i + 1 :]]).sum(0) for i in range(len(heat))]
        )
        met += ((heat > 0) & (others > 0)).any(1).tolist()
        raised += ((heat == 1) & (others > 1e-6)).any(1).tolist()
    return float(np.mean(met)), float(np.mean(raised))


def shares():
    "How often Gaussians meet, in the crowded scenes and in the plain ones."
    found, adaptive = {}, dict(gaussian="adaptive")
    rows = (
        ("plain", "adaptive", adaptive),
        ("crowded", "adaptive", adaptive),
        ("crowded", "5×5", WIDE),
    )
    for kind, name, loss in rows:
        data = scenes(kind, 100, TRAIN)
        objects = sum(len(data[i][1]) for i in range(100)) / 100
        met, raised = (round(v, 3) for v in meeting(data, **loss))
        found[f"{kind}, {name}"] = dict(objects=round(objects, 1), meet=met, raised=raised)
    return found


def results_so_far():
    "What the results file holds; nothing if it was made under other settings."
    old = kept(RESULTS, {})
    return old if old.get("settings") == SETTINGS else dict(settings=SETTINGS, runs={})


def store(results):
    "Write the results file, its runs in the order of `VARIANTS`, and the table made of them."
    order = [f"{name}/{seed}" for name in VARIANTS for seed in SEEDS]
    results["runs"] = {key: results["runs"][key] for key in order if key in results["runs"]}
    results["table"] = table(results["runs"])
    keep(RESULTS, results)


def table(runs):
    "Mean of each variant's seeds, ± half of largest minus smallest, as Markdown."
    lines = ["| variant | seeds | AP | AP50 | CPU-minutes |", "|:--|--:|--:|--:|--:|"]
    for name in VARIANTS:
        found = [runs[f"{name}/{s}"] for s in SEEDS if f"{name}/{s}" in runs]
        if found:
            ap, ap50, minutes = ([r[k] for r in found] for k in ("ap", "ap50", "minutes"))
            means = [f"{np.mean(v):.3f} ± {np.ptp(v) / 2:.3f}" for v in (ap, ap50)]
            row = [name, f"{len(found)}", *means, f"{np.mean(minutes):.2f}"]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def all_runs(jobs=2):
    "What is missing, in order of the seeds, `jobs` side by side in processes of their own."
    results = results_so_far()
    if "shares" not in results:
        results["shares"] = shares()
        store(results)
    for kind in SHAPES:  # before two processes want to write the same pictures
        for n, series in ((SETTINGS["pictures"], TRAIN), (SETTINGS["held"], HELD)):
            scenes(kind, n, series)
    keys = [(name, seed) for seed in SEEDS for name in VARIANTS]
    keys = [(name, seed) for name, seed in keys if f"{name}/{seed}" not in results["runs"]]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        going = {pool.submit(run, *key): "{}/{}".format(*key) for key in keys}
        for done in as_completed(going):
            results["runs"][going[done]] = done.result()
            store(results)
            print(f"{going[done]}: {done.result()}", flush=True)
    return results


def main():
    form = argparse.RawDescriptionHelpFormatter
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    ask.add_argument("--one", nargs=2, metavar=("VARIANT", "SEED"), help="one run, not kept")
    ask.add_argument("--table", action="store_true", help="the table of the runs there are")
    asked = ask.parse_args()
    if asked.one:
        return print(json.dumps(run(asked.one[0], int(asked.one[1]))))
    results = results_so_far() if asked.table else all_runs()
    meet = json.dumps(results.get("shares", {}), ensure_ascii=False)
    print(f"\n{table(results['runs'])}\n\n{meet}")


if __name__ == "__main__":
    main()
