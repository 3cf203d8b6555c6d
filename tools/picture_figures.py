"""Still pictures of the interactive figures, for readers without JavaScript (GitHub).

python tools/picture_figures.py, after `make docs`"""

import base64
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import Browser, served  # noqa: E402


def shoot(b, css, path):
    "One element of the open page as a picture of at most 100 KB."
    b.js("document.querySelector(arguments[0]).scrollIntoView({block: 'start'})", css)
    box = b.js(
        "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [r.x + scrollX, r.y + scrollY, r.width, r.height]",
        css,
    )
    for scale in (1, 0.8, 0.65, 0.5):
        clip = dict(zip(("x", "y", "width", "height"), box), scale=scale)
        kind = "jpeg" if path.suffix == ".jpg" else "png"
        how = dict(format=kind, clip=clip, captureBeyondViewport=True)
        shot = b.cdp("Page.captureScreenshot", **how)
        data = base64.b64decode(shot["data"])
        if len(data) < 100_000:
            break
    path.write_bytes(data)
    print(path.name, len(data))


if __name__ == "__main__":
    site, out = (
        Path(sys.argv[1]) if sys.argv[1:] else ROOT / "_docs",
        ROOT / "nbs" / "site" / "figures",
    )
    out.mkdir(exist_ok=True)
    with served(site, "/centernet_nb/") as home, Browser(width=1400, height=1000) as b:
        b.open(home + "figures_to_touch.html")
        for name in ("gaussian", "overlap", "peaks"):
            shoot(b, f"[data-figure={name}]", out / f"{name}.png")
        b.open(home + "nms.html")
        b.js("document.querySelector('[data-apart]').scrollIntoView()")
        b.wait("document.querySelector('[data-apart]').dataset.state === 'done'")
        shoot(b, "[data-apart]", out / "apart.jpg")
        b.open(home + "detector.html")
        b.wait("document.querySelectorAll('.cnb-samples button').length > 1")
        b.js(
            "const s = document.querySelector('.cnb-detector select'); s.value = "
            "s.options[0].value"
        )
        b.click(".cnb-samples button")
        b.wait(
            "document.querySelector('[data-detector]').dataset.state === 'done'", seconds=300
        )
        print(b.js("return document.querySelector('.cnb-note').textContent"))
        shoot(b, ".cnb-stage canvas", out / "detector.jpg")
