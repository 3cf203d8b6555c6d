"""The project's checks: notebooks run, export and cleaning change nothing, README in sync,
tests pass.

python tools/check.py            all of it
python tools/check.py --short    only the notebooks that read data from outside, and no other
                                 tests
python tools/check.py --lesson 01_head    export, clean and run this notebook alone
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from filecmp import cmp
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA_WORDS = ("find_tinycoco", "CENTERNET_NB_DATA", "find_icdar2015")


def run(*command, cwd=ROOT, **env):
    "Run `command` in `cwd`, its output passing through; a failure ends the checks."
    start = time.time()
    print(
        "$",
        *[Path(c).name if c == sys.executable else c for c in map(str, command)],
        flush=True,
    )
    done = subprocess.run([str(c) for c in command], cwd=cwd, env={**os.environ, **env})
    print(f"  {time.time() - start:.0f} s", flush=True)
    if done.returncode:
        sys.exit(done.returncode)


def nbdev(command, *args, cwd=ROOT, **env):
    "Run nbdev's `command` of this very environment."
    run(Path(sysconfig.get_path("scripts")) / command, *args, cwd=cwd, **env)


def notebooks():
    return sorted(
        p
        for p in (ROOT / "nbs").rglob("*.ipynb")
        if not any(q.startswith((".", "_")) for q in p.parts[-3:])
    )


def test_notebooks(short=False):
    "Every cell of every notebook, two notebooks side by side, each on one core."
    # Without this, two notebooks with two threads each fight for two cores and both lose.
    threads = max(1, (os.cpu_count() or 2) // 2)
    env = dict(
        OMP_NUM_THREADS=str(threads),
        MKL_NUM_THREADS=str(threads),
        MPLBACKEND="agg",
        TQDM_MININTERVAL="10",
    )
    args = ["--n_workers", "2", "--timing", "--do_print"]
    if short:
        wanted = [
            p.stem
            for p in notebooks()
            if any(w in p.read_text(encoding="utf-8") for w in DATA_WORDS)
        ]
        args += ["--file_re", f"^({'|'.join(wanted)})[.]ipynb$"]
    nbdev("nbdev_test", *args, **env)


def test_in_sync():
    "`nbdev_export` and `nbdev_clean`, run on a copy, leave every file as it is committed."
    with tempfile.TemporaryDirectory() as tmp:
        copy = Path(tmp) / "copy"
        copy.mkdir()
        for name in ("nbs", "centernet_nb", "settings.ini", "README.md", "_quarto.yml"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source,
                    copy / name,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
                )
            else:
                shutil.copy(source, copy / name)
        subprocess.run(
            ["git", "init", "-q"], cwd=copy
        )  # nbdev looks for the repository's root
        nbdev("nbdev_export", cwd=copy, PYTHONPATH=str(copy))
        nbdev("nbdev_clean", cwd=copy, PYTHONPATH=str(copy))
        files = [
            p
            for d in ("nbs", "centernet_nb")
            for p in (copy / d).rglob("*")
            if p.suffix in (".ipynb", ".py")
        ]
        changed = [
            str(p.relative_to(copy))
            for p in files
            if not (ROOT / p.relative_to(copy)).exists()
            or not cmp(p, ROOT / p.relative_to(copy), shallow=False)
        ]
    if changed:
        sys.exit(
            "nbdev_export or nbdev_clean changes these files; run both and commit: "
            + ", ".join(sorted(changed))
        )
    print(f"  export and cleaning change none of {len(files)} files", flush=True)


def lesson(name):
    "Export, clean and run one notebook, named by its stem or its path."
    found = [p for p in notebooks() if p.stem == Path(name).stem]
    if len(found) != 1:
        sys.exit(
            f"no notebook is called {name!r}: NB is one of "
            f"{', '.join(p.stem for p in notebooks())}"
        )
    nbdev("nbdev_export", "--path", found[0])
    nbdev("nbdev_clean", "--fname", found[0])
    nbdev("nbdev_test", "--path", found[0], "--n_workers", "0", "--do_print", MPLBACKEND="agg")


def main(short=False):
    data = os.environ.get("CENTERNET_NB_DATA")
    print(
        f"checks {'(short) ' if short else ''}with "
        f"{'CENTERNET_NB_DATA set' if data else 'no CENTERNET_NB_DATA'}",
        flush=True,
    )
    if not short:
        run(Path(sysconfig.get_path("scripts")) / "ruff", "check", "--no-cache")
        test_in_sync()
        run(sys.executable, "tools/build_docs.py", "--check")
    test_notebooks(short)
    if not short:
        run(sys.executable, "-m", "pytest", "-q", "tests", "--durations=8")
    print(f"{len(notebooks())} notebooks in the project; all checks passed")


if __name__ == "__main__":
    if "--lesson" in sys.argv:
        lesson((sys.argv + [""])[sys.argv.index("--lesson") + 1])
    else:
        main("--short" in sys.argv)
