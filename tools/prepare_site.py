"""The `pre-render` step of _quarto.yml, run in nbdev's staging folder (`_proc`) whether Quarto
renders or `quarto_lite`.

It gives the staged notebooks what their sources need not hold (Colab and source links,
alternative texts, links between pages that work offline, the scripts of the interactive
figures), writes the API page from the package, and the detector page's ONNX file."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import posixpath
import re
import sys
from configparser import ConfigParser
from pathlib import Path
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
import check_site
import tables
from quarto_lite import front_matter, staged, text_of
from site_model import write_model

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {
    "figures.js": r"data-(figure|apart)=",
    "apart.js": r"data-apart=",
    "detector.js": r"data-detector",
}


def settings() -> dict:
    "The values of settings.ini."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


# ---------------------------------------------------------------- the staged notebooks


def shown_names(stage: Path) -> dict[str, set[str]]:
    "Page → anchors of the names that nbdev documents on it."
    shown = {}
    for path in staged(stage):
        if path.suffix != ".ipynb":
            continue
        outputs = [
            text_of(o.get("data", {}).get("text/markdown"))
            for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            for o in c.get("outputs", [])
        ]
        name = front_matter(path).get("output-file", path.with_suffix(".html").name)
        shown[path.relative_to(stage).with_name(name).as_posix()] = {
            h.lower() for text in outputs for h in re.findall(r"^#+ ([\w.]+)$", text, re.M)
        }
    return shown


def near_links(
    text: str, page: str, home: str, shown: dict[str, set[str]] | None = None
) -> str:
    """`text` with links to the published site (`home`), as nbdev writes them for names in
    backticks, made relative to `page`.

    A method that has no entry of its own leads to its class, a private name nowhere (`shown`:
    the anchors there are)."""
    folder, address = (
        posixpath.dirname(page) or ".",
        re.escape(home.rstrip("/")) + r"/([\w./-]+\.html)",
    )

    def name(m):
        _, code, target, anchor = m.groups()
        known = (shown or {}).get(target)
        if known is None or anchor in known:
            return m[0]
        owner = anchor.split(".")[0]
        return (
            f"[`{code}`]({home.rstrip('/')}/{target}#{owner})"
            if owner in known
            else f"`{code}`"
        )

    linked = r"(\[`([^`]+)`\]\()" + address + r"#([\w.]+)\)"
    text = re.sub(
        r"(?s)^```.*?^```$", lambda m: re.sub(linked, r"`\2`", m[0]), text, flags=re.M
    )  # nbdev links in code, too,
    text = re.sub(
        r"\[" + linked + r"\](?=\()", r"[`\2`]", text
    )  # and in what is a link already
    text = re.sub(linked, name, text)
    return re.sub(address, lambda m: posixpath.relpath(m[1], folder), text)


def plain(markdown: str) -> str:
    "A sentence or heading without its Markdown marks, quotes and line breaks."
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"<[^>]+>|[`*_#$]", "", markdown))
    return " ".join(text.replace('"', "'").replace("\\", "").split())


PICTURES = "image/png", "image/jpeg", "image/svg+xml"
SKIPPED = re.compile(
    r"test_\w+|assert_\w+|ExceptionExpected|float|int|len|list|range|abs|round|zip|tuple|str"
    r"|any|all|max|min|sum|set|sorted|isinstance|enumerate|dict"
)
DRAWN = re.compile(
    r"_|[a-z]|ax|axes|fig|figure|colour|title|titles|name|names|text|left|right|middle|dx|dy|loss|edges|weights"
)
LESSON = re.compile(r"0\d_\w+\.ipynb")
TRAINED = re.compile(r"0[56]_\w+\.ipynb")  # lessons that print reports


def has_picture(cell: dict) -> bool:
    "Does the cell show a picture?"
    return any(kind in o.get("data", {}) for o in cell.get("outputs", []) for kind in PICTURES)


def describe(cells: list[dict], i: int) -> str:
    """An alternative text for the picture of cell `i`, where its notebook has none: its
    caption, else the heading above and the sentence before it."""
    caption = re.search(r"^#\|\s*fig-cap:\s*(.+)$", text_of(cells[i]["source"]), re.M)
    if caption:
        return plain(caption[1].strip().strip("\"'"))
    before = [
        text_of(c["source"]).strip()
        for c in cells[:i]
        if c["cell_type"] == "markdown"
        and not text_of(c["source"]).startswith(("<!--", ":::"))
    ]
    heading = next(
        (h for t in reversed(before) for h in reversed(re.findall(r"^#+\s+(.+)$", t, re.M))),
        "",
    )
    prose = next((t for t in reversed(before) if not t.startswith("#") or "\n" in t), "")
    sentence = re.split(r"(?<=[.:!?])\s", plain(re.sub(r"^#+ .*$", "", prose, flags=re.M)))
    said = " ".join(s for s in sentence[-2:] if s)
    return f"Figure: {plain(heading)}. {said}"[:300].strip()


def quoted(text: str) -> str:
    "`text` as one line of YAML."
    return json.dumps(text, ensure_ascii=False)


def whole_alt(cell: dict) -> None:
    """Quotes the cell's `fig-alt`: an unquoted `: ` would end Quarto's and smalldocs'
    reading of the line."""

    def mend(m):
        text = m[2].strip()
        return m[0] if text[:1] in "\"'" else m[1] + quoted(text)

    cell["source"] = re.sub(
        r"^(#\|\s*fig-(?:alt|cap):[ \t]*)(.+)$", mend, text_of(cell["source"]), flags=re.M
    )


# ---------------------------------------------------------------- what folds


def checks(node: ast.AST) -> bool:
    "Is the statement a proof: an assert, a call of `test_…` or `assert_…`, a must-fail block?"
    if isinstance(node, ast.With):
        named = [i.context_expr for i in node.items]
        if any(called(e) == "ExceptionExpected" for e in named):
            return True
        return all(checks(n) for n in node.body)
    if isinstance(node, ast.For):
        return all(checks(n) for n in node.body)
    if isinstance(node, ast.Expr):
        return bool(re.match(r"test_|assert_", called(node.value)))
    return isinstance(node, ast.Assert)


def called(node: ast.AST) -> str:
    "The last part of the name that a call calls, else nothing."
    if not isinstance(node, ast.Call):
        return ""
    f = node.func
    return f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "")


def folded(cell: dict, later: list[ast.stmt] = ()) -> str | None:
    """The line that a folded cell hides under, None where it stays open: cells that only prove
    and cells that only draw are folded; a cell that defines what the code `later` uses never
    is. A `code-fold` of the cell's own decides."""
    source = text_of(cell["source"])
    code, body = re.sub(r"^#\|.*$", "", source, flags=re.M), statements(cell)
    if re.search(r"^#\|\s*code-fold:", source, re.M) or not body:
        return None
    if any(
        isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom))
        for n in body
    ):
        return None
    lines = len(code.strip().splitlines())
    if any(uses(name, later) for name in stored(body) if not DRAWN.fullmatch(name)):
        return None
    proofs = [n for n in body if checks(n)]
    if has_picture(cell):
        return f"The {lines} lines that draw this" if lines > 3 else None
    if proofs and lines > 3 and len(proofs) == len(body):
        return f"Proof: {subject(code)}"
    return None


