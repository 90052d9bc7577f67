"""Color from strokes: the library against the matrix built by two loops, as ports in Python have it."""

import math

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg
from torch.nn import functional as F

from benchmarks.harness import Comparison
from colorlib.classic import propagate
from colorlib.classic.scribbles import LEAST_VARIANCE
from colorlib.color import rgb_to_lab
from colorlib.data import photos

PACKAGES = ("scipy", "pyamg")
SMALL, LARGE, STROKES = 256, 1024, 25


def comparisons():
    """A small picture against the two loops, and a megapixel by both methods of the library."""
    lightness, ab, mask = work("astronaut", SMALL)

    def check(ours, peers):
        worst = max((ours - theirs).abs().max().item() for theirs in peers.values())
        assert worst < 1e-6, f"colors differ by up to {worst:.2g}"
        return f"Colors differ by at most {worst:.1g} units of ab."

    yield Comparison(
        name=f"Scribbles, {SMALL} x {SMALL} pixels, {STROKES} strokes",
        ours=lambda: propagate(lightness, ab, mask),
        peers={
            "two loops, arrays": lambda: sliced(lightness, ab, mask),
            "two loops, lists": lambda: looped(lightness, ab, mask),
        },
        aims={"two loops, arrays": 20.0},
        check=check,
        note="The loops visit every pixel. One cuts each window out of an array and writes into a sparse"
        " matrix in lists of lists; the other, the quickest way in plain Python, works with lists of numbers"
        " alone. Both leave the rest to SciPy's `spsolve` with its defaults, once for each channel.",
    )

    big = work("retina", LARGE)

    def check_large(ours, peers):
        (theirs,) = peers.values()
        worst = (ours - theirs).abs().max().item()
        assert worst < 0.1, f"colors differ by up to {worst:.2g}"
        return f"Colors differ by at most {worst:.1g} units of ab."

    yield Comparison(
        name=f"Scribbles, {LARGE} x {LARGE} pixels, {STROKES} strokes",
        ours=lambda: propagate(*big),
        peers={"colorlib, direct": lambda: propagate(*big, method="direct")},
        check=check_large,
        note="The library takes multigrid at this size; the aim is 15 seconds of one core.",
    )


def work(name, side):
    """Lightness and chroma of a photograph, brought to side x side, and short strokes at random places."""
    photo = F.interpolate(photos(name)[name][None], (side, side), mode="bilinear", antialias=True)[0]
    lab = rgb_to_lab(photo.double())
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    for y, x in torch.randint(side, (STROKES, 2), generator=generator).tolist():
        mask[0, y : y + 3, x : x + side // 10] = True
    return lab[:1], lab[1:], mask


def sliced(lightness, ab, mask):
    """The same equations, window by window."""
    values, marked = lightness[0].numpy(), mask[0].numpy()
    height, width = values.shape
    numbers = np.arange(height * width).reshape(height, width)
    matrix = sparse.lil_matrix((height * width,) * 2)
    for y in range(height):
        for x in range(width):
            row = numbers[y, x]
            matrix[row, row] = 1
            if marked[y, x]:
                continue
            part = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
            window, places = values[part].ravel(), numbers[part].ravel()
            weights = np.exp(-((window - values[y, x]) ** 2) / (2 * max(window.var(), LEAST_VARIANCE)))
            others = places != row
            matrix[row, places[others]] = -weights[others] / weights[others].sum()
    return solved(matrix.tocsr(), ab, mask)


def looped(lightness, ab, mask):
    """The same equations, number by number."""
    (height, width), values = lightness.shape[-2:], lightness[0].tolist()
    marked = mask[0].tolist()
    rows, columns, weights = [], [], []
    for y in range(height):
        for x in range(width):
            rows.append(y * width + x)
            columns.append(y * width + x)
            weights.append(1.0)
            if marked[y][x]:
                continue
            beside, around = [], []
            for j in range(max(0, y - 1), min(height, y + 2)):
                for i in range(max(0, x - 1), min(width, x + 2)):
                    around.append(values[j][i])
                    if (j, i) != (y, x):
                        beside.append((j * width + i, values[j][i]))
            mean = sum(around) / len(around)
            variance = max(sum((v - mean) ** 2 for v in around) / len(around), LEAST_VARIANCE)
            own = [math.exp(-((v - values[y][x]) ** 2) / (2 * variance)) for _, v in beside]
            total = sum(own)
            for (place, _), weight in zip(beside, own, strict=True):
                rows.append(y * width + x)
                columns.append(place)
                weights.append(-weight / total)
    matrix = sparse.csr_matrix((weights, (rows, columns)), shape=(height * width,) * 2)
    return solved(matrix, ab, mask)


def solved(matrix, ab, mask):
    """The chroma for which the matrix gives that of the strokes, and zero elsewhere."""
    given = torch.where(mask, ab, 0).flatten(1).numpy()
    return torch.stack([torch.from_numpy(linalg.spsolve(matrix, b)) for b in given]).view(ab.shape)
