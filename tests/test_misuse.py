"""Every public function, with each of its arguments wrong in turn.

What comes must be a result, or an error of the library's own that names the argument: never torch's or
Python's bare text. What is wrong by its type must be refused, and numpy's numbers must be taken.
"""

import fractions
import functools
import inspect
import json
import linecache
import math
import re
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from calls import CALLS, ROOMS, built

import colorlib
from colorlib.models.base import Colorizer

HOME = str(Path(colorlib.__file__).parent)
# What is no function of its own: values, errors, and what only hands its arguments on or takes none.
EXEMPT = {
    "data.Palette", "data.Scene", "masks", "models.Colorizer", "models.Colorizer.loss",
    "models.Colorizer.chroma", "models.Colorizer.knobs", "models.Colorizer.colorize",
    "models.Colorizer.strips", "models.Colorizer.options", "sampling.Stopped",
    "models.ColorGAN.loss", "models.MaskedGAN.loss", "models.ColorGAN.players", "models.MaskedGAN.players",
    "models.ResNetRegressor.small", "show.HTMLFigure", "training.Interrupted", "training.TrainingError",
    "training.Batch", "training.Player", "zoo.shipped", "check.Outcome", "check.names",
}  # fmt: skip
# Held to the same by other tests.
ELSEWHERE = ("models.ConditionNetwork", "models.PixColor", "models.PixelCNN", "models.Refinement")


