"""The built site, read by a parser and used in a headless Chromium: mouse, touch, keyboard,
light, dark, desktop, phone."""

import html.parser
import importlib
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit
import browser
import numpy as np
import pytest
import quarto_lite
import torch

ROOT = Path(__file__).resolve().parent.parent

BASE = "/centernet_nb/"
FIGURES = "figures_to_touch.html"
ENTER, TAB = "\ue007", "\ue004"
needs_browser = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER),
    reason="no Chromium and chromedriver on PATH: the pages cannot be used, only read",
)


class Page(html.parser.HTMLParser):
    "Ids, links, pictures and text of a page."

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.pictures, self.text, self.skip = set(), [], [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.skip += tag in ("script", "style")
        if a.get("id"):
            self.ids.add(a["id"])
        for key in ("href", "src"):
            if a.get(key):
                self.links.append(a[key])
        if tag == "img" or (tag == "canvas"):
            self.pictures.append(a)

    def handle_endtag(self, tag):
        self.skip -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.skip:
            self.text.append(data)


@pytest.fixture(scope="session")
def pages(site):
    return {
        p.relative_to(site).as_posix(): Page(p)
        for p in sorted(site.rglob("*.html"))
        if "site_libs" not in p.parts
    }


# ---------------------------------------------------------------- read


def test_pages_have_nbdevs_names(pages):
    sources = [
        p.relative_to(ROOT / "nbs")
        for p in (ROOT / "nbs").rglob("*.ipynb")
        if not any(q[0] in "._" for q in p.relative_to(ROOT / "nbs").parts)
    ]
    wanted = {
        re.sub(r"^\d+[a-zA-Z0-9]*_", "", p.name).replace(".ipynb", ".html")
        if len(p.parts) == 1
        else p.with_suffix(".html").as_posix()
        for p in sources
    }
    assert wanted | {"api.html", "404.html"} == set(pages)


def test_no_broken_link_and_no_broken_anchor(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("data:"):
                continue
            path = unquote(parts.path)
            target = (
                path.removeprefix(BASE)
                if path.startswith("/")
                else os.path.normpath(os.path.join(os.path.dirname(name), path))
                if path
                else name
            )
            if (site / target).is_dir():
                target = os.path.normpath(os.path.join(target, "index.html"))
            if not (site / target).is_file():
                broken.append(f"{name}: {link}")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].ids
            ):
                broken.append(f"{name}: {link} (no such anchor)")
    assert not broken, f"{len(broken)} broken:\n" + "\n".join(broken[:20])


def test_nothing_is_loaded_from_another_host(site, pages):
    found = [
        f"{p}: {h}"
        for p in pages
        for h in quarto_lite.hosts((site / p).read_text(encoding="utf-8"))
    ]
    found += [
        f"{p.name}: {m}"
        for p in site.rglob("*.css")
        for m in re.findall(
            r"""(?:url\(|@import)\s*["']?(?:https?:)?//[^)"';]*""",
            p.read_text(encoding="utf-8"),
        )
    ]
    assert not found
    vendored = sum(
        p.stat().st_size for p in (ROOT / "nbs" / "site" / "vendor").rglob("*") if p.is_file()
    )
    assert vendored < 30e6


def test_no_markdown_is_left_over(pages):
    left = [
        f"{name}: {m}"
        for name, page in pages.items()
        for m in re.findall(
            r"\[[^\]\[]{1,60}\]\((?:[\w./-]+\.(?:ipynb|html)|https?:)[^)]*\)|^:::.*$|\{#[a-z-]+\}",
            "".join(page.text),
            re.M,
        )
    ]
    assert not left, "\n".join(left[:20])


def test_every_picture_is_described(pages):
    dumb = [
        f"{name}: {str(a.get('src'))[:60]}"
        for name, page in pages.items()
        for a in page.pictures
        if not (a.get("alt") or a.get("aria-label") or "").strip()
    ]
    assert not dumb, "\n".join(dumb[:20])


def test_api_page_links_every_name_to_its_page(pages):
    syms = importlib.import_module("centernet_nb._modidx").d["syms"]
    links = set(pages["api.html"].links)
    for module, names in syms.items():
        for full, (where, _) in names.items():
            name = full.removeprefix(module + ".")
            if name.startswith("_") or "." in name or where not in links:
                continue
            page, anchor = where.split("#")
            assert anchor in pages[page].ids, where
    assert sum(l.startswith(("backbone.html#", "convert.html#")) for l in links) > 5


