"""The two trainings: what `check train` runs and writes, and how it is judged

Into `trained/` go a history (CSV, a row a step) and a model, for each. The grader trains the
student's components anew, from its own seed, for as many steps as the table says, and must
find the history's start. Everything of `centernet_nb` is imported late: in the grader that is
the student's package."""

import contextlib
import csv
import json
from functools import cache
from pathlib import Path
import torch
from .runner import op
from .table import trainings

FOLDER = "trained"
MOST = 1 << 28  # bytes of a model
AT_ONCE = 10**8  # bytes of pictures that go to one process
SAME = 0.05  # of a loss: other processors round otherwise, and training makes it grow
NEAR = 0.02  # of AP50


class Items(torch.utils.data.Dataset):
    "Pictures with their truth, as `train` and `predict` take them"

    def __init__(self, items, names=()):
        self.items, self.names = items, list(names)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Enough(Exception):
    "As many steps as were asked for are done"


def trained(data, recipe, until=None, **kwargs):
    "(network, losses) of a training by `recipe`; with `until` of its first steps only"
    from centernet_nb.loss import CenterNetLoss
    from centernet_nb.network import CenterNet
    from centernet_nb.train import train

    losses, how = [], {k: v for k, v in recipe.items() if k not in ("size", "gaussian")}

    def note(row, run):
        losses.append(row["loss"])
        if row["step"] == until:
            raise Enough

    torch.manual_seed(recipe["seed"])
    net = CenterNet(
        False,
        head_kwargs=dict(c_classes=len(data.names)),
        backbone_kwargs=dict(depth=18, stages=3, skips=True),
    )
    loss = CenterNetLoss(from_logits=True, gaussian=recipe["gaussian"])
    given = dict(net=net, criterion=loss, amp="no", callback=note, progress=False)
    with contextlib.suppress(Enough):
        net = train(data, **{**given, **how, **kwargs})
    return net, losses


@op
def begins(make, case):
    "The losses of the first steps of a training"
    data = Items(case["items"], case["names"])
    losses = trained(data, case["recipe"], case["until"], device="cpu")[1]
    return {"losses": torch.tensor(losses, dtype=torch.float64)}


@op
def finds(make, case):
    "What the model in a file finds in each picture"
    from centernet_nb.evaluate import predict
    from centernet_nb.network import load_model

    items = Items([(x, torch.zeros(0, 6)) for x in case["pictures"]])
    found = predict(load_model(case["model"]), items, device="cpu")
    return {str(i): rows for i, rows in enumerate(found)}


# What is trained on, and what is looked at


def tiny_pictures(size, kind=None):
    "(kind, pictures to learn, the same to be scored on): TinyCoco's, or generated scenes"
    from centernet_nb.shapes import SceneDataset
    from centernet_nb.tinycoco import SharpCentres, tiny_photos

    photos = tiny_photos("person", size) if kind != "scenes" else None
    if photos is not None:
        return "photos", SharpCentres(photos), photos
    scenes = SceneDataset(16, 1, size, cache=True)
    return "scenes", scenes, scenes


def words(size, n, seed):
    "Generated pictures of text, the same on each machine"
    from centernet_nb.words import WordDataset

    data = WordDataset(n, seed, size, system_fonts=False)
    data.picture = cache(data.picture)  # looked at for each submission
    return data


def ap50(found, data):
    from centernet_nb.evaluate import evaluate

    return round(float(evaluate(None, data, predictions=found).ap50), 4)


# What a submission holds


def inside(root, name):
    "A file of `trained/` in a submission, nothing that a link leads to elsewhere"
    path = Path(root or "/dev/null", FOLDER, name)
    if not path.is_file():
        raise FileNotFoundError(name)
    if Path(root).resolve() not in path.resolve().parents or path.stat().st_size > MOST:
        raise ValueError(f"{name} is a link, or too large")
    return path


