"""AP50 against CPU-minutes: this CenterNet beside torchvision's detectors, on the same pictures, from random weights.

    make race                                       everything: 6 detectors, up to 3 learning rates of 20 minutes each
    python tools/race.py --only centernet fcos --minutes 5 --rates 1

Every detector sees the same generated scenes in the same order and is scored on the same 200 unseen ones. The clock is the
process's CPU time divided by its threads, and stops while scoring. A detector's curve is that of its best learning rate.
What was not reached is said as such. Results go to tools/race.json, the picture to runs/race.png.
"""
import argparse, json, time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

HERE = Path(__file__).resolve().parent
TORCHVISION = dict(fcos="fcos_resnet50_fpn", retinanet="retinanet_resnet50_fpn", faster_rcnn="fasterrcnn_resnet50_fpn",
                   faster_rcnn_mobilenet="fasterrcnn_mobilenet_v3_large_fpn", ssdlite_mobilenet="ssdlite320_mobilenet_v3_large")
RATES = dict(centernet=(1e-3, 2e-3, 5e-4), ssdlite_mobilenet=(.01, .03, .003), fcos=(.01, .005, .02), retinanet=(.01, .005, .02))
USUAL = (.01, .02, .005)


def corners(objects):
    "`[N, 6]` rows (y, x, h, w, class, confidence) → boxes `[N, 4]` (x1, y1, x2, y2) and labels from 1, as torchvision has them."
    y, x, h, w, c, conf = objects[objects[:, 5] > 0].unbind(1)
    keep = (h > 0) & (w > 0)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)[keep], c[keep].long() + 1


class Torchvision(torch.nn.Module):
    "One of torchvision's detectors behind the two calls of this race."
    def __init__(self, name, classes, size):
        super().__init__()
        from torchvision.models import detection
        sizes = {} if "ssd" in name else dict(min_size=size, max_size=size)
        self.net = getattr(detection, TORCHVISION[name])(weights=None, weights_backbone=None, num_classes=classes + 1,
                                                         image_mean=[0, 0, 0], image_std=[1, 1, 1], **sizes)

    def loss(self, images, objects):
        boxes = [corners(o) for o in objects]
        return sum(self.net(list(images), [dict(boxes=b, labels=l) for b, l in boxes]).values())

    def forward(self, x, return_objects=True):
        rows = torch.zeros(len(x), 100, 6)
        for row, found in zip(rows, self.net(list(x))):
            b, n = found["boxes"], len(found["boxes"][:100])
            both = torch.stack([(b[:, 1] + b[:, 3]) / 2, (b[:, 0] + b[:, 2]) / 2, b[:, 3] - b[:, 1], b[:, 2] - b[:, 0], found["labels"] - 1., found["scores"]], 1)
            row[:n] = both[:n]
        return rows


class Ours(torch.nn.Module):
    "CenterNet as lesson 05 trains it on scenes, behind the same two calls."
    def __init__(self, classes, seed):
        super().__init__()
        from centernet_nb.tinycoco import network_and_loss
        net, self.criterion = network_and_loss("scenes", classes, seed=seed)
        self.net = net.to(memory_format=torch.channels_last)

    def loss(self, images, objects):
        with torch.autocast("cpu", torch.bfloat16): points = self.net(images.contiguous(memory_format=torch.channels_last), logits=True)
        return self.criterion(points.float(), objects).mean(0).sum()

    def forward(self, x, return_objects=True): return self.net(x, return_objects=True)


def compete(name, rate, minutes, every, size, seed=0):
    "Train detector `name` at learning rate `rate`; returns its curve `[(CPU minutes, AP50), …]`."
    from centernet_nb.data import collate
    from centernet_nb.evaluate import evaluate
    from centernet_nb.shapes import SceneDataset
    torch.manual_seed(seed)
    train, test = SceneDataset(1_000_000, seed=seed, size=size), SceneDataset(200, seed=10_007, size=size)
    classes = len(train.names)
    ours = name == "centernet"
    net = Ours(classes, seed) if ours else Torchvision(name, classes, size)
    optimizer = (torch.optim.AdamW(net.parameters(), lr=rate) if ours else torch.optim.SGD(net.parameters(), lr=rate, momentum=.9, weight_decay=1e-4))
    used, curve, due, step = 0., [], every, 0
    for images, objects, *_ in DataLoader(train, 8, collate_fn=collate):
        start = time.process_time()
        net.train()
        for group in optimizer.param_groups: group["lr"] = rate * min(1, (step + 1) / 100)
        loss = net.loss(images, objects)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimizer.step()
        step += 1
        used += (time.process_time() - start) / torch.get_num_threads() / 60
        if used >= due or used >= minutes or not torch.isfinite(loss):
            curve.append((round(used, 2), round(evaluate(net.eval(), test).ap50, 4)))
            print(f"{name:24} rate {rate:g}  {used:5.1f} min  {step:5} steps  AP50 {curve[-1][1]:.3f}", flush=True)
            due += every
            if used >= minutes or not torch.isfinite(loss): return curve


def reached(curve, bar=.5): return next((t for t, ap in curve if ap >= bar), None)


def draw(results, path):
    "Every detector's best curve on one picture."
    import matplotlib.pyplot as plt
    fig, ax = plt.subplots(figsize=(6, 3.6), dpi=80)
    for name, r in results.items(): ax.plot(*zip(*[(0, 0), *r["curve"]]), marker=".", label=name)
    ax.set(xlabel="CPU minutes on two cores", ylabel="AP50, 200 unseen pictures", ylim=(0, 1))
    ax.axhline(.5, color="grey", lw=.6)
    ax.legend(fontsize=7)
    fig.tight_layout()
    path.parent.mkdir(exist_ok=True)
    fig.savefig(path)


def main():
    names = ["centernet", *TORCHVISION]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=names, choices=names)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=1, help="minutes between two scorings")
    parser.add_argument("--rates", type=int, default=3, help="learning rates tried for each")
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    path = HERE / "race.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in args.only:
        curves = {rate: compete(name, rate, args.minutes, args.every, args.size) for rate in RATES.get(name, USUAL)[:args.rates]}
        best = max(curves, key=lambda r: (-(reached(curves[r]) or 1e9), curves[r][-1][1]))
        results[name] = dict(rate=best, minutes=args.minutes, rates_tried=list(curves), curve=curves[best])
        path.with_suffix(".tmp").write_text(json.dumps(results, indent=1) + "\n")
        path.with_suffix(".tmp").replace(path)
    draw(results, HERE.parent / "runs/race.png")
    print("| detector | best rate | minutes to AP50 0.5 | last AP50 | after minutes |\n|---|---|---|---|---|")
    for name, r in results.items():
        t = reached(r["curve"])
        when = f"{t:.1f}" if t else f"not in {r['minutes']:g}"
        print(f"| {name} | {r['rate']:g} of {len(r['rates_tried'])} | {when} | {r['curve'][-1][1]:.3f} | {r['curve'][-1][0]:.1f} |")


if __name__ == "__main__": main()
