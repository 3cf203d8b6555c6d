"""The built site for all who look at it. A `_docs` that is newer than everything it is made of
is used as it is; otherwise the site is built in a copy."""

import shutil
import subprocess
import sys
from pathlib import Path
import browser
import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE = "/centernet_nb/"


def fresh(site: Path) -> bool:
    "Is the site newer than every file it is made of?"
    if not (site / "index.html").exists():
        return False
    parts = [
        ROOT / "_quarto.yml",
        ROOT / "settings.ini",
        *(
            p
            for d in ("nbs", "centernet_nb", "tools")
            for p in (ROOT / d).rglob("*")
            if p.is_file()
            and p.suffix != ".pyc"
            and p.name not in ("nbdev.yml", "_modidx.py", ".last_checked")
        ),
    ]
    return max(p.stat().st_mtime for p in parts) <= (site / "index.html").stat().st_mtime


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    if fresh(ROOT / "_docs"):
        return ROOT / "_docs"
    if not shutil.which("quarto"):
        pytest.importorskip(
            "smalldocs",
            reason="neither Quarto nor smalldocs (Python 3.11 or newer) is here to build the "
            "site",
        )
    copy = tmp_path_factory.mktemp("site") / "copy"
    shutil.copytree(
        ROOT,
        copy,
        symlinks=True,
        ignore=lambda d, names: {
            n for n in names if n in (".git", ".venv", "_docs", "_proc", "__pycache__", "runs")
        },
    )
    done = subprocess.run(
        [sys.executable, "tools/build_docs.py"], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return copy / "_docs"


@pytest.fixture(scope="session")
def home(site):
    with browser.served(site, BASE) as address:
        yield address


@pytest.fixture(scope="session")
def desktop():
    with browser.Browser() as b:
        yield b


@pytest.fixture(scope="session")
def phone():
    with browser.Browser(phone=True) as b:
        yield b
