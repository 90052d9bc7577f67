"""Deep Colorization: features against other code, three models, and the filter against a double loop."""

import math

import numpy as np
import pytest
import torch
from skimage import feature
from torch import nn
from torch.nn import functional as F

from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab, rgb_to_yuv
from colorlib.data import World
from colorlib.models import DeepColorization, SegmentationNetwork, blocks, daisy, joint_bilateral
from colorlib.models.deep import _ab


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def build(category="predicted", **settings):
    torch.manual_seed(0)
    return DeepColorization(**{"category": category, "categories": 4, "radius": 2, "width": 4, **settings})


# The features.


@pytest.mark.parametrize("radius", [1, 2, 5, 15])
@pytest.mark.parametrize("size", [(23, 31), (1, 1), (2, 40)])
def test_daisy_is_that_of_scikit_image(size, radius):
    gray = noise(2, 1, *size, seed=radius, dtype=torch.float64)
    got = daisy(gray, radius)
    assert got.shape == (2, 32, *size)
    for picture, ours in zip(gray[:, 0].numpy(), got.movedim(1, -1).numpy(), strict=True):
        around = np.pad(picture, radius, mode="edge")  # scikit-image describes no pixel nearer to the border
        wanted = feature.daisy(around, step=1, radius=radius, rings=1, histograms=3, orientations=8)
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(daisy(gray.float(), radius).double(), got, rtol=0, atol=1e-5)


def test_daisy_of_a_flat_picture_prefers_no_direction():
    torch.testing.assert_close(daisy(torch.full((1, 1, 6, 7), 0.3)), torch.full((1, 32, 6, 7), 1 / 32))


def test_the_features_are_patch_daisy_and_category():
    model, gray, category = build(), noise(2, 1, 9, 11), noise(2, 4, 9, 11, seed=1).softmax(1)
    features = model.features(gray, category)
    assert features.shape == (2, 49 + 32 + 4, 9, 11)
    around = np.pad(gray.numpy(), [(0, 0), (0, 0), (3, 3), (3, 3)], mode="edge")
    for row, column in [(0, 0), (4, 7), (8, 10)]:
        patch = around[:, 0, row : row + 7, column : column + 7].reshape(2, 49)
        np.testing.assert_array_equal(features[:, :49, row, column], patch)
    torch.testing.assert_close(features[:, 49:81], daisy(gray, 2))
    assert torch.equal(features[:, 81:], category)
    with torch.no_grad():
        guess = model.segmentation(gray).softmax(1)
    assert torch.equal(model.features(gray)[:, 81:], guess)
    assert build("none").features(gray).shape[1] == 81


