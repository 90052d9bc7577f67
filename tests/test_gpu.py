"""On a GPU: the same scenes, the same samples, the recorded pixel step, and training."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

import colorlib
from colorlib.data import World
from colorlib.models import PixColor, PixColorSettings, PixelCNN
from colorlib.sampling import cached, cached_logits, naive_sample, sample
from colorlib.training import fit, history

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """No TF32: with it convolutions keep ten bits, and two ways to compute a score differ visibly."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def chance(seed=0):
    return torch.Generator(GPU).manual_seed(seed)


def build(dtype=torch.float64, **settings):
    settings = {"width": 8, "blocks": 2, "hidden_channels": 16, "levels": 5, **settings}
    torch.manual_seed(0)
    model = PixelCNN(PixColorSettings(**settings), condition_channels=3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=1.5 / math.sqrt(parameter[0].numel()))
    return model.to(GPU, dtype)


def condition(*size, batch=2, channels=3, dtype=torch.float64):
    random = torch.Generator().manual_seed(1)
    return torch.randn(batch, channels, *size, generator=random, dtype=torch.float64).to(GPU, dtype)


NETWORKS = [
    {},
    {"blocks": 0},
    {"kernel": 3, "first_kernel": 5, "blocks": 3},
    {"attention_heads": 2},
    {"num_frequencies": 1, "head_channels": 7},
    {"head_channels": 7, "num_frequencies": 1, "attention_heads": 4},
]


@pytest.mark.parametrize("settings", NETWORKS, ids=str)
@pytest.mark.parametrize("graph", [True, False], ids=["graph", "no graph"])
def test_the_quick_sampler_draws_what_the_naive_one_draws(settings, graph):
    model, given = build(**settings), condition(4, 6)
    for knobs in ({}, {"temperature": 0.4}, {"top_p": 0.7}, {"top_p": 0.5, "temperature": 3}):
        quick = sample(model, given, 3, chance(), graph=graph, **knobs)
        assert torch.equal(quick, naive_sample(model, given, 3, chance(), **knobs)), knobs
    known = torch.randint(5, (2, 2, 4, 6), generator=chance(3), device=GPU)
    mask = torch.rand(2, 1, 4, 6, generator=chance(4), device=GPU) < 0.4
    quick = sample(model, given, 3, chance(), known=known, mask=mask, graph=graph)
    assert torch.equal(quick, naive_sample(model, given, 3, chance(), known=known, mask=mask))


def test_the_pixel_step_is_recorded_once_and_replayed(monkeypatch):
    model, given, recorded, replays = build(), condition(4, 6), [], []
    record = cached._record

    def watched(step, pixel):
        recorded.append(step)
        replay = record(step, pixel)
        return lambda: replays.append(1) or replay()

    monkeypatch.setattr(cached, "_record", watched)
    sample(model, given, 3, chance())
    assert len(recorded) == 1 and len(replays) == 4 * 6
    sample(model, given, 3, chance(), graph=False)
    assert len(recorded) == 1


def test_at_the_paper_s_size_the_scores_agree():
    torch.manual_seed(0)
    model, given = PixelCNN().to(GPU), condition(28, 28, batch=1, channels=64, dtype=torch.float32)
    chroma = torch.rand(1, 2, 28, 28, generator=chance(), device=GPU) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(
            cached_logits(model, given, chroma), model(chroma, given), atol=1e-4, rtol=1e-3
        )


@pytest.mark.parametrize("kind", ["landscape", "flowers"])
def test_scenes_have_the_same_bits(kind):
    world, indices = World(32, kind, seed=3), [0, 5, 2**40]
    here, there = world.batch(indices), world.batch(indices, GPU)
    for field in fields(here):
        value = getattr(there, field.name)
        assert value.is_cuda and torch.equal(value.cpu(), getattr(here, field.name)), field.name


@pytest.mark.parametrize("name", ["cic-world", "regression-world", "gan-world", "pixcolor-world"])
def test_trained_weights_color_as_on_a_cpu(name):
    scenes = World(64, seed=1).batch(range(4))
    gray = scenes.gray
    here, there = colorlib.load(name, "cpu"), colorlib.load(name, "cuda")
    if isinstance(here, PixColor):  # each device has its own chance, so scores are compared
        chroma = here.pixelcnn.values(here.levels(scenes.rgb))
        one, other = here.log_prob(gray, chroma), there.log_prob(gray.to(GPU), chroma.to(GPU)).cpu()
        torch.testing.assert_close(other, one, atol=0.02, rtol=1e-3)
        assert there.colorize(gray.to(GPU), seed=0).is_cuda
    else:
        one, other = here.colorize(gray, seed=0), there.colorize(gray.to(GPU), seed=0).cpu()
        torch.testing.assert_close(other, one, atol=2e-3, rtol=0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_it_trains_with_all_helps_and_goes_on(tmp_path, precision):
    recipe = replace(
        PixColor.recipes["world"],
        steps=24,
        warmup=4,
        batch=16,
        precision=precision,
        checkpoint_every=8,
        log_every=4,
    )
    world = World(32)
    model = fit(PixColor(**recipe.settings), world, recipe, tmp_path / "whole")
    assert all(parameter.is_cuda for parameter in model.parameters())
    lines = history(tmp_path / "whole")
    assert lines[-1]["loss"]["pixelcnn"] < 0.8 * lines[0]["loss"]["pixelcnn"]
    again = fit(PixColor(**recipe.settings), world, recipe, tmp_path / "whole")
    same = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in same)
