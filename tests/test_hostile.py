"""What a stranger gave the commands that nobody had thought of: each ends in one line, soon,
and costs nobody else's work"""

import json
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
import pytest
import torch
from PIL import Image
from centernet_nb.checks import CheckpointError
from centernet_nb.commands import (
    centernet_detect,
    centernet_eval,
    centernet_export,
    centernet_train,
)
from centernet_nb.network import CenterNet, load_model, save_model
from centernet_nb.textlayout import get_cocotext, read_layout
from centernet_nb.train import only_one

ROOT = Path(__file__).resolve().parent.parent
FEW = "--size 64 --steps 1 --batch_size 2 --pretrained no --valid 0".split()
posix = pytest.mark.skipif(os.name == "nt", reason="names, pipes and devices of POSIX")


@pytest.fixture
def there(tmp_path, monkeypatch):
    "Four photos, their annotations and a small model, in the current folder"
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    small = dict(depth=18, stages=3, out_channels=16)
    net = CenterNet(False, dict(c_classes=2), backbone_kwargs=small)
    save_model(net, "m.safetensors", names=["a", "b"], size=64)
    Path("photos").mkdir()
    images, rows = [], []
    for i in range(4):
        Image.new("RGB", (96, 72), "grey").save(f"photos/{i}.png")
        images.append(dict(id=i, file_name=f"{i}.png", width=96, height=72))
        box = dict(bbox=[8, 8, 22, 22], area=484, iscrowd=0)
        rows.append(dict(box, id=i + 1, image_id=i, category_id=i % 2))
    categories = [dict(id=k, name=n) for k, n in enumerate("ab")]
    coco = dict(images=images, annotations=rows, categories=categories)
    Path("coco.json").write_text(json.dumps(coco), encoding="utf-8")


def call(command, *argv):
    try:
        return command.shell([str(a) for a in argv])
    except SystemExit as e:  # argparse's own
        return e.code


COMMANDS = dict(
    train=(centernet_train, "photos", "coco.json", *FEW),
    detect=(centernet_detect, "photos/0.png", "--model", "m.safetensors"),
    eval=(centernet_eval, "photos", "coco.json", "m.safetensors"),
    export=(centernet_export, "m.safetensors"),
)
USAGE = """detect --size 100 100|detect --size 64 4096000|detect --size 100000
    detect --most 1000000000|detect --most 1000000000000000000000000000000
    detect --device meta|detect --device mps0|detect photos/**.png
    train --seed 1000000000000000000000000000000|train --steps 1000000000000000000000
    train --batch_size 1000000000|train --lr 1e300|train --lr inf|train --ema nan
    train --device meta|eval --batch_size 1000000000000000000000000|eval --size 32000000
    eval --size 1 2 3|export --floor nan"""
LINES = [line.strip() for line in USAGE.replace("\n", "|").split("|")]


@pytest.mark.parametrize("line", LINES)
def test_what_no_machine_can_do_is_a_wrong_call(line, there, capsys):
    name, *argv = line.split()
    argv = [*COMMANDS[name], *argv]
    assert call(*argv) == 2
    usage, _, said = capsys.readouterr().err.rpartition(f"centernet_{name}: ")
    assert usage.startswith("usage:") and said.count("\n") == 1 and len(said) < 400, said


@posix
def test_a_pipe_for_settings_does_not_keep_us_waiting(there, capsys):
    os.mkfifo("pipe")
    for name in ("pipe", "photos"):
        assert call(*COMMANDS["train"], "--settings", name, "--out", "run") == 1
        assert "name a JSON file" in capsys.readouterr().err


def test_files_that_windows_wrote_in_utf_16(there, capsys):
    Path("yolo").mkdir()
    for i in range(4):
        Path(f"yolo/{i}.txt").write_text("0 .2 .3 .2 .3\n", encoding="utf-8")
    run = centernet_train, "photos", "yolo", *FEW, "--out"
    for name in ("classes.txt", "1.txt"):
        text = Path(f"yolo/{name}")
        before = text.read_text(encoding="utf-8") if text.exists() else "a\nb\n"
        text.write_text(before, encoding="utf-16")
        assert call(*run, "run") == 1
        assert f"{name} is not in UTF-8" in capsys.readouterr().err
        text.write_text(before, encoding="utf-8")


def test_a_yaml_of_300_bytes_that_names_a_billion(there, capsys):
    lists = [
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]"
        for k in range(9)
    ]
    Path("yolo").mkdir()
    Path("yolo/0.txt").write_text("0 .2 .3 .2 .3\n", encoding="utf-8")
    for wrong in (["a: &a [x]", *lists, "names: [*j, dog]"], ["names: {0: a, b: 1}"]):
        Path("yolo/data.yaml").write_text("\n".join(wrong), encoding="utf-8")
        assert call(centernet_train, "photos", "yolo", *FEW) == 1
        assert "data.yaml lists no names" in capsys.readouterr().err


