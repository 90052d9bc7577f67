"""Color drawn value by value: a network for what is seen, one for small chroma, one for the full size.

Every function raises TypeError or ValueError for an argument of the wrong type or out of its range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import floating, inside, whole
from colorlib.color import lab_to_rgb, rgb_to_gray
from colorlib.data.aging import aged, draw
from colorlib.models.base import Colorizer, check_gray, evaluating
from colorlib.models.blocks import pad
from colorlib.models.condition import ConditionNetwork
from colorlib.models.grid import cr_cb_to_ab, downsampled, grid_size, nearest_pixels, rgb_to_cr_cb
from colorlib.models.pixcolor_settings import PixColorSettings
from colorlib.models.pixelcnn import PixelCNN
from colorlib.models.teacher import LawTeacher
from colorlib.sampling import sample
from colorlib.training import Batch, Player
from colorlib.training.recipes import FULL, PHOTOGRAPHS, QUICK, Recipe

_SMALL = {
    "backbone": "small",
    "stride": 4,
    "width": 32,
    "blocks": 4,
    "kernel": 3,
    "hidden_channels": 128,
    "refinement_channels": 8,
    "downsample": "nearest",
}
# Everything that the PixelCNN of the world can be told, from the first step: names, chances, each cell's own
# gray, and what a cell could be by itself.
_TOLD = {
    **_SMALL,
    "kernel": 5,
    "hidden_channels": 256,
    "attention_heads": 2,
    "materials": 23,
    "law": "landscape",
    "num_frequencies": 32,
    "head_channels": 256,
    "depth": 12,
    "fine_depth": 2,
}
_PHOTOGRAPHS = {
    "pretrained": "photographs",
    "backbone": "lite0",
    "unfreeze_at": 1_000_000,
    "stride": 4,
    "width": 64,
    "blocks": 6,
    "kernel": 3,
    "hidden_channels": 256,
    "attention_heads": 2,
    "num_frequencies": 8,
    "head_channels": 128,
    "vary": 0.6,
    "refinement_channels": 0,
}


class PixColor(Colorizer):
    """PixColor: draws a small map of chroma pixel by pixel, then refines it at the picture's size.

    Its settings are those of :class:`PixColorSettings`. It has three parts. Each can be used by itself; the
    first two learn together, the third apart::

        gray                  -> condition  -> features of the grid      (ConditionNetwork)
        features, past chroma -> pixelcnn   -> logits of the next value  (PixelCNN)
        gray, enlarged chroma -> refinement -> chroma                    (Refinement)

    With the ResNet-101 a picture of 224 x 224 pixels has a grid of 28 x 28. Chroma is Cr, then Cb, of
    full-range YCbCr, both from -1 to 1. A map drawn is one whole choice of colors, so the samples of a
    picture differ and none is a mean of them.

    The source (Guadarrama, Dahl, Bieber, Norouzi, Shlens, Murphy, "PixColor: Pixel Recursive Colorization",
    BMVC 2017, Table 2) leaves some things open. Built here: gray of the picture's CIE lightness takes the
    place of luma, so that training sees the gray that :meth:`colorize` is given; the 32 levels are steps of
    1/16, with one that is exactly gray. A picture whose sides don't fit the grid is continued with its edge
    pixels, and the result is cropped.

    >>> model = PixColor.small()
    >>> model.colorize(torch.rand(1, 1, 16, 16), samples=2, seed=0).shape
    torch.Size([2, 1, 3, 16, 16])
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
        # The photograph colorizer's features, which stay as they are, are what the PixelCNN is told.
        "photographs": replace(
            PHOTOGRAPHS,
            steps=3_000,
            warmup=300,
            learning_rate=2e-3,
            precision="bfloat16",
            size=128,
            crop=96,
            settings=_PHOTOGRAPHS,
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

    def __init__(self, pretrained: bool | str = False, **settings):
        super().__init__()
        s = PixColorSettings(**settings)
        self.settings = asdict(s)
        self.unfreeze_at, self.stride, self.downsample = s.unfreeze_at, s.stride, s.downsample
        self.condition = ConditionNetwork(s, pretrained)
        self.pixelcnn = PixelCNN(s, self.condition.channels)
        self.refinement = Refinement(s.refinement_channels) if s.refinement_channels else None
        self.vary, self.guided = s.vary, self.refinement is None
        self.teacher = None if s.law is None else LawTeacher(s.law)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @classmethod
    def small(cls) -> PixColor:
        """Build the quick version, for pictures of some 64 pixels: every fourth pixel, half the width."""
        sizes = {"width": 32, "blocks": 4, "kernel": 3, "hidden_channels": 128, "refinement_channels": 8}
        return cls(backbone="small", stride=4, downsample="nearest", **sizes)

    @classmethod
    def rebuild(cls, settings: dict, tensors: dict[str, Tensor]) -> PixColor:
        """Build the model of a weights file, whenever it was written."""
        settings = PixColorSettings.renamed(settings)
        known = {field.name for field in fields(PixColorSettings)}
        if unknown := sorted(settings.keys() - known - {"pretrained"}):
            raise ValueError(f"PixColor has no settings {', '.join(unknown)}; a newer version may have them")
        return cls(**{**settings, "pretrained": False})  # no download: the file's tensors take its place

    # Training.

    def players(self) -> dict[str, Player]:
        """Give the two who learn side by side, see :class:`colorlib.training.Player`."""
        drawing = [*self.condition.parameters(), *self.pixelcnn.parameters()]
        players = {"pixelcnn": Player(drawing, self.pixelcnn_loss)}
        if self.refinement is not None:
            players["refinement"] = Player([*self.refinement.parameters()], self.refinement_loss)
        return players

    def loss(self, batch: Batch) -> Tensor:
        """Give the sum of both players' losses; they share no weights, so each keeps its own gradient."""
        nats = self.pixelcnn_loss(batch)[0]
        return nats if self.refinement is None else nats + self.refinement_loss(batch)

    def pixelcnn_loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the mean nats of a value of the small chroma map; knowing nothing costs log(levels).

        Where more is added, its parts come beside it: ``"nats"``, and of ``"segmentation"``, ``"marginal"``
        and ``"gate"`` those that it has.

        With materials, the mean nats of a cell's material are added (the paper's condition network had
        learned to segment photographs before). With a marginal head, the mean nats of a value under it alone
        are: of the value drawn, or by a law of all that the cell might have had. With both a head and a law,
        the copy gate's mean cross entropy is: it should be open in the first cell of each thing, and shut
        elsewhere. All of these have the weight 1, and teach the condition network as well.

        With a law, the first cell of each thing costs the mean over all colors that the thing might have had,
        each with its chance; for Cb these are the colors with the Cr drawn. What came before stays as it was
        drawn. The expected loss and gradient are the same as with draws alone, and so is the optimum. But a
        draw tells little of a chance: it takes thousands to tell 0.20 from 0.22.

        The batch has ``"rgb"``, (B, 3, H, W) in [0, 1]; with materials also ``"material"``, (B, H, W) int64
        from 0; with a law all tensors of a :class:`colorlib.data.Scene` of that kind. On a GPU, where looking
        would mean waiting, wrong scenes make the loss NaN, and :func:`colorlib.training.fit` stops.
        """
        # Looked at only where it matters: on a GPU looking means waiting.
        frozen = self.training and self.unfreeze_at > 0 and bool(self.steps < self.unfreeze_at)
        condition = self.condition(self._seen(batch["rgb"]), frozen)
        levels = self.levels(batch["rgb"])
        by_law = {}
        if self.teacher is not None:
            pixels = nearest_pixels(batch["rgb"].shape[-2:], self.stride, levels.device)
            by_law = self.teacher(levels, batch, pixels, self.pixelcnn.quantize, self.pixelcnn.levels)
        parts = self.pixelcnn.losses(levels, condition, **by_law)
        if self.condition.segmentation is not None:
            parts["segmentation"] = self._segmentation_loss(condition, batch)
        parts = {name: part.mean() for name, part in parts.items()}
        if self.training:
            self.steps += 1  # a refused batch is no step
        return sum(parts.values()), parts if len(parts) > 1 else {}

    def _seen(self, rgb: Tensor) -> Tensor:
        """The gray that is shown: in training a share of the pictures is varied."""
        gray = rgb_to_gray(rgb)
        if not (self.training and self.vary):
            return gray
        return torch.where(draw(gray, 0, 1) < self.vary, aged(rgb), gray)

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
        down, right = nearest_pixels(size, self.stride, condition.device)
        material = given[:, down, right]
        if not material.is_cuda and not 0 <= material.min() <= material.max() < count:
            raise ValueError(
                f"'material' must be from 0 to {count - 1}, got {material.min()} to {material.max()}"
            )
        return F.cross_entropy(self.condition.segment(condition).float(), material)

    def refinement_loss(self, batch: Batch) -> Tensor:
        """Give the mean squared error of full-size chroma made of the true small map and the gray picture."""
        if self.refinement is None:
            raise ValueError("this model has no refinement: its refinement_channels are 0")
        rgb = batch["rgb"]
        coarse = self.enlarge(self.pixelcnn.values(self.levels(rgb)), rgb.shape[-2:])
        return F.mse_loss(self.refinement(rgb_to_gray(rgb), coarse).to(rgb.dtype), rgb_to_cr_cb(rgb))

    # Use.

    def levels(self, rgb: Tensor) -> Tensor:
        """Give the levels of a picture's small chroma map: RGB (B, 3, H, W) to int64 (B, 2, h, w), Cr first.

        The grid has h = ceil(H / stride) rows and w = ceil(W / stride) columns.

        >>> PixColor.small().levels(torch.full((1, 3, 4, 4), 0.5)).tolist()
        [[[[16]], [[16]]]]
        """
        return self.pixelcnn.quantize(downsampled(rgb_to_cr_cb(rgb), self.stride, self.downsample))

    def enlarge(self, chroma: Tensor, size: tuple[int, int]) -> Tensor:
        """Enlarge small maps (B, 2, h, w) to the picture's size, by bilinear interpolation between cells."""
        cells = grid_size(size, self.stride)
        if tuple(chroma.shape[-2:]) != cells:
            raise ValueError(f"a picture of {tuple(size)} has {cells} cells; got {tuple(chroma.shape[-2:])}")
        chroma = F.interpolate(chroma, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return chroma[:, :, : size[0], : size[1]]

    @torch.no_grad()
    def log_prob(self, gray: Tensor, chroma: Tensor) -> Tensor:
        """Give the log probability of small chroma maps, in nats an image, in evaluation mode.

        Gray (B, 1, H, W) in [0, 1], and Cr and Cb (B, 2, h, w) in [-1, 1], of which the nearest levels are
        taken, to (B,).
        """
        check_gray(gray)
        floating(chroma, "chroma", hint="pixelcnn.values makes chroma of levels")
        weight = next(self.parameters())
        gray, chroma = gray.to(weight), chroma.to(weight)
        grid = (len(gray), 2, *grid_size(gray.shape[-2:], self.stride))
        if chroma.shape != grid:
            raise ValueError(f"chroma must be {grid} for gray {tuple(gray.shape)}, got {tuple(chroma.shape)}")
        inside(chroma, "chroma", -1, 1)
        with evaluating(self), torch.autocast(gray.device.type, enabled=False):
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
        """Give the ab of a lightness; see :meth:`Colorizer.chroma`. All samples are drawn in one batch.

        Without ``refine`` the small map is only enlarged. A model without refinement gives the ab of the
        small map itself, which :meth:`colorize` enlarges by a guided filter. For the other knobs see
        :func:`colorlib.sampling.sample`; :meth:`levels` makes ``known`` of a colored picture, which must have
        the size at which the model sees the gray one.
        """
        gray = lab_to_rgb(torch.cat([lightness, torch.zeros_like(lightness).expand(-1, 2, -1, -1)], 1))[:, :1]
        with torch.autocast(gray.device.type, enabled=False):  # the sampler wants one dtype throughout
            if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.all():
                # All is given: nothing is drawn, and nobody asks what the picture shows.
                grid = grid_size(gray.shape[-2:], self.stride)
                condition = gray.new_zeros(len(gray), self.condition.channels, *grid)
            else:
                condition = self.condition(gray)
            knobs = {"temperature": temperature, "top_p": top_p, "known": known, "mask": mask}
            knobs |= {"progress": progress, "graph": graph}
            drawn = sample(self.pixelcnn, condition, samples, generator, **knobs)
        out = []
        for levels in drawn:
            chroma = self.pixelcnn.values(levels).to(gray)
            if self.refinement is None:
                out.append(cr_cb_to_ab(downsampled(gray, self.stride, "area"), chroma))
                continue
            chroma = self.enlarge(chroma, gray.shape[-2:])
            out.append(cr_cb_to_ab(gray, self.refinement(gray, chroma) if refine else chroma))
        return torch.stack(out)


class Refinement(nn.Module):
    """Makes enlarged chroma fit the gray picture's edges: an hourglass that adds a correction to it.

    The source gives no complete scales. Built here: 3 x 3 convolutions with ReLU at full size, half and a
    quarter of it, with c, 2 c, 4 c and again 4 c channels; two bilinear steps back with 2 c and c, to which
    the features of the same size on the way down are added, for edges don't survive a quarter of the size; a
    last convolution to Cr and Cb, which starts at zero, so that an untrained network changes nothing. A
    picture whose sides are not multiples of 4 is continued with its edge pixels, and the result is cropped.

    >>> Refinement(2)(torch.rand(1, 1, 6, 9), torch.zeros(1, 2, 6, 9)).shape
    torch.Size([1, 2, 6, 9])
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
