"""The backbone beside torchvision's ResNet, where the lesson has only shapes."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet18
from centernet_nb.backbone import HeadlessResnet18Encoder, ResnetBackbone


@pytest.mark.parametrize("pools", [1, 2])
def test_maps_are_torchvisions(pools):
    torch.manual_seed(0)
    other = resnet18().eval()
    ours = HeadlessResnet18Encoder(3, pools).eval()
    ours.load_state_dict(other.state_dict(), strict=False)
    x = torch.randn(2, 3, 64, 96)
    stem = [other.maxpool(F.relu(other.bn1(other.conv1(x))))]
    if pools == 2:
        stem.append(F.max_pool2d(stem[0], 3, 2, 1))
    want, y = stem[:-1], stem[-1]
    for layer in (other.layer1, other.layer2, other.layer3):
        want.append(y := layer(y))
    got = ours.maps(x)
    assert [g.shape for g in got] == [w.shape for w in want]
    for g, w in zip(got, want):
        torch.testing.assert_close(g, w)


def test_with_two_pools_the_last_skip_is_the_map_between_them():
    torch.manual_seed(0)
    net = ResnetBackbone(False, 24, 18, 3, True, 2).eval()
    x = torch.randn(1, 3, 64, 96)
    quarter, eighth, sixteenth, last = net.encoder.maps(x)
    y = last
    for up, lateral, skip in zip(net.up, net.lateral, (sixteenth, eighth, quarter)):
        y = F.conv_transpose2d(y, up.conv.weight, None, 2, 1)
        y = F.relu(up.bn(y)) + F.conv2d(skip, lateral.weight, lateral.bias)
    torch.testing.assert_close(net(x), y)


@pytest.mark.parametrize("pools", [0, 3, "2"])
def test_other_pools_are_refused(pools):
    with pytest.raises(ValueError, match=f"pools is {pools!r}: choose 1 or 2"):
        HeadlessResnet18Encoder(3, pools)
