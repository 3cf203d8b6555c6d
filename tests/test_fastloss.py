"The quick loss by its defaults, on a map of three cells that can be worked out by hand"

import math
import torch
from centernet_nb.fastloss import (
    SparseLoss,
    empty_piece,
    focal_and_slope,
    focal_sums,
    pieces,
    sparse_focal,
    sparse_loss,
)
from centernet_nb.fastmaps import SparsePoints

LN2 = math.log(2)
CENTRE, HALF, EMPTY = LN2 / 4, LN2 / 64, LN2 / 4  # loss at a logit of 0 for Y = 1, 1/2 and 0


def targets(pictures=1):
    "A centre, half a hill and an empty cell in the first picture, nothing in others"
    where = tuple(torch.zeros(1, dtype=torch.long) for _ in range(3))
    values = torch.tensor([[0.25, 0.5, 3, 5]])
    heat = torch.tensor([1, 0.5])
    return SparsePoints(torch.tensor([0, 1]), heat, where, values, (pictures, 1, 1, 3))


def close(got, *expected):
    torch.testing.assert_close(got.flatten(), torch.tensor(expected))


def test_powers_are_the_papers():
    "α = 2, β = 4 unless something else is asked for"
    loss, slope = focal_and_slope(torch.zeros(3), torch.tensor([1, 0.5, 0]))
    close(loss, CENTRE, HALF, EMPTY)
    pull = (0.5 + LN2) / 4
    close(slope, -pull, pull / 16, pull)
    close(empty_piece(torch.zeros(1, 2), *torch.empty(3, 1, 2)), 2 * EMPTY)
    points, total = torch.zeros(1, 5, 1, 3), CENTRE + HALF + EMPTY
    close(focal_sums(points, targets()), total)
    close(SparseLoss.apply(points, targets()), total, 0.75, 8)
    close(sparse_loss(points, targets()), total, 0.75, 8)
    close(sparse_focal(points[:, :1].contiguous(), targets()), total)


def test_a_picture_is_masked_alone():
    "Two pictures in one piece, of which one has a cell to ignore; a centre stays a centre"
    ignore = torch.zeros(2, 1, 3, dtype=torch.bool)
    ignore[0, 0] = True
    got = sparse_loss(torch.zeros(2, 5, 1, 3), targets(2), ignore)
    close(got[:, 0], CENTRE, 3 * EMPTY)


def test_no_pictures():
    none = torch.zeros(0, dtype=torch.long)
    sparse = SparsePoints(none, none.float(), (none,) * 3, torch.zeros(0, 4), (0, 2, 3, 4))
    points = torch.zeros(0, 6, 3, 4, requires_grad=True)
    sums = sparse_loss(points, sparse)
    sums.sum().backward()
    assert sums.shape == (0, 3) and points.grad.shape == points.shape


def cut(*args):
    return [(a.start, a.stop, i.start, i.stop) for a, i in pieces(*args)]


def test_pieces_are_as_large_as_they_may_be():
    "Rows of 8 cells, of which three fit; two whole pictures; a row that is too long alone"
    one = [(0, 1, 0, 3), (0, 1, 3, 6), (0, 1, 6, 7)]
    assert cut((2, 7, 4, 2), 24) == one + [(1, 2, i, j) for _, _, i, j in one]
    assert cut((5, 3, 4, 2), 48) == [(0, 2, 0, 3), (2, 4, 0, 3), (4, 5, 0, 3)]
    assert cut((1, 2, 4, 2), 3) == [(0, 1, 0, 1), (0, 1, 1, 2)]
    assert cut((1, 2, 4, 2), 8) == [(0, 1, 0, 1), (0, 1, 1, 2)]


def test_pieces_are_of_about_equal_size():
    "Eight rows of which five fit are four and four, not five and three"
    assert cut((1, 8, 1, 1), 5) == [(0, 1, 0, 4), (0, 1, 4, 8)]
