"""The models by name: how each is built for its data, and files of trained weights.

The functions raise TypeError or ValueError for arguments of another kind, FileNotFoundError where a name or
path is not there, and OSError where a file can't be read or written now.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.overrides import TorchFunctionMode

from colorlib import _catalog
from colorlib._check import came, choice, device_of, listed, path_of, whole
from colorlib._files import write_whole
from colorlib.color import rgb_to_lab
from colorlib.models import MODELS, Colorizer
from colorlib.training import Recipe, checkpoints
from colorlib.training.batches import Data, as_dict

WEIGHTS = _catalog.WEIGHTS
VERSION = 2  # of the format of weights files; the first had no checksum
CURVE = 100  # a run has so many points of its learning curve in a weights file, for each set of scalars
MEASURED = 2048  # so many pictures tell enough of the data's colors


def recipe(model: str, name: str = "quick") -> Recipe:
    """Give a model's recipe by the names of both, see :class:`colorlib.models.Colorizer`.

    >>> recipe("cic", "quick").steps
    400
    """
    recipes = MODELS[choice(model, "model", MODELS)].recipes
    if not isinstance(name, str) or name not in recipes:
        raise ValueError(f"{model} has no recipe of the name {name!r}; it has {', '.join(recipes)}")
    return recipes[name]


def build(
    name: str, data: Data, settings: dict | None = None, seed: int = 0, init_from: str | Path | None = None
) -> Colorizer:
    """Build a model to train, with what it has to know of the data before it learns.

    A patch classifier takes its classes from the data's colors, ``settings["neurons"]`` of them; a CIC with
    ``"mix"`` among the settings is rebalanced by them. They are measured on up to 2048 pictures. What sizes
    the data's pictures have is noted as the model's ``image_size``.

    Parameters
    ----------
    name : str
        Its name on the command line, a key of :data:`MODELS`: ``"patch"``, ``"cic"``, ``"gan"`` and so on.
    data : Data
        What it will be trained on, see :func:`colorlib.training.fit`.
    settings : dict, optional
        Arguments of the model's class; a recipe has them as ``recipe.settings``.
    seed : int
        Decides the first weights. Torch's global generator is left as it was.
    init_from : str or Path, optional
        Trained weights to begin with instead, see :func:`load`. The model then has their settings, but for
        what is measured anew.
    """
    name, seed = choice(name, "name", MODELS), whole(seed, "seed", -(2**63), 2**64 - 1)
    if not isinstance(settings, (dict, type(None))):
        raise TypeError(f"settings must be a dict; got {came(settings)}")
    if not hasattr(data, "batch"):
        raise TypeError(f"data must have a method batch(indices, device); got {came(data)}")
    settings, kind = dict(settings or {}), MODELS[name]

    def colors() -> Tensor:
        return _colors(data)

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if init_from is None:
            model = kind.for_data(colors, settings)
        else:
            model = load(path_of(init_from, "init_from"))
            if type(model) is not kind:
                raise ValueError(f"{init_from} holds a {type(model).__name__}, not a {kind.__name__}")
            model.adapt(colors, settings)
            # A run remembers it, so that it isn't taken for one from other weights.
            model.init_from = str(init_from)
    model.image_size = getattr(data, "size", model.image_size)
    return model


def _colors(data: Data) -> Tensor:
    """ab of the pixels of up to 2048 pictures, evenly spread over the data, (N, 2)."""
    count = len(data) if hasattr(data, "__len__") else MEASURED
    indices = torch.linspace(0, count - 1, min(count, MEASURED)).long().tolist()
    colors = []
    for start in range(0, len(indices), 64):
        rgb = as_dict(data.batch(indices[start : start + 64], torch.device("cpu")))["rgb"]
        colors.append(rgb_to_lab(rgb)[:, 1:].movedim(1, -1).reshape(-1, 2))
    return torch.cat(colors)


def save(model: Colorizer, path, history: Iterable[dict] = ()) -> Path:
    """Write a model's weights in half precision, as safetensors; reading them runs no code.

    Buffers, such as the statistics of batch normalization, stay as they are: they are few, and a variance may
    be larger than half precision can hold.

    The path ends in ``.safetensors``; a file that is there is replaced only when the new one is whole. Of a
    run's lines, see :func:`colorlib.training.history`, the file keeps the losses and what came beside them,
    as means over at most a hundred stretches of the run; :func:`history` gives them back.
    """
    if type(model) not in MODELS.values():
        names = ", ".join(kind.__name__ for kind in MODELS.values())
        raise TypeError(f"model must be one of {names}; got {came(model)}")
    path = path_of(path, "path")
    lines = listed(history, "history")
    if not all(isinstance(line, dict) for line in lines):
        raise TypeError(f"history must hold a dict for each line; got {came(lines)}")
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors; got {path.name!r}")
    tensors = {}
    parameters = {key for key, _ in model.named_parameters()}
    for key, tensor in model.state_dict().items():
        tensor = tensor.detach().to("cpu", copy=True).contiguous()
        tensors[key] = tensor.half() if key in parameters else tensor
    if wrong := _not_finite(tensors):
        raise ValueError(f"not finite in half precision: {_some(wrong)}")
    about = {
        "format": f"colorlib weights {VERSION}",
        "model": model.command,
        "settings": json.dumps(model.settings),
        "image_size": json.dumps(model.image_size),
        "history": json.dumps(_thinned(lines)),
    }
    try:
        write_whole(path, to_bytes(tensors, {**about, "checksum": _checksum(about, tensors)}))
    except OSError as error:
        raise OSError(f"{path} can't be written: {error.strerror or error}") from error
    return path


def _thinned(lines: list[dict]) -> list[dict]:
    """Steps, mean losses and scalars of at most CURVE stretches of a run, each as long as the others.

    Where a run went on with other scalars, its loss is another one, too: no stretch has lines of both.
    """
    groups = []
    for _, alike in itertools.groupby(lines, lambda line: sorted(line.get("scalars", {}))):
        alike = list(alike)
        stretch = -(-len(alike) // CURVE)
        groups += [alike[start : start + stretch] for start in range(0, len(alike), stretch)]

    def means(group: list[dict], what: str) -> dict[str, float]:
        # One is left out where a line lacks it, or where it was not finite and so is None.
        names = [n for n in group[-1].get(what, {}) if all(x.get(what, {}).get(n) is not None for x in group)]
        return {n: float(f"{sum(x[what][n] for x in group) / len(group):.4g}") for n in names}

    curve = []
    for group in groups:
        curve.append({"step": group[-1]["step"], "loss": means(group, "loss")})
        if scalars := means(group, "scalars"):
            curve[-1]["scalars"] = scalars
    return curve


def history(name_or_path) -> list[dict]:
    """Give the losses in the training of some weights, from first to last, one dict a stretch of the run.

    ``"step"`` is the steps done and ``"loss"`` each player's mean loss since the entry before; ``"scalars"``
    has the means of what the losses gave beside. It is empty where the file was saved without a history.

    >>> history("photographs")[-1]["step"]
    7000
    """
    path = _found(name_or_path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; colorlib.training.history reads a run's folder")
    try:
        lines = list(json.loads(_read(path)[0].get("history", "[]")))
        names = {"figures": "scalars"}  # as earlier versions wrote
        return [{names.get(key, key): value for key, value in line.items()} for line in lines]
    except (TypeError, AttributeError, RecursionError, json.JSONDecodeError):
        raise ValueError(f"{path} has a history that can't be read") from None


def shipped() -> tuple[str, ...]:
    """Names of the trained models that come with the library, for :func:`load`."""
    return tuple(path.stem for path in _catalog.weights(WEIGHTS))


def load(name_or_path, device=None) -> Colorizer:
    """Give a trained colorizer, in evaluation mode, on the CPU if no other device is named.

    It is a name that :func:`shipped` lists, such as ``"cic-photographs"``; a file that :func:`save` wrote; or
    the directory of a training run, which gives its newest checkpoint, with the averaged weights where there
    are some. A file that holds no whole weights of a model of this library, or a newer one's, is refused with
    a ValueError.

    >>> load("cic-world").image_size
    64
    """
    device, path = device_of(device), _found(name_or_path)
    about, tensors = _read(path)
    try:
        with torch.random.fork_rng([]):
            size = about["side" if "side" in about else "image_size"]  # the older name first
            model = _assemble(about["model"], json.loads(about["settings"]), json.loads(size), tensors)
    except Exception as error:  # a file from anywhere may make a constructor raise anything
        raise ValueError(
            f"{path} holds no whole weights of a model of this library: {_brief(error)}"
        ) from error
    try:
        return model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device} can't be used here: {_brief(error)}") from error


def _found(name_or_path) -> Path:
    """Where a name's weights are, or a path that is there."""
    path_of(name_or_path, "name_or_path")
    return _catalog.find(name_or_path, WEIGHTS)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a weights file, a checkpoint, or a run's newest checkpoint that is whole."""
    if path.is_dir():
        checkpoint = checkpoints.newest(path)
        if checkpoint is None:
            raise ValueError(f"{path} has no checkpoints: it is not the directory of a training run")
        return _of_run(checkpoint)
    try:
        about, tensors = checkpoints.read(path)
        kind, _, number = about.get("format", "").rpartition(" ")
        if kind == "colorlib checkpoint":
            return _of_run(checkpoints.whole(path))
        if kind != "colorlib weights" or not number.isdecimal() or len(number) > 9:
            raise checkpoints.Damaged("it holds no weights of this library")
        if int(number) > VERSION:
            raise checkpoints.Damaged("a newer version of this library wrote it")
        if number != "1":
            intact = about.get("checksum") == _checksum(about, tensors)
        elif path.parent == WEIGHTS:  # the first format has none; those of the library's files lie beside
            sums = (WEIGHTS / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
            intact = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in sums
        else:
            intact = "checksum" not in about  # else it is of a later format, and the number was altered
        if not intact:
            raise checkpoints.Damaged("its checksum is wrong")
    except checkpoints.Damaged as error:
        raise ValueError(f"{path} can't be loaded: {_brief(error)}") from error
    return about, tensors


def _of_run(checkpoint: checkpoints.Checkpoint) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors as those of a weights file: the averaged weights, where there are some."""
    facts, tensors = checkpoint.facts, checkpoint.tensors
    names = {kind.__name__: name for name, kind in MODELS.items()}
    about = {"model": names.get(str(facts.get("model")), str(facts.get("model")))}
    about["settings"] = json.dumps(facts.get("settings"))
    about["image_size"] = json.dumps(facts.get("image_size", facts.get("side")))
    group = "average/" if any(key.startswith("average/") for key in tensors) else "model/"
    return about, {key.removeprefix(group): t for key, t in tensors.items() if key.startswith(group)}


def _checksum(about: dict[str, str], tensors: dict[str, Tensor]) -> str:
    return checkpoints.checksum(json.dumps({**about, "checksum": ""}, sort_keys=True), tensors)


def _assemble(name: str, settings: dict, size: int | None, tensors: dict[str, Tensor]) -> Colorizer:
    """A model with its tensors, from a file that may come from anywhere.

    First its settings make a model without memory. Only where all shapes are those of the file there is a
    real one, which then needs no more memory than the file.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}, but {', '.join(MODELS)}")
    kind, settings = MODELS[name], dict(**settings)
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    if wrong := _not_finite(tensors):
        raise ValueError(f"not finite: {_some(wrong)}")
    with torch.device("meta"), _Sketch(1000 + 20 * len(tensors)):
        wanted = kind.rebuild(settings, tensors).state_dict()
    both = wanted.keys() & tensors
    for what, keys in {
        "it lacks": wanted.keys() - both,
        "it has besides": tensors.keys() - both,
        "of another shape or type": {key for key in both if _form(wanted[key]) != _form(tensors[key])},
    }.items():
        if keys:
            raise ValueError(f"{what}: {_some(keys)}")
    model = kind.rebuild(settings, tensors)
    model.load_state_dict(tensors)
    model.image_size = None if size is None else whole(size, "image_size", 1)
    return model


def _form(tensor: Tensor) -> tuple:
    return tensor.shape, tensor.dtype


def _not_finite(tensors: dict[str, Tensor]) -> list[str]:
    return [key for key, value in tensors.items() if not value.isfinite().all()]


def _some(names: Iterable[str]) -> str:
    """The first few of some names."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _brief(error: Exception) -> str:
    """What an error says, without what a hostile file could make of it: line breaks, or a million letters."""
    return "it lacks " * isinstance(error, KeyError) + " ".join(str(error).split())[:300]


class _Sketch(TorchFunctionMode):
    """Ends the making of a model that asks torch for more than so many things, such as a billion layers."""

    def __init__(self, most: int):
        super().__init__()
        self.left = most

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.left -= 1
        if self.left < 0:
            raise ValueError("its settings ask for more layers than it holds")
        kwargs = kwargs or {}
        # Without memory there is nothing to fill, but torch would load a thousand modules for it.
        return [*args, *kwargs.values()][0] if function.__name__ == "normal_" else function(*args, **kwargs)
