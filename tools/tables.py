"""What a run prints, as tables: a site's page shows the stored output of a notebook's cell as
text in columns only where it has no rows of one form."""

from __future__ import annotations

import re
from itertools import groupby

RULE = re.compile(r"^\|[-:| ]+\|\s*$")
BAR = re.compile(r"^.*\d+%\|.*\|.*\[.*\]\s*$", re.M)
SPLIT = re.compile(r":\s+|,\s+|\s{2,}(?=[A-Za-z])")


def escaped(line: str) -> str:
    "A line of text as Markdown that reads the same."
    return re.sub(r"([\\`*_<>|$\[\]#~])", r"\\\1", line.strip())


def rows(lines: list[str]) -> list[str] | None:
    """Lines of one form, such as `step 5, 2 minutes: AP50 0.3`, as a Markdown table: what is
    the same in a column is its heading. None where they have no such form."""
    cells = [SPLIT.split(line.strip()) for line in lines]
    if len(cells) < 2 or len({len(c) for c in cells}) > 1 or len(cells[0]) < 2:
        return None
    heads, body, carried = [], [], ""
    for column in zip(*(map(str.split, c) for c in cells)):
        n = shared(column)
        m = shared([c[n:][::-1] for c in column])
        head = [carried, *column[0][:n], *column[0][len(column[0]) - m :]]
        values = [" ".join(c[n : len(c) - m]) for c in column]
        if not any(values):
            carried = " ".join(filter(None, head))
            continue
        heads.append(" ".join(filter(None, head)))
        body.append(values)
        carried = ""
    if len(heads) < 2 or carried or not any(heads) or not all(map(any_digit, body[1:])):
        return None
    line = "|" + "|".join(":--" if not any_digit(b) else "--:" for b in body) + "|"
    table = [heads, *zip(*body)]
    text = ["| " + " | ".join(map(escaped, r)) + " |" for r in table]
    return [text[0], line, *text[1:]]


def shared(column) -> int:
    "How many words the rows of a column begin with alike."
    n = 0
    while all(len(c) > n for c in column) and len({c[n] for c in column}) == 1:
        n += 1
    return n


def any_digit(values) -> bool:
    return all(re.match(r"[<≥–-]?\d|–", v) for v in values)


def of_stream(text: str) -> str | None:
    "What was printed, as Markdown with its tables as such; None where there are none."
    parts, found = [], False
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = [line for line in block.split("\n") if line.strip()]
        if len(lines) > 1 and RULE.match(lines[1]):
            parts.append("\n".join(lines))
            found = True
            continue
        for _, group in groupby(lines, lambda line: len(SPLIT.split(line.strip()))):
            table = rows(group := list(group))
            found |= bool(table)
            parts.append("\n".join(table or ["\\\n".join(map(escaped, group))]))
    return "\n\n".join(parts) if found else None


def of_value(text: str) -> str | None:
    "A dictionary of results, one a line, as a Markdown table; None for anything else."
    lines = text.strip().split("\n")
    if not re.match(r"\{['\d]", lines[0]) or len(lines) < 2 or not text.endswith("}"):
        return None
    lines = [re.sub(r"^[{ ]*'?([^':]+)'?:", r"\1:", line).rstrip(",}") for line in lines]
    table = rows(lines)
    return "\n".join(table) if table and table[0].count("|") > 3 else None


def shown(outputs: list[dict]) -> list[dict]:
    "A cell's outputs with reports as tables, and without the bars of what is long done."
    found = []
    for out in joined(outputs):
        data, text = out.get("data", {}), None
        if out["output_type"] == "stream":
            out["text"] = BAR.sub("", "".join(out["text"])).strip("\n")
            if not out["text"].strip():
                continue
            text = of_stream(out["text"]) if out.get("name") == "stdout" else None
        elif set(data) == {"text/plain"}:
            text = of_value("".join(data["text/plain"]))
        if text:
            out = dict(output_type="display_data", metadata={}, data={"text/markdown": text})
        found.append(out)
    return found


def joined(outputs: list[dict]) -> list[dict]:
    "The outputs, with what was printed to the same stream, one piece after another, as one."
    found = []
    for out in outputs:
        last = found[-1] if found else {}
        if out["output_type"] == "stream" and last.get("name") == out.get("name"):
            last["text"] = "".join(last["text"]) + "".join(out["text"])
        else:
            found.append(out)
    return found
