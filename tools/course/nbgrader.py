"""The lessons as nbgrader wants them: marked solutions, a locked cell of points a component"""

import shutil
from . import notebook
from .table import tasks

NAME = "centernet"  # of the assignment
CONFIG = """c = get_config()
c.CourseDirectory.course_id = "centernet"
c.ClearSolutions.code_stub = {"python": \'raise NotImplementedError("not written yet")\'}
c.ExecutePreprocessor.timeout = 600  # seconds a cell
"""
GRADED = """from course.points import points

points({component})
### BEGIN HIDDEN TESTS
points({component}, "../../../hidden.pt")
### END HIDDEN TESTS"""


def marked(cell, name, **what):
    "`cell` with nbgrader's metadata"
    said = dict(grade=False, solution=False, locked=False, task=False, schema_version=3)
    cell["metadata"]["nbgrader"] = {**said, "grade_id": name, **what}
    return cell


def graded(component, points):
    "The cell that gives a component's points"
    cell = dict(cell_type="code", execution_count=None, metadata={}, outputs=[])
    cell["id"] = f"points-{component}"
    notebook.set_source(cell, GRADED.format(component=component))
    return marked(cell, component, grade=True, locked=True, points=points)


def lesson(nb, stem):
    "A lesson with its solutions marked and its points at the end; None where there are none"
    own = {c: t for c, t in tasks().items() if t["lesson"] == stem}
    cut = {name for t in own.values() for name in t["cut"]}
    uses = {c: t["uses"] for c, t in own.items()}
    note = lambda cell: marked(cell, cell["id"], solution=True)
    notebook.without_solutions(nb, cut, uses, notebook.region, note)
    nb["cells"] = [c for c in nb["cells"] if "course.export" not in notebook.source(c)]
    nb["cells"] += [graded(c, t["points"]) for c, t in own.items()]
    return nb if own else None


def write(out, notebooks, student, hidden):
    "nbgrader's folder of the course: its configuration, the assignment's source, the checks"
    source = out / "source" / NAME
    for name, nb in notebooks.items():
        if made := lesson(nb, name.removesuffix(".ipynb")):
            notebook.write(made, source / name)
    leave = shutil.ignore_patterns("given", "__pycache__")
    for package in ("centernet_nb", "course"):
        shutil.copytree(student / package, source / package, ignore=leave)
    shutil.copy(hidden, out)
    (out / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
