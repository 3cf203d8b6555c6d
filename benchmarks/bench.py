"""The speed table: every row is a ratio, measured side by side in one process.

    make bench                          all rows
    python benchmarks/bench.py decode loss   just these
    python benchmarks/bench.py share      where the milliseconds of a step and of a photo go
    python benchmarks/bench.py --guard    the quick rows (of two pictures) against bench.json's
                                          ratios, with room for noise; the test command runs it

The runs of a row are interleaved (ours, other, ours, other, …), so that whatever else the
machine does hits both; what is printed is the median of the paired ratios with the quartiles.
Each row checks first that its result is right, and its last column says against what. What
is called the original's way or the usual way is written anew here, not their code."""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
import numpy as np
import torch
import torch.nn.functional as F
from common import DEVICE, HERE, chosen, clock, keep, kept, machine, paired, ratios
from torch import nn

TABLE = HERE / "bench.json"


def alone(ours, other, rounds=9):
    "`paired` on one thread by the processor's clock: no neighbour and no second core counts"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = paired(ours, other, rounds, processor=DEVICE == "cpu")
    torch.set_num_threads(threads)
    return found


def scene(batch, classes, side, objects, seed=0):
    "Random objects `[batch, objects, 6]` in output pixels of a `side`×`side` map."
    g = torch.Generator().manual_seed(seed)
    u = lambda *s: torch.rand(*s, generator=g)
    rows = torch.zeros(batch, objects, 6)
    rows[..., 0:2] = u(batch, objects, 2) * (side - 1e-3)
    rows[..., 2:4] = 2 + u(batch, objects, 2) ** 2 * side / 3
    rows[..., 4] = torch.randint(classes, (batch, objects), generator=g)
    rows[..., 5] = 1
    return rows.to(DEVICE)


def trained_maps(batch=16, classes=80, side=128, objects=20, seed=0):
    """Maps as a trained net gives them: Gaussian bumps of many heights over a floor of small
    probabilities."""
    from centernet_nb.convert import ObjectsToPoints

    points = ObjectsToPoints(hw=side, num_classes=classes, gaussian="adaptive")(
        scene(batch, classes, side, objects, seed)
    ).clone()
    g = torch.Generator().manual_seed(seed)
    floor = torch.sigmoid(torch.randn(batch, classes, side, side, generator=g) * 0.8 - 7)
    heights = 0.3 + 0.7 * torch.rand(batch, classes, 1, 1, generator=g)
    points[:, :classes] = torch.maximum(
        points[:, :classes] * heights.to(DEVICE), floor.to(DEVICE)
    )
    return points


def usual_decode(points, k=100, floor=0.1):
    """The usual way: max-pool over every map, top k of each class, top k of those (as the
    paper's code does)."""
    b, c4, h, w = points.shape
    heat = points[:, : c4 - 4]
    heat = heat * (F.max_pool2d(heat, 3, stride=1, padding=1) == heat)
    score, cell = heat.flatten(2).topk(k)
    score, which = score.flatten(1).topk(k)
    cls, cell = which // k, cell.flatten(1).gather(1, which)
    off = points[:, c4 - 4 :].flatten(2).gather(2, cell[:, None].expand(-1, 4, -1))
    rows = torch.stack(
        [
            cell // w + off[:, 0],
            cell % w + off[:, 1],
            off[:, 2],
            off[:, 3],
            cls.float(),
            score,
        ],
        -1,
    )
    return rows * (score >= floor)[..., None]


def same_rows(a, b):
    "Rows agree; of equal confidences either order is right, and at the last place either row."
    key = lambda r: r[np.lexsort(r.T[::-1])]
    for x, y in zip(a.cpu().double().numpy().round(5), b.cpu().double().numpy().round(5)):
        np.testing.assert_allclose(x[:, 5], y[:, 5], atol=2e-5)
        np.testing.assert_allclose(
            key(x[x[:, 5] > x[-1, 5]]), key(y[y[:, 5] > y[-1, 5]]), atol=2e-5
        )


