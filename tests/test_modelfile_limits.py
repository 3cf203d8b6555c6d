"Model files at the very edges of what is allowed: the last value taken, the first refused"

import json
import pytest
import torch
from safetensors.torch import save
from centernet_nb import modelfile
from centernet_nb.checks import CheckpointError
from centernet_nb.modelfile import (
    check_config,
    check_labels,
    check_weights,
    find_model,
    pack,
    read_model,
    unpack,
)

WHOLE = [
    ("head_kwargs", "k_in_channels", 1, 2048),
    ("head_kwargs", "c_classes", 1, 10_000),
    ("head_kwargs", "hidden", 1, 2048),
    ("head_kwargs", "prior", 0, 1),
    ("points_to_objects_kwargs", "objects_per_image", 1, 10_000),
    ("points_to_objects_kwargs", "min_confidence", 0, 1),
    ("backbone_kwargs", "out_channels", 1, 2048),
]


@pytest.mark.parametrize("part, name, least, most", WHOLE)
def test_fields(part, name, least, most):
    for value in (least, most):
        check_config({part: {name: value}})
    for value in (least - 1, most + 1, str(most)):
        with pytest.raises(CheckpointError, match=name):
            check_config({part: {name: value}})


@pytest.mark.parametrize(
    "part, name, good, bad",
    [
        ("nms_kwargs", "kernel_size", (1, 3, 99), (-1, 0, 2, 98, 100, 101)),
        ("backbone_kwargs", "depth", (18, 34), (17, 19, 33, 35)),
        ("backbone_kwargs", "stages", (3, 4), (2, 5)),
        ("backbone_kwargs", "skips", (False, True), (0, 1, None)),
    ],
)
def test_choices(part, name, good, bad):
    for value in good:
        check_config({part: {name: value}})
    for value in bad:
        with pytest.raises(CheckpointError, match=name):
            check_config({part: {name: value}})


def test_sizes():
    for size in (1, 20_000, [1, 20_000]):
        assert check_labels(dict(size=size), 1)
    for size in (0, 20_001, [0, 1], [1, 20_001], [], [1]):
        with pytest.raises(CheckpointError, match="size"):
            check_labels(dict(size=size), 1)


def test_small_channels_have_the_smallest_scale():
    "2⁻²⁴ is the smallest half: its multiples up to 127 come back exactly"
    v = torch.tensor([101, -7]).view(1, 2, 1, 1) * 2.0**-24
    assert unpack(pack(v, int8=True)).equal(v)


def test_nothing_is_int8_unless_asked():
    v = torch.randn(2, 3, 3, 3)
    assert pack(v).dtype == torch.float16


OWN = {"a.weight": torch.zeros(2, 1, 3, 3), "bn.running_var": torch.ones(2)}
SCALE = torch.ones(2, 1, 1, 1, dtype=torch.float16)
BYTES = torch.ones(2, 1, 3, 3, dtype=torch.int8)


def test_weights_that_may_be():
    tensors = {"a.weight": BYTES, "a.weight.scale": SCALE * 2}
    found = check_weights(tensors | {"bn.running_var": torch.tensor([0, 0.5])}, OWN)
    assert found["a.weight"].eq(2).all() and found["bn.running_var"].tolist() == [0, 0.5]


@pytest.mark.parametrize(
    "harm, words",
    [
        ({"a.weight.scale": SCALE.view(2)}, "without a `.scale`"),
        ({"a.weight.scale": SCALE[:1]}, "without a `.scale`"),
        ({"a.weight.scale": SCALE.float()}, "without a `.scale`"),
        ({"bn.running_var": torch.tensor([1, -0.5])}, "negative variances"),
        ({"bn.running_var": torch.tensor([1, torch.nan])}, "NaN"),
    ],
)
def test_weights_that_cannot_be(harm, words):
    "One number in a tensor is enough"
    good = {"a.weight": BYTES, "a.weight.scale": SCALE} | {"bn.running_var": torch.ones(2)}
    with pytest.raises(CheckpointError, match=words):
        check_weights(good | harm, OWN)


def test_a_file_of_the_size_allowed(tmp_path):
    "A gigabyte is looked at, one byte more is not"
    path = tmp_path / "a.safetensors"
    for size, fine in ((2**30, True), (2**30 + 1, False)):
        with path.open("wb") as f:
            f.truncate(size)  # a hole on the disk
        if fine:
            assert find_model(path) == path
            continue
        with pytest.raises(CheckpointError, match="at most"):
            find_model(path)


@pytest.mark.parametrize("length, long", [(2**22, False), (2**22 + 1, True)])
def test_a_header_of_the_length_allowed(tmp_path, length, long):
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{" + bytes(100))
    with pytest.raises(CheckpointError) as refused:
        read_model(path, dict)
    assert ("header is too long" in str(refused.value)) is long


@pytest.mark.parametrize("about", [None, 2, dict(format=1), dict(format=3)])
def test_files_of_others(tmp_path, about):
    path, more = tmp_path / "a.safetensors", {"centernet_nb": json.dumps(about)}
    path.write_bytes(save(OWN, more if about else None))
    with pytest.raises(CheckpointError, match="no `save_model` of this version"):
        read_model(path, dict)


@pytest.mark.parametrize("state", [{1: torch.ones(1)}, {"a": dict(q=torch.ones(1))}, [1]])
def test_older_files_whose_weights_are_none(tmp_path, state):
    path = tmp_path / "a.pth"
    torch.save(dict(format=1, config={}, labels={}, state=state), path)
    with pytest.raises(CheckpointError, match="a.pth"):
        read_model(path, lambda: torch.nn.Linear(1, 1))


def test_the_version_is_written_down():
    assert modelfile.FORMAT == 2