@posix
def test_names_that_are_no_text(there, capsys):
    "Bytes that are not UTF-8 in the names of a photo and of an annotation file"
    odd, coco = (os.fsdecode(b) for b in (b"photos/\xff\xe9.png", b"\xff.json"))
    try:
        Path("photos/0.png").rename(odd)
    except OSError:
        pytest.skip("this file system has no such names")
    found = centernet_detect, odd, "--model", "m.safetensors", "--threshold", "0.0001"
    assert call(*found) == 0
    text = Path("detections/detections.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == [odd]
    Path(odd).rename("photos/0.png")
    Path("coco.json").rename(coco)
    assert call(centernet_train, "photos", coco, *FEW, "--out", "run") == 0
    assert load_model("run/model.safetensors").labels["data"] == coco


def test_settings_of_a_run_that_goes_on_are_not_overwritten(there, capsys):
    "A second process is refused before it writes anything, not after"
    run = *COMMANDS["train"], "--out", "run"
    assert call(*run) == 0
    before = Path("run/settings.json").read_bytes()
    lock = only_one(Path("run/settings.json"))
    try:
        assert call(*run, "--fresh", "--lr", "0.002") == 1
        said = capsys.readouterr().err
        assert "another process is training" in said and "name another --out" in said
        assert Path("run/settings.json").read_bytes() == before
        with pytest.raises(CheckpointError):
            only_one(Path("run/settings.json"))
    finally:
        lock.release()
    assert call(*run, "--fresh", "--lr", "0.002") == 0


def shell(name, *argv, **kwargs):
    "A command in a process of its own"
    code = f"import sys; from centernet_nb.commands import {name} as f; sys.exit(f.shell())"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-c", code, *argv]
    return subprocess.run(argv, env=env, stderr=subprocess.PIPE, text=True, **kwargs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_standard_output_on_a_full_disk(there, monkeypatch, unbuffered):
    "One line and status 1; the file lies there, unless the first line could not be said"
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = shell("centernet_detect", *COMMANDS["detect"][1:], stdout=full)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and "cannot be written" in lines[-1], done.stderr
    assert len(lines) == 2 and Path("detections/detections.json").exists(), done.stderr


def test_messages_about_a_thousand_pictures_stay_short(tmp_path, monkeypatch, capsys):
    "The first three and the count; of a name as long as a book its beginning"
    long = "n" * 100_000
    row = dict(file_name="a.jpg", width="w" * 100_000, height=9, set="train")
    for layout in (dict(imgs={long: row}, anns={}), dict(imgs={}, anns={long: {}})):
        (tmp_path / "a.json").write_text(json.dumps(layout), encoding="utf-8")
        with pytest.raises(ValueError) as e:
            read_layout(tmp_path / "a.json")
        assert len(str(e.value)) < 400 and "a.json" in str(e.value)
    failed = [(f"{i}{long}.jpg", OSError(long)) for i in range(1000)]
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path))
    monkeypatch.setattr("centernet_nb.textlayout._annotation_file", lambda *_: "a.json")
    monkeypatch.setattr("centernet_nb.textlayout.fetch_pictures", lambda *_, **__: failed)
    assert get_cocotext()[2] == failed
    said = capsys.readouterr().out
    assert said.startswith("1000 pictures could not be had: 0nnn") and said.count("nnn…") == 6
    assert len(said) < 1000


def png(path, side, kind, channels):
    "A black PNG of 16 bits a channel, by hand: Pillow writes 16 bits of grey only"
    rows = zlib.compress(bytes((1 + 2 * channels * side) * side), 1)
    head = side.to_bytes(4) * 2 + bytes([16, kind, 0, 0, 0])
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n")
        for name, data in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")):
            sum_ = zlib.crc32(name + data)
            f.write(len(data).to_bytes(4) + name + data + sum_.to_bytes(4))


SPENT = """
import resource, sys
from centernet_nb.pictures import open_image
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = used()
for path in sys.argv[1:]:
    assert open_image(path).mode == "RGB"
print((used() - before) * (1 if sys.platform == "darwin" else 1024))
"""


@posix
def test_memory_of_large_pictures(tmp_path):
    """At most 14 bytes a pixel, 1.4 GB for the largest that are read (100 megapixels), where
    16 bits of grey took 33 and transparency 19; RGB as Pillow keeps it takes 4"""
    side, files = 5000, []
    for name, kind, channels in (("grey", 0, 1), ("grey and alpha", 4, 2), ("RGBA", 6, 4)):
        files.append(str(tmp_path / f"{name}.png"))
        png(files[-1], side, kind, channels)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = textwrap.dedent(SPENT)
    done = subprocess.run([sys.executable, "-c", code, *files], env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 14 * side**2, f"{int(done.stdout) / side**2:.1f} bytes a pixel"
