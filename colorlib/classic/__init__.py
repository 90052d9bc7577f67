"""Color without gradient descent."""

from colorlib.classic.scribbles import corrected, propagate, strokes_of
from colorlib.classic.som import SOM, nearest

__all__ = ["SOM", "corrected", "nearest", "propagate", "strokes_of"]
