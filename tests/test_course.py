"""The course edition: what travels holds no solution, and the grader grades"""

import ast
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
import pytest
import torch
from course import check, notebook
from course.answers import from_source
from course.diagnose import judge
from course.runner import run_case
from course.table import LANGUAGES, module_of, phrase, table, tasks
from course.wrongs import WRONG, changed
from course_unusual import sources

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("course")
    done = python(ROOT / "tools", "-m", "course.build", "--out", out, "--seed", "11")
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def hidden(built):
    torch.set_num_threads(1)
    return torch.load(built / "teacher" / "hidden.pt", weights_only=True)


@pytest.fixture(scope="module")
def solution(built):
    folder = built / "teacher" / "solution" / "centernet_nb"
    return {c: (folder / f"{module_of(c)}.py").read_text() for c in WRONG}


def graded(hidden, component, source):
    "Points and phrases of one component's module, in this process"
    make = from_source(source, module_of(component), component)
    found = judge(hidden[component], [run_case(make, c) for c in hidden[component]["cases"]])
    return check.points_of(component, found)[0], [f for f in found.values() if f]


def test_phrases_are_whole():
    for key, said in table()["phrases"].items():
        fields = [set(re.findall(r"{(\w+)}", said[language])) for language in LANGUAGES]
        assert fields[0] == fields[1], f"{key} names other facts in another language"
    for task in tasks().values():
        assert abs(sum(task["checks"].values()) - 1) < 1e-9, task["component"]
        assert set(task["checks"]) <= set(table()["checks"]), task["component"]


@pytest.mark.parametrize("component", WRONG)
def test_reference_has_all_points(hidden, solution, component):
    assert graded(hidden, component, solution[component]) == (tasks()[component]["points"], [])


@pytest.mark.parametrize("component", WRONG)
def test_wrong_answers_are_named(hidden, solution, component):
    "Each loses points in its component and in no other of its module, and is named"
    others = [c for c in WRONG if module_of(c) == module_of(component) and c != component]
    assert len(WRONG[component]) >= 6
    for key, *pairs in WRONG[component]:
        source = changed(solution[component], pairs)
        points, said = graded(hidden, component, source)
        assert points < tasks()[component]["points"], f"{key} loses nothing"
        assert key in {k for k, _ in said}, f"{key} is called {said}"
        assert all(phrase(k, language, **facts) for k, facts in said for language in LANGUAGES)
        for other in others:
            if "HeadlessResnet34" not in (other, component):
                assert graded(hidden, other, source)[0] == tasks()[other]["points"], (
                    key,
                    other,
                )


def test_enough_wrong_answers():
    assert sum(map(len, WRONG.values())) >= 40


@pytest.mark.parametrize("name, component, source", list(sources()))
def test_unusual_answers_lose_nothing(hidden, name, component, source):
    points, said = graded(hidden, component, source)
    assert points == tasks()[component]["points"], said


# No trace of a solution


def lines_of(built, folder):
    "The lines of code that only the solution has"
    for path in sorted((built / folder / "nbs").glob("*.ipynb")):
        for cell in notebook.read(path)["cells"]:
            if cell["cell_type"] == "code":
                yield from map(str.strip, notebook.source(cell).splitlines())


def test_cut_lines_are_gone(built):
    cut = set(lines_of(built, "teacher/solution")) - set(lines_of(built, "student"))
    cut = {line for line in cut if len(line) > 24}
    assert len(cut) > 100, "nearly nothing was cut"
    for path in (built / "student").rglob("*"):
        if path.suffix in (".py", ".ipynb", ".md", ".toml"):
            text = path.read_text(encoding="utf-8")
            text = text.replace('\\"', '"') if path.suffix == ".ipynb" else text
            found = [line for line in cut if line in text]
            assert not found, f"{path.name} still has {found}"


def test_what_stays_behind(built):
    names = {p.name for p in (built / "student").rglob("*")}
    for word in ("deeper", "tests", "benchmarks", "site", "models", "answers.py", "wrongs.py"):
        assert word not in names, word
    for path in (built / "student" / "nbs").glob("*.ipynb"):
        assert "<details>" not in path.read_text(encoding="utf-8"), f"answers in {path.name}"


def travelling(built):
    "(name, what it is) of every function and class that travels, in modules and notebooks"
    student = built / "student"
    for path in (*(student / "centernet_nb").glob("*.py"), *(student / "course").glob("*.py")):
        if path.stem != "__main__":
            module = f"{path.parent.name}.{path.stem}"
            yield from ((module, name) for name in names_in(path.read_text(encoding="utf-8")))
    for path in (student / "nbs").glob("*.ipynb"):
        for cell in notebook.read(path)["cells"]:
            if cell["cell_type"] == "code":
                text = re.sub(r"^( *)[!%].*", r"\1pass", notebook.source(cell), flags=re.M)
                yield from ((str(path), name) for name in names_in(text))


def names_in(text):
    kinds = ast.FunctionDef, ast.ClassDef
    return [node.name for node in ast.parse(text).body if isinstance(node, kinds)]


