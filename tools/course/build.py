"""`make course`: the student's and the teacher's repository, cut from the lessons as they are

    cd tools && python -m course.build [--out ../_course] [--seed 7]

`--seed` draws the hidden checks: choose your own and keep it to yourself."""

import argparse
import ast
import configparser
import shutil
from pathlib import Path
import torch
from . import nbgrader, notebook
from .answers import answered
from .cases import MAKERS
from .classroom import workflow
from .readme import readme, rubric
from .table import LANGUAGES, table, tasks

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PACKAGE = ROOT / "centernet_nb"
# these hold what is to be written, or lean on it
STAY = {"fastmaps", "fastloss", "deploy", "commands", "_modidx"}
TRAVELS = (
    "__init__",
    "__main__",
    "table",
    "runner",
    "diagnose",
    "check",
    "notebook",
    "export",
    "training",
    "points",
)
FASTMAPS = '''"""What the lessons borrow: parity of a kernel, both steps of decoding in one"""


{odd}

def decode_peaks(
    points, # float [B, C+4, H, W]
    window=3, # side of the peak test
    objects_per_image=42, # rows
    min_confidence=0.1, # rows under it are zero
): # objects [B, objects_per_image, 6], by your own two components
    "`PointsNonMaxSuppression`, then `PointsToObjects`"
    from centernet_nb.convert import PointsToObjects
    from centernet_nb.network import PointsNonMaxSuppression
    best = PointsToObjects(objects_per_image, min_confidence)
    return best(PointsNonMaxSuppression(window)(points))

def is_peak(
    heat, # float [H, W]
    kernel_size=3, # side of the window
): # bool [H, W], by your own component; nowhere until that is written
    "What `PointsNonMaxSuppression` keeps, for the rings in figures"
    from centernet_nb.network import PointsNonMaxSuppression
    points = heat.new_zeros(1, 5, *heat.shape)
    points[0, 0] = heat
    try: return PointsNonMaxSuppression(kernel_size)(points)[0, 0] > 0
    except NotImplementedError: return heat > float("inf")
'''
MAKEFILE = """PYTHON ?= python3
BIN := .venv/bin
TASK ?=
LANG := $(if $(filter ru%,$(LANG)),ru,en)

setup:  ## an environment with all that is needed
\t$(PYTHON) -m venv .venv
\t$(BIN)/python -m pip install --quiet --editable .

check:  ## what is right so far
\t@$(BIN)/python -m course check --language $(LANG) $(TASK)

check-train:  ## both trainings, minutes each: run, kept in trained/, judged
\t@$(BIN)/python -m course check --language $(LANG) train

train: check-train

lab:  ## the lessons
\t$(BIN)/jupyter lab nbs

.PHONY: setup check check-train train lab
"""
PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "centernet-course"
version = "1"
requires-python = ">=3.11"
dependencies = [{needs}]

