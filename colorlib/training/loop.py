"""The training loop: `fit` runs a recipe, or goes on with a run that was stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import nn
from tqdm import tqdm

from colorlib._check import came

from . import checkpoints, metrics
from .batches import Batches, Data
from .checkpoints import Checkpoint, Damaged, TrainingError
from .lock import locked
from .recipes import Recipe
from .run import Run


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
        the data's tensors, ``"rgb"`` among them; ``"seed"``, (B,) int64 on the CPU: a random number of
        each picture's own, for a loss that needs chance to be the same under any number of processes; and
        ``"step"``, a scalar: the steps done. A loss may be a pair, see :class:`Player`.
    data : Data
        A ``World``, a ``Folder``, or anything with a method ``batch(indices, device)``. Without a length it
        has no end: indices are drawn from 2**32 to 2**62, so scenes with lower ones are held out.
    recipe : Recipe
        All settings.
    directory : str or Path
        For checkpoints and metrics; made where missing. A folder of a mounted Drive will do: nothing but
        writing and renaming is asked of it. Two runs can't share one at the same time, which is noticed where
        the file system has locks. A run that got no further than step 0 is replaced by another one's.

    Returns
    -------
    Module
        The same model, on the device, in evaluation mode, with the averaged weights where the recipe has
        ``ema``.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, or a directory whose checkpoints are of another model, recipe or
        data; both are named and nothing is changed. What shows in the first step, such as a batch that the
        model can't take, shows before anything is written.
    TrainingError
        If the disk is full, a file can't be read now, no checkpoint is whole, another run is in the
        directory, or a loss, gradient or weight is no longer a finite number. The last checkpoints are kept,
        and none is written of broken weights.
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
        raise TypeError(f"recipe must be a Recipe, see colorlib.training.recipes; got {came(recipe)}")
    if isinstance(data, type) or not callable(getattr(data, "batch", None)):
        raise TypeError(f"data must have a method batch(indices, device); got {came(data)}")
    directory = checkpoints.folder(directory)
    state = PartialState()
    run = Run(_lay_out(model.to(state.device), torch.channels_last), data, recipe, state)

    with contextlib.ExitStack() as stack:
        # The first process reads or makes the starting point and sends it, or why there is none, to the
        # others, so that all start equal.
        start = [None]
        if state.is_main_process:
            try:
                start = [_start(run, directory, stack)]
            except Exception as error:
                start = [error]
        if state.num_processes > 1:
            start = broadcast_object_list(start)
        if isinstance(start[0], Exception):
            raise start[0]
        run.restore(start[0])
        if run.step < recipe.steps:
            batches = Batches(data, recipe, state.device, state.process_index, state.num_processes)
            stack.callback(batches.close)
            stack.enter_context(torch.random.fork_rng([state.device] if state.device.type == "cuda" else []))
            _train(run, batches, directory, stack.enter_context(_Signals()))
    run.apply_average()
    # In torch's usual order again, so that it computes bit for bit what the saved weights will compute.
    return _lay_out(model, torch.contiguous_format).eval()


def _start(run: Run, directory: Path, stack: contextlib.ExitStack) -> Checkpoint:
    """Find the checkpoint to go on from, or make the one of step 0, which `_train` writes.

    The directory is locked until the stack ends. For a finished run it need not be: it is only read.
    """
    refused = None
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(directory))
    except (FileExistsError, NotADirectoryError) as error:
        there = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
        raise ValueError(f"directory must be a directory; {there} is a file") from error
    except OSError as error:
        raise TrainingError(f"{directory} could not be made: {error.strerror or error}") from error
    except TrainingError as error:
        refused = error
    try:
        checkpoint = checkpoints.newest(directory)
        finished = checkpoint is not None and checkpoint.step >= run.recipe.steps
        if refused and not finished:
            raise refused
        differences = run.differences(checkpoint.facts) if checkpoint else []
        if differences:
            shown = "; ".join(differences[:6]) + ("; ..." if len(differences) > 6 else "")
            holds = f"another run, of a {checkpoint.facts.get('model')} at step {checkpoint.step}: {shown}"
            if checkpoint.step > 0 or len(checkpoints.listed(directory)) > 1:
                raise ValueError(
                    f"{directory} holds {holds}. Give this run a directory of its own. Nothing was changed."
                )
            warnings.warn(f"in {directory} this run replaces {holds}", stacklevel=3)
        elif checkpoint:
            if not refused:
                checkpoints.mend(directory, checkpoint.step)
            if not finished:
                metrics.rewind(directory, checkpoint.step, anew=False)
            return checkpoint
    except Damaged as error:
        raise refused or TrainingError(
            f"{error}. Nothing was changed. To begin anew, give another directory, or move these files away."
        ) from error
    except OSError as error:
        raise refused or TrainingError(
            f"the run in {directory} can't go on now: {error}. Its checkpoints are as they were."
        ) from error
    run.first = run.capture()
    return run.first


def _train(run: Run, batches: Batches, directory: Path, signals: _Signals) -> None:
    """Take the steps that are left."""
    recipe, main = run.recipe, run.state.is_main_process
    run.model.train()
    name = type(run.model).__name__
    bar = tqdm(total=recipe.steps, initial=run.step, desc=name, disable=not main, unit="step")
    began = time.monotonic() - run.seconds
    with bar:
        while run.step < recipe.steps:
            run.take_step(batches(run.step))
            if run.first is not None:
                # Even the first weights are kept, for the caller may draw others the next time. Only now: a
                # mistake that shows in the first step leaves nothing behind.
                metrics.rewind(directory, 0, anew=True)
                checkpoints.write(directory, run.first)
                run.first = None
            run.step += 1
            run.seconds = time.monotonic() - began
            bar.update()
            stopped = run.any_process(signals.received)
            log = run.step % recipe.log_every == 0 or run.step == recipe.steps
            keep = run.step % recipe.checkpoint_every == 0 or run.step == recipe.steps or stopped
            if log or keep:
                run.settle(directory, weights=keep)
            if log:
                line = run.line()
                run.pending = []
                if main:
                    metrics.append(directory, line)
                    bar.set_postfix({name: f"{loss:.4g}" for name, loss in line["loss"].items()})
            if keep and main:
                checkpoints.write(directory, run.capture())
            if stopped and run.step < recipe.steps:
                bar.close()
                if main:
                    print(
                        f"Stopped by {signal.Signals(stopped).name} after step {run.step} of {recipe.steps}; "
                        f"the checkpoint is in {directory}. Run it again to go on.",
                        file=sys.stderr,
                    )
                raise Interrupted(stopped)


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