def of(batch):
    "How a row says that it has not the usual 16 pictures"
    return "" if batch == 16 else f", {batch} pictures"


def decode_rows(batch=16):
    "Maps to objects: the call that `centernet_detect` and validation make, `CenterNet.decode`"
    from centernet_nb.evaluate import decoding
    from centernet_nb.network import CenterNet

    net = CenterNet(pretrained=False, head_kwargs=dict(c_classes=80))
    scale = torch.tensor([4, 4, 4, 4, 1, 1], device=DEVICE)
    dense = torch.rand(batch, 84, 128, 128, generator=torch.Generator().manual_seed(0))
    dense, trained = dense.to(DEVICE), trained_maps(batch)
    for name, points, floor, least in (
        ("trained maps, floor 0.1", trained, 0.1, 10),
        ("trained maps, floor 0.01", trained, 0.01, 3),
        ("dense random maps, floor 0.1", dense, 0.1, 1),
    ):
        ours, other = (
            (lambda: net.decode(points)),
            (lambda: usual_decode(points, floor=floor) * scale),
        )
        with decoding(net, 100, floor):
            same_rows(ours(), other())
            found = alone(ours, other)
        yield dict(
            row=f"decode: {name}{of(batch)}",
            against="our re-implementation of the usual way (max-pool, two top-k)",
            least=least,
            right="the same rows",
            **found,
        )


def patch_loop(objects, classes, side, min_overlap=0.3, out=None):
    "Targets the original way: a NumPy patch an object, merged by maximum."
    from centernet_nb.convert import gaussian_radius

    heat = out
    heat[:] = 0
    rows = objects.numpy()
    radii = gaussian_radius(objects[..., 2], objects[..., 3], min_overlap).numpy()
    for b in range(len(rows)):
        for (y, x, h, w, c, conf), r in zip(rows[b], radii[b]):
            if not conf:
                continue
            i, j, r = int(y), int(x), int(r)
            ys, xs = np.ogrid[-r : r + 1, -r : r + 1]
            g = np.exp(-(xs * xs + ys * ys) / (2 * ((2 * r + 1) / 6) ** 2))
            top, bottom, left, right = (
                min(i, r),
                min(side - i, r + 1),
                min(j, r),
                min(side - j, r + 1),
            )
            patch = heat[b, int(c), i - top : i + bottom, j - left : j + right]
            np.maximum(patch, g[r - top : r + bottom, r - left : r + right], out=patch)
            heat[b, classes:, i, j] = y - i, x - j, h, w
    return heat


def plain_loss(logits, target, objects, classes):
    """Equations 1 to 4 written down as they stand, in float64: the sum over losses of the mean
    over pictures."""
    heat, goal, n = (
        logits[:, :classes].double(),
        target.double(),
        (objects[..., 5] == 1).sum(1) + 1,
    )
    p, y = heat.sigmoid(), goal[:, :classes]
    focal = -torch.where(
        y == 1, (1 - p) ** 2 * F.logsigmoid(heat), (1 - y) ** 4 * p**2 * F.logsigmoid(-heat)
    ).sum((1, 2, 3))
    l1 = (logits[:, classes:].double() - goal[:, classes:]).abs() * (y == 1).any(
        1, keepdim=True
    )
    return ((focal + l1[:, :2].sum((1, 2, 3)) + 0.1 * l1[:, 2:].sum((1, 2, 3))) / n).mean()


def prove_loss(loss, logits, target, objects, classes):
    "Value and gradient of `loss(logits, objects)` are those of `plain_loss`."
    (value, slope), (plain, steep) = (
        (f, torch.autograd.grad(f, logits)[0])
        for f in (
            loss(logits, objects).mean(0).sum(),
            plain_loss(logits, target, objects, classes),
        )
    )
    torch.testing.assert_close(value.double(), plain, rtol=1e-5, atol=0)
    torch.testing.assert_close(slope, steep, rtol=1e-4, atol=1e-7)


