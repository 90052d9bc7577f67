"""What each pixel shows: a small network that names categories, given gray or colored pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from colorlib._check import wholes
from colorlib.models.base import fitting
from colorlib.models.blocks import Norm, UNet


class SegmentationNetwork(nn.Module):
    """A U-Net that scores every category at every pixel.

    Its four halvings let a pixel know what lies around it. The picture itself joins the U-Net's map before
    the last two layers, a 3 x 3 convolution with batch norm and ReLU and a 1 x 1 one, so that borders between
    categories can follow its edges.

    Parameters
    ----------
    categories : int
        How many there are.
    width : int
        Channels of the first layer of the U-Net.
    inputs : int
        Channels of the pictures: 1 for gray, 3 for color.

    Notes
    -----
    Sources: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, for the network; Long, Shelhamer, Darrell,
    "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, for scores at every pixel.

    >>> SegmentationNetwork(5, width=2)(torch.zeros(1, 1, 9, 6)).shape
    torch.Size([1, 5, 9, 6])
    """

    def __init__(self, categories: int, width: int = 16, inputs: int = 1):
        super().__init__()
        categories, width, self.inputs = wholes(categories=categories, width=width, inputs=inputs)
        self.categories = categories
        self.unet = UNet(self.inputs, width, [width, 2 * width, 4 * width, 4 * width], middle=True)
        self.head = nn.Sequential(
            nn.Conv2d(width + self.inputs, width, 3, padding=1, bias=False),
            Norm(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, categories, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Score the categories: pictures in [0, 1], (B, inputs, H, W), to logits (B, categories, H, W)."""
        x = 2 * fitting(x, self, "x", self.inputs) - 1
        return self.head(torch.cat([self.unet(x), x], 1))
