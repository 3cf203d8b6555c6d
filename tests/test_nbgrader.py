"""nbgrader itself, from the teacher's notebooks to points in a table: `make test-nbgrader`"""

import csv
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
import pytest
from course import notebook
from course.nbgrader import NAME
from nbdev3 import side_environment

ROOT = Path(__file__).resolve().parents[1]
FOLDER = os.environ.get("NBGRADER")
pytestmark = pytest.mark.skipif(not FOLDER, reason="its own environment: make test-nbgrader")


def run(*command, cwd, path=""):
    env = {**os.environ, "PYTHONPATH": "", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    env["JUPYTER_PATH"] = str(
        Path(sysconfig.get_path("data"), "share", "jupyter")
    )  # templates
    env["PATH"] = os.pathsep.join(filter(None, (str(path), env["PATH"])))
    command = [str(c) for c in command]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("course")
    run(sys.executable, "-m", "course.build", "--out", out, "--seed", "11", cwd=ROOT / "tools")
    return out


@pytest.fixture(scope="module")
def nbgrader(built):
    "A command of nbgrader, run in the teacher's folder"
    python = side_environment(Path(FOLDER).absolute(), "nbgrader>=0.9,<1")
    folder = built / "teacher" / "nbgrader"
    call = lambda *args: run(python, "-m", "nbgrader", *args, cwd=folder, path=python.parent)
    call("generate_assignment", NAME)
    return call


def cells(path):
    "Source of each cell by its id, all stubs alike"
    alike = lambda text: re.sub(r'(NotImplementedError)\(".*"\)', r"\1", text)
    return {c["id"]: alike(notebook.source(c)) for c in notebook.read(path)["cells"]}


def test_students_cells(built, nbgrader):
    "What nbgrader hands out is the student's lesson, but for the last cell and the points'"
    release = built / "teacher" / "nbgrader" / "release" / NAME
    lessons = sorted(release.glob("*.ipynb"))
    assert len(lessons) == 5
    for path in lessons:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"hidden[.]pt|(BEGIN|END) (SOLUTION|HIDDEN)", text), path.name
        theirs, ours = cells(built / "student" / "nbs" / path.name), cells(path)
        added = {k for k in ours if k.startswith("points-")}
        assert added and set(theirs) - set(ours) == set(list(theirs)[-1:]), path.name
        ours = {k: v for k, v in ours.items() if k not in added}
        assert ours == {k: theirs[k] for k in ours}, path.name


def hand_in(folder, who, *notebooks):
    "A submission of these notebooks; all other files nbgrader brings itself"
    out = folder / "submitted" / who / NAME
    out.mkdir(parents=True)
    for path in notebooks:
        shutil.copy(path, out)
    return out


def exchange(path, old, new):
    nb = notebook.read(path)
    found = [cell for cell in nb["cells"] if old in notebook.source(cell)]
    assert found, f"not in the lesson any more: {old}"
    for cell in found:
        notebook.set_source(cell, notebook.source(cell).replace(old, new))
    notebook.write(nb, path)


def test_points(built, nbgrader):
    "All points for the reference, a part for a part, none for nothing; a page for each"
    folder = built / "teacher" / "nbgrader"
    source, release = (folder / place / NAME for place in ("source", "release"))
    hand_in(folder, "right", *source.glob("*.ipynb"))
    part = hand_in(folder, "part", source / "01_head.ipynb", release / "03_convert.ipynb")
    exchange(part / "01_head.ipynb", "bias, -math.log((1 - prior)/prior))", "bias, 0)")
    nbgrader("autograde", NAME)
    nbgrader("generate_feedback", NAME)
    nbgrader("export")
    with open(folder / "grades.csv", newline="", encoding="utf-8") as f:
        rows = {row["student_id"]: row for row in csv.DictReader(f)}
    assert {float(row["max_score"]) for row in rows.values()} == {18}
    points = {who: float(row["score"]) for who, row in rows.items()}
    assert points == {"right": 18, "part": 1.6}
    said = {"01_head": "probability at the start", "03_convert": "not written yet"}
    for lesson, sentence in said.items():
        page = folder / "feedback" / "part" / NAME / f"{lesson}.html"
        assert sentence in page.read_text(encoding="utf-8"), lesson