def original_loss(logits, objects, classes):
    """Their way, written anew: a map of fresh memory drawn by a loop, the focal loss from a
    clamped sigmoid over every cell, L1 at the centres."""
    B, side = len(logits), logits.shape[-1]
    rows = (objects / objects.new_tensor([4, 4, 4, 4, 1, 1])).cpu()
    memory = np.zeros((B, classes + 4, side, side), np.float32)
    target = torch.from_numpy(patch_loop(rows, classes, side, out=memory)).to(logits.device)
    y, p = target[:, :classes], logits[:, :classes].sigmoid().clamp(1e-4, 1 - 1e-4)
    positive, negative = y.eq(1).float(), y.lt(1).float()
    heat = positive * p.log() * (1 - p) ** 2 + negative * (1 - y) ** 4 * p**2 * (1 - p).log()
    centre = positive.amax(1, keepdim=True)
    l1 = ((logits[:, classes:] - target[:, classes:]).abs() * centre).sum((2, 3))
    sums = torch.stack([-heat.sum((1, 2, 3)), l1[:, :2].sum(1), 0.1 * l1[:, 2:].sum(1)], 1)
    return sums / ((objects[..., 5] == 1).sum(1, keepdim=True) + 1)


def loss_rows(batch=16):
    """Targets and loss, forward and backward: the call that `train` makes at every step, on
    maps that lie as its network leaves them (channels_last)"""
    from centernet_nb.convert import ObjectsToPoints
    from centernet_nb.loss import CenterNetLoss

    B, side, loss = batch, 128, CenterNetLoss(from_logits=True, gaussian="adaptive")
    for C, layout in (
        (80, torch.channels_last),
        (80, torch.contiguous_format),
        (1, torch.channels_last),
    ):
        objects = scene(B, C, side, 50)
        encode = ObjectsToPoints(hw=side, num_classes=C, gaussian="adaptive")
        target = encode(objects)
        objects[..., :4] *= 4
        logits = (torch.randn(B, C + 4, side, side, device=DEVICE) - 4).to(
            memory_format=layout
        )
        logits.requires_grad_()
        dense = CenterNetLoss(from_logits=True, obj_to_points=encode.forward)

        def step(f):
            def run():
                logits.grad = None
                f(logits, objects).mean(0).sum().backward()

            return run

        prove_loss(loss, logits, target, objects, C)
        prove_loss(dense, logits, target, objects, C)
        lie = str(layout).split(".")[1].replace("_format", "")
        others = []
        if C == 80 and batch == 16:  # fewer pictures fit into a cache
            others += [("points.clone()", logits.detach().clone, 1 / 3)]
        if layout == torch.channels_last:
            others += [("the simple form of lessons 02 and 03", step(dense), 1)]
        if C == 80 and layout == torch.channels_last:
            their = partial(original_loss, classes=C)
            others += [("our re-implementation of the original's way", step(their), 1)]
        for against, other, least in others:
            yield dict(
                row=f"targets and loss, forward and backward, C = {C}, {lie}{of(batch)}",
                against=against,
                least=least,
                right="the plain form's value and gradient in float64",
                **alone(step(loss), other, 15 if "clone" in against or batch < 16 else 3),
            )


def training(C, batch=8, share=slice(None), device=DEVICE, **settings):
    """A training of C classes with `train`'s own `Run` on generated pictures of 256 px, or a
    share of them: a function that does one step with a given loss, and the `Run`"""
    from centernet_nb.data import collate
    from centernet_nb.loss import CenterNetLoss
    from centernet_nb.network import CenterNet
    from centernet_nb.run import Run, Settings
    from centernet_nb.shapes import SceneDataset

    torch.manual_seed(0)
    net = CenterNet(
        pretrained=False, head_kwargs=dict(c_classes=C), backbone_kwargs=dict(depth=18)
    )
    data, loss = SceneDataset(batch, size=256), CenterNetLoss(from_logits=True)
    settings = Settings(batch_size=batch, steps=10**6, warmup=10**5, **settings)
    run = Run(data, net, loss, settings, device)
    run.train_mode()
    images, objects, ignore = collate([data[i] for i in range(batch)][share])
    objects[..., 4] %= C
    given = dict(images=images, objects=objects, ignore=ignore, keys=[])

    def step(criterion=loss):
        run.criterion = criterion
        return run.step(given)

    return step, run


