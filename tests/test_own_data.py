"""Your own photos: each defect that was found in the commands, so that none comes back"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
import nbformat
import numpy as np
import own_sets
import pytest
import torch
from nbclient import NotebookClient
from PIL import Image, ImageDraw
from centernet_nb.commands import (
    centernet_detect,
    centernet_eval,
    centernet_export,
    centernet_train,
)
from centernet_nb.deploy import OnnxDetector
from centernet_nb.detect import detect
from centernet_nb.finetune import Recipe
from centernet_nb.modelfile import save_model
from centernet_nb.network import CenterNet, load_model
from centernet_nb.shell import parser_of
from centernet_nb.train import train
from centernet_nb.trainer import Job, look_through, plan_size

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
    try:
        return command.shell([str(a) for a in argv])
    except SystemExit as e:  # argparse's own
        return e.code


def network(seed=1):
    "A small untrained network, never sure and never silent"
    torch.manual_seed(seed)
    small = dict(depth=18, stages=3, out_channels=16)
    most = dict(objects_per_image=100)
    return CenterNet(False, dict(prior=0.3), {}, most, small, NAMES)


def model(path, seed=1, **labels):
    return save_model(network(seed), path, **{"size": 64, **labels})


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
    shutil.copytree("photos", "others")
    Path("photos/1.png").write_bytes(b"nothing")
    Image.new("RGB", (50, 50)).save("photos/3.png")
    Path("others/5.png").write_bytes(b"nothing")
    valid = "--valid_annotations", "coco.json", "--valid_pictures", "others"
    assert shell(centernet_train, "photos", "coco.json", *FEW, *valid, "--out", "run") == 1
    said = capsys.readouterr()
    assert "3 of 12 pictures cannot be used" in said.err and "1.png" in said.err
    assert "5.png" in said.err and len(said.err.splitlines()) == 1
    assert "3.png is 50 x 50" in said.err and "step 1" not in said.out
    skip = *FEW, "--on_bad", "skip", "--out", "run"
    assert shell(centernet_train, "photos", "coco.json", *skip) == 0
    assert "2 unusable ones left out" in capsys.readouterr().out


def change_annotations():
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))
    known["annotations"][0]["bbox"][2] += 9
    write("coco.json", known)


def change_pictures():
    Image.new("RGB", (96, 72), "blue").save("photos/2.png")


def change_trunk():
    trunk = torch.load("trunk.pth")
    trunk["conv1.weight"] += 0.01
    torch.save(trunk, "trunk.pth")


def change_start():
    model("start.safetensors", seed=2)


def torso():
    "The weights of a random trunk, under torchvision's names"
    encoder = CenterNet(False, backbone_kwargs=dict(depth=18, stages=3)).backbone.encoder
    torch.save(encoder.state_dict(), "trunk.pth")


WAYS = dict(
    annotations=(change_annotations, "annotations"),
    pictures=(change_pictures, "pictures"),
    trunk=(change_trunk, "start weights"),
    start=(change_start, "start weights"),
    size="--size 96",
    augment="--no-augment",
    gaussian="--gaussian fixed",
    pretrained="--pretrained no",
    seed="--seed 1",
)


@pytest.mark.parametrize("way", WAYS)
def test_another_run_is_not_taken_for_this_one(way, photos, capsys):
    "Whatever shapes a run, by content where it is a file: the change is said, and the way out"
    torso()
    model("start.safetensors")
    base = "--size 64 --steps 1 --batch_size 2 --valid 0 --out run".split()
    base += (
        ["--start", "start.safetensors"] if way == "start" else ["--pretrained", "trunk.pth"]
    )
    assert shell(centernet_train, "photos", "coco.json", *base) == 0
    changed, word = WAYS[way] if isinstance(WAYS[way], tuple) else (None, WAYS[way].split()[0])
    if changed:
        changed()
        again = base
    else:
        again = base + WAYS[way].split()
    before = Path("run/model.safetensors").read_bytes()
    capsys.readouterr()
    assert shell(centernet_train, "photos", "coco.json", *again) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and word.replace("no-", "") in said[0], said
    assert "--fresh" in said[0] and "another --out" in said[0] and "resume=" not in said[0]
    assert Path("run/model.safetensors").read_bytes() == before
    if way == "gaussian":
        assert shell(centernet_train, "photos", "coco.json", *again, "--fresh") == 0


def test_training_longer_goes_on(photos, capsys):
    "Six pictures, three a step: an epoch has two steps"
    run = "photos coco.json --size 64 --batch_size 3 --pretrained no --valid 0 --out run"
    assert shell(centernet_train, *run.split(), "--epochs", 1) == 0
    capsys.readouterr()
    assert shell(centernet_train, *run.split(), "--epochs", 2) == 0
    assert "going on from step 2 of 4" in capsys.readouterr().err
    rows = Path("run/history.csv").read_text(encoding="utf-8").splitlines()
    assert [r.split(",")[0] for r in rows[1:]] == ["1", "2", "3", "4"]


def test_two_inputs_of_one_name(photos):
    model("m.safetensors")
    Image.open("photos/0.png").save("photos/0.jpg")
    Path("else").mkdir()
    Image.open("photos/0.png").save("else/0.png")
    found = "photos/0.*", "else", "--model", "m.safetensors", "--out", "seen"
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
    other = dict(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
    for argv in (
        ("centernet_train", "photos", "coco.json", *FEW, "--out", "run"),
        ("centernet_detect", "photos/0.png", "--model", "run/model.safetensors"),
    ):
        more = ("--threshold", "0.001") if argv[0] == "centernet_detect" else ()
        run = start(*argv, *more, **other)
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
    assert load_model("run/model.safetensors").labels["names"] == NAMES
    assert NAMES[1] in Path("run/report.html").read_text(encoding="utf-8")
    found = json.loads(Path("detections/detections.json").read_text(encoding="utf-8"))
    assert {o["name"] for o in found["photos/0.png"]} <= set(NAMES)


WRONG = {
    "train": """--size 100|--size 64 64 64|--depth 50|--batch_size 0|--lr -1|--lr nan
        --epochs 0|--minutes 0|--steps 1.5|--valid 1|--gaussian round|--device cuda:77
        --workers -1
        --out coco.json|--valid_pictures photos|--start m --pretrained no|--steps 2 --epochs 2
        --settings s.json --minutes 3|--fresh --resume|--resume|--on_bad cry|--nonsense 1
        --start m --depth 18|--valid_annotations coco.json --valid 0.2""",
    "detect": """--threshold two|--threshold unicorn=0.3|--threshold 2|--size 0|--most 0
        --out coco.json""",
    "export": "--floor 2",
}
CASES = [
    (name, line.strip())
    for name, lines in WRONG.items()
    for line in lines.replace("\n", "|").split("|")
]


@pytest.mark.parametrize("name, line", CASES)
def test_a_wrong_call_is_told_in_one_line(name, line, photos, capsys):
    "Status 2, the usage, and one line that names the option; options it names exist"
    model("m.safetensors")
    command, argv = {
        "train": (centernet_train, ("photos", "coco.json")),
        "detect": (centernet_detect, ("photos", "--model", "m.safetensors")),
        "export": (centernet_export, ("m.safetensors",)),
    }[name]
    assert shell(command, *argv, *line.split()) == 2
    usage, _, said = capsys.readouterr().err.rpartition(f"{command.__name__}: ")
    assert usage.startswith("usage:") and "Traceback" not in usage
    assert said.count("\n") == 1 and line.split()[0] in said, said
    there = parser_of(command).format_help()
    named = set(re.findall(r"--[a-z_]+", said)) - {"--nonsense"}
    assert all(option in there for option in named), named
    assert not Path("runs").exists() and not Path("detections").exists()


def test_a_model_that_is_not_square(photos):
    "The same boxes from PyTorch and ONNX, which see the same numbers; export makes its folder"
    wide = model("wide.safetensors", size=[64, 128])
    assert shell(centernet_export, wide, "--out", "new/folder/wide.onnx", "--floor", 0.01) == 0
    net, onnx, seen = load_model(wide), OnnxDetector("new/folder/wide.onnx", threads=1), []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    run = onnx.run
    onnx.run = lambda images: seen.append(torch.from_numpy(images)) or run(images)
    photo = Image.open("photos/3.png")
    ours = detect(net, photo, min_confidence=0.05)
    theirs = torch.from_numpy(onnx.detect(photo, min_confidence=0.05))
    assert seen[0].shape == (1, 3, 64, 128) and torch.equal(*seen), "two preprocessings"
    assert len(ours) == len(theirs) > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-2)
    inside = to_edges(ours)
    assert inside.min() >= 0 and inside[:, 2].max() <= 96 and inside[:, 3].max() <= 72


def to_edges(objects):
    y, x, h, w = objects[:, :4].T
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)


def test_a_square_model_sees_what_its_onnx_sees(photos):
    model("m.safetensors")
    assert shell(centernet_export, "m.safetensors") == 0
    net, onnx, seen = load_model("m.safetensors"), OnnxDetector("m.onnx", threads=1), []
    net.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    run = onnx.run
    onnx.run = lambda images: seen.append(torch.from_numpy(images)) or run(images)
    grey = Image.fromarray(np.arange(96 * 72, dtype=np.uint16).reshape(72, 96) * 9)
    for picture in (Image.open("photos/0.png").convert("RGBA"), grey):
        detect(net, picture), onnx.detect(picture)
        assert torch.equal(*seen[-2:]), picture.mode


def test_onnx_below_its_floor_says_so(photos):
    model("m.safetensors")
    assert shell(centernet_export, "m.safetensors", "--floor", 0.2) == 0
    onnx, photo = OnnxDetector("m.onnx", threads=1), Image.open("photos/0.png")
    with pytest.raises(ValueError, match="under its floor 0.2.*export it anew"):
        onnx.detect(photo, min_confidence=0.1)
    assert (onnx.detect(photo, min_confidence=0.2)[:, 5] >= 0.2).all()


def test_a_folder_without_any_box_is_evaluated(photos, capsys):
    model("m.safetensors")
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))
    write("none.json", dict(known, annotations=[]))
    assert shell(centernet_eval, "photos", "none.json", "m.safetensors") == 0
    said = capsys.readouterr().out
    assert "| –" in said and "0." not in said, said  # no object, so no precision
    Path("voc").mkdir()
    for i in range(6):
        Path(f"voc/{i}.xml").write_text("<annotation></annotation>", encoding="utf-8")
    assert shell(centernet_eval, "photos", "voc", "m.safetensors") == 0


def test_a_wrong_or_empty_folder_is_called_that(photos, capsys):
    model("m.safetensors")
    Path("empty").mkdir()
    Path("labels").mkdir()
    Path("labels/classes.txt").write_text("\n".join(NAMES), encoding="utf-8")
    Path("labels/0.txt").write_text("0 0.5 0.5 0.1 0.1", encoding="utf-8")
    Path("photos/0.txt").write_text("so that it holds more than pictures", encoding="utf-8")
    for command, *argv, said in (
        (centernet_train, "empty", "coco.json", "is that the folder?"),
        (centernet_train, "nowhere", "coco.json", "nowhere is not a folder of pictures"),
        (centernet_train, "empty", "labels", "empty holds no picture"),
        (centernet_train, "photos", "empty", "empty holds neither"),
        (centernet_eval, "empty", "coco.json", "m.safetensors", "is that the folder?"),
        (
            centernet_detect,
            "empty",
            "--model",
            "m.safetensors",
            "no picture or video in empty",
        ),
        (centernet_detect, "nowhere", "--model", "m.safetensors", "1 of 1 files"),
    ):
        assert shell(command, *argv) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert said in last, last


def test_tiff_is_called_unsupported(photos, capsys):
    model("m.safetensors")
    Image.open("photos/0.png").save("photos/0.tif")
    assert shell(centernet_detect, "photos", "--model", "m.safetensors") == 1
    said = capsys.readouterr().err
    assert "0.tif is a TIFF file, which is not supported: save it as PNG" in said
    assert len(list(Path("detections").glob("*_boxes.jpg"))) == 6  # the rest went on
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))
    known["images"][0]["file_name"] = "0.tif"
    write("tiff.json", known)
    assert shell(centernet_train, "photos", "tiff.json", *FEW, "--out", "run") == 1
    assert "1 of 6 pictures cannot be used: 0.tif is a TIFF" in capsys.readouterr().err


def test_detect_by_class_and_in_cocos_format(photos):
    model("m.safetensors")
    sure = "--threshold", 0.2, f"{NAMES[1]}=1"
    argv = "photos", "--model", "m.safetensors", *sure, "--coco", "coco.json"
    assert shell(centernet_detect, *argv, "--most", 5) == 0
    found = json.loads(Path("detections/detections.json").read_text(encoding="utf-8"))
    rows = json.loads(Path("detections/coco_results.json").read_text(encoding="utf-8"))
    assert {o["name"] for objects in found.values() for o in objects} == {NAMES[0]}
    assert {r["category_id"] for r in rows} == {0} and {r["image_id"] for r in rows} <= set(
        range(6)
    )
    first = [o for o in found["photos/2.png"]]
    same = [r for r in rows if r["image_id"] == 2]
    assert [(o["box"], o["confidence"]) for o in first] == [
        (r["bbox"], r["score"]) for r in same
    ]


def test_a_video_among_photos(photos, capsys):
    av = pytest.importorskip("av")
    model("m.safetensors")
    with av.open("film.mp4", "w") as film:
        stream = film.add_stream("h264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for i in range(6):
            frame = av.VideoFrame.from_image(Image.open(f"photos/{i}.png"))
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    Path("broken.mp4").write_bytes(b"no film")
    argv = "broken.mp4", "film.mp4", "photos/1.png", "--model", "m.safetensors"
    assert shell(centernet_detect, *argv, "--threshold", 0.2) == 1
    said = capsys.readouterr().err
    assert "1 of 3, broken.mp4: broken.mp4 cannot be read as a video" in said
    assert "2 of 3, film.mp4: 6 frames" in said and "1 of 3 files could not be used" in said
    lines = Path("detections/film_frames.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [r["frame"] for r in rows] == list(range(6))
    assert [r["seconds"] for r in rows] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert set(rows[0]["objects"][0]) == {"name", "confidence", "box"}
    with av.open("detections/film_boxes.mp4") as film:
        drawn = [f.to_image() for f in film.decode(video=0)]
    assert len(drawn) == 6 and drawn[0].size == (96, 72)
    here = json.loads(Path("detections/detections.json").read_text(encoding="utf-8"))
    assert list(here) == ["photos/1.png"]


def test_help_says_what_the_json_holds():
    said = parser_of(centernet_detect).format_help()
    for word in (
        '"name"',
        '"confidence"',
        '"box": [x, y, width, height]',
        '"frame"',
        "top left",
    ):
        assert word in said, word


def test_a_network_with_names(photos):
    "The names reach its file and `detect`, whatever kind of picture it is given"
    net = network()
    assert net.num_classes == 2 and net.labels["names"] == NAMES
    assert load_model(save_model(net, "n.safetensors")).labels["names"] == NAMES
    assert load_model(save_model(net, "o.safetensors", names=["a", "b"])).labels["names"] == [
        "a",
        "b",
    ]
    photo, path = Image.open("photos/0.png"), "photos/0.png"
    array, want = np.asarray(photo), detect(net, "photos/0.png", min_confidence=0.01)
    assert len(want)
    for same in (
        Path(path),
        photo,
        photo.convert("RGBA"),
        array,
        torch.tensor(array.T.copy()),
    ):
        if isinstance(same, torch.Tensor):
            same = same.transpose(1, 2)
        torch.testing.assert_close(detect(net, same, min_confidence=0.01), want)
    for mode in ("1", "L", "LA", "P", "CMYK", "I"):
        assert detect(net, photo.convert("L").convert(mode), min_confidence=0.01).shape[1] == 6


def test_a_dataset_in_torchvisions_layout_trains_as_it_is(photos):
    "Two squares each: the first items as torchvision's reference scripts have them"
    known = json.loads(Path("coco.json").read_text(encoding="utf-8"))

    def item(i):
        rows = [a for a in known["annotations"] if a["image_id"] == i]
        boxes = torch.tensor(
            [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in rows)]
        )
        labels = torch.tensor([a["category_id"] + 1 for a in rows])
        return Image.open(f"photos/{i}.png"), dict(boxes=boxes, labels=labels)

    theirs = [item(i) for i in range(6)]
    net = train(
        theirs, net=network(), valid=theirs, steps=3, batch_size=2, lr=1e-3, progress=False
    )
    assert len(net.history) == 3 and "ap50" in net.history[-1]
    with pytest.raises(ValueError, match="names="):
        train(theirs, steps=1)


def test_train_in_a_notebook_shows_a_chart_and_no_repr(tmp_path):
    code = """from centernet_nb.network import CenterNet
