"What the files of this folder share: paired timing, and results that are kept as they come"

import json
import platform
import re
import statistics
import sys
import time
from pathlib import Path
import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RUNS = (
    ROOT / "runs"
)  # weights and half-done work, ignored by git; results stand beside the scripts
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def machine():
    "The processor and torch, as far as they decide a ratio"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [s.split(":")[1].strip() for s in lines if s.startswith("model name")]
    return f"{(names or [platform.machine()])[0]}, {DEVICE}, torch {torch.__version__}"


def clock(f, processor=False):
    """Seconds that one call of `f` takes; of the processor, which no neighbour can spoil, if
    asked"""
    now = time.process_time if processor else time.perf_counter
    start = now()
    f()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return now() - start


def high_water():
    """Bytes of memory at this process's peak; in a child `ru_maxrss` would start at its
    parent's"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ratios(pairs):
    """Of (seconds of ours, seconds of the other): the median ratio, its quartiles, the median
    ms of ours"""
    low, mid, high = statistics.quantiles([b / a for a, b in pairs], n=4)
    return dict(
        ratio=mid, low=low, high=high, ours_ms=1e3 * statistics.median(a for a, _ in pairs)
    )


def paired(ours, other, rounds=15, warm=2, processor=False):
    """How many times as long `other` takes as `ours`, run in turns, so that whatever else the
    machine does hits both"""
    for _ in range(warm):
        ours(), other()
    return ratios([(clock(ours, processor), clock(other, processor)) for _ in range(rounds)])


def kept(path, default):
    "What `keep` wrote to `path`, or `default`"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else default


def keep(path, value, **layout):
    "Write `value` as JSON, whole or not at all"
    part = path.with_suffix(".tmp")
    part.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, ensure_ascii=False, **{"indent": 1, **layout})
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def chosen(asked, there, what="row"):
    "The names asked for, or all that are there; an unknown one ends the program in a line"
    if unknown := set(asked) - set(there):
        sys.exit(f"no such {what}: {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    return list(asked) or list(there)
