"""Tests of the docs builder's own small parts: renaming, links, numbering, README, alternative
texts, the API page."""

import json
import re
from pathlib import Path
import prepare_site
import pytest
import quarto_lite as q

ROOT = Path(__file__).resolve().parent.parent

NAMES = {"00_backbone.ipynb": "backbone.ipynb", "toolbox/01_data.ipynb": "toolbox/data.ipynb"}


def cell(kind, source, outputs=()):
    return dict(
        cell_type=kind,
        metadata={},
        source=source,
        **(dict(outputs=list(outputs), execution_count=None) if kind == "code" else {}),
    )


def notebook(*cells):
    return dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)


def write(path, nb):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(nb))


@pytest.mark.parametrize(
    "page, before, after",
    [
        ("index.ipynb", "[a](00_backbone.ipynb#x)", "[a](backbone.ipynb#x)"),
        ("toolbox/draw.ipynb", "[a](../00_backbone.ipynb)", "[a](../backbone.ipynb)"),
        ("toolbox/draw.ipynb", "[a](01_data.ipynb)", "[a](data.ipynb)"),
        (
            "toolbox/draw.ipynb",
            '<a href="/00_backbone.ipynb">',
            '<a href="../backbone.ipynb">',
        ),
        (
            "index.ipynb",
            "[a](https://x.org/00_backbone.ipynb)",
            "[a](https://x.org/00_backbone.ipynb)",
        ),
        ("index.ipynb", "[a](#here) ![p](p.png)", "[a](#here) ![p](p.png)"),
    ],
)
def test_relink(page, before, after):
    assert q.relink(before, page, NAMES) == after


def test_numbering_of_equations_and_figures():
    texts = [
        "$$a = b$$ {#eq-one}\n\nsee @eq-two and @fig-map",
        "$$\nc\n$$ {#eq-two}",
        "`@eq-one` and me@eq-one.org",
    ]
    one, two, three = q.number(texts, ["fig-map"])
    assert (
        "\\tag{1}" in one
        and "::: {#eq-one}" in one
        and "[Equation 2](#eq-two)" in one
        and "[Figure 1](#fig-map)" in one
    )
    assert "\\tag{2}" in two and "{#eq-two}\n$$" in two
    assert three == texts[2]
    fenced = "```\n@eq-one\n```\n"
    assert q.number([texts[0], fenced], [])[1] == fenced


def test_mend_renames_pages_and_everything_follows(tmp_path):
    head = cell("raw", "---\noutput-file: backbone.html\ntitle: B\n---\n")
    shown = cell(
        "code",
        "#| output: asis\nshow()",
        [
            dict(output_type="stream", name="stdout", text=["**bold**\n"]),
            dict(
                output_type="display_data",
                metadata={},
                data={"text/markdown": "[t](toolbox/x.ipynb)"},
            ),
        ],
    )
    write(
        tmp_path / "00_backbone.ipynb",
        notebook(head, cell("markdown", "[i](index.ipynb)"), shown),
    )
    write(
        tmp_path / "index.ipynb",
        notebook(
            cell("markdown", "[b](00_backbone.ipynb)"),
            cell("code", "x = '[b](00_backbone.ipynb)'"),
        ),
    )
    (tmp_path / "404.qmd").write_text("---\ntitle: no\n---\n[b](00_backbone.ipynb)\n")
    (tmp_path / "_quarto.yml").write_text(
        "website: {navbar: {left: [{href: 00_backbone.ipynb}]}}\n"
    )
    (tmp_path / "sidebar.yml").write_text(
        "website: {sidebar: {contents: [00_backbone.ipynb, {section: S, contents: "
        "[index.ipynb]}]}}\n"
    )
    assert q.mend(tmp_path) == {"00_backbone.ipynb": "backbone.ipynb"}
    assert not (tmp_path / "00_backbone.ipynb").exists()
    index, page = (
        json.loads((tmp_path / n).read_text(encoding="utf-8"))
        for n in ("index.ipynb", "backbone.ipynb")
    )
    assert (
        index["cells"][0]["source"] == "[b](backbone.ipynb)"
        and "00_backbone" in index["cells"][1]["source"]
    )
    assert page["cells"][2]["outputs"][0]["data"]["text/markdown"] == "**bold**\n"
    assert "[b](backbone.ipynb)" in (tmp_path / "404.qmd").read_text(encoding="utf-8")
    for name in ("_quarto.yml", "sidebar.yml"):
        assert "00_" not in (tmp_path / name).read_text(encoding="utf-8")


