"What the package costs: time to start and to import, memory of a training; and the guard"

import json
import subprocess
import sys
from configparser import ConfigParser
from itertools import islice
from pathlib import Path
import pytest
import torch
from PIL import Image
from centernet_nb import detect as detecting
from centernet_nb.commands import centernet_detect, detect
from centernet_nb.data import CocoObjects
from centernet_nb.loss import CenterNetLoss
from centernet_nb.network import CenterNet
from centernet_nb.run import Run
from centernet_nb.shapes import SceneDataset, generate_scenes
from centernet_nb.train import train

ROOT = Path(__file__).resolve().parent.parent


def python(script, cwd=ROOT):
    "What `script` prints as JSON, in a Python of its own"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=True
    )
    return json.loads(done.stdout.strip().split("\n")[-1])


def seconds(script, *args, cwd=ROOT):
    """What a Python with `script` asks of the processor, from start to end: the best of three,
    since whatever disturbs it adds"""
    resource = pytest.importorskip("resource")
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-c", script, *map(str, args)]
        subprocess.run(command, capture_output=True, cwd=cwd, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def scripts():
    "name → what a shell runs for it, of every command in settings.ini"
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    lines = [s.split("=") for s in config["DEFAULT"]["console_scripts"].split()]
    parts = {name: place.split(":") for name, place in lines}
    return {
        name: f"import sys; from {module} import {path.split('.')[0]}; sys.exit({path}())"
        for name, (module, path) in parts.items()
    }


@pytest.mark.parametrize("name", scripts())
def test_help_comes_at_once(name):
    "Without torch, whose import alone takes longer than the half second"
    assert seconds(scripts()[name], "--help") < 0.5


def test_first_boxes_of_a_photo(tmp_path):
    """Imports, model, network, boxes and pictures within 3 s; where torch's own import, which
    is most of it, takes longer than 2 s, within one and a half times that"""
    Image.new("RGB", (640, 360), "gray").save(tmp_path / "photo.jpg")
    found = seconds(scripts()["centernet_detect"], "photo.jpg", "--size", 640, cwd=tmp_path)
    torchs = seconds("import torch")
    assert found < max(3, 1.5 * torchs), f"{found:.2f} s, of which torch's import {torchs:.2f}"


def test_detecting_imports_neither_torchvision_nor_matplotlib(tmp_path):
    "Nor torch's compiler; each of the three takes about as long as torch"
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    loaded = python(
        "import json, sys; from centernet_nb.commands import centernet_detect; "
        'centernet_detect(["photo.png"], size=[64]); print(); '
        'heavy = ("torchvision", "matplotlib", "torch._dynamo", "pycocotools"); '
        "print(json.dumps([m for m in heavy if m in sys.modules]))",
        tmp_path,
    )
    assert loaded == []


def test_importing_train_adds_little_to_torch():
    """At most 10 % of importing torch and torchvision, in processor time; the least disturbed
    of five tries"""
    script = (
        "import time, json; a = time.process_time(); import torch, torchvision; b = "
        "time.process_time(); "
        "from centernet_nb.train import train; print(json.dumps((time.process_time() - b)/(b "
        "- a)))"
    )
    assert min(python(script) for _ in range(5)) <= 0.10


def test_importing_train_draws_nothing():
    "matplotlib, pycocotools and ONNX wait until they are needed"
    loaded = python(
        "import json, sys; from centernet_nb.train import train; print(json.dumps([m for m "
        'in ("matplotlib", "pycocotools", "onnx", "onnxruntime", "IPython", "nbdev") if m in '
        "sys.modules]))"
    )
    assert loaded == []


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_make_run_stays_under_three_gigabytes(tmp_path):
    "The recipe of `make run`, a few steps of it, evaluation and pictures included"
    script = (
        "import json, resource; from centernet_nb.tinycoco import train_tinycoco; "
        'train_tinycoco(steps=4, out="run"); '
        "print(); print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    assert python(script, tmp_path) < 3 * 2**20


def test_no_ratio_has_collapsed():
    """Decoding, targets and loss, and what of a step and a photo is not the network stand as
    benchmarks/bench.json has them, with room for noise; each row proves its result first"""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/bench.py", "--guard"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def bench(monkeypatch):
    "benchmarks/bench.py as a module"
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import bench

    return bench


def traced(monkeypatch, owner, name):
    """A list that grows by one at each call of `owner.name`: the package's functions that ran
    within, and type and layout of the maps it was given"""
    plain, seen = getattr(owner, name), []
    package = str(ROOT / "centernet_nb")

    def recorded(self, points, *args, **kwargs):
        ran = set()

        def note(frame, event, _):
            if event == "call" and frame.f_code.co_filename.startswith(package):
                ran.add(frame.f_code.co_name)

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            return plain(self, points, *args, **kwargs)
        finally:
            sys.setprofile(before)
            last = points.is_contiguous(memory_format=torch.channels_last)
            seen.append((ran, points.dtype, last))

    monkeypatch.setattr(owner, name, recorded)
    return seen


def timed_by(bench, monkeypatch, rows, count):
    "What the first `count` rows of a group time as ours, each called once"
    ours, fake = [], dict(ratio=1, low=1, high=1, ours_ms=1)

    def once(f, other, *args):
        ours.append(f)
        f()
        return fake

    monkeypatch.setattr(bench, "alone", once)
    monkeypatch.setattr(bench, "paired", once)
    assert len(list(islice(rows(), count))) == count
    return ours


def test_rows_time_the_calls_of_train(bench, monkeypatch):
    """The loss's row runs the functions that `train` runs, on maps of the same type and
    layout; the decoder's row those of validation and of `centernet_detect`"""
    scenes = SceneDataset(2, size=64)
    losses = traced(monkeypatch, CenterNetLoss, "forward")
    decoded = traced(monkeypatch, CenterNet, "decode")
    criterion = CenterNetLoss(from_logits=True, gaussian="adaptive")
    net = train(
        scenes, valid=scenes, criterion=criterion, steps=2, batch_size=2, progress=False
    )
    detect(net, Image.new("RGB", (64, 64)))
    trained, validated, detected = (
        losses[-1],
        decoded[0],
        decoded[-1],
    )  # the first makes its encoder
    losses.clear()
    decoded.clear()
    timed_by(bench, monkeypatch, bench.loss_rows, 1)
    assert losses[-1] == trained
    timed_by(bench, monkeypatch, bench.decode_rows, 1)
    assert "decode_peaks" in decoded[-1][0] & validated[0] & detected[0]  # the rest is size


@pytest.fixture
def photos(tmp_path):
    "A folder of photos and their annotations"
    return CocoObjects(tmp_path, generate_scenes(tmp_path, 2, size=64), size=64)


def counted(monkeypatch, owner, name):
    "A list that grows by one at each call of `owner.name`"
    plain, calls = getattr(owner, name), []
    note = lambda *args, **kwargs: (calls.append(1), plain(*args, **kwargs))[1]
    monkeypatch.setattr(owner, name, note)
    return calls


@pytest.mark.parametrize(
    "group, owner, name",
    [("step", Run, "step"), ("options", Run, "step"), ("loader", CocoObjects, "__getitem__")],
)
def test_rows_call_what_train_calls(bench, monkeypatch, photos, group, owner, name):
    "A step is `Run.step`, a sample is `CocoObjects`': in `train`, and timed as ours"
    calls = counted(monkeypatch, owner, name)
    train(photos, steps=1, batch_size=2, progress=False)
    assert calls
    calls.clear()
    timed_by(bench, monkeypatch, bench.ROWS[group], 1)
    assert calls


def test_picture_row_calls_what_centernet_detect_calls(bench, monkeypatch, photos, tmp_path):
    "From a file to boxes it is `detect`, whichever way its model was found"
    monkeypatch.setattr(bench, "forms", lambda net, folder: dict(eager=None))
    calls = counted(monkeypatch, detecting, "smallest_canvas")
    centernet_detect([photos.path(0)], size=[64], out=str(tmp_path / "out"))
    assert calls
    calls.clear()
    timed_by(bench, monkeypatch, bench.picture_rows, 1)
    assert calls


def test_shares_are_of_the_calls_themselves(bench, monkeypatch, tmp_path):
    "What the profile calls network is nearly all of a step, and its stages are all of it"
    steps = counted(monkeypatch, Run, "step")
    rounds = [*bench.step_stages(tmp_path, rounds=3)]
    assert len(steps) == 4 and all(all(times.values()) for times in rounds), rounds
    shares = [bench.rest(times) / sum(times.values()) for times in rounds]
    assert min(shares) < 0.1, rounds  # whatever disturbs a step adds to it


@pytest.mark.parametrize("group, owner", [("loss", CenterNetLoss), ("decode", CenterNet)])
def test_guard_sees_a_slowdown_of_two_times(bench, monkeypatch, group, owner):
    "The first row of a group passes as it is, and fails where each call does its work twice"

    def measure(name):
        row = next(bench.ROWS[name]())
        yield {**row, "group": name, "machine": bench.machine()}

    quick = (
        f"quick-{group}"  # whatever disturbs a measurement hides our speed: the best of three
    )
    now = max((next(measure(quick)) for _ in range(3)), key=lambda r: r["ratio"])
    bench.guard(measure, [quick], [now])
    name = dict(loss="forward", decode="decode")[group]
    once = getattr(owner, name)

    def twice(self, points, *args):
        if getattr(self, "obj_to_points", None):  # the row's rival, the loss on dense maps
            return once(self, points, *args)
        again = once(self, points, *args)
        if points.requires_grad:
            again.sum().backward(retain_graph=True)
            points.grad = None
        return once(self, points, *args)

    monkeypatch.setattr(owner, name, twice)
    with pytest.raises(SystemExit, match="far from the stored ratio"):
        bench.guard(measure, [quick], [now])


def test_guard_wants_every_row_stored(bench):
    "A row of which nothing is known cannot fail"
    row = dict(row="x", against="y", ratio=1, group="quick-loss")
    with pytest.raises(SystemExit, match="no ratio is stored of 'x'"):
        bench.guard(lambda name: [row], ["quick-loss"], [])