[tool.setuptools]
packages = ["centernet_nb", "course"]
"""


def lessons():
    return sorted(p for p in (ROOT / "nbs").glob("0*.ipynb"))


def edition(path):
    "A lesson as the course has it, bodies in"
    edits = table()["lesson"].get(path.stem, {})
    travels = {p.name for p in lessons()}
    nb = notebook.edited(notebook.read(path), edits, travels)
    for cell in nb["cells"]:
        text = notebook.source(cell).replace(
            'load_model("text")', 'load_model("runs/text.pth")'
        )
        old, new = (
            "#| eval: false\n!nbdev_export",
            "from course.export import export\n\nexport()",
        )
        notebook.set_source(cell, text.replace(old, new))
    return nb


def stubs(path):
    "The same, with what is to be written cut out"
    nb, own = edition(path), [t for t in tasks().values() if t["lesson"] == path.stem]
    cut = {name for t in own for name in t["cut"]}
    return notebook.without_solutions(nb, cut, {t["component"]: t["uses"] for t in own})


def odd_source():
    text = (PACKAGE / "fastmaps.py").read_text(encoding="utf-8")
    node = next(n for n in ast.parse(text).body if getattr(n, "name", "") == "odd")
    return ast.get_source_segment(text, node) + "\n"


def write_package(out, notebooks):
    "The package: what the toolbox gives as it is, and what the lessons export"
    out.mkdir(parents=True)
    made = dict(filter(None, map(notebook.exported, notebooks)))
    for file in sorted(PACKAGE.glob("*.py")):
        if file.stem not in STAY and file.stem not in made:
            shutil.copy(file, out)
    for name, text in made.items():
        (out / f"{name}.py").write_text(text, encoding="utf-8")
    (out / "models").mkdir()  # where the package looks for models of its own
    (out / "models" / "README").write_text("The course brings none.\n", encoding="utf-8")
    shim = FASTMAPS.format(odd=odd_source())
    (out / "fastmaps.py").write_text(shim, encoding="utf-8")


def write_checks(out, hidden, seed):
    kwargs = dict(seed=seed, hidden=True) if hidden else {}
    judged = {c: answered(c, **kwargs) for c in tasks() if c in MAKERS}
    torch.save(judged, out)


def needs():
    settings = configparser.ConfigParser(delimiters="=")
    settings.read(ROOT / "settings.ini")
    names = settings["DEFAULT"]["requirements"].split() + ["jupyter", "scipy", "pytest"]
    return ", ".join(f'"{n}"' for n in names)


def student(out):
    notebooks = {p.name: stubs(p) for p in lessons()}
    for name, nb in notebooks.items():
        notebook.write(nb, out / "nbs" / name)
    write_package(out / "centernet_nb", notebooks.values())
    course = out / "course"
    course.mkdir()
    for name in TRAVELS:
        shutil.copy(HERE / f"{name}.py", course)
    text = (ROOT / "nbs" / "course.toml").read_text(encoding="utf-8")
    before, changes = text.split("# What is changed in a lesson")
    own = before + changes[changes.index("[checks]") :]  # the changes name what was cut
    (course / "course.toml").write_text(own, encoding="utf-8")
    shutil.copytree(out / "centernet_nb", course / "given" / "centernet_nb")
    write_checks(course / "cases.pt", False, None)
    for language in LANGUAGES:
        name = "README.md" if language == "en" else f"README.{language}.md"
        (out / name).write_text(readme(language), encoding="utf-8")
    (out / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (out / "pyproject.toml").write_text(PROJECT.format(needs=needs()), encoding="utf-8")
    flow = out / ".github" / "workflows" / "classroom.yml"
    flow.parent.mkdir(parents=True)
    flow.write_text(workflow(), encoding="utf-8")
    ignored = ".venv/\n__pycache__/\nruns/\n*.egg-info/\n"
    (out / ".gitignore").write_text(ignored, encoding="utf-8")
    shutil.copy(ROOT / "LICENSE", out)


def teacher(out, seed, student):
    notebooks = {p.name: edition(p) for p in lessons()}
    for name, nb in notebooks.items():
        notebook.write(nb, out / "solution" / "nbs" / name)
    write_package(out / "solution" / "centernet_nb", notebooks.values())
    write_checks(out / "hidden.pt", True, seed)
    (out / "seed.txt").write_text(f"{seed}\n", encoding="utf-8")  # of the pictures of text
    lessons_ = {p.name: edition(p) for p in lessons()}
    nbgrader.write(out / "nbgrader", lessons_, student, out / "hidden.pt")
    for language in LANGUAGES:
        name = "rubric.md" if language == "en" else f"rubric.{language}.md"
        (out / name).write_text(rubric(language), encoding="utf-8")


def build(out, seed):
    out = Path(out)
    for part in ("student", "teacher"):
        shutil.rmtree(out / part, ignore_errors=True)
        (out / part).mkdir(parents=True)
    student(out / "student")
    teacher(out / "teacher", seed, out / "student")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=str(ROOT / "_course"))
    parser.add_argument("--seed", default="7", help="of the hidden checks")
    args = parser.parse_args()
    build(args.out, args.seed)
    print(f"{args.out}: student and teacher")


if __name__ == "__main__":
    main()
