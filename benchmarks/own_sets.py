"""Seven small sets of different kinds, on which the default recipe of `centernet_train` is
chosen.

    python benchmarks/own_sets.py FOLDER    writes FOLDER/NAME/{train,test} and their .json

words, large_words   photos of ICDAR 2015's train set: all readable words, or only those of at
                     least a tenth of the photo's height
scenes1, scenes3     generated scenes of one and of three classes
pasted               generated shapes on photos with text, so that the clutter is real
tiny, huge           discs of a fiftieth of the side; one that fills most of the picture
"""

import json
import os
import random
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from centernet_nb.shapes import NAMES, make_scene

TRAIN, TEST = 160, 60


def icdar():
    "The folder of ICDAR 2015's own training photos, or an error."
    root = os.environ.get("CENTERNET_NB_DATA")
    folder = Path(root or "nowhere") / "data/icdar2015_train"
    if not folder.exists():
        raise SystemExit(
            "the photos of ICDAR 2015 are needed: CENTERNET_NB_DATA names no folder with "
            "data/icdar2015_train"
        )
    return folder


def words(at_least=0):
    "(path, boxes, class, crowd), for words of at least this share of the photo's height"
    layout = json.loads((icdar() / "cocotext_layout.json").read_text(encoding="utf-8"))
    for image in sorted(layout["imgs"].values(), key=lambda i: i["id"]):
        anns = [layout["anns"][str(a)] for a in layout["imgToAnns"][str(image["id"])]]
        rows = [
            (
                *a["bbox"],
                0,
                a["legibility"] != "legible" or a["bbox"][3] < at_least * image["height"],
            )
            for a in anns
        ]
        if any(not r[5] for r in rows):
            yield icdar() / "images" / image["file_name"], rows


def scenes(classes, series, size=(360, 480)):
    "Generated pictures as (array, rows), of the first `classes` kinds of shapes."
    for i in range(10**6):
        picture, boxes, labels, _ = make_scene(series, i, size)
        rows = [(*b, c, False) for b, c in zip(boxes.tolist(), labels.tolist()) if c < classes]
        if rows:
            yield picture, rows


def pasted(series=3):
    "Shapes of generated scenes laid on photos: the clutter is a real photo's."
    photos = sorted((icdar() / "images").iterdir())
    rng = random.Random(series)
    for i in range(10**6):
        photo = np.asarray(Image.open(rng.choice(photos)).convert("RGB")).copy()
        h, w = photo.shape[:2]
        picture, boxes, labels, _ = make_scene(series, i, (h, w), (2, 7))
        plain = make_scene(series, i, (h, w), (2, 7))[0]
        rows = []
        for (x, y, bw, bh), c in zip(boxes.tolist(), labels.tolist()):
            if c > 1:
                continue
            x0, y0, x1, y1 = (round(v) for v in (x, y, x + bw, y + bh))
            patch = plain[y0:y1, x0:x1].astype(int)
            border = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
            inside = np.abs(patch - np.median(border, 0)).sum(2) > 40
            photo[y0:y1, x0:x1][inside] = patch[inside]
            rows.append((x, y, bw, bh, c, False))
        if rows:
            yield photo, rows


def discs(low, high, n, series, size=(300, 400)):
    "Discs and rings on noise, their side `low` to `high` of the picture's shorter side"
    rng = np.random.default_rng(series)
    h, w = size
    yy, xx = np.mgrid[:h, :w]
    while True:
        ground = rng.normal(rng.uniform(60, 190), 12, (h, w, 1)) + rng.normal(0, 10, 3)
        ground = (
            ground + 25 * np.sin(xx / rng.uniform(9, 40) + yy / rng.uniform(9, 40))[..., None]
        )
        rows = []
        for _ in range(rng.integers(n[0], n[1] + 1)):
            s = rng.uniform(low, high) * h
            a, b = s * rng.uniform(0.8, 1.25) / 2, s / 2
            y, x = rng.uniform(b, h - b), rng.uniform(a, max(w - a, a + 1))
            x = min(x, w - a)
            if any(
                abs(y - (r[1] + r[3] / 2)) < (b + r[3] / 2)
                and abs(x - (r[0] + r[2] / 2)) < (a + r[2] / 2)
                for r in rows
            ):
                continue
            colour = rng.uniform(0, 255, 3)
            d = ((yy - y) / b) ** 2 + ((xx - x) / a) ** 2
            there = d < 1
            if rng.random() < 0.3:
                there &= d > 0.3
            ground[there] = colour + rng.normal(0, 8, (there.sum(), 3))
            rows.append((x - a, y - b, 2 * a, 2 * b, 0, False))
        if rows:
            yield ground.clip(0, 255).astype(np.uint8), rows


KINDS = dict(
    words=(words, ["word"]),
    large_words=(lambda: words(0.1), ["word"]),
    scenes1=(lambda: scenes(1, 11), NAMES[:1]),
    scenes3=(lambda: scenes(3, 12), NAMES[:3]),
    pasted=(pasted, NAMES[:2]),
    tiny=(lambda: discs(0.016, 0.026, (5, 25), 5), ["disc"]),
    huge=(lambda: discs(0.6, 0.95, (1, 1), 6), ["disc"]),
)


def write(folder, kind):
    "The pictures and COCO files of one kind."
    make, names = KINDS[kind]
    found = make()
    if kind.endswith("words"):
        found = list(found)
        random.Random(1).shuffle(found)
        found = iter(found)
    for part, n in (("train", TRAIN), ("test", TEST)):
        (folder / kind / part).mkdir(parents=True, exist_ok=True)
        images, anns = [], []
        for i, (picture, rows) in zip(range(n), found):
            image = (
                picture
                if isinstance(picture, np.ndarray)
                else np.asarray(Image.open(picture).convert("RGB"))
            )
            name = f"{i:04d}.jpg"
            Image.fromarray(image).save(folder / kind / part / name, quality=92)
            images.append(
                dict(id=i + 1, file_name=name, width=image.shape[1], height=image.shape[0])
            )
            for x, y, w, h, c, crowd in rows:
                anns.append(
                    dict(
                        id=len(anns) + 1,
                        image_id=i + 1,
                        category_id=c + 1,
                        bbox=[x, y, w, h],
                        area=w * h,
                        iscrowd=int(crowd),
                    )
                )
        cats = [dict(id=k + 1, name=name) for k, name in enumerate(names)]
        (folder / kind / f"{part}.json").write_text(
            json.dumps(dict(images=images, annotations=anns, categories=cats)),
            encoding="utf-8",
        )


if __name__ == "__main__":
    for kind in sys.argv[2:] or KINDS:
        write(Path(sys.argv[1]), kind)
