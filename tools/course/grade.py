"""`python -m course grade SUBMISSIONS`: one CSV, one JSON, and a page for each submission"""

import csv
import hashlib
import json
import shutil
import tempfile
import zlib
from functools import partial
from pathlib import Path
import torch
from .check import points_of, stage, submitted
from .diagnose import judge
from .feedback import gradescope, page, points_in
from .sandbox import Zygote, run_apart
from .table import module_of, task_of, tasks, trainings
from .training import judge_training, words

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MEGABYTES, SECONDS = 3000, 6  # of memory above torch's own, of processor time for one case
TRAINING = 600  # seconds of the steps that are trained anew, or of some pictures
PICTURES = 60  # of text that no student has


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


def run_staged(zygote, given, sources, job, model=None):
    "(shields, answers) of modules of one submission in a process of their own"
    with tempfile.TemporaryDirectory(prefix="stage-") as outer:
        folder = f"{outer}/stage"
        Path(outer).chmod(0o755)
        stage(given, sources, folder)
        if model:
            shutil.copyfile(model, f"{folder}/model.safetensors")
        job = {**job, "stage": folder, "megabytes": MEGABYTES}
        return run_apart(zygote, job, wall=20 * job["seconds"])


def run_component(zygote, given, component, source, cases):
    module = module_of(component)
    job = dict(component=component, module=module, cases=cases, seconds=SECONDS)
    return run_staged(zygote, given, {module: source}, job)


def safely(read, *args):
    "A module's source; of a notebook that is none, a module that says so"
    try:
        return read(*args)
    except (ValueError, KeyError, OSError) as e:
        return f"raise ValueError({str(e)[:200]!r})"


def result_of(name, found, shields=""):
    points, rows = points_of(name, found)
    rows = [dict(check=c, share=s, said=f, counts=n) for c, s, f, n in rows]
    return dict(points=points, of=task_of(name)["points"], checks=rows, shields=shields)


def grade_components(zygote, teacher, judged, root):
    "Points and sentences of one submission, component by component"
    given, out = teacher / "solution" / "centernet_nb", {}
    for component, data in judged.items():
        source = safely(submitted, root, component) if root else ""
        said, answers = run_component(zygote, given, component, source, data["cases"])
        out[component] = result_of(component, judge(data, answers), said)
    return out


class Trainings:
    "The trainings of each submission; who has the same components is trained anew only once"

    def __init__(self, zygote, teacher, names, photos=None):
        self.zygote, self.given = zygote, teacher / "solution" / "centernet_nb"
        self.names, self.real, self.known = names, photos is not None, {}
        self.text = real_text(photos) if photos else None
        if "text" in names and not photos:
            seed = zlib.crc32((teacher / "seed.txt").read_bytes())
            self.text = words(trainings()["text"]["recipe"]["size"], PICTURES, seed)

    def run(self, sources, cases, model=None):
        "Answers of a submission's network; what is known already is not run again"
        weights = hashlib.sha256(model.read_bytes()).digest() if model else None
        key = repr((sources, weights, [(c["op"], c["id"]) for c in cases]))
        if key not in self.known:
            job = dict(component="CenterNet", module="network", seconds=TRAINING)
            job["cases"] = [{**c, "model": "model.safetensors"} for c in cases]
            self.known[key] = run_staged(self.zygote, self.given, sources, job, model)[1]
        return self.known[key]

    def grade(self, root):
        "(name, its points and sentences) of each training of one submission"
        sources = {module_of(c): safely(submitted, root, c) for c in tasks()} if root else {}
        run = partial(self.run, sources)
        for name in self.names:
            more = dict(data=self.text, real=self.real) if name == "text" else {}
            yield name, result_of(name, judge_training(name, root, run, **more))


def real_text(folder):
    "Photos of text in COCO-Text's layout: `cocotext_layout.json` beside `images/`"
    from centernet_nb.textdata import CocoText

    layout = Path(folder) / "cocotext_layout.json"
    return CocoText(layout, Path(folder) / "images", split=None, zoom=2.0)


def write(out, results, language):
    out.mkdir(parents=True, exist_ok=True)
    names = [*tasks(), *trainings()]
    with open(out / "grades.csv", "w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["submission", *names, "total", "extra"])
        for name, parts in results.items():
            points = [parts[c]["points"] if c in parts else 0 for c in names]
            rows.writerow([name, *points, *points_in(parts)[::2]])
    text = json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True, default=str)
    (out / "grades.json").write_text(text + "\n", encoding="utf-8")
    for name, parts in results.items():
        folder = out / "feedback" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(page(name, parts, language), encoding="utf-8")
        scope = json.dumps(gradescope(parts, language), indent=1, ensure_ascii=False)
        (folder / "results.json").write_text(scope + "\n", encoding="utf-8")


def grade(submissions, out, teacher=None, language="en", only=None, photos=None):
    "Grade every folder and zip in `submissions`; the results by name"
    torch.set_num_threads(1)
    zygote, teacher = Zygote(), Path(teacher or ROOT / "_course" / "teacher")
    only, results = only or [*tasks(), *trainings()], {}
    judged = torch.load(teacher / "hidden.pt", weights_only=True)
    judged = {c: j for c, j in judged.items() if c in only}
    trained = Trainings(zygote, teacher, [n for n in trainings() if n in only], photos)
    for path in found_in(submissions):
        with tempfile.TemporaryDirectory(prefix="submission-") as folder:
            try:
                root = root_of(opened(path, Path(folder)))
            except ValueError as e:  # a zip that is refused
                print(f"{path.name}: {e}")
                root = None
            parts = grade_components(zygote, teacher, judged, root)
            results[path.stem] = parts | dict(trained.grade(root))
        points, _, extra, _ = points_in(results[path.stem])
        print(f"{path.stem:40}{points:6g}{extra:6g}", flush=True)
    zygote.close()
    write(Path(out), results, language)
    return results
