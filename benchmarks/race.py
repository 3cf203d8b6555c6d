"""AP50 against CPU-minutes: this CenterNet beside torchvision's detectors, on the same
pictures.

    make race    both courses; what is done already is not done again
    python benchmarks/race.py scenes --only centernet fcos
    python benchmarks/race.py text --minutes 2

Two courses. `scenes`: generated pictures, random weights, torchvision's five detectors as they
come. `text`: photos of ICDAR 2015 with generated words among them, where every detector starts
from the same ResNet-18 trunk of ImageNet weights.

Every run has one core, and a CPU-minute is a minute of that core; the clock stops while
pictures are loaded and while it is scored. All see the same pictures in the same order, with
the same autocast, memory layout, warm-up and clipping, and are scored in float32 on the same
held-out ones. Three learning rates run to the end, and the best of them counts. What was not
reached is said as such. Runs are kept in runs/race and go on where they stopped; results stand
in benchmarks/race.json. Both courses together are about four hours of two cores."""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import torch
from common import HERE, RUNS, chosen, keep, kept

FOLDER, RESULTS = RUNS / "race", HERE / "race.json"
FIVE = dict(
    fcos="fcos_resnet50_fpn",
    retinanet="retinanet_resnet50_fpn",
    faster_rcnn="fasterrcnn_resnet50_fpn",
    faster_rcnn_mobilenet="fasterrcnn_mobilenet_v3_large_fpn",
    ssdlite_mobilenet="ssdlite320_mobilenet_v3_large",
)
SGD = (0.01, 0.02, 0.005)  # torchvision's recipes, at eight pictures a step
COURSES = dict(
    scenes=dict(
        minutes=20,
        size=256,
        marks=(4, 8, 14, 20),
        ours=(1, 1.5, 2, 2.5, 3, 4, 6, 8),
        rates=dict(
            centernet=(1e-3, 2e-3, 5e-4),
            fcos=SGD,
            retinanet=SGD,
            faster_rcnn=SGD,
            faster_rcnn_mobilenet=SGD,
            ssdlite_mobilenet=(0.01, 0.03, 0.003),
        ),
    ),
    text=dict(
        minutes=8,
        size=320,
        marks=(2, 4, 8),
        ours=(2, 4, 8),
        rates=dict(
            centernet=(6e-4, 3e-4, 1.5e-4),
            fcos=(0.01, 0.005, 0.0025),
            retinanet=SGD,
            faster_rcnn=SGD,
        ),
    ),
)


def corners(objects):
    """`[N, 6]` rows (y, x, h, w, class, confidence) → boxes `[N, 4]` (x1, y1, x2, y2) and
    labels from 1, as torchvision has them."""
    y, x, h, w, c, conf = objects[objects[:, 5] > 0].unbind(1)
    keep = (h > 0) & (w > 0)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)[keep], c[
        keep
    ].long() + 1


