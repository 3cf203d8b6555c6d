"COCO-Text's layout at the edges of what is read, and what a download may bring"

import json
import math
import pytest
from centernet_nb import textlayout
from centernet_nb.checks import DataError
from centernet_nb.textlayout import fetch_pictures, layout_to_coco, read_layout

PICTURE = dict(id=1, set="train", width=320, height=320, file_name="1.jpg")


def layout(picture={}, **word):
    "One word on one picture"
    word = {"id": 1, "image_id": 1, "bbox": [10, 10, 10, 10], "legibility": "legible"} | word
    word = {k: v for k, v in word.items() if v is not None}
    return dict(imgs={"1": PICTURE | picture}, anns={"1": word})


def words(picture={}, how={}, **word):
    return layout_to_coco(layout(picture, **word), min_area=0, **how)[0]["annotations"]


def box_and_area(**word):
    (found,) = words(dict(height=40, width=60), **word)
    return found["bbox"], found["area"]


def test_pictures_of_one_pixel(tmp_path):
    for side, fine in ((1, True), (999_999, True), (0, False), (1_000_000, False)):
        (tmp_path / "a.json").write_text(json.dumps(layout(dict(width=side))))
        if fine:
            assert read_layout(tmp_path / "a.json")["imgs"]["1"]["width"] == side
            continue
        with pytest.raises(DataError, match=f"the width {side}"):
            read_layout(tmp_path / "a.json")


def test_both_parts_are_needed(tmp_path):
    for part in ("imgs", "anns"):
        (tmp_path / "a.json").write_text(json.dumps({part: {}}))
        with pytest.raises(DataError, match="not of the layout"):
            read_layout(tmp_path / "a.json")


def test_boxes_are_cut_at_all_four_sides():
    assert box_and_area(bbox=[-5, -4, 20, 10]) == ([0, 0, 15, 6], 90)
    assert box_and_area(bbox=[50, 35, 20, 10]) == ([50, 35, 10, 5], 50)


@pytest.mark.parametrize(
    "box", [[10, 10, 0, 5], [10, 10, 5, 0], [10, 50, 5, 5], [60, 0, 5, 5]]
)
def test_boxes_without_area(box):
    with pytest.raises(DataError, match="lies outside its picture of 60 x 40"):
        box_and_area(bbox=box)


def test_boxes_of_more_than_four_numbers():
    "The polygon of the first four says where it is"
    assert box_and_area(bbox=[1, 2, 3, 4, 0.9]) == ([1, 2, 3, 4], 12)


@pytest.mark.parametrize(
    "area, found",
    [(0.5, 0.5), (0, 100), (-1, 100), (1e12, 100), (1.5e12, 100), (9e11, 9e11), ("7", 100)],
)
def test_areas(area, found):
    assert box_and_area(area=area)[1] == found


@pytest.mark.parametrize("far, used", [(999_999, True), (1e6, False), (1.5e6, False)])
def test_corners_beyond_any_picture(far, used):
    "One corner too far away, and the box says where the word is"
    mask = [10, 10, far, 10, 10, 20]
    (found,) = words(mask=mask)
    assert (found["mask"] == mask) is used
    (found,) = words(mask=[10, 10, math.nan, 10, 10, 20])
    assert found["mask"] == [10, 10, 20, 10, 20, 20, 10, 20]


def test_a_word_as_small_as_may_be():
    "1/1024 of 320 × 320 are 100 pixels: read; and no share of all is left out"
    found = layout_to_coco(layout(), min_area=1 / 1024)[0]["annotations"]
    assert [a["ignore"] for a in found] == [0]
    with pytest.raises(ValueError, match="min_area=1:"):
        layout_to_coco(layout(), min_area=1)


def test_a_word_of_no_class_is_printed_by_a_machine():
    assert [a["category_id"] for a in words(how=dict(by="class"))] == [1]


def test_what_a_download_may_bring(tmp_path, monkeypatch):
    "32 MB a picture, 256 MB the archive, 1 GB what is in it"
    asked = []
    monkeypatch.setattr(
        textlayout, "download_many", lambda jobs, **how: asked.append(how) or []
    )
    (tmp_path / "a.json").write_text(json.dumps(layout()))
    assert fetch_pictures(tmp_path / "a.json", tmp_path, splits=("train",)) == []
    assert asked[0]["size_limit"] == 33_554_432 and asked[0]["allow_http"] is True

    monkeypatch.setattr(textlayout, "online", lambda url: True)
    archive = tmp_path / "cocotext.v2.zip"
    monkeypatch.setattr(
        textlayout, "download", lambda url, path, **how: asked.append(how) or archive
    )
    monkeypatch.setattr(textlayout, "extract", lambda *_, **how: asked.append(how) or [])
    with pytest.raises(textlayout.DownloadError, match="holds no cocotext.v2.json"):
        textlayout._annotation_file(tmp_path, "somewhere")
    assert asked[1]["size_limit"] == 268_435_456 and asked[1]["retries"] == 3
    assert asked[2]["size_limit"] == 1_073_741_824
