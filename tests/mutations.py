"""Files as accidents and enemies leave them: bytes flipped, cut, doubled; values of JSON
exchanged for others

Each target reads one mutated file. It must be read right or refused with our own error, in
bounded time and memory; anything else is a finding."""

import copy
import json
import math
import os
import random
import signal
import sys
import warnings
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
import torch
from killable import same
from centernet_nb.checkpoint import load_tensors, save_tensors
from centernet_nb.checks import CenterNetError, check_objects
from centernet_nb.data import CocoObjects, collate, open_image
from centernet_nb.network import CenterNet, load_model, save_model
from centernet_nb.shapes import generate_scenes

SECONDS, MEGABYTES = 10, 1500  # what one file may cost
JUNK = [
    None,
    True,
    False,
    0,
    1,
    -1,
    3.5,
    -0.0,
    1e308,
    -1e308,
    math.nan,
    math.inf,
    -math.inf,
    2**31,
    -(2**63),
    10**400,
    "",
    "x",
    "1",
    "../../x.jpg",
    "/etc/passwd",
    "\x00",
    "é" * 300,
    [],
    [[]],
    {},
    [1],
    [1, 2, 3, 4],
    [-1, -1, -1, -1],
    [0, 0, 0, 0],
    [1e308] * 4,
    ["a"] * 4,
    {"id": 1},
    [[1, 2], [3, 4]],
    list(range(2000)),
]


class Slow(BaseException):
    "Longer than `SECONDS`"


