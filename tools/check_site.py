"""Is the built site what its notebooks say? For Quarto's pages and the pip-only ones alike.

python tools/check_site.py [_docs] [--counts _proc/_counts.json]     exit status 1 if not

Page by page: no fewer tables, lists, callouts, figures, headings, anchors and links than the
staged notebook holds, no Markdown left over as text, nothing from another host, a description
and a picture for those who share the page, and every picture described. Where there is a
Chromium, also: no page is wider than a phone (390 pixels)."""

from __future__ import annotations

import html.parser
import json
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COUNTS = "_counts.json"  # what the staged notebooks hold, left there by prepare_site
LEFT = re.compile(r"^\s*:::.*$|\{#[\w-]+\}|\$\$|^\|[-:| ]+\|$", re.M)
LOADS = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("srcset",),
    "iframe": ("src",),
}


# ---------------------------------------------------------------- what a page should hold


def prose(cell: dict) -> str:
    "The Markdown of a cell and its outputs, as far as a page shows it."
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    if cell["cell_type"] != "code" or re.search(
        r"^#\|\s*(include|output): false", source, re.M
    ):
        return ""
    texts = (o.get("data", {}).get("text/markdown", "") for o in cell.get("outputs", []))
    return "\n\n".join("".join(t) for t in texts)


def wanted(nb: dict) -> dict[str, int]:
    "How many of each thing a staged notebook holds."
    from markdown_it import MarkdownIt

    text = "\n\n".join(map(prose, nb["cells"]))
    tabs = r"(?s)^:{3,}\s*\{\.panel-tabset.*?^:{3,}[ \t]*$"  # its headings become tabs
    bare = re.sub(tabs, lambda m: re.sub("^#+ ", "", m[0], flags=re.M), text, flags=re.M)
    bare = re.sub(r"^:::.*$", "", bare, flags=re.M)
    bare = re.sub(r"(?s)^(`{3,})\{=html\}.*?^\1\s*$", "", bare, flags=re.M)
    count: Counter[str] = Counter()
    for token in MarkdownIt().enable("table").parse(bare):
        kind = token.type.removesuffix("_open")
        count["tables"] += kind == "table"
        count["lists"] += kind in ("bullet_list", "ordered_list")
        count["items"] += kind == "list_item"
        count["headings"] += kind == "heading" and token.tag != "h1"
        count["code"] += token.type == "fence"
        for inner in token.children or []:
            count["links"] += inner.type == "link_open"
            count["figures"] += inner.type == "image"
    count["callouts"] = len(re.findall(r"^:::+\s*\{\.callout", text, re.M))
    for cell in nb["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "include: false" in source:
            continue
        for out in cell.get("outputs", []):
            count["figures"] += any(k.startswith("image/") for k in out.get("data", {}))
    return dict(count)


# ---------------------------------------------------------------- what it holds


class Page(html.parser.HTMLParser):
    "The parts of a built page: of its `main`, counts and text; of all of it, ids and loads."

    def __init__(self, text: str):
        super().__init__()
        self.count: Counter[str] = Counter()
        self.ids, self.text, self.meta, self.loads = [], [], {}, []
        self.links, self.dumb, self.twice = [], [], []
        self.quiet = self.inside = self.code = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.quiet += tag in ("script", "style", "math", "svg")
        self.code += tag in ("pre", "code")
        self.inside += tag == "main"
        if a.get("id"):
            (self.twice if a["id"] in self.ids else self.ids).append(a["id"])
        if tag == "meta":
            self.meta[a.get("property") or a.get("name")] = a.get("content")
        named = LOADS.get(tag, ("href",) if "stylesheet" in (a.get("rel") or "") else ())
        self.loads += [a[k] for k in named if a.get(k)]
        if tag == "a" and a.get("href"):
            self.links.append(a["href"])
        if not self.inside:
            return
        kinds = dict(table="tables", ul="lists", ol="lists", li="items", img="figures")
        kind = kinds.get(tag) or ("headings" if re.fullmatch("h[2-6]", tag) else None)
        self.count[kind] += 1
        self.count["links"] += tag == "a" and "href" in a
        self.count["code"] += tag == "pre"
        self.count["figures"] += tag == "svg"
        self.count["callouts"] += bool(re.search(r"\bcallout callout-", f"{a.get('class')} "))
        if tag == "img" and not (a.get("alt") or "").strip():
            self.dumb.append(str(a.get("src"))[:60])

    def handle_endtag(self, tag):
        self.quiet -= tag in ("script", "style", "math", "svg")
        self.code -= tag in ("pre", "code")
        self.inside -= tag == "main"

    def handle_data(self, data):
        if not self.quiet and not self.code:
            self.text.append(data)


def faults(name: str, text: str, want: dict[str, int] | None = None) -> list[str]:
    "What is wrong with one built page, a line each."
    page = Page(text)
    found = [
        f"{page.count[kind]} {kind}, the notebook has {n}"
        for kind, n in (want or {}).items()
        if page.count[kind] < n
    ]
    said = re.sub(r"\\\(.*?\\\)|\\\[.*?\\\]", "", "".join(page.text), flags=re.S)
    found += [f"Markdown left over: {m.strip()[:60]}" for m in LEFT.findall(said)]
    found += [f"loads from another host: {u}" for u in page.loads if re.match(r"(\w+:)?//", u)]
    found += [f"a picture without a description: {d}" for d in page.dumb]
    found += [f"the identifier {i} comes twice" for i in page.twice]
    if name != "404.html":
        for key in ("description", "og:image", "og:title"):
            if not (page.meta.get(key) or "").strip():
                found.append(f"no {key}")
    return [f"{name}: {f}" for f in found]


def wide(site: Path, names: list[str]) -> list[str]:
    "The pages that a phone would scroll sideways."
    sys.path.insert(0, str(ROOT / "tests"))
    import browser

    if not (browser.CHROMIUM and browser.DRIVER):
        print("no Chromium here: the width of the pages was not looked at", file=sys.stderr)
        return []
    found = []
    with browser.served(site, "/centernet_nb/") as home, browser.Browser(phone=True) as b:
        for name in names:
            b.open(home + name)
            over = b.js("return document.documentElement.scrollWidth - innerWidth")
            if over > 0:
                found.append(f"{name}: {over} pixels wider than a phone")
    return found


def check(site: Path, counts: dict, phone: bool = True) -> list[str]:
    "Everything that is wrong with the site in the folder `site`."
    files = [p for p in sorted(site.rglob("*.html")) if "site_libs" not in p.parts]
    names = [p.relative_to(site).as_posix() for p in files]
    found = [f"{name}: the page is missing" for name in counts if name not in names]
    for name, path in zip(names, files):
        found += faults(name, path.read_text(encoding="utf-8"), counts.get(name))
    for css in site.rglob("*.css"):
        for m in re.findall(
            r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"';]*""",
            css.read_text(encoding="utf-8"),
        ):
            found.append(f"{css.relative_to(site)}: loads from another host: {m}")
    return found + (wide(site, names) if phone else [])


if __name__ == "__main__":
    rest = [a for a in sys.argv[1:] if not a.startswith("--")]
    site = Path(rest[0]) if rest else ROOT / "_docs"
    counts = (
        Path(sys.argv[sys.argv.index("--counts") + 1])
        if "--counts" in sys.argv
        else ROOT / "_proc" / COUNTS
    )
    wrong = check(site, json.loads(counts.read_text(encoding="utf-8")))
    if wrong:
        raise SystemExit(f"{len(wrong)} faults:\n" + "\n".join(wrong))
    print("every page holds what its notebook holds")
