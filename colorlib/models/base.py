"""What every colorizer has in common: gray in, chroma from the model, the input's own lightness out."""

import contextlib
import inspect
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import came, finite, image, inside, seen, whole
from colorlib.color import fit_gamut, lab_to_rgb, rgb_to_lab

# The last step, chroma joined with lightness, goes over a large picture in strips of rows of so many pixels:
# it needs some twenty numbers a pixel, and a photograph may have fifty million pixels.
PIXELS_AT_ONCE = 2**20


class Colorizer(nn.Module):
    """Base class of the models.

    A model writes two methods: :meth:`loss`, for the trainer, and :meth:`chroma`, the color that it gives to
    a lightness. :meth:`colorize` does the rest, the same for all. A model of two players, such as a GAN, has
    ``players()`` in place of a loss, see :class:`colorlib.training.Player`.

    Attributes
    ----------
    side : int or None
        Shorter side in pixels of the pictures that the model has learned from. What it knows is how things
        look at that size, so :meth:`colorize` shows it larger pictures reduced to it. None: their own size.
    draws : bool
        Whether chance is at work with the knobs left as they are, so that samples differ.
    settings : dict
        Arguments with which the same model can be built again, without its tensors.
    """

    side: int | None = None
    draws: bool = False
    settings: dict = {}

    @classmethod
    def rebuild(cls, settings: dict, tensors: dict[str, Tensor]) -> "Colorizer":
        """Build the model of a weights file, whose tensors are loaded later: its settings, its tensors."""
        return cls(**settings)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Give the training loss of a batch, a scalar.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1], and whatever else the model trains on.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def chroma(self, lightness: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """Give the ab of a lightness; called by :meth:`colorize` without gradient and in evaluation mode.

        A model adds its knobs as keyword-only arguments with defaults: ``def chroma(self, lightness, samples,
        generator, *, temperature=1.0)``.

        Parameters
        ----------
        lightness : Tensor
            CIE L in [0, 100], (B, 1, H, W).
        samples : int
            How many colorings of each picture.
        generator : torch.Generator
            The only source of chance, on the device of ``lightness``.

        Returns
        -------
        Tensor
            CIE ab, (samples, B, 2, H, W); colors outside the sRGB gamut are allowed.
        """
        raise NotImplementedError(f"{type(self).__name__} has no chroma")

    def knobs(self) -> list[str]:
        """Name the settings that :meth:`colorize` takes for this model, such as ``"temperature"``."""
        arguments = inspect.signature(self.chroma).parameters.values()
        return [p.name for p in arguments if p.kind is p.KEYWORD_ONLY]

    @torch.no_grad()
    def colorize(
        self,
        gray: Tensor,
        samples: int = 1,
        seed: int | None = None,
        *,
        side: int | None = None,
        **knobs,
    ) -> Tensor:
        """Color gray pictures: the model's chroma joined with the pictures' own lightness.

        A color that sRGB cannot show at a pixel's lightness keeps its hue and loses chroma until it fits. The
        model's train or evaluation mode and the global random state are as before afterwards.

        Parameters
        ----------
        gray : Tensor
            Gray pictures, floating point in [0, 1], (B, 1, H, W), of any size from 1 x 1 up.
        samples : int
            How many colorings of each picture, at least 1. A model without chance gives equal ones.
        seed : int, optional
            Same seed, same colorings (on the same kind of device); None: new ones each time.
        side : int, optional
            The model sees pictures whose shorter side is longer than this reduced to it, and its chroma is
            enlarged again; the lightness keeps every detail. None: the model's own ``side``.
        **knobs
            The model's own, listed with its ``chroma``.

        Returns
        -------
        Tensor
            RGB in [0, 1], (samples, B, 3, H, W), on the model's device; float32, or float64 where ``gray``
            is.

        Raises
        ------
        TypeError
            For gray that is not a floating-point tensor, ``samples`` or a seed that is no whole number, an
            unknown knob.
        ValueError
            For gray of another shape or outside [0, 1], fewer than one sample, a side below 1, or a seed of
            more than 64 bits.
        """
        check_gray(gray)
        samples = whole(samples, "samples", 1)
        side = self.side if side is None else whole(side, "side", 1)
        # What a generator takes.
        seed = None if seed is None else whole(seed, "seed", -(2**63), 2**64 - 1)
        known = self.knobs()
        for name in knobs:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no knob {name!r}; it has {', '.join(known) or 'none'}"
                )

        weight = next(self.parameters())
        gray = gray.to(weight.device, torch.promote_types(gray.dtype, torch.float32)).clamp(0, 1)
        lightness = _lightness(gray)
        generator = torch.Generator(weight.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        with evaluating(self):
            seen = _reduce(lightness, side).to(weight.dtype)
            ab = self.chroma(seen, samples, generator, **knobs).to(lightness)
        return _join(lightness, ab)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own mode afterwards.

    So layers that were frozen by hand stay frozen in a model that is in training.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _lightness(gray: Tensor) -> Tensor:
    """CIE L of gray (B, 1, H, W)."""
    rows = max(1, PIXELS_AT_ONCE // (len(gray) * gray.shape[-1]))
    strips = [rgb_to_lab(strip.expand(-1, 3, -1, -1))[:, :1] for strip in gray.split(rows, dim=2)]
    return torch.cat(strips, dim=2)


def _reduce(lightness: Tensor, side: int | None) -> Tensor:
    """Shrink pictures (B, 1, H, W) whose shorter side is longer than `side` to it; others stay."""
    height, width = lightness.shape[-2:]
    if side is None or min(height, width) <= side:
        return lightness
    scale = side / min(height, width)
    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    # With antialiasing each pixel is a mean of those it covers, so that texture doesn't turn into noise.
    return F.interpolate(lightness, size, mode="bilinear", align_corners=False, antialias=True)


def _join(lightness: Tensor, ab: Tensor) -> Tensor:
    """Lightness (B, 1, H, W) and ab (S, B, 2, h, w), which is enlarged to it, as RGB (S, B, 3, H, W)."""
    samples, batch, _, *low = ab.shape
    height, width = lightness.shape[-2:]
    if low != [height, width]:
        ab = F.interpolate(ab.flatten(0, 1), (height, width), mode="bilinear", align_corners=False)
        ab = ab.unflatten(0, (samples, batch))
    lightness = lightness.expand(samples, -1, -1, -1, -1)
    rgb = lightness.new_empty(samples, batch, 3, height, width)
    rows = max(1, PIXELS_AT_ONCE // (samples * batch * width))
    for top in range(0, height, rows):
        strip = (..., slice(top, top + rows), slice(None))
        rgb[strip] = lab_to_rgb(fit_gamut(torch.cat([lightness[strip], ab[strip]], dim=2)))
    return rgb


def check_gray(gray: Tensor) -> None:
    """Raise TypeError or ValueError unless it is gray pictures, floating point in [0, 1], (B, 1, H, W)."""
    # Rounding may carry a computed gray a little past the ends.
    inside(image(gray, 1, "gray", batch=True), "gray", 0, 1, slack=1e-3)


def true_rgb(batch: dict[str, Tensor]) -> Tensor:
    """Give a training batch's pictures, (B, 3, H, W). Raises TypeError or ValueError where there are none."""
    if not isinstance(batch, dict):
        raise TypeError(f"batch must be a dict of tensors; got {came(batch)}")
    if "rgb" not in batch:
        raise ValueError(f"batch must have 'rgb'; it has {', '.join(map(str, batch)) or 'nothing'}")
    return image(batch["rgb"], 3, "rgb", unit=True, batch=True)


def fitting(x: Tensor, network: nn.Module, name: str = "lightness", channels: int = 1) -> Tensor:
    """Give pictures (B, channels, H, W) in the dtype and on the device of a network's weights.

    Raises TypeError or ValueError for anything else.
    """
    return image(x, channels, name, batch=True).to(next(network.parameters()))


def asked(
    model: Colorizer, lightness: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, int]:
    """Give the arguments of `chroma`, checked."""
    if not isinstance(generator, (torch.Generator, type(None))):
        raise TypeError(f"generator must be a torch.Generator or None; got {came(generator)}")
    lightness = fitting(lightness, model)
    if seen(lightness):
        finite(lightness, "lightness")
    return lightness, whole(samples, "samples", 1)
