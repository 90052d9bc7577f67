"""PixColor's settings, each explained and checked here and nowhere else.

Building them raises TypeError or ValueError for a setting of the wrong type or out of its range.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from colorlib._check import choice, number, whole
from colorlib.data.materials import KINDS

BACKBONES = ("resnet101", "lite0", "small")
STRIDES = {"resnet101": 8, "lite0": 4}  # the small one may have any power of 2
DOWNSAMPLES = ("area", "nearest")
INITS = ("variance-preserving", "torch")

# Weights files and training runs from before have these names and words.
OLD_NAMES = {
    "reduction": "stride",
    "cells": "downsample",
    "hidden": "hidden_channels",
    "refinement": "refinement_channels",
    "first_weights": "init",
    "attention": "attention_heads",
    "waves": "num_frequencies",
    "marginal": "head_channels",
    "fine": "fine_depth",
}
OLD_VALUES = {
    "downsample": {"mean": "area", "pixel": "nearest"},
    "init": {"even": "variance-preserving"},
}


def _whole(default: int, low: int) -> int:
    return field(default=default, metadata={"low": low})


@dataclass(frozen=True, kw_only=True)
class PixColorSettings:
    """The settings of :class:`PixColor` and its parts; those left out are the published network's.

    >>> PixColorSettings(backbone="small", stride=4).levels
    32
    """

    # The grid.

    #: Pixels of the picture from one cell of the grid to the next: a power of 2; 8 with the ResNet-101.
    stride: int = _whole(8, low=1)
    #: What a cell holds: ``"area"``, its pixels' mean, or ``"nearest"``, the pixel in its middle, or right
    #: and below of it. A mean mixes colors at borders; one pixel is better where the chroma has no noise.
    downsample: str = "area"
    #: Into how many values each of Cr and Cb is divided.
    levels: int = _whole(32, low=2)

    # The condition network.

    #: ``"resnet101"``; ``"lite0"``, the photograph colorizer's, with a stride of 4; or this course's
    #: ``"small"`` one, for small pictures.
    backbone: str = "resnet101"
    #: So many first steps leave the backbone and its batch norms' statistics alone; the paper has 100,000. A
    #: step is a call of the loss in training mode, so a recipe that splits its batches in two takes two.
    unfreeze_at: int = _whole(0, low=0)
    #: Residual blocks of the small backbone at the grid's size, with dilations of 1, 2, 4, 1 and so on.
    depth: int = _whole(4, low=0)
    #: Residual blocks of the small backbone before the last halving, where textures can still be seen.
    fine_depth: int = _whole(0, low=0)
    #: With 1 or more, the condition also has ``cos(pi k g)`` of the cell's own gray g for k from 1 to so
    #: many: convolutions and batch norms blur a number, and from waves a linear layer can make steps at any
    #: gray. It then also has the materials' probabilities, where these are learned, and the PixelCNN's
    #: hidden layer sees it too, and not the blocks alone. The paper has none.
    num_frequencies: int = _whole(0, low=0)
    #: How many materials the condition network learns to segment the picture into, beside the colors. Needs
    #: data with labels, such as the world.
    materials: int = _whole(0, low=0)

    # The PixelCNN.

    #: Channels of the condition and of each stack, even. The small backbone has twice as many features.
    width: int = _whole(64, low=1)
    #: Gated blocks.
    blocks: int = _whole(10, low=0)
    #: Sides of the masked kernels in the blocks and in the first layer, odd.
    kernel: int = _whole(5, low=1)
    first_kernel: int = _whole(7, low=3)
    #: Channels between the two last layers, even.
    hidden_channels: int = _whole(1024, low=2)
    #: How weights are initialized: ``"variance-preserving"``, so that what lies above a pixel passes all
    #: blocks and a thousand steps get much farther (later the lead is gone), or ``"torch"``, torch's own way.
    init: str = "variance-preserving"
    #: Heads of causal self-attention, a divisor of ``width``; the paper has none.
    attention_heads: int = _whole(0, low=0)
    #: Hidden channels of a head that sees single cells, and that a copy gate mixes with what the past
    #: suggests; the paper has none.
    head_channels: int = _whole(0, low=0)
    #: A kind of drawn world, such as ``"landscape"``, whose exact chances are learned in place of single
    #: draws. It takes ``downsample="nearest"``, and no photographs.
    law: str | None = None
    #: Share of the pictures whose gray training varies, see :func:`colorlib.data.aging.aged`. It takes
    #: pictures whose sides are multiples of 8.
    vary: float = 0.0

    # The refinement.

    #: Channels of its first layer; with 0 there is none, and a guided filter enlarges the chroma.
    refinement_channels: int = _whole(32, low=0)

    def __post_init__(self):
        for setting in fields(self):
            if "low" in setting.metadata:
                value = whole(getattr(self, setting.name), setting.name, setting.metadata["low"])
                object.__setattr__(self, setting.name, value)  # how a frozen dataclass sets its own field
        choice(self.backbone, "backbone", BACKBONES)
        choice(self.downsample, "downsample", DOWNSAMPLES)
        object.__setattr__(self, "vary", number(self.vary, "vary", "[0, 1]"))
        choice(self.init, "init", INITS)
        if self.law is not None:
            choice(self.law, "law", KINDS)
            if self.downsample != "nearest":
                raise ValueError(
                    f"a law needs downsample='nearest', for a mean mixes things; got {self.downsample!r}"
                )
        for name in ("width", "hidden_channels"):
            if getattr(self, name) % 2:
                got = getattr(self, name)
                raise ValueError(f"{name} must be even, for Cr and Cb have one half each; got {got}")
        for name in ("kernel", "first_kernel"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.attention_heads and self.width % self.attention_heads:
            raise ValueError(
                f"attention_heads must divide the width, {self.width}; got {self.attention_heads}"
            )
        self._check_backbone()

    def _check_backbone(self) -> None:
        if self.stride & (self.stride - 1):
            raise ValueError(f"stride must be a power of 2, got {self.stride}")
        if self.backbone in STRIDES:
            stride = STRIDES[self.backbone]
            if self.stride != stride:
                raise ValueError(
                    f"the backbone {self.backbone!r} has a stride of {stride}, got {self.stride}"
                )
            if (self.depth, self.fine_depth) != (4, 0):
                raise ValueError(
                    "depth and fine_depth are for the backbone 'small'; "
                    f"got {self.depth}, {self.fine_depth} for {self.backbone!r}"
                )
        elif self.fine_depth and self.stride == 1:
            raise ValueError(
                f"with a stride of 1 there is no finer grid; fine_depth must be 0; got {self.fine_depth}"
            )

    @staticmethod
    def renamed(settings: dict) -> dict:
        """Give settings of a weights file, whenever it was written, under today's names.

        >>> PixColorSettings.renamed({"reduction": 4, "cells": "pixel"})
        {'stride': 4, 'downsample': 'nearest'}
        """
        renamed = {OLD_NAMES.get(name, name): value for name, value in settings.items()}
        for name, words in OLD_VALUES.items():
            if isinstance(renamed.get(name), str):
                renamed[name] = words.get(renamed[name], renamed[name])
        return renamed
