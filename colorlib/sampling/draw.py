"""From scores to a level, and what both samplers ask of their arguments."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

HOTTEST = 10_000  # there all levels are alike, and noise times it still fits half precision


class Stopped(RuntimeError):
    """The progress callback said to stop.

    Attributes
    ----------
    levels : Tensor
        What was drawn so far, (samples, B, 2, h, w).
    rows : int
        How many rows of it are finished; below them nothing was drawn.
    """

    def __init__(self, levels: Tensor, rows: int):
        super().__init__(f"sampling was stopped after {rows} of {levels.shape[-2]} rows")
        self.levels, self.rows = levels, rows


def draw(logits: Tensor, noise: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Draw a class from scores: the class whose score is highest after Gumbel noise was added to each.

    Parameters
    ----------
    logits : Tensor
        (..., classes).
    noise : Tensor
        Gumbel noise, (..., classes): minus the logarithm of numbers from the exponential distribution.
    temperature : float
        Above 0, at most 10,000. The logits are divided by it: below 1 likely classes grow likelier.
    top_p : float
        In (0, 1]. Only the likeliest classes are drawn from, as many as are needed to reach this probability.

    Returns
    -------
    Tensor
        int64, (...).

    Notes
    -----
    Sources: Maddison, Tarlow, Minka, "A* Sampling", NeurIPS 2014, section 2, for the noise; Holtzman et al.,
    "The Curious Case of Neural Text Degeneration", ICLR 2020, for ``top_p``.
    """
    if top_p < 1:
        probabilities, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        likelier = probabilities.cumsum(-1) - probabilities  # the probability of all classes before this one
        # The likeliest stays, even where rounding would have it go.
        gone = (likelier >= top_p) & (torch.arange(logits.shape[-1], device=logits.device) > 0)
        logits = logits.masked_fill(torch.zeros_like(gone).scatter_(-1, order, gone), -math.inf)
    # Noise is multiplied, and not the logits divided, for it can be done beforehand.
    return torch.add(logits, noise, alpha=temperature).argmax(-1)


class Task(NamedTuple):
    """Checked arguments of a sampler, with every sample of every image in one batch of N = samples * B."""

    condition: Tensor  # (B, C, h, w)
    samples: int
    known: Tensor  # (N, 2, h, w) int64
    given: Tensor  # (N, 2, h, w) bool: where `known` is taken
    any_given: bool
    levels: int
    generator: torch.Generator | None

    def noise(self) -> Tensor:
        """Draw the noise of the next row, (w, 2, N, levels): both samplers take it in the same order."""
        shape = (self.known.shape[-1], 2, len(self.known), self.levels)
        return -self.condition.new_empty(shape).exponential_(generator=self.generator).log_()


def check(
    pixelcnn,
    condition: Tensor,
    samples: int,
    generator: torch.Generator | None,
    temperature: float,
    top_p: float,
    known: Tensor | None,
    mask: Tensor | None,
    progress: Callable | None,
) -> Task:
    """Check the arguments that both samplers share."""
    if not isinstance(condition, Tensor) or not condition.is_floating_point():
        got = condition.dtype if isinstance(condition, Tensor) else type(condition).__name__
        raise TypeError(f"condition must be a floating-point tensor, got {got}")
    if condition.ndim != 4 or 0 in condition.shape:
        raise ValueError(f"condition must be (B, C, h, w), none of them 0, got {tuple(condition.shape)}")
    wanted = pixelcnn.condition
    if condition.shape[1] != wanted:
        raise ValueError(f"condition must have {wanted} channels, got {tuple(condition.shape)}")
    weight = next(pixelcnn.parameters())
    if (condition.dtype, condition.device) != (weight.dtype, weight.device):
        raise ValueError(
            f"condition must be {weight.dtype} on {weight.device}, as the weights are; got {condition.dtype} "
            f"on {condition.device}"
        )
    # A score that is not a number would be drawn as if it were one.
    if not condition.isfinite().all():
        raise ValueError("condition must be finite; it has NaN or infinite values")
    if not torch.stack([parameter.isfinite().all() for parameter in pixelcnn.parameters()]).all():
        raise ValueError("the network's weights must be finite; some are NaN or infinite")
    if generator is not None:
        if not isinstance(generator, torch.Generator):
            raise TypeError(f"generator must be a torch.Generator or None, got {generator!r}")
        if generator.device.type != condition.device.type:
            raise ValueError(
                f"generator must be on {condition.device}, as condition is; got {generator.device}"
            )
    if isinstance(samples, bool) or not isinstance(samples, int):
        raise TypeError(f"samples must be an int, got {samples!r}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    for name, value, most in (("temperature", temperature, HOTTEST), ("top_p", top_p, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{name} must be a number, got {value!r}")
        if not 0 < value <= most:
            raise ValueError(f"{name} must be above 0 and at most {most:,}, got {value}")
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable, got {type(progress).__name__}")
    count, _, height, width = condition.shape
    if (known is None) != (mask is None):
        raise ValueError("known and mask are given together or not at all")
    device = condition.device
    if known is None:
        levels = torch.zeros(count, 2, height, width, dtype=torch.int64, device=device)
        given = torch.zeros_like(levels, dtype=torch.bool)
    else:
        levels, given = _check_known(known, mask, (count, 2, height, width), pixelcnn.levels)
        levels, given = levels.to(device), given.to(device)
    return Task(
        condition,
        samples,
        levels.repeat(samples, 1, 1, 1),
        given.repeat(samples, 1, 1, 1),
        known is not None,
        pixelcnn.levels,
        generator,
    )


def _check_known(known, mask, shape, count):
    for name, tensor in (("known", known), ("mask", mask)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if known.dtype != torch.int64:
        raise TypeError(f"known must be int64 levels, got {known.dtype}")
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, got {mask.dtype}")
    if tuple(known.shape) != shape:
        raise ValueError(f"known must be {shape}, got {tuple(known.shape)}")
    if tuple(mask.shape) not in (shape, (shape[0], 1, *shape[2:])):
        raise ValueError(f"mask must be {shape}, or with 1 channel, got {tuple(mask.shape)}")
    mask = mask.expand(shape)
    taken = known[mask]
    if taken.numel() and not (taken.min() >= 0 and taken.max() < count):
        raise ValueError(f"known must be from 0 to {count - 1}, got {taken.min()} to {taken.max()}")
    return known.masked_fill(~mask, 0), mask


def report(progress: Callable | None, row: int, levels: Tensor) -> None:
    """Tell the callback that a row is done; raise `Stopped` if it returns False, or 0, but not None."""
    rows = row + 1
    if progress is None:
        return
    with torch.inference_mode(False):  # tensors that the caller makes there are ordinary ones
        goes_on = progress(rows, levels.shape[-2])
    if goes_on is not None and not goes_on:
        raise Stopped(levels, rows)
