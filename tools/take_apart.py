"""The maps of "A detector to take apart": what the text model of the package makes of a photo
that no training has seen, and how its heat came to be.

    python tools/take_apart.py                        writes nbs/site/apart; needs no data but
                                                      the photo that lies there
    python tools/take_apart.py --photo img_364.jpg    cuts that photo first
    python tools/take_apart.py --checkpoints FOLDER   model files (of `save_model`) in place of
                                                      a training of its own, in the order of
                                                      the numbers in their names

To be run again whenever `centernet_nb/models/text.safetensors` is another one; the site's
tests notice if it was not. Without `--checkpoints` a network of the same kind is trained on
generated words for `--seconds` of processor time (100). The photo is img_364 of ICDAR 2015
*Incidental Scene Text* (Karatzas et al., CC BY 4.0), one of the 60 that lesson 06 holds out,
cut."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import tempfile
import time
from pathlib import Path
import numpy as np
import torch
from PIL import Image
from site_model import ROOT, write_model
from centernet_nb.deploy import OnnxDetector, fit
from centernet_nb.loss import CenterNetLoss
from centernet_nb.network import CenterNet, load_model
from centernet_nb.run import Run, Settings
from centernet_nb.words import WordDataset

FOLDER = ROOT / "nbs" / "site" / "apart"
CUT = 736, 104, 1280, 392  # left, top, right, bottom: multiples of 32 wide and high
CREDIT = "ICDAR 2015 Incidental Scene Text, Karatzas et al., CC BY 4.0, cut"
TRUNK = "weights/resnet18_trunk_imagenet.pth"
SHARES = 0, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1  # of the training: the checkpoints


class Packed:
    "Arrays as bytes, one behind the other, and where each lies."

    def __init__(self):
        self.parts, self.bytes = {}, bytearray()

    def add(self, name: str, maps: np.ndarray, kind: str = "u1") -> None:
        """`maps` [channels, h, w] in whole numbers of 1 or 2 bytes (`kind`), each channel
        between its own least and greatest value."""
        most = np.iinfo(kind).max
        low, high = maps.min((1, 2)), maps.max((1, 2))
        wide = np.where(high > low, high - low, 1)
        steps = (maps - low[:, None, None]) / wide[:, None, None] * most
        if len(self.bytes) % 2:
            self.bytes.append(0)  # numbers of two bytes begin at even places
        scale = [[float(a), float(a + w)] for a, w in zip(low, wide)]
        part = dict(at=len(self.bytes), kind=kind, shape=list(maps.shape), scale=scale)
        self.parts[name] = part
        self.bytes += steps.round().astype(f"<{kind}").tobytes()


def points_of(net, x: np.ndarray) -> np.ndarray:
    "What a network makes of the photo: class probabilities, offset and size, [C+4, h, w]."
    training = net.training
    with torch.no_grad():
        points = net.eval()(torch.from_numpy(x))[0].float().numpy()
    net.train(training)
    return points


def training(like, x: np.ndarray, seconds: float) -> list[tuple[str, np.ndarray]]:
    """(name, points) at `SHARES` of a training on generated words; from ImageNet weights of
    the trunk where `CENTERNET_NB_DATA` holds them, else from random ones."""
    torch.manual_seed(0)
    trunk = Path(os.environ.get("CENTERNET_NB_DATA", ".")) / TRUNK
    net = CenterNet(**like.config | dict(pretrained=str(trunk) if trunk.exists() else False))
    rule = CenterNetLoss(from_logits=True, gaussian="ellipse", r_scale=stride(like))
    words = WordDataset(20000, seed=1, size=128)
    run = Run(words, net, rule, Settings(batch_size=8, lr=1e-3, steps=10**6, warmup=20))
    run.train_mode()
    begin, left, found = time.process_time(), [s * seconds for s in SHARES], {}
    for batch in run.loader():
        while left and time.process_time() - begin >= left[0]:
            found[f"step {run.done}"] = points_of(net, x)
            left.pop(0)
        if not left:
            return list(found.items())
        losses = run.step(run.take(batch))["losses"]
        if run.done % 20 == 0:
            print(f"step {run.done}: loss {losses.sum():.2f}", flush=True)


def stride(net) -> int:
    "Input pixels per output pixel."
    return int(net.scale_objects.scale)


def saved(folder: Path, x: np.ndarray) -> list[tuple[str, np.ndarray]]:
    "(name, points) of each model file in a folder, by the numbers in their names."
    files = [p for p in folder.iterdir() if p.suffix in (".safetensors", ".pth", ".pt")]
    files.sort(key=lambda p: [int(n) for n in re.findall(r"\d+", p.stem)])
    if not files:
        raise SystemExit(f"no model files in {folder}: write some with save_model")
    return [(p.stem.replace("_", " "), points_of(load_model(p), x)) for p in files]


def pack(photo: Image.Image, born: list[tuple[str, np.ndarray]]) -> None:
    "Write the maps of the photo and those of the checkpoints."
    x, _ = fit(photo, max(photo.size))
    with tempfile.TemporaryDirectory() as tmp:
        labels = write_model(Path(tmp) / "text.onnx")
        session = OnnxDetector(Path(tmp) / "text.onnx", threads=1).session
        names = ["points", *(m["output"] for m in labels["maps"])]
        maps = {n: m[0] for n, m in zip(names, session.run(names, {"images": x}))}
    packed = Packed()
    packed.add("points", maps.pop("points"), "u2")
    for name, values in maps.items():
        packed.add(name, values)
    for n, (_, points) in enumerate(born):
        packed.add(f"heat_{n}", points[:-4], "u2")
        packed.add(f"rest_{n}", points[-4:])
    about = {k: labels[k] for k in ("names", "stride", "field", "maps")}
    about |= dict(photo="photo.jpg", width=photo.width, height=photo.height, credit=CREDIT)
    about |= dict(threshold=0.3, born=[name for name, _ in born], parts=packed.parts)
    data = gzip.compress(bytes(packed.bytes), mtime=0)
    (FOLDER / "maps.bin").write_bytes(data)
    (FOLDER / "maps.json").write_text(json.dumps(about), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--photo", type=Path, help="a photo to cut")
    parser.add_argument("--checkpoints", type=Path, help="a folder of model files")
    parser.add_argument("--seconds", type=float, default=100, help="of training")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.photo:
        cut = Image.open(asked.photo).convert("RGB").crop(CUT)
        cut.save(FOLDER / "photo.jpg", quality=88)
    photo, like = Image.open(FOLDER / "photo.jpg").convert("RGB"), load_model("text")
    x, _ = fit(photo, max(photo.size))
    if asked.checkpoints:
        born = saved(asked.checkpoints, x)
    else:
        born = training(like, x, asked.seconds)
    pack(photo, born)
    for file in sorted(FOLDER.iterdir()):
        print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
