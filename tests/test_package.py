"""sdist and wheel: they build, pass twine's check, and run from an empty environment that
borrows torch"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "settings.ini setup.py pyproject.toml MANIFEST.in README.md LICENSE NOTICE "
    "CHANGELOG.md centernet_nb tests"
)


def run(*command, cwd, **env):
    "What a command prints; a failure is shown whole"
    env = {**os.environ, "PYTHONPATH": "", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1", **env}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """(sdist, wheel), the wheel built from the sdist, of a copy without anything that is
    ignored by git"""
    for needed in ("build", "setuptools", "wheel"):
        pytest.importorskip(needed)
    copy = tmp_path_factory.mktemp("source")
    leave = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in PARTS.split():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=leave)
        else:
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=copy)
    (sdist,), (wheel,) = (list((copy / "dist").glob(kind)) for kind in ("*.tar.gz", "*.whl"))
    return sdist, wheel


def test_twine(built):
    pytest.importorskip("twine")
    run(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=built[0].parent)


def test_contents(built):
    "In the sdist only what the package is built from; in the wheel only the package"
    with tarfile.open(built[0]) as t:
        inside = {m.name.partition("/")[2] for m in t if m.isfile()}
    assert {"settings.ini", "LICENSE", "NOTICE", "README.md", "centernet_nb/loss.py"} <= inside
    others = {
        p
        for p in inside
        if p.split("/")[0] in ("nbs", "tests", "tools", "benchmarks", "_docs")
    }
    assert not others
    with zipfile.ZipFile(built[1]) as z:
        names = z.namelist()
    assert all(n.startswith("centernet_nb") for n in names)
    models = {
        f"centernet_nb/models/{p.name}" for p in (ROOT / "centernet_nb/models").iterdir()
    }
    assert models <= set(names) and any(n.endswith("licenses/NOTICE") for n in names)


def test_metadata(built):
    "Licence, addresses, classifiers; no link of the README depends on where it is shown"
    with zipfile.ZipFile(built[1]) as z:
        text = z.read(next(n for n in z.namelist() if n.endswith("METADATA"))).decode()
    m = message_from_string(text)
    assert m["License-Expression"] == "Apache-2.0" and m["Requires-Python"] == ">=3.11"
    addresses = {u.partition(", ")[0] for u in m.get_all("Project-URL")}
    assert {"Documentation", "Source", "Issues", "Changelog"} <= addresses
    assert "Programming Language :: Python :: 3.13" in m.get_all("Classifier")
    assert not any(r.startswith("fastcore<") for r in m.get_all("Requires-Dist"))
    links = re.findall(r"\]\(([^)]+)\)|(?:src|href)=\"([^\"]+)", m.get_payload())
    links = ["".join(pair) for pair in links]
    assert len(links) > 10 and all(re.match("https?:|#", link) for link in links), links


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory):
    """The folder of the commands of an environment that holds the wheel and, borrowed, what it
    depends on"""
    home = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", "--without-pip", home / "venv", cwd=home)
    bin = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = bin / ("python.exe" if os.name == "nt" else "python")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    run(*pip, built[1], cwd=home)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    its = Path(run(python, "-c", where, cwd=home).strip())
    (its / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = run(
        python, "-c", "import centernet_nb; print(centernet_nb.__file__)", cwd=home
    ).strip()
    assert Path(found).is_relative_to(its), f"{found} is not the package that was installed"
    return bin


def test_every_command(installed, tmp_path):
    "Each of them in earnest, if only for a few steps, in an empty folder and without any data"
    env = dict(CENTERNET_NB_CACHE=str(tmp_path / "cache"), CENTERNET_NB_DATA="")
    call = lambda name, *args: run(installed / name, *args, cwd=tmp_path, **env)
    python = installed / "python"
    make = (
        "from centernet_nb.shapes import generate_scenes as g; g('train', 8, size=64); "
        "g('val', 4, seed=1, size=64)"
    )
    run(python, "-c", make, cwd=tmp_path)
    annotations = next((tmp_path / "train").glob("*.json")).name
    few = "--steps", "2"
    call(
        "centernet_train",
        "train",
        f"train/{annotations}",
        "--size",
        "64",
        "--epochs",
        "1",
        "--pretrained",
        "no",
        "--out",
        "run",
    )
    model = next((tmp_path / "run").glob("model.*"))
    call("centernet_eval", "val", f"val/{annotations}", model, "--size", "64")
    picture = next((tmp_path / "val").glob("*.jpg"))
    assert picture.name in call("centernet_detect", picture, "--threshold", "0.5")
    call("centernet_export", model)
    call("centernet_tinycoco", "--generated", *few, "--out", "coco")
    call("centernet_cocotext", *few, "--out", "words")
    assert len(list((tmp_path / "detections").glob("*.jpg"))) == 1
