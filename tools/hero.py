"""The picture at the top of the README: what the text model of the package makes of a photo
that no training has seen (of the 60 photos that lesson 06 holds out).

python tools/hero.py [photo.jpg]     writes nbs/site/hero.jpg

The photo is img_195 of ICDAR 2015 *Incidental Scene Text* (Karatzas et al., CC BY 4.0), cut
after the network has seen the whole."""

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
PHOTO = "data/icdar2015_full/images/img_195.jpg"
CUT = (16, 112, 448, 432)  # left, top, right, bottom: whole cells, and words a phone can show


def hero(photo, cut=CUT):
    "A part of the photo, its heat and its boxes side by side; returns the figure."
    net = load_model("text")
    x, place = fit(photo, 960)
    with torch.no_grad():
        points = net(torch.from_numpy(x))
        objects = place.back(net.decode(points)[0])
    objects[:, 0] -= cut[1]
    objects[:, 1] -= cut[0]
    left, top, right, bottom = (round(v * place.scale[0] / 4) for v in cut)
    heat, part = points[0, :-4, top:bottom, left:right], photo.crop(cut)
    height = 2.2 * part.height / part.width + 0.3
    axes = axes_grid(3, cols=3, size=(2.2, height))
    show_image(part, axes[0], "a photo it has never seen")
    show_heatmap(heat, part, axes[1], title="a peak for each word")
    title = "a box read off each peak"
    show_boxes(part, objects, ax=axes[2], min_confidence=0.3, scores=False, title=title)
    for ax in axes:
        ax.title.set_fontsize(10)
        ax.set(xlim=(0, part.width), ylim=(part.height, 0))
    return axes[0].figure


if __name__ == "__main__":
    data = Path(os.environ.get("CENTERNET_NB_DATA", "."))
    photo = Image.open(sys.argv[1] if sys.argv[1:] else data / PHOTO).convert("RGB")
    figure = hero(photo)
    figure.savefig(ROOT / "nbs/site/hero.jpg", dpi=200, pil_kwargs=dict(quality=80))