def stored(body: list[ast.stmt]) -> set[str]:
    "The names that statements make, those of loops and comprehensions left out."
    names = (t for n in body for t in ast.walk(n) if isinstance(t, ast.Name))
    return {t.id for t in names if isinstance(t.ctx, ast.Store)} - looped(body)


def statements(cell: dict) -> list[ast.stmt]:
    "A code cell's statements; none where it is not Python."
    source = re.sub(r"^\s*[%!].*$", "", text_of(cell["source"]), flags=re.M)
    try:
        return ast.parse(source).body if cell["cell_type"] == "code" else []
    except SyntaxError:
        return []


def uses(name: str, later: list[ast.stmt]) -> bool:
    "Do the statements `later` read `name` before they make it anew?"
    for n in later:
        local = [f for f in ast.walk(n) if isinstance(f, (ast.FunctionDef, ast.Lambda))]
        own = {a.arg for f in local for a in ast.walk(f.args) if isinstance(a, ast.arg)}
        names = [t for t in ast.walk(n) if isinstance(t, ast.Name) and t.id == name]
        made = any(isinstance(t.ctx, ast.Store) for t in names)
        inside = isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.For)) and made
        value = getattr(n, "value", n) if isinstance(n, ast.Assign) else n
        read = any(isinstance(t, ast.Name) and t.id == name for t in ast.walk(value))
        if isinstance(n, ast.Assign):
            if read and not (name in own or name in looped([n])):
                return True
        elif any(isinstance(t.ctx, ast.Load) for t in names) and not (
            name in own or inside or name in looped([n])
        ):
            return True
        if made and not isinstance(n, (ast.FunctionDef, ast.ClassDef)):
            return False
    return False


