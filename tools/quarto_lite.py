"""A stand-in for the two `quarto` commands that nbdev calls, for a machine without Quarto:
`smalldocs` renders, this file mends the rest.

    quarto render [--no-cache]    the site of the project in the working folder
    quarto render index.ipynb -o README.md -t gfm …         README.md from one notebook

What smalldocs 0.5.4 does not do as Quarto does, and is mended in the staged copies (`_proc`)
before it runs or in the pages after: `output-file` (pages are renamed, links and sidebar
follow), `{#eq-…}` labels, `@eq-` and `@fig-` references, `output: asis` streams, maths
from another host (a vendored file is used), links of the 404 page, sidebar arrows out of the
keyboard's reach."""

from __future__ import annotations

import json
import os
import posixpath
import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
import yaml

PAGES = {".ipynb", ".qmd", ".md"}
VENDOR = "site/vendor"
LINK = re.compile(r"""(\]\(\s*<?|(?:href|src)\s*=\s*["'])([^)\s"'>]+)""")
EQUATION = re.compile(r"\$\$(.+?)\$\$[ \t]*\{#(eq-[\w-]+)\}", re.S)
REFERENCE = re.compile(r"(?<![\w`@/])@((?:eq|fig)-[\w-]+)")
FENCE = re.compile(r"(^```.*?^```[ \t]*$)", re.S | re.M)


# ---------------------------------------------------------------- the staged pages


def text_of(value) -> str:
    "A notebook's string, which may be stored as a list of lines."
    return "".join(value) if isinstance(value, list) else value or ""


def staged(root: Path) -> list[Path]:
    """The pages below `root`, as Quarto finds them: nothing under a folder that starts with
    `_` or `.`."""
    found = (p for p in sorted(root.rglob("*")) if p.suffix in PAGES)
    return [p for p in found if not any(part[0] in "._" for part in p.relative_to(root).parts)]


def front_matter(page: Path) -> dict:
    "The front matter of a staged page: of a notebook, its raw first cells."
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text(encoding="utf-8"))["cells"][:2]
        head = next((text_of(c["source"]) for c in cells if c["cell_type"] == "raw"), "")
    else:
        head = page.read_text(encoding="utf-8")
    match = re.match(r"\s*---\s*\n(.*?)\n---\s*(?:\n|$)", head, re.S)
    return yaml.safe_load(match[1]) or {} if match else {}


def new_names(root: Path) -> dict[str, str]:
    """Old path → new path of each page whose `output-file` asks for another name, both
    relative to `root`."""
    names = {}
    for page in staged(root):
        out = front_matter(page).get("output-file")
        new = page.with_name(Path(str(out)).stem + page.suffix) if out else page
        if new != page:
            names[page.relative_to(root).as_posix()] = new.relative_to(root).as_posix()
    taken = [
        *names.values(),
        *(
            p.relative_to(root).as_posix()
            for p in staged(root)
            if p.relative_to(root).as_posix() not in names
        ),
    ]
    twice = sorted({n for n in taken if taken.count(n) > 1})
    if twice:
        raise SystemExit(f"two pages would become {', '.join(twice)}: rename one of them")
    return names


def relink(text: str, page: str, names: dict[str, str]) -> str:
    "`text` of the page `page` with its relative links following `names`."
    folder = posixpath.dirname(page)

    def follow(m):
        path, tail = re.match(r"([^#?]*)(.*)", m[2], re.S).groups()
        if not path or urlsplit(path).scheme:
            return m[0]
        target = posixpath.normpath(
            path.lstrip("/") if path.startswith("/") else posixpath.join(folder, path)
        )
        if target not in names:
            return m[0]
        return m[1] + posixpath.relpath(names[target], folder or ".") + tail

    return LINK.sub(follow, text)


