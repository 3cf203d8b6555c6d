"Every command line that a page tells the reader to type is one that the command understands"

import contextlib
import io
import json
import re
import shlex
from pathlib import Path
import pytest
from centernet_nb import cocotext, commands, tinycoco
from centernet_nb.shell import parser_of

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = dict(
    centernet_train=commands.centernet_train,
    centernet_eval=commands.centernet_eval,
    centernet_detect=commands.centernet_detect,
    centernet_export=commands.centernet_export,
    centernet_tinycoco=tinycoco.train_tinycoco,
    centernet_cocotext=cocotext.train_cocotext,
)


def written():
    """(page, command line) of every line of code or backticked words that begins with one of
    our commands"""
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if any(p.startswith(("_", ".")) for p in path.relative_to(ROOT).parts):
            continue
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] != "markdown":
                continue
            for line in re.findall(
                rf"(?:^|`)((?:{'|'.join(COMMANDS)}) [^`\n]+)", "".join(cell["source"]), re.M
            ):
                yield path.stem, line


@pytest.mark.parametrize("page, line", list(written()))
def test_is_understood(page, line):
    name, *args = shlex.split(line, comments=True)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser_of(COMMANDS[name], name).parse_args(args)
    except SystemExit as e:
        assert not e.code, f"{page}: {line}: {said.getvalue()}"


def test_there_are_some():
    assert len(list(written())) >= 8
