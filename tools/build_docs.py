"""`make docs`: the site in `_docs`, and README.md from nbs/index.ipynb.

With Quarto on PATH this is plain `nbdev_docs`; without, `nbdev_docs` runs with
`tools/quarto_lite.py` in Quarto's place. Nothing is downloaded.

    python tools/build_docs.py            README.md and the site
    python tools/build_docs.py --readme   README.md alone
    python tools/build_docs.py --check    only say whether README.md is in sync (exit status 1
                                          if not)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
import quarto_lite

ROOT = Path(__file__).resolve().parent.parent


def readme(root: Path = ROOT, check: bool = False) -> bool:
    """Write `root`/README.md from its nbs/index.ipynb, or with `check` only compare; returns
    whether it was in sync."""
    path, index = root / "README.md", root / "nbs" / "index.ipynb"
    nb = json.loads(index.read_text(encoding="utf-8"))
    if check:
        with tempfile.TemporaryDirectory() as tmp:
            text = quarto_lite.readme(nb, "nbs", Path(tmp) / "index_files")
        return path.exists() and path.read_text(encoding="utf-8") == text
    text = quarto_lite.readme(nb, "nbs", root / "index_files")
    same = path.exists() and path.read_text(encoding="utf-8") == text
    path.write_text(
        text, encoding="utf-8"
    )  # written in any case: nbdev asks for the time of its last change
    return same


def environment(tmp: Path) -> dict:
    """The environment that `nbdev_docs` runs in: the package of this checkout, this Python's
    commands, and a `quarto`."""
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PATH": path,
    }
    env.setdefault("MPLBACKEND", "agg")
    env.setdefault(
        "OMP_NUM_THREADS", "1"
    )  # two staging processes side by side; neither trains
    if shutil.which("quarto", path=path):
        return env
    command = tmp / "quarto"
    lite = ROOT / "tools" / "quarto_lite.py"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{lite}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return {**env, "PATH": f"{tmp}{os.pathsep}{path}"}


def build() -> None:
    "The site, from an empty staging folder (nbdev's staging goes by times of change)."
    if (ROOT / "nbs" / "index.ipynb").exists():
        readme()
    for folder in ("_proc", "_docs"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        done = subprocess.run(
            [sys.executable, "-c", "from nbdev.quarto import nbdev_docs; nbdev_docs()"],
            cwd=ROOT,
            env=environment(Path(tmp)),
        )
    if done.returncode or not (ROOT / "_docs").exists():
        raise SystemExit("no site was built: the reason stands above")
    done = subprocess.run([sys.executable, ROOT / "tools" / "check_site.py"], cwd=ROOT)
    if done.returncode:
        raise SystemExit("the site does not hold what its notebooks hold: see above")
    print(
        f"the site is in _docs: {sum(1 for _ in (ROOT / '_docs').rglob('*.html'))} pages; "
        f"open _docs/index.html through `python -m http.server -d _docs`"
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        if not readme(check=True):
            raise SystemExit("README.md is not what nbs/index.ipynb says: run `make readme`")
    elif "--readme" in sys.argv:
        readme()
    else:
        build()
