"""A run between two of its steps: what a checkpoint has to hold, and how to take a step."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from pathlib import Path
from typing import NoReturn

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from . import checkpoints, players
from .batches import Data, hashed
from .checkpoints import Checkpoint, TrainingError
from .players import Batch, Player
from .recipes import Recipe

# These two say how often something is written, not what is computed: they may change between stop and go.
_FREE = ("checkpoint_every", "log_every")
_HASH = re.compile(r", [0-9a-f]{8}\)$")  # of a folder's pictures
_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Run:
    """A run between two of its steps: everything that a checkpoint has to hold, and how to take a step."""

    def __init__(self, model: nn.Module, data: Data, recipe: Recipe, state: PartialState):
        self.model, self.recipe, self.state = model, recipe, state
        # The address of an object in the memory of one process is nothing to know its data by.
        plain = type(data).__repr__ is object.__repr__
        self.data = type(data).__name__ if plain else re.sub(r" at 0x[0-9a-fA-F]+", "", repr(data))
        self.pictures = len(data) if hasattr(data, "__len__") else None
        self.players = players.listed(model)
        self.optimizers = {name: players.optimizer(p.parameters, recipe) for name, p in self.players.items()}
        self.scaler = torch.amp.GradScaler(state.device.type, enabled=recipe.precision == "float16")
        self.step, self.seconds = 0, 0.0
        self.first: Checkpoint | None = None  # of step 0, before it is written
        self.average = None
        if recipe.ema is not None:
            self.average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        # What happened since the last line of metrics: (step, player, loss, length of the gradient, what the
        # loss gave beside). The newest are still tensors on the device, since reading one there makes the CPU
        # wait.
        self.pending: list[tuple[int, str, float | Tensor, float | Tensor, dict]] = []

    # Saving and restoring.

    def describe(self) -> dict:
        """What a checkpoint must agree with to be this run's; with it the model can be built again, too."""
        owners = {id(p): name for name, player in self.players.items() for p in player.parameters}
        facts = {
            "model": type(self.model).__name__,
            "weights": {name: list(tensor.shape) for name, tensor in self.model.state_dict().items()},
            "learn": {n: owners[id(p)] for n, p in self.model.named_parameters() if id(p) in owners},
            "recipe": dataclasses.asdict(self.recipe),
            "data": self.data,
            "pictures": self.pictures,
            "init_from": getattr(self.model, "init_from", None),
            "settings": getattr(self.model, "settings", {}),
            "image_size": getattr(self.model, "image_size", None),
        }
        try:
            # As a checkpoint gives them back: JSON makes lists of tuples.
            return json.loads(json.dumps(facts))
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"the model's settings, init_from and image_size must fit into JSON: {error}"
            ) from error

    def capture(self) -> Checkpoint:
        """Everything that the next step depends on. Chance and data depend on the step's number alone."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        for name, tensor in (self.average or {}).items():
            tensors[f"average/{name}"] = tensor
        for player, optimizer in self.optimizers.items():
            for index, values in optimizer.state_dict()["state"].items():
                for key, value in values.items():
                    if value is not None:
                        tensors[f"optimizer/{player}/{index}/{key}"] = torch.as_tensor(value)
        # Copies: the format takes no two tensors that share memory, as tied weights do.
        tensors = {
            name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
        }
        facts = {
            **self.describe(),
            "scaler": self.scaler.state_dict(),
            "pending": self.pending,
            "seconds": self.seconds,
        }
        return Checkpoint(self.step, tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Become what `capture` saw."""
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, tensor in checkpoint.tensors.items():
            group, rest = name.split("/", 1)
            groups[group][rest] = tensor
        self.model.load_state_dict(groups["model"])
        if self.average is not None:
            for name, tensor in self.average.items():
                tensor.copy_(groups["average"][name])
        for player, optimizer in self.optimizers.items():
            values: dict[int, dict[str, Tensor]] = {}
            for name, tensor in groups["optimizer"].items():
                owner, index, key = name.rsplit("/", 2)
                if owner == player:
                    # In the order that the weights have, as a run that was never stopped has them.
                    if tensor.ndim == 4:
                        tensor = tensor.contiguous(memory_format=torch.channels_last)
                    values.setdefault(int(index), {})[key] = tensor
            optimizer.load_state_dict(
                {"state": values, "param_groups": optimizer.state_dict()["param_groups"]}
            )
        if checkpoint.facts["scaler"]:
            self.scaler.load_state_dict(checkpoint.facts["scaler"])
        # An entry without the last is from a checkpoint that was written before there were any.
        self.pending = [(*entry, {})[:5] for entry in checkpoint.facts["pending"]]
        self.step, self.seconds = checkpoint.step, checkpoint.facts["seconds"]

    def differences(self, there: dict) -> list[str]:
        """Say in what the facts of a checkpoint are not this run's."""
        here = self.describe()
        # What earlier versions did not write, or by another name: how many pictures, who learns what, where
        # the weights came from, and the hash of a folder.
        there = {"pictures": here["pictures"], "learn": here["learn"], **there}
        there.setdefault("init_from", there.get("start"))
        if there.get("data") == _HASH.sub(")", here["data"]):
            there["data"] = here["data"]
        was, now = _named(there), _named(here)
        # Settings don't always show in the weights' shapes. One that is not in both is of another version of
        # the library.
        both = was.keys() & now.keys()
        names = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
        names = [name for name in names if name in both or not name.startswith("setting ")]
        was, now = ({**dict.fromkeys(names, "none"), **facts} for facts in (was, now))
        return [f"{name} {was[name]} there, {now[name]} here" for name in names]

    # A step.

    def take_step(self, parts: list[dict[str, Tensor]]) -> None:
        recipe = self.recipe
        rate = recipe.rate(self.step)
        for name, player in self.players.items():
            if (self.step + 1) % player.every:
                continue
            optimizer = self.optimizers[name]
            for group in optimizer.param_groups:
                group["lr"] = rate
            with self._turn_of(name):
                optimizer.zero_grad(set_to_none=True)
                total, noted = 0.0, {}
                for place, part in enumerate(parts):
                    place += self.state.process_index * len(parts)
                    torch.manual_seed(hashed(recipe.seed, self.step, "loss", name, place))
                    loss, parts_of_it = players.with_parts(self._loss(player, part), name)
                    self.scaler.scale(loss / len(parts)).backward()
                    total = total + loss.detach().float() / len(parts)
                    for key, value in parts_of_it.items():
                        noted[key] = noted.get(key, 0.0) + value / len(parts)
                gradients = [p.grad for p in player.parameters if p.grad is not None]
                # The mean over the processes by hand and not by DistributedDataParallel, which knows one
                # forward pass and one loss; two players have two.
                self._mean_over_processes([*gradients, total, *noted.values()])
                self.scaler.unscale_(optimizer)
                longest = math.inf if recipe.clip is None else recipe.clip
                length = torch.nn.utils.clip_grad_norm_(player.parameters, longest)
                self.scaler.step(optimizer)  # in float16 it leaves a step out whose gradient overflowed
                self.scaler.update()
                optimizer.zero_grad(set_to_none=True)
            self.pending.append((self.step + 1, name, total, length.detach(), noted))
        self._share_buffers()
        self._update_average()

    def _loss(self, player: Player, part: Batch):
        dtype = _DTYPES[self.recipe.precision]
        cast = torch.autocast(self.state.device.type, dtype) if dtype else contextlib.nullcontext()
        try:
            with cast:
                return player.loss({**part, "step": torch.tensor(self.step)})
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            recipe = self.recipe
            raise ValueError(
                f"{type(self.model).__name__} has batch normalization, which can't learn from one value: a "
                f"batch of {recipe.batch} with accumulation={recipe.accumulation} and "
                f"{self.state.num_processes} processes is {len(part['rgb'])} pictures at a time. Give it "
                "more at a time, or larger pictures."
            ) from error

    @contextlib.contextmanager
    def _turn_of(self, name: str):
        """Let no gradient reach the other players' parameters."""
        others = [p for other, player in self.players.items() if other != name for p in player.parameters]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def _mean_over_processes(self, tensors: list[Tensor]) -> None:
        if self.state.num_processes > 1:
            # In one piece: a message costs about the same, short or long.
            flat = reduce(torch.cat([tensor.reshape(-1).float() for tensor in tensors]), "mean")
            for tensor, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def _share_buffers(self) -> None:
        if self.state.num_processes > 1:
            for buffer in self.model.buffers():
                buffer.copy_(broadcast(buffer.clone()))

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None:
            return
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        averages, tensors = [], []
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self.average[name])
                tensors.append(tensor)
            else:
                self.average[name].copy_(tensor)
        # All at once: on a GPU a small network's hundreds of tensors would cost a launch each.
        get_ema_multi_avg_fn(decay)(averages, tensors, None)

    def apply_average(self) -> None:
        """Give the model its averaged weights, where the recipe asks for them."""
        if self.average is not None:
            self.model.load_state_dict(self.average)

    def any_process(self, received: int) -> int:
        """Give the signal that any process has received, so that all stop after the same step."""
        if self.state.num_processes == 1:
            return received
        sums = reduce(
            torch.tensor([float(received), float(received > 0)], device=self.state.device), "sum"
        ).tolist()
        return round(sums[0] / sums[1]) if sums[1] else 0

    def settle(self, directory: Path, weights: bool) -> None:
        """Read the pending losses from the device; stop the run if one, or a weight, is not finite."""
        settled = []
        for step, name, loss, length, noted in self.pending:
            noted = {key: float(value) for key, value in noted.items()}
            settled.append((step, name, float(loss), float(length), noted))
            # In float16 a gradient that overflowed is no harm: the scaler left that step out.
            for what, value in (("loss", loss), ("gradient", 0.0 if self.scaler.is_enabled() else length)):
                if not math.isfinite(value):
                    self._stop(
                        f"the {what} of the player {name!r} was {float(value)} at step {step}", directory
                    )
        self.pending = settled
        if weights:
            for name, parameter in self.model.named_parameters():
                if not parameter.isfinite().all():
                    self._stop(f"the weights {name} were not finite after step {self.step}", directory)

    def _stop(self, what: str, directory: Path) -> NoReturn:
        raise TrainingError(
            f"{what}. Training stops; no checkpoint of the broken weights was written; those kept: "
            f"{checkpoints.kept(directory)}. A lower learning rate or a clip may help; a changed recipe "
            "needs a directory of its own, unless only step 0 is kept."
        )

    def line(self) -> dict:
        line = {
            "step": self.step,
            "loss": {},
            "gradient": {},
            "rate": self.recipe.rate(self.step - 1),
            "seconds": round(self.seconds, 3),
        }
        for player in self.players:
            entries = [entry for entry in self.pending if entry[1] == player]
            if entries:
                line["loss"][player] = sum(entry[2] for entry in entries) / len(entries)
                length = sum(entry[3] for entry in entries) / len(entries)
                # JSON has no infinity, which an overflow in float16 gives.
                line["gradient"][player] = length if math.isfinite(length) else None
        noted = [entry[4] for entry in self.pending]
        for key in dict.fromkeys(key for scalars in noted for key in scalars):
            values = [scalars[key] for scalars in noted if key in scalars]
            mean = sum(values) / len(values)
            line.setdefault("scalars", {})[key] = mean if math.isfinite(mean) else None
        return line


def _named(facts: dict) -> dict:
    """The facts that tell runs apart, one by one, each by what a message calls it."""
    named = {name: facts.get(name) for name in ("model", "data", "pictures", "init_from")}
    groups = {"weights": "weights", "learn": "the player of", "settings": "setting", "recipe": "recipe's"}
    for group, word in groups.items():
        inside = facts.get(group)
        for name, value in inside.items() if isinstance(inside, dict) else ():
            if name not in _FREE:
                named[f"{word} {name}"] = value
    return named