def losses_of(path):
    "The losses of a history, whose steps must be 1, 2, …"
    with open(path, newline="", encoding="utf-8") as f:
        rows = [(int(r["step"]), float(r["loss"])) for r in csv.DictReader(f)]
    if [step for step, _ in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("its steps are not 1, 2, 3, …")
    return [loss for _, loss in rows]


def claim_of(path):
    "(AP50, pictures) that a model file says of itself"
    from safetensors import safe_open

    with safe_open(path, "pt") as f:
        labels = json.loads(f.metadata()["centernet_nb"])["labels"]
    return float(labels["ap50"]), str(labels["data"])


# How it is judged: for each check None, or (phrase, facts)


def stopped(error):
    kind = error.split(":")[0]
    known = {"NotImplementedError": "not_written", "too_long": "too_long", "died": "died"}
    return known.get(kind, "raises"), dict(error=error)


def judge_start(losses, again):
    "Is the history's start what training anew gives?"
    if "error" in again:
        return stopped(again["error"])
    got = again["losses"].tolist() if torch.is_tensor(again.get("losses")) else []
    for step, (said, found) in enumerate(zip(losses, got), 1):
        if not abs(said - found) <= SAME * abs(found):
            return "other_start", dict(at=step, got=f"{said:.4g}", expected=f"{found:.4g}")
    return None if got else ("no_answer", {})


def judge_fall(losses, least):
    "Is the mean of each fifth under the one before?"
    if len(losses) < least:
        return "short_history", dict(got=len(losses), expected=least)
    ends = [i * len(losses) // 5 for i in range(6)]
    means = [sum(losses[a:b]) / (b - a) for a, b in zip(ends, ends[1:])]
    for i, (before, now) in enumerate(zip(means, means[1:]), 2):
        if not now < before:
            return "not_falling", dict(at=i, got=f"{now:.4g}", expected=f"{before:.4g}")


def judge_score(score, claim, least):
    if not abs(score - claim) <= NEAR:
        return "other_score", dict(got=f"{score:.3f}", expected=f"{claim:.3f}")
    if score < least:
        return "low_score", dict(got=f"{score:.3f}", expected=f"{least:.2f}")


def scored(run, data, model):
    "AP50 of a submission's model on `data`; or the (phrase, facts) of what stops it"
    found, many = [], max(1, AT_ONCE // data[0][0].nbytes)
    for start in range(0, len(data), many):
        some = [data[i][0] for i in range(start, min(start + many, len(data)))]
        case = dict(op="finds", id=f"{type(data).__name__} {start}", pictures=some)
        (answer,) = run([case], model)
        if "error" in answer:
            return stopped(answer["error"])
        rows = [answer.get(str(i)) for i in range(len(some))]
        if not all(torch.is_tensor(r) and r.ndim == 2 and r.shape[1] == 6 for r in rows):
            return "no_answer", {}
        found += [r.float() for r in rows]
    return ap50(found, data)


def judge_tinycoco(root, run, again=None):
    "The training on TinyCoco; `run(cases, model)` gives a submission's answers"
    task = trainings()["TinyCoco"]
    losses = losses_of(inside(root, "tinycoco.csv"))
    model = inside(root, "tinycoco.safetensors")
    (claim, kind), recipe = claim_of(model), {**task["recipe"], "steps": len(losses)}
    _, learnt, shown = tiny_pictures(recipe["size"], kind)
    if again is None:
        case = dict(op="begins", id=f"{kind} {len(losses)}", recipe=recipe)
        case.update(names=learnt.names, until=task["anew"])
        (again,) = run([{**case, "items": [learnt[i] for i in range(len(learnt))]}])
    score = scored(run, shown, model)
    said = judge_score(score, claim, task["least"]) if type(score) is float else score
    fall = judge_fall(losses, task["recipe"]["steps"])
    return dict(start=judge_start(losses, again), loss=fall, score=said)


def judge_text(root, run, data, real=False):
    "The text detector, by AP50 on `data`"
    task = trainings()["text"]
    score = scored(run, data, inside(root, "text.safetensors"))
    if type(score) is not float:
        return dict.fromkeys(task["checks"], score)
    levels = zip(task["checks"], task["real" if real else "generated"])
    low = lambda least: ("low_score", dict(got=f"{score:.3f}", expected=f"{least:.2f}"))
    return {check: None if score >= least else low(least) for check, least in levels}


def judge_training(name, root, run, *args, **kwargs):
    "The same of either; what is missing or broken is a phrase as well"
    judge = dict(TinyCoco=judge_tinycoco, text=judge_text)[name]
    try:
        return judge(root, run, *args, **kwargs)
    except FileNotFoundError:
        said = "no_training", {}
    except Exception as e:  # a file of a student's may be anything
        said = "bad_training", dict(error=f"{type(e).__name__}: {e}"[:200])
    return dict.fromkeys(trainings()[name]["checks"], said)


# The student's side


def write_training(name, folder):
    "Train by the table's recipe and keep history and model; what `judge_training` needs"
    from centernet_nb.evaluate import evaluate
    from centernet_nb.modelfile import save_model

    recipe, stem = trainings()[name]["recipe"], name.lower()
    if name == "TinyCoco":
        kind, data, shown = tiny_pictures(recipe["size"])
        device = "cpu"  # as the grader's
    else:
        kind, device = "words", None
        data, shown = (words(recipe["size"], n, seed) for n, seed in ((20000, 1), (40, 2)))
    folder.mkdir(exist_ok=True)
    files = folder / f"{stem}.csv", folder / f"{stem}.safetensors"
    net, losses = trained(data, recipe, history=files[0], device=device)
    score = round(float(evaluate(net, shown).ap50), 4)
    save_model(net.cpu(), files[1], names=list(data.names), data=kind, ap50=score)
    again = {"losses": torch.tensor(losses, dtype=torch.float64)}
    return dict(again=again) if name == "TinyCoco" else dict(data=shown)
