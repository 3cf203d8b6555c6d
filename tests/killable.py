"""A training small enough to be killed many times: python tests/killable.py FOLDER [steps=60]
[every=1] [pause=0.0] [device=cpu]

Chance comes in by every door: shuffling, a dataset that draws from torch, numpy and `random`,
dropout, batch norm, and an average of the weights."""

import hashlib
import json
import random
import sys
import time
from pathlib import Path
import numpy as np
import torch
from torch import nn
from centernet_nb.train import train

torch.set_num_threads(1)


class Noise(torch.utils.data.Dataset):
    "Pictures of noise, other ones at each look, with a bright square for each object"

    names = ["dark", "bright"]

    def __init__(self, n=23, pause=0.0):
        self.n, self.pause = n, pause

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        time.sleep(self.pause)
        x = torch.randn(3, 32, 32) * 0.2 + np.random.normal(0, 0.1)
        objects = torch.zeros(1 + i % 3, 6)
        for o in objects:
            y, x_, c = random.randrange(4, 28), random.randrange(4, 28), random.randrange(2)
            x[:, y - 4 : y + 4, x_ - 4 : x_ + 4] += 2 * c - 1
            o[:] = torch.tensor([y, x_, 8, 8, c, 1])
        return x, objects


class Tiny(nn.Module):
    """Convolutions, batch norm, dropout; the ballast makes checkpoints large enough to be met
    half-written"""

    num_classes = 2

    def __init__(self, ballast=400_000):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 4, 4),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(16, 6, 3, padding=1),
        )
        self.register_buffer("ballast", torch.arange(ballast, dtype=torch.float32))

    def forward(self, x, logits=False):
        points = self.body(x)
        return points if logits else torch.cat([points[:, :2].sigmoid(), points[:, 2:]], 1)


def settings(folder, steps=60, every=1):
    return dict(
        batch_size=4,
        lr=3e-3,
        steps=steps,
        ema=0.9,
        seed=5,
        checkpoint=Path(folder) / "run.pth",
        checkpoint_every=every,
        progress=False,
        amp="no",
        device="cpu",
    )


def digest(net):
    h = hashlib.sha256()
    for k, v in net.state_dict().items():
        h.update(k.encode() + v.detach().cpu().contiguous().numpy().tobytes())
    return h.hexdigest()


def same(a, b, where=""):
    """First place at which two checkpoints differ, to the bit; None if nowhere. Wall-clock
    seconds don't count"""
    if type(a) is not type(b):
        return f"{where}: {type(a)} {type(b)}"
    if isinstance(a, dict):
        if list(a) != list(b):
            return f"{where}: {list(a)} {list(b)}"
        return next(
            (s for k in a if k != "seconds" and (s := same(a[k], b[k], f"{where}/{k}"))), None
        )
    if isinstance(a, (list, tuple)):
        if len(a) != len(b):
            return f"{where}: lengths {len(a)} {len(b)}"
        return next(
            (s for i, (x, y) in enumerate(zip(a, b)) if (s := same(x, y, f"{where}/{i}"))),
            None,
        )
    if isinstance(a, torch.Tensor):
        return (
            None
            if a.dtype == b.dtype
            and a.shape == b.shape
            and a.numpy().tobytes() == b.numpy().tobytes()
            else where
        )
    return None if a == b or a != a and b != b else f"{where}: {a} {b}"


def main(folder, steps=60, every=1, pause=0.0, workers=0, say=lambda word: None):
    random.seed(int(time.time() * 1e6) % 2**32)
    torch.manual_seed(random.getrandbits(32))  # what was before must not matter
    net = Tiny()
    say("ready")
    torch.manual_seed(0)
    for p in net.parameters():
        p.data.normal_(0, 0.1)
    net = train(Noise(pause=pause), net=net, workers=workers, **settings(folder, steps, every))
    rows = [{k: v for k, v in r.items() if k != "seconds"} for r in net.history]
    (Path(folder) / "final.json").write_text(
        json.dumps(dict(digest=digest(net), history=rows))
    )
    say("done")


if __name__ == "__main__":
    main(
        sys.argv[1],
        say=lambda word: print(word, flush=True),
        **{
            k: float(v) if k == "pause" else int(v)
            for k, v in (a.split("=") for a in sys.argv[2:])
        },
    )