def looped(body: list[ast.stmt]) -> set[str]:
    "The names that run in the loops and comprehensions of statements."
    return {
        t.id
        for n in body
        for c in ast.walk(n)
        if isinstance(c, (ast.comprehension, ast.For))
        for t in ast.walk(c.target)
        if isinstance(t, ast.Name)
    }


def subject(code: str) -> str:
    "What a proof is about: its first message or the names it tests."
    said = re.search(r"""assert .*?, f?(["'])(.{8,70}?)\1\s*$""", code, re.M)
    names = re.findall(r"\b([A-Za-z_]\w*)\(", code)
    names = list(dict.fromkeys(n for n in names if not SKIPPED.fullmatch(n)))[:3]
    count = len(re.findall(r"\b(?:assert|test_\w+|assert_\w+|ExceptionExpected)\b", code))
    number = f"{count} check{'s' * (count != 1)}"
    if names:
        return f"{number} of {', '.join(names)}"
    return said[2] if said and "{" not in said[2] else number


# ---------------------------------------------------------------- the written code


def show_code(nb: dict, original: dict) -> None:
    """In a lesson the exported code is what one came to read, and nbdev leaves it out: it
    stands again where it stood in `original`, its page of the API reduced to a heading."""
    cells, at = nb["cells"], {c.get("id"): c for c in original["cells"]}
    order = [c.get("id") for c in original["cells"]]
    place = {c.get("id"): i for i, c in enumerate(cells) if c.get("id") in at}
    for i in reversed(range(len(order))):
        source = text_of(at[order[i]]["source"])
        if order[i] in place or not re.match(r"#\|\s*exports?\s*$", source.split("\n")[0]):
            continue
        code = re.sub(r"^#\|.*\n", "", source, flags=re.M)
        body = ast.parse(code).body
        if all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in body):
            continue
        after = next((place[o] for o in order[i + 1 :] if o in place), len(cells))
        cell = dict(cell_type="code", metadata={}, outputs=[], execution_count=None)
        cells.insert(after, {**cell, "id": order[i], "source": code})
        place = {c.get("id"): k for k, c in enumerate(cells) if c.get("id") in at}
    for cell in cells:
        if "show_doc(" in text_of(cell["source"]):
            for out in cell.get("outputs", []):
                data = out.get("data", {})
                if "text/markdown" in data:
                    text = text_of(data["text/markdown"])
                    data["text/markdown"] = re.sub(
                        r"(?s)(^#+ [^\n]+\n).*", r"\1", text, count=1, flags=re.M
                    )


