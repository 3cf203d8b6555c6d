"""The teacher's side: inputs of every check, drawn from a seed, and what the reference answers

Visible cases (one fixed seed) travel as data; hidden ones are made from a seed of
the teacher's, with other shapes and types."""

import random
import torch

SEED = 20  # of the cases that travel
CLASS = torch.tensor([0, 0, 0, 0, 1, 0])  # the class in a row


class Draw:
    "Random shapes and numbers from one seed"

    def __init__(self, seed, hidden):
        self.hidden, self.random = hidden, random.Random(f"course {seed} {hidden}")
        self.g = torch.Generator().manual_seed(self.random.randrange(2**31))

    def int(self, low, high):
        return self.random.randint(low, high)

    def rand(self, *shape):
        return torch.rand(*shape, generator=self.g)

    def randn(self, *shape):
        return torch.randn(*shape, generator=self.g)

    def hw(self, low=7, high=13):
        "Height and width, never equal"
        h = self.int(low, high)
        return h, h + self.int(3, 7)


def case(op, id, checks, make=(), **inputs):
    return dict(op=op, id=id, checks=checks, make=make, **inputs)


def upscale(d):
    i, o, (h, w) = d.int(2, 4), d.int(5, 7), d.hw(4, 6)
    x = d.randn(2, i, h, w)
    checks = {"shape": "doubles", "eval": "values", "train": "values", "numbers": "values"}
    for sizes in ((4, 1, 0), (3, 1, 1), (2, 0, 0), (6, 2, 0)):
        yield case("upscale", f"kernel {sizes}", checks, [i, o, *sizes], x=x)
    names = "in_channels", "out_channels", "kernel_size", "padding", "output_padding"
    bad = [(5, 1, 0), (3, 1, 0), (4, 0, 0), (4, 1, 2), (2, -1, 0)]
    bad = [dict(zip(names, (i, o, *b))) for b in bad]
    yield case("refuses", "impossible sizes", {"refused": "refuses"}, bad=bad)


def resnet(d):
    x = d.randn(2, 3, 64, 96 if d.hidden else 32)
    checks = {"keys": "keys", "shape": "shape", "eval": "values", "train": "values"}
    yield case("resnet", "a picture", checks, x=x)
    checks, x = {"keys": "keys", "shape": "shape", "eval": "values"}, x[:, :, :32, :32]
    yield case("resnet", "two pools", checks, dict(stages=3, pools=2), x=x)
    yield case("resnet", "ResNet-18", checks, x=x, of="HeadlessResnet18Encoder")
    for pools in (1, 2):
        make, of = dict(stages=3, pools=pools), "HeadlessResnet"
        yield case("widths", f"widths, {pools} pools", {"widths": "shape"}, make, of=of)
    x, checks = d.randn(2, 4, 6, 8), {"eval": "values"}
    for make in ([4, 6, 1], [4, 4, 2]):
        yield case("block", f"a block {make}", checks, make, x=x, of="BasicBlock")
    bad = [dict(stages=0), dict(stages=5), dict(pools=0), dict(pools=3)]
    yield case("refuses", "impossible stages", {"refused": "refuses"}, bad=bad)


def head(d):
    for n, (h, w) in enumerate((d.hw(3, 5), d.hw(4, 6))):
        k, C = d.int(5, 7), 3 if n else 1
        x, make = d.randn(2, k, h, w), dict(k_in_channels=k, c_classes=C, hidden=8 + n)
        checks = {"heat": "values", "offset": "values", "size": "values", "logits": "logits"}
        yield case("head", f"{C} classes", {"shape": "shape", **checks}, make, x=x)
        for p in (0.1, 0.02)[: n + 1]:
            name = f"{C} classes start at {p}"
            given = {**make, "prior": p} if p != 0.1 else make
            yield case("prior", name, {"prior": "bias"}, given, x=x)
    bad = [dict(c_classes=0), dict(k_in_channels=2.5), dict(hidden=0), dict(prior=0.0)]
    yield case("refuses", "impossible sizes", {"refused": "refuses"}, bad=bad)


def bumps(d, b, c, h, w):
    "A target's heat: a bump of 1, 0.7 and 0.4 around two centres of each map"
    y = torch.zeros(b, c, h, w)
    for i in range(b):
        for j in range(c):
            for _ in range(2):
                v, u = d.int(1, h - 2), d.int(1, w - 2)
                bump = torch.tensor([[0.4, 0.7, 0.4], [0.7, 1, 0.7], [0.4, 0.7, 0.4]])
                patch = y[i, j, v - 1 : v + 2, u - 1 : u + 2]
                torch.maximum(patch, bump, out=patch)
    return y


