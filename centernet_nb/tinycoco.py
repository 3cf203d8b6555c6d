from pathlib import Path
import numpy as np
import torch
from fastcore.script import call_parse
from torch.utils.data import Dataset
from centernet_nb.checks import DownloadError
from centernet_nb.data import CocoObjects, find_tinycoco
from centernet_nb.evaluate import decoding, evaluate, predict
from centernet_nb.loss import CenterNetLoss
from centernet_nb.network import CenterNet, save_model
from centernet_nb.shapes import SceneDataset
from centernet_nb.train import train

class Mirrored(Dataset):
    "`dataset`, every second look at a picture mirrored: twice the pictures for the price of a coin (torch's)."
    def __init__(self, dataset): self.dataset, self.names = dataset, dataset.names
    def __len__(self): return len(self.dataset)
    def __getitem__(self, i):
        image, objects, ignore = self.dataset[i]
        if torch.rand(()) < .5: return image, objects, ignore
        objects = objects.clone(); objects[:, 1] = image.shape[2] - objects[:, 1]
        return image.flip(2), objects, ignore.flip(1)

class SharpCentres(Dataset):
    "`dataset`, with nothing ignored within two cells of a real object's centre: its neighbours must learn to stay below it."
    def __init__(self, dataset): self.dataset, self.names = dataset, dataset.names
    def __len__(self): return len(self.dataset)
    def __getitem__(self, i):
        image, objects, ignore = self.dataset[i]
        ignore = ignore.clone()
        for y, x in (objects[:, :2] / 4).int().tolist(): ignore[max(0, y - 2):y + 3, max(0, x - 2):x + 3] = False
        return image, objects, ignore

def tiny_data(categories:str="person", # "all", or names with commas between
              size:int=None,           # side of the picture; None: 256 for photos (letterboxed), 128 for scenes
              data:str=None,           # folder of TinyCoco; None: wherever it is found
              generated:bool=False,    # take generated scenes, photos or not
             ) -> tuple: # training pictures, pictures to evaluate on, "photos" or "scenes"
    "TinyCoco (evaluated on the same 16 photos), or where it cannot be had generated scenes (evaluated on 200 others)."
    try: folder, annotations, _ = (None,) * 3 if generated else find_tinycoco(data)
    except DownloadError as e: print(f"{e}\nso the training takes generated scenes"); generated = True
    if generated: return Mirrored(SceneDataset(3000, seed=0, size=size or 128, cache=True)), SceneDataset(200, seed=1, size=size or 128, cache=True), "scenes"
    names = None if categories == "all" else [n.strip() for n in categories.split(",")]
    photos = CocoObjects(folder, annotations, categories=names, size=size or 256, cache=True)
    return SharpCentres(photos), photos, "photos"

def loss_fifths(history) -> list: # five means
    "Mean loss of each fifth of a run."
    return [float(part.mean()) for part in np.array_split([row["loss"] for row in history], 5) if len(part)]

def show_detections(net, dataset,         # as trained; items (image, objects[, ignore])
                    indices,              # which pictures
                    min_confidence:float=.3, size:float=2.8):
    "For each picture: the truth, what `net` finds, and its heatmap; returns the axes."
    from centernet_nb.draw import axes_grid, show_boxes, show_heatmap
    names, axes = getattr(dataset, "names", None), axes_grid(3 * len(indices), cols=3, size=size)
    device = next(net.parameters()).device
    for (left, middle, right), i in zip(np.reshape(axes, (-1, 3)), indices):
        image, objects, *_ = dataset[i]
        with decoding(net, min_confidence=min_confidence): points = net(image[None].to(device)); found = net.decode(points)[0]
        show_boxes(image, objects, names, left, f"truth: {len(objects)} objects")
        show_boxes(image, found, names, middle, f"found: {int((found[:, 5] > 0).sum())}")
        show_heatmap(points[0, :-4], image, right, alpha=.95, title="its heatmap")
    return axes

RECIPES = {"person": dict(steps=400, warmup=50, batch_size=8), "photos": dict(steps=600, warmup=50, batch_size=8),
           "scenes": dict(steps=1150, warmup=100, batch_size=16, ema=.99)}

def recipe(categories:str, kind:str) -> dict:
    "The settings for a training on these categories of the photos, or on the scenes."
    return dict(lr=1e-3, **RECIPES["scenes" if kind == "scenes" else "person" if categories == "person" else "photos"])

def network_and_loss(kind:str, classes:int, depth:int=18, seed:int=0) -> tuple: # `CenterNet`, `CenterNetLoss`
    "What to train, from random weights, on the photos or on the scenes."
    torch.manual_seed(seed)
    body, loss = (dict(stages=3, skips=True), dict(gaussian="adaptive")) if kind == "scenes" else ({}, {})
    net = CenterNet(pretrained=False, head_kwargs=dict(c_classes=classes), backbone_kwargs=dict(depth=depth, **body))
    return net, CenterNetLoss(from_logits=True, **loss)

def report(net, result, dataset, folder,
           what:str):       # a line that says what was trained
    "Write table.md, losses.png, detections.png and model.pth into `folder`, and say so."
    from centernet_nb.draw import save_figure, show_losses
    folder, last, fifths = Path(folder), net.history[-1], loss_fifths(net.history)
    scores = result.table(classes=len(result.names) < 9)
    text = f"{what}: {last['step']} steps in {last['seconds']:.0f} s\n\n{scores}\n\nmean loss of each fifth: " + " ".join(f"{f:.3g}" for f in fifths)
    (folder / "table.md").write_text(text + "\n")
    save_figure(folder / "losses.png", show_losses(net.history, title=what))
    busiest = sorted(range(len(dataset)), key=lambda i: -len(dataset[i][1]))[:4]
    save_figure(folder / "detections.png", show_detections(net, dataset, busiest, size=4)[0])
    save_model(net, folder / "model.pth", names=list(result.names), what=what, ap=result.ap, ap50=result.ap50)
    print(f"\n{text}\n\nin the folder {folder}: table.md, losses.png, detections.png, model.pth, run.csv (every step)")

def train_tinycoco(
    categories:str="person",    # "person", "all", or names with commas between
    depth:int=18,               # of the ResNet: 18 or 34
    steps:int=None,             # None: as the recipe has it
    size:int=None,              # side of the picture; None: 256 for photos, 128 for scenes
    out:str=None,               # folder for all that comes out; None: runs/ and what is trained, such as runs/person18
    data:str=None,              # folder of TinyCoco; None: wherever it is found
    generated:bool=False,       # train on generated scenes, photos or not
    again:bool=False,           # start over, even if `out` holds a run (it is continued otherwise)
):
    "Train CenterNet on TinyCoco's 16 photos from random weights, score it by COCOeval, and draw what it finds."
    dataset, valid, kind = tiny_data(categories, size, data, generated)
    what = f"ResNet-{depth}, {'generated scenes' if kind == 'scenes' else categories + ' of 16 photos'}, {valid[0][0].shape[-1]} px"
    out = out or f"runs/{'scenes' if kind == 'scenes' else categories.replace(', ', ',')}{depth}"
    settings = recipe(categories, kind); settings["steps"] = steps or settings["steps"]
    net, loss = network_and_loss(kind, len(dataset.names), depth)
    print(f"{what}: {settings['steps']} steps of {settings['batch_size']} pictures")
    net = train(dataset, net=net, criterion=loss, checkpoint=Path(out) / "run.pth", resume=not again, **settings)
    net.result = evaluate(net, valid)
    report(net, net.result, valid, out, what)
    return net

if __name__ == "__main__": call_parse(train_tinycoco)()
