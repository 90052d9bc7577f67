"""What a step sees: pictures, crops and chance, all of them functions of the seed and the step alone.

So there is no place in the data to save. A run that goes on, another machine, or another number of processes
asks for the same step and gets the same pictures.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .recipes import Recipe

# Of data without end, such as the world, training takes numbers from here up. What lies below is never
# trained on: `world[0]`, `world[1]` and so on are held out.
FIRST_ENDLESS = 2**32
LAST_ENDLESS = 2**62
# Painting a batch of the world on a GPU costs hundreds of small launches, however many scenes it has: some
# 14 ms for 500. So there the batches of several steps are painted together.
TOGETHER = 8


class Data(Protocol):
    """What `fit` trains on: `World`, `Folder`, or anything else with this method.

    ``len(data)`` is the number of pictures; data without a length has no end, and any whole number from 0 to
    2**62 is an index.
    """

    def batch(self, indices: list[int], device: torch.device) -> Any:
        """Give the pictures of these indices, a function of the indices alone.

        For a GPU it is called ahead of time from another thread, so it must leave torch's global generator
        alone.

        Returns
        -------
        dict of Tensor, or a dataclass of tensors
            Pictures first in every tensor; ``rgb`` is (B, 3, H, W) in [0, 1].
        """


def generator(seed: int, step: int, purpose: str) -> torch.Generator:
    """Give a generator on the CPU whose state is a hash of the three arguments."""
    return torch.Generator().manual_seed(hashed(seed, step, purpose))


def hashed(*parts) -> int:
    """Hash the arguments to a whole number below 2**63, the same in every process and version of Python."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Batches:
    """The batches of a run: ``batches(step)`` is this process's share of a step's pictures, in parts.

    Parameters
    ----------
    data : Data
        Where the pictures come from.
    recipe : Recipe
        Its seed, batch, accumulation, crop and flip are used.
    device : torch.device
        Where the tensors go.
    process, processes : int
        Which process this is, and of how many. Process p of P takes the p-th of P equal slices of the batch.

    Raises
    ------
    ValueError
        For data without pictures, or a batch that the processes and parts don't divide.
    """

    def __init__(self, data: Data, recipe: Recipe, device, process: int = 0, processes: int = 1):
        self.data, self.recipe, self.device = data, recipe, device
        pieces = processes * recipe.accumulation
        if recipe.batch % pieces:
            raise ValueError(
                f"a batch of {recipe.batch} can't be divided evenly among {processes} processes with "
                f"{recipe.accumulation} parts each"
            )
        part = recipe.batch // pieces
        first = process * recipe.accumulation
        self.slices = [slice(k * part, (k + 1) * part) for k in range(first, first + recipe.accumulation)]
        self.count = len(data) if hasattr(data, "__len__") else None
        if self.count == 0:
            raise ValueError(f"there are no pictures in {data!r}")
        self._orders: dict[int, Tensor] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ready: dict[int, list[dict[str, Tensor]]] = {}
        self._ahead = None

    def __call__(self, step: int) -> list[dict[str, Tensor]]:
        """Give the parts of a step's batch; for a GPU, begin to prepare what follows in another thread.

        There, data without end is prepared for several steps at a time.
        """
        if self.device.type == "cpu":
            # A second thread would take its cores from the layers: on two cores a step of PixColor.small()
            # took half as long again with it.
            return self.parts([step])[0]
        if step not in self._ready:
            group = self._group(step)
            if self._ahead is None or self._ahead[0] != group:
                self._ahead = group, self._thread.submit(self.parts, group)
            self._ready = dict(zip(group, self._ahead[1].result(), strict=True))
            self._ahead = None
            following = self._group(group[-1] + 1)
            if following:
                self._ahead = following, self._thread.submit(self.parts, following)
        return self._ready.pop(step)

    def _group(self, step: int) -> list[int]:
        count = TOGETHER if self.count is None else 1
        return list(range(step, min(step + count, self.recipe.steps)))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def indices(self, step: int) -> list[int]:
        """Give the pictures of a step, over all processes.

        Data with a length is shuffled anew each epoch, and an epoch shows each picture once. Data without end
        is drawn from evenly.
        """
        recipe = self.recipe
        if self.count is None:
            chance = generator(recipe.seed, step, "indices")
            return torch.randint(FIRST_ENDLESS, LAST_ENDLESS, (recipe.batch,), generator=chance).tolist()
        places = range(step * recipe.batch, (step + 1) * recipe.batch)
        return [int(self._order(place // self.count)[place % self.count]) for place in places]

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            if len(self._orders) > 1:  # a batch rarely touches more than two epochs
                self._orders.clear()
            chance = generator(self.recipe.seed, epoch, "order")
            self._orders[epoch] = torch.randperm(self.count, generator=chance)
        return self._orders[epoch]

    def parts(self, steps: list[int]) -> list[list[dict[str, Tensor]]]:
        """Give the parts of each step's batch; what ``batches(step)`` prepares ahead."""
        recipe, indices, places, seeds = self.recipe, [], [], []
        for step in steps:
            # Every process draws for the whole batch and takes its slices, so a picture's crop is the same
            # whichever process it falls to.
            chance = {name: generator(recipe.seed, step, name) for name in ("augmentation", "pictures")}
            of_step = self.indices(step)
            drawn = torch.rand(recipe.batch, 3, generator=chance["augmentation"])
            numbers = torch.randint(2**62, (recipe.batch,), generator=chance["pictures"])
            for part in self.slices:
                indices.append(of_step[part])
                places.append(drawn[part])
                seeds.append(numbers[part])
        # All pictures at once, then cut into the parts of each step.
        batch = as_dict(self.data.batch(sum(indices, []), self.device), sum(map(len, indices)))
        batch = augment(batch, torch.cat(places), recipe.crop, recipe.flip)
        cut = {name: tensor.to(self.device).split(len(indices[0])) for name, tensor in batch.items()}
        cut["seed"] = seeds
        out = [dict(zip(cut, part, strict=True)) for part in zip(*cut.values(), strict=True)]
        each = len(self.slices)
        return [out[first : first + each] for first in range(0, len(out), each)]


def as_dict(batch, count: int | None = None) -> dict[str, Tensor]:
    """Give a batch, of `count` pictures where that is known, as a dict of tensors.

    Raises
    ------
    TypeError, ValueError
        If it is neither a dict nor a dataclass, its ``rgb`` is missing or not (B, 3, H, W) floating-point
        numbers, or it has more or fewer pictures.
    """
    if is_dataclass(batch) and not isinstance(batch, type):
        batch = {field.name: getattr(batch, field.name) for field in fields(batch)}
    if not isinstance(batch, dict):
        raise TypeError(
            f"data.batch must give a dict or a dataclass of tensors; it gave {type(batch).__name__}"
        )
    batch = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
    rgb = batch.get("rgb")
    if rgb is None or rgb.ndim != 4 or rgb.shape[1] != 3:
        got = "none" if rgb is None else tuple(rgb.shape)
        raise ValueError(f"data.batch must give 'rgb' of shape (B, 3, H, W); got {got}")
    if not rgb.is_floating_point():
        raise TypeError(f"data.batch must give 'rgb' as floating-point numbers in [0, 1]; got {rgb.dtype}")
    for name, tensor in batch.items() if count is not None else ():
        if tensor.ndim == 0 or len(tensor) != count:
            raise ValueError(f"asked for {count} pictures, data.batch gave {name!r} of {tuple(tensor.shape)}")
    return batch


def augment(batch: dict[str, Tensor], places: Tensor, crop: int | None, flip: bool) -> dict[str, Tensor]:
    """Cut a square from each picture and mirror some, alike in all tensors that have the size of ``rgb``.

    Parameters
    ----------
    batch : dict of Tensor
        With ``"rgb"``, (B, 3, H, W).
    places : Tensor
        (B, 3), drawn uniformly from [0, 1): how far down and how far right each square lies, and whether it
        is mirrored: below one half it is.
    crop : int, optional
        Side of the square; None for the whole picture.
    flip : bool
        Whether to mirror.

    Raises
    ------
    ValueError
        If the pictures are smaller than the square.
    """
    height, width = batch["rgb"].shape[-2:]
    if crop is None and not flip:
        return batch
    if crop is not None and crop > min(height, width):
        raise ValueError(f"crop must be at most the pictures' size, {height} x {width}; got {crop}")
    tall, wide = (height, width) if crop is None else (crop, crop)
    rows = (places[:, :1] * (height - tall + 1)).long() + torch.arange(tall)
    columns = (places[:, 1:2] * (width - wide + 1)).long() + torch.arange(wide)
    if flip:
        columns = torch.where(places[:, 2:] < 0.5, columns.flip(1), columns)
    out = {}
    for name, tensor in batch.items():
        if tensor.ndim >= 3 and tensor.shape[-2:] == (height, width):
            count = torch.arange(len(tensor), device=tensor.device)[:, None, None]
            down, right = rows.to(tensor.device)[:, :, None], columns.to(tensor.device)[:, None, :]
            # Pictures, rows and columns are looked up together; channels, where there are any, come along.
            if tensor.ndim == 4:
                tensor = tensor[count, :, down, right].movedim(-1, 1).contiguous()
            else:
                tensor = tensor[count, down, right]
        out[name] = tensor
    return out
