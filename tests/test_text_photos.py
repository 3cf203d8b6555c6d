"""The text detector on photos of any size, and the commands that score it, time it and compare
it"""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from centernet_nb.boxes import iou
from centernet_nb.cocotext import find_text
from centernet_nb.detect import all_looks, detect
from centernet_nb.network import load_model
from centernet_nb.textdata import CocoText
from centernet_nb.textlayout import layout_to_coco
from centernet_nb.words import generate_words

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    "Twelve generated pictures in COCO-Text's layout"
    folder = tmp_path_factory.mktemp("photos")
    file = generate_words(folder, 12, 5, (192, 320), system_fonts=False)
    return CocoText(file, folder, "train")


def test_a_word_at_a_seam_is_found_once():
    "Black words on white, one on each edge of a tile and some between, in a long photo"
    hw, font = (700, 2800), ImageFont.load_default(64)
    places = all_looks(hw, 1280, 2.0, tiled=True)[1:]
    scale = places[0].scale[1]
    edges = sorted({-p.shift[1] / scale + d / scale for p in places for d in (0, 1024)})
    picture = Image.new("RGB", hw[::-1], "white")
    draw, truth = ImageDraw.Draw(picture), []
    for k, x in enumerate(x for x in edges if 0 < x < hw[1] - 100):
        y = 100 + 120 * (k % 4)
        x1, y1, x2, y2 = draw.textbbox((x, y), "SEAM", font, anchor="mm")
        draw.text((x, y), "SEAM", "black", font, anchor="mm")
        truth.append([(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1])
    found = find_text(picture)
    assert len(places) > 1 and len(truth) >= 3
    overlap = iou(torch.tensor(truth), found[:, :4])
    assert (overlap >= 0.5).sum(1).tolist() == [1] * len(truth), overlap
    assert ((overlap > 0).sum(1) == 1).all(), "a second box on a word"


@pytest.mark.parametrize("model", ["text", "text-fast"])
def test_a_large_word_is_seen_from_afar(model):
    "A sign of one word, half as high as the picture: one box, which a single look misses"
    net, sign = load_model(model), Image.new("RGB", (640, 360), "#0a5032")
    draw, font = ImageDraw.Draw(sign), ImageFont.load_default(170)
    draw.text((320, 180), "EXIT", "white", font, anchor="mm")
    x1, y1, x2, y2 = draw.textbbox((320, 180), "EXIT", font, anchor="mm")
    truth = torch.tensor([[(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1]])
    found, once = find_text(sign, net), detect(net, sign, tiled=False, suppress=True)
    assert (iou(truth, found[:, :4]) >= 0.5).sum() == 1, found
    assert not (iou(truth, once[:, :4]) >= 0.5).any(), once


@pytest.mark.parametrize(
    "size, most", [((1280, 720), 5e8), ((4000, 3000), 7.5e8), ((8000, 1000), 7.5e8)]
)
def test_memory_is_bounded_however_large_the_photo(size, most):
    """Over `import torch`, at the peak of a process of its own: 0.5 GB for a usual photo,
    and not much more for one of thirteen times as many pixels"""
    import text

    assert 2**20 < text.peak("text", size) <= most


def test_a_look_without_what_a_model_brings():
    import text

    asked = lambda **how: SimpleNamespace(**dict(once=False, zoom=None, doubles=False) | how)
    assert text.without(asked()) == {}
    assert text.without(asked(once=True, zoom=1.0)) == dict(tiled=False, zoom=1)
    assert text.without(asked(once=True, doubles=True)) == dict(tiled=False, suppress=False)


def test_ids_of_photos():
    import text

    assert text.chosen_ids("5:12:3") == [5, 8, 11] and text.chosen_ids("7,2") == [7, 2]
    assert text.chosen_ids(None) is None


def test_the_card_takes_a_table(tmp_path):
    import text

    card = tmp_path / "text.md"
    card.write_text("# A\n<!-- x -->\nold\n<!-- end -->\nB\n<!-- y -->\n<!-- end -->\n")
    for _ in range(2):
        text.into_card(card, "x", "| new |")
    told = "# A\n<!-- x -->\n| new |\n<!-- end -->\nB\n<!-- y -->\n<!-- end -->\n"
    assert card.read_text() == told
    with pytest.raises(SystemExit, match="no line <!-- z -->"):
        text.into_card(card, "z", "")


def test_the_models_card_is_there():
    "With the places that the command fills"
    card = (ROOT / "centernet_nb/models/text.md").read_text(encoding="utf-8")
    for name in ("labels", "icdar2015_full val", "icdar2015_full train"):
        assert f"<!-- {name} -->" in card, name
    assert load_model("text").labels["data"]


def test_words_are_joined_into_lines():
    "By hand: two level neighbours, one far away, one a line below, one three times as high"
    from rivals import joined, joined_corners

    boxes = [
        [0, 0, 50, 20],
        [60, 3, 90, 21],
        [200, 0, 240, 20],
        [0, 30, 50, 50],
        [92, 0, 150, 60],
    ]
    assert joined(boxes) == [[0, 1], [2], [3], [4]]
    lines = joined_corners(np.array(boxes, float))
    assert lines.tolist() == [[0, 0, 90, 21], *boxes[2:]]
    assert joined_corners(np.zeros((0, 4))).shape == (0, 4)


def test_rivals_are_scored_alike(photos):
    "What knows the truth scores 1 by words, lines and pixels; half of each word, half of them"
    from rivals import Photos, pixels, scores_of

    true = []
    for i in range(len(photos)):
        polygons, labels = photos.polygons(i)
        true.append([(p, 0.6) for p, c in zip(polygons, labels) if c >= 0])
    assert sum(map(len, true)) > 12
    words, lines = Photos(photos), Photos(photos, lines=True)
    assert len(lines.coco.anns) < len(words.coco.anns)
    assert scores_of(words, true, 0.5) == (1, 1, 1)
    assert scores_of(words, true, 0.7) == (0, 0, 0)
    precision, recall, _ = pixels(photos, true, 0.5)
    assert precision > 0.99 and recall == 1
    half = [[((p + p[[1, 1, 2, 2]]) / 2, c) for p, c in rows] for rows in true]
    precision, recall, _ = pixels(photos, half, 0.5)
    assert precision > 0.95 and 0.4 < recall < 0.6


def test_the_card_has_the_rivals_that_are_kept(tmp_path):
    "What `rivals.py --stored --card` would write stands there"
    card, copy = ROOT / "centernet_nb/models/text.md", tmp_path / "text.md"
    told = card.read_text(encoding="utf-8")
    without = re.sub(r"(?s)(<!-- rivals.*? -->\n).*?(<!-- end)", r"\1\2", told)
    assert without != told
    copy.write_text(without, encoding="utf-8")
    command = [sys.executable, ROOT / "benchmarks/rivals.py", "--stored", "--card", copy]
    subprocess.run([*command, "--folder", "icdar2015_full"], check=True, capture_output=True)
    assert copy.read_text(encoding="utf-8") == told
    other = subprocess.run([*command, "--folder", "no"], capture_output=True, text=True)
    assert other.returncode == 1 and "rivals.json has no 'no val'" in other.stderr


def test_the_made_annotations_are_cocotexts():
    "A thousandth of COCO-Text, read by the package"
    from cocotext_dry import layout_of

    data, skipped = layout_to_coco(layout_of(64, 240))
    assert not skipped and len(data["images"]) == 42
    readable = [a for a in data["annotations"] if not a["iscrowd"]]
    assert 0.3 < len(readable) / len(data["annotations"]) < 0.7


@pytest.mark.skipif(not os.environ.get("SOAK"), reason="minutes long: SOAK=1")
def test_cocotext_at_its_real_size():
    "Fetched, checked, read, and one step taken"
    command = [sys.executable, ROOT / "benchmarks/cocotext_dry.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = done.stdout
    assert "63,686 pictures, 239,506 words" in told and "the first step" in told
    print(told)
