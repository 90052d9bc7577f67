"""What functions ask of their arguments, and how they say so: the name, what it must be, what came.

Each check gives its value back, numpy's numbers as Python's own. True and False are no numbers.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# sRGB of the brightest display that there is stays below 8. Values from there to the largest of 16 bits are
# 8 or 16 bits that nobody has divided. Beyond them lies what a broken computation leaves.
BRIGHTEST, BITS = 16, 2**16
MOST = 2**63 - 1  # torch's whole numbers end there


def came(value) -> str:
    """Say in a few words what came in the place of an argument."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


# Numbers and words.


def whole(value, name: str, low: int = -MOST, high: int = MOST, error=ValueError) -> int:
    """Give a whole number of `low` to `high`; another one raises `error`, anything else TypeError."""
    try:
        if isinstance(value, (bool, np.bool_)) or (isinstance(value, Tensor) and value.dtype == torch.bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {came(value)}") from None
    if not low <= number <= high:
        wanted = f"at least {low}" if high == MOST and number < low else f"from {low} to {high}"
        raise error(f"{name} must be {wanted}; got {number}")
    return number


def wholes(low: int = 1, /, **values) -> list[int]:
    """Give several whole numbers, each `low` or more; see `whole`."""
    return [whole(value, name, low) for name, value in values.items()]


def number(value, name: str, interval: str = "(-inf, inf)") -> float:
    """Give a number of an interval, in which a round bracket leaves the end out."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {came(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.nan
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = low <= number if interval[0] == "[" else low < number
    below = number <= high if interval[-1] == "]" else number < high
    if not (above and below):  # NaN is neither
        raise ValueError(f"{name} must be in {interval}; got {came(value)}")
    return number


def flag(value, name: str) -> bool:
    """Give True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {came(value)}")
    return bool(value)


def choice(value, name: str, options: Iterable[str]) -> str:
    """Give one of some words."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}; got {came(value)}")
    return value


def choices(value, name: str, options: Iterable[str]) -> tuple[str, ...]:
    """Give one or more of some words; one word may come by itself."""
    words = [value] if isinstance(value, str) else listed(value, name)
    if not words:
        raise ValueError(f"{name} must name at least one of {', '.join(options)}; got none")
    return tuple(choice(word, name, options) for word in words)


def string(value, name: str) -> str:
    """Give a string with something in it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string; got {came(value)}")
    if not value.strip():
        raise ValueError(f"{name} must not be empty; got {value!r}")
    return value


def listed(value, name: str) -> list:
    """Give what a sequence holds, as a list; a string is none."""
    try:
        if isinstance(value, (str, bytes, dict)):
            raise TypeError
        return list(value)
    except TypeError:
        raise TypeError(f"{name} must be a sequence; got {came(value)}") from None


def path_of(value, name: str) -> Path:
    """Give a path; an empty one would be the current folder."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a str or a Path; got {came(value)}")
    if not os.fspath(value):
        raise ValueError(f"{name} must be a name or a path; got an empty text")
    return Path(value)


def device_of(value) -> torch.device:
    """Give a device; None is the CPU."""
    try:
        if not isinstance(value, (str, int, torch.device, type(None))) or isinstance(value, bool):
            raise TypeError
        return torch.device("cpu" if value is None else value)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"device must be one of torch's, such as 'cpu' or 'cuda'; got {came(value)}"
        ) from None


# Tensors. A shape is written as in the documentation: "(..., 3, H, W)", where letters stand for any length.


def floating(x, name: str, *shapes: str, empty: bool = True, hint: str = "use .float()") -> Tensor:
    """Give a tensor of one of the four floating dtypes and of one of the shapes."""
    x = _tensor(x, name)
    if x.dtype not in DTYPES:
        hint = "" if x.is_floating_point() or x.is_complex() else f": {hint}"
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {x.dtype}{hint}")
    return _shaped(x, name, shapes, empty)


def integers(x, name: str, *shapes: str, empty: bool = True, only: torch.dtype | None = None) -> Tensor:
    """Give a tensor of whole numbers, of the one dtype or of any, and of one of the shapes."""
    x = _tensor(x, name)
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool or only not in (None, x.dtype):
        raise TypeError(f"{name} must be a tensor of {only or 'whole numbers'}; got {x.dtype}")
    return _shaped(x, name, shapes, empty)


def image(x, channels: int, name: str, unit: bool = False, batch: bool = False) -> Tensor:
    """Give pictures: (..., channels, H, W), or a batch of at least one pixel, (B, channels, H, W).

    With `unit`, values of 0 to 255 in place of 0 to 1 raise ValueError. It looks on a CPU only: on a GPU that
    would mean waiting.
    """
    floating(x, name, hint="divide 8-bit values by 255 to bring them to [0, 1]" if unit else "use .float()")
    shape = f"({'B' if batch else '...'}, {channels}, H, W)"
    if not _fits(x.shape, shape) or (batch and 0 in x.shape):
        hint = ""
        if x.dim() >= 3 and x.shape[-1] == channels != x.shape[-3]:
            hint = f"; the last dimension is {channels}: bring channels forward with .movedim(-1, -3)"
            hint += ", that is .permute(2, 0, 1)" if x.dim() == 3 else ""
        elif batch and x.dim() == 3 and len(x) == channels:
            hint = f"; add a batch dimension: {name}[None]"
        elif batch and x.dim() == 2 and channels == 1:
            hint = f"; add batch and channel dimensions: {name}[None, None]"
        elif channels == 1 and x.dim() >= 3 and x.shape[-3] == 3:
            hint = "; make RGB gray with colorlib.color.rgb_to_gray"
        none = ", none of them 0" if batch else ""
        raise ValueError(f"{name} must have shape {shape}{none}; got {tuple(x.shape)}{hint}")
    return undivided(x, name) if unit else x


def undivided(x: Tensor, name: str) -> Tensor:
    """Raise ValueError for numbers of 8 or 16 bits where those of 0 to 1 are meant.

    Of a large picture it looks at every eighth row, so that the cost doesn't show.
    """
    if seen(x) and x.numel():
        try:
            most = x.detach()[..., :: 8 if x.numel() > 2**20 else 1, :].amax().item()
        except RuntimeError:  # inside torch.func.vmap there are no values to look at
            return x
        if BRIGHTEST < most < BITS:
            raise ValueError(
                f"{name} must be on a scale of 0 to 1; got values up to {most:g}: divide 8-bit values by 255"
            )
    return x


def seen(x: Tensor) -> bool:
    """Whether a tensor's values can be looked at for nothing: on a GPU that means waiting."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def finite(x: Tensor, name: str) -> Tensor:
    """Give a tensor without NaN and infinity."""
    if not x.isfinite().all():
        raise ValueError(f"{name} must be finite; {int((~x.isfinite()).sum())} of its values are not")
    return x


def inside(x: Tensor, name: str, low: float, high: float, slack: float = 0.0) -> Tensor:
    """Give a tensor of values from `low` to `high`, give or take the slack."""
    least, most = (end.item() for end in x.detach().aminmax()) if x.numel() else (low, high)
    if not (least >= low - slack and most <= high + slack):  # NaN is neither
        raise ValueError(f"{name} must be from {low} to {high}; got values from {least:.4g} to {most:.4g}")
    return x


def _tensor(x, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        kind = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"{name} must be a torch.Tensor; got {kind}")
    return x


def _shaped(x: Tensor, name: str, shapes: Sequence[str], empty: bool) -> Tensor:
    fits = not shapes or any(_fits(x.shape, shape) for shape in shapes)
    if not fits or (not empty and 0 in x.shape):
        wanted = f"have shape {' or '.join(shapes)}" if shapes else "hold something"
        none = ", none of them 0" if shapes and 0 in x.shape else ""
        raise ValueError(f"{name} must {wanted}{none}; got {tuple(x.shape)}")
    return x


def _fits(sides: Sequence[int], shape: str) -> bool:
    wanted = [side.strip() for side in shape.strip("()").split(",") if side.strip()]
    if wanted[0] == "...":
        wanted = wanted[1:]
        if len(sides) < len(wanted):
            return False
        sides = sides[len(sides) - len(wanted) :]
    pairs = zip(wanted, sides, strict=False)
    return len(sides) == len(wanted) and all(not w.isdigit() or int(w) == side for w, side in pairs)
