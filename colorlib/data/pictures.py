"""Reading pictures: the one door through which every file of pixels comes in."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from colorlib.color import rgb_to_gray


class Listing(NamedTuple):
    """What lies in a folder or a zip file: the pictures, sorted by name, and the files that are none."""

    names: list[str]
    others: list[str]


@cache
def suffixes() -> frozenset[str]:
    """The endings of the formats that the installed Pillow reads, in small letters, each with its dot."""
    return frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())


def picture_files(path) -> list[str]:
    """Names of the pictures in a folder and the folders in it, or in a zip file, sorted.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If it is another file, or has no pictures in it.
    """
    found = listing(path)
    if not found.names:
        raise ValueError(f"no pictures in {path}")
    return found.names


def listing(path) -> Listing:
    """The pictures in a folder and the folders in it, or in a zip file, and the files passed over."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no folder or zip file of pictures at {path}")
    if path.is_dir():
        files = [
            Path(folder, file).relative_to(path).as_posix()
            for folder, _, files in os.walk(path)
            for file in files
        ]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    else:
        raise ValueError(f"path must be a folder or a zip file; {path} is another file")
    files = sorted(name for name in files if not _hidden(name))
    names = [name for name in files if PurePosixPath(name).suffix.lower() in suffixes()]
    return Listing(names, [name for name in files if name not in set(names)])


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


@contextmanager
def open_picture(source, name=None, page: int = 1):
    """A Pillow image of a file's picture, for a ``with`` statement; what goes wrong in it names the file.

    Parameters
    ----------
    source : str, Path, bytes or binary file
        A regular file, or what was read from one.
    name : str, optional
        What messages call it; the path by default.
    page : int
        Which of its pages, from 1.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If it is no picture, or a damaged one.
    """
    named = isinstance(source, (str, os.PathLike))
    name = (os.fspath(source) if named else "a picture") if name is None else name
    if named:
        if not stat.S_ISREG(os.stat(source).st_mode):
            raise ValueError(f"{name} is no regular file")
        source = Path(source).read_bytes()
    data = source if isinstance(source, bytes) else source.read()
    try:
        with Image.open(io.BytesIO(data)) as image:
            if page > 1:
                image.seek(page - 1)
            yield image
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{name} can't be read: {error}") from error


def pages(path) -> int:
    """How many pictures a file holds: the pages of a TIFF or DCX file; one of any other."""
    with open_picture(path) as image:
        return getattr(image, "n_frames", 1) if image.format in ("TIFF", "DCX") else 1


def read(path, gray: bool = False, page: int = 1) -> Tensor:
    """Read a picture at its full size, turned as its EXIF entry says.

    What :class:`Folder` says about animations, transparency and other color modes holds here too.

    Parameters
    ----------
    path : str or Path
        The file.
    gray : bool
        Give the gray picture, by :func:`colorlib.color.rgb_to_gray`, instead of the color picture.
    page : int
        Which page of a file of several, from 1 to :func:`pages`.

    Returns
    -------
    Tensor
        sRGB in [0, 1], float32, (3, H, W), or (1, H, W) with `gray`.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If it is no picture, or a damaged one.
    """
    with open_picture(path, page=page) as image:
        pixels = np.array(to_srgb(image))
    rgb = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return rgb_to_gray(rgb) if gray else rgb


def square(image: Image.Image, size: int) -> np.ndarray:
    # A JPEG can be decoded at a half, a quarter or an eighth, fast; twice the size wanted leaves the filter
    # below enough to average over.
    if image.format == "JPEG":
        image.draft(None, (2 * size, 2 * size))
    image = to_srgb(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        image = image.crop(box)
    else:
        image = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
    return np.array(image)


def to_srgb(image: Image.Image) -> Image.Image:
    """An upright sRGB image of 8 bits, mode RGB, transparency put on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        # More than 8 bits of gray. Pillow's own conversion cuts off at 255.
        values = np.asarray(image).astype(np.float64)
        white = 65535.0 if image.mode.startswith("I") else max(1.0, float(np.nanmax(values)))
        image = Image.fromarray((np.nan_to_num(values / white).clip(0, 1) * 255 + 0.5).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