def test_lessons_open_in_colab(pages):
    "A page offers Colab if and only if its notebook has the cell that installs the package."
    for name in ("backbone", "head", "loss", "convert", "nms", "train_cocotext", "trust"):
        (path,) = (ROOT / "nbs").glob(f"*{name}.ipynb")
        installs = "on Colab only" in path.read_text(encoding="utf-8")
        offered = any(
            "colab.research.google.com/github/" in l and l.endswith(path.name)
            for l in pages[f"{name}.html"].links
        )
        assert offered == installs, name


def test_every_page_holds_what_its_notebook_holds(site):
    import check_site

    counts = site.parent / "_proc" / check_site.COUNTS
    if not counts.exists():
        pytest.skip("no staging folder beside the site")
    wrong = check_site.check(site, json.loads(counts.read_text(encoding="utf-8")), phone=False)
    assert wrong == []


def test_a_lesson_is_light(site):
    "A lesson's own parts, compressed, and its pictures: 600 kB first, 1.5 MB in all"
    import gzip

    for name in ("backbone", "head", "loss", "convert", "nms", "train_cocotext"):
        page = len(gzip.compress((site / f"{name}.html").read_bytes()))
        shown = re.findall(
            r'<img[^>]*src="([^"]+_files/[^"]+)"', (site / f"{name}.html").read_text("utf-8")
        )
        pictures = sum((site / p).stat().st_size for p in shown)
        assert shown and page < 150e3 and page + pictures < 1.3e6, name


def test_sitemap_llms_and_search_index(site, pages):
    sitemap = (site / "sitemap.xml").read_text(encoding="utf-8")
    assert all(f"{BASE}{p}" in sitemap for p in pages if p not in ("404.html",))
    llms = (site / "llms.txt").read_text(encoding="utf-8")
    assert (
        llms.startswith("# centernet_nb")
        and "backbone.llms.md" in llms
        and (site / "backbone.llms.md").is_file()
    )
    index = json.loads((site / "search.json").read_text(encoding="utf-8"))
    assert {e["href"].split("#")[0] for e in index} >= set(pages) - {"404.html"}


# ---------------------------------------------------------------- used


@needs_browser
def test_every_page_fits_a_phone_and_loads_without_an_error(phone, home, pages):
    phone.errors()
    wide = {}
    for name in pages:
        phone.open(home + name)
        assert phone.errors() == [], name
        width, left = phone.js(r"""return [document.documentElement.scrollWidth - innerWidth,
            [...document.querySelectorAll('main .math')].filter((e) => !e.querySelector('.katex')).length]""")  # noqa: E501
        assert not left, f"{name}: {left} formulas left as text"
        if width > 0:
            wide[name] = width
    assert not wide


@needs_browser
def test_desktop_pages_load_without_an_error(desktop, home):
    desktop.errors()
    for name in ("index.html", "convert.html", "toolbox/deploy.html", "api.html"):
        desktop.open(home + name)
        assert desktop.errors() == [], name
        if name == "convert.html":
            assert desktop.js("return document.querySelectorAll('main .katex').length") > 3


