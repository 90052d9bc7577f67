"""Coloring of pictures and folders of pictures, the work of ``colorlib colorize``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from colorlib import _catalog
from colorlib._formats import endings
from colorlib._messages import Failure, folder_bar, say
from colorlib.options import knobs_of, split

MODEL_HELP = (
    "A trained model: a name that 'colorlib models' lists, a weights file, or the folder of a training run."
)
VIVID = "rebalance", "temperature"  # the knobs that --vivid stands for


def colorize(
    context: typer.Context,
    pictures: Annotated[list[str], typer.Argument(help="Pictures, or folders of pictures.")],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "photographs",
    out: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Folder for the colored pictures; pictures in it are not colored again."
        ),
    ] = "colored",
    samples: Annotated[
        int,
        typer.Option(
            help="How many colorings of each picture, for pixcolor, which draws them; the files then end in "
            "-1, -2 and so on.",
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Same seed, same colorings.")] = 0,
    image_size: Annotated[
        int | None,
        typer.Option(
            help="Shorter side in pixels at which the model sees the picture. [default: the model's own]"
        ),
    ] = None,
    guided: Annotated[
        bool | None,
        typer.Option(
            "--guided/--no-guided",
            help="Let colors end where the lightness has an edge. [default: the model's own]",
        ),
    ] = None,
    ending: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="ENDING",
            help="Save all as jpg, png, tif, webp or others. [default: each in its own format]",
        ),
    ] = None,
    paper: Annotated[
        bool, typer.Option("--margin/--no-margin", help="Leave an even margin around a picture gray.")
    ] = True,
    vivid: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2,
            help="0 is muted, 1 as the model comes, 2 vivid. For photo and cic: it multiplies the model's "
            "--rebalance, and is the power to which its --temperature is raised.",
        ),
    ] = None,
    strokes: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="The picture with strokes of color painted on it, saved as PNG, or the strokes alone on "
            "transparent ground: what they touch gets their colors. For several pictures, a folder with one "
            "of the same name for each.",
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Write NAME.before-after.jpg, too: a picture and its coloring side by side."
        ),
    ] = False,
    sheet: Annotated[
        bool,
        typer.Option(
            "--sheet",
            help="Write contact-sheet.before-after.jpg, too: all pictures, small, before and after.",
        ),
    ] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Do only what isn't there already.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace pictures that are there already.")] = False,
) -> None:
    """Color pictures. Each keeps its size and its lightness; a picture in color is taken as gray.

    NAME.jpg is colored as NAME.jpg in the folder --out, with what its file says of it, such as date and
    description; a format that can't hold color gives NAME.png. Pages of a file are NAME-page-2 and so on.
    Where two pictures could get the same name, their endings are kept: a.gif.png and a.png.png. A picture
    that can't be colored is named and left out.

    Each model has options of its own, such as --temperature, --rebalance or --mask: 'colorlib models' lists
    them.
    """
    try:
        pictures, asked = split(pictures + context.args)
        for name, texts in (("PICTURES", pictures), ("--out", [out]), ("--model", [model])):
            if "" in texts:
                raise ValueError(f"{name} must be a name or a path; got an empty text")
        if skip and force:
            raise ValueError("--skip keeps what is there, --force replaces it: give one of the two")
        if ending is not None:
            ending = "." + ending.lower().removeprefix(".")
            if ending not in endings():
                known = ", ".join(sorted(known[1:] for known in endings()))
                raise ValueError(f"--format must be one of {known}; got {ending[1:]!r}")
        if samples < 1:
            raise ValueError(f"--samples must be at least 1; got {samples}")
        if vivid is not None and (given := [name for name in VIVID if name in asked]):
            raise ValueError(f"--vivid stands for --{' and --'.join(VIVID)}: leave out --{given[0]}")
        if strokes is not None and not os.path.exists(strokes):
            raise FileNotFoundError(f"--strokes: no picture or folder at {strokes or 'an empty path'}")
        for path in pictures:
            if not os.path.lexists(path):
                raise FileNotFoundError(f"no picture or folder at {path}")
        _catalog.find(model)
    except (ValueError, OSError) as error:
        raise Failure(error) from None
    # What follows needs torch, which takes seconds to load.
    import torch

    from colorlib import __version__, _flow, zoo
    from colorlib.data import saving

    try:
        colorizer = zoo.load(model, "cuda" if torch.cuda.is_available() else "cpu")
        knobs = knobs_of(colorizer, asked)
        knobs |= {} if vivid is None else _vivid(colorizer, vivid)
        masks = {name: knobs.pop(name) for name, value in list(knobs.items()) if isinstance(value, Path)}
        if samples > 1 and not colorizer.draws:
            kind = type(colorizer).__name__
            raise ValueError(
                f"--samples {samples}: a {kind} leaves nothing to chance, they would all be the same"
            )
        knobs |= {"image_size": image_size, "guided": guided}
        chance = _flow.draws(colorizer, seed, knobs)
        found, notes = saving.found(pictures, Path(out))
        for note in notes:
            say(f"colorlib: {note}", sys.stderr)
        if not found:
            where = ", ".join(pictures)
            if os.path.isdir(out) and any(
                os.path.realpath(out) == os.path.realpath(path) for path in pictures
            ):
                raise ValueError(f"pictures in --out, {out}, are taken for results; give another --out")
            raise ValueError(f"there are no pictures in {where}")
        jobs = saving.plan(found, Path(out), samples, ending)
        paired, whole = saving.paired(jobs, Path(out))
        jobs = paired if compare else jobs
        saving.check(jobs, skip or force, [whole] if sheet else [])
        for folder in {target.parent for job in jobs for target in job.targets} | {Path(out)}:
            saving.remove_leftovers(folder)
        try:
            Path(out).mkdir(parents=True, exist_ok=True)  # now, and not after the first picture is colored
        except OSError as error:
            raise ValueError(f"--out {out} can't be made a folder: {error.strerror or error}") from error
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        raise Failure(error) from None
    made_by = f"colorlib {__version__}, model {Path(os.path.abspath(model)).name}"
    sheet = sheet and not (skip and os.path.isfile(whole))
    work = _flow.Work(colorizer, seed, knobs, masks, paper, made_by, sheet, chance)
    work.strokes = None if strokes is None else Path(strokes)
    all_of_them = [_flow.picture(job, skip) for job in jobs]
    skipped = sum(picture.done for picture in all_of_them)
    try:
        with folder_bar(len(jobs)) as step:
            work.run(all_of_them, lambda picture: (_flow.show(picture), step()))
    except KeyboardInterrupt:
        say("colorlib: stopped. The pictures named are whole; --skip goes on with the others", sys.stderr)
        raise typer.Exit(130) from None
    failed = sum(picture.failed for picture in all_of_them)
    if skipped:
        say(f"colorlib: {skipped} of {len(jobs)} pictures were there already", sys.stderr)
    if sheet:
        try:
            if _flow.save_sheet(all_of_them, whole, made_by):
                say(whole)
        except (ValueError, OSError, MemoryError) as error:
            raise Failure(error) from None
    if failed:
        raise Failure(f"{failed} of {len(jobs)} pictures failed")


def _vivid(colorizer, vivid: float) -> dict[str, float]:
    """Rebalancing and temperature of a model for a number from 0, muted, over 1, its own, to 2, vivid."""
    options = {option.name: option.default for option in colorizer.options()}
    if missing := [name for name in VIVID if name not in options]:
        kind, lacks = type(colorizer).__name__, " and ".join(f"--{name}" for name in missing)
        raise ValueError(f"there is no --vivid for this model, a {kind}: it has no {lacks}")
    own = {name: options[name] for name in VIVID}
    own = {name: getattr(colorizer, name) if value is None else value for name, value in own.items()}
    return {"rebalance": own["rebalance"] * vivid, "temperature": own["temperature"] ** vivid}
