"""What a gray picture says at each place of a coarse grid: PixColor's condition network.

Its functions raise TypeError or ValueError for an argument of the wrong type or out of its range.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, flag
from colorlib.models.blocks import pad
from colorlib.models.grid import downsampled
from colorlib.models.pixcolor_settings import PixColorSettings
from colorlib.models.regression import pretrained_network, sum_over_rgb


class ConditionNetwork(nn.Module):
    """What the gray picture says at each place of the grid: a backbone, then three convolutions.

    The ResNet-101 is cut after its third group of blocks, whose stride is replaced by dilation: 1024 features
    at an eighth of the picture's size. The small backbone is this course's: a convolution at the picture's
    size, one of stride 2 for each halving, and residual blocks. The backbone ``"lite0"`` is that of
    :class:`PretrainedUNet` with its decoder, see :class:`PhotographFeatures`. Source of the frequencies:
    Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains",
    NeurIPS 2020.

    With ``pretrained`` the ResNet-101 or EfficientNet-Lite0 starts from ImageNet's weights; DownloadError
    where they can't be had. With ``"photographs"`` in place of True the backbone ``"lite0"`` starts from the
    shipped photograph colorizer, which has learned colors already.

    >>> network = ConditionNetwork(PixColorSettings(backbone="small", stride=4, width=8))
    >>> network(torch.rand(1, 1, 16, 20)).shape
    torch.Size([1, 8, 4, 5])
    """

    def __init__(self, settings: PixColorSettings | None = None, pretrained: bool | str = False):
        super().__init__()
        s = settings or PixColorSettings()
        fitting = ("resnet101", "lite0")
        if isinstance(pretrained, str):
            choice(pretrained, "pretrained", ("photographs",))
            fitting = ("lite0",)
        if (isinstance(pretrained, str) or flag(pretrained, "pretrained")) and s.backbone not in fitting:
            names = " or ".join(map(repr, fitting))
            raise ValueError(f"pretrained={pretrained!r} is for the backbone {names}, got {s.backbone!r}")
        self.width, self.stride, self.downsample = s.width, s.stride, s.downsample
        self.num_frequencies = s.num_frequencies
        features = {"resnet101": 1024, "lite0": 96}.get(s.backbone, 2 * s.width)
        if s.backbone == "resnet101":
            self.backbone = _resnet101(bool(pretrained))
        else:
            self.backbone = PhotographFeatures(pretrained) if s.backbone == "lite0" else _small(features, s)
        layers = []
        for inputs in (features, s.width, s.width):
            layers += [nn.Conv2d(inputs, s.width, 3, padding=1), nn.ReLU(inplace=True)]
        self.adaptation = nn.Sequential(*layers)
        if s.init == "variance-preserving":  # torch's own would make the condition some ten times smaller
            for layer in self.adaptation[::2]:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.segmentation = nn.Conv2d(s.width, s.materials, 1) if s.materials else None

    @property
    def channels(self) -> int:
        """Channels of the condition."""
        if not self.num_frequencies:
            return self.width
        return (
            self.width + self.num_frequencies + (self.segmentation.out_channels if self.segmentation else 0)
        )

    def segment(self, condition: Tensor) -> Tensor:
        """Score the materials of each cell: the condition (B, channels, h, w) to (B, materials, h, w)."""
        if self.segmentation is None:
            raise ValueError("this condition network tells no materials apart")
        return self.segmentation(condition[:, : self.width])

    def forward(self, gray: Tensor, frozen: bool = False) -> Tensor:
        """Give the condition: gray (B, 1, H, W) in [0, 1] to (B, channels, h, w).

        The grid has h = ceil(H / stride) rows and w = ceil(W / stride) columns. With ``frozen``
        the backbone gets no gradient and its batch norms change nothing; else it is in the network's mode.
        """
        x = pad(gray, self.stride)
        if not isinstance(self.backbone, PhotographFeatures):
            x = (x - 0.449) / 0.226  # ImageNet's mean and deviation, averaged over RGB
        self.backbone.train(self.training and not frozen)
        with torch.no_grad() if frozen else contextlib.nullcontext():
            features = self.backbone(x)
        features = self.adaptation(features)
        if not self.num_frequencies:
            return features
        own = downsampled(gray, self.stride, self.downsample)
        k = torch.arange(1, self.num_frequencies + 1, dtype=own.dtype, device=own.device)[:, None, None]
        parts = [features, torch.cos(torch.pi * own * k)]
        if self.segmentation is not None:  # without gradient: they are learned as names alone
            parts.append(self.segment(features).softmax(1, dtype=gray.dtype).detach())
        return torch.cat([part.to(gray.dtype) for part in parts], 1)


class PhotographFeatures(nn.Module):
    """The photograph colorizer but for its last layer: 96 features of each cell of 4 x 4 pixels.

    EfficientNet-Lite0 and the decoder of :class:`PretrainedUNet`. As there, sides are brought to the nearest
    multiples of 32, and the features back to the grid of the picture.

    Parameters
    ----------
    pretrained : bool or str
        True: the encoder has ImageNet's weights; ``"photographs"``: all has the shipped colorizer's.
    """

    def __init__(self, pretrained: bool | str = False):
        super().__init__()
        from colorlib.models.photo import PretrainedUNet  # here, to be listed among the models in its turn

        whole = PretrainedUNet(pretrained=pretrained is True)
        for name, part in whole.named_children():
            if name != "to_bins":
                setattr(self, name, part)
        if pretrained == "photographs":
            tensors = load_file(Path(__file__).parents[1] / "weights" / "photographs.safetensors")
            self.load_state_dict({name: tensors[name].to(own) for name, own in self.state_dict().items()})

    def forward(self, gray: Tensor) -> Tensor:
        """Give the features: gray (B, 1, H, W) in [0, 1], sides multiples of 4, to (B, 96, H / 4, W / 4)."""
        size = [side // 4 for side in gray.shape[-2:]]
        fitting = [max(1, round(side / 8)) * 8 for side in size]
        if fitting != size:
            sides = [4 * side for side in fitting]
            gray = F.interpolate(gray, sides, mode="bilinear", align_corners=False, antialias=True)
        fourth, eighth, sixteenth, x = self.encoder(gray)
        scene = self.scene(x.mean((2, 3)))
        x = self.up4(self.up8(self.up16(x, sixteenth, scene), eighth, scene), fourth, scene)
        if fitting != size:
            x = F.interpolate(x, size, mode="bilinear", align_corners=False)
        return x


class _DilatedResidual(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.first = nn.Sequential(*_normalized(width, width), nn.ReLU(inplace=True))
        self.second = nn.Sequential(*_normalized(width, width, dilation=dilation))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def _normalized(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _small(width: int, s: PixColorSettings) -> nn.Sequential:
    """The small backbone: convolutions down to the grid's size, then blocks that look far around."""
    halvings = s.stride.bit_length() - 1
    down = [[*_normalized(1, width), nn.ReLU(inplace=True)]]
    down += [[*_normalized(width, width, stride=2), nn.ReLU(inplace=True)] for _ in range(halvings)]
    at_fine, at_grid = (
        [_DilatedResidual(width, (1, 2, 4, 1)[place % 4]) for place in range(blocks)]
        for blocks in (s.fine_depth, s.depth)
    )
    before, last = (sum(part, []) for part in (down[: max(1, halvings)], down[max(1, halvings) :]))
    return nn.Sequential(*before, *at_fine, *last, *at_grid)


def _resnet101(pretrained: bool) -> nn.Sequential:
    """The first seven children of torchvision's ``resnet101``, for one channel, the last one dilated.

    Pretrained, the first convolution is summed over RGB: on a gray picture it gives what the original gives.
    """
    from torchvision.models import resnet101  # here, so that the library imports without torchvision

    dilated = {"replace_stride_with_dilation": [False, True, False]}
    whole = pretrained_network(resnet101, **dilated) if pretrained else resnet101(**dilated)
    first = nn.Conv2d(1, 64, 7, 2, padding=3, bias=False)
    first.weight = nn.Parameter(sum_over_rgb(whole.conv1.weight.detach()))
    if not pretrained:
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(first, *list(whole.children())[1:7])
