"""The command line, as a newcomer uses it."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from colorlib import zoo
from colorlib.cli import app
from colorlib.data import World
from colorlib.training import history, recipes


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def weights(tmp_path):
    model = zoo.build("cic", World(16), {"width": 4}).eval()
    model.side = 16
    return zoo.save(model, tmp_path / "small.safetensors")


def photograph(path, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def short(monkeypatch):
    """The quick recipes, cut to four steps."""
    for name in recipes._RECIPES:
        quick = dataclasses.replace(recipes.get(name), steps=4, warmup=1, batch=2, size=16)
        monkeypatch.setitem(recipes._RECIPES[name], "quick", quick)


def test_help_names_every_command_and_works_as_a_module():
    done = subprocess.run([sys.executable, "-m", "colorlib", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    for command in ("train", "colorize", "evaluate", "models"):
        assert command in done.stdout
    listed = run("models").stdout
    assert all(name in listed for name in (*zoo.MODELS, *zoo.shipped()))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_train_then_color_and_measure(name, short, tmp_path):
    out, weights = tmp_path / "run", tmp_path / "weights" / "w.safetensors"
    result = run("train", name, "--out", out, "--weights", weights)
    assert result.exit_code == 0, result.output
    assert (out / "learning_curve.png").exists()
    assert "Trained. " in result.output
    again = run("train", name, "--out", out)  # finished: nothing is trained again
    assert again.exit_code == 0 and "It was trained already. " in again.output, again.output
    other = run("train", name, "--out", out, "--start", weights)
    assert other.exit_code == 1 and f"start None there, {weights} here" in other.output, other.output
    picture = photograph(tmp_path / "a.jpg")
    for model in (out, weights):
        colored = tmp_path / f"colored by {model.name}"
        result = run("colorize", picture, "--model", model, "--out", colored)
        assert result.exit_code == 0, result.output
        assert Image.open(colored / "a.jpg").size == (40, 30)
    result = run("evaluate", out, "--count", 3)
    assert result.exit_code == 0 and "left gray" in result.output, result.output


def test_weights_that_started_from_others_keep_both_curves(short, tmp_path, monkeypatch):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert run("train", "patch", "--out", tmp_path / "a", "--weights", first).exit_code == 0
    for start, name in ((first, "b"), (tmp_path / "a", "c")):  # from a file, and from a run's folder
        result = run("train", "patch", "--out", tmp_path / name, "--start", start, "--weights", second)
        assert result.exit_code == 0, result.output
        own = history(tmp_path / name)
        before, after = zoo.history(first), zoo.history(second)
        assert before[-1]["step"] == 4 and after[: len(before)] == before
        assert [line["step"] for line in after[len(before) :]] == [4 + line["step"] for line in own]
        assert after[-1]["loss"]["model"] == pytest.approx(own[-1]["loss"]["model"], rel=1e-3)
    (tmp_path / "a" / "metrics.jsonl").unlink()  # its weights are still there to start from
    result = run("train", "patch", "--out", tmp_path / "d", "--start", tmp_path / "a", "--weights", second)
    assert result.exit_code == 0 and len(zoo.history(second)) == len(own), result.output
    saved = first.read_bytes()
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)  # as if the first weights came with the library
    for start in (first, "first"):
        result = run("train", "patch", "--out", tmp_path / "e", "--start", start, "--weights", first)
        assert result.exit_code == 1 and "would replace" in result.output and first.read_bytes() == saved


def test_a_folder_is_data(short, tmp_path):
    for number in range(3):
        photograph(tmp_path / "photos" / f"{number}.png")
    result = run("train", "regression", "--data", tmp_path / "photos", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    # The same directory with other data is another run: refused, not overwritten.
    result = run("train", "regression", "--data", "world", "--out", tmp_path / "run")
    assert result.exit_code == 1 and "holds another run" in result.output


def test_show_prints_the_recipe_and_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "cic", "--recipe", "paper", "--show")
    assert result.exit_code == 0
    for field in dataclasses.fields(recipes.Recipe):
        assert field.name in result.output
    assert "3e-05" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "unet"], "no recipes for the model 'unet'"),
        (["train", "cic", "--recipe", "slow"], "cic has no recipe 'slow'; it has quick"),
        (["train", "cic", "--data", "nowhere"], "no folder or zip file of pictures at nowhere"),
        (["train", "cic", "--weights", "w.pt"], "--weights must end in .safetensors; got 'w.pt'"),
        (["evaluate", "WEIGHTS", "--count", "0"], "--count must be at least 1"),
        (["evaluate", "regression-world", "--rebalance", "1"], "ResNetRegressor, has no --rebalance"),
        (["evaluate", "WEIGHTS", "--top-p", "0.9"], "a CIC, has no --top-p"),
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
        figures[knobs[:1]] = [line for line in result.output.splitlines() if "the model" in line]
    # So small a share leaves the likeliest level alone, and so cold a draw takes it.
    assert figures["--top-p",] == figures["--temperature",] != figures[()]


def test_help_tells_the_defaults_that_depend_on_the_model():
    # Lines may break anywhere.
    assert "[default:runs/MODEL-RECIPE]" in "".join(run("train", "--help").stdout.split())
    assert "[default:themodel'sown]" in "".join(run("colorize", "--help").stdout.split())