def test_a_pixel_s_color_is_what_three_hidden_layers_make_of_its_features():
    model, gray = build(), noise(1, 1, 6, 8)
    model.train()
    model(noise(4, 1, 8, 8, seed=1))  # statistics of the features
    model.eval()
    linear = [layer for layer in model.layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in linear] == [42, 42, 42, 2]  # half of 85, and U and V
    norm = model.layers[0]
    with torch.no_grad():
        features, got = model.features(gray), model(gray)
        for row, column in [(0, 0), (3, 5)]:
            x = (features[0, :, row, column] - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
            for place, layer in enumerate(linear):
                x = layer.weight[:, :, 0, 0] @ (x.relu() if place else x) + layer.bias
            torch.testing.assert_close(got[0, :, row, column], x, atol=1e-5, rtol=1e-4)


# U and V.


def test_u_v_and_lightness_give_back_the_color():
    rgb = noise(1, 3, 40, 40)
    ends = torch.tensor([0.0, 1.0])
    corners = torch.cartesian_prod(ends, ends, ends).T[None, :, None]  # black, the purest colors, white
    for colors in (rgb, corners):
        ab = _ab(rgb_to_gray(colors), rgb_to_yuv(colors)[:, 1:])
        assert (ab - rgb_to_lab(colors)[:, 1:]).norm(dim=1).max() < 0.5


def test_the_loss_is_the_squared_error_of_u_and_v_plus_the_cross_entropy():
    rgb, labels = noise(2, 3, 9, 16), torch.arange(2 * 9 * 16).view(2, 9, 16) % 4
    gray, uv = rgb_to_gray(rgb), rgb_to_yuv(rgb)[:, 1:]
    for category in ("none", "predicted", "true"):
        model = build(category).eval()
        loss, scalars = model.loss({"rgb": rgb, "material": labels})
        with torch.no_grad():
            given = None if category != "true" else F.one_hot(labels, 4).movedim(-1, 1).float()
            wanted = (model(gray, given) - uv).square().mean()
            assert scalars["color"].item() == pytest.approx(wanted.item(), rel=1e-5)
            if category != "none":
                logits = model.segmentation(gray)
                wanted = wanted + F.cross_entropy(logits, labels)
                right = (logits.argmax(1) == labels).float().mean()
                assert scalars["accuracy"].item() == pytest.approx(right.item())
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("category", ["predicted", "true"])
def test_the_two_networks_learn_apart(category):
    """The segmentation's gradient is that of its own loss: the color's adds nothing to it."""
    rgb, labels = noise(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
    model = build(category).eval()
    model.loss({"rgb": rgb, "material": labels})[0].backward()
    got = [p.grad.clone() for p in model.segmentation.parameters()]
    model.zero_grad()
    F.cross_entropy(model.segmentation(rgb_to_gray(rgb)), labels).backward()
    for gradient, parameter in zip(got, model.segmentation.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


# The filter.


def by_loops(x, guide, sigma_space, sigma_range, radius):
    """Kopf and others, 2007, pixel by pixel: maps (C, h, w) and a guide (H, W) in float64."""
    (channels, low_height, low_width), (height, width) = x.shape, guide.shape
    small = F.interpolate(
        guide[None, None], (low_height, low_width), mode="bilinear", align_corners=False, antialias=True
    )[0, 0]
    out = torch.zeros(channels, height, width, dtype=x.dtype)
    for row in range(height):
        for column in range(width):
            down = (row + 0.5) * low_height / height - 0.5
            across = (column + 0.5) * low_width / width - 0.5
            top, left = (min(max(round(place), 0), side - 1) for place, side in
                         ((down, low_height), (across, low_width)))  # fmt: skip
            total = 0.0
            for i in range(max(0, top - radius), min(low_height, top + radius + 1)):
                for j in range(max(0, left - radius), min(low_width, left + radius + 1)):
                    far = ((i - down) ** 2 + (j - across) ** 2) / sigma_space**2
                    unlike = (small[i, j].item() - guide[row, column].item()) ** 2 / sigma_range**2
                    weight = math.exp(-(far + unlike) / 2)
                    total += weight
                    out[:, row, column] += weight * x[:, i, j]
            out[:, row, column] /= total
    return out


@pytest.mark.parametrize("low", [(7, 9), (3, 4), (7, 1), (5, 9)])
@pytest.mark.parametrize("pixels", [2**20, 20])
def test_the_filter_is_that_of_a_double_loop(low, pixels, monkeypatch):
    monkeypatch.setattr(blocks, "PIXELS_AT_ONCE", pixels)  # in one go, and in strips
    guide, x = noise(2, 1, 7, 9, dtype=torch.float64), noise(3, 2, 2, *low, seed=1, dtype=torch.float64)
    got = joint_bilateral(x, guide, 1.3, 0.2, radius=2)
    assert got.shape == (3, 2, 2, 7, 9)
    for sample in range(3):
        for picture in range(2):
            wanted = by_loops(x[sample, picture], guide[picture, 0], 1.3, 0.2, 2)
            torch.testing.assert_close(got[sample, picture], wanted)


@pytest.mark.parametrize("low", [(64, 72), (8, 9)])
def test_the_filter_takes_noise_away_and_keeps_edges(low):
    guide = torch.full((1, 1, 64, 72), 0.35)
    guide[..., 36:] = 0.65
    clean = torch.where(torch.arange(72) < 36, 1.0, -1.0).expand(1, 1, 64, -1)
    small = F.interpolate(clean, low, mode="area")
    noisy = small + 0.2 * (noise(1, 1, *low) - 0.5)
    miss = (joint_bilateral(noisy, guide) - clean).abs()
    plain = (F.interpolate(noisy, (64, 72), mode="bilinear") - clean).abs()
    assert miss.max() < 0.1 and miss.mean() < 0.7 * plain.mean()


def test_where_nothing_is_alike_the_nearest_counts():
    guide = torch.zeros(1, 1, 4, 4)
    guide[..., 1::2] = 1.0  # so that the reduced guide is 0.5 everywhere
    x = noise(1, 1, 2, 2)
    wanted = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(joint_bilateral(x, guide, sigma_range=1e-3), wanted)


def test_maps_and_guides_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"guide must not be smaller than x, \(8, 4\); got \(4, 8\)"):
        joint_bilateral(noise(1, 2, 8, 4), noise(1, 1, 4, 8))
    with pytest.raises(ValueError, match=r"x must be maps \(..., 3, C, h, w\); got \(2, 2, 4, 4\)"):
        joint_bilateral(noise(2, 2, 4, 4), noise(3, 1, 4, 4))


# The models at work.


@pytest.mark.parametrize("category", ["none", "predicted", "true"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 23)])
def test_any_size_in_that_size_and_lightness_out(category, size):
    model, gray = build(category), noise(2, 1, *size)
    nn.init.constant_(model.layers[-1].bias, 0.05)  # an untrained network is almost gray
    rgb = model.colorize(gray, samples=2)
    assert rgb.shape == (2, 2, 3, *size) and torch.equal(rgb[0], rgb[1])
    lab = rgb_to_lab(rgb)
    assert (lab[:, :, :1] - rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]).abs().max() < 0.1
    assert lab[:, :, 1:].abs().max() > 5


