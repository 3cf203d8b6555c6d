"""The package's text detector beside RapidOCR (PP-OCR's detector, classifier and recogniser
under ONNX Runtime), on the same photos

    python benchmarks/rivals.py --folder FOLDER --set val      (as for text.py)
    python benchmarks/rivals.py --folder FOLDER --set train --photos 20
    python benchmarks/rivals.py --folder FOLDER --set val --card centernet_nb/models/text.md

All run in one process of a side environment (made in runs/rivals, or in --environment), which
has RapidOCR and borrows torch, numpy and ONNX Runtime from this one; on one core, in turns.
The results of a whole set go into rivals.json, and as a table into the card, if one is named;
with --stored nothing is measured, and the table is of what rivals.json has.

Words: IoU 0.5 with a readable word. RapidOCR's detector finds lines, so its whole pipeline,
which parts lines into words, stands beside. Lines: words, and whatever a contestant found, are
joined by one rule, `joined`; unreadable words belong to their line. Pixels: share of the
readable words' area that is covered, and of the area claimed, what is text; polygons where
there are some. Words that cannot be read or are under 1/1024 of the photo count neither way.
`own` is the threshold that a contestant comes with, `best` the one at which its F1 is highest
on these photos, chosen alike for all. Seconds are the processor's for a photo, from its file
to what is found, the median of twenty."""

import argparse
import os
import statistics
import subprocess
import sys
import sysconfig
from pathlib import Path
import numpy as np
from common import HERE, ROOT, RUNS, clock, keep, kept, machine
from text import arguments, into_card, photos_of

TABLE = HERE / "rivals.json"
WHEEL = "rapidocr>=3.10,<4"  # its models come inside
THRESHOLDS = np.arange(0.05, 0.96, 0.05)


def environment(folder):
    "The Python of an environment in `folder` with RapidOCR; the rest is this environment's"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "ready").exists():
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True
        )
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        subprocess.run([*pip, WHEEL], check=True)
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        its = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
        lines = sysconfig.get_path("purelib") + "\n"
        Path(its.stdout.strip(), "borrowed.pth").write_text(lines, encoding="utf-8")
        (folder / "ready").touch()
    return python


class Ours:
    "`detect` with the model's defaults, which is what `centernet_detect` calls"

    def __init__(self, model):
        from centernet_nb.modelfile import find_model
        from centernet_nb.network import load_model

        self.name = f"`{model}` of this package"
        self.net, self.bytes = load_model(model), find_model(model).stat().st_size
        self.own = self.net.labels["min_confidence"]

    def run(self, path):
        from centernet_nb.detect import detect

        return detect(self.net, path)

    def found(self, path):
        "Words and lines, each a list of (polygon, confidence), faint ones too"
        from centernet_nb.boxes import to_corners
        from centernet_nb.detect import detect

        found = detect(self.net, path, min_confidence=float(THRESHOLDS[0]))
        rows = [
            (np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]), p)
            for (x1, y1, x2, y2), p in zip(to_corners(found).tolist(), found[:, 5].tolist())
        ]
        return rows, rows


class RapidDetector:
    "RapidOCR's detector alone: lines"

    name, own, how = "RapidOCR, detector", 0.5, dict(use_cls=False, use_rec=False)
    models = ("*det*.onnx",)

    def __init__(self):
        import cv2
        import rapidocr

        cv2.setNumThreads(1)
        one = {f"EngineConfig.onnxruntime.{k}_op_num_threads": 1 for k in ("intra", "inter")}
        self.ocr = rapidocr.RapidOCR(params={**one, "Global.log_level": "error"})
        folder = Path(rapidocr.__file__).parent / "models"
        self.bytes = sum(p.stat().st_size for m in self.models for p in folder.glob(m))

    def run(self, path, **how):
        return self.ocr(str(path), box_thresh=0.5, **{**self.how, **how})

    def found(self, path):
        "Its lines, taken for words, too"
        found = self.ocr(str(path), box_thresh=float(THRESHOLDS[0]), **self.how)
        if found.boxes is None:
            return [], []
        rows = [*zip(found.boxes, map(float, found.scores))]
        return rows, rows


