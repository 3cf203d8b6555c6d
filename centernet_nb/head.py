import math
import torch
from torch import nn

class CenterNetHead(nn.Module):
    """Three branches of a 3×3 and a 1×1 convolution (paper, section 4),
    `[B, k_in_channels, h, w] → [B, c_classes + 4, h, w]`"""
    def __init__(self,
        k_in_channels=64, # Channels of the backbone's map
        c_classes=2, # Classes, C
        hidden=64, # Channels between the two convolutions of a branch
        prior=0.1, # π: class probability that each cell starts with
    ):
        super().__init__()
        sizes = dict(k_in_channels=k_in_channels, c_classes=c_classes, hidden=hidden)
        for name, n in sizes.items():
            if isinstance(n, bool) or not isinstance(n, int) or n < 1:
                raise ValueError(f"{name} is {n!r}, and must be a whole number from 1")
        if not 0 < prior < 1:
            raise ValueError(f"prior is {prior!r}, and must lie between 0 and 1")
        def branch(out):
            first = nn.Conv2d(k_in_channels, hidden, 3, padding=1)
            return nn.Sequential(first, nn.ReLU(inplace=True), nn.Conv2d(hidden, out, 1))
        self.c_classes = c_classes
        self.heat, self.offset, self.size = branch(c_classes), branch(2), branch(2)
        nn.init.constant_(self.heat[-1].bias, -math.log((1 - prior)/prior))
        for b in (self.offset, self.size): nn.init.zeros_(b[-1].bias)

    def forward(self, x, logits=False):
        """Points: C class probabilities (with `logits` what is under the sigmoid),
        offset (dy, dx), size (h, w), both in output pixels"""
        heat = self.heat(x)
        return torch.cat([heat if logits else heat.sigmoid(), self.offset(x), self.size(x)], 1)
