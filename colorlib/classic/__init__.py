"""Color without gradient descent."""

from colorlib.classic.som import SOM, nearest

__all__ = ["SOM", "nearest"]