def number(texts: list[str], labels: list[str]) -> list[str]:
    """The Markdown `texts` of one page with labelled equations tagged and `@eq-`, `@fig-`
    references turned into links; `labels`: its figures'."""
    numbers = {name: n for n, name in enumerate(labels, 1)}
    equations = (m[2] for t in texts for m in EQUATION.finditer(t))
    numbers |= {name: n for n, name in enumerate(dict.fromkeys(equations), 1)}
    word = {"eq": "Equation", "fig": "Figure"}

    def tag(m):
        return f"\n::: {{#{m[2]}}}\n$${m[1].rstrip()} \\tag{{{numbers[m[2]]}}}$$\n:::\n"

    def refer(m):
        name = m[1].rstrip("-")
        return (
            f"[{word[name.split('-')[0]]} {numbers[name]}](#{name})"
            if name in numbers
            else m[0]
        )

    def one(text):
        parts = FENCE.split(EQUATION.sub(tag, text))
        return "".join(p if i % 2 else REFERENCE.sub(refer, p) for i, p in enumerate(parts))

    return [one(t) for t in texts]


def figure_labels(nb: dict) -> list[str]:
    "The `fig-…` labels of a notebook's cells and pictures, in order."
    at_cell, at_picture = r"^#\|\s*label:\s*(fig-[\w-]+)", r"\)\{#(fig-[\w-]+)"
    return [
        x
        for c in nb["cells"]
        for x in re.findall(
            at_cell if c["cell_type"] == "code" else at_picture, text_of(c["source"]), re.M
        )
    ]


def mend_notebook(nb: dict, page: str, names: dict[str, str]) -> dict:
    "One staged notebook, mended in place."
    prose = [c for c in nb["cells"] if c["cell_type"] == "markdown"]
    for cell, text in zip(
        prose, number([text_of(c["source"]) for c in prose], figure_labels(nb))
    ):
        cell["source"] = relink(text, page, names)
    for cell in nb["cells"]:
        if cell["cell_type"] != "code":
            continue
        asis = re.search(r"^#\|\s*output:\s*asis", text_of(cell["source"]), re.M)
        for i, out in enumerate(cell.get("outputs", [])):
            if asis and out.get("output_type") == "stream" and out.get("name") != "stderr":
                cell["outputs"][i] = out = dict(
                    output_type="display_data",
                    metadata={},
                    data={"text/markdown": text_of(out["text"])},
                )
            data = out.get("data", {})
            for kind in ("text/markdown", "text/html"):
                if kind in data:
                    data[kind] = relink(text_of(data[kind]), page, names)
    return nb


def mend(root: Path) -> dict[str, str]:
    """Mend every staged page, rename those that `output-file` names, let the links and the
    navigation follow. Returns the new names."""
    names = new_names(root)
    for path in staged(root):
        page, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = json.dumps(mend_notebook(json.loads(text), page, names), ensure_ascii=False)
        else:
            text = relink(
                number([text], re.findall(r"\)\{#(fig-[\w-]+)", text))[0], page, names
            )
        path.write_text(text, encoding="utf-8")
    for old, new in names.items():
        (root / old).rename(root / new)

    def follow(x):
        if isinstance(x, dict):
            return {k: follow(v) for k, v in x.items()}
        if isinstance(x, list):
            return [follow(v) for v in x]
        return names.get(x, x) if isinstance(x, str) else x

    for config in [root / "_quarto.yml", *root.glob("*.yml")]:
        config.write_text(
            yaml.safe_dump(
                follow(yaml.safe_load(config.read_text(encoding="utf-8")) or {}),
                sort_keys=False,
            ),
            encoding="utf-8",
        )
    return names


def pages_in(settings) -> list[str]:
    "The page files that a part of the settings names."
    if isinstance(settings, (dict, list)):
        return [
            p
            for x in (settings.values() if isinstance(settings, dict) else settings)
            for p in pages_in(x)
        ]
    return (
        [settings]
        if isinstance(settings, str)
        and Path(settings).suffix in PAGES
        and not set(" *") & set(settings)
        else []
    )


# ---------------------------------------------------------------- the built pages


