"""Mutation testing of every module: do its notebook's proofs and the tests notice when its
code is wrong?

    python benchmarks/mutants.py    every mutant of every module; goes on where it stopped
    python benchmarks/mutants.py --module loss convert    of these alone
    python benchmarks/mutants.py --sample 20    twenty of them, the same each time (--seed for
                                                others)
    python benchmarks/mutants.py --report    the numbers of the last round, module by module
    python benchmarks/mutants.py --module loss --list     name every mutant, run none

A mutant is one exported cell with one change: a comparison turned round, + for -, a constant
off by one, min for max, a line dropped, … A notebook redefines what it exports, so the change
is made in the notebook's cell and the cells after it are run against it, in a process forked
where the cell would run. The other judges are the tests that name the module, run on a copy of
the package with the change in it. The quickest judges first: a few seconds of the notebook,
then the tests, then what the notebook has left. Unchanged, the module must pass each of them.
Killed: something fails, or takes several times the processor time that it takes unchanged.
Those who survive all, and differ in no way that matters, stand with the reason in
`benchmarks/mutants.json`; all others are findings. An answer is kept in runs/mutants and holds
until the judge who gave it changes; the numbers of modules that were judged whole stand in
`benchmarks/killed.json`. Figures are not drawn and timings not taken: a cell that only does
that proves nothing."""

import argparse
import ast
import builtins
import collections
import contextlib
import functools
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import select
import shutil
import signal
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
NUMBERS = HERE / "killed.json"
LEAST = 0.9  # of a module's mutants that must be killed
# of processor time that a mutant may take, and times what the unchanged module takes
SECONDS, TIMES = 5, 4
SOON = 3  # seconds of the notebook before the tests have their turn
STUCK = 180  # seconds after which who does nothing at all is given up
MEMORY = 4 * 2**30  # that a mutant may take beyond what is there
CONTROL, NOTEBOOK = "nothing", "notebook"
# of these modules the fixed sample of `make test` is drawn: the idea, and what lies behind it
SAMPLED = "head loss convert network fastmaps fastloss modelfile".split()
# tests of everything at once, or too slow to run for each mutant
NOT_FOR_MUTANTS = re.compile(
    r"test_(site|course|quarto_lite|kills|costs|mutants|race|package|versions|written_commands)"
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
    tree, lines = ast.parse(source), source.split("\n")
    for node, how, _ in spots(tree):
        line = (getattr(node, how[1][0])[how[1][1]] if how[0] == "drop" else node).lineno
        before = {k: list(v) if isinstance(v, list) else v for k, v in vars(node).items()}
        what = apply(node, how)
        yield lines[line - 1].strip(), what, ast.unparse(ast.fix_missing_locations(tree))
        vars(node).update(before)


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


CLOCK = re.compile(
    r"timeit|perf_counter|time\.time|process_time|benchmark|seconds\(|in_turns|times\["
)


def only_times(source):
    "Cells that take time to say how long something takes, and prove nothing"
    proves = any(w in source for w in ("assert", "test_", "def ", "Expected"))
    return bool(CLOCK.search(source)) and not proves


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
    return f"{name_of(m)} {short(m['source'].encode())}"


def short(data):
    "A short number that changes with `data`"
    return hashlib.sha256(data).hexdigest()[:12]


def judges_of(module):
    "Who judges `module`, the notebook and test files → a number that changes when they change"
    cells = repr(cells_of(notebooks()[module])).encode()
    tests = {str(p.relative_to(ROOT)): short(p.read_bytes()) for p in tests_of(module)}
    return {NOTEBOOK: short(cells), **tests}


class Record:
    "What is known of a module's mutants: mutant → judge → [the judge's number, answer]"

    def __init__(self, module):
        self.file, self.judges = DONE / f"{module}.json", judges_of(module)
        self.answers = kept(self.file, {})

    def of(self, m):
        "The answers that hold: judge → None (survived) or what failed"
        found = self.answers.get(key_of(m), {})
        return {j: a for j, (number, a) in found.items() if self.judges.get(j) == number}

    def add(self, m, judge, answer):
        number = self.judges[judge]
        self.answers.setdefault(key_of(m), {})[judge] = [number, answer]
        keep(self.file, self.answers)

    def fate(self, m):
        "What killed it; None if all judges let it live; '' if it is not judged by all"
        found = self.of(m)
        return next(
            filter(None, found.values()), None if len(found) == len(self.judges) else ""
        )


# First judge: the notebook


def run(source, space):
    "A cell, as a notebook runs it; on a busy machine only a clock may contradict"
    try:
        exec(compile(source, "<cell>", "exec"), space)
    except AssertionError:
        if not CLOCK.search(source):
            raise


def forked(work, seconds):
    """Starts a process that does `work()`, whose answer is a few words or None, and is given
    so much processor time"""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        limit(seconds)
        for f in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), f)
        try:
            answer = work() or "survived"
        except BaseException as e:
            answer = f"{type(e).__name__}"
        os.write(write, answer.encode()[:200])
        os._exit(0)
    os.close(write)
    return dict(pid=pid, read=read, seen=time.monotonic(), used=0.0)


