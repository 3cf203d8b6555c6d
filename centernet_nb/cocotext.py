import sys
import torch
from PIL import Image
from centernet_nb.checks import moved
from centernet_nb.data import normalise, open_image
from centernet_nb.evaluate import decoding
from centernet_nb.loss import CenterNetLoss
from centernet_nb.network import CenterNet, load_model, save_model
from centernet_nb.textdata import CocoText, Mixed, WordCrops, find_scene_text, held_out, padded
from centernet_nb.textlayout import get_cocotext
from centernet_nb.train import train
from centernet_nb.words import WordDataset

def find_text(
    photo,                      # path of a picture, or a PIL image in RGB
    net=None,                   # a trained `CenterNet`; None = the package's own
    zoom:float=None,            # enlargement at which it looks; None = the model's own, or 2
    min_confidence:float=None,  # words below are left out; None = the model's own, or 0.3
) -> torch.Tensor:              # [N, 6] rows (y, x, h, w, class, confidence) in pixels
    "The words in one picture of any shape, best first."
    net = net or load_model("text")
    labels = getattr(net, "labels", {})
    image = photo if isinstance(photo, Image.Image) else open_image(photo)
    place = padded(zoom or labels.get("zoom", 2.)).place((image.height, image.width))
    floor = labels.get("min_confidence", .3) if min_confidence is None else min_confidence
    x = normalise(place.image(image))[None]
    with decoding(net, 100, floor): objects = net(x, return_objects=True)[0].float().cpu()
    return place.back(objects[objects[:, 5] > 0])

RECIPES = dict(generated=dict(size=160, steps=1400, batch_size=16, lr=2e-3, ema=.995),
               real=dict(size=320, steps=4500, batch_size=8, lr=6e-4, ema=.998),
               full=dict(size=512, epochs=30, batch_size=64, lr=2e-3, ema=.999,
                         batch_norm="sync", workers=8))

def small_net(
    trunk=False,        # `pretrained` of `CenterNet`: random, ImageNet, or a file of weights
    classes:int=1,      # 1 = text
    depth:int=18,       # of the ResNet
    stages:int=3,       # 3 = as far as stride 16
) -> CenterNet:
    "ResNet-18 as far as stride 16, with the earlier stages added on the way up."
    backbone = dict(depth=depth, stages=stages, skips=True)
    return CenterNet(pretrained=trunk, backbone_kwargs=backbone,
                     head_kwargs=dict(c_classes=classes),
                     points_to_objects_kwargs=dict(objects_per_image=100))

def text_data(
    recipe:str="generated",     # "generated", "real" or "full"
    annotations=None,           # file of COCO-Text's layout (not for "generated")
    folder=None,                # its pictures
    size:int=None,              # side of the crops; None: as the recipe says
    generated:int=20000,        # generated pictures to draw from
    share:int=3,                # real crops to each generated picture
    held:int=40,                # pictures of *train* on which the checkpoint is chosen
    zoom:float=2.,              # enlargement at which those are looked at
    legible_only:bool=True,     # False: unreadable words are learnt as words too
    seed:int=0,                 # of the generated pictures
) -> tuple:     # (training dataset, validation dataset)
    "What a recipe trains on, and what it chooses its checkpoint by."
    if recipe not in RECIPES: raise ValueError(f"{recipe=}: one of {', '.join(RECIPES)}")
    words = WordDataset(generated, seed + 1, size := size or RECIPES[recipe]["size"])
    if recipe == "generated": return words, WordDataset(held, seed + 10**6, size)
    how = dict(annotations=annotations, folder=folder, on_bad="skip")
    ids, chosen = held_out(CocoText(size=32, min_area=0, **how).image_ids, held)
    look = dict(zoom=zoom) if recipe == "real" else dict(size=int(640*zoom))
    valid = CocoText(image_ids=chosen, **look, **how)
    crops = CocoText(augment=WordCrops(size), image_ids=ids, min_area=0,
                     cache=recipe == "real", legible_only=legible_only, **how)
    if not share: return crops, valid
    crops = torch.utils.data.ConcatDataset([crops]*max(1, generated//len(crops))*share)
    return Mixed(crops, words, shares=(share, 1)), valid

def train_cocotext(
    recipe:str="generated",     # "generated", "real" (photos and generated words) or "full"
    annotations:str=None,       # file of COCO-Text's layout; "full" fetches its own without
    folder:str=None,            # its pictures
    trunk:str="",               # weights to start from: "" = random, "imagenet", or a file
    out:str=None,               # where the trained model goes
    size:int=None,              # side of the crops; None = as the recipe says, as below
    steps:int=None,
    batch_size:int=None,
    lr:float=None,
    seed:int=0,
    workers:int=0,              # processes that load pictures
    checkpoint:str=None,        # file to keep the run in, and to go on from
    valid_every:str="5m",       # time or steps between scores on held-out training pictures
    compile:bool=False,         # through torch.compile
    progress:bool=True,
) -> CenterNet:                 # the best of its checkpoints
    "Train a text detector by a recipe; `torchrun` spreads it over processes."
    if recipe == "full" and not annotations: annotations, folder, _ = get_cocotext(folder)
    dataset, valid = text_data(recipe, annotations, folder, size)
    chosen = dict(steps=steps, batch_size=batch_size, lr=lr, workers=workers or None)
    settings = RECIPES[recipe] | {k: v for k, v in chosen.items() if v is not None}
    every = int(valid_every) if str(valid_every).isdigit() else valid_every
    return _train(dataset, valid, settings, trunk, out, seed=seed, checkpoint=checkpoint,
                  valid_every=every, compile=compile, progress=progress)

def _train(dataset, valid, settings, trunk, out, **kwargs):
    "The loop of notebook `train` with the recipe's settings; the model is kept at `out`."
    settings = {k: v for k, v in settings.items() if k != "size"}
    if settings.get("steps"): settings.pop("epochs", None)
    if not torch.cuda.is_available(): settings.pop("batch_norm", None)      # has no "sync"
    net = small_net({"": False, "imagenet": True}.get(trunk, trunk))
    criterion = CenterNetLoss(from_logits=True, gaussian="ellipse")
    net = train(dataset, net=net, criterion=criterion, valid=valid, **settings, **kwargs)
    labels = dict(names=["text"], zoom=2., size=1280, min_confidence=.3, best=net.best)
    if out: save_model(net, out, half=True, **labels)
    return net

__getattr__ = moved(__name__, **dict.fromkeys(
    ("CLASSES", "ANNOTATIONS", "PICTURES", "read_layout", "layout_to_coco", "sound_picture",
     "fetch_pictures"), "textlayout"))
if __name__ == "__main__" and sys.argv[0].endswith("cocotext.py"):  # python -m …
    from fastcore.script import call_parse
    call_parse(train_cocotext)()
