"""The same tree under nbdev 3: export and two lessons, in a side environment. `make test-
nbdev3`

    python tools/nbdev3.py [FOLDER]    the environment is made in FOLDER, or in a temporary one
    python tools/nbdev3.py --all        every notebook

nbdev 2 is what the project is developed with (CONTRIBUTING says which does what); nbdev 3 must
be able to take over. The side environment holds nbdev 3 and what it brings (fastcore 2, …);
everything else, torch above all, is borrowed from this one."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERY_MODULE = """
import importlib, pkgutil, fastcore, centernet_nb
assert fastcore.__version__ >= "2", fastcore.__version__
for m in pkgutil.iter_modules(centernet_nb.__path__):
    importlib.import_module("centernet_nb." + m.name)
"""
LESSONS = "nbs/01_head.ipynb", "nbs/04_nms.ipynb"


def side_environment(folder, wanted="nbdev>=3,<4"):
    """The Python of an environment in `folder` with `wanted`, that sees this one's packages
    behind its own and holds only what these lack"""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        its = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
        Path(its.stdout.strip(), "borrowed.pth").write_text(
            sysconfig.get_path("purelib") + "\n", encoding="utf-8"
        )
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
        subprocess.run([*pip, wanted], check=True)
        (folder / "ready").touch()
    return python


def run(python, code, copy):
    "`code` in the side environment, in the copy"
    env = {**os.environ, "PYTHONPATH": str(copy), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([python, "-c", code], cwd=copy, env=env)
    if done.returncode:
        sys.exit("under nbdev 3 this failed: " + code)


def without_directives(path):
    "A module's text; nbdev 3 leaves out nbdev's directives"
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#|")]


def exports(copy):
    """Files of the package that nbdev 3 would write otherwise; the index, which states
    addresses, aside"""
    names = {
        p.relative_to(r) for r in (ROOT, copy) for p in (r / "centernet_nb").rglob("*.py")
    }
    same = lambda name: without_directives(ROOT / name) == without_directives(copy / name)
    return sorted(str(n) for n in names if n.name != "_modidx.py" and not same(n))


def main(folder, lessons):
    python = side_environment(folder)
    with tempfile.TemporaryDirectory() as tmp:
        copy = Path(tmp) / "copy"
        leave = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        for name in ("nbs", "centernet_nb"):
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=leave)
        for name in ("settings.ini", "pyproject.toml", "README.md", "_quarto.yml"):
            shutil.copy(ROOT / name, copy / name)
        subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
        run(
            python,
            "import nbdev; assert nbdev.__version__.startswith('3.'), nbdev.__version__",
            copy,
        )
        run(python, "from nbdev.doclinks import nbdev_export; nbdev_export()", copy)
        if changed := exports(copy):
            sys.exit("nbdev 3 exports these files otherwise: " + ", ".join(changed))
        run(python, EVERY_MODULE, copy)
        for lesson in lessons:
            test = (
                f"from nbdev.test import nbdev_test; nbdev_test('{lesson}', n_workers=0, "
                f"do_print=True)"
            )
            run(python, test, copy)
    print(f"nbdev 3 exports the same and runs {', '.join(lessons)}")


if __name__ == "__main__":
    folder = [Path(a).absolute() for a in sys.argv[1:] if a != "--all"]
    with tempfile.TemporaryDirectory() as tmp:
        main(*folder or [Path(tmp) / "side"], ["nbs"] if "--all" in sys.argv else LESSONS)
