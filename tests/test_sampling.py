"""Drawing from a PixelCNN: the quick sampler against the naive one, and both against exact probabilities."""

import itertools
import math

import pytest
import torch
from torch import nn

from colorlib.models import PixColorSettings, PixelCNN
from colorlib.sampling import Stopped, cached_logits, draw, naive_sample, rows, sample


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def build(seed=0, dtype=torch.float64, **settings):
    settings = {"width": 8, "blocks": 2, "hidden_channels": 16, "levels": 5, **settings}
    torch.manual_seed(seed)
    model = PixelCNN(PixColorSettings(**settings), condition_channels=3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=1.5 / math.sqrt(parameter[0].numel()))
    return model.to(dtype)


def condition(*size, batch=1, channels=3, dtype=torch.float64, seed=1):
    return torch.randn(batch, channels, *size, generator=chance(seed), dtype=torch.float64).to(dtype)


SHAPES = [  # size of the map, images, samples, settings of the network
    ((1, 1), 1, 1, {}),
    ((1, 6), 2, 2, {}),
    ((6, 1), 1, 3, {"kernel": 3}),
    ((4, 7), 3, 2, {"kernel": 3, "first_kernel": 5, "blocks": 3}),
    ((5, 3), 2, 1, {"width": 6, "levels": 32, "hidden_channels": 10}),
    ((3, 4), 2, 2, {"blocks": 0}),
    ((3, 4), 2, 2, {"blocks": 1, "kernel": 1, "first_kernel": 3}),
    ((1, 1), 2, 2, {"attention_heads": 1}),
    ((4, 5), 3, 2, {"attention_heads": 4, "kernel": 3}),
    ((2, 6), 2, 3, {"attention_heads": 2, "blocks": 0}),
    ((4, 5), 2, 3, {"num_frequencies": 1}),
    ((3, 4), 3, 2, {"num_frequencies": 1, "blocks": 0}),
    ((3, 5), 2, 2, {"num_frequencies": 1, "attention_heads": 2}),
    ((4, 5), 2, 3, {"head_channels": 7}),
    ((3, 5), 3, 2, {"head_channels": 7, "num_frequencies": 1, "attention_heads": 2, "levels": 6}),
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("size, batch, samples, settings", SHAPES)
def test_the_quick_sampler_draws_what_the_naive_one_draws(size, batch, samples, settings, dtype):
    model, given = build(dtype=dtype, **settings), condition(*size, batch=batch, dtype=dtype)
    for knobs in (
        {},
        {"temperature": 0.4},
        {"temperature": 2},
        {"top_p": 0.7},
        {"top_p": 0.5, "temperature": 3},
    ):
        quick = sample(model, given, samples, chance(), **knobs)
        assert quick.shape == (samples, batch, 2, *size) and quick.dtype == torch.int64
        assert torch.equal(quick, naive_sample(model, given, samples, chance(), **knobs)), knobs


@pytest.mark.parametrize("size, batch, samples, settings", SHAPES)
def test_the_quick_scores_are_those_of_the_network(size, batch, samples, settings):
    model, given = build(**settings), condition(*size, batch=batch)
    chroma = torch.rand(batch, 2, *size, generator=chance(), dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(
        cached_logits(model, given, chroma), model(chroma, given), atol=1e-12, rtol=1e-12
    )


def test_at_the_paper_s_size_the_scores_agree():
    torch.manual_seed(0)
    model, given = PixelCNN(), condition(28, 28, channels=64, dtype=torch.float32)
    chroma = torch.rand(1, 2, 28, 28, generator=chance()) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(
            cached_logits(model, given, chroma), model(chroma, given), atol=1e-5, rtol=1e-4
        )


def exact(model, given):
    """All maps of this size with their probabilities: (maps, 2, h, w), (maps,)."""
    size = given.shape[-2:]
    maps = torch.tensor(list(itertools.product(range(model.levels), repeat=2 * size[0] * size[1])))
    maps = maps.view(-1, 2, *size)
    with torch.no_grad():
        nats = model.nats(maps, given.expand(len(maps), -1, -1, -1))
    return maps, (-nats.sum((1, 2, 3))).exp()


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2)])
def test_the_probabilities_of_all_maps_sum_to_one(size):
    _, probabilities = exact(build(levels=3, seed=2), condition(*size))
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)


