"""How good a coloring is: numbers that compare it with the true colors.

Pictures are sRGB in [0, 1], (..., 3, H, W), both of one size; leading dimensions broadcast. Distances are
those of the ab plane in CIE units. For anything else each function raises TypeError or ValueError.
"""

import torch
from torch import Tensor

from colorlib._check import came, finite, floating, image, listed, seen, whole
from colorlib.color import rgb_to_gray, rgb_to_lab
from colorlib.models import Colorizer
from colorlib.training.batches import as_dict

THRESHOLDS = 150  # the accuracy curve's last threshold, CIE units, as published


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
    distance = ab_distance(rgb, truth)
    # A pixel at distance d is within each threshold from ceil(d) up: its share of the 151 steps.
    steps = (THRESHOLDS + 1 - distance.ceil()).clamp(min=0) / (THRESHOLDS + 1)
    return steps.mean((-2, -1))


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


def compare(rgb: Tensor, truth: Tensor) -> dict[str, float]:
    """Give the usual numbers of colorings, (B, 3, H, W) with B at least 1, each a mean over the pictures.

    They are ``"ab error"``, ``"ab RMSE"``, ``"accuracy"``, ``"PSNR"``, and ``"chroma"``, the coloring's mean
    chroma. The PSNR is that of the squared error's mean over all pictures. A mean of the pictures' own would
    say little: a picture that is gray in truth has none, or one above 100, when it is left gray.
    """
    return _means(_each(rgb, truth))


def _each(rgb: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Every picture's numbers, (B,); the squared error in place of the PSNR."""
    _pair(rgb, truth)
    return {
        "ab error": ab_error(rgb, truth),
        "ab RMSE": ab_rmse(rgb, truth),
        "accuracy": accuracy(rgb, truth),
        "PSNR": (rgb - truth).square().mean((-3, -2, -1)),
        "chroma": mean_chroma(rgb),
    }


def _means(numbers: dict[str, Tensor]) -> dict[str, float]:
    if not numbers["PSNR"].numel():
        raise ValueError("there must be at least one picture to compare; got none")
    # On the CPU, for not every device has float64.
    means = {name: value.cpu().double().mean() for name, value in numbers.items()}
    means["PSNR"] = -10 * means["PSNR"].log10()
    return {name: float(mean) for name, mean in means.items()}


@torch.no_grad()
def evaluate(model, data, indices, **knobs) -> dict[str, dict[str, float]]:
    """Color pictures whose colors are known, and compare: the model, and leaving them gray.

    The model, a `Colorizer`, colors each picture once, with seed 0 and the `knobs` that its `colorize` takes.
    The data are those of :func:`colorlib.training.fit`, of which `indices` names at least one picture.
    Pictures that a :class:`colorlib.data.Folder` has a stand-in for are left out; none left raises
    ValueError. Gives the numbers of :func:`compare` for each of ``"model"``, ``"gray"`` and ``"truth"``.
    """
    if not isinstance(model, Colorizer):
        raise TypeError(f"model must be a colorizer; got {came(model)}")
    if not hasattr(data, "batch"):
        raise TypeError(f"data must have a method batch(indices, device); got {came(data)}")
    indices = listed(indices, "indices")
    if not indices:
        raise ValueError("indices must name at least one picture; got none")
    parts: dict[str, list[dict[str, Tensor]]] = {"model": [], "gray": [], "truth": []}
    device = next(model.parameters()).device
    for start in range(0, len(indices), 32):
        part = indices[start : start + 32]
        truth = as_dict(data.batch(part, device))["rgb"]
        unfit = getattr(data, "unfit", ())
        truth = truth[[int(index) not in unfit for index in part]]
        if not len(truth):
            continue
        gray = rgb_to_gray(truth)
        colored = model.colorize(gray, seed=0, **knobs)[0]
        for name, rgb in (("model", colored), ("gray", gray.expand(-1, 3, -1, -1)), ("truth", truth)):
            parts[name].append(_each(rgb, truth))
    if not parts["truth"]:
        raise ValueError(f"none of the {len(indices)} pictures asked for can be read")
    return {
        name: _means({figure: torch.cat([each[figure] for each in of_name]) for figure in of_name[0]})
        for name, of_name in parts.items()
    }
