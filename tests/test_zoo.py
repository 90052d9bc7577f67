"""Models by name: built for their data, saved, loaded, and those that come with the library."""

import hashlib
import inspect
import itertools
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save_file

import colorlib
from colorlib import metrics, zoo
from colorlib.color import bin_prior, rebalancing_weights, rgb_to_gray, rgb_to_lab, smooth_prior
from colorlib.data import World, photos
from colorlib.models import MODELS
from colorlib.training import Recipe, fit

SMALL = {
    "patch": {"patch": 5, "hidden_size": 8, "neurons": 4},
    "regression": {"width": 8},
    "deep": {"radius": 3, "width": 4},
    "cic": {"width": 4, "mix": 0.7},
    "gan": {"width": 4, "depth": 3, "layers": 1},
    "masked": {"width": 4, "layers": 2, "masks": ["ten", "full"]},
    "photo": {"width": 2, "mix": 0.8},
    "pixcolor": {"backbone": "small", "stride": 2, "width": 8, "blocks": 1, "hidden_channels": 16},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_is_built_saved_and_loaded(name, tmp_path):
    world = World(16)
    before = torch.get_rng_state()
    model = zoo.build(name, world, SMALL[name], seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(model) is zoo.MODELS[name]
    model.image_size = 16
    again = zoo.build(name, world, SMALL[name], seed=3)
    other = zoo.build(name, world, SMALL[name], seed=4)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    assert any(not torch.equal(value, state[key]) for key, value in other.state_dict().items())

    loaded = zoo.load(zoo.save(model, tmp_path / "w.safetensors"))
    assert not loaded.training and loaded.image_size == 16 and loaded.settings == model.settings
    parameters = dict(model.named_parameters())
    for key, value in loaded.state_dict().items():
        wanted = state[key].half().float() if key in parameters else state[key]
        assert value.dtype == state[key].dtype and torch.equal(value, wanted)


@pytest.fixture
def small(tmp_path):
    """A weights file of a few kilobytes."""
    model = zoo.build("patch", World(16), SMALL["patch"])
    return zoo.save(model, tmp_path / "small.safetensors", [{"step": 1, "loss": {"model": 1.0}}])


def altered(path, tensors=None, **about):
    """A file of the first format, which has no checksum, with other metadata or tensors than another file."""
    with open(path, "rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    head = {
        **{key: head[key] for key in ("model", "settings", "image_size")},
        "format": "colorlib weights 1",
        **about,
    }
    tensors = load_file(path) if tensors is None else tensors
    save_file(
        tensors, path.with_name("altered.safetensors"), {key: v for key, v in head.items() if v is not None}
    )
    return path.with_name("altered.safetensors")


def refusal(path):
    """What `load` says of a file: one sentence that names it once."""
    with pytest.raises(ValueError) as caught:
        zoo.load(path)
    return sentence(path, caught.value)


def sentence(path, error):
    said = str(error)
    assert said.count(str(path)) == 1 and len(said) < 600 and "\n" not in said, said
    return said


def test_a_byte_that_changed_is_noticed(small):
    zoo.load(small)
    content = bytearray(small.read_bytes())
    head = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    for place in (*range(0, head, 3), *random.integers(head, len(content), 200)):
        before = content[place]
        content[place] ^= 1 << random.integers(8)
        small.write_bytes(content)
        refusal(small)
        content[place] = before
    small.write_bytes(content)
    zoo.load(small)


def test_shapes_types_and_metadata_are_part_of_the_checksum(small):
    start = small.read_bytes()
    tensors = load(start)  # load_file maps the file, which is written over below
    with open(small, "rb") as file:
        about = json.loads(file.read(int.from_bytes(file.read(8), "little")))["__metadata__"]
    weight = tensors["layers.2.weight"]
    turned = {**tensors, "layers.2.weight": weight.reshape(weight.shape[1::-1] + weight.shape[2:])}
    for other in (turned, {**tensors, "layers.0.bias": tensors["layers.0.bias"].view(torch.bfloat16)}):
        save_file(other, small, about)
        assert "checksum is wrong" in refusal(small)
    for key in about:
        save_file(tensors, small, {**about, key: about[key] + " "})
        assert refusal(small)
        save_file(tensors, small, {name: value for name, value in about.items() if name != key})
        assert refusal(small)
    save_file(tensors, small, about)
    assert zoo.load(small) and len(small.read_bytes()) == len(start)


def test_shipped_files_of_the_first_format_have_their_checksums_beside_them(monkeypatch, tmp_path):
    sums = dict(line.split("  ")[::-1] for line in (zoo.WEIGHTS / "SHA256SUMS").read_text().splitlines())
    for name in zoo.shipped():
        path = zoo.WEIGHTS / f"{name}.safetensors"
        if b'"colorlib weights 1"' in path.read_bytes()[:100_000]:
            assert sums.pop(path.name) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not sums
    name = "gan-world.safetensors"
    content = bytearray((zoo.WEIGHTS / name).read_bytes())
    content[-5] ^= 1
    (tmp_path / name).write_bytes(content)
    (tmp_path / "SHA256SUMS").write_bytes((zoo.WEIGHTS / "SHA256SUMS").read_bytes())
    zoo.load(tmp_path / name)  # such a file of somebody else can't be checked
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    with pytest.raises(ValueError, match="checksum is wrong"):
        zoo.load("gan-world")


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused(wrong, small, tmp_path):
    tensors = load_file(small)
    for name in tensors:
        broken = {**tensors, name: tensors[name].clone()}
        broken[name].view(-1)[0] = wrong
        assert f"not finite: {name}" in refusal(altered(small, broken))
    everything = {name: torch.full_like(value, wrong) for name, value in tensors.items()}
    assert "not finite: " in refusal(altered(small, everything))
    model = zoo.build("cic", World(16), SMALL["cic"])
    for tensor in (model.to_bins.bias.data, model.weights):  # a parameter, a buffer
        before = tensor.clone()
        tensor[3] = wrong
        with pytest.raises(ValueError, match="not finite in half precision: (to_bins.bias|weights)$"):
            zoo.save(model, tmp_path / "w.safetensors")
        tensor.copy_(before)
    assert not (tmp_path / "w.safetensors").exists()


def test_a_later_format_is_named(small):
    for number in (3, 99):
        assert "a newer version of this library wrote it" in refusal(
            altered(small, format=f"colorlib weights {number}")
        )
    assert "a newer version" in refusal(altered(small, settings='{"depth": 3}'))
    for foreign in ("colorlib weights", "colorlib weights 0", "colorlib weights x", "pt", "9" * 5000, None):
        assert refusal(altered(small, format=foreign))


def blocked(*arguments, **settings):
    raise AssertionError("a download")


def flags(kind):
    """Arguments of a class that are true or false."""
    arguments = inspect.signature(kind).parameters.values()
    return [argument.name for argument in arguments if isinstance(argument.default, bool)]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_loading_downloads_nothing_whatever_the_settings_ask_for(name, tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", blocked)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", blocked)
    path = zoo.save(zoo.build(name, World(16), SMALL[name]), tmp_path / "w.safetensors")
    settings = json.loads(zoo._read(path)[0]["settings"])
    before = torch.get_rng_state()
    for flag in flags(zoo.MODELS[name]):
        zoo.load(altered(path, settings=json.dumps({**settings, flag: True})))
    if name == "regression":
        whole = zoo.save(
            zoo.MODELS[name](), tmp_path / "wide.safetensors"
        )  # the shapes of the pretrained one
        assert type(zoo.load(altered(whole, settings='{"pretrained": true}'))) is zoo.MODELS[name]
    torch.set_rng_state(before)
    zoo.load(path)
    assert torch.equal(torch.get_rng_state(), before)


HOSTILE = [10**9 + 1, 2**30, 10**30, 5000, -1, "x", None, 1e9, 1e400, [], [[10**9]], {"a": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.MODELS)
def test_settings_of_any_kind_take_neither_time_nor_memory(name, tmp_path):
    path = zoo.save(zoo.build(name, World(16), SMALL[name]), tmp_path / "w.safetensors")
    settings = json.loads(zoo._read(path)[0]["settings"])
    zoo.load(path)  # what is imported once isn't counted
    arguments = inspect.signature(zoo.MODELS[name]).parameters
    for argument, value in itertools.product(arguments, HOSTILE):
        wrong = altered(path, settings=json.dumps({**settings, argument: value}))
        start, most = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            zoo.load(wrong)  # a weight of the loss, for example, may be anything
        except ValueError as error:
            sentence(wrong, error)
        assert time.process_time() - start < 5, (argument, value)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most < 100_000, (argument, value)  # KiB
    for wrong in (
        "[1]",
        "3",
        "null",
        "{",
        "[" * 100_000,
        '{"a": 1, "b\\n": 2}',
        json.dumps({"x" * 10**6: 1}),
    ):
        refusal(altered(path, settings=wrong))
    for side in ("0", "-1", '"16"', "1.5", "[]", "true"):
        assert "image_size must be" in refusal(altered(path, image_size=side))
    for model in ("unet", "", "x" * 10**6):
        assert "there is no model" in refusal(altered(path, model=model))
    for part in ("model", "settings", "image_size"):
        assert f"it lacks '{part}'" in refusal(altered(path, **{part: None}))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_tensors_that_do_not_fit_are_named(name, tmp_path):
    path = zoo.save(zoo.build(name, World(16), SMALL[name]), tmp_path / "w.safetensors")
    tensors = load_file(path)
    first = next(key for key in sorted(tensors) if tensors[key].is_floating_point())
    if name == "pixcolor":
        one = {"steps": tensors["steps"]}
        assert f"it lacks: {first}, " in (said := refusal(altered(path, one))) and "more" in said
    spare = {f"{k:0100}": torch.zeros(1) for k in range(300)}
    assert "it has besides: 0000" in (said := refusal(altered(path, {**tensors, **spare})))
    assert "and 297 more" in said or len(said) > 300
    for other in (
        torch.zeros(2, 3, 4),
        torch.zeros(tensors[first].shape, dtype=torch.int64),
        torch.zeros(tensors[first].shape, dtype=torch.bool),
    ):
        assert refusal(altered(path, {**tensors, first: other}))
    del tensors[first]
    said = refusal(altered(path, tensors))
    assert f"it lacks: {first}" in said or f"it lacks '{first}'" in said


@pytest.mark.slow
def test_loading_is_quick_and_leaves_what_it_computes_once_as_it_was():
    """A model without memory must not end in what later models are made of, nor load all of torch."""
    code = """
import sys, torch, colorlib.zoo
before = set(sys.modules)
for name in ("cic-world", "pixcolor-world", "gan-world", "masked-flowers-half"):
    model = colorlib.load(name)
    assert all(buffer.device.type == "cpu" for buffer in model.buffers())
    assert torch.isfinite(model.colorize(torch.rand(1, 1, 16, 16))).all()
assert not {"torch._dynamo", "sympy"} & set(sys.modules) - before
assert colorlib.color.ab_bins().device.type == "cpu"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
    noted = [{**lines[0], "scalars": {"a": 1.0, "b": 4.0}}, {**lines[1], "scalars": {"a": 3.0, "b": None}}]
    (entry,) = zoo.history(zoo.save(model, tmp_path / "w.safetensors", noted * 51))[:1]
    assert entry == {"step": 20, "loss": {"player": 1.5}, "scalars": {"a": 2.0}}
    # A run with a second goal went on from one without: no point mixes the two losses.
    told = [{"step": 1510 + k, "loss": {"player": 1e3}, "scalars": {"a": 1.0}} for k in range(10, 600, 10)]
    curve = zoo.history(zoo.save(model, tmp_path / "w.safetensors", [*lines[:151], *told]))
    assert len(curve) == 76 + 59 and curve[75]["step"] == 1510 and "figures" not in curve[75]
    assert curve[76] == {"step": 1520, "loss": {"player": 1000.0}, "scalars": {"a": 1.0}}
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


@pytest.mark.slow
def test_training_can_begin_with_trained_weights(tmp_path):
    world = World(16)
    model = zoo.build("cic", world, {"width": 4, "mix": 0.7}, seed=1)
    path = zoo.save(model, tmp_path / "w.safetensors")
    flowers = World(16, "flowers")
    begun = zoo.build("cic", flowers, {"width": 8, "mix": 0.7}, seed=2, init_from=path)
    assert all(
        torch.equal(p, q.half().float()) for p, q in zip(begun.parameters(), model.parameters(), strict=True)
    )
    fresh = zoo.build("cic", flowers, {"width": 4, "mix": 0.7})
    assert torch.equal(begun.weights, fresh.weights) and not torch.equal(begun.weights, model.weights)
    with pytest.raises(ValueError, match="holds a CIC, not a ResNetRegressor"):
        zoo.build("regression", world, init_from=path)


def test_a_run_is_loaded_with_its_averaged_weights(tmp_path):
    world = World(16)
    model = zoo.build("cic", world, SMALL["cic"])
    model.image_size = 16
    fit(model, world, Recipe(steps=4, batch=2, learning_rate=1e-3, ema=0.5), tmp_path)
    loaded = colorlib.load(tmp_path)
    assert loaded.image_size == 16
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
    gray = rgb_to_gray(world.batch([0]).rgb)
    assert torch.equal(loaded.colorize(gray), model.colorize(gray))


def test_a_run_is_loaded_with_its_newest_whole_checkpoint(tmp_path):
    world = World(16)
    recipe = Recipe(steps=4, batch=2, learning_rate=1e-3, checkpoint_every=2)
    fit(zoo.build("patch", world, SMALL["patch"]), world, recipe, tmp_path)
    older, newest = (tmp_path / f"checkpoint-{step:08}.safetensors" for step in (2, 4))
    wanted = {path: zoo.load(path).state_dict() for path in (older, newest)}  # a checkpoint by itself, too
    content = newest.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    foreign = (zoo.WEIGHTS / "gan-world.safetensors").read_bytes()

    def same(model, path):
        return all(torch.equal(value, wanted[path][key]) for key, value in model.state_dict().items())

    assert same(zoo.load(tmp_path), newest) and not same(zoo.load(older), newest)
    for damaged in (content[:-7], bytes(flipped), foreign, b""):
        newest.write_bytes(damaged)
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.warns(UserWarning, match="checkpoint-00000004.*checkpoint-00000002.safetensors is used"):
            assert same(zoo.load(tmp_path), older)
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    older.write_bytes(b"")
    with pytest.raises(ValueError, match="no whole checkpoint"):
        zoo.load(tmp_path)


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
    (tmp_path / "empty.safetensors").touch()
    whole = (zoo.WEIGHTS / "gan-world.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-1])
    (tmp_path / "head.safetensors").write_bytes(whole[:500])
    (tmp_path / "nested.safetensors").write_bytes((10**5).to_bytes(8, "little") + b"[" * 10**5)
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name in ("text", "empty", "cut", "head", "nested", "foreign", "pipe"):
        refusal(tmp_path / f"{name}.safetensors")
    for wrong, error in (("unet", ValueError), (["cic"], ValueError), (3, ValueError)):
        with pytest.raises(error, match="name must be one of .*patch, "):
            zoo.build(wrong, World(16))
    for wrong in ({"settings": [1]}, {"seed": "1"}, {"settings": {"neurons": "4"}}):
        with pytest.raises(TypeError, match="must be a"):
            zoo.build("patch", World(16), **wrong)
    with pytest.raises(ValueError, match="device must be one of torch's"):
        zoo.load("gan-world", "abacus")


def test_saving_loses_nothing_in_silence(tmp_path):
    model = zoo.build("regression", World(16), {"width": 8})
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        zoo.save(model, tmp_path / "weights.pt")
    with torch.no_grad():
        model.decoder[0].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"not finite in half precision: decoder\.0\.weight"):
        zoo.save(model, tmp_path / "w.safetensors")
    for wrong in ("cic-world", torch.nn.Linear(1, 1), None):
        with pytest.raises(TypeError, match="model must be one of .*PatchMLP, "):
            zoo.save(wrong, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def interrupt(*paths):
    raise KeyboardInterrupt


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    model = zoo.build("patch", World(16), SMALL["patch"])
    path = tmp_path / "w.safetensors"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for before in (None, b"as it was"):
        if before:
            path.write_bytes(before)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (1000, limits[1])
        )  # a real failure, in the middle of a write
        try:
            with pytest.raises(OSError) as caught:
                zoo.save(model, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert str(caught.value).startswith(f"{path} can't be written: ")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", interrupt)
            zoo.save(model, path)
        assert [(each, each.read_bytes()) for each in tmp_path.iterdir()] == [(path, before)] * bool(before)
    for nowhere in (tmp_path / "no" / "w.safetensors", tmp_path / f"{'x' * 300}.safetensors"):
        with pytest.raises(OSError) as caught:
            zoo.save(model, nowhere)
        assert str(caught.value).count(str(nowhere)) == 1


@pytest.mark.slow
def test_every_recipe_builds_its_model():
    for name, kind in MODELS.items():
        for recipe in kind.recipes.values():
            settings = recipe.settings
            wide = settings.get("width", 64) == 64 and name in ("cic", "gan", "masked")
            if settings.get("pretrained") or wide:
                continue  # a download; tens of millions of numbers
            zoo.build(name, World(16), settings)


@pytest.mark.parametrize("name", zoo.shipped())
def test_shipped_weights(name):
    path = zoo.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 10e6
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="device cuda:7 can't be used here: "):
        zoo.load("cic-world", "cuda:7")
