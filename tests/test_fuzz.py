"""Encode, peaks, decode and loss against the float64 references, over shapes, dtypes and
values that nobody would think of"""

import os
import numpy as np
import pytest
import reference
import torch
from hypothesis import HealthCheck, assume, example, given, settings, strategies as st
from centernet_nb.checks import CenterNetError, check_images, check_objects
from centernet_nb.convert import ObjectsToPoints, PointsToObjects, gaussian_radius
from centernet_nb.fastmaps import decode_peaks, find_peaks
from centernet_nb.loss import CenterNetLoss
from centernet_nb.network import CenterNet, PointsNonMaxSuppression, ScaleObjects

N = int(os.environ.get("FUZZ_EXAMPLES", 60))
many = settings(
    max_examples=N,
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    database=None,
)
few = settings(many, max_examples=max(10, N // 4))
torch.set_num_threads(1)

side = st.one_of(st.integers(1, 24), st.sampled_from([1, 2, 31, 64, 127, 512]))
classes = st.one_of(st.integers(1, 6), st.sampled_from([1, 80, 365]))
kinds = st.sampled_from(
    [
        dict(gaussian="fixed", k=0),
        dict(gaussian="fixed", k=1),
        dict(gaussian="fixed", k=3),
        dict(gaussian="fixed", k=9),
        dict(gaussian="adaptive", o=0.3),
        dict(gaussian="adaptive", o=0.7),
        dict(gaussian="ellipse", o=0.5),
    ]
)
seeds = st.integers(0, 2**32 - 1)


def affordable(b, c, h, w):
    assume(max(b, 1) * (c + 4) * h * w <= 1_200_000)


def random_objects(seed, b, n, c, h, w, largest=None):
    """Rows on a grid of 1/16 pixel (exact in float32): centres in and around the map, sizes
    from 0 on, several in one cell, some padding"""
    rng = np.random.default_rng(seed)
    o = np.zeros((b, n, 6))
    o[..., 0], o[..., 1] = (rng.integers(-8, 16 * s + 8, (b, n)) / 16 for s in (h, w))
    o[..., 2:4] = rng.integers(0, 8 * (largest or max(h, w)) + 2, (b, n, 2)) / 8
    o[..., 4], o[..., 5] = rng.integers(0, c, (b, n)), rng.random((b, n)) < 0.85
    twin = rng.random((b, n)) < 0.2
    if n > 1:
        o[:, 1:, :2] = np.where(twin[:, 1:, None], o[:, :-1, :2], o[:, 1:, :2])
    return o * o[..., 5:]


def encoder(c, hw, gaussian, k=3, o=0.3):
    return ObjectsToPoints(
        hw=hw, num_classes=c, smooth_kernel_size=k, gaussian=gaussian, min_overlap=o
    )


def clear_of_steps(objects, kind):
    """Radii are rounded down: skip cases where float32 and float64 may fall on either side of
    a whole number"""
    if kind["gaussian"] == "fixed":
        return
    for h, w in objects[..., 2:4].reshape(-1, 2):
        if kind["gaussian"] == "adaptive":
            r = [reference.radius(h, w, kind["o"])]
        else:
            r = [s * (1 - np.sqrt(kind["o"])) / 2 for s in (h, w)]
        assume(all(abs(q - round(q)) > 1e-4 or q == 0 for q in r))


@many
@given(
    seed=seeds, b=st.integers(0, 3), n=st.integers(0, 7), c=classes, h=side, w=side, kind=kinds
)
@example(seed=1, b=1, n=5, c=1, h=512, w=512, kind=dict(gaussian="adaptive", o=0.3))
@example(seed=2, b=2, n=5, c=365, h=16, w=8, kind=dict(gaussian="fixed", k=3))
@example(seed=3, b=1, n=3, c=1, h=1, w=1, kind=dict(gaussian="ellipse", o=0.5))
@example(seed=4, b=0, n=0, c=1, h=1, w=512, kind=dict(gaussian="fixed", k=9))
def test_encode(seed, b, n, c, h, w, kind):
    affordable(b, c, h, w)
    objects = random_objects(seed, b, n, c, h, w)
    clear_of_steps(objects, kind)
    ours = encoder(c, (h, w), **kind)(torch.tensor(objects, dtype=torch.float32))
    np.testing.assert_allclose(
        ours.numpy(), reference.encode(objects, (h, w), c, **kind), atol=2e-6
    )
    assert ours.dtype == torch.float32 and ours.shape == (b, c + 4, h, w)


@many
@given(seed=seeds, b=st.integers(0, 2), n=st.integers(0, 12), c=classes, h=side, w=side)
def test_decode_of_encode(seed, b, n, c, h, w):
    "Objects with a cell of their own come back: all of them, exactly, y and x told apart"
    affordable(b, c, h, w)
    objects = random_objects(seed, b, n, c, h, w)
    for rows in objects:
        cells = set()
        for r in rows:
            cell = int(np.floor(r[0])), int(np.floor(r[1]))
            if not (0 <= cell[0] < h and 0 <= cell[1] < w) or cell in cells:
                r[:] = 0
            if r[5]:
                cells.add(cell)
    points = encoder(c, (h, w), "fixed", k=0)(torch.tensor(objects, dtype=torch.float32))
    back = (
        PointsToObjects(objects_per_image=n + 3, min_confidence=0.5)(points).double().numpy()
    )
    for rows, found in zip(objects, back):
        assert sorted(map(tuple, rows[rows[:, 5] == 1])) == sorted(
            map(tuple, found[found[:, 5] == 1])
        )
    assert back.shape == (b, n + 3, 6)


def random_points(seed, b, c, h, w, levels):
    """Class values of few different levels, so that ties and plateaus are the rule; any
    offsets and sizes"""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 20, (b, c + 4, h, w)).round(2)
    points[:, :c] = (
        rng.integers(0, levels + 1, (b, c, h, w))
        / levels
        * (rng.random((b, c, h, w)) < rng.choice([0.02, 0.3, 1]))
    )
    return points


@many
@given(
    seed=seeds,
    b=st.integers(0, 3),
    c=classes,
    h=side,
    w=side,
    levels=st.sampled_from([1, 4, 64]),
    kernel=st.sampled_from([1, 3, 5, 7]),
    k=st.sampled_from([0, 1, 5, 42, 300]),
    least=st.sampled_from([0, 0.125, 0.25, 1]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
)
@example(
    seed=1,
    b=1,
    c=1,
    h=512,
    w=512,
    levels=64,
    kernel=3,
    k=100,
    least=0.125,
    dtype=torch.float32,
)
@example(
    seed=2, b=1, c=365, h=32, w=24, levels=4, kernel=3, k=300, least=0, dtype=torch.bfloat16
)
@example(seed=3, b=2, c=1, h=1, w=1, levels=1, kernel=7, k=5, least=1, dtype=torch.float16)
@example(seed=4, b=0, c=2, h=4, w=4, levels=1, kernel=3, k=5, least=0, dtype=torch.float32)
def test_peaks_and_decode(seed, b, c, h, w, levels, kernel, k, least, dtype):
    affordable(b, c, h, w)
    assume(h * w * c * kernel**2 <= 8_000_000)
    points = torch.tensor(random_points(seed, b, c, h, w, levels), dtype=torch.float64).to(
        dtype
    )
    exact = points.double().numpy()
    expected = reference.decode(exact, kernel, k, least)
    np.testing.assert_allclose(
        decode_peaks(points, kernel, k, least).double().numpy(), expected, rtol=1e-6, atol=2e-5
    )
    kept = PointsNonMaxSuppression(kernel)(points)
    assert kept.dtype == dtype and torch.equal(kept[:, c:], points[:, c:])
    np.testing.assert_array_equal(
        kept[:, :c].double().numpy(),
        np.where(reference.peaks(exact[:, :c], kernel), exact[:, :c], 0),
    )
    np.testing.assert_allclose(
        PointsToObjects(k, least)(kept).double().numpy(), expected, rtol=1e-6, atol=2e-5
    )
    np.testing.assert_array_equal(
        ScaleObjects(4)(torch.tensor(expected)).numpy(), expected * [4, 4, 4, 4, 1, 1]
    )
    assert all(
        len(t) == len(find_peaks(points[:, :c], kernel, least)[0])
        for t in find_peaks(points[:, :c], kernel, least)
    )


@many
@given(
    seed=seeds,
    b=st.integers(0, 3),
    n=st.integers(0, 6),
    c=classes,
    h=side,
    w=side,
    kind=kinds,
    from_logits=st.booleans(),
    masked=st.booleans(),
    spread=st.sampled_from([0.1, 3, 100, 1e4]),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
@example(
    seed=1,
    b=1,
    n=0,
    c=365,
    h=8,
    w=8,
    kind=dict(gaussian="fixed", k=3),
    from_logits=True,
    masked=True,
    spread=1e4,
    dtype=torch.float32,
)
@example(
    seed=2,
    b=1,
    n=6,
    c=1,
    h=512,
    w=512,
    kind=dict(gaussian="adaptive", o=0.3),
    from_logits=True,
    masked=False,
    spread=1e4,
    dtype=torch.float32,
)
@example(
    seed=3,
    b=0,
    n=0,
    c=2,
    h=4,
    w=4,
    kind=dict(gaussian="fixed", k=3),
    from_logits=True,
    masked=True,
    spread=3,
    dtype=torch.float32,
)
def test_loss(seed, b, n, c, h, w, kind, from_logits, masked, spread, dtype):
    affordable(b, c, h, w)
    rng = np.random.default_rng(seed)
    objects = random_objects(seed, b, n, c, 4 * h, 4 * w)
    scaled = objects.copy()
    scaled[..., :4] /= 4
    clear_of_steps(scaled, kind)
    points = torch.tensor(rng.normal(0, spread, (b, c + 4, h, w))).to(dtype)
    if not from_logits:
        points[:, :c] = torch.tensor(rng.choice([0, 1, 1e-5, 0.3, 0.999], (b, c, h, w))).to(
            dtype
        )
    ignore = torch.tensor(rng.random((b, h, w)) < 0.3) if masked else None
    points.requires_grad_()
    kwargs = {
        dict(k="smooth_kernel_size", o="min_overlap").get(a, a): v for a, v in kind.items()
    }
    ours = CenterNetLoss(from_logits=from_logits, **kwargs)(
        points, torch.tensor(objects, dtype=torch.float32), ignore
    )
    exact = reference.loss(
        points.detach().double().numpy(),
        objects,
        (h, w),
        from_logits,
        None if ignore is None else ignore.numpy(),
        **kind,
    )
    np.testing.assert_allclose(ours.detach().double().numpy(), exact, rtol=2e-4, atol=2e-3)
    ours.sum().backward()
    assert ours.shape == (b, 3) and (points.grad is None or torch.isfinite(points.grad).all())


@few
@given(seed=seeds, from_logits=st.booleans(), kind=kinds)
def test_loss_gradients(seed, from_logits, kind):
    "torch's gradcheck in float64: all three losses, every input cell"
    rng = np.random.default_rng(seed)
    objects = torch.tensor(random_objects(seed, 1, 3, 2, 16, 12), dtype=torch.float64)
    points = torch.tensor(rng.normal(0, 2, (1, 6, 4, 3)))
    if not from_logits:
        points[:, :2] = points[:, :2].sigmoid().clamp(0.01, 0.99)
    kwargs = {
        dict(k="smooth_kernel_size", o="min_overlap").get(a, a): v for a, v in kind.items()
    }
    loss = CenterNetLoss(from_logits=from_logits, **kwargs)
    assert torch.autograd.gradcheck(
        lambda p: loss(p, objects), points.double().requires_grad_(), eps=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("dtype, bound", [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
def test_loss_under_autocast(dtype, bound):
    """Predictions rounded to half the bits change each loss by no more than the stated share
    of it"""
    rng = np.random.default_rng(0)
    objects = torch.tensor(random_objects(0, 2, 5, 3, 128, 128), dtype=torch.float32)
    points = torch.tensor(rng.normal(0, 3, (2, 7, 32, 32)), dtype=torch.float32)
    full = CenterNetLoss(from_logits=True)(points, objects)
    with torch.autocast("cpu", dtype):
        half = CenterNetLoss(from_logits=True)(points.to(dtype), objects)
    assert half.dtype == torch.float32 and ((half - full).abs() <= bound * full + 1e-4).all()


@pytest.mark.parametrize("dtype, bound", [(torch.bfloat16, 0.02), (torch.float16, 0.005)])
def test_network_under_autocast(dtype, bound):
    "Class probabilities of an untrained network move by less than the stated amount"
    torch.manual_seed(0)
    net = CenterNet(pretrained=False, backbone_kwargs=dict(depth=18, stages=3)).eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        full = net(x)
        with torch.autocast("cpu", dtype):
            half = net(x)
    assert (full[:, :2] - half[:, :2].float()).abs().max() < bound


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_extreme_logits(dtype):
    """±1e4 (and what fits of it): finite losses, finite gradients, and not zero where the
    answer is wrong"""
    objects = torch.tensor([[[8.0, 8, 4, 4, 0, 1]]])
    for value in (1e4, -1e4):
        points = torch.full((1, 5, 4, 4), value).to(dtype).requires_grad_()
        out = CenterNetLoss(from_logits=True)(points, objects)
        out.sum().backward()
        assert (
            torch.isfinite(out).all()
            and torch.isfinite(points.grad).all()
            and out[0, 0] > 1000
        )


@few
@given(h=st.floats(0, 600), w=st.floats(0, 600), o=st.floats(0.05, 0.95))
def test_radius(h, w, o):
    "Against bisection on the overlap itself"
    h, w = round(h * 8) / 8, round(w * 8) / 8
    expected = reference.radius(h, w, o)
    assert abs(float(gaussian_radius(h, w, o)) - expected) <= 2e-4 * max(1, expected)


junk = st.one_of(
    st.none(),
    st.integers(),
    st.text(),
    st.lists(st.floats()),
    st.just(np.zeros((1, 3, 32, 32))),
)
values = st.sampled_from([0.0, 1, 0.5, -1, 3, 1e9, float("nan"), float("inf"), -float("inf")])


@many
@given(
    shape=st.lists(st.integers(0, 8), max_size=5),
    fill=values,
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]
    ),
    other=junk,
)
def test_checks_refuse_or_pass(shape, fill, dtype, other):
    """Whatever comes: it passes unchanged or is refused by a TypeError or our own error,
    nothing else"""
    if dtype == torch.int64 and not np.isfinite(fill):
        fill = 0
    for x in (
        torch.full(shape, fill).to(dtype)
        if np.isfinite(fill) or dtype.is_floating_point
        else torch.zeros(shape, dtype=dtype),
        other,
    ):
        for check in (check_images, lambda v: check_objects(v, num_classes=3)):
            try:
                assert check(x) is x
            except (TypeError, CenterNetError) as e:
                assert len(str(e)) > 20


@few
@given(seed=seeds, n=st.integers(1, 5), column=st.integers(0, 5), value=values)
def test_bad_rows_are_named(seed, n, column, value):
    objects = torch.tensor(random_objects(seed, 2, n, 3, 32, 32), dtype=torch.float32)
    assert check_objects(objects, 3) is objects
    row = seed % n
    objects[1, row, column] = value
    fine = np.isfinite(value) and (
        column < 2
        or column < 4
        and value >= 0
        or column == 4
        and value in (0, 1)
        or column == 5
        and value in (0, 1)
    )
    if fine:
        assert check_objects(objects, 3) is objects
    else:
        with pytest.raises(CenterNetError, match=rf"\[1, {row}\]"):
            check_objects(objects, 3)