class Torchvision(torch.nn.Module):
    """One of torchvision's detectors behind the two calls of this race; with a `trunk`, its
    ResNet-18 form started from those weights."""

    def __init__(self, name, classes, size, trunk=None):
        super().__init__()
        from torchvision.models import detection

        self.fixed, how = (
            "ssd" in name,
            dict(num_classes=classes + 1, image_mean=[0, 0, 0], image_std=[1, 1, 1]),
        )
        if trunk:
            self.net = self.on_trunk(name, trunk, how)
        else:
            self.net = getattr(detection, FIVE[name])(
                weights=None, weights_backbone=None, **how
            )

    def on_trunk(self, name, trunk, how):
        from torchvision.models import detection
        from torchvision.ops.feature_pyramid_network import LastLevelP6P7
        from centernet_nb.checkpoint import load_tensors

        how, classes = (
            dict(how),
            dict(
                fcos=detection.FCOS,
                retinanet=detection.RetinaNet,
                faster_rcnn=detection.FasterRCNN,
            ),
        )
        pyramid = (
            {}
            if name == "faster_rcnn"
            else dict(returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
        )
        if name == "retinanet":
            from torchvision.models.detection.retinanet import _default_anchorgen

            how["anchor_generator"] = _default_anchorgen()
        body = detection.backbone_utils.resnet_fpn_backbone(
            backbone_name="resnet18",
            weights=None,
            norm_layer=torch.nn.BatchNorm2d,
            trainable_layers=5,
            **pyramid,
        )
        body.body.load_state_dict(
            load_tensors(trunk), strict=False
        )  # layer4, which the file lacks, starts at random
        return classes[name](body, **how)

    def at_its_size(self, images):
        "No detector but SSD, whose anchors know one size only, resizes its input."
        if not self.fixed:
            self.net.transform.min_size, self.net.transform.max_size = (
                (min(images.shape[-2:]),),
                max(images.shape[-2:]),
            )
        return list(images)

    def loss(self, images, objects):
        boxes = [corners(o) for o in objects]
        with torch.autocast("cpu", torch.bfloat16):
            losses = self.net(
                self.at_its_size(images), [dict(boxes=b, labels=l) for b, l in boxes]
            )
        return sum(l.float() for l in losses.values())

    def forward(self, x, return_objects=True):
        rows = torch.zeros(len(x), 100, 6)
        for row, found in zip(rows, self.net(self.at_its_size(x))):
            b, n = found["boxes"], len(found["boxes"][:100])
            both = torch.stack(
                [
                    (b[:, 1] + b[:, 3]) / 2,
                    (b[:, 0] + b[:, 2]) / 2,
                    b[:, 3] - b[:, 1],
                    b[:, 2] - b[:, 0],
                    found["labels"] - 1.0,
                    found["scores"],
                ],
                1,
            )
            row[:n] = both[:n]
        return rows


class Ours(torch.nn.Module):
    "CenterNet as lessons 05 (scenes) and 06 (text) train it, behind the same two calls."

    def __init__(self, course, classes, trunk=None):
        super().__init__()
        from centernet_nb.cocotext import small_net
        from centernet_nb.loss import CenterNetLoss
        from centernet_nb.tinycoco import network_and_loss

        self.net, self.criterion = (
            network_and_loss("scenes", classes)
            if course == "scenes"
            else (small_net(trunk), CenterNetLoss(from_logits=True, gaussian="ellipse"))
        )

    def loss(self, images, objects, ignore):
        with torch.autocast("cpu", torch.bfloat16):
            points = self.net(images, logits=True)
        return self.criterion(points.float(), objects, ignore).mean(0).sum()

    def forward(self, x, return_objects=True):
        return self.net(x, return_objects=True)


def contestant(course, name):
    "Detector `name`, what it trains on and what it is scored on."
    from centernet_nb.cocotext import find_scene_text, text_data
    from centernet_nb.shapes import SceneDataset

    torch.manual_seed(0)
    size, trunk = COURSES[course]["size"], None
    if course == "scenes":
        train, test = (
            SceneDataset(3000, seed=0, size=size, cache=True),
            SceneDataset(100, seed=10_007, size=size, cache=True),
        )
    else:
        if not (found := find_scene_text()):
            sys.exit(
                "the course of text needs the photos of ICDAR 2015: set CENTERNET_NB_DATA"
            )
        train, test = text_data("real", *found, held=24)
        trunk = Path(os.environ["CENTERNET_NB_DATA"]) / "weights/resnet18_trunk_imagenet.pth"
    classes = len(train.names)
    net = (
        Ours(course, classes, trunk)
        if name == "centernet"
        else Torchvision(name, classes, size, trunk)
    )
    return net.to(memory_format=torch.channels_last), train, test


def batch(data, step, size=8):
    "Batch `step`: the same for every detector."
    from centernet_nb.data import collate
    from centernet_nb.train import seeded

    with seeded("race", step):
        images, *rest = collate(
            [data[i % len(data)] for i in range(step * size, (step + 1) * size)]
        )
    return images.contiguous(memory_format=torch.channels_last), *rest


def run(course, name, rate, until):
    """Train detector `name` at learning rate `rate` until it has used so many CPU-minutes,
    from where it stopped; its curve is kept beside its weights."""
    from centernet_nb.evaluate import evaluate

    torch.set_num_threads(1)
    net, data, test = contestant(course, name)
    ours, file = name == "centernet", FOLDER / f"{course}-{name}-{rate:g}.pth"
    optimizer = (
        torch.optim.AdamW(net.parameters(), lr=rate)
        if ours
        else torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    )
    state = dict(used=0.0, step=0, curve=[], loss=[])
    if file.exists():
        state = torch.load(file)
        net.load_state_dict(state.pop("net"))
        optimizer.load_state_dict(state.pop("optimizer"))
    for mark in [
        m for m in COURSES[course]["ours" if ours else "marks"] if state["used"] < m <= until
    ]:
        losses = []
        while state["used"] < mark:
            images, objects, ignore = batch(data, state["step"])
            start = time.process_time()
            net.train()
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, 0.01 + state["used"])  # warm-up: the first minute
            loss = net.loss(images, objects, *[ignore] * ours)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 10)
            optimizer.step()
            losses.append(float(loss.detach()))
            state["step"] += 1
            state["used"] += (time.process_time() - start) / 60
        alive = all(l == l and abs(l) < float("inf") for l in losses)
        ap50 = evaluate(net.eval(), test).ap50 if alive else 0.0
        state["curve"].append(
            (
                round(state["used"], 2),
                round(ap50, 4),
                state["step"],
                round(sum(losses) / len(losses), 4),
            )
        )
        print(
            f"{course} {name:22} rate {rate:g}  {state['used']:5.1f} CPU-min  "
            f"{state['step']:5} steps  loss {state['curve'][-1][3]:.3f}  AP50 {ap50:.3f}",
            flush=True,
        )
        torch.save(
            {**state, "net": net.state_dict(), "optimizer": optimizer.state_dict()},
            part := file.with_suffix(".tmp"),
        )
        part.replace(file)