CONTRAST = """const light = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map((x) => { x /= 255; return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4; });
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const e = document.querySelector(arguments[0]);
  let back = e; while (/rgba\\(.*, 0\\)|transparent/.test(getComputedStyle(back).backgroundColor)) back = back.parentElement;
  const a = light(getComputedStyle(e).color), b = light(getComputedStyle(back).backgroundColor);
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);"""  # noqa: E501


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_search_finds_gaussian_radius_and_can_be_read(home, dark):
    with browser.Browser(dark=dark) as b:
        b.open(home + "index.html")
        assert b.js(CONTRAST, "main p") > 4.5
        shade = b.js("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", shade)[:3])) < 300) == dark
        b.press("/")  # the keyboard's way into the search
        b.wait("document.activeElement.matches('#quarto-search input')")
        b.type("#quarto-search input", "gaussian radius")
        b.wait("document.querySelectorAll('.search-result').length > 1")
        found = b.js(
            "return [...document.querySelectorAll('.search-result')].map((e) => "
            "e.getAttribute('href'))"
        )
        assert any("convert.html" in f for f in found) and any("api.html" in f for f in found)
        assert (
            b.js(CONTRAST, ".search-result .search-result-text") > 4.5
            and b.js(CONTRAST, "#quarto-search input") > 4.5
        )
        first = found[: next(i for i, f in enumerate(found) if "api.html" in f)]
        assert any("convert.html" in f for f in first), "an entry of the API before the lesson"
        b.js("document.querySelector('#quarto-search input').value = ''")
        b.type("#quarto-search input", "train on my own data")
        b.wait("document.querySelector('.search-result[href*=your_data]')")
        b.type("#quarto-search input", ENTER)
        b.wait("location.pathname.length > 0 && !location.pathname.endsWith('index.html')")
        assert not b.errors()


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_links_and_navigation_can_be_read(home, dark):
    with browser.Browser(dark=dark, width=1440) as b:
        b.open(home + "head.html")
        for css in ("main p a", ".navbar .nav-link", ".sidebar-item a", "#TOC a"):
            if b.js("return !!document.querySelector(arguments[0])", css):
                assert b.js(CONTRAST, css) > 4.5, css
        wide = b.js(
            "return [...document.querySelectorAll('main div.sourceCode pre')].filter((e) => "
            "e.scrollWidth > e.clientWidth + 1).length"
        )
        assert wide == 0, "code is cut at 1440 pixels"


@needs_browser
def test_dark_and_light_are_chosen_and_kept(desktop, home):
    colour = "return getComputedStyle(document.body).backgroundColor"
    desktop.open(home + "head.html")
    before = desktop.js(colour)
    desktop.click(".quarto-color-scheme-toggle")
    desktop.wait(f"getComputedStyle(document.body).backgroundColor !== '{before}'")
    desktop.open(home + "loss.html")
    assert desktop.js(colour) != before and desktop.js(CONTRAST, "main p") > 4.5
    desktop.click(".quarto-color-scheme-toggle")


@needs_browser
def test_keyboard_reaches_text_and_sections(desktop, home):
    desktop.open(home + "head.html")
    desktop.press(TAB)
    assert desktop.js("return document.activeElement.className") == "skip-link"
    assert desktop.js("return document.activeElement.getBoundingClientRect().left") >= 0
    desktop.js("document.querySelector('.sidebar-item-toggle').focus()")
    was = desktop.js("return document.activeElement.getAttribute('aria-expanded')")
    desktop.press(ENTER)
    desktop.wait(f"document.activeElement.getAttribute('aria-expanded') !== '{was}'")


@needs_browser
def test_a_lost_reader_finds_home_from_any_depth(desktop, home):
    desktop.open(home + "toolbox/nowhere/at/all.html")
    assert "not here" in desktop.js("return document.title")
    assert (
        desktop.js("return document.querySelector('main a[href*=\"api\"]').href")
        == home + "api.html"
    )
    assert all("all.html" in e for e in desktop.errors())


# ---------------------------------------------------------------- figures


def iou(a, b):
    "Overlap of two rows (y, x, h, w, …)."
    inside = [
        max(
            0,
            min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
            - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2),
        )
        for i in (0, 1)
    ]
    both = inside[0] * inside[1]
    return both / max(a[2] * a[3] + b[2] * b[3] - both, 1e-9)