def test_the_filter_is_at_work_unless_told_otherwise():
    model, gray = build("none"), noise(1, 1, 12, 12)
    lightness = rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
    chance = torch.Generator()
    with torch.no_grad():
        model.eval()
        uv = model(gray)
        for knobs, wanted in (
            ({"sigma_space": 0}, uv),
            ({}, joint_bilateral(uv, gray, 2.0, 0.05)),
            ({"sigma_space": 1.0, "sigma_range": 0.3}, joint_bilateral(uv, gray, 1.0, 0.3)),
        ):
            got = model.chroma(lightness, 1, chance, **knobs)[0]
            torch.testing.assert_close(got, _ab(gray, wanted), atol=1e-2, rtol=1e-3)


def test_labels_take_the_place_of_the_guess():
    gray, labels = noise(2, 1, 8, 8), torch.arange(128).view(2, 8, 8) % 4
    model = build("true").eval()
    for parameter in model.segmentation.parameters():
        nn.init.zeros_(parameter)
    guessed, told = model.colorize(gray), model.colorize(gray, labels=labels)
    assert not torch.allclose(guessed, told, atol=1e-3)
    nn.init.constant_(model.segmentation.head[-1].bias, 3.0)  # has no part in what labels say
    assert torch.equal(model.colorize(gray, labels=labels), told)
    # Seen at half of its size, a picture's labels are those at the middle of each pixel.
    large, twice = noise(2, 1, 16, 16, seed=1), labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    halves = [model.colorize(large, labels=each, image_size=8) for each in (labels, twice)]
    assert torch.equal(*halves)
    with pytest.raises(ValueError, match=r"labels must be \(2, h, w\), one map a picture; got \(1, 8, 8\)"):
        model.colorize(gray, labels=labels[:1])
    with pytest.raises(ValueError, match="labels must be from 0 to 3; got values from 0 to 4"):
        model.colorize(gray, labels=labels + labels // 3)
    with pytest.raises(ValueError, match="labels are for a model with categories"):
        build("none").colorize(gray, labels=labels)


@pytest.mark.parametrize("side", [1, 8, 32])
@pytest.mark.parametrize("category", ["none", "predicted", "true"])
def test_a_batch_of_one_trains_whatever_its_size(category, side):
    model = build(category)
    model.loss({"rgb": noise(1, 3, side, side), "material": torch.ones(1, side, side).long()})[0].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_training_with_categories_needs_labels():
    rgb = noise(2, 3, 8, 8)
    assert build("none").loss({"rgb": rgb})[0].isfinite()
    with pytest.raises(ValueError, match="batch must have 'material' to train with category='predicted'"):
        build().loss({"rgb": rgb})
    with pytest.raises(ValueError, match="material must be from 0 to 3"):
        build().loss({"rgb": rgb, "material": torch.full((2, 8, 8), 4)})
    with pytest.raises(ValueError, match=r"material must be \(2, 8, 8\); got \(2, 8, 4\)"):
        build().loss({"rgb": rgb, "material": torch.zeros(2, 8, 4, dtype=torch.int64)})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"category": "some"}, "category must be one of none, predicted, true; got 'some'"),
        ({"categories": 0}, "categories must be at least 1; got 0"),
        ({"radius": 0}, "radius must be at least 1; got 0"),
        ({"width": 0}, "width must be at least 1; got 0"),
    ],
)
def test_bad_parameters_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepColorization(**arguments)