def loss_parts(d):
    (h, w), c = d.hw(6, 9), d.int(2, 3)
    y = bumps(d, 2, c, h, w)
    z = 3 * d.randn(2, c, h, w)
    z[0, 0, 0, 0], ignore = 6.0, d.rand(2, h, w) < 0.2
    ignore[0, 0, 0] = True
    ignore |= (y == 1).any(1) & (d.rand(2, h, w) < 0.5)
    checks = {"prob": "focal", "logits": "focal"}
    checks.update({"prob ignore": "ignore", "logits ignore": "ignore"})
    yield case("focal", "two maps", checks, p=z.sigmoid(), z=z, y=y, ignore=ignore)
    yield case("certain", "sure of all", {"zero": "certain", "one": "certain"}, y=y)
    a, b, real = 5 * d.randn(2, 2, h, w), 5 * d.rand(2, 2, h, w), (y == 1).any(1)
    wild = a.clone()
    v, u = (~real[0]).nonzero()[0].tolist()
    wild[0, 0, v, u] = torch.inf
    yield case("l1", "sizes", {"l1": "l1", "wild": "l1"}, a=a, b=b, real=real, wild=wild)


def rows(d, hw, c, n, scale=1, beyond=0.0):
    "Objects [1, n, 6], no two in one cell or beside each other, on maps of `hw` times `scale`"
    cells = [(y, x) for y in range(0, hw[0], 2) for x in range(0, hw[1], 2)]
    cells = torch.tensor(d.random.sample(cells, n), dtype=torch.float32)
    yx = cells + 0.05 + 0.9 * d.rand(n, 2)
    size, cls = 1.5 + 6 * d.rand(n, 2), (d.rand(n, 1) * c).floor()
    return torch.cat([scale * yx, scale * size, cls, torch.ones(n, 1)], 1)[None]


def loss_refuses(d):
    "Scales, maps, objects and cells to ignore that cannot be"
    bad = [dict(r_scale=0), dict(r_scale=-4)]
    yield case("refuses", "impossible scales", {"refused": "refuses"}, bad=bad)
    points, objects = d.rand(2, 6, 5, 7), torch.cat([rows(d, (5, 7), 2, 3)] * 2)
    calls = {
        "three dimensions": (points[0], objects),
        "no class": (points[:, :4], objects),
        "maps that the target does not have": (points[..., 1:], objects),
        "objects of other pictures": (points, objects[:1]),
        "a height below 0": (points, objects * torch.tensor([1, 1, -1, 1, 1, 1])),
        "class 2 of 2": (points, objects * torch.tensor([1, 1, 1, 1, 0, 1]) + 2 * CLASS),
        "ignore of whole numbers": (points, objects, torch.zeros(2, 5, 7).long()),
        "ignore of other maps": (points, objects, torch.zeros(2, 7, 5).bool()),
    }
    bad = [dict(input=said) for said in calls]
    given = dict(calls=[list(c) for c in calls.values()], bad=bad, target=d.rand(2, 6, 5, 7))
    yield case("loss_refuses", "impossible input", {"refused": "refuses"}, **given)


def loss(d):
    yield from loss_parts(d)
    yield from loss_refuses(d)
    checks = {"objects": "whole", "loss": "whole", "slope": "slope", "input": "untouched"}
    for logits, r in ((True, 4), (False, 4), (True, 8)):
        (h, w), c = d.hw(6, 9), 1 if r == 8 else 2
        objects = torch.cat([rows(d, (h, w), c, n, r) for n in (3, 3)])
        objects[1, 2] = 0  # a padding row
        objects[0, 1, 0] = -9.0  # its centre is off the map
        target = torch.cat(
            [bumps(d, 2, c, h, w), d.rand(2, 2, h, w), 9 * d.rand(2, 2, h, w)], 1
        )
        points = torch.cat([2 * d.randn(2, c, h, w), d.randn(2, 4, h, w)], 1)
        if logits:
            points[:, 0][target[:, 0] == 1] = -14.0  # a bad start: the slope must not be lost
        else:
            points[:, :c] = points[:, :c].sigmoid()
        make = dict(from_logits=logits, r_scale=r)
        if r == 8:
            make.update(l_size_lambda=0.3, l_offset_lambda=2)
        name = f"{'logits' if logits else 'probabilities'}, R = {r}"
        given = dict(points=points, objects=objects, target=target)
        if r == 8:
            given["ignore"] = d.rand(2, h, w) < 0.3
        yield case("loss", name, checks, make, **given)


