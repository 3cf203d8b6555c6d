"""A page for each student, and the same as Gradescope reads it"""

from html import escape
from .table import check_name, phrase, table, task_of

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "td,th{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}"
)


def sentence(row, language):
    if row["said"] is None:
        return "✓" if row["counts"] else "–"
    key, facts = row["said"]
    return phrase(key, language, **facts)


def points_in(parts):
    "Points that there are and could be, then the extra ones"
    own = [p for c, p in parts.items() if not task_of(c).get("extra")]
    extra = [p for c, p in parts.items() if task_of(c).get("extra")]
    return [round(sum(p[k] for p in ps), 3) for ps in (own, extra) for k in ("points", "of")]


def rows_of(component, part, language):
    yield f"<tr><th>{component}</th><th>{part['points']:g} / {part['of']:g}</th></tr>"
    for row in part["checks"]:
        name = check_name(row["check"], language)
        yield f"<tr><td>{escape(name)}</td><td>{escape(sentence(row, language))}</td></tr>"


def page(name, parts, language):
    "One submission's feedback as a page of HTML"
    points, of, more, most = (f"{n:g}" for n in points_in(parts))
    total = table()["readme"]["lost"][language].format(points=points, of=of)
    if most != "0":
        total += table()["readme"]["extra"][language].format(points=more, of=most)
    rows = "\n".join(r for c, p in parts.items() for r in rows_of(c, p, language))
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<meta charset="utf-8">\n'
        f"<title>{escape(name)}</title>\n<style>{STYLE}</style>\n"
        f"<h1>{escape(name)}</h1>\n<p>{total}</p>\n<table>\n{rows}\n</table>\n</html>\n"
    )


def gradescope(parts, language):
    "The layout that Gradescope reads: one test for each component"
    tests = []
    for component, part in parts.items():
        said = [
            f"{check_name(r['check'], language)}: {sentence(r, language)}"
            for r in part["checks"]
        ]
        tests.append(
            dict(
                name=component,
                score=part["points"],
                max_score=part["of"],
                output="\n".join(said),
                visibility="visible",
            )
        )
    return dict(score=round(sum(t["score"] for t in tests), 3), tests=tests)
