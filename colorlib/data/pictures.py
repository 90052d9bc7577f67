"""Reading pictures: the one door through which every file of pixels comes in."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from colorlib.color import rgb_to_gray

SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split())


def picture_files(path) -> list[str]:
    """Names of the pictures in a folder and the folders in it, or in a zip file, sorted.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If it is another file, or has no pictures in it.
    """
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
    names = sorted(name for name in files if _is_picture(name))
    if not names:
        raise ValueError(f"no pictures in {path}; looked for names that end in {', '.join(sorted(SUFFIXES))}")
    return names


def read(path, gray: bool = False) -> Tensor:
    """Read a picture at its full size, turned as its EXIF entry says.

    What :class:`Folder` says about animations, transparency and other color modes holds here too.

    Parameters
    ----------
    path : str or Path
        The file.
    gray : bool
        Give the gray picture, by :func:`colorlib.color.rgb_to_gray`, instead of the color picture.

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
    try:
        with Image.open(path) as image:
            pixels = np.array(_to_rgb(ImageOps.exif_transpose(image)))
    except (FileNotFoundError, MemoryError):
        raise
    # As in `Folder`: a damaged file is answered with errors of many kinds.
    except Exception as error:
        raise ValueError(f"{path} is no picture that can be read: {error}") from error
    rgb = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    return rgb_to_gray(rgb) if gray else rgb


def _is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def square(image: Image.Image, size: int) -> np.ndarray:
    # A JPEG can be decoded at a half, a quarter or an eighth, fast; twice the size wanted leaves the filter
    # below enough to average over.
    if image.format == "JPEG":
        image.draft(None, (2 * size, 2 * size))
    image = _to_rgb(ImageOps.exif_transpose(image))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    if side == size:
        image = image.crop(box)
    else:
        image = image.resize((size, size), Image.Resampling.LANCZOS, box=box)
    return np.array(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # More than 8 bits of gray. Pillow's own conversion cuts off at 255.
        values = np.asarray(image).astype(np.float64)
        white = 65535.0 if image.mode.startswith("I") else max(1.0, float(np.nanmax(values)))
        image = Image.fromarray((np.nan_to_num(values / white).clip(0, 1) * 255 + 0.5).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
