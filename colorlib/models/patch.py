"""A color from a small patch of gray: which neuron of a color map does the patch's center belong to?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, finite, floating, image, seen, whole, wholes
from colorlib.classic import SOM, nearest
from colorlib.color import rgb_to_lab
from colorlib.models.base import Colorizer, asked, fitting, true_rgb
from colorlib.training import Batch
from colorlib.training.recipes import FULL, Recipe

# A large photograph is colored in strips of rows: the hidden layer holds at most so many values, 128 MiB.
VALUES_AT_ONCE = 2**25


class PatchMLP(Colorizer):
    """The patch classifier: a gray patch in, one hidden layer, the color class of the center pixel out.

    The classes are the neurons of a self-organizing map trained on chroma, ``SOM(...).fit(ab).neurons``; a
    class is colored with its neuron's ab. A layer that sees each patch of a picture is a convolution, and the
    layer after it a 1 x 1 convolution, so the whole picture is classified at once. At the border the
    picture's edge pixels are repeated outward. Built here: lightness scaled to [-1, 1] as the input, ReLU,
    cross entropy.

    Parameters
    ----------
    neurons : Tensor
        Chroma of the classes, CIE ab, (K, 2), finite; kept as a buffer, so a saved model carries its colors.
    patch : int
        Side of the patch in pixels, odd.
    hidden_size : int
        Size of the hidden layer.

    Raises
    ------
    TypeError, ValueError
        For neurons that are not a finite floating-point (K, 2), an even patch, or a size below 1.

    Notes
    -----
    Source: Richart, Visca, Baliosian, "Image Colorization with Neural Networks", Workshop of Computer Vision
    2017, where the hidden layer goes up to 100.
    """

    command = "patch"
    recipes = {
        "quick": Recipe(
            steps=300,
            batch=16,
            learning_rate=3e-3,
            schedule="cosine",
            warmup=20,
            checkpoint_every=100,
            settings={"patch": 7, "hidden_size": 32, "neurons": 9},
        ),
        "full": replace(
            FULL, steps=20_000, batch=32, crop=128, settings={"patch": 9, "hidden_size": 100, "neurons": 9}
        ),
    }

    def __init__(self, neurons: Tensor, patch: int = 9, hidden_size: int = 100):
        super().__init__()
        finite(floating(neurons, "neurons", "(K, 2)", empty=False), "neurons")
        patch, hidden_size = wholes(patch=patch, hidden_size=hidden_size)
        if patch % 2 == 0:
            raise ValueError(f"patch must be odd, so that it has a center pixel; got {patch}")
        self.patch = patch
        self.settings = {"patch": patch, "hidden_size": hidden_size}
        self.register_buffer("neurons", neurons.detach().float().clone())
        self.layers = nn.Sequential(
            nn.Conv2d(1, hidden_size, patch),  # every patch to the hidden layer
            nn.ReLU(),
            nn.Conv2d(hidden_size, len(neurons), 1),  # hidden layer to one score a neuron
        )

    @classmethod
    def for_data(cls, colors: Callable[[], Tensor], settings: dict) -> PatchMLP:
        """Build a model whose classes are ``settings["neurons"]`` neurons of a map of the data's colors."""
        settings, ab = dict(settings), colors()
        count = whole(settings.pop("neurons", 9), "neurons", 1)
        rows = max(r for r in range(1, count + 1) if r * r <= count and count % r == 0)
        ab = ab[torch.randperm(len(ab))[:20_000]]
        return cls(SOM(rows, count // rows).fit(ab, seed=torch.initial_seed()).neurons, **settings)

    @classmethod
    def rebuild(cls, settings: dict, tensors: dict[str, Tensor]) -> PatchMLP:
        """Build the model of a weights file: its classes are among the tensors."""
        old = {"hidden": "hidden_size"}  # names that earlier versions wrote
        settings = {old.get(name, name): value for name, value in settings.items()}
        return super().rebuild({**settings, "neurons": tensors["neurons"]}, tensors)

    @classmethod
    def small(cls, neurons: Tensor) -> PatchMLP:
        """Build the quick version: patches of 7 x 7, 32 hidden units."""
        return cls(neurons, patch=7, hidden_size=32)

    def logits(self, lightness: Tensor) -> Tensor:
        """Score every neuron at every pixel: CIE L (B, 1, H, W) to logits (B, K, H, W)."""
        return self.layers(self._pad(lightness))

    def labels(self, rgb: Tensor) -> Tensor:
        """Class of every pixel, the neuron nearest to its ab: RGB (B, 3, H, W) to int64 (B, H, W)."""
        ab = rgb_to_lab(image(rgb, 3, "rgb", batch=True))[:, 1:].movedim(1, -1)
        if seen(ab):
            finite(ab, "rgb")
        return nearest(ab.reshape(-1, 2).to(self.neurons), self.neurons).reshape(ab.shape[:-1])

    def loss(self, batch: Batch) -> Tensor:
        """Give the cross entropy of the classes, in nats, the mean over all pixels of the batch.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1].
        """
        return F.cross_entropy(*self._logits_and_labels(batch))

    @torch.no_grad()
    def accuracy(self, batch: Batch) -> float:
        """Share of the pixels of ``batch["rgb"]`` whose most probable class is their own, from 0 to 1."""
        logits, labels = self._logits_and_labels(batch)
        return (logits.argmax(1) == labels).float().mean().item()

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        how: Annotated[str, "What a pixel takes: 'mode', its likeliest color, 'mean' or 'sample'."] = "mode",
    ) -> Tensor:
        """Give the ab of a lightness; see :meth:`Colorizer.chroma`.

        With ``how="mode"`` each pixel takes its most probable neuron; with ``"mean"`` the mean of the
        neurons, weighted with their probabilities; with ``"sample"`` it draws one by itself. Pixels do not
        know of each other's draw, so a surface of two possible colors comes out speckled.
        """
        choice(how, "how", ("mode", "mean", "sample"))
        lightness, samples = asked(self, lightness, samples, generator)
        height, width = lightness.shape[-2:]
        padded = self._pad(lightness)
        rows = max(1, VALUES_AT_ONCE // (self.layers[0].out_channels * len(lightness) * width))
        strips = []
        for top in range(0, height, rows):
            logits = self.layers(padded[:, :, top : top + rows + self.patch - 1])
            logits = logits.movedim(1, -1)  # (B, rows, W, K)
            if how == "mean":
                ab = (logits.softmax(-1) @ self.neurons).expand(samples, -1, -1, -1, -1)
            elif how == "mode":
                ab = self.neurons[logits.argmax(-1)].expand(samples, -1, -1, -1, -1)
            else:
                probabilities = logits.softmax(-1).flatten(0, -2)
                drawn = probabilities.multinomial(samples, replacement=True, generator=generator)
                ab = self.neurons[drawn.T.reshape(samples, *logits.shape[:-1])]
            strips.append(ab.movedim(-1, 2))
        return torch.cat(strips, dim=-2)

    def _pad(self, lightness: Tensor) -> Tensor:
        """Scale L to [-1, 1], and repeat edge pixels so that every pixel is the center of a whole patch."""
        return F.pad(fitting(lightness, self) / 50 - 1, (self.patch // 2,) * 4, mode="replicate")

    def _logits_and_labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        rgb = true_rgb(batch)
        return self.logits(rgb_to_lab(rgb)[:, :1]), self.labels(rgb)
