"What the package costs before it does anything: time to import, memory of a training"

import json
import os
import subprocess
import sys
from pathlib import Path
import pytest
import torch
from PIL import Image
from centernet_nb.commands import detect
from centernet_nb.loss import CenterNetLoss
from centernet_nb.network import CenterNet
from centernet_nb.shapes import SceneDataset
from centernet_nb.train import train

ROOT = Path(__file__).resolve().parent.parent


def python(script, cwd=ROOT):
    "What `script` prints as JSON, in a Python of its own"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, check=True
    )
    return json.loads(done.stdout.strip().split("\n")[-1])


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
    """Decoding, targets and loss, and a step's overhead stand where benchmarks/bench.json has
    them, with room for noise; each row proves its result first"""
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
    ours = []
    fake = dict(ratio=1, low=1, high=1, ours_ms=1)
    monkeypatch.setattr(
        bench, "alone", lambda f, other, rounds=0: (ours.append(f), f(), fake)[-1]
    )
    found = rows()
    assert all(next(found) for _ in range(count))
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


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="minutes long: SOAK=1")
@pytest.mark.parametrize("group, owner", [("loss", CenterNetLoss), ("decode", CenterNet)])
def test_guard_sees_a_slowdown_of_two_times(bench, monkeypatch, group, owner):
    "The first row of a group passes as it is, and fails where each call does its work twice"
    stored = bench.kept(bench.TABLE, [])

    def measure(name):
        row = next(bench.ROWS[name]())
        yield {**row, "group": name, "machine": bench.machine()}

    now = next(measure(group))
    assert any((r["row"], r["against"]) == (now["row"], now["against"]) for r in stored)
    bench.guard(measure, [group], [now])
    name = dict(loss="forward", decode="decode")[group]
    once = getattr(owner, name)

    def twice(self, points, *args):
        again = once(self, points, *args)
        if points.requires_grad:
            again.sum().backward(retain_graph=True)
            points.grad = None
        return once(self, points, *args)

    monkeypatch.setattr(owner, name, twice)
    with pytest.raises(SystemExit, match="far from the stored ratio"):
        bench.guard(measure, [group], [now])
