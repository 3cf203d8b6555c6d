"""Mutation testing of convert, loss and network: do the lessons' own proofs notice when the code they teach is wrong?

    python tools/mutants.py                 every mutant of lessons 02, 03 and 04
    python tools/mutants.py --sample 20     twenty of them, the same ones each time (--seed for others)
    python tools/mutants.py --lesson 03_convert --list

A mutant is one exported cell with one change: a comparison turned round, + for -, a constant off by one, min for max, a line dropped, … A lesson redefines what it
exports, so the change is made in the lesson's cell and the lesson's remaining cells are run against it, in a process forked where the cell would run. Killed: some
later cell fails. Survivors that differ in no way that matters stand with the reason in `tools/mutants.json`; all others are findings.
Figures are not drawn and timings not taken: a cell that only does that proves nothing.
"""
import argparse, ast, builtins, contextlib, io, json, os, random, re, select, signal, sys, time, types, warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LESSONS = {'02_loss': 'loss', '03_convert': 'convert', '04_nms': 'network'}
REASONS = ROOT / 'tools' / 'mutants.json'
TIMEOUT = 120          # seconds of processor time a mutant may take (ten times as long by the clock); the whole lesson takes less


CONTROL = 'nothing'

# What is changed

SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
         ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
         ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And}
NAMES = dict(min='max', max='min', amin='amax', amax='amin', clamp_min='clamp_max', floor='ceil', ceil='floor', any='all', all='any', exp='log', log='exp', sqrt='square',
             gt='ge', ge='gt', lt='le', le='lt', zeros='ones', ones='zeros', nonzero='logical_not', logsigmoid='sigmoid', add_='sub_', sub='add', mul='div', mul_='div_')
STRINGS = dict(amax='amin', amin='amax')
HARMLESS = ('contiguous', 'no_grad', 'memory_format', 'compile', 'autocast', 'pin_memory', 'non_blocking')   # speed, not meaning


def spots(tree):
    "Every (node, what to do, label) that can be changed; messages, docstrings, annotations and decorators are left alone"
    found = []
    def walk(node, parent=None):
        if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)): return
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') in ('print', 'isinstance', 'warn'): return
        if isinstance(node, ast.keyword) and node.arg in HARMLESS: return
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                if type(op) in SWAPS: found.append((node, ('ops', i), type(op).__name__))
        elif isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS: found.append((node, ('op', None), type(node.op).__name__))
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)): found.append((node, ('unary', None), type(node.op).__name__))
        elif isinstance(node, ast.Constant):
            v = node.value
            if isinstance(v, bool) or isinstance(v, (int, float)): found.append((node, ('constant', None), repr(v)))
            elif isinstance(v, str) and v in STRINGS: found.append((node, ('string', None), v))
        elif isinstance(node, ast.Attribute) and node.attr in NAMES: found.append((node, ('attr', None), node.attr))
        elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(parent, ast.Call) and parent.func is node: found.append((node, ('name', None), node.id))
        elif isinstance(node, ast.IfExp): found.append((node, ('branch', None), 'if'))
        for field, value in ast.iter_fields(node):
            if field in ('decorator_list', 'annotation', 'returns', 'type_comment'): continue
            for i, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST): continue
                if isinstance(value, list) and field in ('body', 'orelse') and isinstance(child, ast.stmt) and not is_doc(child, i, node):
                    if droppable(child): found.append((node, ('drop', (field, i)), 'line'))
                if not is_doc(child, i, node): walk(child, node)
    walk(tree)
    return found


def is_doc(node, i, parent): return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def droppable(s):
    "Statements that can be left out without an error of names: calls, changes in place, early returns, loops over `if`"
    if isinstance(s, ast.Expr): return isinstance(s.value, ast.Call) and getattr(s.value.func, 'attr', '') != '__init__' and getattr(s.value.func, 'id', '') != 'print'
    if isinstance(s, (ast.If, ast.AugAssign, ast.For)): return True
    return isinstance(s, ast.Assign) and isinstance(s.targets[0], (ast.Subscript,))