from centernet_nb.shapes import SceneDataset
from centernet_nb.train import train
scenes = SceneDataset(2, size=64)
net = CenterNet(False, names=scenes.names, backbone_kwargs=dict(depth=18, stages=3))
train(scenes, net=net, steps=2, batch_size=2)"""
    cells = [nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    where = dict(metadata=dict(path=str(tmp_path)))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env.pop("MPLBACKEND", None)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where)
    client.execute(env=env)
    outputs = [o.data for o in notebook.cells[0].outputs if "data" in o]
    assert sum("image/png" in data for data in outputs) == 1, "one chart, drawn in place"
    text = "\n".join(data.get("text/plain", "") for data in outputs)
    assert "CenterNet: 5 classes" in text and "Conv2d" not in text, text


def made_set(kind, folder):
    "Four pictures of one of the benchmark's sets, 400 x 300, and their COCO file"
    make, names = own_sets.KINDS[kind]
    folder.mkdir()
    images, rows = [], []
    for i, (picture, boxes) in enumerate(islice(make(), 4)):
        Image.fromarray(picture).save(folder / f"{i}.png")
        images.append(dict(id=i, file_name=f"{i}.png", width=400, height=300))
        rows += [dict(image_id=i, category_id=0, bbox=box[:4], iscrowd=0) for box in boxes]
    rows = [dict(r, id=n) for n, r in enumerate(rows, 1)]
    file = folder.with_suffix(".json")
    names = [dict(id=0, name=names[0])]
    write(file, dict(images=images, annotations=rows, categories=names))
    return folder, file


def test_tiny_and_huge_objects_lead_to_different_sizes(tmp_path, capsys):
    "Two sets made for it, one clock that goes on at each look: both reasons are said"
    sizes = {}
    for kind, budget in (("tiny", "would leave"), ("huge", "there is time for")):
        recipe = Recipe(pretrained="no", valid=0, minutes=1, batch_size=1)
        where = made_set(kind, tmp_path / kind)
        job = Job(*where, tmp_path / "run", recipe, clock=Clock(), ends=60.0)
        coco = look_through(job)
        capsys.readouterr()
        plan_size(job, network(), coco)
        sizes[kind], said = job.recipe.size[0], capsys.readouterr().out
        assert re.match(r"the smallest tenth of the objects is \d+ px at 256; ", said), said
        assert budget in said and said.strip().endswith(f"training at {sizes[kind]}"), said
    assert sizes["huge"] == 192 < sizes["tiny"] < 672, sizes


class Clock:
    "A clock that goes on by a fifth of a second whenever it is read"

    now = 0.0

    def __call__(self):
        self.now += 0.2
        return self.now
