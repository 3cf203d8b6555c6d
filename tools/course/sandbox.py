"""Where a submission runs: a process forked from one that has torch and nothing else

It is forked before any expected number is read, so none lies in its memory. In it, before the
submission is imported: no network, of the disk only Python, torch and the package with the
student's module, no rights (each where the system permits; the grades say which were had), and
limits on memory, processor time and the size of files."""

import ctypes
import io
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
import torch
from .check import load
from .runner import run_case

NEWNS, NEWNET, NEWUSER = 0x20000, 0x40000000, 0x10000000
PRIVATE, BIND, NOBODY = 0x44000, 0x5000, 65534
FRAME = 1 << 26  # bytes of one answer at most
libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags):
    return hasattr(libc, "unshare") and libc.unshare(flags) == 0


def bind(path, jail):
    "`path` under the new root, as it is; a symbolic link as a link"
    path, inside = Path(path), Path(f"{jail}{path}")
    if path.is_symlink():
        inside.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(os.readlink(path), inside)
        return True
    inside.mkdir(parents=True, exist_ok=True)
    return libc.mount(os.fsencode(path), os.fsencode(inside), None, BIND, None) == 0


def jailed(job):
    "A root folder that holds Python, torch and this one package, nothing else of the disk"
    jail = job["stage"] + ".jail"
    if not unshare(NEWNS) or libc.mount(b"none", b"/", None, PRIVATE, None):
        return False
    os.makedirs(jail, exist_ok=True)
    if libc.mount(b"none", os.fsencode(jail), b"tmpfs", 0, b"size=1m"):
        return False
    os.makedirs(f"{jail}/tmp")
    os.chmod(f"{jail}/tmp", 0o1777)
    keep = ["/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix, job["stage"]]
    keep = [p for i, p in enumerate(keep) if os.path.exists(p) and p not in keep[:i]]
    keep = [p for p in keep if p in ("/usr", job["stage"]) or not p.startswith("/usr/")]
    if not all([bind(p, jail) for p in keep]):
        return False
    for path in map(Path, sys.path):  # a copy installed beside torch
        if (path / "centernet_nb").is_dir() and (Path(jail) / path.relative_to("/")).is_dir():
            inside = os.fsencode(f"{jail}{path}/centernet_nb")
            libc.mount(b"none", inside, b"tmpfs", 0, b"size=64k")
    os.chroot(jail)
    return True


def shields(job):
    "Shut this process in; the names of what could be had"
    got, root = [], os.geteuid() == 0
    if not root:
        unshare(NEWUSER)
    if unshare(NEWNET):
        got.append("no network")
    if jailed(job):
        got.append("no other files")
    if root and all(map(readable_by_all, (torch.__file__, os.__file__))):
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        got.append("no rights")
    elif root and unshare(NEWUSER):  # root in here is nobody outside, so the jail holds
        got.append("no rights")
    if hasattr(libc, "prctl"):
        libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    if "no network" not in got:
        socket.socket = socket.create_connection = None
    return got


def readable_by_all(path):
    return all(p.stat().st_mode & 0o5 for p in Path(path).resolve().parents)


def limit(megabytes, seconds):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, used + megabytes * 2**20),
        (resource.RLIMIT_FSIZE, 2**20),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def send(fd, value):
    data = torch_bytes(value)
    os.write(fd, struct.pack("<Q", len(data)))
    while data:
        data = data[os.write(fd, data) :]


def torch_bytes(value):
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def work(job, fd):
    "The child: shut in, then one answer after the other"
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for i in (0, 1, 2):
        os.dup2(null, i)
    os.closerange(3, fd), os.closerange(fd + 1, 256)
    torch.set_num_threads(1)
    limit(job["megabytes"], job["seconds"] * (len(job["cases"]) + 1))
    got = shields(job)
    os.chdir(job["stage"])
    send(fd, {"shields": ", ".join(got)})
    signal.setitimer(signal.ITIMER_PROF, job["seconds"])
    make = load(job["stage"], job["module"], job["component"])
    for case in job["cases"]:
        signal.setitimer(signal.ITIMER_PROF, job["seconds"])
        send(fd, run_case(make, case))


class Zygote:
    "The process from which all others are forked"

    def __init__(self):
        torch.cpu._is_avx512_bf16_supported()  # looks the processor up while there is /proc
        self.sock, far = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self.sock.close()
            serve(far)
        far.close()

    def start(self, job):
        "(process id, file of answers) of a child at work"
        r, w = os.pipe()
        data = pickle.dumps(job)
        socket.send_fds(self.sock, [struct.pack("<Q", len(data))], [w])
        os.close(w)
        self.sock.sendall(data)
        return struct.unpack("<Q", self.sock.recv(8))[0], r

    def ended(self):
        "What the child died of: a signal's number, 0 if it came to its end"
        self.sock.sendall(struct.pack("<Q", 0))
        return struct.unpack("<Q", self.sock.recv(8))[0] & 127

    def close(self):
        self.sock.close()
        os.waitpid(self.pid, 0)


def serve(sock):
    while True:
        head, fds, _, _ = socket.recv_fds(sock, 8, 1)
        if not head:
            os._exit(0)
        size, data = struct.unpack("<Q", head)[0], b""
        if not size:
            sock.sendall(struct.pack("<Q", os.wait()[1]))
            continue
        while len(data) < size:
            data += sock.recv(min(1 << 20, size - len(data)))
        pid = os.fork()
        if pid == 0:
            try:
                work(pickle.loads(data), fds[0])
            finally:
                os._exit(0)
        os.close(fds[0])
        sock.sendall(struct.pack("<Q", pid))


def receive(fd, size, until):
    data = b""
    while len(data) < size:
        wait = until - time.monotonic()
        if wait <= 0 or not select.select([fd], [], [], wait)[0]:
            raise TimeoutError
        part = os.read(fd, size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def answer(fd, seconds):
    "The next answer: a dict of tensors and texts, whatever the process may have sent"
    until = time.monotonic() + seconds
    size = struct.unpack("<Q", receive(fd, 8, until))[0]
    if size > FRAME:
        raise EOFError
    value = torch.load(io.BytesIO(receive(fd, size, until)), weights_only=True)
    assert isinstance(value, dict)
    kinds = torch.Tensor, str
    return {str(k): v for k, v in value.items() if type(v) in kinds}


def stop(pid):
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except OSError:
            pass


def attempt(zygote, job, wall):
    "(shields, answers, what ended it) of one child"
    pid, fd = zygote.start(job)
    answers, said, why = [], "", None
    try:
        said = answer(fd, wall)["shields"]
        while len(answers) < len(job["cases"]):
            answers.append(answer(fd, wall))
    except TimeoutError:
        why = "too_long"
    except Exception:
        why = "died"
    os.close(fd)
    time.sleep(0.05 if why == "died" else 0)  # what died by itself keeps its own signal
    stop(pid)
    signal_ = zygote.ended()
    late = why == "died" and signal_ in (signal.SIGPROF, signal.SIGXCPU)
    return said, answers, "too_long" if late else why


def run_apart(zygote, job, wall=120, tries=2):
    "(shields, an answer to each case); what ends the process costs one case, at most three"
    answers, cases = [], job["cases"]
    for _ in range(tries):
        rest = {**job, "cases": cases[len(answers) :]}
        said, got, ended = attempt(zygote, rest, wall)
        answers += got
        if ended is None:
            break
        answers.append({"error": f"{ended}:"})
        if len(answers) == len(cases):
            break
    answers += [answers[-1]] * (len(cases) - len(answers))
    return said, answers
