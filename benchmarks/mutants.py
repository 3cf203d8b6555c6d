"""Mutation testing of every module: do its notebook's proofs and the tests notice when its
code is wrong?

    python benchmarks/mutants.py    every mutant of every module; goes on where it stopped
    python benchmarks/mutants.py --module loss convert    of these alone
    python benchmarks/mutants.py --sample 20    twenty of them, the same each time (--seed for
                                                others)
    python benchmarks/mutants.py --report    what is known so far, module by module
    python benchmarks/mutants.py --module loss --list     name every mutant, run none

A mutant is one exported cell with one change: a comparison turned round, + for -, a constant
off by one, min for max, a line dropped, … A notebook redefines what it exports, so first the
change is made in the notebook's cell and the remaining cells are run against it, in a process
forked where the cell would run. Who survives that meets the tests that name the module, run on
a copy of the package with the change in it. Killed: something fails. Those who survive both,
and differ in no way that matters, stand with the reason in `benchmarks/mutants.json`; all
others are findings. Results are kept in runs/mutants as they come, and hold until the notebook
or one of its tests changes. Figures are not drawn and timings not taken: a cell that only does
that proves nothing."""

import argparse
import ast
import builtins
import contextlib
import hashlib
import io
import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import warnings
from pathlib import Path
from common import HERE, ROOT, RUNS, chosen, keep, kept

REASONS = HERE / "mutants.json"
DONE = RUNS / "mutants"
LEAST = 0.9  # of a module's mutants that must be killed
SECONDS, TIMES = (
    20,
    2,
)  # of processor time that a mutant may take, and times what the unchanged notebook takes
CONTROL = "nothing"
# of these modules the fixed sample of `make test` is drawn: the idea, and what lies behind it
SAMPLED = "head loss convert network fastmaps fastloss modelfile".split()
# tests of everything at once, or too slow to run for each mutant
NOT_FOR_MUTANTS = re.compile(
    r"test_(site|quarto_lite|kills|costs|mutants|race|package|versions|written_commands)"
)


# What is changed

SWAPS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
NAMES = dict(
    min="max",
    max="min",
    amin="amax",
    amax="amin",
    clamp_min="clamp_max",
    floor="ceil",
    ceil="floor",
    any="all",
    all="any",
    exp="log",
    log="exp",
    sqrt="square",
    gt="ge",
    ge="gt",
    lt="le",
    le="lt",
    zeros="ones",
    ones="zeros",
    nonzero="logical_not",
    logsigmoid="sigmoid",
    add_="sub_",
    sub="add",
    mul="div",
    mul_="div_",
)
STRINGS = dict(amax="amin", amin="amax")
HARMLESS = (
    "contiguous",
    "no_grad",
    "memory_format",
    "compile",
    "autocast",
    "pin_memory",
    "inplace",
    "non_blocking",
)  # speed, not meaning


def spots(tree):
    """Every (node, what to do, label) that can be changed; messages, docstrings, annotations
    and decorators are left alone"""
    found = []

    def walk(node, parent=None):
        if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)):
            return
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "print",
            "isinstance",
            "warn",
        ):
            return
        if isinstance(node, ast.keyword) and node.arg in HARMLESS:
            return
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                if type(op) in SWAPS:
                    found.append((node, ("ops", i), type(op).__name__))
        elif (
            isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS
        ):
            found.append((node, ("op", None), type(node.op).__name__))
        elif isinstance(node, ast.UnaryOp) and isinstance(
            node.op, (ast.USub, ast.Invert, ast.Not)
        ):
            found.append((node, ("unary", None), type(node.op).__name__))
        elif isinstance(node, ast.Constant):
            v = node.value
            if isinstance(v, bool) or isinstance(v, (int, float)):
                found.append((node, ("constant", None), repr(v)))
            elif isinstance(v, str) and v in STRINGS:
                found.append((node, ("string", None), v))
        elif isinstance(node, ast.Attribute) and node.attr in NAMES:
            found.append((node, ("attr", None), node.attr))
        elif (
            isinstance(node, ast.Name)
            and node.id in NAMES
            and isinstance(parent, ast.Call)
            and parent.func is node
        ):
            found.append((node, ("name", None), node.id))
        elif isinstance(node, ast.IfExp):
            found.append((node, ("branch", None), "if"))
        for field, value in ast.iter_fields(node):
            if field in ("decorator_list", "annotation", "returns", "type_comment"):
                continue
            for i, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST):
                    continue
                if (
                    isinstance(value, list)
                    and field in ("body", "orelse")
                    and isinstance(child, ast.stmt)
                    and not is_doc(child, i, node)
                ):
                    if droppable(child):
                        found.append((node, ("drop", (field, i)), "line"))
                if not is_doc(child, i, node):
                    walk(child, node)

    walk(tree)
    return found


