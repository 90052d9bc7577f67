"""What a run notes on its way: lines of metrics, and the learning curve drawn from them."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from pathlib import Path

from . import checkpoints
from .checkpoints import TrainingError

FILE = "metrics.jsonl"


def history(directory) -> list[dict]:
    """Read the metrics of a run, one dict a line.

    Each has ``"step"``, the steps done; ``"loss"``, each player's mean loss since the line before;
    ``"gradient"``, the mean length of each player's gradient before clipping; ``"rate"``, the learning rate;
    and ``"seconds"``, the time of training, without pauses. Where the model notes figures of its own, such as
    a discriminator's accuracy, ``"figures"`` has their means since the line before.

    Parameters
    ----------
    directory : str or Path
        The one that :func:`fit` was given.

    Raises
    ------
    FileNotFoundError
        If it holds no metrics.
    """
    lines, lost = _read(Path(directory))
    if lost:
        warnings.warn(
            f"{lost} lines of {Path(directory) / FILE} can't be read and are left out", stacklevel=2
        )
    return lines


def _read(directory: Path) -> tuple[list[dict], int]:
    """The lines that are whole, and how many others there are, but for the half one that a kill leaves."""
    path = directory / FILE
    if not path.exists():
        raise FileNotFoundError(f"no {FILE} in {directory}: no run has logged there yet")
    texts = path.read_bytes().split(b"\n")
    lines = [_parsed(text) for text in texts[:-1]]
    whole = [line for line in lines if line is not None]
    lost = len(lines) - len(whole)
    last = _parsed(texts[-1])
    return (whole if last is None else [*whole, last]), lost


def _parsed(text: bytes) -> dict | None:
    """A line as it was logged; None for anything else."""

    def numbers(value) -> bool:
        kinds = (int, float, type(None))
        return isinstance(value, dict) and all(isinstance(number, kinds) for number in value.values())

    with contextlib.suppress(ValueError, RecursionError):
        line = json.loads(text.decode())
        if (
            isinstance(line, dict)
            and type(line.get("step")) is int
            and line["step"] >= 0
            and all(numbers(line.get(name, {})) for name in ("loss", "gradient", "figures"))
            and all(isinstance(line.get(name, 0.0), (int, float)) for name in ("rate", "seconds"))
        ):
            return line
    return None


def learning_curve(directory):
    """Draw the losses of a run over its steps, and the figures that its model notes.

    Parameters
    ----------
    directory : str or Path
        The one that :func:`fit` was given.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a player, then one a figure; it is not shown by itself.

    Raises
    ------
    FileNotFoundError
        If it holds no metrics.
    """
    from matplotlib.figure import Figure

    lines = history(directory)
    shown = [
        (group, name)
        for group in ("loss", "figures")
        for name in dict.fromkeys(name for line in lines for name in line.get(group, {}))
    ]
    players = sum(group == "loss" for group, _ in shown)
    figure = Figure(figsize=(6.4, 1 + 2.4 * max(1, len(shown))), layout="constrained")
    panels = figure.subplots(max(1, len(shown)), sharex=True, squeeze=False)[:, 0]
    for panel, (group, name) in zip(panels, shown, strict=False):
        points = [(line["step"], line[group][name]) for line in lines if name in line.get(group, {})]
        points = [(step, math.nan if value is None else value) for step, value in points]
        panel.plot(*zip(*points, strict=True), color="#0072b2", linewidth=1.2)
        loss = "loss" if players == 1 else f"loss of the {name}"
        panel.set_ylabel(loss if group == "loss" else name)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("steps done")
    return figure


def append(directory: Path, line: dict) -> None:
    """Add one line to the metrics."""
    path = directory / FILE
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise TrainingError(
            f"the metrics of step {line['step']} could not be written to {path}: {error.strerror or error}. "
            "Training stops; run it again to go on from the last checkpoint."
        ) from error


def rewind(directory: Path, step: int, anew: bool) -> None:
    """Drop the lines after `step`, which will be written again.

    With `anew` there was no checkpoint to go on from: a file of metrics is then another run's and set aside.
    """
    path = directory / FILE
    try:
        if not path.exists():
            return
        if anew:
            checkpoints.set_aside(path)
            return
        lines = [json.dumps(line) + "\n" for line in history(directory) if line["step"] <= step]
        checkpoints.write_whole(path, "".join(lines).encode())
    except OSError as error:
        raise TrainingError(
            f"{path} could not be rewritten: {error.strerror or error}. Try again."
        ) from error
