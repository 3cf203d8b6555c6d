"""Notebooks read and rewritten: bodies cut, text exchanged, answers and links taken out"""

import ast
import json
import re
from pathlib import Path

LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")
ANSWER = re.compile(r"[ \t]*<details>.*?</details>[ \t]*\n?", re.S)
EXPORT = re.compile(r"^#\| *exporti?\b", re.M)
MODULE = re.compile(r"^#\| *default_exp +(\S+)", re.M)


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write(nb, path):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")


def source(cell):
    return "".join(cell["source"])


def set_source(cell, text):
    cell["source"] = text.splitlines(keepends=True)


def exported(nb):
    "(module, source) of what a notebook exports; None where it exports nothing"
    codes = [source(c) for c in nb["cells"] if c["cell_type"] == "code"]
    name = next((m[1] for m in map(MODULE.search, codes) if m), None)
    if name is None:
        return None
    parts = [re.sub(r"^#\|.*\n", "", c, flags=re.M) for c in codes if EXPORT.search(c)]
    return name, "\n\n".join(parts) + "\n"


def names_of(node, parent):
    "What a definition may be called in `cut`: its own name, and with its class"
    first = node.args.args[:1] if isinstance(node, ast.FunctionDef) else []
    owner = parent or (
        ast.unparse(first[0].annotation) if first and first[0].annotation else ""
    )
    return {node.name, f"{owner}.{node.name}"}


def functions_to_cut(tree, cut, inside=False, parent=""):
    "(function, its full name, which of `cut` named it), also of a class that is named"
    for node in getattr(tree, "body", []):
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        names = names_of(node, parent)
        hit = names & cut
        if isinstance(node, ast.ClassDef):
            below = functions_to_cut(node, cut, inside or bool(hit), node.name)
            yield from ((f, full, used | hit) for f, full, used in below)
        elif hit or inside:
            yield node, max(names, key=len).strip("."), hit


def without_body(lines, node, name, note):
    "`lines` with the body of one function gone, its docstring kept"
    body = node.body
    doc = isinstance(body[0], ast.Expr) and isinstance(
        getattr(body[0], "value", 0), ast.Constant
    )
    stop = f'raise NotImplementedError("{name} is not written yet")'
    if doc and len(body) > 1:
        at, indent = body[0].end_lineno, " " * body[0].col_offset
    elif (
        body[0].lineno > node.lineno
        and lines[body[0].lineno - 1][: body[0].col_offset].isspace()
    ):
        at, indent = body[0].lineno - 1, " " * body[0].col_offset
    else:  # on the line of the colon
        first = body[0]
        before = lines[first.lineno - 1].encode()[: first.col_offset].decode()
        return [*lines[: first.lineno - 1], before + stop, *lines[node.end_lineno :]]
    notes = [indent + f"# later code uses {note}"] if note else []
    return [*lines[:at], *notes, indent + stop, *lines[node.end_lineno :]]


def cut_cell(text, cut, uses):
    "(`text` without the bodies named in `cut`, which of them were here)"
    lines, done = text.split("\n"), set()
    found = functions_to_cut(ast.parse(text), cut)
    for node, name, used in sorted(found, key=lambda f: -f[0].lineno):
        done |= used
        owner = name.split(".")[0]
        note = uses.get(owner, "") if name.endswith("__init__") else ""
        lines = without_body(lines, node, name, note)
    return "\n".join(lines), done


def drop_links(text, travels):
    "Links to pages that do not travel become their words"
    return LINK.sub(lambda m: m[0] if m[2].split("#")[0] in travels else m[1], text)


def edited(nb, edits, travels):
    "A lesson as the course has it, bodies still in: cells dropped, texts exchanged"
    kept = [c for c in nb["cells"] if c.get("id") not in edits.get("drop", [])]
    pairs = {old: 0 for old, _ in edits.get("replace", [])}
    for cell in kept:
        text = source(cell)
        for old, new in edits.get("replace", []):
            pairs[old] += text.count(old)
            text = text.replace(old, new)
        if cell["cell_type"] == "markdown":
            text = drop_links(ANSWER.sub("", text), travels)
        if cell.get("id") in edits.get("stored", []):
            text = "#| eval: false\n" + text
        set_source(cell, text)
    missed = [old for old, n in pairs.items() if not n]
    gone = set(edits.get("drop", [])) - {c.get("id") for c in nb["cells"]}
    if missed or gone:
        raise SystemExit(f"course.toml: not in the lesson any more: {missed} {sorted(gone)}")
    nb["cells"] = [c for c in kept if source(c).strip()]
    return nb


def without_solutions(nb, cut, uses):
    "The same with the bodies cut; stops where one is not found"
    done = set()
    for cell in nb["cells"]:
        if cell["cell_type"] == "code" and EXPORT.search(source(cell)):
            text, here = cut_cell(source(cell), cut, uses)
            done |= here
            set_source(cell, text)
    if cut - done:
        raise SystemExit(f"course.toml: nothing to cut is called {sorted(cut - done)}")
    return nb