def no_loss(points, objects, ignore):
    return points.mean().expand(1, 3)


def step_rows():
    for C, most in ((1, 1.05), (80, 1.15)):
        step, run = training(C)
        criterion = run.criterion

        def proved(points, objects, ignore):
            logits = points.detach().float().requires_grad_()
            small = objects / objects.new_tensor([4, 4, 4, 4, 1, 1])
            prove_loss(criterion, logits, criterion.targets(logits, small), objects, C)
            return no_loss(points, objects, ignore)

        step(proved)
        yield dict(
            row=f"training step without loss and targets, C = {C}",
            against="whole training step",
            most=most,
            right="the plain form's loss and gradient",
            **alone(lambda: step(no_loss), lambda: step(criterion), 5),
        )


def option_rows():
    "What `train` offers against its defaults, in its own step, by the time of a picture."

    def trainer(batch_size=8, fused=True, **settings):
        "A step, its first loss and the precision"
        step, run = training(5, batch_size, **settings)
        for group in [] if fused else run.optimizer.param_groups:
            group.update(fused=False, foreach=True)
        return step, float(step()["losses"].sum()), run.amp

    usual, loss, amp = trainer()
    others = {
        "amp='no' (float32)": dict(amp="no"),
        "amp='bf16'": dict(amp="bf16"),
        "channels_last=False": dict(channels_last=False),
        "compile=True": dict(compile=True),
        "AdamW not fused": dict(fused=False),
        "ema=0.998": dict(ema=0.998),
        **{f"batch_size={n}": dict(batch_size=n) for n in (4, 16, 32)},
    }
    others.pop("amp='bf16'" if amp == "bf16" else "amp='no' (float32)")
    for name, settings in others.items():
        other, first, _ = trainer(**settings)
        size = settings.get("batch_size", 8)
        if size == 8:
            assert abs(first - loss) < 0.02 * loss, (
                f"{name}: the first loss is {first}, by default {loss}"
            )
        found = paired(usual, other, 7)
        yield dict(
            row=f"train's default step ({amp}, channels last, eager, fused AdamW, 8 pictures)",
            against=name + (" by the picture" if size != 8 else ""),
            least=0.97,
            right="the same first loss" if size == 8 else "",
            **{**found, **{k: found[k] * 8 / size for k in ("ratio", "low", "high")}},
        )


@contextmanager
def silence():
    "Nothing is printed within"
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def stages(parts):
    """Milliseconds of the processor spent in each of `parts`, (name, owner, attribute), while
    they are called as ever; what one calls of the others counts there alone"""
    times, inner = {name: 0.0 for name, *_ in parts}, [0.0]

    def timed(name, f):
        def run(*args, **kwargs):
            outer, inner[0], start = inner[0], 0.0, time.process_time()
            try:
                return f(*args, **kwargs)
            finally:
                spent = 1e3 * (time.process_time() - start)
                times[name] += spent - inner[0]
                inner[0] = outer + spent

        return run

    with ExitStack() as stack:
        for name, owner, attribute in parts:
            f = timed(name, getattr(owner, attribute))
            stack.enter_context(mock.patch.object(owner, attribute, f))
        yield times


