"""A conditional gated PixelCNN over two channels of chroma: each value given all that came before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib.models.base import check_sizes
from colorlib.models.losses import sparse_cross_entropy

FIRST_WEIGHTS = ("even", "torch")


def check_first_weights(name: str) -> None:
    """Raise a ValueError for a name that is none of ``FIRST_WEIGHTS``."""
    if name not in FIRST_WEIGHTS:
        raise ValueError(f"first_weights must be one of {', '.join(FIRST_WEIGHTS)}; got {name!r}")


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
        check_first_weights(first_weights)
        check_sizes(0, blocks=blocks)
        check_sizes(kernel=kernel, condition=condition)
        check_sizes(2, width=width, hidden=hidden, levels=levels)
        check_sizes(3, first_kernel=first_kernel)
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
        # All four have their places from the start: a run's checkpoint counts on the order of the parameters.
        self.register_module("recall", None)
        self.register_module("condition_to_hidden", None)
        self.register_module("marginal", None)
        self.register_module("to_gate", None)
        self.attend(attention)
        self.inform(condition, late)
        self.mix(marginal)

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

    def widen(self, kernel: int) -> None:
        """Let the blocks see farther: enlarge their kernels in place, with zeros around the weights.

        At first nothing changes: the same input gives the same logits. Training goes on from there, and the
        zeros learn. An optimizer made before must be made anew, for the weights are new tensors.

        Parameters
        ----------
        kernel : int
            The new side of the blocks' masked kernels, odd, not smaller than the old one.

        Raises
        ------
        TypeError, ValueError
            For a kernel that is no odd whole number, or smaller than the old one.

        Notes
        -----
        Source: Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016,
        for the idea of a larger network that starts as the same function.
        """
        if isinstance(kernel, bool) or not isinstance(kernel, int):
            raise TypeError(f"kernel must be an int, got {kernel!r}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and above 0, got {kernel}")
        for block in self.blocks:
            old = 2 * block.vertical.reach + 1
            if kernel < old:
                raise ValueError(f"kernel must be at least the old one, {old}; got {kernel}")
            more = (kernel - old) // 2
            # The pixel itself stands in the last row's middle here, and in the last column there.
            _enlarge(block.vertical, (more, more, more, 0))
            _enlarge(block.horizontal, (more, 0, 0, 0))
            block.horizontal.mask = F.pad(block.horizontal.mask, (more, 0), value=1.0)

    def attend(self, heads: int) -> None:
        """Give a network without attention so many heads of it, in place, see :class:`Recall`; 0 adds none.

        At first nothing changes, for the last weights of the new part are zero. As after :meth:`widen`, an
        optimizer must be made anew.

        Raises
        ------
        TypeError, ValueError
            For heads that are no whole number of 0 or more or don't divide the width, or where there is
            attention already.
        """
        check_sizes(0, attention=heads)
        if not heads:
            return
        if self.recall is not None:
            raise ValueError(f"there are {self.recall.heads} heads of attention already; got {heads} more")
        self.recall = Recall(self.hidden.in_channels, self.condition, heads).to(self.hidden.weight)

    def broaden(self, hidden: int) -> None:
        """Give the layer before the last more channels, in place.

        At first nothing changes, for what follows the new channels is zero. As after :meth:`widen`, an
        optimizer must be made anew.

        Raises
        ------
        TypeError, ValueError
            For channels that are no even whole number, or fewer than there are.
        """
        if isinstance(hidden, bool) or not isinstance(hidden, int):
            raise TypeError(f"hidden must be an int, got {hidden!r}")
        old = self.hidden.out_channels
        if hidden < old or hidden % 2:
            raise ValueError(f"hidden must be even and at least the old one, {old}; got {hidden}")
        if hidden == old:
            return
        before, after, late = self.hidden, self.to_levels, self.condition_to_hidden
        self.hidden = RowConv(before.in_channels, hidden).to(before.weight)
        self.to_levels = RowConv(hidden, after.out_channels).to(after.weight)
        # The first half of the channels is Cr's, before and after.
        half = torch.arange(old // 2, device=before.weight.device)
        kept = torch.cat([half, hidden // 2 + half])
        with torch.no_grad():
            self.hidden.weight[kept], self.hidden.bias[kept] = before.weight, before.bias
            self.to_levels.weight.zero_()
            self.to_levels.weight[:, kept] = after.weight
            self.to_levels.bias.copy_(after.bias)
            if self.to_gate is not None:
                gate_before = self.to_gate
                self.to_gate = RowConv(hidden, 2).to(gate_before.weight)
                self.to_gate.weight.zero_()
                self.to_gate.weight[:, kept], self.to_gate.bias[:] = gate_before.weight, gate_before.bias
                self.to_gate.requires_grad_(gate_before.weight.requires_grad)
            if late is not None:
                self.condition_to_hidden = nn.Conv2d(self.condition, hidden, 1, bias=False).to(late.weight)
                self.condition_to_hidden.weight.zero_()
                self.condition_to_hidden.weight[kept] = late.weight
                self.condition_to_hidden.requires_grad_(late.weight.requires_grad)
        self.hidden.requires_grad_(before.weight.requires_grad)
        self.to_levels.requires_grad_(after.weight.requires_grad)

    def inform(self, condition: int, late: bool = False) -> None:
        """Let a condition of so many channels in, in place, and with ``late`` let the hidden layer see it.

        Channels are added and taken away at the end. With more of them nothing changes at first, for their
        weights are zero, and so are the hidden layer's. What was learned of channels taken away is lost. A
        hidden layer that sees the condition already goes on seeing it. As after :meth:`widen`, an optimizer
        must be made anew.

        Raises
        ------
        TypeError, ValueError
            For channels that are no whole number above 0.
        """
        check_sizes(condition=condition)
        if not isinstance(late, bool):
            raise TypeError(f"late must be True or False, got {late!r}")
        more, self.condition = condition - self.condition, condition
        layers = [layer for layer in (self.condition_to_hidden,) if layer is not None]
        for block in self.blocks:
            layers += [block.condition_to_vertical, block.condition_to_horizontal]
        if self.recall is not None:
            layers += [self.recall.query, self.recall.key, self.recall.value]
        if self.marginal is not None:
            layers += [self.marginal.for_cr, self.marginal.for_cb]
        if more:
            for layer in layers:
                weight = F.pad(layer.weight.detach(), (0, 0, 0, 0, 0, more))  # less than 0 crops
                layer.weight = nn.Parameter(weight, layer.weight.requires_grad)
                layer.in_channels += more
        if late and self.condition_to_hidden is None:
            layer = nn.Conv2d(condition, self.hidden.out_channels, 1, bias=False)
            nn.init.zeros_(layer.weight)
            self.condition_to_hidden = layer.to(self.hidden.weight)

    def mix(self, marginal: int) -> None:
        """Add in place a :class:`Marginal` of so many hidden channels and a gate that mixes it in; 0: none.

        The gate starts at a probability of 0.05, so at first a value costs up to 0.05 nats more. As after
        :meth:`widen`, an optimizer must be made anew.

        Raises
        ------
        TypeError, ValueError
            For channels that are no whole number of 0 or more, or where there is a marginal already.
        """
        check_sizes(0, marginal=marginal)
        if not marginal:
            return
        if self.marginal is not None:
            raise ValueError(
                f"there is a marginal of {self.marginal.hidden} channels already; got {marginal} more"
            )
        like = self.hidden.weight
        self.marginal = Marginal(self.condition, marginal, self.levels).to(like)
        self.to_gate = RowConv(self.hidden.out_channels, 2).to(like)
        nn.init.zeros_(self.to_gate.weight)
        nn.init.constant_(self.to_gate.bias, -3.0)

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
            raise ValueError("this PixelCNN has no marginal, and so no gate; see PixelCNN.mix")
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


def _enlarge(layer: RowsAboveConv | RowConv, margin: tuple[int, int, int, int]) -> None:
    """Put zeros around a layer's weights: so many columns left and right, rows above and below."""
    layer.weight = nn.Parameter(F.pad(layer.weight.detach(), margin), layer.weight.requires_grad)
    layer.kernel_size = tuple(layer.weight.shape[2:])
    layer.reach += margin[0]


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


