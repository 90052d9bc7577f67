"""The GAN with masks: eleven layers, the mask loss, masks drawn from the pictures' seeds."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from colorlib.color import rgb_to_lab
from colorlib.data import World, masks
from colorlib.models import MaskedGAN, discriminator_loss, generator_loss
from colorlib.training import Recipe, fit, history
from colorlib.training.batches import Batches

TINY = {"width": 4, "layers": 2}
RECIPE = Recipe(steps=7, batch=4, learning_rate=1e-3, checkpoint_every=3, log_every=2, flip=True)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def tiny(seed=0, **settings):
    torch.manual_seed(seed)
    return MaskedGAN(**{**TINY, **settings})


def vivid(model):
    """Give strong colors without training."""
    with torch.no_grad():
        for layer in model.generator.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.weight.mul_(10)
    return model


# The networks.


def test_the_generator_has_eleven_layers_joined_in_symmetry():
    with torch.device("meta"):
        network = MaskedGAN().generator
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    layers = [layer for layer in network.modules() if isinstance(layer, kinds)]
    # The module list has the middle last; order them as the picture goes.
    down, up = layers[:5], [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d)]
    middle = [layer for layer in layers[5:] if isinstance(layer, nn.Conv2d)]
    assert (len(layers), len(down), len(middle), len(up)) == (11, 5, 1, 5)
    assert [layer.out_channels for layer in (*down, *middle, *up)] == [
        *(64, 128, 256, 512, 512),
        512,
        *(512, 256, 128, 64, 2),
    ]
    assert network.down[0][0].in_channels == 2  # lightness and mask
    # Layer k is joined with layer 12 - k: what comes in is the map below and the one beside, k's own.
    below = [512, 512, 256, 128, 64]
    assert [layer.in_channels for layer in up] == [
        width + layer.out_channels for width, layer in zip(below, reversed(down), strict=True)
    ]


def test_each_joint_carries_the_map_of_its_size():
    model, sizes = tiny(), []
    for layer in model.generator.up:
        layer.register_forward_hook(lambda _, inputs, output: sizes.append(inputs[0].shape[-1]))
    beside = {}
    for place, layer in enumerate(model.generator.down):
        layer.register_forward_hook(lambda _, i, output, place=place: beside.update({place: output}))
    for place, layer in enumerate(model.generator.up):

        def check(_, inputs, output, place=place):
            width = beside[4 - place].shape[1]
            assert torch.equal(inputs[0][:, -width:], beside[4 - place])

        layer.register_forward_hook(check)
    model.eval()(noise(2, 1, 64, 64) * 100, noise(2, 1, 64, 64))
    assert sizes == [2, 4, 8, 16, 32]


def test_the_discriminator_is_like_the_way_down_and_gives_one_score():
    with torch.device("meta"):
        model = MaskedGAN()
    down = [layer for layer in model.generator.down.modules() if isinstance(layer, nn.Conv2d)]
    layers = [layer for layer in model.discriminator.layers if isinstance(layer, nn.Conv2d)]
    shape = [(layer.out_channels, layer.kernel_size, layer.stride, layer.padding) for layer in layers]
    assert shape == [(layer.out_channels, layer.kernel_size, layer.stride, layer.padding) for layer in down]
    assert layers[0].in_channels == 4  # lightness, a, b and mask
    assert tiny().discriminator(noise(3, 4, 40, 56)).shape == (3, 1, 1, 1)


# The losses.


@pytest.mark.parametrize("truth", ["masked", "colored"])
@pytest.mark.parametrize("kind", ["vanilla", "lsgan", "hinge"])
@pytest.mark.parametrize("mask_loss", ["l2", "huber"])
def test_the_losses_are_their_formulas(truth, kind, mask_loss):
    model = tiny(adversarial=kind, truth=truth, mask_loss=mask_loss, mask_weight=3.0, l1=2.0, delta=0.15)
    vivid(model).eval()
    rgb, mask = noise(2, 3, 32, 32), noise(2, 1, 32, 32, seed=1)
    lab = rgb_to_lab(rgb)
    ab, lightness = lab[:, 1:] / 110, lab[:, :1] / 50 - 1
    true = ab * mask if truth == "masked" else ab
    with torch.no_grad():
        painted = model(lab[:, :1], mask) / 110
        real, fake = (model.discriminator(torch.cat([lightness, c, mask], 1)) for c in (true, painted))
    error = (painted - ab * mask).double().abs()  # wanted: color inside, gray outside
    assert (error > 0.15).any() and (error < 0.15).any()
    if mask_loss == "l2":
        each = error**2
    else:
        each = torch.where(error < 0.15, error**2, 0.15 * (2 * error - 0.15))
    cost = each.sum() / (2 * 32 * 32)  # the mean over pixels
    batch = {"rgb": rgb, "mask": mask}
    wanted = generator_loss(fake, kind) + 3 * cost + 2 * (painted - true).abs().mean()
    loss, parts = model.generator_loss(batch)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert parts["mask"].item() == pytest.approx(cost.item(), rel=1e-4)
    assert list(parts) == ["adversarial", "mask", "l1"]
    loss, parts = model.discriminator_loss(batch)
    assert loss.item() == pytest.approx(discriminator_loss(real, fake, kind).item(), rel=1e-4)
    assert list(parts) == ["accuracy"]


def test_huber_is_the_square_up_to_delta_and_straight_beyond():
    square, huber = tiny(), tiny(mask_loss="huber", delta=0.1)
    zero = torch.zeros(1, 2, 1, 1)

    def at(model, error):
        return model.mask_cost(zero + error, zero).item()

    assert at(huber, 0.05) == pytest.approx(at(square, 0.05))
    assert at(huber, 0.1) == pytest.approx(at(square, 0.1))
    steps = [at(huber, error) for error in (0.3, 0.4, 0.5)]
    assert steps[2] - steps[1] == pytest.approx(steps[1] - steps[0], rel=1e-4)
    assert steps[2] < at(square, 0.5)


def test_players_are_two_and_share_nothing():
    model = tiny()
    players = model.players()
    assert list(players) == ["discriminator", "generator"]
    owned = [id(p) for own, *_ in players.values() for p in own]
    assert len(owned) == len(set(owned)) == len(list(model.parameters()))
    batch = {"rgb": noise(2, 3, 32, 32), "seed": torch.tensor([1, 2])}
    model.discriminator_loss(batch)[0].backward()
    assert all(p.grad is None for p in players["generator"][0])
    model.generator_loss(batch)[0].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    with pytest.raises(NotImplementedError, match="two losses"):
        model.loss(batch)


# Masks in training.


def test_masks_come_from_the_pictures_seeds():
    world = World(16)
    recipe = dataclasses.replace(RECIPE, batch=8)
    whole = Batches(world, recipe, torch.device("cpu"))
    halves = [Batches(world, recipe, torch.device("cpu"), process, 2) for process in (0, 1)]
    model = tiny(masks=["ten", "noise", "segments", "strokes"])
    seen = []
    for step in (3, 0):
        (batch,) = whole(step)
        seen.append(model.batch_masks(batch))
        assert torch.equal(seen[-1], model.batch_masks(batch))  # both players see the same
        wanted = masks.draw(batch["seed"], 16, model.masks, batch["material"])
        assert torch.equal(seen[-1], wanted)
        # Another number of processes changes nothing.
        parts = [model.batch_masks(half(step)[0]) for half in halves]
        assert torch.equal(torch.cat(parts), seen[-1])
    assert not torch.equal(*seen)
    for batches in (whole, *halves):
        batches.close()
    batch = {"rgb": noise(2, 3, 8, 8)}
    with pytest.raises(ValueError, match="must have 'seed' or 'mask' beside 'rgb'; it has rgb"):
        model.generator_loss(batch)
    with pytest.raises(ValueError, match="'segments' need labels"):
        model.generator_loss({**batch, "seed": torch.tensor([1, 2])})


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path):
    world = World(16)
    kinds = {"masks": ["ten", "rectangles", "segments"]}
    whole = fit(tiny(1, **kinds), world, RECIPE, tmp_path / "whole")
    seen = []

    class Stopped(MaskedGAN):
        def batch_masks(self, batch):
            seen.append(super().batch_masks(batch))
            if len(seen) == 2 * 5 + 1:
                raise KeyboardInterrupt
            return seen[-1]

    torch.manual_seed(1)
    Stopped.__name__ = "MaskedGAN"  # the name is what a checkpoint knows the model by
    with pytest.raises(KeyboardInterrupt):  # in its sixth step; the last checkpoint is of the third
        fit(Stopped(**TINY, **kinds), world, RECIPE, tmp_path / "parts")
    assert all(torch.equal(one, other) for one, other in zip(seen[:10:2], seen[1:10:2], strict=True))
    model = fit(tiny(2, **kinds), world, RECIPE, tmp_path / "parts")
    state = whole.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    lines = [
        [{key: value for key, value in line.items() if key != "seconds"} for line in history(tmp_path / name)]
        for name in ("whole", "parts")
    ]
    assert lines[0] == lines[1] and set(lines[0][0]["scalars"]) == {"accuracy", "adversarial", "mask", "l1"}


# As a colorizer.


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 23), (64, 64)])
def test_any_size_in_that_size_and_lightness_out(size):
    model, gray = vivid(tiny()), noise(2, 1, *size)
    nn.init.constant_(model.generator.up[-1][0].bias, 0.2)
    for mask in (None, noise(2, 1, *size, seed=1), noise(1, 1, *size, seed=2) > 0.5):
        rgb = model.colorize(gray, samples=2, mask=mask)
        assert rgb.shape == (2, 2, 3, *size) and torch.equal(rgb[0], rgb[1])
        lab = rgb_to_lab(rgb)
        assert (lab[:, :, :1] - rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]).abs().max() < 0.1
        assert lab[:, :, 1:].abs().max() > 5
    batch = {"rgb": noise(2, 3, *size), "seed": torch.tensor([1, 2])}
    assert model.discriminator_loss(batch)[0].isfinite() and model.generator_loss(batch)[0].isfinite()


def test_the_mask_reaches_the_network():
    model, gray = vivid(tiny()), noise(2, 1, 32, 32)
    ones, left = torch.ones(2, 1, 32, 32), masks.ten(32, ["left half"])
    everywhere = model.colorize(gray)
    assert torch.equal(model.colorize(gray, mask=ones), everywhere)
    assert torch.equal(model.colorize(gray, mask=ones.bool()), everywhere)
    halved = model.colorize(gray, mask=left)
    assert not torch.allclose(halved, everywhere, atol=1e-3)
    assert torch.equal(model.colorize(gray, mask=left.expand(2, -1, -1, -1)), halved)
    torch.testing.assert_close(model.colorize(gray.double(), mask=left).float(), halved, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(64, 64), (61, 97)])
def test_a_mask_is_reduced_with_its_picture(size):
    model, seen = vivid(tiny()), []
    model.image_size = 32
    forward = model.generator.forward
    model.generator.forward = lambda x: seen.append(x) or forward(x)
    mask = masks.ten(size, ["left half"])
    rgb = model.colorize(noise(1, 1, *size), mask=mask)
    assert rgb.shape[-2:] == size
    small = seen[0][:, 1:]
    assert min(small.shape[-2:]) == 32 and small.min() >= 0 and small.max() <= 1
    assert small.mean() == pytest.approx(mask.mean().item(), abs=0.01)
    edge = small.shape[-1] // 2
    left, right = small[..., : edge - 1], small[..., edge + 2 :]
    assert torch.allclose(left, torch.ones_like(left)) and torch.allclose(right, torch.zeros_like(right))


def test_state_and_settings_come_back():
    model = tiny(masks="left half", mask_loss="huber", truth="colored")
    again = MaskedGAN(**model.settings)
    again.load_state_dict(model.state_dict())
    gray = noise(1, 1, 20, 20)
    assert torch.equal(again.colorize(gray), model.colorize(gray)) and again.settings == model.settings
    small = MaskedGAN.small(masks=["ten", "full"], truth="colored")
    assert small.masks == ("ten", "full") and small.truth == "colored" and small.settings["width"] == 16


@pytest.mark.parametrize(
    "mask, error, message",
    [
        (0.5, TypeError, "mask must be a torch.Tensor; got float"),
        (torch.ones(2, 1, 8, 8, dtype=torch.int64), TypeError, "mask must be float.*; got torch.int64"),
        (torch.ones(2, 1, 8, 9), ValueError, r"pictures' size, \(2, 1, 8, 8\); got \(2, 1, 8, 9\)"),
        (torch.ones(8, 8), ValueError, r"got \(8, 8\)"),
        (torch.ones(3, 1, 8, 8), ValueError, r"got \(3, 1, 8, 8\)"),
        (torch.full((1, 1, 8, 8), 255.0), ValueError, "from 0 to 1; got values from 255 to 255"),
        (torch.full((1, 1, 8, 8), -0.1), ValueError, "got values from -0.1"),
        (torch.full((1, 1, 8, 8), math.nan), ValueError, "got values from nan"),
    ],
)
def test_bad_masks_are_named(mask, error, message):
    with pytest.raises(error, match=message):
        tiny().colorize(noise(2, 1, 8, 8), mask=mask)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"masks": "halves"}, ValueError, "masks must be one of full, ten.*; got 'halves'"),
        ({"masks": []}, ValueError, "masks must name at least one"),
        ({"mask_loss": "l1"}, ValueError, "mask_loss must be one of l2, huber; got 'l1'"),
        ({"truth": "gray"}, ValueError, "truth must be one of masked, colored; got 'gray'"),
        ({"mask_weight": -1}, ValueError, r"mask_weight must be in \[0, inf\); got -1"),
        ({"delta": 0.0}, ValueError, r"delta must be in \(0, inf\); got 0"),
        ({"adversarial": "bce"}, ValueError, "one of lsgan, vanilla, hinge; got 'bce'"),
        ({"width": 1.5}, TypeError, "width must be a whole number; got 1.5"),
        ({"layers": 0}, ValueError, "layers must be at least 1; got 0"),
    ],
)
def test_bad_parameters_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        MaskedGAN(**{**TINY, **arguments})


def test_bad_gray_is_named_before_the_mask():
    with pytest.raises(ValueError, match="gray must have shape"):
        tiny().colorize(noise(1, 3, 8, 8), mask=torch.ones(1, 1, 8, 8))
    with pytest.raises(TypeError, match="no knob 'masks'; it has mask"):
        tiny().colorize(noise(1, 1, 8, 8), masks=torch.ones(1, 1, 8, 8))


@pytest.mark.slow
def test_it_learns_to_leave_the_rest_gray(tmp_path):
    world = World(16)
    torch.manual_seed(0)
    recipe = dataclasses.replace(
        RECIPE, steps=120, batch=8, learning_rate=2e-3, schedule="one-cycle", warmup=30, log_every=20
    )
    model = fit(MaskedGAN.small(width=8, layers=2), world, recipe, tmp_path)
    scenes = world.batch(range(32))
    inside = outside = 0.0
    for mask in masks.ten(16):
        ab = rgb_to_lab(model.colorize(scenes.gray, mask=mask[None])[0])[:, 1:]
        chroma = ab.norm(dim=1).mean(0)  # of each pixel, over the scenes
        inside += chroma[mask[0] == 1].mean() / 10
        outside += chroma[mask[0] == 0].mean() / 10
    assert inside > 8 and outside < inside / 2, (inside, outside)


def test_the_recipe_of_the_source():
    recipe = MaskedGAN.recipes["paper"]
    assert recipe.steps * recipe.batch == 80 * 1360 * 10  # epochs, pictures, masks
    assert recipe.settings == {"masks": ["ten"]}
    for name in MaskedGAN.recipes:
        masks.check_kinds(MaskedGAN.recipes[name].settings["masks"])
    assert "segments" not in MaskedGAN.recipes["full"].settings["masks"]


def test_a_mask_for_other_pictures_is_refused_by_chroma():
    model = MaskedGAN.small().eval()
    lightness = torch.zeros(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"\(2, 1, H, W\) or \(1, 1, H, W\); got \(3, 1, 8, 8\)"):
        model.chroma(lightness, 1, torch.Generator(), mask=torch.ones(3, 1, 8, 8))
