"""The command line: train a model, color pictures with it, measure how good it is."""

from __future__ import annotations

import io
import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from colorlib import _catalog
from colorlib._messages import Failure, note, plain_warnings
from colorlib.coloring import MODEL_HELP, colorize
from colorlib.grading.command import grade
from colorlib.recoloring import transfer
from colorlib.scribbling import scribble

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
# What a model alone understands, such as --temperature, is read when it is known which model it is.
KNOBS = {"ignore_unknown_options": True, "allow_extra_args": True}


@app.callback()
def _messages(context: typer.Context) -> None:
    context.with_resource(plain_warnings())


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
                note(
                    f"pictures in {', '.join(map(str, folder.results))} are left out: they are taken for "
                    "results of training and coloring. To take a folder's, name it itself with --data"
                )
            if folder.others:
                note(Listing([], list(folder.others)).note())
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
        others = [name for name, other in recipes.items() if other.settings.get("pretrained") is not True]
        advice = f"connect to the network, or take a recipe without a download: {', '.join(others)}"
        raise Failure(f"{error.reason}; {advice}") from None
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError, TrainingError) as error:
        raise Failure(error) from None
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
        note(f"{curve} is not written: {reason}")
    if weights is not None:
        try:
            zoo.save(built, weights, lines)
        except (ValueError, OSError) as error:
            raise Failure(f"{error}; the checkpoint is kept, run it again with other --weights") from None
        print(f"{weights} has the weights in half precision.")
    print(f"Color a picture with them: colorlib colorize PICTURE --model {weights or out}")


def _written(paths: list[Path]) -> dict[Path, int]:
    """When some files were written."""
    return {path: path.stat().st_mtime_ns for path in paths}


app.command(context_settings=KNOBS)(colorize)
app.command()(scribble)
app.command()(transfer)


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
        raise Failure(error) from None
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
    print("To train: colorlib train MODEL --recipe RECIPE")
    for name, model in _catalog.models().items():
        print(f"  {name:12} {model.summary}")
        print(f"  {'':12} recipes: {', '.join(model.recipes)}")
        for option in model.options:
            forms, flag = f"--{option.name.replace('_', '-')}", option.kind == "bool"
            forms += f"/{forms.replace('--', '--no-')}" if flag else ""
            default = "" if option.default is None or flag else f" [default: {option.default}]"
            print(f"  {'':12} {forms}: {option.help}{default}")
    print("\nTrained, for --model:")
    for path in _catalog.weights():
        print(f"  {path.stem:27} {path.stat().st_size / 1e6:.1f} MB")
    print(f"\nTheir model cards are in {_catalog.WEIGHTS}.")


app.command()(grade)
