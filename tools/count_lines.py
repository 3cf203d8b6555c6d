"""How many lines of code the package has: core, annex and toolbox. python tools/count_lines.py

Counted are lines that hold code: no blank ones, no comments, no docstrings.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = dict(core="nbs", annex="nbs/deeper", toolbox="nbs/toolbox")
NOT_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
)


def docstrings(tree):
    "Numbers of the lines that docstrings take"
    kinds = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in (n for n in ast.walk(tree) if isinstance(n, kinds) and n.body):
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(
            getattr(first.value, "value", None), str
        ):
            yield from range(first.lineno, first.end_lineno + 1)


def lines_of(text):
    "How many lines of a module's text hold code"
    code = set()
    for t in tokenize.generate_tokens(io.StringIO(text).readline):
        if t.type not in NOT_CODE:
            code.update(range(t.start[0], t.end[0] + 1))
    return len(code - set(docstrings(ast.parse(text))))


def counts(root=ROOT):
    "Room → lines of the modules whose notebooks stand in it"
    found = dict.fromkeys(ROOMS, 0)
    for room, folder in ROOMS.items():
        for path in (root / folder).glob("*.ipynb"):
            module = re.search(r"#\|\s*default_exp ([\w.]+)", path.read_text(encoding="utf-8"))
            if module:
                file = root / "centernet_nb" / (module[1].replace(".", "/") + ".py")
                found[room] += lines_of(file.read_text(encoding="utf-8"))
    return found


def sentence(root=ROOT):
    "What README says, to the nearest ten"
    core, annex, toolbox = (f"{round(n, -1):,}" for n in counts(root).values())
    return (
        f"Lines of code: {core} in the seven lessons, {annex} in the annex that makes them "
        f"fast and safe, "
        f"{toolbox} in the toolbox."
    )


def said(text):
    "The numbers of a sentence of that form in `text`, or None"
    m = re.search(
        r"Lines of code: ([\d,]+) .*? ([\d,]+) in the annex .*? ([\d,]+) in the toolbox",
        text,
        re.S,
    )
    return m and {room: int(n.replace(",", "")) for room, n in zip(ROOMS, m.groups())}


if __name__ == "__main__":
    print(sentence())
