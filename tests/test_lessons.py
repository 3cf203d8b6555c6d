"The house rules of the notebooks, as far as a program can hold them"

import base64
import json
import re
import statistics
from pathlib import Path
import pytest

NBS = Path(__file__).resolve().parent.parent / "nbs"
FILES = [
    p for p in sorted(NBS.rglob("*.ipynb")) if not p.relative_to(NBS).parts[0].startswith("_")
]
LESSONS = [p for p in FILES if re.match(r"0[0-6]_", p.name)]
KINDS = ("image/png", "image/jpeg", "image/svg+xml")


def source(cell):
    return "".join(cell["source"])


def code(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [c for c in cells if c["cell_type"] == "code" and lines(c)]


def lines(cell):
    found = source(cell).splitlines()
    return [n for n in found if n.strip() and not n.strip().startswith("#|")]


def pictures(cell):
    "Bytes of each stored picture."
    data = [o["data"] for o in cell.get("outputs", []) if "data" in o]
    found = [("svg" in k, "".join(d[k])) for d in data for k in KINDS if k in d]
    return [t.encode() if svg else base64.b64decode(t) for svg, t in found]


def directive(cell, name):
    found = re.search(rf"^#\|\s*{name}:\s*(.+)$", source(cell), re.M)
    return found and found[1].strip()


def told(cell):
    "Neither exported, nor hidden, nor imports only: what the reader is shown."
    if re.search(r"^#\|\s*(export|hide)\b", source(cell), re.M):
        return False
    return not all(re.match(r"(from|import|#)|\s|\)", n) for n in lines(cell))


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_keeps_within_its_budget(path):
    cells = code(path)
    n = sorted(len(lines(c)) for c in cells)
    width = max(len(line) for c in cells for line in lines(c))
    shown = [c for c in cells if told(c)]
    assert len(cells) <= 45, f"{len(cells)} code cells"
    most = (
        7 if path.stem.startswith("06") else 5
    )  # 06 trains, loads and scores: its cells are longer
    assert statistics.median(n) <= most, f"median of {statistics.median(n)} lines a cell"
    assert n[int(0.9 * (len(n) - 1))] <= 15, "more than a tenth of the cells is over 15 lines"
    assert width <= 95, f"a line of {width} columns"
    assert sum(bool(c.get("outputs")) for c in shown) >= 0.5 * len(shown), "half must show"
    drawn = sum(bool(pictures(c)) for c in cells)
    assert drawn >= len(cells) / 8, f"{drawn} figures in {len(cells)} cells"


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_lesson_has_head_and_tail(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join(source(c) for c in cells if c["cell_type"] == "markdown")
    for word in ("Time", "minutes", "You need", "you will be able to", "## Summary"):
        assert word in text, f"{word!r} is missing"
    exercises = text[text.index("## Exercises") :]
    assert exercises.count("<details>") >= 3, "three exercises with answers that fold out"
    assert not re.search(r"\b(the assignment|graders?)\b", text, re.I)


def drawn():
    return [
        (p.relative_to(NBS).as_posix(), i, c)
        for p in FILES
        for i, c in enumerate(json.loads(p.read_text(encoding="utf-8"))["cells"])
        if c["cell_type"] == "code" and pictures(c) and "#| hide" not in source(c)
    ]


def test_every_figure_can_be_heard():
    "One alternative text each, no two alike, none a caption; `: ` would end the YAML value"
    seen, wrong = {}, []
    for name, i, cell in drawn():
        alt, place = directive(cell, "fig-alt"), f"{name} [{i}]"
        if not alt:
            wrong.append(f"{place}: none")
        elif alt in seen:
            wrong.append(f"{place}: the same as {seen[alt]}")
        elif alt == directive(cell, "fig-cap"):
            wrong.append(f"{place}: its caption again")
        elif ": " in alt.strip("\"'") and alt[0] not in "\"'":
            wrong.append(f"{place}: a colon and a blank need quotes")
        seen[alt] = place
    assert not wrong, "\n".join(wrong)


def test_stored_figures_are_small():
    sizes = {f"{name} [{i}]": sum(map(len, pictures(c))) for name, i, c in drawn()}
    assert sum(sizes.values()) <= 8_000_000, f"{sum(sizes.values()):,} bytes in all"
    assert max(sizes.values()) <= 250_000, max(sizes, key=sizes.get)


BY = "https://creativecommons.org/licenses/by/"
SOURCES = {
    "2.0": "https://www.flickr.com/photo",
    "4.0": "https://(rrc.cvc.uab.es|cocodataset.org)",
}
LOADS = r"find_tinycoco|train_2017_small|icdar2015|site/(samples|figures|hero|own)\S*\.jpg"


def test_photos_are_credited_where_they_are_shown():
    "Wherever a licence is named, its text and the place where the photo comes from are linked"
    for path in FILES:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join(source(c) for c in cells if c["cell_type"] == "markdown")
        told = [v for v in SOURCES if re.search(rf"\bCC BY {v}", text)]
        for version in told:
            found = f"{BY}{version}/" in text and re.search(SOURCES[version], text)
            assert found, f"{path.name}: no link for CC BY {version}"
        shows = re.search(LOADS, text) or any(map(pictures, cells))
        if shows and re.search(LOADS, "\n".join(map(source, cells))):
            assert told, f"{path.name} shows photos and names no licence"


def test_every_photo_on_the_home_page_has_its_credit():
    text = (NBS.parent / "README.md").read_text(encoding="utf-8")
    photos = re.findall(r"nbs/site/[\w/]+\.jpg", text)
    assert len(photos) >= 3 and text.count(f"{BY}4.0/") == len(photos)