def is_doc(node, i, parent):
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def droppable(s):
    """Statements that can be left out without an error of names: calls, changes in place,
    early returns, loops over `if`"""
    if isinstance(s, ast.Expr):
        return (
            isinstance(s.value, ast.Call)
            and getattr(s.value.func, "attr", "") != "__init__"
            and getattr(s.value.func, "id", "") != "print"
        )
    if isinstance(s, (ast.If, ast.AugAssign, ast.For)):
        return True
    return isinstance(s, ast.Assign) and isinstance(s.targets[0], (ast.Subscript,))


def apply(node, how):
    "Makes the change in place; returns a few words on it"
    kind, at = how
    if kind == "ops":
        old = node.ops[at]
        node.ops[at] = SWAPS[type(old)]()
        return f"{type(old).__name__} → {type(node.ops[at]).__name__}"
    if kind == "op":
        old = node.op
        node.op = SWAPS[type(old)]()
        return f"{type(old).__name__} → {type(node.op).__name__}"
    if kind == "unary":
        return drop_unary(node)
    if kind == "constant":
        v = node.value
        node.value = (
            (not v)
            if isinstance(v, bool)
            else v + 1
            if isinstance(v, int)
            else (v * 2 if v else 1.0)
        )
        return f"{v!r} → {node.value!r}"
    if kind == "string":
        v = node.value
        node.value = STRINGS[v]
        return f"{v} → {node.value}"
    if kind == "attr":
        v = node.attr
        node.attr = NAMES[v]
        return f".{v} → .{node.attr}"
    if kind == "name":
        v = node.id
        node.id = NAMES[v]
        return f"{v} → {node.id}"
    if kind == "branch":
        node.body, node.orelse = node.orelse, node.body
        return "branches exchanged"
    if kind == "drop":
        body, i = getattr(node, at[0]), at[1]
        body[i] = ast.copy_location(ast.Pass(), body[i])
        return "line dropped"


def drop_unary(node):
    "-x → +x, ~x → ~~x, not x → not not x"
    old = type(node.op)
    if old is ast.USub:
        node.op = ast.UAdd()
    else:
        node.operand = ast.UnaryOp(old(), node.operand)
    return f"{old.__name__} dropped"


def mutants_of(source):
    "(line of the source, change, new source) of every mutant of a cell"
    for n in range(len(spots(ast.parse(source)))):
        tree = ast.parse(source)
        node, how, _ = spots(tree)[n]
        line = (getattr(node, how[1][0])[how[1][1]] if how[0] == "drop" else node).lineno
        what = apply(node, how)
        ast.fix_missing_locations(tree)
        yield source.split("\n")[line - 1].strip(), what, ast.unparse(tree)


# Where it is run


class Nothing(types.ModuleType):
    "Stands for whatever draws: can be called, indexed, iterated, and does nothing"

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *a, **k):
        return self

    def __iter__(self):
        return iter([self] * 40)

    def __getitem__(self, i):
        return self

    def __setitem__(self, *a):
        pass

    def __len__(self):
        return 40

    def __enter__(self):
        return self

    def __exit__(self, *a):
        return False

    def __mul__(self, o):
        return self

    __rmul__ = __add__ = __radd__ = __truediv__ = __sub__ = __or__ = __mul__

    def __format__(self, spec):
        return ""

    def __float__(self):
        return 0.0


def without_figures():
    "Replaces matplotlib, and what this project draws with, by nothing"
    import centernet_nb.draw as draw

    nothing = Nothing("nothing")
    for name in draw.__all__:
        if callable(getattr(draw, name)) and name not in (
            "denormalise",
            "as_picture",
            "real_objects",
            "smooth",
        ):
            setattr(draw, name, nothing)
    import matplotlib.pyplot as plt
    import numpy as np

    def subplots(rows=1, cols=1, **_):
        axes = np.empty((rows, cols), object)
        axes[:] = nothing
        return nothing, nothing if rows == cols == 1 else axes.squeeze()

    for name in dir(plt):
        if (
            callable(getattr(plt, name))
            and not name.startswith("_")
            and name[0].islower()
            and name not in ("get_cmap", "cycler", "rc")
        ):
            setattr(plt, name, nothing)
    plt.subplots, draw.axes_grid = subplots, lambda n, *a, **k: [nothing] * n


