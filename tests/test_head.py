"What lesson 01 leaves to be said about the head: its defaults, its smallest form, its start"

import torch
from centernet_nb.head import CenterNetHead


def test_the_defaults_are_of_the_paper():
    "64 channels in, 64 between, two classes; π = 0.1 is a logit of -ln 9"
    head = CenterNetHead()
    shapes = [tuple(p.shape) for p in head.heat.parameters()]
    assert shapes == [(64, 64, 3, 3), (64,), (2, 64, 1, 1), (2,)]
    torch.testing.assert_close(head.heat[-1].bias, torch.tensor([-2.1972246] * 2))


def test_one_channel_everywhere():
    assert CenterNetHead(1, 1, 1)(torch.zeros(1, 1, 2, 3)).shape == (1, 5, 2, 3)


def test_offset_and_size_start_without_bias():
    "They are drawn from (-1/√hidden, 1/√hidden) where nobody puts them to 0"
    head = CenterNetHead(hidden=4)
    assert not head.offset[-1].bias.any() and not head.size[-1].bias.any()
