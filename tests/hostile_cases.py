"""What a hostile file is, and the numbers that the good ones are made of."""

import io
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from handmade import gray_of_color
from PIL import Image


class Case(NamedTuple):
    """One file: a path in the folder, its bytes or what makes it, and the gray of each page.

    The grays are (H, W), sRGB in [0, 1]: None for a damaged file, none at all for one that is no picture.
    With `warns` something of the file can't be used, and one line says so. With `refusable` Pillow knows no
    such kind: it may be refused by name, but it must not come out wrong.
    """

    name: str
    data: bytes | Callable
    pages: tuple | None
    warns: bool = False
    refusable: bool = False


KINDS: list[Callable] = []  # functions, each of which gives some cases

RAMP = np.arange(24).reshape(4, 6) * 11  # 0 to 253
MIDDLE = RAMP // 14 + 90  # where a gamma of 2.2 and the curve of sRGB are nearly the same
WIDE = np.linspace(0, 65535, 24).round().astype(int).reshape(4, 6)
COUNT = np.arange(24).reshape(4, 6)
BITS = COUNT * 5 % 2
# Flat squares of 16 pixels for lossy formats; the same in no way that it can be turned.
PATCHES = np.kron([[20, 90, 200], [130, 60, 250]], np.ones((16, 16), int))


def painted(codes):
    """Colors, as light as that or nearly, within every color space."""
    return np.stack([codes * 0.6 + 62, codes * 0.6 + 40, codes * 0.6 + 25], -1).astype(int)


COLORS, PAINTED = painted(RAMP), painted(PATCHES)


def kinds(function):
    KINDS.append(function)
    return function


def good(name, data, *pages, **about):
    return Case(name, data, tuple(np.asarray(page, float) for page in pages), **about)


def gray(codes, white=255):
    return np.asarray(codes, float) / white


def color(codes, white=255):
    return gray_of_color(gray(codes, white))


def power(gamma):
    return lambda values: np.asarray(values, float) ** gamma


def picture(codes, mode=None):
    """A Pillow image of whole numbers, 8 bits each."""
    image = Image.fromarray(np.ascontiguousarray(codes).astype(np.uint8))
    if mode:
        image = Image.frombytes(mode, image.size, image.tobytes())
    return image


def palette_picture():
    image = picture(COUNT, "P")
    image.putpalette(COLORS.astype(np.uint8).tobytes())
    return image


def deep_picture():
    return Image.fromarray(WIDE.astype(np.uint16))


def saved(image, form, **options):
    """What Pillow writes of an image, or of an array of bytes."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else picture(image)).save(file, form, **options)
    return file.getvalue()


def lossy(pixels, form, within=2, **options):
    """The bytes of a lossy file, and the numbers that it holds: those put in, but for the coding's error."""
    data = saved(pixels, form, **options)
    with Image.open(io.BytesIO(data)) as image:
        held = np.asarray(image).astype(int)
    assert np.abs(held - pixels).max() <= within
    return data, held


jpeg = partial(lossy, form="JPEG", quality=100, subsampling=0)
