"""Color from Gray: every model, trainer and sampler of the course, in the order that data flows."""

import importlib
import os

__version__ = "0.1.0"
__all__ = ["load", "scale", "shipped", "zoo"]


def __getattr__(name: str):
    # Without making every import of the library import the models.
    if name in ("load", "shipped", "zoo"):
        zoo = importlib.import_module("colorlib.zoo")
        return zoo if name == "zoo" else getattr(zoo, name)
    raise AttributeError(f"module 'colorlib' has no attribute {name!r}")


def scale() -> str:
    """The size at which the chapters run: ``"quick"`` or ``"full"``.

    The environment variable ``COLORLIB_SCALE`` decides. Where it is not set, a machine with a GPU runs at
    full scale and any other at quick scale: two CPU cores, about a minute a chapter.

    Raises
    ------
    ValueError
        The variable holds anything else.
    """
    value = os.environ.get("COLORLIB_SCALE", "")
    if value in ("quick", "full"):
        return value
    if value:
        raise ValueError(f"COLORLIB_SCALE has to be 'quick' or 'full', but it is {value!r}")
    import torch

    return "full" if torch.cuda.is_available() else "quick"
