"""Color from features made by hand: what a pixel's patch, its surroundings and its category say of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, inside, integers, number, seen, undivided, whole, wholes
from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab, rgb_to_yuv, yuv_to_rgb
from colorlib.color.spaces import widened
from colorlib.data.materials import LANDSCAPE
from colorlib.models.base import Colorizer, asked, check_gray, fitting, true_rgb
from colorlib.models.blocks import Norm, joint_bilateral
from colorlib.models.segmentation import SegmentationNetwork
from colorlib.training import Batch
from colorlib.training.recipes import FULL, PHOTOGRAPHS, QUICK, WORLD

PATCH = 7  # pixels a side
HISTOGRAMS, ORIENTATIONS = 3, 8  # of DAISY: (3 + 1) * 8 = 32 numbers
CATEGORIES = ("none", "predicted", "true")
STEPS = 8  # of the search for a color's luma; the farthest colors of sRGB are then within half a unit of L
# Small pictures: about as large a share of the world's scenes as 15 pixels are of published pictures.
_WORLD = replace(WORLD, steps=2_000, warmup=200, batch=8, ema=0.995, settings={})


def daisy(gray: Tensor, radius: int = 15) -> Tensor:
    """Describe the surroundings of every pixel by DAISY, with one ring of three histograms.

    The gradient of the picture is sorted by direction: each of eight maps has the gradient's length where it
    points that way, less the more its direction differs, by a von Mises distribution. A Gaussian of half the
    radius smooths the maps. A pixel's descriptor is what the maps hold at its own place and at three places
    on a circle around it, (3 + 1) * 8 = 32 numbers, divided by their sum. So it tells texture and edges, and
    neither lightness nor contrast. The picture is continued with its edge pixels.

    Parameters
    ----------
    gray : Tensor
        Gray pictures in [0, 1], (B, 1, H, W).
    radius : int
        Radius of the circle in pixels, at least 1.

    Returns
    -------
    Tensor
        (B, 32, H, W) in [0, 1], the sum over the 32 being 1: eight of the center, then eight of each place.

    Raises
    ------
    TypeError, ValueError
        For anything but gray pictures, or a radius below 1.

    Notes
    -----
    Source: Tola, Lepetit, Fua, "DAISY: An Efficient Dense Descriptor Applied to Wide-Baseline Stereo", TPAMI
    2010, section 3; the layout is that of ``skimage.feature.daisy(rings=1, histograms=3, orientations=8)``.

    >>> daisy(torch.rand(1, 1, 9, 12), radius=3).shape
    torch.Size([1, 32, 9, 12])
    """
    radius = whole(radius, "radius", 1)
    check_gray(gray)
    return _daisy(gray, radius)


def _daisy(gray: Tensor, radius: int) -> Tensor:
    kind, gray = gray.dtype, widened(gray)
    gray = F.pad(gray, (radius,) * 4, mode="replicate")
    across = F.pad(gray[..., 1:] - gray[..., :-1], (0, 1))
    down = F.pad(gray[..., 1:, :] - gray[..., :-1, :], (0, 0, 0, 1))
    length = torch.hypot(across, down)
    angle = torch.arange(ORIENTATIONS).to(gray) * (2 * math.pi / ORIENTATIONS) - math.pi
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    # The cosine of the angle between gradient and direction; a gradient of 0 has none, and counts for 0.
    along = (across * cosine + down * sine) / length.clamp(min=torch.finfo(gray.dtype).tiny)
    maps = _smoothed((ORIENTATIONS / math.pi * along).exp() * length, radius / 2)
    turns = [2 * math.pi * k / HISTOGRAMS for k in range(HISTOGRAMS)]
    places = [(0, 0), *((round(radius * math.sin(t)), round(radius * math.cos(t))) for t in turns)]
    height, width = (side - 2 * radius for side in gray.shape[-2:])
    parts = [
        maps[..., radius + row : radius + row + height, radius + column : radius + column + width]
        for row, column in places
    ]
    # Where all is flat the descriptor says that no direction stands out.
    descriptor = torch.cat(parts, 1) + 1e-10
    return (descriptor / descriptor.sum(1, keepdim=True)).to(kind)


def _smoothed(x: Tensor, sigma: float) -> Tensor:
    """Maps (B, C, H, W) under a Gaussian, cut off at four sigma, the maps mirrored at their borders."""
    # Two matrix products. Convolutions with so long a kernel take five times as long at 256 x 256.
    down, across = (_gaussian(side, sigma).to(x) for side in x.shape[-2:])
    return down @ x @ across.T


def _gaussian(side: int, sigma: float) -> Tensor:
    """What each of the pixels of a side takes from each, (side, side) in float64."""
    reach = int(4 * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-(steps.double() ** 2) / (2 * sigma**2))
    place = (torch.arange(side)[:, None] + steps) % (2 * side)
    taken = torch.zeros(side, side, dtype=torch.float64)
    return taken.scatter_add_(
        1, torch.minimum(place, 2 * side - 1 - place), (kernel / kernel.sum()).expand(side, -1)
    )


class DeepColorization(Colorizer):
    """Deep Colorization: features made by hand, a network of three hidden layers, a joint bilateral filter.

    Each pixel is described by three things: the 49 grays of the patch of 7 x 7 pixels around it, the 32
    numbers of :func:`daisy`, and what category it belongs to. A network of three hidden layers with ReLU
    makes U and V of YUV of them, for each pixel by itself; its loss is the mean squared error. The hidden
    layers are half as large as the input. Then a joint bilateral filter smooths U and V up to the edges of
    the gray picture, since where texture is low the descriptor is little but noise.

    There are three models: A without a category, B with the probabilities that a segmentation network gives,
    C with the true category. The segmentation network is trained at the same time, by cross entropy; no
    gradient of the color reaches it.

    Built here: the :class:`SegmentationNetwork`; gray of the picture's CIE lightness as Y, so that coloring
    changes no lightness, and the color of given U and V at that lightness; each feature normalized by its
    mean and deviation; the filter's two sigmas, which the source doesn't give. The source's models of
    clusters of pictures, one network for each, are left out.

    Parameters
    ----------
    category : str
        ``"none"`` (model A), ``"predicted"`` (B) or ``"true"`` (C). Training B and C needs ``"material"`` in
        the batch, (B, H, W) int64, which the world gives.
    categories : int
        How many categories there are; by default the materials of the world's landscapes.
    radius : int
        Radius in pixels of the surroundings, see :func:`daisy`.
    width : int
        Channels of the first layer of the segmentation network.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.

    Notes
    -----
    Source: Cheng, Yang, Sheng, "Deep Colorization", ICCV 2015; the three models are those of a course report
    on automatic image colorization.
    """

    command, guided = "deep", True
    recipes = {
        "quick": replace(QUICK, settings={"category": "predicted", "radius": 4, "width": 8}),
        "world-a": replace(_WORLD, settings={"category": "none", "radius": 7}),
        "world-b": replace(_WORLD, settings={"category": "predicted", "radius": 7}),
        "world-c": replace(_WORLD, settings={"category": "true", "radius": 7}),
        # Photographs come without labels, so there is no category.
        "photographs": replace(PHOTOGRAPHS, settings={"category": "none", "radius": 7}),
        "full": replace(FULL, settings={"category": "none"}),
    }

    def __init__(
        self,
        category: str = "predicted",
        categories: int = len(LANDSCAPE),
        radius: int = 15,
        width: int = 16,
    ):
        super().__init__()
        self.category = choice(category, "category", CATEGORIES)
        self.categories, self.radius, width = wholes(categories=categories, radius=radius, width=width)
        self.settings = {
            "category": category,
            "categories": self.categories,
            "radius": self.radius,
            "width": width,
        }
        known = self.category != "none"
        inputs = PATCH**2 + (HISTOGRAMS + 1) * ORIENTATIONS + known * self.categories
        hidden = inputs // 2
        self.segmentation = SegmentationNetwork(self.categories, width) if known else None
        # A layer that sees each pixel by itself is a convolution of 1 x 1, so all are colored at once.
        self.layers = nn.Sequential(
            Norm(inputs, affine=False),  # the normalization
            nn.Conv2d(inputs, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 2, 1),
        )

    @classmethod
    def small(cls, **settings) -> DeepColorization:
        """Build the quick version, for pictures of some 32 pixels: surroundings of 4, half of the width.

        ``settings`` are arguments of the class that take the place of these.
        """
        return cls(**{"radius": 4, "width": 8, **settings})

    def features(self, gray: Tensor, category: Tensor | None = None) -> Tensor:
        """Describe every pixel.

        Parameters
        ----------
        gray : Tensor
            Gray pictures in [0, 1], (B, 1, H, W).
        category : Tensor, optional
            Probabilities of the categories, (B, categories, H, W), for models B and C. None: those that the
            segmentation network gives.

        Returns
        -------
        Tensor
            (B, 81 + categories, H, W), or (B, 81, H, W) of model A, without gradient: patch, DAISY, category.
        """
        with torch.no_grad():
            gray = undivided(fitting(gray, self, "gray"), "gray")
            padded = F.pad(gray, (PATCH // 2,) * 4, mode="replicate")
            patch = F.unfold(padded, PATCH).unflatten(-1, gray.shape[-2:])
            parts = [patch, _daisy(gray, self.radius)]
            if self.segmentation is not None:
                if category is None:
                    category = self.segmentation(gray).softmax(1)
                parts.append(self._fitting(category, gray).detach())
            return torch.cat(parts, 1)

    def _fitting(self, category: Tensor, gray: Tensor) -> Tensor:
        shape = (len(gray), self.categories, *gray.shape[-2:])
        if not isinstance(category, Tensor) or not category.is_floating_point() or category.shape != shape:
            got = f"{tuple(category.shape)} of {category.dtype}" if isinstance(category, Tensor) else category
            raise ValueError(f"category must be floating point of shape {shape}; got {got}")
        return category.to(gray)

    def forward(self, gray: Tensor, category: Tensor | None = None) -> Tensor:
        """Predict U and V: gray in [0, 1], (B, 1, H, W), to (B, 2, H, W); the filter comes later.

        For ``category`` see :meth:`features`.
        """
        return self.layers(self.features(gray, category))

    def one_hot(self, labels: Tensor) -> Tensor:
        """Give labels, (B, H, W) int64 from 0, as probabilities (B, categories, H, W), for model C."""
        return self._one_hot(labels, "labels")

    def _one_hot(self, labels: Tensor, name: str) -> Tensor:
        integers(labels, name, "(B, H, W)", empty=False)
        if seen(labels):
            inside(labels, name, 0, self.categories - 1)
        return F.one_hot(labels.long(), self.categories).movedim(-1, 1).to(next(self.parameters()))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the mean squared error of U and V, to which B and C add the segmentation's cross entropy.

        Beside it come both, ``"color"`` and ``"category"``, and the share of the pixels whose category is
        right, ``"accuracy"``.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1]; for B and C ``"material"``, (B, H, W) int64 from 0 to
            ``categories`` - 1.
        """
        rgb = fitting(true_rgb(batch), self, "rgb", 3)
        gray, uv = rgb_to_gray(rgb), rgb_to_yuv(rgb)[:, 1:]
        if self.segmentation is None:
            color = F.mse_loss(self(gray), uv)
            return color, {"color": color.detach()}
        if "material" not in batch:
            raise ValueError(
                f"batch must have 'material' to train with category={self.category!r}; it has "
                f"{', '.join(batch)}; category='none' needs no labels"
            )
        labels = batch["material"]
        true = self._one_hot(labels, "material")
        if labels.shape[0] != len(rgb) or labels.shape[1:] != rgb.shape[-2:]:
            raise ValueError(f"material must be {(len(rgb), *rgb.shape[-2:])}; got {tuple(labels.shape)}")
        labels = labels.to(rgb.device, torch.int64)
        logits = self.segmentation(gray)
        entropy = F.cross_entropy(logits, labels)
        given = true if self.category == "true" else logits.detach().softmax(1)
        color = F.mse_loss(self(gray, given), uv)
        accuracy = (logits.argmax(1) == labels).float().mean()
        scalars = {"color": color.detach(), "category": entropy.detach(), "accuracy": accuracy}
        return color + entropy, scalars

    def colorize(
        self,
        gray: Tensor,
        samples: int = 1,
        seed: int | None = None,
        *,
        image_size: int | None = None,
        labels: Tensor | None = None,
        **knobs,
    ) -> Tensor:
        """Color gray pictures; see :meth:`Colorizer.colorize` for the rest.

        Parameters
        ----------
        gray : Tensor
            Gray pictures in [0, 1], (B, 1, H, W).
        samples : int
            How many colorings; there is no chance here, so they are equal.
        seed, image_size
            See :meth:`Colorizer.colorize`.
        labels : Tensor, optional
            True categories, (B, h, w) int64 from 0, for models B and C. Where the model sees the picture in
            another size, each of its pixels takes the label at its middle. None: what the segmentation
            network gives, also for model C.
        **knobs
            ``guided``, see :meth:`Colorizer.colorize`; ``sigma_space`` and ``sigma_range``, see
            :meth:`chroma`.
        """
        return super().colorize(gray, samples, seed, image_size=image_size, labels=labels, **knobs)

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        labels: Tensor | None = None,
        sigma_space: Annotated[
            float, "Reach in pixels of the filter that smooths colors; 0 is without."
        ] = 2.0,
        sigma_range: Annotated[float, "How far grays, 0 to 1, may differ to share their color."] = 0.05,
    ) -> Tensor:
        """Give the ab of a lightness, the same in all samples; see :meth:`Colorizer.chroma`.

        For ``labels`` see :meth:`colorize`. The sigmas are those of :func:`joint_bilateral`.
        """
        sigma_space = number(sigma_space, "sigma_space", "[0, inf)")
        sigma_range = number(sigma_range, "sigma_range", "(0, inf)")
        lightness, samples = asked(self, lightness, samples, generator)
        gray, category = _gray(lightness), None
        if labels is not None:
            if self.segmentation is None:
                raise ValueError("labels are for a model with categories; this one has category='none'")
            category = self.one_hot(labels)
            if len(category) != len(gray):
                raise ValueError(
                    f"labels must be ({len(gray)}, h, w), one map a picture; got {tuple(labels.shape)}"
                )
            category = F.interpolate(category, gray.shape[-2:], mode="nearest-exact")
        uv = self(gray, category)
        if sigma_space:
            uv = joint_bilateral(uv, gray, sigma_space, sigma_range)
        return _ab(gray, uv).expand(samples, -1, -1, -1, -1)


def _gray(lightness: Tensor) -> Tensor:
    """The gray of a CIE L, (B, 1, H, W)."""
    nothing = torch.zeros_like(lightness)
    return rgb_to_gray(lab_to_rgb(torch.cat([lightness, nothing, nothing], 1)))


def _ab(gray: Tensor, uv: Tensor) -> Tensor:
    """The ab of the color that has this U and V, and is as light as the gray.

    Luma added to a color is added to its red, green and blue, and makes its gray grow by at most as much: so
    what is missing can be added again and again, and never goes too far.
    """
    luma = gray
    for _ in range(STEPS):
        rgb = yuv_to_rgb(torch.cat([luma, uv], 1))
        luma = luma + gray - rgb_to_gray(rgb)
    return rgb_to_lab(yuv_to_rgb(torch.cat([luma, uv], 1)))[:, 1:]
