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
        pixel, rows, memory = _Pixel(pixelcnn, task), _Rows(pixelcnn, task), _Memory(pixelcnn, task)

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
        pixel, rows, memory = _Pixel(pixelcnn, task), _Rows(pixelcnn, task), _Memory(pixelcnn, task)
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


# Gates. A sigmoid is a tanh: sigmoid(x) = (1 + tanh(x / 2)) / 2. So the weights of the sigmoid's half are
# halved beforehand, one tanh serves both, and a + a * b is twice the gate. For that the next layer's weights
# are halved. Powers of two round nothing.


def _double_gate(x: Tensor, width: int, out: Tensor | None = None) -> Tensor:
    """Overwrite sums (..., 2 width) with their tanh, and give twice the gate, (..., width)."""
    x.tanh_()
    signal, opening = x[..., :width], x[..., width:]
    return torch.addcmul(signal, signal, opening, out=out)


class _Rows:
    """The vertical stack: once a row, everything that the row's pixels need of it."""

    def __init__(self, pixelcnn, task: Task):
        first, blocks = pixelcnn.first, pixelcnn.blocks
        count, _, _, width = task.known.shape
        self.samples, self.columns = task.samples, width
        self.condition = task.condition.permute(2, 0, 3, 1).contiguous()  # (h, B, w, C)
        like = {"dtype": self.condition.dtype, "device": self.condition.device}
        self.width = features = first.vertical.out_channels
        self.first, reach = first.vertical, first.vertical.reach
        self.past = torch.zeros(count, 2, reach, width + 2 * reach, **like)  # the last rows of chroma
        self.depth = len(blocks)
        self.late = None  # (N, w, hidden): what the hidden layer gets of the row's condition, if it sees it
        if pixelcnn.condition_to_hidden is not None:
            self.to_hidden = pixelcnn.condition_to_hidden.weight[:, :, 0, 0].T.contiguous()
            self.hidden_bias = pixelcnn.hidden.bias
            self.late = torch.empty(count, width, len(self.hidden_bias), **like)
        # The marginal's layers that need nothing of Cr, as pairs of matrix and bias.
        self.marginal = None
        if pixelcnn.marginal is not None:
            marginal = pixelcnn.marginal
            self.marginal = [
                (layer.weight[:, :, 0, 0].T.contiguous(), layer.bias)
                for layer in (marginal.for_cr, marginal.to_cr, marginal.for_cb)
            ]
        if not blocks:
            return

        halved = torch.ones(2 * features, **like)
        halved[features:] = 0.5
        order = _by_channel(features, self.condition.device)
        reach = blocks[0].vertical.reach
        kernel = (reach + 1) * (2 * reach + 1) * features
        # The last rows of each layer's input, with zeros at both sides. A column's rows lie side by side, and
        # so do the columns: a pixel's patch is one piece of memory. Row r stands at place r % (reach + 1),
        # where the oldest row was, so that nothing has to move; the weights are turned instead.
        self.rows = reach + 1
        self.inputs = torch.zeros(self.depth, count, width + 2 * reach, self.rows, features, **like)
        self.patches = torch.empty(count * width, kernel, **like)
        self.sums = torch.empty(count * width, 2 * features, **like)
        self.addends = torch.empty(self.depth, count, width, 2 * features, **like)
        self.weights, self.biases, self.across = [], [], []
        terms = []
        for place, block in enumerate(blocks):
            weight = block.vertical.weight * halved[:, None, None, None]
            if place:
                weight = weight * 0.5  # its input is twice the gate
            weight = weight.permute(3, 2, 1, 0)  # columns, rows, inputs, outputs
            turned = [weight.roll(row + 1, 1) for row in range(self.rows)]  # its last row to place `row`
            self.weights.append([x.reshape(kernel, -1).contiguous() for x in turned])
            terms.append(block.condition_to_vertical.weight[:, :, 0, 0] * halved[:, None])
            self.biases.append(block.vertical.bias * halved)
            # To the horizontal stack: its rows in the order of _Pixel, and the halving of its input undone.
            matrix = block.vertical_to_horizontal.weight[:, :, 0, 0] * halved[:, None] / halved
            self.across.append(matrix[order].T.contiguous())
            terms.append((block.condition_to_horizontal.weight[:, :, 0, 0] * halved[:, None])[order])
            self.biases.append((block.horizontal.bias * halved)[order])
        self.terms = torch.cat(terms).T.contiguous()
        self.biases = torch.cat(self.biases)
        column = self.rows * features
        windows = self.inputs.as_strided(
            (self.depth, count, width, (2 * reach + 1) * column), (*self.inputs.stride()[:2], column, 1)
        )
        self.windows = windows.unbind(0)  # the patch around each pixel, in place

    def begin(self, row: int) -> None:
        """Run the stack for a row: `top`, (N, w, width), and `addends`, (depth, N, w, 2 width).

        With a marginal, `of_images` has Cr's scores and Cb's hidden layer without Cr, (B, w, ...) each.
        """
        self.top = self.first._conv_forward(self.past, self.first.weight, self.first.bias)
        self.top = self.top[:, :, 0].transpose(1, 2).contiguous()
        condition = self.condition[row]
        if self.late is not None:
            self.late.unflatten(0, (self.samples, -1)).copy_(condition @ self.to_hidden + self.hidden_bias)
        if self.marginal is not None:
            (for_cr, cr_bias), (to_cr, scores_bias), (for_cb, cb_bias) = self.marginal
            hidden = (condition @ for_cr).add_(cr_bias).relu_()
            self.of_images = hidden @ to_cr + scores_bias, condition @ for_cb + cb_bias
        if not self.depth:
            return
        images, columns, _ = condition.shape
        terms = torch.addmm(self.biases, condition.flatten(0, 1), self.terms)
        terms = terms.view(1, images, columns, self.depth, 2, -1)
        reach, turn = self.rows - 1, row % self.rows
        inside = slice(reach, reach + columns)
        self.inputs[0, :, inside, turn] = self.top
        by_image = (self.samples, images, columns, -1)
        for place in range(self.depth):
            self.patches.view(self.windows[place].shape).copy_(self.windows[place])
            torch.mm(self.patches, self.weights[place][turn], out=self.sums)
            self.sums.view(by_image).add_(terms[:, :, :, place, 0])
            addend = self.addends[place]
            torch.mm(self.sums, self.across[place], out=addend.flatten(0, 1))
            addend.view(by_image).add_(terms[:, :, :, place, 1])
            if place + 1 < self.depth:
                gates = _double_gate(self.sums, self.width)
                self.inputs[place + 1, :, inside, turn] = gates.view(-1, columns, self.width)

    def end(self, values: Tensor) -> None:
        """Take in the row's chroma, (N, 2, w)."""
        reach = self.first.reach
        self.past[:, :, :-1] = self.past[:, :, 1:].clone()
        self.past[:, :, -1, reach : reach + self.columns] = values


