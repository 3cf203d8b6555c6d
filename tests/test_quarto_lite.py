"""Tests of the docs builder's own small parts: renaming, links, numbering, README, alternative
texts, the API page."""

import json
import re
from pathlib import Path
import check_site
import finish_site
import prepare_site
import pytest
import quarto_lite as q
import site_model
import tables

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
    page = f'<link rel="stylesheet" href="{layout.KATEX}/katex.min.css">'
    done = q.polish(page, "toolbox/x.html", "/p/")
    assert 'href="../site/vendor/katex/katex.min.css"' in done and not q.hosts(done)
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
    assert finish_site.FOREIGN.sub("", css) == '@charset "U";a{b:c}@import url(own.css);'


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
        original=notebook(cell("code", "# on Colab only\n! pip install centernet_nb")),
    )["cells"]
    assert (
        "https://colab.research.google.com/github/u/r/blob/main/nbs/toolbox/x.ipynb"
        in "".join(done[1]["source"])
    )
    code = [c["source"][0].rstrip() for c in done if c["cell_type"] == "code"]
    assert code == [
        "#| fig-alt: \"Figure: The heat map. First. A 'peak' stands out:\"",
        '#| fig-alt: "Two maps"',
        '#| fig-alt: "own"',
    ]
    assert "".join(done[-1]["source"]).count("../site/figures.js") == 1


def test_no_colab_link_without_an_install_cell():
    nb = notebook(cell("code", "1 + 1"))
    address = "https://github.com/u/r/blob/main/nbs/x.ipynb"
    text = q.text_of(prepare_site.complete(nb, "x.ipynb", "", address)["cells"][0]["source"])
    assert address in text and "colab" not in text


def test_staged_sources_are_lists_of_lines():
    """Quarto joins the lines of a source that is one string: tables, lists and fences run
    together."""
    one = notebook(cell("markdown", "a\n\n- b\n- c\n"), cell("code", "x = 1\nx"))
    assert any("list of lines" in f for f in prepare_site.faults(one))
    done = prepare_site.as_lines(one)
    assert done["cells"][0]["source"] == ["a\n", "\n", "- b\n", "- c\n"]
    assert all(c["id"] for c in done["cells"]) and prepare_site.faults(done) == []


@pytest.mark.parametrize(
    "source, fault",
    [
        ("text ::: {.callout-note}\nx\n:::\n", "not alone"),
        ("::: {.callout-note}\nx\n", "does not close"),
        ("# A {#here}\n\n# B {#here}\n", "label here comes twice"),
    ],
)
def test_what_quarto_would_not_render_is_named(source, fault):
    found = prepare_site.faults(prepare_site.as_lines(notebook(cell("markdown", source))))
    assert any(fault in f for f in found), found


def test_every_notebook_is_staged_as_quarto_needs_it():
    for path in sorted((ROOT / "nbs").rglob("*.ipynb")):
        page = path.relative_to(ROOT / "nbs")
        if any(part[0] in "._" for part in page.parts):
            continue
        nb = json.loads(path.read_text(encoding="utf-8"))
        done = prepare_site.complete(nb, page.as_posix(), "https://a.io", None)
        assert prepare_site.faults(done) == [], page


DRAWS = "The 4 lines that draw this"
PROVES = "assert f(1)\nassert f(2)\nassert f(3)\nassert f(4)"
PICTURE = dict(output_type="display_data", metadata={}, data={"image/jpeg": "aGk="})


