"""What runs a student's component: inputs in, tensors or errors out, no expected number near

A case is a dict: `op` names the function below that runs it, `make` holds the constructor's
arguments, the rest are inputs. The answer is a dict of parts, each a tensor; a part that could
not be had is a text, `"<kind of error>: <its message>"`. A case with `of` is about something
beside the component, a function of the lesson: who does without it answers with nothing."""

import sys
import zlib
from contextlib import contextmanager
from functools import reduce
import torch
from torch import nn

OPS = {}


def op(f):
    OPS[f.__name__] = f
    return f


def pattern(shape, seed, low=-1.0, high=1.0):
    "Numbers in [low, high) that are the same on every machine: integers all the way"
    n, i = torch.Size(shape).numel(), torch.arange(10007)
    block = (i * i * 31 + i * 17 + zlib.crc32(str(seed).encode())) % 10007 / 10007
    return (low + (high - low) * block).repeat(n // 10007 + 1)[:n].view(shape)


def fill_norm(norm, seed):
    "A batch norm as if it had seen something"
    for name, low, high in (("weight", 0.5, 1.5), ("bias", -0.3, 0.3)):
        getattr(norm, name).copy_(pattern(norm.weight.shape, seed + name, low, high))
    norm.running_mean.copy_(pattern(norm.running_mean.shape, seed + "mean", -0.2, 0.2))
    norm.running_var.copy_(pattern(norm.running_var.shape, seed + "var", 0.5, 1.5))


@torch.no_grad()
def fill(net, names=False, bias=0.3, start=""):
    "Weights by their names, or where names are free by their sizes; `net` itself"
    for name, module in net.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            fill_norm(module, name if names else "norm")
            continue
        for key, p in module.named_parameters(recurse=False):
            scale = bias if p.ndim == 1 else (6 / p[0].numel()) ** 0.5
            seed = f"{name}.{key}" if names else f"{start}{p.numel()}"
            p.copy_(pattern(p.shape, seed, -scale, scale))
    return net


def shape_of(x):
    return torch.tensor(x.shape)


def refused(f):
    "1 where a `ValueError` or `TypeError` is raised, 0 where nothing is, 2 for other errors"
    try:
        f()
    except (ValueError, TypeError):
        return 1.0
    except NotImplementedError:
        raise
    except Exception:
        return 2.0
    return 0.0


@op
def refuses(make, case):
    "What impossible arguments are answered with"
    return {"refused": torch.tensor([refused(lambda a=a: make(**a)) for a in case["bad"]])}


@op
def loss_refuses(make, case):
    "What impossible input of the loss is answered with"
    layer = make(obj_to_points=lambda objects: case["target"].clone())
    return {"refused": torch.tensor([refused(lambda c=c: layer(*c)) for c in case["calls"]])}


@op
def upscale(make, case):
    layer = fill(make(*case["make"]), bias=0.0)
    with torch.no_grad():
        evaluated = layer.eval()(case["x"].clone())
        trained = layer.train()(case["x"].clone())
    numbers = torch.tensor(sum(p.numel() for p in layer.parameters()))
    shape = shape_of(evaluated)
    return {"shape": shape, "eval": evaluated, "train": trained, "numbers": numbers}


@contextmanager
def without_start():
    "Random starts of convolutions left out, as every weight is about to be given"
    names = "kaiming_normal_", "kaiming_uniform_"
    kept = {n: getattr(nn.init, n) for n in names}
    for n in names:
        setattr(nn.init, n, lambda tensor, *args, **kwargs: tensor)
    try:
        yield
    finally:
        for n, f in kept.items():
            setattr(nn.init, n, f)


@op
def resnet(make, case):
    "Keys as a number each, then the answers of given weights"
    with without_start():
        net = fill(make(**dict(case["make"])), names=True)
    keys = [f"{k} {list(v.shape)}" for k, v in net.state_dict().items()]
    keys = torch.tensor(sorted(zlib.crc32(k.encode()) for k in keys if "batches" not in k))
    with torch.no_grad():
        evaluated = net.eval()(case["x"].clone())
        trained = net.train()(case["x"].clone())
    return {
        "keys": keys,
        "shape": shape_of(evaluated),
        "eval": evaluated,
        "train": trained,
    }


@torch.no_grad()
def silence(net):
    "Every weight but the biases 0, so that a head says what its last biases are"
    for p in net.parameters():
        if p.ndim > 1:
            p.zero_()


@op
def prior(make, case):
    head = make(**case["make"])
    silence(head)
    with torch.no_grad():
        return {"prior": head(case["x"].clone())[:, : case["make"]["c_classes"]]}


@op
def head(make, case):
    C, net = case["make"]["c_classes"], make(**case["make"])
    for name in ("heat", "offset", "size"):
        fill(getattr(net, name), start=name)
    with torch.no_grad():
        out, logits = net(case["x"].clone()), net(case["x"].clone(), logits=True)
    maps = {"heat": out[:, :C], "offset": out[:, C : C + 2], "size": out[:, C + 2 :]}
    return {"shape": shape_of(out), **maps, "logits": logits[:, :C]}


@op
def focal(make, case):
    out = {}
    for name, key in (("prob", "p"), ("logits", "z")):
        loss = make(from_logits=key == "z").loss_fl
        out[name] = loss(case[key].clone(), case["y"].clone())
        ignored = loss(case[key].clone(), case["y"].clone(), ignore=case["ignore"].clone())
        out[f"{name} ignore"] = ignored
    return out


@op
def certain(make, case):
    "Predictions of exactly 0 and 1: what they cost is free, as long as it is finite"
    y = case["y"]
    fl = make().loss_fl
    sure = {"zero": fl(torch.zeros_like(y), y), "one": fl(torch.ones_like(y), y)}
    return {k: torch.where(v.isfinite(), 1.0, torch.nan) for k, v in sure.items()}


@op
def l1(make, case):
    loss = make().loss_l1
    return {
        "l1": loss(case["a"].clone(), case["b"].clone(), case["real"].clone()),
        "wild": loss(case["wild"].clone(), case["b"].clone(), case["real"][:, None].clone()),
    }


@op
def loss(make, case):
    "The whole loss: what reaches the maker of targets, the three losses, the slope"
    seen = []

    def targets(objects):
        seen.append(objects.clone())
        return case["target"].clone()

    criterion = make(**case["make"], obj_to_points=targets)
    points, objects = case["points"].clone().requires_grad_(), case["objects"].clone()
    out = criterion(points, objects, case.get("ignore"))
    out.sum().backward()
    parts = {"objects": seen[-1], "loss": out.detach(), "slope": points.grad}
    parts["input"] = objects
    return parts


@op
def encode(make, case):
    objects, C = case["objects"].clone(), case["make"]["num_classes"]
    points = make(**case["make"])(objects)
    maps = {"heat": points[:, :C], "offset": points[:, C : C + 2], "size": points[:, C + 2 :]}
    return {"shape": shape_of(points), **maps, "input": objects}


@op
def block(make, case):
    net = fill(make(*case["make"]), names=True).eval()
    with torch.no_grad():
        return {"eval": net(case["x"].clone())}


@op
def widths(make, case):
    return {"widths": torch.tensor(make(**case["make"]).maps_widths)}


@op
def cells(make, case):
    return {"cells": torch.stack(list(make(case["objects"].clone())))}


@op
def kernel(make, case):
    return {"kernel": make(*case["make"])}


@op
def radius(make, case):
    return {"radius": make(case["h"].clone(), case["w"].clone(), **case["make"])}


@op
def lay(make, case):
    one, kernel = case["maps"][0, 0].clone(), case["kernel"].clone()
    return {"maps": make(case["maps"].clone(), kernel), "one": make(one, kernel)}


@op
def decode(make, case):
    points = case["points"].clone()
    out = make(*case["make"])(points)
    return {"shape": shape_of(out), "rows": out, "input": points}


@op
def suppress(make, case):
    points = case["points"].clone()
    out = make(*case["make"])(points)
    C = points.shape[1] - 4
    return {"shape": shape_of(out), "heat": out[:, :C], "rest": out[:, C:], "input": points}


def plain(value):
    "A part as it may leave the process"
    return value.detach().cpu().contiguous().clone() if torch.is_tensor(value) else str(value)


def beside(make, names):
    "What a module holds under `names`, as in `Class.method`; None if it does not"
    space = sys.modules.get(getattr(make, "__module__", None))
    return reduce(lambda of, name: getattr(of, name, None), names.split("."), space)


def run_case(make, case):
    "Parts of one case; with an error, one part `error`"
    torch.manual_seed(0)
    try:
        if isinstance(make, Exception):
            raise make
        if "of" in case and (make := beside(make, case["of"])) is None:
            return {}
        return {k: plain(v) for k, v in OPS[case["op"]](make, case).items()}
    except Exception as e:
        if "of" in case and isinstance(e, NotImplementedError):
            return {}
        return {"error": f"{type(e).__name__}: {e}"[:300]}
