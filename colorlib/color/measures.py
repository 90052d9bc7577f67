"""Numbers that sum up a picture's colors."""

import torch

from colorlib._check import flag, image
from colorlib.color.spaces import widened


def colorfulness(rgb, absolute=False):
    """Tell how colorful pictures look, (..., 3, H, W) in [0, 1] to (...): Hasler and Suesstrunk's M3.

    With the opponents rg = R - G and yb = (R + G) / 2 - B, on a scale of 0 to 255 and with their signs,

    M = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).

    The variance is that of the population. A gray picture has 0, a photograph usually between 15 and 80, one
    without pixels NaN. With ``absolute`` the opponents lose their signs first: much code has it so, and with
    it the tables of many papers on colorization, whose numbers are smaller.
    Errors are those of the conversions in :mod:`colorlib.color.spaces`. Source: Measuring colorfulness in
    natural images, SPIE 5007, 2003.

    >>> colorfulness(torch.tensor([1.0, 0.5, 0.0]).view(3, 1, 1)).round()
    tensor(69.)
    """
    image(rgb, 3, "rgb", unit=True)
    wide = widened(rgb)
    red, green, blue = (255 * wide).unbind(-3)
    opponents = torch.stack([red - green, (red + green) / 2 - blue]).flatten(-2)
    opponents = opponents.abs() if flag(absolute, "absolute") else opponents
    mean = opponents.mean(-1)
    variance = (opponents - mean.unsqueeze(-1)).square().mean(-1)
    return (_root(variance.sum(0)) + 0.3 * _root(mean.square().sum(0))).to(rgb.dtype)


def _root(x):
    # The gradient of a square root is infinite at 0, which every gray picture reaches.
    zero = x == 0
    return x.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)
