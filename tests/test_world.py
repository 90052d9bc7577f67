"""The world: the same bits everywhere, colors that follow the law, lightness that doesn't tell them."""

import functools
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from processes import run
from scipy import stats

from colorlib.color import ab_bins, lab_to_rgb, rgb_to_lab, soft_encode
from colorlib.data import Scene, World
from colorlib.data.materials import KINDS

KIND_NAMES = list(KINDS)
MANY = 20_000


@pytest.fixture(scope="module", params=KIND_NAMES)
def world(request):
    return World(32, request.param)


@pytest.fixture(scope="module")
def scenes(world):
    return world.batch(range(600))


@functools.cache
def many_draws(kind):
    return World(32, kind).colors(range(MANY))


@pytest.fixture
def draws(world):
    return many_draws(world.kind)


def assert_same(one, other, context=""):
    for field in fields(Scene):
        assert torch.equal(getattr(one, field.name), getattr(other, field.name)), f"{field.name} {context}"


# The same bits


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 33, 64])
@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_scene_is_the_same_in_any_batch_order_and_number_of_threads(kind, size):
    world = World(size, kind, seed=3)
    indices = [5, 0, 17, 999, 2**40 + 1]
    alone = [world[i] for i in indices]
    # 150 scenes go through several chunks and plans; these sit in different places of them.
    crowd = torch.randperm(5000, generator=torch.Generator().manual_seed(1))[:150].tolist()
    for k, i in enumerate(indices):
        crowd[31 * k + 7] = i
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for batch in (indices, indices[::-1], crowd, torch.tensor(crowd).flip(0)):
                scenes = world.batch(batch)
                numbers = batch.tolist() if isinstance(batch, torch.Tensor) else batch
                for i, scene in zip(indices, alone, strict=True):
                    assert_same(scenes[numbers.index(i)], scene, f"of scene {i}, {count} threads")
    finally:
        torch.set_num_threads(threads)


# Run here and in another process.
DIGEST = """
import hashlib
from colorlib.data import World
digest = hashlib.sha256()
for kind in ("landscape", "flowers"):
    scenes = World(32, kind).batch([3, 141, 59])
    for name in ("rgb", "lightness", "material", "object", "infrared", "colors", "palette_of"):
        digest.update(getattr(scenes, name).numpy().tobytes())
digest = digest.hexdigest()
"""


@pytest.mark.slow
def test_another_process_draws_the_same_bits():
    here = {}
    exec(DIGEST, here)
    assert run(DIGEST + "print(digest)").strip() == here["digest"]


@pytest.mark.slow
def test_no_seed_is_another_seed_in_another_order():
    """Seed and index joined by an exclusive or would give these pairs of worlds the same scenes."""
    base = World(16, seed=0).batch(range(2000)).lightness.flatten(1).numpy()
    seen = {scene.tobytes() for scene in base}
    assert len(seen) == len(base)
    for seed in (1, 132, 796, 2**32, 460400273425170434):
        other = World(16, seed=seed).batch(range(2000)).lightness.flatten(1).numpy()
        assert not seen & {scene.tobytes() for scene in other}
    assert not torch.equal(World(32, seed=1)[5].rgb, World(32, seed=0)[5 ^ 3841512407].rgb)


def test_a_palette_is_a_copy(world):
    before = world.law.palette(world.materials[0]).ab.clone()
    world.law.palette(world.materials[0]).ab.zero_()
    assert torch.equal(world.law.palette(world.materials[0]).ab, before)


def test_other_indices_and_seeds_are_other_scenes(world):
    base = world[0]
    assert not torch.equal(base.lightness, world[1].lightness)
    # Both halves of a 64-bit number count.
    assert not torch.equal(base.lightness, world[2**32].lightness)
    for seed in (1, 2**32):
        assert not torch.equal(base.lightness, World(32, world.kind, seed)[0].lightness)


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_another_size_sees_the_same_scene(kind):
    small, large = World(32, kind).batch(range(40)), World(96, kind).batch(range(40))
    assert torch.equal(small.colors, large.colors) and torch.equal(small.palette_of, large.palette_of)
    # Every third pixel of 96 has its center where one of 32 has its own. Rounding may tip a pixel on an edge.
    same = small.object == large.object[:, 1::3, 1::3]
    assert same.double().mean() > 0.998
    for size in (16, 129):
        assert torch.equal(World(size, kind).batch(range(3)).colors, small[:3].colors)


