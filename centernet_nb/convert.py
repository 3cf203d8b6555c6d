import math
import torch
import torch.nn.functional as F
from fastcore.basics import patch
from torch import nn
from centernet_nb.checks import check_objects, moved
from centernet_nb.fastmaps import SparsePoints, odd, sparse_points

class ObjectsToPoints(nn.Module):
    "Objects in output pixels as targets: class heat, offset and size (sections 3 and 4)"
    @classmethod
    def create_default_heatmaps(cls,
        b, # pictures
        hw, # int or (H, W)
        c, # classes
        device=None, # where to
    )->torch.Tensor: # zeros, float32 [b, c+4, H, W]
        "Maps without any object"
        return torch.zeros(b, c+4, *((hw, hw) if isinstance(hw, int) else hw), device=device)

    @classmethod
    def compute_objects_locations(cls,
        objects, # [B, N, 6]
    ): # batch, y and x index of the cells, int64 [B·N] each; may lie outside of the map
        "The cell of each object's centre, floor(p)"
        b, n, _ = objects.shape
        y, x = objects[..., :2].floor().clamp(-2**30, 2**30).long().flatten(0, 1).unbind(1)
        return torch.arange(b, device=objects.device).repeat_interleave(n), y, x

@patch(cls_method=True)
def compute_objects_offsets(cls:ObjectsToPoints,
    objects, # [B, N, 6]
): # dy and dx in [0, 1), float [B·N] each
    "Where inside of its cell each centre lies (section 3, the local offset)"
    p = objects[..., :2].flatten(0, 1)
    return (p - p.floor()).unbind(1)

@patch(cls_method=True)
def compute_objects_sizes(cls:ObjectsToPoints,
    objects, # [B, N, 6]
): # h and w in output pixels, float [B·N] each
    "The regression target of the size (section 4)"
    return objects[..., 2:4].flatten(0, 1).unbind(1)

