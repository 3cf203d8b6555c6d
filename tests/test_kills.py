"""Trainings that die: by SIGKILL at any moment, by Ctrl-C, by a full disk, by a loss that is
no number

Each killed run is continued until it ends, and must end as the run that nobody disturbed: same
weights, optimizer, average, schedule, order of samples, random numbers, to the bit. `KILLS`
sets how many kills (default 8); the long form uses 30 and more."""

import copy
import math
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
import killable
import pytest
import torch
from killable import Noise, Tiny, same, settings
from centernet_nb.checkpoint import load_tensors, save_tensors
from centernet_nb.checks import CheckpointError, DataError
from centernet_nb.run import LossError
from centernet_nb.train import train

KILLS, STEPS = int(os.environ.get("KILLS", 8)), 50
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def start(folder, **kwargs):
    """The training in a process of its own, forked from a server that has imported torch
    already"""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys(
            [
                str(Path(__file__).parent),
                *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
            ]
        )
    )
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["killable"])
    p = processes.Process(
        target=killable.main, args=(str(folder),), kwargs=dict(steps=STEPS, **kwargs)
    )
    p.start()
    return p


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    "What the run is like when nobody kills it, and how long it takes"
    folder = tmp_path_factory.mktemp("undisturbed")
    begin = time.monotonic()
    p = start(folder)
    p.join()
    seconds = time.monotonic() - begin
    assert p.exitcode == 0
    begin = time.monotonic()
    p = start(folder)
    p.join()
    idle = time.monotonic() - begin  # nothing left to do: start and end alone
    return folder, max(0.3, seconds - idle), idle


def assert_same_end(folder, truth):
    assert same(load_tensors(folder / "run.pth"), load_tensors(truth / "run.pth")) is None
    assert (folder / "final.json").read_text(encoding="utf-8") == (
        truth / "final.json"
    ).read_text(encoding="utf-8")


def kill_while_writing(p, folder, rng, patience):
    """Waits for a half-written checkpoint (beyond a random number of them) and kills the
    process there"""
    end, met, before = time.monotonic() + patience, rng.randrange(3), set()
    while p.is_alive() and time.monotonic() < end:
        now = (
            {f for f in os.listdir(folder) if f.endswith(".part")}
            if folder.exists()
            else set()
        )
        if now - before:
            met -= 1
            if met < 0:
                break
        before = now
    p.kill()
    p.join()


@posix
@pytest.mark.parametrize("every", [1, 7])
def test_killed_at_any_moment(tmp_path, undisturbed, every):
    truth, seconds, idle = undisturbed
    folder, rng, kills, torn, steps = tmp_path / "run", random.Random(KILLS * every), 0, 0, []
    for attempt in range(20 * KILLS):
        p = start(folder, every=every)
        if kills >= KILLS:
            p.join()
            assert p.exitcode == 0
            break
        if attempt % 2:
            kill_while_writing(p, folder, rng, 20)
        else:
            p.join(idle + rng.random() * seconds / 2)
            p.kill()
            p.join()
        if p.exitcode != -signal.SIGKILL:  # it came through first: begin another run
            assert p.exitcode == 0
            assert_same_end(folder, truth)
            for f in folder.iterdir():
                f.unlink()
            continue
        kills += 1
        torn += (
            any(f.name.endswith(".part") for f in folder.glob(".*")) if folder.exists() else 0
        )
        for f in folder.glob("run*.pth") if folder.exists() else ():
            steps.append(load_tensors(f)["done"])  # whole, at any moment
        for f in folder.glob(".*.part") if folder.exists() else ():
            f.unlink()
    assert kills >= KILLS
    assert_same_end(folder, truth)
    print(f"{kills} kills, {torn} of them inside a checkpoint, at steps {sorted(set(steps))}")
    if KILLS >= 8 and every == 1:
        assert torn >= 1


@posix
def test_killed_in_a_fresh_interpreter_with_workers(tmp_path, undisturbed):
    "The same by `subprocess`, with two loading processes: their number changes nothing"
    command = [
        sys.executable,
        killable.__file__,
        str(tmp_path),
        f"steps={STEPS}",
        "workers=2",
        "pause=0.01",
    ]
    p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert p.stdout.readline() == "ready\n"
    while not (tmp_path / "run.pth").exists() and p.poll() is None:
        time.sleep(0.005)
    os.killpg(p.pid, signal.SIGKILL)
    p.wait()
    p.stdout.close()
    done = load_tensors(tmp_path / "run.pth")["done"]
    assert 0 < done < STEPS
    p = start(tmp_path)
    p.join()
    assert_same_end(tmp_path, undisturbed[0])


