"""Models by name: built for their data, saved, loaded, and those that come with the library."""

import pytest
import torch
from safetensors.torch import save_file

import colorlib
from colorlib import metrics, zoo
from colorlib.color import bin_prior, rebalancing_weights, rgb_to_gray, rgb_to_lab, smooth_prior
from colorlib.data import World, photos
from colorlib.training import Recipe, fit, recipes

SMALL = {
    "patch": {"patch": 5, "hidden": 8, "neurons": 4},
    "regression": {"width": 8},
    "cic": {"width": 4, "mix": 0.7},
    "gan": {"width": 4, "depth": 3, "layers": 1},
    "masked": {"width": 4, "layers": 2, "masks": ["ten", "full"]},
    "pixcolor": {"backbone": "small", "reduction": 2, "width": 8, "blocks": 1, "hidden": 16},
}


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_is_built_saved_and_loaded(name, tmp_path):
    world = World(16)
    before = torch.get_rng_state()
    model = zoo.build(name, world, SMALL[name], seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(model) is zoo.MODELS[name]
    model.side = 16
    again = zoo.build(name, world, SMALL[name], seed=3)
    other = zoo.build(name, world, SMALL[name], seed=4)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    assert any(not torch.equal(value, state[key]) for key, value in other.state_dict().items())

    loaded = zoo.load(zoo.save(model, tmp_path / "w.safetensors"))
    assert not loaded.training and loaded.side == 16 and loaded.settings == model.settings
    parameters = dict(model.named_parameters())
    for key, value in loaded.state_dict().items():
        wanted = state[key].half().float() if key in parameters else state[key]
        assert value.dtype == state[key].dtype and torch.equal(value, wanted)


def test_weights_keep_their_learning_curve(tmp_path):
    model = zoo.build("patch", World(16), SMALL["patch"])
    assert zoo.history(zoo.save(model, tmp_path / "none.safetensors")) == []
    lines = [{"step": 10 * k, "loss": {"player": float(k)}, "rate": 1.0} for k in range(1, 251)]
    curve = zoo.history(zoo.save(model, tmp_path / "w.safetensors", lines))
    assert len(curve) == 84 and curve[-1] == {"step": 2500, "loss": {"player": 250.0}}
    assert curve[0] == {"step": 30, "loss": {"player": 2.0}}  # the mean of 1, 2 and 3
    assert zoo.history(zoo.save(model, tmp_path / "w.safetensors", lines[:2])) == [
        {"step": 10, "loss": {"player": 1.0}},
        {"step": 20, "loss": {"player": 2.0}},
    ]
    noted = [{**lines[0], "figures": {"a": 1.0, "b": 4.0}}, {**lines[1], "figures": {"a": 3.0, "b": None}}]
    (entry,) = zoo.history(zoo.save(model, tmp_path / "w.safetensors", noted * 51))[:1]
    assert entry == {"step": 20, "loss": {"player": 1.5}, "figures": {"a": 2.0}}
    # A run with a second goal went on from one without: no point mixes the two losses.
    told = [{"step": 10 * k, "loss": {"player": 1000.0}, "figures": {"a": 1.0}} for k in range(1, 60)]
    curve = zoo.history(zoo.save(model, tmp_path / "w.safetensors", told, lines[:151]))
    assert len(curve) == 76 + 59 and curve[75]["step"] == 1510 and "figures" not in curve[75]
    assert curve[76] == {"step": 1520, "loss": {"player": 1000.0}, "figures": {"a": 1.0}}
    again = zoo.save(model, tmp_path / "again.safetensors", lines[:2], curve)
    assert [line["loss"]["player"] for line in zoo.history(again)[75:77]] == [151.0, 1000.0]
    with pytest.raises(ValueError, match="is a folder"):
        zoo.history(tmp_path)
    with pytest.raises(FileNotFoundError, match="no model 'cic-paintings'"):
        zoo.history("cic-paintings")


def test_a_rebalanced_classifier_knows_its_data():
    world = World(16)
    model = zoo.build("cic", world, {"width": 4, "mix": 0.7})
    indices = torch.linspace(0, 2047, 2048).long().tolist()
    ab = rgb_to_lab(world.batch(indices).rgb)[:, 1:]
    wanted = rebalancing_weights(smooth_prior(bin_prior(ab)), 0.7)
    assert torch.allclose(model.weights, wanted, rtol=1e-3)
    assert (zoo.build("cic", world, {"width": 4}).weights == 1).all()


def test_training_can_begin_with_trained_weights(tmp_path):
    world = World(16)
    model = zoo.build("cic", world, {"width": 4, "mix": 0.7}, seed=1)
    path = zoo.save(model, tmp_path / "w.safetensors")
    flowers = World(16, "flowers")
    begun = zoo.build("cic", flowers, {"width": 8, "mix": 0.7}, seed=2, start=path)
    assert all(
        torch.equal(p, q.half().float()) for p, q in zip(begun.parameters(), model.parameters(), strict=True)
    )
    fresh = zoo.build("cic", flowers, {"width": 4, "mix": 0.7})
    assert torch.equal(begun.weights, fresh.weights) and not torch.equal(begun.weights, model.weights)
    with pytest.raises(ValueError, match="holds a CIC, not a ResNetRegressor"):
        zoo.build("regression", world, start=path)


def test_a_pixcolor_that_training_begins_with_grows(tmp_path):
    world = World(16)
    first = zoo.build("pixcolor", world, {**SMALL["pixcolor"], "kernel": 3}, seed=1)
    path = zoo.save(first, tmp_path / "w.safetensors")
    old = zoo.load(path)
    grown = {"kernel": 5, "attention": 2, "materials": 23, "hidden": 20, "waves": 4}
    for asked, kernel in (({}, 3), ({"kernel": 1}, 3), (grown, 5)):
        before = torch.get_rng_state()
        begun = zoo.build("pixcolor", world, asked, seed=1, start=path)
        assert torch.equal(torch.get_rng_state(), before)
        twin = zoo.build("pixcolor", world, asked, seed=1, start=path)
        assert all(torch.equal(p, q) for p, q in zip(begun.parameters(), twin.parameters(), strict=True))
        gray, rgb = rgb_to_gray(world.batch([0, 1]).rgb), world.batch([0, 1]).rgb
        chroma = old.pixelcnn.values(old.levels(rgb))
        torch.testing.assert_close(
            begun.eval().log_prob(gray, chroma), old.log_prob(gray, chroma), rtol=1e-5, atol=1e-4
        )
        if begun.pixelcnn.recall is not None:
            chance = torch.Generator().manual_seed(0)  # large weights: a loss of them would be noticed
            torch.nn.init.normal_(begun.pixelcnn.recall.out.weight, std=20, generator=chance)
        again = zoo.load(zoo.save(begun, tmp_path / "again.safetensors"))
        for model in (begun, again):
            assert model.settings["kernel"] == kernel
            assert model.settings["attention"] == asked.get("attention", 0)
            assert model.settings["materials"] == asked.get("materials", 0)
            assert (model.condition.segmentation is None) == (asked.get("materials", 0) == 0)
            assert model.settings["waves"] == asked.get("waves", 0)
            assert model.settings["hidden"] == model.pixelcnn.hidden.out_channels
            assert model.settings["hidden"] == max(asked.get("hidden", 0), old.settings["hidden"])
            assert model.pixelcnn.blocks[0].vertical.kernel_size == (kernel // 2 + 1, kernel)
        torch.testing.assert_close(
            again.log_prob(gray, chroma), begun.log_prob(gray, chroma), rtol=1e-3, atol=0.1
        )
        apart = [
            (model.log_prob(gray, chroma) - old.log_prob(gray, chroma)).abs().max()
            for model in (begun, again)
        ]
        assert all((x > 0.5) == (begun.pixelcnn.recall is not None) for x in apart), apart
    deep = {"depth": 6, "fine": 2}
    begun = zoo.build("pixcolor", world, deep, seed=1, start=path).eval()
    assert deep.items() <= begun.settings.items()
    torch.testing.assert_close(begun.log_prob(gray, chroma), old.log_prob(gray, chroma), rtol=1e-5, atol=1e-4)
    larger = {"reduction": 2 * old.reduction, "depth": 6}
    begun = zoo.build("pixcolor", world, larger, seed=1, start=path).eval()
    assert larger.items() <= begun.settings.items() and begun.settings["fine"] == 0
    for asked in ({}, {"reduction": 1, "depth": 2}):  # nothing shrinks
        begun = zoo.build("pixcolor", world, asked, seed=1, start=path)
        assert begun.settings["reduction"] == old.settings["reduction"] and begun.settings["depth"] == 4
    # A marginal changes a little: its gate is never quite shut.
    begun, twin = (
        zoo.build("pixcolor", world, {**grown, "marginal": 6}, seed=1, start=path).eval() for _ in range(2)
    )
    assert all(torch.equal(p, q) for p, q in zip(begun.parameters(), twin.parameters(), strict=True))
    assert begun.settings["marginal"] == begun.pixelcnn.marginal.hidden == 6
    again = zoo.load(zoo.save(begun, tmp_path / "mixed.safetensors"))
    torch.testing.assert_close(
        again.log_prob(gray, chroma), begun.log_prob(gray, chroma), rtol=1e-3, atol=0.1
    )
    off = (begun.log_prob(gray, chroma) - old.log_prob(gray, chroma)).abs()
    assert 0 < off.max() < 0.06 * chroma[0].numel()
    for marginal in (3, 6):  # there are as many, or more
        zoo.build("pixcolor", world, {**grown, "marginal": marginal}, start=tmp_path / "mixed.safetensors")
    with pytest.raises(ValueError, match="a marginal of 6 channels already; got 12 more"):
        zoo.build("pixcolor", world, {**grown, "marginal": 12}, start=tmp_path / "mixed.safetensors")
    for wrong, error in (("6", TypeError), (-1, ValueError)):
        with pytest.raises(error, match=f"marginal must be .*got {wrong!r}"):
            zoo.build("pixcolor", world, {"marginal": wrong}, start=path)
    with pytest.raises(ValueError, match="2 heads of attention already; got 4 more"):
        zoo.build("pixcolor", world, {"attention": 4}, start=tmp_path / "again.safetensors")


def test_the_goals_of_a_pixcolor_are_those_of_the_run_and_not_of_its_first_weights(tmp_path):
    world = World(16)
    taught = {**SMALL["pixcolor"], "cells": "pixel", "materials": 23, "law": "landscape"}
    path = zoo.save(zoo.build("pixcolor", world, taught, seed=1), tmp_path / "w.safetensors")
    loaded = zoo.load(path)
    assert (loaded.settings["materials"], loaded.settings["law"]) == (23, "landscape")
    rgb = world.batch([0, 1]).rgb
    kept = zoo.build("pixcolor", world, taught, seed=2, start=path)
    assert torch.equal(kept.condition.segmentation.weight, loaded.condition.segmentation.weight)
    # Photographs have neither labels nor a law.
    free = zoo.build("pixcolor", world, {}, start=path)
    assert free.condition.segmentation is None and (free.settings["materials"], free.settings["law"]) == (
        0,
        None,
    )
    free.pixelcnn_loss({"rgb": rgb}).backward()
    again = zoo.load(zoo.save(free, tmp_path / "again.safetensors"))
    gray, chroma = rgb_to_gray(rgb), free.pixelcnn.values(free.levels(rgb))
    for model in (kept.eval(), again):
        assert torch.equal(model.log_prob(gray, chroma), loaded.log_prob(gray, chroma))


def test_a_run_is_loaded_with_its_averaged_weights(tmp_path):
    world = World(16)
    model = zoo.build("cic", world, SMALL["cic"])
    model.side = 16
    fit(model, world, Recipe(steps=4, batch=2, learning_rate=1e-3, ema=0.5), tmp_path)
    loaded = colorlib.load(tmp_path)
    assert loaded.side == 16
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    gray = rgb_to_gray(world.batch([0]).rgb)
    assert torch.equal(loaded.colorize(gray), model.colorize(gray))


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model 'cic-paintings'.*"):
        zoo.load("cic-paintings")
    with pytest.raises(ValueError, match="no checkpoints"):
        zoo.load(tmp_path)
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        zoo.load(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no weights of this library"):
        zoo.load(tmp_path / "foreign.safetensors")
    about = {"format": zoo.FORMAT, "model": "cic", "settings": "{}", "side": "null"}
    for broken in ({}, {"model": "unet"}, {"settings": "[1]"}, {"settings": '{"depth": 3}'}):
        metadata = {**about, **broken} if broken else {"format": zoo.FORMAT}
        save_file({"x": torch.zeros(1)}, tmp_path / "broken.safetensors", metadata)
        with pytest.raises(ValueError, match="broken.safetensors holds no whole weights"):
            zoo.load(tmp_path / "broken.safetensors")
    with pytest.raises(ValueError, match="no model 'unet'"):
        zoo.build("unet", World(16))


def test_saving_loses_nothing_in_silence(tmp_path):
    model = zoo.build("regression", World(16), {"width": 8})
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        zoo.save(model, tmp_path / "weights.pt")
    with torch.no_grad():
        model.decoder[0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"decoder\.0\.weight is not finite in half precision"):
        zoo.save(model, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_every_recipe_builds_its_model():
    for name, recipe_names in recipes.names().items():
        for recipe_name in recipe_names:
            settings = recipes.get(name, recipe_name).settings
            wide = settings.get("width", 64) == 64 and name in ("cic", "gan", "masked")
            if settings.get("pretrained") or wide:
                continue  # a download; tens of millions of numbers
            zoo.build(name, World(16), settings)


@pytest.mark.parametrize("name", zoo.shipped())
def test_shipped_weights(name):
    path = zoo.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 8e6
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for part in ("## Data", "## Training", "## Figures", "## Not for", "colorlib train"):
        assert part in card, f"{name}'s model card has no {part}"
    model = colorlib.load(name)
    for photo in photos(["coffee", "astronaut"], max_side=200).values():
        gray = rgb_to_gray(photo)[None]
        colored = model.colorize(gray)[0]
        assert colored.shape[-2:] == photo.shape[-2:]
        assert (rgb_to_gray(colored) - gray).abs().max() < 5e-3  # its own lightness
        assert metrics.mean_chroma(colored) > 2  # not left gray
