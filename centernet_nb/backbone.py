import torch
from torch import nn
from centernet_nb.checks import check_images, moved
from centernet_nb.weights import pretrain

class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, `[B, in, H, W] → [B, out, H/stride, W/stride]`
    (He et al., section 3.3 and figure 5)"""
    def __init__(self,
        in_channels, # Channels of the input
        out_channels, # Channels of the output
        stride=1, # 2 halves height and width
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            shrink = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(shrink, nn.BatchNorm2d(out_channels))

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)

class HeadlessResnet(nn.Module):
    """`BasicBlock`s in up to four stages, without pooling and classifier,
    `[B, 3, H, W] → [B, 512, H/32, W/32]` (He et al., table 1)"""
    widths = 64, 128, 256, 512 # Channels after each stage

    def __init__(self,
        blocks=(3, 4, 6, 3), # Blocks in each stage
        stages=4, # How many of the stages are built; 3 ends at `[B, 256, H/16, W/16]`
    ):
        super().__init__()
        if stages not in (1, 2, 3, 4):
            raise ValueError(f"stages is {stages!r}, and a ResNet has 1 to 4 of them")
        self.stages, self.out_channels = stages, self.widths[stages - 1]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        before = 64
        for i, (n, width) in enumerate(zip(blocks[:stages], self.widths)):
            first = BasicBlock(before, width, 1 if i == 0 else 2)
            rest = [BasicBlock(width, width) for _ in range(n - 1)]
            setattr(self, f"layer{i+1}", nn.Sequential(first, *rest))
            before = width
        for m in self.modules():
            if isinstance(m, nn.Conv2d): nn.init.kaiming_normal_(m.weight, mode="fan_out")
        self.untrained = [name for name, m in self.named_children() if [*m.parameters()]]

    def maps(self, x):
        "The map after each stage, largest first: sides H/4, H/8, H/16, H/32"
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return [x := getattr(self, f"layer{i+1}")(x) for i in range(self.stages)]

    def forward(self, x): return self.maps(x)[-1]

class HeadlessResnet34(HeadlessResnet):
    "ResNet-34 without its head, randomly initialised: 3, 4, 6 and 3 blocks"
    depth = 34
    def __init__(self,
        stages=4, # Stages built, 1 to 4
    ): super().__init__((3, 4, 6, 3), stages)

class HeadlessResnet18Encoder(HeadlessResnet):
    "ResNet-18 without its head, randomly initialised: 2 blocks in each stage"
    depth = 18
    def __init__(self,
        stages=4, # Stages built, 1 to 4
    ): super().__init__((2, 2, 2, 2), stages)

class HeadlessPretrainedResnet34Encoder(HeadlessResnet34):
    "ResNet-34 without its head, with ImageNet weights, `[B, 3, H, W] → [B, 512, H/32, W/32]`"
    def __init__(self,
        pretrained=True, # True: ImageNet; a path: a file of torchvision's keys; False: random
        stages=4, # Stages built, 1 to 4
    ):
        super().__init__(stages)
        pretrain(self, pretrained)

class HeadlessPretrainedResnet18Encoder(HeadlessResnet18Encoder):
    "ResNet-18 without its head, with ImageNet weights, `[B, 3, H, W] → [B, 512, H/32, W/32]`"
    def __init__(self,
        pretrained=True, # True: ImageNet; a path: a file of torchvision's keys; False: random
        stages=4, # Stages built, 1 to 4
    ):
        super().__init__(stages)
        pretrain(self, pretrained)

__getattr__ = moved(__name__, imagenet_weights="weights", load_trunk="weights",
                    shortest_names="weights")

class UpscaleTwiceLayer(nn.Module):
    """Transposed convolution, batch norm and ReLU that doubles height and width exactly,
    `[B, in, H, W] → [B, out, 2H, 2W]`; `ValueError` for sizes that would not"""
    def __init__(self,
        in_channels, # Channels of the input
        out_channels, # Channels of the output
        kernel_size=4, # Even kernels reach every output pixel equally often
        padding=1, # kernel_size - 2·padding + output_padding must be 2
        output_padding=0, # 0 or 1
    ):
        super().__init__()
        grows = kernel_size - 2*padding + output_padding
        if output_padding not in (0, 1):
            raise ValueError(f"output_padding is {output_padding}: it must be 0 or 1")
        if padding < 0 or grows != 2:
            raise ValueError(
                f"kernel_size {kernel_size}, padding {padding}, output_padding "
                f"{output_padding} do not double a map: kernel_size - 2*padding + "
                f"output_padding is {grows}, and must be 2 with padding >= 0, "
                "as for (4, 1, 0), (2, 0, 0) or (3, 1, 1)")
        size = kernel_size, 2, padding, output_padding
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, *size, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x): return self.relu(self.bn(self.conv(x)))

class ResnetBackbone(nn.Module):
    """A residual network, then upscaling to a quarter of the picture,
    `[B, 3, H, W] → [B, out_channels, H/4, W/4]` (paper, section 5)"""
    def __init__(self,
        pretrained=True, # True: ImageNet; a path: a file of torchvision's keys; False: random
        out_channels=64, # Channels of the result
        depth=34, # 18 or 34
        stages=4, # 3 stops at H/16 and upscales twice instead of three times
        skips=False, # Add the earlier stages' maps on the way up
    ):
        super().__init__()
        for name, value, two in (("depth", depth, (18, 34)), ("stages", stages, (3, 4))):
            if value not in two:
                raise ValueError(f"{name} is {value!r}: choose {two[0]} or {two[1]}")
        kinds = {18: HeadlessPretrainedResnet18Encoder, 34: HeadlessPretrainedResnet34Encoder}
        self.encoder, self.out_channels = kinds[depth](pretrained, stages), out_channels
        met = self.encoder.widths[stages-2::-1]                # on the way up: 256, 128, 64
        widths = [self.encoder.out_channels, *met[:-1], out_channels]
        self.up = nn.ModuleList(UpscaleTwiceLayer(i, o) for i, o in zip(widths, widths[1:]))
        lateral = [nn.Conv2d(i, o, 1) for i, o in zip(met, widths[1:])]
        self.lateral = nn.ModuleList(lateral) if skips else None

    @property
    def untrained(self): return self.encoder.untrained

    def forward(self, x):
        *earlier, x = self.encoder.maps(check_images(x))
        for i, up in enumerate(self.up):
            x = up(x) if self.lateral is None else up(x) + self.lateral[i](earlier.pop())
        return x