class _Memory:
    """Attention, see `colorlib.models.pixelcnn.Recall`: once a row, and within the row once a pixel.

    What a row's pixels recall of the rows above needs nothing of the row itself. So it is one product for the
    whole row. It is no part of the CUDA graph, since it grows from row to row.
    """

    def __init__(self, pixelcnn, task: Task):
        self.recall = recall = pixelcnn.recall
        if recall is None:
            return
        images, _, height, width = task.condition.shape
        self.samples, self.row, self.column = task.samples, 0, 0
        queries, self.keys = (recall.split(layer(task.condition)) for layer in (recall.query, recall.key))
        self.queries = queries * queries.shape[-1] ** -0.5
        self.size = height, width
        # A pixel's value is made of its condition, known from the start, and of its chroma. The sigmoid's
        # half is halved, for a gate by one tanh; what is recalled is then twice as large.
        weight, features = recall.value.weight, recall.out.in_channels
        halved = torch.ones(2 * features, dtype=weight.dtype, device=weight.device)
        halved[features:] = 0.5
        terms = torch.nn.functional.conv2d(task.condition, weight[:, 2:], recall.value.bias)
        self.terms = (terms.flatten(2).permute(2, 0, 1) * halved).contiguous()  # (h * w, B, 2 width)
        self.from_chroma = weight[:, :2, 0, 0].T * halved
        self.features = features
        # Samples lie side by side: an image's samples see the same picture, and share the weights.
        self.values = queries.new_zeros(images, recall.heads, height * width, task.samples, queries.shape[-1])
        self.out = recall.out.weight[:, :, 0, 0].T * 0.5

    def begin(self, row: int, tops: Tensor) -> None:
        """Weigh all that the row's pixels may recall, and add what lies above to `tops`, (N, w, width)."""
        if self.recall is None:
            return
        self.row, self.column = row, 0
        width = self.size[1]
        above, done = row * width, (row + 1) * width
        scores = self.queries[:, :, above:done] @ self.keys[:, :, :done].transpose(2, 3)
        scores += self.recall.bias(*self.size, slice(above, done))[:, :, :done]
        later = torch.ones(width, width, dtype=torch.bool, device=scores.device).triu()
        scores[..., above:].masked_fill_(later, -torch.inf)
        scores = torch.nn.functional.pad(scores, (0, 1))
        weights = scores.softmax(3)[..., :-1]  # without the empty pixel, whose score is 0
        self.within = weights[..., above:].contiguous()
        if row:
            recalled = weights[..., :above] @ self.values[:, :, :above].flatten(3)
            recalled = recalled.unflatten(3, (self.samples, -1)).permute(3, 0, 2, 1, 4)
            tops += (recalled.flatten(3) @ self.out).flatten(0, 1)

    def add_to(self, top: Tensor) -> None:
        """Add what the next pixel recalls of its row to what its horizontal stack starts from, (N, width)."""
        if self.recall is None or not self.column:
            return
        weights = self.within[:, :, self.column : self.column + 1, : self.column]
        first = self.row * self.size[1]
        recalled = weights @ self.values[:, :, first : first + self.column].flatten(3)
        recalled = recalled.view(*recalled.shape[:2], self.samples, -1).permute(2, 0, 1, 3)
        top.addmm_(recalled.flatten(0, 1).flatten(1), self.out)

    def take(self, chroma: Tensor) -> None:
        """Take in the chroma of the pixel just drawn, (N, 2)."""
        if self.recall is None:
            return
        place = self.row * self.size[1] + self.column
        sums = (chroma @ self.from_chroma).unflatten(0, (self.samples, -1)) + self.terms[place]
        gates = _double_gate(sums, self.features)
        self.values[:, :, place] = gates.unflatten(2, (self.recall.heads, -1)).permute(1, 2, 0, 3)
        self.column += 1


