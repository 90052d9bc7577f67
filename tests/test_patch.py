"""The base class of the models, with a stub for a model, and the patch classifier."""

import math

import pytest
import torch
from torch import nn

from colorlib.classic import SOM
from colorlib.color import lab_to_rgb, rgb_to_lab
from colorlib.models import Colorizer, PatchMLP, patch

PALETTE = torch.tensor([[60.0, 40.0], [-50.0, 45.0], [10.0, -70.0]])


class Stub(Colorizer):
    """Draws any chroma, most of it far outside the gamut, and notes how it was called."""

    def __init__(self, reach=300.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))
        self.reach = reach

    def chroma(self, lightness, samples, generator, *, spread=1.0, shift=0.0):
        self.seen = lightness
        self.called = (self.training, self.layers[1].training, torch.is_grad_enabled())
        batch, _, height, width = lightness.shape
        ab = torch.rand(samples, batch, 2, height, width, generator=generator) * 2 - 1
        return ab * self.reach * spread + shift


def gray(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (33, 17)])
@pytest.mark.parametrize("reach", [0.0, 40.0, 300.0, 1e4])
def test_output_has_the_input_s_size_and_lightness(size, reach):
    picture = gray(2, 1, *size)
    picture[0, 0, 0, 0], picture[-1, 0, -1, -1] = 0.0, 1.0  # black and white too
    rgb = Stub(reach).colorize(picture, samples=3, seed=0)
    assert rgb.shape == (3, 2, 3, *size)
    assert rgb.min() >= 0 and rgb.max() <= 1
    wanted = rgb_to_lab(picture.expand(-1, 3, -1, -1))[:, :1]
    got = rgb_to_lab(rgb)[:, :, :1]
    assert (got - wanted).abs().max() < 0.1
    if reach == 0:
        torch.testing.assert_close(rgb, picture.expand(3, -1, 3, -1, -1), atol=1e-3, rtol=0)
    elif size == (33, 17):
        assert (rgb_to_lab(rgb)[:, :, 1:].norm(dim=2) > 10).float().mean() > 0.5  # it is colored


def test_the_model_sees_the_lightness_and_chroma_inside_the_gamut_is_kept():
    model, picture = Stub(reach=5.0), gray(1, 1, 8, 8) * 0.4 + 0.3
    rgb = model.colorize(picture, seed=1)
    torch.testing.assert_close(model.seen, rgb_to_lab(picture.expand(-1, 3, -1, -1))[:, :1])
    generator = torch.Generator().manual_seed(1)
    ab = (torch.rand(1, 1, 2, 8, 8, generator=generator) * 2 - 1) * 5
    torch.testing.assert_close(rgb_to_lab(rgb)[:, :, 1:], ab, atol=0.05, rtol=0)


def test_seed_decides_and_the_global_state_is_left_alone():
    model, picture = Stub(), gray(1, 1, 6, 5)
    before = torch.random.get_rng_state()
    first, again = (model.colorize(picture, samples=2, seed=3) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, model.colorize(picture, samples=2, seed=4))
    assert not torch.equal(model.colorize(picture), model.colorize(picture))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("training", [True, False])
def test_chroma_runs_in_evaluation_mode_without_gradient_and_modes_come_back(training):
    model = Stub().train(training)
    model.layers[1].train(not training)  # a part whose mode differs keeps it
    model.colorize(gray(1, 1, 2, 2))
    assert model.called == (False, False, False)
    assert model.training is training and model.layers[1].training is not training
    with pytest.raises(RuntimeError):  # after a failure too
        model.colorize(gray(1, 1, 2, 2), spread=torch.zeros(7, 7))
    assert model.training is training and model.layers[1].training is not training


def test_knobs_reach_the_model_and_unknown_ones_are_named():
    model, picture = Stub(), gray(1, 1, 3, 3)
    neutral = model.colorize(picture, spread=0.0)
    torch.testing.assert_close(neutral[0], picture.expand(-1, 3, -1, -1), atol=1e-3, rtol=0)
    with pytest.raises(TypeError, match="Stub has no knob 'temperature'; it has spread, shift"):
        model.colorize(picture, temperature=1.0)
    with pytest.raises(TypeError, match="no knob 'generator'"):
        model.colorize(picture, generator=None)