def test_the_small_version_has_the_same_structure():
    full, small = DeepColorization().state_dict(), DeepColorization.small().state_dict()
    assert full.keys() == small.keys()
    assert DeepColorization.small(category="none").segmentation is None


def test_the_segmentation_sees_far_and_sharp():
    """The score of a pixel depends on pixels far away, and on the very pixel."""
    torch.manual_seed(0)
    network = SegmentationNetwork(3, width=4).eval()
    picture = noise(1, 1, 48, 48).requires_grad_()
    network(picture)[0, :, 24, 24].sum().backward()
    reach = picture.grad[0, 0].abs()
    assert reach[24, 24] > 0 and reach[2].max() > 0 and reach[:, 45].max() > 0


def trained(category, batch, steps=150):
    model = build(category, categories=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(batch)[0].backward()
        optimizer.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.parametrize("told", [False, True])
def test_what_a_category_is_worth(told):
    """Two categories of two colors. Where their grays look alike, only the true category gives the color."""
    labels = (torch.arange(8) % 2)[:, None, None].expand(-1, 16, 16).contiguous()
    colors = torch.tensor([[25.0, 20.0], [-20.0, 20.0]])[labels].movedim(-1, 1)
    stripes = (torch.arange(16) % 2) * 14.0 * labels[:, None] * told  # told: one of the two is striped

    def pictures(seed):
        lightness = 45 + 10 * noise(8, 1, 16, 16, seed=seed) + stripes
        return lab_to_rgb(torch.cat([lightness, colors], 1))

    seen, unseen, error = pictures(0), pictures(1), {}
    uv = rgb_to_yuv(unseen)[:, 1:]
    spread = (uv - uv.mean((0, 2, 3), keepdim=True)).square().mean().item()
    for category in ("none", "predicted", "true"):
        model = trained(category, {"rgb": seen, "material": labels})
        given = model.one_hot(labels) if category == "true" else None
        with torch.no_grad():
            error[category] = (model(rgb_to_gray(unseen), given) - uv).square().mean().item() / spread
    assert error["true"] < 0.1
    for category in ("none", "predicted"):
        assert error[category] < 0.1 if told else error[category] > 0.7, error


@pytest.mark.slow
def test_a_short_training_on_the_world_learns():
    world = World(32)
    torch.manual_seed(0)
    model = DeepColorization.small()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    before = after = None
    for step in range(60):
        batch = world.batch(range(8 * step, 8 * step + 8))
        optimizer.zero_grad()
        loss, scalars = model.loss({"rgb": batch.rgb, "material": batch.material})
        loss.backward()
        optimizer.step()
        after = scalars
        before = before or scalars
    assert after["accuracy"] > 0.4 > before["accuracy"]
    assert after["color"] < 0.9 * before["color"]
