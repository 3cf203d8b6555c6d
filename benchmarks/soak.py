"""The long round: everything that the tests try a few times, tried thousands of times

    python benchmarks/soak.py                     all of it: about an hour on two cores
    python benchmarks/soak.py files kills --files 2000 --kills 10        some of it, shorter

Ends with one table: kills survived, inputs tried, mutants killed; it is kept in
benchmarks/soak.json, which the site's page on trust shows. Leaves with an error if anything
was found."""

import argparse
import collections
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from common import HERE, ROOT, chosen, keep, kept

sys.path.insert(0, str(ROOT / "tests"))
TABLE = HERE / "soak.json"
SHARES = dict(
    coco=0.3, cocotext=0.3, jpeg=0.2, checkpoint=0.18, model=0.02
)  # of all damaged files


def damaged_files(total, first):
    "Reads `total` damaged files, seeds from `first` on; (line for the table, findings)"
    import torch
    from mutations import Files

    torch.set_num_threads(1)
    seen, findings = collections.Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        files = Files(folder)
        for kind, share in SHARES.items():
            begin = time.time()
            for seed in range(first, first + round(total * share)):
                try:
                    seen[kind, files.try_one(kind, seed)] += 1
                except AssertionError as e:
                    seen[kind, "wrong"] += 1
                    findings.append(str(e))
            print(
                f"  {kind}: {seen[kind, 'read']} read, {seen[kind, 'refused']} refused, "
                f"{seen[kind, 'wrong']} neither, {time.time() - begin:.0f} s",
                flush=True,
            )
    n, refused = sum(seen.values()), sum(v for (_, how), v in seen.items() if how == "refused")
    return (
        f"{n:,} damaged files (from seed {first}): {n - refused - len(findings):,} read "
        f"right, {refused:,} refused, {len(findings)} neither",
        findings,
    )


def pytest(*args, **env):
    "The output of a pytest run, and whether it failed"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *args],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )
    tail = done.stdout.strip().split("\n")[-1]
    print(" ", tail, flush=True)
    return done.stdout, [] if done.returncode == 0 else [done.stdout[-3000:]]


def kills(n):
    "Half of the kills with a checkpoint at each step, half with one at every seventh"
    out, findings = pytest("tests/test_kills.py", KILLS=str(-(-n // 2)))
    counts = re.findall(r"(\d+) kills, (\d+) of them inside", out)
    return (
        f"{sum(int(k) for k, _ in counts)} kills, {sum(int(t) for _, t in counts)} of them "
        f"while a checkpoint was being written: "
        + (
            "every run continued and ended with the same bits"
            if not findings
            else "NOT all runs ended alike"
        ),
        findings,
    )


def fuzzing(examples):
    """Encode, peaks, decode and loss against the float64 references, with new examples at each
    run"""
    out, findings = pytest("tests/test_fuzz.py", FUZZ_EXAMPLES=str(examples))
    tests = (Path(ROOT) / "tests" / "test_fuzz.py").read_text(encoding="utf-8")
    n = examples * tests.count("\n@many") + examples // 4 * tests.count("\n@few")
    return f"about {n:,} random cases of encode, peaks, decode, loss and checks: " + (
        "all as the references" if not findings else "NOT all as the references"
    ), findings


def mutants(n):
    "A sample of all modules that nobody chose; `make mutants` makes them all"
    from mutants import notebooks

    how = ["--module", *notebooks(), "--sample", str(n), "--seed", str(int(time.time()))]
    command = [sys.executable, HERE / "mutants.py", *how]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    print("  " + done.stdout.strip().replace("\n", "\n  "), flush=True)
    last = (done.stdout.strip().split("\n") or [""])[-1]
    return "a fresh sample: " + last, [done.stdout[-3000:]] if done.returncode else []


def course():
    "Every mutant of what students write, and both trainings at full length"
    out, findings = pytest("tests/test_course.py", "-k", "notices or trainings", SOAK="1")
    said = re.search(r"\d+ mutants; .*", out)
    return f"the course: {said[0] if said else 'no mutant was graded'}", findings


def nbdev3():
    "Export and every notebook under the next nbdev"
    done = subprocess.run(
        [sys.executable, ROOT / "tools/nbdev3.py", "--all"], stdout=subprocess.PIPE, text=True
    )
    last = (done.stdout.strip().split("\n") or [""])[-1]
    return last, [done.stdout[-3000:]] if done.returncode else []


def write(title, line, seconds):
    "One line of the table into soak.json, the others as they are"
    keep(
        TABLE,
        {
            **kept(TABLE, {}),
            title: dict(line=line, seconds=round(seconds), date=time.strftime("%Y-%m-%d")),
        },
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts",
        nargs="*",
        help="which of files, kills, fuzzing, mutants, course, nbdev3 (default: all)",
    )
    parser.add_argument("--files", type=int, default=10_000, help="damaged files")
    parser.add_argument("--kills", type=int, default=30, help="at least so many")
    parser.add_argument(
        "--examples", type=int, default=1500, help="hypothesis examples of a test"
    )
    parser.add_argument(
        "--seed", type=int, help="of the first damaged file; default: the time"
    )
    parser.add_argument("--mutants", type=int, default=100, help="of all modules")
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    table, findings = [], []
    parts = dict(
        files=lambda: damaged_files(args.files, seed),
        kills=lambda: kills(args.kills),
        fuzzing=lambda: fuzzing(args.examples),
        mutants=lambda: mutants(args.mutants),
        course=course,
        nbdev3=nbdev3,
    )
    for title in chosen(args.parts, parts, "part"):
        print(f"{title}, from seed {seed}" if title == "files" else title, flush=True)
        begin = time.time()
        line, found = parts[title]()
        write(title, line, time.time() - begin)
        table.append(f"{line}  ({time.time() - begin:.0f} s)")
        findings += found
    print("\n" + "\n".join(table))
    for f in findings[:40]:
        print("found:", f)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
