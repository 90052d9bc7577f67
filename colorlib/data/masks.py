"""Masks: which pixels of a picture are to be colored. 1 is color, 0 is gray; (B, 1, H, W) float32.

A mask is drawn from its seed, its kind and its size alone: the same in any batch, process or run. All kinds
but ``"noise"`` and ``"segments"`` are shapes in the frame, measured in its height and width. At another size
such a mask is the same shape, seen finer. A size is one whole number, or height and width, in pixels, at
least 1. For other sizes, names, labels or seeds, each function raises TypeError or ValueError.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from colorlib._check import came, choice, choices, integers, listed, string, whole

# What each of the ten says of the pixels at height y from the top and x from the left, both in [0, 1].
_TEN = {
    "left half": lambda y, x: x < 0.5,
    "right half": lambda y, x: x >= 0.5,
    "top half": lambda y, x: y < 0.5,
    "bottom half": lambda y, x: y >= 0.5,
    "vertical stripes": lambda y, x: _even(x, 4),
    "narrow vertical stripes": lambda y, x: _even(x, 8),
    "horizontal stripes": lambda y, x: _even(y, 4),
    "narrow horizontal stripes": lambda y, x: _even(y, 8),
    "coarse grid": lambda y, x: _even(y, 4) == _even(x, 4),
    "fine grid": lambda y, x: _even(y, 8) == _even(x, 8),
}
TEN = tuple(_TEN)
FAMILIES = ("full", "ten", "stripes", "grids", "rectangles", "strokes", "noise", "segments")
KINDS = (*FAMILIES, *TEN)


def ten(size: int | tuple[int, int], names: Iterable[str] = TEN) -> Tensor:
    """Give the ten fixed masks of halves, stripes and grids, or those of them whose `names` are given.

    Four halves: left, right, top, bottom. Four of stripes, vertical and horizontal: four stripes or eight, of
    which every other is colored. Two grids like a chessboard, of 4 x 4 and of 8 x 8 fields. Each colors one
    half of the picture, exactly so where its sides are multiples of 8.

    The source trained with ten such masks, drawn by hand "using stripes and grids", and with one half of the
    picture before. It shows a half, horizontal stripes and a grid; the others, their numbers and widths are
    chosen here.

    >>> ten(2, ["left half"])[0, 0]
    tensor([[1., 0.],
            [1., 0.]])
    """
    height, width = _size(size)
    y, x = _places(height, width)
    masks = [_TEN[name](y, x).expand(height, width) for name in choices(names, "names", TEN)]
    return torch.stack(masks)[:, None].float()


def segmentation(labels: Tensor, chosen: Iterable[int | str], names: Sequence[str] = ()) -> Tensor:
    """Make the mask of the pixels that have one of the labels chosen, given as numbers or names.

    `labels` are whole numbers, (B, H, W), or (H, W) for B = 1, of any segmentation; the mask is on their
    device. `names` are those of the labels 0, 1, 2 and so on.

    >>> segmentation(torch.tensor([[0, 1, 2]]), ["car", 2], ["sky", "car", "road"])[0, 0]
    tensor([[0., 1., 1.]])
    """
    labels = _labels(labels)
    names = [string(name, "each of the names") for name in listed(names, "names")]
    numbers = [
        names.index(choice(label, "chosen", names)) if isinstance(label, str) else whole(label, "chosen")
        for label in (listed(chosen, "chosen") if _several(chosen) else [chosen])
    ]
    wanted = torch.tensor(numbers, dtype=torch.int64, device=labels.device)
    return torch.isin(labels, wanted)[:, None].float()


def draw(
    seeds: Tensor | Sequence[int],
    size: int | tuple[int, int],
    kinds: str | Sequence[str] = "ten",
    labels: Tensor | None = None,
) -> Tensor:
    """Draw masks on the CPU, one a seed, each of a kind that its seed chooses evenly among those given.

    - ``"full"``: all is colored.
    - ``"ten"``: one of the ten fixed masks, see :func:`ten`. The name of one of them gives that one.
    - ``"stripes"`` of one width in any direction, half of them colored: two to eight in the frame's width.
    - ``"grids"``: fields like a chessboard's, each side 1/10 to 1/3 of the frame's.
    - ``"rectangles"``: one to four, each side 1/8 to 5/8 of the frame's.
    - ``"strokes"``: one to three of a brush that is 1/10 to 1/4 of the frame wide and wanders.
    - ``"noise"``: each pixel by itself, with a chance that is drawn from 0.1 to 0.9 first.
    - ``"segments"``: a random set of the labels in the picture, each with a chance of one half, never empty.

    The seeds are a sequence or a 1-D integer tensor of numbers from 0 to 2**63 - 1, such as the ``"seed"`` of
    a training batch; the lowest 32 bits count. Below a size of some 16 pixels a shape may fall between
    pixels. The kinds are one or more of ``KINDS``. Labels are whole numbers, (B, H, W), one picture a seed,
    for ``"segments"`` only, which needs them.
    """
    height, width = _size(size)
    kinds = check_kinds(kinds)
    if isinstance(seeds, Tensor):
        seeds = integers(seeds, "seeds", "(B,)").tolist()
    seeds = [whole(seed, "each of the seeds", 0, 2**63 - 1) for seed in listed(seeds, "seeds")]
    if labels is not None:
        labels = _labels(labels, f"({len(seeds)}, {height}, {width})")
        labels = labels.cpu() if "segments" in kinds else None
    elif "segments" in kinds:
        raise ValueError("masks of the kind 'segments' need labels, such as the world's materials; got none")
    y, x = _places(height, width)
    out = torch.empty(len(seeds), 1, height, width)
    for number, seed in enumerate(seeds):
        chance = torch.Generator().manual_seed(seed)
        kind = kinds[_pick(chance, len(kinds))]
        if kind == "ten":
            kind = TEN[_pick(chance, len(TEN))]
        if kind in _TEN:
            out[number, 0] = _TEN[kind](y, x)
        elif kind == "segments":
            out[number, 0] = _segments(chance, labels[number])
        else:
            out[number, 0] = _DRAWN[kind](chance, y, x)
    return out


def check_kinds(kinds: str | Iterable[str], name: str = "kinds") -> tuple[str, ...]:
    """Give the kinds of masks as a tuple."""
    return choices(kinds, name, KINDS)


# Each kind: from a source of chance and the places of the pixels, y (H, 1) and x (1, W), to a mask (H, W).


def _stripes(chance: torch.Generator, y: Tensor, x: Tensor) -> Tensor:
    angle = _span(chance, 0, math.pi)
    pair = _span(chance, 1 / 4, 1)  # the width of a colored and a gray stripe together
    along = (math.cos(angle) * x + math.sin(angle) * y) / pair + _span(chance, 0, 1)
    return along - along.floor() < 0.5


def _grids(chance: torch.Generator, y: Tensor, x: Tensor) -> Tensor:
    tall, wide = _span(chance, 3, 10), _span(chance, 3, 10)
    down, right = _span(chance, 0, 2), _span(chance, 0, 2)
    return _even(y + down / tall, tall) == _even(x + right / wide, wide)


def _rectangles(chance: torch.Generator, y: Tensor, x: Tensor) -> Tensor:
    inside = torch.zeros_like(y * x, dtype=torch.bool)
    for _ in range(1 + _pick(chance, 4)):
        tall, wide = _span(chance, 1 / 8, 5 / 8), _span(chance, 1 / 8, 5 / 8)
        top, left = _span(chance, 0, 1 - tall), _span(chance, 0, 1 - wide)
        inside |= (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
    return inside


def _strokes(chance: torch.Generator, y: Tensor, x: Tensor) -> Tensor:
    inside = torch.zeros_like(y * x, dtype=torch.bool)
    for _ in range(1 + _pick(chance, 3)):
        radius = _span(chance, 0.05, 0.125)
        down, right = _span(chance, 0.1, 0.9), _span(chance, 0.1, 0.9)
        heading = _span(chance, 0, 2 * math.pi)
        for _ in range(2 + _pick(chance, 4)):
            length = _span(chance, 0.1, 0.35)
            heading += _span(chance, -1, 1)
            dy, dx = length * math.sin(heading), length * math.cos(heading)
            # The place on this straight piece that is nearest to each pixel, from 0, its start, to 1.
            share = (((y - down) * dy + (x - right) * dx) / length**2).clamp(0, 1)
            inside |= (y - down - share * dy) ** 2 + (x - right - share * dx) ** 2 <= radius**2
            down, right = down + dy, right + dx
    return inside


def _noise(chance: torch.Generator, y: Tensor, x: Tensor) -> Tensor:
    share = _span(chance, 0.1, 0.9)
    return torch.rand(len(y), x.shape[1], generator=chance) < share


_DRAWN = {
    "full": lambda chance, y, x: torch.ones_like(y * x),
    "stripes": _stripes,
    "grids": _grids,
    "rectangles": _rectangles,
    "strokes": _strokes,
    "noise": _noise,
}


def _segments(chance: torch.Generator, labels: Tensor) -> Tensor:
    present = labels.unique()
    taken = torch.rand(len(present), generator=chance) < 0.5
    taken[_pick(chance, len(present))] |= not taken.any()
    return torch.isin(labels, present[taken])


def _even(place: Tensor, fields: float) -> Tensor:
    """Whether a place in [0, 1] lies in an even one of so many equal fields, counted from 0."""
    return (place * fields).floor() % 2 == 0


def _places(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The centers of the pixels in the frame: y (H, 1) and x (1, W), both in (0, 1)."""
    y, x = ((torch.arange(side) + 0.5) / side for side in (height, width))
    return y[:, None], x[None, :]


def _span(chance: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=chance).item()


def _pick(chance: torch.Generator, count: int) -> int:
    return int(torch.randint(count, (), generator=chance))


def _size(size) -> tuple[int, int]:
    sides = listed(size, "size") if _several(size) else [size, size]
    if len(sides) != 2:
        raise ValueError(f"size must be one or two whole numbers, height and width; got {came(size)}")
    return tuple(whole(side, "size", 1) for side in sides)


def _several(value) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) > 0


def _labels(labels: Tensor, *shapes: str) -> Tensor:
    labels = labels.byte() if isinstance(labels, Tensor) and labels.dtype == torch.bool else labels
    labels = integers(labels, "labels", *(shapes or ("(B, H, W)", "(H, W)")), empty=False)
    labels = labels.to(torch.int64)  # torch compares no sets of uint16
    return labels if labels.ndim == 3 else labels[None]