def limit(seconds):
    "So much processor time, and memory, for this process from now on"
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + seconds) + 1,) * 2)
    if pages := used_by(os.getpid(), "statm", 0):
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def used_by(pid, file, *fields):
    "The sum of some fields of /proc/`pid`/`file`; 0 where there is no such file"
    path = Path(f"/proc/{pid}/{file}")
    words = path.read_text().rpartition(")")[2].split() if path.exists() else []
    return sum(int(words[f]) for f in fields if words)


def collect(job):
    """What a process of `forked` answered; None while it is busy. A machine that is busy with
    other things slows it, but only who does nothing at all is given up"""
    now, used = time.monotonic(), used_by(job["pid"], "stat", 11, 12, 13, 14)
    if used != job["used"]:
        job.update(used=used, seen=now)
    ready = select.select([job["read"]], [], [], 0)[0]
    if not ready and now < job["seen"] + STUCK:
        return None
    answer = os.read(job["read"], 200).decode() if ready else ""
    os.close(job["read"])
    if not answer:
        with contextlib.suppress(ProcessLookupError):
            os.kill(job["pid"], signal.SIGKILL)
    os.waitpid(job["pid"], 0)
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
            time.sleep(0.01)

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


class Enough(BaseException):
    "The control has run for as long as it should"


class Notebook:
    """The cells of a module's notebook, run up to each mutant's cell and there forked; `timed`
    holds the seconds that each cell takes unchanged, once that is known"""

    def __init__(self, module):
        path = notebooks()[module]
        self.cells, self.space = [s for _, s, _ in cells_of(path)], fresh()
        self.times_file, self.timed = DONE / f"{module}.times.json", []
        os.chdir(path.parent)
        if module != "draw":
            without_figures()

    def todo(self, i, source):
        """Where to run, and (number, source) of the changed cell and those after it; where a
        thread runs already, which no fork takes along, those before it too"""
        after = [(k, s) for k, s in enumerate(self.cells) if k > i and not only_times(s)]
        if threading.active_count() == 1:
            return self.space, [(i, source), *after]
        return fresh(), [*enumerate(self.cells[:i]), (i, source), *after]

    def rest(self, i, source, last):
        "Work: the changed cell and those after it up to `last`; who fails is said"
        own, todo = self.todo(i, source)

        def work():
            for k, s in todo:
                try:
                    if k <= last:
                        run(s, own)
                except BaseException as e:
                    return f"cell {k} {type(e).__name__}"

        return work

    def control(self, i, pool, far):
        """The unchanged notebook from cell `i` to cell `far` and SOON seconds on, or to its
        end if `far` is None: does it pass, and how long does it take?"""
        own, todo = self.todo(i, self.cells[i])
        times = [0.0] * len(self.cells)

        def enough(*_):
            raise Enough

        def work():
            signal.signal(signal.SIGVTALRM, enough)
            for k, s in todo:
                late = far is not None and k > far
                if late and not signal.getitimer(signal.ITIMER_VIRTUAL)[0]:
                    signal.setitimer(signal.ITIMER_VIRTUAL, SOON)
                start = time.process_time()
                try:
                    run(s, own)
                except Enough:
                    times[k:] = [None] * len(times[k:])
                    break
                times[k] = time.process_time() - start
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            keep(self.times_file, times)

        pool.start(CONTROL, work, 1800)
        pool.wait()
        self.timed = kept(self.times_file, times)

    def last(self, i, soon):
        "The last cell to be run after cell `i`: the very last one, or as far as SOON allows"
        seconds = 0.0
        for k, t in enumerate(self.timed[i:], i):
            if t is None or soon and k > i and seconds + t > SOON:
                return k - 1
            seconds += t
        return len(self.cells) - 1


