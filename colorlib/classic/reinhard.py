"""Color from another picture: Reinhard's transfer of statistics, and Welsh's matching of lightness.

Sources: E. Reinhard, M. Ashikhmin, B. Gooch, P. Shirley, "Color transfer between images", IEEE Computer
Graphics and Applications 21(5), 2001 (the space l alpha beta, the transfer, swatches); T. Welsh, M.
Ashikhmin, K. Mueller, "Transferring color to greyscale images", SIGGRAPH 2002 (the matching). Pictures are
floating point in [0, 1], on any device, one at a time; other types raise TypeError, other shapes and ranges
ValueError.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from colorlib._check import came, finite, image, inside, listed, whole
from colorlib.color import fit_gamut, lab_to_rgb, rgb_to_lab

# RGB to the answers of the eye's three kinds of cones, from the paper. Its rows sum to 1, nearly: gray has
# equal answers, and alpha and beta of 0.
LMS_FROM_RGB = ((0.3811, 0.5783, 0.0402), (0.1967, 0.7244, 0.0782), (0.0241, 0.1288, 0.8444))
# The directions in which the cones' logarithms vary by themselves in natural scenes, each of length 1.
_LENGTHS = 1 / math.sqrt(3), 1 / math.sqrt(6), 1 / math.sqrt(2)
LALPHABETA_FROM_LOG_LMS = tuple(
    tuple(length * part for part in row)
    for length, row in zip(_LENGTHS, ((1, 1, 1), (1, 1, -2), (1, -1, 0)), strict=True)
)
# Black has no logarithm. What is darker than one step of 8 bits is taken for that step.
DARKEST = 1 / 255


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix.to(x), x)


def _matrix(rows) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def rgb_to_lalphabeta(rgb: Tensor) -> Tensor:
    """Convert RGB, (..., 3, H, W), to l alpha beta: lightness, yellow against blue, red against green.

    The values are taken as they are, without undoing sRGB's curve, as is usual for this space: the logarithm
    makes of the curve's power a factor. Cone answers below 1 / 255, that of black among them, count as that.

    >>> rgb_to_lalphabeta(torch.full((3, 1, 1), 0.1)).flatten().round(decimals=2) + 0
    tensor([-1.7300,  0.0000,  0.0000])
    """
    rgb = _wide(image(rgb, 3, "rgb", unit=True))
    cones = _mixed(rgb, _matrix(LMS_FROM_RGB)).clamp(min=DARKEST)
    return _mixed(cones.log10(), _matrix(LALPHABETA_FROM_LOG_LMS))


def lalphabeta_to_rgb(lalphabeta: Tensor) -> Tensor:
    """Convert l alpha beta to RGB: the inverse of :func:`rgb_to_lalphabeta`, not clipped to [0, 1]."""
    lalphabeta = _wide(image(lalphabeta, 3, "lalphabeta"))
    cones = 10 ** _mixed(lalphabeta, _matrix(LALPHABETA_FROM_LOG_LMS).inverse())
    return _mixed(cones, _matrix(LMS_FROM_RGB).inverse())


def transfer(
    rgb: Tensor, reference: Tensor, swatches: Iterable[tuple[Tensor, Tensor]] | None = None
) -> Tensor:
    """Give a picture another one's colors: the mean and the standard deviation of each channel.

    In l alpha beta, where channels vary nearly independently, each value x becomes (x - mean) / deviation *
    reference's deviation + reference's mean. A gray picture has no deviation in alpha and beta, so that it
    gets one tint: :func:`match` is for gray ones.

    Parameters
    ----------
    rgb, reference : Tensor
        sRGB in [0, 1], (3, H, W) each, of any two sizes.
    swatches : sequence of pairs of Tensor, optional
        Areas that belong together, where the whole pictures do not: masks of True and False, (H, W), of the
        picture and of the reference, each with at least one True. Every pixel is moved as each pair says, and
        the results are averaged with weights that fall with the squared distance from the swatch's mean, in
        its deviations.

    Returns
    -------
    Tensor
        The picture (3, H, W), clipped to [0, 1].
    """
    return lalphabeta_to_rgb(_moved(rgb, reference, swatches)).clamp(0, 1).to(rgb.dtype)


def _moved(rgb: Tensor, reference: Tensor, swatches) -> Tensor:
    """The picture in l alpha beta with the other one's statistics."""
    rgb, reference = _picture(rgb, "rgb"), _picture(reference, "reference")
    source, target = rgb_to_lalphabeta(rgb).flatten(1), rgb_to_lalphabeta(reference).flatten(1).to(rgb.device)
    pairs = [(torch.ones_like(source[0], dtype=torch.bool), torch.ones_like(target[0], dtype=torch.bool))]
    if swatches is not None:
        pairs = [_pair(pair, rgb, reference) for pair in listed(swatches, "swatches")]
        if not pairs:
            raise ValueError("swatches must hold at least one pair of masks; got none")
    results, weights = [], []
    for here, there in pairs:
        mean, deviation = source[:, here].mean(1), source[:, here].std(1, correction=0)
        apart = source - mean[:, None]
        # Rounding gives a channel without any deviation one of 1e-8 or so, which is not to be scaled up.
        scale = target[:, there].std(1, correction=0) / deviation.clamp(min=1e-5)
        scale = torch.where(deviation > 1e-5, scale, torch.ones_like(scale))
        results.append(apart * scale[:, None] + target[:, there].mean(1)[:, None])
        weights.append(1 / ((apart / deviation.clamp(min=1e-3)[:, None]).square().sum(0) + 1e-3))
    share = torch.stack(weights) / sum(weights)
    moved = sum(part * result for part, result in zip(share, results, strict=True))
    return moved.unflatten(1, rgb.shape[1:])