class RapidPipeline(RapidDetector):
    "RapidOCR as it comes: detector, classifier of turned lines, recogniser; lines or words"

    name, models = "RapidOCR, pipeline", ("*.onnx",)
    how = dict(use_cls=True, use_rec=True, return_word_box=True)

    def found(self, path):
        "Its words, each with the mean score of its line, by which it drops lines; its lines"
        found = self.run(path, text_score=0.0)
        if found.boxes is None:
            return [], []
        rows = [(line, statistics.mean(p for _, p, _ in line)) for line in found.word_results]
        words = [(np.array(box), float(p)) for line, p in rows for _, _, box in line]
        return words, [*zip(found.boxes, map(float, found.scores))]


def corners(polygons):
    "[N, 4] x1, y1, x2, y2"
    boxes = [(*np.min(p, 0), *np.max(p, 0)) for p in polygons]
    return np.array(boxes, float).reshape(-1, 4)


def joined(boxes):
    """Lists of indices of `boxes` that make a line: two belong together if half of the lower
    one is level with the other, neither is twice as high, and the gap is under 0.8 heights"""
    groups = [{i} for i in range(len(boxes))]
    for i, (a1, b1, c1, d1) in enumerate(boxes):
        for j, (a2, b2, c2, d2) in enumerate(boxes[:i]):
            h, k = d1 - b1, d2 - b2
            level = min(d1, d2) - max(b1, b2) >= 0.5 * min(h, k) and max(h, k) <= 2 * min(h, k)
            if level and max(a1, a2) - min(c1, c2) < 0.4 * (h + k):
                one, other = (next(g for g in groups if n in g) for n in (i, j))
                if one is not other:
                    one |= other
                    groups.remove(other)
    return [sorted(g) for g in groups]


def joined_corners(boxes):
    "[n, 4] of the lines"
    groups = [boxes[g] for g in joined(boxes)]
    return np.array([(*g[:, :2].min(0), *g[:, 2:].max(0)) for g in groups]).reshape(-1, 4)


class Photos:
    "What `evaluate` asks of a dataset, with words or lines as truth, in the photos' pixels"

    cat_ids, names = [1], ["text"]

    def __init__(self, photos, lines=False):
        from centernet_nb.coco import coco_of

        self.image_ids, rows = photos.image_ids, []
        for i, image in enumerate(self.image_ids):
            polygons, labels = photos.polygons(i)
            boxes, ignored = corners(polygons), np.array(labels) < 0
            groups = joined(boxes) if lines else [[k] for k in range(len(boxes))]
            for g in groups:
                x1, y1, x2, y2 = *boxes[g, :2].min(0), *boxes[g, 2:].max(0)
                box, out = [x1, y1, x2 - x1, y2 - y1], int(ignored[g].all())
                rows.append(dict(image_id=image, bbox=box, area=box[2] * box[3], iscrowd=out))
        rows = [
            dict(r, id=k, category_id=1, ignore=r["iscrowd"]) for k, r in enumerate(rows, 1)
        ]
        images = [photos.coco.imgs[i] for i in self.image_ids]
        self.coco = coco_of(images, [dict(id=1, name="text")], rows)

    def __len__(self):
        return len(self.image_ids)

    def to_original(self, i, objects):
        return objects


def scores_of(truth, found, threshold, lines=False):
    "(precision, recall, F1) of what is found of each photo with at least this confidence"
    import torch
    from centernet_nb.boxes import to_rows
    from centernet_nb.evaluate import evaluate
    from centernet_nb.scores import scores_at

    rows = []
    for boxes in found:
        kept = corners([b for b, p in boxes if p >= threshold])
        kept = torch.from_numpy(joined_corners(kept) if lines else kept)
        rows.append(
            torch.cat([to_rows(kept), torch.zeros(len(kept), 1), torch.ones(len(kept), 1)], 1)
        )
    return scores_at(evaluate(None, truth, predictions=rows, max_objects=1000), 0.5)


def both_rules(truth, found, own, lines=False):
    "Precision, recall and F1 at the own threshold; the best F1 and its threshold"
    each = {float(t): scores_of(truth, found, t, lines)[2] for t in THRESHOLDS}
    best = max(each, key=each.get)
    return dict(own=scores_of(truth, found, own, lines), best=(each[best], round(best, 2)))


