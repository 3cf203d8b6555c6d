"""Correct answers that look nothing like the reference: (component, source of its module)"""

import textwrap

UNUSUAL = {}


def unusual(component):
    def keep(f):
        UNUSUAL[f.__name__] = component, textwrap.dedent(f.__doc__)
        return f

    return keep


@unusual("UpscaleTwiceLayer")
def zeros_between():
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class UpscaleTwiceLayer(nn.Module):
        def __init__(self, in_channels, out_channels, kernel_size=4, padding=1,
                     output_padding=0):
            super().__init__()
            even = kernel_size - 2*padding + output_padding == 2
            if not even or padding < 0 or output_padding > 1:
                raise TypeError("does not double")
            self.k, self.p, self.o = kernel_size, padding, output_padding
            size = in_channels, out_channels, kernel_size, kernel_size
            self.kernel = nn.Parameter(torch.randn(size))
            self.norm = nn.BatchNorm2d(out_channels)

        def forward(self, x):
            b, c, h, w = x.shape
            spread = torch.zeros(b, c, 2*h - 1, 2*w - 1)
            spread[:, :, ::2, ::2] = x
            before = self.k - 1 - self.p
            spread = F.pad(spread, (before, before + self.o, before, before + self.o))
            kernel = self.kernel.flip((2, 3)).transpose(0, 1)
            return self.norm(F.conv2d(spread, kernel)).clamp(min=0)
    """


@unusual("UpscaleTwiceLayer")
def as_a_sequence():
    """
    from torch import nn

    class UpscaleTwiceLayer(nn.Sequential):
        def __init__(self, in_channels, out_channels, kernel_size=4, padding=1,
                     output_padding=0):
            if padding < 0 or output_padding not in (0, 1):
                raise ValueError("no")
            if kernel_size + output_padding != 2 + 2*padding:
                raise ValueError("no")
            sizes = in_channels, out_channels, kernel_size, 2, padding, output_padding
            up = nn.ConvTranspose2d(*sizes, bias=False)
            super().__init__(up, nn.BatchNorm2d(out_channels), nn.ReLU())
    """


@unusual("HeadlessResnet34")
def from_torchvision():
    """
    import torch, torchvision

    class HeadlessResnet34(torchvision.models.ResNet):
        def __init__(self, stages=4, pools=1):
            if stages not in range(1, 5) or pools not in (1, 2): raise ValueError("no")
            super().__init__(torchvision.models.resnet.BasicBlock, [3, 4, 6, 3])
            del self.fc, self.avgpool
            for i in range(stages, 4): delattr(self, f"layer{i + 1}")
            self.pools, self.last = pools, stages

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            for _ in range(self.pools): x = self.maxpool(x)
            for i in range(self.last): x = self._modules[f"layer{i + 1}"](x)
            return x
    """


@unusual("CenterNetHead")
def by_einsum():
    """
    import math, torch
    from torch import nn
    from torch.nn import functional as F

    class Branch(nn.Module):
        def __init__(self, k, hidden, out, bias):
            super().__init__()
            self.first = nn.Conv2d(k, hidden, 3, padding=1)
            self.matrix = nn.Parameter(torch.randn(out, hidden)*.1)
            self.add = nn.Parameter(torch.full((out,), bias))

        def forward(self, x):
            seen = F.relu(self.first(x))
            return torch.einsum("oc,bchw->bohw", self.matrix, seen) + self.add[:, None, None]

    class CenterNetHead(nn.Module):
        def __init__(self, k_in_channels=64, c_classes=2, hidden=64, prior=0.1):
            super().__init__()
            if not isinstance(k_in_channels, int) or min(k_in_channels, c_classes, hidden) < 1:
                raise ValueError("sizes")
            if prior <= 0 or prior >= 1: raise ValueError("prior")
            self.c_classes = c_classes
            start = math.log(prior/(1 - prior))
            self.size = Branch(k_in_channels, hidden, 2, 3.)
            self.offset = Branch(k_in_channels, hidden, 2, .5)
            self.heat = Branch(k_in_channels, hidden, c_classes, start)

        def forward(self, x, logits=False):
            heat = self.heat(x)
            if not logits: heat = 1/(1 + torch.exp(-heat))
            return torch.cat((heat, self.offset(x), self.size(x)), dim=1)
    """


@unusual("CenterNetLoss")
def cell_by_cell():
    """
    import torch
    from torch import nn
    from torch.nn.functional import logsigmoid

    class CenterNetLoss(nn.Module):
        def __init__(self, l_size_lambda=0.1, l_offset_lambda=1, r_scale=4, obj_to_points=None,
                     from_logits=False, **kwargs):
            super().__init__()
            if not r_scale > 0: raise ValueError("scale")
            self.a, self.b, self.r = l_size_lambda, l_offset_lambda, r_scale
            self.maker = obj_to_points
            self.logits = from_logits

        def loss_fl(self, predict, target, alpha=2, beta=4, ignore=None):
            out = []
            for i in range(len(predict)):
                total = predict.new_zeros(())
                for c in range(predict.shape[1]):
                    p, y = predict[i, c].flatten(), target[i, c].flatten()
                    lp = logsigmoid(p) if self.logits else p.clamp(min=1e-38).log()
                    lq = logsigmoid(-p) if self.logits else (1 - p).clamp(min=1e-38).log()
                    prob = p.sigmoid() if self.logits else p
                    for k in range(len(p)):
                        if y[k] == 1: total = total - (1 - prob[k])**alpha*lp[k]
                        elif ignore is None or not ignore[i].flatten()[k]:
                            total = total - (1 - y[k])**beta*prob[k]**alpha*lq[k]
                out.append(total)
            return torch.stack(out)

        def loss_l1(self, predict, target, is_real_object):
            out = []
            for p, t, real in zip(predict, target, is_real_object):
                real = real.reshape(p.shape[1:]) == 1
                out.append(sum(abs(p[c][real] - t[c][real]).sum() for c in (0, 1)))
            return torch.stack(out)

        def forward(self, points, objects, ignore=None):
            B, C4, H, W = points.shape
            fits = C4 > 4 and len(objects) == B and (objects[..., 2:4] >= 0).all()
            fits = fits and (objects[..., 4] < C4 - 4).all()
            if ignore is not None:
                fits &= ignore.dtype is torch.bool and ignore.shape == (B, H, W)
            if not fits: raise ValueError("no")
            cells = objects.clone()
            for column in range(4): cells[:, :, column] = cells[:, :, column]/self.r
            target = self.maker(cells)
            if target.shape != points.shape: raise ValueError("maps")
            C = points.shape[1] - 4
            real = target[:, :C].max(1).values == 1
            n = torch.tensor([1 + sum(row[5].item() for row in rows) for rows in objects])
            focal = self.loss_fl(points[:, :C], target[:, :C], ignore=ignore)
            offset = self.loss_l1(points[:, C:C+2], target[:, C:C+2], real)
            size = self.loss_l1(points[:, C+2:], target[:, C+2:], real)
            return torch.stack([focal/n, self.b*offset/n, self.a*size/n], dim=1)
    """


ENCODER = """
import math, torch
from torch import nn

