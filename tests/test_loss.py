"CenterNetLoss with its default targets, against plain loops in float64"

import math
import pytest
import torch
from centernet_nb.convert import ObjectsToPoints
from centernet_nb.loss import (
    CenterNetLoss,
    focal_from_logits,
    focal_from_probabilities,
    l1_at_centres,
)


def scene(B=2, C=3, h=12, w=16):
    "Logits, objects in input pixels (R = 4), a picture without any among them."
    g = torch.Generator().manual_seed(0)
    points = torch.randn(B, C + 4, h, w, generator=g)
    objects = torch.zeros(B, 4, 6)
    objects[0, 0] = torch.tensor([13.0, 30.5, 20, 9, 1, 1])
    objects[0, 1] = torch.tensor([40.2, 8.8, 6, 14, 2, 1])
    objects[0, 2] = torch.tensor([500.0, 9, 6, 14, 0, 1])  # off the map: counted, else nothing
    return points, objects


def by_hand(points, objects, r=4, ignore=None, weights=(1, 1, 0.1)):
    "Equations 1 to 4 cell by cell; targets with the 3×3 Gaussian of 3σ = 2 by loops."
    B, (C, h, w) = len(points), (points.shape[1] - 4, *points.shape[2:])
    out = torch.zeros(B, 3, dtype=torch.float64)
    for b in range(B):
        rows = [o for o in objects[b].double().tolist() if o[5]]
        y = torch.zeros(C, h, w, dtype=torch.float64)
        for cy, cx, bh, bw, c, _ in rows:
            i, j = math.floor(cy / r), math.floor(cx / r)
            if not (0 <= i < h and 0 <= j < w):
                continue
            for a in range(max(i - 1, 0), min(i + 2, h)):
                for d in range(max(j - 1, 0), min(j + 2, w)):
                    g = math.exp(-((a - i) ** 2 + (d - j) ** 2) / (2 * (2 / 3) ** 2))
                    y[int(c), a, d] = max(y[int(c), a, d], g)
            for k, value in enumerate((cy / r - i, cx / r - j, bh / r, bw / r)):
                out[b, 1 + k // 2] += abs(float(points[b, C + k, i, j]) - value)
        for c in range(C):
            for i in range(h):
                for j in range(w):
                    p = 1 / (1 + math.exp(-float(points[b, c, i, j])))
                    if y[c, i, j] == 1:
                        out[b, 0] -= (1 - p) ** 2 * math.log(p)
                    elif ignore is None or not ignore[b, i, j]:
                        out[b, 0] -= (1 - y[c, i, j]) ** 4 * p**2 * math.log(1 - p)
        out[b] /= len(rows) + 1
    return out * torch.tensor(weights, dtype=torch.float64)


@pytest.mark.parametrize("logits", [True, False])
def test_the_default_is_the_equations(logits):
    points, objects = scene()
    ignore = torch.zeros(2, 12, 16, dtype=torch.bool)
    ignore[0, :6, :9] = ignore[1, 3] = True
    given = points.clone()
    if not logits:
        given[:, :3] = points[:, :3].sigmoid()
    loss = CenterNetLoss(from_logits=logits)
    torch.testing.assert_close(
        loss(given, objects).double(), by_hand(points, objects), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        loss(given, objects, ignore).double(),
        by_hand(points, objects, ignore=ignore),
        rtol=1e-5,
        atol=1e-6,
    )


def test_another_stride_size_and_number_of_classes_in_one_criterion():
    loss = CenterNetLoss(from_logits=True, r_scale=8, l_size_lambda=0.5, l_offset_lambda=2)
    for B, C, h, w in ((2, 3, 12, 16), (3, 1, 16, 8), (2, 3, 12, 16)):
        points, objects = scene(B, C, h, w)
        objects[..., 4] = objects[..., 4].clamp(max=C - 1)
        expected = by_hand(points, objects, r=8, weights=(1, 2, 0.5))
        torch.testing.assert_close(
            loss(points, objects).double(), expected, rtol=1e-5, atol=1e-6
        )


def test_quick_and_plain_form_are_one():
    points, objects = scene()
    quick, plain = (
        CenterNetLoss(from_logits=True, obj_to_points=make)
        for make in (
            ObjectsToPoints((12, 16), 3),
            ObjectsToPoints((12, 16), 3).forward,
        )
    )
    slopes = []
    for loss in (quick, plain):
        given = points.clone().requires_grad_()
        loss(given, objects / objects.new_tensor([1, 1, 1, 1, 1, 1])).sum().backward()
        slopes.append(given.grad)
    torch.testing.assert_close(*slopes)


def test_double_stays_double_and_half_becomes_float():
    z, y = torch.randn(1, 1, 4, 4, dtype=torch.float64) * 3, torch.zeros(1, 1, 4, 4)
    for f, x in ((focal_from_logits, z), (focal_from_probabilities, z.sigmoid())):
        assert f(x, y).dtype == torch.float64
        assert f(x.half(), y).dtype == torch.float32
        fine, coarse = f(x, y), f(x.float(), y)
        assert coarse.dtype == torch.float32 and fine != coarse.double()


@pytest.mark.parametrize(
    "how, said",
    [
        (dict(r_scale=0), "r_scale=0"),
        (dict(r_scale=-4), "r_scale=-4"),
        (dict(obj_to_points=abs, gaussian="adaptive"), "gaussian"),
    ],
)
def test_options_that_cannot_be(how, said):
    with pytest.raises(ValueError, match=said):
        CenterNetLoss(**how)


def test_half_a_pixel_a_cell_is_allowed():
    assert CenterNetLoss(r_scale=0.5).r_scale == 0.5


def test_inputs_that_cannot_be():
    points, objects = scene()
    loss = CenterNetLoss(from_logits=True)
    for ignore in (
        torch.zeros(2, 12, 16),
        torch.zeros(2, 16, 12, dtype=torch.bool),
        torch.zeros(1, 12, 16, dtype=torch.bool),
    ):
        with pytest.raises(ValueError, match="ignore must be bool"):
            loss(points, objects, ignore)
    for wrong in (ObjectsToPoints((12, 16), 2), ObjectsToPoints((16, 12), 3)):
        for make in (wrong, wrong.forward):
            few = objects * torch.tensor([1, 1, 1, 1, 0, 1.0])
            with pytest.raises(ValueError, match="target"):
                CenterNetLoss(from_logits=True, obj_to_points=make)(points, few)


def test_powers_are_the_papers():
    "α = 2, β = 4 unless something else is asked for: p = 1/2 at Y = 1, 1/2 and 0"
    y = torch.tensor([1, 0.5, 0]).view(1, 1, 1, 3)
    expected = torch.tensor([math.log(2) * (1 / 4 + 1 / 64 + 1 / 4)])
    torch.testing.assert_close(focal_from_logits(y * 0, y), expected)
    torch.testing.assert_close(focal_from_probabilities(y * 0 + 0.5, y), expected)


def test_centres_with_and_without_an_axis_of_channels():
    predict, target = torch.arange(8.0).view(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    centre = torch.tensor([[[False, True], [True, False]]])
    for given in (centre, centre[:, None], centre.float()):
        assert l1_at_centres(predict, target, given).tolist() == [0 + 1 + 4 + 5]


def test_shapes_that_cannot_be():
    points, objects = scene()
    loss = CenterNetLoss(from_logits=True)
    for wrong in (points[0], points[:, :4], points[None]):
        with pytest.raises(ValueError, match="points must be"):
            loss(wrong, objects)
    with pytest.raises(ValueError, match="1 pictures of objects"):
        loss(points, objects[:1])