@pytest.mark.parametrize(
    "dtype, result", [("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_precision_of_the_result(dtype, result):
    rgb = Stub().colorize(gray(1, 1, 4, 4, dtype=getattr(torch, dtype)))
    assert rgb.dtype == getattr(torch, result)


@pytest.mark.parametrize(
    "picture, error, message",
    [
        ([[0.5]], TypeError, "list"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), TypeError, "uint8"),
        (torch.zeros(1, 2, 2), ValueError, r"\(1, 2, 2\); add a batch dimension"),
        (torch.zeros(2, 2), ValueError, r"gray\[None, None\]"),
        (torch.zeros(1, 3, 2, 2), ValueError, "rgb_to_gray"),
        (torch.zeros(1, 1, 0, 2), ValueError, r"\(1, 1, 0, 2\)"),
        (torch.zeros(0, 1, 2, 2), ValueError, r"\(0, 1, 2, 2\)"),
        (torch.full((1, 1, 2, 2), 255.0), ValueError, "from 255 to 255"),
        (torch.full((1, 1, 2, 2), -0.5), ValueError, "from -0.5"),
        (torch.full((1, 1, 2, 2), math.nan), ValueError, "nan"),
    ],
)
def test_bad_gray_is_named(picture, error, message):
    with pytest.raises(error, match=message):
        Stub().colorize(picture)


def test_bad_samples_and_missing_methods_are_named():
    with pytest.raises(ValueError, match="at least 1; got 0"):
        Stub().colorize(gray(1, 1, 2, 2), samples=0)
    with pytest.raises(TypeError, match="2.0"):
        Stub().colorize(gray(1, 1, 2, 2), samples=2.0)
    with pytest.raises(NotImplementedError, match="Stub has no loss"):
        Stub().loss({})


def literal_mlp(model, lightness):
    """The classifier as a picture shows it: cut the patch out, flatten it, two matrix products."""
    first, _, last = model.layers
    half, (height, width) = model.patch // 2, lightness.shape
    logits = torch.empty(len(model.neurons), height, width)
    for row in range(height):
        for column in range(width):
            rows = torch.arange(row - half, row + half + 1).clamp(0, height - 1)
            columns = torch.arange(column - half, column + half + 1).clamp(0, width - 1)
            vector = lightness[rows][:, columns].flatten() / 50 - 1
            hidden = (first.weight.flatten(1) @ vector + first.bias).clamp(min=0)
            logits[:, row, column] = last.weight[:, :, 0, 0] @ hidden + last.bias
    return logits


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (12, 11)])
def test_the_convolutions_are_the_patch_classifier(size):
    model = PatchMLP(PALETTE, patch=5, hidden_size=13)
    lightness = gray(2, 1, *size) * 100
    with torch.no_grad():
        logits = model.logits(lightness)
        for i in range(2):
            torch.testing.assert_close(logits[i], literal_mlp(model, lightness[i, 0]), atol=1e-4, rtol=1e-4)


