"Twenty mutants of what lessons 02, 03 and 04 export: their own proofs must notice (all of them: `make soak`)"
import os, re, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tools'))
import mutants


def changes(source): return {(what, text) for _, what, text in mutants.mutants_of(source)}


def test_operators():
    "What counts as a change, and what is left alone"
    assert changes('x = a < b') == {('Lt → LtE', 'x = a <= b')}
    assert changes('x = -a') == {('USub dropped', 'x = +a')} and changes('x = not a') == {('Not dropped', 'x = not not a')}
    assert changes('x = a.amax(1)') == {('.amax → .amin', 'x = a.amin(1)'), ('1 → 2', 'x = a.amax(2)')}
    assert changes('a[0] += 2') == {('Add → Sub', 'a[0] -= 2'), ('0 → 1', 'a[1] += 2'), ('2 → 3', 'a[0] += 3'), ('line dropped', 'pass')}
    assert changes('def f(a=True):\n    "Says 1"\n    if a: raise ValueError(f"{a + 1} < 3")') == {
        ('True → False', 'def f(a=False):\n    """Says 1"""\n    if a:\n        raise ValueError(f\'{a + 1} < 3\')'), ('line dropped', 'def f(a=True):\n    """Says 1"""\n    pass')}
    assert changes('from x import y\n@deco(3)\ndef f(a: list[4]): return a') == set()


def test_there_are_enough(): assert all(len(mutants.list_mutants([lesson])) > 50 for lesson in mutants.LESSONS)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_twenty():
    done = subprocess.run([sys.executable, ROOT / 'tools' / 'mutants.py', '--sample', '20'], capture_output=True, text=True, timeout=900)
    print(done.stdout)
    total, killed, known, new = map(int, re.search(r'(\d+) mutants: (\d+) killed .*, (\d+) survived .*, (\d+) without', done.stdout).groups())
    assert done.returncode == 0 and total == 20 and new <= 2, done.stdout + done.stderr