# Which modules there are


def notebooks():
    "Module → its notebook"
    found = {}
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if any(p.startswith((".", "_")) for p in path.relative_to(ROOT).parts):
            continue
        if m := re.search(
            r'#\|\s*default_exp (\S+?)(?:\\n)?"', path.read_text(encoding="utf-8")
        ):
            found[m[1]] = path
    return found


def tests_of(module):
    "The test files that name `module`"
    word = re.compile(rf"centernet_nb(\.{module}\b|.*import .*\b{module}\b)")
    return [
        p
        for p in sorted((ROOT / "tests").glob("test_*.py"))
        if not NOT_FOR_MUTANTS.match(p.stem) and word.search(p.read_text(encoding="utf-8"))
    ]


def cells_of(path):
    "(id, source, exported?) of the code cells that are run, magics taken out"
    cells = []
    for c in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(c["source"])
        if (
            c["cell_type"] != "code"
            or re.search(r"^#\|\s*eval:\s*false", source, re.M)
            or "nbdev_export()" in source
        ):
            continue
        exported = bool(re.search(r"^#\|\s*exporti?\b", source, re.M))
        cells.append((c["id"], re.sub(r"^[%!].*$", "pass", source, flags=re.M), exported))
    return cells


def only_times(source):
    "Cells that take time to say how long something takes, and prove nothing"
    proves = any(w in source for w in ("assert", "test_", "def ", "Expected"))
    return (
        bool(
            re.search(
                r"timeit|perf_counter|time\.time|process_time|benchmark|seconds\(", source
            )
        )
        and not proves
    )


def list_mutants(modules):
    "Every mutant as a dict: module, cell (number), id, nth (of its cell), line, what, source"
    found = []
    for module, path in notebooks().items():
        if module not in modules:
            continue
        for i, (cell, source, exported) in enumerate(cells_of(path)):
            for n, (line, what, text) in enumerate(mutants_of(source) if exported else ()):
                found.append(
                    dict(
                        module=module,
                        cell=i,
                        id=cell,
                        nth=n,
                        line=line,
                        what=what,
                        source=text,
                    )
                )
    return found


def name_of(m):
    return f"{m['module']}: {m['line']} [{m['what']}]"


def key_of(m):
    return f"{m['id']} {m['nth']} {name_of(m)}"


def state_of(module):
    "A short number that changes with the module's notebook, its tests or this file"
    parts = [
        repr(cells_of(notebooks()[module])).encode(),
        *(p.read_bytes() for p in tests_of(module)),
        Path(__file__).read_bytes(),
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


# First judge: the notebook


def run(source, space):
    "A cell, as a notebook runs it"
    exec(compile(source, "<cell>", "exec"), space)


def forked(work, seconds):
    """Starts a process that does `work()`, whose answer is a few words or None, and is given
    so much processor time"""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1,) * 2)
        for f in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), f)
        try:
            answer = work() or "survived"
        except BaseException as e:
            answer = f"{type(e).__name__}"
        os.write(write, answer.encode()[:100])
        os._exit(0)
    os.close(write)
    return pid, read, time.monotonic() + 2 * seconds


def collect(job):
    "What a process of `forked` answered; None while it is still busy"
    pid, read, end = job
    if not select.select([read], [], [], 0)[0] and time.monotonic() < end:
        return None
    answer = os.read(read, 200).decode() if select.select([read], [], [], 0)[0] else ""
    os.close(read)
    if not answer:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return answer or "no answer in time, or a crash"


class Pool:
    "So many forked processes at a time; `report(what, answer)` as they end"

    def __init__(self, size, report):
        self.size, self.report, self.jobs = size, report, []

    def wait(self, most=0):
        while len(self.jobs) > most:
            for what, job in self.jobs[:]:
                if (answer := collect(job)) is None:
                    continue
                self.jobs.remove((what, job))
                self.report(what, answer)
            time.sleep(0.005)

    def start(self, what, work, seconds):
        self.wait(self.size - 1)
        self.jobs.append((what, forked(work, seconds)))


def fresh():
    return dict(
        __name__="__main__",
        __builtins__=builtins,
        get_ipython=lambda: Nothing("ipython"),
        display=lambda *a, **k: None,
    )