def by_notebook(module, mutants, parallel, report, soon):
    """Runs the notebook, or as much of it as takes SOON, against each mutant; `report(mutant,
    answer, whether it was the whole)`. CONTROL is the unchanged one"""
    book, first, far = Notebook(module), *(f(m["cell"] for m in mutants) for f in (min, max))
    pool = Pool(parallel, lambda m, answer: report(m, answer, whole))
    for i, source in enumerate(book.cells):
        if i == first:  # unchanged it must survive
            whole = True
            book.control(i, pool, far if soon else None)
        here = [m for m in mutants if m["cell"] == i]
        if here:
            pool.wait()  # `whole` is of this cell
            last = book.last(i, soon)
            whole = last == len(book.cells) - 1
            seconds = SECONDS + TIMES * sum(book.timed[i : last + 1])
        for m in here:
            pool.start(m, book.rest(i, m["source"], last), seconds)
        if i == far:
            break
        if not only_times(source):
            with contextlib.redirect_stdout(io.StringIO()):
                run(source, book.space)
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


class Quickest:
    "For pytest: the quickest tests first; `failed` is the first that failed"

    def __init__(self, seconds):
        self.seconds, self.failed = seconds, None

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.failed = self.failed or report.nodeid
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration


def tested(m, file, seconds):
    "The test in `file` that fails with mutant `m` in the package, if any does"
    import pytest

    plugin = Quickest(seconds)
    with tempfile.TemporaryDirectory() as folder:
        changed_package(folder, m)
        for name in [n for n in sys.modules if n.split(".")[0] == "centernet_nb"]:
            del sys.modules[name]
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
        how = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
        code = pytest.main([*how, file], plugins=[plugin])
        import centernet_nb

        if Path(centernet_nb.__file__).parent.parent != Path(folder):
            return "another package was tested"
        return (plugin.failed or f"{file} {code}") if code else None


def by_tests(file, mutants, parallel, report):
    """Runs a file of tests against each mutant, in a process forked where torch and pytest are
    imported already"""
    os.chdir(ROOT)
    took, pool = DONE / f"{Path(file).stem}.times.json", Pool(parallel, report)

    def control():
        start, seconds = time.process_time(), {}
        if failed := tested(None, file, seconds):
            return failed
        keep(took, dict(all=time.process_time() - start, each=seconds))

    took.unlink(missing_ok=True)
    pool.start(CONTROL, control, 1800)
    pool.wait()
    times = kept(took, {})
    for m in mutants:
        work = functools.partial(tested, m, file, times["each"])
        pool.start(m, work, SECONDS + TIMES * times["all"])
    pool.wait()


# The round


def passed(module, m, answer):
    "The module must pass unchanged, or kills would mean nothing"
    if m == CONTROL and answer != "survived":
        sys.exit(f"{module} fails without any change ({answer}): no mutant can be judged")
    return m == CONTROL


def ask_notebook(module, mutants, parallel, soon):
    "The mutants that still live, shown to the notebook"
    record = Record(module)

    def report(m, answer, whole):
        if passed(module, m, answer):
            return
        if answer != "survived" or whole:
            record.add(m, NOTEBOOK, None if answer == "survived" else answer)

    alive = [m for m in mutants if not record.fate(m) and NOTEBOOK not in record.of(m)]
    if alive:
        by_notebook(module, alive, parallel, report, soon)


def ask_tests(module, mutants, parallel):
    "The mutants that still live, shown to the tests that have not seen them"
    record = Record(module)

    def report(m, answer):
        if not passed(f"{module}, {file}", m, answer):
            record.add(m, file, None if answer == "survived" else answer)

    for file in quickest_first(module):
        alive = [m for m in mutants if not record.fate(m) and file not in record.of(m)]
        if alive:
            by_tests(file, alive, parallel, report)


def quickest_first(module):
    "The module's test files: its own, then by the seconds they last took, as far as known"

    def seconds(file):
        return kept(DONE / f"{Path(file).stem}.times.json", dict(all=60))["all"]

    files = [j for j in judges_of(module) if j != NOTEBOOK]
    return sorted(files, key=lambda f: (Path(f).stem != f"test_{module}", seconds(f)))


def judge(module, mutants, parallel):
    "All judges on `mutants` of one module, the quick ones first"
    known = kept(REASONS, {})  # by line and change, which two mutants may share
    unknown = [m for m in mutants if name_of(m) not in known]
    return (
        apart(ask_notebook, module, mutants, parallel, True)
        and apart(ask_tests, module, unknown, parallel)
        and apart(ask_notebook, module, unknown, parallel, False)
    )


