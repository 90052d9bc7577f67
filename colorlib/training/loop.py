"""The training loop: `fit` runs a recipe, or goes on with a run that was stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, broadcast_object_list, reduce
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from . import checkpoints, metrics
from .batches import Batches, Data, hashed
from .checkpoints import Checkpoint, TrainingError
from .recipes import Recipe

# These two say how often something is written, not what is computed: they may change between stop and go.
_FREE = ("checkpoint_every", "log_every")
_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Player(NamedTuple):
    """One who learns: the parameters it may change, and the loss that it wants small.

    A model with one player need not name it: `fit` minimizes ``model.loss(batch)`` over all parameters. A
    model with two, such as a GAN, has a method ``players()`` that gives them in the order of their moves::

        def players(self):
            return {
                "discriminator": Player(self.discriminator.parameters(), self.discriminator_loss),
                "generator": Player(self.generator.parameters(), self.generator_loss, every=5),
            }

    Each loss is a function of the batch. In a player's turn the other players' parameters get no gradient.

    Parameters
    ----------
    parameters : iterable of Parameter
        No two players share one.
    loss : callable
        Batch, a dict of tensors, to a scalar tensor: a mean over the batch's pictures.
    every : int
        It moves in each step whose number, counted from 1, this divides.
    """

    parameters: Iterable[nn.Parameter]
    loss: Callable[[dict[str, Tensor]], Tensor]
    every: int = 1


class Interrupted(SystemExit):
    """A run that Ctrl-C or SIGTERM ended: its checkpoint is written. As the end of a script it is quiet."""

    def __init__(self, number: int):
        super().__init__(128 + number)  # the shell's convention


def fit(model: nn.Module, data: Data, recipe: Recipe, directory) -> nn.Module:
    """Train a model, or go on where a stopped run in the directory left off.

    Call it again with the same arguments after any end: a crash, ``kill -9``, a lost connection. It goes on
    from the last checkpoint. On a CPU the weights end the same, bit for bit, as those of a run that was never
    stopped. A finished run gives its trained weights at once.

    The device and the number of processes are Accelerate's: ``accelerate launch script.py`` runs a script on
    many GPUs or machines, and every process calls `fit` alike. Each takes its slice of the same batch. Only
    the first one writes.

    Parameters
    ----------
    model : Module
        With ``loss(batch)``, or ``players()`` (see :class:`Player`). It is trained in place. ``batch`` has
        the data's tensors, ``"rgb"`` among them, and ``"seed"``, (B,) int64 on the CPU: a random number of
        each picture's own, for a loss that needs chance to be the same under any number of processes.
        A loss may put figures of its own, scalar tensors such as an accuracy, into a dict ``model.figures``:
        the metrics have their means.
    data : Data
        A ``World``, a ``Folder``, or anything with a method ``batch(indices, device)``. Without a length it
        has no end: indices are drawn from 2**32 to 2**62, so scenes with lower ones are held out.
    recipe : Recipe
        All settings.
    directory : str or Path
        For checkpoints and metrics; made where missing. A folder of a mounted Drive will do: nothing but
        writing and renaming is asked of it. Two runs can't share one.

    Returns
    -------
    Module
        The same model, on the device, in evaluation mode, with the averaged weights where the recipe has
        ``ema``.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, or a directory whose checkpoints are of another model, recipe or
        data; both are named and nothing is changed.
    TrainingError
        If the disk is full, or a loss or gradient is no longer a finite number. The last checkpoints are
        kept, and none is written of broken weights.
    Interrupted
        After Ctrl-C or SIGTERM: the step is finished and a checkpoint written. A second Ctrl-C stops at once.

    Notes
    -----
    Torch's global generator, which dropout draws from, is seeded anew for each part of a step from (seed,
    step, player, part). It is left as it was found. Numpy's and Python's generators are not seeded.

    With several processes a layer that looks across the batch, such as batch normalization, sees its
    process's slice. Its running statistics are those of the first process.

    The moving average starts with a shorter memory, min(decay, (1 + step) / (10 + step)), so that the first
    weights are soon forgotten.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch Module; got {type(model).__name__}")
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a Recipe, see colorlib.training.recipes; got {recipe!r}")
    if not callable(getattr(data, "batch", None)):
        raise TypeError(f"data must have a method batch(indices, device); got {type(data).__name__}")
    directory = Path(directory)
    state = PartialState()
    run = _Run(_lay_out(model.to(state.device), torch.channels_last), data, recipe, state)

    # The first process reads or makes the starting point and sends it to the others, so that all start equal.
    start = [None]
    if state.is_main_process:
        start = [run.open(directory)]
    if state.num_processes > 1:
        start = broadcast_object_list(start)
    run.restore(start[0])

    if run.step < recipe.steps:
        batches = Batches(data, recipe, state.device, state.process_index, state.num_processes)
        devices = [state.device] if state.device.type == "cuda" else []
        try:
            with _Signals() as signals, torch.random.fork_rng(devices):
                run.go(batches, directory, signals)
        finally:
            batches.close()
    run.apply_average()
    # In torch's usual order again, so that it computes bit for bit what the saved weights will compute.
    return _lay_out(model, torch.contiguous_format).eval()