# What a scene holds


def test_shapes_types_and_ranges(world, scenes):
    n, size, slots = 600, 32, len(world.slots)
    assert scenes.rgb.shape == (n, 3, size, size) and scenes.rgb.dtype == torch.float32
    gray = scenes[:50].gray
    assert gray.shape == (50, 1, size, size)
    assert scenes.infrared.shape == scenes.lightness.shape == (n, 1, size, size)
    assert scenes.material.shape == scenes.object.shape == (n, size, size)
    assert scenes.colors.shape == scenes.palette_of.shape == scenes.visible.shape == (n, slots)
    for whole in (scenes.material, scenes.object, scenes.colors, scenes.palette_of):
        assert whole.dtype == torch.int64
    for picture in (scenes.rgb, scenes.infrared, gray):
        assert picture.min() >= 0 and picture.max() <= 1
    assert 0 <= scenes.material.min() and scenes.material.max() < len(world.materials)
    assert len(set(world.slots)) == slots and len(set(world.materials)) == len(world.materials)
    one = world[0]
    assert one.rgb.shape == (3, size, size) and one.colors.shape == (slots,)
    assert one.gray.shape == (1, size, size) and one.lab.shape == (3, size, size)


def test_every_pixel_belongs_to_a_present_object_of_its_material(scenes):
    material_of_object = scenes.palette_of.gather(1, scenes.object.flatten(1)).view_as(scenes.object)
    assert torch.equal(material_of_object, scenes.material)
    assert torch.equal(scenes.colors >= 0, scenes.palette_of >= 0)
    assert not (scenes.visible & (scenes.palette_of < 0)).any()
    for k in (0, 7):
        shows = set(scenes.object[k].unique().tolist())
        assert set(scenes.visible[k].nonzero()[:, 0].tolist()) == shows


def test_every_material_and_every_slot_appears(world, scenes):
    seen = world.batch(range(600, 1200))
    assert set(seen.material.unique().tolist()) == set(range(len(world.materials)))
    assert seen.visible.any(0).all()


def test_a_batch_is_indexed_like_its_tensors(scenes):
    assert len(scenes) == 600
    assert_same(scenes[3:5][1], scenes[4])
    assert_same(scenes[[4, 2]][0], scenes[4])
    assert_same(list(scenes[:3])[2], scenes[2])
    assert_same(scenes[2].to("cpu"), scenes[2])
    with pytest.raises(TypeError, match="no length"):
        len(scenes[0])
    with pytest.raises(TypeError, match="can't be indexed"):
        scenes[0][0]


def test_an_empty_batch_is_a_batch(world):
    empty = world.batch([])
    assert empty.rgb.shape == (0, 3, 32, 32) and len(empty) == 0
    assert world.law.mean(empty).shape == (0, 2, 32, 32)


def test_a_person_on_a_bicycle_is_rare():
    world = World(32)
    _, palette_of = many_draws("landscape")
    share = (palette_of[:, world.slots.index("cyclist 0 shirt")] >= 0).double().mean()
    assert 0.02 < share < 0.03


def test_half_of_the_flowers_are_yellow():
    world = World(32, "flowers")
    colors, palette_of = many_draws("flowers")
    yellow = total = 0
    for species in ("daisy", "sunflower", "tulip", "pansy", "lily"):
        here = palette_of == world.materials.index(species)
        yellow += (colors[here] == world.law.palette(species).names.index("yellow")).sum().item()
        total += here.sum().item()
    assert 0.45 < yellow / total < 0.55


def test_warm_things_glow():
    world = World(32)
    scenes = world.batch(range(600))

    def warmth(name):
        return scenes.infrared[:, 0][scenes.material == world.materials.index(name)].mean()

    order = ["sky", "water", "meadow", "road", "car", "skin"]
    values = [warmth(name) for name in order]
    assert values == sorted(values) and values[-1] - values[0] > 0.8


