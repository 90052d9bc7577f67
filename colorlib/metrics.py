"""How good a coloring is: numbers that compare it with the true colors.

Pictures are sRGB in [0, 1], (..., 3, H, W), both of one size; leading dimensions broadcast. Distances are
those of the ab plane in CIE units. For anything else each function raises TypeError or ValueError.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from colorlib._check import came, finite, floating, image, listed, seen, whole
from colorlib.color import (
    ab_bins,
    colorfulness,
    fit_gamut,
    lab_to_rgb,
    rgb_to_gray,
    rgb_to_lab,
    soft_encode,
)
from colorlib.models import Colorizer
from colorlib.training.batches import as_dict

THRESHOLDS = 150  # the accuracy curve's last threshold, CIE units, as published
HUE_FROM, HUE_WITHIN = 10, math.pi / 6  # the chroma above which a hue counts, and how near it must come
SEEN = 0.5  # the chroma below which a pixel is gray: rounding gives gray ones some
NUMBERS = ("ab error", "ab RMSE", "accuracy", "balanced", "hue", "PSNR", "chroma", "colorful")


def _pair(rgb: Tensor, truth: Tensor) -> None:
    _pictures(rgb)
    _pictures(truth, "truth")
    if rgb.shape[-2:] != truth.shape[-2:]:
        shapes = f"{tuple(rgb.shape)} and {tuple(truth.shape)}"
        raise ValueError(f"rgb and truth must be of one size; got {shapes}")
    _broadcast("rgb and truth", rgb, truth)


def _pictures(rgb: Tensor, name: str = "rgb") -> Tensor:
    if 0 in image(rgb, 3, name, unit=True).shape[-2:]:
        raise ValueError(f"{name} must have at least one pixel; got {tuple(rgb.shape)}")
    return finite(rgb, name) if seen(rgb) else rgb


def _broadcast(names: str, one: Tensor, other: Tensor) -> None:
    try:
        torch.broadcast_shapes(one.shape, other.shape)
    except RuntimeError:
        shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
        raise ValueError(f"{names} must have shapes that broadcast; got {shapes}") from None


def ab_distance(rgb: Tensor, truth: Tensor) -> Tensor:
    """Give the distance of the colors pixel by pixel: to (..., H, W).

    >>> ab_distance(torch.eye(3)[:, :, None], torch.full((3, 3, 1), 0.5)).round().flatten()
    tensor([105., 120., 134.])
    """
    _pair(rgb, truth)
    return (rgb_to_lab(rgb)[..., 1:, :, :] - rgb_to_lab(truth)[..., 1:, :, :]).norm(dim=-3)


def ab_error(rgb: Tensor, truth: Tensor) -> Tensor:
    """Give the mean distance of the colors, one number a picture.

    Left gray, a picture has its mean chroma as error.
    """
    return ab_distance(rgb, truth).mean((-2, -1))


def ab_rmse(rgb: Tensor, truth: Tensor) -> Tensor:
    """Give the root of the mean squared distance, one number a picture: what a squared loss makes small."""
    return ab_distance(rgb, truth).square().mean((-2, -1)).sqrt()


def mean_chroma(rgb: Tensor) -> Tensor:
    """Give the mean distance of the colors from gray, one number a picture."""
    return rgb_to_lab(_pictures(rgb))[..., 1:, :, :].norm(dim=-3).mean((-2, -1))


def accuracy(rgb: Tensor, truth: Tensor) -> Tensor:
    """Give the area under the curve of accuracy, from 0 to 1, one number a picture; 1 is perfect.

    The curve is the share of the pixels within a distance, for distances of 0 to 150 in whole steps. Source:
    Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 3.1.

    >>> accuracy(torch.rand(3, 8, 8), torch.full((3, 8, 8), 0.5)) < 1
    tensor(True)
    """
    return _steps(ab_distance(rgb, truth)).mean((-2, -1))


def _steps(distance: Tensor) -> Tensor:
    # A pixel at distance d is within each threshold from ceil(d) up: its share of the 151 steps.
    return (THRESHOLDS + 1 - distance.ceil()).clamp(min=0) / (THRESHOLDS + 1)


def psnr(rgb: Tensor, truth: Tensor) -> Tensor:
    """Give the peak signal-to-noise ratio over all three channels in decibels; infinite for equal pictures.

    >>> psnr(torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.1))
    tensor(20.)
    """
    _pair(rgb, truth)
    return -10 * (rgb - truth).square().mean((-3, -2, -1)).log10()


def divergence(exact: Tensor, predicted: Tensor, dim: int = 1) -> Tensor:
    """Give the Kullback-Leibler divergence in nats: what is lost by taking `predicted` for `exact`.

    Both are probabilities that sum to 1 over `dim`, which the result lacks, and of shapes that broadcast. It
    is the sum of p log(p / q): 0 where both are equal, infinite where `predicted` gives 0 to what can happen.

    >>> divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]), dim=0)
    tensor(0.6931)
    """
    for name, value in (("exact", exact), ("predicted", predicted)):
        places = max(floating(value, name).dim(), 1)
        dim = whole(dim, "dim", -places, places - 1)
        total = value.sum(dim)
        if not (value >= 0).all() or not torch.allclose(total, torch.ones_like(total), atol=1e-3):
            raise ValueError(f"{name} must hold probabilities that sum to 1 over dimension {dim}")
    _broadcast("exact and predicted", exact, predicted)
    # xlogy: 0 log 0 is 0. Where p is 0 the ratio is never looked at; a q of 0 under p > 0 gives infinity.
    return (torch.xlogy(exact, exact) - torch.xlogy(exact, predicted)).sum(dim).clamp(min=0.0)


def best_constant(ab: Tensor) -> Tensor:
    """Give the one color that is nearest to many on average: their geometric median, (N, 2) to (2,).

    Painted everywhere it has the least ab error that a coloring of one color can have; a model that knows
    what it sees does better. Source: Weiszfeld, Tohoku Mathematical Journal 43, 1937.

    >>> best_constant(torch.tensor([[0.0, 0.0], [0.0, 0.0], [90.0, 0.0]])).round()
    tensor([0., 0.])
    """
    if floating(ab, "ab").dim() != 2 or ab.shape[1] != 2 or not len(ab):
        raise ValueError(f"ab must have shape (N, 2), N at least 1; got {tuple(ab.shape)}")
    points = finite(ab, "ab").cpu().double()
    middle = points.mean(0)
    for _ in range(200):
        # A point at the very place would weigh without end.
        weights = 1 / (points - middle).norm(dim=1).clamp(min=1e-3)
        before, middle = middle, (points * weights[:, None]).sum(0) / weights.sum()
        if (middle - before).norm() < 1e-4:
            break
    return middle.to(ab)


def compare(rgb: Tensor, truth: Tensor) -> dict[str, float]:
    """Give the usual numbers of colorings, (B, 3, H, W) with B at least 1.

    Means over the pictures: ``"ab error"``, ``"ab RMSE"``, ``"accuracy"``, ``"chroma"``, the coloring's mean
    chroma, and ``"colorful"``, its :func:`colorlib.color.colorfulness`. Of all pictures taken together:

    - ``"balanced"``, the accuracy where every color counts the same, however rare: the mean over the color
      bins that occur in truth of the accuracy of their pixels (as Zhang, Isola, Efros, ECCV 2016, section
      3.1, who take the bins' shares from ImageNet).
    - ``"hue"``, of the pixels with a true chroma above 10 the share whose hue is right within 30 degrees; a
      gray pixel has none. NaN where there are no such pixels.
    - ``"PSNR"``, that of the squared error's mean. A mean of the pictures' own would say little: a picture
      that is gray in truth has none, or one above 100, when it is left gray.
    """
    tally = _Tally()
    tally.add(rgb, truth)
    return tally.numbers()


class _Tally:
    """Sums over pictures, from which come the numbers of :func:`compare`; it keeps no picture."""

    def __init__(self):
        self.pictures, self.sums = 0, {}
        # On the CPU, for not every device has float64.
        self.bins = torch.zeros(2, len(ab_bins()), dtype=torch.float64)  # the accuracies' sum, pixels
        self.hues = torch.zeros(2, dtype=torch.float64)  # pixels with the right hue, with any

    @torch.no_grad()
    def add(self, rgb: Tensor, truth: Tensor) -> None:
        _pair(rgb, truth)
        if rgb.dim() != 4 or rgb.shape != truth.shape:
            shapes = f"{tuple(rgb.shape)} and {tuple(truth.shape)}"
            raise ValueError(f"rgb and truth must both be (B, 3, H, W); got {shapes}")
        ab, true = (rgb_to_lab(each)[:, 1:] for each in (rgb, truth))
        distance = (ab - true).norm(dim=1)
        steps = _steps(distance)
        each = {
            "ab error": distance.mean((1, 2)),
            "ab RMSE": distance.square().mean((1, 2)).sqrt(),
            "accuracy": steps.mean((1, 2)),
            "PSNR": (rgb - truth).square().mean((1, 2, 3)),
            "chroma": ab.norm(dim=1).mean((1, 2)),
            "colorful": colorfulness(rgb),
        }
        self.pictures += len(rgb)
        for name, values in each.items():
            self.sums[name] = self.sums.get(name, 0) + values.cpu().double().sum()
        nearest = soft_encode(true, 1)[0].flatten().cpu()
        count = self.bins.shape[1]
        sums = torch.bincount(nearest, steps.flatten().cpu().double(), count)
        self.bins += torch.stack([sums, torch.bincount(nearest, minlength=count)])
        # The cosine of the angle between both colors, times both chromas.
        along = (ab * true).sum(1)
        colored = true.norm(dim=1) > HUE_FROM
        right = (along >= math.cos(HUE_WITHIN) * ab.norm(dim=1) * true.norm(dim=1)) & (ab.norm(dim=1) > SEEN)
        self.hues += torch.stack([(right & colored).sum(), colored.sum()]).cpu()

    def numbers(self) -> dict[str, float]:
        if not self.pictures:
            raise ValueError("there must be at least one picture to compare; got none")
        means = {name: value / self.pictures for name, value in self.sums.items()}
        means["PSNR"] = -10 * means["PSNR"].log10()
        steps, pixels = self.bins[:, self.bins[1] > 0]
        means |= {"balanced": (steps / pixels).mean(), "hue": self.hues[0] / self.hues[1]}
        return {name: float(means[name]) for name in NUMBERS}


@torch.no_grad()
def evaluate(model, data, indices, **knobs) -> dict[str, dict[str, float]]:
    """Color pictures whose colors are known, and compare: a model, leaving them gray, and one color for all.

    The model, a `Colorizer`, colors each picture once, with seed 0 and the `knobs` that its `colorize` takes.
    The data are those of :func:`colorlib.training.fit`, of which `indices` names at least one picture; they
    are gone through twice, and never held all at once. Pictures that a :class:`colorlib.data.Folder` has a
    stand-in for are left out; none left raises ValueError.

    Gives the numbers of :func:`compare` for ``"model"``, ``"gray"``, ``"constant"`` and ``"truth"``. The
    constant is the :func:`best_constant` of these very pictures, where sRGB can show it at their lightness:
    who paints all in it must have seen their colors, and is yet easily beaten by who sees what is on them.
    """
    if not isinstance(model, Colorizer):
        raise TypeError(f"model must be a colorizer; got {came(model)}")
    if not hasattr(data, "batch"):
        raise TypeError(f"data must have a method batch(indices, device); got {came(data)}")
    indices = listed(indices, "indices")
    if not indices:
        raise ValueError("indices must name at least one picture; got none")
    device = next(model.parameters()).device
    constant = best_constant(torch.cat([_some_colors(truth) for truth in _truths(data, indices, device)]))
    tallies = {name: _Tally() for name in ("model", "gray", "constant", "truth")}
    for truth in _truths(data, indices, device):
        gray = rgb_to_gray(truth)
        left = gray.expand(-1, 3, -1, -1)
        painted = rgb_to_lab(left).clone()
        painted[:, 1:] = constant.to(painted)[:, None, None]
        colored = model.colorize(gray, seed=0, **knobs)[0]
        for name, rgb in (
            ("model", colored),
            ("gray", left),
            ("constant", lab_to_rgb(fit_gamut(painted))),
            ("truth", truth),
        ):
            tallies[name].add(rgb, truth)
    return {name: tally.numbers() for name, tally in tallies.items()}


def _truths(data, indices: list, device) -> Iterator[Tensor]:
    """The pictures (B, 3, H, W) in parts of at most 32, without stand-ins."""
    found = False
    for start in range(0, len(indices), 32):
        part = indices[start : start + 32]
        truth = as_dict(data.batch(part, device))["rgb"]
        unfit = getattr(data, "unfit", ())
        truth = truth[[int(index) not in unfit for index in part]]
        if len(truth):
            found = True
            yield truth
    if not found:
        raise ValueError(f"none of the {len(indices)} pictures asked for can be read")


def _some_colors(rgb: Tensor) -> Tensor:
    """Colors of pictures, (N, 2): of each one at most about a thousand pixels, evenly spread."""
    step = max(1, math.isqrt(rgb.shape[-2] * rgb.shape[-1]) // 32)
    return rgb_to_lab(rgb[..., step // 2 :: step, step // 2 :: step])[:, 1:].movedim(1, -1).reshape(-1, 2)