class _Run:
    """A run between two of its steps: everything that a checkpoint has to hold, and how to take a step."""

    def __init__(self, model: nn.Module, data: Data, recipe: Recipe, state: PartialState):
        self.model, self.recipe, self.state = model, recipe, state
        self.data_name = repr(data) if type(data).__repr__ is not object.__repr__ else type(data).__name__
        self.players = _players(model)
        self.optimizers = {name: _optimizer(p.parameters, recipe) for name, p in self.players.items()}
        self.scaler = torch.amp.GradScaler(state.device.type, enabled=recipe.precision == "float16")
        self.step, self.seconds = 0, 0.0
        self.average = None
        if recipe.ema is not None:
            self.average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        # What happened since the last line of metrics: (step, player, loss, length of the gradient, the
        # model's figures). The newest are still tensors on the device, since reading one there makes the CPU
        # wait.
        self.pending: list[tuple[int, str, float | Tensor, float | Tensor, dict]] = []

    # Saving and restoring.

    def describe(self) -> dict:
        """What a checkpoint must agree with to be this run's."""
        recipe = dataclasses.asdict(self.recipe)
        return {
            "model": type(self.model).__name__,
            "weights": {name: list(tensor.shape) for name, tensor in self.model.state_dict().items()},
            "recipe": {
                name: list(value) if isinstance(value, tuple) else value for name, value in recipe.items()
            },
            "data": self.data_name,
            "start": getattr(self.model, "start", None),
            # With these a trained model can be built again from the checkpoint alone.
            "settings": getattr(self.model, "settings", {}),
        }

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
            "side": getattr(self.model, "side", None),
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
        # An entry without figures is from a checkpoint that was written before there were any.
        self.pending = [(*entry, {})[:5] for entry in checkpoint.facts["pending"]]
        self.step, self.seconds = checkpoint.step, checkpoint.facts["seconds"]

    def open(self, directory: Path) -> Checkpoint:
        """Find the checkpoint to go on from, or write the one of step 0."""
        if directory.exists() and not directory.is_dir():
            raise ValueError(f"directory must be a directory; {directory} is a file")
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{directory} could not be made: {error.strerror or error}") from error
        checkpoint = checkpoints.newest(directory, mend=True)
        anew = checkpoint is None
        if anew:
            # Even the first weights are kept, for the caller may draw others the next time.
            checkpoint = self.capture()
            checkpoints.write(directory, checkpoint)
        else:
            self._check(checkpoint, directory)
        metrics.rewind(directory, checkpoint.step, anew)
        return checkpoint

    def _check(self, checkpoint: Checkpoint, directory: Path) -> None:
        """Raise ValueError unless the checkpoint is this run's."""
        there, here = checkpoint.facts, self.describe()
        differences = []
        for name in ("model", "data", "start"):
            if there.get(name) != here[name]:
                differences.append(f"{name} {there.get(name)} there, {here[name]} here")
        for name in dict.fromkeys([*there["weights"], *here["weights"]]):
            was, now = there["weights"].get(name), here["weights"].get(name)
            if was != now:
                differences.append(f"weights {name} {was or 'absent'} there, {now or 'absent'} here")
        # Settings don't always show in the weights' shapes. One that is not in both is of another version of
        # the library. Through JSON, for the checkpoint's have gone through it: it makes lists of tuples.
        was, now = there.get("settings"), json.loads(json.dumps(here["settings"]))
        if isinstance(was, dict) and isinstance(now, dict):
            for name in was.keys() & now.keys():
                if was[name] != now[name]:
                    differences.append(f"setting {name} {was[name]} there, {now[name]} here")
        for name in dict.fromkeys([*there["recipe"], *here["recipe"]]):
            was, now = there["recipe"].get(name), here["recipe"].get(name)
            if was != now and name not in _FREE:
                differences.append(f"recipe's {name} {was} there, {now} here")
        if differences:
            shown = "; ".join(differences[:6]) + ("; ..." if len(differences) > 6 else "")
            raise ValueError(
                f"{directory} holds another run, of a {there['model']} at step {checkpoint.step}: {shown}. "
                "Give this run a directory of its own. Nothing was changed."
            )

    # Running.

    def go(self, batches: Batches, directory: Path, signals: _Signals) -> None:
        """Take the steps that are left."""
        recipe, main = self.recipe, self.state.is_main_process
        self.model.train()
        bar = tqdm(
            total=recipe.steps,
            initial=self.step,
            desc=type(self.model).__name__,
            disable=not main,
            unit="step",
        )
        began = time.monotonic() - self.seconds
        with bar:
            while self.step < recipe.steps:
                self._take_step(batches(self.step))
                self.step += 1
                self.seconds = time.monotonic() - began
                bar.update()
                stopped = self._any_process(signals.received)
                log = self.step % recipe.log_every == 0 or self.step == recipe.steps
                keep = self.step % recipe.checkpoint_every == 0 or self.step == recipe.steps or stopped
                if log or keep:
                    self._settle(directory)
                if log:
                    line = self._line()
                    self.pending = []
                    if main:
                        metrics.append(directory, line)
                        bar.set_postfix({name: f"{loss:.4g}" for name, loss in line["loss"].items()})
                if keep and main:
                    checkpoints.write(directory, self.capture())
                if stopped and self.step < recipe.steps:
                    bar.close()
                    if main:
                        name = signal.Signals(stopped).name
                        print(
                            f"Stopped by {name} after step {self.step} of {recipe.steps}; the checkpoint is "
                            f"in {directory}. Run it again to go on.",
                            file=sys.stderr,
                        )
                    raise Interrupted(stopped)

    def _take_step(self, parts: list[dict[str, Tensor]]) -> None:
        recipe = self.recipe
        rate = recipe.rate(self.step)
        figures = getattr(self.model, "figures", {})
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
                    figures.clear()
                    with self._autocast():
                        loss = player.loss(part)
                    _check_loss(loss, name)
                    self.scaler.scale(loss / len(parts)).backward()
                    total = total + loss.detach().float() / len(parts)
                    for key, value in figures.items():
                        noted[key] = noted.get(key, 0.0) + value.detach().float() / len(parts)
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

    def _autocast(self):
        dtype = _DTYPES[self.recipe.precision]
        return torch.autocast(self.state.device.type, dtype) if dtype else contextlib.nullcontext()

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

    def _any_process(self, received: int) -> int:
        """Give the signal that any process has received, so that all stop after the same step."""
        if self.state.num_processes == 1:
            return received
        sums = reduce(
            torch.tensor([float(received), float(received > 0)], device=self.state.device), "sum"
        ).tolist()
        return round(sums[0] / sums[1]) if sums[1] else 0

    def _settle(self, directory: Path) -> None:
        """Read the pending losses from the device, and stop the run if one is not a finite number."""
        settled = []
        for step, name, loss, length, noted in self.pending:
            noted = {key: float(value) for key, value in noted.items()}
            settled.append((step, name, float(loss), float(length), noted))
            # In float16 a gradient that overflowed is no harm: the scaler left that step out.
            for what, value in (("loss", loss), ("gradient", 0.0 if self.scaler.is_enabled() else length)):
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the {what} of the player {name!r} was {float(value)} at step {step}. Training "
                        f"stops; no checkpoint of the broken weights was written; those kept: "
                        f"{checkpoints.kept(directory)}. A lower learning rate or a clip may help; a changed "
                        "recipe needs a directory of its own."
                    )
        self.pending = settled

    def _line(self) -> dict:
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
        for key in dict.fromkeys(key for figures in noted for key in figures):
            values = [figures[key] for figures in noted if key in figures]
            mean = sum(values) / len(values)
            line.setdefault("figures", {})[key] = mean if math.isfinite(mean) else None
        return line


