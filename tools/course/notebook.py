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


def parted(lines, node):
    """(lines before a function's body, docstring included, its indent, its lines, lines after
    it); a body on the line of the colon gets a line of its own"""
    first, *rest = node.body
    doc = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", 0), str)
    after, indent = lines[node.end_lineno :], " " * (node.col_offset + 4)
    if doc and rest:
        at, indent = first.end_lineno, " " * first.col_offset
    elif lines[first.lineno - 1][: first.col_offset].isspace():
        at, indent = first.lineno - 1, " " * first.col_offset
    else:
        line = lines[first.lineno - 1].encode()
        head, own = (
            part.decode() for part in (line[: first.col_offset], line[first.col_offset :])
        )
        body = [indent + own, *lines[first.lineno : node.end_lineno]]
        return [*lines[: first.lineno - 1], head.rstrip()], indent, body, after
    return lines[:at], indent, lines[at : node.end_lineno], after


def stub(name, indent, body):
    return [f'{indent}raise NotImplementedError("{name} is not written yet")']


def region(name, indent, body):
    "The body between the marks that nbgrader looks for"
    return [f"{indent}### BEGIN SOLUTION", *body, f"{indent}### END SOLUTION"]


def cut_cell(text, cut, uses, instead=stub):
    "(`text` without the bodies named in `cut`, which of them were here)"
    lines, done = text.split("\n"), set()
    found = functions_to_cut(ast.parse(text), cut)
    for node, name, used in sorted(found, key=lambda f: -f[0].lineno):
        done |= used
        note = uses.get(name.split(".")[0], "") if name.endswith("__init__") else ""
        before, indent, body, after = parted(lines, node)
        notes = [f"{indent}# later code uses {note}"] if note else []
        lines = [*before, *notes, *instead(name, indent, body), *after]
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


def without_solutions(nb, cut, uses, instead=stub, note=lambda cell: None):
    "The same with the bodies cut, `note` called with each such cell; all must be found"
    done = set()
    for cell in nb["cells"]:
        if cell["cell_type"] == "code" and EXPORT.search(source(cell)):
            text, here = cut_cell(source(cell), cut, uses, instead)
            if text != source(cell):
                note(cell)
            done |= here
            set_source(cell, text)
    if cut - done:
        raise SystemExit(f"course.toml: nothing to cut is called {sorted(cut - done)}")
    return nb