# Color and gamut


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_paint_is_inside_the_gamut_at_every_lightness_of_its_material(kind):
    for m in KINDS[kind]:
        levels = torch.arange(round(10 * m.low), round(10 * m.high) + 1, dtype=torch.float64) / 10
        for name, _, a, b in m.palette:
            lab = torch.stack([levels, torch.full_like(levels, a), torch.full_like(levels, b)])[:, None]
            rgb = lab_to_rgb(lab, clip=False)
            assert rgb.min() >= 0 and rgb.max() <= 1, f"{m.name} {name}"


def test_lightness_stays_within_the_range_of_its_material(world, scenes):
    for k, m in enumerate(KINDS[world.kind]):
        lightness = scenes.lightness[:, 0][scenes.material == k]
        if len(lightness):
            assert m.low - 1e-4 <= lightness.min() and lightness.max() <= m.high + 1e-4, m.name


def test_the_way_from_rgb_back_to_lab_finds_the_paint(world, scenes):
    scenes = scenes[:200]
    lab = rgb_to_lab(scenes.rgb.double())
    drawn = world.law.drawn(scenes)
    assert (lab[:, :1] - scenes.lightness).abs().max() < 1e-3
    assert (lab[:, 1:] - drawn).abs().max() < 1e-3
    # The paint by the names alone, for one scene and without the law's tables.
    for y, x in ((3, 3), (16, 16), (30, 8)):
        slot = scenes.object[0, y, x]
        _, _, a, b = KINDS[world.kind][scenes.material[0, y, x]].palette[scenes.colors[0, slot]]
        assert lab[0, 1:, y, x].tolist() == pytest.approx([a, b], abs=1e-3)


def test_gray_has_the_lightness_of_the_picture(scenes):
    gray = scenes[:20].gray
    lightness = rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
    assert (lightness - scenes[:20].lightness).abs().max() < 1e-2


# The law of the draws


def chi_squared(counts, probabilities):
    """The probability of counts at least this far from what they should be."""
    expected = probabilities * counts.sum()
    return stats.chisquare(counts, expected * (counts.sum() / expected.sum())).pvalue


def test_draws_follow_the_palettes(world, draws):
    colors, palette_of = draws
    for k, m in enumerate(KINDS[world.kind]):
        drawn = colors[palette_of == k].numpy()
        palette = world.law.palette(m.name)
        assert len(drawn) > 300 and drawn.min() >= 0 and drawn.max() < len(palette.names), m.name
        if len(palette.names) > 1:
            counts = np.bincount(drawn, minlength=len(palette.names))
            assert chi_squared(counts, palette.probabilities.double().numpy()) > 1e-4, m.name


def test_the_test_of_frequencies_would_see_a_wrong_palette(world, draws):
    colors, palette_of = draws
    name = {"landscape": "sky", "flowers": "daisy"}[world.kind]
    p = world.law.palette(name).probabilities.double().numpy()
    counts = np.bincount(colors[palette_of == world.materials.index(name)].numpy(), minlength=len(p))
    assert chi_squared(counts, p + np.array([0.03, -0.03, 0])) < 1e-4


def test_objects_draw_independently_of_each_other(world, draws):
    colors, _ = draws
    slots = [k for k in range(len(world.slots)) if len(colors[:, k].unique()) > 2][:12]
    for i, a in enumerate(slots):
        for b in slots[:i]:
            both = (colors[:, a] >= 0) & (colors[:, b] >= 0)
            if both.sum() < 500:
                continue
            table = np.zeros((8, 8))
            np.add.at(table, (colors[both, a].numpy(), colors[both, b].numpy()), 1)
            table = table[table.sum(1) > 0][:, table.sum(0) > 0]
            assert stats.chi2_contingency(table).pvalue > 1e-5, (world.slots[a], world.slots[b])


def test_colors_drawn_without_painting_are_those_painted(world, scenes):
    colors, palette_of = world.colors(range(600))
    assert torch.equal(colors, scenes.colors) and torch.equal(palette_of, scenes.palette_of)
    again, _ = world.colors(range(600), draw=4)
    assert torch.equal(again, world.batch(range(600), draw=4).colors)