def test_two_pages_of_one_name_are_refused(tmp_path):
    for n in ("00_a.ipynb", "01_a.ipynb"):
        write(tmp_path / n, notebook(cell("raw", "---\noutput-file: a.html\n---\n")))
    with pytest.raises(SystemExit, match="a.ipynb"):
        q.mend(tmp_path)


def test_polish():
    layout = pytest.importorskip("smalldocs.layout", reason="smalldocs needs Python 3.11")
    page = (
        f'<link rel="stylesheet" href="{layout.KATEX}/katex.min.css"><script '
        f'type="module">import mermaid from '
        f"'{layout.MERMAID}';mermaid.initialize({{}});</script>"
    )
    done = q.polish(page, "toolbox/x.html", "/p/")
    assert (
        'href="../site/vendor/katex/katex.min.css"' in done
        and 'src="../site/vendor/mermaid/mermaid.min.js"' in done
        and not q.hosts(done)
    )
    arrow = q.polish(
        '<a class="t" data-bs-toggle="collapse" data-bs-target="#s" role="navigation" '
        'aria-expanded="true">',
        "x.html",
        "/p/",
    )
    assert 'role="button" tabindex="0"' in arrow and "Enter" in arrow
    lost = q.polish(
        '<a href="index.html"><a href="./a.html"><a href="https://x.org"><a '
        'href="#t"><script src="site_libs/a.js"></script>',
        "404.html",
        "/p/",
    )
    assert (
        lost == '<a href="/p/index.html"><a href="/p/a.html"><a href="https://x.org"><a '
        'href="#t"><script src="/p/site_libs/a.js"></script>'
    )


def test_hosts_and_foreign_fonts():
    assert q.hosts('<script src="https://cdn.x/a.js"></script><a href="https://x.org">') == [
        "https://cdn.x/a.js"
    ]
    assert q.hosts(
        '<img src="//x.org/a.png"><link rel="stylesheet" href="http://x/a.css">'
    ) == ["//x.org/a.png", "http://x/a.css"]
    assert q.hosts('<link rel="canonical" href="https://x.org"><img src="a.png">') == []
    css = (
        '@charset "U";@import url(https://f.org/css2?a=1;2;3);a{b:c}@import '
        '"//f.org/x";@import url(own.css);'
    )
    assert q.FOREIGN.sub("", css) == '@charset "U";a{b:c}@import url(own.css);'


def test_readme_links_work_from_the_root(tmp_path):
    png = dict(
        output_type="display_data",
        metadata={},
        data={"image/png": "aGk=", "text/plain": "<Figure>"},
    )
    nb = notebook(
        cell(
            "markdown",
            "# T\n\n[l](00_backbone.ipynb) [up](../LICENSE) [w](https://x.org) "
            '![h](site/h.png) <img src="site/i.png">',
        ),
        cell("code", "#| hide\nsecret"),
        cell("code", '#| fig-alt: "A dot"\nplot()', [png]),
        cell(
            "code",
            "1 + 1",
            [dict(output_type="execute_result", metadata={}, data={"text/plain": "2\n3"})],
        ),
        cell("code", "#| echo: false\nno()"),
    )
    text = q.readme(nb, "nbs", tmp_path / "index_files")
    for part in (
        "[l](nbs/00_backbone.ipynb)",
        "[up](LICENSE)",
        "[w](https://x.org)",
        "![h](nbs/site/h.png)",
        'src="nbs/site/i.png"',
        "```python\nplot()\n```",
        "![A dot](index_files/cell-3-output-1.png)",
        "    2\n    3",
    ):
        assert part in text, part
    assert "secret" not in text and "no()" not in text and "<Figure>" not in text
    assert (tmp_path / "index_files" / "cell-3-output-1.png").read_bytes() == b"hi"


def test_readme_of_this_project_has_no_dead_link():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [
        m[2].split("#")[0]
        for m in q.LINK.finditer(text)
        if not q.urlsplit(m[2]).scheme and not m[2].startswith("#")
    ]
    assert [p for p in links if not (ROOT / p).exists()] == []


