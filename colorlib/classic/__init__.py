"""Color without gradient descent."""

from colorlib.classic.reinhard import lalphabeta_to_rgb, match, rgb_to_lalphabeta, transfer
from colorlib.classic.scribbles import corrected, propagate, strokes_of
from colorlib.classic.som import SOM, nearest

__all__ = [
    "SOM", "corrected", "lalphabeta_to_rgb", "match", "nearest", "propagate", "rgb_to_lalphabeta",
    "strokes_of", "transfer",
]  # fmt: skip
