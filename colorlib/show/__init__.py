"""How it looks: figures with alternative text, sliders that need no kernel, and the claims box.

Everything here becomes plain HTML with its pictures inside. So one and the same cell works in JupyterLab, on
Colab, and on a published page where no kernel runs and no network is needed. Only :func:`live` computes where
there is a kernel, and is plain HTML elsewhere.

Images are a batch (N, 3 or 1, H, W) in [0, 1], or a sequence of such images, PIL images or matplotlib
figures; a figure is closed, so that the notebook doesn't show it twice. `width` is that of one image at most,
in CSS pixels. `alt` says, for readers who can't see them, what all the images show. For an image, text,
number or count that doesn't fit, each function raises TypeError or ValueError.
"""

from ._claim import claim
from ._live import live
from ._static import HTMLFigure, choices, drawing, figure, frames, grid

__all__ = ["HTMLFigure", "choices", "claim", "drawing", "figure", "frames", "grid", "live"]
