"""How a model learns: one loop, checkpoints, recipes."""

from . import recipes
from .checkpoints import TrainingError
from .loop import Interrupted, fit
from .metrics import history, learning_curve
from .players import Player
from .recipes import Recipe

__all__ = [
    "Interrupted",
    "Player",
    "Recipe",
    "TrainingError",
    "fit",
    "history",
    "learning_curve",
    "recipes",
]