def polish(html: str, page: str, base: str) -> str:
    """One built page: vendored maths, a 404 page that works at any depth, section
    arrows that the keyboard reaches."""
    from smalldocs import layout

    up = "../" * page.count("/")
    html = html.replace(layout.KATEX, f"{up}{VENDOR}/katex")
    keys = "if(event.key==='Enter'||event.key===' '){event.preventDefault();this.click()}"
    html = re.sub(
        r'(<a\b(?=[^>]*data-bs-toggle="collapse")(?![^>]*href=)[^>]*?)\s*role="navigation"',
        rf'\1 role="button" tabindex="0" onkeydown="{keys}"',
        html,
    )
    if page == "404.html":
        html = re.sub(r'((?:href|src)=")(?![a-z]+:|/|#|")(?:\./)?', rf"\g<1>{base}", html)
        html = html.replace(
            'name="smalldocs:offset" content="./"', f'name="smalldocs:offset" content="{base}"'
        )
    return html


def hosts(html: str) -> list[str]:
    """The addresses of other hosts that a page loads from (links that a reader may click are
    none of them)."""
    return re.findall(
        r'<(?:script|img|link(?=[^>]*rel="(?:stylesheet|icon)"))\b[^>]*\b(?:src|href)="((?:https?:)?//[^"]*)"',
        html,
    )


def scripts(root: Path, when: str) -> list[list[str]]:
    "The commands of the project's `when`, `pre-render` or `post-render`, this Python in them."
    settings = yaml.safe_load((root / "_quarto.yml").read_text(encoding="utf-8"))["project"]
    lines = settings.get(when) or []
    commands = [shlex.split(line) for line in ([lines] if isinstance(lines, str) else lines)]
    return [[sys.executable, *c[1:]] if c[0].startswith("python") else c for c in commands]


def run(commands: list[list[str]], root: Path, **environment: str) -> None:
    "The commands in the project's folder, with the variables that Quarto sets."
    for command in commands:
        subprocess.run(command, cwd=root, env={**os.environ, **environment}, check=True)


def sized_pictures(notebook) -> None:
    """Let smalldocs' reader of notebooks show a picture at the width and height that its
    metadata asks for (half its pixels), as Quarto does."""
    plain = notebook.output_html
    if getattr(plain, "sized", False):
        return

    def sized(out, opts=None, n=0):
        text, meta = plain(out, opts, n), out.get("metadata") or {}
        kind = next((k for k in meta if k.startswith("image/")), None)
        size = meta[kind] if kind else meta
        if not {"width", "height"} <= size.keys():
            return text
        both = f'width="{size["width"]}" height="{size["height"]}"'
        return text.replace("<img ", f"<img {both} ", 1)

    sized.sized = True
    notebook.output_html = sized


def render_site(root: Path) -> None:
    """Build the site of the project in `root` into its output folder; a broken link or a page
    that loads from another host ends it."""
    import smalldocs.notebook
    import smalldocs.site

    config = root / "_quarto.yml"
    run(scripts(root, "pre-render"), root, QUARTO_PROJECT_RENDER_ALL="1")
    after = scripts(root, "post-render")
    mend(root)
    sized_pictures(smalldocs.notebook)
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    for when in ("pre-render", "post-render"):
        settings["project"].pop(when, None)
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    missing = [
        p
        for f in (config, *root.glob("*.yml"))
        for p in pages_in(yaml.safe_load(f.read_text(encoding="utf-8")))
        if not (root / p).exists()
    ]
    if missing:
        raise SystemExit(
            f"the navigation names pages that are not there: {', '.join(sorted(set(missing)))}"
        )
    site = smalldocs.site.build(root, quiet=True)
    base = urlsplit(str(site.project.website.get("site-url") or "/")).path.rstrip("/") + "/"
    problems = [w for w in site.warnings if "broken link" in w]
    run(after, root, QUARTO_PROJECT_OUTPUT_DIR=str(site.out))
    for page in sorted(site.out.rglob("*.html")):
        if "site_libs" in page.parts:
            continue
        name = page.relative_to(site.out).as_posix()
        html = polish(page.read_text(encoding="utf-8"), name, base)
        problems += [f"{name}: loads from {h}" for h in hosts(html)]
        page.write_text(html, encoding="utf-8")
    mended = "output-file is not read", "html-math-method is ignored"
    for w in site.warnings:
        if not any(m in w for m in mended):
            print(w, file=sys.stderr)
    if problems:
        raise SystemExit("the site is not whole:\n" + "\n".join(problems))


