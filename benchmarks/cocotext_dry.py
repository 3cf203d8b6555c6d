"""COCO-Text proper, without its pictures: what reading, checking and the first step would take

    python benchmarks/cocotext_dry.py                            the real size
    python benchmarks/cocotext_dry.py --pictures 600 --words 2000        a hundredth of it

An annotation file of the real size is made (63,686 pictures, 239,506 words in COCO-Text's
layout, two thirds of the pictures `train`) and served, zipped, on 127.0.0.1, together with one
generated picture under every name that is asked for. Then the steps of lesson 06's recipe
`full` run one after another: fetch and check the annotations, fetch the first pictures, build
the datasets of training and choice, make the first batch and take one training step on the
processor. Prints seconds of the processor and the peak of memory after each; at the real size
they are kept in cocotext_dry.json."""

import argparse
import io
import json
import os
import random
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from common import HERE, ROOT, high_water, keep, machine

TABLE, REAL = HERE / "cocotext_dry.json", (63_686, 239_506)
sys.path.insert(0, str(ROOT / "tests"))


def layout_of(pictures, words, hw=(480, 640), seed=0):
    "COCO-Text's layout: words of random place and size, polygon included, 60 % readable"
    rng, train = random.Random(seed), pictures * 2 // 3
    imgs = {
        str(i): dict(
            id=i,
            set="train" if i <= train else "val",
            width=hw[1],
            height=hw[0],
            file_name=f"COCO_train2014_{i:012d}.jpg",
        )
        for i in range(1, pictures + 1)
    }
    anns = {}
    for k in range(1, words + 1):
        w, h = rng.randint(8, 200), rng.randint(6, 60)
        x, y = rng.uniform(0, hw[1] - w), rng.uniform(0, hw[0] - h)
        anns[str(k)] = dict(
            id=k,
            image_id=rng.randint(1, pictures),
            bbox=[x, y, w, h],
            mask=[x, y, x + w, y, x + w, y + h, x, y + h],
            area=w * h,
            utf8_string="word",
            language="english",
            legibility="legible" if rng.random() < 0.6 else "illegible",
        )
        anns[str(k)]["class"] = rng.choice(["machine printed", "handwritten"])
    return dict(imgs=imgs, anns=anns, cats={}, imgToAnns={}, info={})


def zipped(pictures, words):
    "The archive's bytes"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("cocotext.v2.json", json.dumps(layout_of(pictures, words)))
    return buffer.getvalue()


def elsewhere(f, *args):
    "`f(*args)` in a process of its own, whose memory is not ours"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(f, *args).result()


class Steps:
    "Prints and keeps what each step took"

    def __init__(self):
        self.told, self.began = [], time.process_time()
        print("| step | CPU-seconds | peak of memory, MiB |\n|:--|--:|--:|")

    def __call__(self, what):
        seconds, peak = time.process_time() - self.began, high_water() / 2**20
        self.told.append(dict(step=what, seconds=round(seconds, 1), mib=round(peak)))
        print(f"| {what} | {seconds:.1f} | {peak:.0f} |", flush=True)
        self.began = time.process_time()


def every_name(picture):
    "A server's files: the archive under its name, the picture under every other"

    class Files(dict):
        def get(self, name, default=None):
            return dict.get(self, name, picture if name.endswith(".jpg") else default)

    return Files()


def picture_of(hw=(480, 640)):
    from centernet_nb.words import draw_words

    buffer = io.BytesIO()
    draw_words(1, 4, hw, system_fonts=False)[0].save(buffer, "jpeg")
    return buffer.getvalue()


def dry_run(pictures, words, first, folder):
    "What the steps took, against the server"
    import torch
    from servers import Server
    from centernet_nb.checks import DownloadError
    from centernet_nb.cocotext import RECIPES, small_net, text_data
    from centernet_nb.data import collate
    from centernet_nb.loss import CenterNetLoss
    from centernet_nb.textlayout import get_cocotext, read_layout

    files = every_name(picture_of())
    files["cocotext.v2.zip"] = elsewhere(zipped, pictures, words)
    step = Steps()
    step("torch and the server, before anything")
    with Server(files) as server:
        where = dict(annotations=server.url("cocotext.v2.zip"), url=server.url()[:-1])
        file, root, failed = get_cocotext(
            folder / "train2014", n=first, progress=False, **where
        )
        if failed:
            raise DownloadError(f"{len(failed)} pictures could not be had")
        step(f"annotations fetched, unpacked and checked; {2 * first} pictures fetched")
    del files, server
    layout = read_layout(file)
    step(f"annotations read: {len(layout['imgs']):,} pictures, {len(layout['anns']):,} words")
    del layout
    fill(root, pictures)
    step.began = time.process_time()
    dataset, valid = text_data("full", [(file, root)])
    step(f"the two datasets: {len(dataset):,} items to train on, {len(valid)} to choose by")
    batch = collate([dataset[i] for i in range(8)])
    step("8 crops")
    net, criterion = small_net(pools=2), CenterNetLoss(from_logits=True, gaussian="ellipse")
    images, objects, ignore = batch
    criterion(net(images, logits=True), objects, ignore).sum().backward()
    torch.optim.AdamW(net.parameters(), RECIPES["full"]["lr"]).step()
    step("the first step, a batch of 8 on the processor")
    return step.told


def fill(root, pictures):
    "Every other picture as a link to the first, so that the datasets find all of them"
    one = next(Path(root).glob("*.jpg"))
    for i in range(1, pictures + 1):
        path = Path(root) / f"COCO_train2014_{i:012d}.jpg"
        if not path.exists():
            path.hardlink_to(one)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=REAL[0])
    parser.add_argument("--words", type=int, default=REAL[1])
    parser.add_argument("--first", type=int, default=20, help="pictures fetched of each split")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CENTERNET_NB_CACHE"] = folder  # nothing of a real cache is touched
        told = dry_run(args.pictures, args.words, args.first, Path(folder))
    if (args.pictures, args.words) == REAL:
        keep(TABLE, dict(machine=machine(), steps=told))
