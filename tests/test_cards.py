"""The model cards' figures, measured again: the weights that come with the library are those of the cards."""

import re

import pytest
import torch

import colorlib
from colorlib import metrics, zoo
from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab, rgb_to_yuv
from colorlib.data import World, masks, photos
from colorlib.sampling import sample

pytestmark = pytest.mark.slow

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle")
FEW = 6  # scenes whose shares of colors the cards of pixcolor name


def card(name):
    return (zoo.WEIGHTS / f"{name}.md").read_text(encoding="utf-8")


def number(text, pattern):
    """The one number that a pattern with one group finds in a card, line breaks taken as spaces."""
    (found,) = re.findall(pattern, " ".join(text.split()))
    return float(found)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def share_distance(model, world, i):
    """How far each color's share among 200 samples of scene i is from the law's.

    Of the things that have a choice and three cells or more. A thing's color is the one of its palette that
    is nearest to its cells in the mean square.
    """
    scene = world.batch([i])
    with torch.no_grad():
        drawn = sample(model.pixelcnn, model.condition(scene.gray), 200, chance(i))[:, 0]
    thing = scene.object[0, 2::4, 2::4]
    away = []
    for entry in range(world.law.probabilities.shape[1]):
        colors = torch.full_like(scene.colors, entry)
        painted = lab_to_rgb(torch.cat([scene.lightness, world.law.drawn(scene, colors)], 1))
        away.append((drawn - model.levels(painted)).square().sum(1).float())
    away = torch.stack(away, 1)  # (200, entries, h, w)
    distances = []
    for slot in thing.unique().tolist():
        p = world.law.probabilities[scene.palette_of[0, slot]]
        entries = int((p > 0).sum())
        if entries > 1 and (thing == slot).sum() >= 3:
            color = away[:, :entries, thing == slot].sum(2).argmin(1)
            distances.append((torch.bincount(color, minlength=entries) / 200 - p[:entries]).abs())
    return torch.cat(distances)


