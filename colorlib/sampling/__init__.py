"""How a color is drawn: the cached PixelCNN sampler, and the naive loop that it must agree with."""

from .cached import cached_logits, sample
from .draw import Stopped, draw
from .naive import naive_sample

__all__ = ["Stopped", "cached_logits", "draw", "naive_sample", "sample"]
