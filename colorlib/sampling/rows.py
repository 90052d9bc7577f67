"""What the quick sampler computes once a row: the vertical stack, and what attention recalls."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .draw import Task

# Gates. A sigmoid is a tanh: sigmoid(x) = (1 + tanh(x / 2)) / 2. So the weights of the sigmoid's half are
# halved beforehand, one tanh serves both, and a + a * b is twice the gate. For that the next layer's weights
# are halved. Powers of two round nothing.


def halving(width: int, **like) -> Tensor:
    """What a gate's 2 * width sums are multiplied by: 1 for the tanh, 1/2 for the sigmoid."""
    return torch.ones(2, width, **like).mul_(torch.tensor([[1.0], [0.5]], **like)).flatten()


def _double_gate(x: Tensor, width: int) -> Tensor:
    """Overwrite sums (..., 2 width) with their tanh, and give twice the gate, (..., width)."""
    x.tanh_()
    signal, opening = x[..., :width], x[..., width:]
    return torch.addcmul(signal, signal, opening)


def by_channel(width: int, device) -> Tensor:
    """The order that a gate's 2 * width channels have in a line of `colorlib.sampling.pixel.Pixel`."""
    cr_tanh, cb_tanh, cr_sigmoid, cb_sigmoid = torch.arange(2 * width, device=device).chunk(4)
    return torch.cat([cr_sigmoid, cr_tanh, cb_tanh, cb_sigmoid])


def matrix_of(layer: torch.nn.Conv2d) -> Tensor:
    """The matrix of a 1 x 1 convolution, (inputs, outputs)."""
    return layer.weight[:, :, 0, 0].T.contiguous()