# Lightness doesn't tell the color


def object_features(scenes):
    """Of every object that shows at least 12 pixels: its material, its draw and statistics of its pixels."""
    lightness, infrared = scenes.lightness[:, 0].double(), scenes.infrared[:, 0].double()
    count, slots = scenes.colors.shape
    index = (scenes.object + slots * torch.arange(count)[:, None, None]).flatten()

    def total(values, index=index):
        return torch.zeros(count * slots, dtype=torch.float64).index_add_(0, index, values.flatten())

    pixels = total(torch.ones_like(lightness))
    enough = pixels >= 12
    # Steps to the right neighbor, where it is of the same object.
    inside = (scenes.object[..., 1:] == scenes.object[..., :-1]).double()
    step = (lightness[..., 1:] - lightness[..., :-1]).abs() * inside
    left = index.view(count, *lightness.shape[1:])[..., :-1].flatten()
    mean = total(lightness) / pixels
    features = {
        "mean": mean,
        "spread": (total(lightness**2) / pixels - mean**2).clamp(min=0).sqrt(),
        "texture": total(step, left) / total(inside, left).clamp(min=1),
        # Lightness is written in tenths: a leak could hide in the last digit.
        "last digit": total(torch.remainder((10 * lightness).round(), 2)) / pixels,
        "area": pixels,
        "infrared": total(infrared) / pixels,
        "infrared spread": (total(infrared**2) / pixels - (total(infrared) / pixels) ** 2)
        .clamp(min=0)
        .sqrt(),
    }
    material, color = scenes.palette_of.flatten()[enough], scenes.colors.flatten()[enough]
    return material, color, {name: feature[enough] for name, feature in features.items()}


def leaks(scenes, worst=1e-5):
    """The features that differ between the colors of a material: Kruskal and Wallis' test of ranks."""
    material, color, features = object_features(scenes)
    found, tests = set(), 0
    for m in material.unique().tolist():
        for name, feature in features.items():
            groups = [feature[(material == m) & (color == c)].numpy() for c in color[material == m].unique()]
            groups = [group for group in groups if len(group) >= 8]
            if len(groups) < 2 or np.ptp(np.concatenate(groups)) == 0:
                continue
            tests += 1
            if stats.kruskal(*groups).pvalue < worst:
                found.add((m, name))
    assert tests > 50
    return found


@pytest.fixture(scope="module")
def crowd(world):
    return world.batch(range(1500))


def test_lightness_area_and_infrared_tell_nothing_of_the_color(crowd):
    assert leaks(crowd) == set()


def entry_at_each_pixel(scenes):
    return scenes.colors.gather(1, scenes.object.flatten(1)).view_as(scenes.object)[:, None].double()


def test_the_test_of_leaks_sees_a_shift_of_lightness(world, crowd):
    leaky = replace(crowd, lightness=crowd.lightness + 1.0 * entry_at_each_pixel(crowd))
    assert any(name == "mean" for _, name in leaks(leaky))


def test_the_test_of_leaks_sees_a_change_of_texture(world, crowd):
    mark = torch.arange(32) % 2 * 2.0 - 1
    leaky = replace(crowd, lightness=crowd.lightness + 0.5 * entry_at_each_pixel(crowd) * mark)
    assert any(name in ("texture", "spread") for _, name in leaks(leaky))


def test_the_test_of_leaks_sees_a_mark_in_the_last_digit(crowd):
    tenths = (crowd.lightness.double() * 10).round()
    first = entry_at_each_pixel(crowd) == 0
    leaky = replace(crowd, lightness=torch.where(first, 2 * (tenths / 2).floor(), tenths) / 10)
    assert any(name == "last digit" for _, name in leaks(leaky))


def test_the_test_of_leaks_sees_warm_paint(crowd):
    leaky = replace(crowd, infrared=crowd.infrared + 0.02 * entry_at_each_pixel(crowd))
    assert any(name == "infrared" for _, name in leaks(leaky))


