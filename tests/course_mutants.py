"""Small changes of the components: those that the lessons' own proofs notice must lose points

    python tests/course_mutants.py COURSE [--sample 50]

COURSE is what `make course` wrote. A change is graded first, which is quick; of those that
lose nothing the lesson is asked, and its proofs must not notice either. What an error says is
free: proofs ask for its kind alone here, as the grader does."""

import argparse
import ast
import os
import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / name) for name in ("tests", "tools", "benchmarks"))]
import mutants  # noqa: E402
import torch  # noqa: E402
from course import check, notebook  # noqa: E402
from course.answers import from_source  # noqa: E402
from course.diagnose import judge  # noqa: E402
from course.runner import run_case  # noqa: E402
from course.table import module_of, tasks  # noqa: E402
from fastcore.test import ExceptionExpected  # noqa: E402
from mutants import name_of  # noqa: E402

SECONDS = 30  # of processor time; who takes longer answers nothing, and loses


def lessons(course):
    "Module → the lesson with its solutions, as the course has it"
    stems = {module_of(c): t["lesson"] for c, t in tasks().items()}
    return {m: course / "teacher/solution/nbs" / f"{s}.ipynb" for m, s in stems.items()}


def within(module, m, whole):
    "Is mutant `m` of the cell `whole` inside of what students write?"
    cut = {n for c, t in tasks().items() if module_of(c) == module for n in t["cut"]}
    same = ast.unparse(ast.parse(whole))
    return notebook.cut_cell(m["source"], cut, {}) == notebook.cut_cell(same, cut, {})


def listed(paths):
    "Every mutant of what students write, and the cells of each lesson"
    cells = {
        module: {c["id"]: notebook.source(c) for c in notebook.read(path)["cells"]}
        for module, path in paths.items()
    }
    found = mutants.list_mutants(paths)
    return [m for m in found if within(m["module"], m, cells[m["module"]][m["id"]])]


def loses(hidden, path, m):
    "Does the module with mutant `m` in it lose points in any component?"
    nb = notebook.read(path)
    for cell in nb["cells"]:
        if cell["id"] == m["id"]:
            notebook.set_source(cell, "#| export\n" + m["source"])
    module, source = notebook.exported(nb)
    for component in (c for c in tasks() if module_of(c) == module):
        make, data = from_source(source, module, component), hidden[component]
        found = judge(data, [run_case(make, c) for c in data["cases"]])
        if check.points_of(component, found)[0] < tasks()[component]["points"]:
            return True
    return False


def graded(hidden, paths, some, sample):
    "(mutants that lose points, mutants that lose none), each in a process of its own"
    lost, silent = [], []
    note = lambda m, said: (silent if said == "survived" else lost).append(m)
    pool = mutants.Pool(os.cpu_count(), note)
    for m in some:
        if len(lost) >= sample:
            break
        work = lambda m=m: "loses" if loses(hidden, paths[m["module"]], m) else None
        pool.start(m, work, SECONDS)
    pool.wait()
    return lost, silent


def whatever_it_says():
    "Proofs that expect an error take any words"
    init = ExceptionExpected.__init__
    ExceptionExpected.__init__ = lambda self, ex=Exception, regex="": init(self, ex)


def noticed(silent):
    "Those of the silent mutants that a proof of their lesson notices, and what it says"
    found = {}
    whatever_it_says()
    for module in sorted({m["module"] for m in silent}):
        own = [m for m in silent if m["module"] == module]
        key = lambda m: m if m == mutants.CONTROL else name_of(m)
        note = lambda m, said, _: found.update({key(m): said})
        mutants.by_notebook(module, own, os.cpu_count(), note, soon=False)
        assert found.pop(mutants.CONTROL) == "survived", (
            f"the lesson of {module} fails as it is"
        )
    return {m: said for m, said in found.items() if said != "survived"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("course", type=Path)
    parser.add_argument("--sample", type=int, default=10**9, help="so many that lose points")
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = lessons(args.course)
    mutants.notebooks = lambda: paths
    mutants.DONE = args.course.resolve() / "mutants"  # what it notes of a notebook's times
    hidden = torch.load(args.course / "teacher/hidden.pt", weights_only=True)
    every = listed(paths)
    random.Random(0).shuffle(every)
    lost, silent = graded(hidden, paths, every, args.sample)
    print(
        f"{len(every)} mutants; {len(lost)} lose points, {len(silent)} lose none", flush=True
    )
    said = noticed(silent)
    for m, why in said.items():
        print(f"noticed by its lesson alone: {m}: {why}")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
