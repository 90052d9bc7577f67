"""Color from another picture, the work of ``colorlib transfer``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from colorlib._formats import endings
from colorlib._messages import Failure, say

OUT = typer.Option(metavar="FILE", help="File for the colored picture, such as colored.png.")
FORCE = typer.Option("--force", help="Replace a file that is there already.")
COLORLESS = 0.04  # a picture whose channels differ by no more is taken as gray: JPEG leaves a tint of 0.02


def transfer(
    picture: Annotated[str, typer.Argument(help="A picture, gray or in color.")],
    reference: Annotated[str, typer.Argument(help="A picture in color, whose colors are taken.")],
    out: Annotated[str, OUT],
    force: Annotated[bool, FORCE] = False,
) -> None:
    """Give a picture the colors of another one.

    One in color gets the mean and the deviation of the other's colors (Reinhard and others, 2001). A gray one
    keeps its lightness, and each pixel gets the color of one that is like it in lightness and texture (Welsh
    and others, 2002).
    """
    target = _target(out, force, picture, reference)
    from colorlib import __version__, classic
    from colorlib.color import rgb_to_gray
    from colorlib.data import read
    from colorlib.data.saving import save

    try:
        rgb, other = read(picture), read(reference)
        if (other.amax(0) - other.amin(0)).max() <= COLORLESS:
            raise ValueError(f"{reference} has no colors to take: it is gray")
        if (rgb.amax(0) - rgb.amin(0)).max() <= COLORLESS:
            rgb = classic.match(rgb_to_gray(rgb), other)
        else:
            rgb = classic.transfer(rgb, other)
        _lost(picture, save(rgb, target, _about(picture), f"colorlib {__version__}, transfer"))
    except (ValueError, TypeError, OSError, MemoryError) as error:
        raise Failure(error) from None
    say(target)


def _target(out: str, force: bool, *sources: str) -> Path:
    """The file to write. What stands in its way is said before any work."""
    try:
        target = Path(out)
        if target.suffix.lower() not in endings():
            known = ", ".join(sorted(known[1:] for known in endings()))
            raise ValueError(f"--out must end in one of {known}; got {out!r}")
        for source in sources:
            if not os.path.exists(source):
                raise FileNotFoundError(f"no picture at {source}")
            if os.path.exists(target) and os.path.samefile(source, target):
                raise ValueError(f"--out {out} would replace {source}; choose another name")
        if os.path.isdir(target):
            raise ValueError(f"--out {out} is a folder; name a file")
        if os.path.lexists(target) and not force:
            raise ValueError(f"{out} is there already; choose another --out, or --force to replace")
    except (ValueError, OSError) as error:
        raise Failure(error) from None
    return target


def _about(path: str):
    from colorlib.data.metadata import read_metadata
    from colorlib.data.pictures import open_picture

    with open_picture(path) as image:
        return read_metadata(image)


def _lost(path: str, lost: list[str]) -> None:
    if lost:
        say(f"colorlib: {path} is colored without {', '.join(sorted(lost))}")
