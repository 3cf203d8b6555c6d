"""What several looks at a picture bring and cost: flip test, several scales with soft-NMS.

    python benchmarks/testtime.py scenes     trains for a minute, scores 200 unseen scenes
    python benchmarks/testtime.py icdar      text model of the package, 60 photos of ICDAR val
    python benchmarks/testtime.py --table    the table of what was measured

One network each, the same pictures for every way of looking, one core; the cost is processor
time a picture, as a multiple of one look. Results stand in benchmarks/testtime.json, from
which the page `toolbox/testtime` prints its table."""

import argparse
import time
import torch
from common import HERE, RUNS, keep, kept, machine
from centernet_nb.evaluate import evaluate, predict
from centernet_nb.network import load_model
from centernet_nb.testtime import FlipTest, MultiScale

RESULTS, MODEL = HERE / "testtime.json", RUNS / "testtime/scenes.safetensors"
WAYS = {
    "one look": lambda net: net,
    "flip test": FlipTest,
    "scales 0.75, 1, 1.25": MultiScale,
    "both": lambda net: MultiScale(FlipTest(net)),
}


def scenes():
    "A network of 300 steps, and scenes that it has not seen"
    from centernet_nb.loss import CenterNetLoss
    from centernet_nb.modelfile import save_model
    from centernet_nb.network import CenterNet
    from centernet_nb.shapes import SceneDataset
    from centernet_nb.train import train

    if not MODEL.exists():
        pictures = SceneDataset(600, 21, 128, cache=True)
        kwargs = dict(depth=18, stages=3, skips=True)
        net = CenterNet(False, names=pictures.names, backbone_kwargs=kwargs)
        how = dict(steps=300, batch_size=8, lr=2e-3, ema=0.97, progress=False)
        net = train(pictures, net=net, criterion=CenterNetLoss(from_logits=True), **how)
        MODEL.parent.mkdir(parents=True, exist_ok=True)
        save_model(net, MODEL)
    return load_model(MODEL), SceneDataset(200, 22, 128, cache=True)


def icdar():
    "The text detector of the package, and the val photos as lesson 06 scores them"
    from centernet_nb.textdata import CocoText, find_scene_text

    found = find_scene_text()
    if found is None:
        raise SystemExit("CENTERNET_NB_DATA names no folder with data/icdar2015")
    net = load_model("text")
    return net, CocoText(*found, "val", zoom=net.labels.get("zoom", 2.0))


def measure(on):
    "Each way of looking at the pictures `on`: AP, AP50, seconds a picture"
    net, data = dict(scenes=scenes, icdar=icdar)[on]()
    cached = [data[i] for i in range(len(data))]  # loading costs the same for all: left out
    rows = {}
    for name, way in WAYS.items():
        began = time.process_time()
        found = predict(way(net), cached, batch_size=1)
        seconds = (time.process_time() - began) / len(data)
        result = evaluate(net, data, predictions=found)
        rows[name] = dict(ap=result.ap, ap50=result.ap50, seconds=seconds)
        print(f"{name}: {result}, {1e3 * seconds:.0f} ms a picture", flush=True)
    return dict(rows=rows, pictures=len(data), machine=machine())


def table(results):
    "Markdown, a line a way of looking"
    ons = [on for on in ("scenes", "icdar") if on in results]
    head = {"scenes": "unseen scenes", "icdar": "ICDAR 2015 val"}
    cells = [f"{head[on]}: {word}" for on in ons for word in ("AP", "AP50", "work")]
    lines = ["| " + " | ".join(["looks", *cells]) + " |", "|:--|" + "--:|" * len(cells)]
    for name in WAYS:
        values = []
        for on in ons:
            row, one = (results[on]["rows"][n] for n in (name, "one look"))
            values += [f"{row['ap']:.3f}", f"{row['ap50']:.3f}"]
            values += [f"{row['seconds'] / one['seconds']:.1f} ×"]
        lines.append("| " + " | ".join([name, *values]) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("on", nargs="*", choices=["scenes", "icdar"])
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = kept(RESULTS, {})
    for on in args.on:
        results[on] = measure(on)
        keep(RESULTS, results)
    print(table(results))


if __name__ == "__main__":
    main()
