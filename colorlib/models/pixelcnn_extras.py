"""What this library adds to the published PixelCNN: causal self-attention, and a head for single cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gated(x: Tensor) -> Tensor:
    """Tanh of the first half of the channels times the sigmoid of the second."""
    signal, opening = x.chunk(2, 1)
    return torch.tanh(signal) * torch.sigmoid(opening)


class CausalSelfAttention(nn.Module):
    """Each pixel recalls the chroma of earlier pixels where the picture says similar things.

    What is recalled is a weighted mean over the earlier pixels of a gate of their chroma and condition,
    through a last linear layer, which starts at zero. The weights are a softmax of scores: the product of the
    pixel's query and the earlier pixel's key, divided by the root of their length, less their distance times
    a slope, 2 ** (-8 k / n) a pixel for head k of n, counted from 1. Beside the earlier pixels stands an
    empty one, with a score of 0 and nothing to recall. That the condition alone makes queries and keys, and
    the empty pixel, are this library's choice.

    Sources: Chen, Mishra, Rohaninejad, Abbeel, "PixelSNAIL: An Improved Autoregressive Generative Model",
    ICML 2018, for attention beside masked convolutions; Press, Smith, Lewis, "Train Short, Test Long", ICLR
    2022, for the slopes.
    """

    def __init__(self, width: int, condition_channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(condition_channels, width, 1, bias=False)
        self.key = nn.Conv2d(condition_channels, width, 1, bias=False)
        self.value = nn.Conv2d(2 + condition_channels, 2 * width, 1)
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


class MarginalHead(nn.Module):
    """The marginal distribution of each cell's color: p(Cr | condition) times p(Cb | Cr, condition).

    It sees no other cell's color: a classifier of one cell, with two layers of 1 x 1 convolutions for each
    factor. In a chain of draws only the first cell of a thing has a choice, so only that cell teaches a
    PixelCNN which colors a thing may have and how often. Here every cell teaches it. It is the library's own.
    """

    def __init__(self, condition_channels: int, hidden_channels: int, levels: int):
        super().__init__()
        self.hidden_channels, self.levels = hidden_channels, levels
        self.for_cr = nn.Conv2d(condition_channels, hidden_channels, 1)
        self.for_cb = nn.Conv2d(condition_channels, hidden_channels, 1)
        self.cr_to_cb = nn.Conv2d(levels, hidden_channels, 1, bias=False)
        self.to_cr = nn.Conv2d(hidden_channels, levels, 1)
        self.to_cb = nn.Conv2d(hidden_channels, levels, 1)

    def forward(self, cr: Tensor, condition: Tensor) -> Tensor:
        """Score the levels: the cells' Cr (B, h, w) in [-1, 1] and the condition to (B, 2, levels, h, w)."""
        # Chances are wanted to the percent, and bfloat16 keeps less of a score.
        cr, condition = (x.to(self.for_cr.weight.dtype) for x in (cr, condition))
        with torch.autocast(condition.device.type, enabled=False):
            for_cb = self.for_cb(condition) + self.cr_to_cb(self.cosines(cr).movedim(-1, 1))
            return torch.stack([self.to_cr(F.relu(self.for_cr(condition))), self.to_cb(F.relu(for_cb))], 1)

    def cosines(self, cr: Tensor) -> Tensor:
        """Give the cosine transform of Cr (...), (..., levels): a linear layer can tell each level by it."""
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