class Rows:
    """The vertical stack: once a row, everything that the row's pixels need of it."""

    def __init__(self, pixelcnn, task: Task):
        self.samples, self.columns = task.samples, task.known.shape[-1]
        self.condition = task.condition.permute(2, 0, 3, 1).contiguous()  # (h, B, w, C)
        count, like = len(task.known), {"dtype": self.condition.dtype, "device": self.condition.device}
        self.first, self.blocks = pixelcnn.first.vertical, len(pixelcnn.blocks)
        self.width, reach = self.first.out_channels, self.first.reach
        self.past = torch.zeros(count, 2, reach, self.columns + 2 * reach, **like)  # the last rows of chroma
        self.hidden_addends = None  # (N, w, hidden): what the hidden layer adds, where it sees the condition
        if pixelcnn.condition_to_hidden is not None:
            self.to_hidden, self.hidden_bias = matrix_of(pixelcnn.condition_to_hidden), pixelcnn.hidden.bias
            self.hidden_addends = torch.empty(count, self.columns, len(self.hidden_bias), **like)
        # The marginal head's layers that need nothing of Cr, as pairs of matrix and bias.
        head, self.marginal = pixelcnn.marginal, None
        if head is not None:
            layers = head.for_cr, head.to_cr, head.for_cb
            self.marginal = [(matrix_of(layer), layer.bias) for layer in layers]
        if self.blocks:
            self._prepare_blocks(pixelcnn.blocks, count, like)

    def _prepare_blocks(self, blocks, count: int, like: dict) -> None:
        features, columns, reach = self.width, self.columns, blocks[0].vertical.reach
        halved, order = halving(features, **like), by_channel(features, like["device"])
        kernel = (reach + 1) * (2 * reach + 1) * features
        # The last rows of each layer's input, with zeros at both sides. A column's rows lie side by side, and
        # so do the columns: a pixel's patch is one piece of memory. Row r stands at place r % (reach + 1),
        # where the oldest row was, so that nothing has to move; the weights are turned instead.
        self.rows = reach + 1
        self.inputs = torch.zeros(self.blocks, count, columns + 2 * reach, self.rows, features, **like)
        self.patches = torch.empty(count * columns, kernel, **like)
        self.sums = torch.empty(count * columns, 2 * features, **like)
        self.addends = torch.empty(self.blocks, count, columns, 2 * features, **like)
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
            # To the horizontal stack: its rows in the order of Pixel, and the halving of its input undone.
            matrix = block.vertical_to_horizontal.weight[:, :, 0, 0] * halved[:, None] / halved
            self.across.append(matrix[order].T.contiguous())
            terms.append((block.condition_to_horizontal.weight[:, :, 0, 0] * halved[:, None])[order])
            self.biases.append((block.horizontal.bias * halved)[order])
        self.terms = torch.cat(terms).T.contiguous()
        self.biases = torch.cat(self.biases)
        column = self.rows * features
        shape = self.blocks, count, columns, (2 * reach + 1) * column
        windows = self.inputs.as_strided(shape, (*self.inputs.stride()[:2], column, 1))
        self.windows = windows.unbind(0)  # the patch around each pixel, in place

    def begin(self, row: int) -> None:
        """Run the stack for a row: `top`, (N, w, width), and `addends`, (blocks, N, w, 2 width).

        With a marginal head, `of_images` has Cr's scores and Cb's hidden layer without Cr, (B, w, ...) each.
        """
        self.top = self.first._conv_forward(self.past, self.first.weight, self.first.bias)
        self.top = self.top[:, :, 0].transpose(1, 2).contiguous()
        condition = self.condition[row]
        if self.hidden_addends is not None:
            addends = condition @ self.to_hidden + self.hidden_bias
            self.hidden_addends.unflatten(0, (self.samples, -1)).copy_(addends)
        if self.marginal is not None:
            (for_cr, cr_bias), (to_cr, scores_bias), (for_cb, cb_bias) = self.marginal
            hidden = (condition @ for_cr).add_(cr_bias).relu_()
            self.of_images = hidden @ to_cr + scores_bias, condition @ for_cb + cb_bias
        if not self.blocks:
            return
        images, columns, _ = condition.shape
        terms = torch.addmm(self.biases, condition.flatten(0, 1), self.terms)
        terms = terms.view(1, images, columns, self.blocks, 2, -1)
        reach, turn = self.rows - 1, row % self.rows
        inside = slice(reach, reach + columns)
        self.inputs[0, :, inside, turn] = self.top
        by_image = (self.samples, images, columns, -1)
        for place in range(self.blocks):
            self.patches.view(self.windows[place].shape).copy_(self.windows[place])
            torch.mm(self.patches, self.weights[place][turn], out=self.sums)
            self.sums.view(by_image).add_(terms[:, :, :, place, 0])
            addend = self.addends[place]
            torch.mm(self.sums, self.across[place], out=addend.flatten(0, 1))
            addend.view(by_image).add_(terms[:, :, :, place, 1])
            if place + 1 < self.blocks:
                gates = _double_gate(self.sums, self.width)
                self.inputs[place + 1, :, inside, turn] = gates.view(-1, columns, self.width)

    def end(self, values: Tensor) -> None:
        """Take in the row's chroma, (N, 2, w)."""
        reach = self.first.reach
        self.past[:, :, :-1] = self.past[:, :, 1:].clone()
        self.past[:, :, -1, reach : reach + self.columns] = values


class Memory:
    """`colorlib.models.pixelcnn_extras.CausalSelfAttention`: once a row, and within the row once a pixel.

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
        weight, self.features = recall.value.weight, recall.out.in_channels
        halved = halving(self.features, dtype=weight.dtype, device=weight.device)
        terms = F.conv2d(task.condition, weight[:, 2:], recall.value.bias)
        self.terms = (terms.flatten(2).permute(2, 0, 1) * halved).contiguous()  # (h * w, B, 2 width)
        self.from_chroma = weight[:, :2, 0, 0].T * halved
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
        weights = F.pad(scores, (0, 1)).softmax(3)[..., :-1]  # without the empty pixel, whose score is 0
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
