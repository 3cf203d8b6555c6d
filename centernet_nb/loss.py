import torch
from fastcore.basics import patch
from torch import nn
from torch.nn import functional as F
from centernet_nb.checks import check_objects
from centernet_nb.convert import ObjectsToPoints
from centernet_nb.fastloss import sparse_loss

def focal_from_probabilities(
    p, # class probabilities [B,C,h,w]
    y, # targets [B,C,h,w]: exactly 1 at centres, the bump around them
    alpha=2, # power of the error
    beta=4, # power of 1-Y
    ignore=None, # bool [B,h,w]: cells that add no negative loss
): # the sum over classes and cells, [B]
    "Focal loss (equation 1, not divided by N) of each picture; finite for P of 0 and 1"
    p = p if p.dtype == torch.float64 else p.float()
    q, tiny = 1 - p, torch.finfo(p.dtype).tiny
    negative = (1 - y)**beta*p**alpha*q.clamp_min(tiny).log()
    if ignore is not None: negative = negative.masked_fill(ignore[:, None], 0)
    return -torch.where(y == 1, q**alpha*p.clamp_min(tiny).log(), negative).sum((1, 2, 3))

def focal_from_logits(
    z, # logits of the class probabilities [B,C,h,w]
    y, # targets [B,C,h,w]: exactly 1 at centres, the bump around them
    alpha=2, # power of the error
    beta=4, # power of 1-Y
    ignore=None, # bool [B,h,w]: cells that add no negative loss
): # the sum over classes and cells, [B]
    "Focal loss (equation 1, not divided by N) of each picture; finite for logits of any size"
    z = z if z.dtype == torch.float64 else z.float()
    log_p, log_q = F.logsigmoid(z), F.logsigmoid(-z)
    p, q = log_p.exp(), log_q.exp()
    negative = (1 - y)**beta*p**alpha*log_q
    if ignore is not None: negative = negative.masked_fill(ignore[:, None], 0)
    return -torch.where(y == 1, q**alpha*log_p, negative).sum((1, 2, 3))

def l1_at_centres(
    predict, # offsets or sizes [B,2,h,w]
    target, # the same, as they should be
    centre, # bool [B,h,w] or [B,1,h,w]: where an object's centre lies
): # the sum over both channels and the centres, [B]
    "Sum of absolute differences at the centres (equations 2 and 3, not divided by N)"
    centre = centre.bool() if centre.ndim == 4 else centre[:, None].bool()
    diff = predict.to(torch.promote_types(predict.dtype, torch.float32)) - target
    return torch.where(centre, diff.abs(), 0).sum((1, 2, 3))

class CenterNetLoss(nn.Module):
    "Focal, offset and size loss of each picture (equations 1 to 4), over N + 1 and weighted"
    def __init__(self,
        l_size_lambda=0.1, # λ_size, weight of the size loss
        l_offset_lambda=1, # λ_off, weight of the offset loss
        r_scale=4, # R, input pixels per output pixel
        obj_to_points=None, # any function, objects in cells to points; None: lesson 03's
        from_logits=False, # class channels: logits (what training uses) or probabilities?
        **kwargs # for `ObjectsToPoints`; `hw` and `num_classes` come from the prediction
    ):
        super().__init__()
        if r_scale <= 0: raise ValueError(f"r_scale={r_scale} must be positive (paper: 4)")
        if obj_to_points is not None and kwargs:
            raise ValueError(f"give obj_to_points or its options {[*kwargs]}, not both")
        self.l_size_lambda, self.l_offset_lambda = l_size_lambda, l_offset_lambda
        self.r_scale, self.from_logits = r_scale, from_logits
        self.obj_to_points, self.kwargs, self._made = obj_to_points, kwargs, {}

    def loss_fl(self, predict, target, alpha=2, beta=4, ignore=None):
        "Focal loss [B] of class channels [B,C,h,w], logits if `from_logits` (equation 1)"
        focal = focal_from_logits if self.from_logits else focal_from_probabilities
        return focal(predict, target, alpha, beta, ignore)

    def loss_l1(self, predict, target, is_real_object):
        "Absolute differences [B] where `is_real_object`, bool [B,(1,)h,w] (equations 2 and 3)"
        return l1_at_centres(predict, target, is_real_object)

@patch
def encoder(self:CenterNetLoss, points):
    "What makes targets for maps like `points`"
    C, hw = points.shape[1] - 4, tuple(points.shape[2:])
    if self.obj_to_points is not None: return self.obj_to_points
    if (C, hw) not in self._made:
        self._made[C, hw] = ObjectsToPoints(**{"num_classes": C, **self.kwargs, "hw": hw})
    return self._made[C, hw]

@patch
@torch.no_grad()
def targets(self:CenterNetLoss,
    points, # the prediction, for its shape [B,C+4,h,w]
    objects, # [B,N,6] in output pixels
    sparse=False, # as `SparsePoints`?
): # [B,C+4,h,w]
    "What `points` should have been"
    make = self.encoder(points)
    target = make.sparse(objects) if sparse else make(objects)
    B, C, *hw = target.shape
    got, shape = list(points.shape), [B, C + 4*sparse, *hw]
    if got != shape:
        raise ValueError(f"the prediction is {got} but its target {shape}: leave hw and "
                         "num_classes out of CenterNetLoss, or give those of the network")
    return target

@patch
def sums(self:CenterNetLoss,
    points, # prediction [B,C+4,h,w]
    objects, # [B,N,6] in output pixels
    ignore=None, # bool [B,h,w]
): # [B,3]
    "Focal, offset and size loss before division and weights, by the short cut if there is one"
    short_cut = self.from_logits and hasattr(self.encoder(points), "sparse")
    if short_cut and not torch.compiler.is_compiling():  # it fuses the plain lines by itself
        return sparse_loss(points, self.targets(points, objects, sparse=True), ignore)
    target = self.targets(points, objects)
    maps = [t.split([t.shape[1] - 4, 2, 2], 1) for t in (points, target)]
    heat, offset, size = zip(*maps)
    centre = (heat[1] == 1).any(1)
    return torch.stack([self.loss_fl(*heat, ignore=ignore), self.loss_l1(*offset, centre),
                        self.loss_l1(*size, centre)], 1)

@patch
def forward(self:CenterNetLoss,
    points, # prediction [B,C+4,h,w]: class channels, offset (dy, dx), size (h, w)
    objects, # [B,N,6] in input pixels, rows (y, x, h, w, class, confidence)
    ignore=None, # bool [B,h,w]: cells that add no negative loss
): # [B,3]: focal, offset, size
    "The three losses of each picture, in float32 at least; `ValueError` for bad input"
    if points.ndim != 4 or points.shape[1] < 5:
        raise ValueError(f"points must be [B,C+4,h,w] with C ≥ 1, got {list(points.shape)}")
    B, C, *hw = points.shape
    check_objects(objects, C - 4)
    if len(objects) != B:
        raise ValueError(f"{len(objects)} pictures of objects, but {B} of points")
    if ignore is not None and (ignore.dtype != torch.bool or list(ignore.shape) != [B, *hw]):
        found = f"{ignore.dtype} {list(ignore.shape)}"
        raise ValueError(f"ignore must be bool {[B, *hw]}, not {found}")
    with torch.autocast(points.device.type, enabled=False):
        scaled = torch.cat([objects[..., :4]/self.r_scale, objects[..., 4:]], -1)
        sums = self.sums(points, scaled, ignore)
        weights = sums.new_tensor([1, self.l_offset_lambda, self.l_size_lambda])
        return sums*weights/((objects[..., 5] == 1).sum(1, keepdim=True) + 1)
