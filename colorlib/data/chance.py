"""Random numbers that depend on nothing but what they are for: hashes of whole numbers."""

import zlib

import torch
from torch import Tensor

LOW = 0xFFFFFFFF  # the lower 32 bits


def keys_of(names) -> Tensor:
    return torch.tensor([zlib.crc32(name.encode()) for name in names], dtype=torch.int64)


def _times32(x: Tensor, factor: int) -> Tensor:
    """x * factor modulo 2^32 for 0 <= x < 2^32, in two halves so that 64 signed bits never overflow."""
    return (x * (factor & 0xFFFF) + ((x * (factor >> 16) & 0xFFFF) << 16)) & LOW


def mixed(x: Tensor, start: int = 0x9E3779B9) -> Tensor:
    """lowbias32, a hash of 32-bit numbers held in int64 (C.

    Wellons, "Prospecting for hash functions", 2018).
    """
    x = (x + start) & LOW  # so that 0 doesn't stay 0
    x = _times32(x ^ (x >> 16), 0x7FEB352D)
    x = _times32(x ^ (x >> 15), 0x846CA68B)
    return x ^ (x >> 16)


def uniforms(state: Tensor, keys: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), one for each state and key: (B, keys) float32, multiples of 2^-24.

    A counter-based generator: a number is a hash of what it is for, so none depends on another having been
    drawn.
    """
    x = mixed(mixed(state[:, None] ^ keys) ^ state[:, None])
    return (x >> 8).float() / 2.0**24