def gaussian_kernel(
    k, # side in cells, odd; or (height, width)
    sigma=None, # σ of y and x, as a pair; None: 3σ = k//2 + 1
)->torch.Tensor: # float32 [height, width], exactly 1 in the middle
    "A Gaussian around the middle cell (section 3)"
    sides = (k, k) if isinstance(k, int) else k
    sigma = sigma or [(side//2 + 1)/3 for side in sides]
    d = [torch.arange(odd(side)) - side//2 for side in sides]
    gy, gx = (torch.exp(-d_.square()/(2*s**2)) for d_, s in zip(d, sigma))
    return gy[:, None]*gx

def gaussian_radius(
    h, # heights of boxes, number or tensor, in output pixels
    w, # widths, like `h`
    min_overlap=None, # IoU that the moved box keeps; default 0.7, for "later" 0.3
    formula="corrected", # "original" (as published), "corrected", "later" (corrected, 0.3)
)->torch.Tensor: # radii in output pixels, float32, not rounded
    "How far both corners of a box may move while its IoU stays `min_overlap` (section 3)"
    if formula not in ("original", "corrected", "later"):
        raise ValueError(f"formula={formula!r}: choose 'original', 'corrected' or 'later'")
    o = min_overlap if min_overlap is not None else .3 if formula == "later" else .7
    if not 0 < o < 1: raise ValueError(f"min_overlap={o} must lie between 0 and 1")
    h, w = (torch.as_tensor(t, dtype=torch.float32) for t in (h, w))
    s, missing = h + w, h*w*(1-o)
    radii = []
    for a, b, c in ((1, s, missing/(1+o)), (4, 2*s, missing), (4*o, 2*o*s, -missing)):
        root = (b*b - 4*a*c).sqrt()
        if formula == "original": radii.append((root + b)/2 if a in (1, 4) else (root - b)/2)
        else: radii.append((2*c.abs()/(b + root)).nan_to_num(0.))    # 0/0: no size, no radius
    return torch.stack(radii).amin(0)

@patch
def __init__(self:ObjectsToPoints,
    hw=64, # height and width of the maps: an int or (H, W), in output pixels
    num_classes=2, # class channels C
    smooth_kernel_size=3, # for "fixed": 0 = one-hot, odd k = k×k Gaussian with 3σ = k//2 + 1
    gaussian="fixed", # "fixed", "adaptive" (the paper's radius) or "ellipse" (one a side)
    min_overlap=0.3, # for the last two: the IoU that a box moved by the radius keeps
):
    nn.Module.__init__(self)
    if gaussian not in ("fixed", "adaptive", "ellipse"):
        raise ValueError(f"gaussian={gaussian!r}: choose 'fixed', 'adaptive' or 'ellipse'")
    if not 0 < min_overlap < 1: raise ValueError(f"min_overlap={min_overlap}: between 0 and 1")
    if smooth_kernel_size: odd(smooth_kernel_size, "smooth_kernel_size")
    self.hw, self.num_classes = (hw, hw) if isinstance(hw, int) else tuple(hw), num_classes
    self.smooth_kernel_size, self.gaussian = smooth_kernel_size, gaussian
    self.min_overlap = min_overlap

@patch
def spread(self:ObjectsToPoints,
    h, # heights [n] in output pixels
    w, # widths [n]
): # ((ry, rx), (σy, σx)): radii int64 [n], σ float32 [n]
    "How far the Gaussian of each box reaches, and its σ"
    if self.gaussian == "fixed":
        r = torch.full_like(h, self.smooth_kernel_size//2).long()
        return (r, r), ((r + 1)/3,)*2
    if self.gaussian == "adaptive": r = (gaussian_radius(h, w, self.min_overlap).long(),)*2
    else: r = tuple((side*(1 - math.sqrt(self.min_overlap))/2).long() for side in (h, w))
    return r, tuple((2*q + 1)/6 for q in r)

@patch(cls_method=True)
def smooth_points_heatmap(cls:ObjectsToPoints,
    points_heatmap, # contiguous float maps [..., H, W], drawn into
    smooth_kernel, # a kernel for all centres, or one for each of `cells`
    cells=None, # (map, y, x) of the centres; None: wherever there is a 1
)->torch.Tensor: # `points_heatmap`
    "Lay a Gaussian around every centre, overlaps by max (section 3)"
    maps = points_heatmap.view(-1, *points_heatmap.shape[-2:])
    if cells is None: cells = (maps == 1).nonzero().tolist()
    if isinstance(smooth_kernel, torch.Tensor): smooth_kernel = [smooth_kernel]*len(cells)
    for (n, y, x), kernel in zip(cells, smooth_kernel):
        ry, rx = (side//2 for side in kernel.shape)
        patch = maps[n, max(y-ry, 0):y+ry+1, max(x-rx, 0):x+rx+1]
        kernel = kernel[max(ry-y, 0):, max(rx-x, 0):][:patch.shape[0], :patch.shape[1]]
        torch.maximum(patch, kernel.to(patch), out=patch)
    return points_heatmap

@patch
def centres(self:ObjectsToPoints,
    objects, # [B, N, 6]
): # (batch, class, y, x) int64 [n] each, and float32 [n, 4]: dy, dx, h, w
    "Cells and values of the real objects whose centre lies on the map, in their order"
    (H, W), objects = self.hw, check_objects(objects.detach(), self.num_classes).float()
    batch, y, x = self.compute_objects_locations(objects)
    *_, cls, confidence = objects.flatten(0, 1).unbind(1)
    real = (confidence == 1) & (y >= 0) & (y < H) & (x >= 0) & (x < W)
    values = self.compute_objects_offsets(objects) + self.compute_objects_sizes(objects)
    return tuple(t[real] for t in (batch, cls.long(), y, x)), torch.stack(values, 1)[real]

@patch
def forward(self:ObjectsToPoints,
    objects, # float32 [B, N, 6] in output pixels, rows (y, x, h, w, class, confidence)
)->torch.Tensor: # points, float32 [B, C+4, H, W]
    "Peaks of exactly 1 with Gaussians around them; dy, dx, h, w in the cells of the centres"
    (b, c, y, x), values = self.centres(objects)
    C = self.num_classes
    points = self.create_default_heatmaps(len(objects), self.hw, C, objects.device)
    (ry, rx), (sy, sx) = (torch.stack(pair).tolist() for pair in self.spread(*values.T[2:]))
    kernels = [gaussian_kernel((2*p+1, 2*q+1), s) for p, q, s in zip(ry, rx, zip(sy, sx))]
    self.smooth_points_heatmap(points, kernels, torch.stack([b*(C+4) + c, y, x], 1).tolist())
    for n in (values[:, 2]*values[:, 3]).argsort(stable=True).flip(0).tolist():
        points[b[n], -4:, y[n], x[n]] = values[n]
    return points

@patch
def sparse(self:ObjectsToPoints,
    objects, # float32 [B, N, 6], as for `forward`
)->SparsePoints: # `.dense()` of it are the points that `forward` gives
    "The cells of the target that are not zero"
    cells, values = self.centres(objects)
    shape = (len(objects), self.num_classes, *self.hw)
    return sparse_points(shape, cells, self.spread(*values.T[2:]), values)

class PointsToObjects(nn.Module):
    "The best cells of the class maps as objects in output pixels (section 4); tests no peaks"
    def __init__(self,
        objects_per_image=42, # rows K of each picture
        min_confidence=0.1, # rows under it are all zero
    ):
        super().__init__()
        self.objects_per_image, self.min_confidence = objects_per_image, min_confidence

    @torch.no_grad()
    def forward(self,
        points, # float [B, C+4, H, W]
    )->torch.Tensor: # objects float32 [B, K, 6], by falling confidence, ties in reading order
        "The K best cells of each picture"
        heat, rest, K = points[:, :-4], points[:, -4:], self.objects_per_image
        H, W = points.shape[-2:]
        value, at = heat.flatten(1).sort(dim=1, descending=True, stable=True)
        value, at = value[:, :K].float(), at[:, :K]
        cell = at % (H*W)                                        # which cell of its map
        rest = rest.flatten(2).gather(2, cell[:, None].expand(-1, 4, -1)).float()
        dy, dx, h, w = rest.unbind(1)
        rows = torch.stack([cell//W + dy, cell % W + dx, h, w, at//(H*W), value], 2)
        real = value >= max(self.min_confidence, torch.finfo(torch.float32).tiny)
        return F.pad(rows.where(real[..., None], 0.), (0, 0, 0, K - rows.shape[1]))

_names = "decode_peaks", "draw_gaussians", "find_peaks", "first_of_each", "is_peak", "ragged"
__getattr__ = moved(__name__, **dict.fromkeys(_names, "fastmaps"))