def apply(node, how):
    "Makes the change in place; returns a few words on it"
    kind, at = how
    if kind == 'ops': old = node.ops[at]; node.ops[at] = SWAPS[type(old)](); return f'{type(old).__name__} → {type(node.ops[at]).__name__}'
    if kind == 'op': old = node.op; node.op = SWAPS[type(old)](); return f'{type(old).__name__} → {type(node.op).__name__}'
    if kind == 'unary': return drop_unary(node)
    if kind == 'constant':
        v = node.value
        node.value = (not v) if isinstance(v, bool) else v + 1 if isinstance(v, int) else (v * 2 if v else 1.)
        return f'{v!r} → {node.value!r}'
    if kind == 'string': v = node.value; node.value = STRINGS[v]; return f'{v} → {node.value}'
    if kind == 'attr': v = node.attr; node.attr = NAMES[v]; return f'.{v} → .{node.attr}'
    if kind == 'name': v = node.id; node.id = NAMES[v]; return f'{v} → {node.id}'
    if kind == 'branch': node.body, node.orelse = node.orelse, node.body; return 'branches exchanged'
    if kind == 'drop':
        body, (field, i) = getattr(node, at[0]), at
        body[i] = ast.copy_location(ast.Pass(), body[i]); return 'line dropped'


def drop_unary(node):
    "-x → +x, ~x → ~~x, not x → not not x"
    old = type(node.op)
    if old is ast.USub: node.op = ast.UAdd()
    else: node.operand = ast.UnaryOp(old(), node.operand)
    return f'{old.__name__} dropped'


def mutants_of(source):
    "(line of the source, change, new source) of every mutant of a cell"
    for n in range(len(spots(ast.parse(source)))):
        tree = ast.parse(source)
        node, how, _ = spots(tree)[n]
        line = (getattr(node, how[1][0])[how[1][1]] if how[0] == 'drop' else node).lineno
        what = apply(node, how)
        ast.fix_missing_locations(tree)
        yield source.split('\n')[line - 1].strip(), what, ast.unparse(tree)


# Where it is run

class Nothing(types.ModuleType):
    "Stands for whatever draws: can be called, indexed, iterated, and does nothing"
    def __getattr__(self, name):
        if name.startswith('__') and name.endswith('__'): raise AttributeError(name)
        return self
    def __call__(self, *a, **k): return self
    def __iter__(self): return iter([self] * 40)
    def __getitem__(self, i): return self
    def __setitem__(self, *a): pass
    def __len__(self): return 40
    def __enter__(self): return self
    def __exit__(self, *a): return False
    def __mul__(self, o): return self
    __rmul__ = __add__ = __radd__ = __truediv__ = __sub__ = __or__ = __mul__
    def __format__(self, spec): return ''
    def __float__(self): return 0.


def without_figures():
    "Replaces matplotlib, and what this project draws with, by nothing"
    import centernet_nb.draw as draw
    nothing = Nothing('nothing')
    for name in draw.__all__:
        if callable(getattr(draw, name)) and name not in ('denormalise', 'as_picture', 'real_objects', 'smooth'): setattr(draw, name, nothing)
    import matplotlib.pyplot as plt, numpy as np
    def subplots(rows=1, cols=1, **_):
        axes = np.empty((rows, cols), object); axes[:] = nothing
        return nothing, nothing if rows == cols == 1 else axes.squeeze()
    for name in dir(plt):
        if callable(getattr(plt, name)) and not name.startswith('_') and name[0].islower() and name not in ('get_cmap', 'cycler', 'rc'): setattr(plt, name, nothing)
    plt.subplots, draw.axes_grid = subplots, lambda n, *a, **k: [nothing] * n


def cells_of(path):
    "(source, exported?) of the code cells that tests run, magics taken out"
    cells = []
    for c in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(c['source'])
        if c['cell_type'] != 'code' or re.search(r'^#\|\s*eval:\s*false', source, re.M) or 'nbdev_export()' in source: continue
        exported = bool(re.search(r'^#\|\s*export', source, re.M))
        cells.append((re.sub(r'^[%!].*$', 'pass', source, flags=re.M), exported))
    return cells


def only_times(source):
    "Cells that take time to say how long something takes, and prove nothing"
    return bool(re.search(r'timeit|perf_counter|time\.time|process_time|benchmark', source)) and 'assert' not in source and 'test_' not in source and 'def ' not in source


def run(source, space):
    "A cell, as a notebook runs it"
    exec(compile(source, '<cell>', 'exec'), space)


def survives(cells, space, seconds):
    "Starts a process that runs `cells`, the mutant first, and answers with the number of the one that fails, or -1"
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + seconds,) * 2)
        for f in (1, 2): os.dup2(os.open(os.devnull, os.O_WRONLY), f)
        code = b'-1'
        try:
            for i, source in enumerate(cells): run(source, space)
        except BaseException as e: code = f'{i} {type(e).__name__}'.encode()
        os.write(write, code); os._exit(0)
    os.close(write)
    return pid, read, time.monotonic() + 10 * seconds