@contextmanager
def limits():
    "At most `SECONDS`, and `MEGABYTES` more memory than now"
    if os.name == "nt":  # which measures neither this way
        yield
        return
    import resource

    def stop(*_):
        raise Slow(f"more than {SECONDS} s")

    alarm, before = (
        signal.signal(signal.SIGALRM, stop),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (
        1024 if sys.platform != "darwin" else 2**20
    )
    assert grown < MEGABYTES, f"{grown:.0f} MB of memory for one file"


# how bytes change


def flip(rng, d):
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        d[rng.randrange(len(d))] ^= 1 << rng.randrange(8)


def cut(rng, d):
    del d[rng.randrange(len(d)) :]


def remove(rng, d):
    i = rng.randrange(len(d))
    del d[i : i + rng.choice([1, 2, 16, 300])]


def insert(rng, d):
    i = rng.randrange(len(d))
    d[i:i] = rng.randbytes(rng.choice([1, 2, 16, 300]))


def double(rng, d):
    i, n = rng.randrange(len(d)), rng.choice([1, 4, 100, 4000])
    d[i:i] = d[i : i + n]


def blank(rng, d):
    i, n = rng.randrange(len(d)), rng.choice([1, 4, 100])
    d[i : i + n] = bytes([rng.choice([0, 255, 32])]) * len(d[i : i + n])


def swap(rng, d):
    i, j = sorted(rng.randrange(len(d)) for _ in range(2))
    d[i : i + 8], d[j : j + 8] = d[j : j + 8], d[i : i + 8]


def head(rng, d):
    d[rng.randrange(min(len(d), 64))] = rng.randrange(256)


def tail(rng, d):
    d[-1 - rng.randrange(min(len(d), 400))] = rng.randrange(256)


BYTES = [flip, flip, cut, remove, insert, double, blank, swap, head, tail]


def mutate_bytes(rng, data):
    d = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if d:
            rng.choice(BYTES)(rng, d)
    return bytes(d)


# how JSON changes


def places(tree, path=()):
    "Every node of a JSON tree, as (container, key)"
    for k in (
        tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    ):
        yield tree, k
        yield from places(tree[k], path + (k,))


def mutate_json(rng, data):
    if rng.random() < 0.25:
        return mutate_bytes(rng, data)
    tree = json.loads(data)
    for _ in range(rng.choice([1, 1, 1, 2, 6])):
        spots = list(places(tree))
        if not spots:
            break
        # what stands high in the tree is as likely as what stands in one of its many leaves
        top = [s for s in spots if s[0] is tree]
        box, k = rng.choice(top if rng.random() < 0.15 else spots)
        how = rng.randrange(6)
        if how <= 2:
            box[k] = copy.deepcopy(rng.choice(JUNK))
        elif how == 3:
            del box[k]
        elif how == 4:
            box[k] = copy.deepcopy(rng.choice(spots)[0])
        elif isinstance(box, list):
            box.insert(k, copy.deepcopy(box[k]))
        else:
            box[str(k) + rng.choice(["", "x", " "])] = box.pop(k)
        if sum(1 for _ in places(tree)) > 40_000:
            return data
    text = json.dumps(tree)
    if rng.random() < 0.02:
        text = "[" * 100_000
    return text.encode()


# what reads them


def check_item(item, classes, size):
    image, objects, ignore = item
    assert image.shape == (3, *size) and torch.isfinite(image).all() and image.abs().max() < 4
    check_objects(objects[None], classes)
    assert ignore.dtype == torch.bool and ignore.shape == (size[0] // 4, size[1] // 4)
    if len(objects):
        assert (objects[:, :2] >= 0).all() and (objects[:, :2] <= torch.tensor(size)).all()


def use(dataset, size):
    "All items of a dataset, batched, and its ground truth"
    items = [dataset[i] for i in range(len(dataset))]
    for item in items:
        check_item(item, len(dataset.names), size)
    if items:
        collate(items)
    assert len(dataset.coco.getImgIds()) == len(items)
    for i, item in enumerate(items):
        dataset.to_original(i, item[1])


class Files:
    "The good files, and for each kind a function that reads a mutated one"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.scenes = self.folder / "scenes"
        self.coco = generate_scenes(self.scenes, 3, size=64)
        self.jpeg = self.scenes / "000001.jpg"
        self.words = self.layout()
        torch.manual_seed(0)
        self.state = dict(
            step=3,
            names=["a", "b"],
            net=dict(w=torch.randn(30, 30), b=torch.zeros(30, dtype=torch.float16)),
            rate=0.1,
        )
        self.checkpoint = save_tensors(self.state, self.folder / "good.pth")
        self.model = self.folder / "model.safetensors"
        save_model(
            CenterNet(
                pretrained=False,
                backbone_kwargs=dict(depth=18, stages=3, out_channels=8),
                head_kwargs=dict(c_classes=1),
            ),
            self.model,
            half=True,
            names=["text"],
        )
        self.kinds = dict(
            coco=(self.coco, mutate_json, self.read_coco),
            cocotext=(self.words, mutate_json, self.read_words),
            jpeg=(self.jpeg, mutate_bytes, self.read_jpeg),
            checkpoint=(self.checkpoint, mutate_bytes, self.read_checkpoint),
            model=(self.model, mutate_bytes, self.read_model),
        )

    def layout(self):
        from centernet_nb.words import generate_words

        generate_words(self.folder / "words", 3, size=64, system_fonts=False)
        return self.folder / "words" / "cocotext.v2.json"

    def read_coco(self, path, rng):
        use(
            CocoObjects(self.scenes, path, size=64, on_bad=rng.choice(["stop", "skip"])),
            (64, 64),
        )

    def read_words(self, path, rng):
        from centernet_nb.cocotext import CocoText

        use(
            CocoText(
                path,
                self.words.parent,
                split=rng.choice(["train", None]),
                size=64,
                on_bad=rng.choice(["stop", "skip"]),
            ),
            (64, 64),
        )

    def read_jpeg(self, path, rng):
        image = open_image(path)
        assert (
            image.mode == "RGB"
            and max(image.size) <= 20_000
            and len(image.tobytes()) == 3 * image.width * image.height
        )

    def read_checkpoint(self, path, rng):
        assert same(load_tensors(path), self.state) is None, (
            "a damaged checkpoint was read as something else"
        )

    def read_model(self, path, rng):
        net = load_model(path)
        assert all(
            torch.isfinite(v).all() for v in net.state_dict().values() if v.is_floating_point()
        )

    def try_one(self, kind, seed):
        """Mutates and reads one file: 'read' or 'refused'; AssertionError with what happened
        otherwise"""
        good, mutate, read = self.kinds[kind]
        rng = random.Random(f"{kind}{seed}")
        path = self.folder / f"mutated{good.suffix}"
        path.write_bytes(mutate(rng, good.read_bytes()))
        try:
            with limits(), warnings.catch_warnings(), redirect_stdout(StringIO()):
                warnings.simplefilter("ignore")
                read(path, rng)
            return "read"
        except CenterNetError as e:
            assert len(str(e)) > 15, f"{kind} {seed}: says nothing: {e!r}"
            return "refused"
        except (Exception, Slow) as e:
            raise AssertionError(f"{kind} {seed}: {type(e).__name__}: {str(e)[:300]}") from e