def test_samples_are_as_frequent_as_they_are_likely():
    model, given, count = build(levels=3, seed=2), condition(1, 2), 40_000
    maps, probabilities = exact(model, given)
    drawn = sample(model, given, count, chance())[:, 0].flatten(1)
    number = (drawn * 3 ** torch.arange(3, -1, -1)).sum(1)  # the maps are in the order of these numbers
    counts = torch.bincount(number, minlength=len(maps)).double()
    expected = probabilities * count
    # Pearson's statistic has 80 degrees of freedom: its mean is 80 and its deviation 12.6.
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < 80 + 5 * 12.6
    # The test can fail: a temperature of 0.9 is told from 1.
    other = sample(model, given, count, chance(), temperature=0.9)[:, 0].flatten(1)
    counts = torch.bincount((other * 3 ** torch.arange(3, -1, -1)).sum(1), minlength=len(maps)).double()
    assert ((counts - expected) ** 2 / expected).sum() > 80 + 10 * 12.6


def test_images_and_samples_have_their_own_chance_and_condition():
    model = build()
    drawn = sample(model, condition(5, 5, batch=1).repeat(3, 1, 1, 1), 3, chance()).flatten(0, 1)
    assert len({tuple(levels.flatten().tolist()) for levels in drawn}) == 9
    # At so low a temperature chance hardly matters and the condition decides.
    given = condition(5, 5, batch=3)
    cold = sample(model, given, 4, chance(), temperature=1e-4)
    assert torch.equal(cold, cold[:1].expand_as(cold))
    assert not torch.equal(cold[0, 0], cold[0, 1])
    for place in range(3):
        alone = sample(model, given[place : place + 1], 1, chance(), temperature=1e-4)
        assert torch.equal(alone[0, 0], cold[0, place])


@pytest.mark.parametrize("attention_heads", [0, 2])
def test_known_levels_stay_and_the_rest_takes_note_of_them(attention_heads):
    model, given = build(attention_heads=attention_heads), condition(4, 5, batch=2)
    known = torch.randint(5, (2, 2, 4, 5), generator=chance(3))
    mask = torch.rand(2, 1, 4, 5, generator=chance(4)) < 0.4
    hidden = known.masked_fill(~mask, -7)  # elsewhere nobody looks
    quick = sample(model, given, 3, chance(), known=hidden, mask=mask)
    assert torch.equal(quick, naive_sample(model, given, 3, chance(), known=hidden, mask=mask))
    where = mask.expand(2, 2, 4, 5)
    assert all(torch.equal(levels[where], known[where]) for levels in quick)
    free = sample(model, given, 3, chance())
    assert torch.equal(free[:, :, :, 0, 0][:, ~mask[:, 0, 0, 0]], quick[:, :, :, 0, 0][:, ~mask[:, 0, 0, 0]])
    assert not torch.equal(free[~where.expand_as(free)], quick[~where.expand_as(free)])
    # One channel may be given without the other.
    only_cb = torch.zeros(2, 2, 4, 5, dtype=torch.bool)
    only_cb[:, 1] = True
    drawn = sample(model, given, 1, chance(), known=known, mask=only_cb)
    assert torch.equal(drawn[0, :, 1], known[:, 1])
    assert torch.equal(drawn, naive_sample(model, given, 1, chance(), known=known, mask=only_cb))
    everything = torch.ones_like(only_cb)
    assert torch.equal(sample(model, given, 1, chance(), known=known, mask=everything)[0], known)


