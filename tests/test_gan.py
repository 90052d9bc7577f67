"""The GAN: its networks, its losses and its two players."""

import dataclasses
import json
import math
import signal

import pytest
import torch
from torch import nn

from colorlib.color import lab_to_rgb, rgb_to_lab
from colorlib.data import World
from colorlib.models import (
    ColorGAN,
    ImageDiscriminator,
    PatchDiscriminator,
    ResNetGenerator,
    UNet,
    discriminator_accuracy,
    discriminator_loss,
    generator_loss,
)
from colorlib.training import Interrupted, Recipe, checkpoints, fit, history, learning_curve

KINDS = ("lsgan", "vanilla", "hinge")
TINY = {"width": 4, "depth": 3, "blocks": 1, "layers": 1}


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def tiny(seed=0, **settings):
    torch.manual_seed(seed)
    return ColorGAN(**{**TINY, **settings})


def convolutions(network):
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds)]


def linear(network):
    """The same network without slopes and statistics and with weights of 1: a Jacobian shows each path."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.LeakyReLU, nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Tanh)):
                setattr(module, name, nn.Identity())
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1.0)
    return network.double()


def seen_by(network, x, output):
    """Which pixels the outputs depend on: bool (H, W)."""
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(output(network(x)).sum(), x)
    return (gradient != 0).any(0).any(0)


# The networks.


def test_the_patch_discriminator_is_the_published_one():
    network = PatchDiscriminator(3)
    layers = [layer for _, layer in convolutions(network)]
    assert [layer.out_channels for layer in layers] == [64, 128, 256, 512, 1]
    assert [layer.stride[0] for layer in layers] == [2, 2, 2, 1, 1]
    assert {(layer.kernel_size[0], layer.padding[0]) for layer in layers} == {(4, 1)}
    # What follows each convolution: no norm after the first and the last.
    kinds = "".join({"Conv2d": "C", "Norm": "B", "LeakyReLU": "L"}[type(m).__name__] for m in network.layers)
    assert kinds == "CLCBLCBLCBLC"
    assert {m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


@pytest.mark.parametrize("layers, side", [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_the_receptive_field_is_counted(layers, side):
    network = linear(PatchDiscriminator(1, width=1, layers=layers))
    size = side + 6 * 2**layers
    scores = network(torch.zeros(1, 1, size, size, dtype=torch.float64))
    middle = scores.shape[-1] // 2
    seen = seen_by(
        network, torch.zeros(1, 1, size, size, dtype=torch.float64), lambda y: y[..., middle, middle]
    )
    rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
    assert len(rows) == len(columns) == side == network.receptive_field
    assert int(seen.sum()) == side**2 and rows[-1] - rows[0] == side - 1  # a full square
    assert 0 < rows[0] and rows[-1] < size - 1  # not cut off by the picture's edge


@pytest.mark.parametrize("size", [(1, 1), (9, 40), (64, 64)])
def test_the_other_discriminator_sees_the_whole_picture(size):
    network = linear(ImageDiscriminator(1, width=1, layers=3))
    score = network(torch.zeros(2, 1, *size, dtype=torch.float64))
    assert score.shape == (2, 1, 1, 1)
    assert seen_by(network, torch.zeros(1, 1, *size, dtype=torch.float64), lambda y: y).all()


def test_the_u_net_is_pix2pix_s():
    with torch.device("meta"):
        network = ColorGAN().generator
    layers = [layer for _, layer in convolutions(network)]
    assert [layer.out_channels for layer in layers] == [
        *(64, 128, 256, 512, 512, 512, 512, 512),
        *(512, 512, 512, 512, 256, 128, 64, 2),
    ]
    # On the way back each layer but the first takes the map below and the one beside.
    assert [layer.in_channels for layer in layers[8:]] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert {(layer.kernel_size[0], layer.stride[0], layer.padding[0]) for layer in layers} == {(4, 2, 1)}
    normed = [any(isinstance(m, nn.BatchNorm2d) for m in layer) for layer in (*network.down, *network.up)]
    assert normed == [False, *[True] * 6, False, *[True] * 7, False]
    dropped = [any(isinstance(m, nn.Dropout) for m in layer) for layer in network.up]
    assert dropped == [True] * 3 + [False] * 5
    assert {m.p for m in network.modules() if isinstance(m, nn.Dropout)} == {0.5}


def test_the_residual_generator_has_its_layers():
    with torch.device("meta"):
        network = ColorGAN(generator="resnet").generator
    layers = [layer for _, layer in convolutions(network)]
    assert [layer.out_channels for layer in layers] == [64, 128, 256, *[256] * 18, 128, 64, 2]
    assert [layer.kernel_size[0] for layer in layers] == [7, *[3] * 22, 7]
    assert [layer.stride[0] for layer in layers] == [1, 2, 2, *[1] * 18, 2, 2, 1]
    # A block adds to what comes in: with its last norm at 0 it changes nothing.
    block = ResNetGenerator(1, 2, 2, 1).layers[10]
    nn.init.zeros_(block.layers[-1].weight)
    x = noise(2, 8, 5, 5)
    assert torch.equal(block(x), x)


def test_the_maps_of_a_u_net_are_joined_at_equal_size():
    # Cut the way through the bottom: only what goes through the joints is left, and that is near.
    network = linear(UNet(1, 1, [1, 1, 1]))
    far = seen_by(network, torch.zeros(1, 1, 32, 32, dtype=torch.float64), lambda y: y[..., 16, 16])
    network.up[0].register_forward_hook(lambda module, inputs, output: output * 0)
    near = seen_by(network, torch.zeros(1, 1, 32, 32, dtype=torch.float64), lambda y: y[..., 16, 16])
    assert near.any() and far.sum() > near.sum() and not (near & ~far).any()


def test_first_weights_are_drawn_as_in_pix2pix():
    torch.manual_seed(0)
    model = ColorGAN(width=16, depth=4)
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.weight.numel() > 2000:
            count = layer.weight.numel()
            assert layer.weight.mean().abs() < 5 * 0.02 / math.sqrt(count), name
            assert layer.weight.std().item() == pytest.approx(0.02, rel=5 / math.sqrt(2 * count)), name
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight - 1).abs().mean() < 0.03 and layer.weight.std() > 0.005, name
        if getattr(layer, "bias", None) is not None:
            assert (layer.bias == 0).all(), name


# The losses.


def by_hand(kind, real, fake):
    real, fake = real.double(), fake.double()
    if kind == "lsgan":
        return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(), ((fake - 1) ** 2).mean()
    if kind == "vanilla":
        p, q = 1 / (1 + (-real).exp()), 1 / (1 + (-fake).exp())
        return -0.5 * p.log().mean() - 0.5 * (1 - q).log().mean(), -q.log().mean()
    zero = torch.zeros(())
    return (torch.maximum(zero, 1 - real).mean() + torch.maximum(zero, 1 + fake).mean()) / 2, -fake.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_adversarial_losses_are_the_formulas(kind):
    real, fake = 6 * noise(4, 1, 3, 3, seed=1) - 3, 6 * noise(5, 1, 2, 2, seed=2) - 3
    wanted = by_hand(kind, real, fake)
    assert discriminator_loss(real, fake, kind).item() == pytest.approx(wanted[0].item(), rel=1e-5)
    assert generator_loss(fake, kind).item() == pytest.approx(wanted[1].item(), rel=1e-5)
    huge = torch.tensor([200.0, -200.0])
    assert discriminator_loss(huge, huge, kind).isfinite() and generator_loss(huge, kind).isfinite()


@pytest.mark.parametrize("kind, middle", [("lsgan", 0.5), ("vanilla", 0.0), ("hinge", 0.0)])
def test_accuracy_counts_both_sides_alike(kind, middle):
    real = middle + torch.tensor([1.0, 2.0, -1.0, 0.1])
    fake = middle + torch.tensor([-1.0, 3.0])
    assert discriminator_accuracy(real, fake, kind) == pytest.approx((3 / 4 + 1 / 2) / 2)
    same = noise(50)
    assert discriminator_accuracy(same, same, kind) == pytest.approx(0.5)  # it can't tell


def test_unknown_losses_are_named():
    for call in (
        lambda: discriminator_loss(noise(1), noise(1), "wgan"),
        lambda: generator_loss(noise(1), "wgan"),
        lambda: discriminator_accuracy(noise(1), noise(1), "wgan"),
        lambda: ColorGAN(adversarial="wgan"),
    ):
        with pytest.raises(ValueError, match="one of lsgan, vanilla, hinge; got 'wgan'"):
            call()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("discriminator", ["patch", "image"])
def test_the_players_losses_are_those_of_the_paper(kind, discriminator):
    model = tiny(adversarial=kind, discriminator=discriminator, l1=7.0).eval()
    rgb = noise(2, 3, 24, 24)
    lab = rgb_to_lab(rgb)
    with torch.no_grad():
        painted = model(lab[:, :1]) / 110
        scores = []
        for ab in (lab[:, 1:] / 110, painted):  # the discriminator sees lightness and ab
            scores.append(model.discriminator(torch.cat([lab[:, :1] / 50 - 1, ab], 1)))
    assert torch.equal(model.scores(rgb), scores[0])
    wanted = by_hand(kind, *scores)
    l1 = (painted - lab[:, 1:] / 110).abs().mean().item()
    batch = {"rgb": rgb}
    loss, parts = model.discriminator_loss(batch)
    assert loss.item() == pytest.approx(wanted[0].item(), rel=1e-4)
    assert parts == {"accuracy": discriminator_accuracy(*scores, kind)}
    loss, parts = model.generator_loss(batch)
    assert loss.item() == pytest.approx(wanted[1].item() + 7 * l1, rel=1e-4)
    assert list(parts) == ["adversarial", "l1"] and parts["l1"].item() == pytest.approx(l1, rel=1e-4)
    assert parts["adversarial"].item() == pytest.approx(wanted[1].item(), rel=1e-4)


def test_each_player_has_its_own_gradient():
    model, batch = tiny(), {"rgb": noise(2, 3, 16, 16)}
    players = model.players()
    assert list(players) == ["discriminator", "generator"]
    shared = {id(p) for p in players["discriminator"][0]} & {id(p) for p in players["generator"][0]}
    assert not shared
    assert {id(p) for own, *_ in players.values() for p in own} == {id(p) for p in model.parameters()}
    model.discriminator_loss(batch)[0].backward()
    assert all(p.grad is None for p in players["generator"][0])
    assert all(p.grad.abs().sum() > 0 for p in players["discriminator"][0])
    model.generator_loss(batch)[0].backward()
    assert all(p.grad.abs().sum() > 0 for p in players["generator"][0])
    with pytest.raises(NotImplementedError, match="two losses, discriminator_loss and generator_loss"):
        model.loss(batch)


# As a colorizer.


@pytest.mark.parametrize("generator", ["unet", "resnet"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 23), (64, 64)])
def test_any_size_in_that_size_and_lightness_out(generator, size):
    model, gray = tiny(generator=generator), noise(2, 1, *size)
    last = convolutions(model.generator)[-1][1]
    nn.init.constant_(last.bias, 0.2)  # an untrained network is almost gray
    before = torch.get_rng_state()
    rgb = model.colorize(gray, samples=2)
    assert rgb.shape == (2, 2, 3, *size)
    lab = rgb_to_lab(rgb)
    assert (lab[:, :, :1] - rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]).abs().max() < 0.1
    assert lab[:, :, 1:].abs().max() > 5
    assert torch.equal(rgb[0], rgb[1])  # without noise all samples are equal
    assert torch.equal(torch.get_rng_state(), before)
    for discriminator in ("patch", "image"):
        model = tiny(generator=generator, discriminator=discriminator)
        batch = {"rgb": noise(2, 3, *size)}
        assert model.discriminator_loss(batch)[0].isfinite() and model.generator_loss(batch)[0].isfinite()


@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_samples_differ_by_dropout_alone(generator):
    model, gray = tiny(generator=generator), noise(2, 1, 16, 16)
    with torch.no_grad():
        for _, layer in convolutions(model.generator):
            layer.weight.mul_(20 if generator == "unet" else 6)  # so that colors are strong enough
    model.train()
    before = torch.get_rng_state()
    rgb = model.colorize(gray, samples=3, seed=5, dropout=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(layer.training for layer in model.modules())
    assert (rgb[0] - rgb[1]).abs().max() > 1e-3 and (rgb[0] - rgb[2]).abs().max() > 1e-3
    torch.rand(3)
    assert torch.equal(model.colorize(gray, samples=3, seed=5, dropout=True), rgb)
    assert not torch.equal(model.colorize(gray, samples=3, seed=6, dropout=True), rgb)
    # Batch norms keep their statistics meanwhile: the picture beside it changes nothing.
    plain = model.colorize(gray)
    assert torch.allclose(model.colorize(gray[:1]), plain[:, :1], atol=1e-5)
    with pytest.raises(ValueError, match="built without dropout"):
        tiny(generator=generator, dropout=0.0).colorize(gray, dropout=True)


def test_the_small_version_has_the_same_structure():
    model = ColorGAN.small(adversarial="hinge", layers=2)
    assert model.settings["adversarial"] == "hinge" and model.settings["width"] == 16
    assert model.discriminator.receptive_field == 34 and ColorGAN.small().discriminator.receptive_field == 16
    assert sum(p.numel() for p in model.parameters()) < 1.5e6
    for generator in ("unet", "resnet"):
        again = ColorGAN(**ColorGAN.small(generator=generator).settings)
        again.load_state_dict(ColorGAN.small(generator=generator).state_dict())


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"generator": "vgg"}, ValueError, "generator must be one of unet, resnet; got 'vgg'"),
        ({"discriminator": "pixel"}, ValueError, "discriminator must be one of patch, image; got 'pixel'"),
        ({"l1": -1.0}, ValueError, r"l1 must be in \[0, inf\); got -1.0"),
        ({"l1": "100"}, TypeError, "l1 must be a number; got '100'"),
        ({"width": 0}, ValueError, "width must be at least 1; got 0"),
        ({"depth": 2.0}, TypeError, "depth must be a whole number; got 2.0"),
        ({"layers": True}, TypeError, "layers must be a whole number; got True"),
        ({"dropout": 1.0}, ValueError, r"dropout must be in \[0, 1\); got 1.0"),
        ({"dropout": math.nan}, ValueError, r"dropout must be in \[0, 1\); got nan"),
    ],
)
def test_bad_parameters_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ColorGAN(**{**TINY, **arguments})


# Trained by the one loop.

RECIPE = Recipe(
    steps=8, batch=4, learning_rate=1e-3, betas=(0.5, 0.999), flip=True, checkpoint_every=3, log_every=4
)


def untimed(directory):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history(directory)]


class Stopped(ColorGAN):
    """Receives Ctrl-C in the middle of its sixth step."""

    def generator_loss(self, batch):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 6 * self.parts:
            signal.raise_signal(signal.SIGINT)
        return super().generator_loss(batch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings, change",
    [
        ({}, {"ema": 0.9}),
        ({"generator": "resnet", "discriminator": "image", "adversarial": "hinge"}, {"accumulation": 2}),
        ({"adversarial": "vanilla"}, {"precision": "bfloat16"}),
    ],
    ids=["unet", "resnet", "bfloat16"],
)
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, settings, change, capsys):
    world, recipe = World(16), dataclasses.replace(RECIPE, **change)
    whole = fit(tiny(1, **settings), world, recipe, tmp_path / "whole")
    torch.manual_seed(1)
    stopped = Stopped(**{**TINY, **settings})
    stopped.parts = recipe.accumulation
    stopped.__class__.__name__ = "ColorGAN"  # the name is what a checkpoint knows the model by
    with pytest.raises(Interrupted):
        fit(stopped, world, recipe, tmp_path / "parts")
    assert checkpoints.listed(tmp_path / "parts")[0].name == "checkpoint-00000006.safetensors"
    # With other first weights: all has to come from the checkpoint, both optimizers and the scalars too.
    model = fit(tiny(2, **settings), world, recipe, tmp_path / "parts")
    state = whole.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")
    assert any(not torch.equal(value, state[key]) for key, value in tiny(1, **settings).state_dict().items())


def test_the_metrics_have_what_the_losses_give_beside(tmp_path):
    class Spied(ColorGAN):
        seen = []

        def discriminator_loss(self, batch):
            loss, parts = super().discriminator_loss(batch)
            self.seen.append(parts["accuracy"].item())
            return loss, parts

    torch.manual_seed(0)
    model = fit(Spied(**TINY), World(16), dataclasses.replace(RECIPE, accumulation=2), tmp_path)
    lines = history(tmp_path)
    assert len(lines) == 2
    for line, accuracies in zip(lines, (Spied.seen[:8], Spied.seen[8:]), strict=True):
        assert set(line["loss"]) == set(line["gradient"]) == {"discriminator", "generator"}
        scalars = line["scalars"]
        assert list(scalars) == ["accuracy", "adversarial", "l1"]
        assert scalars["accuracy"] == pytest.approx(sum(accuracies) / 8)  # the mean of all parts of all steps
        parts = scalars["adversarial"] + model.l1 * scalars["l1"]
        assert line["loss"]["generator"] == pytest.approx(parts, rel=1e-5)
    assert [panel.get_ylabel() for panel in learning_curve(tmp_path).axes] == [
        "loss of the discriminator",
        "loss of the generator",
        "accuracy",
        "adversarial",
        "l1",
    ]


def test_a_checkpoint_from_before_there_were_scalars_is_read(tmp_path):
    recipe = dataclasses.replace(RECIPE, log_every=100)
    fit(tiny(), World(16), recipe, tmp_path)
    (tmp_path / "checkpoint-00000008.safetensors").unlink()
    checkpoint = checkpoints.newest(tmp_path)
    assert checkpoint.step == 6 and len(checkpoint.facts["pending"][0]) == 5
    checkpoint.facts["pending"] = [entry[:4] for entry in checkpoint.facts["pending"]]
    checkpoints.write(tmp_path, checkpoint)
    fit(tiny(), World(16), recipe, tmp_path)
    assert "accuracy" in history(tmp_path)[-1]["scalars"]


def test_a_scalar_that_is_not_finite_leaves_the_metrics_readable(tmp_path):
    class Odd(ColorGAN):
        def generator_loss(self, batch):
            loss, parts = super().generator_loss(batch)
            return loss, {**parts, "odd": torch.tensor(math.inf)}

    torch.manual_seed(0)
    fit(Odd(**TINY), World(16), dataclasses.replace(RECIPE, steps=2), tmp_path)
    text = (tmp_path / "metrics.jsonl").read_text()
    (line,) = (json.loads(row, parse_constant=lambda name: pytest.fail(name)) for row in text.splitlines())
    assert line["scalars"]["odd"] is None
    learning_curve(tmp_path)


class Flags:
    """Dark pictures of one color and light ones of another."""

    def batch(self, indices, device=None):
        light = torch.tensor([index % 2 for index in indices])[:, None, None, None] * 30.0
        lightness = 40 + light + 4 * torch.stack([noise(1, 16, 16, seed=i % 997) for i in indices])
        ab = torch.where(light > 0, torch.tensor([40.0, 20.0])[:, None, None], torch.tensor(-20.0))
        return {"rgb": lab_to_rgb(torch.cat([lightness, ab.expand(-1, -1, 16, 16)], 1))}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_learns_colors_from_the_discriminator_alone(tmp_path, kind):
    torch.manual_seed(0)
    first = ColorGAN.small(width=8, depth=3, dropout=0.0, l1=0.0, adversarial=kind).eval()
    lab = rgb_to_lab(Flags().batch(range(16))["rgb"])
    before = (first(lab[:, :1]) - lab[:, 1:]).abs().mean()
    recipe = dataclasses.replace(RECIPE, steps=300, batch=8, learning_rate=2e-3, checkpoint_every=300)
    model = fit(first, Flags(), recipe, tmp_path)
    after = (model(lab[:, :1]) - lab[:, 1:]).abs().mean()
    # No color that ignores the lightness is nearer than 25: half the distance of the two, in a and b.
    assert before > 23 and after < 16


def test_the_recipe_of_the_paper():
    recipe = ColorGAN.recipes["paper"]
    assert (recipe.optimizer, recipe.learning_rate, recipe.betas) == ("adam", 2e-4, (0.5, 0.999))
    with torch.device("meta"):
        model = ColorGAN(**recipe.settings)
    assert model.adversarial == "vanilla" and model.l1 == 100 and model.discriminator.receptive_field == 70
