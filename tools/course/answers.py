"""The teacher's side: what the reference answers to each case, and each typical mistake

Of a mistake only what differs from the reference is kept. These numbers are data: with them
`diagnose.py` recognises a mistake without holding any formula of a solution."""

import sys
import types
from importlib import import_module
from pathlib import Path
import torch
from .cases import cases_of
from .diagnose import close
from .runner import run_case
from .table import module_of
from .wrongs import WRONG, changed


def source_of(component):
    return Path(import_module(f"centernet_nb.{module_of(component)}").__file__).read_text(
        encoding="utf-8"
    )


def from_source(source, module, component):
    "A component of a module's source, without a file; what stops it where it cannot be made"
    name = f"centernet_nb.submitted_{module}"
    made = sys.modules[name] = types.ModuleType(name)
    made.__package__ = "centernet_nb"
    try:
        exec(compile(source, f"<{module}>", "exec"), made.__dict__)
        return getattr(made, component)
    except Exception as e:
        return e


def differing(parts, right):
    "What of a wrong answer is not the right one"
    return {k: v for k, v in parts.items() if k not in right or not close(v, right[k])}


def mistakes(component, cases, expected):
    "For each typical mistake its phrase and, by case, the parts that it changes"
    source, module = source_of(component), module_of(component)
    for key, *pairs in WRONG[component]:
        wrong = from_source(changed(source, pairs), module, component)
        given = [differing(run_case(wrong, c), e) for c, e in zip(cases, expected)]
        yield key, given


def answered(component, **kwargs):
    "All that judging one component needs: cases, the right answers, the typical wrong ones"
    torch.set_num_threads(1)
    cases = cases_of(component, **kwargs)
    right = from_source(source_of(component), module_of(component), component)
    expected = [run_case(right, c) for c in cases]
    broken = [e["error"] for e in expected if "error" in e]
    if broken:
        raise RuntimeError(f"the reference of {component} fails: {broken[0]}")
    for c, e in zip(cases, expected):
        if "either" in c:
            e["either"] = run_case(right, {**c, "objects": c.pop("either")})
    wrong = list(mistakes(component, cases, expected))
    return dict(cases=cases, expected=expected, wrong=wrong)
