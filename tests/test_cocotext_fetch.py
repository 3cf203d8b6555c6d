"""COCO-Text fetched from a server on 127.0.0.1 that drops connections, truncates bodies,
answers 404 and 503"""

import io
import json
import subprocess
import sys
import time
import zipfile
from collections import Counter
from types import SimpleNamespace
import pytest
from PIL import Image
from servers import Server
from centernet_nb.checks import DataError, DownloadError
from centernet_nb.textdata import CocoText
from centernet_nb.textlayout import fetch_pictures, get_cocotext
from centernet_nb.words import generate_words

fast = dict(timeout=20, progress=False)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    "24 generated pictures in COCO-Text's layout: 18 train, 6 val"
    folder = tmp_path_factory.mktemp("source")
    path = generate_words(folder, 24, seed=3, size=192)
    layout = json.loads(path.read_text(encoding="utf-8"))
    for i in layout["imgs"].values():
        i["set"] = "val" if i["id"] > 18 else "train"
    path.write_text(json.dumps(layout))
    return folder


def serve(folder, plan={}, slow=0.0):
    "A server of the pictures in `folder` and of their annotations, zipped"
    files, buffer = {p.name: p.read_bytes() for p in folder.iterdir()}, io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        z.write(folder / "cocotext.v2.json", "cocotext.v2.json")
    files["cocotext.v2.zip"] = buffer.getvalue()
    late = lambda h, body: (time.sleep(slow), h.send(200, body))
    return Server(files, **({"*": [late] * 999} if slow else {}), **plan)


def drop(h, body):
    h.send(200, body[: len(body) // 2], Content_Length=len(body))


def half(h, body):
    h.send(200, body[: len(body) // 2])


def begin(h, body):
    h.send(200, body[:2000])


def garbled(h, body):
    h.send(200, b"<html>not a picture</html>")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def name(i):
    return f"words_{i:012d}.jpg"


def test_all_of_it(source, tmp_path, monkeypatch):
    "Annotations and pictures arrive, are read, and are not asked for again"
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path))
    with serve(source) as s:
        how = dict(annotations=f"{s.url()}cocotext.v2.zip", url=s.url(), **fast)
        file, folder, failed = get_cocotext(**how)
        assert failed == [] and names(folder) == [name(i) for i in range(24)]
        assert not [
            p
            for p in file.parent.rglob("*")
            if p.is_file() and p.suffix not in (".jpg", ".json")
        ]
        for p in folder.iterdir():
            assert p.read_bytes() == s.files[p.name]
        asked = sum(s.asked.values())
        assert get_cocotext(**how)[2] == [] and sum(s.asked.values()) == asked
        assert [len(CocoText(file, folder, split)) for split in ("train", "val")] == [18, 6]


def test_only_what_is_needed(source, tmp_path, monkeypatch):
    "n pictures of each split, and none of those that a train2014 folder already holds"
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path / "cache"))
    here = tmp_path / "train2014"
    here.mkdir()
    (here / name(0)).write_bytes((source / name(0)).read_bytes())
    with serve(source, slow=0.03) as s:
        file, folder, failed = get_cocotext(
            here, n=4, annotations=f"{s.url()}cocotext.v2.zip", url=s.url(), workers=3, **fast
        )
        assert folder == here and names(here) == [
            name(i) for i in (0, 1, 2, 3, 18, 19, 20, 21)
        ]
        assert s.asked[name(0)] == 0 and s.asked[name(1)] == 1
        assert 1 < s.most <= 3  # a few at a time, no more
    data = CocoText(file, here, on_bad="skip")
    assert len(data) == 4 and "14 of 18 pictures" in " ".join(data.skipped)
    with pytest.raises(DataError, match="14 of 18 pictures"):
        CocoText(file, here)


