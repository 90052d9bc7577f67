"""Color only where a mask says so: a GAN that is given a mask beside the lightness."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from colorlib._check import MOST, choice, floating, inside, integers, number, wholes
from colorlib.data.masks import check_kinds, draw
from colorlib.models.base import AB_SCALE, Colorizer, asked, check_gray, fitting, true_rgb
from colorlib.models.blocks import ImageDiscriminator, UNet, doubled, start_normal
from colorlib.models.gan import FULL_GAN, QUICK_GAN, scaled
from colorlib.models.losses import ADVERSARIAL, discriminator_accuracy, discriminator_loss, generator_loss
from colorlib.training import Batch, Player
from colorlib.training.recipes import Recipe

MASK_LOSSES = ("l2", "huber")
TRUTHS = ("masked", "colored")


_ALL = ["full", "ten", "stripes", "grids", "rectangles", "strokes", "noise", "segments"]
# The chapter on masks trains the same small network by one of these, and changes the masks and what is true.
_FLOWERS = {"mask_weight": 100.0, "width": 10, "layers": 3}
_ON_FLOWERS = replace(QUICK_GAN, steps=2_000, warmup=200, ema=0.999, checkpoint_every=500)


class MaskedGAN(Colorizer):
    """A GAN whose generator and discriminator see a mask too: color where it is 1, gray where it is 0.

    The generator is a U-Net of 11 layers: five on the way down, one at the smallest size, five on the way
    back, layer k joined with layer 12 - k. The discriminator is five layers like those of the way down, and
    one that gives a single score, the logit of the probability that the picture is true. The mask is one more
    channel of both.

    What is wanted is the true ab times the mask. The generator's loss is the adversarial loss plus
    ``mask_weight`` times the mask loss, the mean over the pixels of the squared distance between painted and
    wanted ab, divided by 110. ``"huber"`` is the same up to a distance of ``delta`` in a or in b, and grows
    in a straight line from there.

    The source leaves things open. Built here: the layers' sizes (4 x 4, stride 2, with 64, 128, 256, 512 and
    512 channels; 3 x 3 in the middle); maps are joined side by side, see :class:`UNet`; the discriminator
    sees the lightness beside ab and the mask; ``mask_weight``; an absolute error as of pix2pix only where
    ``l1`` asks for it. The source doesn't say which pictures its discriminator took for true, see ``truth``.

    In training each picture's mask is drawn from its own ``"seed"`` in the batch, so both players see the
    same one, and a step's masks depend on the recipe's seed and the step alone. A batch may bring masks of
    its own instead, as ``"mask"``, (B, 1, H, W).

    Parameters
    ----------
    masks : str or iterable of str
        Kinds of the masks in training, each as likely as another, see :func:`colorlib.data.masks.draw`. One
        fixed half: ``"left half"``; the source's ten: ``"ten"``. ``"segments"`` needs ``"material"`` in the
        batch, which the world gives.
    mask_loss : str
        ``"l2"`` or ``"huber"``.
    mask_weight : float
        Weight of the mask loss, 0 or more.
    delta : float
        Where ``"huber"`` turns straight, above 0; 0.1 is 11 CIE units.
    l1 : float
        Weight of the mean absolute error between painted and true ab, true as of ``truth``.
    truth : str
        What the discriminator is shown as true: ``"masked"``, the picture with color inside the mask only, or
        ``"colored"``, all of it in color. With the latter the two parts of the loss contradict each other
        outside the mask.
    adversarial : str
        ``"vanilla"``, ``"lsgan"`` or ``"hinge"``, see :func:`discriminator_loss`.
    width : int
        Channels of the first layer of both networks.
    layers : int
        Layers of stride 2 of the discriminator.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.

    Notes
    -----
    Sources: a course project at IMPA on coloring with masks, 2018; Ronneberger, Fischer, Brox, "U-Net",
    MICCAI 2015; for the Huber loss, Huber, "Robust Estimation of a Location Parameter", Annals of
    Mathematical Statistics 35, 1964.
    """

    command = "masked"
    recipes = {
        # The mask that colors all is among them, so that the trained model can be used without a mask.
        "quick": replace(QUICK_GAN, settings={"masks": ["ten", "full"], "width": 16, "layers": 3}),
        "world": replace(
            QUICK_GAN,
            steps=6_000,
            warmup=600,
            ema=0.999,
            checkpoint_every=500,
            size=64,
            settings={
                "masks": _ALL,
                "width": 16,
                "layers": 4,
            },
        ),
        # Flower beds, with one fixed mask and with ten, the discriminator's true pictures colored inside the
        # mask only or everywhere.
        "flowers-half": replace(_ON_FLOWERS, settings={**_FLOWERS, "masks": ["left half"]}),
        "flowers-ten": replace(_ON_FLOWERS, settings={**_FLOWERS, "masks": ["ten"]}),
        "flowers-half-colored": replace(
            _ON_FLOWERS, settings={**_FLOWERS, "masks": ["left half"], "truth": "colored"}
        ),
        "flowers-ten-colored": replace(
            _ON_FLOWERS, settings={**_FLOWERS, "masks": ["ten"], "truth": "colored"}
        ),
        # And with masks of every kind, drawn at random.
        "flowers-mixed": replace(
            _ON_FLOWERS,
            steps=6_000,
            warmup=600,
            settings={
                **_FLOWERS,
                "masks": _ALL,
            },
        ),
        # Photographs come without labels, so there are no masks of segments.
        "full": replace(
            FULL_GAN,
            settings={"masks": _ALL[:-1]},
        ),
        # A course project at IMPA, 2018: 80 epochs of 1360 photographs of flowers, each with all ten masks.
        # Here each picture's mask is drawn, so that it meets the ten equally often on average. All the rest
        # is this course's choice.
        "paper": Recipe(
            steps=80 * 1_360 * 10 // 16,
            batch=16,
            learning_rate=2e-4,
            betas=(0.5, 0.999),
            checkpoint_every=1_000,
            log_every=50,
            size=224,
            settings={"masks": ["ten"]},
        ),
    }

    def __init__(
        self,
        masks: str | Iterable[str] = "ten",
        mask_loss: str = "l2",
        mask_weight: float = 100.0,
        delta: float = 0.1,
        l1: float = 0.0,
        truth: str = "masked",
        adversarial: str = "vanilla",
        width: int = 64,
        layers: int = 5,
    ):
        super().__init__()
        width, layers = wholes(width=width, layers=layers)
        self.masks = check_kinds(masks, "masks")
        self.mask_loss, self.truth = (
            choice(mask_loss, "mask_loss", MASK_LOSSES),
            choice(truth, "truth", TRUTHS),
        )
        self.mask_weight, self.l1 = (
            number(mask_weight, "mask_weight", "[0, inf)"),
            number(l1, "l1", "[0, inf)"),
        )
        self.delta = number(delta, "delta", "(0, inf)")
        self.adversarial = choice(adversarial, "adversarial", ADVERSARIAL)
        self.settings = {
            "masks": list(self.masks),
            "mask_loss": mask_loss,
            "mask_weight": self.mask_weight,
            "delta": self.delta,
            "l1": self.l1,
            "truth": truth,
            "adversarial": adversarial,
            "width": width,
            "layers": layers,
        }
        self.generator = UNet(2, 2, doubled(width, 5), middle=True)
        self.discriminator = ImageDiscriminator(4, width, layers)
        start_normal(self)

    @classmethod
    def small(cls, **settings) -> MaskedGAN:
        """Build the quick version, for pictures of some 32 pixels: a quarter of the width.

        The discriminator has 3 layers of stride 2. ``settings`` are arguments of the class that take the
        place of these.
        """
        return cls(**{"width": 16, "layers": 3, **settings})

    # Training.

    def players(self) -> dict[str, Player]:
        """Give the two who learn in turn, the discriminator first; see :class:`colorlib.training.Player`."""
        return {
            "discriminator": Player([*self.discriminator.parameters()], self.discriminator_loss),
            "generator": Player([*self.generator.parameters()], self.generator_loss),
        }

    def loss(self, batch: Batch) -> Tensor:
        """Refuse: there are two losses, :meth:`discriminator_loss` and :meth:`generator_loss`."""
        raise NotImplementedError(
            f"{type(self).__name__} has two losses, discriminator_loss and generator_loss; see players()"
        )

    def batch_masks(self, batch: Batch) -> Tensor:
        """Give the masks of a training batch: its own, or those that the pictures' seeds draw.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W); ``"mask"``, (B, 1, H, W) in [0, 1], or ``"seed"``, (B,) int64, and for
            masks of the kind ``"segments"`` ``"material"``, (B, H, W) int64.

        Returns
        -------
        Tensor
            (B, 1, H, W) on the device of ``rgb``.

        Raises
        ------
        ValueError
            For a batch with neither masks nor seeds, or without the material that is needed.
        """
        rgb = true_rgb(batch)
        if "mask" in batch:
            return _fitting(batch["mask"], rgb)
        if "seed" not in batch:
            raise ValueError(f"batch must have 'seed' or 'mask' beside 'rgb'; it has {', '.join(batch)}")
        seeds = inside(integers(batch["seed"], "seed", f"({len(rgb)},)"), "seed", 0, MOST)
        size, labels = rgb.shape[-2:], None
        if "material" in batch:
            labels = integers(batch["material"], "material", str((len(rgb), *size)))
        return draw(seeds, tuple(size), self.masks, labels).to(rgb)

    def discriminator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give what the discriminator's mistakes cost, see :func:`discriminator_loss`, and its accuracy."""
        lightness, mask, wanted, true = self._prepare(batch)
        with torch.no_grad():
            painted = self.generator(torch.cat([lightness, mask], 1)).to(wanted)
        real = self.discriminator(torch.cat([lightness, true, mask], 1))
        fake = self.discriminator(torch.cat([lightness, painted, mask], 1))
        accuracy = discriminator_accuracy(real, fake, self.adversarial)
        return discriminator_loss(real, fake, self.adversarial), {"accuracy": accuracy}

    def generator_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the adversarial loss plus the weighted mask loss and the weighted absolute error.

        Beside it come these three, ``"adversarial"``, ``"mask"`` and ``"l1"``, before they are weighted.
        """
        lightness, mask, wanted, true = self._prepare(batch)
        painted = self.generator(torch.cat([lightness, mask], 1)).to(wanted)
        fake = self.discriminator(torch.cat([lightness, painted, mask], 1))
        adversarial = generator_loss(fake, self.adversarial)
        masked, l1 = self.mask_cost(painted, wanted), F.l1_loss(painted, true)
        loss = adversarial + self.mask_weight * masked + self.l1 * l1
        return loss, {"adversarial": adversarial, "mask": masked, "l1": l1}

    def mask_cost(self, painted: Tensor, wanted: Tensor) -> Tensor:
        """Give the mask loss before it is weighted.

        Parameters
        ----------
        painted, wanted : Tensor
            ab divided by 110, (B, 2, H, W).
        """
        floating(painted, "painted", "(B, 2, H, W)", empty=False)
        floating(wanted, "wanted", str(tuple(painted.shape)))
        if self.mask_loss == "huber":
            # Twice torch's, so that small errors cost the same as by the squared distance.
            each = 2 * F.huber_loss(painted, wanted, reduction="none", delta=self.delta)
        else:
            each = (painted - wanted).square()
        return each.sum(1).mean()

    def _prepare(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lightness, mask, the ab wanted, and the ab that the discriminator is shown as true."""
        lightness, ab = scaled(true_rgb(batch))
        mask = self.batch_masks(batch)
        wanted = ab * mask
        return lightness, mask, wanted, wanted if self.truth == "masked" else ab

    # Use.

    def forward(self, lightness: Tensor, mask: Tensor) -> Tensor:
        """Paint: CIE L (B, 1, H, W) and mask (B, 1, H, W) in [0, 1] to CIE ab (B, 2, H, W)."""
        lightness = fitting(lightness, self)
        return self.generator(torch.cat([lightness / 50 - 1, _fitting(mask, lightness)], 1)) * AB_SCALE

    def colorize(
        self,
        gray: Tensor,
        samples: int = 1,
        seed: int | None = None,
        *,
        image_size: int | None = None,
        mask: Tensor | None = None,
        **knobs,
    ) -> Tensor:
        """Color gray pictures where a mask says so; see :meth:`Colorizer.colorize` for the rest.

        The network has learned to leave the other pixels gray; nothing forces it to.

        Parameters
        ----------
        gray : Tensor
            Gray pictures in [0, 1], (B, 1, H, W).
        samples : int
            How many colorings; there is no chance here, so they are equal.
        seed, image_size
            See :meth:`Colorizer.colorize`.
        mask : Tensor, optional
            1 where color is wanted, 0 where not, (B, 1, H, W) or (1, 1, H, W): floating point in [0, 1], or
            bool. It is reduced with the picture where the model sees that reduced. None: color everywhere.
        """
        return super().colorize(gray, samples, seed, image_size=image_size, mask=mask, **knobs)

    def strips(
        self,
        gray: Tensor,
        samples: int = 1,
        seed: int | None = None,
        *,
        image_size: int | None = None,
        mask: Tensor | None = None,
        **knobs,
    ) -> Iterator[Tensor]:
        """Give the result of :meth:`colorize` in strips of rows; see :meth:`Colorizer.strips`."""
        check_gray(gray)
        if mask is not None:
            mask = _fitting(mask, gray)
        return super().strips(gray, samples, seed, image_size=image_size, mask=mask, **knobs)

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        mask: Annotated[Tensor | None, "A picture of the same size, white where color is wanted."] = None,
    ) -> Tensor:
        """Give the ab of a lightness, the same in all samples; see :meth:`Colorizer.chroma`.

        The mask is (B, 1, h, w) in [0, 1]; one of another size than the lightness is brought to it. None: all
        ones.
        """
        lightness, samples = asked(self, lightness, samples, generator)
        mask = torch.ones_like(lightness) if mask is None else _checked(mask, lightness)
        if mask.shape[-2:] != lightness.shape[-2:]:
            # As the lightness is reduced: each pixel is a mean of those that it covers.
            mask = F.interpolate(
                mask, lightness.shape[-2:], mode="bilinear", align_corners=False, antialias=True
            ).clamp(0, 1)
        return self(lightness, mask).expand(samples, -1, -1, -1, -1)


def _fitting(mask: Tensor, pictures: Tensor) -> Tensor:
    """A mask (B, 1, H, W) for pictures (B, C, H, W), on their device and of their kind of number."""
    mask = _checked(mask, pictures)
    if mask.shape[-2:] != pictures.shape[-2:]:
        raise ValueError(
            f"mask must be of the pictures' size, {tuple(pictures.shape)}; got {tuple(mask.shape)}"
        )
    return mask.expand(len(pictures), -1, -1, -1)


def _checked(mask: Tensor, pictures: Tensor) -> Tensor:
    """The same, of any size, and perhaps one for all."""
    if isinstance(mask, Tensor) and mask.dtype == torch.bool:
        mask = mask.to(pictures.dtype)
    shapes = {f"({count}, 1, H, W)" for count in (len(pictures), 1)}
    floating(mask, "mask", *sorted(shapes, reverse=True), empty=False)
    return inside(mask.to(pictures), "mask", 0, 1)
