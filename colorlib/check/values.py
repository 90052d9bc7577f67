"""Values of functions that others wrote, as plain data: what claims to equal everything is not believed.

A value is turned into a plain array before anything is compared, by torch's and numpy's own functions and
none of the value's. The tests of the assignments use these functions; so do the checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from colorlib._check import came, number, string, whole

SEED = "COLORLIB_GRADING_SEED"  # the environment variable that makes a class's hidden cases its own


def plain(value) -> Tensor:
    """Give a value as a plain tensor on the CPU that shares nothing with it.

    Numbers, True and False, lists of numbers, numpy's arrays and torch's tensors are taken, and of their
    subclasses only the numbers in them. Anything else raises TypeError.

    >>> plain([1.0, 2.0])
    tensor([1., 2.])
    """
    kind = type(value)
    try:
        if issubclass(kind, Tensor):
            with torch._C.DisableTorchFunctionSubclass():  # a subclass may have its own idea of any of these
                return Tensor.clone(Tensor.detach(value)).cpu().as_subclass(Tensor)
        if issubclass(kind, (np.ndarray, np.generic)):
            return torch.from_numpy(np.array(value, copy=True, subok=False))
        if kind in (bool, int, float):
            return torch.tensor(value)
        if kind in (list, tuple):
            return torch.stack([plain(one) for one in value]) if len(value) else torch.empty(0)
    except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError):
        pass
    raise TypeError(f"value must be a tensor or numbers; got {_kind(value)}")


def _kind(value) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def close(value, wanted, tolerance: float = 1e-4) -> bool:
    """Whether a value has the shape of what was wanted, and each number is as near as the tolerance allows.

    The tolerance is relative where the wanted number is above 1. NaN is near nothing but NaN.

    >>> close(torch.tensor([1.0]), torch.tensor([1.00001])), close(torch.ones(2), 1.0)
    (True, False)
    """
    tolerance = number(tolerance, "tolerance", "[0, inf)")
    value, wanted = plain(value), plain(wanted)
    if value.shape != wanted.shape or value.is_complex():
        return False
    value, wanted = value.double(), wanted.double()
    same = (value == wanted) | (value.isnan() & wanted.isnan())
    return bool((same | ((value - wanted).abs() <= tolerance * wanted.abs().clamp(min=1))).all())


def gradient(function: Callable, *arguments, wrt: int = 0) -> Tensor:
    """Give the gradient of a function's value, summed, by one of its arguments: a plain tensor.

    0 where the value doesn't depend on the argument in a way that can be differentiated.

    >>> gradient(lambda x: (x**2).sum(), torch.tensor([1.0, 2.0]))
    tensor([2., 4.])
    """
    if not callable(function):
        raise TypeError(f"function must be callable; got {came(function)}")
    if hasattr(function, "remote_gradient"):  # of another process, which gives its gradient itself
        return function.remote_gradient(arguments, wrt)
    wrt = whole(wrt, "wrt", 0, len(arguments) - 1)
    arguments = list(arguments)
    x = arguments[wrt] = plain(arguments[wrt]).requires_grad_()
    with torch.enable_grad():
        value = function(*arguments)
    if not isinstance(value, Tensor) or not value.requires_grad:
        return torch.zeros_like(x)
    (result,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    return torch.zeros_like(x) if result is None else plain(result)


def chance(name: str) -> torch.Generator:
    """Give a source of random numbers for a test: a function of its name and the class's seed alone.

    >>> torch.rand(2, generator=chance("a")).equal(torch.rand(2, generator=chance("a")))
    True
    """
    text = f"{os.environ.get(SEED, '0')}/{string(name, 'name')}"
    seed = 0
    for letter in text.encode():
        seed = (seed * 257 + letter + 1) % (2**61 - 1)
    return torch.Generator().manual_seed(seed)


def called(function: Callable, *arguments) -> tuple[Tensor, list]:
    """Give a function's value and its arguments as they were afterward: does it write into what it is given?

    >>> called(lambda x: x.add_(1), torch.zeros(1))
    (tensor([1.]), [tensor([1.])])
    """
    if not callable(function):
        raise TypeError(f"function must be callable; got {came(function)}")
    if hasattr(function, "remote_call"):  # of another process, which gives them back itself
        return function.remote_call(arguments)
    handed = [plain(a) if isinstance(a, (Tensor, np.ndarray)) else a for a in arguments]
    return function(*handed), handed