def photo_stages(folder, rounds=3):
    """Milliseconds of each stage of `centernet_detect` on one photo of 1280 × 720, its model
    loaded: a dict a round"""
    from PIL import Image
    from centernet_nb import commands, detect as detecting
    from centernet_nb.network import load_model
    from centernet_nb.pictures import Placement
    from centernet_nb.shapes import generate_scenes

    net, photo, out = load_model("text"), Path(folder) / "photo.jpg", Path(folder) / "out"
    generate_scenes(Path(folder) / "wide", 1, size=(736, 1280))
    with Image.open(next((Path(folder) / "wide").rglob("*.jpg"))) as wide:
        wide.crop((0, 0, 1280, 720)).save(photo, quality=90)
    parts = [
        ("all else", commands, "centernet_detect"),
        ("file, decode", commands, "as_image"),
        ("to the canvas", Placement, "image"),
        ("to the canvas", detecting, "normalise"),
        ("network", net.backbone, "forward"),
        ("network", net.head, "forward"),
        ("boxes", net, "decode"),
        ("drawing", commands, "draw_objects"),
        ("drawing", Image.Image, "save"),
        ("JSON", commands, "as_records"),
        ("JSON", commands, "write_json"),
    ]
    with mock.patch.object(commands, "load_model", lambda name: net):
        for turn in range(rounds + 1):
            with silence(), stages(parts) as times:
                commands.centernet_detect(
                    [str(photo)], threshold=["0.02"], most=20, out=str(out)
                )
            if turn:  # the first one warms up
                yield times


def default_run(folder, classes=None):
    """`centernet_train`'s default recipe at 256 px on generated photos, all in memory: its job
    and its `Run`"""
    from centernet_nb.finetune import STEPS, Recipe
    from centernet_nb.run import Run, Settings
    from centernet_nb.shapes import generate_scenes
    from centernet_nb.trainer import Job, criterion_for, look_through, network_for

    r = Recipe(size=256, steps=STEPS, pretrained="no", ema=0.99)
    scenes = Path(folder) / "scenes"
    job = Job(scenes, generate_scenes(scenes, 20, size=640), Path(folder), r)
    with silence():
        look_through(job)
    data = job.data()
    for i in range(len(data)):
        data.load(i)
    if classes:
        r.names = [str(i) for i in range(classes)]
    settings = Settings(batch_size=r.batch_size, lr=r.lr, steps=r.steps, ema=r.ema)
    return job, Run(data, network_for(r), criterion_for(r), settings, DEVICE)


def step_stages(folder, rounds=3, classes=None, criterion=None):
    """Milliseconds of each stage of a step of `default_run`, with its share of the looks at
    held-out pictures (none with other `classes` than theirs): a dict a round. Another
    `criterion` than its own: the loss's way back counts as the network's"""
    from torch.optim.swa_utils import AveragedModel
    from centernet_nb.batches import Samples
    from centernet_nb.fastloss import SparseLoss
    from centernet_nb.loss import CenterNetLoss
    from centernet_nb.network import CenterNet
    from centernet_nb.trainer import LOOKS

    job, run = default_run(folder, classes)
    run.criterion = criterion or run.criterion
    run.train_mode()
    batches, look = iter(run.loader()), {}
    work = SimpleNamespace(step=lambda: run.step(run.take(next(batches))))
    parts = [
        ("all else", work, "step"),
        ("load, augment", Samples, "__getitem__"),
        ("forward", CenterNet, "forward"),
        ("targets, loss", CenterNetLoss, "forward"),
        ("targets, loss", SparseLoss, "backward"),
        ("backward", torch.Tensor, "backward"),
        ("optimizer", nn.utils, "clip_grad_norm_"),
        ("optimizer", type(run.optimizer), "step"),
        ("average", AveragedModel, "update_parameters"),
    ]
    work.step()  # the first one warms up
    if not classes:
        with silence(), stages([("validation", run, "validate")]) as look:
            run.validate(job.valid())
    for _ in range(rounds):
        with stages(parts) as times:
            work.step()
        yield times | {name: t * LOOKS / run.steps for name, t in look.items()}


def rest(times):
    "Milliseconds of all stages but those of the network"
    return sum(
        t for name, t in times.items() if name not in ("network", "forward", "backward")
    )


