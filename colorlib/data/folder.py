"""Folders of pictures, or zip files of them, as training data."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import warnings
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from colorlib._check import device_of, flag, listed, number, whole
from colorlib.color import colorfulness

from .archive import Archive
from .pictures import Listing, listing, open_picture, square

_TRIES = 32  # stand-ins drawn by chance before the pictures are gone through in their order
CURVE = "learning_curve.png"
_RUN = re.compile(r"metrics\.jsonl|checkpoint-\d+\.safetensors")  # what shows that a folder is a run's


class Folder:
    """The pictures of a folder and the folders in it, or of a zip file, read in place; or of several.

    ``folder.batch(indices)`` gives squares: the middle of each picture, scaled so that its shorter side is
    `size`. Pictures are numbered by their paths in alphabetical order. A file that can't be read is named in
    a warning, once, and another picture stands in for it; so it is with pictures of too little color. The
    stand-in is drawn by a hash of the index, so what an index gives depends on the files alone, not on what
    was read before.

    A picture is read as :func:`read` does: turned upright, converted to sRGB by its color profile, on white
    where it is transparent. A gray picture has three equal channels. In a zip file none may be larger than
    512 MiB unpacked.

    Threads may share it, and it may be sent to other processes or used in those that are forked: under
    torch's ``DataLoader``, with any number of workers, ``folder[index]`` gives what it gives here.

    It has `names`, the pictures' paths within their folder or zip file, ``/`` between the parts; `others`,
    the files passed over because they are no pictures by their endings; `results`, the folders passed over
    that have pictures in them; and `unfit`, the numbers of the pictures asked for so far for which others
    stand in. Its `identity` is a hash of the pictures' names and sizes, and in a zip file of their CRCs: the
    same on another machine, and another one where a picture was added, taken away or changed (but for one
    changed in a folder without changing its size). An argument out of its range raises TypeError or
    ValueError.

    Parameters
    ----------
    path : str or Path, or a sequence of them
        A folder or a zip file. Files that begin with a dot are passed over, and so are the folders in it that
        hold a training run. Of several, the pictures of the first come first. Nothing there raises
        FileNotFoundError, no pictures ValueError.
    size : int
        Height and width of what it gives, in pixels, at least 1.
    colorful : float
        Least :func:`colorlib.color.colorfulness` of a picture; 0 takes all. Around 10 leaves out pictures in
        black and white and those nearly so.
    without : sequence of str or Path
        Folders inside that are passed over.
    held_out : bool, optional
        True takes about a tenth of the pictures, for measuring, False all others, for training; None takes
        all. Which tenth is told by a hash of each picture's name, so that it stays the same picture by
        picture whatever else is added to the folder.
    """

    def __init__(
        self,
        path,
        size: int = 64,
        colorful: float = 0.0,
        without=(),
        held_out: bool | None = None,
    ):
        self.size = whole(size, "size", 1, 2**16)
        self.colorful = number(colorful, "colorful", "[0, inf)")
        self.held_out = None if held_out is None else flag(held_out, "held_out")
        self.paths = _paths(path, "path")
        if not self.paths:
            raise ValueError("path must name a folder or a zip file; got none")
        without = {one.resolve() for one in _paths(without, "without")}
        self._zipped = tuple(not one.is_dir() for one in self.paths)
        self._reset()
        # Each picture: the place of its folder in `paths`, its name there, and in a zip file size and CRC.
        self._places: list[tuple[int, str, tuple[int, int] | None]] = []
        results: dict[Path, None] = {}
        others: list[str] = []
        for place, one in enumerate(self.paths):
            found, result_of = listing(one), _Results(one, without)
            kinds = {name: result_of(name) for name in found.names}
            results.update((kind, None) for kind in kinds.values() if kind is not None)
            found = Listing(
                [name for name, kind in kinds.items() if kind is None],
                [name for name in found.others if result_of(name) is None],
            )
            if not found.names:
                raise ValueError(f"no pictures in {one}{_besides(found, kinds.values())}")
            if held_out is not None:
                found = found._replace(names=[n for n in found.names if is_held_out(n) == held_out])
            archive = self._archive(place) if self._zipped[place] else None
            self._places += [(place, name, archive and archive.stamp(name)) for name in found.names]
            others += found.others
        if not self._places:
            kept = "among the tenth held out" if held_out else "left by holding a tenth out"
            raise ValueError(f"no pictures {kept} of {', '.join(map(str, self.paths))}")
        self.names = tuple(name for _, name, _ in self._places)
        self.others, self.results = tuple(others), tuple(results)

    def __repr__(self) -> str:
        # Without the folders above it: the same pictures on another machine are the same data.
        colorful = f", colorful={self.colorful}" if self.colorful else ""
        colorful += "" if self.held_out is None else f", held_out={self.held_out}"
        names = ", ".join(repr(os.path.basename(os.path.abspath(path))) for path in self.paths)
        names = names if len(self.paths) == 1 else f"[{names}]"
        return f"Folder({names}, size={self.size}{colorful}; {len(self)} pictures, {self.identity[:8]})"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Give one picture: a dict with ``"rgb"``, (3, H, W) float32 in [0, 1]."""
        index = whole(index, "index", 0, len(self) - 1, IndexError)
        return {name: tensor[0] for name, tensor in self._batch([index], None).items()}

    def batch(self, indices, device=None) -> dict[str, Tensor]:
        """Give several pictures at once: ``"rgb"``, (B, 3, size, size) float32 in [0, 1], on a device.

        `indices` are a sequence or a 1-D integer tensor, from 0 to ``len(folder) - 1``, in any order, repeats
        allowed; others raise TypeError or IndexError. If no picture of the folder can be read, or none is
        colorful enough, that is a ValueError; OSError if the folder or the zip file itself is gone or can't
        be read any more.
        """
        return self._batch(indices, device)

    @property
    def unfit(self) -> frozenset[int]:
        return frozenset(self._unfit)

    @cached_property
    def identity(self) -> str:
        digest = hashlib.sha256()
        for place, name, stamp in self._places:
            if stamp is None:
                path = self.paths[place] / name
                stamp = path.stat().st_size if path.exists() else -1
            digest.update(f"{place}/{name}\0{stamp}\0".encode(errors="surrogatepass"))
        return digest.hexdigest()

    def _batch(self, indices, device) -> dict[str, Tensor]:
        if isinstance(indices, (Tensor, np.ndarray)):
            indices = indices.tolist()
        indices, device, last = listed(indices, "indices"), device_of(device), len(self) - 1
        numbers = [whole(index, "each of the indices", 0, last, IndexError) for index in indices]
        try:
            # Pillow decodes and scales outside Python's lock, so threads share the work.
            each = self._here().threads.map if len(numbers) > 1 else map
            pictures = list(each(self._picture_or_stand_in, numbers))
        finally:
            # Here and not in the threads, where no line of the caller's is known.
            unsaid = []
            with suppress(IndexError):
                while True:
                    unsaid.append(self._unsaid.popleft())
            for index in sorted(unsaid):
                warnings.warn(f"{self._reasons[index]}; it is left out", stacklevel=3)
        if not pictures:
            return {"rgb": torch.empty(0, 3, self.size, self.size, device=device)}
        # Sent as bytes, a quarter of the way's load.
        pixels = torch.from_numpy(np.stack(pictures)).to(device)
        return {"rgb": pixels.permute(0, 3, 1, 2).contiguous().float() / 255}

    # What is open, and what is known of the files.

    def _reset(self) -> None:
        self._process = _Process()
        # Remembered so that no file is judged twice; it changes what is done, not what comes out.
        self._unfit: set[int] = set()
        self._reasons: dict[int, str] = {}  # why they can't be read
        self._unsaid: deque[int] = deque()

    def __getstate__(self) -> dict:
        # Open files and threads stay behind when it is sent to another process.
        own = ("_process", "_unfit", "_reasons", "_unsaid")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._reset()

    def _here(self) -> _Process:
        """What this process has open."""
        process = self._process
        if process.number != os.getpid():
            # After a fork. What was open before is kept: to close a file could wait for ever, where a thread
            # that there is no more was reading it at that moment.
            _LEFT.append(process)
            process = self._process = _Process()
        return process

    def _archive(self, place: int) -> Archive:
        process = self._here()
        with process.lock:
            if place not in process.archives:
                try:
                    process.archives[place] = Archive(self.paths[place])
                except OSError as error:
                    raise self._gone(place, error) from None
            return process.archives[place]

    def _gone(self, place: int, error: OSError) -> OSError:
        return OSError(f"{self.paths[place]} can't be read any more: {error.strerror or error}")

    def _check_there(self, place: int) -> None:
        """Raise OSError if all of it is gone, as when a drive is taken away: that is no picture's fault."""
        try:
            if self._zipped[place]:
                self.paths[place].stat()
            else:
                with os.scandir(self.paths[place]) as entries:
                    if next(entries, None) is None:
                        raise FileNotFoundError("it is empty")
        except OSError as error:
            raise self._gone(place, error) from None

    # From an index to pixels.

    def _picture_or_stand_in(self, index: int) -> np.ndarray:
        for candidate in self._candidates(index):
            if candidate not in self._unfit:
                pixels = self._picture(candidate)
                if pixels is not None:
                    return pixels
                self._unfit.add(candidate)
        wanted = f" with a colorfulness of at least {self.colorful}" if self.colorful else ""
        where = "" if self._reasons else f" in {', '.join(map(str, self.paths))}"
        why = f": {self._reasons[min(self._reasons)]}" if self._reasons else ""  # one reason is enough
        self._unsaid.clear()
        raise ValueError(f"none of the {len(self)} pictures{where} can be read{wanted}{why}")

    def _candidates(self, index: int) -> Iterable[int]:
        """The picture itself, stand-ins drawn by a hash, then all in their order: one has to be fit."""
        yield index
        for attempt in range(_TRIES):
            digest = hashlib.sha256(f"{index}/{attempt}".encode()).digest()
            yield int.from_bytes(digest[:8], "big") % len(self)
        yield from range(len(self))

    def _picture(self, index: int) -> np.ndarray | None:
        """Pixels of a picture, (size, size, 3) uint8; None if it is damaged or not colorful enough."""
        place, name, stamp = self._places[index]
        path = self.paths[place]
        archive = self._archive(place) if self._zipped[place] else None
        try:
            source = archive.read(name, stamp) if archive else path / name
            with open_picture(source, f"{name} in {path}") as image:
                pixels = square(image, self.size)
        except MemoryError:
            raise
        # Zip files answer damage with errors of many kinds, not all of them documented.
        except Exception as error:
            if isinstance(error, OSError):
                self._check_there(place)
            # What `open_picture` says has the name already.
            said = str(error) if name in str(error) else f"{name} in {path} can't be read: {error}"
            with self._here().lock:
                if index not in self._reasons:
                    self._reasons[index] = said
                    self._unsaid.append(index)
            return None
        if self.colorful:
            rgb = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
            if float(colorfulness(rgb)) < self.colorful:
                return None
        return pixels


