"""The course edition: what travels holds no solution, and the grader grades"""

import ast
import csv
import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
import jsonschema
import pytest
import torch
import yaml
from course import check, notebook, training
from course.answers import from_source
from course.diagnose import judge
from course.readme import readme
from course.runner import run_case
from course.table import LANGUAGES, module_of, phrase, table, tasks, trainings
from course.training import claim_of
from course.wrongs import WRONG, changed
from course_unusual import sources
from safetensors import safe_open
from safetensors.torch import save_file
from centernet_nb.modelfile import save_model
from centernet_nb.network import load_model

ROOT = Path(__file__).resolve().parents[1]
SOAK = bool(os.environ.get("SOAK"))
forks = pytest.mark.skipif(os.name == "nt", reason="the grader forks, and Windows cannot")


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
    for name, task in {**tasks(), **trainings()}.items():
        assert abs(sum(task["checks"].values()) - 1) < 1e-9, name
        assert set(task["checks"]) <= set(table()["checks"]), name


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


@pytest.mark.parametrize(
    "language, said", [("en", "20 points, and 3"), ("ru", "20 баллов и 3")]
)
def test_readme_adds_up(language, said):
    text = readme(language)
    assert said in text
    for name, task in {**tasks(), **trainings()}.items():
        assert text.count(f"`{name}`") == 2 and task[language] in text, name


def test_enough_wrong_answers():
    assert sum(map(len, WRONG.values())) >= 40


@pytest.mark.parametrize("name, component, source", list(sources()))
def test_unusual_answers_lose_nothing(hidden, name, component, source):
    points, said = graded(hidden, component, source)
    assert points == tasks()[component]["points"], said


def test_what_a_lesson_notices_loses_points(built):
    "Small changes of what students write: fifty that lose points, and those met on the way"
    sample = () if SOAK else ("--sample", 50)
    done = python(ROOT, "tests/course_mutants.py", built, *sample)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert int(re.search(r"(\d+) lose points", done.stdout)[1]) >= 50


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


def test_last_cell_writes_the_package(built):
    "Of each lesson; there is no nbdev in the students' repository to do it"
    for path in sorted((built / "student" / "nbs").glob("0*.ipynb")):
        sources = [notebook.source(c) for c in notebook.read(path)["cells"]]
        assert "from course.export import export" in sources[-1], path.name
        assert not any("nbdev_export" in s for s in sources), path.name


def test_what_stays_behind(built):
    names = {p.name for p in (built / "student").rglob("*")}
    for word in ("deeper", "tests", "benchmarks", "site", "answers.py", "wrongs.py"):
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
    strict = "-m", "course", "check", "--strict"
    done = python(built / "student", *strict, "01", "--language", "ru")
    assert "ещё не написано" in done.stdout and "0 / 2" in done.stdout, done.stderr
    assert done.returncode == 1
    done = python(built / "student", *strict, "--root", "../teacher/solution")
    assert "18 / 18" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


