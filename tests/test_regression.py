"""The regressor: torchvision's trunk, transposed convolutions, and the mean that a squared error learns."""

import urllib.error

import pytest
import torch
import torchvision
from torch import nn

from colorlib.color import lab_to_rgb, rgb_to_lab
from colorlib.models import ResNetRegressor
from colorlib.models.regression import sum_over_rgb


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def random_resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None)


def test_the_trunk_is_resnet18_cut_after_its_sixth_set_of_layers(monkeypatch):
    whole = random_resnet()
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights: whole)
    cut = nn.Sequential(*list(whole.children())[:6]).eval()
    model = ResNetRegressor(pretrained=True).eval()
    lightness = noise(2, 1, 32, 48) * 100
    with torch.no_grad():
        got = model.features(lightness)
        wanted = cut(((lightness / 100 - 0.449) / 0.226).expand(-1, 3, -1, -1))
    assert got.shape == (2, 128, 4, 6)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_weights_summed_over_rgb_do_to_gray_what_the_original_does():
    layer, gray = random_resnet().conv1, noise(2, 1, 20, 14)
    summed = sum_over_rgb(layer.weight)
    assert summed.shape == (64, 1, 7, 7)
    torch.testing.assert_close(
        nn.functional.conv2d(gray, summed, stride=2, padding=3),
        layer(gray.expand(-1, 3, -1, -1)),
        atol=1e-5,
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match=r"\(64, 1, 7, 7\)"):
        sum_over_rgb(summed)


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    def refuse(weights):
        raise urllib.error.URLError("no route to the host")

    monkeypatch.setattr(torchvision.models, "resnet18", refuse)
    with pytest.raises(RuntimeError, match="cannot be downloaded .*no route.*pretrained=False"):
        ResNetRegressor(pretrained=True)


def test_the_small_version_has_the_same_structure():
    full, small = ResNetRegressor().state_dict(), ResNetRegressor.small().state_dict()
    assert full.keys() == small.keys()
    fixed = (1, 2)  # channels in and out of the whole network
    for name in full:
        for place, (wide, narrow) in enumerate(zip(full[name].shape, small[name].shape, strict=True)):
            if place < 2 and wide not in fixed:
                assert wide == 4 * narrow, name
            else:
                assert wide == narrow, name


def test_transposed_convolutions_lead_back_to_full_size():
    model, sizes = ResNetRegressor.small().eval(), []
    for layer in model.decoder:
        if isinstance(layer, nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, inputs, output: sizes.append(tuple(output.shape[-2:])))
    assert model(torch.zeros(1, 1, 32, 48)).shape == (1, 2, 32, 48)
    assert sizes == [(8, 12), (16, 24), (32, 48)]


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 23), (64, 64)])
def test_any_size_in_that_size_and_lightness_out(size):
    torch.manual_seed(0)
    model, gray = ResNetRegressor.small(), noise(2, 1, *size)
    nn.init.constant_(model.decoder[-1].bias, 0.2)  # an untrained network is almost gray
    rgb = model.colorize(gray, samples=2)
    assert rgb.shape == (2, 2, 3, *size)
    lab = rgb_to_lab(rgb)
    assert (lab[:, :, :1] - rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]).abs().max() < 0.1
    assert lab[:, :, 1:].abs().max() > 5
    assert torch.equal(rgb[0], rgb[1])
    assert torch.isfinite(model.loss({"rgb": noise(2, 3, *size)}))


def test_the_loss_is_the_squared_error_of_ab_over_110():
    model, rgb = ResNetRegressor(width=4).eval(), noise(2, 3, 9, 16)
    lab = rgb_to_lab(rgb).double()
    with torch.no_grad():
        ab = model(lab[:, :1].float()).double()
    loss = model.loss({"rgb": rgb})
    assert loss.item() == pytest.approx(((ab - lab[:, 1:]) ** 2).mean().item() / 110**2, rel=1e-4)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_state_comes_back():
    model, other, gray = ResNetRegressor(width=4), ResNetRegressor(width=4), noise(1, 1, 9, 9)
    model.loss({"rgb": noise(2, 3, 16, 16)})  # moves the statistics of the batch norms
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.colorize(gray), model.colorize(gray))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"width": 0}, ValueError, "at least 1; got 0"),
        ({"width": 8.0}, TypeError, "8.0"),
        ({"pretrained": True, "width": 16}, ValueError, "width must be 64 with pretrained weights; got 16"),
    ],
)
def test_bad_parameters_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ResNetRegressor(**arguments)


def train(model, rgb, steps):
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss({"rgb": rgb})
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.slow
def test_it_learns_the_mean_of_two_equally_likely_colors():
    torch.manual_seed(0)
    lightness = (35 + 30 * noise(8, 1, 16, 16, seed=1)).repeat(2, 1, 1, 1)
    colors = torch.tensor([[30.0, 20.0], [-20.0, 20.0]])
    ab = colors.repeat_interleave(8, 0)[:, :, None, None].expand(-1, -1, 16, 16)
    model = ResNetRegressor.small()
    loss = train(model, lab_to_rgb(torch.cat([lightness, ab], 1)), 120)
    # The least error is the variance: (25^2 + 0) / 2 for each of a and b.
    assert loss == pytest.approx(25**2 / 2 / 110**2, rel=0.02)
    model.eval()
    with torch.no_grad():
        error = model(lightness) - colors.mean(0)[:, None, None]
    assert error.norm(dim=1).mean() < 3


@pytest.mark.slow
def test_it_overfits_one_batch():
    torch.manual_seed(0)
    colors = torch.tensor([[40.0, 30.0], [-30.0, 30.0], [10.0, -40.0], [0.0, 0.0]])
    lightness = 40 + 20 * noise(4, 1, 16, 16)
    rgb = lab_to_rgb(torch.cat([lightness, colors[:, :, None, None].expand(-1, -1, 16, 16)], 1))
    loss = train(ResNetRegressor.small(), rgb, 150)
    assert loss * 110**2 < 10  # squared CIE units; leaving it gray costs 650
