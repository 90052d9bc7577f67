"""Checks of the capstone: a colorizer of one's own, measured against the best that there can be."""

import functools

import torch
from torch import Tensor

from colorlib import color
from colorlib._check import image
from colorlib.check.engine import Case, Mistake, Task
from colorlib.data import World

SIZE = 32
PUBLIC = range(900_000, 900_012)  # scenes of the world that everybody may look at


def excess(rgb: Tensor, scenes, law) -> float:
    """How far a coloring is from the best one, in CIE units: exact, for the law of the scenes is known.

    RGB (B, 3, H, W) of a batch of scenes with their law. The expected squared error of a color is the
    variance of the true one, which nobody can avoid, plus the squared distance to the mean of the law. The
    root of the mean of the second is given: 0 is the optimum.

    >>> world = World(8)
    >>> scenes = world.batch([0])
    >>> round(excess(color.lab_to_rgb(torch.cat([scenes.lightness, world.law.mean(scenes)], 1)), scenes,
    ...     world.law), 1)
    0.0
    """
    ab = color.rgb_to_lab(image(rgb, 3, "rgb", unit=True, batch=True))[:, 1:]
    return float((ab - law.mean(scenes)).square().sum(1).mean().sqrt())


def lightness_error(rgb: Tensor, scenes) -> float:
    """The mean change of lightness by a coloring, in CIE units: RGB (B, 3, H, W) of a batch of scenes.

    >>> scenes = World(8).batch([0])
    >>> lightness_error(scenes.gray.expand(-1, 3, -1, -1), scenes) < 0.1
    True
    """
    lab = color.rgb_to_lab(image(rgb, 3, "rgb", unit=True, batch=True))
    return float((lab[:, :1] - scenes.lightness).abs().mean())


def baselines(scenes, law) -> tuple[float, float]:
    """The excess of leaving the pictures gray, and that of the one best color for all pixels."""
    mean = law.mean(scenes)
    constant = mean.mean((0, 2, 3), keepdim=True)
    return tuple(float((mean - ab).square().sum(1).mean().sqrt()) for ab in (torch.zeros(1), constant))


@functools.cache
def _public():
    world = World(SIZE)
    return world.batch(PUBLIC), world.law


def _judge(value: Tensor):
    scenes, law = _public()
    wanted = (len(scenes), 3, SIZE, SIZE)
    shape = tuple(value.shape)
    said = f"Your value has the shape {shape}; wanted was {wanted}"
    if shape == (wanted[0], SIZE, SIZE, 3):
        return "channels last", said
    if shape == (wanted[0], 2, SIZE, SIZE):
        return "ab alone", said
    if shape != wanted:
        return "shape", said
    value = value.float()
    if not value.isfinite().all():
        return "nan", f"Of your {value.numel()} numbers {int((~value.isfinite()).sum())} are not finite"
    least, most = float(value.min()), float(value.max())
    said = f"Your numbers run from {least:.3g} to {most:.3g}"
    if most > 16:
        return "0 to 255", said
    if least < -0.01 or most > 1.01:
        return "outside", said
    value = value.clamp(0, 1)
    off = lightness_error(value, scenes)
    if (value - value[:1]).abs().max() < 1e-3:
        return "one picture", "Your twelve pictures are all the same one"
    if off > 1:
        return "lightness", f"The lightness of your pictures is off by {off:.1f} CIE units on average"
    mine, (gray, constant) = excess(value, scenes, law), baselines(scenes, law)
    said = f"Your excess is {mine:.1f}; gray has {gray:.1f}, and the best single color {constant:.1f}"
    if abs(mine - gray) < 0.05 * gray and color.rgb_to_lab(value)[:, 1:].abs().mean() < 1:
        return "gray", said
    if mine >= gray:
        return "worse than gray", said
    if mine >= constant:
        return "one color", said
    return None


WANTS = (
    "Wanted is a picture in color for each gray one: RGB from 0 to 1, with the lightness of the gray "
    "picture, and colors whose excess over the optimum is below that of the one best color for everything. "
    "The optimum is the mean that the drawn world's law gives; its excess is 0."
)
COLORIZE = Case(
    of="colorings of twelve gray scenes of 32 by 32 pixels from the drawn world",
    ask=lambda f: f(_public()[0].gray.clone()),
    wanted=lambda: _public()[0].rgb,
    wants=WANTS,
    judge=_judge,
    mistakes=tuple(
        Mistake(key, lambda: None, says, look)
        for key, says, look in (
            (
                "channels last",
                "The channels stand last, as other libraries have them. In this course they come second.",
                "At the end, .movedim(-1, 1) brings the last dimension forward.",
            ),
            (
                "ab alone",
                "These are two channels of color alone. They have still to meet the lightness of the gray "
                "picture and to become RGB.",
                "color.rgb_to_lab of the gray picture, three times repeated, has L. Put L and ab together "
                "with torch.cat, and use color.lab_to_rgb.",
            ),
            (
                "0 to 255",
                "That is how files store pictures. Tensors in this course hold numbers from 0 to 1.",
                "Divide by 255 at the end, or leave out the line that multiplies.",
            ),
            (
                "outside",
                "Some of these colors are on no screen. That happens when lightness meets a color that is "
                "too strong for it.",
                "color.fit_gamut weakens such colors until they fit, and keeps L. Use it on Lab before "
                "color.lab_to_rgb; or clip, which changes L a little.",
            ),
            (
                "one picture",
                "Twelve different gray pictures came in, so the gray picture enters nowhere, or only the "
                "first of the batch is used.",
                "Look where gray is used in your function, and whether an index [0] has been left there.",
            ),
            (
                "lightness",
                "A viewer would see another picture, darker or lighter, and not the same one in color. What "
                "the gray picture tells is known; only color is to be guessed.",
                "Take L from the gray picture itself and guess ab alone. If you predict RGB, go to Lab "
                "afterward and exchange L.",
            ),
            (
                "gray",
                "So your pictures are still gray, or nearly so. Gray is a cautious answer, and not the best: "
                "meadows are green, and skies mostly blue.",
                "Is the color added at all, or multiplied by something small? Print the mean of ab, squared.",
            ),
            (
                "worse than gray",
                "Your colors are farther from the best ones than no color at all. Vivid colors in the wrong "
                "places cost more than they gain: an error counts squared.",
                "Are a and b exchanged, or is their sign turned? If you draw at random, take the mean of "
                "many draws: for a squared error nothing is better than the mean.",
            ),
            (
                "one color",
                "So your colors are better than none, and no better than one brownish tone over all. "
                "Nothing is yet gained from what the picture shows.",
                "Let the color depend on something: on the height in the picture first, as the sky is above, "
                "then on lightness, then on texture. A table of means is enough to begin with.",
            ),
        )
    ),
)


def _picture():
    from colorlib import show

    scenes, law = _public()
    best = color.lab_to_rgb(torch.cat([scenes.lightness, law.mean(scenes)], 1), clip=True)
    pictures = [*scenes.gray[:3], *best[:3], *scenes.rgb[:3]]
    titles = ["gray"] * 3 + ["the optimum: excess 0"] * 3 + ["drawn"] * 3
    return show.grid(pictures, titles, columns=3)


TASKS = (Task("colorize", "colorize(gray)", (COLORIZE,), _picture),)
