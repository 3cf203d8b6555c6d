"""`centernet_train` on small sets of different kinds, beside its old default and torchvision's
FCOS from the same trunk, each with the same CPU-minutes.

    python benchmarks/own_sets.py runs/own/sets      makes the sets (ICDAR 2015 for some)
    python benchmarks/own.py --trunk TRUNK           every set, contestant and seed
    python benchmarks/own.py --trunk TRUNK --sets tiny huge --minutes 3 --seeds 0
    python benchmarks/own.py --table                 the table of the runs there are

One core each, and a CPU-minute is a minute of that core, loading included. FCOS runs at three
learning rates, of which the best counts, at the side that our rule chose. A run is kept in
benchmarks/own.json as it ends, and only what is missing there is run: seed after seed, so that
all sets have one before any has two. Several may run side by side, each on sets of its own.
The table is printed from that file alone."""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from common import HERE, RUNS, chosen, keep, kept

RESULTS, SETS = HERE / "own.json", RUNS / "own/sets"
RATES = (0.01, 0.005, 0.0025)
OLD = dict(stages=4, skips=False, gaussian="fixed", ema=0.0, size=[256], valid=0.0)


def ours(folder, out, trunk, minutes, seed, **changes):
    "Our run of a set with its own clock: processor time; returns size, steps and network"
    from centernet_nb.finetune import Recipe
    from centernet_nb.trainer import Job, train_own

    recipe = Recipe(minutes=minutes, pretrained=str(trunk), seed=seed, **changes)
    job = Job(folder / "train", folder / "train.json", out, recipe, device="cpu", fresh=True)
    job.clock = time.process_time
    job.ends = job.clock() + 60 * minutes
    net = train_own(job)
    return dict(size=recipe.size[0], steps=recipe.steps), net


def fcos(folder, trunk, minutes, seed, rate, size):
    "FCOS from the same trunk on the same views of the same pictures"
    import torch
    from race import Torchvision
    from centernet_nb.batches import seeded
    from centernet_nb.data import CocoObjects, collate
    from centernet_nb.views import augmented

    began, steps = time.process_time(), 0
    data = CocoObjects(
        folder / "train", folder / "train.json", None, size, augment=augmented(size)
    )
    torch.manual_seed(seed)
    net = Torchvision("fcos", len(data.names), size, trunk).train()
    how = dict(lr=rate, momentum=0.9, weight_decay=1e-4)
    optimizer = torch.optim.SGD(net.parameters(), **how)
    while (used := (time.process_time() - began) / 60) < minutes:
        with seeded("own", seed, steps):
            picks = torch.randint(len(data), (8,)).tolist()
            images, objects, _ = collate([data[i] for i in picks])
        done = used / minutes  # a short warm-up, then a cosine, as ours has
        factor = min(1, (steps + 1) / 20) * (1 + torch.cos(torch.tensor(done * torch.pi))) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate * float(factor)
        optimizer.zero_grad()
        net.loss(images, objects).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10)
        optimizer.step()
        steps += 1
    return dict(size=size, steps=steps), net.eval()


def run(args):
    "One contestant on one set, in this process; its row as JSON on the last line"
    import torch
    from centernet_nb.data import CocoObjects
    from centernet_nb.evaluate import evaluate

    torch.set_num_threads(1)
    kind, who, seed, minutes, size = args.run[:5]
    folder, out = SETS / kind, RUNS / "own" / "-".join(args.run[:4])
    common = folder, args.trunk, float(minutes), int(seed)
    if who in ("ours", "old"):
        changes = OLD if who == "old" else {}
        row, net = ours(folder, out, *common[1:], **changes)
    else:
        row, net = fcos(*common, float(who.removeprefix("fcos")), int(size))
    names = CocoObjects(folder / "train", folder / "train.json").names
    test = CocoObjects(folder / "test", folder / "test.json", names, row["size"])
    result = evaluate(net, test)
    row |= dict(minutes=round(time.process_time() / 60, 2), ap50=result.ap50, ap=result.ap)
    print(json.dumps(row))


def start(trunk, kind, who, seed, minutes, size):
    "`run` in a process of its own, on one thread; returns its row"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    words = [str(v) for v in (kind, who, seed, minutes, size)]
    argv = [sys.executable, __file__, "--trunk", trunk, "--run", *words]
    done = subprocess.run(argv, check=True, env=env, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def median(rows, who):
    "AP50 over the seeds; NaN without a run"
    found = [r["ap50"] for r in rows if r["who"] == who]
    return statistics.median(found) if found else float("nan")


def target(fcos):
    "What ours must reach beside FCOS: one and a half times it, or 0.15 more, at most 0.95"
    return min(1.5 * fcos, fcos + 0.15, 0.95)


def table(rows):
    "A line a set: the median over the seeds of each contestant, the best rate of FCOS"
    lines = ["set            minutes seeds   ours    old   FCOS target   won"]
    scores = {}
    for kind, minutes in dict.fromkeys((r["kind"], r["asked"]) for r in rows):
        here = [r for r in rows if (r["kind"], r["asked"]) == (kind, minutes)]
        ours, old = median(here, "ours"), median(here, "old")
        rates = [v for v in (median(here, f"fcos{rate:g}") for rate in RATES) if v == v]
        fcos = max(rates, default=float("nan"))
        seeds = len({r["seed"] for r in here})
        values = "".join(f"{v:7.3f}" for v in (ours, old, fcos, target(fcos)))
        won = "yes" if ours > old and ours >= target(fcos) else "no"
        lines.append(f"{kind:14} {minutes:7g} {seeds:5}{values}{won:>6}")
        scores[kind] = ours
    if ours := {k: v for k, v in scores.items() if v == v}:
        worst = min(ours, key=ours.get)
        mean = statistics.mean(ours.values())
        lines.append(f"mean of ours {mean:.3f}; the worst set is {worst}, {ours[worst]:.3f}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--trunk", help="weights of the trunk, torchvision's keys")
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--who", nargs="*", default=[], help="ours, old, fcos0.01, …")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        return run(args)
    if not args.table:
        if not args.trunk:
            parser.error("--trunk: which weights do all start from?")
        run_missing(args)
    print(table(kept(RESULTS, [])))


def run_missing(args):
    "Every run that is asked for and not kept yet"
    there = [p.name for p in sorted(SETS.iterdir())] if SETS.is_dir() else []
    if not there:
        raise SystemExit(f"no sets: python benchmarks/own_sets.py {SETS}")
    everyone = ["ours", "old", *(f"fcos{rate:g}" for rate in RATES)]
    kinds, whos = chosen(args.sets, there, "set"), chosen(args.who, everyone, "contestant")
    for seed, kind, who in itertools.product(args.seeds, kinds, whos):
        key = dict(kind=kind, who=who, seed=seed, asked=args.minutes)
        rows = kept(RESULTS, [])
        if any(key.items() <= r.items() for r in rows):
            continue
        sizes = [r["size"] for r in rows if (r["kind"], r["who"]) == (kind, "ours")]
        row = start(args.trunk, kind, who, seed, args.minutes, sizes[-1] if sizes else 320)
        keep(RESULTS, kept(RESULTS, []) + [key | row])  # read anew: others may run beside
        print(f"{kind} {who} seed {seed}: AP50 {row['ap50']:.3f}", flush=True)


if __name__ == "__main__":
    main()
