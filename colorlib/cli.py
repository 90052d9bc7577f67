"""The command line: train a model, color pictures with it, measure how good it is."""

from __future__ import annotations

import io
import os
import sys
import unicodedata
import warnings
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from colorlib.grading.command import grade

app = typer.Typer(
    name="colorlib",
    help="Train models that color gray pictures, and color pictures with them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # it would swallow the square brackets of the help texts
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DATA_HELP = (
    "Pictures with their colors: a folder, a zip file, or a world that is drawn by the computer, "
    "'world' (landscapes) or 'flowers'. Give it more than once for several folders."
)
MODEL_HELP = (
    "A trained model: a name that 'colorlib models' lists, a weights file, or the folder of a training run."
)
# What a model alone understands, such as --temperature, is read when it is known which model it is.
KNOBS = {"ignore_unknown_options": True, "allow_extra_args": True}
SAMPLED_AT_ONCE = 2**25  # so many pixels are colored at once where a picture gets several colorings


class _Failure(typer.Exit):
    """Ends the command with a message and exit code 1."""

    def __init__(self, error):
        _say(f"colorlib: {error}", sys.stderr)
        super().__init__(1)


@app.callback()
def _messages(context: typer.Context) -> None:
    context.with_resource(_plain_warnings())


@contextmanager
def _plain_warnings():
    """Let the library's warnings look like the command's own messages, without file and line."""
    before = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        # A warning about a picture names the line that asked for it, which may be typer's.
        if category is not UserWarning and Path(__file__).parent not in Path(filename).parents:
            return before(message, category, filename, lineno, file, line)
        _note(message)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def _note(message) -> None:
    from tqdm import tqdm

    tqdm.write(f"colorlib: {message}", file=sys.stderr)  # on a line of its own, where a bar is shown


def _data(sources: list[str], size: int, colorful: float, out: Path | None = None, held_out=None):
    """The data that --data names, without what training to `out` and coloring make."""
    from colorlib.data import Folder, World
    from colorlib.data.pictures import Listing

    kinds = {"world": "landscape", "flowers": "flowers"}
    drawn = [source for source in sources if source in kinds and not Path(source).exists()]
    if not drawn:
        # The two commands' own folders, as they are seen from here and from each folder of pictures.
        made = [Path(source, name) for source in (".", *sources) for name in ("runs", "colored") if source]
        folder = Folder(sources, size, colorful, [*made, out] if out else made, held_out)
        if os.environ.get("RANK", "0") == "0":
            if folder.results:
                _note(
                    f"pictures in {', '.join(map(str, folder.results))} are left out: they are taken for "
                    "results of training and coloring. To take a folder's, name it itself with --data"
                )
            if folder.others:
                _note(Listing([], list(folder.others)).note())
        return folder
    if len(sources) > 1:
        raise ValueError(f"--data {drawn[0]} stands alone: a drawn world can't be mixed with other data")
    if held_out is not None:
        raise ValueError(
            "holding out is for folders and zip files: a drawn world has new pictures without end"
        )
    return World(size, kinds[drawn[0]])


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="What to train: 'colorlib models' lists the names.")],
    data: Annotated[list[str], typer.Option(help=DATA_HELP)] = ["world"],  # noqa: B006 typer reads it only
    recipe: Annotated[
        str,
        typer.Option(help="The settings: 'quick' takes about a minute on a laptop; --show lists the others."),
    ] = "quick",
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Start from these trained weights, to adapt them to your data: as for colorize --model. "
            "Their settings count, and not the recipe's."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Folder for checkpoints and metrics; what lies there is no data. "
            "[default: runs/MODEL-RECIPE]",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="At the end, write the trained weights here too, small, ending in .safetensors."),
    ] = None,
    hold_out: Annotated[
        bool, typer.Option("--hold-out", help="Leave a tenth out, for 'colorlib evaluate --held-out'.")
    ] = False,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print the model's recipes and the settings of this one; train nothing."),
    ] = False,
) -> None:
    """Train a model, or go on with a training run that was stopped.

    Stop it any time, with Ctrl-C or by pulling the plug. The same command goes on from the last checkpoint.

    On several GPUs or machines: accelerate launch -m colorlib train MODEL ...
    """
    from colorlib import zoo
    from colorlib._files import write_whole
    from colorlib.models.regression import DownloadError
    from colorlib.training import TrainingError, checkpoints, fit, history, learning_curve

    try:
        settings = zoo.recipe(model, recipe)
        recipes = zoo.MODELS[model].recipes
        if show:
            print(f"recipes of {model}: {', '.join(recipes)}\n\n{model} {recipe}")
            for field in fields(settings):
                print(f"  {field.name:16} {getattr(settings, field.name)}")
            return
        if weights is not None:
            if weights.suffix != ".safetensors":
                raise ValueError(f"--weights must end in .safetensors; got {weights.name!r}")
            began = () if init_from is None else (Path(init_from), zoo.WEIGHTS / f"{init_from}.safetensors")
            if weights.resolve() in (path.resolve() for path in began):
                raise ValueError(
                    f"--weights would replace {init_from}, which --init-from names; give another name"
                )
            weights.parent.mkdir(parents=True, exist_ok=True)  # now, and not after hours of training
        if out == "":
            raise ValueError("--out must name a folder; got an empty text")
        out = Path("runs", f"{model}-{recipe}") if out is None else Path(out)
        pictures = _data(data, settings.size, settings.colorful, out, False if hold_out else None)
        built = zoo.build(model, pictures, settings.settings, settings.seed, init_from)
        before = _written(checkpoints.listed(out)) if out.is_dir() else {}
        fit(built, pictures, settings, out)
    except DownloadError as error:
        others = [name for name, other in recipes.items() if not other.settings.get("pretrained")]
        advice = f"connect to the network, or take a recipe without a download: {', '.join(others)}"
        raise _Failure(f"{error.reason}; {advice}") from None
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError, TrainingError) as error:
        raise _Failure(error) from None
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes, the first one reports
    curve, lines = out / "learning_curve.png", []
    newest = checkpoints.listed(out)[0]
    done = "It was trained already" if _written([newest]).items() <= before.items() else "Trained"
    try:
        lines, image = history(out), io.BytesIO()
        learning_curve(out).savefig(image)
        write_whole(curve, image.getvalue())
        print(f"{done}. {newest} has the weights, {curve} the learning curve.")
    except Exception as error:  # whatever it is, the weights are there and are not to be lost for it
        reason = getattr(error, "strerror", None) or error
        print(f"{done}. {newest} has the weights.")
        _note(f"{curve} is not written: {reason}")
    if weights is not None:
        try:
            zoo.save(built, weights, lines)
        except (ValueError, OSError) as error:
            raise _Failure(f"{error}; the checkpoint is kept, run it again with other --weights") from None
        print(f"{weights} has the weights in half precision.")
    print(f"Color a picture with them: colorlib colorize PICTURE --model {weights or out}")


