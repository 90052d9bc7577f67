"""Color from strokes alone, the work of ``colorlib scribble``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from colorlib._formats import endings
from colorlib._messages import Failure, say


def scribble(
    gray: Annotated[str, typer.Argument(help="A gray picture; one in color is taken as gray.")],
    strokes: Annotated[
        str,
        typer.Argument(
            help="The picture with strokes of color painted on it, saved as PNG, or the strokes alone on "
            "transparent ground."
        ),
    ],
    out: Annotated[str, typer.Option(metavar="FILE", help="Where the colored picture is written.")],
    sharpness: Annotated[
        float,
        typer.Option(
            min=0, max=4, help="How firmly edges of the lightness hold colors back; 1: as published."
        ),
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Replace a picture that is there already.")] = False,
) -> None:
    """Color a picture by strokes: their colors spread, and stop where the lightness has an edge.

    No model is at work (Levin, Lischinski, Weiss: Colorization using Optimization, 2004). What should keep
    its gray needs a gray stroke, lighter or darker than the picture. To let a model color what no stroke
    touches, use: colorlib colorize PICTURE --strokes STROKES
    """
    try:
        for name, text in (("GRAY", gray), ("STROKES", strokes), ("--out", out)):
            if not text:
                raise ValueError(f"{name} must be a name or a path; got an empty text")
        for path in (gray, strokes):
            if not os.path.exists(path):
                raise FileNotFoundError(f"no picture at {path}")
        target = Path(out)
        if target.suffix.lower() not in endings():
            known = ", ".join(sorted(ending[1:] for ending in endings()))
            raise ValueError(f"--out must end in one of {known}; got {target.name!r}")
        if os.path.lexists(target) and any(os.path.samefile(out, path) for path in (gray, strokes)):
            raise ValueError(f"--out {out} is the picture itself; give another name")
        if os.path.lexists(target) and not force:
            raise FileExistsError(f"{out} is there already; --force replaces it")
    except (ValueError, OSError) as error:
        raise Failure(error) from None
    # What follows needs torch, which takes seconds to load.
    from colorlib import __version__, _flow
    from colorlib.classic import propagate
    from colorlib.color.spaces import fitted_rgb, gray_to_lightness
    from colorlib.data import read
    from colorlib.data.metadata import read_metadata
    from colorlib.data.pictures import open_picture
    from colorlib.data.saving import save_image

    try:
        mask, ab = _flow.strokes_on(Path(gray), Path(strokes))
        lightness = gray_to_lightness(read(gray, gray=True)[None]).clamp(0, 100)
        rgb = fitted_rgb(lightness, propagate(lightness, ab, mask, sharpness))
        with open_picture(gray) as image:
            about = read_metadata(image)
        lost = save_image(_flow.as_image(rgb[0]), target, about, f"colorlib {__version__}, scribble")
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError) as error:
        raise Failure(error) from None
    if lost:
        say(f"colorlib: {gray} is colored without {', '.join(sorted(lost))}")
    say(target)
