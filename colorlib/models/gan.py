"""Color that has to pass for true: a generator paints, and a discriminator learns to tell its pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, flag, image, number, wholes
from colorlib.color import rgb_to_lab
from colorlib.models.base import AB_SCALE, Colorizer, asked, fitting, true_rgb
from colorlib.models.blocks import (
    ImageDiscriminator,
    PatchDiscriminator,
    ResNetGenerator,
    UNet,
    doubled,
    start_normal,
)
from colorlib.models.losses import ADVERSARIAL, discriminator_accuracy, discriminator_loss, generator_loss
from colorlib.training import Batch, Player
from colorlib.training.recipes import FULL, QUICK, Recipe

GENERATORS = ("unet", "resnet")
DISCRIMINATORS = ("patch", "image")


# For two players: Adam with little momentum, as in pix2pix, for the other player moves the goal each step.
_ADAM = {"optimizer": "adam", "betas": (0.5, 0.999), "weight_decay": 0.0, "clip": None}
QUICK_GAN = replace(QUICK, **_ADAM)
FULL_GAN = replace(FULL, **_ADAM, batch=32, learning_rate=2e-4, size=286, crop=256)
# Small, so that a series of trained ones can come with the library: the chapter on GANs holds them side by
# side. No moving average: two players may circle, and an average would hide it.
_SMALL = {"generator": "resnet", "width": 10, "blocks": 4, "layers": 1, "l1": 10.0, "dropout": 0.0}
_SERIES = replace(QUICK_GAN, steps=2_000, warmup=200, checkpoint_every=500, settings=_SMALL)


class ColorGAN(Colorizer):
    """A conditional GAN: its generator gives ab to a lightness, its discriminator sees lightness and ab.

    The discriminator learns to score true pictures high and generated ones low. The generator learns to be
    scored high, and to be near the true colors: its loss is the adversarial loss plus ``l1`` times the mean
    absolute error of ab divided by 110. The absolute error alone asks for the median of the colors that a
    thing may have, which may be muted. The discriminator knows no muted car, so it can tell.

    The generator has no noise: the same lightness gives the same colors, and all samples are equal. It could
    choose among several colors of a thing only by what it sees in the lightness. The pix2pix paper found
    noise at the input ignored, and left chance to dropout, which it kept on after training. So it is here
    with ``colorize(..., dropout=True)``: samples then differ, by little, as in the paper.

    Two systems are special cases of it. pix2pix: ``generator="unet"``, ``discriminator="patch"``,
    ``adversarial="vanilla"``. The GAN of a course poster on colorization: ``generator="resnet"``,
    ``adversarial="lsgan"``. The poster says that the generator has the structure of a ResNet and that the
    loss is squared, each pixel of the picture labeled 0 or 1; it doesn't give the layers.

    Built here and not in the sources: after training, batch norms use the statistics gathered in it, as is
    usual; pix2pix takes those of the picture that it colors. A picture whose sides don't fit is continued
    with its edge pixels, and the result is cropped.

    Parameters
    ----------
    generator : str
        ``"unet"``, see :class:`UNet`, or ``"resnet"``, see :class:`ResNetGenerator`.
    discriminator : str
        ``"patch"``, see :class:`PatchDiscriminator`, or ``"image"``, see :class:`ImageDiscriminator`.
    adversarial : str
        ``"lsgan"``, ``"vanilla"`` or ``"hinge"``, see :func:`discriminator_loss`.
    l1 : float
        Weight of the absolute error, 0 or more; 100 in pix2pix.
    width : int
        Channels of the first layer of both networks, 64 in pix2pix.
    depth : int
        Halvings of a U-Net, 1 or more: 8 take 256 pixels to a single one.
    blocks : int
        Residual blocks of a residual generator.
    layers : int
        Convolutions of stride 2 of the discriminator: with 3 a patch has 70 x 70 pixels.
    dropout : float
        Share of the values that the generator drops, in [0, 1).

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.

    Notes
    -----
    Sources: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR
    2017, sections 3 and 6.1; Mao and others, "Least Squares Generative Adversarial Networks", ICCV 2017.
    """

    command = "gan"
    recipes = {
        "quick": replace(QUICK_GAN, settings={"width": 16, "depth": 5, "layers": 1}),
        "world": _SERIES,
        # The same, but for one thing: the weight of the absolute error, the seed, or dropout. With "l1-only"
        # the adversary is still there, and so weak that it decides nothing.
        "world-l1-0": replace(_SERIES, settings={**_SMALL, "l1": 0.0}),
        "world-l1-1": replace(_SERIES, settings={**_SMALL, "l1": 1.0}),
        "world-l1-100": replace(_SERIES, settings={**_SMALL, "l1": 100.0}),
        "world-l1-only": replace(_SERIES, settings={**_SMALL, "l1": 10_000.0}),
        "world-seed-1": replace(_SERIES, seed=1),
        "world-seed-2": replace(_SERIES, seed=2),
        "world-dropout": replace(_SERIES, settings={**_SMALL, "dropout": 0.5}),
        "full": FULL_GAN,
        # Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017. Size,
        # batch and steps, as many pictures as six epochs of ImageNet, are this course's choice.
        "paper": Recipe(
            steps=1_800_000,
            batch=4,
            learning_rate=2e-4,
            betas=(0.5, 0.999),
            flip=True,
            checkpoint_every=1_000,
            log_every=50,
            size=256,
            settings={"generator": "unet", "discriminator": "patch", "adversarial": "vanilla", "l1": 100.0},
        ),
    }

    def __init__(
        self,
        generator: str = "unet",
        discriminator: str = "patch",
        adversarial: str = "lsgan",
        l1: float = 100.0,
        width: int = 64,
        depth: int = 8,
        blocks: int = 9,
        layers: int = 3,
        dropout: float = 0.5,
    ):
        super().__init__()
        width, depth, blocks, layers = wholes(width=width, depth=depth, blocks=blocks, layers=layers)
        self.adversarial = choice(adversarial, "adversarial", ADVERSARIAL)
        self.l1, dropout = number(l1, "l1", "[0, inf)"), number(dropout, "dropout", "[0, 1)")
        self.settings = {
            "generator": choice(generator, "generator", GENERATORS),
            "discriminator": choice(discriminator, "discriminator", DISCRIMINATORS),
            "adversarial": adversarial,
            "l1": self.l1,
            "width": width,
            "depth": depth,
            "blocks": blocks,
            "layers": layers,
            "dropout": dropout,
        }
        if generator == "unet":
            self.generator = UNet(1, 2, doubled(width, depth), dropout=dropout)
        else:
            self.generator = ResNetGenerator(1, 2, width, blocks, dropout)
        kind = PatchDiscriminator if discriminator == "patch" else ImageDiscriminator
        self.discriminator = kind(3, width, layers)
        start_normal(self)

    @classmethod
    def small(cls, **settings) -> ColorGAN:
        """Build the quick version, for pictures of some 32 pixels: a quarter of the width, fewer layers.

        A patch has 16 x 16 pixels. ``settings`` are arguments of the class that take the place of these.
        """
        return cls(**{"width": 16, "depth": 5, "blocks": 3, "layers": 1, **settings})

    # Training.

    def players(self) -> dict[str, Player]:
        """Give the two who learn in turn, the discriminator first; see :class:`colorlib.training.Player`."""
        return {
            "discriminator": Player([*self.discriminator.parameters()], self.discriminator_loss),
            "generator": Player([*self.generator.parameters()], self.generator_loss),
        }

    def loss(self, batch: Batch) -> Tensor:
        """Refuse: there are two losses, :meth:`discriminator_loss` and :meth:`generator_loss`.

        Each is minimized over its own player's weights; their sum over all of them means nothing.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has two losses, discriminator_loss and generator_loss; see players()"
        )

    def discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give what the discriminator's mistakes cost, see :func:`discriminator_loss`, and its accuracy.

        The generator gets no gradient from it.
        """
        lightness, ab = scaled(true_rgb(batch))
        with torch.no_grad():
            painted = self.generator(lightness)
        real = self.discriminator(torch.cat([lightness, ab], 1))
        fake = self.discriminator(torch.cat([lightness, painted.to(ab)], 1))
        accuracy = discriminator_accuracy(real, fake, self.adversarial)
        return discriminator_loss(real, fake, self.adversarial), {"accuracy": accuracy}

    def generator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the adversarial loss plus ``l1`` times the mean absolute error of a and b, divided by 110.

        Beside it come these two, ``"adversarial"`` and ``"l1"``, before they are weighted.
        """
        lightness, ab = scaled(true_rgb(batch))
        painted = self.generator(lightness).to(ab)
        fake = self.discriminator(torch.cat([lightness, painted], 1))
        adversarial = generator_loss(fake, self.adversarial)
        l1 = F.l1_loss(painted, ab)
        return adversarial + self.l1 * l1, {"adversarial": adversarial, "l1": l1}

    # Use.

    def forward(self, lightness: Tensor) -> Tensor:
        """Paint: CIE L (B, 1, H, W) to CIE ab (B, 2, H, W)."""
        return self.generator(fitting(lightness, self) / 50 - 1) * AB_SCALE

    def scores(self, rgb: Tensor) -> Tensor:
        """Give the discriminator's scores of pictures, as they are before the loss.

        Parameters
        ----------
        rgb : Tensor
            RGB in [0, 1], (B, 3, H, W).

        Returns
        -------
        Tensor
            (B, 1, h, w): one a patch, or (B, 1, 1, 1). The higher, the truer.
        """
        return self.discriminator(torch.cat(scaled(rgb), 1))

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        dropout: Annotated[bool, "Leave dropout on, as in pix2pix: samples then differ a little."] = False,
    ) -> Tensor:
        """Give the ab of a lightness; see :meth:`Colorizer.chroma`.

        With ``dropout`` that stays on, as in pix2pix; it is the only chance that there is, and a model built
        without any refuses.
        """
        lightness, samples = asked(self, lightness, samples, generator)
        if not flag(dropout, "dropout"):
            return self(lightness).expand(samples, -1, -1, -1, -1)
        layers = [layer for layer in self.generator.modules() if isinstance(layer, nn.Dropout)]
        if not layers:
            raise ValueError("this model was built without dropout: its samples can't differ")
        seed = int(torch.randint(2**62, (), generator=generator, device=lightness.device))
        modes = [layer.training for layer in layers]
        try:
            # Torch's dropout draws from the global generator only; it is put back as it was.
            with torch.random.fork_rng([lightness.device] if lightness.is_cuda else []):
                torch.manual_seed(seed)
                for layer in layers:
                    layer.train()
                return torch.stack([self(lightness) for _ in range(samples)])
        finally:
            for layer, mode in zip(layers, modes, strict=True):
                layer.train(mode)


def scaled(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Lightness (B, 1, H, W) and ab (B, 2, H, W) of RGB (B, 3, H, W), both brought to [-1, 1]."""
    lab = rgb_to_lab(image(rgb, 3, "rgb", batch=True))
    return lab[:, :1] / 50 - 1, lab[:, 1:] / AB_SCALE
