"""Data: where TinyCoco is found, a thousand ways to spoil an annotation file or a JPEG, and
errors out of worker processes."""

import io
import json
import os
import random
import shutil
import time
import zipfile
from pathlib import Path
import pytest
import torch
from PIL import Image, ImageDraw
from servers import Server
from torch.utils.data import DataLoader
from centernet_nb import photos, pictures
from centernet_nb.checks import CenterNetError, DataError, DownloadError
from centernet_nb.data import CocoObjects, collate
from centernet_nb.photos import find_tinycoco
from centernet_nb.pictures import open_image
from centernet_nb.views import augmented

FUZZ = int(os.environ.get("CENTERNET_NB_FUZZ", 60))  # mutated inputs of each kind
SHARED = Path(os.environ.get("CENTERNET_NB_DATA", "")) / "data/tinycoco"
needs_tinycoco = pytest.mark.skipif(
    not (SHARED / "instances_train2017_small.json").exists(),
    reason="TinyCoco is not on this machine",
)


# ---- where TinyCoco comes from


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without data: no environment variable, an empty cache, a network that leads
    nowhere"""
    monkeypatch.delenv("CENTERNET_NB_DATA", raising=False)
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(photos, "TINYCOCO", "http://127.0.0.1:9/tiny.zip")
    return tmp_path


def archive(change=lambda name, content: (name, content)):
    "TinyCoco as a zip in a layout that nobody has announced, with other files in it"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("tiny-coco-abc/README.md", "hello")
        for file in [*SHARED.glob("*.json"), *SHARED.glob("*/*.jpg")]:
            changed = change(file.name, file.read_bytes())
            if changed:
                z.writestr(f"tiny-coco-abc/some/where/{changed[0]}", changed[1])
    return out.getvalue()


def test_no_network(nowhere, capsys):
    start = time.monotonic()
    with pytest.raises(DownloadError, match="CENTERNET_NB_DATA"):
        find_tinycoco()
    assert time.monotonic() - start < 6


def test_silent_network(nowhere, monkeypatch):
    monkeypatch.setattr(
        photos, "TINYCOCO", "http://192.0.2.1/tiny.zip"
    )  # an address nobody has: no answer at all
    start = time.monotonic()
    with pytest.raises(DownloadError):
        find_tinycoco()
    assert time.monotonic() - start < 6


@needs_tinycoco
def test_order(nowhere, monkeypatch, capsys):
    assert find_tinycoco(SHARED)[2] == "path" and find_tinycoco(SHARED.parents[1])[2] == "path"
    with Server({"tiny.zip": archive()}, **{"tiny.zip": [503, 503]}) as s:
        monkeypatch.setattr(photos, "TINYCOCO", s.url("tiny.zip"))
        folder, file, where = find_tinycoco()
        assert where == "download" and len(CocoObjects(folder, file)) == 16
        assert s.asked["tiny.zip"] == 3
        assert sorted(p.name for p in folder.parent.iterdir()) == [
            "instances_train2017_small.json",
            "train_2017_small",
        ]
        assert find_tinycoco()[2] == "cache" and s.asked["tiny.zip"] == 3
    monkeypatch.setenv("CENTERNET_NB_DATA", str(SHARED.parents[1]))
    assert find_tinycoco()[2] == "CENTERNET_NB_DATA"
    with pytest.raises(DataError):
        find_tinycoco(nowhere)  # a path that is given must be right
    said = capsys.readouterr().out
    assert all(
        word in said
        for word in ("in the folder named", "downloaded", "in the cache", "CENTERNET_NB_DATA")
    )


@needs_tinycoco
@pytest.mark.parametrize(
    "change",
    [
        lambda n, c: (n, c[:-1] + b"x") if n == "000000522418.jpg" else (n, c),
        lambda n, c: None if n.endswith("json") else (n, c),
    ],
)
def test_wrong_content(nowhere, monkeypatch, change):
    with Server({"tiny.zip": archive(change)}) as s:
        monkeypatch.setattr(photos, "TINYCOCO", s.url("tiny.zip"))
        with pytest.raises(DownloadError, match="no longer holds"):
            find_tinycoco()
        assert (
            not list((nowhere / "cache").rglob("000000522418.jpg"))
            or change("a.json", b"") is None
        )


# ---- spoilt annotation files


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    images, annotations = [], []
    for i in range(3):
        picture = Image.new("RGB", (96 + 32 * i, 64))
        ImageDraw.Draw(picture).rectangle((10, 10, 40, 30), fill="white")
        picture.save(folder / f"{i}.jpg")
        images.append(
            dict(
                id=i,
                file_name=f"{i}.jpg",
                width=picture.width,
                height=64,
                license=1,
                coco_url=None,
            )
        )
        annotations += [
            dict(
                id=10 * i + k,
                image_id=i,
                category_id=1 + k,
                bbox=[10, 10, 31, 21],
                area=651.0,
                iscrowd=k // 2,
                segmentation=[[0, 0, 1, 1, 2, 2]],
            )
            for k in range(3)
        ]
    return folder, dict(
        info={},
        images=images,
        annotations=annotations,
        categories=[dict(id=k, name=f"c{k}", supercategory="") for k in range(1, 4)],
    )


ODD = [
    None,
    True,
    False,
    0,
    -1,
    1,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    2**70,
    "",
    "x",
    "../../etc/passwd",
    "\0",
    [],
    {},
    [[]],
    {"id": 1},
    [float("nan")] * 4,
    [1, 2, 3, -4],
    [0, 0, 0, 0],
    [-50, -50, 10, 10],
    [10, 10, 1e5, 1e5],
    "0.jpg",
    "no.jpg",
    ".",
    "/",
]


def places(node, path=()):
    yield path
    for k, v in (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    ):
        yield from places(v, (*path, k))


def spoil(rng, tree):
    "One to three changes anywhere in `tree`: another value, gone, doubled"
    tree = json.loads(json.dumps(tree))
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(places(tree)))
        if not path:
            return rng.choice(ODD)
        node = tree
        for k in path[:-1]:
            node = node[k]
        how = rng.random()
        if how < 0.7:
            node[path[-1]] = rng.choice(ODD)
        elif how < 0.9:
            del node[path[-1]]
        elif isinstance(node, list):
            node.append(node[path[-1]])
    return tree


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_spoilt_annotations(toy, tmp_path, policy):
    "Read right, or refused with our own error; what is read makes items that are in order"
    folder, good = toy
    rng, file, read, slowest = random.Random(policy), tmp_path / "a.json", 0, 0
    for n in range(FUZZ):
        text = json.dumps(spoil(rng, good))
        if n % 5 == 0:
            text = (
                text[: rng.randrange(len(text))]
                + rng.choice(["", "{", "\x00", "[" * 5000, "é"])
                + text[rng.randrange(len(text)) :]
            )
        file.write_text(text)
        start = time.process_time()
        try:
            d = CocoObjects(folder, file, size=64, on_bad=policy)
            for i in range(len(d)):
                image, objects, ignore = d[i]
                assert (
                    image.isfinite().all()
                    and objects.isfinite().all()
                    and (objects[:, 2:4] > 0).all()
                    and (objects[:, 4] < len(d.names)).all()
                )
            read += 1
        except DataError:
            pass
        slowest = max(slowest, time.process_time() - start)
    assert read > FUZZ // 20 and slowest < 5
    print(
        f"{FUZZ} spoilt annotation files ({policy}): {read} read, {FUZZ - read} refused, "
        f"slowest {slowest:.2f} s"
    )


def test_spoilt_jpegs(toy, tmp_path):
    rng, read, slowest = random.Random(0), 0, 0
    photo = io.BytesIO()
    Image.effect_noise((160, 120), 60).save(
        photo,
        "JPEG",
        quality=80,
        exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        progressive=True,
    )
    plain, png = io.BytesIO(), io.BytesIO()
    Image.effect_noise((160, 120), 60).convert("RGB").save(plain, "JPEG")
    Image.effect_noise((160, 120), 60).quantize(16).save(png, "PNG")
    for n in range(FUZZ):
        raw = bytearray((photo, plain, png)[n % 3].getvalue())
        for _ in range(rng.choice((1, 1, 3, 20))):
            at = (
                rng.randrange(min(len(raw), 700) if rng.random() < 0.7 else len(raw))
                if raw
                else 0
            )
            how = rng.random()
            if how < 0.6 and raw:
                raw[at] = rng.randrange(256)
            elif how < 0.75:
                del raw[at:]
            elif how < 0.9:
                del raw[at : at + rng.randrange(1, 40)]
            else:
                raw[at:at] = rng.randbytes(rng.randrange(1, 40))
        (tmp_path / "a.jpg").write_bytes(raw)
        start = time.process_time()
        try:
            image = open_image(tmp_path / "a.jpg", at_least=rng.choice((None, (20, 20))))
            assert image.mode == "RGB" and max(image.size) <= pictures.MAX_SIDE
            read += 1
        except DataError as e:
            assert "a.jpg" in str(e) and str(tmp_path) not in str(e)
        slowest = max(slowest, time.process_time() - start)
    assert slowest < 10
    print(
        f"{FUZZ} spoilt pictures: {read} read, {FUZZ - read} refused, slowest {slowest:.2f} s"
    )


# ---- worker processes


def test_error_out_of_a_worker(toy, tmp_path):
    """A picture that is cut in half while training: the error arrives from the worker process,
    names the file, and nothing hangs"""
    folder, good = toy
    shutil.copytree(folder, tmp_path / "p")
    (tmp_path / "a.json").write_text(json.dumps(good))
    d = CocoObjects(tmp_path / "p", tmp_path / "a.json", size=64)
    raw = (tmp_path / "p/1.jpg").read_bytes()
    (tmp_path / "p/1.jpg").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CenterNetError, match="1.jpg"):
        list(DataLoader(d, num_workers=2, collate_fn=collate))


@pytest.mark.parametrize("cache", [False, True])
def test_same_views_for_any_number_of_workers(toy, tmp_path, cache):
    folder, good = toy
    (tmp_path / "a.json").write_text(json.dumps(good))

    class Seeded(torch.utils.data.Dataset):
        def __init__(self):
            self.data = CocoObjects(
                folder,
                tmp_path / "a.json",
                size=64,
                augment=augmented(64, focus=0.5),
                cache=cache,
            )

        def __len__(self):
            return 3

        def __getitem__(self, i):
            torch.manual_seed(i)
            return self.data[i]

    runs = [
        list(DataLoader(Seeded(), 3, collate_fn=collate, num_workers=w)) for w in (0, 1, 2)
    ]
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(run[0], runs[0][0]))


def test_ids_may_be_words(toy, tmp_path):
    folder, good = toy
    tree = json.loads(json.dumps(good))
    for row in tree["images"]:
        row["id"] = f"p{row['id']}"
    for row in tree["annotations"]:
        row["image_id"] = f"p{row['image_id']}"
    (tmp_path / "a.json").write_text(json.dumps(tree))
    d = CocoObjects(folder, tmp_path / "a.json", size=64)
    assert d.image_ids == ["p0", "p1", "p2"] and len(d[0][1]) == 2


def test_extra_ignore_flag(toy, tmp_path):
    """`ignore: 1` in an annotation is as good as a crowd: no object, a hole in the map, and a
    crowd to evaluation"""
    folder, good = toy
    tree = json.loads(json.dumps(good))
    tree["annotations"][0]["ignore"] = 1
    (tmp_path / "a.json").write_text(json.dumps(tree))
    d = CocoObjects(folder, tmp_path / "a.json", size=64)
    assert d.names == ["c1", "c2"] and len(d[0][1]) == 1 and d[0][2].any()
    assert [a["iscrowd"] for a in d.coco.imgToAnns[0]] == [1, 0]
