"""The picture at the top of the README: what the text model of the package makes of a photo
that no training has seen (of the 60 photos that lesson 06 holds out).

python tools/hero.py [photo.jpg]     writes nbs/site/hero.jpg

The photo is img_364 of ICDAR 2015 *Incidental Scene Text* (Karatzas et al., CC BY 4.0), cut."""

import os
import sys
from pathlib import Path
import matplotlib

matplotlib.use("agg")
import torch
from PIL import Image
from centernet_nb.deploy import fit
from centernet_nb.draw import axes_grid, show_boxes, show_heatmap, show_image
from centernet_nb.network import load_model

ROOT = Path(__file__).resolve().parent.parent
PHOTO = "data/icdar2015_full/images/img_364.jpg"
CUT = (690, 60, 1280, 460)  # left, top, right, bottom: words that can be read on a phone


def hero(photo):
    "Photo, heat and boxes side by side; returns the figure."
    net = load_model("text")
    x, place = fit(photo, 960)
    with torch.no_grad():
        points = net(torch.from_numpy(x))
        objects = place.back(net.decode(points)[0])
    (h, w), scale = place.hw, place.scale[0]
    heat = points[0, :-4, : round(h * scale / 4), : round(w * scale / 4)]
    height = 2.2 * h / w + 0.3
    left, middle, right = axes_grid(3, cols=3, size=(2.2, height))
    show_image(photo, left, "a photo it has never seen")
    show_heatmap(heat.sqrt(), photo, middle, ring=0.5, title="a peak for each word")
    show_boxes(photo, objects, ax=right, min_confidence=0.3, title="a box read off each peak")
    for ax in (left, middle, right):
        ax.title.set_fontsize(10)
    return left.figure


if __name__ == "__main__":
    data = Path(os.environ.get("CENTERNET_NB_DATA", "."))
    photo = Image.open(sys.argv[1] if sys.argv[1:] else data / PHOTO).convert("RGB").crop(CUT)
    figure = hero(photo)
    figure.savefig(ROOT / "nbs/site/hero.jpg", dpi=200, pil_kwargs=dict(quality=80))
