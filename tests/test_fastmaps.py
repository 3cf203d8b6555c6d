"Peaks where the search has to look again, at the edges of what it takes, and by its defaults"

import pytest
import torch
from centernet_nb.fastmaps import decode_peaks, find_peaks


def found(heat, *args, **kwargs):
    "(batch, y, x) of the peaks"
    b, _, y, x, _ = find_peaks(heat, *args, **kwargs)
    return set(zip(b.tolist(), y.tolist(), x.tolist()))


def test_every_picture_gets_its_best():
    """The rows with the highest tops hold all of the first picture's peaks; of the second they
    hold a ridge with one peak, and its second best lies far below"""
    heat = torch.full((2, 1, 256, 256), 0.01)
    for y in range(0, 64, 4):
        heat[0, 0, y, 7] = 0.9
    heat[1, 0, :100, 10] = 0.5 + 0.001 * torch.arange(100)
    heat[1, 0, 200, 200] = 0.3
    for floor in (0, 0.3):
        peaks = found(heat, 3, floor, most=2)
        assert {(1, 99, 10), (1, 200, 200)} <= peaks
        assert sum(b == 0 for b, *_ in peaks) >= 2


def test_one_column_of_one_picture():
    heat = torch.full((1, 1, 2**16, 1), 0.01)
    heat[0, 0, [5, 70, 65535], 0] = torch.tensor([0.5, 0.9, 0.7])
    top = {(0, 5, 0), (0, 70, 0), (0, 65535, 0)}
    assert found(heat, 3, 0.1) == top
    assert found(heat, 3, 0.1, most=1) >= {(0, 70, 0)}
    assert found(heat, 1, 0.1, most=1) >= {(0, 70, 0)}


@pytest.mark.parametrize("side", [8, 256])
def test_a_value_at_the_floor_is_a_peak_and_zero_is_none(side):
    heat = torch.zeros(2, 1, side, side)
    assert found(heat) == set()
    heat[0, 0, 2, 3], heat[1, 0, 4, 5] = 0.25, 0.125
    assert found(heat, 3, 0.25) == {(0, 2, 3)}
    assert found(heat) == {(0, 2, 3), (1, 4, 5)}


def test_a_few_of_a_small_map():
    "Of four peaks the three best, by the way that looks at every cell"
    heat = torch.zeros(1, 1, 9, 9)
    heat[0, 0, [0, 2, 4, 6], 1] = torch.tensor([0.2, 0.5, 0.4, 0.3])
    assert found(heat, 3, 0.1, most=3) == {(0, 2, 1), (0, 4, 1), (0, 6, 1)}


def test_decoding_by_its_defaults():
    "100 rows, windows of 3 × 3, nothing under 0.1"
    points = torch.zeros(1, 5, 16, 16)
    points[0, 0, 2, [2, 4, 5, 9]] = torch.tensor([0.15, 0.9, 0.8, 0.05])
    points[0, 1:, 2, 2] = torch.tensor([0.5, 0.25, 3, 7])
    objects = decode_peaks(points)
    assert objects.shape == (1, 100, 6)
    expected = torch.zeros(100, 6)
    expected[0] = torch.tensor([2, 4, 0, 0, 0, 0.9])
    expected[1] = torch.tensor([2.5, 2.25, 3, 7, 0, 0.15])
    torch.testing.assert_close(objects[0], expected)
