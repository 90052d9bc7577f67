"""Color from another picture: the space l alpha beta, the transfer of statistics, matching by lightness."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from colorlib.classic import lalphabeta_to_rgb, match, reinhard, rgb_to_lalphabeta, transfer
from colorlib.cli import app
from colorlib.color import fit_gamut, lab_to_rgb, rgb_to_gray, rgb_to_lab
from colorlib.data import read


def rand(*shape, seed=0, low=0.05):
    return low + (1 - low) * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_the_space_is_that_of_the_paper():
    """One pixel after another, with the paper's numbers, and Python's own logarithm."""
    rgb = rand(3, 4, 5)
    for i in range(4):
        for j in range(5):
            r, g, b = rgb[:, i, j].tolist()
            long = math.log10(0.3811 * r + 0.5783 * g + 0.0402 * b)
            middle = math.log10(0.1967 * r + 0.7244 * g + 0.0782 * b)
            short = math.log10(0.0241 * r + 0.1288 * g + 0.8444 * b)
            wanted = [
                (long + middle + short) / 3**0.5,
                (long + middle - 2 * short) / 6**0.5,
                (long - middle) / 2**0.5,
            ]
            assert rgb_to_lalphabeta(rgb)[:, i, j].tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_way_back_is_the_paper_s_within_its_digits():
    space = rgb_to_lalphabeta(rand(3, 4, 5))
    length = np.diag([3**0.5 / 3, 6**0.5 / 6, 2**0.5 / 2])
    logarithms = np.array([[1, 1, 1], [1, 1, -1], [1, -2, 0]]) @ length @ space.flatten(1).numpy()
    printed = np.array([[4.4679, -3.5873, 0.1193], [-1.2186, 2.3809, -0.1624], [0.0497, -0.2439, 1.2045]])
    np.testing.assert_allclose(
        lalphabeta_to_rgb(space).flatten(1).numpy(), printed @ 10**logarithms, atol=0.01, rtol=0
    )


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 1, 1)])
def test_there_and_back(shape):
    rgb = rand(*shape)
    torch.testing.assert_close(lalphabeta_to_rgb(rgb_to_lalphabeta(rgb)), rgb)
    assert rgb_to_lalphabeta(rgb.half()).dtype == torch.float32


def test_black_is_taken_for_one_step_of_8_bits():
    black = rgb_to_lalphabeta(torch.zeros(3, 1, 1, dtype=torch.float64)).flatten()
    assert black.tolist() == pytest.approx([3**0.5 * math.log10(1 / 255), 0, 0])
    # A gray of it comes back within a thousandth: the rows of the paper's matrix do not quite sum to 1.
    assert lalphabeta_to_rgb(black.view(3, 1, 1)).flatten().tolist() == pytest.approx([1 / 255] * 3, rel=0.03)


def statistics(space):
    return space.flatten(1).mean(1), space.flatten(1).std(1, correction=0)


def test_the_statistics_become_the_reference_s():
    rgb, reference = rand(3, 20, 30), rand(3, 15, 9, seed=1) ** 2
    moved = reinhard._moved(rgb, reference, None)
    for got, wanted in zip(statistics(moved), statistics(rgb_to_lalphabeta(reference)), strict=True):
        torch.testing.assert_close(got, wanted)
    # Each channel stays in order: values are scaled and shifted, no more.
    before, after = rgb_to_lalphabeta(rgb).flatten(1), moved.flatten(1)
    assert all(torch.equal(b.argsort(), a.argsort()) for b, a in zip(before, after, strict=True))
    out = transfer(rgb, reference)
    torch.testing.assert_close(out, lalphabeta_to_rgb(moved).clamp(0, 1))


def test_a_picture_s_own_statistics_leave_it():
    rgb = rand(3, 8, 9)
    torch.testing.assert_close(transfer(rgb, rgb.flip(-1)), rgb)


def test_gray_gets_one_tint():
    gray, reference = rand(1, 8, 9).expand(3, -1, -1), rand(3, 7, 7, seed=2)
    moved = reinhard._moved(gray.float(), reference, None)
    wanted = rgb_to_lalphabeta(reference).flatten(1).mean(1)
    assert moved[1:].flatten(1).std(1).max() < 1e-3
    torch.testing.assert_close(moved[1:].flatten(1).mean(1).double(), wanted[1:], atol=1e-4, rtol=0)


def test_swatches_move_each_area_to_its_own():
    """Two areas far apart in color: each takes the statistics of its partner, as if alone."""
    rgb, reference = 0.02 * rand(3, 10, 20), 0.02 * rand(3, 12, 8, seed=1)
    rgb[:, :, :10] += torch.tensor([0.8, 0.2, 0.2]).view(3, 1, 1)
    rgb[:, :, 10:] += torch.tensor([0.2, 0.2, 0.8]).view(3, 1, 1)
    reference[:, :6] += torch.tensor([0.2, 0.7, 0.2]).view(3, 1, 1)
    reference[:, 6:] += torch.tensor([0.8, 0.8, 0.3]).view(3, 1, 1)
    here = torch.arange(20).expand(10, 20) < 10
    there = torch.arange(12)[:, None].expand(12, 8) < 6
    out = transfer(rgb, reference, [(here, there), (~here, ~there)])
    alone = [
        transfer(rgb[..., a].reshape(3, 10, 10), reference[:, b].reshape(3, 6, 8))
        for a, b in ((slice(0, 10), slice(0, 6)), (slice(10, 20), slice(6, 12)))
    ]
    torch.testing.assert_close(out, torch.cat(alone, -1), atol=0.02, rtol=0)
    # One swatch of everything is the whole.
    every = torch.ones_like(here), torch.ones_like(there)
    torch.testing.assert_close(transfer(rgb, reference, [every]), transfer(rgb, reference))


def test_matching_gives_each_tone_its_color():
    """A reference whose color is told by its lightness, and a gray picture of the same tones."""
    tones = torch.tensor([0.2, 0.5, 0.8]).repeat_interleave(20)
    colors = torch.stack([tones + 0.15, tones, tones - 0.15]) * torch.tensor([1.0, 0.5, 1.0])[:, None]
    reference = rgb_to_lab(colors[:, None].expand(3, 30, 60)).clone()
    steps = torch.tensor([0.0, 40.0, -40.0]).repeat_interleave(20)
    reference = torch.stack([reference[0], steps.expand(30, 60), torch.zeros(30, 60)])
    rgb = lab_to_rgb(fit_gamut(reference))
    gray = rgb_to_gray(rgb).flip(-1)
    out = rgb_to_lab(match(gray, rgb, samples=400))
    wanted = rgb_to_lab(rgb).flip(-1)
    inner = torch.ones(60, dtype=torch.bool)
    inner[[17, 18, 19, 20, 21, 22, 37, 38, 39, 40, 41, 42]] = False  # where windows see two tones
    assert (out - wanted)[1:, :, inner].abs().max() < 3
    assert (out - wanted)[0].abs().max() < 0.1


def test_matching_looks_at_texture():
    """Two areas of the same tones, in the one side by side and in the other mixed: each has its color."""
    even = torch.linspace(0.4, 0.6, 32).expand(1, 32, 32)
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(0))
    gray = torch.cat([even, even.flatten()[order].view(1, 32, 32)], 2)
    lightness = rgb_to_lab(gray.expand(3, -1, -1))[:1]
    a = torch.cat([torch.full((32, 32), 25.0), torch.full((32, 32), -25.0)], 1)
    reference = lab_to_rgb(torch.cat([lightness, a[None], torch.zeros(1, 32, 64)]))
    out = rgb_to_lab(match(gray, reference, samples=500))[1]
    assert (out[:, 3:29] > 0).double().mean() > 0.95 and (out[:, 35:61] < 0).double().mean() > 0.9


def test_matching_adjusts_the_reference_s_lightness():
    """A darker, flatter reference of the same scene gives the same colors."""
    rgb = rand(3, 24, 24, seed=3).float()
    lab = rgb_to_lab(rgb)
    lab = torch.stack([30 + 0.3 * lab[0], *(0.2 * lab[1:])])
    darker = torch.stack([20 + 0.5 * (lab[0] - 20), *lab[1:]])
    one, other = (lab_to_rgb(fit_gamut(x)) for x in (lab, darker))
    gray = rgb_to_gray(one)
    apart = rgb_to_lab(match(gray, one, 10**6)) - rgb_to_lab(match(gray, other, 10**6))
    assert apart[1:].norm(dim=0).median() < 0.5


def test_matching_is_by_the_seed():
    gray, reference = rand(1, 9, 9).float(), rand(3, 30, 30).float()
    once, again, other = (match(gray, reference, 9, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (40, 3)])
def test_pictures_of_any_size(size):
    one, other = rand(3, *size).float(), rand(3, 5, 1, seed=1).float()
    assert transfer(one, other).isfinite().all() and match(one[:1], other).isfinite().all()


def test_wrong_arguments_are_named():
    rgb = rand(3, 4, 4)
    with pytest.raises(ValueError, match="swatches must hold at least one pair"):
        transfer(rgb, rgb, [])
    with pytest.raises(ValueError, match="swatches must have their pictures' shapes, here .4, 4."):
        transfer(rgb, rgb, [(torch.ones(3, 4) > 0, torch.ones(4, 4) > 0)])
    with pytest.raises(ValueError, match="and a True"):
        transfer(rgb, rgb, [(torch.ones(4, 4) > 0, torch.ones(4, 4) < 0)])
    with pytest.raises(ValueError, match="window must be odd"):
        match(rgb[:1], rgb, window=4)


def test_the_command(tmp_path):
    def save(name, rgb):
        Image.fromarray((rgb * 255).round().byte().permute(1, 2, 0).numpy()).save(tmp_path / name)
        return str(tmp_path / name)

    rgb = save("rgb.png", rand(3, 12, 16))
    gray = save("gray.png", rand(1, 12, 16).expand(3, -1, -1))
    reference = save("reference.png", rand(3, 14, 9, seed=5) * torch.tensor([1.0, 0.6, 0.3]).view(3, 1, 1))
    out = str(tmp_path / "out.png")
    run = CliRunner().invoke
    assert run(app, ["transfer", rgb, reference, "--out", out]).exit_code == 0
    torch.testing.assert_close(read(out), transfer(read(rgb), read(reference)), atol=0.003, rtol=0)
    assert "is there already" in run(app, ["transfer", gray, reference, "--out", out]).output
    assert run(app, ["transfer", gray, reference, "--out", out, "--force"]).exit_code == 0
    lab = rgb_to_lab(read(out))
    assert (lab[0] - rgb_to_lab(read(gray))[0]).abs().max() < 1 and lab[1:].abs().mean() > 5
    said = run(app, ["transfer", rgb, gray, "--out", str(tmp_path / "none.png")])
    assert said.exit_code == 1 and "has no colors to take" in said.output
    assert not (tmp_path / "none.png").exists()
    assert "must end in" in run(app, ["transfer", gray, reference, "--out", str(tmp_path / "x")]).output