LOOP = """
from torch import nn
class PointsNonMaxSuppression(nn.Module):
    def __init__(self, kernel_size=3):
        while True: pass
"""
HUNGRY = """
import torch
large = torch.empty(2**32, dtype=torch.uint8)
"""
CALLS = """
import socket
socket.create_connection(("127.0.0.1", {port}), timeout=5).close()
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


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


def submissions(built, folder, port):
    """The reference as a folder, an empty one as a zip, two cheats, an endless loop, one that
    asks for four gigabytes, one that asks the network, a bad zip"""
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
    right = (built / "teacher" / "solution" / "centernet_nb" / "network.py").read_text()
    texts.update(hungry=HUNGRY + right, caller=CALLS.format(port=port) + right)
    for name, text in texts.items():
        (folder / name / "centernet_nb").mkdir(parents=True)
        (folder / name / "centernet_nb" / "network.py").write_text(text)


@forks
def test_grade(built, tmp_path):
    folder, out = tmp_path / "submissions", tmp_path / "grades"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        submissions(built, folder, server.getsockname()[1])
        args = "-m", "course", "grade", folder, "--out", out, "--teacher", built / "teacher"
        done = python(ROOT / "tools", *args)
    assert done.returncode == 0, done.stderr[-2000:]
    totals = {row["submission"]: float(row["total"]) for row in rows_of(out / "grades.csv")}
    nobody = "empty hostile thief reader loop hungry caller".split()
    assert totals == {"right": 18, **dict.fromkeys(nobody, 0)}
    assert (
        not (tmp_path / "outside.py").exists() and not (folder.parent / "outside.py").exists()
    )
    said = json.loads((out / "grades.json").read_text())["loop"]["PointsNonMaxSuppression"]
    assert said["checks"][0]["said"][0] == "too_long"
    scope = json.loads((out / "feedback" / "right" / "results.json").read_text())
    jsonschema.validate(scope, GRADESCOPE)
    assert scope["score"] == 18 and len(scope["tests"]) == 9
    assert "18 of 20" in (out / "feedback" / "right" / "index.html").read_text()


def test_the_same_grade_every_time(built, tmp_path):
    "Points and sentences of half-right work, graded twice"
    (tmp_path / "work" / "half").mkdir(parents=True)
    package = shutil.copytree(
        built / "teacher/solution/centernet_nb", tmp_path / "work/half/centernet_nb"
    )
    for component in ("CenterNetHead", "PointsNonMaxSuppression"):
        file = package / f"{module_of(component)}.py"
        _, *pairs = WRONG[component][0]
        file.write_text(changed(file.read_text(), pairs))
    grades = []
    for out in (tmp_path / "first", tmp_path / "second"):
        args = "grade", tmp_path / "work", "--out", out, "--teacher", built / "teacher"
        names = "--only", "CenterNetHead", "PointsNonMaxSuppression", "PointsToObjects"
        done = python(ROOT / "tools", "-m", "course", *args, *names)
        assert done.returncode == 0, done.stderr[-2000:]
        grades.append((out / "grades.json").read_text())
    assert grades[0] == grades[1]
    points = {c: part["points"] for c, part in json.loads(grades[0])["half"].items()}
    assert 0 < points["CenterNetHead"] < 2 and points["PointsToObjects"] == 4, points


# Others' formats, as they are published


VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}


def only(required=(), **properties):
    return dict(
        type="object",
        properties=properties,
        required=list(required),
        additionalProperties=False,
    )


NUMBER, TEXT, WORDS = ({"type": "number"}, {"type": "string"}, {"type": "array"})
# gradescope-autograders.readthedocs.io/en/latest/specs, "Output format"
GRADESCOPE = only(
    ["score"],
    score=NUMBER,
    execution_time=NUMBER,
    output=TEXT,
    output_format=FORMAT,
    test_output_format=FORMAT,
    test_name_format=FORMAT,
    visibility=VISIBILITY,
    stdout_visibility=VISIBILITY,
    extra_data={"type": "object"},
    leaderboard=WORDS,
    tests=dict(
        type="array",
        items=only(
            ["score", "max_score"],
            score=NUMBER,
            max_score=NUMBER,
            status={"enum": ["passed", "failed"]},
            name=TEXT,
            name_format=FORMAT,
            number=TEXT,
            output=TEXT,
            output_format=FORMAT,
            tags={"type": "array", "items": TEXT},
            visibility=VISIBILITY,
            extra_data={"type": "object"},
        ),
    ),
)
# the graders' and the reporter's own README: inputs, True where they are required
GRADER = dict(
    command=True,
    timeout=False,
    **{"test-name": True, "setup-command": False, "max-score": False},
)


def test_classroom_workflow(built):
    "The three conditions of the reporter's README, its variables, and the graders' inputs"
    text = (built / "student/.github/workflows/classroom.yml").read_text(encoding="utf-8")
    flow = yaml.safe_load(text)
    assert flow["name"] == "Autograding Tests" and "push" in flow[True]  # YAML's `on`
    (job,) = flow["jobs"].items()
    assert job[0] == "run-autograding-tests"
    *steps, reporter = job[1]["steps"]
    graders = [s for s in steps if "autograding" in s.get("uses", "")]
    for step in graders:
        assert step["uses"] == "classroom-resources/autograding-command-grader@v1"
        given = step["with"]
        assert {k for k, needed in GRADER.items() if needed} <= set(given) <= set(GRADER)
        name = re.search(r"--strict (\w+)$", given["command"])[1]
        assert name == given["test-name"] and given["max-score"] == tasks()[name]["points"]
        assert 0 < given["timeout"] <= 360
    ids = [s["id"] for s in graders]
    assert len(set(ids)) == len(tasks()) and all(map(str.isalnum, ids))
    assert reporter["uses"] == "classroom-resources/autograding-grading-reporter@v1"
    assert reporter["with"] == {"runners": ",".join(ids)}
    results = {f"{i.upper()}_RESULTS": f"${{{{steps.{i}.outputs.result}}}}" for i in ids}
    assert reporter["env"] == results


# The trainings

SMALL = {
    "TinyCoco": "size = 64, steps = 25, batch_size = 8, lr = 1e-3, warmup = 5, "
    'gaussian = "adaptive", seed = 5',
    "text": 'size = 128, steps = 2, batch_size = 2, lr = 1e-3, gaussian = "ellipse", seed = 5',
}


def small(toml):
    "The table with trainings of seconds; TinyCoco is asked for less, text for the same"
    before, *parts = re.split(r"(?=\[\[training\]\])", toml)
    for (name, recipe), part in zip(SMALL.items(), parts, strict=True):
        assert f'"{name}"' in part
        part = re.sub(r"recipe = {.*}", f"recipe = {{ {recipe} }}", part)
        part = part.replace("anew = 30", "anew = 4").replace("least = 0.5", "least = 0.0")
        before += part
    return before


def relabelled(model, **labels):
    "A model file that says something else of itself"
    with safe_open(model, "pt") as f:
        about = json.loads(f.metadata()["centernet_nb"])
        tensors = {k: f.get_tensor(k) for k in f.keys()}
    about["labels"].update(labels)
    save_file(tensors, model, {"centernet_nb": json.dumps(about)})


def write_losses(path, losses):
    rows = [f"{i},{loss!r}" for i, loss in enumerate(losses, 1)]
    path.write_text("\n".join(["step,loss", *rows]) + "\n")


def forged(folder, losses, score):
    "Trainings with one lie each: name, what is left of two points, the sentence's phrase"
    smooth = [losses[0] * 0.97**i for i in range(len(losses))]
    write_losses(folder("invented") / "tinycoco.csv", smooth)
    yield "invented", 0, "other_start"
    write_losses(folder("raised") / "tinycoco.csv", [1.1 * loss for loss in losses])
    yield "raised", 0, "other_start"
    fifth = len(losses) // 5
    write_losses(folder("rising") / "tinycoco.csv", losses[:-fifth] + losses[:fifth])
    yield "rising", 1.2, "not_falling"
    relabelled(folder("boast") / "tinycoco.safetensors", ap50=score + 0.1)
    yield "boast", 1.4, "other_score"
    (folder("broken") / "tinycoco.safetensors").write_bytes(b"no model")
    yield "broken", 0, "bad_training"
    shutil.rmtree(folder("none"))
    yield "none", 0, "no_training"
    link = folder("outside") / "tinycoco.csv"
    link.unlink()
    link.symlink_to("/etc/hostname")
    yield "outside", 0, "bad_training"


@forks
def test_trainings(built, tmp_path):
    "The reference has all points; lies in history or model cost theirs; words are found"
    student, right = tmp_path / "student", tmp_path / "submissions" / "right"
    shutil.copytree(ROOT / "tools" / "course", tools := tmp_path / "tools" / "course")
    shutil.copytree(built / "teacher" / "solution", right)
    shutil.copytree(built / "student", student)
    table_ = (ROOT / "nbs" / "course.toml").read_text(encoding="utf-8")
    for place in (student / "course", tools):
        (place / "course.toml").write_text(table_ if SOAK else small(table_), "utf-8")
    done = python(student, "-m", "course", "check", "train", "--root", right)
    assert re.search(r"TinyCoco +2 / 2\n", done.stdout), done.stdout + done.stderr
    if not SOAK:  # what finds words is a network that lesson 06 has trained for longer
        save_model(load_model("text"), right / "trained" / "text.safetensors")

    def folder(name):
        (right.parent / name).mkdir()
        (right.parent / name / "centernet_nb").symlink_to(right / "centernet_nb")
        return Path(shutil.copytree(right / "trained", right.parent / name / "trained"))

    trained = right / "trained"
    losses = [float(row["loss"]) for row in rows_of(trained / "tinycoco.csv")]
    wrong = list(forged(folder, losses, claim_of(trained / "tinycoco.safetensors")[0]))
    shutil.copy(trained / "tinycoco.safetensors", folder("wordless") / "text.safetensors")
    given = "--out", tmp_path / "grades", "--teacher", built / "teacher"
    names = [] if SOAK else ["--only", "TinyCoco", "text"]
    done = python(tools.parent, "-m", "course", "grade", right.parent, *given, *names)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {row["submission"]: row for row in rows_of(tmp_path / "grades" / "grades.csv")}
    every = json.loads((tmp_path / "grades" / "grades.json").read_text())
    assert float(rows["right"]["TinyCoco"]) == 2, every["right"]["TinyCoco"]
    assert float(rows["right"]["total"]) == (20 if SOAK else 2)
    assert float(rows["right"]["extra"]) == 3, every["right"]["text"]
    assert float(rows["wordless"]["extra"]) == 0
    for name, points, phrase_ in wrong:
        said = [c["said"] for c in every[name]["TinyCoco"]["checks"] if c["said"]]
        assert float(rows[name]["TinyCoco"]) == points, (name, said)
        assert phrase_ in {key for key, _ in said}, (name, said)
        assert all(phrase(k, language, **f) for k, f in said for language in LANGUAGES)


def test_histories(tmp_path):
    "What a history must be, told from numbers alone"
    falling = [10 / (i + 1) for i in range(100)]
    assert training.judge_fall(falling, 100) is None
    assert training.judge_fall(falling, 120)[0] == "short_history"
    said = training.judge_fall(falling[:80] + [0.15] * 20, 100)
    assert said == ("not_falling", dict(at=5, got="0.15", expected="0.1428"))
    assert training.judge_fall([*falling[:99], math.nan], 100)[0] == "not_falling"
    again = {"losses": torch.tensor(falling[:30])}
    assert training.judge_start(falling, again) is None
    assert training.judge_start([x * 1.01 for x in falling], again) is None
    late = [*falling[:29], 1.06 * falling[29]]
    assert training.judge_start(late, again)[1]["at"] == 30
    assert training.judge_start([math.nan] * 30, again)[0] == "other_start"
    assert training.judge_start(falling, {"error": "died:"}) == ("died", dict(error="died:"))
    for text in ("step,loss\n1,2\n3,1\n", "step,loss\n1,much\n"):
        (tmp_path / "h.csv").write_text(text)
        with pytest.raises(ValueError):
            training.losses_of(tmp_path / "h.csv")