def apart(work, *args):
    """Does `work(*args)` in a process of its own (a notebook changes its folder, figures are
    switched off); whether that ended well"""
    process = multiprocessing.get_context("fork").Process(target=work, args=args)
    process.start()
    process.join()
    return not process.exitcode


def summary(mutants):
    "Module → (mutants judged, killed, survivors with a reason, survivors without)"
    known, found = kept(REASONS, {}), {}
    records = {module: Record(module) for module in {m["module"] for m in mutants}}
    for m in mutants:
        new = dict(judged=0, killed=0, known=0, new=[], mutants=0)
        row, fate = found.setdefault(m["module"], new), records[m["module"]].fate(m)
        row["mutants"] += 1
        reason = name_of(m) in known
        row["judged"] += reason or fate != ""
        row["killed"] += bool(fate)
        row["known"] += reason and not fate
        if fate is None and not reason:
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


def note(rows):
    "Keeps the numbers of modules that were judged whole, with what their judges were then"
    table = kept(NUMBERS, {})
    for module, r in rows.items():
        if r["judged"] == r["mutants"]:
            row = {k: r[k] for k in ("mutants", "killed", "known")}
            table[module] = row | dict(new=len(r["new"]), judges=state_of(module))
    keep(NUMBERS, dict(sorted(table.items())))


def state_of(module):
    "A short number that changes with the module's notebook or its tests"
    return short(repr(judges_of(module)).encode())


def report(modules):
    "Prints `killed.json`, module by module; whether nine in ten of each were killed"
    table, well = kept(NUMBERS, {}), True
    for module in modules:
        if module not in table:
            print(f"{module}: not judged")
            continue
        r = table[module]
        changed = ", changed since" if r["judges"] != state_of(module) else ""
        print(
            f"{module}: {r['killed']} of {r['mutants']} killed "
            f"({r['killed'] / r['mutants']:.1%}), {r['known']} live with a reason, "
            f"{r['new']} without{changed}"
        )
        well = well and r["killed"] >= LEAST * r["mutants"]
    return well


def options():
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
    return parser.parse_args()


def sampled(mutants, args):
    "Those of `mutants` that the options ask for"
    draw = random.Random(args.seed).sample
    if args.sample and args.sample < len(mutants):
        mutants = draw(mutants, args.sample)
    if args.each:
        own = collections.defaultdict(list)
        for m in mutants:
            own[m["module"]].append(m)
        draw = random.Random(args.seed).sample
        mutants = [m for ms in own.values() for m in draw(ms, min(args.each, len(ms)))]
    return mutants


def each_module(mutants, args):
    "Judges module after module; those that could not be judged"
    begin, failed = time.monotonic(), []
    of = collections.defaultdict(list)
    for m in mutants:
        of[m["module"]].append(m)
    for module, ms in of.items():
        if time.monotonic() - begin > 60 * args.minutes:
            print(
                f"{args.minutes:.0f} minutes are over; called again it goes on with {module}"
            )
            break
        if args.again:
            (DONE / f"{module}.json").unlink(missing_ok=True)
        start = time.monotonic()
        if not judge(module, ms, args.parallel):
            failed.append(module)
        print(f"  {module}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return failed


def main():
    args = options()
    modules = chosen(
        args.module or [m for m in SAMPLED if args.sample and m in notebooks()],
        notebooks(),
        "module",
    )
    if args.report:
        sys.exit(not report(modules))
    mutants = list_mutants(modules)
    if args.list:
        return print("\n".join(map(name_of, mutants)), f"\n{len(mutants)} mutants")
    mutants = sampled(mutants, args)
    prepare()
    failed = each_module(mutants, args)
    rows = summary(mutants)
    if not (args.sample or args.each):
        note(rows)
    # of a small sample one or two may live; of a whole module a tenth
    well = said(rows, LEAST if not args.sample else 0)
    few = args.sample and sum(len(r["new"]) for r in rows.values()) > max(2, 0.1 * args.sample)
    if failed:
        print("could not be judged: " + ", ".join(failed))
    sys.exit(bool(failed or few or not well))


def prepare():
    "What every judge needs is imported once, before the first process is forked"
    os.environ.setdefault("MPLBACKEND", "agg")
    warnings.simplefilter("ignore")
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)  # forked processes must not meet threads
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


if __name__ == "__main__":
    main()