def test_a_bad_line(source, tmp_path):
    """Dropped connections, cut and garbled pictures, 503s: all mended by asking again; a 404
    is reported and stops nobody"""
    plan = {
        name(0): [drop],
        name(1): [503, 503],
        name(2): [half],
        name(3): [garbled],
        name(4): [drop, 503, half, drop],
        name(5): [404],
    }
    with serve(source, plan) as s:
        failed = fetch_pictures(
            source / "cocotext.v2.json",
            tmp_path,
            n=8,
            splits=("train",),
            url=s.url(),
            retries=4,
            **fast,
        )
        assert [f for f, _ in failed] == [name(5)] and "404" in str(failed[0][1])
        assert s.asked[name(5)] == 1 and s.asked[name(1)] == 3 and s.asked[name(2)] == 2
        assert names(tmp_path) == [name(i) for i in (0, 1, 2, 3, 4, 6, 7)]
        for p in tmp_path.iterdir():
            assert p.read_bytes() == s.files[p.name]
        assert (
            fetch_pictures(
                source / "cocotext.v2.json",
                tmp_path,
                n=8,
                splits=("train",),
                url=s.url(),
                **fast,
            )
            == []
        )  # found after all
        assert name(5) in names(tmp_path)


def test_never_a_wrong_picture(source, tmp_path):
    """A server that always sends half a picture, or one of another size, never gets a name for
    it"""
    other = io.BytesIO()
    Image.new("RGB", (64, 48)).save(other, "JPEG")
    plan = {
        name(0): [begin] * 9,
        name(1): [lambda h, body: h.send(200, other.getvalue())] * 9,
        name(2): [503] * 9,
    }
    with serve(source, plan) as s:
        failed = fetch_pictures(
            source / "cocotext.v2.json",
            tmp_path,
            n=3,
            splits=("train",),
            url=s.url(),
            retries=2,
            **fast,
        )
        why = {f: str(e) for f, e in failed}
        assert sorted(why) == [name(0), name(1), name(2)] and not [
            n for n in names(tmp_path) if n.endswith(".jpg")
        ]
        assert (
            "truncated" in why[name(0)] and "64 x 48" in why[name(1)] and "503" in why[name(2)]
        )


RUN = (
    "import sys; from centernet_nb.textlayout import fetch_pictures; "
    "fetch_pictures(sys.argv[1], sys.argv[2], url=sys.argv[3], workers=2, progress=False)"
)


def test_resumes_after_kill(source, tmp_path):
    "SIGKILL in the middle: what has a name is whole, and the next call fetches only the rest"
    with serve(source, slow=0.12) as s:
        run = subprocess.Popen(
            [
                sys.executable,
                "-c",
                RUN,
                str(source / "cocotext.v2.json"),
                str(tmp_path),
                s.url(),
            ]
        )
        for _ in range(600):
            if len(list(tmp_path.glob("*.jpg"))) >= 5:
                break
            time.sleep(0.05)
        run.kill()
        run.wait()
        done = {p.name for p in tmp_path.glob("*.jpg")}
        assert 5 <= len(done) < 24
        for p in tmp_path.glob("*.jpg"):
            assert p.read_bytes() == s.files[p.name]
        before = Counter(s.asked)
        s.plan.clear()
        assert fetch_pictures(source / "cocotext.v2.json", tmp_path, url=s.url(), **fast) == []
        assert not any(s.asked[n] > before[n] for n in done)
        assert [n for n in names(tmp_path) if n.endswith(".jpg")] == [
            name(i) for i in range(24)
        ]


def test_refusals(source, tmp_path, monkeypatch):
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="no split 'tset'"):
        fetch_pictures(source / "cocotext.v2.json", tmp_path, splits=("tset",))
    layout = json.loads((source / "cocotext.v2.json").read_text(encoding="utf-8"))
    layout["imgs"]["1"]["file_name"] = "../../evil.jpg"
    (tmp_path / "evil.json").write_text(json.dumps(layout))
    with pytest.raises(DataError, match="evil.jpg"):
        fetch_pictures(tmp_path / "evil.json", tmp_path)
    with serve(source) as s:
        port = s.server_port
    start = time.monotonic()
    with pytest.raises(DownloadError, match="generated pictures"):
        get_cocotext(annotations=f"http://127.0.0.1:{port}/cocotext.v2.zip", **fast)
    assert time.monotonic() - start < 6
    with serve(source) as s:
        s.files["cocotext.v2.zip"] = b"PK no zip at all"
        with pytest.raises(DownloadError):
            get_cocotext(annotations=f"{s.url()}cocotext.v2.zip", **fast)
        assert not (tmp_path / "cocotext" / "cocotext.v2.json").exists()
