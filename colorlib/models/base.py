"""What every colorizer has in common: gray in, chroma from the model, the input's own lightness out.

The checks of arguments raise TypeError for another type and ValueError for another shape, range or word.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, NamedTuple, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import came, finite, flag, image, inside, listed, seen, whole
from colorlib.classic import corrected
from colorlib.color.spaces import fitted_rgb, gray_to_lightness, widened
from colorlib.training import Batch, Recipe

# The last step, chroma joined with lightness, goes over a large picture in strips of rows of so many pixels:
# it needs some twenty numbers a pixel, and a photograph may have fifty million pixels.
PIXELS_AT_ONCE = 2**18
STROKES_SIZE = 256  # strokes correct chroma at so many pixels along the longer side
AB_SCALE = 110  # no color of sRGB has an a or b beyond +-110: divided by it, the colors are in [-1, 1]
MODELS: dict[str, type[Colorizer]] = {}  # by their names on the command line, in the order of their files


class Knob(NamedTuple):
    """A setting of one coloring, read from the signature of a model's ``chroma``."""

    name: str
    kind: type  # float, int, bool, str, or Tensor for a picture such as a mask
    default: Any
    help: str


class Colorizer(nn.Module):
    """Base class of the models: a subclass with a ``command`` is found by the library and its command line.

    A model writes two methods: :meth:`loss`, for the trainer, and :meth:`chroma`, the color that it gives to
    a lightness; :meth:`colorize` does the rest, the same for all. A model of two players, such as a GAN, has
    ``players()`` in place of a loss, see :class:`colorlib.training.Player`. Three hooks stand ready for a
    model that needs them: :meth:`for_data`, :meth:`adapt` and :meth:`rebuild`.

    Attributes
    ----------
    command : str
        Name on the command line, stated by the class.
    recipes : dict of str to Recipe
        Settings of training runs by name, stated by the class. ``"quick"``: two CPU cores and the world,
        about a minute; ``"world"`` and others beginning so: the world, for longer; ``"photographs"``: small
        photographs, hours of a CPU; ``"full"``: a GPU and photographs; ``"paper"``: as published.
    image_size : int or None
        Shorter side in pixels of the pictures that the model has learned from. What it knows is how things
        look at that size, so :meth:`colorize` shows it larger pictures reduced to it. None: their own size.
    guided : bool
        Whether :meth:`colorize` enlarges chroma by a guided filter where it is not told otherwise.
    draws : bool
        Whether chance is at work with the knobs left as they are, so that samples differ.
    settings : dict
        Arguments with which the same model can be built again, without its tensors.
    """

    command: ClassVar[str] = ""
    recipes: ClassVar[dict[str, Recipe]] = {}
    image_size: int | None = None
    guided: bool = False
    draws: bool = False
    settings: dict = {}

    def __init_subclass__(cls, **arguments):
        super().__init_subclass__(**arguments)
        if name := vars(cls).get("command"):
            other = MODELS.setdefault(name, cls)
            if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
                raise ValueError(f"command must be no other model's; {other.__name__} has {name!r}")
            MODELS[name] = cls

    @classmethod
    def for_data(cls, colors: Callable[[], Tensor], settings: dict) -> Colorizer:
        """Build a model to train. ``colors()`` measures the data where that is asked for: ab, (N, 2)."""
        return cls(**settings)

    def adapt(self, colors: Callable[[], Tensor], settings: dict) -> None:
        """Fit trained weights to other data before they learn on; see :meth:`for_data`."""

    @classmethod
    def rebuild(cls, settings: dict, tensors: dict[str, Tensor]) -> Colorizer:
        """Build the model of a weights file, which may be of an earlier version; its tensors come later."""
        known = inspect.signature(cls).parameters
        if unknown := sorted(settings.keys() - known):
            more = f" and {len(unknown) - 3} more" * (len(unknown) > 3)
            raise ValueError(
                f"{cls.__name__} has no settings {', '.join(unknown[:3])}{more}; a newer version may have "
                "them"
            )
        # No download: the file's tensors take the place of such weights.
        return cls(**{**settings, **({"pretrained": False} if "pretrained" in known else {})})

    def loss(self, batch: Batch) -> Tensor:
        """Give the training loss of a batch: a scalar, or a pair of it and a dict of scalars to be noted.

        ``batch["rgb"]`` is (B, 3, H, W) in [0, 1]; beside it lies whatever else the data has.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def chroma(self, lightness: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """Give the ab of a lightness, (samples, B, 2, H, W) or smaller, for L in [0, 100], (B, 1, H, W).

        :meth:`colorize` calls it without gradient and in evaluation mode. The generator, on the device of
        ``lightness``, is the only source of chance. Colors outside the sRGB gamut are allowed.

        A model adds its knobs as keyword-only arguments with defaults, such as ``temperature:
        Annotated[float, "below 1: likely colors only"] = 1.0``: one that says in words what it does is an
        option of the command line, too.
        """
        raise NotImplementedError(f"{type(self).__name__} has no chroma")

    @classmethod
    def knobs(cls) -> list[str]:
        """Name the settings that :meth:`colorize` takes for this model, such as ``"temperature"``."""
        arguments = inspect.signature(cls.chroma).parameters.values()
        return [p.name for p in arguments if p.kind is p.KEYWORD_ONLY]

    @classmethod
    def options(cls) -> list[Knob]:
        """List the knobs that have a text of help, as options of the command line."""
        arguments = inspect.signature(cls.chroma).parameters
        hints = get_type_hints(cls.chroma, include_extras=True)
        listed = []
        for name in cls.knobs():
            if get_origin(hints.get(name)) is Annotated:
                hint, text, *_ = get_args(hints[name])
                kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
                listed.append(Knob(name, kinds[0], arguments[name].default, text))
        return listed

    @torch.no_grad()
    def colorize(
        self,
        gray: Tensor,
        samples: int = 1,
        seed: int | None = None,
        *,
        image_size: int | None = None,
        guided: bool | None = None,
        strokes: tuple[Tensor, Tensor] | None = None,
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
        image_size : int, optional
            The model sees pictures whose shorter side is longer than this reduced to it, and its chroma is
            enlarged again; the lightness keeps every detail. None: the model's own.
        guided : bool, optional
            Chroma that is smaller than the picture is enlarged by a guided filter, which gives it the edges
            of the lightness; False: by bilinear interpolation, which lets colors run over edges. None: the
            model's own.
        strokes : tuple of Tensor, optional
            Colors that the user wants: a mask, bool, (B, 1, H, W), True on strokes, and their ab, (B, 2, H,
            W), as :func:`colorlib.classic.strokes_of` gives them. The things that they touch follow them, by
            :func:`colorlib.classic.corrected`, at 256 pixels along the longer side; the rest is the model's.
        **knobs
            The model's own, listed with its ``chroma``.

        Returns
        -------
        Tensor
            RGB in [0, 1], (samples, B, 3, H, W), on the model's device; float32, or float64 where ``gray``
            is.
        """
        strips = self.strips(
            gray, samples, seed, image_size=image_size, guided=guided, strokes=strokes, **knobs
        )
        rgb, top = None, 0
        for strip in strips:
            bottom = top + strip.shape[-2]
            if rgb is None:
                if bottom == gray.shape[-2]:
                    return strip
                rgb = strip.new_empty(*strip.shape[:-2], *gray.shape[-2:])
            rgb[..., top:bottom, :] = strip
            top = bottom
        return rgb

    def strips(
        self,
        gray: Tensor,
        samples: int = 1,
        seed: int | None = None,
        *,
        image_size: int | None = None,
        guided: bool | None = None,
        strokes: tuple[Tensor, Tensor] | None = None,
        **knobs,
    ) -> Iterator[Tensor]:
        """Color gray pictures as :meth:`colorize` does, and give the result in strips, from top to bottom.

        For a photograph of fifty million pixels, whose colors in floating point would fill 600 MB; its gray
        in half precision, which is enough for 8 bits, fills 100 and is widened strip by strip. A strip
        has about 250,000 pixels, counting all samples, and can be brought to 8 bits and put away before the
        next one is asked for. Arguments are those of :meth:`colorize`. The model does its work in this call;
        what is left for each strip is to join chroma and lightness.

        Returns
        -------
        Iterator of Tensor
            RGB in [0, 1], (samples, B, 3, rows, W), with at least one row each: together the H rows of
            :meth:`colorize`, bit by bit.

        Examples
        --------
        >>> import torch
        >>> from colorlib.models import ResNetRegressor
        >>> model, gray = ResNetRegressor.small(), torch.rand(1, 1, 64, 48)
        >>> strips = list(model.strips(gray))
        >>> torch.equal(torch.cat(strips, -2), model.colorize(gray))
        True
        """
        check_gray(gray)
        samples = whole(samples, "samples", 1)
        size = self.image_size if image_size is None else whole(image_size, "image_size", 1)
        strokes = None if strokes is None else _check_strokes(strokes, gray)
        guided = self.guided if guided is None else flag(guided, "guided")
        # What a generator takes.
        seed = None if seed is None else whole(seed, "seed", -(2**63), 2**64 - 1)
        known = self.knobs()
        for name in knobs:
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no knob {name!r}; it has {', '.join(known) or 'none'}"
                )

        weight = next(self.parameters())
        gray = gray.detach().to(weight.device)
        generator = torch.Generator(weight.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        with evaluating(self), torch.no_grad():
            seen = _lightness(gray, _reduced(gray.shape[-2:], size))
            ab = self.chroma(seen.to(weight.dtype), samples, generator, **knobs).to(seen)
            if strokes is not None:
                ab = _corrected(gray, ab, *(x.to(gray.device) for x in strokes))
            slope = None
            if guided and ab.shape[-2:] != gray.shape[-2:]:
                slope, ab = guided_coefficients(_lightness(gray, ab.shape[-2:]) / 100, ab)
        rows = max(1, PIXELS_AT_ONCE // (samples * len(gray) * gray.shape[-1]))
        return (_join(gray, ab, slope, top, rows) for top in range(0, gray.shape[-2], rows))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own: some may be frozen."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _lightness(gray: Tensor, size: Sequence[int]) -> Tensor:
    """CIE L of gray pictures (B, 1, H, W), reduced to a size: (B, 1, h, w).

    It goes over the pictures in strips of rows: the lightness of a large one is never there as a whole.
    """
    rows = max(1, PIXELS_AT_ONCE // (len(gray) * gray.shape[-1]))
    strips = (gray_to_lightness(widened(strip).clamp(0, 1)) for strip in gray.split(rows, dim=2))
    if tuple(size) == tuple(gray.shape[-2:]):
        return torch.cat(list(strips), dim=2)

    # With antialiasing each pixel is a mean of those it covers: texture doesn't turn into noise. Width
    # is reduced first, then height, as torch does where it is given both.
    def resized(x, height, width):
        return F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)

    narrow = torch.cat([resized(strip, strip.shape[2], size[1]) for strip in strips], dim=2)
    return resized(narrow, *size)


def _corrected(gray: Tensor, ab: Tensor, mask: Tensor, strokes_ab: Tensor) -> Tensor:
    """Chroma (S, B, 2, h, w) corrected by strokes of the pictures' own size; it may come out larger."""
    scale = min(1, STROKES_SIZE / max(gray.shape[-2:]))
    size = [max(1, round(side * scale)) for side in gray.shape[-2:]]
    # A pixel that has a bit of a stroke belongs to it, with the mean color of that bit: a thin one stays.
    share = F.adaptive_avg_pool2d(mask.to(ab), size)
    color = F.adaptive_avg_pool2d(torch.where(mask, strokes_ab, 0).to(ab), size) / share.clamp(min=1e-9)

    def resized(x, size):
        flat = F.interpolate(x.flatten(0, 1), size, mode="bilinear", align_corners=False, antialias=True)
        return flat.unflatten(0, x.shape[:2])

    seen = resized(ab, size)
    sets = (x.expand(len(ab), *x.shape) for x in (_lightness(gray, size), share > 0, color))
    lightness, mask, color = sets
    change = corrected(lightness.clamp(0, 100), seen, mask, color) - seen
    size = [max(sides) for sides in zip(size, ab.shape[-2:], strict=True)]
    return resized(ab, size) + resized(change, size)


def _check_strokes(strokes, gray: Tensor) -> list[Tensor]:
    pair = listed(strokes, "strokes")
    if len(pair) != 2:
        raise ValueError(f"strokes must be a pair of mask and ab; got {len(pair)} things")
    mask, ab = pair
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"strokes must begin with a mask, a tensor of bool; got {came(mask)}")
    if mask.shape != gray.shape:
        shapes = f"{tuple(gray.shape)}; got {tuple(mask.shape)}"
        raise ValueError(f"strokes must have a mask of gray's shape, {shapes}")
    image(ab, 2, "strokes' ab", batch=True)
    if (len(ab), *ab.shape[-2:]) != (len(gray), *gray.shape[-2:]):
        raise ValueError(
            f"strokes must have an ab of gray's size, {tuple(gray.shape)}; got {tuple(ab.shape)}"
        )
    finite(torch.where(mask.to(ab.device), ab, 0), "strokes' ab")
    return pair


def _reduced(size: Sequence[int], shorter: int | None) -> Sequence[int]:
    """The size of a picture whose shorter side is brought to `shorter` where it is longer."""
    if shorter is None or min(size) <= shorter:
        return size
    scale = shorter / min(size)
    return [max(1, round(side * scale)) for side in size]


@torch.no_grad()
def _join(gray: Tensor, ab: Tensor, slope: Tensor | None, top: int, rows: int) -> Tensor:
    """Some rows of gray (B, 1, H, W), colored with ab (S, B, 2, h, w): RGB (S, B, 3, rows, W).

    ab is enlarged to the pictures' size. With a slope, of ab's shape, the lightness times it is added.
    """
    size = tuple(gray.shape[-2:])
    part = gray[..., top : top + rows, :]
    lightness = _lightness(part, part.shape[-2:]).expand(len(ab), -1, -1, -1, -1)
    chroma = _enlarged(ab, top, part.shape[-2], size)
    if slope is not None:
        chroma = torch.addcmul(chroma, _enlarged(slope, top, part.shape[-2], size), lightness / 100)
    return fitted_rgb(lightness, chroma)


def guided_coefficients(
    guide: Tensor, chroma: Tensor, radius: int = 1, eps: float = 3e-3
) -> tuple[Tensor, Tensor]:
    """Fit chroma (..., B, 2, h, w) as slope times guide plus offset in each window of 2 radius + 1 pixels.

    The guide is (B, 1, h, w) in [0, 1]. Enlarged, slope and offset make of a larger guide a chroma that has
    its edges. The more ``eps`` exceeds the guide's variance in a window, the flatter the slope there. Windows
    end at the picture's edge.

    Sources: He, Sun, Tang, "Guided Image Filtering", TPAMI 2013, section 3; He, Sun, "Fast Guided Filter",
    2015.
    """

    def mean(x: Tensor) -> Tensor:
        flat = x.flatten(0, -4)
        flat = F.avg_pool2d(flat, 2 * radius + 1, 1, radius, count_include_pad=False)
        return flat.unflatten(0, x.shape[:-3])

    center, middle = mean(guide), mean(chroma)
    slope = (mean(guide * chroma) - center * middle) / (mean(guide * guide) - center * center + eps)
    return mean(slope), mean(middle - slope * center)


def _enlarged(x: Tensor, top: int, rows: int, size: tuple[int, int]) -> Tensor:
    """Some rows of maps (..., h, w), enlarged to a size by bilinear interpolation."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x[..., top : top + rows, :]
    place = (torch.arange(top, top + rows, device=x.device) + 0.5) * (x.shape[-2] / size[0]) - 0.5
    place = place.clamp(0, x.shape[-2] - 1)
    above = place.long()
    below, share = (above + 1).clamp(max=x.shape[-2] - 1), (place - above).to(x)[:, None]
    x = torch.lerp(x[..., above, :], x[..., below, :], share)
    flat = F.interpolate(x.flatten(0, -4), (rows, size[1]), mode="bilinear", align_corners=False)
    return flat.unflatten(0, x.shape[:-3])


def check_gray(gray: Tensor) -> None:
    """Raise unless it is gray pictures, floating point in [0, 1], (B, 1, H, W)."""
    # Rounding may carry a computed gray a little past the ends.
    inside(image(gray, 1, "gray", batch=True), "gray", 0, 1, slack=1e-3)


def true_rgb(batch: dict[str, Tensor]) -> Tensor:
    """Give a training batch's pictures, (B, 3, H, W)."""
    if not isinstance(batch, dict):
        raise TypeError(f"batch must be a dict of tensors; got {came(batch)}")
    if "rgb" not in batch:
        raise ValueError(f"batch must have 'rgb'; it has {', '.join(map(str, batch)) or 'nothing'}")
    return image(batch["rgb"], 3, "rgb", unit=True, batch=True)


def fitting(x: Tensor, network: nn.Module, name: str = "lightness", channels: int = 1) -> Tensor:
    """Give pictures (B, channels, H, W) in the dtype and on the device of a network's weights."""
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
