"""The quick sampler: no layer computes again what it has computed before.

A value drawn at one place changes nothing above it or to its left. So

- the condition enters once for an image, and all samples of the image share it;
- the vertical stack runs once for a row, on the rows that it can still see;
- attention, where the network has it, runs once for a row on the rows above, and once for a pixel on its row;
- a marginal head, where there is one, runs once for an image and row, but for what Cb needs to know of Cr;
- the horizontal stack runs once for a value, on the pixels to the left that it can still see, as products of
  small matrices. The channels of Cr wait for nothing of their own pixel and go first. Cb's follow when Cr is
  drawn. Neither pass computes the other's channels.

Ramachandran et al., "Fast Generation for Convolutional Autoregressive Models", ICLR 2017, keep each layer's
past in this way for unconditional models.

Every function raises TypeError or ValueError for arguments of the wrong kind, shape or range.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from colorlib._check import flag, floating

from .draw import check, report
from .pixel import Pixel
from .rows import Memory, Rows


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

    >>> from colorlib.models import PixelCNN, PixColorSettings
    >>> network = PixelCNN(PixColorSettings(width=8, blocks=1, hidden_channels=16), condition_channels=3)
    >>> sample(network, torch.zeros(1, 3, 4, 5), samples=2).shape
    torch.Size([2, 1, 2, 4, 5])

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
    known, mask : Tensor, optional
        Levels that are given and not drawn, int64 (B, 2, h, w), Cr first, and where, bool, the same shape or
        with one channel for both; elsewhere ``known`` is not looked at. What is drawn takes note of those
        before it in raster order alone. The last rows cost nothing where they are given in full.
    progress : callable, optional
        Called after each row as ``progress(rows done, rows)``. If it returns False, or anything else that
        counts as false but None, :class:`Stopped` is raised, with what was drawn.
    graph : bool
        Whether a GPU's work for one pixel is recorded once, as a CUDA graph, and then replayed.

    Returns
    -------
    Tensor
        Levels, int64 (samples, B, 2, h, w), Cr first; ``pixelcnn.values`` makes chroma of them.
    """
    task = check(pixelcnn, condition, samples, generator, temperature, top_p, known, mask, progress)
    graph = flag(graph, "graph")
    levels = torch.full_like(task.known, pixelcnn.levels // 2)  # no inference tensor, unlike those below
    # Where all that is left is given, there is nothing to draw and nothing to compute.
    open_rows = (~task.given).flatten(0, 1).any(0).any(1).nonzero()
    drawn_rows = int(open_rows[-1]) + 1 if len(open_rows) else 0
    with torch.inference_mode(), torch.autocast(condition.device.type, enabled=False):
        pixel, rows, memory = Pixel(pixelcnn, task), Rows(pixelcnn, task), Memory(pixelcnn, task)

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
    """
    task = check(pixelcnn, condition, 1, None, 1.0, 1.0, None, None, None)
    chroma = floating(chroma, "chroma", str(tuple(task.known.shape))).to(condition)
    out = chroma.new_empty(len(chroma), 2, pixelcnn.levels, *chroma.shape[-2:])
    with torch.inference_mode(), torch.autocast(condition.device.type, enabled=False):
        pixel, rows, memory = Pixel(pixelcnn, task), Rows(pixelcnn, task), Memory(pixelcnn, task)
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


def _record(step: Callable[[], None], pixel: Pixel) -> Callable[[], None]:
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