def readable(text: str) -> str:
    """nbdev's Markdown of a documented name, its `__dunder__` names kept whole and without the
    docstring that Python itself gives a method that has none."""
    text = brief(re.sub(r"^\*?Call self as a function\.\*?$", "", text, flags=re.M))
    parts = re.split(r"(?s)(^```.*?^```|`[^`\n]*`)", text, flags=re.M)
    return "".join(
        p if i % 2 else re.sub(r"(?<![\\\w])__(\w+?)__(?!\w)", r"\_\_\1\_\_", p)
        for i, p in enumerate(parts)
    )


def brief(text: str) -> str:
    "A signature without addresses in memory, a dictionary of a long line as `{…}`."
    text = re.sub(r" at 0x[0-9a-f]{6,}", "", text)
    return re.sub(r"^.{160,}$", lambda m: re.sub(r"=\{.*\}", "={…}", m[0]), text, flags=re.M)


# ---------------------------------------------------------------- a whole page


def markdown(text: str) -> dict:
    "A Markdown cell."
    return dict(cell_type="markdown", metadata={}, source=text)


def complete(
    nb: dict,
    page: str,
    home: str,
    source: str | None,
    shown: dict[str, set[str]] | None = None,
    original: dict | None = None,
) -> dict:
    """One staged notebook, completed in place. `source`: the address of its file on GitHub,
    None for no links to it; `original`: the notebook it was staged from."""
    cells = nb["cells"]
    if original and LESSON.fullmatch(page):
        show_code(nb, original)
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            cell["source"] = near_links(text_of(cell["source"]), page, home, shown)
        if cell["cell_type"] != "code":
            continue
        if TRAINED.fullmatch(page):
            cell["outputs"] = tables.shown(cell.get("outputs", []))
        for out in cell.get("outputs", []):
            data = out.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = near_links(
                    readable(text_of(data["text/markdown"])), page, home, shown
                )
        whole_alt(cell)
        if has_picture(cell) and not re.search(r"^#\|\s*fig-alt:", cell["source"], re.M):
            cell["source"] = f"#| fig-alt: {quoted(describe(cells, i))}\n" + cell["source"]
        later = [n for c in cells[i + 1 :] for n in statements(c)]
        line = folded(cell, later) if "show_doc(" not in cell["source"] else None
        if line:
            option = f"#| code-fold: true\n#| code-summary: {quoted(line)}\n"
            cell["source"] = option + cell["source"]
    everything = "".join(text_of(c["source"]) for c in cells)
    head = next((i + 1 for i, c in enumerate(cells[:3]) if c["cell_type"] == "raw"), 0)
    if source and any(c["cell_type"] == "code" for c in cells):
        links = f"[This page's notebook]({source})"
        if "on Colab only" in json.dumps(original):  # its install cell: without, no promise
            colab = source.replace(
                "https://github.com/", "https://colab.research.google.com/github/"
            )
            links = f"[Open in Colab]({colab}) · {links}"
        cells.insert(head, markdown(f"::: {{.page-links}}\n{links}\n:::\n"))
    up = "../" * page.count("/")
    for script, mark in SCRIPTS.items():
        if re.search(mark, everything):
            tag = f'<script src="{up}site/{script}" defer></script>'
            cells.append(markdown(f"```{{=html}}\n{tag}\n```\n"))
    return as_lines(nb)


def as_lines(nb: dict) -> dict:
    """The notebook as its format wants it: sources as lists of lines (Quarto joins the lines
    of a source that is one string, and tables, lists, fences run together), an id a cell."""
    for i, cell in enumerate(nb["cells"]):
        cell["source"] = text_of(cell["source"]).splitlines(keepends=True)
        if nb.get("nbformat_minor", 0) >= 5:
            cell.setdefault("id", f"made-{i}")
    return nb