def share_rows(which=("step of the default recipe", "photo")):
    "How many times the whole takes as long as what is not the network"
    measured = {"step of the default recipe": step_stages, "photo": photo_stages}
    for what in which:
        with tempfile.TemporaryDirectory() as folder:
            found = list(measured[what](folder))
        print({k: f"{t:.1f} ms" for k, t in found[-1].items()})
        yield dict(
            row=f"all of one {what} that is not the network",
            against="the whole",
            least=10,
            right="the call itself, traced",
            **ratios([(rest(t) / 1e3, sum(t.values()) / 1e3) for t in found]),
        )


def loader_rows():
    from PIL import Image
    from centernet_nb.data import CocoObjects, collate
    from centernet_nb.pictures import normalise
    from centernet_nb.shapes import generate_scenes
    from centernet_nb.views import augmented

    with tempfile.TemporaryDirectory() as folder:
        annotations = Path(generate_scenes(folder, 32, size=640))
        data = CocoObjects(annotations.parent, annotations, size=256, augment=augmented(256))
        files = sorted(p for p in Path(folder).rglob("*") if p.suffix in (".jpg", ".png"))[:32]

        def alone(f):
            "`f` on one thread, as a loader's worker has it"
            torch.set_num_threads(1)
            f()
            torch.set_num_threads(os.cpu_count() or 2)

        def jpegs():
            for f in files:
                Image.open(f).convert("RGB").load()

        plain = CocoObjects(annotations.parent, annotations, size=256)
        for i in range(
            4
        ):  # without augmentation: the file decoded whole and resized once, as Pillow does it
            whole = (
                Image.open(files[i])
                .convert("RGB")
                .resize((256, 256), Image.Resampling.BILINEAR)
            )
            assert (
                torch.corrcoef(
                    torch.stack([plain[i][0].flatten(), normalise(whole).flatten()])
                )[0, 1]
                > 0.998
            ), "a sample is not its picture"  # a pixel's shift: .97
        samples, step = lambda: [data[i] for i in range(32)], training(1)[0]
        for row in (
            dict(
                against="decoding the files alone",
                least=0.5,
                **paired(lambda: alone(samples), lambda: alone(jpegs), 7),
            ),
            dict(
                against="ResNet-18 trained on as many, all cores",
                least=3,
                **paired(lambda: alone(samples), lambda: [step(no_loss) for _ in range(4)], 5),
            ),
        ):
            yield dict(
                row="32 training samples, 640 px file to 256 px, one worker",
                right="unaugmented: Pillow's picture",
                **row,
            )
        feed = iter(
            torch.utils.data.DataLoader(
                data,
                8,
                sampler=torch.utils.data.RandomSampler(
                    data, replacement=True, num_samples=10**6
                ),
                num_workers=1,
                collate_fn=collate,
            )
        )
        in_memory, fed = (
            (lambda: [step(no_loss) for _ in range(6)]),
            (lambda: [(next(feed), step(no_loss)) for _ in range(6)]),
        )
        cores = os.cpu_count() or 2
        for threads, against, most in (
            (
                max(1, cores - 1),
                "the same fed by one worker, which has a core of its own",
                1.05,
            ),
            (cores, "the same fed by one worker, no core being free", None),
        ):
            torch.set_num_threads(threads)
            yield dict(
                row=f"six training steps on pictures in memory, {threads} of {cores} cores",
                against=against,
                most=most,
                right="",
                **paired(in_memory, fed, 5),
            )
        feed._shutdown_workers()


def forms(net, folder):
    """CenterNet as it is, compiled and in ONNX runtime: functions from a picture `[1, 3, 512,
    512]` to objects, the slower ones proved against the first."""
    import onnxruntime
    from centernet_nb.deploy import export_onnx

    last = lambda x: x.contiguous(memory_format=torch.channels_last)
    eager = lambda x: net(last(x), return_objects=True)
    points = torch.compile(lambda x: net(x))
    session = onnxruntime.InferenceSession(
        str(export_onnx(net, folder / "net.onnx")), providers=["CPUExecutionProvider"]
    )
    made = dict(
        eager=eager,
        compiled=lambda x: net.decode(points(last(x))),
        ONNX=lambda x: torch.from_numpy(session.run(["objects"], dict(images=x.numpy()))[0]),
    )
    x = torch.rand(1, 3, 512, 512)
    for name in ("compiled", "ONNX"):
        torch.testing.assert_close(made[name](x)[..., 5], eager(x)[..., 5], atol=1e-3, rtol=0)
    return made