def by_notebook(module, mutants, parallel, report):
    """Runs the notebook up to each mutant's cell, forks there, and calls `report(mutant,
    killed by)`; CONTROL is the unchanged one"""
    path = notebooks()[module]
    os.chdir(path.parent)
    if module != "draw":
        without_figures()
    cells, space = [s for _, s, _ in cells_of(path)], fresh()
    pool, first, seconds = (
        Pool(parallel, report),
        min(m["cell"] for m in mutants),
        SECONDS + 60,
    )

    def rest(i, source, here):
        """The changed cell and all after it; where a thread runs already, which no fork takes
        along, those before it too"""
        before = [] if here else cells[:i]

        def work():
            own = space if here else fresh()
            for k, s in enumerate(
                [*before, source, *(s for s in cells[i + 1 :] if not only_times(s))]
            ):
                try:
                    run(s, own)
                except BaseException as e:
                    return f"cell {k + i - len(before)} {type(e).__name__}"

        return work

    begin = time.process_time()
    for i, source in enumerate(cells):
        alone = threading.active_count() == 1
        if i == first:  # unchanged it must survive, or kills would mean nothing
            start = time.monotonic()
            pool.start(CONTROL, rest(i, source, alone), 600)
            pool.wait()
            seconds = SECONDS + TIMES * (
                time.monotonic() - start + time.process_time() - begin
            )
        for m in (m for m in mutants if m["cell"] == i):
            pool.start(m, rest(i, m["source"], alone), seconds)
        if i == max(m["cell"] for m in mutants):
            break
        if not only_times(source):
            with contextlib.redirect_stdout(io.StringIO()):
                run(source, space)
    pool.wait()


# Second judge: the tests


def changed_package(folder, m):
    "A copy of the package with mutant `m` in it (None: without) in `folder`"
    copy = shutil.copytree(
        ROOT / "centernet_nb",
        Path(folder) / "centernet_nb",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    if not m:
        return
    path = copy / (m["module"].replace(".", "/") + ".py")
    parts = re.split(r"(?m)^(?=# %% )", path.read_text(encoding="utf-8"))
    here = [k for k, part in enumerate(parts) if part.split("\n")[0].endswith("#" + m["id"])]
    assert len(here) == 1, f"{path.name} has no cell {m['id']}: run make export"
    first, body = parts[here[0]].split("\n", 1)
    texts = [text for *_, text in mutants_of(body)]
    parts[here[0]] = f"{first}\n{texts[m['nth']]}\n\n"
    path.write_text("".join(parts), encoding="utf-8")


def by_tests(module, mutants, parallel, report):
    """Runs the module's tests against each mutant, in a process forked where torch and pytest
    are imported already"""
    import pytest

    files = [str(p) for p in tests_of(module)]
    if not files:
        return
    os.chdir(ROOT)

    def work(m):
        def judge():
            with tempfile.TemporaryDirectory() as folder:
                changed_package(folder, m)
                for name in [n for n in sys.modules if n.split(".")[0] == "centernet_nb"]:
                    del sys.modules[name]
                sys.path.insert(0, folder)
                os.environ["PYTHONPATH"] = folder
                code = pytest.main(
                    ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), *files]
                )
                import centernet_nb

                if Path(centernet_nb.__file__).parent.parent != Path(folder):
                    return "another package was tested"
                return f"tests {code}" if code else None

        return judge

    pool, start = Pool(parallel, report), time.monotonic()
    pool.start(CONTROL, work(None), 900)
    pool.wait()
    seconds = SECONDS + TIMES * (time.monotonic() - start)
    for m in mutants:
        pool.start(m, work(m), seconds)
    pool.wait()


# The round


def judge(module, mutants, parallel, stop=None):
    "Both judges on `mutants` of one module; every answer is kept as it comes"
    file, known = DONE / f"{module}.json", kept(REASONS, {})
    record = kept(file, {})
    if record.get("state") != state_of(module):
        record = dict(state=state_of(module), answers={})
    answers = record["answers"]

    def report(m, answer):
        if m == CONTROL:
            if answer != "survived":
                sys.exit(
                    f"{module} fails without any change ({answer}): no mutant can be judged"
                )
            return
        answers[key_of(m)] = answer
        keep(file, record)

    new = [m for m in mutants if key_of(m) not in answers and name_of(m) not in known]
    if new:
        by_notebook(module, new, parallel, report)
    left = [m for m in mutants if answers.get(key_of(m)) == "survived"]

    def second(m, answer):
        report(m, "survived both" if answer == "survived" and m != CONTROL else answer)

    if left:
        by_tests(module, left, parallel, second)


