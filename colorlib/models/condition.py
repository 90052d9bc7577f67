"""What a gray picture says at each place of a coarse grid: PixColor's condition network."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, flag, wholes
from colorlib.models.pixelcnn import FIRST_WEIGHTS
from colorlib.models.regression import pretrained_network, sum_over_rgb

BACKBONES = ("resnet101", "small")
CELLS = ("mean", "pixel")


class ConditionNetwork(nn.Module):
    """What the gray picture says at each place of the grid: a backbone, then three convolutions.

    The ResNet-101 is cut after its third group of blocks, whose stride is replaced by dilation: 1024 features
    at an eighth of the picture's size. Gray is normalized with the mean and the deviation of photographs'
    gray that pretrained backbones expect. The small backbone is this course's: a convolution at the picture's
    size, one of stride 2 for each halving, and residual blocks, most of them at the grid's size.

    Parameters
    ----------
    width : int
        Channels of the condition; the small backbone has twice as many features.
    backbone : str
        ``"resnet101"`` or ``"small"``.
    reduction : int
        Side of a cell of the grid in pixels.
    pretrained : bool
        Whether the ResNet-101 starts from ImageNet's weights.
    first_weights : str
        ``"even"``: the three convolutions keep the size of the features. ``"torch"``: torch's own, which make
        the condition some ten times smaller.
    cells : str
        Which gray is a cell's own: ``"mean"``, that of its pixels, or ``"pixel"``, that of the one in its
        middle.
    materials : int
        How many materials it tells apart, with a linear layer on the features.
    waves : int
        With waves the condition has three parts: the features, ``cos(pi k g)`` of the cell's own gray g for k
        from 1 to so many, and the probabilities of its materials. Convolutions and batch norms blur a number;
        from waves a linear layer can make steps at any gray. The probabilities get no gradient from what
        follows: they are learned as names alone.
    depth, fine : int
        Residual blocks of the small backbone: so many at the grid's size, with dilations of 1, 2, 4, 1 and
        again from the start; and so many before the last halving, where the grid is twice as fine and
        textures can be seen.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.
    DownloadError
        Where the pretrained weights cannot be downloaded.

    Notes
    -----
    Source: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional
    Domains", NeurIPS 2020, for the waves.
    """

    def __init__(
        self,
        width: int = 64,
        backbone: str = "resnet101",
        reduction: int = 8,
        pretrained: bool = False,
        first_weights: str = "even",
        cells: str = "mean",
        materials: int = 0,
        waves: int = 0,
        depth: int = 4,
        fine: int = 0,
    ):
        super().__init__()
        choice(first_weights, "first_weights", FIRST_WEIGHTS)
        choice(backbone, "backbone", BACKBONES)
        choice(cells, "cells", CELLS)
        flag(pretrained, "pretrained")
        width, reduction = wholes(width=width, reduction=reduction)
        materials, waves, depth, fine = wholes(0, materials=materials, waves=waves, depth=depth, fine=fine)
        if reduction & (reduction - 1):
            raise ValueError(f"reduction must be a power of 2, got {reduction}")
        if backbone == "resnet101" and reduction != 8:
            raise ValueError(f"the ResNet-101 has a reduction of 8, got {reduction}")
        if pretrained and backbone != "resnet101":
            raise ValueError(f"pretrained weights are for the backbone 'resnet101', got {backbone!r}")
        if backbone != "small" and (depth, fine) != (4, 0):
            raise ValueError(
                f"depth and fine are for the backbone 'small'; got {depth}, {fine} for {backbone!r}"
            )
        if fine and reduction == 1:
            raise ValueError(f"with a reduction of 1 there is no finer grid; fine must be 0, got {fine}")
        self.reduction, self.width, self.cells, self.waves = reduction, width, cells, waves
        features = 1024 if backbone == "resnet101" else 2 * width
        if backbone == "resnet101":
            self.backbone = _resnet101(pretrained)
        else:
            self.backbone = _small(features, reduction, depth, fine)
        self.adaptation = nn.Sequential(
            nn.Conv2d(features, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        if first_weights == "even":
            for layer in self.adaptation[::2]:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.segmentation = nn.Conv2d(width, materials, 1) if materials else None

    @property
    def channels(self) -> int:
        """Channels of the condition."""
        if not self.waves:
            return self.width
        return self.width + self.waves + (self.segmentation.out_channels if self.segmentation else 0)

    def names(self, condition: Tensor) -> Tensor:
        """Score the materials of each cell: the condition (B, channels, h, w) to (B, materials, h, w).

        Raises
        ------
        ValueError
            If it tells no materials apart.
        """
        if self.segmentation is None:
            raise ValueError("this condition network tells no materials apart")
        return self.segmentation(condition[:, : self.width])

    def forward(self, gray: Tensor, frozen: bool = False) -> Tensor:
        """Give the condition: gray (B, 1, H, W) in [0, 1] to (B, channels, h, w).

        The grid has h = ceil(H / reduction) rows and w = ceil(W / reduction) columns.

        With ``frozen`` the backbone gets no gradient and its batch norms change nothing. Otherwise the
        backbone is in the network's own mode.
        """
        x = pad((gray - 0.449) / 0.226, self.reduction)  # ImageNet's mean and deviation, averaged over RGB
        self.backbone.train(self.training and not frozen)
        with torch.no_grad() if frozen else contextlib.nullcontext():
            features = self.backbone(x)
        features = self.adaptation(features)
        if not self.waves:
            return features
        parts = [features, torch.cos(torch.pi * self._own(gray) * self._numbers(gray))]
        if self.segmentation is not None:
            parts.append(self.names(features).softmax(1, dtype=gray.dtype).detach())
        return torch.cat([part.to(gray.dtype) for part in parts], 1)

    def _own(self, gray: Tensor) -> Tensor:
        """The gray that is each cell's own, (B, 1, h, w)."""
        return cell_values(pad(gray, self.reduction), self.reduction, self.cells)

    def _numbers(self, like: Tensor) -> Tensor:
        return torch.arange(1, self.waves + 1, dtype=like.dtype, device=like.device)[:, None, None]


