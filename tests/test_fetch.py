"""Downloads from a server on 127.0.0.1 that truncates, glues, encodes, drips and lies; hostile
archives"""

import gzip
import hashlib
import inspect
import io
import os
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
import pytest
from PIL import Image
from servers import Server
from centernet_nb import fetch
from centernet_nb.checks import DownloadError
from centernet_nb.fetch import cache_dir, download, download_many, extract, online
from centernet_nb.photos import find_tinycoco
from centernet_nb.pictures import open_image

BODY = os.urandom(700_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))


def cut(h, body):
    h.send(200, body[:300_000], Content_Length=len(body))


def glued(h, body):
    h.send(206, body[300_000:], Content_Range=f"bytes 300000-{len(body) - 1}/{len(body)}")


def encoded(h, body):
    h.send(200, gzip.compress(body), Content_Encoding="gzip")


def recoded(h, body):
    h.send(200, gzip.compress(body), Transfer_Encoding="gzip", Content_Length=None)


def unsaid(h, body):
    h.send(200, body, Content_Length=None)


def unsaid_and_cut(h, body):
    h.send(200, body[:300_000], Content_Length=None)


def two_lengths(h, body):
    h.send(200, body, Content_length="300000")


def garbled(h, body):
    h.send(200, body[::-1])


def to(address):
    return lambda h, body: h.send(302, Location=address)


def chunks(h, body, end=b"0\r\n\r\n"):
    h.protocol_version = "HTTP/1.1"
    h.send(200, Content_Length=None, Transfer_Encoding="chunked")
    for i in range(0, len(body), 50_000):
        h.wfile.write(b"%x\r\n%s\r\n" % (len(body[i : i + 50_000]), body[i : i + 50_000]))
    h.wfile.write(end)


def cut_chunks(h, body):
    chunks(h, body, end=b"")


def drip(h, body):
    h.send(200, b"", Content_Length=len(body))
    for i in range(600):
        h.wfile.write(body[i : i + 1])
        time.sleep(0.05)


def fetched(tmp_path, *steps, **kwargs):
    "What arrives when the server takes these steps first, and how often it was asked"
    with Server({"file.bin": BODY}, **{"*": steps}) as s:
        kwargs = {"timeout": 20, "retries": len(steps), **kwargs}
        path = download(s.url("file.bin"), tmp_path / "a/file.bin", **kwargs)
        assert os.listdir(path.parent) == ["file.bin"], "something is left beside the file"
        return path.read_bytes(), s.asked["file.bin"]


def refused(tmp_path, match, *steps, tries=1, **kwargs):
    "The same steps end in an error that says `match`, after so many tries, and without a file"
    kwargs = {"timeout": 20, "retries": 2, **kwargs}
    with Server({"file.bin": BODY}, **{"*": steps * 3}) as s:
        with pytest.raises(DownloadError, match=match):
            download(s.url("file.bin"), tmp_path / "file.bin", **kwargs)
        assert s.asked["file.bin"] == tries
    assert os.listdir(tmp_path) == []


def test_the_downloader_is_small():
    "What asks, follows, counts and receives is ours; all else is pooch's"
    parts = fetch._Hopeless, fetch._open, fetch._length, fetch._receive
    lines = [n for part in parts for n in inspect.getsource(part).splitlines() if n.strip()]
    assert len(lines) <= 40


def test_plain(tmp_path):
    with Server({"file.bin": BODY}) as s:
        path = download(s.url("file.bin"), tmp_path / "a/b/file.bin", known_hash=SHA)
        assert path.read_bytes() == BODY and os.listdir(path.parent) == ["file.bin"]
        if os.name == "posix":
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
        download(s.url("file.bin"), path, known_hash=SHA)
        assert s.asked["file.bin"] == 1  # it is there: nobody is asked
        path.write_bytes(bytes(len(BODY)))  # zeros, as after a power cut
        download(s.url("file.bin"), path, known_hash="md5:" + hashlib.md5(BODY).hexdigest())
        assert path.read_bytes() == BODY


@pytest.mark.parametrize("step", [cut, cut_chunks, 503, 500, 429, 408])
def test_mended_by_asking_again(tmp_path, step):
    assert fetched(tmp_path, step, step) == (BODY, 3)


@pytest.mark.parametrize("known_hash", [None, SHA])
@pytest.mark.parametrize("step", [glued, encoded, recoded, 404, 403, 401, 410])
def test_hopeless(tmp_path, step, known_hash):
    refused(tmp_path, "answered|encoded", step, known_hash=known_hash)