def radius(h, w, o):
    a = (h + w - math.sqrt((h + w)**2 - 4*h*w*(1 - o)/(1 + o)))/2
    b = (2*(h + w) - math.sqrt(4*(h + w)**2 - 16*(1 - o)*h*w))/8
    c = (-2*o*(h + w) + math.sqrt(4*o*o*(h + w)**2 + 16*o*(1 - o)*h*w))/(8*o)
    return int(min(a, b, c))
"""


@unusual("ObjectsToPoints")
def whole_map_each():
    """
    class ObjectsToPoints(nn.Module):
        def __init__(self, hw=64, num_classes=2, smooth_kernel_size=3,
                     gaussian="fixed", min_overlap=0.3):
            super().__init__()
            if gaussian not in ("fixed", "adaptive", "ellipse"): raise ValueError(gaussian)
            if not 0 < min_overlap < 1: raise ValueError(min_overlap)
            if smooth_kernel_size and smooth_kernel_size % 2 == 0: raise ValueError("even")
            self.hw, self.num_classes = ((hw, hw) if isinstance(hw, int) else hw), num_classes
            self.k, self.kind, self.overlap = smooth_kernel_size, gaussian, min_overlap

        def forward(self, objects):
            H, W = self.hw
            out = torch.zeros(len(objects), self.num_classes + 4, H, W)
            grid_y, grid_x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
            for b, picture in enumerate(objects):
                rows = [r.tolist() for r in picture if r[5] == 1]
                for y, x, h, w, c, _ in sorted(rows, key=lambda r: -r[2]*r[3]):
                    i, j = math.floor(y), math.floor(x)
                    if not (0 <= i < H and 0 <= j < W): continue
                    fixed, near = self.kind == "fixed", radius(h, w, self.overlap)
                    r = [self.k//2 if fixed else near]*2
                    if self.kind == "ellipse":
                        r = [int(side*(1 - self.overlap**.5)/2) for side in (h, w)]
                    s, t = ((q + 1)/3 if fixed else (2*q + 1)/6 for q in r)
                    bump = torch.exp(-((grid_y - i)/s)**2/2 - ((grid_x - j)/t)**2/2)
                    bump[((grid_y - i).abs() > r[0]) | ((grid_x - j).abs() > r[1])] = 0
                    out[b, int(c)] = torch.max(out[b, int(c)], bump)
                    out[b, -4:, i, j] = torch.tensor([y - i, x - j, h, w])
            return out
    """


@unusual("ObjectsToPoints")
def larger_box_wins():
    "the other rule for a shared cell: which of the two wins is free"


@unusual("PointsToObjects")
def sorted_in_python():
    """
    import torch
    from torch import nn

    class PointsToObjects(nn.Module):
        def __init__(self, objects_per_image=42, min_confidence=0.1):
            super().__init__()
            self.K, self.floor = objects_per_image, min_confidence

        def forward(self, points):
            out = torch.zeros(len(points), self.K, 6)
            for b, maps in enumerate(points.tolist()):
                classes, (dy, dx, h, w) = maps[:-4], maps[-4:]
                found = [(v, c, i, j) for c, rows in enumerate(classes)
                         for i, row in enumerate(rows)
                         for j, v in enumerate(row) if v >= self.floor and v > 0]
                found.sort(key=lambda f: -f[0])
                for k, (v, c, i, j) in enumerate(found[:self.K]):
                    y, x = i + dy[i][j], j + dx[i][j]
                    out[b, k] = torch.tensor([y, x, h[i][j], w[i][j], c, v])
            return out
    """


@unusual("PointsToObjects")
def argmax_again_and_again():
    """
    import torch
    from torch import nn

    class PointsToObjects(nn.Module):
        def __init__(self, objects_per_image=42, min_confidence=0.1):
            super().__init__()
            self.n, self.least = objects_per_image, min_confidence

        def forward(self, points):
            heat = points[:, :-4].clone()
            out = points.new_zeros(len(points), self.n, 6)
            B, C, H, W = heat.shape
            for b in range(B):
                for k in range(min(self.n, C*H*W)):
                    best = heat[b].max()
                    if best < self.least or best <= 0: break
                    c, i, j = (heat[b] == best).nonzero()[0]
                    out[b, k, :2] = torch.stack([i, j]) + points[b, -4:-2, i, j]
                    out[b, k, 2:4] = points[b, -2:, i, j]
                    out[b, k, 4], out[b, k, 5] = c, best
                    heat[b, c, i, j] = -1
            return out
    """


@unusual("PointsNonMaxSuppression")
def by_unfold():
    """
    import torch
    from torch import nn
    from torch.nn import functional as F

    class PointsNonMaxSuppression(nn.Module):
        def __init__(self, kernel_size=3):
            super().__init__()
            if kernel_size % 2 != 1: raise ValueError(kernel_size)
            self.kernel_size = kernel_size

        def forward(self, points):
            k, C = self.kernel_size, points.shape[1] - 4
            out = points.clone()
            for c in range(C):
                heat = points[:, c:c+1]
                around = F.unfold(F.pad(heat, (k//2,)*4, value=-1.), k)
                middle, at = around[:, k*k//2], around.argmax(1)
                first = (around == around.max(1, keepdim=True).values).int().argmax(1)
                keep = (first == k*k//2).view(heat[:, 0].shape)
                out[:, c] = torch.where(keep, heat[:, 0], torch.zeros(()).to(heat))
            return out
    """


@unusual("PointsNonMaxSuppression")
def four_loops():
    """
    import torch
    from torch import nn

    class PointsNonMaxSuppression(nn.Module):
        def __init__(self, kernel_size=3):
            super().__init__()
            if not kernel_size % 2: raise ValueError("odd, please")
            self.kernel_size = kernel_size

        def forward(self, points):
            r, out = self.kernel_size//2, points.clone()
            B, C, H, W = points.shape
            values = points.tolist()
            for b in range(B):
                for c in range(C - 4):
                    m = values[b][c]
                    for i in range(H):
                        for j in range(W):
                            near = [(-m[p][q], p, q)
                                    for p in range(max(0, i - r), min(H, i + r + 1))
                                    for q in range(max(0, j - r), min(W, j + r + 1))]
                            if min(near)[1:] != (i, j): out[b, c, i, j] = 0
            return out
    """


def sources():
    for name, (component, text) in UNUSUAL.items():
        if component == "ObjectsToPoints":
            text = ENCODER + UNUSUAL["whole_map_each"][1]
            if name == "larger_box_wins":
                text = text.replace("key=lambda r: -r[2]*r[3]", "key=lambda r: r[2]*r[3]")
        yield name, component, text