def _written(paths: list[Path]) -> dict[Path, int]:
    """When some files were written."""
    return {path: path.stat().st_mtime_ns for path in paths}


@app.command(context_settings=KNOBS)
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
            _say(f"colorlib: {note}", sys.stderr)
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
        raise _Failure(error) from None
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
                _say(f"colorlib: {error}", sys.stderr)
                failed += 1
    except KeyboardInterrupt:
        _say("colorlib: stopped. The pictures named are whole; --skip goes on with the others", sys.stderr)
        raise typer.Exit(130) from None
    if skipped:
        _say(f"colorlib: {skipped} of {len(jobs)} pictures were there already", sys.stderr)
    if failed:
        raise _Failure(f"{failed} of {len(jobs)} pictures failed")


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
            with _bar(job.source.name) as report:
                if "progress" in colorizer.knobs():
                    knobs["progress"] = report
                # Each group has a seed of its own, far from those that people choose.
                drawn_from = (seed + start * 0x9E3779B97F4A7C15) % 2**63
                colored = colorizer.colorize(gray[None].to(device), len(group), drawn_from, **knobs)[:, 0]
            for number, rgb in zip(group, colored, strict=True):
                if number in wanted:
                    rgb = rgb.cpu() if keep is None else torch.lerp(gray, rgb.cpu(), keep)
                    lost.update(save(rgb, job.targets[number], about, made_by))
                    _say(job.targets[number])
    except OSError:
        raise  # it names the file
    except Exception as error:
        memory = isinstance(error, MemoryError) or "memory" in str(error)
        size = f"{gray.shape[-1]} x {gray.shape[-2]} pixels"
        reason = f"there is not enough memory for {size}" if memory else error
        raise RuntimeError(f"{job.source} can't be colored: {reason}") from None
    if lost:
        _say(f"colorlib: {job.source} is colored without {', '.join(sorted(lost))}", sys.stderr)


def _beside(folder: Path, picture) -> Path:
    """The file of a folder that has a picture's name, whatever its ending."""
    found = sorted(path for path in folder.iterdir() if path.stem == Path(str(picture)).stem)
    if len(found) != 1:
        raise ValueError(f"{folder} must have one file for {picture}; it has {len(found)}")
    return found[0]