def test_rows_with_nothing_left_to_draw_cost_nothing(monkeypatch):
    model, given = build(attention_heads=2, head_channels=7), condition(4, 5, batch=2)
    known = torch.randint(5, (2, 2, 4, 5), generator=chance(3))
    computed, reports, begin = [], [], rows.Rows.begin
    monkeypatch.setattr(rows.Rows, "begin", lambda self, row: computed.append(row) or begin(self, row))
    for last, wanted in ((None, []), (0, [0]), (2, [0, 1, 2]), (3, [0, 1, 2, 3])):
        mask = torch.ones(2, 2, 4, 5, dtype=torch.bool)
        if last is not None:
            mask[1, 1, last, 2] = False  # one value of one image is left
        computed.clear()
        reports.clear()
        random, same = chance(), chance()
        quick = sample(model, given, 3, random, known=known, mask=mask, progress=lambda *x: reports.append(x))
        assert torch.equal(quick, naive_sample(model, given, 3, same, known=known, mask=mask))
        assert computed == wanted
        assert reports == [(row, 4) for row in range(1, 5)]
        assert torch.equal(random.get_state(), same.get_state())


@pytest.mark.parametrize("sampler", [sample, naive_sample])
def test_progress_is_told_and_can_stop(sampler):
    model, given, told = build(), condition(4, 3), []
    whole = sampler(model, given, 2, chance(), progress=lambda *rows: told.append(rows))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(Stopped, match="after 2 of 4 rows") as stop:
        sampler(model, given, 2, chance(), progress=lambda done, rows: done < 2)
    assert stop.value.rows == 2
    assert torch.equal(stop.value.levels[..., :2, :], whole[..., :2, :])

    def fail(done, rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler(model, given, progress=fail)


@pytest.mark.parametrize("sampler", [sample, naive_sample])
@pytest.mark.parametrize("attention_heads", [0, 2])
def test_it_draws_the_same_inside_autocast(attention_heads, sampler):
    model = build(dtype=torch.float32, attention_heads=attention_heads)
    given = condition(4, 5, batch=2, dtype=torch.float32)
    outside = sampler(model, given, 3, chance())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(sampler(model, given, 3, chance()), outside)


def test_what_is_drawn_can_be_learned_from():
    model, given = build(), condition(3, 3)
    levels = sample(model, given, 1, chance())[0]
    model.nats(levels, given).sum().backward()
    assert model.to_levels.weight.grad.abs().sum() > 0


def test_the_generator_alone_decides():
    model, given = build(), condition(4, 4)
    state = torch.random.get_rng_state()
    one, same, other = (sample(model, given, 2, chance(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(one, sample(model, given, 2, chance(), graph=False))
    cached_logits(model, given, torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    assert torch.equal(torch.random.get_rng_state(), state)


def gumbel(*shape, seed=0):
    return -torch.empty(*shape, dtype=torch.float64).exponential_(generator=chance(seed)).log()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_a_temperature(temperature):
    logits = torch.tensor([2.0, -1.0, 0.0, 1.0, -30.0], dtype=torch.float64)
    count = 200_000
    drawn = draw(logits.expand(count, -1), gumbel(count, 5), temperature)
    shares = torch.bincount(drawn, minlength=5) / count
    wanted = (logits / temperature).softmax(0)
    assert ((shares - wanted).abs() <= 5 * (wanted * (1 - wanted) / count).sqrt() + 1e-9).all()


def test_top_p_keeps_the_fewest_likeliest_classes_that_reach_it():
    probabilities = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2], dtype=torch.float64)
    count = 100_000
    for top_p, kept in [(1e-9, [1]), (0.39, [1]), (0.41, [1, 3]), (0.66, [1, 3, 4]), (0.99, [0, 1, 2, 3, 4])]:
        drawn = draw(probabilities.log().expand(count, -1), gumbel(count, 5), top_p=top_p)
        shares = torch.bincount(drawn, minlength=5) / count
        wanted = torch.zeros(5, dtype=torch.float64)
        wanted[kept] = probabilities[kept] / probabilities[kept].sum()
        assert torch.equal(shares > 0, wanted > 0), top_p
        assert (shares - wanted).abs().max() < 5 * 0.5 / math.sqrt(count)
    # The temperature comes first: a flatter distribution needs more classes.
    hot = draw(probabilities.log().expand(count, -1), gumbel(count, 5), temperature=100.0, top_p=0.7)
    assert len(hot.unique()) == 4


LEVELS, MASK = torch.zeros(1, 2, 3, 3, dtype=torch.int64), torch.ones(1, 1, 3, 3, dtype=torch.bool)


@pytest.mark.parametrize("sampler", [sample, naive_sample])
def test_broken_weights_are_not_drawn_from(sampler):
    model = build()
    model.to_levels.bias.data[0] = math.nan
    with pytest.raises(ValueError, match="weights must be finite"):
        sampler(model, condition(3, 3))


@pytest.mark.parametrize("answer", [False, 0, torch.tensor(False)])
def test_any_no_stops(answer):
    with pytest.raises(Stopped):
        sample(build(), condition(3, 3), progress=lambda done, rows: answer)


@pytest.mark.parametrize(
    "chroma, error, message",
    [
        (LEVELS, TypeError, "chroma must be float.*got torch.int64"),
        (torch.zeros(1, 2, 3, 4), ValueError, r"chroma .*\(1, 2, 3, 3\); got \(1, 2, 3, 4\)"),
        (torch.zeros(2, 2, 3, 3), ValueError, r"got \(2, 2, 3, 3\)"),
    ],
)
def test_chroma_to_score_is_checked(chroma, error, message):
    with pytest.raises(error, match=message):
        cached_logits(build(), condition(3, 3), chroma)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"condition": torch.zeros(3, 3, 3)}, ValueError, r"\(B, 3, h, w\); got \(3, 3, 3\)"),
        ({"condition": torch.zeros(1, 2, 3, 3)}, ValueError, r"\(B, 3, h, w\); got \(1, 2, 3, 3\)"),
        ({"condition": torch.zeros(1, 3, 0, 3)}, ValueError, r"none of them 0; got \(1, 3, 0, 3\)"),
        ({"condition": LEVELS}, TypeError, "condition must be float.*; got torch.int64"),
        ({"condition": [0.0]}, TypeError, "condition must be a torch.Tensor; got list"),
        (
            {"condition": torch.zeros(1, 3, 3, 3)},
            ValueError,
            "must be torch.float64 on cpu.*got torch.float32",
        ),
        ({"samples": 0}, ValueError, "at least 1; got 0"),
        ({"samples": 1.0}, TypeError, "whole number; got 1.0"),
        ({"temperature": 0}, ValueError, r"\(0, 10000\]; got 0"),
        ({"temperature": math.inf}, ValueError, r"\(0, 10000\]; got inf"),
        ({"temperature": math.nan}, ValueError, r"\(0, 10000\]; got nan"),
        ({"temperature": 1e300}, ValueError, r"\(0, 10000\]; got 1e\+300"),
        ({"temperature": "hot"}, TypeError, "number; got 'hot'"),
        ({"condition": torch.full((1, 3, 3, 3), math.nan).double()}, ValueError, "condition must be finite"),
        ({"generator": 7}, TypeError, "torch.Generator or None; got 7"),
        ({"top_p": 0}, ValueError, r"\(0, 1\]; got 0"),
        ({"top_p": 1.1}, ValueError, r"\(0, 1\]; got 1.1"),
        ({"known": LEVELS}, ValueError, "together"),
        ({"mask": MASK}, ValueError, "together"),
        ({"known": LEVELS.float(), "mask": MASK}, TypeError, "int64; got torch.float32"),
        ({"known": LEVELS, "mask": MASK.float()}, TypeError, "bool; got .* of torch.float32"),
        ({"known": LEVELS[:, :1], "mask": MASK}, ValueError, r"\(1, 2, 3, 3\); got \(1, 1, 3, 3\)"),
        ({"known": LEVELS, "mask": MASK[..., :2]}, ValueError, r"got \(1, 1, 3, 2\)"),
        ({"known": LEVELS + 5, "mask": MASK}, ValueError, "from 0 to 4; got values from 5 to 5"),
        ({"progress": 3}, TypeError, "callable; got 3"),
    ],
)
@pytest.mark.parametrize("sampler", [sample, naive_sample])
def test_bad_arguments_are_named(sampler, arguments, error, message):
    arguments = {"condition": condition(3, 3), **arguments}
    with pytest.raises(error, match=message):
        sampler(build(), **arguments)
