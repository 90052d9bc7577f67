"""How good a coloring is: numbers that compare it with the true colors."""

from __future__ import annotations

import torch
from torch import Tensor

from colorlib._check import came, floating, image, listed, whole
from colorlib.color import rgb_to_gray, rgb_to_lab
from colorlib.models import Colorizer
from colorlib.training.batches import as_dict

THRESHOLDS = 150  # the accuracy curve's last threshold, CIE units, as published


def _pair(rgb: Tensor, truth: Tensor) -> None:
    for name, value in (("rgb", rgb), ("truth", truth)):
        _pictures(value, name)
    if rgb.shape[-2:] != truth.shape[-2:]:
        raise ValueError(
            f"rgb and truth must be of one size; got {tuple(rgb.shape)} and {tuple(truth.shape)}"
        )
    _broadcast("rgb and truth", rgb, truth)


def _pictures(rgb: Tensor, name: str = "rgb") -> Tensor:
    if 0 in image(rgb, 3, name, unit=True).shape[-2:]:
        raise ValueError(f"{name} must have at least one pixel; got {tuple(rgb.shape)}")
    return rgb


def _broadcast(names: str, one: Tensor, other: Tensor) -> None:
    try:
        torch.broadcast_shapes(one.shape, other.shape)
    except RuntimeError:
        shapes = f"{tuple(one.shape)} and {tuple(other.shape)}"
        raise ValueError(f"{names} must have shapes that broadcast; got {shapes}") from None


def ab_distance(rgb: Tensor, truth: Tensor) -> Tensor:
    """Distance of the colors in the ab plane, pixel by pixel, in CIE units.

    Parameters
    ----------
    rgb, truth : Tensor
        RGB in [0, 1], (..., 3, H, W); leading dimensions are broadcast.

    Returns
    -------
    Tensor
        (..., H, W).

    Raises
    ------
    TypeError, ValueError
        For anything else than two pictures of one size.
    """
    _pair(rgb, truth)
    return (rgb_to_lab(rgb)[..., 1:, :, :] - rgb_to_lab(truth)[..., 1:, :, :]).norm(dim=-3)


def ab_error(rgb: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of the colors in the ab plane, CIE units: (..., 3, H, W) to one number a picture, (...).

    Leaving a picture gray has its mean chroma as the error. Arguments and errors as of :func:`ab_distance`.
    """
    return ab_distance(rgb, truth).mean((-2, -1))


def ab_rmse(rgb: Tensor, truth: Tensor) -> Tensor:
    """Root of the mean squared distance in the ab plane, CIE units: what a squared loss makes small.

    From (..., 3, H, W) to one number a picture, (...). Arguments and errors as of :func:`ab_distance`.
    """
    return ab_distance(rgb, truth).square().mean((-2, -1)).sqrt()


def mean_chroma(rgb: Tensor) -> Tensor:
    """Mean distance of the colors from gray in the ab plane, in CIE units: (..., 3, H, W) to (...).

    Raises
    ------
    TypeError, ValueError
        For anything else than pictures.
    """
    return rgb_to_lab(_pictures(rgb))[..., 1:, :, :].norm(dim=-3).mean((-2, -1))


def accuracy(rgb: Tensor, truth: Tensor) -> Tensor:
    """Area under the curve of accuracy: share of the pixels within a distance, its mean over the distances.

    The distance in the ab plane goes from 0 to 150 CIE units in whole steps. 1 is perfect.

    Parameters
    ----------
    rgb, truth : Tensor
        RGB in [0, 1], (..., 3, H, W).

    Returns
    -------
    Tensor
        One number from 0 to 1 a picture, (...).

    Raises
    ------
    TypeError, ValueError
        For anything else than two pictures of one size.

    Notes
    -----
    Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, section 3.1.
    """
    distance = ab_distance(rgb, truth)
    # A pixel at distance d is within each threshold from ceil(d) up: its share of the 151 steps.
    steps = (THRESHOLDS + 1 - distance.ceil()).clamp(min=0) / (THRESHOLDS + 1)
    return steps.mean((-2, -1))


def psnr(rgb: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels over all three channels: (..., 3, H, W) to (...).

    Infinite for equal pictures. Arguments and errors as of :func:`ab_distance`.
    """
    _pair(rgb, truth)
    return -10 * (rgb - truth).square().mean((-3, -2, -1)).log10()


def divergence(exact: Tensor, predicted: Tensor, dim: int = 1) -> Tensor:
    """Kullback-Leibler divergence: nats lost by taking `predicted` for `exact`.

    The sum over `dim` of p log(p / q). It is 0 where both are equal, and infinite where `predicted` gives 0
    to what can happen.

    Parameters
    ----------
    exact, predicted : Tensor
        Probabilities, of shapes that broadcast, summing to 1 over `dim`.
    dim : int
        The dimension of the outcomes.

    Returns
    -------
    Tensor
        In nats, without that dimension.

    Raises
    ------
    TypeError, ValueError
        For other than floating-point tensors, negative numbers, NaN, or sums that are not 1.
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
    """The usual figures of some colorings, each the mean over the pictures.

    Parameters
    ----------
    rgb, truth : Tensor
        RGB in [0, 1], (B, 3, H, W), at least one picture.

    Returns
    -------
    dict of str to float
        ``"ab error"`` and ``"ab RMSE"`` in CIE units, ``"accuracy"`` from 0 to 1, ``"PSNR"`` in decibels, and
        ``"chroma"``, the coloring's mean chroma in CIE units. The PSNR is that of the squared error's mean
        over all pictures. A mean of the pictures' own would say little: a picture that is gray in truth has
        none, or one above 100, when it is left gray.

    Raises
    ------
    TypeError, ValueError
        For anything else than pictures of one size.
    """
    return _means(_each(rgb, truth))


def _each(rgb: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Every picture's figures, (B,); the squared error in place of the PSNR."""
    _pair(rgb, truth)
    return {
        "ab error": ab_error(rgb, truth),
        "ab RMSE": ab_rmse(rgb, truth),
        "accuracy": accuracy(rgb, truth),
        "PSNR": (rgb - truth).square().mean((-3, -2, -1)),
        "chroma": mean_chroma(rgb),
    }


def _means(figures: dict[str, Tensor]) -> dict[str, float]:
    if not figures["PSNR"].numel():
        raise ValueError("there must be at least one picture to compare; got none")
    # On the CPU, for not every device has float64.
    means = {name: value.cpu().double().mean() for name, value in figures.items()}
    means["PSNR"] = -10 * means["PSNR"].log10()
    return {name: float(mean) for name, mean in means.items()}


@torch.no_grad()
def evaluate(model, data, indices, **knobs) -> dict[str, dict[str, float]]:
    """Color pictures whose colors are known, and compare: the model, and leaving them gray.

    Parameters
    ----------
    model : Colorizer
        It colors each picture once, with seed 0.
    data : Data
        See :func:`colorlib.training.fit`. Pictures that a :class:`colorlib.data.Folder` has a stand-in for
        are left out.
    indices : sequence of int
        Which pictures of the data.
    **knobs
        The model's own, see :meth:`colorlib.models.Colorizer.colorize`.

    Returns
    -------
    dict of str to dict
        ``"model"``, ``"gray"`` and ``"truth"``, each with the figures of :func:`compare`.

    Raises
    ------
    ValueError
        For no indices, or none whose picture can be read.
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
