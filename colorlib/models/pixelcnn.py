"""A conditional gated PixelCNN over two channels of chroma: each value given all that came before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import choice, flag, wholes
from colorlib.models.losses import sparse_cross_entropy
from colorlib.models.pixelcnn_extras import Marginal, Recall, gated

FIRST_WEIGHTS = ("even", "torch")


class PixelCNN(nn.Module):
    """A distribution over small chroma maps: a product of one factor for each value, in raster order.

    The channels are Cr first, then Cb. A pixel's Cr is given all pixels before it, row by row from the top
    left; its Cb is given these and its own Cr. All are given the condition, everywhere.

    Two stacks run through the layers. The vertical one sees the rows above; the horizontal one sees the
    pixel's row, and the vertical one. Each stack alone is a plain convolution cut to one side, so the pair
    has no blind spot. In the horizontal stack the first half of the channels belongs to Cr, the second to Cb;
    masks between the two keep their order within a pixel.

    Parameters
    ----------
    width : int
        Channels of each stack, even.
    blocks : int
        Number of gated blocks.
    kernel, first_kernel : int
        Sides of the masked kernels in the blocks and in the first layer, odd.
    hidden : int
        Channels between the two last layers, even.
    levels : int
        Into how many values each channel of chroma is divided.
    condition : int
        Channels of the condition.
    first_weights : str
        ``"even"``: each sum of the vertical stack starts with a variance near one, so that what the rows
        above hold passes all blocks. ``"torch"``: the smaller ones that torch gives to any convolution.
    attention : int
        Heads of attention, see :class:`Recall`. With 0, the published network, there is none.
    late : bool
        Whether the hidden layer at the end sees the condition, too. In the published network only the blocks
        do. What the last block leaves for Cr is half of ``width`` numbers, and without this all that the
        picture says of the level must fit into them, beside what the past says.
    marginal : int
        Hidden channels of what each cell could be by itself, see :class:`Marginal`; 0 for none, as in the
        published network. Each value is then drawn from a mixture: with the probability of a gate from there,
        and otherwise as the past suggests. The gate sees what the logits see. No gradient goes from the
        loss of the mixture to the marginal, which has a loss of its own, see :meth:`losses`.

    Raises
    ------
    TypeError, ValueError
        For a parameter of the wrong type or out of its range.

    Notes
    -----
    Sources: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", NeurIPS 2016, for the
    stacks, the gates and the condition; Guadarrama et al., "PixColor", BMVC 2017, Table 2, for the sizes; the
    first weights follow He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2, with gates in
    place of ReLUs; See, Liu, Manning, "Get To The Point: Summarization with Pointer-Generator Networks", ACL
    2017, section 2.2, for a gate between drawing anew and going on with what is there.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 10,
        kernel: int = 5,
        first_kernel: int = 7,
        hidden: int = 1024,
        levels: int = 32,
        condition: int = 64,
        first_weights: str = "even",
        attention: int = 0,
        late: bool = False,
        marginal: int = 0,
    ):
        super().__init__()
        choice(first_weights, "first_weights", FIRST_WEIGHTS)
        flag(late, "late")
        blocks, attention, marginal = wholes(0, blocks=blocks, attention=attention, marginal=marginal)
        kernel, condition = wholes(kernel=kernel, condition=condition)
        width, hidden, levels = wholes(2, width=width, hidden=hidden, levels=levels)
        (first_kernel,) = wholes(3, first_kernel=first_kernel)
        for name, value in (("width", width), ("hidden", hidden)):
            if value % 2:
                raise ValueError(f"{name} must be even, for Cr and Cb have one half each; got {value}")
        for name, value in (("kernel", kernel), ("first_kernel", first_kernel)):
            if value % 2 == 0:
                raise ValueError(f"{name} must be odd, got {value}")
        self.levels, self.condition = levels, condition
        self.first = FirstLayer(2, width, first_kernel)
        self.blocks = nn.ModuleList(GatedBlock(width, kernel, condition) for _ in range(blocks))
        self.hidden = RowConv(width, hidden)
        self.to_levels = RowConv(hidden, 2 * levels)
        if first_weights == "even":
            self._start()
        # What follows is not in the paper. It starts with zeros, so that the network begins as without it.
        self.recall = Recall(width, condition, attention) if attention else None
        self.condition_to_hidden = nn.Conv2d(condition, hidden, 1, bias=False) if late else None
        self.marginal = Marginal(condition, marginal, levels) if marginal else None
        self.to_gate = RowConv(hidden, 2) if marginal else None
        if late:
            nn.init.zeros_(self.condition_to_hidden.weight)
        if marginal:  # a value costs up to 0.05 nats more at first, for the gate is nearly shut
            nn.init.zeros_(self.to_gate.weight)
            nn.init.constant_(self.to_gate.bias, -3.0)

    def _start(self) -> None:
        """Draw the first weights so that the vertical stack's sums start with a variance near one.

        In the horizontal stack the shortcut lets them grow to a few. With torch's own first weights each gate
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

        Parameters
        ----------
        chroma : Tensor
            Cr and Cb in [-1, 1], (B, 2, h, w).
        condition : Tensor
            (B, condition, h, w).

        Returns
        -------
        Tensor
            Logits, (B, 2, levels, h, w): Cr's first, then Cb's. With a marginal they are log probabilities,
            in float32 or better.
        """
        scores, gate, marginal = self._scores(chroma, condition)
        return scores if marginal is None else Marginal.mixture(scores, marginal, gate[:, :, None], 2)

    def gate(self, chroma: Tensor, condition: Tensor) -> Tensor:
        """Give the probability with which each value is drawn from the marginal, (B, 2, h, w).

        Chroma and condition are as for :meth:`forward`. The gate of a value sees the values before it, and so
        that of Cb its own pixel's Cr.

        Raises
        ------
        ValueError
            If there is no marginal.
        """
        if self.marginal is None:
            raise ValueError("this PixelCNN has no marginal, and so no gate")
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
        """Give minus the log probability of each value, in nats: levels (B, 2, h, w) to (B, 2, h, w).

        With ``targets``, k levels for each value and their chances, both (B, 2, k, h, w), it is the mean over
        these, while the values before are still those of ``levels``.

        Raises
        ------
        TypeError
            For levels that are not int64, such as chroma.
        ValueError
            For levels outside the range; on a GPU, where looking would mean waiting, torch's own assertion
            fails instead.
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
        """Give what the network learns from: the nats of each value, and those of further goals.

        Parameters
        ----------
        levels, condition, targets
            See :meth:`nats`.
        marginal_targets : tuple of Tensor, optional
            Levels and their chances for the marginal, as ``targets`` are for the whole, both (B, 2, k, h, w).
            None: ``levels`` themselves. Without a marginal they are not looked at.
        begins : Tensor, optional
            In which cells something begins, bool (B, h, w): there both gates should be 1, and elsewhere 0.
            None: the gate learns from the nats alone. Without a marginal it is not looked at.

        Returns
        -------
        dict of Tensor
            Each (B, 2, h, w), in nats: ``"nats"``, those of :meth:`nats`, from which no gradient goes to the
            weights of the marginal; with a marginal ``"marginal"``, each value's nats under it alone; with a
            marginal and ``begins`` ``"gate"``, the binary cross entropy of the gate.

        Raises
        ------
        TypeError, ValueError
            For levels as in :meth:`nats`, or ``begins`` that is not bool or not (B, h, w).
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
        mixed = Marginal.mixture(scores, marginal.detach(), gate[:, :, None], 2)
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
    """Give the mean nats of targets under scores (B, 2, levels, h, w), see :meth:`PixelCNN.nats`."""
    count, _, classes, height, width = scores.shape
    options, chances = (x.reshape(2 * count, -1, height, width) for x in targets)
    nats = sparse_cross_entropy(scores.reshape(2 * count, classes, height, width), options, chances)
    return nats.view(count, 2, height, width)


# Root mean squares: of pictures' Cr and Cb, roughly, and of a gate whose two sums have variance one.
CHROMA, GATE = 0.2, 0.34


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

    def __init__(self, width: int, kernel: int, condition: int):
        super().__init__()
        # Each convolution has twice the width: the first half goes to tanh, the second to the sigmoid. The
        # halves of Cr and of Cb lie within each of the two.
        self.vertical = RowsAboveConv(width, 2 * width, kernel)
        self.horizontal = RowConv(width, 2 * width, kernel // 2, parts=2)
        self.vertical_to_horizontal = nn.Conv2d(2 * width, 2 * width, 1, bias=False)
        self.condition_to_vertical = nn.Conv2d(condition, 2 * width, 1, bias=False)
        self.condition_to_horizontal = nn.Conv2d(condition, 2 * width, 1, bias=False)
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
    layer, Cr's see nothing there and Cb's see Cr's. The pixels to the left are seen whole.

    Parameters
    ----------
    inputs, outputs : int
        Channels. The first half of the inputs is Cr's.
    reach : int
        Pixels to the left; 0 makes a masked 1 x 1 convolution.
    parts : int
        The outputs are so many equal parts, and the first half of each is Cr's.
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
