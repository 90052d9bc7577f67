"""Saving pictures: the one door through which every colored picture goes out."""

import hashlib
import io
import os
import secrets
import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from colorlib._files import PARTIAL, write_whole
from colorlib._formats import FORMATS, endings

from .metadata import Metadata, save_options
from .pictures import Listing, listing, pages

LONGEST = 255  # bytes that file systems let a name have
PAIR = ".before-after.jpg"  # ends the names of files that show a picture before and after
_ASIDE = ".colorlib-"  # begins the names of files that are being written
_LEFT = 600  # seconds without a change after which such a file is one that a killed process left


def found(arguments: Iterable[str], out: Path) -> tuple[list[tuple[Path, PurePath]], list[str]]:
    """Find pictures, and those in folders, with their paths below the folder; what is in `out` is none.

    Nor is what shows a picture before and after, by its name; only one that is named itself is colored.
    Gives them as :func:`plan` takes them, and sentences about what was passed over. Nothing at one of the
    paths raises FileNotFoundError.
    """
    pictures, notes, real = [], [], Path(os.path.realpath(out))
    for path in map(Path, arguments):
        if not os.path.isdir(path):
            if not os.path.lexists(path):
                raise FileNotFoundError(f"no picture or folder at {path}")
            pictures.append((path, PurePath(path.name)))
            continue
        kept = [
            [name for name in names if real not in Path(os.path.realpath(path / name)).parents]
            for names in listing(path)
        ]
        kept[1] += [name for name in kept[0] if name.endswith(PAIR)]
        kept[0] = [name for name in kept[0] if not name.endswith(PAIR)]
        pictures += [(path / name, PurePath(name)) for name in kept[0]]
        if note := Listing(*kept).note():
            notes.append(f"{path}: {note}")
    return pictures, notes


class Job(NamedTuple):
    """A picture to color: its file, the page in it, and the files that its colorings go to.

    `pairs` are the files that show it before and after, one for each coloring, where they are wished.
    """

    source: Path
    page: int
    targets: list[Path]
    pairs: tuple[Path, ...] = ()


def plan(
    pictures: Iterable[tuple[Path, PurePath]], out: Path, samples: int = 1, ending: str | None = None
) -> list[Job]:
    """Name the colorings of pictures, no two the same, even for file systems that ignore case.

    NAME.jpg stays NAME.jpg; where a format can't hold color, the ending becomes .png. Further pages of a file
    are NAME-page-2 and so on, samples NAME-1, NAME-2 and so on. A name that two pictures could get goes to
    neither: they keep their old endings before the new ones, or get a hash of their paths where that is not
    enough. So a name that one picture got in an earlier call isn't taken for another's.

    `pictures` are files and their paths below `out`, the folder of the results; `samples` is how many
    colorings each has, `ending` one of :func:`endings` for all of them.
    """
    wishes, claims = {}, defaultdict(set)
    numbers = [""] if samples == 1 else [f"-{number}" for number in range(1, samples + 1)]
    for source, name in pictures:
        old = name.suffix if name.suffix.lower() in endings() else ".png"
        count = 1
        if Image.registered_extensions().get(name.suffix.lower()) in ("TIFF", "DCX"):
            with suppress(OSError, ValueError, MemoryError):  # then it is named when its turn comes
                count = pages(source)
        paged = ("", *(f"-page-{page}" for page in range(2, count + 1)))
        rests = [[f"{page}{number}{ending or old}" for number in numbers] for page in paged]
        whole = os.path.abspath(source)
        digest = hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]
        choices = [
            [[name.with_name(_short(base, rest, digest)) for rest in page] for page in rests]
            for base in (name.stem, name.name, f"{name.stem}-{digest}")
        ]
        wishes.setdefault(whole, (source, choices))
        for path in {path for choice in choices for page in choice for path in page}:
            claims[_key(path)].add(whole)
            for folder in path.parents:
                claims[_key(folder)].add("a folder")
    jobs = []
    for whole, (source, choices) in wishes.items():
        free = (c for c in choices if all(claims[_key(path)] == {whole} for page in c for path in page))
        for page, targets in enumerate(next(free, choices[-1]), 1):
            jobs.append(Job(source, page, [out / target for target in targets]))
    return jobs


