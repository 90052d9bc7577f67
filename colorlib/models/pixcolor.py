"""Color drawn value by value: a network for what is seen, one for small chroma, one for the full size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab, rgb_to_ycbcr, ycbcr_to_rgb
from colorlib.data import Law
from colorlib.data.materials import KINDS
from colorlib.models.base import Colorizer, check_gray, check_sizes
from colorlib.models.pixelcnn import PixelCNN, check_first_weights
from colorlib.models.regression import sum_over_rgb
from colorlib.sampling import sample

BACKBONES = ("resnet101", "small")
CELLS = ("mean", "pixel")


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

    Attributes
    ----------
    figures : dict of str to Tensor
        With ``materials`` or ``marginal``, what the last call of :meth:`pixelcnn_loss` was made of:
        ``"nats"``, and of ``"segmentation"``, ``"marginal"`` and ``"gate"`` those that it has.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.
    RuntimeError
        Where the pretrained weights cannot be downloaded.

    Notes
    -----
    Source: Guadarrama, Dahl, Bieber, Norouzi, Shlens, Murphy, "PixColor: Pixel Recursive Colorization", BMVC
    2017, Table 2.
    """

    draws = True

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
        if cells not in CELLS:
            raise ValueError(f"cells must be one of {', '.join(CELLS)}; got {cells!r}")
        check_sizes(0, unfreeze_at=unfreeze_at)
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
            "materials": 0,
            "law": None,
            "waves": 0,
            "marginal": 0,
            "depth": depth,
            "fine": fine,
        }
        self.unfreeze_at, self.reduction, self.cells = unfreeze_at, reduction, cells
        self.condition = ConditionNetwork(
            width, backbone, reduction, pretrained, first_weights, cells, depth=depth, fine=fine
        )
        self.pixelcnn = PixelCNN(
            width,
            blocks,
            kernel,
            hidden=hidden,
            levels=levels,
            condition=width,
            first_weights=first_weights,
            attention=attention,
        )
        self.refinement = Refinement(refinement)
        self.figures: dict[str, Tensor] = {}
        self.segment(materials)
        self.inform(waves)
        self.mix(marginal)
        self.follow(law)
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

    def widen(self, kernel: int) -> None:
        """Let the PixelCNN's blocks see farther without changing what it computes.

        See :meth:`PixelCNN.widen`, which raises its errors. An optimizer must be made anew.
        """
        self.pixelcnn.widen(kernel)
        self.settings["kernel"] = kernel

    def attend(self, heads: int) -> None:
        """Give the PixelCNN attention without changing what it computes.

        See :meth:`PixelCNN.attend`, which raises its errors. An optimizer must be made anew.
        """
        self.pixelcnn.attend(heads)
        self.settings["attention"] += heads  # of two calls at most one is not 0

    def deepen(self, depth: int, fine: int | None = None) -> None:
        """Give the small backbone more residual blocks without changing what it computes.

        See :meth:`ConditionNetwork.deepen`, which raises its errors. An optimizer must be made anew.
        """
        self.condition.deepen(depth, fine)
        self.settings.update(depth=self.condition.depth, fine=self.condition.fine)

    def magnify(self, reduction: int) -> None:
        """Let it see larger pictures of the same things, for a map of the same size.

        The ``side`` at which the model sees a picture grows as well, where it has one. See
        :meth:`ConditionNetwork.magnify`, which raises its errors. An optimizer must be made anew.
        """
        self.condition.magnify(reduction)
        if self.side is not None:
            self.side = self.side * reduction // self.reduction
        self.reduction = self.settings["reduction"] = reduction

    def segment(self, materials: int) -> None:
        """Let the condition network learn to tell so many materials beside; 0 for none.

        The weights that tell the materials are drawn anew, unless their number is the old one. Without waves
        the colors that are drawn stay the same until training goes on, with a new optimizer. With waves the
        PixelCNN was told the old materials, and has to learn to do without them.

        Raises
        ------
        TypeError, ValueError
            For materials that are no whole number of 0 or more.
        """
        check_sizes(0, materials=materials)
        if materials == self.settings["materials"]:
            return
        self.condition.segment(materials)
        self.figures.clear()
        if self.settings["waves"]:
            self.pixelcnn.inform(self.condition.channels - materials)  # without the old ones
            self.pixelcnn.inform(self.condition.channels)
        self.settings["materials"] = materials

    def broaden(self, hidden: int) -> None:
        """Give the PixelCNN's hidden layer more channels without changing what it computes.

        See :meth:`PixelCNN.broaden`, which raises its errors. An optimizer must be made anew.
        """
        self.pixelcnn.broaden(hidden)
        self.settings["hidden"] = hidden

    def inform(self, waves: int) -> None:
        """Tell the PixelCNN each cell's own gray and its materials without changing what it computes.

        ``waves`` is the number of cosines of the gray, see the class. An optimizer must be made anew.

        Raises
        ------
        TypeError, ValueError
            For waves that are no whole number of 0 or more, or where there are some already.
        """
        check_sizes(0, waves=waves)
        if not waves:
            return
        if self.settings["waves"]:
            raise ValueError(f"there are {self.settings['waves']} waves already; got {waves} more")
        self.condition.waves = self.settings["waves"] = waves
        self.pixelcnn.inform(self.condition.channels, late=True)

    def mix(self, marginal: int) -> None:
        """Mix in what each cell could be by itself, with so many hidden channels.

        See :meth:`PixelCNN.mix`, which raises its errors. An optimizer must be made anew.
        """
        self.pixelcnn.mix(marginal)
        self.settings["marginal"] += marginal  # of two calls at most one is not 0

    def follow(self, law: str | None) -> None:
        """Let the PixelCNN learn from the exact chances of a kind of drawn world, or with None from draws.

        Raises
        ------
        ValueError
            For an unknown kind, or cells that hold a mean: it may mix the colors of several things.
        """
        if law is not None:
            if not isinstance(law, str) or law not in KINDS:
                raise ValueError(f"law must be one of {', '.join(KINDS)}, or None; got {law!r}")
            palettes = Law(KINDS[law])
            if self.cells != "pixel":
                raise ValueError(f"a law needs cells='pixel', for a mean mixes things; got {self.cells!r}")
            # Not with the weights: they follow from the kind.
            device = self.pixelcnn.hidden.weight.device
            self.register_buffer("law_chances", palettes.probabilities.to(device), persistent=False)
            self.register_buffer("law_ab", palettes.ab.to(device), persistent=False)
        self.settings["law"] = law

    def players(self) -> dict[str, tuple]:
        """Give the two who learn side by side, see :class:`colorlib.training.Player`."""
        # The trainer takes plain tuples; its room may use this one, and not the other way.
        drawing = [*self.condition.parameters(), *self.pixelcnn.parameters()]
        return {
            "pixelcnn": (drawing, self.pixelcnn_loss),
            "refinement": (list(self.refinement.parameters()), self.refinement_loss),
        }

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Give the sum of both players' losses; they share no weights, so each keeps its own gradient."""
        return self.pixelcnn_loss(batch) + self.refinement_loss(batch)

    def pixelcnn_loss(self, batch: dict[str, Tensor]) -> Tensor:
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
        by_law = {} if self.settings["law"] is None else self._chances(levels, batch)
        parts = self.pixelcnn.losses(levels, condition, **by_law)
        if self.condition.segmentation is not None:
            parts["segmentation"] = self._segmentation_loss(condition, batch)
        parts = {name: part.mean() for name, part in parts.items()}
        if self.training:
            self.steps += 1  # a refused batch is no step
        self.figures.clear()
        if len(parts) > 1:
            self.figures.update({name: part.detach() for name, part in parts.items()})
        return sum(parts.values())

    @torch.no_grad()
    def _chances(self, levels: Tensor, batch: dict[str, Tensor]) -> dict:
        """What the law adds to the arguments of :meth:`PixelCNN.losses`.

        The ``targets`` are given all values before, the ``marginal_targets`` none but the cell's own Cr.
        """
        missing = [name for name in ("object", "palette_of", "lightness") if name not in batch]
        if missing:
            raise ValueError(
                f"a model that follows a law needs the world's scenes; the batch has no {', '.join(missing)}"
            )
        count, _, height, width = levels.shape
        size = tuple(batch["rgb"].shape[-2:])
        for name, wanted in (("object", (count, *size)), ("lightness", (count, 1, *size))):
            if batch[name].shape != wanted:
                raise ValueError(f"{name!r} must be {wanted}, as 'rgb'; got {tuple(batch[name].shape)}")
        down, right = self._pixels(batch["rgb"].shape[-2:], levels.device)
        thing = batch["object"][:, down, right].flatten(1)  # (B, cells)
        material = batch["palette_of"].gather(1, thing)
        if not material.is_cuda and not 0 <= material.min() <= material.max() < len(self.law_chances):
            raise self._other_scenes()
        chances, ab = self.law_chances[material], self.law_ab[material]  # (B, cells, k), (B, cells, k, 2)
        lightness = batch["lightness"][:, 0, down, right].flatten(1)[..., None].expand_as(chances)
        painted = lab_to_rgb(torch.cat([lightness[:, None], ab.movedim(-1, 1)], 1))  # (B, 3, cells, k)
        options = self.pixelcnn.quantize(_chroma(painted))
        # Each thing draws its color once. Cells after its first have no choice left, and where Cr is known,
        # Cb is one of those that go with it.
        place = torch.arange(thing.shape[1], device=thing.device).expand_as(thing)
        first = torch.full_like(batch["palette_of"], thing.shape[1]).scatter_reduce(1, thing, place, "amin")
        first = (first.gather(1, thing) == place)[:, None, :, None]
        true = levels.flatten(2)[..., None]
        # Painted again, a color may round to the next level; no other is so near in every channel.
        away = (options - true).abs()
        here = chances > 0
        fits = (here & (away.amax(1) <= 1)).any(-1, keepdim=True)
        if not away.is_cuda and not fits.all():
            raise self._other_scenes()
        away = away[:, 0].masked_fill(~here, self.pixelcnn.levels)
        # Where nothing fits, 0 / 0: on a GPU the loss is then not a number, and training stops.
        given = chances * (away == away.amin(-1, keepdim=True)) * fits
        chances = torch.stack([chances, given / given.sum(-1, keepdim=True)], 1)
        drawn = torch.zeros_like(chances)
        drawn[..., 0] = 1

        def on_grid(*pair):
            return tuple(x.transpose(2, 3).unflatten(3, (height, width)) for x in pair)

        return {
            "targets": on_grid(torch.where(first, options, true), torch.where(first, chances, drawn)),
            "marginal_targets": on_grid(options, chances),
            "begins": first[:, 0, :, 0].unflatten(1, (height, width)),
        }

    def _other_scenes(self) -> ValueError:
        return ValueError(
            f"the batch has things or colors that the world {self.settings['law']!r} doesn't have; it must "
            "hold scenes of that kind"
        )

    def _pixels(self, size: tuple[int, int], device) -> tuple[Tensor, Tensor]:
        """Rows (h, 1) and columns (w,) of the pixel in each cell's middle; past an edge, the last ones."""
        half, side = self.reduction // 2, self.reduction
        down, right = (
            (torch.arange(-(-pixels // side), device=device) * side + half).clamp(max=pixels - 1)
            for pixels in size
        )
        return down[:, None], right

    def _segmentation_loss(self, condition: Tensor, batch: dict[str, Tensor]) -> Tensor:
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

    def refinement_loss(self, batch: dict[str, Tensor]) -> Tensor:
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
        chroma = _pad(_chroma(rgb), self.reduction)
        return self.pixelcnn.quantize(_cells(chroma, self.reduction, self.cells))

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
        if not isinstance(chroma, Tensor) or not chroma.is_floating_point():
            got = chroma.dtype if isinstance(chroma, Tensor) else type(chroma).__name__
            raise TypeError(
                f"chroma must be floating point in [-1, 1], got {got}; pixelcnn.values makes chroma of levels"
            )
        weight = next(self.parameters())
        gray, chroma = gray.to(weight), chroma.to(weight)
        grid = [len(gray), 2, *(-(-side // self.reduction) for side in gray.shape[-2:])]
        if list(chroma.shape) != grid:
            raise ValueError(
                f"chroma must be {tuple(grid)} for gray {tuple(gray.shape)}, got {tuple(chroma.shape)}"
            )
        low, high = chroma.min().item(), chroma.max().item()
        if not (low >= -1 and high <= 1):  # NaN fails both
            raise ValueError(f"chroma must be in [-1, 1], got values from {low:.4g} to {high:.4g}")
        with _evaluating(self), torch.autocast(gray.device.type, enabled=False):
            return -self.pixelcnn.nats(self.pixelcnn.quantize(chroma), self.condition(gray)).sum((1, 2, 3))

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        temperature: float = 1.0,
        top_p: float = 1.0,
        refine: bool = True,
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


class ConditionNetwork(nn.Module):
    """What the gray picture says at each place of the grid: a backbone, then three convolutions.

    The ResNet-101 is cut after its third group of blocks, whose stride is replaced by dilation: 1024 features
    at an eighth of the picture's size. Gray is normalized with the mean and the deviation of photographs'
    gray that pretrained backbones expect. The small backbone is this course's: a convolution at the picture's
    size, one of stride 2 for each halving, and residual blocks, most of them at the grid's size.

    Parameters
    ----------
    width : int
        Channels of the condition; the small backbone has twice as many features.
    backbone : str
        ``"resnet101"`` or ``"small"``.
    reduction : int
        Side of a cell of the grid in pixels.
    pretrained : bool
        Whether the ResNet-101 starts from ImageNet's weights.
    first_weights : str
        ``"even"``: the three convolutions keep the size of the features. ``"torch"``: torch's own, which make
        the condition some ten times smaller.
    cells : str
        Which gray is a cell's own: ``"mean"``, that of its pixels, or ``"pixel"``, that of the one in its
        middle.
    materials : int
        How many materials it tells apart, with a linear layer on the features.
    waves : int
        With waves the condition has three parts: the features, ``cos(pi k g)`` of the cell's own gray g for k
        from 1 to so many, and the probabilities of its materials. Convolutions and batch norms blur a number;
        from waves a linear layer can make steps at any gray. The probabilities get no gradient from what
        follows: they are learned as names alone.
    depth, fine : int
        Residual blocks of the small backbone: so many at the grid's size, with dilations of 1, 2, 4, 1 and
        again from the start; and so many before the last halving, where the grid is twice as fine and
        textures can be seen.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.
    RuntimeError
        Where the pretrained weights cannot be downloaded.

    Notes
    -----
    Source: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional
    Domains", NeurIPS 2020, for the waves.
    """

    def __init__(
        self,
        width: int = 64,
        backbone: str = "resnet101",
        reduction: int = 8,
        pretrained: bool = False,
        first_weights: str = "even",
        cells: str = "mean",
        materials: int = 0,
        waves: int = 0,
        depth: int = 4,
        fine: int = 0,
    ):
        super().__init__()
        check_first_weights(first_weights)
        if backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {backbone!r}")
        if cells not in CELLS:
            raise ValueError(f"cells must be one of {', '.join(CELLS)}; got {cells!r}")
        check_sizes(width=width, reduction=reduction)
        check_sizes(0, materials=materials, waves=waves, depth=depth, fine=fine)
        if reduction & (reduction - 1):
            raise ValueError(f"reduction must be a power of 2, got {reduction}")
        if backbone == "resnet101" and reduction != 8:
            raise ValueError(f"the ResNet-101 has a reduction of 8, got {reduction}")
        if pretrained and backbone != "resnet101":
            raise ValueError(f"pretrained weights are for the backbone 'resnet101', got {backbone!r}")
        if backbone != "small" and (depth, fine) != (4, 0):
            raise ValueError(
                f"depth and fine are for the backbone 'small'; got {depth}, {fine} for {backbone!r}"
            )
        _check_fine(fine, reduction)
        self.reduction, self.width, self.cells, self.waves = reduction, width, cells, waves
        self.depth, self.fine = depth, fine
        features = 1024 if backbone == "resnet101" else 2 * width
        if backbone == "resnet101":
            self.backbone = _resnet101(pretrained)
        else:
            self.backbone = _small(features, reduction, depth, fine)
        self.small = backbone == "small"
        self.adaptation = nn.Sequential(
            nn.Conv2d(features, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        if first_weights == "even":
            for layer in self.adaptation[::2]:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        self.register_module("segmentation", None)
        self.segment(materials)

    @property
    def channels(self) -> int:
        """Channels of the condition."""
        if not self.waves:
            return self.width
        return self.width + self.waves + (self.segmentation.out_channels if self.segmentation else 0)

    def deepen(self, depth: int, fine: int | None = None) -> None:
        """Give the small backbone more residual blocks in place, up to so many; None keeps those there are.

        At first nothing changes: what a new block adds is zero. An optimizer made before must be made anew.

        Raises
        ------
        TypeError, ValueError
            For numbers that are not whole or smaller than the old ones, fine blocks where the grid is as fine
            as the picture, or another backbone.
        """
        fine = self.fine if fine is None else fine
        check_sizes(self.depth, depth=depth)
        check_sizes(self.fine, fine=fine)
        _check_fine(fine, self.reduction)
        if not self.small:
            raise ValueError("only the backbone 'small' can be deepened")
        layers, like = list(self.backbone), self.backbone[0].weight
        first = _before_the_last_halving(self.reduction) + self.fine
        before_halving = [_Residual(len(like), d) for d in _dilations(fine)[self.fine :]]
        at_grid = [_Residual(len(like), d) for d in _dilations(depth)[self.depth :]]
        for block in before_halving + at_grid:
            nn.init.zeros_(block.second[1].weight)
            block.to(like).train(self.backbone.training).requires_grad_(like.requires_grad)
        self.backbone = nn.Sequential(*layers[:first], *before_halving, *layers[first:], *at_grid)
        self.depth, self.fine = depth, fine

    def magnify(self, reduction: int) -> None:
        """Let the small backbone see larger pictures of the same things, for the same grid, in place.

        It gets a halving more for each doubling of the reduction. The first convolution and the new ones are
        drawn anew, and what follows them stays. So it has to learn to see again, and what it knows of what
        it sees is kept. An optimizer made before must be made anew.

        Raises
        ------
        TypeError, ValueError
            For a reduction that is no power of 2, or smaller than the old one, or another backbone.
        """
        check_sizes(self.reduction, reduction=reduction)
        if reduction & (reduction - 1):
            raise ValueError(f"reduction must be a power of 2, got {reduction}")
        if not self.small:
            raise ValueError("only the backbone 'small' can be magnified")
        if reduction == self.reduction:
            return
        like, more = self.backbone[0].weight, reduction.bit_length() - self.reduction.bit_length()
        first = nn.Sequential(*_downward(len(like), more)).to(like).train(self.backbone.training)
        first.requires_grad_(like.requires_grad)
        self.backbone = nn.Sequential(*first, *self.backbone[3:])
        self.reduction = reduction

    def segment(self, materials: int) -> None:
        """Tell so many materials apart, with weights drawn anew; 0 for none."""
        like, self.segmentation = next(self.parameters()), None
        if materials:
            self.segmentation = nn.Conv2d(self.width, materials, 1).to(like)

    def names(self, condition: Tensor) -> Tensor:
        """Score the materials of each cell: the condition (B, channels, h, w) to (B, materials, h, w).

        Raises
        ------
        ValueError
            If it tells no materials apart.
        """
        if self.segmentation is None:
            raise ValueError("this condition network tells no materials apart; see PixColor.segment")
        return self.segmentation(condition[:, : self.width])

    def forward(self, gray: Tensor, frozen: bool = False) -> Tensor:
        """Give the condition: gray (B, 1, H, W) in [0, 1] to (B, channels, h, w).

        The grid has h = ceil(H / reduction) rows and w = ceil(W / reduction) columns.

        With ``frozen`` the backbone gets no gradient and its batch norms change nothing. Otherwise the
        backbone is in the network's own mode.
        """
        x = _pad((gray - 0.449) / 0.226, self.reduction)  # ImageNet's mean and deviation, averaged over RGB
        self.backbone.train(self.training and not frozen)
        with torch.no_grad() if frozen else contextlib.nullcontext():
            features = self.backbone(x)
        features = self.adaptation(features)
        if not self.waves:
            return features
        parts = [features, torch.cos(torch.pi * self._own(gray) * self._numbers(gray))]
        if self.segmentation is not None:
            parts.append(self.names(features).softmax(1, dtype=gray.dtype).detach())
        return torch.cat([part.to(gray.dtype) for part in parts], 1)

    def _own(self, gray: Tensor) -> Tensor:
        """The gray that is each cell's own, (B, 1, h, w)."""
        return _cells(_pad(gray, self.reduction), self.reduction, self.cells)

    def _numbers(self, like: Tensor) -> Tensor:
        return torch.arange(1, self.waves + 1, dtype=like.dtype, device=like.device)[:, None, None]


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
        if isinstance(channels, bool) or not isinstance(channels, int):
            raise TypeError(f"channels of the refinement must be an int, got {channels!r}")
        if channels < 1:
            raise ValueError(f"channels of the refinement must be at least 1, got {channels}")
        c = channels
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
        full = self.at_full(_pad(torch.cat([2 * gray - 1, chroma], 1), 4))
        half = self.at_half(full)
        quarter = self.at_quarter(half)
        half = self.back_to_half(_double(quarter)) + half
        full = self.back_to_full(_double(half)) + full
        return chroma + self.correction(full)[:, :, :height, :width]


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.ReLU())


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _Residual(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int, dilation: int):
        super().__init__()
        self.first = nn.Sequential(*_normalized(width, width), nn.ReLU(inplace=True))
        self.second = nn.Sequential(*_normalized(width, width, dilation=dilation))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


def _normalized(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


def _dilations(blocks: int) -> list[int]:
    return [(1, 2, 4, 1)[place % 4] for place in range(blocks)]


def _small(width: int, reduction: int, depth: int, fine: int) -> nn.Sequential:
    """A small backbone: convolutions down to the grid's size, then blocks that look far around."""
    layers = _downward(width, reduction.bit_length() - 1)
    last = _before_the_last_halving(reduction)
    layers[last:last] = [_Residual(width, dilation) for dilation in _dilations(fine)]
    return nn.Sequential(*layers, *(_Residual(width, dilation) for dilation in _dilations(depth)))


def _downward(width: int, halvings: int) -> list[nn.Module]:
    layers = [*_normalized(1, width), nn.ReLU(inplace=True)]
    for _ in range(halvings):
        layers += [*_normalized(width, width, stride=2), nn.ReLU(inplace=True)]
    return layers


def _check_fine(fine: int, reduction: int) -> None:
    if fine and reduction == 1:
        raise ValueError(f"with a reduction of 1 there is no finer grid; fine must be 0, got {fine}")


def _before_the_last_halving(reduction: int) -> int:
    """The place in :func:`_small`, where each convolution has its norm and its ReLU."""
    return 3 * max(1, reduction.bit_length() - 1)


def _resnet101(pretrained: bool) -> nn.Sequential:
    """The first seven children of torchvision's ``resnet101``, for one channel, the last one dilated."""
    from torchvision.models import resnet101  # here, so that the library imports without torchvision

    try:
        whole = resnet101(
            weights="IMAGENET1K_V1" if pretrained else None,
            replace_stride_with_dilation=[False, True, False],
        )
    except OSError as error:  # no network, a refused request, a full disk
        raise RuntimeError(
            f"torchvision's ResNet-101 weights cannot be downloaded ({error}); connect to the network,"
            " or use pretrained=False"
        ) from error
    first = nn.Conv2d(1, 64, 7, 2, padding=3, bias=False)
    first.weight = nn.Parameter(sum_over_rgb(whole.conv1.weight.detach()))
    if not pretrained:
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(first, *list(whole.children())[1:7])


def _pad(x: Tensor, multiple: int) -> Tensor:
    """Continue pictures to the right and downward with their edge pixels until their sides fit."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _cells(x: Tensor, side: int, cells: str) -> Tensor:
    """What each cell holds of pictures whose sides fit the grid: a mean, or the pixel in the middle."""
    if cells == "pixel":
        return x[:, :, side // 2 :: side, side // 2 :: side]
    return F.avg_pool2d(x, side)


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
