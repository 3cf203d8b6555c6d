"What lesson 04 leaves to be said about the whole network"

import pytest
import torch
from centernet_nb.network import CenterNet, ScaleObjects

SMALL = dict(
    head_kwargs=dict(hidden=1), backbone_kwargs=dict(depth=18, stages=3, out_channels=1)
)


def test_maps_may_be_larger_than_pictures():
    row = torch.tensor([[[8.0, 6, 4, 2, 1, 0.5]]])
    assert ScaleObjects(0.5)(row).tolist() == [[[4, 3, 2, 1, 1, 0.5]]]
    assert ScaleObjects(1)(row).tolist() == row.tolist()


def test_a_network_from_a_file_asks_for_no_weights():
    "Its options are written down as they are needed to build it again, then filled"
    assert CenterNet(False, **SMALL).config["pretrained"] is False


def test_logits_are_no_objects():
    with pytest.raises(ValueError, match="not both"):
        CenterNet(False, **SMALL)(torch.zeros(1, 3, 32, 32), logits=True, return_objects=True)
