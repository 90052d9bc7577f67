"""The models by name: how each is built for its data, and files of trained weights."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from colorlib.classic import SOM
from colorlib.color import bin_prior, rgb_to_lab, smooth_prior
from colorlib.models import CIC, ColorGAN, Colorizer, MaskedGAN, PatchMLP, PixColor, ResNetRegressor
from colorlib.training import checkpoints
from colorlib.training.batches import Data, as_dict

MODELS: dict[str, type[Colorizer]] = {
    "patch": PatchMLP,
    "regression": ResNetRegressor,
    "cic": CIC,
    "gan": ColorGAN,
    "pixcolor": PixColor,
    "masked": MaskedGAN,
}
WEIGHTS = Path(__file__).parent / "weights"
FORMAT = "colorlib weights 1"
CURVE = 100  # a run has so many points of its learning curve in a weights file, for each set of figures
MEASURED = 2048  # so many pictures tell enough of the data's colors


def build(
    name: str, data: Data, settings: dict | None = None, seed: int = 0, start: str | Path | None = None
) -> Colorizer:
    """Build a model to train, with what it has to know of the data's colors before it learns.

    ``"patch"`` needs the neurons of a self-organizing map, ``settings["neurons"]`` of them. ``"cic"`` with
    ``"mix"`` among the settings is rebalanced by the smoothed prior of the bins. Both are measured on up to
    2048 pictures.

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
    start : str or Path, optional
        Trained weights to begin with instead, see :func:`load`. The model then has their settings, but for a
        rebalancing, which is measured anew.

    Raises
    ------
    FileNotFoundError
        If there are no such weights.
    TypeError, ValueError
        For an unknown name, weights of another model, or settings of the wrong type or range.
    """
    settings = dict(settings or {})
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; there are {', '.join(MODELS)}")
    if start is not None:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = load(start)
            if type(model) is not MODELS[name]:
                raise ValueError(f"{start} holds a {type(model).__name__}, not a {MODELS[name].__name__}")
            if name == "cic" and "mix" in settings:
                model.set_prior(smooth_prior(bin_prior(_colors(data))), settings["mix"])
        model.start = str(start)  # a run remembers it, so that it isn't taken for one from other weights
        return model
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        if name == "patch":
            colors = _colors(data)
            count = settings.pop("neurons", 9)
            rows = max(r for r in range(1, count + 1) if r * r <= count and count % r == 0)
            som = SOM(rows, count // rows).fit(colors[torch.randperm(len(colors))[:20_000]], seed=seed)
            return PatchMLP(som.neurons, **settings)
        if name == "cic" and "mix" in settings:
            return CIC(smooth_prior(bin_prior(_colors(data))), **settings)
        return MODELS[name](**settings)


def _colors(data: Data) -> Tensor:
    """ab of the pixels of up to 2048 pictures, evenly spread over the data, (N, 2)."""
    count = len(data) if hasattr(data, "__len__") else MEASURED
    indices = torch.linspace(0, count - 1, min(count, MEASURED)).long().tolist()
    colors = []
    for start in range(0, len(indices), 64):
        rgb = as_dict(data.batch(indices[start : start + 64], torch.device("cpu")))["rgb"]
        colors.append(rgb_to_lab(rgb)[:, 1:].movedim(1, -1).reshape(-1, 2))
    return torch.cat(colors)


def save(model: Colorizer, path, history: Iterable[dict] = (), earlier: Iterable[dict] = ()) -> Path:
    """Write a model's weights in half precision, as safetensors; reading them runs no code.

    Buffers, such as the statistics of batch normalization, stay as they are: they are few, and a variance may
    be larger than half precision can hold.

    Parameters
    ----------
    model : Colorizer
        One of the models of :data:`MODELS`.
    path : str or Path
        A file ending in ``.safetensors``. One that is there is replaced only when the new one is whole.
    history : iterable of dict
        The run's lines, see :func:`colorlib.training.history`. The file keeps the losses and figures, as
        means over at most a hundred stretches of the run; :func:`history` gives them back.
    earlier : iterable of dict
        Such lines of the training of the weights that the run started from. They come first in the file, and
        the run's steps are counted on from the last of them.

    Raises
    ------
    ValueError
        For another ending, or a weight that half precision can't hold.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors; got {path.name!r}")
    tensors = {}
    parameters = {key for key, _ in model.named_parameters()}
    for key, tensor in model.state_dict().items():
        tensor = tensor.detach().to("cpu", copy=True).contiguous()
        if key in parameters:
            tensor = tensor.half()
            if not tensor.isfinite().all():
                raise ValueError(f"{key} is not finite in half precision")
        tensors[key] = tensor
    curve = _thinned(list(earlier))
    done = curve[-1]["step"] if curve else 0
    curve += [{**line, "step": done + line["step"]} for line in _thinned(list(history))]
    about = {
        "format": FORMAT,
        "model": _name(type(model).__name__),
        "settings": json.dumps(model.settings),
        "side": json.dumps(model.side),
        "history": json.dumps(curve),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(to_bytes(tensors, about))
    os.replace(partial, path)
    return path


def _thinned(lines: list[dict]) -> list[dict]:
    """Steps, mean losses and figures of at most CURVE stretches of a run, each as long as the others.

    Where a run went on with other figures, its loss is another one, too: no stretch has lines of both.
    """
    groups = []
    for _, alike in itertools.groupby(lines, lambda line: sorted(line.get("figures", {}))):
        alike = list(alike)
        stretch = -(-len(alike) // CURVE)
        groups += [alike[start : start + stretch] for start in range(0, len(alike), stretch)]

    def means(group: list[dict], what: str) -> dict[str, float]:
        # A figure is left out where a line lacks it, or where it was not finite and so is None.
        names = [n for n in group[-1].get(what, {}) if all(x.get(what, {}).get(n) is not None for x in group)]
        return {n: float(f"{sum(x[what][n] for x in group) / len(group):.4g}") for n in names}

    curve = []
    for group in groups:
        curve.append({"step": group[-1]["step"], "loss": means(group, "loss")})
        if figures := means(group, "figures"):
            curve[-1]["figures"] = figures
    return curve


def history(name_or_path) -> list[dict]:
    """Give the losses in the training of some weights, from first to last.

    Parameters
    ----------
    name_or_path : str or Path
        A name that :func:`shipped` lists, or a file that :func:`save` wrote.

    Returns
    -------
    list of dict
        ``"step"``, the steps done, and ``"loss"``, each player's mean loss since the entry before. Where the
        model noted figures, ``"figures"`` has their means. Empty where the file was saved without a history.

    Raises
    ------
    FileNotFoundError, ValueError
        As for :func:`load`, and for a folder: :func:`colorlib.training.history` reads those.
    """
    path = _found(name_or_path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; colorlib.training.history reads a run's folder")
    return json.loads(_read(path)[0].get("history", "[]"))


def shipped() -> tuple[str, ...]:
    """Names of the trained models that come with the library, for :func:`load`."""
    return tuple(sorted(path.stem for path in WEIGHTS.glob("*.safetensors")))


def load(name_or_path, device=None) -> Colorizer:
    """Give a trained colorizer, in evaluation mode.

    Parameters
    ----------
    name_or_path : str or Path
        A name that :func:`shipped` lists, such as ``"cic-photographs"``; a file that :func:`save` wrote; or
        the directory of a training run, which gives its newest checkpoint, with the averaged weights where
        there are some.
    device : torch.device or str, optional
        Where it goes; the CPU by default.

    Raises
    ------
    FileNotFoundError
        If there is neither such a name nor such a path; the message lists the names.
    ValueError
        If the file or directory holds no weights of a model of this library.
    """
    path = _found(name_or_path)
    if path.is_dir():
        found = checkpoints.listed(path)
        if not found:
            raise ValueError(f"{path} has no checkpoints: it is not the directory of a training run")
        path = found[0]
    about, tensors = _read(path)
    try:
        model, side = _assemble(about, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} holds no whole weights of a model of this library: {error!r}") from error
    model.side = side
    return model.to(device or "cpu").eval()


def _found(name_or_path) -> Path:
    """Where a name's weights are, or a path that is there."""
    if not str(name_or_path):
        raise ValueError("name_or_path must be a name or a path; got an empty text")
    path = WEIGHTS / f"{name_or_path}.safetensors"
    if str(name_or_path) not in shipped():
        path = Path(name_or_path)
        if not path.exists():
            raise FileNotFoundError(
                f"no model {str(name_or_path)!r}: neither a path nor one that comes with the library: "
                + (", ".join(shipped()) or "there are none")
            )
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of this library."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if about.get("format") not in (FORMAT, checkpoints.FORMAT):
        raise ValueError(f"{path} holds no weights of this library")
    return about, tensors


def _assemble(about: dict[str, str], tensors: dict[str, Tensor]) -> tuple[Colorizer, int | None]:
    """A model and its side, from the metadata and tensors of a weights file or a checkpoint."""
    if about.get("format") == FORMAT:
        name, settings, side = about["model"], json.loads(about["settings"]), json.loads(about["side"])
    else:
        facts = json.loads(about["facts"])
        name, settings, side = _name(facts["model"]), facts["settings"], facts["side"]
        group = "average/" if any(key.startswith("average/") for key in tensors) else "model/"
        tensors = {key.removeprefix(group): value for key, value in tensors.items() if key.startswith(group)}
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    if name == "patch":
        model = PatchMLP(tensors["neurons"], **settings)
    else:
        model = MODELS[name](**settings)
    model.load_state_dict(tensors)
    return model, side


def _name(model: str) -> str:
    for name, kind in MODELS.items():
        if kind.__name__ == model:
            return name
    raise ValueError(f"{model} is no model of this library; there are {', '.join(MODELS)}")
