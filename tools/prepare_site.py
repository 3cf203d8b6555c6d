"""The `pre-render` step of _quarto.yml, run in nbdev's staging folder (`_proc`) whether Quarto
renders or `quarto_lite`.

It gives the staged notebooks what their sources need not hold (Colab and source links,
alternative texts, links between pages that work offline, the scripts of the interactive
figures), writes the API page from the package, and the detector page's ONNX file."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import posixpath
import re
import sys
from configparser import ConfigParser
from pathlib import Path
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from quarto_lite import front_matter, staged, text_of

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = {"data-figure=": "figures.js", "data-detector": "detector.js"}


def settings() -> dict:
    "The values of settings.ini."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


# ---------------------------------------------------------------- the staged notebooks


def shown_names(stage: Path) -> dict[str, set[str]]:
    "Page → anchors of the names that nbdev documents on it."
    shown = {}
    for path in staged(stage):
        if path.suffix != ".ipynb":
            continue
        outputs = [
            text_of(o.get("data", {}).get("text/markdown"))
            for c in json.loads(path.read_text(encoding="utf-8"))["cells"]
            for o in c.get("outputs", [])
        ]
        name = front_matter(path).get("output-file", path.with_suffix(".html").name)
        shown[path.relative_to(stage).with_name(name).as_posix()] = {
            h.lower() for text in outputs for h in re.findall(r"^#+ ([\w.]+)$", text, re.M)
        }
    return shown


def near_links(
    text: str, page: str, home: str, shown: dict[str, set[str]] | None = None
) -> str:
    """`text` with links to the published site (`home`), as nbdev writes them for names in
    backticks, made relative to `page`.

    A method that has no entry of its own leads to its class, a private name nowhere (`shown`:
    the anchors there are)."""
    folder, address = (
        posixpath.dirname(page) or ".",
        re.escape(home.rstrip("/")) + r"/([\w./-]+\.html)",
    )

    def name(m):
        _, code, target, anchor = m.groups()
        known = (shown or {}).get(target)
        if known is None or anchor in known:
            return m[0]
        owner = anchor.split(".")[0]
        return (
            f"[`{code}`]({home.rstrip('/')}/{target}#{owner})"
            if owner in known
            else f"`{code}`"
        )

    linked = r"(\[`([^`]+)`\]\()" + address + r"#([\w.]+)\)"
    text = re.sub(
        r"(?s)^```.*?^```$", lambda m: re.sub(linked, r"`\2`", m[0]), text, flags=re.M
    )  # nbdev links in code, too,
    text = re.sub(
        r"\[" + linked + r"\](?=\()", r"[`\2`]", text
    )  # and in what is a link already
    text = re.sub(linked, name, text)
    return re.sub(address, lambda m: posixpath.relpath(m[1], folder), text)


def plain(markdown: str) -> str:
    "A sentence or heading without its Markdown marks, quotes and line breaks."
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"<[^>]+>|[`*_#$]", "", markdown))
    return " ".join(text.replace('"', "'").replace("\\", "").split())


def describe(cells: list[dict], i: int) -> str:
    """An alternative text for the picture of cell `i`: its caption, else the heading above and
    the sentence before it."""
    caption = re.search(r"^#\|\s*fig-cap:\s*(.+)$", text_of(cells[i]["source"]), re.M)
    if caption:
        return plain(caption[1].strip().strip("\"'"))
    before = [
        text_of(c["source"]).strip()
        for c in cells[:i]
        if c["cell_type"] == "markdown"
        and not text_of(c["source"]).startswith(("<!--", ":::"))
    ]
    heading = next(
        (h for t in reversed(before) for h in reversed(re.findall(r"^#+\s+(.+)$", t, re.M))),
        "",
    )
    prose = next((t for t in reversed(before) if not t.startswith("#") or "\n" in t), "")
    sentence = re.split(r"(?<=[.:!?])\s", plain(re.sub(r"^#+ .*$", "", prose, flags=re.M)))
    said = " ".join(s for s in sentence[-2:] if s)
    return f"Figure: {plain(heading)}. {said}"[:300].strip()


def complete(
    nb: dict,
    page: str,
    home: str,
    source: str | None,
    shown: dict[str, set[str]] | None = None,
) -> dict:
    """One staged notebook, completed in place. `source`: the address of its file on GitHub,
    None for no links to it."""
    cells = nb["cells"]
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            cell["source"] = near_links(text_of(cell["source"]), page, home, shown)
        if cell["cell_type"] != "code":
            continue
        for out in cell.get("outputs", []):
            data = out.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = near_links(
                    text_of(data["text/markdown"]), page, home, shown
                )
        picture = any(
            "image/png" in o.get("data", {}) or "image/svg+xml" in o.get("data", {})
            for o in cell.get("outputs", [])
        )
        if picture and not re.search(r"^#\|\s*fig-alt:", text_of(cell["source"]), re.M):
            cell["source"] = (
                f"#| fig-alt: {json.dumps(describe(cells, i), ensure_ascii=False)}\n"
                + text_of(cell["source"])
            )

    def markdown(text):
        return dict(cell_type="markdown", metadata={}, source=text)

    head = next((i + 1 for i, c in enumerate(cells[:3]) if c["cell_type"] == "raw"), 0)
    if source and any(c["cell_type"] == "code" for c in cells):
        colab = source.replace(
            "https://github.com/", "https://colab.research.google.com/github/"
        )
        cells.insert(
            head,
            markdown(
                f"::: {{.page-links}}\n[Open in Colab]({colab}) · [This page's "
                f"notebook]({source})\n:::\n"
            ),
        )
    everything = "".join(text_of(c["source"]) for c in cells if c["cell_type"] == "markdown")
    up = "../" * page.count("/")
    for mark, script in SCRIPTS.items():
        if mark in everything:
            cells.append(
                markdown(f'```{{=html}}\n<script src="{up}site/{script}"></script>\n```\n')
            )
    return nb


# ---------------------------------------------------------------- the API page


def modules() -> list[tuple[str, str]]:
    "(module, its notebook) in the order of the sidebar."
    tree = yaml.safe_load((ROOT / "nbs" / "sidebar.yml").read_text(encoding="utf-8"))[
        "website"
    ]["sidebar"]["contents"]
    entries = [
        p
        for item in tree
        for p in (item.get("contents", [item]) if isinstance(item, dict) else [item])
    ]
    order = [p["href"] if isinstance(p, dict) else p for p in entries]
    found = {}
    for file in sorted((ROOT / "centernet_nb").glob("[!_]*.py")):
        edit = re.search(
            r"File to edit: \.\./nbs/(\S+\.ipynb)", file.read_text(encoding="utf-8")
        )
        if edit:
            found[edit[1]] = file.stem
    return [
        (found[p], p)
        for p in sorted(found, key=lambda p: order.index(p) if p in order else len(order))
    ]


def entry(module, name: str, where: dict, notebook: str, git: str) -> str:
    """The Markdown of one public name: heading that links to its page, docstring, signature
    with docments, methods, source."""
    from fastcore.docments import DocmentText

    obj = getattr(module, name)
    page, file = where.get(f"{module.__name__}.{name}", (notebook, None))
    head = f"### [{name}]({page}) {{#{name.lower()}}}\n\n"
    if not (inspect.isclass(obj) or inspect.isfunction(obj)):
        return head + f"```python\n{name} = {shorten(repr(obj))}\n```\n"
    line, doc = (
        inspect.getsourcelines(obj)[1],
        inspect.cleandoc(
            vars(obj).get("__doc__") or "" if inspect.isclass(obj) else obj.__doc__ or ""
        ),
    )
    try:
        shown = str(DocmentText(obj, maxline=110, docstring=False))
    except (OSError, TypeError, ValueError):
        shown = name + signature(obj)  # a class whose methods Python generated
    text = head + (f"{doc}\n\n" if doc else "") + f"```python\n{shown}\n```\n\n"
    methods = (
        [
            m
            for m, f in vars(obj).items()
            if not m.startswith("_")
            and m != "forward"
            and (inspect.isfunction(f) or isinstance(f, (classmethod, staticmethod)))
        ]
        if inspect.isclass(obj)
        else []
    )
    for m in methods:
        f = getattr(obj, m)
        said = inspect.cleandoc(f.__doc__ or "").split("\n")[0]
        text += f"- `{name}.{m}{signature(f)}`" + (f": {said}" if said else "") + "\n"
    return text + f"\n[source]({git}#L{line}) · [explained here]({page})\n"


def signature(f) -> str:
    "A signature in one line, shortened."
    return shorten(re.sub(r"\s+", " ", str(inspect.signature(f))), 140)


def shorten(text: str, width: int = 200) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def api_page() -> str:
    "api.qmd: every public name of every module."
    syms = importlib.import_module("centernet_nb._modidx").d["syms"]
    cfg, parts = (
        settings(),
        [
            '---\ntitle: API\ndescription: "Every public name, with its signature, and the '
            'page that explains it"\ntoc-depth: 2\n---\n'
        ],
    )
    for name, notebook in modules():
        module = importlib.import_module(f"centernet_nb.{name}")
        intro = (module.__doc__ or "").strip().split("\n")[0]
        git = f"{cfg['git_url']}/blob/{cfg['branch']}/centernet_nb/{name}.py"
        classes = [
            c
            for c in vars(module).values()
            if inspect.isclass(c) and c.__module__ == module.__name__
        ]

        def method(f):
            return inspect.isfunction(f) and any(f in vars(c).values() for c in classes)

        names = [
            n
            for n in module.__all__
            if not n.startswith("_") and not method(getattr(module, n))
        ]
        parts.append(
            f"## centernet_nb.{name} {{#{name}-module}}\n\n{intro}. Written in "
            f"[{Path(notebook).name}]({notebook}).\n\n"
            + ", ".join(f"[`{n}`](#{n.lower()})" for n in names)
            + "\n"
        )
        parts += [
            entry(module, n, syms.get(f"centernet_nb.{name}", {}), notebook, git)
            for n in names
        ]
    return "\n".join(parts)


# ---------------------------------------------------------------- the detector's model


def write_model(path: Path, size: int = 512) -> dict:
    """The built-in text model as ONNX, or where there is none yet an untrained one that says
    so; returns its labels."""
    import torch
    from centernet_nb.deploy import export_onnx
    from centernet_nb.network import CenterNet, load_model

    torch.set_num_threads(1)
    if (ROOT / "centernet_nb" / "models" / "text.safetensors").exists():
        net, labels = load_model("text"), {}
    else:
        torch.manual_seed(0)
        net = CenterNet(
            pretrained=False,
            head_kwargs=dict(c_classes=1),
            backbone_kwargs=dict(depth=18, stages=3),
        ).eval()
        labels = dict(names=["text"], size=256, untrained=True)
    net.points_to_objects.objects_per_image, net.points_to_objects.min_confidence = 100, 0.05
    path.parent.mkdir(parents=True, exist_ok=True)
    export_onnx(net, path, **labels)
    labels = {
        "size": size,
        **{
            k: v
            for k, v in {**getattr(net, "labels", {}), **labels}.items()
            if isinstance(v, (str, int, float, bool, list))
        },
    }
    path.with_suffix(".json").write_text(
        json.dumps({**labels, "bytes": path.stat().st_size}), encoding="utf-8"
    )
    return labels


def main() -> None:
    if not os.environ.get("QUARTO_PROJECT_RENDER_ALL"):
        return  # a single page is being rendered, such as README.md
    stage, s = Path.cwd(), settings()
    home, git = s["doc_host"] + s["doc_baseurl"], f"{s['git_url']}/blob/{s['branch']}/nbs"
    shown = shown_names(stage)
    for path in staged(stage):
        if path.suffix != ".ipynb" or (stage / ".completed").exists():
            continue
        page = path.relative_to(stage).as_posix()
        nb = complete(
            json.loads(path.read_text(encoding="utf-8")),
            page,
            home,
            None if page == "index.ipynb" else f"{git}/{page}",
            shown,
        )
        path.write_text(json.dumps(nb, ensure_ascii=False), encoding="utf-8")
    (
        stage / ".completed"
    ).touch()  # a second render of the same staging must not add a second time
    (stage / "api.qmd").write_text(api_page(), encoding="utf-8")
    write_model(stage / "site" / "text.onnx")


if __name__ == "__main__":
    main()