@needs_browser
def test_figures_compute_what_the_package_computes(desktop, home):
    from centernet_nb.convert import ObjectsToPoints, gaussian_radius
    from centernet_nb.fastmaps import decode_peaks
    from centernet_nb.loss import CenterNetLoss

    desktop.open(home + FIGURES)
    rng = np.random.default_rng(0)
    boxes = rng.uniform(1, 60, (40, 2)).tolist()
    for formula in ("original", "corrected", "later"):
        ours = desktop.js(
            "return arguments[0].map(([h, w]) => CenterNetFigures.gaussianRadius(h, w, "
            "undefined, arguments[1]))",
            boxes,
            formula,
        )
        theirs = gaussian_radius(
            torch.tensor([b[0] for b in boxes]),
            torch.tensor([b[1] for b in boxes]),
            formula=formula,
        )
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-3)
    for (h, w), r in zip(
        boxes[:20], rng.uniform(0.1, 6, 20)
    ):  # the worst IoU, found by trying all pairs of corner shifts
        shifts = [(a, b) for a in (-r, 0, r) for b in (-r, 0, r)]
        box = (0, 0, h, w)
        tried = [
            iou(
                box,
                (
                    (b[0] + a[0]) / 2,
                    (b[1] + a[1]) / 2,
                    max(0, h + b[0] - a[0]),
                    max(0, w + b[1] - a[1]),
                ),
            )
            for a in shifts
            for b in shifts
        ]
        assert (
            abs(
                desktop.js("return CenterNetFigures.worstIoU(...arguments)", h, w, r)
                - min(tried)
            )
            < 1e-3
        )
    centres = [[10.4, 17.6, 18.0, 14.0], [12.1, 27.2, 11.0, 20.0]]
    objects = torch.tensor([[c + [0, 1] for c in centres]])
    target = ObjectsToPoints((21, 48), num_classes=1, gaussian="adaptive", min_overlap=0.3)(
        objects
    )[0, 0]
    ours = desktop.js(
        """const N = CenterNetFigures; let m; arguments[0].forEach(([y, x, h, w]) => { m = N.gaussian(21, 48, y, x, N.gaussianRadius(h, w, .3, 'corrected'), m); });
        return [Array.from(m), N.focal(.2, m)]""",  # noqa: E501
        centres,
    )
    np.testing.assert_allclose(np.reshape(ours[0], (21, 48)), target.numpy(), atol=1e-3)
    assert (
        abs(
            ours[1]
            - CenterNetLoss()
            .loss_fl(torch.full((1, 1, 21, 48), 0.2), target[None, None])
            .item()
        )
        < 1e-3
    )
    scene = desktop.js(
        "const p = CenterNetFigures.scene(32, 48); return ['heat', 'dy', 'dx', 'h', "
        "'w'].map((k) => Array.from(p[k]))"
    )
    points = torch.tensor(scene, dtype=torch.float64).float().view(1, 5, 32, 48)
    for kernel, floor in ((1, 0.5), (3, 0.3), (3, 0.05), (5, 0.1), (9, 0.3)):
        ours = desktop.js(
            "const N = CenterNetFigures; return N.decode(N.scene(32, 48), 32, 48, "
            "...arguments)",
            kernel,
            floor,
        )
        theirs = decode_peaks(points, kernel, 400, floor)[0].numpy()
        np.testing.assert_allclose(np.array(ours), theirs[theirs[:, 5] > 0], atol=1e-3)


def state(b, figure):
    return b.js(f"return {{...document.querySelector('[data-figure={figure}]').cnb.state}}")


def cells(b, figure):
    return b.js(
        f"return [...document.querySelectorAll('[data-figure={figure}] td')].map((e) => "
        f"e.textContent)"
    )


@needs_browser
@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "touch"])
def test_box_is_dragged_and_stretched(desktop, phone, home, touch):
    from centernet_nb.convert import gaussian_radius

    b = phone if touch else desktop
    b.open(home + FIGURES)
    b.wait("document.querySelector('[data-figure=gaussian]').cnb")
    first = state(b, "gaussian")
    b.point("[data-figure=gaussian] .cnb-box", [(20, 10), (20, 10)], touch)
    moved = state(b, "gaussian")
    assert moved["x"] > first["x"] and moved["y"] > first["y"] and moved["h"] == first["h"]
    b.point("[data-figure=gaussian] .cnb-corner", [(-15, 8), (-15, 8)], touch)
    stretched = state(b, "gaussian")
    assert stretched["w"] < moved["w"] and stretched["h"] > moved["h"]
    shown = [float(v) for v in cells(b, "gaussian")[::4]]
    wanted = [
        float(gaussian_radius(stretched["h"], stretched["w"], formula=f))
        for f in ("original", "corrected", "later")
    ]
    np.testing.assert_allclose(shown, wanted, atol=1e-3)
    assert not b.errors()


@needs_browser
@pytest.mark.parametrize("page", [FIGURES, "convert.html"])
def test_a_finger_drags_without_being_cut_off(phone, home, page):
    "Ten small moves: a browser that takes them for scrolling sends `pointercancel`."
    phone.open(home + page)
    phone.wait("(document.querySelector('[data-figure=gaussian]') || {}).cnb")
    phone.js(
        "window.cut = 0; window.addEventListener('pointercancel', () => { cut++; }, true)"
    )
    before = state(phone, "gaussian")
    phone.point("[data-figure=gaussian] .cnb-box", [(2, 3)] * 10, touch=True)
    after = state(phone, "gaussian")
    assert phone.js("return cut") == 0
    assert after["y"] > before["y"] + 1 and after["x"] > before["x"] + 0.5


