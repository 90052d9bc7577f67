"""How a model learns: one loop, checkpoints, recipes."""

from . import recipes
from .checkpoints import TrainingError
from .loop import Interrupted, fit
from .metrics import history, learning_curve
from .recipes import Recipe
from .run import Player

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
