"""The text detector's scores and costs on photos, through the very path of `centernet_detect`

    python benchmarks/text.py --folder FOLDER --set val
    python benchmarks/text.py --annotations FILE --folder PICTURES --set train --ids 5:1001:5
    python benchmarks/text.py --folder FOLDER --set train --photos 20 --model FILE
    python benchmarks/text.py --folder FOLDER --set train --held 40
    python benchmarks/text.py --folder FOLDER --set train --photos 200 --once
    python benchmarks/text.py --folder FOLDER --set train --photos 200 --once --zoom 1

Without --annotations FOLDER holds cocotext_layout.json and images/, as ICDAR 2015 does here.
Words that cannot be read and those under 1/1024 of their photo are ignored. The intervals come
from 1,000 draws of as many photos, with replacement. Seconds are those of one core, from file
to boxes; memory is the peak of a process of its own, over what `import torch` takes."""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
import torch
from common import clock, high_water
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from centernet_nb.detect import detect
from centernet_nb.network import load_model
from centernet_nb.scores import evaluate_detect, score_table
from centernet_nb.textdata import CocoText, find_scene_text, held_out

SIZES = (1280, 720), (4000, 3000), (8000, 1000)  # of photos whose memory is told


def chosen_ids(text):
    "Ids of photos: `1,2,9`, or `start:stop:step` as of `range`"
    if not text:
        return None
    if ":" in text:
        return [*range(*map(int, text.split(":")))]
    return [int(i) for i in text.split(",")]


def photos_of(args, **how):
    "The photos asked for, as they are"
    found = find_scene_text(args.folder)
    annotations = args.annotations or (found and found[0])
    if not annotations:
        sys.exit(f"{args.folder} holds no cocotext_layout.json: name it by --annotations")
    folder = args.folder if args.annotations else found[1]
    wanted = CocoText(annotations, folder, args.set, **how)
    ids = [i for i in chosen_ids(args.ids) or wanted.image_ids if i in wanted.image_ids]
    ids = held_out(ids, args.held)[1] if args.held else ids[: args.photos]
    if not ids:
        sys.exit(f"none of the photos --ids {args.ids} is in the set {args.set}")
    return CocoText(annotations, folder, args.set, image_ids=ids, **how)


def macs(net, hw):
    "Multiplications with addition of one look at a photo of `hw`"
    counter = FlopCounterMode(display=False)
    with counter:
        detect(net, Image.new("RGB", hw[::-1]))
    return counter.get_total_flops() / 2


def seconds(net, paths):
    "Median processor time of a photo, from its file to its words, after one that warms up"
    detect(net, paths[0])
    return statistics.median(clock(lambda p=p: detect(net, p), processor=True) for p in paths)


def peak(model, size):
    "Bytes that looking at a photo of `size` (width, height) takes over `import torch`"
    code = "import common; before = common.high_water()"  # it imports torch
    code += f"; import text; text.one_photo({model!r}, {size}, before)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parent,
    )
    return int(done.stdout.split()[-1])


def one_photo(model, size, before):
    "In a process of its own: the rise of the peak of memory, printed"
    torch.set_num_threads(1)
    detect(load_model(model), Image.effect_noise(size, 50).convert("RGB"))
    print(high_water() - before)


def costs(model, net, photos):
    "Lines: multiplications, processor time and memory"
    info = photos.coco.imgs[photos.image_ids[0]]
    hw, paths = (
        (info["height"], info["width"]),
        [*map(photos.path, range(min(20, len(photos))))],
    )
    yield (
        f"A photo of {hw[1]} x {hw[0]}: {macs(net, hw) / 1e9:.1f} GMAC, "
        f"{seconds(net, paths):.2f} CPU-seconds (median of {len(paths)})."
    )
    peaks = [f"{peak(model, s) / 2**20:.0f} MiB at {s[0]} x {s[1]}" for s in SIZES]
    yield f"Memory over `import torch`: {', '.join(peaks)}."


def into_card(card, name, text):
    "Put `text` between the comments `name` and `end` of a model card"
    path = Path(card)
    old = path.read_text(encoding="utf-8")
    first, found, rest = old.partition(f"<!-- {name} -->\n")
    if not found:
        sys.exit(f"{path.name} has no line <!-- {name} -->")
    end = rest[rest.index("<!-- end -->") :]
    path.write_text(f"{first}{found}{text}\n{end}", encoding="utf-8")


def without(args):
    "What of a model's own way of looking is changed"
    changed = dict(tiled=False if args.once else None, zoom=args.zoom)
    changed["suppress"] = False if args.doubles else None
    return {name: value for name, value in changed.items() if value is not None}


def main(args):
    torch.set_num_threads(1)
    net, photos, name = load_model(args.model), photos_of(args), Path(args.folder).name
    net.labels.update(without(args))
    table = score_table(evaluate_detect(net, photos), net.labels["min_confidence"])
    text = "\n".join([table, "", *costs(args.model, net, photos)])
    print(f"{Path(args.model).stem} on {name}, set {args.set}\n\n{text}\n")
    if args.card:
        into_card(args.card, f"{name} {args.set}", text)
        about = [f"{k}: {net.labels[k]}" for k in ("data", "recipe") if k in net.labels]
        into_card(args.card, "labels", "\n\n".join(about))


def arguments(doc):
    "What this command and `rivals.py` are told"
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", required=True, help="of the pictures, or one for both")
    parser.add_argument("--annotations", help="file of COCO-Text's layout")
    parser.add_argument("--set", default="val", help="train or val")
    parser.add_argument("--ids", help="of photos, 1,2,3 or start:stop:step; else all")
    parser.add_argument("--photos", type=int, help="at most so many")
    parser.add_argument("--held", type=int, help="the so many that a recipe holds out")
    parser.add_argument("--model", default="text", help="a file, or a model of the package")
    return parser


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--once", action="store_true", help="one look at each photo, no more")
    parser.add_argument("--zoom", type=float, help="times a photo is enlarged at most")
    parser.add_argument(
        "--doubles", action="store_true", help="with --once: boxes that cover each other stay"
    )
    parser.add_argument("--card", help="model card to put the table into")
    main(parser.parse_args())
