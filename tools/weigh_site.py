"""Bytes and requests of a built site's pages, as a Markdown table.

    python tools/weigh_site.py [_docs] [page.html …]

At 1440 by 900 pixels: what a page loads before anybody scrolls, and once it was scrolled to
its end; text counted as gzip makes it, everything else as it lies there."""

import gzip
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser, served  # noqa: E402

PAGES = "index.html", "nms.html", "train_cocotext.html", "detector.html"
TEXT = ".html", ".css", ".js", ".json", ".svg"
BASE = "/centernet_nb/"
LOADED = """return performance.getEntriesByType('resource').map((e) => e.name)
  .concat(location.href)"""
SCROLL = """return (async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 600) {
    scrollTo(0, y); await new Promise((next) => setTimeout(next, 60));
  } })()"""


def weight(site: Path, urls: list[str]) -> tuple[int, int]:
    "Requests, and the bytes of the files they ask for."
    total, names = 0, {unquote(urlsplit(u).path).removeprefix(BASE) for u in urls}
    for name in names:
        file = site / (name or "index.html")
        if file.is_file():
            data = file.read_bytes()
            total += len(gzip.compress(data)) if file.suffix in TEXT else len(data)
    return len(names), total


def settled(b: Browser) -> list[str]:
    "What the open page has loaded, once nothing more comes."
    before = -1
    while before != (n := len(b.js(LOADED))):
        before = n
        b.js("return new Promise((next) => setTimeout(next, 800))")
    return b.js(LOADED)


def main() -> None:
    rest = sys.argv[1:]
    site = Path(rest.pop(0)) if rest and not rest[0].endswith(".html") else ROOT / "_docs"
    print("| page | requests | kB | scrolled: requests | kB |\n|:--|--:|--:|--:|--:|")
    for page in rest or PAGES:
        with served(site, BASE) as home, Browser(width=1440) as b:
            b.open(home + page)
            first = weight(site, settled(b))
            b.js(SCROLL)
            last = weight(site, settled(b))
        cells = [page, first[0], round(first[1] / 1e3), last[0], round(last[1] / 1e3)]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