def of_pixcolor(model, text, count=200):
    """Nats a picture, and how far shares of colors are from the law's."""
    world = World(64, seed=1)
    nats = []
    for start in range(0, count, 20):
        scenes = world.batch(range(start, min(count, start + 20)))
        nats.append(-model.log_prob(scenes.gray, model.pixelcnn.values(model.levels(scenes.rgb))))
    error = number(text, r"nats a picture, 512 values \| [\d.]+, give or take ([\d.]+)")
    yield torch.cat(nats).mean(), number(text, r"nats a picture, 512 values \| ([\d.]+)"), error
    off = torch.cat([share_distance(model, world, i) for i in range(min(FEW, count // 10))])
    yield 100 * off.mean(), number(text, r"share is off by ([\d.]+) points"), 0.3


def of_cic(model, text, count=100):
    """Divergence of the distributions from the exact ones."""
    world, nats = World(64, seed=2), []
    for i in range(0, count, 10):
        scenes = world.batch(range(i, i + 10))
        with torch.no_grad():
            given = model.distribution(scenes.lightness)
        stride = scenes.rgb.shape[-1] // given.shape[-1]
        exact = world.law.distribution(scenes)[..., stride // 2 :: stride, stride // 2 :: stride]
        nats.append(metrics.divergence(exact, given).mean())
    yield torch.stack(nats).mean(), number(text, r"is ([\d.]+) nats a pixel"), 0.005


def of_regression(model, text, count=100):
    """The expected squared error of ab."""
    world, errors = World(192, seed=2), []
    for i in range(0, count, 5):
        scenes = world.batch(range(i, i + 5))
        with torch.no_grad():
            miss = (model(scenes.lightness) - world.law.mean(scenes)).square().sum(1)
        errors.append(miss.mean() + world.law.variance(scenes).mean())
    yield torch.stack(errors).mean(), number(text, r"expected squared error is ([\d.]+)"), 0.5


def of_gan(model, text, count=300):
    """Distance to the nearest color that a thing may have."""
    world = World(32, seed=1)
    scenes = world.batch(range(count))
    with torch.no_grad():
        ab = model.chroma(scenes.lightness, 1, chance())[0].movedim(1, -1)
    kind = scenes.palette_of.gather(1, scenes.object.flatten(1)).view(scenes.object.shape)
    distance = (ab[..., None, :] - world.law.ab[kind]).norm(dim=-1)
    possible = world.law.probabilities[kind] > 0
    nearest = distance.masked_fill(~possible, torch.inf).amin(-1)[possible.sum(-1) > 1]
    yield nearest.mean(), number(text, r"color that the thing may have \| ([\d.]+)"), 0.1


def mean_uv(world, scenes):
    """The mean U and V at each pixel, and their variance."""
    mean = square = 0
    for entry in range(world.law.ab.shape[1]):
        ab = world.law.ab[scenes.material, entry].movedim(-1, 1)
        p = world.law.probabilities[scenes.material, entry][:, None]
        uv = rgb_to_yuv(lab_to_rgb(torch.cat([scenes.lightness, ab], 1)))[:, 1:]
        mean, square = mean + p * uv, square + p * uv.square()
    return mean, (square - mean.square()).sum(1)


def of_deep(model, text, count=100):
    """The expected squared error of U and V above the least, and the share of categories that are right."""
    world = World(64, seed=2)
    scenes = world.batch(range(count))
    best, variance = mean_uv(world, scenes)
    known = model.one_hot(scenes.material) if model.category == "true" else None
    with torch.no_grad():
        excess = (model(scenes.gray, known) - best).square().sum(1).mean() / variance.mean()
    yield 100 * excess, number(text, r"is ([\d.]+)% above the least"), 0.2
    if model.segmentation is not None:
        with torch.no_grad():
            right = (model.segmentation(scenes.gray).argmax(1) == scenes.material).float().mean()
        yield 100 * right, number(text, r"names the right one at ([\d.]+)% of the pixels"), 0.2


def of_masked(model, text, count=200):
    """Chroma inside and outside of the left half, and the error inside."""
    beds = World(32, "flowers", seed=2).batch(range(count))
    mask = masks.ten(32, ["left half"])
    rgb, inside = model.colorize(beds.gray, mask=mask)[0], mask[0, 0] > 0
    chroma = rgb_to_lab(rgb)[:, 1:].norm(dim=1)
    miss = metrics.ab_distance(rgb, beds.rgb)
    figures = chroma[:, inside].mean(), chroma[:, ~inside].mean(), miss[:, inside].mean()
    for k, got in enumerate(figures):
        before = r"[\d.]+ \| " * k
        yield got, number(text, rf"left half \| {before}([\d.]+)"), 0.1


def of_photographs(model, text, count=None):
    """Distance to the true colors of scikit-image's photographs, and what leaving them gray gives."""
    for name in PHOTOS:
        photo = photos(name, max_side=256)[name][None]
        gray = rgb_to_gray(photo)
        yield (
            metrics.ab_error(model.colorize(gray)[0], photo),
            number(text, rf"\| {name} \| ([\d.]+)"),
            0.1,
        )
        yield (
            metrics.ab_error(gray.expand_as(photo), photo),
            number(text, rf"\| {name} \| [\d.]+ \| ([\d.]+)"),
            0.1,
        )


MEASURES = {
    "photographs": of_photographs,
    "pixcolor": of_pixcolor,
    "cic-world": of_cic,
    "regression-world": of_regression,
    "deep": of_deep,
    "gan": of_gan,
    "masked": of_masked,
}


def measure(name):
    return next((of for start, of in MEASURES.items() if name.startswith(start)), None)


MEASURED = [name for name in zoo.shipped() if measure(name)]


@pytest.mark.parametrize("name", MEASURED)
def test_the_card_s_figures_hold(name):
    for got, stated, error in measure(name)(colorlib.load(name), card(name)):
        assert float(got) == pytest.approx(stated, abs=error)


def test_photographs_come_nearer_to_the_truth_than_gray():
    figures = [float(got) for got, _, _ in of_photographs(colorlib.load("photographs"), card("photographs"))]
    ours, gray = figures[::2], figures[1::2]
    assert sum(ours) < 0.8 * sum(gray) and sum(a < b for a, b in zip(ours, gray, strict=True)) >= 4


@pytest.mark.parametrize("name", MEASURED)
def test_an_untrained_model_misses_each_of_them(name):
    """By far, so that neither its first weights nor how few scenes are looked at matter."""
    trained = colorlib.load(name)
    untrained = type(trained)(**trained.settings).eval()
    figures = list(measure(name)(untrained, card(name), count=20))
    for got, stated, error in figures[::2] if name == "photographs" else figures:  # the others are gray's
        assert abs(float(got) - stated) > 10 * error


@pytest.mark.parametrize("name", ["pixcolor-world", "pixcolor-world-plain"])
def test_the_card_s_floor_is_the_law_s(name):
    world = World(64, seed=1)
    scenes = world.batch(range(200))
    things = scenes.object[:, 2::4, 2::4].flatten(1)
    shown = torch.zeros(scenes.colors.shape).scatter(1, things, 1.0) > 0
    floor = (world.law.object_entropy(scenes) * shown).sum(1).mean().item()
    assert floor == pytest.approx(number(card(name), r"the floor \| ([\d.]+)"), abs=0.05)