def _say(text, stream=None) -> None:
    """Print a line, whatever characters are in it and whatever the console can show."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(_plain(text).encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _plain(text) -> str:
    """A text in one line: what would break it, or move the cursor, is escaped."""
    odd = ("Cc", "Cs", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in odd else c for c in str(text))


@contextmanager
def _bar(name: str):
    """A function that shows how many rows are drawn, on a terminal; a picture done leaves no trace of it."""
    from tqdm import tqdm

    with tqdm(desc=_plain(name), unit="row", leave=False, disable=None) as bar:

        def report(done: int, rows: int) -> None:
            bar.total = rows
            bar.update(done - bar.n)

        yield report


@app.command(context_settings=KNOBS)
def evaluate(
    context: typer.Context,
    models: Annotated[list[str], typer.Argument(help=MODEL_HELP + " Or several, for one table.")],
    data: Annotated[list[str], typer.Option(help=DATA_HELP)] = ["world"],  # noqa: B006 typer reads it only
    count: Annotated[int, typer.Option(help="How many pictures, spread evenly over the data.")] = 500,
    size: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels of the squares taken. [default: what the first model learned from]"
        ),
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Take the tenth that 'train --hold-out' leaves out.")
    ] = False,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write the table to a new file.")] = None,
) -> None:
    """Color pictures whose colors are known, and print how near each model comes.

    Beside the models stand what is left gray, the one color that comes nearest when all is painted in it, and
    the truth. What the columns are, the documentation of colorlib.metrics.compare says.

    Each model has options of its own, such as --temperature: 'colorlib models' lists them.
    """
    from csv import writer

    import torch

    from colorlib import metrics, zoo
    from colorlib._files import write_whole
    from colorlib.options import knobs_of, split

    try:
        if count < 1:
            raise ValueError(f"--count must be at least 1; got {count}")
        if csv is not None and (not csv or os.path.lexists(csv)):
            raise ValueError(
                f"--csv must name a new file; {csv!r} is " + ("there already" if csv else "empty")
            )
        names, asked = split([*models, *context.args])
        if len(set(names)) != len(names):
            raise ValueError(f"each MODEL must be named once; got {', '.join(names)}")
        colorizers = {name: zoo.load(name, "cuda" if torch.cuda.is_available() else "cpu") for name in names}
        knobs = {name: knobs_of(colorizer, asked) for name, colorizer in colorizers.items()}
        for name, value in knobs[names[0]].items():
            if isinstance(value, Path):
                raise ValueError(f"--{name} belongs to a single picture: use colorize")
        size = (colorizers[names[0]].image_size or 64) if size is None else size
        pictures = _data(data, size, 0.0, held_out=True if held_out else None)
        total = len(pictures) if hasattr(pictures, "__len__") else count
        indices = torch.linspace(0, total - 1, min(count, total)).long().tolist()
        rows = {}
        for name, colorizer in colorizers.items():
            figures = metrics.evaluate(colorizer, pictures, indices, **knobs[name])
            rows[name] = figures.pop("model")
        rows |= {
            "left gray": figures["gray"],
            "one color": figures["constant"],
            "the truth": figures["truth"],
        }
        if csv is not None:
            table = io.StringIO(newline="")
            writer(table).writerows(
                [["", *metrics.NUMBERS], *([name, *row.values()] for name, row in rows.items())]
            )
            write_whole(Path(csv), table.getvalue().encode())
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
        raise _Failure(error) from None
    unread = sum(index in getattr(pictures, "unfit", ()) for index in indices)
    print(f"{', '.join(names)} on {len(indices) - unread} pictures of {pictures!r}")
    if unread:
        print(f"{unread} of the {len(indices)} chosen can't be read and are left out, see above.")
    wide = max(map(len, rows))
    print(" " * wide + "".join(f"{number:>10}" for number in metrics.NUMBERS))
    for name, row in rows.items():
        print(f"{name:{wide}}" + "".join(f"{row[number]:10.3f}" for number in metrics.NUMBERS))


@app.command()
def models() -> None:
    """List the models that can be trained and the trained ones that come with the library."""
    from colorlib import zoo

    print("To train: colorlib train MODEL --recipe RECIPE")
    for name, kind in zoo.MODELS.items():
        print(f"  {name:12} {kind.__doc__.splitlines()[0]}")
        print(f"  {'':12} recipes: {', '.join(kind.recipes)}")
        for knob in kind.options():
            forms = f"--{knob.name.replace('_', '-')}"
            forms += f"/{forms.replace('--', '--no-')}" if knob.kind is bool else ""
            default = "" if knob.default is None or knob.kind is bool else f" [default: {knob.default}]"
            print(f"  {'':12} {forms}: {knob.help}{default}")
    print("\nTrained, for --model:")
    for name in zoo.shipped():
        print(f"  {name:24} {(zoo.WEIGHTS / (name + '.safetensors')).stat().st_size / 1e6:.1f} MB")
    print(f"\nTheir model cards are in {zoo.WEIGHTS}.")


app.command()(grade)
