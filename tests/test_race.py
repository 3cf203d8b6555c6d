"""The race's own parts: boxes to torchvision and back, the clock's arithmetic, the same
pictures for all"""

import pytest
import race
import torch
from torch import nn

OBJECTS = torch.tensor([[20.0, 50, 10, 30, 1, 1], [100, 40, 8, 6, 0, 1], [0, 0, 0, 0, 0, 0]])


def test_corners_by_hand():
    boxes, labels = race.corners(OBJECTS)
    assert boxes.tolist() == [[35, 15, 65, 25], [37, 96, 43, 104]] and labels.tolist() == [
        2,
        1,
    ]


def test_rows_come_back_as_they_went():
    "A detector that finds just what it was told, through both wrappers"
    boxes, labels = race.corners(OBJECTS)

    class Told(nn.Module):
        transform = type("", (), {})()

        def forward(self, images):
            return [
                dict(boxes=boxes, labels=labels, scores=torch.tensor([0.9, 0.8]))
                for _ in images
            ]

    wrapped = race.Torchvision.__new__(race.Torchvision)
    nn.Module.__init__(wrapped)
    wrapped.net, wrapped.fixed = Told(), False
    rows = wrapped(torch.zeros(2, 3, 128, 96))
    torch.testing.assert_close(rows[1, :2, :5], OBJECTS[:2, :5])
    assert not rows[:, 2:].any() and wrapped.net.transform.max_size == 128


def test_minutes_and_area_by_hand():
    curve = [(2.0, 0.2, 10, 1.0), (4.0, 0.6, 20, 1.0), (6.0, 0.4, 30, 1.0)]
    assert race.reached(curve) == pytest.approx(3.5) and race.reached(curve, 0.7) is None
    assert race.area(curve, 6) == pytest.approx((0.2 + 0.8 + 1) / 6)


def test_the_better_rate():
    slow, quick, late, early = (
        [(5.0, 0.6, 1, 1.0)],
        [(2.0, 0.5, 1, 9.0), (5.0, 0.55, 1, 9.0)],
        [(2.0, 0.1, 1, 2.0), (4.0, 0.2, 1, 2.0)],
        [(2.0, 0.2, 1, 3.0), (4.0, 0.2, 1, 3.0)],
    )
    assert sorted([late, slow, early, quick], key=race.better, reverse=True) == [
        quick,
        slow,
        early,
        late,
    ]


def test_everybody_sees_the_same_pictures():
    class Random:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return torch.rand(3, 32, 32), OBJECTS[:1] + i

    first, again, other = (
        race.batch(Random(), 3),
        race.batch(Random(), 3),
        race.batch(Random(), 4),
    )
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], other[0])
    assert first[1][:, 0, 0].tolist() == [20, 21, 22, 23, 20, 21, 22, 23]


@pytest.mark.parametrize("name", ["fcos", "ssdlite_mobilenet"])
def test_a_detector_learns_one_box(name):
    "Its loss falls on one picture: boxes, labels and autocast reach it in the right form"
    torch.manual_seed(0)
    net, images = race.Torchvision(name, 2, 128), torch.rand(2, 3, 128, 128)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = net.loss(images, OBJECTS[None].repeat(2, 1, 1))
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
