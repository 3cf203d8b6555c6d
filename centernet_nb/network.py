import copy
import torch
from fastcore.basics import patch
from torch import nn
from torch.nn import functional as F
from centernet_nb.backbone import ResnetBackbone
from centernet_nb.checks import moved
from centernet_nb.convert import PointsToObjects
from centernet_nb.fastmaps import decode_peaks, odd
from centernet_nb.head import CenterNetHead
from centernet_nb.modelfile import (
    read_model,
    save_model,  # noqa: F401 (importable from here, too)
)

class PointsNonMaxSuppression(nn.Module):
    "Keeps class values that are the maximum of their window, the first of equals (section 4)"
    def __init__(self,
        kernel_size=3, # side of the window in output pixels, odd; 1 keeps everything
    ):
        super().__init__()
        self.kernel_size = odd(kernel_size)

    def forward(self,
        points, # [B,C+4,h,w] with class probabilities
    ): # the same, non-peaks zeroed in the C class channels; offsets and sizes untouched
        heat, rest, k = points[:, :-4], points[:, -4:], self.kernel_size
        _, first = F.max_pool2d(heat, k, 1, k//2, return_indices=True)
        here = torch.arange(heat[0, 0].numel(), device=heat.device).view(heat.shape[-2:])
        return torch.cat([torch.where(first == here, heat, 0), rest], 1)

class ScaleObjects(nn.Module):
    "Objects in output pixels → objects in input pixels; never writes into its input"
    def __init__(self,
        scale=4, # input pixels per output pixel, R
    ):
        super().__init__()
        if not scale > 0: raise ValueError(f"scale={scale} must be positive: 4 in the paper")
        self.scale = scale

    def forward(self,
        objects, # [B,N,6], rows (y, x, h, w, class, confidence)
    ): # the same rows, y, x, h and w times `scale`; rows of zeros stay rows of zeros
        return torch.cat([objects[..., :4]*self.scale, objects[..., 4:]], -1)

class CenterNet(nn.Module):
    "Pictures → points, or objects in input pixels (sections 3 to 5)"
    def __init__(self,
        pretrained=True, # ImageNet weights: True, False, or a file with torchvision's keys
        head_kwargs={}, # for `CenterNetHead`: `c_classes`, …
        nms_kwargs={}, # for `PointsNonMaxSuppression`
        points_to_objects_kwargs={}, # for `PointsToObjects`: `objects_per_image`, …
        backbone_kwargs={}, # for `ResnetBackbone`: `depth`, `stages`, `skips`, …
    ):
        super().__init__()
        self.backbone = ResnetBackbone(pretrained=pretrained, **backbone_kwargs)
        channels = {"k_in_channels": self.backbone.out_channels}
        self.head = CenterNetHead(**{**channels, **head_kwargs})
        self.nms = PointsNonMaxSuppression(**nms_kwargs)
        self.points_to_objects = PointsToObjects(**points_to_objects_kwargs)
        self.scale_objects, self.num_classes = ScaleObjects(4), self.head.c_classes
        self.config = copy.deepcopy(dict(
            pretrained=False, head_kwargs=head_kwargs, backbone_kwargs=backbone_kwargs,
            nms_kwargs=nms_kwargs, points_to_objects_kwargs=points_to_objects_kwargs))

@patch
def forward(self:CenterNet,
    x, # pictures [B,3,H,W], ImageNet-normalised, H and W multiples of 32
    logits=False, # class channels as logits, for `CenterNetLoss(from_logits=True)`?
    return_objects=False, # decode?
): # points [B,C+4,H/4,W/4], or objects [B,K,6] in input pixels
    "Points or objects of pictures"
    if logits and return_objects:
        raise ValueError("objects come from probabilities: logits or return_objects, not both")
    points = self.head(self.backbone(x), logits=logits)
    return self.decode(points) if return_objects else points

@patch
def decode(self:CenterNet,
    points, # [B,C+4,h,w] with class probabilities
): # [B,K,6], by falling confidence
    "Points → objects in input pixels: `nms`, `points_to_objects` and `scale_objects` in one"
    window, last = self.nms.kernel_size, self.points_to_objects
    best = decode_peaks(points, window, last.objects_per_image, last.min_confidence)
    return self.scale_objects(best)

def load_model(
    path_or_name, # a file of `save_model`, or the name of a model that comes with the package
    device="cpu", # where the network goes
): # a `CenterNet` in evaluation mode, what was saved with it in `.labels`
    "The network in a file; `CheckpointError` names what is wrong with it"
    return read_model(path_or_name, CenterNet).to(device)

__getattr__ = moved(__name__, pack="modelfile", unpack="modelfile")