def picture_rows():
    from torchvision.io import decode_jpeg, read_file
    from torchvision.models import detection as tv
    from centernet_nb.detect import detect
    from centernet_nb.network import CenterNet
    from centernet_nb.pictures import normalise, open_image
    from centernet_nb.shapes import generate_scenes

    net = (
        CenterNet(pretrained=False, backbone_kwargs=dict(depth=18))
        .eval()
        .to(memory_format=torch.channels_last)
    )
    others = dict(
        fcos=tv.fcos_resnet50_fpn,
        retinanet=tv.retinanet_resnet50_fpn,
        faster_rcnn=tv.fasterrcnn_resnet50_fpn,
        faster_rcnn_mobilenet=tv.fasterrcnn_mobilenet_v3_large_fpn,
        ssdlite_mobilenet=tv.ssdlite320_mobilenet_v3_large,
    )
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        generate_scenes(folder, 1, size=512)
        photo, ours = str(next(Path(folder).rglob("*.jpg"))), forms(net, Path(folder))
        for name, make in others.items():
            sizes = {} if "ssd" in name else dict(min_size=512, max_size=512)
            other = make(weights=None, weights_backbone=None, **sizes).eval()
            for how, f in ours.items():
                look = partial(detect, net, photo)
                if how != "eager":
                    look = lambda f=f: f(normalise(open_image(photo))[None])
                yield dict(
                    row=f"picture file to boxes at 512 px, ResNet-18, {how}",
                    against=f"torchvision {name}" + (" (320 px)" if "ssd" in name else ""),
                    least=None if "mobilenet" in name else 3,
                    right="another detector" if how == "eager" else "as eager",
                    **paired(
                        look,
                        lambda: other([decode_jpeg(read_file(photo)) / 255]),
                        5,
                    ),
                )


def worker(steps=6):
    """One process of `process_rows`: seconds of a step of its share of 8 pictures, gradients
    exchanged or not, and the norm of the first gradient, printed by process 0."""
    from contextlib import nullcontext
    from centernet_nb.run import join_processes

    rank, world, _ = join_processes("cpu")
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // world))
    share = slice(rank, None, world)
    step, run = training(2, share=share, device="cpu", batch_norm="frozen")

    def norm(alone):
        with run.model.no_sync() if alone and world > 1 else nullcontext():
            return float(step()["norm"])

    norms = norm(False), norm(True)
    times = [(clock(lambda: norm(False)), clock(lambda: norm(True))) for _ in range(steps)]
    if not rank:
        print("times " + json.dumps(dict(norm=norms[0], times=times)))


def process_rows(turns=3):
    import subprocess

    def times(world):
        out = subprocess.run(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--nproc-per-node",
                str(world),
                __file__,
                "--worker",
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ).stdout
        return json.loads(out.split("times ")[1].split("\n")[0])

    cores = os.cpu_count() or 2
    for world in [n for n in (2, 4) if n <= cores]:
        turned = [(times(1), times(world)) for _ in range(turns)]  # in turns, as every row
        for one, many in turned:
            assert abs(one["norm"] / many["norm"] - 1) < 0.02, (
                f"gradients of {one['norm']} and {many['norm']}"
            )
        alone, both = ([t for pair in turned for t in pair[k]["times"]] for k in (0, 1))
        right = "the same gradient"
        yield dict(
            row=f"step of 8 pictures of 256 px, {world} processes of {cores // world} "
            f"threads (gloo)",
            against=f"one process of {cores} threads",
            least=None,
            right=right,
            **ratios([(b, a) for (b, _), (a, _) in zip(both, alone)]),
        )
        yield dict(
            row=f"step of {world} processes, gradients exchanged",
            against="the same without exchanging them",
            least=None,
            right=right,
            **ratios(both),
        )


