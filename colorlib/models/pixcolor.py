"""Color drawn value by value: a network for what is seen, one for small chroma, one for the full size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, floating, inside, whole, wholes
from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab, rgb_to_ycbcr, ycbcr_to_rgb
from colorlib.data.materials import KINDS
from colorlib.models.base import Colorizer, check_gray
from colorlib.models.condition import CELLS, ConditionNetwork, cell_values, pad
from colorlib.models.pixelcnn import PixelCNN
from colorlib.models.teacher import LawTeacher
from colorlib.sampling import sample
from colorlib.training import Batch, Player
from colorlib.training.recipes import FULL, QUICK, Recipe

_SMALL = {
    "backbone": "small",
    "reduction": 4,
    "width": 32,
    "blocks": 4,
    "kernel": 3,
    "hidden": 128,
    "refinement": 8,
    "cells": "pixel",
    "first_weights": "even",
}
# Everything that the PixelCNN of the world can be told, from the first step: names, chances, each cell's own
# gray, and what a cell could be by itself.
_TOLD = {
    **_SMALL,
    "kernel": 5,
    "hidden": 256,
    "attention": 2,
    "materials": 23,
    "law": "landscape",
    "waves": 32,
    "marginal": 256,
    "depth": 12,
    "fine": 2,
}


class PixColor(Colorizer):
    """PixColor: draws a small map of chroma pixel by pixel, then refines it at the picture's size.

    It has three parts. Each can be used by itself; the first two learn together, the third apart::

        gray                 -> condition  -> features of the grid      (ConditionNetwork)
        features, past chroma -> pixelcnn  -> logits of the next value  (PixelCNN)
        gray, enlarged chroma -> refinement -> chroma                   (Refinement)

    With the ResNet-101 a pixel of the grid stands for 8 x 8 pixels of the picture: a picture of 224 x 224 has
    28 x 28. Chroma is Cr, then Cb, of full-range YCbCr, both from -1 to 1. A map drawn is one whole choice of
    colors, so the samples of a picture differ and none is a mean of them.

    The source leaves some things open. Built here: gray of the picture's CIE lightness takes the place of
    luma, so that training sees the gray that :meth:`colorize` is given; the 32 levels are steps of 1/16, with
    one that is exactly gray; the target is the mean chroma of each cell, or that of the pixel at its middle,
    rounded to levels; for the refinement's layers and for how the condition enters see the two classes. A
    picture whose sides don't fit the grid is continued with its edge pixels, and the result is cropped.

    Parameters
    ----------
    pretrained : bool
        Whether the ResNet-101 starts from torchvision's ImageNet weights, which are downloaded once. Its
        first convolution is then summed over RGB: on a gray picture it gives what the original gives.
    unfreeze_at : int
        The backbone learns nothing in so many first steps, and its batch norms keep their statistics; the
        paper has 100,000. A step is a call of the loss in training mode, so a recipe that splits its batches
        in two takes two a step. The count is a buffer, saved with the weights.
    backbone : str
        ``"resnet101"``, or ``"small"``, for small pictures, see :class:`ConditionNetwork`.
    reduction : int
        Side in pixels of a cell of the grid: a power of 2; 8 with the ResNet-101.
    width, blocks, kernel, hidden, levels : int
        See :class:`PixelCNN`; ``width`` is that of the condition too.
    refinement : int
        Channels of the refinement's first layer.
    cells : str
        What a cell of the small map holds: ``"mean"``, its pixels' mean chroma, or ``"pixel"``, the chroma of
        one: that at its middle, or right and below of it where the side is even. A mean mixes colors at
        borders. One pixel doesn't, and is the better target where the pictures' chroma has no noise.
    first_weights : str
        ``"even"`` or ``"torch"``, see :class:`PixelCNN`. From even ones the first thousand steps get
        much farther; later the lead is gone.
    attention : int
        See :class:`PixelCNN`; the published network has none.
    materials : int
        Into how many materials the condition network learns to segment the picture while the PixelCNN learns
        to color it, see :meth:`pixelcnn_loss`. With 0 it learns from the colors alone. Only data with labels,
        such as the world, can teach it.
    law : str, optional
        A kind of drawn world, such as ``"landscape"``. Where a thing of it begins, the PixelCNN then learns
        the exact chances of the thing's colors in place of the one that was drawn, see :meth:`pixelcnn_loss`.
        It takes ``cells="pixel"`` and no photographs. With None it learns from the colors drawn.
    waves : int
        With how many cosines the PixelCNN is told the gray of each cell itself, see
        :class:`ConditionNetwork`. It is then also told the probabilities of the materials, where the model
        learns them, and its hidden layer sees the condition. The published network has none.
    marginal : int
        Hidden channels of what each cell could be by itself, mixed into what the past suggests, see
        :class:`PixelCNN`. It is learned in all cells, and with a law from the exact chances, as is where
        things begin, see :meth:`pixelcnn_loss`. The published network has none.
    depth, fine : int
        Residual blocks of the small backbone, see :class:`ConditionNetwork`.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.
    DownloadError
        Where the pretrained weights cannot be downloaded.

    Notes
    -----
    Source: Guadarrama, Dahl, Bieber, Norouzi, Shlens, Murphy, "PixColor: Pixel Recursive Colorization", BMVC
    2017, Table 2.
    """

    draws = True

    command = "pixcolor"
    recipes = {
        "quick": replace(QUICK, size=64, settings=_SMALL),
        # For a quarter of an hour of a large GPU; on two cores it takes days.
        "world": replace(
            QUICK,
            steps=15_000,
            warmup=1_000,
            batch=512,
            learning_rate=4e-3,
            ema=0.999,
            precision="bfloat16",
            checkpoint_every=1_000,
            log_every=20,
            size=64,
            settings=_TOLD,
        ),
        # The published parts alone.
        "world-plain": replace(
            QUICK,
            steps=28_000,
            warmup=2_000,
            batch=32,
            learning_rate=4e-3,
            ema=0.9995,
            precision="bfloat16",
            checkpoint_every=500,
            size=64,
            settings=_SMALL,
        ),
        "full": replace(FULL, learning_rate=3e-4, settings={"pretrained": True, "unfreeze_at": 20_000}),
        # Guadarrama et al., "PixColor", BMVC 2017. Its backbone had learned segmentation; ImageNet's weights
        # stand for it. Size, crop, mirror and the bound of colorfulness are this course's choice.
        "paper": Recipe(
            steps=360_000,
            batch=64,
            learning_rate=3e-4,
            crop=224,
            flip=True,
            checkpoint_every=1_000,
            log_every=50,
            size=256,
            colorful=10.0,
            settings={"pretrained": True, "unfreeze_at": 100_000},
        ),
    }

    def __init__(
        self,
        pretrained: bool = False,
        unfreeze_at: int = 0,
        backbone: str = "resnet101",
        reduction: int = 8,
        width: int = 64,
        blocks: int = 10,
        kernel: int = 5,
        hidden: int = 1024,
        levels: int = 32,
        refinement: int = 32,
        cells: str = "mean",
        first_weights: str = "even",
        attention: int = 0,
        materials: int = 0,
        law: str | None = None,
        waves: int = 0,
        marginal: int = 0,
        depth: int = 4,
        fine: int = 0,
    ):
        super().__init__()
        choice(cells, "cells", CELLS)
        if law is not None:
            choice(law, "law", KINDS)
        unfreeze_at, attention, materials, waves, marginal, depth, fine = wholes(
            0,
            unfreeze_at=unfreeze_at,
            attention=attention,
            materials=materials,
            waves=waves,
            marginal=marginal,
            depth=depth,
            fine=fine,
        )
        reduction, width, kernel, hidden, levels, refinement = wholes(
            reduction=reduction,
            width=width,
            kernel=kernel,
            hidden=hidden,
            levels=levels,
            refinement=refinement,
        )
        blocks = whole(blocks, "blocks", 0)
        self.settings = {
            "unfreeze_at": unfreeze_at,
            "backbone": backbone,
            "reduction": reduction,
            "width": width,
            "blocks": blocks,
            "kernel": kernel,
            "hidden": hidden,
            "levels": levels,
            "refinement": refinement,
            "cells": cells,
            "first_weights": first_weights,
            "attention": attention,
            "materials": materials,
            "law": law,
            "waves": waves,
            "marginal": marginal,
            "depth": depth,
            "fine": fine,
        }
        if law is not None and cells != "pixel":
            raise ValueError(f"a law needs cells='pixel', for a mean mixes things; got {cells!r}")
        self.unfreeze_at, self.reduction, self.cells = unfreeze_at, reduction, cells
        self.condition = ConditionNetwork(
            width, backbone, reduction, pretrained, first_weights, cells, materials, waves, depth, fine
        )
        self.pixelcnn = PixelCNN(
            width,
            blocks,
            kernel,
            hidden=hidden,
            levels=levels,
            condition=self.condition.channels,
            first_weights=first_weights,
            attention=attention,
            late=waves > 0,
            marginal=marginal,
        )
        self.refinement = Refinement(refinement)
        self.teacher = None if law is None else LawTeacher(law)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @classmethod
    def small(cls) -> PixColor:
        """Build the quick version, for pictures of some 64 pixels: every fourth pixel, half the width."""
        return cls(
            backbone="small",
            reduction=4,
            width=32,
            blocks=4,
            kernel=3,
            hidden=128,
            levels=32,
            refinement=8,
            cells="pixel",
        )

    # Training.

    def players(self) -> dict[str, Player]:
        """Give the two who learn side by side, see :class:`colorlib.training.Player`."""
        drawing = [*self.condition.parameters(), *self.pixelcnn.parameters()]
        return {
            "pixelcnn": Player(drawing, self.pixelcnn_loss),
            "refinement": Player([*self.refinement.parameters()], self.refinement_loss),
        }

    def loss(self, batch: Batch) -> Tensor:
        """Give the sum of both players' losses; they share no weights, so each keeps its own gradient."""
        return self.pixelcnn_loss(batch)[0] + self.refinement_loss(batch)

    def pixelcnn_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the mean nats of a value of the small chroma map; knowing nothing costs log(levels).

        Where the model learns materials, the mean nats of a cell's material given the condition there are
        added. The paper's condition network had learned to segment photographs before.

        Where it follows a law, the first cell of each thing costs the mean over all colors that the thing
        might have had, each with its chance; for Cb these are the colors with the Cr drawn. What came before
        stays as it was drawn. The expected loss and gradient are the same as with draws alone, and so is the
        optimum. But a draw tells little of a chance: it takes thousands to tell 0.20 from 0.22.

        Where there is a marginal, the mean nats of a value under the marginal alone are added: of the value
        drawn, or by a law of all that the cell might have had, in every cell. With a law the gate's mean
        cross entropy is added, too: it should be open in the first cell of each thing, and shut elsewhere.
        All that is added has the weight 1, and teaches the condition network as well.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1]. For a model that learns materials also ``"material"``, (B, H,
            W) int64 from 0 to ``materials - 1``. For one that follows a law all tensors of a
            :class:`colorlib.data.Scene` of that kind.

        Raises
        ------
        ValueError
            If a model that learns materials is given none, or one that is out of range, or a model that
            follows a law is given no scenes, or scenes of another kind. On a GPU, where looking would mean
            waiting, wrong scenes make the loss NaN, and :func:`colorlib.training.fit` stops.
        """
        # Looked at only where it matters: on a GPU looking means waiting.
        frozen = self.training and self.unfreeze_at > 0 and bool(self.steps < self.unfreeze_at)
        condition = self.condition(rgb_to_gray(batch["rgb"]), frozen)
        levels = self.levels(batch["rgb"])
        by_law = {}
        if self.teacher is not None:
            pixels = self._pixels(batch["rgb"].shape[-2:], levels.device)
            by_law = self.teacher(levels, batch, pixels, self.pixelcnn.quantize, self.pixelcnn.levels)
        parts = self.pixelcnn.losses(levels, condition, **by_law)
        if self.condition.segmentation is not None:
            parts["segmentation"] = self._segmentation_loss(condition, batch)
        parts = {name: part.mean() for name, part in parts.items()}
        if self.training:
            self.steps += 1  # a refused batch is no step
        return sum(parts.values()), parts if len(parts) > 1 else {}

    def _pixels(self, size: tuple[int, int], device) -> tuple[Tensor, Tensor]:
        """Rows (h, 1) and columns (w,) of the pixel in each cell's middle; past an edge, the last ones."""
        half, side = self.reduction // 2, self.reduction
        down, right = (
            (torch.arange(-(-pixels // side), device=device) * side + half).clamp(max=pixels - 1)
            for pixels in size
        )
        return down[:, None], right

    def _segmentation_loss(self, condition: Tensor, batch: Batch) -> Tensor:
        count = self.settings["materials"]
        if "material" not in batch:
            raise ValueError(
                f"a model that learns {count} materials needs 'material' beside 'rgb' in its batches, as the "
                f"world gives it; got {', '.join(batch)}"
            )
        size, given = batch["rgb"].shape[-2:], batch["material"]
        if given.dtype != torch.int64 or given.shape != (len(condition), *size):
            raise ValueError(
                f"'material' must be int64 {(len(condition), *size)}, as 'rgb'; got {given.dtype} "
                f"{tuple(given.shape)}"
            )
        down, right = self._pixels(size, condition.device)
        material = given[:, down, right]
        if not material.is_cuda and not 0 <= material.min() <= material.max() < count:
            raise ValueError(
                f"'material' must be from 0 to {count - 1}, got {material.min()} to {material.max()}"
            )
        return F.cross_entropy(self.condition.names(condition).float(), material)

    def refinement_loss(self, batch: Batch) -> Tensor:
        """Give the mean squared error of full-size chroma made from the true small map and the gray picture.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1].
        """
        rgb = batch["rgb"]
        coarse = self.enlarge(self.pixelcnn.values(self.levels(rgb)), rgb.shape[-2:])
        return F.mse_loss(self.refinement(rgb_to_gray(rgb), coarse).to(rgb.dtype), _chroma(rgb))

    # Use.

    def levels(self, rgb: Tensor) -> Tensor:
        """Give the levels of a picture's small chroma map: RGB (B, 3, H, W) to int64 (B, 2, h, w), Cr first.

        The grid has h = ceil(H / reduction) rows and w = ceil(W / reduction) columns.
        """
        chroma = pad(_chroma(rgb), self.reduction)
        return self.pixelcnn.quantize(cell_values(chroma, self.reduction, self.cells))

    def enlarge(self, chroma: Tensor, size: tuple[int, int]) -> Tensor:
        """Enlarge small maps (B, 2, h, w) to the picture's size, by bilinear interpolation between cells.

        Raises
        ------
        ValueError
            For a size to which no map of so many cells belongs.
        """
        cells = tuple(-(-side // self.reduction) for side in size)
        if tuple(chroma.shape[-2:]) != cells:
            raise ValueError(f"a picture of {tuple(size)} has {cells} cells; got {tuple(chroma.shape[-2:])}")
        chroma = F.interpolate(chroma, scale_factor=self.reduction, mode="bilinear", align_corners=False)
        return chroma[:, :, : size[0], : size[1]]

    @torch.no_grad()
    def log_prob(self, gray: Tensor, chroma: Tensor) -> Tensor:
        """Give the log probability of small chroma maps, in nats an image, in evaluation mode.

        Parameters
        ----------
        gray : Tensor
            Gray pictures in [0, 1], (B, 1, H, W).
        chroma : Tensor
            Cr and Cb in [-1, 1], (B, 2, h, w); the nearest levels are taken.

        Returns
        -------
        Tensor
            (B,).

        Raises
        ------
        TypeError, ValueError
            For gray as in :meth:`colorize`, or a chroma map that is not floating point in [-1, 1], levels for
            instance, or isn't of the picture's grid.
        """
        check_gray(gray)
        floating(chroma, "chroma", hint="pixelcnn.values makes chroma of levels")
        weight = next(self.parameters())
        gray, chroma = gray.to(weight), chroma.to(weight)
        grid = [len(gray), 2, *(-(-side // self.reduction) for side in gray.shape[-2:])]
        if list(chroma.shape) != grid:
            raise ValueError(
                f"chroma must be {tuple(grid)} for gray {tuple(gray.shape)}, got {tuple(chroma.shape)}"
            )
        inside(chroma, "chroma", -1, 1)
        with _evaluating(self), torch.autocast(gray.device.type, enabled=False):
            return -self.pixelcnn.nats(self.pixelcnn.quantize(chroma), self.condition(gray)).sum((1, 2, 3))

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        temperature: Annotated[float, "Below 1 only likely colors are drawn, above 1 bold ones too."] = 1.0,
        top_p: Annotated[float, "Draw from the likeliest colors, up to this share."] = 1.0,
        refine: Annotated[bool, "Let the refinement network follow."] = True,
        known: Tensor | None = None,
        mask: Tensor | None = None,
        progress: Callable[[int, int], bool | None] | None = None,
        graph: bool = True,
    ) -> Tensor:
        """Give the ab of a lightness; see :meth:`Colorizer.chroma`.

        Parameters
        ----------
        lightness : Tensor
            CIE L, (B, 1, H, W).
        samples : int
            How many colorings; all are drawn in one batch.
        generator : torch.Generator
            The source of chance.
        temperature, top_p : float
            How bold the draws are, see :func:`colorlib.sampling.draw`.
        refine : bool
            Whether the refinement network follows; without it the small map is only enlarged.
        known, mask, progress, graph
            See :func:`colorlib.sampling.sample`; :meth:`levels` makes ``known`` of a colored picture, which
            must have the size at which the model sees the gray one.
        """
        gray = lab_to_rgb(torch.cat([lightness, torch.zeros_like(lightness).expand(-1, 2, -1, -1)], 1))[:, :1]
        with torch.autocast(gray.device.type, enabled=False):  # the sampler wants one dtype throughout
            if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.all():
                # All is given: nothing is drawn, and nobody asks what the picture shows.
                cells = (-(-side // self.reduction) for side in gray.shape[-2:])
                condition = gray.new_zeros(len(gray), self.condition.channels, *cells)
            else:
                condition = self.condition(gray)
            drawn = sample(
                self.pixelcnn,
                condition,
                samples,
                generator,
                temperature=temperature,
                top_p=top_p,
                known=known,
                mask=mask,
                progress=progress,
                graph=graph,
            )
        out = []
        for levels in drawn:
            chroma = self.enlarge(self.pixelcnn.values(levels).to(gray), gray.shape[-2:])
            out.append(_ab(gray, self.refinement(gray, chroma) if refine else chroma))
        return torch.stack(out)


class Refinement(nn.Module):
    """Makes enlarged chroma fit the gray picture's edges: an hourglass that adds a correction to it.

    The source gives no complete scales. Built here: 3 x 3 convolutions with ReLU at full size, half and a
    quarter of it, with c, 2 c, 4 c and again 4 c channels; two bilinear steps back with 2 c and c, to which
    the features of the same size on the way down are added, for edges don't survive a quarter of the size; a
    last convolution to Cr and Cb, which starts at zero, so that an untrained network changes nothing. A
    picture whose sides are not multiples of 4 is continued with its edge pixels, and the result is cropped.

    Parameters
    ----------
    channels : int
        c, the channels of the first layer.
    """

    def __init__(self, channels: int = 32):
        super().__init__()
        c = whole(channels, "channels", 1)
        self.at_full = _convolution(3, c)
        self.at_half = _convolution(c, 2 * c, stride=2)
        self.at_quarter = nn.Sequential(_convolution(2 * c, 4 * c, stride=2), _convolution(4 * c, 4 * c))
        self.back_to_half = _convolution(4 * c, 2 * c)
        self.back_to_full = _convolution(2 * c, c)
        self.correction = nn.Conv2d(c, 2, 3, padding=1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, gray: Tensor, chroma: Tensor) -> Tensor:
        """Refine: gray (B, 1, H, W) and enlarged Cr and Cb (B, 2, H, W) to Cr and Cb (B, 2, H, W)."""
        height, width = gray.shape[-2:]
        full = self.at_full(pad(torch.cat([2 * gray - 1, chroma], 1), 4))
        half = self.at_half(full)
        quarter = self.at_quarter(half)
        half = self.back_to_half(_double(quarter)) + half
        full = self.back_to_full(_double(half)) + full
        return chroma + self.correction(full)[:, :, :height, :width]


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.ReLU())


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _chroma(rgb: Tensor) -> Tensor:
    """Cr and Cb in [-1, 1] of RGB."""
    return 2 * rgb_to_ycbcr(rgb)[:, [2, 1]] - 1


def _ab(gray: Tensor, chroma: Tensor) -> Tensor:
    """CIE ab of Cr and Cb in [-1, 1] (B, 2, H, W), at the lightness of gray (B, 1, H, W)."""
    cb_cr = chroma.flip(1) / 2 + 0.5
    luma = gray
    # Which luma gives a color of this chroma the gray's lightness? Too dark a color gets more, too light a
    # one less; each turn leaves about half of the error.
    for _ in range(8):
        luma = luma + gray - rgb_to_gray(ycbcr_to_rgb(torch.cat([luma, cb_cr], 1)))
    return rgb_to_lab(ycbcr_to_rgb(torch.cat([luma, cb_cr], 1)))[:, 1:]


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