def test_length_not_said(tmp_path):
    refused(tmp_path, "neither length nor checksum", unsaid)
    refused(tmp_path, "neither length nor checksum", unsaid_and_cut)
    refused(tmp_path, "hash", unsaid_and_cut, known_hash=SHA, tries=3)
    assert fetched(tmp_path, unsaid, known_hash=SHA) == (BODY, 1)


def test_two_lengths(tmp_path):
    with pytest.raises(DownloadError):
        fetched(tmp_path, two_lengths, two_lengths, retries=1)
    assert not (tmp_path / "a/file.bin").exists()


def test_chunks(tmp_path):
    assert fetched(tmp_path, chunks) == (BODY, 1)


@pytest.mark.parametrize("step", [cut, cut_chunks])
def test_never_half(tmp_path, step):
    refused(tmp_path, "broke off|came", step, tries=3)


def test_wrong_checksum(tmp_path):
    refused(tmp_path, "SHA256", garbled, known_hash=SHA, tries=3)
    assert fetched(tmp_path, garbled, known_hash=SHA) == (BODY, 2)


@pytest.mark.parametrize("step", [None, chunks])
def test_size_limit(tmp_path, step):
    refused(tmp_path, "size_limit=100,000", step, size_limit=100_000)
    assert fetched(tmp_path, step, size_limit=len(BODY)) == (BODY, 1)


def test_slow_bodies(tmp_path):
    "A byte every 50 ms would take half a minute; a server that says nothing is asked again"
    start = time.monotonic()
    refused(tmp_path, "too slow|too long", drip, deadline=0.5)
    assert time.monotonic() - start < 20
    body, asked = fetched(tmp_path, lambda h, body: time.sleep(4), timeout=1, retries=9)
    assert body == BODY and asked >= 2


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a",
        "ftp://example.org/a",
        "file:///etc/passwd",
        "nothing",
        "",
        "https:///a",
        "http://127.0.0.1.example.org/",
        "http://[::1",
        "https://[bad/",
    ],
)
def test_only_https(tmp_path, url):
    with pytest.raises(DownloadError):
        download(url, tmp_path / "file.bin")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "http://example.org/", "ftp://127.0.0.1/"]
)
def test_redirect_out_of_https(tmp_path, address):
    refused(tmp_path, "no address|not https", to(address))


def test_redirects(tmp_path):
    with Server({"else": BODY}) as there:
        assert fetched(tmp_path, to(there.url("else"))) == (BODY, 1)
    with Server({}, loop=[to("loop")] * 30) as s, pytest.raises(DownloadError, match="no end"):
        download(s.url("loop"), tmp_path / "file.bin")


def test_nobody_listens(tmp_path):
    with Server({}) as s:
        url = s.url("a")
    with pytest.raises(DownloadError, match="refused"):
        download(url, tmp_path / "file.bin", retries=1)
    assert not online(url, 2)


def test_online_is_quick():
    with Server({}) as s:
        assert online(s.url(), 5)
    start = time.monotonic()
    assert not online("192.0.2.1", 1)  # an address nobody has
    assert time.monotonic() - start < 10


FETCH = """
import sys
from centernet_nb.fetch import download
right = lambda path: any(open(path, "rb").read())
print(download(sys.argv[1], sys.argv[2], verify=right).stat().st_size)
"""


def child(*args):
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(args[1]).parent,
    )


def test_two_processes(tmp_path):
    """Both are given the whole file, whoever is first; a half one of zeros that lies there is
    replaced"""
    (tmp_path / "file.bin").write_bytes(bytes(len(BODY)))
    slow = lambda h, body: (time.sleep(0.5), h.send(200, body))
    with Server({"file.bin": BODY}, **{"file.bin": [slow, slow]}) as s:
        both = [child(s.url("file.bin"), tmp_path / "file.bin") for _ in range(2)]
        said = [c.communicate(timeout=600) for c in both]
    assert [out.strip() for out, _ in said] == [b"%d" % len(BODY)] * 2, said
    assert (tmp_path / "file.bin").read_bytes() == BODY and os.listdir(tmp_path) == [
        "file.bin"
    ]


