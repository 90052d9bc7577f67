"""What the quick sampler computes once a pixel: the horizontal stack and the last layers."""

from __future__ import annotations

import torch
from torch import Tensor

from .draw import Task
from .rows import Memory, Rows, by_channel, halving, matrix_of

# A block's line of numbers, in units of half the width: where each channel has its line, its sums, tanh and
# sigmoid among these, and all that its outputs are computed from.
PLACES = (((0, 3), (0, 2), (1, 2), (0, 1), (1, 3)), ((3, 6), (4, 6), (4, 5), (5, 6), (1, 5)))


class Pixel:
    """The horizontal stack at one pixel: two passes, Cr's channels and then Cb's.

    Its tensors stay where they are in memory. So it can be recorded as a CUDA graph, and on a CPU all views
    are made once.

    With G for half the width, each block has a line of 6 G numbers, in this order::

        Cr: sigmoid | Cr: tanh, then gate | Cr: input | Cb: input | Cb: tanh, then gate | Cb: sigmoid

    A block's outputs are its inputs plus a product with its gates (`rows` says how these are computed), and
    the next block's sums are a product with these outputs. So one matrix leads from gates and inputs, which
    lie side by side for Cr alone and for both, to the three numbers of the next line.
    """

    def __init__(self, pixelcnn, task: Task):
        self.task, self.blocks = task, len(pixelcnn.blocks)
        count, width = len(task.known), pixelcnn.first.horizontal.out_channels
        like = {"dtype": task.condition.dtype, "device": task.condition.device}
        self.values = pixelcnn.values(torch.arange(pixelcnn.levels, device=like["device"])).to(like["dtype"])
        # What changes from pixel to pixel.
        self.noise = torch.zeros(2, count, pixelcnn.levels, **like)
        self.known = torch.zeros(count, 2, dtype=torch.int64, device=like["device"])
        self.given = torch.zeros(count, 2, dtype=torch.bool, device=like["device"])
        self.levels = torch.zeros_like(self.known)
        self.own_levels = self.levels.unbind(1)
        self.top = torch.zeros(count, width, **like)
        self.addends = torch.zeros(self.blocks, count, 2 * width, **like)
        self.last = torch.zeros(count, width, **like)  # what the last block gives
        self._prepare_blocks(pixelcnn.blocks, count, width, like)
        self._prepare_first(pixelcnn.first.horizontal, count, width, like)
        self._prepare_last(pixelcnn, count, width, like)

    def _prepare_first(self, layer, count: int, width: int, like: dict) -> None:
        """The first layer: chroma of the last pixels, and of this one."""
        reach = layer.reach
        self.chroma = torch.zeros(count, 2 * (reach + 1), **like)
        self.past_chroma, *self.own_chroma = self.chroma.split([2 * reach, 1, 1], 1)
        weight = layer.masked_weight()[:, :, 0]  # (width, 2, reach + 1)
        self.from_past_chroma = weight[:, :, :-1].permute(2, 1, 0).reshape(2 * reach, width).contiguous()
        self.cr_to_cb = weight[width // 2 :, 0, -1].contiguous()
        self.first_cb = self.first[:, width // 2 :]
        places = self.chroma.split(2, 1)
        self.shifts += zip(places, places[1:], strict=False)

    def _prepare_blocks(self, blocks, count: int, width: int, like: dict) -> None:
        """The blocks: `past` has the inputs of the last pixels; `lines` is this pixel."""
        group, reach = width // 2, blocks[0].horizontal.reach if blocks else 0
        self.past = torch.zeros(self.blocks, count, reach * width, **like)
        self.lines = torch.zeros(self.blocks, count, 6 * group, **like)
        self.inputs = self.lines[:, :, 2 * group : 4 * group]
        self.first = self.inputs[0] if blocks else self.last
        # Each place takes what its right neighbor has.
        places = [*self.past.split(width, 2), self.inputs] if reach else []
        self.shifts = [*zip(places, places[1:], strict=False)]
        self.sums = torch.empty(self.blocks, count, 2 * width, **like)
        self.sums_by_channel = self.sums.unflatten(2, (2, width))
        self.sums_in_lines = self.lines.as_strided(
            self.sums_by_channel.shape, (*self.lines.stride()[:2], 4 * group, 1)
        )
        if not blocks:
            return
        halved, order = halving(width, **like), by_channel(width, like["device"])
        past, here, out = [], [], []
        for block in blocks:
            weight = (block.horizontal.masked_weight()[:, :, 0] * halved[:, None, None])[order]
            past.append(weight[:, :, :-1].permute(2, 1, 0).flatten(0, 1))
            here.append(weight[:, :, -1].T)  # (width, 2 width)
            out.append(block.out.masked_weight()[:, :, 0, 0].T * 0.5)  # its input is twice the gate
        self.past_weights = torch.stack(past)
        self.begin, self.passes = [], []
        for channel in range(2):
            line, sums, signal, opening, read = (slice(a * group, b * group) for a, b in PLACES[channel])
            own = slice(channel * group, (channel + 1) * group)
            seen = slice(0, (channel + 1) * group)
            columns = slice(channel * width, (channel + 1) * width)
            matrix = here[0][seen, columns].contiguous()
            self.begin.append((self.lines[0][:, sums], self.first[:, seen], matrix))
            steps = []
            for place, this in enumerate(self.lines):
                # From inputs and from gates to this channel's outputs, and on to the next block's sums.
                outputs = torch.eye(width, **like), out[place]
                to = [matrix[seen, own] for matrix in outputs]
                target = self.last[:, own]
                if place + 1 < self.blocks:
                    target = self.lines[place + 1][:, line]
                    onward = [(matrix @ here[place + 1])[seen, columns] for matrix in outputs]
                    parts = zip(onward, to, strict=True) if channel == 0 else zip(to, onward, strict=True)
                    to = [torch.cat(pair, 1) for pair in parts]
                inputs, gates = to
                matrix = torch.cat([gates[:group], inputs, *([gates[group:]] if channel else [])])
                views = this[:, sums], this[:, signal], this[:, opening], target, this[:, read]
                steps.append((*views, matrix.contiguous()))
            self.passes.append(steps)

    def _prepare_last(self, pixelcnn, count: int, width: int, like: dict) -> None:
        """The two last layers, split into Cr's channels and Cb's."""
        weight = pixelcnn.hidden.masked_weight()[:, :, 0, 0]
        last, last_bias = pixelcnn.to_levels.masked_weight()[:, :, 0, 0], pixelcnn.to_levels.bias
        hidden, levels = len(weight) // 2, len(last) // 2
        # What the hidden layer adds: its bias, or where it sees the condition, the pixel's own.
        self.sees_condition = pixelcnn.condition_to_hidden is not None
        self.hidden_addends = pixelcnn.hidden.bias.clone()
        if self.sees_condition:
            self.hidden_addends = torch.zeros(count, 2 * hidden, **like)
        self.marginal = marginal = pixelcnn.marginal
        if marginal is not None:
            # This pixel's: Cr's scores, and Cb's hidden layer without Cr.
            sizes = marginal.levels, marginal.hidden_channels
            self.of_pixel = [torch.zeros(count, size, **like) for size in sizes]
            self.cr_to_cb_hidden = matrix_of(marginal.cr_to_cb)
            self.hidden_to_cb = matrix_of(marginal.to_cb)
            # The gate is one more score of each channel, the last one.
            gate = pixelcnn.to_gate.masked_weight()[:, :, 0, 0]
            last, last_bias = (
                torch.cat([x[:levels], y[:1], x[levels:], y[1:]])
                for x, y in ((last, gate), (last_bias, pixelcnn.to_gate.bias))
            )
            levels += 1
        between, half = torch.empty(count, 2 * hidden, **like), width // 2
        self.last_layers = []
        for channel in range(2):
            own, score = (slice(channel * n, (channel + 1) * n) for n in (hidden, levels))
            seen, read = (slice(0, (channel + 1) * n) for n in (half, hidden))
            first = self.last[:, seen], self.hidden_addends[..., own], weight[own, seen].T.contiguous()
            second = between[:, read], last_bias[score].contiguous(), last[score, read].T.contiguous()
            self.last_layers.append((*first, between[:, own], *second))

    def reset(self) -> None:
        """Begin a row: nothing lies to the left."""
        self.past.zero_()
        self.chroma.zero_()

    def load(self, rows: Rows, memory: Memory, row: int, column: int, noise: Tensor | None = None) -> None:
        """Take in what is known of a pixel before its turn."""
        if noise is not None:
            self.noise.copy_(noise)
        if self.task.any_given:
            self.known.copy_(self.task.known[:, :, row, column])
            self.given.copy_(self.task.given[:, :, row, column])
        self.top.copy_(rows.top[:, column])
        if self.sees_condition:
            self.hidden_addends.copy_(rows.hidden_addends[:, column])
        if self.marginal is not None:
            for own, of_images in zip(self.of_pixel, rows.of_images, strict=True):
                own.unflatten(0, (self.task.samples, -1)).copy_(of_images[:, column])
        memory.add_to(self.top)
        if self.blocks:
            self.addends.copy_(rows.addends[:, :, column])

    def logits(self, channel: int) -> Tensor:
        """Give the scores of Cr (channel 0), or of Cb (1) once Cr is put, (N, levels)."""
        if channel == 0:
            torch.addmm(self.top, self.past_chroma, self.from_past_chroma, out=self.first)
        if self.blocks:
            if channel == 0:
                # What all blocks need of the pixels to the left, in one go. The rest is added to it.
                torch.baddbmm(self.addends, self.past, self.past_weights, out=self.sums)
                self.sums_in_lines.copy_(self.sums_by_channel)
                self.inputs[1:].zero_()
                self.last.zero_()
            sums, inputs, matrix = self.begin[channel]
            sums.addmm_(inputs, matrix)
            for sums, signal, opening, target, read, matrix in self.passes[channel]:
                sums.tanh_()
                signal.addcmul_(signal, opening)  # twice the gate
                target.addmm_(read, matrix)
        seen, bias, weight, hidden, read, last_bias, last = self.last_layers[channel]
        torch.addmm(bias, seen.relu(), weight, out=hidden)
        hidden.relu_()
        scores = torch.addmm(last_bias, read, last)
        if self.marginal is None:
            return scores
        scores, gate = scores[:, :-1], scores[:, -1:]
        marginal = self.of_pixel[channel]
        if channel == 1:
            cosines = self.marginal.cosines(self.own_chroma[0][:, 0])
            hidden = torch.addmm(marginal, cosines, self.cr_to_cb_hidden).relu_()
            marginal = torch.addmm(self.marginal.to_cb.bias, hidden, self.hidden_to_cb)
        return self.marginal.mixture(scores, marginal, gate, 1)

    def take(self, channel: int, levels: Tensor) -> None:
        """Take in the level that was drawn for this pixel, (N,), or the one that is given."""
        if self.task.any_given:
            levels = torch.where(self.given[:, channel], self.known[:, channel], levels)
        self.own_levels[channel].copy_(levels)
        self.put(channel, self.values.index_select(0, levels))

    def put(self, channel: int, values: Tensor) -> None:
        """Take in the chroma of this pixel, (N,)."""
        self.own_chroma[channel].copy_(values[:, None])
        if channel == 0:
            self.first_cb.addcmul_(self.own_chroma[0], self.cr_to_cb)

    def move_on(self) -> None:
        """Go one pixel to the right."""
        for place, follower in self.shifts:
            place.copy_(follower)
