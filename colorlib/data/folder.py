"""Folders of pictures, or zip files of them, as training data."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from colorlib.color import colorfulness

from .pictures import open_picture, picture_files, square

_TRIES = 32  # stand-ins drawn by chance before the pictures are gone through in their order


class Folder:
    """The pictures of a folder and the folders in it, or of a zip file, read in place; or of several.

    ``folder.batch(indices)`` gives squares: the middle of each picture, scaled so that its shorter side is
    `size`. Pictures are numbered by their paths in alphabetical order. A file that can't be read is named in
    a warning, once, and another picture stands in for it; so it is with pictures of too little color. The
    stand-in is drawn by a hash of the index, so what an index gives depends on the files alone, not on what
    was read before.

    A picture is read as :func:`read` does: turned upright, converted to sRGB by its color profile, on white
    where it is transparent. A gray picture has three equal channels.

    Parameters
    ----------
    path : str or Path, or a sequence of them
        A folder or a zip file. Files that begin with a dot are passed over. Of several, the pictures of the
        first come first.
    size : int
        Height and width of what it gives, in pixels, at least 1.
    colorful : float
        Least :func:`colorlib.color.colorfulness` of a picture; 0 takes all. Around 10 leaves out pictures in
        black and white and those nearly so.

    Attributes
    ----------
    names : tuple of str
        The pictures' paths within their folder or zip file, ``/`` between the parts.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    TypeError, ValueError
        If the path has no pictures in it or is no zip file, or another argument is out of its range.
    """

    def __init__(self, path, size: int = 64, colorful: float = 0.0):
        if isinstance(size, bool) or not isinstance(size, int):
            raise TypeError(f"size must be a whole number; got {size!r}")
        if size < 1:
            raise ValueError(f"size must be at least 1; got {size}")
        if isinstance(colorful, bool) or not isinstance(colorful, (int, float)):
            raise TypeError(f"colorful must be a number; got {colorful!r}")
        if not colorful >= 0:
            raise ValueError(f"colorful must be 0 or more; got {colorful}")
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        if not paths:
            raise ValueError("path must name a folder or a zip file; got none")
        self.paths, self.size, self.colorful = tuple(Path(one) for one in paths), size, colorful
        # Each picture: the place of its folder in `paths`, and its name there.
        self._places = [(place, name) for place, one in enumerate(self.paths) for name in picture_files(one)]
        self.names = tuple(name for _, name in self._places)
        self._reset()

    def __repr__(self) -> str:
        # Without the folders above it: the same pictures on another machine are the same data.
        colorful = f", colorful={self.colorful}" if self.colorful else ""
        names = ", ".join(repr(path.name) for path in self.paths)
        names = names if len(self.paths) == 1 else f"[{names}]"
        return f"Folder({names}, size={self.size}{colorful}; {len(self)} pictures)"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Give one picture: a dict with ``"rgb"``, (3, H, W) float32 in [0, 1]."""
        return {name: tensor[0] for name, tensor in self.batch([index]).items()}

    def batch(self, indices, device=None) -> dict[str, Tensor]:
        """Give several pictures at once.

        Parameters
        ----------
        indices : sequence or 1-D integer tensor
            Which ones, from 0 to ``len(folder) - 1``, in any order, repeats allowed.
        device : torch.device or str, optional
            Where they go; the CPU by default.

        Returns
        -------
        dict of Tensor
            ``"rgb"``, (B, 3, size, size) float32 in [0, 1].

        Raises
        ------
        IndexError
            For an index out of range.
        ValueError
            If no picture of the folder can be read, or none is colorful enough.
        """
        if not isinstance(indices, Iterable) or isinstance(indices, str):
            raise TypeError(f"indices must be a sequence of whole numbers; got {type(indices).__name__}")
        numbers = [int(index) for index in indices]
        for number in numbers:
            if not 0 <= number < len(self):
                raise IndexError(f"indices go from 0 to {len(self) - 1}; got {number}")
        if self._threads is None:
            # Pillow decodes and scales outside Python's lock, so threads share the work.
            self._threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="pictures")
        pictures = list(self._threads.map(self._picture_or_stand_in, numbers))
        if not pictures:
            return {"rgb": torch.empty(0, 3, self.size, self.size, device=device)}
        # Sent as bytes, a quarter of the way's load.
        pixels = torch.from_numpy(np.stack(pictures)).to(device or "cpu")
        return {"rgb": pixels.permute(0, 3, 1, 2).contiguous().float() / 255}

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._threads = None
        self._archives: dict[int, zipfile.ZipFile] = {}
        # Remembered so that no file is judged twice; it changes what is done, not what comes out.
        self._unfit: set[int] = set()

    def _open(self, index: int) -> io.BytesIO:
        place, name = self._places[index]
        if self.paths[place].is_dir():
            return io.BytesIO((self.paths[place] / name).read_bytes())
        with self._lock:
            if place not in self._archives:
                self._archives[place] = zipfile.ZipFile(self.paths[place])
            return io.BytesIO(self._archives[place].read(name))

    def __getstate__(self) -> dict:
        # Open files and threads stay behind when it is sent to another process.
        own = ("_lock", "_threads", "_archives", "_unfit")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._reset()

    # From an index to pixels.

    def _picture_or_stand_in(self, index: int) -> np.ndarray:
        for candidate in self._candidates(index):
            if candidate not in self._unfit:
                pixels = self._picture(candidate)
                if pixels is not None:
                    return pixels
                self._unfit.add(candidate)
        wanted = f" with a colorfulness of at least {self.colorful}" if self.colorful else ""
        where = ", ".join(str(path) for path in self.paths)
        raise ValueError(f"none of the {len(self)} pictures in {where} can be read{wanted}")

    def _candidates(self, index: int) -> Iterable[int]:
        """The picture itself, stand-ins drawn by a hash, then all in their order: one has to be fit."""
        yield index
        for attempt in range(_TRIES):
            digest = hashlib.sha256(f"{index}/{attempt}".encode()).digest()
            yield int.from_bytes(digest[:8], "big") % len(self)
        yield from range(len(self))

    def _picture(self, index: int) -> np.ndarray | None:
        """Pixels of a picture, (size, size, 3) uint8; None if it is damaged or not colorful enough."""
        place = self._places[index][0]
        try:
            with open_picture(self._open(index), f"{self.names[index]} in {self.paths[place]}") as image:
                pixels = square(image, self.size)
        except MemoryError:
            raise
        # Pillow's decoders answer a damaged file with errors of many kinds, not all of them documented.
        except Exception as error:
            with self._lock:
                if index not in self._unfit:
                    self._unfit.add(index)
                    warnings.warn(f"{error}; another picture stands in for it", stacklevel=2)
            return None
        if self.colorful:
            rgb = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
            if float(colorfulness(rgb)) < self.colorful:
                return None
        return pixels
