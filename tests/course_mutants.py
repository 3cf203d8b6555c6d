"""Small changes of the components: those that the lessons' own proofs notice must lose points

    python tests/course_mutants.py COURSE [--sample 50]

COURSE is what `make course` wrote. A change is graded first, which is quick; of those that
lose nothing the lesson is asked, and its proofs must not notice either."""

import argparse
import ast
import json
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("course", type=Path)
    parser.add_argument("--sample", type=int, help="stop when so many have lost points")
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths = lessons(args.course)
    mutants.notebooks = lambda: paths
    mutants.DONE = args.course.resolve() / "mutants"  # what it notes of a notebook's times
    hidden = torch.load(args.course / "teacher/hidden.pt", weights_only=True)
    every = listed(paths)
    random.Random(0).shuffle(every)
    lost, silent = 0, []
    for m in every:
        if lost == args.sample:
            break
        if loses(hidden, paths[m["module"]], m):
            lost += 1
        else:
            silent.append(m)
    answers = {}
    for module in sorted({m["module"] for m in silent}):
        own = [m for m in silent if m["module"] == module]
        note = lambda m, said: answers.update({mutants.name_of(m): said})
        report = lambda m, said, _: None if m == mutants.CONTROL else note(m, said)
        mutants.by_notebook(module, own, 1, report, soon=False)
    noticed = [name for name, said in answers.items() if said != "survived"]
    print(json.dumps(dict(mutants=len(every), lost=lost, silent=answers, noticed=noticed)))


if __name__ == "__main__":
    main()