# ---------------------------------------------------------------- README.md


def readme(nb: dict, folder: str, pictures: Path | None = None) -> str:
    """README.md from a notebook that lies in `folder` of the repository, its links rewritten
    to work from the repository's root.

    Stored pictures are written into `pictures` (a folder at the root) where one is given, else
    left out."""
    parts = []
    for n, cell in enumerate(nb["cells"]):
        text = text_of(cell["source"]).strip()
        option = (
            dict(re.findall(r"^#\|\s*([\w-]+):?[ \t]*(.*?)[ \t]*$", text, re.M))
            if cell["cell_type"] == "code"
            else {}
        )
        if {"hide", "export", "default_exp"} & option.keys() or option.get(
            "include"
        ) == "false":
            continue
        if cell["cell_type"] == "markdown" and text:
            parts.append(from_root(text, folder))
        if cell["cell_type"] != "code":
            continue
        code = re.sub(r"^#\|.*\n?", "", text, flags=re.M).strip()
        if code and option.get("echo") != "false":
            parts.append(f"```python\n{code}\n```")
        if option.get("output") == "false":
            continue
        for k, out in enumerate(cell.get("outputs", []), 1):
            data = out.get("data", {})
            if out["output_type"] == "stream" and out.get("name") == "stdout":
                parts.append("    " + text_of(out["text"]).rstrip().replace("\n", "\n    "))
            elif "image/png" in data and pictures is not None:
                from base64 import b64decode

                pictures.mkdir(exist_ok=True)
                name = f"cell-{n + 1}-output-{k}.png"
                (pictures / name).write_bytes(b64decode(text_of(data["image/png"])))
                alt = (
                    option.get("fig-alt")
                    or option.get("fig-cap")
                    or "output of the code above"
                )
                parts.append(f"![{alt.strip(chr(34))}]({pictures.name}/{name})")
            elif "text/markdown" in data:
                parts.append(from_root(text_of(data["text/markdown"]).strip(), folder))
            elif "image/png" not in data and "text/plain" in data:
                parts.append(
                    "    " + text_of(data["text/plain"]).rstrip().replace("\n", "\n    ")
                )
    return (
        "<!-- Written from "
        + folder
        + "/index.ipynb by `make readme`; edit that. -->\n\n"
        + "\n\n".join(parts)
        + "\n"
    )


def from_root(text: str, folder: str) -> str:
    """`text` of a page in `folder` with its relative links written as seen from the
    repository's root."""

    def move(m):
        if urlsplit(m[2]).scheme or m[2].startswith(("#", "/")):
            return m[0]
        return m[1] + posixpath.normpath(posixpath.join(folder, m[2]))

    return LINK.sub(move, text)


# ---------------------------------------------------------------- the command


def main(args: list[str]) -> None:
    if args[:1] == ["--version"]:
        return print("0.0 (quarto_lite)")
    if args[:1] != ["render"]:
        raise SystemExit(
            f"quarto_lite knows only `render`; install Quarto for {' '.join(args) or 'more'}"
        )
    root, page = Path.cwd(), next((a for a in args[1:] if a.endswith(".ipynb")), None)
    if page is None:
        return render_site(root)
    out = root / "_docs" / args[args.index("-o") + 1]
    out.parent.mkdir(exist_ok=True)
    out.write_text(
        readme(json.loads(Path(page).read_text(encoding="utf-8")), "nbs"), encoding="utf-8"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
