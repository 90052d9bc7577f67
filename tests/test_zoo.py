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
    told = [{"step": 1510 + k, "loss": {"player": 1e3}, "figures": {"a": 1.0}} for k in range(10, 600, 10)]
    curve = zoo.history(zoo.save(model, tmp_path / "w.safetensors", [*lines[:151], *told]))
    assert len(curve) == 76 + 59 and curve[75]["step"] == 1510 and "figures" not in curve[75]
    assert curve[76] == {"step": 1520, "loss": {"player": 1000.0}, "figures": {"a": 1.0}}
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