def public():
    """Every public function, class and method of the rooms, by name."""
    for room, module in ROOMS.items():
        own = [
            name for name, value in vars(module).items() if getattr(value, "__module__", 0) == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            thing = getattr(module, name)
            if name.startswith("_") or not callable(thing):
                continue
            yield f"{room}.{name}"
            for part, value in vars(thing).items() if inspect.isclass(thing) else ():
                is_method = callable(value) or isinstance(value, (classmethod, staticmethod))
                if is_method and (not part.startswith("_") or part == "__getitem__"):
                    yield f"{room}.{name}.{part}"


def test_every_public_function_is_here():
    missing = set(public()) - set(CALLS) - EXEMPT
    # The hooks of a model are called by the library alone, with what it has checked.
    hooks = ("for_data", "adapt", "rebuild", "players")
    missing = {name for name in missing if not name.startswith(ELSEWHERE) and not name.endswith(hooks)}
    assert missing == set()


# Wrong arguments: (what it is, the value, whether it must be refused or taken; either is fine for the rest).

REFUSE, TAKE, EITHER = "refuse", "take", "either"
FREE = ("title", "alt", "source", "claimed", "ours", "caption")  # any text will do
PATHS = ("name_or_path", "init_from")
OPTIONAL = ("generator", "prior", "device", "rebalance", "strokes", "labels")  # None has a meaning
NO_NUMBERS = ("3", math.nan, [3], 3j, b"3", {}, torch.ones(2))


def wrong(name, value, optional):
    """Values to try in the place of a right one."""
    if isinstance(value, torch.Tensor):
        yield from tensors(name, value)
    elif isinstance(value, (bool, np.bool_)):
        yield from ((thing, REFUSE) for thing in ("no", 0, 1, math.nan, [True], None) if name != "held")
        yield np.bool_(value), TAKE
    elif isinstance(value, int):
        yield from ((thing, REFUSE) for thing in (*NO_NUMBERS, 1.5, math.inf, True, np.float64(value)))
        yield from ((thing, EITHER) for thing in (0, -1))
        yield from ((kind(value), TAKE) for kind in (np.int64, np.uint8, torch.tensor))
        if name in ("seed", "draw", "index", "start", "k", "neighbors", "dim"):
            yield 2**64, REFUSE
    elif isinstance(value, float):
        yield from ((thing, REFUSE) for thing in (*NO_NUMBERS, True, np.bool_(True)))
        yield from ((thing, EITHER) for thing in (0, -1, 2, math.inf, -math.inf, 1e300, 10**400))
        yield from ((kind(value), TAKE) for kind in (np.float32, np.float64, fractions.Fraction))
    elif isinstance(value, str):
        verdict = EITHER if name in FREE else REFUSE
        yield from ((thing, verdict) for thing in ("nonsense", "", b"x"))
        yield from (
            (thing, REFUSE) for thing in (3, ["nonsense"], math.nan, {}) if name not in ("chosen", "device")
        )
    elif isinstance(value, (list, tuple)):
        yield from ((thing, EITHER) for thing in ([], (), 3, {}, 1.5, "nonsense", math.nan, [*value, *value]))
        for bad in (None, "nonsense", 1.5, -1, math.nan, True, [1], 2**70, torch.ones(2)):
            yield [bad, *value[1:]], EITHER
        if isinstance(value, list):
            yield np.array(value, dtype=object), TAKE
    elif isinstance(value, dict):
        yield from ((thing, REFUSE) for thing in ("nonsense", [], 3))
        yield {}, REFUSE if name == "batch" else EITHER
    elif isinstance(value, Path):
        yield from ((thing, EITHER) for thing in ("nonsense", Path("nonsense")))
        yield from ((thing, REFUSE) for thing in ("", 3, [], 1.5, True))
    elif value is None:
        yield from ((thing, EITHER) for thing in (1.5, -1, [], "", math.nan, torch.ones(2, 2), object()))
        yield "nonsense", EITHER if name in FREE else REFUSE
    else:
        yield from ((thing, REFUSE) for thing in ("nonsense", 3, [], 1.5))
    yield None, EITHER if optional or name in OPTIONAL else REFUSE


def tensors(name, x):
    yield from ((thing, REFUSE) for thing in ("nonsense", 3, x.to(torch.complex64), {}, object()))
    if name not in ("indices", "seeds", "images"):
        yield from ((thing, REFUSE) for thing in (x.tolist(), x.numpy()))
    floating = x.is_floating_point()
    for dtype in (torch.int64, torch.int32, torch.uint8) if floating else (torch.float32, torch.float64):
        yield x.to(dtype), REFUSE
    yield x.bool(), EITHER if name in ("mask", "labels") else REFUSE
    if floating:
        kinds = (x.double(), x.half(), x.bfloat16(), x.clone().requires_grad_())
        yield from (
            (thing, EITHER) for thing in (*kinds, *(torch.full_like(x, v) for v in (math.nan, math.inf)))
        )
        yield 255 * x, REFUSE if name in ("rgb", "truth", "gray", "mask", "images") else EITHER
    else:
        yield from ((thing, EITHER) for thing in (x.int(), x.short(), x + 2**40, x + 10_000))
    yield from ((thing, EITHER) for thing in (-1 - x if x.dtype != torch.bool else ~x, torch.zeros_like(x)))
    shapes = [x[:0], x[..., :0], x[None], x[0], x.flatten(), x.flatten()[0], x.new_empty(0)]
    for dim in range(x.dim()):
        shapes += [torch.cat([x, x], dim), x.narrow(dim, 0, max(1, x.shape[dim] - 1))]
    if x.dim() > 1:
        shapes += [x.transpose(0, -1), x.movedim(1, -1)]
    yield from ((thing, EITHER) for thing in shapes)


def misuses(name):
    """Every wrong call of a function: the argument, its names in a message, value, verdict and call."""
    function, right = CALLS[name]()
    parameters = inspect.signature(function).parameters
    for argument, value in right.items():
        known = parameters.get(argument)
        optional = known is not None and known.default is None
        # As knobs they come to `colorize` without their defaults.
        of_photo = ("models.PretrainedUNet.colorize", "models.PretrainedUNet.strips")
        optional |= name in of_photo and argument == "temperature"
        # Where nothing is at a path, the path is what is named.
        names = [argument, *(["nonsense"] if isinstance(value, Path) or argument in PATHS else [])]
        for thing, verdict in wrong(argument, value, optional):
            call = functools.partial(function, **{**right, argument: thing})
            yield argument, names, thing, verdict, call
        for key, entry in value.items() if isinstance(value, dict) and argument == "batch" else ():
            for thing, verdict in wrong(key, entry, False):
                call = functools.partial(function, **{**right, argument: {**value, key: thing}})
                yield f"{argument}[{key!r}]", [key, *value], thing, verdict, call


def outcome(call, names):
    """What a call comes to: "taken", "refused" in the library's own words, or what was wrong with that."""
    try:
        call()
    except (TypeError, ValueError, IndexError, FileNotFoundError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        own = frame.filename.startswith(HOME)
        line = linecache.getline(frame.filename, frame.lineno).strip()
        named = any(re.search(rf"\b{name}\b", str(error)) for name in names)
        return (
            "refused"
            if own and line.startswith("raise") and named
            else f"bare {type(error).__name__}: {error}"
        )
    except Exception as error:
        return f"bare {type(error).__name__}: {error}"
    return "taken"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_what_is_wrong_is_named(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    built.cache_clear()  # networks that have seen NaN
    monkeypatch.setattr("IPython.display.display", lambda *shown, **how: None)
    function, right = CALLS[name]()
    function(**right)
    faults = []
    for argument, names, thing, verdict, call in misuses(name):
        allowed = names if verdict == REFUSE else [*names, *right]
        got = outcome(call, allowed)
        if got not in {REFUSE: ["refused"], TAKE: ["taken"], EITHER: ["refused", "taken"]}[verdict]:
            faults.append(f"{argument} = {told(thing)}: {got.splitlines()[0][:200]} (to {verdict})")
    assert not faults, "\n".join([f"{len(faults)} faults", *faults])


def told(thing):
    is_tensor = isinstance(thing, torch.Tensor)
    return f"tensor {tuple(thing.shape)} {thing.dtype}" if is_tensor else repr(thing)[:60]


@pytest.mark.parametrize("name", ["PatchMLP", "ResNetRegressor", "CIC", "ColorGAN", "MaskedGAN"])
def test_settings_are_python_s_own_numbers(name):
    cls, settings = CALLS[f"models.{name}"]()
    kinds = {bool: np.bool_, int: np.int64, float: np.float64}
    model = cls(**{key: kinds.get(type(value), lambda v: v)(value) for key, value in settings.items()})
    assert isinstance(model, Colorizer)
    assert json.loads(json.dumps(model.settings)) == built(name).settings
