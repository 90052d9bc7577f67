"""Tileable banks of texture, made once. Whole numbers, so that every machine reads the same ones."""

import functools

import numpy as np
import torch
from scipy import ndimage

from .chance import mixed
from .materials import TEXTURES

TILE = 256  # texels along one side of a tile; one tile spans the frame
THERMAL = len(TEXTURES)  # the infrared camera's own layer, after the lightness textures
FAR = (
    THERMAL + 1 - TEXTURES.index("grass")
)  # so many layers after a texture of the ground lies its far version


def _noise(key: int) -> np.ndarray:
    """White noise in [0, 1), (TILE, TILE): a hash of the texel's number."""
    texels = torch.arange(TILE**2, device="cpu").view(TILE, TILE)
    return mixed(texels, key * 0x9E3779B1).numpy() / 2.0**32


def _blurred(key: int, sigma_y: float, sigma_x: float) -> np.ndarray:
    """Gaussian noise with that correlation length in texels, zero mean, unit variance, tileable."""
    spectrum = np.fft.rfft2(_noise(key) - 0.5)
    fy, fx = np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None]
    spectrum *= np.exp(-2 * np.pi**2 * ((fy * sigma_y) ** 2 + (fx * sigma_x) ** 2))
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(TILE, TILE))
    return field / field.std()


def _courses(rows: int, columns: int, joint: float, key: int) -> np.ndarray:
    """A staggered bond of bricks or tiles: dark joints, each brick a little different."""
    y, x = np.mgrid[0:TILE, 0:TILE] / TILE
    row = np.floor(y * rows)
    shifted = x * columns + 0.5 * (row % 2)
    v, u = y * rows - row, shifted - np.floor(shifted)
    brick = _noise(key)[row.astype(int), np.floor(shifted).astype(int) % columns]
    return np.where((v < joint) | (u < joint * columns / rows * 0.6), -1.6, 1.4 * brick - 0.1)


def _thicket(key: int, count: int, length: float) -> np.ndarray:
    """Small leaves heaped on each other, each with a lit and a shaded half and a dark rim."""
    numbers = _noise(key)
    out = np.full((TILE, TILE), -1.3)
    for cy, cx, angle, size, light in numbers.reshape(-1)[: 5 * count].reshape(count, 5):
        half = length * (0.7 + 0.6 * size)
        # Only a window around the leaf, wrapped around the tile's edges.
        reach = np.arange(-int(half) - 1, int(half) + 2)
        rows, columns = (int(cy * TILE) + reach) % TILE, (int(cx * TILE) + reach) % TILE
        dy, dx = reach[:, None], reach[None]
        cos, sin = np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)
        along, across = (dx * cos + dy * sin) / half, (dy * cos - dx * sin) / half
        rim = np.abs(across) / np.maximum(0.45 * (1 - along**2), 1e-9)
        leaf = np.where(rim > 0.75, -1.0, np.where(across < 0, 0.9, 0.1)) + 1.1 * (light - 0.5)
        window = np.ix_(rows, columns)
        out[window] = np.where((rim < 1) & (np.abs(along) < 1), leaf, out[window])
    return out


def _layers() -> list[np.ndarray]:
    y, x = np.mgrid[0:TILE, 0:TILE] / TILE
    ridged = -np.abs(_blurred(21, 9, 9)) * 1.5 + 0.9
    return [
        np.zeros((TILE, TILE)),
        0.8 * _blurred(1, 16, 40) + 0.4 * _blurred(2, 7, 15),  # cloud
        0.6 * _blurred(3, 8, 2.2) + 0.6 * _blurred(4, 14, 22) + 0.3 * _blurred(5, 3, 3),  # grass
        np.sin(2 * np.pi * 16 * x + 0.4 * _blurred(6, 20, 6)) + 0.3 * _blurred(7, 4, 4),  # furrow
        0.75 * _thicket(11, 900, 9) + 0.4 * _blurred(12, 7, 7),  # leaf
        0.7 * ridged + 0.5 * _blurred(22, 5, 5),  # rock
        np.where((y * 21) % 1 < 0.3, -1.0, 0.45) + 0.25 * _blurred(23, 2, 12),  # plank
        _courses(21, 18, 0.3, 24),  # tile
        0.8 * _blurred(25, 2.2, 2.2) + 0.4 * _blurred(26, 6, 6),  # grit
        0.9 * _blurred(27, 2.6, 16) + 0.5 * _blurred(28, 6, 40),  # ripple
        0.9 * _blurred(29, 14, 2.0),  # bark
        0.7 * _blurred(30, 5, 5),  # vein
        _thicket(31, 330, 21) + 0.3 * _blurred(32, 20, 20),  # thicket
        _blurred(41, 26, 26),  # thermal
    ]


@functools.cache
def _drawn() -> np.ndarray:
    """The textures as they are drawn: whole numbers, 64 to one standard deviation or so."""
    return np.rint(np.clip(np.stack(_layers()), -3, 3) * 64).astype(np.int64)


@functools.cache
def bank(size: int) -> np.ndarray:
    """The textures for pictures of `size` pixels: (16, 256, 256) int32, 64 to one standard deviation or so.

    Small pictures see the texture averaged over a pixel's footprint, so that it does not alias into noise.
    """
    near = _drawn()
    # The ground toward the horizon: there a pixel sees more of it.
    far = near[[TEXTURES.index("grass"), TEXTURES.index("furrow")]]
    footprint = max(1, round(TILE / size))
    return np.concatenate([_averaged(near, footprint), _averaged(far, round(2.2 * footprint))])


def _averaged(layers: np.ndarray, footprint: int) -> np.ndarray:
    """Each texel's mean over a square of `footprint` texels beside it, around the tile's edges."""
    for axis in (1, 2):
        layers = ndimage.correlate1d(layers, np.ones(footprint), axis, mode="wrap", origin=-(footprint // 2))
        layers = np.roll(layers, -1, axis)
    return (layers // footprint**2).astype(np.int32)
