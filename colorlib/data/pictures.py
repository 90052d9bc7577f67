"""Reading pictures: the one door through which every file of pixels comes in.

A file is given as a str or Path, which has to be that of a regular file, as bytes or as a binary file.
Nothing at the path raises FileNotFoundError, and what the system doesn't let open OSError. ValueError is for
what is no picture, or a damaged one, one of more pixels than twice ``PIL.Image.MAX_IMAGE_PIXELS``, or without
the page asked for; MemoryError for one that doesn't fit in memory; TypeError for another argument.
"""

import importlib
import io
import os
import re
import stat
import sys
import threading
import warnings
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageFile, TiffImagePlugin, features
from torch import Tensor

from colorlib._check import came, flag, path_of, whole
from colorlib.color import rgb_to_gray

from . import formats, tiff
from .archive import Archive
from .srgb import to_srgb

# Pillow knows these, but its part of the work is to hand them on to other programs.
_HANDED_ON = frozenset({"EPS", "MPEG"})
_NEEDED = {"JPEG": "jpg", "MPO": "jpg", "PNG": "zlib", "JPEG2000": "jpg_2000", "WEBP": "webp", "AVIF": "avif"}
_AT_ONCE = 2**20  # so many pixels of a large picture are made gray at a time
_HEIC = (".heic", ".heif", ".hif")


# Names.


@cache
def suffixes() -> frozenset[str]:
    """Endings of the formats that the installed Pillow reads, as ".jpg"; HEIC's with pillow-heif."""
    _with_heif()
    Image.preinit()  # the common formats first: each file is tried in this order
    Image.init()
    return frozenset(ending for ending, form in Image.registered_extensions().items() if _reads(form))


def _reads(form: str) -> bool:
    # MPO, several JPEG pictures in one, is opened as JPEG. A stub knows a format's name and no more.
    factory = Image.OPEN.get("JPEG" if form == "MPO" else form, (ImageFile.StubImageFile,))[0]
    stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return not stub and form not in _HANDED_ON and (form not in _NEEDED or features.check(_NEEDED[form]))


@cache
def _with_heif() -> bool:
    """Let Pillow read HEIC where pillow-heif is installed."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


class Listing(NamedTuple):
    """What lies in a folder or a zip file.

    `names` are the pictures: their paths within it, ``/`` between the parts, sorted. `others` are the files
    passed over. Hidden ones, and those that systems leave behind, don't count.
    """

    names: list[str]
    others: list[str]

    def note(self) -> str:
        """A sentence about the files passed over; an empty text where there are none."""
        count = len(self.others)
        heic = sum(name.lower().endswith(_HEIC) for name in self.others) if not _with_heif() else 0
        advice = f"; {heic} of HEIC can be read once pillow-heif is installed" if heic else ""
        files = "1 other file was" if count == 1 else f"{count} other files were"
        return f"{files} passed over{advice}" if count else ""


def listing(path) -> Listing:
    """Find the pictures in a folder and the folders in it, or in a zip file, by their names' endings.

    Links are followed, each folder is gone through once. Only regular files are pictures. A damaged zip file,
    or another file, raises ValueError.
    """
    path = path_of(path, "path")
    if not os.path.lexists(path):
        raise FileNotFoundError(f"no folder or zip file of pictures at {path}")
    if path.is_dir():
        files = dict(_walk(path))
    elif os.path.isfile(path):
        with closing(Archive(path)) as archive:
            files = dict.fromkeys(archive.files, True)
    else:
        raise ValueError(f"path must be a folder or a zip file; {path} is another file")
    files = {name: whole for name, whole in files.items() if not _hidden(name)}
    names = {name for name in files if files[name] and PurePosixPath(name).suffix.lower() in suffixes()}
    return Listing(sorted(names), sorted(files.keys() - names))


def picture_files(path) -> list[str]:
    """Name the pictures in a folder with the folders in it, or in a zip file, sorted; at least one."""
    found = listing(path)
    if not found.names:
        raise ValueError(f"no pictures in {path}" + (f"; {found.note()}" if found.others else ""))
    return found.names


def _walk(top: Path):
    """Each file's path in a folder, and whether it is a regular one. Links to folders come last."""
    seen, waiting, links = set(), [top], []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            yield folder.relative_to(top).as_posix(), False
            continue
        for entry in entries:
            inside = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                waiting += [] if _hidden(entry.name) else [inside]
            elif entry.is_symlink() and inside.is_dir():
                links += [] if _hidden(entry.name) else [inside]
            else:
                regular = os.path.isfile(inside) if entry.is_symlink() else entry.is_file()
                yield inside.relative_to(top).as_posix(), regular


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    junk = parts and parts[-1].lower() in ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
    return junk or any(part.startswith((".", "__MACOSX")) for part in parts)


# Pictures.


class _Refused(ValueError):
    """What is wrong with a picture, said in full."""


