"What the package costs before it does anything: time to import, memory of a training"

import json
import subprocess
import sys
from pathlib import Path
import pytest

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
    """Decoding, targets, loss and a step's overhead stand where benchmarks/bench.json has
    them, loosely; each row proves its result first"""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/bench.py", "--guard"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