def test_killed(tmp_path):
    "SIGKILL in the middle: no file of that name, and the next call fetches it"
    with Server({"file.bin": BODY}, **{"file.bin": [drip]}) as s:
        run = child(s.url("file.bin"), tmp_path / "file.bin")
        while not any(p.stat().st_size >= 0 for p in tmp_path.iterdir()):
            time.sleep(0.02)
        run.kill()
        run.communicate()
        assert not (tmp_path / "file.bin").exists()
        assert download(s.url("file.bin"), tmp_path / "file.bin").read_bytes() == BODY


def jpeg(seed):
    out = io.BytesIO()
    Image.effect_noise((64, 48), 30 + seed).save(out, "JPEG")
    return out.getvalue()


def test_many_pictures(tmp_path):
    "Some missing, cut, no pictures; a few at a time; a second call asks only for what failed"
    pictures = {f"{i}.jpg": jpeg(i) for i in range(40)}
    pictures |= {
        "3.jpg": None,
        "4.jpg": b"<html>Sorry</html>",
        "5.jpg": pictures["5.jpg"][:300],
    }
    plan = {
        "7.jpg": [503, cut],
        "8.jpg": [lambda h, body: h.send(200, body[:200], Content_Length=len(body))],
    }
    how = dict(progress=False, verify=lambda file, path: open_image(file), timeout=2)
    with Server(pictures, **plan) as s:
        pairs = [(s.url(f"{i}.jpg"), tmp_path / f"{i}.jpg") for i in range(40)]
        failed = download_many(pairs, retries=3, **how)
        assert sorted(p.name for _, p, _ in failed) == ["3.jpg", "4.jpg", "5.jpg"]
        assert all(isinstance(e, DownloadError) for *_, e in failed)
        assert all(
            (tmp_path / f"{i}.jpg").read_bytes() == pictures[f"{i}.jpg"] for i in range(6, 40)
        )
        assert len(os.listdir(tmp_path)) == 37 and 1 < s.most <= 8
        asked, pictures["3.jpg"] = s.asked.total(), jpeg(3)
        again = download_many(pairs, retries=0, **how)
        assert (
            sorted(p.name for _, p, _ in again) == ["4.jpg", "5.jpg"]
            and s.asked.total() - asked == 3
        )


def test_many_give_up(tmp_path):
    with Server({}) as s:
        pairs = [(s.url(f"{i}"), tmp_path / f"{i}") for i in range(500)]
        assert len(download_many(pairs, workers=4, give_up=10, progress=False)) == 500
        assert s.asked.total() < 100


def test_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path / "c"))
    assert cache_dir("x", "y") == tmp_path / "c/x/y" and cache_dir("x").is_dir()


def test_unusable_cache(tmp_path, monkeypatch):
    "As if there were no network: `DownloadError`, with the remedy"
    (tmp_path / "file").write_text("in the way")
    monkeypatch.delenv("CENTERNET_NB_DATA", raising=False)
    for place in ("file", "file/c", "\0"):
        if "\0" not in place:
            monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path / place))
        with pytest.raises(DownloadError, match="set CENTERNET_NB_CACHE"):
            find_tinycoco(verbose=False)
    with Server({"a": b"a"}) as s, pytest.raises(DownloadError):
        download(s.url("a"), tmp_path / "file/a")


# archives


def make_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content, *mode in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode:
                info.external_attr = mode[0] << 16
            z.writestr(info, content)
    return path


def make_tar(path, *members, kind="gz"):
    with tarfile.open(path, f"w:{kind}") as t:
        for name, content, *how in members:
            info = tarfile.TarInfo(name)
            if how:
                info.type, info.linkname = how
            else:
                info.size = len(content)
            t.addfile(info, None if how else io.BytesIO(content))
    return path


def make_bz2(path, *members):
    return make_tar(path, *members, kind="bz2")


def make_xz(path, *members):
    return make_tar(path, *members, kind="xz")


def make_plain(path, *members):
    return make_tar(path, *members, kind="")


def not_unpacked(archive, folder, match="is not unpacked", **kwargs):
    with pytest.raises(DownloadError, match=match):
        extract(archive, folder, **kwargs)
    assert not list(folder.rglob("*"))


both = pytest.mark.parametrize("make", [make_zip, make_tar])