@contextmanager
def open_picture(source, name: str | None = None, page: int = 1):
    """Open a picture: a context manager that gives a Pillow image, not yet decoded.

    Whatever reading raises, also in the body of the ``with``, becomes one of the errors above, a sentence
    that calls the picture `name`, or by its path. Pillow's warnings are not shown. `page` is from 1 to
    :func:`pages`. A JPEG file that lacks nothing but its end marker is taken as whole; one that lacks pixels,
    and a progressive one without its end, is refused.
    """
    is_path = isinstance(source, (str, os.PathLike))
    name = name or (os.fspath(source) or "an empty path" if is_path else "the picture")
    page, image = whole(page, "page", 1), None
    if not is_path and not isinstance(source, (bytes, bytearray)) and not hasattr(source, "read"):
        raise TypeError(f"path must be a str, a Path, bytes or a binary file; got {came(source)}")
    if is_path:
        file = _regular(source, name)
    else:
        file = io.BytesIO(source if isinstance(source, (bytes, bytearray)) else _bytes(source, name))
    with file, quiet():
        try:
            image, frames = _open(file)
            if not 1 <= page <= len(frames):
                some = "1 page" if len(frames) == 1 else f"{len(frames)} pages"
                raise _Refused(f"{name} has {some}; there is no page {page}")
            if len(frames) > 1 or frames[0] > 0:
                image.seek(frames[page - 1])
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > 2 * Image.MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError(f"{image.width * image.height} pixels")
            name = f"page {page} of {name}" if page > 1 else name
            image.name, image.pages = name, len(frames)
            image.low = _low_bytes(image, file, frames[page - 1])
            yield image
        except _Refused:
            raise
        except Image.DecompressionBombError as error:
            pixels, limit = int(re.search(r"\d+", str(error))[0]), 2 * Image.MAX_IMAGE_PIXELS
            raise ValueError(
                f"{name} can't be read: it has {pixels / 1e6:.4g} megapixels, more than the limit of "
                f"{limit / 1e6:.4g}; scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS, half of that limit"
            ) from error
        except Exception as error:  # damaged files are answered with errors of many kinds
            if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "alloc" in str(error)):
                size = "" if image is None else f" for its {image.width * image.height / 1e6:.4g} megapixels"
                raise MemoryError(f"{name} can't be read: there is not enough memory{size}") from error
            reason = re.sub(r"<_io\.\w+.*?>", "the file", " ".join(str(error).split()))
            if not reason.startswith(("it ", "its ")):  # Pillow's words, or Python's, as "division by zero"
                reason = f"it is damaged, or of a kind that Pillow doesn't read ({reason})"
            raise ValueError(f"{name} can't be read: {reason}") from error
        finally:
            if image is not None:
                image.close()


def pages(path) -> int:
    """Tell how many pictures a file holds: the pages of a TIFF or DCX file, 1 of any other.

    Previews and masks among a TIFF file's pages don't count: those that are marked as such, and pages of the
    same shape as another one and at most a third of its width. Of an animation the first picture is taken, of
    an icon the largest.
    """
    with open_picture(path) as image:
        return image.pages


def read(path, gray: bool = False, page: int = 1) -> Tensor:
    """Read a picture at its full size, upright and in sRGB: converted by its color profile, cut to 8 bits.

    It is a float32 tensor in [0, 1], (3, H, W); with `gray` (1, H, W), by :func:`colorlib.color.rgb_to_gray`.
    `page` is from 1 to :func:`pages`. Transparency is put on white. Of an animation the first picture is
    taken. Numbers of more than 8 bits, of ink, of Lab or of a palette, with white as 0 or with a sign, are
    read as their file says they are meant.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (3, 2), "white").save(file, "PNG")
    >>> read(file.getvalue()).shape
    torch.Size([3, 2, 3])
    """
    gray = flag(gray, "gray")
    with open_picture(path, page=page) as image:
        image = to_srgb(image, copy=False)
        return gray_tensor(image) if gray else _tensor(image)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255)


def gray_tensor(image: Image.Image, dtype: torch.dtype = torch.float32) -> Tensor:
    """Gray of an image of RGB, a strip of rows at a time: a large picture's colors need much memory."""
    gray = torch.empty(1, image.height, image.width, dtype=dtype)
    rows = max(1, _AT_ONCE // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        red, green, blue = strip.split()
        if (
            red.tobytes() == green.tobytes() == blue.tobytes()
        ):  # then the gray is known, and no number changes
            part = torch.from_numpy(np.array(red))[None].float().div_(255)
        else:
            part = rgb_to_gray(_tensor(strip))
        gray[:, top : top + rows] = part
    return gray


def square(image: Image.Image, size: int) -> np.ndarray:
    """The middle of a picture as a square in sRGB, scaled to `size`: (size, size, 3) uint8."""
    # A JPEG can be decoded at a half, a quarter or an eighth, fast; twice the size wanted leaves the filter
    # below enough to average over.
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (2 * size, 2 * size))
    image = to_srgb(image)
    shorter = min(image.size)
    left, top = (image.width - shorter) // 2, (image.height - shorter) // 2
    box = (left, top, left + shorter, top + shorter)
    lanczos = Image.Resampling.LANCZOS
    return np.array(image.crop(box) if shorter == size else image.resize((size, size), lanczos, box=box))