class _Signals:
    """Notes Ctrl-C and SIGTERM while it is entered; `received` is the signal's number, 0 without one."""

    def __init__(self):
        self.received = 0
        self.before = {}

    def __enter__(self) -> _Signals:
        # Python lets only the main thread listen.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame) -> None:
        self.received = number
        self._restore()  # a second one acts as ever

    def _restore(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def __exit__(self, *error) -> None:
        self._restore()


def _lay_out(model: nn.Module, order: torch.memory_format) -> nn.Module:
    """Store the weights of convolutions in an order: channels last is the faster one to train in."""
    tensors = (*model.parameters(), *model.buffers())
    if any(tensor.ndim == 5 for tensor in tensors):  # volumes have another order, and torch refuses this one
        return model
    return model.to(memory_format=order)


def _players(model: nn.Module) -> dict[str, Player]:
    """The model's players, their parameters listed and checked."""
    if hasattr(model, "players"):
        named = model.players()
    elif callable(getattr(model, "loss", None)):
        named = {"model": Player(model.parameters(), model.loss)}
    else:
        raise TypeError(f"{type(model).__name__} has neither loss(batch) nor players()")
    players, owner = {}, {}
    for name, player in named.items():
        player = Player(*player)
        parameters = [p for p in player.parameters if p.requires_grad]
        if not parameters:
            raise ValueError(f"the player {name!r} has no parameters to train")
        if isinstance(player.every, bool) or not isinstance(player.every, int) or player.every < 1:
            raise ValueError(f"every must be a whole number above 0; player {name!r} has {player.every}")
        for parameter in parameters:
            if owner.setdefault(id(parameter), name) != name:
                raise ValueError(f"the players {owner[id(parameter)]!r} and {name!r} share a parameter")
        players[name] = player._replace(parameters=parameters)
    if not players:
        raise ValueError(f"{type(model).__name__}.players() is empty")
    return players


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    common = {"lr": recipe.rate(0), "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, betas=recipe.betas, **common)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, betas=recipe.betas, **common)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=recipe.betas[1], **common)
    return torch.optim.SGD(parameters, momentum=recipe.betas[0], **common)


def _check_loss(loss, name: str) -> None:
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"the loss of the player {name!r} must be a scalar tensor; got {got}")
    if not loss.requires_grad:
        raise ValueError(f"the loss of the player {name!r} doesn't depend on its parameters")