def faults(nb: dict) -> list[str]:
    """What would keep Quarto from rendering a staged notebook as it is meant, a line each:
    sources that are no lists of lines, fences that share their line, labels and identifiers
    that come twice."""
    found, ids, labels = [], [], []
    for i, cell in enumerate(nb["cells"]):
        lines, text = cell["source"], text_of(cell["source"])
        if not isinstance(lines, list) or any("\n" in line[:-1] for line in lines):
            found.append(f"cell {i}: its source is not a list of lines")
        ids.append(cell.get("id", f"none-{i}"))
        if cell["cell_type"] == "code":
            labels += re.findall(r"^#\|\s*label:\s*(\S+)", text, re.M)
        if cell["cell_type"] != "markdown":
            continue
        prose = re.sub(r"(?s)^(`{3,}|~{3,}).*?^\1\s*$", "", text, flags=re.M)
        labels += re.findall(r"\{#([\w-]+)", prose)
        for line in prose.splitlines():
            if ":::" in line and not re.fullmatch(r":{3,}\s*(\{.*\}|[\w-]+)?\s*", line):
                found.append(
                    f"cell {i}: a fence that is not alone on its line: {line.strip()}"
                )
        if len(re.findall(r"^:{3,}[ \t]*\S", prose, re.M)) != len(
            re.findall(r"^:{3,}[ \t]*$", prose, re.M)
        ):
            found.append(f"cell {i}: a fence that opens and does not close")
    for kind, names in (("cell id", ids), ("label", labels)):
        found += [
            f"the {kind} {n} comes twice"
            for n in sorted({n for n in names if names.count(n) > 1})
        ]
    return found


# ---------------------------------------------------------------- the API page


def modules() -> list[tuple[str, str]]:
    "(module, its notebook) in the order of the sidebar."
    tree = yaml.safe_load((ROOT / "nbs" / "sidebar.yml").read_text(encoding="utf-8"))[
        "website"
    ]["sidebar"]["contents"]
    entries = [
        p
        for item in tree
        for p in (item.get("contents", [item]) if isinstance(item, dict) else [item])
    ]
    order = [p["href"] if isinstance(p, dict) else p for p in entries]
    found = {}
    for file in sorted((ROOT / "centernet_nb").glob("[!_]*.py")):
        edit = re.search(
            r"File to edit: \.\./nbs/(\S+\.ipynb)", file.read_text(encoding="utf-8")
        )
        if edit:
            found[edit[1]] = file.stem
    return [
        (found[p], p)
        for p in sorted(found, key=lambda p: order.index(p) if p in order else len(order))
    ]


def entry(module, name: str, where: dict, notebook: str, git: str) -> str:
    """The Markdown of one public name: heading that links to its page, docstring, signature
    with docments, methods, source."""
    from fastcore.docments import DocmentText

    obj = getattr(module, name)
    page, file = where.get(f"{module.__name__}.{name}", (notebook, None))
    # two modules may have a name in common (`report`, `recipe` and `Recipe`)
    twice = name.lower() in ("report", "recipe") and not module.__name__.endswith("tinycoco")
    anchor = name.lower() + ("-" + module.__name__.rpartition(".")[2] if twice else "")
    head = f"### [{name}]({page}) {{#{anchor}}}\n\n"
    if not (inspect.isclass(obj) or inspect.isfunction(obj)):
        return head + f"```python\n{name} = {shorten(brief(repr(obj)))}\n```\n"
    line, doc = (
        inspect.getsourcelines(obj)[1],
        inspect.cleandoc(
            vars(obj).get("__doc__") or "" if inspect.isclass(obj) else obj.__doc__ or ""
        ),
    )
    try:
        shown = str(DocmentText(obj, maxline=110, docstring=False))
    except (OSError, TypeError, ValueError):
        shown = name + signature(obj)  # a class whose methods Python generated
    text = head + (f"{doc}\n\n" if doc else "") + f"```python\n{brief(shown)}\n```\n\n"
    methods = (
        [
            m
            for m, f in vars(obj).items()
            if not m.startswith("_")
            and m != "forward"
            and (inspect.isfunction(f) or isinstance(f, (classmethod, staticmethod)))
        ]
        if inspect.isclass(obj)
        else []
    )
    for m in methods:
        f = getattr(obj, m)
        said = inspect.cleandoc(f.__doc__ or "").split("\n")[0]
        text += f"- `{name}.{m}{signature(f)}`" + (f": {said}" if said else "") + "\n"
    return text + f"\n[source]({git}#L{line}) · [explained here]({page})\n"