class _Quiet(threading.local):
    """In place of a pattern in Python's filter of warnings: matches Pillow's modules in a thread that reads.

    ``warnings.catch_warnings`` would change what other threads show, and pictures are read in several.
    """

    depth = 0
    heard = 0  # warnings so far, in this thread

    def match(self, module: str) -> bool:
        matches = self.depth > 0 and module.startswith(("PIL.", "pillow_heif."))
        self.heard += matches
        return matches


_QUIET = _Quiet()
_FILTER = ("ignore", None, Warning, _QUIET, 0)


@contextmanager
def quiet():
    """Keep Pillow's warnings in this thread from being shown; gives what counts them, as ``heard``."""
    if warnings.filters[:1] != [_FILTER]:
        warnings.filters[:] = [_FILTER, *(one for one in warnings.filters if one is not _FILTER)]
    _QUIET.depth += 1
    try:
        yield _QUIET
    finally:
        _QUIET.depth -= 1


def _regular(path, name: str):
    """The open file at a path: Pillow mistakes some that it opens by name, and would wait for a pipe."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISREG(kind):
            return open(path, "rb")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no picture at {name}") from error
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) or os.path.islink(path) and not os.path.exists(path):
            raise ValueError(f"{name} can't be read: {getattr(error, 'strerror', error)}") from error
        raise type(error)(f"{name} can't be opened: {error.strerror}") from error
    what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
    raise ValueError(f"{name} can't be read: it is {what}")


def _bytes(file, name: str) -> bytes:
    try:
        content = file.read()
    except ValueError as error:  # closed, or opened to write
        raise ValueError(f"{name} can't be read: {error}") from error
    if not isinstance(content, (bytes, bytearray)):
        raise TypeError(f"path must be a binary file; this one gives {type(content).__name__}")
    return content


def _open(file) -> tuple[Image.Image, list[int]]:
    """An image, and the numbers of its frames that are pictures of their own."""
    head = file.read(1 << 16)
    file.seek(0)
    if not head:
        raise SyntaxError("it is empty")
    if head[:4] in TiffImagePlugin.PREFIXES:
        frames = tiff.frames(file, head)
        file.seek(0)
        return tiff.Tiff(file), frames
    _with_heif()
    if head[:2] == b"\xff\xd8":
        file = io.BytesIO(_with_end(file.read()))
    try:
        image = Image.open(file)
    except Image.UnidentifiedImageError:
        heic = head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")
        if heic and not _with_heif():
            raise SyntaxError("it is of HEIC, which Pillow reads once pillow-heif is installed") from None
        if head[:4] == b"PK\3\4":
            raise SyntaxError("it is a zip file: data to train with, and no picture") from None
        raise SyntaxError("it is damaged, or of no format that Pillow reads") from None
    if image.format == "FITS" and re.search(rb"BZERO|BSCALE", head):
        raise SyntaxError("its numbers have a scale of their own")
    if image.format == "PNG":
        try:
            image.verify()  # loading doesn't look at the checksums
        except (SyntaxError, OSError) as error:
            if "bad header checksum in b'IDAT'" in str(error):
                raise
        image = Image.open(file)
    formats.note_colors(image, head, file)
    image.head = head
    return image, list(range(image.n_frames)) if image.format == "DCX" else [0]


def _low_bytes(image: Image.Image, file, frame: int) -> Image.Image | None:
    """Of color of 16 bits the lower bytes, as an image: Pillow takes the upper ones, whichever it is told.

    Of a PNG's gray with transparency the four bytes of each pixel: gray's two, and those of opacity.
    """
    words = image.tile[0][3] if getattr(image, "tile", None) else None
    raw = words[0] if isinstance(words, tuple) and words else words
    if not isinstance(raw, str) or not re.fullmatch(r"(RGB|RGBA|RGBX|LA|[RGBA]);16[BLN]", raw):
        return None
    place = file.tell()
    file.seek(0)
    low = type(image)(io.BytesIO(file.read()))
    file.seek(place)
    if frame:
        low.seek(frame)
    low.paired = raw == "LA;16B"
    low.tile = [tile._replace(args=_other_bytes(tile.args)) for tile in low.tile]
    return low


def _other_bytes(words):
    if isinstance(words, tuple):
        return _other_bytes(words[0]), *words[1:]
    if words == "LA;16B":
        return "RGBA"
    return words[:-1] + {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[words[-1]]


def _with_end(data: bytes) -> bytes:
    """A JPEG file with its end marker, where that alone is missing."""
    start = data.rfind(b"\xff\xda")
    if start <= data.rfind(b"\xff\xd9"):
        return data
    try:
        _decoded(data)
        return data
    except OSError:
        pass
    data = data.removesuffix(b"\xff")
    # Where bits are missing, the decoder goes on with those that follow; where none is, these change nothing.
    whole, *others = (_decoded(data + bits + b"\xff\xd9") for bits in (b"", b"\xff\0" * 99, b"\x55" * 99))
    one_scan = data[start + 4] == whole.layers and "progressive" not in whole.info
    if not one_scan or any(other.tobytes() != whole.tobytes() for other in others):
        raise SyntaxError("it is cut short")
    return data + b"\xff\xd9"


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