def textures(n, seed):
    """Pictures of 2 x 2 squares of stripes, whose direction determines the color; lightness does not."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    kind = torch.randint(3, (n, 2, 2), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
    phase = torch.randint(4, (n, 1, 1), generator=generator)
    stripes = torch.stack([x, y, x + y]).repeat(1, 2, 2)  # (3, 32, 32)
    wave = ((stripes.movedim(0, -1) + phase[..., None]) % 4 < 2).float()
    pattern = wave.expand(n, 32, 32, 3).gather(-1, kind[..., None])[..., 0]
    lab = torch.cat([(45 + 10 * pattern)[:, None], PALETTE[kind].movedim(-1, 1) * 0.4], dim=1)
    return {"rgb": lab_to_rgb(lab)}, kind


@pytest.mark.slow
def test_it_learns_a_color_that_the_texture_determines():
    train, _ = textures(32, 0)
    test, kind = textures(16, 1)
    ab = rgb_to_lab(train["rgb"])[:, 1:].movedim(1, -1).reshape(-1, 2)
    neurons = SOM(1, 3).fit(ab).neurons
    torch.manual_seed(0)
    model = PatchMLP(neurons, patch=7, hidden_size=32)
    # A pixel's class is the neuron of its texture's color, by way of the SOM.
    chroma = model.neurons[model.labels(test["rgb"])]
    torch.testing.assert_close(chroma, PALETTE[kind] * 0.4, atol=1.0, rtol=0)
    before = model.accuracy(test)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(train).backward()
        optimizer.step()
    assert before < 0.7
    assert model.accuracy(test) > 0.95

    lightness = rgb_to_lab(test["rgb"])[:, :1]
    rgb = model.colorize(rgb_to_gray_of(lightness))[0]
    error = (rgb_to_lab(rgb) - rgb_to_lab(test["rgb"])).norm(dim=1)
    assert (error < 2).float().mean() > 0.95


def rgb_to_gray_of(lightness):
    """The gray picture of a given lightness."""
    return lab_to_rgb(torch.cat([lightness, torch.zeros_like(lightness).repeat(1, 2, 1, 1)], dim=1))[:, :1]


def test_loss_is_the_mean_cross_entropy_and_its_gradient_reaches_every_weight():
    model = PatchMLP(PALETTE, patch=3, hidden_size=6)
    rgb = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    loss = model.loss({"rgb": rgb})
    lab = rgb_to_lab(rgb)
    total, right = 0.0, 0
    with torch.no_grad():
        logits = model.logits(lab[:, :1])
    for b in range(2):
        for y in range(6):
            for x in range(5):
                label = (PALETTE - lab[b, 1:, y, x]).norm(dim=1).argmin()
                assert model.labels(rgb)[b, y, x] == label
                total -= logits[b, :, y, x].double().log_softmax(0)[label].item() / 60
                right += int(logits[b, :, y, x].argmax() == label)
    assert loss.item() == pytest.approx(total, rel=1e-5)
    assert model.accuracy({"rgb": rgb}) == pytest.approx(right / 60)
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad.abs().sum() > 0
    assert torch.equal(model.loss({"rgb": rgb}), loss)  # no chance in it


@pytest.mark.parametrize("how", ["mode", "mean", "sample"])
@pytest.mark.parametrize("size", [(1, 1), (13, 7)])
def test_colorize_keeps_size_and_lightness_whatever_the_neurons(how, size):
    model, picture = PatchMLP(PALETTE * 4, patch=9, hidden_size=8), gray(2, 1, *size)
    rgb = model.colorize(picture, samples=2, seed=0, how=how)
    assert rgb.shape == (2, 2, 3, *size)
    wanted = rgb_to_lab(picture.expand(-1, 3, -1, -1))[:, :1]
    assert (rgb_to_lab(rgb)[:, :, :1] - wanted).abs().max() < 0.1
    assert torch.equal(rgb, model.colorize(picture, samples=2, seed=0, how=how))
    if size != (1, 1):  # one pixel may draw the same neuron twice
        assert torch.equal(rgb[0], rgb[1]) is (how != "sample")


def test_mode_mean_and_sample_follow_the_probabilities():
    model = PatchMLP(PALETTE, patch=3, hidden_size=4)
    with torch.no_grad():
        model.layers[2].weight.zero_()  # the same probabilities everywhere
        model.layers[2].bias.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
    lightness, generator = torch.full((1, 1, 50, 40), 50.0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        mode = model.chroma(lightness, 2, generator, how="mode")
        mean = model.chroma(lightness, 2, generator, how="mean")
        drawn = model.chroma(lightness, 5, generator, how="sample")
    assert mode.shape == mean.shape == (2, 1, 2, 50, 40) and drawn.shape == (5, 1, 2, 50, 40)
    assert (mode == PALETTE[1][:, None, None]).all()
    expected = torch.tensor([0.2, 0.5, 0.3]) @ PALETTE
    torch.testing.assert_close(mean, expected[:, None, None].expand_as(mean))
    is_neuron = (drawn[:, :, None] == PALETTE[:, :, None, None]).all(3)  # (5, 1, 3, 50, 40)
    assert (is_neuron.sum(2) == 1).all()
    # Four standard deviations of a share among 2000 draws are at most 0.045.
    for share in is_neuron.float().mean((1, 3, 4)):
        torch.testing.assert_close(share, torch.tensor([0.2, 0.5, 0.3]), atol=0.045, rtol=0)


def test_every_pixel_draws_from_its_own_probabilities():
    model, lightness = PatchMLP(PALETTE, patch=3, hidden_size=16), gray(2, 1, 12, 9) * 100
    with torch.no_grad():
        model.layers[2].weight *= 1e6  # one neuron is all but certain at each pixel
        mode = model.chroma(lightness, 3, torch.Generator(), how="mode")
        drawn = model.chroma(lightness, 3, torch.Generator(), how="sample")
    assert (mode == mode[:, :, :, :1, :1]).float().mean() < 0.9  # not the same one everywhere
    assert (drawn == mode).float().mean() > 0.99


@pytest.mark.parametrize("how", ["mode", "mean"])
def test_strips_of_rows_make_no_difference(how, monkeypatch):
    model, picture = PatchMLP(PALETTE, patch=5, hidden_size=8), gray(2, 1, 19, 6)
    whole = model.colorize(picture, how=how)
    monkeypatch.setattr(patch, "VALUES_AT_ONCE", 8 * 2 * 6 * 4)  # 4 rows at a time, the last strip of 3
    torch.testing.assert_close(model.colorize(picture, how=how), whole, atol=1e-4, rtol=0)
    monkeypatch.setattr(patch, "VALUES_AT_ONCE", 1)
    torch.testing.assert_close(model.colorize(picture, how=how), whole, atol=1e-4, rtol=0)


def test_a_saved_model_carries_its_neurons_and_colors_alike():
    model = PatchMLP(PALETTE, patch=5, hidden_size=8)
    other = PatchMLP(torch.zeros(3, 2), patch=5, hidden_size=8)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.neurons, PALETTE)
    picture = gray(1, 1, 9, 8)
    for how in ("mode", "mean", "sample"):
        assert torch.equal(other.colorize(picture, seed=1, how=how), model.colorize(picture, seed=1, how=how))
    palette = PALETTE.clone()
    model = PatchMLP(palette)
    palette.zero_()  # the model has its own copy
    assert torch.equal(model.neurons, PALETTE)


def test_small_has_the_same_structure():
    model = PatchMLP.small(PALETTE)
    full = PatchMLP(PALETTE)
    assert [type(a) for a in model.layers] == [type(a) for a in full.layers]
    assert sum(p.numel() for p in full.parameters()) == 81 * 100 + 100 + 100 * 3 + 3
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in full.parameters()) / 3


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([[0.0, 0.0]],), TypeError, "list"),
        ((torch.zeros(3, 2, dtype=torch.int64),), TypeError, "int64"),
        ((torch.zeros(3, 3),), ValueError, r"\(3, 3\)"),
        ((torch.zeros(0, 2),), ValueError, r"\(0, 2\)"),
        ((torch.full((3, 2), math.nan),), ValueError, "finite"),
        ((PALETTE, 8), ValueError, "odd.*8"),
        ((PALETTE, -1), ValueError, "patch must be at least 1; got -1"),
        ((PALETTE, 9.0), TypeError, "9.0"),
        ((PALETTE, 9, 0), ValueError, "hidden_size must be at least 1; got 0"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        PatchMLP(*arguments)


def test_bad_how_is_named():
    with pytest.raises(ValueError, match="mode, mean, sample; got 'median'"):
        PatchMLP(PALETTE).colorize(gray(1, 1, 2, 2), how="median")
    with pytest.raises(TypeError, match="PatchMLP has no knob 'temperature'; it has how"):
        PatchMLP(PALETTE).colorize(gray(1, 1, 2, 2), temperature=1.0)