@pytest.mark.parametrize(
    "source, outputs, later, line",
    [
        ("ax = f()\nax.a()\nax.b()\nax.c()", [PICTURE], "", DRAWS),
        ("ax = f()\nmap = g()\nax.b()\nax.c()", [PICTURE], "map + 1", None),
        (
            "ax = f()\nmap = g()\nax.b()\nax.c()",
            [PICTURE],
            "map = 1",
            "The 4 lines that draw this",
        ),
        ("def f():\n    a\n\nf()\nf()", [PICTURE], "", None),
        (PROVES, [], "", "Proof: 4 checks of f"),
        ("y = f(1)\ntest_eq(y, 1)\nassert y\nassert y", [], "", None),
        ("#| code-fold: false\nax = f()\nax.a()\nax.b()\nax.c()", [PICTURE], "", None),
    ],
)
def test_what_only_draws_or_only_proves_is_folded(source, outputs, later, line):
    later = prepare_site.statements(cell("code", later))
    assert prepare_site.folded(cell("code", source, outputs), later) == line


def test_a_lesson_shows_the_code_it_exports():
    code = "#| export\ndef f(x):\n    return x"
    told = {"text/markdown": "---\n\n### f\n\n```python\ndef f(x):\n```\n\n*Says*\n"}
    out = dict(output_type="display_data", metadata={}, data=told)
    ids = [dict(cell("markdown", "a"), id="a"), dict(cell("code", code), id="b")]
    staged = [dict(ids[0]), cell("code", "#| output: asis\nshow_doc(f)", [out])]
    staged.append(dict(cell("markdown", "c"), id="c"))
    nb = notebook(*staged)
    original = notebook(*ids, dict(cell("markdown", "c"), id="c"))
    prepare_site.show_code(nb, original)
    assert [c["source"] for c in nb["cells"]][2] == "def f(x):\n    return x"
    assert nb["cells"][1]["outputs"][0]["data"]["text/markdown"].endswith("### f\n")


def test_names_between_underscores_stay_whole():
    text = "### A.__call__\n\n*Call self as a function.*\n\n`__init__`\n```\n__x__\n```\n"
    done = prepare_site.readable(text)
    assert "A.\\_\\_call\\_\\_" in done and "Call self" not in done
    assert "`__init__`" in done and "\n__x__\n" in done


def test_the_checker_finds_what_is_missing():
    nb = prepare_site.as_lines(
        notebook(
            cell("markdown", "## A\n\n| a |\n|---|\n| b |\n\n- c\n- [d](e.html)\n"),
            cell("code", "plot()", [PICTURE]),
            cell("markdown", "::: {.callout-note}\nf\n:::\n"),
        )
    )
    want = check_site.wanted(nb)
    assert {k: v for k, v in want.items() if v} == dict(
        tables=1, lists=1, items=2, headings=1, links=1, figures=1, callouts=1
    )
    meta = "".join(
        f'<meta property="{k}" content="x">' for k in ("description", "og:image", "og:title")
    )
    good = (
        f'{meta}<main><h2 id="a">A</h2><table></table><ul><li>c</li><li><a href="e.html">d</a>'
        '</li></ul><img src="p.png" alt="p"><div class="callout callout-note">f</div></main>'
    )
    assert check_site.faults("x.html", good, want) == []
    for broken, fault in (
        (good.replace("<table></table>", ""), "0 tables"),
        (good.replace("</li><li>", " - "), "1 items"),
        (good.replace('alt="p"', ""), "without a description"),
        (good.replace("p.png", "https://x.org/p.png"), "another host"),
        (good.replace(">f<", ">\n::: {.callout}\n<"), "left over"),
        (good.replace('"a"', '"a"><i id="a"></i><b a="'), "comes twice"),
        (good.replace(meta, ""), "no og:image"),
    ):
        assert any(fault in f for f in check_site.faults("x.html", broken, want)), fault