def test_links_to_the_published_site_become_near():
    text = "[`x`](https://a.io/p/toolbox/data.html#x) [y](https://a.io/q/b.html)"
    assert (
        prepare_site.near_links(text, "toolbox/draw.ipynb", "https://a.io/p")
        == "[`x`](data.html#x) [y](https://a.io/q/b.html)"
    )
    assert prepare_site.near_links(text, "index.ipynb", "https://a.io/p/").startswith(
        "[`x`](toolbox/data.html#x)"
    )
    names = (
        "[`C`](https://a.io/p/m.html#c) [`C.f`](https://a.io/p/m.html#c.f) "
        "[`C.g`](https://a.io/p/m.html#c.g) [`_h`](https://a.io/p/m.html#_h)"
    )
    near = prepare_site.near_links(
        names, "m.ipynb", "https://a.io/p", {"m.html": {"c", "c.f"}}
    )
    twice = (
        "see [[`C`](https://a.io/p/m.html#c)](own.ipynb)\n```python\n# a "
        "[`C`](https://a.io/p/m.html#c)\n```"
    )
    assert (
        prepare_site.near_links(twice, "m.ipynb", "https://a.io/p", {})
        == "see [`C`](own.ipynb)\n```python\n# a `C`\n```"
    )
    assert near == "[`C`](m.html#c) [`C.f`](m.html#c.f) [`C.g`](m.html#c) `_h`"


def test_alternative_texts_and_scripts():
    picture = dict(output_type="display_data", metadata={}, data={"image/png": "aGk="})
    nb = notebook(
        cell("raw", "---\ntitle: t\n---"),
        cell("markdown", '## The `heat` map\n\nFirst. A "peak" stands out:'),
        cell("code", "plot()", [picture]),
        cell("code", "#| fig-cap: 'Two maps'\nplot()", [picture]),
        cell("code", "#| fig-alt: own\nplot()", [picture]),
        cell("markdown", '<div data-figure="peaks"></div>'),
    )
    done = prepare_site.complete(
        nb,
        "toolbox/x.ipynb",
        "https://a.io/p",
        "https://github.com/u/r/blob/main/nbs/toolbox/x.ipynb",
    )["cells"]
    assert (
        "https://colab.research.google.com/github/u/r/blob/main/nbs/toolbox/x.ipynb"
        in done[1]["source"]
    )
    code = [c["source"].split("\n")[0] for c in done if c["cell_type"] == "code"]
    assert code == [
        "#| fig-alt: \"Figure: The heat map. First. A 'peak' stands out:\"",
        '#| fig-alt: "Two maps"',
        "#| fig-alt: own",
    ]
    assert done[-1]["source"].count("../site/figures.js") == 1


def test_api_page_names_every_public_name():
    import importlib

    page = prepare_site.api_page()
    for module, notebook_path in prepare_site.modules():
        assert (ROOT / "nbs" / notebook_path).exists()
        names = importlib.import_module(f"centernet_nb.{module}").__all__
        entries = set(re.findall(r"^### \[(\w+)\]", page, re.M))
        missing = [
            n for n in names if n not in entries and n not in ("forward", "loss_fl", "loss_l1")
        ]  # methods, shown with their class
        assert not missing, f"{module}: {missing}"
    assert (
        "CenterNetLoss.loss_fl" in page
        and "def CenterNetHead(" in page
        and "# Classes" in page
    )


def test_workflows_are_yaml_with_jobs():
    import yaml

    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {f.stem for f in files} >= {"test", "docs", "release"}
    for f in files:
        flow = yaml.safe_load(f.read_text(encoding="utf-8"))
        assert flow["jobs"] and (True in flow or "on" in flow), f.name
        for job in flow["jobs"].values():
            assert job["runs-on"] and all("uses" in s or "run" in s for s in job["steps"])


def test_nbdev_can_document_every_cell():
    """Where a notebook exports, nbdev runs every cell that holds an import when it makes the
    page: such a cell must hold nothing else."""
    import ast

    bad = []
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        if any(p.startswith((".", "_")) for p in path.relative_to(ROOT / "nbs").parts):
            continue
        notebook_cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if not any(
            re.search(r"^#\|\s*exports?\b", q.text_of(c["source"]), re.M)
            for c in notebook_cells
        ):
            continue
        for i, c in enumerate(notebook_cells):
            source = q.text_of(c["source"])
            if (
                c["cell_type"] != "code"
                or "nbdev_export()" in source
                or re.search(r"^#\|\s*(export|exports|exporti|eval:\s*false)", source, re.M)
            ):
                continue
            tree = ast.parse(re.sub(r"^\s*[%!].*$", "", source, flags=re.M))
            if not any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(tree)):
                continue
            if not all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body):
                bad.append(f"{path.name}, cell {i}: {source.splitlines()[0]}")
    assert not bad, "move the imports of these cells into a cell of their own:\n" + "\n".join(
        bad
    )
