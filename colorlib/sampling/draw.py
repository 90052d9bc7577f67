"""From scores to a level, and what both samplers ask of their arguments."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from colorlib._check import came, finite, floating, inside, integers, number, whole

HOTTEST = 10_000  # there all levels are alike, and noise times it still fits half precision


class Stopped(RuntimeError):
    """The progress callback said to stop.

    ``levels``, (samples, B, 2, h, w), is what was drawn so far; below its first ``rows`` nothing was drawn.
    """

    def __init__(self, levels: Tensor, rows: int):
        super().__init__(f"sampling was stopped after {rows} of {levels.shape[-2]} rows")
        self.levels, self.rows = levels, rows


def draw(logits: Tensor, noise: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """Draw a class from scores: the class whose score is highest after Gumbel noise was added to each.

    Sources: Maddison, Tarlow, Minka, "A* Sampling", NeurIPS 2014, section 2, for the noise; Holtzman et al.,
    "The Curious Case of Neural Text Degeneration", ICLR 2020, for ``top_p``.

    >>> draw(torch.tensor([0.0, 9.0]), torch.zeros(2)).item()
    1

    Parameters
    ----------
    logits, noise : Tensor
        (..., classes) each; Gumbel noise is minus the logarithm of numbers from the exponential distribution.
    temperature : float
        Above 0, at most 10,000. The logits are divided by it: below 1 likely classes grow likelier.
    top_p : float
        In (0, 1]. Only the likeliest classes are drawn from, as many as are needed to reach this probability.

    Returns
    -------
    Tensor
        int64, (...).
    """
    floating(logits, "logits", "(..., classes)", empty=False)
    if floating(noise, "noise").shape != logits.shape:
        raise ValueError(f"noise must be {tuple(logits.shape)}, as logits; got {tuple(noise.shape)}")
    return _draw(logits, noise, *_check_knobs(temperature, top_p))


def _draw(logits: Tensor, noise: Tensor, temperature: float, top_p: float) -> Tensor:
    if top_p < 1:
        probabilities, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
        likelier = probabilities.cumsum(-1) - probabilities  # the probability of all classes before this one
        # The likeliest stays, even where rounding would have it go.
        gone = (likelier >= top_p) & (torch.arange(logits.shape[-1], device=logits.device) > 0)
        logits = logits.masked_fill(torch.zeros_like(gone).scatter_(-1, order, gone), -math.inf)
    # Noise is multiplied, and not the logits divided, for it can be done beforehand.
    return torch.add(logits, noise, alpha=temperature).argmax(-1)


def _check_knobs(temperature: float, top_p: float) -> tuple[float, float]:
    return number(temperature, "temperature", f"(0, {HOTTEST}]"), number(top_p, "top_p", "(0, 1]")


class Task(NamedTuple):
    """Checked arguments of a sampler, with every sample of every image in one batch of N = samples * B."""

    condition: Tensor  # (B, C, h, w)
    samples: int
    known: Tensor  # (N, 2, h, w) int64
    given: Tensor  # (N, 2, h, w) bool: where `known` is taken
    any_given: bool
    levels: int
    generator: torch.Generator | None
    temperature: float
    top_p: float

    def draw(self, logits: Tensor, noise: Tensor) -> Tensor:
        """See `draw`; nothing is checked again."""
        return _draw(logits, noise, self.temperature, self.top_p)

    def noise(self) -> Tensor:
        """Draw the noise of the next row, (w, 2, N, levels): both samplers take it in the same order."""
        shape = (self.known.shape[-1], 2, len(self.known), self.levels)
        return -self.condition.new_empty(shape).exponential_(generator=self.generator).log_()


def check(
    pixelcnn, condition, samples, generator, temperature, top_p, known, mask, progress: Callable | None
) -> Task:
    """Check the arguments that both samplers share."""
    if not isinstance(pixelcnn, torch.nn.Module) or not hasattr(pixelcnn, "condition_channels"):
        raise TypeError(f"pixelcnn must be a PixelCNN; got {came(pixelcnn)}")
    floating(condition, "condition", f"(B, {pixelcnn.condition_channels}, h, w)", empty=False)
    weight = next(pixelcnn.parameters())
    if (condition.dtype, condition.device) != (weight.dtype, weight.device):
        raise ValueError(
            f"condition must be {weight.dtype} on {weight.device}, as the weights are; got {condition.dtype} "
            f"on {condition.device}"
        )
    # A score that is not a number would be drawn as if it were one.
    finite(condition, "condition")
    if not torch.stack([parameter.isfinite().all() for parameter in pixelcnn.parameters()]).all():
        raise ValueError("the network's weights must be finite; some are NaN or infinite")
    if not isinstance(generator, (torch.Generator, type(None))):
        raise TypeError(f"generator must be a torch.Generator or None; got {generator!r}")
    if generator is not None and generator.device.type != condition.device.type:
        raise ValueError(f"generator must be on {condition.device}, as condition is; got {generator.device}")
    samples = whole(samples, "samples", 1)
    knobs = _check_knobs(temperature, top_p)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable; got {came(progress)}")
    if (known is None) != (mask is None):
        raise ValueError("known and mask are given together or not at all")
    shape = (len(condition), 2, *condition.shape[2:])
    levels = torch.zeros(shape, dtype=torch.int64, device=condition.device)
    given = torch.zeros_like(levels, dtype=torch.bool)
    if known is not None:
        levels, given = (x.to(condition.device) for x in _check_known(known, mask, shape, pixelcnn.levels))
    levels, given = (x.repeat(samples, 1, 1, 1) for x in (levels, given))
    return Task(condition, samples, levels, given, known is not None, pixelcnn.levels, generator, *knobs)


def _check_known(known, mask, shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    integers(known, "known", str(shape), only=torch.int64)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask must be a tensor of bool; got {came(mask)}")
    if tuple(mask.shape) not in (shape, (shape[0], 1, *shape[2:])):
        raise ValueError(f"mask must be {shape}, or with 1 channel; got {tuple(mask.shape)}")
    mask = mask.expand(shape)
    inside(known[mask], "known", 0, count - 1)
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
