"""Color without gradient descent."""

from colorlib.classic.scribbles import propagate, strokes_of
from colorlib.classic.som import SOM, nearest

__all__ = ["SOM", "nearest", "propagate", "strokes_of"]
