"""What a run notes on its way: lines of metrics, and the learning curve drawn from them."""

from __future__ import annotations

import json
import math
import os
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
    path = Path(directory) / FILE
    if not path.exists():
        raise FileNotFoundError(f"no {FILE} in {directory}: no run has logged there yet")
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break  # a process killed as it wrote leaves half a line at the end
    return lines


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


def rewind(directory: Path, step: int, anew: bool) -> float:
    """Drop the lines after `step`, which will be written again; return the seconds trained until then.

    With `anew` there was no checkpoint to go on from: a file of metrics is then another run's and set aside.
    """
    path = directory / FILE
    if not path.exists():
        return 0.0
    if anew:
        checkpoints.set_aside(path)
        return 0.0
    lines = [line for line in history(directory) if line["step"] <= step]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(partial, path)
    return lines[-1]["seconds"] if lines else 0.0