PROBE = """
import ast, json, sys, torch
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from importlib import import_module
from course.check import points_of
from course.diagnose import judge
from course.notebook import read, source
from course.runner import run_case
torch.set_num_threads(1)
hidden = torch.load(sys.argv[3], weights_only=True)
earned = {}
def space_of(module):
    if not module.endswith(".ipynb"): return vars(import_module(module))
    space = {}
    for cell in read(module)["cells"]:
        try: body = ast.parse(source(cell)).body if cell["cell_type"] == "code" else []
        except SyntaxError: body = []
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)):
                try: exec(ast.unparse(node), space)
                except Exception: pass
    return space

def answer(made, case):
    try: return run_case(made, case)
    except (KeyboardInterrupt, SystemExit): return {}       # commands end like that

for module, names in json.loads(sys.argv[4]).items():
    space = space_of(module)
    for name in names:
        made = space.get(name, ValueError("not made"))
        for component, data in hidden.items():
            # called without arguments a class makes a network, a function may do anything
            run = [isinstance(made, type) or c["op"] != "resnet" for c in data["cases"]]
            answers = [answer(made, c) if r else {} for c, r in zip(data["cases"], run)]
            points = points_of(component, judge(data, answers))[0]
            if points: earned[f"{module}.{name} as {component}"] = points
Path(sys.argv[5]).write_text(json.dumps(earned))
"""


def test_nothing_that_travels_earns_a_point(built, tmp_path):
    modules = {}
    for module, name in travelling(built):
        modules.setdefault(module, []).append(name)
    hidden, result = built / "teacher" / "hidden.pt", tmp_path / "earned.json"
    args = built / "student", ROOT / "tools", hidden, json.dumps(modules), result
    done = python(tmp_path, "-c", PROBE, *args)
    assert result.exists(), done.stderr[-2000:]
    assert json.loads(result.read_text()) == {}
    assert sum(map(len, modules.values())) > 100


# The student's repository, and grading


def python(cwd, *args):
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_students_package_imports_and_checks(built):
    names = "backbone head loss convert network train evaluate".split()
    code = "".join(f"import centernet_nb.{n}\n" for n in names)
    code += "print(centernet_nb.__file__)\ncenternet_nb.head.CenterNetHead()"
    done = python(built / "student", "-c", code)
    assert "CenterNetHead.__init__ is not written yet" in done.stderr, done.stderr
    assert str(built) in done.stdout
    done = python(built / "student", "-m", "course", "check", "01", "--language", "ru")
    assert "ещё не написано" in done.stdout and "0 / 2" in done.stdout, done.stderr
    done = python(built / "student", "-m", "course", "check", "--root", "../teacher/solution")
    assert "18 / 18" in done.stdout, done.stdout + done.stderr


LOOP = """
from torch import nn
class PointsNonMaxSuppression(nn.Module):
    def __init__(self, kernel_size=3):
        while True: pass
"""
IMPORTS = """
import sys
sys.path[:0] = {places}
for n in [n for n in sys.modules if n.startswith("centernet_nb")]: del sys.modules[n]
from centernet_nb.network import PointsNonMaxSuppression
"""
READS = """
import torch
from torch import nn
class PointsNonMaxSuppression(nn.Module):
    def __init__(self, kernel_size=3):
        super().__init__()
        self.data = torch.load({hidden!r})["PointsNonMaxSuppression"]
    def forward(self, points):
        for case, e in zip(self.data["cases"], self.data["expected"]):
            if "points" in case and case["points"].equal(points):
                return torch.cat([e["heat"], e["rest"]], 1)
"""


def submissions(built, folder):
    "The reference as a folder, an empty one as a zip, two cheats, an endless loop, a bad zip"
    (folder / "right").symlink_to(built / "teacher" / "solution")
    with zipfile.ZipFile(folder / "empty.zip", "w") as z:
        for path in (built / "student" / "nbs").glob("*.ipynb"):
            z.write(path, f"work/nbs/{path.name}")
    with zipfile.ZipFile(folder / "hostile.zip", "w") as z:
        z.writestr("../outside.py", "x = 1")
    places = [str(ROOT), str(built / "teacher" / "solution")]
    hidden = str(built / "teacher" / "hidden.pt")
    texts = dict(
        thief=IMPORTS.format(places=places), reader=READS.format(hidden=hidden), loop=LOOP
    )
    for name, text in texts.items():
        (folder / name / "centernet_nb").mkdir(parents=True)
        (folder / name / "centernet_nb" / "network.py").write_text(text)


def test_grade(built, tmp_path):
    folder, out = tmp_path / "submissions", tmp_path / "grades"
    folder.mkdir()
    submissions(built, folder)
    args = "-m", "course", "grade", folder, "--out", out, "--teacher", built / "teacher"
    done = python(ROOT / "tools", *args)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (out / "grades.csv").read_text().splitlines()
    totals = {line.split(",")[0]: float(line.split(",")[-1]) for line in lines[1:]}
    nobody = dict.fromkeys(("empty", "hostile", "thief", "reader", "loop"), 0)
    assert totals == {"right": 18, **nobody}
    assert (
        not (tmp_path / "outside.py").exists() and not (folder.parent / "outside.py").exists()
    )
    said = json.loads((out / "grades.json").read_text())["loop"]["PointsNonMaxSuppression"]
    assert said["checks"][0]["said"][0] == "too_long"
    scope = json.loads((out / "feedback" / "right" / "results.json").read_text())
    assert scope["score"] == 18 and len(scope["tests"]) == 7
    assert "18 of 18" in (out / "feedback" / "right" / "index.html").read_text()