ROWS = dict(
    decode=decode_rows,
    loss=loss_rows,
    step=step_rows,
    share=share_rows,
    options=option_rows,
    loader=loader_rows,
    picture=picture_rows,
    processes=process_rows,
)
QUICK = {  # what the test command measures
    "quick-decode": partial(decode_rows, 2),
    "quick-loss": partial(loss_rows, 2),
    "quick-share": partial(share_rows, ["step of the default recipe"]),
}
ROWS |= QUICK


def verdict(r):
    "Whether row `r` holds its bar."
    if r.get("most"):
        return r["ratio"] <= r["most"]
    return r.get("least") is None or r["ratio"] >= r["least"]


def regressed(r, before):
    """Whether row `r` is so far behind what was stored that noise does not explain it; on
    another machine than the one that measured, that no machine does"""
    same = before.get("machine") == machine()
    if r.get("most"):
        return r["ratio"] > (1.2 if same else 1.5) * before["ratio"]
    return r["ratio"] < before["ratio"] / (1.5 if same else 3)


def bar(r):
    return (
        f"≤ {r['most']}"
        if r.get("most")
        else "stated"
        if r.get("least") is None
        else f"≥ {r['least']:.2f}"
    )


def behind(results, stored):
    "What is said of each row that stands far behind the stored one, by its group"
    key = lambda r: (r["group"].removeprefix("quick-"), r["row"], r["against"])
    old = {key(r): r for r in stored}
    if new := [r["row"] for r in results if key(r) not in old]:
        sys.exit(f"no ratio is stored of {new[0]!r}: run {Path(__file__).name}")
    return {
        r["group"]: f"{r['row']} against {r['against']} {r['ratio']:.2f}, stored "
        f"{old[key(r)]['ratio']:.2f}"
        for r in results
        if regressed(r, old[key(r)])
    }


def guard(measure, groups, stored):
    "End the program where `measure(group)` stands far behind `stored`, twice in a row"
    for _ in range(2):
        said = behind([r for g in groups for r in measure(g)], stored)
        groups = list(said)
    if said:
        sys.exit("far from the stored ratio: " + "; ".join(said.values()))


def line(r):
    "A row of the table, in Markdown."
    numbers = f"{r['ratio']:.2f} | {r['low']:.2f} to {r['high']:.2f} | {r['ours_ms']:.1f}"
    return (
        f"| {r['row']} | {r['against']} | {numbers} | {bar(r)} | "
        f"{'yes' if verdict(r) else 'NO'} | {r['right']} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"which of {', '.join(ROWS)} (default: all)")
    parser.add_argument(
        "--guard",
        action="store_true",
        help="compare the ratios of the quick rows with bench.json's: fail where one is under "
        "two thirds of it, twice (on another machine: under a third)",
    )
    parser.add_argument("--worker", action="store_true", help="used by the row of processes")
    args = parser.parse_args()
    if args.worker:
        return worker()
    torch.manual_seed(0)
    if args.guard:
        torch.set_num_threads(1)
    stored, results = kept(TABLE, []), []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {DEVICE}")
    print(
        "| what | against | times as fast | quartiles | ours, ms | bar | holds | proved "
        "against |\n" + "|---" * 8 + "|"
    )

    def measure(name):
        for r in ROWS[name]():
            r.update(group=name, machine=machine())
            print(line(r), flush=True)
            yield r

    names = chosen(args.rows or list(QUICK) * args.guard, ROWS)
    if args.guard:
        return guard(measure, names, stored)
    for name in names:
        results += measure(name)
        keep(
            TABLE,
            [r for r in stored if r["group"] not in names[: names.index(name) + 1]] + results,
        )
    if not_held := [r["row"] for r in results if not verdict(r)]:
        print("below their bars: " + "; ".join(not_held))


if __name__ == "__main__":
    main()