class Recall(nn.Module):
    """Attention: each pixel recalls the chroma of earlier pixels where the picture says similar things.

    What is recalled is a weighted mean over the earlier pixels of a gate of their chroma and condition,
    through a last linear layer, which starts at zero. The weights are a softmax of scores: the product of the
    pixel's query and the earlier pixel's key, divided by the root of their length, less their distance times
    a slope. Queries and keys are made of the condition alone. Head k of n, counted from 1, has the slope
    2 ** (-8 k / n) for a pixel of distance. Beside the earlier pixels stands an empty one, with a score of 0
    and nothing to recall.

    Parameters
    ----------
    width : int
        Channels of the horizontal stack, to which what is recalled is added.
    condition : int
        Channels of the condition.
    heads : int
        Into how many independent parts the width is divided.

    Raises
    ------
    ValueError
        If the heads don't divide the width.

    Notes
    -----
    Sources: Chen, Mishra, Rohaninejad, Abbeel, "PixelSNAIL: An Improved Autoregressive Generative Model",
    ICML 2018, for attention beside masked convolutions; Press, Smith, Lewis, "Train Short, Test Long", ICLR
    2022, for the slopes. The published PixColor has none. That the condition alone makes queries and keys,
    and the empty pixel, are this library's choice.
    """

    def __init__(self, width: int, condition: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"attention must divide the width, {width}; got {heads} heads")
        self.heads = heads
        self.query = nn.Conv2d(condition, width, 1, bias=False)
        self.key = nn.Conv2d(condition, width, 1, bias=False)
        self.value = nn.Conv2d(2 + condition, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, chroma: Tensor, condition: Tensor) -> Tensor:
        """Give what each pixel recalls: chroma (B, 2, h, w) and the condition to (B, width, h, w)."""
        height, width = chroma.shape[-2:]
        queries, keys = (self.split(layer(condition)) for layer in (self.query, self.key))
        values = self.split(gated(self.value(torch.cat([chroma, condition], 1))))
        bias = self.bias(height, width)
        past = torch.ones(bias.shape[1:], dtype=torch.bool, device=bias.device).tril(-1)
        bias = bias.masked_fill(~past, -torch.inf)
        # The empty pixel: a key and a value of zeros.
        keys, values, bias = (F.pad(keys, (0, 0, 0, 1)), F.pad(values, (0, 0, 0, 1)), F.pad(bias, (0, 1)))
        recalled = F.scaled_dot_product_attention(queries, keys, values, bias.to(queries)[None])
        return self.out(recalled.transpose(2, 3).flatten(1, 2).unflatten(2, (height, width)))

    def split(self, x: Tensor) -> Tensor:
        """Split channels into heads, (B, width, h, w) to (B, heads, h * w, width / heads)."""
        return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)

    def bias(self, height: int, width: int, pixels: slice = slice(None)) -> Tensor:
        """Give what distance adds to the scores of some pixels by all, (heads, pixels, h * w)."""
        like = {"device": self.out.weight.device, "dtype": self.out.weight.dtype}
        index = torch.arange(height * width, device=like["device"])
        down, right = ((at[pixels, None] - at).to(**like) for at in (index // width, index % width))
        slopes = 2 ** (-8 * torch.arange(1, self.heads + 1, **like) / self.heads)
        return -slopes[:, None, None] * torch.hypot(down, right)


class Marginal(nn.Module):
    """The marginal distribution of each cell's color: p(Cr | condition) times p(Cb | Cr, condition).

    It sees no other cell's color, and of the picture what the cell's condition says: a classifier of one
    cell, with two layers of 1 x 1 convolutions for each factor. In a chain of draws only the first cell of a
    thing has a choice, so only that cell teaches a PixelCNN which colors a thing may have and how often. Here
    every cell teaches it. The published network has none; this one is the library's own.

    Parameters
    ----------
    condition : int
        Channels of the condition.
    hidden : int
        Channels of the hidden layer, for Cr and for Cb each.
    levels : int
        Into how many values each channel of chroma is divided.
    """

    def __init__(self, condition: int, hidden: int, levels: int):
        super().__init__()
        self.hidden, self.levels = hidden, levels
        self.for_cr = nn.Conv2d(condition, hidden, 1)
        self.for_cb = nn.Conv2d(condition, hidden, 1)
        self.cr_to_cb = nn.Conv2d(levels, hidden, 1, bias=False)
        self.to_cr = nn.Conv2d(hidden, levels, 1)
        self.to_cb = nn.Conv2d(hidden, levels, 1)

    def forward(self, cr: Tensor, condition: Tensor) -> Tensor:
        """Score the levels: the cells' Cr (B, h, w) in [-1, 1] and the condition to (B, 2, levels, h, w)."""
        # Chances are wanted to the percent, and bfloat16 keeps less of a score.
        cr, condition = (x.to(self.for_cr.weight.dtype) for x in (cr, condition))
        with torch.autocast(condition.device.type, enabled=False):
            for_cb = self.for_cb(condition) + self.cr_to_cb(self.waves(cr).movedim(-1, 1))
            return torch.stack([self.to_cr(F.relu(self.for_cr(condition))), self.to_cb(F.relu(for_cb))], 1)

    def waves(self, cr: Tensor) -> Tensor:
        """Give Cr (...) as as many cosines as there are levels, (..., levels).

        A cosine transform of the levels: a linear layer can tell each from all others.
        """
        half, wide = self.levels // 2, cr.to(torch.promote_types(cr.dtype, torch.float32))
        number = torch.arange(self.levels, dtype=wide.dtype, device=wide.device)
        return torch.cos(torch.pi / self.levels * (wide[..., None] * half + half + 0.5) * number).to(cr)

    @staticmethod
    def mixture(scores: Tensor, marginal: Tensor, gate: Tensor, dim: int) -> Tensor:
        """Give the log probabilities of a mixture of two distributions, given as logits along ``dim``.

        With the probability sigmoid(gate) it is ``marginal``, otherwise ``scores``. In float32 or better.
        """
        wide = torch.promote_types(scores.dtype, torch.float32)
        scores, marginal = (x.to(wide).log_softmax(dim) for x in (scores, marginal))
        gate = gate.to(wide)
        return torch.logaddexp(scores + F.logsigmoid(-gate), marginal + F.logsigmoid(gate))


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


def gated(x: Tensor) -> Tensor:
    """Tanh of the first half of the channels times the sigmoid of the second."""
    signal, opening = x.chunk(2, 1)
    return torch.tanh(signal) * torch.sigmoid(opening)


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
        of_input = torch.arange(inputs) >= inputs // 2  # False: Cr's, True: Cb's
        of_output = (torch.arange(outputs // parts) >= outputs // parts // 2).repeat(parts)
        seen = of_input <= of_output[:, None] if sees_itself else of_input < of_output[:, None]
        mask = torch.ones_like(self.weight)
        mask[:, :, 0, -1] = seen.to(mask)
        self.register_buffer("mask", mask, persistent=False)

    def masked_weight(self) -> Tensor:
        """Give the weights with zeros where nothing may be seen."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (self.reach, 0)), self.masked_weight(), self.bias)
