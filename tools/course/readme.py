"""The student's README and the teacher's rubric, in each language of the table"""

from .table import check_name, table, tasks, trainings


def words(language):
    return {k: v[language] for k, v in table()["readme"].items()}


def task_rows(language):
    for name, t in {**tasks(), **trainings()}.items():
        row = (t["lesson"][:2], f"`{name}`", t["points"], t["minutes"], t[language])
        yield "| " + " | ".join(map(str, row)) + " |"


def sums(language):
    "What can be had together"
    every = [*tasks().values(), *trainings().values()]
    own, extra = (
        sum(t["points"] for t in every if bool(t.get("extra")) is e) for e in (False, True)
    )
    return words(language)["gets"].format(points=own, extra=extra)


def readme(language):
    w = words(language)
    every = {**tasks(), **trainings()}
    hints = [f"- `{name}`: {t[f'hint_{language}']}" for name, t in every.items()]
    table_ = [w["columns"], "|---|---|---|---|---|", *task_rows(language)]
    parts = [
        f"# {w['title']}",
        w["about"],
        f"## {w['start']}",
        w["setup"],
        w["how"],
        w["keep"],
    ]
    parts += [f"## {w['tasks']}", "\n".join(table_), sums(language).capitalize() + "."]
    parts += [w["train"], f"## {w['rules']}", w["alone"]]
    parts += [w["hand_in"], f"## {w['hint']}", "\n".join(hints)]
    return "\n\n".join(parts) + "\n"


def rubric(language):
    w, lines = words(language), []
    for name, t in {**tasks(), **trainings()}.items():
        lines.append(f"## {name}: {t['points']}\n")
        for check, share in t["checks"].items():
            lines.append(f"- {check_name(check, language)}: {share * t['points']:g}")
        lines.append("")
    return f"# {w['title']}\n\n" + "\n".join(lines)