ENCODED = {"shape": "cells", "heat": "cells", "offset": "offset", "size": "size"}


def encode(d):
    C, hw = 3, d.hw(9, 12)
    make = dict(hw=hw, num_classes=C, smooth_kernel_size=0)
    few = rows(d, hw, C, 4)
    few = few.double() if d.hidden else few
    yield case("encode", "one-hot", {**ENCODED, "input": "untouched"}, make, objects=few)
    smooth = {"heat": "gauss", "offset": "offset", "size": "size"}
    for k in (3, 7 if d.hidden else 5):
        given = {**make, "smooth_kernel_size": k}
        yield case("encode", f"kernel {k}", smooth, given, objects=rows(d, hw, C, 3))
    yield overlap(d, make)
    yield from edges(d, make)
    yield from adaptive(d)
    yield from radii(d)
    yield from beside(d)
    bad = [dict(smooth_kernel_size=2), dict(smooth_kernel_size=4), dict(gaussian="round")]
    bad += [dict(gaussian="adaptive", min_overlap=o) for o in (0, 1)]
    yield case("refuses", "even kernels", {"refused": "refuses"}, bad=bad)


def overlap(d, make):
    "Two Gaussians of one class that meet, one of another class beside them"
    y, x = d.int(3, 5), d.int(4, 5)
    near = [[y + 0.3, x + 0.6, 2, 3, 0, 1], [y + 0.1, x + 2.2, 4, 2, 0, 1]]
    near.append([y + 1.4, x + 1.1, 3, 3, 1, 1])
    given = {**make, "smooth_kernel_size": 5}
    return case(
        "encode", "they meet", {"heat": "overlap"}, given, objects=torch.tensor([near])
    )


def edges(d, make):
    "Centres on and beyond the border, padding, and two objects in one cell"
    h, w = make["hw"]
    at = [(0, 0), (h - 0.1, w - 0.2), (-0.2, 4.5), (3.5, w), (h, 2.5), (2.5, -0.3)]
    some = torch.tensor([[[y, x, 2.0, 3, i % 2, 1] for i, (y, x) in enumerate(at)]])
    padded = torch.cat([rows(d, make["hw"], 3, 4), torch.zeros(1, 2, 6)], 1)
    objects = torch.cat([some, padded])[:, torch.tensor([5, 1, 3, 0, 4, 2])]
    checks = {"heat": "edges", "offset": "edges", "size": "edges"}
    yield case("encode", "borders", checks, {**make, "smooth_kernel_size": 3}, objects=objects)
    y, x = d.int(2, 5), d.int(2, 5)
    pair = torch.tensor([[[y + 0.2, x + 0.7, 6, 3, 0, 1], [y + 0.6, x + 0.1, 2, 3, 1, 1]]])
    shared = {"heat": "shared", "offset": "shared", "size": "shared"}
    given = dict(objects=pair.float(), either=pair[:, :1].float())  # whichever of the two wins
    yield case("encode", "one cell", shared, make, **given)


def adaptive(d):
    "Boxes of many sizes, each in a map of its own class"
    hw, sizes = d.hw(24, 28), [(10, 10), (3, 14), (20, 9), (30, 22)]
    objects = [
        [11.3, 13.6, h + d.int(0, 2), w + d.int(0, 2), i, 1] for i, (h, w) in enumerate(sizes)
    ]
    objects = torch.tensor([objects], dtype=torch.float32)
    for kind, overlap in (("adaptive", 0.3), ("adaptive", 0.7), ("ellipse", 0.3)):
        make = dict(hw=hw, num_classes=4, gaussian=kind, min_overlap=overlap)
        name = f"{kind}, overlap {overlap}"
        yield case("encode", name, {"heat": "adaptive"}, make, objects=objects)


def radii(d):
    "What the lesson has beside the component: radii by all formulas"
    h, w = 40 * d.rand(7), 40 * d.rand(7)
    h[3] = w[5] = h[6] = w[6] = 0
    for make in (dict(formula="original"), dict(formula="later"), dict(min_overlap=0.6)):
        given = dict(h=h, w=w, of="gaussian_radius")
        yield case("radius", f"radii, {make}", {"radius": "adaptive"}, make, **given)
    sizes = dict(h=8.0, w=9.0)
    bad = [dict(min_overlap=0.0, **sizes), dict(min_overlap=1.0, **sizes)]
    bad += [dict(formula="best", **sizes)]
    checks, given = {"refused": "refuses"}, dict(bad=bad, of="gaussian_radius")
    yield case("refuses", "radii that cannot be", checks, **given)


