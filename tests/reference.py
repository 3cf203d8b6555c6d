"""Slow, plain float64 references: what encode, peaks, decode and loss must compute, written
without a look at the package"""

import math
import numpy as np


def radius(h, w, o):
    """Smallest of the three radii at which a box moved by its corners keeps IoU `o` (paper,
    section 3, after CornerNet), by bisection"""

    def iou(kind, r):
        if kind == "apart":
            inter, union = (
                max(0, h - r) * max(0, w - r),
                2 * h * w - max(0, h - r) * max(0, w - r),
            )
        elif kind == "inside":
            inter, union = max(0, h - 2 * r) * max(0, w - 2 * r), h * w
        else:
            inter, union = h * w, (h + 2 * r) * (w + 2 * r)
        return inter / union if union else 1.0

    best = math.inf
    for kind in ("apart", "inside", "outside"):
        low, high = 0.0, 4 * (h + w) + 1
        for _ in range(80):
            mid = (low + high) / 2
            low, high = (mid, high) if iou(kind, mid) >= o else (low, mid)
        best = min(best, low)
    return best if h and w else 0.0


def spread(h, w, gaussian, k, o):
    """((radius y, σ y), (radius x, σ x)) of an object's Gaussian, or None; radii not rounded
    for the sized kinds"""
    if gaussian == "fixed":
        return ((k // 2, (k // 2 + 1) / 3),) * 2 if k else None
    if gaussian == "adaptive":
        r = (radius(h, w, o),) * 2
    else:
        r = h * (1 - math.sqrt(o)) / 2, w * (1 - math.sqrt(o)) / 2
    return tuple((math.floor(q), (2 * math.floor(q) + 1) / 6) for q in r)


def encode(objects, hw, classes, gaussian="fixed", k=3, o=0.3):
    "Objects `[B, N, 6]` in output pixels → points `[B, C+4, H, W]`"
    H, W = hw
    points = np.zeros((len(objects), classes + 4, H, W))
    for b, rows in enumerate(objects):
        smallest = {}
        for y, x, h, w, c, real in rows:
            i, j, c = math.floor(y), math.floor(x), int(c)
            if real != 1 or not (0 <= i < H and 0 <= j < W):
                continue
            if (s := spread(h, w, gaussian, k, o)) is not None:
                (ry, sy), (rx, sx) = s
                top, left = max(0, i - ry), max(0, j - rx)
                yy, xx = (
                    np.arange(top, min(H, i + ry + 1)) - i,
                    np.arange(left, min(W, j + rx + 1)) - j,
                )
                bell = np.exp(-((yy[:, None] / sy) ** 2) / 2 - (xx / sx) ** 2 / 2)
                view = points[b, c, top : top + len(yy), left : left + len(xx)]
                np.maximum(view, bell, out=view)
            points[b, c, i, j] = 1
            if (i, j) not in smallest or h * w < smallest[i, j]:
                smallest[i, j] = h * w
                points[b, classes:, i, j] = y - i, x - j, h, w
    return points


def peaks(heat, k=3):
    "Which cells `[..., H, W]` are the first maximum, in row-major order, of their k×k window"
    r = k // 2
    padded = np.pad(heat, [(0, 0)] * (heat.ndim - 2) + [(r, r)] * 2, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(-2, -1))
    return windows.reshape(*heat.shape, k * k).argmax(-1) == k * k // 2


def decode(points, kernel, k, least):
    "Points `[B, C+4, H, W]` → the k best peaks `[B, k, 6]` in output pixels"
    B, C = points.shape[0], points.shape[1] - 4
    objects = np.zeros((B, k, 6))
    for b in range(B):
        keep = peaks(points[b, :C], kernel) & (points[b, :C] >= least) & (points[b, :C] > 0)
        found = sorted(((-points[b, c, y, x], c, y, x) for c, y, x in zip(*np.nonzero(keep))))[
            :k
        ]
        for n, (s, c, y, x) in enumerate(found):
            dy, dx, h, w = points[b, C:, y, x]
            objects[b, n] = y + dy, x + dx, h, w, c, -s
    return objects


def loss(
    points,
    objects,
    hw,
    from_logits,
    ignore=None,
    scale=4,
    size_weight=0.1,
    offset_weight=1.0,
    **kind,
):
    """Prediction and objects in input pixels → `[B, 3]`: equations 1 to 4, each image over its
    objects + 1"""
    B, C = points.shape[0], points.shape[1] - 4
    objects = objects.copy()
    objects[..., :4] /= scale
    target, z = encode(objects, hw, C, **kind), points[:, :C]
    if from_logits:
        log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
        p, q = np.exp(log_p), np.exp(log_q)
    else:
        p = np.clip(z, 0, 1)
        q = 1 - p
        tiny = np.finfo(np.float32).tiny
        log_p, log_q = np.log(np.maximum(p, tiny)), np.log(np.maximum(q, tiny))
    out = np.zeros((B, 3))
    for b in range(B):
        n, centre = (objects[b, :, 5] > 0).sum() + 1, (target[b, :C] == 1).any(0)
        positive = target[b, :C] == 1
        each = np.where(
            positive, q[b] ** 2 * log_p[b], (1 - target[b, :C]) ** 4 * p[b] ** 2 * log_q[b]
        )
        if ignore is not None:
            each = np.where(~positive & ignore[b], 0, each)
        far = np.abs(points[b, C:] - target[b, C:])[:, centre]
        out[b] = (
            -each.sum() / n,
            offset_weight * far[:2].sum() / n,
            size_weight * far[2:].sum() / n,
        )
    return out