def start(course, name, rate, until):
    "`run` in a process of its own, on one core; returns its curve so far."
    file = FOLDER / f"{course}-{name}-{rate:g}.pth"
    subprocess.run(
        [sys.executable, __file__, course, "--run", name, str(rate), str(until)],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    return torch.load(file, map_location="cpu")["curve"]


def write(course, name, curves):
    "Write what was found into race.json: every curve, the best one's rate first."
    best_first = sorted(curves.items(), key=lambda rc: better(rc[1]), reverse=True)
    results = kept(RESULTS, {})
    results.setdefault(course, {})[name] = {f"{rate:g}": curve for rate, curve in best_first}
    keep(RESULTS, results, indent=None)


def better(curve):
    "What the best learning rate has most of: early at AP50 0.5; where nothing is, area."
    return -(reached(curve) or 1e9), area(curve, curve[-1][0])


def race(course, names, minutes):
    """Every rate of all `names` to the end; two runs, or as many as there are cores, side by
    side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {
            n: {
                r: pool.submit(start, course, n, r, minutes)
                for r in COURSES[course]["rates"][n]
            }
            for n in names
        }
        for n in names:
            write(course, n, {r: run.result() for r, run in runs[n].items()})


def best(curves):
    "The curve of the best learning rate of one detector, of what race.json holds."
    return next(iter(curves.values()))


def reached(curve, bar=0.5):
    """The CPU-minute at which `curve` crosses `bar` (a straight line between two scorings), or
    None."""
    for (t0, a0, *_), (t1, a1, *_) in zip([(0, 0), *curve], curve):
        if a1 >= bar:
            return t0 + (bar - a0) / (a1 - a0) * (t1 - t0)


def area(curve, minutes):
    "Mean AP50 over the first `minutes`: the area under the curve, by its length."
    points = [(0, 0), *[p[:2] for p in curve]]
    return (
        sum((t1 - t0) * (a0 + a1) / 2 for (t0, a0), (t1, a1) in zip(points, points[1:]))
        / minutes
    )


def table(course, results):
    "Markdown: every detector's best rate, its minutes to AP50 0.5, its end, its area."
    lines = [
        f"| {course} | best rate of | CPU-min to AP50 0.5 | last AP50 | at CPU-min, steps | "
        f"mean AP50 over the run |",
        "|---|---|---|---|---|---|",
    ]
    for name, curves in results.items():
        rate, curve = next(iter(curves)), best(curves)
        t = reached(curve)
        lines.append(
            f"| {name} | {rate} of {', '.join(sorted(curves, key=float))} | "
            f"{f'{t:.1f}' if t else f'not in {curve[-1][0]:.0f}'} | {curve[-1][1]:.3f} | "
            f"{curve[-1][0]:.1f}, {curve[-1][2]} | {area(curve, curve[-1][0]):.3f} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "courses", nargs="*", help=f"which of {', '.join(COURSES)} (default: both)"
    )
    parser.add_argument("--only", nargs="*", help="some of the detectors")
    parser.add_argument(
        "--minutes",
        type=float,
        help="CPU-minutes of each run (default: 20 for scenes, 8 for text)",
    )
    parser.add_argument(
        "--run",
        nargs=3,
        metavar=("NAME", "RATE", "UNTIL"),
        help="one run; used by the race itself",
    )
    args = parser.parse_args()
    courses = chosen(args.courses, COURSES, "course")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if args.run:
        return run(args.courses[0], args.run[0], float(args.run[1]), float(args.run[2]))
    for course in courses:
        race(
            course,
            args.only or list(COURSES[course]["rates"]),
            args.minutes or COURSES[course]["minutes"],
        )
        print("\n" + table(course, kept(RESULTS, {})[course]) + "\n")


if __name__ == "__main__":
    main()