def test_pictures_become_files_and_panels_stack(tmp_path):
    import base64
    import io
    from PIL import Image

    wide = Image.new("RGB", (900, 300), "white")
    for x in (10, 460):
        wide.paste((0, 0, 80), (x, 10, x + 420, 290))
    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    page = tmp_path / "p.html"
    image = f'<img src="data:image/png;base64,{data}" alt="x">'
    text = f"<head></head><main>{image}</main><body></body>"
    done = finish_site.finish(text, page, tmp_path, "https://a.io")
    assert "base64" not in done and 'loading="lazy"' in done and "og:image" in done
    assert (tmp_path / "p_files" / "picture-01.png").read_bytes() == buffer.getvalue()
    with Image.open(tmp_path / "p_files" / "picture-01-stacked.png") as tall:
        assert tall.height == 600 and tall.width <= 460
    assert finish_site.panels(wide.crop((0, 0, 400, 300))) == [(0, 400)]


def test_long_lines_of_code_may_hang():
    code = '<code class="python"><span class="st">a\nb</span></code>'
    text = f'<pre class="sourceCode">{code}</pre>'
    done = finish_site.lines_of_code(text)
    assert done.count('<span class="cnb-line-of-code"><span class="st">') == 2
    assert re.sub(r"</?span[^>]*>", "", done) == re.sub(r"</?span[^>]*>", "", text)


def test_int8_weights_lose_nothing(tmp_path):
    onnx = pytest.importorskip("onnx")
    import torch
    from centernet_nb.deploy import OnnxDetector
    from centernet_nb.network import load_model

    labels = site_model.write_model(tmp_path / "text.onnx")
    assert (tmp_path / "text.onnx").stat().st_size < 4e6 and labels["names"] == ["text"]
    kinds = [n.op_type for n in onnx.load(str(tmp_path / "text.onnx")).graph.node]
    assert kinds.count("DequantizeLinear") > 15
    net = load_model("text").eval()
    net.points_to_objects.objects_per_image, net.points_to_objects.min_confidence = 100, 0.05
    x = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    objects, heat = OnnxDetector(tmp_path / "text.onnx", 1).run(x)
    with torch.no_grad():
        points = net(x)
        wanted = net.decode(points)
    torch.testing.assert_close(torch.tensor(heat), points[:, :-4], rtol=0, atol=1e-3)
    torch.testing.assert_close(torch.tensor(objects), wanted, rtol=0, atol=0.1)


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


def test_reports_become_tables():
    form = "step {}, {} minutes: AP50 {} on 4 photos".format
    lines = form(5, "2.0", "0.30") + "\n" + form(9, "4.5", "0.61")
    made = tables.of_stream(f"a *word* before\n\n{lines}\n\n| AP |\n|---:|\n| 0.5 |\n")
    assert made == (
        "a \\*word\\* before\n\n"
        "| step | minutes | AP50 on 4 photos |\n|--:|--:|--:|\n| 5 | 2.0 | 0.30 |\n"
        "| 9 | 4.5 | 0.61 |\n\n| AP |\n|---:|\n| 0.5 |"
    )
    value = "{'as it is': AP 0.1  AP50 0.2,\n 'heat+size': AP 0.3  AP50 0.4}"
    assert tables.of_value(value).splitlines()[2:] == [
        "| as it is | 0.1 | 0.2 |",
        "| heat+size | 0.3 | 0.4 |",
    ]
    for text in ("one line", "two lines\nof prose, no more", "{'a': 1.0,\n 'b': 2.0}"):
        assert tables.of_stream(text) is None and tables.of_value(text) is None, text


def test_bars_of_old_runs_are_left_out():
    bar = "100%|█████| 400/400 [01:56<00:00,  3.44it/s, loss=0.01]\n"
    outputs = [
        dict(output_type="stream", name="stderr", text=[bar]),
        dict(output_type="stream", name="stdout", text=["one: 1, two: 2\n"]),
        dict(output_type="stream", name="stdout", text=["one: 3, two: 4\n"]),
        dict(output_type="execute_result", data={"text/plain": "3"}, metadata={}),
    ]
    first, last = tables.shown(outputs)
    assert first["data"]["text/markdown"].endswith("| 1 | 2 |\n| 3 | 4 |")
    assert last["data"] == {"text/plain": "3"}
