"""The figures on the cards of the world's weights hold: they are measured again, on fewer scenes.

What comes of these lies within four standard errors of the card's number, and that of an untrained network
doesn't.
"""

import re

import pytest
import torch

import colorlib
from colorlib import metrics, zoo
from colorlib.color import rgb_to_lab
from colorlib.data import World, masks


def card(name):
    return (zoo.WEIGHTS / f"{name}.md").read_text(encoding="utf-8")


def untrained(model):
    torch.manual_seed(0)
    other = type(model)(**model.settings).eval()
    other.side = model.side
    return other


def over_scenes(total, count=1.0):
    """A mean over all pixels counted, and its standard error, from each scene's sum and count."""
    total = total.double()
    count = torch.as_tensor(count).double().expand_as(total)
    mean = total.sum() / count.sum()
    error = (total - mean * count).std() * len(total) ** 0.5 / count.sum()
    return mean.item(), error.item()


def pixels(values, where):
    """The same, from a value for each pixel (B, H, W) and the pixels that count."""
    return over_scenes((values * where).flatten(1).sum(1), where.flatten(1).sum(1))


def holds(stated, measured):
    """Whether each number of the card, as it is written there, agrees with what was measured."""
    fits = []
    for number, (mean, error) in zip(stated, measured, strict=True):
        rounding = 0.51 * 10.0 ** -len(number.partition(".")[2])
        fits.append(abs(float(number) - mean) <= 4 * error + rounding)
    return fits


@torch.no_grad()
def regression(model):
    world = World(192, seed=2)
    scenes, law = world.batch(range(12)), world.law
    least = law.variance(scenes).mean((1, 2, 3))
    excess = (model(scenes.lightness) - law.mean(scenes)).square().sum(1).mean((1, 2))
    share, error = over_scenes(excess, least)
    return [over_scenes(least + excess), over_scenes(least), (100 * share, 100 * error)]


def classification(model):
    world = World(64, seed=2)
    scenes = world.batch(range(40))
    exact = world.law.distribution(scenes)[..., 2::4, 2::4]
    lost = metrics.divergence(exact, model.distribution(scenes.lightness))
    return [over_scenes(each.mean((1, 2))) for each in (lost, torch.special.entr(exact).sum(1))]


@torch.no_grad()
def adversarial(model):
    world = World(32, seed=1)
    scenes, law = world.batch(range(60)), world.law
    several = law.variance(scenes)[:, 0] > 0
    border = scenes.object[..., 1:] != scenes.object[..., :-1]
    # The distance to the palette's entries, of which those beyond the last one can't be.
    away = law.ab[scenes.material].movedim(-1, 1).movedim(-1, 1)  # (B, entries, 2, H, W)
    possible = (law.probabilities > 0)[scenes.material].movedim(-1, 1)
    columns = []
    for ab in (model(scenes.lightness), law.drawn(scenes)):
        step = (ab[..., 1:] - ab[..., :-1]).norm(dim=1)
        nearest = (ab[:, None] - away).norm(dim=2).masked_fill(~possible, torch.inf).amin(1)
        chroma = over_scenes(ab.norm(dim=1).mean((1, 2)))
        columns.append([chroma, pixels(step, border), pixels(step, ~border), pixels(nearest, several)])
    return [row for pair in zip(*columns, strict=True) for row in pair]


def masked(model):
    scenes = World(32, "flowers", seed=2).batch(range(50))
    true = scenes.lab[:, 1:]
    rows = []
    for kind in ("left half", "ten", "stripes", "strokes", "segments"):
        mask = masks.draw(range(10_000, 10_050), 32, kind, scenes.material)
        ab = rgb_to_lab(model.colorize(scenes.gray, mask=mask)[0])[:, 1:]
        inside, chroma = mask[:, 0] > 0.5, ab.norm(dim=1)
        rows += [pixels(chroma, inside), pixels(chroma, ~inside), pixels((ab - true).norm(dim=1), inside)]
    return rows


def check(name, stated, measure):
    model = colorlib.load(name)
    measured = measure(model)
    assert all(holds(stated, measured)), list(zip(stated, measured, strict=True))
    return stated, measure(untrained(model))


def test_the_regressor_is_as_good_as_its_card_says(name="regression-world"):
    figures = re.search(r"squared error is ([\d.]+), .* is ([\d.]+): ([\d.]+)% above", card(name))
    stated, without = check(name, figures.groups(), regression)
    reached, least, above = holds(stated, without)
    assert least and not reached and not above


def test_the_classifier_is_as_good_as_its_card_says(name="cic-world"):
    figures = re.search(r"exact ones is ([\d.]+) nats .* is ([\d.]+) nats", card(name))
    stated, without = check(name, figures.groups(), classification)
    lost, entropy = holds(stated, without)
    assert entropy and not lost


@pytest.mark.parametrize("name", [name for name in zoo.shipped() if name.startswith("gan-world")])
def test_the_gans_paint_as_their_cards_say(name):
    rows = re.findall(r"^\| [a-z ]+ \| ([\d.]+) \| ([\d.]+) \|$", card(name), re.M)
    assert len(rows) == 4
    stated, without = check(name, sum(rows, ()), adversarial)
    fits = holds(stated, without)
    assert all(fits[1::2]) and not all(fits[::2])  # the columns: this one, and the truth


@pytest.mark.parametrize("name", [name for name in zoo.shipped() if name.startswith("masked-flowers")])
def test_the_masked_gans_obey_as_their_cards_say(name):
    rows = re.findall(r"^\| [a-z ]+ \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", card(name), re.M)
    assert len(rows) == 5
    stated, without = check(name, sum(rows, ()), masked)
    assert sum(holds(stated, without)) < 5