def match(gray: Tensor, reference: Tensor, samples: int = 256, window: int = 5, seed: int = 0) -> Tensor:
    """Color a gray picture with the colors of another one's pixels of like lightness and texture.

    The reference's lightness gets the mean and the deviation of the gray picture's. Then each pixel takes the
    chroma of that of some pixels of the reference, one in each cell of a grid, which comes nearest to it in
    half the lightness and half its standard deviation in a window around. The paper takes chroma in l alpha
    beta; here it is that of CIELAB, so that the picture keeps its lightness exactly.

    Parameters
    ----------
    gray : Tensor
        sRGB gray in [0, 1], (1, H, W).
    reference : Tensor
        sRGB in [0, 1], (3, H, W), of any size.
    samples : int
        About how many pixels of the reference are looked at, at least 1.
    window : int
        Side of the windows in pixels, odd.
    seed : int
        Fixes which pixels they are.

    Returns
    -------
    Tensor
        sRGB, (3, H, W).
    """
    gray, reference = _picture(gray, "gray", 1), _picture(reference, "reference").to(gray.device)
    samples, window = whole(samples, "samples", 1), whole(window, "window", 1)
    if window % 2 == 0:
        raise ValueError(f"window must be odd, to have a pixel in its middle; got {window}")
    generator = torch.Generator().manual_seed(whole(seed, "seed", -(2**63), 2**64 - 1))
    lightness = rgb_to_lab(_wide(gray).expand(3, -1, -1))[:1]
    lab = rgb_to_lab(_wide(reference)).to(lightness)
    spread = lab[:1].std(correction=0)
    scale = lightness.std(correction=0) / spread if spread > 1e-3 else 1.0
    like = (lab[:1] - lab[:1].mean()) * scale + lightness.mean()
    chosen = _grid(lab.shape[1:], samples, generator).to(gray.device)
    traits = _traits(like, window)[:, chosen].T
    seen = _traits(lightness, window).T
    colors = lab[1:].flatten(1)[:, chosen]
    nearest = torch.cat([torch.cdist(part, traits).argmin(1) for part in seen.split(2**16)])
    ab = colors[:, nearest].unflatten(1, lightness.shape[1:])
    return lab_to_rgb(fit_gamut(torch.cat([lightness, ab]))).to(gray.dtype)


def _traits(lightness: Tensor, window: int) -> Tensor:
    """Half the lightness (1, H, W) and half its deviation in windows: (2, H * W)."""
    margin = window // 2
    middle = lightness.mean()  # so that no digits cancel
    squares = torch.stack([lightness - middle, (lightness - middle).square()])
    mean, square = F.avg_pool2d(squares, window, 1, margin, count_include_pad=False)
    return torch.cat([lightness, (square - mean.square()).clamp(min=0).sqrt()]).flatten(1) / 2


def _grid(size, samples: int, generator: torch.Generator) -> Tensor:
    """Indices of pixels, one drawn from each cell of a grid of about so many cells."""
    height, width = size
    rows = min(height, max(1, round(math.sqrt(samples * height / width))))
    columns = min(width, max(1, round(samples / rows)))
    places = torch.rand(2, rows, columns, generator=generator)
    i = ((torch.arange(rows)[:, None] + places[0]) * height / rows).long().clamp(max=height - 1)
    j = ((torch.arange(columns) + places[1]) * width / columns).long().clamp(max=width - 1)
    return (i * width + j).flatten()


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _picture(x: Tensor, name: str, channels: int = 3) -> Tensor:
    image(x, channels, name, unit=True)
    if x.dim() != 3 or 0 in x.shape:
        raise ValueError(f"{name} must have shape ({channels}, H, W), none of them 0; got {tuple(x.shape)}")
    return inside(finite(x, name), name, 0, 1, slack=1e-3)


def _pair(pair, rgb: Tensor, reference: Tensor) -> list[Tensor]:
    masks = listed(pair, "swatches")
    if len(masks) != 2:
        raise ValueError(f"swatches must be pairs of masks; got {len(masks)} in one")
    for mask, picture in zip(masks, (rgb, reference), strict=True):
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            raise TypeError(f"swatches must be tensors of True and False; got {came(mask)}")
        if mask.shape != picture.shape[1:] or not mask.any():
            raise ValueError(
                f"swatches must have their pictures' shapes, here {tuple(picture.shape[1:])}, and a True; "
                f"got {came(mask)} with {int(mask.sum())}"
            )
    return [mask.to(rgb.device).flatten() for mask in masks]