def signature(f) -> str:
    "A signature in one line, shortened."
    return shorten(re.sub(r"\s+", " ", str(inspect.signature(f))), 140)


def shorten(text: str, width: int = 200) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def api_page() -> str:
    "api.qmd: every public name of every module."
    syms = importlib.import_module("centernet_nb._modidx").d["syms"]
    cfg, parts = (
        settings(),
        [
            '---\ntitle: API\ndescription: "Every public name, with its signature, and the '
            'page that explains it"\ntoc-depth: 2\n---\n'
        ],
    )
    seen: set[str] = set()
    for name, notebook in modules():
        module = importlib.import_module(f"centernet_nb.{name}")
        intro = (module.__doc__ or "").strip().split("\n")[0]
        git = f"{cfg['git_url']}/blob/{cfg['branch']}/centernet_nb/{name}.py"
        classes = [
            c
            for c in vars(module).values()
            if inspect.isclass(c) and c.__module__ == module.__name__
        ]

        def method(f):
            return inspect.isfunction(f) and any(f in vars(c).values() for c in classes)

        names = [
            n
            for n in module.__all__
            if not n.startswith("_")
            and n not in seen  # a module may hand on names of another
            and not method(getattr(module, n))
        ]
        seen.update(names)
        parts.append(
            f"## centernet_nb.{name} {{#{name}-module}}\n\n{intro}. Written in "
            f"[{Path(notebook).name}]({notebook}).\n\n"
            + ", ".join(f"[`{n}`](#{n.lower()})" for n in names)
            + "\n"
        )
        parts += [
            entry(module, n, syms.get(f"centernet_nb.{name}", {}), notebook, git)
            for n in names
        ]
    return "\n".join(parts)


def main() -> None:
    if not os.environ.get("QUARTO_PROJECT_RENDER_ALL"):
        return  # a single page is being rendered, such as README.md
    stage, s = Path.cwd(), settings()
    home, git = s["doc_host"] + s["doc_baseurl"], f"{s['git_url']}/blob/{s['branch']}/nbs"
    shown, wrong, counts = shown_names(stage), [], {}
    for path in staged(stage):
        if path.suffix != ".ipynb" or (stage / ".completed").exists():
            continue
        page = path.relative_to(stage).as_posix()
        nb = complete(
            json.loads(path.read_text(encoding="utf-8")),
            page,
            home,
            None if page == "index.ipynb" else f"{git}/{page}",
            shown,
            json.loads((ROOT / "nbs" / page).read_text(encoding="utf-8")),
        )
        wrong += [f"{page}, {fault}" for fault in faults(nb)]
        name = front_matter(path).get("output-file", path.with_suffix(".html").name)
        counts[path.relative_to(stage).with_name(name).as_posix()] = check_site.wanted(nb)
        path.write_text(json.dumps(nb, ensure_ascii=False), encoding="utf-8")
    if wrong:
        raise SystemExit(
            "Quarto would not render these as they are meant:\n" + "\n".join(wrong)
        )
    if counts:
        (stage / check_site.COUNTS).write_text(json.dumps(counts), encoding="utf-8")
    (
        stage / ".completed"
    ).touch()  # a second render of the same staging must not add a second time
    (stage / "api.qmd").write_text(api_page(), encoding="utf-8")
    write_model(stage / "site" / "text.onnx")


if __name__ == "__main__":
    main()
