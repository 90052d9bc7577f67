"""Color as a distribution: each pixel's probabilities over the 313 bins of the ab plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import image, number, whole
from colorlib.color import (
    ab_bins,
    annealed_mean,
    bin_prior,
    rebalancing_weights,
    rgb_to_lab,
    smooth_prior,
    soft_encode,
)
from colorlib.models.base import Colorizer, asked, evaluating, fitting, true_rgb
from colorlib.models.blocks import Norm, pad
from colorlib.models.losses import sparse_cross_entropy
from colorlib.training import Batch
from colorlib.training.recipes import FULL, PHOTOGRAPHS, QUICK, WORLD, Recipe

CELL = 4  # the network predicts at a quarter of the picture's size: one distribution for 4 x 4 pixels
COARSEST = 8  # its deepest layers see an eighth of the size


def _conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]


class CIC(Colorizer):
    """Colorful Image Colorization: a deep network that gives each pixel a distribution over 313 color bins.

    Eight blocks of 3 x 3 convolutions lead from the lightness to an eighth of its size and back to a
    quarter. The input is L - 50, divided by nothing. At the full width it has 32.24 million parameters.

    The loss is the cross entropy with soft-encoded colors. It asks for the color of one pixel in each cell of
    4 x 4: the pixel right below and right of the cell's center. The authors' code takes one pixel too, the
    cell's first. The mean of the cell would mix the colors of two things at their border, and a mixture is a
    color that neither has. The drawn color is the annealed mean of each cell, enlarged to the picture's size
    by bilinear interpolation; this order, as in the authors' code, handles 2 numbers a pixel and not 313.

    A picture whose sides are not multiples of 8 is continued with its edge pixels, and the result is cropped.

    Parameters
    ----------
    prior : Tensor, optional
        Share of each bin among the training pixels, (313,), summing to 1, to rebalance the loss as
        :meth:`set_prior` does. None: every color counts the same.
    mix : float
        How much of the uniform distribution is mixed into ``prior``.
    neighbors : int
        Over how many bins the loss spreads a color: 5 in the paper; 1 gives one-hot targets.
    sigma : float
        Width of that spread, CIE units.
    width : int
        Channels of the first block, 64 in the paper; the others follow in proportion.
    rebalance : float
        How much of the rebalancing is left in what it predicts, 0 or more. A network that was trained with
        the weights w learns probabilities in proportion to p w. They are multiplied with w to the power of
        ``rebalance - 1``: 1 leaves them, 0 gives the honest p, more than 1 makes rare colors more likely
        still. The loss doesn't know of it.

    Raises
    ------
    TypeError, ValueError
        For a prior that is not a distribution over 313 bins, or another parameter out of its range.

    Notes
    -----
    Sources: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, with the layers of its released
    network; for weights that are applied after training, Menon and others, "Long-tail learning via logit
    adjustment", ICLR 2021, section 4.
    """

    command = "cic"
    recipes = {
        "quick": replace(QUICK, settings={"width": 8}),
        "world": replace(WORLD, steps=3_000, warmup=300, settings={"width": 12}),
        # With mix=0.5, the paper's, rare colors count about 50 times as much as gray, and a small network
        # paints them where they don't belong; with 0.9 it is about 7 times.
        "photographs": replace(PHOTOGRAPHS, settings={"width": 16, "mix": 0.9, "rebalance": 1.3}),
        "full": replace(
            FULL, learning_rate=3e-4, betas=(0.9, 0.99), weight_decay=1e-3, settings={"mix": 0.5}
        ),
        # Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, and its released training code. The
        # number of steps is this course's choice, and a cosine stands for the rate that was lowered in steps.
        "paper": Recipe(
            steps=450_000,
            batch=40,
            learning_rate=3e-5,
            betas=(0.9, 0.99),
            weight_decay=1e-3,
            schedule="cosine",
            crop=176,
            flip=True,
            checkpoint_every=1_000,
            log_every=50,
            size=256,
            settings={"mix": 0.5},
        ),
    }

    def __init__(
        self,
        prior: Tensor | None = None,
        mix: float = 0.5,
        neighbors: int = 5,
        sigma: float = 5.0,
        width: int = 64,
        rebalance: float = 1.0,
    ):
        super().__init__()
        bins = len(ab_bins())
        width = whole(width, "width", 1)
        self.neighbors = whole(neighbors, "neighbors", 1, bins)
        self.sigma, self.rebalance = number(sigma, "sigma", "(0, inf]"), _power(rebalance)
        self.settings = {
            "mix": number(mix, "mix", "[0, 1]"),
            "neighbors": self.neighbors,
            "sigma": self.sigma,
            "width": width,
            "rebalance": self.rebalance,
        }
        a, b, c, d = width, 2 * width, 4 * width, 8 * width
        self.conv1 = nn.Sequential(*_conv(1, a), *_conv(a, a, stride=2), Norm(a))
        self.conv2 = nn.Sequential(*_conv(a, b), *_conv(b, b, stride=2), Norm(b))
        self.conv3 = nn.Sequential(*_conv(b, c), *_conv(c, c), *_conv(c, c, stride=2), Norm(c))
        self.conv4 = nn.Sequential(*_conv(c, d), *_conv(d, d), *_conv(d, d), Norm(d))
        self.conv5 = self._dilated(d)
        self.conv6 = self._dilated(d)
        self.conv7 = nn.Sequential(*_conv(d, d), *_conv(d, d), *_conv(d, d), Norm(d))
        self.conv8 = nn.Sequential(
            nn.ConvTranspose2d(d, c, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            *_conv(c, c),
            *_conv(c, c),
        )
        self.to_bins = nn.Conv2d(c, bins, 1)
        self.register_buffer("weights", torch.ones(bins))
        if prior is not None:
            self.set_prior(prior, mix)

    @staticmethod
    def _dilated(channels: int) -> nn.Sequential:
        layers = [layer for _ in range(3) for layer in _conv(channels, channels, dilation=2)]
        return nn.Sequential(*layers, Norm(channels))

    @classmethod
    def for_data(cls, colors: Callable[[], Tensor], settings: dict) -> CIC:
        """Build a model to train; with ``"mix"`` among the settings it is rebalanced by the data's bins."""
        model = cls(**settings)
        model.adapt(colors, settings)
        return model

    def adapt(self, colors: Callable[[], Tensor], settings: dict) -> None:
        """Rebalance anew, by the smoothed prior of other data's bins, where the settings have a ``"mix"``."""
        if "mix" in settings:
            self.set_prior(smooth_prior(bin_prior(colors())), settings["mix"])

    @classmethod
    def small(cls, prior: Tensor | None = None, mix: float = 0.5, neighbors: int = 5) -> CIC:
        """Build the quick version: an eighth of the paper's width, half a million parameters."""
        return cls(prior, mix, neighbors, width=8)

    def set_prior(self, prior: Tensor | None, mix: float = 0.5) -> None:
        """Rebalance the loss: each pixel is weighted with the rarity of the bin nearest to its color.

        Parameters
        ----------
        prior : Tensor or None
            Share of each bin, (313,), taken as it is; ``smooth_prior(bin_prior(ab))`` is the paper's. None:
            every color counts the same.
        mix : float
            From 0 to 1, see :func:`colorlib.color.rebalancing_weights`.

        Raises
        ------
        TypeError, ValueError
            For a prior that is not a distribution over 313 bins, or a ``mix`` out of its range.
        """
        number(mix, "mix", "[0, 1]")
        if prior is None:
            self.weights.fill_(1)
            return
        weights = rebalancing_weights(prior, mix)
        if weights.shape != self.weights.shape:
            raise ValueError(f"prior must be {tuple(self.weights.shape)}; got {tuple(weights.shape)}")
        self.weights.copy_(weights)

    def logits(self, lightness: Tensor) -> Tensor:
        """Score the bins in each cell of 4 x 4: CIE L (B, 1, H, W) to (B, 313, ceil(H / 4), ceil(W / 4))."""
        lightness = fitting(lightness, self)
        height, width = lightness.shape[-2:]
        x = pad(lightness - 50, COARSEST)
        x = self.conv1(x)  # 1/2 of the size
        x = self.conv2(x)  # 1/4
        x = self.conv3(x)  # 1/8, and so to the end of block 7
        x = self.conv4(x)
        x = self.conv5(x)
        x = self.conv6(x)
        x = self.conv7(x)
        x = self.conv8(x)  # 1/4
        return self.to_bins(x)[:, :, : -(-height // CELL), : -(-width // CELL)]

    def targets(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Bins and weights that the loss asks for in each cell of 4 x 4.

        Parameters
        ----------
        rgb : Tensor
            RGB in [0, 1], (B, 3, H, W).

        Returns
        -------
        indices, weights : Tensor
            (B, neighbors, ceil(H / 4), ceil(W / 4)), nearest bin first, as :func:`colorlib.color.soft_encode`
            gives them.
        """
        return self._targets(rgb_to_lab(image(rgb, 3, "rgb", batch=True)))

    def _targets(self, lab: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = (
            torch.arange(CELL // 2, side + CELL // 2, CELL, device=lab.device).clamp(max=side - 1)
            for side in lab.shape[-2:]
        )
        return soft_encode(lab[:, 1:, rows[:, None], columns], self.neighbors, self.sigma)

    def loss(self, batch: Batch) -> Tensor:
        """Give the cross entropy with soft-encoded colors, in nats, each cell weighted by its nearest bin.

        It is the mean over the cells of weight times cross entropy, not divided by the sum of the weights:
        over the prior the weights have the mean 1.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1].
        """
        lab = rgb_to_lab(true_rgb(batch))
        indices, shares = self._targets(lab)
        each = sparse_cross_entropy(self.logits(lab[:, :1]), indices, shares)
        return (each * self.weights[indices[:, 0]]).mean()

    @torch.no_grad()
    def distribution(self, lightness: Tensor, rebalance: float | None = None) -> Tensor:
        """Predict the probabilities of the bins in each cell of 4 x 4, in evaluation mode.

        Parameters
        ----------
        lightness : Tensor
            CIE L in [0, 100], (B, 1, H, W).
        rebalance : float, optional
            See :class:`CIC`; None: the model's own.

        Returns
        -------
        Tensor
            Probabilities, (B, 313, ceil(H / 4), ceil(W / 4)), summing to 1 over the bins.
        """
        with evaluating(self):
            return self._rebalanced(lightness, rebalance).softmax(1)

    def _rebalanced(self, lightness: Tensor, rebalance: float | None) -> Tensor:
        power = self.rebalance if rebalance is None else _power(rebalance)
        logits = self.logits(lightness)
        return logits if power == 1 else logits + (power - 1) * self.weights.log()[:, None, None]

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        temperature: Annotated[float, "1 is muted, toward 0 more vivid."] = 0.38,
        rebalance: Annotated[float | None, "0 is muted, 1 as trained, 2 vivid."] = None,
    ) -> Tensor:
        """Give the ab of a lightness, the same in all samples; see :meth:`Colorizer.chroma`.

        The temperature, 0 or more, is that of the annealed mean: from 0, the most probable bin, over 0.38,
        the paper's, to 1, the mean. ``rebalance`` goes from 0, honest and muted, over 1, as trained, to more
        vivid, see :class:`CIC`; None: the model's own. A model that was trained without rebalancing doesn't
        change.
        """
        lightness, samples = asked(self, lightness, samples, generator)
        height, width = lightness.shape[-2:]
        ab = annealed_mean(self._rebalanced(lightness, rebalance), temperature)
        ab = F.interpolate(ab, scale_factor=CELL, mode="bilinear", align_corners=False)
        return ab[:, :, :height, :width].expand(samples, -1, -1, -1, -1)


def _power(rebalance: float) -> float:
    return number(rebalance, "rebalance", "[0, inf)")
