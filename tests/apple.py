"""A stand-in for an Apple GPU: tensors that say they are on "mps" and refuse double precision, as those do.

They hold a tensor of the CPU, and torch's operations are done with it. What comes of float64 raises torch's
own error, and so does an operation with tensors of both devices.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

APPLE = torch.device("mps", 0)  # with its number: without one, torch asks the device itself
MIXING = (
    torch.ops.aten.copy_.default,
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten.index_put.default,
)


class AppleTensor(torch.Tensor):
    """Torch itself takes it for a tensor on "meta", the only device without a driver; Python sees "mps"."""

    @staticmethod
    def __new__(cls, held):
        if held.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64. "
                "Please use float32 instead."
            )
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, device="meta", **layout)
        made.held = held
        return made

    @property
    def device(self):
        return APPLE

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})

    def __repr__(self):
        return f"AppleTensor({self.held})"


def _run(function, args, kwargs):
    wrappers = {}

    def held(x):
        if not isinstance(x, AppleTensor):
            return x
        wrappers[id(x.held)] = x
        return x.held

    def wrap(x):
        if not isinstance(x, torch.Tensor):
            return x
        return wrappers[id(x)] if id(x) in wrappers else AppleTensor(x)

    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    here = any(isinstance(x, AppleTensor) for x in tensors)
    if here and function not in MIXING and any(type(x) is torch.Tensor and x.dim() for x in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device: {function}")
    if function is torch.ops.aten.copy_.default:
        here = isinstance(args[0], AppleTensor)
    if kwargs.get("device") is not None:
        here = torch.device(kwargs["device"]).type != "cpu"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    out = function(*tree_map(held, args), **tree_map(held, kwargs))
    return tree_map(wrap, out) if here else out


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What never comes to the dispatch."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.tensor and kwargs.get("device") == APPLE:
            return torch.tensor(*args, **{**kwargs, "device": "cpu"}).to(APPLE)
        if function is torch.Tensor.tolist and isinstance(args[0], AppleTensor):
            return args[0].held.tolist()
        if function is torch.Tensor.__getitem__ and isinstance(args[1], list):
            args = args[0], torch.tensor(args[1])  # torch would make it on "meta"
        return function(*args, **kwargs)


class Generator(torch.Generator):
    """A generator that says it is on the device it was asked for."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls, "cpu")
        made.said = torch.device(device)
        return made

    @property
    def device(self):
        return self.said


class Apple:
    """With it on, tensors and networks can be moved to `APPLE`, and made there."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(torch, "Generator", Generator)
        # Inference tensors can't be wrapped.
        monkeypatch.setattr(torch, "inference_mode", lambda *mode: torch.no_grad())

    def __enter__(self):
        self.modes = [_Functions(), _Dispatch()]
        for mode in self.modes:
            mode.__enter__()
        return self

    def __exit__(self, *error):
        for mode in reversed(self.modes):
            mode.__exit__(*error)
