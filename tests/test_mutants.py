"""What counts as a mutant; ten of them, always the same, which proofs and tests must notice"""

import os
import re
import subprocess
import sys
import mutants
import pytest


def changes(source):
    return {(what, text) for _, what, text in mutants.mutants_of(source)}


SAYS = """def f(a=True):
    "Says 1"
    if a: raise ValueError(f"{a + 1} < 3")"""


def test_operators():
    "What counts as a change, and what is left alone"
    assert changes("x = a < b") == {("Lt → LtE", "x = a <= b")}
    assert changes("x = -a") == {("USub dropped", "x = +a")}
    assert changes("x = not a") == {("Not dropped", "x = not not a")}
    assert changes("x = a.amax(1)") == {
        (".amax → .amin", "x = a.amin(1)"),
        ("1 → 2", "x = a.amax(2)"),
    }
    numbers = {("0 → 1", "a[1] += 2"), ("2 → 3", "a[0] += 3")}
    assert changes("a[0] += 2") == {
        ("Add → Sub", "a[0] -= 2"),
        ("line dropped", "pass"),
        *numbers,
    }
    assert {what for what, _ in changes(SAYS)} == {"True → False", "line dropped"}
    assert changes("from x import y\n@deco(3)\ndef f(a: list[4]): return a") == set()


def test_every_module_has_some():
    found = {m["module"] for m in mutants.list_mutants(mutants.notebooks())}
    assert found == set(mutants.notebooks())


def test_the_tests_get_the_changed_package(tmp_path):
    "The change is made in the very cell of the exported file, and only there"
    m = next(m for m in mutants.list_mutants(["fetch"]) if m["what"] == "20 → 21")
    mutants.changed_package(tmp_path, m)
    changed, real = (p / "centernet_nb/fetch.py" for p in (tmp_path, mutants.ROOT))
    here = [
        t.split("# %% ")
        for t in (changed.read_text(encoding="utf-8"), real.read_text(encoding="utf-8"))
    ]
    assert len(here[0]) == len(here[1])
    differ = [a for a, b in zip(*here) if a != b]
    assert len(differ) == 1 and m["id"] in differ[0] and "21" in differ[0]


def test_reasons_are_of_three_kinds():
    "Whoever may live is equal, costs only speed, or changes only a message"
    reasons = mutants.kept(mutants.REASONS, {})
    kinds = "equal: ", "speed only: ", "message only: "
    assert reasons and all(why.startswith(kinds) for why in reasons.values())


def test_every_reason_names_a_mutant():
    names = {mutants.name_of(m) for m in mutants.list_mutants(mutants.notebooks())}
    assert not set(mutants.kept(mutants.REASONS, {})) - names


def test_an_answer_holds_until_its_judge_changes(tmp_path, monkeypatch):
    judges = dict(notebook="1", tests="1")
    monkeypatch.setattr(mutants, "DONE", tmp_path)
    monkeypatch.setattr(mutants, "judges_of", lambda module: judges)
    m = dict(module="x", line="a = 1", what="1 → 2", source="a = 2")
    record = mutants.Record("x")
    record.add(m, "notebook", None)
    assert record.fate(m) == "", "the tests have not seen it"
    record.add(m, "tests", "test_a")
    assert mutants.Record("x").fate(m) == "test_a"
    judges["tests"] = "2"
    assert record.fate(m) == "", "these tests have not seen it"
    record.add(m, "tests", None)
    assert record.fate(m) is None
    assert record.fate(m | dict(source="a = 3")) == "", "another mutant of the line"


def test_a_busy_machine_kills_nobody():
    "Where a clock is read an assert may fail, and only there; other errors stay errors"
    slow = dict(seconds=lambda f: 9)
    mutants.run("assert seconds(print) < 1", slow)
    for source in ("assert 2 < 1", "assert seconds(print, 1) < 1"):
        with pytest.raises((AssertionError, TypeError)):
            mutants.run(source, slow)


# whose pages run in a second or two; `make soak` draws from all modules, others each time
QUICK = "boxes schedule history head"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_ten():
    which = ["--module", *QUICK.split(), "--sample", "10", "--parallel", "1"]
    command = [sys.executable, mutants.__file__, *which]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    print(done.stdout)
    said = re.search(
        r"(\d+) mutants of .*: (\d+) killed .*, (\d+) survived .*, (\d+) without", done.stdout
    )
    assert done.returncode == 0 and said and int(said[1]) == 10 and int(said[4]) <= 1, (
        done.stdout + done.stderr
    )