def beside(d):
    "What else the lesson has beside the component: kernels, Gaussians laid anywhere, cells"
    for make in ([7], [(7, 3), (2.0, 0.5)]):
        yield case("kernel", f"kernel {make}", {"kernel": "gauss"}, make, of="gaussian_kernel")
    maps, kernel = (d.rand(2, 2, 9, 8) > 0.9).float(), d.rand(5, 3)
    given = dict(maps=maps, kernel=kernel, of="ObjectsToPoints.smooth_points_heatmap")
    yield case("lay", "Gaussians laid", {"maps": "gauss", "one": "gauss"}, **given)
    objects = torch.tensor([[[-0.1, 5.0]], [[2.0, 1e30]]])
    given = dict(objects=objects, of="ObjectsToPoints.compute_objects_locations")
    yield case("cells", "cells far off", {"cells": "cells"}, **given)


def noise_points(d, b, c, h, w):
    "Points of distinct probabilities, offsets in the cell, sizes in cells"
    return torch.cat([d.rand(b, c, h, w), d.rand(b, 2, h, w), 1 + 9 * d.rand(b, 2, h, w)], 1)


def decode(d):
    (h, w), C = d.hw(6, 8), 3
    one = noise_points(d, 1, C, h, w)
    one[:, :C] = 0
    y, x = d.int(1, 3), d.int(4, w - 1)
    one[0, 1, y, x] = 0.8125
    checks = {"shape": "shape", "rows": "one", "input": "untouched"}
    yield case("decode", "one peak", checks, [3, 0.1], points=one)
    many = noise_points(d, 2, C, h, w)
    many = many.double() if d.hidden else many
    yield case("decode", "ten best", {"rows": "order"}, [10, 0.1], points=many)
    checks = {"rows": "floor", "input": "untouched"}
    yield case("decode", "floor", checks, [30, 0.93], points=many.float())
    exact = dict(points=one)  # its peak is 0.8125
    yield case("decode", "at the threshold", {"rows": "floor"}, [3, 0.8125], **exact)
    nothing = many.float() * torch.tensor([0.5] * C + [1.0] * 4)[:, None, None]
    yield case("decode", "nothing", {"rows": "floor"}, [4, 0.6], points=nothing)
    small = noise_points(d, 2, 2, 1, 2)
    yield case(
        "decode", "more than cells", {"shape": "few", "rows": "few"}, [7, 0.0], points=small
    )
    flat = one.clone()
    flat[:, -2:] = 0
    yield case("decode", "no size", {"rows": "points"}, [3, 0.1], points=flat)
    tied = noise_points(d, 1, 2, h, w)
    tied[:, :2] = (tied[:, :2] * 3).floor() / 4
    yield case("decode", "equal values", {"rows": "ties"}, [9, 0.1], points=tied)


def suppress(d):
    (h, w), C = d.hw(8, 11), 2
    points = noise_points(d, 2, C, h, w)
    rest = {"shape": "rest", "rest": "rest"}
    for k in (3, 5, 1, 7 if d.hidden else 3)[: 4 if d.hidden else 3]:
        checks = {"heat": "peaks" if k == 3 else "window", **(rest if k == 3 else {})}
        if k == 3:
            checks["input"] = "untouched"
        given = points.double() if d.hidden and k == 5 else points
        yield case("suppress", f"window {k}", checks, [k], points=given)
    flat = noise_points(d, 1, C, h, w)
    flat[:, :C] = (flat[:, :C] * 3).floor() / 4
    yield case("suppress", "equal values", {"heat": "plateau"}, [3], points=flat)
    bad = [dict(kernel_size=2), dict(kernel_size=4)]
    yield case("refuses", "even windows", {"refused": "refuses"}, bad=bad)


MAKERS = {
    "UpscaleTwiceLayer": upscale,
    "HeadlessResnet34": resnet,
    "CenterNetHead": head,
    "CenterNetLoss": loss,
    "ObjectsToPoints": encode,
    "PointsToObjects": decode,
    "PointsNonMaxSuppression": suppress,
}


def cases_of(component, seed=SEED, hidden=False):
    "The inputs of a component's checks"
    return list(MAKERS[component](Draw(f"{seed} {component}", hidden)))
