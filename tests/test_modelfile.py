"Files that ask for more than they hold, or for what no network has: refused by name, quickly"

import io
import json
import multiprocessing
import os
import pickle
import signal
import pytest
import torch
from safetensors.torch import save
from centernet_nb import modelfile
from centernet_nb.checkpoint import load_tensors, save_tensors, write_atomically
from centernet_nb.checks import CheckpointError
from centernet_nb.modelfile import find_model
from centernet_nb.network import CenterNet, load_model, save_model

SMALL = dict(
    pretrained=False,
    head_kwargs=dict(c_classes=2, hidden=8),
    backbone_kwargs=dict(depth=18, stages=3, out_channels=8),
)
CONV, VAR = "head.heat.0.weight", "backbone.encoder.bn1.running_var"
posix = pytest.mark.skipif(os.name != "posix", reason="forks, pipes and links of POSIX")


class Call:
    "Pickles as a call of `f`"

    def __init__(self, f, *args):
        self.how = f, args

    def __reduce__(self):
        return self.how


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return CenterNet(**SMALL).eval()


def write(path, net, config={}, labels={}, **state):
    "A model as a stranger may write it, in the format that the name says"
    state = {**{k: v.clone() for k, v in net.state_dict().items()}, **state}
    config = {**net.config, **config}
    if path.suffix == ".pth":
        torch.save(dict(format=1, config=config, labels=labels, state=state), path)
    else:
        state = {k: v.contiguous() for k, v in state.items()}
        about = dict(config=config, format=2, labels=labels, sha256=modelfile._sum(state))
        path.write_bytes(save(state, {"centernet_nb": json.dumps(about)}))
    return path


