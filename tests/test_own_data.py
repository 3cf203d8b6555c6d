"""Your own photos: each defect that was found in the commands, so that none comes back"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
import pytest
from PIL import Image, ImageDraw
from centernet_nb.commands import centernet_detect, centernet_eval, centernet_train
from centernet_nb.network import load_model

ROOT = Path(__file__).resolve().parent.parent
FEW = "--size 64 --steps 2 --batch_size 2 --pretrained no --depth 18".split()
NAMES = ["cup, large", "Löffel"]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    "Six photos of a light and a dark square each, annotated as COCO, in the current folder"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CENTERNET_NB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    images, rows = [], []
    for i in range(6):
        picture = Image.new("RGB", (96, 72), "grey")
        draw = ImageDraw.Draw(picture)
        for k, colour in enumerate(("white", "black")):
            x, y = 8 + 5 * i + 40 * k, 10 + 6 * i
            draw.rectangle((x, y, x + 17, y + 17), colour)
            rows.append(dict(image_id=i, category_id=k, bbox=[x, y, 18, 18], iscrowd=0))
        picture.save(f"photos/{i}.png")
        images.append(dict(id=i, file_name=f"{i}.png", width=96, height=72))
    rows = [dict(r, id=n, area=324) for n, r in enumerate(rows, 1)]
    categories = [dict(id=k, name=n) for k, n in enumerate(NAMES)]
    write("coco.json", dict(images=images, annotations=rows, categories=categories))
    return tmp_path


def write(path, value, encoding="utf-8"):
    text = json.dumps(value, ensure_ascii=False)
    Path(path).write_text(text, encoding=encoding)


def shell(command, *argv):
    return command.shell([str(a) for a in argv])


def test_names_with_commas_and_a_byte_order_mark(photos):
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))
    write("coco.json", known, "utf-8-sig")
    chosen = "--categories", NAMES[1], NAMES[0]
    assert shell(centernet_train, "photos", "coco.json", *FEW, *chosen, "--out", "run") == 0
    assert load_model("run/model.safetensors").labels["names"] == NAMES[::-1]
    assert shell(centernet_eval, "photos", "coco.json", "run/model.safetensors") == 0


def test_start_keeps_the_order_of_its_names(photos, capsys):
    turned = "--categories", NAMES[1], NAMES[0]
    assert shell(centernet_train, "photos", "coco.json", *FEW, *turned, "--out", "one") == 0
    start = *FEW[:6], "--start", "one/model.safetensors"
    assert shell(centernet_train, "photos", "coco.json", *start, "--out", "two") == 0
    assert load_model("two/model.safetensors").labels["names"] == NAMES[::-1]
    only = "--categories", NAMES[0], "--out", "three"
    assert shell(centernet_train, "photos", "coco.json", *start, *only) == 1
    assert "leave out --start" in capsys.readouterr().err


def test_voc_and_yolo(photos):
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))
    Path("voc").mkdir()
    Path("yolo").mkdir()
    Path("yolo/classes.txt").write_text("\n".join(NAMES), encoding="utf-8")
    for i in range(6):
        rows = [a for a in known["annotations"] if a["image_id"] == i]
        boxes = [(a["category_id"], *a["bbox"]) for a in rows]
        objects = "".join(
            f"<object><name>{NAMES[k]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for k, x, y, w, h in boxes
        )
        text = f"<annotation>{objects}</annotation>"
        Path(f"voc/{i}.xml").write_text(text, encoding="utf-8")
        lines = [
            f"{k} {(x + w / 2) / 96} {(y + h / 2) / 72} {w / 96} {h / 72}"
            for k, x, y, w, h in boxes
        ]
        Path(f"yolo/{i}.txt").write_text("\n".join(lines), encoding="utf-8")
    want = [a["bbox"] for a in known["annotations"]]
    for kind in ("voc", "yolo"):
        assert shell(centernet_train, "photos", kind, *FEW, "--out", f"{kind}_run") == 0
        made = json.loads(Path(f"{kind}_run/annotations.json").read_text(encoding="utf-8"))
        assert [[round(v, 6) for v in a["bbox"]] for a in made["annotations"]] == want
        names = load_model(f"{kind}_run/model.safetensors").labels["names"]
        assert names == (NAMES if kind == "yolo" else sorted(NAMES))


def test_bad_pictures_are_found_all_at_once_before_the_first_step(photos, capsys):
    Path("photos/1.png").write_bytes(b"nothing")
    Image.new("RGB", (50, 50)).save("photos/3.png")
    assert shell(centernet_train, "photos", "coco.json", *FEW, "--out", "run") == 1
    said = capsys.readouterr()
    assert "2 of 6 pictures cannot be used" in said.err and "1.png" in said.err
    assert "3.png is 50 x 50" in said.err and "step 1" not in said.out
    skip = *FEW, "--on_bad", "skip", "--out", "run"
    assert shell(centernet_train, "photos", "coco.json", *skip) == 0
    assert "2 unusable ones left out" in capsys.readouterr().out


def test_another_run_is_not_taken_for_this_one(photos, capsys):
    run = "photos", "coco.json", *FEW, "--out", "run"
    assert shell(centernet_train, *run) == 0
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))
    known["annotations"][0]["bbox"][2] += 9
    write("coco.json", known)
    assert shell(centernet_train, *run) == 1
    said = capsys.readouterr().err
    assert "--fresh" in said and "resume=" not in said and "annotations" in said
    assert shell(centernet_train, *run, "--fresh") == 0


def test_two_inputs_of_one_name(photos):
    assert shell(centernet_train, "photos", "coco.json", *FEW, "--out", "run") == 0
    Image.open("photos/0.png").save("photos/0.jpg")
    Path("else").mkdir()
    Image.open("photos/0.png").save("else/0.png")
    found = "photos/0.*", "else", "--model", "run/model.safetensors", "--out", "seen"
    assert shell(centernet_detect, *found) == 0
    assert len(list(Path("seen").glob("*_boxes.jpg"))) == 3
    assert len(json.loads(Path("seen/detections.json").read_text(encoding="utf-8"))) == 3


def start(*argv, **env):
    "A command in a process of its own"
    name, *rest = argv
    code = f"import sys; from centernet_nb.commands import {name} as f; sys.exit(f.shell())"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-u", "-c", code, *rest], env=env, **pipes)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_and_sigterm_write_the_checkpoint_in_one_line(photos):
    long = "--size 64 --steps 100000 --batch_size 2 --pretrained no --out run".split()
    history = Path("run/history.csv")
    for sent, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        run = start("centernet_train", "photos", "coco.json", *long)
        if sent == signal.SIGINT:
            wait_for(run.stdout, b" steps of ")
            wait_for(None, history, 1)
        else:
            wait_for(run.stderr, b"going on from step")
            wait_for(None, history, history.read_text(encoding="utf-8").count("\n") + 2)
        run.send_signal(sent)
        said = run.communicate(timeout=120)[1].decode()
        assert run.returncode == status, said
        assert len(said.strip().splitlines()) == 1 and "Traceback" not in said, said
        assert "interrupted after step" in said and "checkpoint.pth holds step" in said


def wait_for(stream, what, rows=0):
    "Until a line with `what` came, or the file `what` holds more than so many lines"
    for _ in range(1200):
        if stream is not None:
            line = stream.readline()
            assert line, f"the process ended without {what}"
            if what in line:
                return
        elif what.exists() and what.read_text(encoding="utf-8").count("\n") > rows:
            return
        else:
            time.sleep(0.1)
    raise AssertionError(f"no {what} in two minutes")


def test_names_survive_other_locales(photos):
    assert shell(centernet_train, "photos", "coco.json", *FEW, "--out", "run") == 0
    argv = "centernet_detect", "photos/0.png", "--model", "run/model.safetensors"
    run = start(*argv, "--threshold", "0.001", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    found = json.loads(Path("detections/detections.json").read_text(encoding="utf-8"))
    assert {o["name"] for o in found["photos/0.png"]} <= set(NAMES)
