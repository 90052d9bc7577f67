"""What a run notes on its way: lines of metrics, and the learning curve drawn from them."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

from colorlib._files import write_whole

from . import checkpoints
from .checkpoints import TrainingError

FILE = "metrics.jsonl"


def history(directory) -> list[dict]:
    """Read the metrics of a run, one dict a line.

    Each has ``"step"``, the steps done; ``"loss"``, each player's mean loss since the line before;
    ``"gradient"``, the mean length of each player's gradient before clipping; ``"rate"``, the learning rate;
    and ``"seconds"``, the time of training, without pauses. What a loss gave beside itself, its
    parts or a discriminator's accuracy, is in ``"scalars"``, as means since the line before.

    Parameters
    ----------
    directory : str or Path
        The one that :func:`fit` was given.

    A line that can't be read is left out, with a warning.

    Raises
    ------
    FileNotFoundError
        If it holds no metrics.
    OSError
        If they can't be read now.
    """
    path = checkpoints.folder(directory) / FILE
    try:
        lines, damaged = _parsed(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"no {FILE} in {directory}: no run has logged there yet") from None
    except OSError as error:
        raise OSError(f"{path} can't be read: {error.strerror or error}") from error
    if damaged:
        warnings.warn(f"{path} is damaged in {_named(damaged)}; what can't be read is left out", stacklevel=2)
    return lines


def learning_curve(directory):
    """Draw the losses of a run over its steps, and what its losses give beside.

    Parameters
    ----------
    directory : str or Path
        The one that :func:`fit` was given.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a player, then one for each of these; it is not shown by itself.

    Raises
    ------
    FileNotFoundError
        If it holds no metrics.
    """
    from matplotlib.figure import Figure

    lines = history(directory)
    shown = [
        (group, name)
        for group in ("loss", "scalars")
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
        with open(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise TrainingError(
            f"the metrics of step {line['step']} could not be written to {path}: {error.strerror or error}. "
            "Training stops; run it again to go on from the last checkpoint."
        ) from error


def rewind(directory: Path, step: int, anew: bool) -> None:
    """Drop the lines after `step`, which will be written again, and half a line at the end.

    Where there are damaged lines, the file as it was is kept under another name. With `anew` there was no
    checkpoint to go on from: the file is then another run's, and all of it is set aside.

    Raises
    ------
    TrainingError
        If the file can't be read or written now; it is then as it was.
    """
    path = directory / FILE
    try:
        if anew:
            aside = checkpoints.set_aside(path)
            warnings.warn(f"{path} was another run's; it is now named {aside.name}", stacklevel=4)
            return
        content = path.read_bytes()
        lines, damaged = _parsed(content)
        if damaged:
            aside = checkpoints.aside(path)
            write_whole(aside, content)
            warnings.warn(
                f"{path} was damaged in {_named(damaged)}; {aside.name} has it as it was", stacklevel=4
            )
        kept = "".join(json.dumps(line) + "\n" for line in lines if line["step"] <= step).encode()
        if kept != content:
            write_whole(path, kept)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TrainingError(
            f"the metrics in {path} could not be read or written: {error.strerror or error}. They are as "
            "they were; run it again once they can."
        ) from error


def _parsed(content: bytes) -> tuple[list[dict], list[int]]:
    """Give the lines that are whole, and the numbers of those that are damaged."""
    lines, damaged = [], []
    texts = content.split(b"\n")
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text.decode())
            if isinstance(line, dict) and "figures" in line:  # as earlier versions wrote
                line["scalars"] = line.pop("figures")
            whole = _is_line(line)
        except (ValueError, OverflowError, RecursionError):
            whole = False
        if whole:
            lines.append(line)
        elif number < len(texts):  # a process killed as it wrote leaves half a line at the end: no damage
            damaged.append(number)
    return lines, damaged


def _is_line(line) -> bool:
    """Whether it has a step and a loss, and nothing that is of another kind than `history` says."""

    def number(value) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

    if not isinstance(line, dict) or type(line.get("step")) is not int or not 0 <= line["step"] < 2**53:
        return False
    groups = line.get("loss"), line.get("gradient", {}), line.get("scalars", {})
    return all(number(line.get(name, 0)) for name in ("rate", "seconds")) and all(
        isinstance(group, dict) and all(value is None or number(value) for value in group.values())
        for group in groups
    )


def _named(damaged: list[int]) -> str:
    return f"line {damaged[0]}" if len(damaged) == 1 else f"{len(damaged)} lines, from line {damaged[0]} on"