def painted(hw, polygons):
    "bool [H, W]: inside one of them"
    from PIL import Image, ImageDraw

    mask = Image.new("1", hw[::-1])
    for p in polygons:
        ImageDraw.Draw(mask).polygon([tuple(map(float, xy)) for xy in p], fill=1)
    return np.array(mask)


def pixels(photos, found, own):
    "(precision, recall, F1) of the area"
    total = np.zeros(3)
    for i, boxes in enumerate(found):
        info = photos.coco.imgs[photos.image_ids[i]]
        hw, (polygons, labels) = (info["height"], info["width"]), photos.polygons(i)
        word, other = (
            painted(hw, [p for p, c in zip(polygons, labels) if (c < 0) == out])
            for out in (False, True)
        )
        claimed = painted(hw, [b for b, p in boxes if p >= own]) & ~(other & ~word)
        total += (claimed & word).sum(), claimed.sum(), word.sum()
    both, claimed, word = total
    precision, recall = both / max(1, claimed), both / max(1, word)
    return precision, recall, 2 * both / max(1, claimed + word)


def seconds(contestants, paths):
    "Median processor seconds a photo of each, run in turns; the first photo warms up"
    for c in contestants:
        c.run(paths[0])
    times = [
        [clock(lambda c=c, p=p: c.run(p), processor=True) for c in contestants] for p in paths
    ]
    return [statistics.median(column) for column in zip(*times)]


def row_of(c, photos, paths, time):
    "What is kept of a contestant"
    words, lines = zip(*map(c.found, paths))
    return dict(
        name=c.name,
        threshold=c.own,
        words=both_rules(Photos(photos), words, c.own),
        lines=both_rules(Photos(photos, lines=True), lines, c.own, True),
        pixels=pixels(photos, lines, c.own),
        seconds=time,
        megabytes=c.bytes / 1e6,
    )


def line_of(row):
    "A contestant's line of the table"
    three = lambda p, r, f: f"{f:.2f} ({p:.2f}, {r:.2f})"
    cells = [row["name"]]
    for what in ("words", "lines"):
        f1, at = row[what]["best"]
        cells += [three(*row[what]["own"]), f"{f1:.2f} at {at:.2f}"]
    cells += [three(*row["pixels"]), f"{row['seconds']:.2f}", f"{row['megabytes']:.1f}"]
    return "| " + " | ".join(cells) + " |"


def table_of(result):
    "The table, in Markdown"
    head = "words, own", "words, best", "lines, own", "lines, best", "pixels", "CPU s", "MB"
    rows = map(line_of, result["rows"])
    return "\n".join(["| | " + " | ".join(head) + " |", "|:--|" + "--:|" * 7, *rows])


def compare(args):
    "In the side environment: what is kept"
    import torch

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    photos = photos_of(args)
    paths = [photos.path(i) for i in range(len(photos))]
    contestants = *map(Ours, args.model.split(",")), RapidDetector(), RapidPipeline()
    timed = seconds(contestants, paths[:20])
    rows = [row_of(c, photos, paths, time) for c, time in zip(contestants, timed)]
    return dict(photos=len(photos), machine=machine(), rows=rows)


def show(result, args, name):
    "Print the table, and put it into the card"
    print(f"{result['photos']} photos of {name}; F1 (precision, recall), IoU 0.5\n")
    print(table_of(result))
    if args.card:
        into_card(args.card, f"rivals, {name}", table_of(result))


def outside(args):
    "`inside`, in the side environment; its exit status"
    python = environment(Path(args.environment).absolute())
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([python, __file__, *sys.argv[1:], "--inside"], env=env).returncode


def main(args):
    name, stored = f"{Path(args.folder).name} {args.set}", kept(TABLE, {})
    if args.stored:
        if name not in stored:
            sys.exit(f"{TABLE.name} has no {name!r}; there are {', '.join(stored)}")
        return show(stored[name], args, name)
    if not args.inside:
        sys.exit(outside(args))
    result = compare(args)
    if not (args.photos or args.ids or args.held):  # a look at some is no result
        keep(TABLE, stored | {name: result})
    show(result, args, name)


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.set_defaults(model="text,text-fast")
    parser.add_argument("--card", help="model card to put the table into")
    parser.add_argument("--stored", action="store_true", help="what rivals.json has")
    parser.add_argument("--environment", default=str(RUNS / "rivals"))
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    main(parser.parse_args())