@pytest.mark.parametrize("make", [make_zip, make_tar, make_bz2, make_xz, make_plain])
def test_extract(tmp_path, make):
    a = make(
        tmp_path / "archive", ("a.txt", b"one"), ("d/e/b.txt", b"two" * 9999), (".hidden", b"")
    )
    files = extract(a, tmp_path / "out")
    names = sorted(f.relative_to(tmp_path / "out").as_posix() for f in files)
    assert (
        names == [".hidden", "a.txt", "d/e/b.txt"] and len(os.listdir(tmp_path / "out")) == 3
    )
    assert (tmp_path / "out/d/e/b.txt").read_bytes() == b"two" * 9999
    some = extract(a, tmp_path / "some", only=lambda n: n.endswith("b.txt"))
    assert [f.name for f in some] == ["b.txt"] and not (tmp_path / "some/a.txt").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/tmp/evil",
        "C:\\evil",
        "..\\evil",
        "\\\\host\\share",
        "a/b/../../../evil",
        "..",
        "a/c:evil",
    ],
)
@both
def test_no_escape(tmp_path, make, name):
    a = make(tmp_path / "archive", ("good.txt", b"fine"), (name, b"evil"))
    not_unpacked(a, tmp_path / "in/out")
    assert not any(p.name.endswith("evil") for p in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "how",
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "good.txt"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.CHRTYPE, ""),
    ],
)
def test_no_links_in_a_tar(tmp_path, how):
    not_unpacked(
        make_tar(tmp_path / "archive", ("good.txt", b"fine"), ("link", b"", *how)),
        tmp_path / "out",
        "link",
    )


def test_no_links_in_a_zip(tmp_path):
    a = make_zip(tmp_path / "archive", ("link", b"/etc/passwd", stat.S_IFLNK | 0o777))
    not_unpacked(a, tmp_path / "out", "link")


def test_no_writing_through_a_link_that_is_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "out/d").symlink_to(tmp_path / "secret")
    with pytest.raises(DownloadError):
        extract(make_zip(tmp_path / "archive", ("d/file", b"evil")), tmp_path / "out")
    assert not list((tmp_path / "secret").iterdir())


@both
def test_bombs(tmp_path, make):
    a = make(tmp_path / "archive", *((f"{i}", bytes(1 << 20)) for i in range(20)))
    assert a.stat().st_size < 1 << 17
    not_unpacked(a, tmp_path / "out", "more bytes or files", size_limit=10 << 20)
    not_unpacked(a, tmp_path / "out", "more bytes or files", files_limit=10)


def test_bombs_in_headers(tmp_path):
    """A tar whose names are megabytes of one letter; a zip whose list of contents is longer
    than allowed"""
    for fmt in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a", "w:gz", format=fmt) as t:
            t.addfile(tarfile.TarInfo("n" * 5_000_000))
        assert (tmp_path / "a").stat().st_size < 20_000
        not_unpacked(tmp_path / "a", tmp_path / "out", "headers are too long")
    with tarfile.open(tmp_path / "a", "w:gz") as t:  # many of them, each of a bearable length
        for i in range(200):
            t.addfile(tarfile.TarInfo(f"{i}/" + "n" * 10_000))
    not_unpacked(
        tmp_path / "a",
        tmp_path / "out",
        "more bytes or files|File name too long",
        files_limit=100,
    )
    a = make_zip(tmp_path / "z", *((f"{i:0200d}", b"") for i in range(10_000)))
    not_unpacked(a, tmp_path / "out", "headers are too long", files_limit=100)


def test_zip_that_lies_about_its_sizes(tmp_path):
    a = make_zip(tmp_path / "archive", ("bomb", bytes(1 << 20)))
    raw, size = bytearray(a.read_bytes()), (1 << 20).to_bytes(4, "little")
    while (at := raw.find(size)) >= 0:
        raw[at : at + 4] = (100).to_bytes(4, "little")
    a.write_bytes(raw)
    not_unpacked(a, tmp_path / "out")


def test_broken_archives(tmp_path):
    good = make_zip(tmp_path / "good", ("a", os.urandom(5000))).read_bytes()
    tar = make_tar(tmp_path / "goodtar", ("a", os.urandom(5000))).read_bytes()
    spoilt = good[:100] + b"x" * 50 + good[150:]
    for i, raw in enumerate(
        [b"", b"no archive", good[:2000], good[1000:], tar[:2000], spoilt]
    ):
        (tmp_path / f"{i}").write_bytes(raw)
        not_unpacked(tmp_path / f"{i}", tmp_path / "out")
    not_unpacked(tmp_path / "not there", tmp_path / "out")
