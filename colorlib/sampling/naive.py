"""The plain sampler: a full pass over the whole map for each value. Slow, and short enough to be trusted."""

from collections.abc import Callable

import torch
from torch import Tensor

from .draw import check, report


@torch.no_grad()
def naive_sample(
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
) -> Tensor:
    """Draw chroma maps as the definition says; see :func:`sample`, which gives the same ones quickly."""
    task = check(pixelcnn, condition, samples, generator, temperature, top_p, known, mask, progress)
    repeated = condition.repeat(task.samples, 1, 1, 1)
    levels = torch.full_like(task.known, pixelcnn.levels // 2)
    with torch.autocast(condition.device.type, enabled=False):
        for row in range(levels.shape[-2]):
            noise = task.noise()
            for column in range(levels.shape[-1]):
                for channel in range(2):
                    logits = pixelcnn(pixelcnn.values(levels).to(condition.dtype), repeated)
                    drawn = task.draw(logits[:, channel, :, row, column], noise[column, channel])
                    place = (slice(None), channel, row, column)
                    levels[place] = torch.where(task.given[place], task.known[place], drawn)
            report(progress, row, levels.unflatten(0, (task.samples, -1)))
    return levels.unflatten(0, (task.samples, -1))