def paired(jobs: Iterable[Job], out: Path) -> tuple[list[Job], Path]:
    """Name the files that show each coloring beside its picture: NAME.before-after.jpg, next to NAME.jpg.

    A name that a coloring or another pair has gets a hash of the coloring's path. Beside the jobs with their
    pairs comes the name of the contact sheet in `out`.
    """
    jobs, whole = list(jobs), out / f"contact-sheet{PAIR}"
    taken = {_key(target) for job in jobs for target in job.targets} | {_key(whole)}
    named = []
    for job in jobs:
        pairs = []
        for target in job.targets:
            digest = hashlib.sha256(os.fsencode(target.relative_to(out))).hexdigest()[:12]
            names = _short(target.stem, PAIR, digest), _short(f"{target.stem}-{digest}", PAIR, digest)
            path = target.with_name(names[_key(target.with_name(names[0])) in taken])
            taken.add(_key(path))
            pairs.append(path)
        named.append(job._replace(pairs=tuple(pairs)))
    return named, whole


def check(jobs: Iterable[Job], replace: bool, others: Iterable[Path] = ()) -> None:
    """Look at what is there before any work: at the jobs' results, and at `others` that will be written.

    A result that would replace one of the pictures, by whatever name, or, without `replace`, any file, raises
    ValueError.
    """
    sources, there = set(), []
    for job in jobs:
        with suppress(OSError):  # it is named when its turn comes
            about = os.stat(job.source)
            sources.add((about.st_dev, about.st_ino))
    targets = [path for job in jobs for path in (*job.targets, *job.pairs)]
    for target in filter(os.path.lexists, [*targets, *others]):
        with suppress(OSError):  # a link to nowhere
            about = os.stat(target)
            if (about.st_dev, about.st_ino) in sources:
                message = "would replace a picture that is to be colored; choose another --out"
                raise ValueError(f"{target} {message}")
        there.append(target)
    if there and not replace:
        more = f", and {len(there) - 1} more" if len(there) > 1 else ""
        advice = "choose another --out, or --skip to do what is missing, or --force to replace"
        raise ValueError(f"{there[0]} is there already{more}; {advice}")


def _short(base: str, rest: str, digest: str) -> str:
    """A name that file systems take. A longer one is cut; the hash tells it from others."""
    if len(os.fsencode(base + rest)) <= LONGEST:
        return base + rest
    room = LONGEST - len(os.fsencode(f"-{digest}{rest}"))
    return f"{os.fsencode(base)[:room].decode(errors='ignore')}-{digest}{rest}"


def _key(path: PurePath) -> str:
    """What two paths have in common that may be the same file."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", str(path)).casefold())


def save(rgb: Tensor, path: Path, about: Metadata | None = None, note: str = "") -> list[str]:
    """Save a picture, sRGB in [0, 1], (3, H, W): as :func:`save_image` does, rounded to 8 bits."""
    image = Image.fromarray((rgb * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy())
    return save_image(image, path, about, note)


def save_image(image: Image.Image, path: Path, about: Metadata | None = None, note: str = "") -> list[str]:
    """Save an image of RGB, with what its gray file says about it: whole or not at all.

    `path` ends in one of :func:`endings`; a file that is there is replaced, and its folder is made. `about`
    is from :func:`colorlib.data.metadata.read_metadata`, and `note` is what made the picture, for the entry
    about software. Gives what of the metadata the format can't hold. What can't be written raises OSError.
    """
    ending = path.suffix.lower()
    kind = endings()[ending]
    options, lost = save_options(kind, about or Metadata({}), note, image.size)
    basic = FORMATS[kind] | ({"no_jp2": True} if ending in (".j2k", ".jpc", ".j2c") else {})
    # What is too long or odd for Pillow is found out with a small picture.
    small = Image.new("RGB", (8, 8))
    for name in list(options):
        try:
            _encoded(small, kind, basic | {name: options[name]})
        except Exception:
            lost.append({"exif": "EXIF", "pnginfo": "texts", "tiffinfo": "EXIF"}.get(name, name))
            del options[name]
    try:
        content = _encoded(image, kind, basic | options)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A hidden name, and a short one: the picture's own may be as long as a name can be.
        write_whole(path, content, f"{_ASIDE}{secrets.token_hex(8)}{PARTIAL}")
    except MemoryError:
        raise
    except Exception as error:  # of the system, or of Pillow where a format has a limit
        raise OSError(f"{path} can't be written: {getattr(error, 'strerror', None) or error}") from error
    return lost


def _encoded(image: Image.Image, kind: str, options: dict) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def remove_leftovers(folder: Path) -> None:
    """Remove the files that killed processes left as they wrote in a folder."""
    with suppress(OSError):
        for aside in folder.glob(f"{_ASIDE}*{PARTIAL}"):
            if time.time() - aside.stat().st_mtime > _LEFT:
                aside.unlink()
