"What the page on weights leaves to be said: what a download is asked for, layers at the edge"

import pytest
import torch
from torchvision.models import ResNet18_Weights
from centernet_nb.backbone import HeadlessResnet18Encoder
from centernet_nb.checks import CheckpointError
from centernet_nb.weights import imagenet_weights, load_trunk, pretrain


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


def test_a_download_is_checked_and_runs_no_code(no_cache, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        type(ResNet18_Weights.IMAGENET1K_V1), "get_state_dict", lambda self, **how: asked | how
    )
    assert imagenet_weights(18)["check_hash"] is True
    assert imagenet_weights(18)["weights_only"] is True


def test_imagenet_is_the_default(no_cache, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    with pytest.raises(CheckpointError, match="ResNet-18 are not on this machine"):
        pretrain(HeadlessResnet18Encoder(stages=1))


@pytest.mark.parametrize("stages, layer", [(2, 1), (2, 2), (4, 3), (4, 4)])
def test_every_stage_that_is_built_is_checked(stages, layer):
    net, name = HeadlessResnet18Encoder(stages=stages), f"layer{layer}.0.bn1.weight"
    with pytest.raises(CheckpointError, match=rf"\[3\] as '{name}'"):
        load_trunk(net, {name: torch.ones(3)})


def test_what_stays_untrained_is_printed(tmp_path, capsys):
    net = HeadlessResnet18Encoder(stages=1)
    state = net.state_dict()
    torch.save({k: v for k, v in state.items() if k[:3] != "bn1"}, tmp_path / "a.pth")
    pretrain(net, tmp_path / "a.pth")
    assert "a.pth lacks bn1: untrained" in capsys.readouterr().out
    torch.save(state, tmp_path / "b.pth")
    pretrain(net, tmp_path / "b.pth")
    assert capsys.readouterr().out == ""
