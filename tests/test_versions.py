"""What is said twice is said alike: settings.ini and pyproject.toml, README's count of lines,
constraints.txt and the hooks"""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path
import count_lines
import pytest

ROOT = Path(__file__).resolve().parent.parent


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def test_nbdev_2_and_3_read_the_same():
    "Whatever [tool.nbdev] says, settings.ini says too; and it holds what nbdev 3 cannot guess"
    block = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "nbdev"
    ]
    assert {"lib_path", "custom_sidebar", "title"} <= set(block)
    assert {k: str(v) for k, v in block.items()} == {k: settings()[k] for k in block}


def test_the_package_does_not_cap_fastcore():
    names = dict(
        re.match(r"([\w-]+)(.*)", r).groups() for r in settings()["requirements"].split()
    )
    assert names["fastcore"] == ""
    assert "nbdev" not in names and "execnb" not in names


def test_ruff_is_one_version():
    pinned = re.search(
        r"^ruff==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M
    )[1]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"rev: v{pinned}" in hooks


def test_every_pinned_tool_is_pinned_once():
    names = re.findall(
        r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M
    )
    assert len(names) == len({n.lower().replace("_", "-") for n in names}) > 100


def test_count_of_lines():
    text = (
        '"""Says\nso"""\nimport x\n\n# why\ndef f(a,\n      b):\n    "Doc"\n    return '
        '"""\n    text"""  # so\n'
    )
    assert count_lines.lines_of(text) == 5
    found = count_lines.counts()
    assert found["core"] > 500 and found["toolbox"] > 500
    said = count_lines.said((ROOT / "README.md").read_text(encoding="utf-8"))
    if not said:
        pytest.skip("README does not say how many lines there are")
    for room, n in found.items():
        assert abs(said[room] - n) <= max(30, 0.05 * n), (
            f"README says {said}, there are {found}"
        )
