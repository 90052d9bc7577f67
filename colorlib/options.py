"""The options that a model alone understands: made from its knobs, read by their kinds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from colorlib import _catalog

if TYPE_CHECKING:  # an argument that is wrong should be named before torch is loaded
    from colorlib.models import Colorizer


def split(arguments: list[str]) -> tuple[list[str], dict[str, str | None]]:
    """What is no option among some arguments, and the options: their texts by their names.

    --NAME VALUE and --NAME=VALUE are the same. One that stands alone, at the end or before another, has None.
    """
    plain, options, left = [], {}, list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith("--") or argument == "--":
            if argument.startswith("-") and len(argument) > 1 and argument != "--":
                raise ValueError(f"no such option: {argument}")
            plain.append(argument)
            continue
        name, sign, text = argument[2:].partition("=")
        if name in options:
            raise ValueError(f"--{name} is given twice")
        alone = not left or left[0].startswith("--") or name in flags()
        options[name] = text if sign else None if alone else left.pop(0)
    return plain, options


def flags() -> set[str]:
    """Names of the options of all models that take no value, such as refine and no-refine."""
    names = [o.name for model in _catalog.models().values() for o in model.options if o.kind == "bool"]
    return {form + name.replace("_", "-") for name in names for form in ("", "no-")}


def knobs_of(colorizer: Colorizer, asked: dict[str, str | None]) -> dict:
    """The values of a model's own options, of their kinds; a picture's path stays one."""
    options = {}
    for knob in colorizer.options():
        name = knob.name.replace("_", "-")
        options[name] = knob, True
        if knob.kind is bool:
            options[f"no-{name}"] = knob, False
    given = {}
    for name, text in asked.items():
        if name not in options:
            own = ", ".join(f"--{name}" for name in options) or "none"
            raise ValueError(
                f"there is no --{name} for this model, a {type(colorizer).__name__}; its options: {own}"
            )
        knob, value = options[name]
        if knob.kind is bool:
            if text is not None:
                raise ValueError(f"--{name} takes no value; got {text!r}")
        elif not text:
            raise ValueError(f"--{name} needs a value: {knob.help}")
        elif knob.kind in (int, float):
            try:
                value = knob.kind(text)
            except ValueError:
                wanted = "whole number" if knob.kind is int else "number"
                raise ValueError(f"--{name} must be a {wanted}; got {text!r}") from None
        else:
            value = text if knob.kind is str else Path(text)
        given[knob.name] = value
    return given