@needs_browser
@pytest.mark.parametrize("touch", [False, True], ids=["mouse", "touch"])
def test_two_boxes_by_max_and_by_sum(desktop, phone, home, touch):
    b = phone if touch else desktop
    b.open(home + FIGURES)
    b.wait("document.querySelector('[data-figure=overlap]').cnb")
    before = state(b, "overlap")
    b.point("[data-figure=overlap] .cnb-over > rect:nth-of-type(2)", [(-5, 0), (-9, 0)], touch)
    after = state(b, "overlap")
    assert after["b"] < before["b"] and after["a"] == before["a"]
    b.point("[data-figure=overlap] .cnb-over > rect:nth-of-type(1)", [(-5, 0), (-5, 0)], touch)
    assert state(b, "overlap")["a"] < after["a"], "box A cannot be taken at its centre"
    b.js(
        "const f = document.querySelector('[data-figure=overlap]').cnb; f.state.b = "
        "f.state.a + 2; f.draw()"
    )
    table = np.array(cells(b, "overlap")).reshape(5, 2)
    assert float(table[0, 0]) == 1 and float(table[0, 1]) > 1  # largest value
    assert (
        table[1].tolist() == ["2", "0"] and int(table[2, 1]) >= 2
    )  # positives vanish from the sum, cells pass 1
    assert not b.errors()


@needs_browser
def test_sliders_and_arrow_keys(desktop, home):
    desktop.open(home + FIGURES)
    count = "+document.querySelector('[data-figure=peaks]').dataset.count"
    few = desktop.js(f"return {count}")
    desktop.js("document.querySelectorAll('[data-figure=peaks] input')[1].focus()")
    desktop.press("\ue012")  # arrow left: window 1×1
    assert state(desktop, "peaks")["kernel"] == 1 and desktop.js(f"return {count}") > few
    for _ in range(4):
        desktop.press("\ue014")  # arrow right
    assert state(desktop, "peaks")["kernel"] == 9 and desktop.js(f"return {count}") < few
    desktop.point("[data-figure=peaks] input", [(60, 0), (60, 0)])
    assert state(desktop, "peaks")["floor"] > 0.5 and desktop.js(f"return {count}") <= 4
    desktop.js("document.querySelector('[data-figure=gaussian] .cnb-box').focus()")
    x = state(desktop, "gaussian")["x"]
    desktop.press("\ue014")
    assert state(desktop, "gaussian")["x"] == x + 1


# ---------------------------------------------------------------- the detector


@needs_browser
def test_detector_finds_what_the_package_finds(desktop, home, site):
    from PIL import Image
    from centernet_nb.deploy import OnnxDetector

    desktop.open(home + "detector.html")
    samples = json.loads(
        (site / "site" / "samples" / "samples.json").read_text(encoding="utf-8")
    )
    desktop.wait(f"document.querySelectorAll('.cnb-samples button').length === {len(samples)}")
    detector, labels = (
        OnnxDetector(site / "site" / "text.onnx", threads=1),
        json.loads((site / "site" / "text.json").read_text(encoding="utf-8")),
    )
    assert all(s["credit"] and s["alt"] for s in samples)
    root = "document.querySelector('[data-detector]')"
    for i, sample in enumerate(samples):
        desktop.js(f"{root}.dataset.state = ''")
        desktop.wait("document.querySelector('.cnb-detector select').value")
        size = desktop.js(
            "const s = document.querySelector('.cnb-detector select'); s.value = "
            "[...s.options].at(arguments[0]).value; return +s.value",
            i - 2,
        )
        desktop.click(f".cnb-samples button:nth-child({i + 1})")
        assert (
            desktop.wait(
                f"['done', 'failed'].includes({root}.dataset.state) && {root}.dataset.state",
                seconds=150,
            )
            == "done"
        ), desktop.js("return document.querySelector('.cnb-note').textContent")
        ours = desktop.js(f"return {root}.cnb.state.result.rows")
        theirs = detector.detect(
            Image.open(site / "site" / "samples" / sample["file"]), size, 0.05
        ).tolist()
        sure = [r for r in theirs if r[5] >= 0.3]
        for r in sure:
            assert max(iou(r, o) for o in ours) >= 0.99, (sample["file"], r)
        for o in (o for o in ours if o[5] >= 0.3):
            assert max(iou(r, o) for r in theirs) >= 0.99, (sample["file"], o)
        assert abs(len(ours) - len(theirs)) <= 1 and abs(ours[0][5] - theirs[0][5]) < 0.01
        if not i and not labels.get("untrained"):
            assert sure, "the trained model finds nothing on a sample"
        assert int(desktop.js(f"return {root}.dataset.count")) == sum(
            o[5] >= 0.3 for o in ours
        )
    desktop.js(
        "const r = document.querySelector('.cnb-detector input[type=range]'); r.value = .05; "
        "r.dispatchEvent(new Event('input'))"
    )
    assert int(desktop.js(f"return {root}.dataset.count")) == sum(o[5] >= 0.05 for o in ours)
    assert not desktop.errors()


