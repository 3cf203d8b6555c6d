"""Cells marked `#| export` written into the package, as the last cell of each lesson does"""

from pathlib import Path
from .notebook import exported, read


def export(start="."):
    "Write the modules of all lessons of the repository around `start`"
    here = Path(start).resolve()
    root = next(p for p in (here, *here.parents) if (p / "nbs").is_dir())
    for path in sorted((root / "nbs").glob("0*.ipynb")):
        made = exported(read(path))
        if made:
            file = root / "centernet_nb" / f"{made[0]}.py"
            file.write_text(made[1], encoding="utf-8")