def test_painting_anew_changes_the_colors_and_nothing_else(world):
    base = world.batch(range(200))
    other = world.batch(range(200), draw=1)
    for name in ("lightness", "material", "object", "infrared", "palette_of"):
        assert torch.equal(getattr(base, name), getattr(other, name)), name
    assert torch.equal(base[:20].gray, other[:20].gray)
    assert not torch.equal(base.colors, other.colors)
    # Two draws of one object agree as often as two throws of its die do.
    entropy_free = [k for k, m in enumerate(KINDS[world.kind]) if len(m.palette) > 1]
    agree, expected, variance = 0, 0.0, 0.0
    for k in entropy_free:
        here = base.palette_of == k
        same = (world.law.palette(world.materials[k]).probabilities.double() ** 2).sum().item()
        agree += (base.colors[here] == other.colors[here]).sum().item()
        expected += same * here.sum().item()
        variance += same * (1 - same) * here.sum().item()
    assert abs(agree - expected) < 4 * math.sqrt(variance)


# The exact posterior


@pytest.fixture(scope="module")
def redrawn(world):
    """Six scenes, and their colors in 400 draws: (draws, 6, slots)."""
    scenes = world.batch(range(6))
    return scenes, torch.stack([world.colors(range(6), draw=k)[0] for k in range(1, 401)])


@pytest.mark.slow
def test_mean_and_variance_are_those_of_many_draws(world, redrawn):
    scenes, colors = redrawn
    small = World(16, world.kind).batch(range(6))
    drawn = torch.stack([world.law.drawn(small, draw) for draw in colors]).double()
    mean, variance = world.law.mean(small).double(), world.law.variance(small).double()
    assert mean.shape == (6, 2, 16, 16) and variance.shape == (6, 1, 16, 16)
    scatter = drawn.std(0)
    # 5 standard errors, for the worst of some 60 objects; a fixed color has no scatter.
    assert ((drawn.mean(0) - mean).abs() <= 5 * scatter / math.sqrt(len(colors)) + 1e-5).all()
    error = ((drawn - mean) ** 2).sum(2, keepdim=True)
    assert ((error.mean(0) - variance).abs() <= 5 * error.std(0) / math.sqrt(len(colors)) + 1e-3).all()


def test_entropy_is_the_mean_surprise_of_many_draws(world, redrawn):
    scenes, colors = redrawn
    surprise = torch.stack([-world.law.log_prob(scenes, draw) for draw in colors]).double()
    entropy = world.law.entropy(scenes).double()
    assert entropy.shape == (6,) and (entropy > 1).all()
    assert ((surprise.mean(0) - entropy).abs() < 4.5 * surprise.std(0) / math.sqrt(len(colors))).all()


def test_entropy_and_log_prob_by_hand(world, scenes):
    for k in range(10):
        scene = scenes[k]
        entropy = log = 0.0
        by_object = [0.0] * len(world.slots)
        for slot in scene.object.unique().tolist():
            palette = KINDS[world.kind][scene.palette_of[slot]].palette
            by_object[slot] = -sum(p * math.log(p) for _, p, _, _ in palette)
            entropy += by_object[slot]
            log += math.log(palette[scene.colors[slot]][1])
        assert world.law.entropy(scene).item() == pytest.approx(entropy, abs=1e-5)
        assert world.law.log_prob(scene).item() == pytest.approx(log, abs=1e-5)
        assert world.law.object_entropy(scene).tolist() == pytest.approx(by_object, abs=1e-6)
    slot = scenes[0].object[0, 0]
    at_pixel = world.law.pixel_entropy(scenes[0])
    assert at_pixel.shape == (1, 32, 32)
    assert at_pixel[0, 0, 0].item() == pytest.approx(world.law.object_entropy(scenes[0])[slot].item())


def test_hidden_objects_count_for_nothing(world):
    scenes = world.batch(range(600))
    hidden = (scenes.palette_of >= 0) & ~scenes.visible
    assert hidden.any()
    assert (world.law.object_entropy(scenes)[hidden] == 0).all()
    other = scenes.colors.masked_fill(hidden, 0)
    assert torch.equal(world.law.log_prob(scenes), world.law.log_prob(scenes, other))