@needs_browser
def test_detector_takes_a_dropped_photo_and_refuses_a_letter(phone, home):
    phone.open(home + "detector.html")
    root = "document.querySelector('[data-detector]')"
    drop = """const data = new DataTransfer(); data.items.add(arguments[0]);
        document.querySelector('.cnb-drop').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))"""  # noqa: E501
    phone.wait("document.querySelector('.cnb-detector select').value")
    phone.js(
        "const s = document.querySelector('.cnb-detector select'); s.value = "
        "[...s.options].at(-1).value"
    )
    phone.js(f"""const c = document.createElement('canvas'); c.width = 70; c.height = 45; c.getContext('2d').fillRect(5, 5, 30, 20);
        c.toBlob((blob) => {{ (function () {{ {drop} }})(new File([blob], 'a.png', {{ type: 'image/png' }})) }})""")  # noqa: E501
    assert (
        phone.wait(
            f"['done', 'failed'].includes({root}.dataset.state) && {root}.dataset.state",
            seconds=150,
        )
        == "done"
    )
    assert phone.js(
        f"return [{root}.cnb.state.picture.width, {root}.cnb.state.picture.height]"
    ) == [70, 45]
    phone.js(
        f"(function () {{ {drop} }})(new File(['Dear Sir'], 'a.txt', "
        f"{{ type: 'text/plain' }}))"
    )
    assert (
        phone.wait(
            f"['done', 'failed'].includes({root}.dataset.state) && {root}.dataset.state !== "
            f"'done' && {root}.dataset.state"
        )
        == "failed"
    )
    assert "not a picture" in phone.js(
        "return document.querySelector('.cnb-note').textContent"
    )
    assert phone.js(f"return [{root}.cnb.state.picture, {root}.dataset.count]") == [None, "0"]


@needs_browser
def test_detector_loads_once_and_the_newest_photo_wins(desktop, home):
    desktop.open(home + "detector.html")
    root = "document.querySelector('[data-detector]')"
    desktop.wait("document.querySelectorAll('.cnb-samples button').length > 1")
    desktop.wait("document.querySelector('.cnb-detector select').value")
    desktop.js(
        "const s = document.querySelector('.cnb-detector select'); s.value = "
        "[...s.options].at(-1).value;"
        "const [a, b] = document.querySelectorAll('.cnb-samples button');"
        "a.click(); b.click(); a.click(); b.click()"
    )
    desktop.wait(f"{root}.dataset.state === 'done'", seconds=150)
    pressed = "return document.querySelector('.cnb-samples button[aria-pressed=true] img').src"
    assert desktop.js(pressed) == desktop.js(f"return {root}.cnb.state.last")
    assert desktop.js(f"return {root}.cnb.state.workers") == 1
    assert desktop.js(f"return {root}.cnb.state.result.turn === {root}.cnb.state.turn")
    blank = desktop.js(f"""const c = document.createElement('canvas'); c.width = c.height = 4;
        return new Promise((done) => c.toBlob((b) => {root}.cnb.pixels(b).then((p) => done([...p.data].slice(0, 4)))))""")  # noqa: E501
    assert blank == [255] * 4, "what is transparent is read as white, as in Python"
