"""`make check`: components judged one by one, and a sentence for what is not right"""

import contextlib
import io
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
import torch
from .diagnose import judge
from .notebook import exported, read
from .runner import run_case
from .table import check_name, module_of, phrase, task_of, tasks, trainings
from .training import FOLDER, judge_training, stopped, write_training

# these say nothing by themselves: they count once some other check passes
ALONE = {"refuses", "untouched", "shape", "few", "loss", "score"}


def submitted(root, component):
    "Source of the module that should hold a component: its notebook's cells, else the package"
    lesson = Path(root) / "nbs" / f"{tasks()[component]['lesson']}.ipynb"
    if lesson.exists():
        made = exported(read(lesson))
        return made[1] if made else ""
    file = Path(root) / "centernet_nb" / f"{module_of(component)}.py"
    return file.read_text(encoding="utf-8") if file.exists() else ""


def stage(given, sources, out):
    "A package in `out` in which the modules of `sources` are the student's"
    package = Path(out) / "centernet_nb"
    shutil.copytree(given, package, ignore=shutil.ignore_patterns("__pycache__"))
    for module, source in sources.items():
        (package / f"{module}.py").write_text(source, encoding="utf-8")


def load(folder, module, component):
    "A component of the package in `folder`, or the error that stops it"
    for name in [n for n in sys.modules if n.split(".")[0] == "centernet_nb"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        return getattr(import_module(f"centernet_nb.{module}"), component)
    except Exception as e:
        return e
    finally:
        sys.path.remove(str(folder))


def run_here(given, component, source, cases):
    "Answers of a student's component, in this process"
    with tempfile.TemporaryDirectory() as folder:
        stage(given, {module_of(component): source}, folder)
        with contextlib.redirect_stdout(io.StringIO()):
            make = load(folder, module_of(component), component)
            return [run_case(make, c) for c in cases]


def points_of(component, found):
    "Points and rows (check, share, phrase or None) of one component"
    task = task_of(component)
    works = any(said is None for check, said in found.items() if check not in ALONE)
    rows = [
        (c, share, found[c], works or c not in ALONE) for c, share in task["checks"].items()
    ]
    points = sum(share for _, share, said, counts in rows if said is None and counts)
    return round(points * task["points"], 3), rows


def report(component, found, language):
    "Lines of the table for one component"
    points, rows = points_of(component, found)
    of = task_of(component)["points"]
    yield f"{component:26}{points:5g} / {of:g}"
    said = [r for r in rows if r[2]]
    if len(said) == len(rows) and {r[2][0] for r in said} == {"not_written"}:
        yield "    " + phrase("not_written", language)
        return
    for check, _, what, _ in said:
        yield f"    {check_name(check, language)}: {phrase(what[0], language, **what[1])}"


def chosen(words):
    "Components of the lessons or names given; all where none is"
    wanted = [w.split("_")[0] for w in words]
    named = {c for c, t in tasks().items() if c in words or t["lesson"][:2] in wanted}
    return [c for c in tasks() if c in named or not words]


def shown(name, found, language):
    "Print a row of the table with its sentences; the points"
    print("\n".join(report(name, found, language)), flush=True)
    return points_of(name, found)[0]


def train(root, words=(), language="en"):
    "Train both networks with the student's components, keep and judge them; the share"
    here, root, total = Path(__file__).resolve().parent, Path(root), 0
    with tempfile.TemporaryDirectory() as folder:
        sources = {module_of(c): submitted(root, c) for c in tasks()}
        stage(here / "given" / "centernet_nb", sources, folder)
        make = load(folder, "network", "CenterNet")
        run = lambda cases, model=None: [run_case(make, {**c, "model": model}) for c in cases]
        for name in trainings():
            print(phrase("training", language, name=name, folder=FOLDER), flush=True)
            try:
                found = judge_training(name, root, run, **write_training(name, root / FOLDER))
            except Exception as e:
                said = stopped(f"{type(e).__name__}: {e}"[:300])
                found = dict.fromkeys(trainings()[name]["checks"], said)
            total += shown(name, found, language)
    return total / sum(t["points"] for t in trainings().values())


def check(root, words=(), language="en"):
    "Print the table; the share of the points that are there"
    here = Path(__file__).resolve().parent
    torch.set_num_threads(1)
    judged = torch.load(here / "cases.pt", weights_only=True)
    total = of = 0
    for component in chosen(words):
        source = submitted(root, component)
        cases = judged[component]["cases"]
        answers = run_here(here / "given" / "centernet_nb", component, source, cases)
        total += shown(component, judge(judged[component], answers), language)
        of += tasks()[component]["points"]
    print(f"{'':26}{total:5g} / {of:g}")
    return total / of