def collect(job):
    "What a process of `survives` answered; False while it is still busy"
    pid, read, end = job
    if not select.select([read], [], [], 0)[0] and time.monotonic() < end: return False
    answer = os.read(read, 200).decode() if select.select([read], [], [], 0)[0] else ''
    os.close(read)
    if not answer:
        with contextlib.suppress(ProcessLookupError): os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return answer or 'no answer in time, or a crash'


def key_of(lesson, line, what): return f'{lesson}: {line} [{what}]'


def list_mutants(lessons):
    "Every mutant as (lesson, cell, line, change, source)"
    return [(lesson, i, *m) for lesson in lessons for i, (source, exported) in enumerate(cells_of(ROOT / 'nbs' / f'{lesson}.ipynb')) if exported for m in mutants_of(source)]


def test_lesson(lesson, chosen, parallel, report):
    "Runs the lesson up to each chosen mutant's cell, forks, and calls `report(mutant, killed by)`"
    cells = [s for s, _ in cells_of(ROOT / 'nbs' / f'{lesson}.ipynb')]
    space, jobs = dict(__name__='__main__', __builtins__=builtins, get_ipython=lambda: Nothing('ipython'), display=lambda *a, **k: None), []
    def wait(most):
        while len(jobs) > most:
            for job in jobs[:]:
                if (answer := collect(job[1])): report(job[0], answer); jobs.remove(job)
            time.sleep(0.005)
    begin, first = time.monotonic(), min(m[1] for m in chosen)
    for i, source in enumerate(cells):
        if i == first:                          # the control: an unchanged lesson must survive, or kills would mean nothing
            jobs.append(((lesson, i, '', CONTROL, source), survives([s for s in cells[i:] if not only_times(s)], space, TIMEOUT)))
        for m in (m for m in chosen if m[1] == i):
            wait(parallel - 1)
            rest = [s for s in cells[i + 1:] if not only_times(s)]
            jobs.append((m, survives([m[4]] + rest, space, TIMEOUT)))
        if not only_times(source):
            with contextlib.redirect_stdout(io.StringIO()): run(source, space)
    wait(0)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sample', type=int, help='only so many')
    parser.add_argument('--seed', type=int, default=0, help='which sample')
    parser.add_argument('--lesson', choices=LESSONS, action='append', help='only this lesson')
    parser.add_argument('--list', action='store_true', help='name every mutant, run none')
    parser.add_argument('--parallel', type=int, default=max(1, (os.cpu_count() or 2)), help='processes at a time')
    parser.add_argument('--all-survivors', action='store_true', help='show those with a known reason too')
    args = parser.parse_args()
    mutants = list_mutants(args.lesson or LESSONS)
    if args.list: return print('\n'.join(key_of(m[0], *m[2:4]) for m in mutants), f'\n{len(mutants)} mutants')
    if args.sample and args.sample < len(mutants): mutants = random.Random(args.seed).sample(mutants, args.sample)
    os.environ.setdefault('MPLBACKEND', 'agg')
    warnings.simplefilter('ignore')
    import torch
    torch.set_num_threads(1)                    # before the first parallel work: forked processes must not meet threads
    os.chdir(ROOT / 'nbs')
    without_figures()
    known, alive, dead = json.loads(REASONS.read_text()) if REASONS.exists() else {}, [], {}
    def report(m, answer):
        if m[3] == CONTROL:
            if answer != '-1': sys.exit(f'{m[0]} fails without any change, at its cell {answer}: no mutant can be judged')
        elif answer == '-1': alive.append(m)
        else: dead[m[:4]] = answer
    for lesson in dict.fromkeys(m[0] for m in mutants):
        chosen = [m for m in mutants if m[0] == lesson]
        seconds = test_lesson(lesson, chosen, args.parallel, report)
        here = sum(m[0] == lesson for m in alive)
        print(f'{lesson}: {len(chosen)} mutants, {len(chosen) - here} killed ({1 - here / len(chosen):.1%}), {seconds:.0f} s', flush=True)
    new = [m for m in alive if key_of(m[0], *m[2:4]) not in known]
    for m in sorted(alive if args.all_survivors else new): print('survived', key_of(m[0], *m[2:4]), known.get(key_of(m[0], *m[2:4]), ''))
    rate = 1 - len(alive) / max(1, len(mutants))
    print(f'{len(mutants)} mutants: {len(mutants) - len(alive)} killed ({rate:.1%}), {len(alive) - len(new)} survived with a known reason, {len(new)} without')
    if rate < 0.9 and len(new) > 0.1 * len(mutants): sys.exit('fewer than 90 % of the mutants were killed')


if __name__ == '__main__': main()
