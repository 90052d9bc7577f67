"""Numbers that sum up a picture's colors."""

import torch

from colorlib._check import image


def colorfulness(rgb):
    """How colorful a picture looks: Hasler and Suesstrunk's M3.

    With the opponents rg = R - G and yb = (R + G) / 2 - B, on a scale of 0 to 255 and with their signs,

    M = sqrt(var(rg) + var(yb)) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).

    A gray picture has 0; a photograph usually between 15 and 80. Code that takes the absolute values of the
    opponents gives other, smaller numbers.

    Parameters
    ----------
    rgb : Tensor (..., 3, H, W)
        sRGB in [0, 1].

    Returns
    -------
    Tensor (...)
        One number a picture; NaN for a picture without pixels. The variance is that of the population.

    Raises
    ------
    TypeError, ValueError
        For anything else than a floating tensor of that shape, or values up to 255 in place of 1.

    References
    ----------
    Hasler and Suesstrunk, Measuring colorfulness in natural images, SPIE 5007, 2003.
    """
    image(rgb, 3, "rgb", unit=True)
    wide = rgb.to(torch.float64 if rgb.dtype == torch.float64 else torch.float32)
    red, green, blue = (255 * wide).unbind(-3)
    opponents = torch.stack([red - green, (red + green) / 2 - blue]).flatten(-2)
    mean = opponents.mean(-1)
    variance = (opponents - mean.unsqueeze(-1)).square().mean(-1)
    return (_root(variance.sum(0)) + 0.3 * _root(mean.square().sum(0))).to(rgb.dtype)


def _root(x):
    # The gradient of a square root is infinite at 0, which every gray picture reaches.
    zero = x == 0
    return x.masked_fill(zero, 1).sqrt().masked_fill(zero, 0)
