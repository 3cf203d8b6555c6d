"""A few hundred damaged files of each kind: read right or refused with our own error, in
bounded time and memory (`make soak`: 10,000 and more)"""

import collections
import io
import os
import pickle
import zipfile
import pytest
import torch
from mutations import Files
from PIL import Image
from centernet_nb.checkpoint import load_tensors
from centernet_nb.checks import CheckpointError, DataError
from centernet_nb.data import open_image

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize(
    "kind, n",
    [("coco", 150), ("cocotext", 150), ("jpeg", 150), ("checkpoint", 150), ("model", 20)],
)
def test_mutated(files, kind, n):
    good, _, read = files.kinds[kind]
    import random

    read(good, random.Random(0))  # the unharmed file is fine
    seen = collections.Counter(files.try_one(kind, seed) for seed in range(n))
    print(kind, dict(seen))
    assert seen["refused"] > n / 10


class Evil:
    def __reduce__(self):
        return os.mkdir, (Evil.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("container", ["torch", "plain"])
def test_code_in_a_checkpoint_does_not_run(tmp_path, protocol, container):
    Evil.path = str(tmp_path / "it ran")
    file = tmp_path / "evil.pth"
    if container == "torch":
        torch.save(dict(net=Evil()), file, pickle_protocol=protocol)
    else:
        file.write_bytes(pickle.dumps(Evil(), protocol))
    with pytest.raises(CheckpointError, match="evil.pth"):
        load_tensors(file)
    assert not os.path.exists(Evil.path)


def test_archive_bomb_checkpoint(tmp_path):
    "A kilobyte that would unpack to a gigabyte"
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("archive/data.pkl", bytes(2 * 10**8))
    assert file.stat().st_size < 10**6
    with pytest.raises(CheckpointError):
        load_tensors(file)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP"])
def test_other_formats_cut_anywhere(tmp_path, kind):
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize((40, 30)).save(buffer, kind)
    data, read = buffer.getvalue(), 0
    for n in range(0, len(data), max(1, len(data) // 60)):
        (tmp_path / "cut.png").write_bytes(data[:n])
        try:
            read += open_image(tmp_path / "cut.png").size == (40, 30)
        except DataError as e:
            assert "cut.png" in str(e)
    assert read <= 60 * 0.6