class _Pixel:
    """The horizontal stack at one pixel: two passes, Cr's channels and then Cb's.

    Its tensors stay where they are in memory. So it can be recorded as a CUDA graph, and on a CPU all views
    are made once.

    With G for half the width, each block has a line of 6 G numbers, in this order::

        Cr: sigmoid | Cr: tanh, then gate | Cr: input | Cb: input | Cb: tanh, then gate | Cb: sigmoid

    A block's outputs are its inputs plus a product with its gates, and the next block's sums are a product
    with these outputs. So one matrix leads from gates and inputs, which lie side by side for Cr alone and for
    both, to the three numbers of the next line.
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
        order = _by_channel(width, like["device"])
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
            self.of_pixel = [torch.zeros(count, n, **like) for n in (marginal.levels, marginal.hidden)]
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

    def load(self, rows: _Rows, memory: _Memory, row: int, column: int, noise: Tensor | None = None) -> None:
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
            waves = self.marginal.waves(self.own_chroma[0][:, 0])
            hidden = torch.addmm(marginal, waves, self.cr_to_cb_hidden).relu_()
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


def _by_channel(width: int, device) -> Tensor:
    """The order that a gate's 2 * width channels have in a line of `_Pixel`."""
    cr_tanh, cb_tanh, cr_sigmoid, cb_sigmoid = torch.arange(2 * width, device=device).chunk(4)
    return torch.cat([cr_sigmoid, cr_tanh, cb_tanh, cb_sigmoid])


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