@posix
def test_ctrl_c(tmp_path, undisturbed):
    """A sentence that says where the run stands; the checkpoint is whole, and the run can be
    continued"""
    command = [sys.executable, killable.__file__, str(tmp_path), f"steps={STEPS}"]
    listen = lambda: signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a job in the background is born deaf to Ctrl-C
    p = subprocess.Popen(
        command + ["pause=0.02"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    )
    assert p.stdout.readline() == "ready\n"
    while not (tmp_path / "run.prev.pth").exists() and p.poll() is None:
        time.sleep(0.005)
    p.send_signal(signal.SIGINT)
    _, errors = p.communicate(timeout=60)
    assert p.returncode not in (0, None)
    told = re.search(r"interrupted after step (\d+) of 50; run.pth holds step (\d+)", errors)
    assert told, errors
    assert load_tensors(tmp_path / "run.pth")["done"] == int(told[2]) and not list(
        tmp_path.glob(".*.part")
    )
    p = start(tmp_path)
    p.join()
    assert_same_end(tmp_path, undisturbed[0])


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 20 MB: room for a checkpoint of 8 MB and the previous one, not for
    a third"""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.name != "posix"
        or os.geteuid()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", place], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_full_disk(small_disk):
    """A real one that fills up: a clear message, nothing half-written, the last good
    checkpoint still there and still good"""
    kwargs = settings(small_disk, 12, every=2)
    torch.manual_seed(0)
    net = Tiny(1_000_000)
    again = copy.deepcopy(net)  # a run goes on from the weights that it began with
    with pytest.raises(CheckpointError, match="run.pth.*disk is full.*untouched"):
        train(Noise(), net=net, **kwargs)
    done = load_tensors(small_disk / "run.pth")["done"]
    assert done in (2, 4) and not list(small_disk.glob(".*.part"))
    subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
    assert len(train(Noise(), net=again, **kwargs).history) == 12


def test_full_disk_without_root(tmp_path, monkeypatch):
    "The same, the disk's answer played: half of the bytes are taken, then no more"
    good, real = dict(a=torch.arange(1000.0)), torch.save
    path = save_tensors(good, tmp_path / "run.pth")

    def full(obj, f, *a, **k):
        f.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="disk is full"):
        save_tensors(dict(a=torch.zeros(3)), path)
    monkeypatch.setattr(torch, "save", real)
    assert same(load_tensors(path), good) is None and os.listdir(tmp_path) == ["run.pth"]


READ_ONLY = """
import os, sys
sys.path.insert(0, {tests!r})
from centernet_nb.checks import CheckpointError
from killable import *
folder = {folder!r}
import torch._dynamo  # torch's optimizers import it late, when nothing may be read any more
if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)
try: train(Noise(), net=Tiny(), **settings(folder, 2)); print('no error')
except CheckpointError as e: print(e)
"""


@posix
def test_read_only_folder(tmp_path):
    "Said before the first step, not after the first hour"
    save_tensors(dict(a=1), tmp_path / "other.pth")
    tmp_path.chmod(0o555)
    for parent in tmp_path.parents:
        if parent.owner() == Path.home().owner() and str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    code = READ_ONLY.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    tmp_path.chmod(0o755)
    if (
        "Permission" in done.stderr
        and "PermissionError" in done.stderr
        and "import" in done.stderr
    ):
        pytest.skip("this user cannot read the interpreter")
    assert "may not be written to" in done.stdout or "read-only" in done.stdout, (
        done.stdout + done.stderr
    )
    assert os.listdir(tmp_path) == ["other.pth"] and load_tensors(
        tmp_path / "other.pth"
    ) == dict(a=1)


class Bad(Noise):
    "Sample 7 does not work"

    def __init__(self, how):
        super().__init__()
        self.how = how

    def __getitem__(self, i):
        x, objects = super().__getitem__(i)
        if i != 7:
            return x, objects
        if self.how == "error":
            raise OSError("image file 000007.jpg is truncated")
        if self.how == "gone":
            raise DataError("000007.jpg is not there")
        if self.how == "nan box":
            objects[0, 2] = math.nan
        if self.how == "nan pixel":
            x[0, 0, 0] = math.nan
        if self.how == "no class":
            objects[0, 4] = 9
        return (x, objects) if self.how != "empty" else (x, objects[:0])


@pytest.mark.parametrize("how", ["error", "gone", "nan box", "nan pixel", "no class"])
@pytest.mark.parametrize("workers", [0, 1])
def test_bad_sample(tmp_path, how, workers, capsys):
    """By policy the run stops and names the sample, or leaves it out, counts and reports; it
    never hangs and never goes on silently"""
    kwargs = settings(tmp_path, 12)
    with pytest.raises(DataError, match=r"sample 7: .+"):
        train(Bad(how), net=Tiny(10), workers=workers, **kwargs)
    if workers:
        return
    net = train(Bad(how), net=Tiny(10), on_bad="skip", resume=False, workers=workers, **kwargs)
    seen = 12 * 4 / 23  # epochs: it is met twice or three times
    assert (
        len(net.history) == 12
        and int(seen) <= len(net.skipped) <= int(seen) + 1
        and {i for i, _ in net.skipped} == {7}
    )
    assert "skipped" in capsys.readouterr().err


def test_picture_without_objects_is_fine(tmp_path):
    net = train(Bad("empty"), net=Tiny(10), **settings(tmp_path, 12))
    assert not net.skipped and all(math.isfinite(r["loss"]) for r in net.history)


def test_every_sample_bad(tmp_path):
    class Nothing(Noise):
        def __getitem__(self, i):
            raise OSError("gone")

    with pytest.raises(DataError, match="no usable sample"):
        train(Nothing(), net=Tiny(10), on_bad="skip", **settings(tmp_path, 5))


class Failing(Tiny):
    "Gives NaN at step 5"

    calls = 0

    def forward(self, x, logits=False):
        self.calls += 1
        points = super().forward(x, logits)
        return points * math.nan if self.calls == 5 else points


def test_nan_loss(tmp_path):
    """Stops at once; the batch is kept; the message names the step, the samples and what may
    be the cause"""
    with pytest.raises(
        LossError, match=r"loss at step 4.*nan.*lower `lr`.*samples.*run.bad_batch.pth"
    ) as e:
        train(Noise(), net=Failing(10), **settings(tmp_path, 12))
    kept = load_tensors(tmp_path / "run.bad_batch.pth")
    assert (
        kept["images"].shape == (4, 3, 32, 32)
        and len(kept["keys"]) == 4
        and str(kept["keys"]) in str(e.value)
    )
    assert load_tensors(tmp_path / "run.pth")["done"] == 4  # the last good state
    assert all(
        torch.isfinite(v).all()
        for v in load_tensors(tmp_path / "run.pth")["net"].values()
        if v.is_floating_point()
    )


def test_exploding_weights_are_named(tmp_path):
    "A rate of a million: the weights are no longer finite, and the message says so"
    with pytest.raises(LossError, match="weights are no longer finite|a layer overflowed"):
        train(Noise(), net=Tiny(10), **{**settings(tmp_path, 60), "lr": 1e38, "clip": None})


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other run", "both"])
def test_damaged_checkpoint(tmp_path, undisturbed, damage, capsys):
    """A torn newest checkpoint: the previous one is used. Both torn, or another run's:
    refused, not begun anew silently"""
    kwargs = settings(tmp_path, 8)
    whole = killable.digest(
        train(Noise(), net=seeded_tiny(), **settings(tmp_path / "other", 8))
    )
    train(Noise(), net=seeded_tiny(), **kwargs)
    files = [tmp_path / "run.pth"] + [tmp_path / "run.prev.pth"] * (damage == "both")
    for f in files:
        data = bytearray(f.read_bytes())
        if damage in ("cut", "both"):
            del data[len(data) // 2 :]
        elif damage == "flip":
            data[len(data) // 2] ^= 4
        elif damage == "empty":
            data.clear()
        f.write_bytes(data)
    if damage == "other run":
        kwargs["lr"] = 1e-4
    if damage in ("both", "other run"):
        with pytest.raises(CheckpointError, match="run.*pth"):
            train(Noise(), net=seeded_tiny(), **kwargs)
    else:
        assert killable.digest(train(Noise(), net=seeded_tiny(), **kwargs)) == whole
        assert "run.pth cannot be loaded" in capsys.readouterr().err


def seeded_tiny():
    torch.manual_seed(1)
    return Tiny(1000)
