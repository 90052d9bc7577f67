"""What every function of this room asks of its input, and how it says so."""

import torch

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_floating(x, name):
    """Raise `TypeError` unless `x` is a tensor of one of the four floating dtypes."""
    if not isinstance(x, torch.Tensor):
        kind = f"{type(x).__module__}.{type(x).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"{name} must be a torch.Tensor; got {kind}")
    if x.dtype not in DTYPES:
        hint = ""
        if not (x.is_floating_point() or x.is_complex()):
            bring = "divide 8-bit values by 255 to bring them to [0, 1]" if name == "rgb" else "use .float()"
            hint = f": {bring}"
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64; got {x.dtype}{hint}")


def check_image(x, channels, name):
    """Raise `TypeError` or `ValueError` unless `x` is a floating tensor (..., channels, H, W)."""
    check_floating(x, name)
    if x.dim() < 3 or x.shape[-3] != channels:
        hint = ""
        if x.dim() >= 3 and x.shape[-1] == channels:
            hint = f"; the last dimension is {channels}: bring channels forward with .movedim(-1, -3)"
            if x.dim() == 3:
                hint += ", that is .permute(2, 0, 1)"
        raise ValueError(f"{name} must have shape (..., {channels}, H, W); got {tuple(x.shape)}{hint}")
