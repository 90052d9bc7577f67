"""The quick sampler: no layer computes again what it has computed before.

A value drawn at one place changes nothing above it or to its left. So

- the condition enters once for an image, and all samples of the image share it;
- the vertical stack runs once for a row, on the rows that it can still see;
- attention, where the network has it, runs once for a row on the rows above, and once for a pixel on its row;
- a marginal, where the network has it, runs once for an image and row, but for what Cb needs to know of Cr;
- the horizontal stack runs once for a value, on the pixels to the left that it can still see, as products of
  small matrices. The channels of Cr wait for nothing of their own pixel and go first. Cb's follow when Cr is
  drawn. Neither pass computes the other's channels.

Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", ICLR 2017, keep each layer's
past in this way for unconditional models.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from colorlib._check import flag, floating

from .draw import Task, check, report
from .rows import Memory, Rows, by_channel


def sample(
    pixelcnn,
    condition: Tensor,
    samples: int = 1,
    generator: torch.Generator | None = None,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    known: Tensor | None = None,
    mask: Tensor | None = None,
    progress: Callable[[int, int], bool | None] | None = None,
    graph: bool = True,
) -> Tensor:
    """Draw chroma maps from a :class:`colorlib.models.PixelCNN`, value by value.

    :func:`naive_sample` gives the same maps from the same generator, up to rounding: a number that falls
    within rounding of the border between two levels may give the one or the other.

    Parameters
    ----------
    pixelcnn : PixelCNN
        Or any module with the same parts under the same names.
    condition : Tensor
        What the maps are given, (B, C, h, w), in the dtype and on the device of the weights.
    samples : int
        How many maps of each image. All images and samples go in one batch.
    generator : torch.Generator, optional
        The only source of chance, on the device of ``condition``. None: torch's global one.
    temperature, top_p : float
        See :func:`draw`.
    known : Tensor, optional
        Levels that are given and not drawn, int64 (B, 2, h, w), Cr first. What is drawn takes note of those
        before it in raster order, and of those alone. The last rows cost nothing where they are
        given in full.
    mask : Tensor, optional
        Where ``known`` is given, bool (B, 2, h, w), or (B, 1, h, w) for both channels. Elsewhere ``known``
        is not looked at.
    progress : callable, optional
        Called after each row as ``progress(rows done, rows)``. If it returns False, or anything else that
        counts as false but None, sampling stops; an exception that it raises ends sampling too.
    graph : bool
        Whether a GPU's work for one pixel is recorded once, as a CUDA graph, and then replayed. On a CPU it
        changes nothing.

    Returns
    -------
    Tensor
        Levels, int64 (samples, B, 2, h, w), Cr first; ``pixelcnn.values`` makes chroma of them.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, shape or range.
    Stopped
        When ``progress`` returned False; it holds what was drawn.
    """
    task = check(pixelcnn, condition, samples, generator, temperature, top_p, known, mask, progress)
    graph = flag(graph, "graph")
    levels = torch.full_like(task.known, pixelcnn.levels // 2)  # no inference tensor, unlike those below
    # Where all that is left is given, there is nothing to draw and nothing to compute.
    open_rows = (~task.given).flatten(0, 1).any(0).any(1).nonzero()
    drawn_rows = int(open_rows[-1]) + 1 if len(open_rows) else 0
    with torch.inference_mode(), torch.autocast(condition.device.type, enabled=False):
        pixel, rows, memory = _Pixel(pixelcnn, task), Rows(pixelcnn, task), Memory(pixelcnn, task)

        def step():
            for channel in range(2):
                pixel.take(channel, task.draw(pixel.logits(channel), pixel.noise[channel]))
            pixel.move_on()

        if graph and condition.device.type == "cuda":
            step = _record(step, pixel)
        for row in range(levels.shape[-2]):
            noise = task.noise().unbind()  # of all rows, so that the generator ends where it always does
            if row >= drawn_rows:
                levels[:, :, row] = task.known[:, :, row]
                report(progress, row, levels.unflatten(0, (task.samples, -1)))
                continue
            rows.begin(row)
            memory.begin(row, rows.top)
            pixel.reset()
            for column in range(levels.shape[-1]):
                pixel.load(rows, memory, row, column, noise[column])
                step()
                levels[:, :, row, column] = pixel.levels
                if memory.recall is not None:
                    memory.take(pixel.values[pixel.levels])
            rows.end(pixel.values[levels[:, :, row]])
            report(progress, row, levels.unflatten(0, (task.samples, -1)))
    return levels.unflatten(0, (task.samples, -1))


def cached_logits(pixelcnn, condition: Tensor, chroma: Tensor) -> Tensor:
    """Give the scores that :func:`sample` would draw from, had it drawn this chroma.

    They are those of ``pixelcnn(chroma, condition)``, computed in the sampler's way: chroma (B, 2, h, w) in
    [-1, 1] and condition (B, C, h, w) to (B, 2, levels, h, w).

    Raises
    ------
    TypeError, ValueError
        For a condition as in :func:`sample`, or chroma that is not floating point or doesn't fit it.
    """
    task = check(pixelcnn, condition, 1, None, 1.0, 1.0, None, None, None)
    chroma = floating(chroma, "chroma", str(tuple(task.known.shape))).to(condition)
    out = chroma.new_empty(len(chroma), 2, pixelcnn.levels, *chroma.shape[-2:])
    with torch.inference_mode(), torch.autocast(condition.device.type, enabled=False):
        pixel, rows, memory = _Pixel(pixelcnn, task), Rows(pixelcnn, task), Memory(pixelcnn, task)
        for row in range(chroma.shape[-2]):
            rows.begin(row)
            memory.begin(row, rows.top)
            pixel.reset()
            for column in range(chroma.shape[-1]):
                pixel.load(rows, memory, row, column)
                for channel in range(2):
                    out[:, channel, :, row, column] = pixel.logits(channel)
                    pixel.put(channel, chroma[:, channel, row, column])
                pixel.move_on()
                memory.take(chroma[:, :, row, column])
            rows.end(chroma[:, :, row])
    return out


class _Pixel:
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
        first, blocks = pixelcnn.first.horizontal, pixelcnn.blocks
        count, depth = len(task.known), len(blocks)
        like = {"dtype": task.condition.dtype, "device": task.condition.device}
        width = first.out_channels
        group = width // 2
        self.task, self.depth, self.width = task, depth, width
        self.values = pixelcnn.values(torch.arange(pixelcnn.levels, device=like["device"])).to(like["dtype"])

        # What changes from pixel to pixel.
        self.noise = torch.zeros(2, count, pixelcnn.levels, **like)
        self.known = torch.zeros(count, 2, dtype=torch.int64, device=like["device"])
        self.given = torch.zeros(count, 2, dtype=torch.bool, device=like["device"])
        self.levels = torch.zeros_like(self.known)
        self.own_levels = self.levels.unbind(1)
        self.top = torch.zeros(count, width, **like)
        self.addends = torch.zeros(depth, count, 2 * width, **like)

        # The first layer: chroma of the last pixels, and of this one.
        self.reach = first.reach
        self.chroma = torch.zeros(count, 2 * (self.reach + 1), **like)
        self.past_chroma, *self.own_chroma = self.chroma.split([2 * self.reach, 1, 1], 1)
        weight = first.masked_weight()[:, :, 0]  # (width, 2, reach + 1)
        self.from_past_chroma = weight[:, :, :-1].permute(2, 1, 0).reshape(2 * self.reach, width).contiguous()
        self.cr_to_cb = weight[group:, 0, -1].contiguous()

        # The blocks. `past` has the inputs of the last pixels; `lines` is this pixel.
        reach = blocks[0].horizontal.reach if blocks else 0
        self.past = torch.zeros(depth, count, reach * width, **like)
        self.lines = torch.zeros(depth, count, 6 * group, **like)
        self.last = torch.zeros(count, width, **like)
        self.inputs = self.lines[:, :, 2 * group : 4 * group]
        self.first = self.inputs[0] if blocks else self.last
        self.first_cb = self.first[:, group:]
        # Each place takes what its right neighbor has.
        places = [*self.past.split(width, 2), self.inputs] if reach else []
        self.shifts = [*zip(places, places[1:], strict=False)]
        places = self.chroma.split(2, 1)
        self.shifts += zip(places, places[1:], strict=False)
        self.sums = torch.empty(depth, count, 2 * width, **like)
        self.sums_by_channel = self.sums.unflatten(2, (2, width))
        self.sums_in_lines = self.lines.as_strided(
            self.sums_by_channel.shape, (*self.lines.stride()[:2], 4 * group, 1)
        )
        halved = torch.ones(2 * width, **like)
        halved[width:] = 0.5
        order = by_channel(width, like["device"])
        past_weights, here, out = [], [], []
        for block in blocks:
            weight = (block.horizontal.masked_weight()[:, :, 0] * halved[:, None, None])[order]
            past_weights.append(weight[:, :, :-1].permute(2, 1, 0).flatten(0, 1))
            here.append(weight[:, :, -1].T)  # (width, 2 width)
            out.append(block.out.masked_weight()[:, :, 0, 0].T * 0.5)  # its input is twice the gate
        self.past_weights = torch.stack(past_weights) if blocks else None
        self.begin, self.passes = [], []
        for channel in range(2):
            # Places of this channel's numbers in a line, and of all that they may be computed from.
            line = slice(0, 3 * group) if channel == 0 else slice(3 * group, 6 * group)
            sums = slice(0, 2 * group) if channel == 0 else slice(4 * group, 6 * group)
            signal = slice(group, 2 * group) if channel == 0 else slice(4 * group, 5 * group)
            opening = slice(0, group) if channel == 0 else slice(5 * group, 6 * group)
            read = slice(group, 3 * group if channel == 0 else 5 * group)
            own = slice(channel * group, (channel + 1) * group)
            seen = slice(0, (channel + 1) * group)
            columns = slice(channel * width, (channel + 1) * width)
            if blocks:
                matrix = here[0][seen, columns].contiguous()
                self.begin.append((self.lines[0][:, sums], self.first[:, seen], matrix))
            steps = []
            for place in range(depth):
                # From inputs and from gates to this channel's outputs, and on to the next block's sums.
                outputs = torch.eye(width, **like), out[place]
                to = [matrix[seen, own] for matrix in outputs]
                target = self.last[:, own]
                if place + 1 < depth:
                    target = self.lines[place + 1][:, line]
                    onward = [(matrix @ here[place + 1])[seen, columns] for matrix in outputs]
                    parts = zip(onward, to, strict=True) if channel == 0 else zip(to, onward, strict=True)
                    to = [torch.cat(pair, 1) for pair in parts]
                inputs, gates = to
                matrix = torch.cat([gates[:group], inputs, *([gates[group:]] if channel else [])])
                steps.append(
                    (
                        self.lines[place][:, sums],
                        self.lines[place][:, signal],
                        self.lines[place][:, opening],
                        target,
                        self.lines[place][:, read],
                        matrix.contiguous(),
                    )
                )
            self.passes.append(steps)

        # The two last layers, split into Cr's channels and Cb's.
        weight = pixelcnn.hidden.masked_weight()[:, :, 0, 0]
        last = pixelcnn.to_levels.masked_weight()[:, :, 0, 0]
        hidden, levels = len(weight) // 2, len(last) // 2
        self.hidden = torch.empty(count, 2 * hidden, **like)
        # What the hidden layer adds: its bias, or where it sees the condition, the pixel's own.
        self.late = pixelcnn.condition_to_hidden is not None
        self.hidden_addends = pixelcnn.hidden.bias.clone()
        if self.late:
            self.hidden_addends = torch.zeros(count, 2 * hidden, **like)
        # The marginal of this pixel: Cr's scores, and Cb's hidden layer without Cr.
        self.marginal, self.samples = pixelcnn.marginal, task.samples
        last_bias = pixelcnn.to_levels.bias
        if self.marginal is not None:
            marginal = self.marginal
            self.of_pixel = [
                torch.zeros(count, n, **like) for n in (marginal.levels, marginal.hidden_channels)
            ]
            self.cr_to_cb_hidden = marginal.cr_to_cb.weight[:, :, 0, 0].T.contiguous()
            self.hidden_to_cb = marginal.to_cb.weight[:, :, 0, 0].T.contiguous()
            # The gate is one more score of each channel, the last one.
            gate = pixelcnn.to_gate.masked_weight()[:, :, 0, 0]
            last, last_bias = (
                torch.cat([x[:levels], y[:1], x[levels:], y[1:]])
                for x, y in ((last, gate), (last_bias, pixelcnn.to_gate.bias))
            )
            levels += 1
        self.heads = []
        for channel in range(2):
            seen, own = slice(0, (channel + 1) * group), slice(channel * hidden, (channel + 1) * hidden)
            read, score = slice(0, (channel + 1) * hidden), slice(channel * levels, (channel + 1) * levels)
            self.heads.append(
                (
                    self.last[:, seen],
                    self.hidden_addends[..., own],
                    weight[own, seen].T.contiguous(),
                    self.hidden[:, own],
                    last_bias[score].contiguous(),
                    self.hidden[:, read],
                    last[score, read].T.contiguous(),
                )
            )

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
        if self.late:
            self.hidden_addends.copy_(rows.late[:, column])
        if self.marginal is not None:
            for own, of_images in zip(self.of_pixel, rows.of_images, strict=True):
                own.unflatten(0, (self.samples, -1)).copy_(of_images[:, column])
        memory.add_to(self.top)
        if self.depth:
            self.addends.copy_(rows.addends[:, :, column])

    def logits(self, channel: int) -> Tensor:
        """Give the scores of Cr (channel 0), or of Cb (1) once Cr is put, (N, levels)."""
        if channel == 0:
            torch.addmm(self.top, self.past_chroma, self.from_past_chroma, out=self.first)
            if self.depth:
                # What all blocks need of the pixels to the left, in one go. The rest is added to it.
                torch.baddbmm(self.addends, self.past, self.past_weights, out=self.sums)
                self.sums_in_lines.copy_(self.sums_by_channel)
                self.inputs[1:].zero_()
                self.last.zero_()
        if self.depth:
            sums, inputs, matrix = self.begin[channel]
            sums.addmm_(inputs, matrix)
        for sums, signal, opening, target, read, matrix in self.passes[channel]:
            sums.tanh_()
            signal.addcmul_(signal, opening)  # twice the gate
            target.addmm_(read, matrix)
        seen, bias, weight, hidden, last_bias, read, last = self.heads[channel]
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


def _record(step: Callable[[], None], pixel: _Pixel) -> Callable[[], None]:
    """Record a step as a CUDA graph, and give its replay."""
    # The libraries choose their ways in the first runs, which must not be on the default stream. What these
    # leave behind is cleared by `reset`.
    aside = torch.cuda.Stream(pixel.noise.device)
    aside.wait_stream(torch.cuda.current_stream(pixel.noise.device))
    with torch.cuda.device(pixel.noise.device):
        with torch.cuda.stream(aside):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
    return graph.replay
