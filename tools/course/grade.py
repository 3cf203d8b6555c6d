"""`python -m course grade SUBMISSIONS`: one CSV, one JSON, and a page for each submission"""

import csv
import json
import tempfile
from pathlib import Path
import torch
from .check import points_of, stage, submitted
from .diagnose import judge
from .feedback import gradescope, page
from .sandbox import Zygote, run_apart
from .table import module_of, tasks

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MEGABYTES, SECONDS = 3000, 6  # of memory above torch's own, of processor time for one case


def opened(path, folder):
    "A submission's folder; a zip is unpacked with the checks made for downloads"
    if path.suffix != ".zip":
        return path
    from centernet_nb.fetch import extract

    extract(path, folder, size_limit=1 << 28, files_limit=2000)
    return folder


def root_of(folder):
    "Where in a submission the lessons are: it may be one folder deeper"
    places = (folder, *sorted(p for p in folder.iterdir() if p.is_dir()))
    return next(
        (p for p in places if (p / "nbs").is_dir() or (p / "centernet_nb").is_dir()), None
    )


def found_in(submissions):
    for path in sorted(Path(submissions).iterdir()):
        if path.suffix == ".zip" or (path.is_dir() and not path.name.startswith(".")):
            yield path


def run_component(zygote, given, component, source, cases):
    "(shields, answers) of one component of one submission"
    with tempfile.TemporaryDirectory(prefix="stage-") as outer:
        folder = f"{outer}/stage"
        Path(outer).chmod(0o755)
        stage(given, component, source, folder)
        job = dict(stage=folder, component=component, cases=cases)
        job["module"] = module_of(component)
        return run_apart(zygote, {**job, "megabytes": MEGABYTES, "seconds": SECONDS})


def grade_one(zygote, teacher, judged, root):
    "Points and sentences of one submission, component by component"
    out = {}
    for component, data in judged.items():
        try:
            source = submitted(root, component) if root else ""
        except (ValueError, KeyError, OSError) as e:  # a notebook that is none
            source = f"raise ValueError({str(e)[:200]!r})"
        given = teacher / "solution" / "centernet_nb"
        said, answers = run_component(zygote, given, component, source, data["cases"])
        points, rows = points_of(component, judge(data, answers))
        rows = [dict(check=c, share=s, said=f, counts=n) for c, s, f, n in rows]
        out[component] = dict(points=points, of=tasks()[component]["points"], checks=rows)
        out[component]["shields"] = said
    return out


def write(out, results, language):
    out.mkdir(parents=True, exist_ok=True)
    names = list(tasks())
    with open(out / "grades.csv", "w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["submission", *names, "total"])
        for name, parts in results.items():
            points = [parts[c]["points"] if c in parts else 0 for c in names]
            rows.writerow([name, *points, round(sum(points), 3)])
    text = json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True, default=str)
    (out / "grades.json").write_text(text + "\n", encoding="utf-8")
    for name, parts in results.items():
        folder = out / "feedback" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(page(name, parts, language), encoding="utf-8")
        scope = json.dumps(gradescope(parts, language), indent=1, ensure_ascii=False)
        (folder / "results.json").write_text(scope + "\n", encoding="utf-8")


def grade(submissions, out=Path("grades"), teacher=None, language="en", components=None):
    "Grade every folder and zip in `submissions`; the results by name"
    torch.set_num_threads(1)
    zygote, teacher = Zygote(), Path(teacher or ROOT / "_course" / "teacher")
    judged = torch.load(teacher / "hidden.pt", weights_only=True)
    judged = {c: j for c, j in judged.items() if c in (components or judged)}
    results = {}
    for path in found_in(submissions):
        with tempfile.TemporaryDirectory(prefix="submission-") as folder:
            try:
                root = root_of(opened(path, Path(folder)))
            except ValueError as e:  # a zip that is refused
                print(f"{path.name}: {e}")
                root = None
            results[path.stem] = grade_one(zygote, teacher, judged, root)
        total = sum(p["points"] for p in results[path.stem].values())
        print(f"{path.stem:40}{total:6g}", flush=True)
    zygote.close()
    write(Path(out), results, language)
    return results