def summary(mutants):
    "Module → (mutants judged, killed, survivors with a reason, survivors without)"
    known, found = kept(REASONS, {}), {}
    records = {
        module: kept(DONE / f"{module}.json", {}) for module in {m["module"] for m in mutants}
    }
    for m in mutants:
        answers, row = (
            records[m["module"]].get("answers", {}),
            found.setdefault(m["module"], dict(judged=0, killed=0, known=0, new=[])),
        )
        answer = "survived" if name_of(m) in known else answers.get(key_of(m))
        if not answer:
            continue
        row["judged"] += 1
        if not answer.startswith("survived"):
            row["killed"] += 1
        elif name_of(m) in known:
            row["known"] += 1
        else:
            row["new"].append(name_of(m))
    return {module: row for module, row in found.items() if row["judged"]}


def said(rows, least):
    "Prints the rows; whether all is well"
    for module, r in rows.items():
        print(
            f"{module}: {r['judged']} mutants, {r['killed']} killed "
            f"({r['killed'] / r['judged']:.1%})"
        )
    for r in rows.values():
        for name in sorted(r["new"]):
            print("survived", name)
    total = {
        k: sum(len(v) if isinstance(v := r[k], list) else v for r in rows.values())
        for k in ("judged", "killed", "known", "new")
    }
    few = [m for m, r in rows.items() if r["killed"] < least * r["judged"]]
    print(
        f"{total['judged']} mutants of {len(rows)} modules: {total['killed']} killed "
        f"({total['killed'] / max(1, total['judged']):.1%}), "
        f"{total['known']} survived with a known reason, {total['new']} without"
    )
    if few:
        print(f"under {least:.0%}: " + ", ".join(few))
    return not few


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--module", nargs="*", default=[], help="only these modules")
    parser.add_argument(
        "--sample",
        type=int,
        help="only so many, of the modules of the fixed sample where none is named",
    )
    parser.add_argument("--each", type=int, help="at most so many of each module")
    parser.add_argument("--seed", type=int, default=0, help="which sample")
    parser.add_argument(
        "--minutes", type=float, default=90, help="begin no further module after so many"
    )
    parser.add_argument(
        "--again", action="store_true", help="forget what is kept of the modules"
    )
    parser.add_argument("--list", action="store_true", help="name every mutant, run none")
    parser.add_argument("--report", action="store_true", help="say what is known, run none")
    parser.add_argument(
        "--parallel", type=int, default=max(1, os.cpu_count() or 2), help="processes at a time"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    modules = chosen(
        args.module or [m for m in SAMPLED if args.sample and m in notebooks()],
        notebooks(),
        "module",
    )
    mutants = list_mutants(modules)
    if args.list:
        return print("\n".join(map(name_of, mutants)), f"\n{len(mutants)} mutants")
    if args.sample and args.sample < len(mutants):
        mutants = random.Random(args.seed).sample(mutants, args.sample)
    if args.each:
        own = [[m for m in mutants if m["module"] == module] for module in modules]
        mutants = [
            m
            for ms in own
            for m in random.Random(args.seed).sample(ms, min(args.each, len(ms)))
        ]
    if args.one:
        return one(args.one, [m for m in mutants if m["module"] == args.one], args.parallel)
    if args.report:
        sys.exit(not said(summary(mutants), LEAST))
    begin, failed = time.monotonic(), []
    for module in dict.fromkeys(m["module"] for m in mutants):
        if time.monotonic() - begin > 60 * args.minutes:
            print(
                f"{args.minutes:.0f} minutes are over; called again it goes on with {module}"
            )
            break
        if args.again:
            (DONE / f"{module}.json").unlink(missing_ok=True)
        start = (
            time.monotonic()
        )  # a process of its own: a notebook changes its folder, and figures are switched off
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--one", module], cwd=ROOT
        )
        if done.returncode:
            failed.append(module)
        print(f"  {module}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    # of a small sample one or two may live; of a whole module a tenth
    well = said(summary(mutants), LEAST if not args.sample else 0)
    few = args.sample and sum(len(r["new"]) for r in summary(mutants).values()) > max(
        2, 0.1 * args.sample
    )
    if failed:
        print("could not be judged: " + ", ".join(failed))
    sys.exit(bool(failed or few or not well))


def one(module, mutants, parallel):
    "One module, in a process of its own"
    os.environ.setdefault("MPLBACKEND", "agg")
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(
        1
    )  # before the first parallel work: forked processes must not meet threads
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    judge(module, mutants, parallel)


if __name__ == "__main__":
    main()
