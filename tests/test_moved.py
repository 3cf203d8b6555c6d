"Names that have moved warn whoever asks for them at the old place: nothing of ours does"

import ast
import json
import re
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "centernet_nb"


def moved():
    "{module: names that it hands on with a warning}"
    found = {}
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "moved":
                found[path.stem] = {k.arg for k in node.keywords}
    return found


def sources():
    "(file, Python) of every module, test, tool and code cell"
    for folder in ("centernet_nb", "tests", "tools", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            yield path, path.read_text(encoding="utf-8")
    for path in (ROOT / "nbs").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            text = "".join(cell["source"]).splitlines()
            if cell["cell_type"] == "code":
                yield path, "\n".join(re.sub(r"^(\s*)[!%].*", r"\1pass", s) for s in text)


def uses(source):
    "(module, name) of what the code `source` takes from modules of the package"
    tree, modules = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            home = (node.module or "").removeprefix("centernet_nb").strip(".")
            for a in node.names:
                modules |= {} if home else {a.asname or a.name: a.name}
                yield home, a.name
        if isinstance(node, ast.Import):
            modules |= {a.name: a.name.removeprefix("centernet_nb.") for a in node.names}
            modules |= {a.asname: a.name.removeprefix("centernet_nb.") for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield modules.get(ast.unparse(node.value)), node.attr


def test_uses_are_seen():
    "Each way to take a name from a module"
    assert ("train", "Samples") in set(uses("from centernet_nb.train import Samples"))
    assert ("train", "Samples") in set(uses("from .train import Samples"))
    assert ("train", "Samples") in set(uses("from centernet_nb import train\ntrain.Samples"))
    assert ("train", "Samples") in set(uses("import centernet_nb.train as t\nt.Samples"))
    assert "Samples" in moved()["train"]


def test_nothing_of_ours_asks_at_the_old_place():
    gone, found = moved(), []
    for path, source in sources():
        try:
            taken = set(uses(source))
        except SyntaxError:  # a cell with a magic in the middle of a line
            pytest.fail(f"{path} cannot be read:\n{source[:300]}")
        found += [(path.name, m, n) for m, n in taken if n in gone.get(m, ())]
    assert not found
