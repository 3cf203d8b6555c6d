"""Plausible bugs that lived through every notebook and test: a proof for each, against
numbers worked out by hand"""

import json
import math
import os
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from killable import Noise, Tiny
from PIL import Image
from torch import nn
from centernet_nb import run as run_module
from centernet_nb.backbone import HeadlessResnet
from centernet_nb.batches import Batches
from centernet_nb.checkpoint import load_tensors, save_tensors
from centernet_nb.data import CocoObjects
from centernet_nb.detect import detect
from centernet_nb.evaluate import (
    best_threshold,
    detections_of,
    errors_of,
    evaluate,
    predict,
    truth_of,
)
from centernet_nb.pictures import Placement, as_rgb
from centernet_nb.run import Run, Settings
from centernet_nb.views import letterbox


def coco_folder(folder, *annotations, hw=(64, 96)):
    "A data set of one grey picture with `annotations` (bbox, area, …)"
    Image.new("RGB", hw[::-1], "grey").save(folder / "a.png")
    image = dict(id=1, file_name="a.png", height=hw[0], width=hw[1])
    rows = [
        dict(dict(id=n, image_id=1, category_id=1), **a) for n, a in enumerate(annotations)
    ]
    file = folder / "a.json"
    categories = [dict(id=1, name="thing")]
    text = json.dumps(dict(images=[image], annotations=rows, categories=categories))
    file.write_text(text, encoding="utf-8")
    return CocoObjects(folder, file, size=(64, 96))


def test_the_area_of_the_file_counts(tmp_path):
    "COCO sorts by the area of the outline, not of the box; what is cut off takes its share"
    d = coco_folder(
        tmp_path,
        dict(bbox=[10, 10, 20, 10], area=123.0),
        dict(bbox=[86, 0, 20, 10], area=100.0),
        dict(bbox=[30, 30, 4, 5]),
    )
    assert [a["area"] for a in d.coco.dataset["annotations"]] == [123, 50, 20]


def test_sixteen_bits_become_eight():
    "Every value of 16 bits: v/65535 of white, rounded; v//256 would darken half of them"
    v = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = np.asarray(as_rgb(Image.fromarray(v)))[..., 0]
    assert (got == np.round(v / 257)).all()


def test_boxes_are_cut_for_training(tmp_path):
    "Rows (y, x, h, w): the part of (76…126, 10…40) that lies in a picture of width 96"
    d = coco_folder(tmp_path, dict(bbox=[76, 10, 50, 30]))
    assert d[0][1].tolist() == [[25, 86, 30, 20, 0, 1]]
    assert d.coco.anns[1]["bbox"] == [76, 10, 20, 30]  # what evaluation compares with
    target = dict(boxes=torch.tensor([[76.0, 10, 126, 40]]), labels=torch.tensor([0]))
    _, target = letterbox((64, 96))(Image.new("RGB", (96, 64)), target)
    assert target["boxes"].tolist() == [[76, 10, 96, 40]]


class Items(list):
    "A data set in memory"

    names = ["a", "b"]


def item(*rows, ignore=None):
    "A black picture of 64 × 64 with objects, and cells to ignore"
    objects = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    none = torch.zeros(16, 16, dtype=torch.bool)
    return torch.zeros(3, 64, 64), objects, none if ignore is None else ignore


def rows(*found):
    return torch.tensor(found, dtype=torch.float32).reshape(-1, 6)


def test_detections_are_cut():
    "A box 20 pixels over the edge, found as it is: whole, its overlap would be 0.5"
    data = Items([item([32, 60, 20, 40, 0, 1])])
    truth = truth_of(data, data.names)
    found = detections_of([rows([32, 60, 20, 40, 0, 0.9])], truth, [0], [0, 1])
    assert found.anns[1]["bbox"] == truth.anns[1]["bbox"] == [40, 22, 24, 20]
    result = evaluate(None, data, predictions=[rows([32, 60, 20, 40, 0, 0.9])])
    assert abs(result.ap - 1) < 1e-9


@pytest.mark.parametrize("allowed, ap", [(5, 0), (6, 1 / 6)])
def test_so_many_objects_count(allowed, ap):
    "Five false boxes before the right one: COCO's own tool never counts fewer than ten"
    false = [[8.0 + 8 * n, 8, 6, 6, 0, 0.9] for n in range(5)]
    found = [rows(*false, [32, 40, 20, 20, 0, 0.5])]
    data = Items([item([32, 40, 20, 20, 0, 1])])
    result = evaluate(None, data, max_objects=allowed, predictions=found)
    assert math.isclose(result.ap, ap, abs_tol=1e-9)


def test_equal_scores_stay_together():
    "A right and a false detection of one score: no threshold has the one without the other"
    data = Items([item([32, 32, 20, 20, 0, 1])])
    both = rows([32, 32, 20, 20, 0, 0.5], [10, 10, 8, 8, 0, 0.5])
    best = best_threshold(evaluate(None, data, predictions=[both]))
    assert best["precision"] == 0.5 and math.isclose(best["f1"], 2 / 3)


def test_ignored_regions_are_of_every_class():
    "What is found in them is neither right nor false, whatever it is said to be"
    ignore = torch.zeros(16, 16, dtype=torch.bool)
    ignore[8:, 8:] = True
    data = Items([item([10, 10, 12, 12, 0, 1], [10, 40, 12, 12, 1, 1], ignore=ignore)])
    found = rows([48, 48, 20, 20, 0, 0.9], [48, 48, 20, 20, 1, 0.8])
    result = evaluate(None, data, predictions=[found])
    hits, missed, false = errors_of(result, 0)
    assert not hits and len(missed) == 2 and not false


