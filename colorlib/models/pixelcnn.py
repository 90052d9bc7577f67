"""A conditional gated PixelCNN over two channels of chroma: each value given all that came before it.

Every function raises TypeError or ValueError for an argument of the wrong type or out of its range. On a GPU,
where looking at values would mean waiting, torch's own assertion fails for levels that don't exist.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import whole
from colorlib.models.losses import sparse_cross_entropy
from colorlib.models.pixcolor_settings import PixColorSettings
from colorlib.models.pixelcnn_extras import CausalSelfAttention, MarginalHead, gated

# Root mean squares: of pictures' Cr and Cb, roughly, and of a gate whose two sums have variance one.
CHROMA, GATE = 0.2, 0.34


class PixelCNN(nn.Module):
    """A distribution over small chroma maps: a product of one factor for each value, in raster order.

    A pixel's Cr is given all pixels before it, row by row from the top left; its Cb is given these and its
    own Cr. All are given the condition, everywhere. Two stacks run through the layers. The vertical one sees
    the rows above; the horizontal one sees the pixel's row, and the vertical one. Each stack alone is a plain
    convolution cut to one side, so the pair has no blind spot. In the horizontal stack the first half of the
    channels belongs to Cr, the second to Cb; masks between the two keep their order within a pixel.

    With a marginal head each value is drawn from a mixture: by a copy gate, which sees what the logits see,
    from the head's distribution, or else as the past suggests.

    Sources: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", NeurIPS 2016, for the
    stacks, the gates and the condition; Guadarrama et al., "PixColor", BMVC 2017, Table 2, for the sizes; He
    et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2, for the initialization, with gates in
    place of ReLUs; See, Liu, Manning, "Get To The Point: Summarization with Pointer-Generator Networks", ACL
    2017, section 2.2, for the copy gate between drawing anew and going on with what is there.

    >>> settings = PixColorSettings(width=8, blocks=1, hidden_channels=16)
    >>> PixelCNN(settings, condition_channels=3)(torch.zeros(1, 2, 4, 5), torch.zeros(1, 3, 4, 5)).shape
    torch.Size([1, 2, 32, 4, 5])
    """

    def __init__(self, settings: PixColorSettings | None = None, condition_channels: int = 64):
        super().__init__()
        s = settings or PixColorSettings()
        self.levels, self.condition_channels = s.levels, whole(condition_channels, "condition_channels", 1)
        self.first = FirstLayer(2, s.width, s.first_kernel)
        self.blocks = nn.ModuleList(
            GatedBlock(s.width, s.kernel, condition_channels) for _ in range(s.blocks)
        )
        self.hidden = RowConv(s.width, s.hidden_channels)
        self.to_levels = RowConv(s.hidden_channels, 2 * s.levels)
        if s.init == "variance-preserving":
            self._preserve_variance()
        # What follows is not in the paper. It starts with zeros, so that the network begins as without it.
        self.recall = self.condition_to_hidden = self.marginal = self.to_gate = None
        if s.attention_heads:
            self.recall = CausalSelfAttention(s.width, condition_channels, s.attention_heads)
        if s.num_frequencies:
            # What the last block leaves for Cr is half of `width` numbers, and without this all that the
            # picture says of the level must fit into them, beside what the past says.
            self.condition_to_hidden = nn.Conv2d(condition_channels, s.hidden_channels, 1, bias=False)
            nn.init.zeros_(self.condition_to_hidden.weight)
        if s.head_channels:
            self.marginal = MarginalHead(condition_channels, s.head_channels, s.levels)
            self.to_gate = RowConv(s.hidden_channels, 2)
            nn.init.zeros_(self.to_gate.weight)
            # Nearly shut: a value costs up to 0.05 nats more at first.
            nn.init.constant_(self.to_gate.bias, -3.0)

    def _preserve_variance(self) -> None:
        """Draw weights so that the vertical stack's sums start with a variance near one.

        In the horizontal stack the shortcut lets them grow to a few. With torch's own weights each gate
        halves its sums and each sum is 0.58 of what it sees, so little of what is known of the rows above
        passes a block, and nothing passes ten.
        """
        for layer in (self.first.vertical, self.first.horizontal):
            _draw(layer, CHROMA)
        for place, block in enumerate(self.blocks):
            _draw(block.vertical, GATE if place else 1, sums=2)
            _draw(block.condition_to_vertical, 1, sums=2)
            for layer in (block.horizontal, block.vertical_to_horizontal, block.condition_to_horizontal):
                _draw(layer, 1, sums=3)
            _draw(block.out, GATE)

    def forward(self, chroma: Tensor, condition: Tensor) -> Tensor:
        """Score the levels of every value, each from the values before it.

        Chroma (B, 2, h, w) in [-1, 1] and condition (B, condition_channels, h, w) to logits (B, 2, levels, h,
        w), Cr's first. With a marginal head they are log probabilities, in float32 or better.
        """
        scores, gate, marginal = self._scores(chroma, condition)
        return scores if marginal is None else MarginalHead.mixture(scores, marginal, gate[:, :, None], 2)

    def gate(self, chroma: Tensor, condition: Tensor) -> Tensor:
        """Give the copy gate: the probability that a value is drawn from the marginal, (B, 2, h, w).

        Arguments as for :meth:`forward`. It sees the values before, and so that of Cb its own pixel's Cr.
        """
        if self.marginal is None:
            raise ValueError("this PixelCNN has no marginal head, and so no gate")
        return self._scores(chroma, condition)[1].sigmoid()

    def _scores(self, chroma: Tensor, condition: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The logits by the past, and with a marginal the gate's logits (B, 2, h, w) and the marginal's."""
        vertical, horizontal = self.first(chroma)
        if self.recall is not None:
            horizontal = horizontal + self.recall(chroma, condition)
        for block in self.blocks:
            vertical, horizontal = block(vertical, horizontal, condition)
        hidden = self.hidden(F.relu(horizontal))
        if self.condition_to_hidden is not None:
            hidden = hidden + self.condition_to_hidden(condition)
        hidden = F.relu(hidden)
        scores = self.to_levels(hidden).unflatten(1, (2, self.levels))
        if self.marginal is None:
            return scores, None, None
        return scores, self.to_gate(hidden), self.marginal(chroma[:, 0], condition)

    def nats(self, levels: Tensor, condition: Tensor, targets: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Give minus the log probability of each value, in nats: levels int64 (B, 2, h, w) to (B, 2, h, w).

        With ``targets``, k levels for each value and their chances, both (B, 2, k, h, w), it is the mean over
        these, while the values before are still those of ``levels``.
        """
        return self.losses(levels, condition, targets)["nats"]

    def losses(
        self,
        levels: Tensor,
        condition: Tensor,
        targets: tuple[Tensor, Tensor] | None = None,
        marginal_targets: tuple[Tensor, Tensor] | None = None,
        begins: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Give what the network learns from, each (B, 2, h, w) in nats.

        ``"nats"``: those of :meth:`nats`, from which no gradient goes to the marginal head's weights. With
        such a head also ``"marginal"``, each value's nats under it alone, of ``marginal_targets`` (given as
        ``targets`` are) or else of ``levels``. With it and ``begins``, bool (B, h, w), also ``"gate"``, the
        binary cross entropy of the gates, which should be 1 in cells where something begins and 0 elsewhere.
        """
        if levels.dtype != torch.int64:
            raise TypeError(f"levels must be int64, got {levels.dtype}; quantize makes levels of chroma")
        if not levels.is_cuda and levels.numel():
            low, high = (x.item() for x in levels.aminmax())
            if low < 0 or high >= self.levels:
                raise ValueError(f"levels must be from 0 to {self.levels - 1}, got {low} to {high}")
        scores, gate, marginal = self._scores(self.values(levels).to(condition.dtype), condition)
        drawn = levels[:, :, None], torch.ones_like(levels[:, :, None], dtype=torch.float32)
        targets = drawn if targets is None else targets
        if marginal is None:
            return {"nats": _mean_nats(scores, targets)}
        # The marginal stays what a cell could be by itself: the mixture doesn't pull at it.
        mixed = MarginalHead.mixture(scores, marginal.detach(), gate[:, :, None], 2)
        losses = {
            "nats": _mean_nats(mixed, targets),
            "marginal": _mean_nats(marginal, drawn if marginal_targets is None else marginal_targets),
        }
        if begins is not None:
            if begins.dtype != torch.bool:
                raise TypeError(f"begins must be bool, got {begins.dtype}")
            if begins.shape != levels[:, 0].shape:
                raise ValueError(f"begins must be {tuple(levels[:, 0].shape)}, got {tuple(begins.shape)}")
            gate = gate.to(mixed.dtype)
            wanted = begins[:, None].to(gate).expand_as(gate)
            losses["gate"] = F.binary_cross_entropy_with_logits(gate, wanted, reduction="none")
        return losses

    def values(self, levels: Tensor) -> Tensor:
        """Give the chroma in [-1, 1] that levels stand for, float32.

        The middle level, number ``levels // 2``, is 0 and so exactly gray. There is none at +1 where the
        number of levels is even.
        """
        half = self.levels // 2
        return (levels - half).float() / half

    def quantize(self, chroma: Tensor) -> Tensor:
        """Give the nearest levels of chroma, int64 of the same shape; beyond [-1, 1] the outermost one.

        NaN has no level: what comes out for it is not defined.
        """
        half = self.levels // 2
        return (chroma * half).round().clamp(-half, self.levels - 1 - half).long() + half


def _mean_nats(scores: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
    """The mean nats of targets under scores (B, 2, levels, h, w), see :meth:`PixelCNN.nats`."""
    count, _, classes, height, width = scores.shape
    options, chances = (x.reshape(2 * count, -1, height, width) for x in targets)
    nats = sparse_cross_entropy(scores.reshape(2 * count, classes, height, width), options, chances)
    return nats.view(count, 2, height, width)


def _draw(layer: nn.Conv2d, spread: float, sums: int = 1) -> None:
    """Draw weights that give outputs of variance 1 / sums from inputs of this root mean square.

    Where a mask or padding hides inputs, it is less.
    """
    nn.init.normal_(layer.weight, std=1 / (spread * math.sqrt(sums * layer.weight[0].numel())))


class FirstLayer(nn.Module):
    """The masked convolution on the chroma itself, in its two parts: the rows above, and the row's past."""

    def __init__(self, inputs: int, width: int, kernel: int):
        super().__init__()
        self.vertical = RowsAboveConv(inputs, width, kernel, sees_row=False)
        self.horizontal = RowConv(inputs, width, kernel // 2, sees_itself=False, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Start the two stacks: chroma (B, 2, h, w) to vertical and horizontal, (B, width, h, w) each."""
        above = self.vertical(x)
        return above, above + self.horizontal(x)


class GatedBlock(nn.Module):
    """One layer of the two stacks: convolutions, the condition, gates, and a shortcut for the horizontal one.

    Each sum has one bias; a second one in it would say the same.
    """

    def __init__(self, width: int, kernel: int, condition_channels: int):
        super().__init__()
        # Each convolution has twice the width: the first half goes to tanh, the second to the sigmoid. The
        # halves of Cr and of Cb lie within each of the two.
        self.vertical = RowsAboveConv(width, 2 * width, kernel)
        self.horizontal = RowConv(width, 2 * width, kernel // 2, parts=2)
        self.vertical_to_horizontal = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.condition_to_vertical = nn.Conv2d(condition_channels, 2 * width, 1, bias=False)
        self.condition_to_horizontal = nn.Conv2d(condition_channels, 2 * width, 1, bias=False)
        self.out = RowConv(width, width, bias=False)

    def forward(self, vertical: Tensor, horizontal: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks, (B, width, h, w) each, one layer further."""
        v = self.vertical(vertical) + self.condition_to_vertical(condition)
        h = self.horizontal(horizontal) + self.vertical_to_horizontal(v)
        h = h + self.condition_to_horizontal(condition)
        return gated(v), horizontal + self.out(gated(h))


class RowsAboveConv(nn.Conv2d):
    """The upper part of a square convolution: the rows above, and the pixel's own with ``sees_row``.

    No mask is needed. In the first layer the row itself is left out; after it, what stands at a row has seen
    only the rows above, and the row itself may be used.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, sees_row: bool = True):
        super().__init__(inputs, outputs, (kernel // 2 + sees_row, kernel))
        self.reach, self.sees_row = kernel // 2, sees_row

    def forward(self, x: Tensor) -> Tensor:
        if not self.sees_row:
            x = x[:, :, :-1]
        return super().forward(F.pad(x, (self.reach, self.reach, self.reach, 0)))


class RowConv(nn.Conv2d):
    """A convolution over ``reach`` pixels to the left and the pixel itself, where channels are masked.

    At the pixel itself Cr's channels see Cr's, and Cb's see both. With ``sees_itself`` False, for the first
    layer, Cr's see nothing there and Cb's see Cr's. The pixels to the left are seen whole. The first half of
    the inputs is Cr's. The outputs are so many equal ``parts``, and the first half of each is Cr's.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        reach: int = 0,
        sees_itself: bool = True,
        parts: int = 1,
        bias: bool = True,
    ):
        super().__init__(inputs, outputs, (1, reach + 1), bias=bias)
        self.reach = reach
        mask = torch.ones(self.weight.shape)
        itself = mask[:, :, 0, -1].unflatten(0, (parts, -1))  # in each part, from its outputs to the inputs
        cr, cb = slice(outputs // parts // 2), slice(inputs // 2, None)
        itself[:, cr, cb] = 0
        if not sees_itself:
            itself[:, cr] = itself[:, :, cb] = 0
        self.register_buffer("mask", mask, persistent=False)

    def masked_weight(self) -> Tensor:
        """Give the weights with zeros where nothing may be seen."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (self.reach, 0)), self.masked_weight(), self.bias)
