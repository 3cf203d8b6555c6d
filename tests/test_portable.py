"""What a stranger's machine has otherwise: an old Python, half an environment, another locale,
an awk that is not GNU's, no GPU but Apple's"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
import pytest
import torch
from centernet_nb.run import join_processes

ROOT = Path(__file__).resolve().parent.parent
OLD = """#!/bin/sh
exec {python} -c 'import sys; sys.version_info = (3, 9, 2); exec(sys.argv[2])' "$@"
"""
# makes an environment whose python only writes down what it is asked to do
STANDIN = """#!/bin/sh
case "$*" in
  *" venv "*)
    PYTHON "$@" --without-pip || exit 1
    rm "$4/bin/python"
    printf '#!/bin/sh\\necho "$@" >> pip.log\\n' > "$4/bin/python"
    chmod +x "$4/bin/python" ;;
  *) exec PYTHON "$@" ;;
esac
"""


def make(folder, *args):
    "What `make` says in `folder`, which holds the Makefile and what it asks for"
    for name in ("Makefile", "constraints.txt", "settings.ini", "setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    ours = ("VENV", "PYTHON", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    env = {k: v for k, v in os.environ.items() if k not in ours}  # of the make that tests
    command = ["make", "--no-print-directory", *args]
    how = dict(cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    return subprocess.run(command, **how)


has_make = pytest.mark.skipif(
    os.name == "nt" or not shutil.which("make"), reason="no make, or no shell of POSIX"
)


@has_make
def test_an_unsuitable_python_is_named_before_anything_is_made(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text(OLD.format(python=sys.executable), encoding="utf-8")
    old.chmod(0o755)
    done = make(tmp_path, "run", f"PYTHON={old}")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert done.returncode and len(said) == 1, done.stderr
    assert "is Python 3.9, and 3.11 or newer is needed" in said[0]
    assert not done.stdout and not (tmp_path / ".venv").exists()


@has_make
def test_half_an_environment_is_made_anew(tmp_path):
    "What a failed attempt left goes; `pip` is a stand-in here, which writes down its call"
    left = tmp_path / ".venv/lib/left"
    left.parent.mkdir(parents=True)
    left.write_text("by an attempt that failed", encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(STANDIN.replace("PYTHON", sys.executable), encoding="utf-8")
    python.chmod(0o755)
    done = make(tmp_path, ".venv/ready", f"PYTHON={python}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not left.exists() and (tmp_path / ".venv/ready").exists()
    assert "making the environment .venv" in done.stdout
    assert (tmp_path / "pip.log").exists()


@has_make
def test_make_help_needs_no_gnu_tool(tmp_path):
    "Every target that says what it does is listed"
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    done = make(tmp_path, "help")
    assert done.returncode == 0 and "sed " not in text
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {"run", "test", "docs", "help", "soak"} <= listed
    assert len(listed) == sum("## " in line and line[0] != "\t" for line in text.splitlines())


def calls_without_encoding(source):
    "Lines that open text in whatever coding the machine likes best"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        said = {k.arg for k in node.keywords}
        modes = [k.value for k in node.keywords if k.arg == "mode"] + node.args[1:2]
        mode = next((m.value for m in modes if isinstance(m, ast.Constant)), "r")
        text = name in ("read_text", "write_text") or (
            name == "open" and isinstance(node.func, ast.Name) and "b" not in mode
        )
        if text and "encoding" not in said and "'/proc/" not in ast.unparse(node):
            yield node.lineno, ast.unparse(node)[:80]


@pytest.mark.parametrize("folder", ["centernet_nb", "tools"])
def test_no_text_depends_on_the_locale(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    found = [
        (f.name, *call)
        for f in files
        for call in calls_without_encoding(f.read_text(encoding="utf-8"))
    ]
    assert files and not found, found


def test_the_check_for_encodings_can_fail():
    bad = "open('a')\nopen('a', 'w')\np.read_text()\nPath('x').write_text('é')\n"
    assert [n for n, _ in calls_without_encoding(bad)] == [1, 2, 3, 4]
    good = "open('a', 'rb')\nopen('a', encoding='utf-8')\nImage.open('x')\np.read_bytes()\n"
    assert not [*calls_without_encoding(good)]


POSIX = {"resource", "fcntl", "pwd", "grp", "termios", "tty"}


def test_every_file_can_be_imported_on_windows():
    """Nothing imports at its top what only POSIX has: on Windows no test of a file would run.
    The grader forks, and says so there"""
    for folder in ("centernet_nb", "tests", "tools", "benchmarks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.name == "sandbox.py":
                continue
            top = ast.parse(file.read_text(encoding="utf-8")).body
            for node in [n for n in top if isinstance(n, ast.Import | ast.ImportFrom)]:
                names = {a.name for a in node.names} | {getattr(node, "module", None)}
                assert not names & POSIX, f"{file.name}, line {node.lineno}: {names & POSIX}"


@pytest.mark.parametrize("cuda, mps, chosen", [(0, 1, "mps"), (0, 0, "cpu"), (1, 1, "cuda")])
def test_the_device_that_is_there(monkeypatch, cuda, mps, chosen):
    "A GPU of NVIDIA's, else Apple's, else the processor; what is asked for is taken"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert join_processes()[2].type == chosen
    assert join_processes("cpu")[2].type == "cpu"
