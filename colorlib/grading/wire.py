"""Values between two processes that don't trust each other: text and numbers, never code.

A message is a JSON text and the bytes of its arrays. Nothing in it is executed when it is read, its size is
limited, and each array is checked against its own header. Pickle is never used.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

MOST = 64 * 2**20  # bytes of a message
LONGEST = 2**20  # bytes of its text, which becomes many small objects when it is read
DEEPEST = 12  # lists in lists
DTYPES = {
    "bool": torch.bool, "uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16, "int32": torch.int32,
    "int64": torch.int64, "float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32,
    "float64": torch.float64,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Garbled(ValueError):
    """A message that is not one."""


def pack(value, calls: list | None = None) -> bytes:
    """Turn a value into bytes; functions are put into `calls`, and their places are written."""
    blobs: list[bytes] = []
    text = json.dumps(_written(value, blobs, calls, 0)).encode()
    return struct.pack("<I", len(text)) + text + b"".join(blobs)


def _written(value, blobs: list[bytes], calls: list | None, depth: int):
    if depth > DEEPEST:
        raise TypeError("the value is nested too deeply")
    kind = type(value)
    if value is None or kind in (bool, int, str):
        if kind is int and not -(2**63) <= value < 2**63:
            raise TypeError("the whole number is too large")
        return value if kind is not str else {"s": value[:10_000]}
    if kind is float:
        return {"f": repr(value)}
    if kind in (list, tuple):
        return {"t" if kind is tuple else "l": [_written(v, blobs, calls, depth + 1) for v in value]}
    if kind is dict:
        return {"d": [[str(k)[:200], _written(v, blobs, calls, depth + 1)] for k, v in value.items()]}
    if kind is torch.Generator:
        return {"g": _written(value.get_state(), blobs, None, depth + 1)}
    if issubclass(kind, (np.ndarray, np.generic)):
        value = torch.from_numpy(np.array(value, copy=True, subok=False))
    if issubclass(kind, Tensor) or isinstance(value, Tensor):
        with torch._C.DisableTorchFunctionSubclass():
            value = Tensor.detach(value).as_subclass(Tensor)
        if value.dtype not in _NAMES:
            raise TypeError(f"a tensor of {value.dtype} can't be handed over")
        if value.numel() * value.element_size() > MOST:
            raise TypeError(f"a tensor of the shape {tuple(value.shape)} is too large")
        value = value.cpu().contiguous()
        blobs.append(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return {"a": [_NAMES[value.dtype], list(value.shape), len(blobs[-1])]}
    if callable(value) and calls is not None:
        calls.append(value)
        return {"c": len(calls) - 1}
    raise TypeError(f"a value of the type {kind.__name__} can't be handed over")


def unpack(data: bytes, function: Callable[[int], Callable] | None = None):
    """Turn bytes into the value; `function` makes what stands for a function of the other side."""
    try:
        (length,) = struct.unpack_from("<I", data)
        if length > LONGEST:
            raise ValueError("its text is too long")
        tree = json.loads(data[4 : 4 + length].decode())
        value, end = _read(tree, data, 4 + length, function, 0)
    except (
        struct.error,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
    ) as error:
        raise Garbled(f"what came is no message: {error}") from None
    if end != len(data):
        raise Garbled("what came is longer than it says")
    return value


def _read(tree, data: bytes, at: int, function, depth: int):
    if depth > DEEPEST:
        raise Garbled("it is nested too deeply")
    if tree is None or isinstance(tree, (bool, int)):
        return tree, at
    ((kind, content),) = tree.items()
    if kind == "s" and isinstance(content, str):
        return content, at
    if kind == "f":
        return float(content), at
    if kind in ("t", "l"):
        values = []
        for part in content:
            value, at = _read(part, data, at, function, depth + 1)
            values.append(value)
        return (tuple(values) if kind == "t" else values), at
    if kind == "d":
        values = {}
        for key, part in content:
            values[str(key)], at = _read(part, data, at, function, depth + 1)
        return values, at
    if kind == "g":
        state, at = _read(content, data, at, None, depth + 1)
        generator = torch.Generator()
        generator.set_state(state)
        return generator, at
    if kind == "a":
        name, shape, length = content
        dtype, shape = DTYPES[name], [int(side) for side in shape]
        count = math.prod(shape)
        if min(shape, default=0) < 0 or len(shape) > 16 or count * dtype.itemsize != length or count > MOST:
            raise Garbled("an array does not fit its header")
        if at + length > len(data):
            raise Garbled("an array is cut off")
        flat = np.frombuffer(data, np.uint8, length, at).copy()
        if dtype == torch.bool:
            flat = flat != 0
            return torch.from_numpy(flat).reshape(shape), at + length
        tensor = torch.from_numpy(flat).view(dtype) if length else torch.empty(0, dtype=dtype)
        return tensor.reshape(shape), at + length
    if kind == "c" and function is not None and isinstance(content, int):
        return function(content), at
    raise Garbled(f"it holds a {kind!r}")


class Channel:
    """One end of a socket, over which messages go."""

    def __init__(self, end: socket.socket):
        self.end = end

    def send(self, value, calls: list | None = None) -> None:
        """Send a value; TypeError if it can't be handed over, OSError if nobody is there."""
        data = pack(value, calls)
        if len(data) > MOST:
            raise TypeError("the value is too large")
        self.end.sendall(struct.pack("<Q", len(data)) + data)

    def receive(self, seconds: float | None = None, function=None):
        """Wait for a value: TimeoutError after so many seconds, EOFError when the other end is closed."""
        until = None if seconds is None else time.monotonic() + seconds
        (length,) = struct.unpack("<Q", self._exactly(8, until))
        if length > MOST:
            raise Garbled(f"a message of {length} bytes is too large")
        return unpack(self._exactly(length, until), function)

    def _exactly(self, count: int, until: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            if until is not None:
                self.end.settimeout(max(1e-3, until - time.monotonic()))
                if time.monotonic() > until:
                    raise TimeoutError
            got = self.end.recv(min(count - len(parts), 2**20))
            if not got:
                raise EOFError
            parts += got
        return bytes(parts)

    def close(self) -> None:
        """Close this end."""
        self.end.close()
