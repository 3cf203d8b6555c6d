"""The `post-render` step of _quarto.yml: what the built pages still need, whether Quarto built
them or `quarto_lite`.

Pictures are files of their own, loaded when they come near, and on a phone the panels of a
wide figure stand under each other; no stylesheet asks another host for fonts; every page has a
picture for those who share it, and the site's own search."""

from __future__ import annotations

import base64
import html
import os
import posixpath
import re
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOREIGN = re.compile(
    r"""@import\s*(?:url\(\s*["']?(?:https?:)?//[^)]*\)|"(?:https?:)?//[^"]*"|'(?:https?:)?//[^']*')[^;]*;"""
)
ENDINGS = {"png": "png", "jpeg": "jpg", "gif": "gif", "svg+xml": "svg"}
SHARED = "site/hero.jpg"


def as_files(text: str, page: Path) -> str:
    "The page's text with each picture that stood inside it as a file beside it."
    folder = page.with_name(f"{page.stem}_files")

    def out(m):
        folder.mkdir(exist_ok=True)
        number = sum(1 for _ in folder.iterdir()) + 1
        file = folder / f"picture-{number:02}.{ENDINGS[m[1]]}"
        file.write_bytes(base64.b64decode(m[2]))
        return f'src="{folder.name}/{file.name}"'

    return re.sub(r'src="data:image/([\w+]+);base64,([^"]+)"', out, text)


# ---------------------------------------------------------------- panels


def panels(picture) -> list[tuple[int, int]]:
    """Where a wide figure may be cut into panels: spans (left, right) of columns between white
    gutters as high as the picture, of about equal width; the whole where there are none."""
    import numpy as np

    grey = np.asarray(picture.convert("L"))
    high, width = grey.shape
    whole = [(0, width)]
    if width < 1.7 * high or width < 700:
        return whole
    white = np.append((grey > 250).all(0), False)
    edges = np.flatnonzero(np.diff(np.r_[False, white].astype(int)))
    gaps = [
        (a, b) for a, b in zip(edges[::2], edges[1::2]) if b - a >= 10 and a > 0 and b < width
    ]
    for n in (4, 3, 2):
        cuts = []
        for k in range(1, n):
            near = [(abs((a + b) / 2 - k * width / n), (a + b) // 2) for a, b in gaps]
            near = [c for c in near if c[0] < 0.06 * width]
            if near:
                cuts.append(int(min(near)[1]))
        if len(set(cuts)) == n - 1 and width / n >= 0.6 * high:
            edges = [0, *cuts, width]
            return list(zip(edges, edges[1:]))
    return whole


def stacked(file: Path) -> tuple[str, int, int] | None:
    "The panels of a picture under each other as a file of its own: its name and size."
    from PIL import Image

    with Image.open(file) as picture:
        spans = panels(picture)
        if len(spans) < 2:
            return None
        wide, high = max(b - a for a, b in spans), picture.height
        tall = Image.new("RGB", (wide, high * len(spans)), "white")
        for k, (a, b) in enumerate(spans):
            part = picture.convert("RGB").crop((a, 0, b, high))
            tall.paste(part, ((wide - (b - a)) // 2, k * high))
    name = f"{file.stem}-stacked{file.suffix}"
    if file.suffix == ".png":
        tall = tall.quantize(128, dither=0)
    tall.save(file.with_name(name), quality=85, optimize=True)
    return name, tall.width, tall.height


def phone_pictures(text: str, page: Path) -> str:
    "The page's text with pictures that load when they come near, a phone's form where one is."

    def one(m):
        tag = m[0] if "loading=" in m[0] else m[0].replace("<img", '<img loading="lazy"', 1)
        source = re.search(r'src="([^"]+)"', tag)
        file = page.parent / html.unescape(source[1]) if source else page
        if not re.search(r"_files/|site/hero", tag) or file.suffix not in (
            ".png",
            ".jpg",
            ".jpeg",
        ):
            return tag
        made = stacked(file)
        if not made:
            return tag
        name = posixpath.join(posixpath.dirname(source[1]), made[0])
        size = f'width="{made[1]}" height="{made[2]}"'
        source = f'<source media="(max-width: 575.98px)" srcset="{name}" {size}>'
        return f"<picture>{source}{tag}</picture>"

    return re.sub(r"<img\b[^>]*>", one, text)


# ---------------------------------------------------------------- code


def lines_of_code(text: str) -> str:
    """The page's text with each line of a code block an element, so that on a phone a long
    line wraps with a hanging indent; Quarto's own lines are such elements already."""

    def one(m):
        head, body = m[1], m[2]
        if re.search(r'<span id="cb\d+-1"', body):
            return m[0]
        lines, open_tags = [], []
        for line in body.split("\n"):
            line = "".join(open_tags) + line
            open_tags = []
            for tag in re.findall(r"<span[^>]*>|</span>", line):
                if tag == "</span>":
                    open_tags.pop()
                else:
                    open_tags.append(tag)
            ends = "</span>" * len(open_tags)
            lines.append(f'<span class="cnb-line-of-code">{line}{ends}</span>')
        return f"{head}{chr(10).join(lines)}</code>"

    code = r'(?s)(<pre class="sourceCode[^"]*"><code class="[^"]*">)(.*?)</code>'
    return re.sub(code, one, text)


# ---------------------------------------------------------------- every page


def finish(text: str, page: Path, site: Path, address: str) -> str:
    "One built page, finished."
    up = "../" * (len(page.relative_to(site).parts) - 1)
    text = lines_of_code(phone_pictures(as_files(text, page), page))
    if "og:image" not in text:
        meta = f'<meta property="og:image" content="{address}/{SHARED}">'
        text = text.replace("</head>", f"{meta}\n</head>", 1)
    if "site/search.js" not in text and page.name != "404.html":
        tag = f'<script src="{up}site/search.js" defer></script>'
        text = text.replace("</body>", f"{tag}\n</body>", 1)
    return text


def main() -> None:
    site = Path(sys.argv[1] if sys.argv[1:] else os.environ["QUARTO_PROJECT_OUTPUT_DIR"])
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    own = config["DEFAULT"]
    address = own["doc_host"] + own["doc_baseurl"]
    for css in site.rglob("*.css"):
        text = css.read_text(encoding="utf-8")
        if FOREIGN.search(text):
            css.write_text(FOREIGN.sub("", text), encoding="utf-8")
    for page in sorted(site.rglob("*.html")):
        if "site_libs" not in page.parts:
            text = page.read_text(encoding="utf-8")
            page.write_text(finish(text, page, site, address.rstrip("/")), encoding="utf-8")


if __name__ == "__main__":
    main()
