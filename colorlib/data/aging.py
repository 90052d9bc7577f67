"""Photographs made to look old: what time, film and files do to gray. The color stays what it was."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def draw(x: Tensor, low: float, high: float) -> Tensor:
    """Give one number from an interval for each picture of a batch, (B, 1, 1, 1), by torch's generator."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) * (high - low) + low


def chance(x: Tensor, share: float) -> Tensor:
    """Say for each picture of a batch whether it is among a share of them."""
    return draw(x, 0, 1) < share


def aged(rgb: Tensor) -> Tensor:
    """Gray as old photographs may have it: (B, 3, H, W) in [0, 1] to (B, 1, H, W), drawn for each picture.

    The film weighs red, green and blue at random, in a fifth of the pictures with hardly any red; then come
    contrast, fading, blur, grain and blocks of 8 x 8 as JPEG's, each in some of the pictures.

    Parameters
    ----------
    rgb : Tensor
        RGB in [0, 1], (B, 3, H, W), H and W multiples of 8.
    """
    weights = torch.tensor([0.3, 0.59, 0.11], device=rgb.device)[:, None, None]
    weights = weights * (0.5 * torch.randn(len(rgb), 3, 1, 1, device=rgb.device)).exp()
    blind = torch.tensor([0.15, 1.0, 2.5], device=rgb.device)[:, None, None]
    weights = torch.where(chance(rgb, 0.2), weights * blind, weights)
    gray = (rgb * weights / weights.sum(1, keepdim=True)).sum(1, keepdim=True)

    gray = gray.clamp(min=1e-3) ** (0.25 * torch.randn(len(rgb), 1, 1, 1, device=rgb.device)).exp()
    curve = gray * gray * (3 - 2 * gray)
    gray = torch.lerp(gray, curve, draw(rgb, -0.3, 0.8))
    faded = draw(rgb, 0, 0.2) + gray * draw(rgb, 0.6, 0.8)
    gray = torch.where(chance(rgb, 0.3), faded, gray)
    soft = gray
    for _ in range(2):
        soft = F.avg_pool2d(F.pad(soft, (1, 1, 1, 1), mode="replicate"), 3, 1)
    gray = torch.where(chance(rgb, 0.4), torch.lerp(gray, soft, draw(rgb, 0, 1)), gray)
    grain = torch.randn_like(gray)
    grain = torch.where(chance(rgb, 0.5), 2 * F.avg_pool2d(grain, 3, 1, padding=1), grain)
    gray = gray + grain * draw(rgb, 0, 0.06) * chance(rgb, 0.4)
    return torch.where(chance(rgb, 0.2), _blocky(gray, draw(rgb, 0.02, 0.15)), gray).clamp(0, 1)


def _blocky(gray: Tensor, step: Tensor) -> Tensor:
    """Blocks of 8 x 8 whose cosine waves are rounded to multiples of a step, a larger one for finer waves."""
    k = torch.arange(8, device=gray.device)
    waves = (math.pi / 8 * k[:, None] * (k + 0.5)).cos() / 2  # orthonormal but for the first row
    waves[0] /= math.sqrt(2)
    step = step[..., None, None] * (1 + k[:, None] + k) / 4
    blocks = gray.unfold(2, 8, 8).unfold(3, 8, 8)  # (B, 1, H / 8, W / 8, 8, 8)
    rounded = ((waves @ blocks @ waves.T) / step).round() * step
    return (waves.T @ rounded @ waves).permute(0, 1, 2, 4, 3, 5).reshape(gray.shape)