def test_every_epoch_has_its_order():
    "Each epoch shows every sample once, in an order that no other epoch has"
    keys = [k for batch in Batches(50, 10, 0, 15, seed=4) for k in batch]
    orders = [[i for e, i in keys if e == epoch] for epoch in range(3)]
    assert all(sorted(o) == list(range(50)) for o in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_the_first_of_equally_good_weights_stays(monkeypatch):
    run = Run(Noise(), Tiny(10), nn.Identity(), Settings(batch_size=4, steps=4), "cpu")
    score = SimpleNamespace(ap=0.5, ap50=0.5)
    monkeypatch.setattr(run_module, "evaluate", lambda *_, **__: score)
    for run.done in (1, 2):
        run.validate(None)
    assert run.best["step"] == 1
    score.ap50, run.done = 0.6, 3
    run.validate(None)
    assert run.best["step"] == 3


def test_a_score_that_is_no_number_is_never_the_best(monkeypatch):
    "NaN first, as of pictures without objects: the first step's weights do not come back"
    run = Run(Noise(), Tiny(10), nn.Identity(), Settings(batch_size=4, steps=4), "cpu")
    score = SimpleNamespace(ap=math.nan, ap50=math.nan)
    monkeypatch.setattr(run_module, "evaluate", lambda *_, **__: score)
    run.done = 1
    run.validate(None)
    assert run.best is None
    score.ap50, run.done = 0.1, 2
    run.validate(None)
    score.ap50, run.done = math.nan, 3
    run.validate(None)
    assert run.best["step"] == 2


def test_another_count_of_threads_is_said(capsys):
    "The last bits of sums depend on it; the same count is no news"

    def make():
        torch.manual_seed(0)  # the weights it starts from are part of what it is
        return Run(Noise(), Tiny(10), nn.Identity(), Settings(batch_size=4, steps=4), "cpu")

    state = make().state()
    make().load_state(state, "run.pth")
    assert "threads" not in capsys.readouterr().err
    state["machine"]["threads"] += 1
    make().load_state(state, "run.pth")
    said = capsys.readouterr().err
    assert f"run.pth was written with threads {torch.get_num_threads() + 1}" in said


class Over(nn.Module):
    "Finds a box that leaves a picture of 64 x 64 by 16 pixels on the right"

    num_classes = 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x, return_objects=False):
        return rows([32, 60, 20, 40, 0, 0.5])[None]


def test_what_detect_returns_lies_in_the_picture():
    found = detect(Over(), Image.new("RGB", (64, 64)), size=64, min_confidence=0.1)
    assert found.tolist() == [[32, 52, 20, 24, 0, 0.5]]


def test_kernels_start_by_their_outputs():
    "He's deviation √(2/(k²·outputs)) where inputs and outputs differ: by inputs, 1.4 of it"
    torch.manual_seed(0)
    net, seen = HeadlessResnet(), 0
    for m in net.modules():
        if isinstance(m, nn.Conv2d) and m.in_channels < m.out_channels and m.in_channels > 3:
            wanted = math.sqrt(2 / (m.out_channels * math.prod(m.kernel_size)))
            assert abs(m.weight.std().item() / wanted - 1) < 0.1, m
            seen += 1
    assert seen >= 3


@pytest.mark.parametrize(
    "hw, new", [((100, 150), (171, 256)), ((150, 100), (256, 171)), ((7, 9), (199, 256))]
)
def test_sides_are_rounded(hw, new):
    "100·256/150 = 170.67 pixels are 171, not 170"
    assert Placement(hw, (256, 256)).new == new


def test_a_confidence_at_the_threshold_counts():
    "0.25 is exact in floats: `min_confidence=0.25` keeps it"
    found = rows([32, 32, 20, 20, 0, 0.25], [32, 32, 20, 20, 0, 0.2])
    data = Items([item([32, 32, 20, 20, 0, 1])])
    kept = predict(lambda x: found[None], data, min_confidence=0.25)
    assert kept[0].tolist() == found[:1].tolist()
    result = evaluate(None, data, predictions=kept)
    assert len(errors_of(result, 0, min_confidence=0.25)[0]) == 1


def test_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    "fsync of the very file comes before the rename: a power cut leaves the old or the new"
    events, fsync, replace = [], os.fsync, os.replace

    def noted_fsync(fd):
        events.append(("fsync", os.fstat(fd).st_ino))
        fsync(fd)

    def noted_replace(a, b):
        events.append(("replace", os.stat(a).st_ino))
        replace(a, b)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    path = save_tensors(dict(a=torch.ones(3)), tmp_path / "a.pth")
    number = path.stat().st_ino
    assert events.index(("fsync", number)) < events.index(("replace", number))


def test_the_name_is_never_without_a_file(tmp_path, monkeypatch):
    "While the old checkpoint becomes the previous one, it is still where it was"
    path, replace, there = tmp_path / "a.pth", os.replace, []
    save_tensors(dict(a=1), path)

    def watched(a, b):
        there.append(path.is_file())
        replace(a, b)
        there.append(path.is_file())

    monkeypatch.setattr(os, "replace", watched)
    monkeypatch.setattr(os, "rename", watched)
    save_tensors(dict(a=2), path, keep_previous=True)
    assert len(there) >= 4 and all(there)
    assert load_tensors(path) == dict(a=2)
    assert load_tensors(tmp_path / "a.prev.pth") == dict(a=1)
