"""Got and expected numbers compared, and put into one sentence

No formula of any component stands here: a mistake is known by the numbers it gives on these
very inputs, which come as data, and by a few looks at shapes and peaks."""

import math
import torch

TOLERANCE = 2e-4  # of the greatest expected number


def close(got, want):
    "Are two parts the same, up to rounding? Texts and shapes must be equal"
    if not torch.is_tensor(got) or not torch.is_tensor(want):
        return not torch.is_tensor(got) and not torch.is_tensor(want) and got == want
    if got.shape != want.shape:
        return False
    got, want = got.double(), want.double()
    if not want.numel():
        return True
    scale = want[want.isfinite()].abs().max() if want.isfinite().any() else 1.0
    return torch.allclose(got, want, 1e-6, float(scale) * TOLERANCE, equal_nan=True)


def right(case, part, got, expected):
    "Is a part as it must be? Peaks of a target are exactly 1, not nearly"
    want = expected[part]
    if case["op"] == "encode" and part == "heat" and torch.is_tensor(got):
        if got.shape == want.shape and not torch.equal(got == 1, want == 1):
            return False
    if case["op"] == "encode" and part in expected.get("either", ()):
        return close(got, want) or close(got, expected["either"][part])
    return close(got, want)


def place(i, shape):
    at = []
    for side in reversed(shape):
        i, r = divmod(i, side)
        at.append(r)
    return tuple(reversed(at))


def number(v):
    return f"{v:.4g}"


def peak(case, part, t):
    "Where the first row, or the highest cell of a map, is"
    if part == "rows":
        return tuple(round(v, 2) for v in t[0, 0, :2].tolist())
    return place(t.argmax().item(), t.shape[-2:]) if t.numel() else ()


def facts(case, part, got, want):
    "Everything a sentence may name"
    said = dict(shape=list(got.shape), true_shape=list(want.shape), bad="", error="")
    if part == "shape":
        said.update(shape=got.tolist(), true_shape=want.tolist())
    said.update(dict.fromkeys(("at", "got", "expected", "top", "peak", "true_peak"), "?"))
    if got.shape != want.shape or not want.numel():
        return said
    off = (got.double() - want.double()).abs().nan_to_num(math.inf, math.inf)
    i = off.argmax().item()
    said.update(at=place(i, want.shape), got=number(got.flatten()[i].item()))
    said.update(expected=number(want.flatten()[i].item()), top=number(got.max().item()))
    maps = zip(got.flatten(0, -3), want.flatten(0, -3)) if want.ndim > 3 else [(got, want)]
    maps = [(g, w) for g, w in maps if not close(g, w)] or [(got, want)]
    said.update(peak=peak(case, part, maps[0][0]), true_peak=peak(case, part, maps[0][1]))
    return said


def looks(case, part, got, want, said):
    "A mistake that is seen without the list: (phrase, facts)"
    if part == "input":
        return "input"
    if part == "refused":
        bad = [b for b, g in zip(case["bad"], got.tolist()) if g != 1]
        words = ", ".join(f"{k}={v}" for k, v in bad[0].items())
        said["bad"] = words
        return "accepted" if 0 in got else "other_error"
    if part == "keys":
        have = set(got.tolist())
        said.update(missing=sum(k not in have for k in want.tolist()), count=len(want))
        return "other_keys"
    if part == "shape" or got.shape != want.shape:
        tall, true = got.tolist() if part == "shape" else list(got.shape), said["true_shape"]
        odd = case["op"] == "upscale" and tall[-2:] == [n - 1 for n in true[-2:]]
        return "up_short" if odd else "other_shape"
    if not got.isfinite().all():
        return "nan"
    swapped = case["op"] in ("encode", "decode") and said["peak"] == said["true_peak"][::-1]
    if part in ("heat", "rows") and swapped and said["peak"] != said["true_peak"]:
        return "enc_yx" if case["op"] == "encode" else "dec_yx"
    if case["op"] == "encode" and part == "heat" and got.max() > 1.001:
        return "enc_sum"
    return "number"


def failing(judged, answers):
    "(case, part) of everything that is not as it must be"
    for i, (case, want, got) in enumerate(zip(judged["cases"], judged["expected"], answers)):
        for part in case["checks"] if got or "of" not in case else ():
            if part not in got or not right(case, part, got[part], want):
                yield i, part


def explained(judged, answers, bad):
    "For each wrong part the typical mistake that explains most of all and contradicts least"
    best = {}
    for key, given in judged["wrong"]:
        hits = {(i, p) for i, p in bad if matches(answers[i], given[i], p)}
        seen = {(i, p) for i, parts in enumerate(given) for p in parts if p != "error"}
        seen = {(i, p) for i, p in seen if p in judged["cases"][i]["checks"]}
        score = len(hits) - len(seen - hits)
        for at in hits:
            if at not in best or score > best[at][0]:
                best[at] = score, key
    return {at: key for at, (_, key) in best.items()}


def matches(got, given, part):
    if "error" in got or "error" in given:
        return got.get("error") == given.get("error")
    return part in given and part in got and close(got[part], given[part])


def sentence(judged, answers, key, i, part):
    "(phrase, facts) for one wrong part"
    case, want, got = judged["cases"][i], judged["expected"][i][part], answers[i]
    blank = dict.fromkeys(
        "at got expected top peak true_peak shape true_shape bad".split(), "?"
    )
    if "error" in got:
        kind = got["error"].split(":")[0]
        known = {"NotImplementedError": "not_written", "too_long": "too_long", "died": "died"}
        return key or known.get(kind, "raises"), {**blank, "error": got["error"]}
    if part not in got or not torch.is_tensor(got[part]):
        return "no_answer", blank
    said = facts(case, part, got[part], want)
    seen = looks(case, part, got[part], want, said)
    return key or seen, said


def tame(v):
    "A part of an answer as plain numbers, whatever a submission made of it"
    if not torch.is_tensor(v):
        return str(v)
    v = v.to_dense() if v.layout != torch.strided else v
    return v.double() if not v.is_complex() and not v.is_quantized else "no real numbers"


def judge(judged, answers):
    "For each check None, or the (phrase, facts) that names its likeliest mistake"
    answers = [{k: tame(v) for k, v in a.items()} for a in answers]
    bad = list(failing(judged, answers))
    keys = explained(judged, answers, bad)
    checks = {c: None for case in judged["cases"] for c in case["checks"].values()}
    for i, part in sorted(bad, key=lambda at: at not in keys):
        check = judged["cases"][i]["checks"][part]
        if checks[check] is None:
            checks[check] = sentence(judged, answers, keys.get((i, part)), i, part)
    return checks