class _Residual(nn.Module):
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


def _small(width: int, reduction: int, depth: int, fine: int) -> nn.Sequential:
    """A small backbone: convolutions down to the grid's size, then blocks that look far around."""
    halvings = reduction.bit_length() - 1
    down = [[*_normalized(1, width), nn.ReLU(inplace=True)]]
    down += [[*_normalized(width, width, stride=2), nn.ReLU(inplace=True)] for _ in range(halvings)]
    at_fine, at_grid = (
        [_Residual(width, (1, 2, 4, 1)[place % 4]) for place in range(blocks)] for blocks in (fine, depth)
    )
    before, last = (sum(part, []) for part in (down[: max(1, halvings)], down[max(1, halvings) :]))
    return nn.Sequential(*before, *at_fine, *last, *at_grid)


def _resnet101(pretrained: bool) -> nn.Sequential:
    """The first seven children of torchvision's ``resnet101``, for one channel, the last one dilated."""
    from torchvision.models import resnet101  # here, so that the library imports without torchvision

    dilated = {"replace_stride_with_dilation": [False, True, False]}
    whole = pretrained_network(resnet101, **dilated) if pretrained else resnet101(**dilated)
    first = nn.Conv2d(1, 64, 7, 2, padding=3, bias=False)
    first.weight = nn.Parameter(sum_over_rgb(whole.conv1.weight.detach()))
    if not pretrained:
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(first, *list(whole.children())[1:7])


def pad(x: Tensor, multiple: int) -> Tensor:
    """Continue pictures to the right and downward with their edge pixels until their sides fit."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def cell_values(x: Tensor, side: int, cells: str) -> Tensor:
    """What each cell holds of pictures whose sides fit the grid: a mean, or the pixel in the middle."""
    if cells == "pixel":
        return x[:, :, side // 2 :: side, side // 2 :: side]
    return F.avg_pool2d(x, side)