def spend(path, reader, end):
    "In a process of its own: read, send what was said and the megabytes it took"
    import resource  # not on Windows

    torch.set_num_threads(1)
    signal.setitimer(signal.ITIMER_PROF, 5)  # seconds of the processor; then the process dies
    before, said = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "READ"
    try:
        (load_model if reader == "model" else load_tensors)(path)
    except CheckpointError as e:
        said = str(e)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    end.send((said, grown // 1024))


def refused(path, reader="model", megabytes=100):
    "What is said of the file; at most 5 seconds and `megabytes` are spent on it"
    ours, theirs = multiprocessing.Pipe()
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=spend, args=(path, reader, theirs))
    process.start()
    said, grown = ours.recv() if ours.poll(60) else ("READ FOREVER", 0)
    process.kill()
    process.join()
    assert grown < megabytes, f"{grown} MB for {path.stat().st_size} bytes: {said}"
    assert not said.startswith("READ") and path.name in said, said
    return said


def legacy(numbers):
    "torch's format before archives, whose storage says that it has `numbers` elements"
    b = io.BytesIO()
    torch.save(dict(state=dict(w=torch.zeros(1600))), b, _use_new_zipfile_serialization=False)
    return b.getvalue().replace(b"M@\x06", b"J" + numbers.to_bytes(4, "little"))


@posix
@pytest.mark.parametrize("reader", ["model", "tensors"])
@pytest.mark.parametrize("how", ["bytearray", "Tensor", "legacy", "expanded"])
def test_a_few_hundred_bytes_that_ask_for_gigabytes(tmp_path, how, reader):
    path, wish = tmp_path / "greedy.pth", 2_500_000_000
    if how == "bytearray":
        torch.save(dict(state=dict(w=Call(bytearray, wish))), path)
    if how == "Tensor":
        torch.save(dict(state=dict(w=Call(torch.Tensor, wish // 4))), path)
    if how == "legacy":
        path.write_bytes(legacy(wish // 4))
    if how == "expanded":
        torch.save(dict(state=dict(w=torch.ones(1).expand(wish))), path)
    assert path.stat().st_size < 10_000
    refused(path, reader)


@pytest.mark.parametrize("strides", [(2,), (-1,), (1, 1)])
def test_shapes_beyond_the_storage(tmp_path, strides):
    "A tensor of 8 numbers over a storage of 8, its strides forged"
    path = tmp_path / "forged.pth"
    t = torch.arange(8.0)
    storage, args = t.__reduce_ex__(2)
    args = [*args]
    args[3] = strides

    class Forged(torch.Tensor):
        def __reduce_ex__(self, protocol):
            return storage, tuple(args)

    torch.save(dict(w=t.as_subclass(Forged)), path)
    with pytest.raises(CheckpointError, match="forged.pth"):
        load_tensors(path)


@posix
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "config, words",
    [
        (dict(head_kwargs=dict(hidden=10**6)), "'hidden'] is 1000000"),
        (dict(head_kwargs=dict(c_classes=10**7)), "'c_classes']"),
        (dict(backbone_kwargs=dict(out_channels=10**5)), "'out_channels']"),
        (dict(backbone_kwargs=dict(depth=18, pretrained=True)), "'pretrained'"),
        (dict(pretrained=True), "must be False"),
        (dict(pretrained="/etc/passwd"), "must be False"),
        (dict(anything=1), "'anything'"),
        (dict(points_to_objects_kwargs=dict(objects_per_image=2**40)), "'objects_per_image']"),
        (dict(nms_kwargs=dict(kernel_size=10**6 + 1)), "'kernel_size']"),
    ],
)
def test_config(tmp_path, net, suffix, config, words):
    assert words in refused(write(tmp_path / f"wish{suffix}", net, config))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "how", "nan inf int64 int8 double shape negative counter more".split()
)
def test_weights(tmp_path, net, suffix, how):
    w, var = net.state_dict()[CONV], net.state_dict()[VAR]
    state = dict(
        nan={CONV: w * float("nan")},
        inf={CONV: w / 0.0},
        int64={CONV: w.long()},
        int8={CONV: w.to(torch.int8)},
        double={CONV: w.double()},
        shape={CONV: w[:1].clone()},
        negative={VAR: var - 2},
        counter={"backbone.encoder.bn1.num_batches_tracked": torch.tensor(-1)},
        more={"more": torch.ones(1)},
    )[how]
    path = write(tmp_path / f"bad{suffix}", net, **state)
    with pytest.raises(CheckpointError, match=rf"bad{suffix}.*{next(iter(state))}"):
        load_model(path)


def test_complex_weights(tmp_path, net):
    path = write(tmp_path / "complex.pth", net, **{CONV: net.state_dict()[CONV] + 0j})
    with pytest.raises(CheckpointError, match=CONV):
        load_model(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("labels", [dict(names=["a"]), dict(names="ab"), dict(size=10**9), []])
def test_labels(tmp_path, net, suffix, labels):
    with pytest.raises(CheckpointError, match="labels"):
        load_model(write(tmp_path / f"labels{suffix}", net, labels=labels))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_same_writer_writes_good_files(tmp_path, net, suffix):
    "None of the refusals above is for the way these files are written"
    labels = dict(names=["a", "b"], size=[64, 96])
    again = load_model(write(tmp_path / f"good{suffix}", net, labels=labels))
    assert again.labels == labels and again.config == net.config
    assert all(v.equal(net.state_dict()[k]) for k, v in again.state_dict().items())


def test_large_files_are_not_opened(tmp_path, monkeypatch):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as f:
        f.truncate(modelfile.MOST + 1)
    with pytest.raises(CheckpointError, match="large.safetensors has"):
        find_model(path)
    path.write_bytes((2**40).to_bytes(8, "little") + b"{" + bytes(100))
    with pytest.raises(CheckpointError, match="header is too long"):
        load_model(path)


@posix
@pytest.mark.parametrize("read", [load_tensors, load_model])
def test_pipes_and_devices_are_not_opened(tmp_path, read):
    def hangs(*_):
        raise AssertionError("waits for a pipe")

    os.mkfifo(tmp_path / "pipe")
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(5)
    try:
        for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
            with pytest.raises(CheckpointError):
                read(path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@posix
@pytest.mark.parametrize("kind", ["tensors", "model"])
def test_saving_onto_a_link(tmp_path, net, kind):
    "The link stays, the file it points to is replaced, even across folders"
    (tmp_path / "large disk").mkdir()
    link, target = tmp_path / "link.safetensors", tmp_path / "large disk" / "target"
    link.symlink_to(target)
    for _ in range(2):
        if kind == "tensors":
            save_tensors(dict(a=1), link, keep_previous=True)
        else:
            save_model(net, link)
    assert link.is_symlink() and target.is_file() and not target.is_symlink()
    assert load_tensors(link) == dict(a=1) if kind == "tensors" else load_model(link)
    assert not list(tmp_path.rglob(".*.part"))


@posix
def test_pipes_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="a folder or a device"):
        with write_atomically(tmp_path / "pipe"):
            pass
    assert (tmp_path / "pipe").is_fifo()


def test_names_with_dots(tmp_path):
    for rate in ("0.1", "0.2"):
        for step in (1, 2):
            save_tensors(dict(rate=rate, step=step), tmp_path / f"exp-lr{rate}", True)
    found = {(v["rate"], v["step"]) for v in map(load_tensors, tmp_path.iterdir())}
    assert found == {("0.1", 1), ("0.1", 2), ("0.2", 1), ("0.2", 2)}


def test_what_pickle_itself_allows_is_not_enough(tmp_path):
    path = tmp_path / "bare.pth"
    path.write_bytes(pickle.dumps(dict(w=[1.0])))
    with pytest.raises(CheckpointError, match="bare.pth"):
        load_tensors(path)
