"""The picture at the top of the README, from the model that `centernet_tinycoco --categories
all --out runs/all` leaves.

python tools/hero.py [runs/all/model.safetensors]     writes nbs/site/hero.jpg
"""

import sys
from pathlib import Path
import matplotlib

matplotlib.use("agg")
import numpy as np
from centernet_nb.data import CocoObjects
from centernet_nb.draw import axes_grid, show_boxes, show_image
from centernet_nb.evaluate import decoding
from centernet_nb.network import load_model
from centernet_nb.photos import find_tinycoco
from centernet_nb.pictures import open_image

ROOT = Path(__file__).resolve().parent.parent
PHOTO = 60623  # COCO's 000000060623, CC BY 2.0


def hero(model):
    "Photo, heatmap and boxes side by side; returns the figure."
    folder, annotations, _ = find_tinycoco()
    data, net = CocoObjects(folder, annotations), load_model(model)
    i = data.image_ids.index(PHOTO)
    photo, place = open_image(data.path(i)), data.letterbox.place(data._hw[i])
    with decoding(net, min_confidence=0.3):
        points = net(data[i][0][None])
        objects = place.back(net.decode(points)[0])
    w, h = photo.size
    left, middle, right = axes_grid(3, cols=3, size=(4, 4 * h / w + 0.25))
    show_image(photo, left, "a photo")
    show_image(
        (np.asarray(photo) * 0.35).astype("uint8"),
        middle,
        "what the network sees: one peak an object",
    )
    (scale, _), (top, start), side = place.scale, place.shift, data.size[0]
    heat = points[0, :-4].amax(0).sqrt().numpy()
    middle.imshow(
        heat,
        cmap="inferno",
        vmin=0,
        vmax=1,
        alpha=np.clip(1.5 * heat, 0, 1),
        interpolation="bilinear",
        extent=[-start / scale, (side - start) / scale, (side - top) / scale, -top / scale],
    )
    real = objects[objects[:, 5] > 0]
    middle.plot(real[:, 1], real[:, 0], "o", ms=11, mfc="none", mec="white", mew=1)
    middle.set(xlim=(0, w), ylim=(h, 0))
    show_boxes(photo, real, data.names, right, "what it reads off the peaks")
    return left.figure


if __name__ == "__main__":
    figure = hero(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs/all/model.safetensors")
    figure.savefig(ROOT / "nbs/site/hero.jpg", dpi=90, pil_kwargs=dict(quality=85))
