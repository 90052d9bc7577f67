"""Coloring of pictures and folders of pictures, the work of ``colorlib colorize``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from colorlib._messages import Failure, bar, say

MODEL_HELP = (
    "A trained model: a name that 'colorlib models' lists, a weights file, or the folder of a training run."
)
SAMPLED_AT_ONCE = 2**25  # so many pixels are colored at once where a picture gets several colorings


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
    import torch

    from colorlib import __version__, zoo
    from colorlib.data import saving
    from colorlib.options import knobs_of, split

    try:
        pictures, asked = split(pictures + context.args)
        for name, texts in (("PICTURES", pictures), ("--out", [out]), ("--model", [model])):
            if "" in texts:
                raise ValueError(f"{name} must be a name or a path; got an empty text")
        if skip and force:
            raise ValueError("--skip keeps what is there, --force replaces it: give one of the two")
        if ending is not None:
            ending = "." + ending.lower().removeprefix(".")
            if ending not in saving.endings():
                known = ", ".join(sorted(known[1:] for known in saving.endings()))
                raise ValueError(f"--format must be one of {known}; got {ending[1:]!r}")
        if samples < 1:
            raise ValueError(f"--samples must be at least 1; got {samples}")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        colorizer = zoo.load(model, device)
        knobs = knobs_of(colorizer, asked)
        masks = {name: knobs.pop(name) for name, value in list(knobs.items()) if isinstance(value, Path)}
        if samples > 1 and not colorizer.draws:
            kind = type(colorizer).__name__
            raise ValueError(
                f"--samples {samples}: a {kind} leaves nothing to chance, they would all be the same"
            )
        knobs |= {"image_size": image_size, "guided": guided}
        colorizer.colorize(torch.full((1, 1, 16, 16), 0.5), seed=seed, **knobs)  # can it be done?
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
        saving.check(jobs, skip or force)
        for folder in {target.parent for job in jobs for target in job.targets} | {Path(out)}:
            saving.remove_leftovers(folder)
        try:
            Path(out).mkdir(parents=True, exist_ok=True)  # now, and not after the first picture is colored
        except OSError as error:
            raise ValueError(f"--out {out} can't be made a folder: {error.strerror or error}") from error
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        raise Failure(error) from None
    made_by = f"colorlib {__version__}, model {Path(os.path.abspath(model)).name}"
    failed = skipped = 0
    try:
        for job in jobs:
            wanted = [
                number for number, path in enumerate(job.targets) if not (skip and os.path.isfile(path))
            ]
            skipped += not wanted
            try:
                if wanted:
                    _color(job, wanted, colorizer, seed, paper, made_by, masks, **knobs)
            except BrokenPipeError:  # nobody reads what is printed
                raise
            except Exception as error:  # one odd picture must not end the others' turn
                say(f"colorlib: {error}", sys.stderr)
                failed += 1
    except KeyboardInterrupt:
        say("colorlib: stopped. The pictures named are whole; --skip goes on with the others", sys.stderr)
        raise typer.Exit(130) from None
    if skipped:
        say(f"colorlib: {skipped} of {len(jobs)} pictures were there already", sys.stderr)
    if failed:
        raise Failure(f"{failed} of {len(jobs)} pictures failed")


def _color(job, wanted: list[int], colorizer, seed: int, paper: bool, made_by: str, masks, **knobs) -> None:
    """Read a picture, color it and save those of its samples that are wanted."""
    import torch

    from colorlib.data import read
    from colorlib.data.margin import margin
    from colorlib.data.metadata import read_metadata
    from colorlib.data.pictures import open_picture
    from colorlib.data.saving import save

    with open_picture(job.source, page=job.page) as image:
        about = read_metadata(image)
    gray = read(job.source, gray=True, page=job.page)
    lost = {*about.broken}
    device = next(colorizer.parameters()).device
    for name, path in masks.items():
        if path.is_dir():
            path = _beside(path, job.source)
        knobs[name] = read(path, gray=True)[None].clamp(0, 1).to(device)  # rounding may carry it past
    at_once = max(1, min(64, SAMPLED_AT_ONCE // gray.numel()))
    try:
        keep = margin(gray) if paper else None
        for start in range(0, len(job.targets), at_once):
            group = range(start, min(start + at_once, len(job.targets)))
            if set(group).isdisjoint(wanted):
                continue
            with bar(job.source.name) as report:
                if "progress" in colorizer.knobs():
                    knobs["progress"] = report
                # Each group has a seed of its own, far from those that people choose.
                drawn_from = (seed + start * 0x9E3779B97F4A7C15) % 2**63
                colored = colorizer.colorize(gray[None].to(device), len(group), drawn_from, **knobs)[:, 0]
            for number, rgb in zip(group, colored, strict=True):
                if number in wanted:
                    rgb = rgb.cpu() if keep is None else torch.lerp(gray, rgb.cpu(), keep)
                    lost.update(save(rgb, job.targets[number], about, made_by))
                    say(job.targets[number])
    except OSError:
        raise  # it names the file
    except Exception as error:
        memory = isinstance(error, MemoryError) or "memory" in str(error)
        size = f"{gray.shape[-1]} x {gray.shape[-2]} pixels"
        reason = f"there is not enough memory for {size}" if memory else error
        raise RuntimeError(f"{job.source} can't be colored: {reason}") from None
    if lost:
        say(f"colorlib: {job.source} is colored without {', '.join(sorted(lost))}", sys.stderr)


def _beside(folder: Path, picture) -> Path:
    """The file of a folder that has a picture's name, whatever its ending."""
    found = sorted(path for path in folder.iterdir() if path.stem == Path(str(picture)).stem)
    if len(found) != 1:
        raise ValueError(f"{folder} must have one file for {picture}; it has {len(found)}")
    return found[0]