def test_impossible_colors_have_no_probability(world):
    scene = world[0]
    slot = scene.object[0, 0]
    for wrong in (-1, 5, 99):
        colors = scene.colors.clone()
        colors[slot] = wrong
        expected = wrong < len(KINDS[world.kind][scene.palette_of[slot]].palette) and wrong >= 0
        assert (world.law.log_prob(scene, colors) > -math.inf).item() == expected


def test_distribution_mixes_the_encoded_palette(world):
    scene = World(16, world.kind)[1]
    distribution = world.law.distribution(scene)
    assert distribution.shape == (313, 16, 16)
    assert torch.allclose(distribution.sum(0), torch.ones(16, 16), atol=1e-5)
    for m in scene.material.unique().tolist():
        expected = torch.zeros(313, dtype=torch.float64)
        for _, p, a, b in KINDS[world.kind][m].palette:
            indices, weights = soft_encode(torch.tensor([[a, b]], dtype=torch.float64))
            for index, weight in zip(indices.flatten(), weights.flatten(), strict=True):
                expected[index] += p * weight
        assert (distribution[:, scene.material == m] - expected[:, None]).abs().max() < 1e-6
    # Its mean is near the exact one: the bins are 10 apart.
    mean = torch.einsum("khw,kc->chw", distribution, ab_bins())
    assert (mean - world.law.mean(scene)).abs().max() < 3


def test_mode_is_the_most_probable_color(world, scenes):
    mode = world.law.mode(scenes[:5])
    for m in scenes[:5].material.unique().tolist():
        _, _, a, b = max(KINDS[world.kind][m].palette, key=lambda entry: entry[1])
        here = mode.movedim(1, -1)[scenes[:5].material == m]
        assert torch.equal(here, torch.tensor([a, b], dtype=here.dtype).expand_as(here))


def test_palettes_are_readable(world):
    for m in KINDS[world.kind]:
        palette = world.law.palette(m.name)
        assert palette.names == tuple(name for name, *_ in m.palette)
        assert palette.probabilities.sum().item() == pytest.approx(1)
        assert palette.ab.tolist() == [[a, b] for _, _, a, b in m.palette]
    lines = str(world.law).splitlines()
    assert [line.split("  ")[0] for line in lines] == list(world.materials)
    if world.kind == "landscape":
        assert lines[0].endswith("  clear 55%, overcast 27%, dusk 18%")
    with pytest.raises(ValueError, match="name must be one of .*; got 'cheese'"):
        world.law.palette("cheese")


# Errors


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"size": 4}, ValueError, "size must be from 8 to 1024; got 4"),
        ({"size": 32.0}, TypeError, "size must be a whole number; got 32.0"),
        ({"kind": "city"}, ValueError, "landscape, flowers; got 'city'"),
        ({"kind": []}, ValueError, "kind must be"),
        ({"seed": -1}, ValueError, "seed must be at least 0; got -1"),
        ({"seed": None}, TypeError, "seed must be a whole number; got None"),
    ],
)
def test_a_world_that_cannot_be(arguments, error, match):
    with pytest.raises(error, match=match):
        World(**arguments)


@pytest.mark.parametrize(
    ("indices", "error", "match"),
    [
        ([0, -1], IndexError, "indices must be at least 0; got -1"),
        (torch.tensor([3, -2]), IndexError, "at least 0; got -2"),
        ([0.5], TypeError, "whole number; got 0.5"),
        ([True], TypeError, "whole number; got True"),
        (torch.tensor([0.0]), TypeError, "torch.float32"),
        (torch.tensor([[0]]), ValueError, r"\(B,\); got \(1, 1\)"),
        (3, TypeError, "sequence; got 3"),
        ("12", TypeError, "sequence; got '12'"),
    ],
)
def test_indices_that_cannot_be(indices, error, match):
    with pytest.raises(error, match=match):
        World(16).batch(indices)


def test_the_world_has_no_length_and_no_negative_index():
    world = World(16)
    with pytest.raises(TypeError):
        len(world)
    with pytest.raises(IndexError):
        world[-1]
    with pytest.raises(ValueError, match="draw"):
        world.batch([0], draw=-1)
    first = next(iter(world))
    assert_same(first, world[0])