def is_held_out(name: str) -> bool:
    """Whether a picture is among the tenth that training doesn't see: by its path, with ``/`` between parts.

    >>> [name for name in ("f.jpg", "g.jpg", "h.jpg", "i.jpg") if is_held_out(name)]
    ['h.jpg']
    """
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return int(digest[:8], 16) < 2**32 // 10


_LEFT: list[_Process] = []


class _Process:
    """What a folder has open in this process: threads, and zip files. A forked process opens its own."""

    def __init__(self):
        self.number = os.getpid()
        self.lock = threading.Lock()
        self.archives: dict[int, Archive] = {}
        self.threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="pictures")


def _paths(value, name: str) -> tuple[Path, ...]:
    alone = isinstance(value, (str, bytes, os.PathLike)) or not isinstance(value, Iterable)
    values = [value] if alone else list(value)
    for one in values:
        if not isinstance(one, (str, os.PathLike)):
            raise TypeError(f"{name} must be a str, a Path or a sequence of them; got {one!r}")
        if not os.fspath(one):
            raise ValueError(f"{name} must name a folder or a zip file; got an empty text")
    return tuple(map(Path, values))


class _Results:
    """Of a file's name in a folder: what the file is a result of, or None for all others.

    That is the folder that it lies in, if it is one of `without` or a run's. Of the folder itself, which was
    asked for, only a run's learning curve is a result.
    """

    def __init__(self, root: Path, without: set[Path]):
        self.root, self.without = root, without
        self.curve = root / CURVE if root.resolve() in without or _is_run(root) else None
        self.folders: dict[str, Path | None] = {"": None}

    def __call__(self, name: str) -> Path | None:
        return self.curve if name == CURVE else self._of_folder(name.rpartition("/")[0])

    def _of_folder(self, folder: str) -> Path | None:
        if folder not in self.folders:
            path, above = self.root / folder, self._of_folder(folder.rpartition("/")[0])
            if above is None and (path.resolve() in self.without or _is_run(path)):
                above = path
            self.folders[folder] = above
        return self.folders[folder]


def _besides(found: Listing, results: Iterable[Path | None]) -> str:
    if where := ", ".join(dict.fromkeys(map(str, results))):
        taken = "taken for results of training and coloring"
        return f" but those in {where}, {taken}: name that folder to use them"
    return f"; {found.note()}" if found.others else ""


def _is_run(folder: Path) -> bool:
    with suppress(OSError), os.scandir(folder) as entries:
        return any(_RUN.fullmatch(entry.name) for entry in entries)
    return False
