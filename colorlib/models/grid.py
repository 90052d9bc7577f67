"""Between a picture and PixColor's coarse grid, whose cells are squares of `stride` pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from colorlib.color import rgb_to_gray, rgb_to_lab, rgb_to_ycbcr, ycbcr_to_rgb
from colorlib.models.blocks import pad


def grid_size(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of the grid of a picture (height, width).

    >>> grid_size((9, 16), 8)
    (2, 2)
    """
    return -(-size[0] // stride), -(-size[1] // stride)


def downsampled(x: Tensor, stride: int, how: str) -> Tensor:
    """What each cell holds of pictures (B, C, H, W) of any size: by "area" a mean, by "nearest" a pixel."""
    x = pad(x, stride)
    if how == "nearest":
        return x[:, :, stride // 2 :: stride, stride // 2 :: stride]
    return F.avg_pool2d(x, stride)


def nearest_pixels(size: tuple[int, int], stride: int, device) -> tuple[Tensor, Tensor]:
    """Rows (h, 1) and columns (w,) of the pixel in each cell's middle; past an edge, the last ones."""
    down, right = (
        (torch.arange(cells, device=device) * stride + stride // 2).clamp(max=pixels - 1)
        for cells, pixels in zip(grid_size(size, stride), size, strict=True)
    )
    return down[:, None], right


def rgb_to_cr_cb(rgb: Tensor) -> Tensor:
    """Cr and Cb in [-1, 1], (B, 2, ...), of RGB (B, 3, ...)."""
    return 2 * rgb_to_ycbcr(rgb)[:, [2, 1]] - 1


def cr_cb_to_ab(gray: Tensor, chroma: Tensor) -> Tensor:
    """CIE ab of Cr and Cb in [-1, 1] (B, 2, H, W), at the lightness of gray (B, 1, H, W)."""
    cb_cr = chroma.flip(1) / 2 + 0.5
    luma = gray
    # Which luma gives a color of this chroma the gray's lightness? Too dark a color gets more, too light a
    # one less; each turn leaves about half of the error.
    for _ in range(8):
        luma = luma + gray - rgb_to_gray(ycbcr_to_rgb(torch.cat([luma, cb_cr], 1)))
    return rgb_to_lab(ycbcr_to_rgb(torch.cat([luma, cb_cr], 1)))[:, 1:]
