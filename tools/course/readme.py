"""The student's README and the teacher's rubric, in each language of the table"""

from .table import check_name, table, tasks


def words(language):
    return {k: v[language] for k, v in table()["readme"].items()}


def task_rows(language):
    own = tasks().values()
    for t in own:
        row = (t["lesson"][:2], f"`{t['component']}`", t["points"], t["minutes"], t[language])
        yield "| " + " | ".join(map(str, row)) + " |"


def readme(language):
    w = words(language)
    hints = [f"- `{t['component']}`: {t[f'hint_{language}']}" for t in tasks().values()]
    table_ = [w["columns"], "|---|---|---|---|---|", *task_rows(language)]
    parts = [
        f"# {w['title']}",
        w["about"],
        f"## {w['start']}",
        w["setup"],
        w["how"],
        w["keep"],
    ]
    parts += [f"## {w['tasks']}", "\n".join(table_), f"## {w['rules']}", w["alone"]]
    parts += [w["hand_in"], f"## {w['hint']}", "\n".join(hints)]
    return "\n\n".join(parts) + "\n"


def rubric(language):
    w, lines = words(language), []
    for t in tasks().values():
        lines.append(f"## {t['component']}: {t['points']}\n")
        for check, share in t["checks"].items():
            lines.append(f"- {check_name(check, language)}: {share * t['points']:g}")
        lines.append("")
    return f"# {w['title']}\n\n" + "\n".join(lines)
