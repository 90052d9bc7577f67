"""How a model learns: one loop, checkpoints, recipes."""

import importlib

from .checkpoints import TrainingError
from .players import Batch, Player
from .recipes import Recipe

__all__ = ["Batch", "Interrupted", "Player", "Recipe", "TrainingError", "fit", "history", "learning_curve"]


def __getattr__(name: str):
    # Without making every use of a model import Accelerate.
    for module, names in {"loop": ("fit", "Interrupted"), "metrics": ("history", "learning_curve")}.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
