"""Color from strokes: what the equations ask, held against a dense solution written out pixel by pixel."""

import builtins
import math

import numpy as np
import pytest
import torch

from colorlib.classic import propagate, scribbles, strokes_of
from colorlib.color import rgb_to_lab


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def picture(height=9, width=11, seed=0):
    """Lightness, chroma and a mask with a few strokes."""
    mask = rand(1, height, width, seed=seed + 1) < 0.1
    mask[0, 0, 0] = True
    return 100 * rand(1, height, width, seed=seed), 200 * rand(2, height, width, seed=seed + 2) - 100, mask


def smooth(height, width):
    """A lightness of soft shades and hard edges, as photographs have them."""
    y, x = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 4, width), indexing="ij")
    return (40 + 20 * torch.sin(2 * x * y) + 30 * ((x - 2) ** 2 + (y - 1.5) ** 2 < 1))[None].double()


def weights(lightness, sharpness=1.0, least=0.01):
    """The paper's weights, written out with loops: dense, (H W, H W)."""
    height, width = lightness.shape
    matrix = np.zeros((height * width, height * width))
    for y in range(height):
        for x in range(width):
            window = [(j, i) for j in range(y - 1, y + 2) for i in range(x - 1, x + 2)]
            window = [(j, i) for j, i in window if 0 <= j < height and 0 <= i < width]
            sigma2 = max(np.var([lightness[place] for place in window]), least)
            row = {
                (j, i): math.exp(-sharpness * (lightness[y, x] - lightness[j, i]) ** 2 / (2 * sigma2))
                for j, i in window
                if (j, i) != (y, x)
            }
            for (j, i), weight in row.items():
                matrix[y * width + x, j * width + i] = weight / sum(row.values())
    return matrix


@pytest.mark.parametrize("shades", [picture()[0], smooth(9, 11), torch.full((1, 9, 11), 50.0)])
@pytest.mark.parametrize("sharpness", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("method", ["direct", "multigrid"])
def test_result_is_that_of_a_dense_solution_written_out(shades, sharpness, method):
    _, ab, mask = picture()
    matrix = np.eye(99) - weights(shades[0].double().numpy(), sharpness)
    stroke = mask.flatten().numpy()
    matrix[stroke] = np.eye(99)[stroke]
    expected = np.linalg.solve(matrix, np.where(stroke, ab.reshape(2, -1).numpy(), 0).T).T.reshape(2, 9, 11)
    got = propagate(shades, ab, mask, sharpness, method)
    tolerance = 1e-9 if method == "direct" else 1e-3
    torch.testing.assert_close(got, torch.from_numpy(expected), atol=tolerance, rtol=0)


def test_residual_of_the_paper_s_terms_is_zero_away_from_strokes():
    lightness, ab, mask = picture()
    got = propagate(lightness, ab, mask).reshape(2, -1).numpy()
    terms = got - got @ weights(lightness[0].numpy()).T
    free = ~mask.flatten().numpy()
    assert np.abs(terms[:, free]).max() < 1e-10
    assert np.abs(terms[:, ~free]).max() > 1  # the terms that are left out


def test_each_pixel_is_the_mean_of_its_neighbors_where_lightness_is_flat():
    _, ab, mask = picture()
    got = propagate(torch.full((1, 9, 11), 37.0), ab, mask)
    for y, x in (~mask[0]).nonzero().tolist():
        window = got[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].flatten(1)
        mean = (window.sum(1) - got[:, y, x]) / (window.shape[1] - 1)
        torch.testing.assert_close(got[:, y, x], mean)


@pytest.mark.parametrize("method", ["direct", "multigrid"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_strokes_stay_exactly_and_colors_lie_between_theirs(method, dtype):
    lightness, ab, mask = picture()
    ab = ab.to(dtype)
    got = propagate(lightness, ab, mask, method=method)
    place = mask.expand_as(ab)
    assert got.dtype == dtype and torch.equal(got[place], ab[place])
    slack = 1e-3 if method == "multigrid" else 1e-9
    for channel in range(2):
        low, high = ab[channel][mask[0]].aminmax()
        assert low - slack <= got[channel].min() and got[channel].max() <= high + slack


def test_one_color_on_all_strokes_colors_all():
    lightness, _, mask = picture()
    color = torch.tensor([30.0, -20.0], dtype=torch.float64)[:, None, None].expand(2, 9, 11)
    torch.testing.assert_close(propagate(lightness, color, mask), color.clone())


def test_what_chroma_holds_beside_the_strokes_does_not_count():
    lightness, ab, mask = picture()
    dirty = torch.where(mask, ab, math.nan)
    assert torch.equal(propagate(lightness, dirty, mask), propagate(lightness, ab, mask))


def test_an_edge_keeps_colors_apart():
    lightness = torch.full((1, 20, 20), 30.0)
    lightness[..., 10:] = 80
    mask = torch.zeros(1, 20, 20, dtype=torch.bool)
    mask[0, 10, 2] = mask[0, 10, 17] = True
    ab = torch.zeros(2, 20, 20)
    ab[0, :, :10], ab[0, :, 10:] = 60, -60

    def least(lightness, sharpness):
        got = propagate(lightness, ab, mask, sharpness)[0]
        return min(got[:, :9].min(), -got[:, 11:].max()).item()

    assert least(lightness, 3.0) > 50
    assert least(lightness, 3.0) > least(lightness, 1.0) > least(lightness, 0.0) > 0
    assert least(torch.full((1, 20, 20), 30.0), 1.0) < 5  # without the edge, one runs into the other


def test_lightness_scaled_gives_the_same_weights():
    lightness, ab, mask = picture()
    half = propagate(25 + lightness / 2, ab, mask)  # sigma is measured in each window
    torch.testing.assert_close(half, propagate(lightness, ab, mask), atol=0.05, rtol=0)


def test_direct_and_multigrid_agree():
    lightness = smooth(120, 160)
    _, ab, mask = picture(120, 160)
    mask &= rand(1, 120, 160, seed=5) < 0.02
    mask[0, 60, 20:50] = True
    one, other = (propagate(lightness, ab, mask, method=method) for method in ("direct", "multigrid"))
    torch.testing.assert_close(one, other, atol=0.05, rtol=0)


def test_large_pictures_go_to_multigrid_and_small_ones_do_not(monkeypatch):
    called = []
    for name in ("_direct", "_multigrid"):
        own = getattr(scribbles, name)
        monkeypatch.setattr(scribbles, name, lambda *a, own=own, name=name: called.append(name) or own(*a))
    lightness, ab, mask = picture()
    propagate(lightness, ab, mask)
    monkeypatch.setattr(scribbles, "DIRECT_PIXELS", 98)
    propagate(lightness, ab, mask)
    assert called == ["_direct", "_multigrid"]


def test_where_multigrid_does_not_converge_the_factors_do(monkeypatch):
    import pyamg

    class Lost:
        def solve(self, b, **how):
            return np.full_like(b, math.nan)

    lightness, ab, mask = picture()
    expected = propagate(lightness, ab, mask, method="direct")
    monkeypatch.setattr(pyamg, "ruge_stuben_solver", lambda *a, **how: Lost())
    assert torch.equal(propagate(lightness, ab, mask, method="multigrid"), expected)


def test_missing_pyamg_is_named(monkeypatch):
    own = builtins.__import__

    def without(name, *others, **how):
        if name == "pyamg":
            raise ImportError(name)
        return own(name, *others, **how)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install pyamg"):
        propagate(*picture(), method="multigrid")
    assert propagate(*picture()).isfinite().all()  # small ones need none


def test_pictures_of_a_batch_are_colored_one_by_one():
    singles = [picture(seed=seed) for seed in (0, 10, 20)]
    batch = [torch.stack(parts) for parts in zip(*singles, strict=True)]
    got = propagate(*batch)
    for each, single in zip(got, singles, strict=True):
        assert torch.equal(each, propagate(*single))
    deeper = propagate(*(part[:, None] for part in batch))
    assert torch.equal(deeper[:, 0], got)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2)])
@pytest.mark.parametrize("method", ["direct", "multigrid"])
def test_tiny_pictures(size, method):
    mask = torch.zeros(1, *size, dtype=torch.bool)
    mask[0, 0, 0] = True
    got = propagate(100 * rand(1, *size), torch.full((2, *size), 12.0), mask, method=method)
    torch.testing.assert_close(got, torch.full((2, *size), 12.0))


def test_pictures_without_strokes_are_named():
    lightness, ab, mask = picture()
    with pytest.raises(ValueError, match="mask must have a stroke"):
        propagate(lightness, ab, torch.zeros_like(mask))
    batch = [torch.stack([x, x, x]) for x in (lightness, ab, mask)]
    batch[2][1] = False
    with pytest.raises(ValueError, match=r"pictures \[1\] have none"):
        propagate(*batch)


def test_shapes_that_do_not_fit_are_named():
    lightness, ab, mask = picture()
    with pytest.raises(ValueError, match=r"mask must have lightness's shape, \(1, 9, 11\); got \(1, 9, 10\)"):
        propagate(lightness, ab, mask[..., :-1])
    with pytest.raises(ValueError, match=r"ab must have shape \(2, 9, 11\)"):
        propagate(lightness, ab[..., :-1], mask)
    with pytest.raises(TypeError, match="mask must be a tensor of bool; got torch.float64"):
        propagate(lightness, ab, mask.double())
    with pytest.raises(ValueError, match="lightness must be from 0 to 100"):
        propagate(lightness * 2, ab, mask)
    with pytest.raises(ValueError, match="ab must be finite"):
        propagate(lightness, ab * math.nan, mask)


# Strokes.


def painting():
    """A gray picture, and the same with a red and a green stroke."""
    gray = rand(1, 30, 40)
    painted = gray.repeat(3, 1, 1)
    painted[:, 5:9, 5:30] = torch.tensor([0.9, 0.1, 0.2], dtype=torch.float64)[:, None, None]
    painted[:, 20:24, 10:14] = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)[:, None, None]
    mask = torch.zeros(1, 30, 40, dtype=torch.bool)
    mask[0, 5:9, 5:30] = mask[0, 20:24, 10:14] = True
    return gray, painted, mask


def test_strokes_are_found_with_their_chroma():
    gray, painted, expected = painting()
    mask, ab = strokes_of(gray, painted)
    assert torch.equal(mask, expected)
    torch.testing.assert_close(ab, torch.where(mask, rgb_to_lab(painted)[1:], 0))


def test_a_gray_picture_has_no_strokes_and_noise_is_none():
    gray, painted, expected = painting()
    noise = 0.08 * (rand(3, 30, 40, seed=3) - 0.5)
    assert not strokes_of(gray, gray.repeat(3, 1, 1))[0].any()
    noisy = torch.where(expected, painted, painted + noise).clamp(0, 1)
    assert torch.equal(strokes_of(gray, noisy)[0], expected)
    assert not torch.equal(strokes_of(gray, noisy, threshold=0.01)[0], expected)


def test_transparency_decides_where_there_is_some():
    gray, painted, expected = painting()
    opaque = torch.cat([painted, torch.ones(1, 30, 40)])
    clear = torch.cat([painted * expected, expected.double()])  # only strokes, as a layer of their own
    for four in (opaque, clear):
        mask, ab = strokes_of(gray, four)
        assert torch.equal(mask, expected)
        torch.testing.assert_close(ab, strokes_of(gray, painted)[1])


def test_the_soft_edge_of_a_brush_is_as_colorful_as_its_middle():
    gray, painted, _ = painting()
    gray, red = torch.full_like(gray, 0.5), torch.tensor([0.9, 0.1, 0.2], dtype=torch.float64)
    share = torch.zeros(1, 30, 40, dtype=torch.float64)
    share[0, 9:16, 9:31] = 0.5
    share[0, 10:15, 10:30] = 1
    soft = torch.lerp(gray.repeat(3, 1, 1), red[:, None, None].expand(3, 30, 40), share)
    mask, ab = strokes_of(gray, soft)
    assert torch.equal(mask, share > 0)
    expected = rgb_to_lab(red[:, None, None])[1:].expand(2, 30, 40)
    torch.testing.assert_close(ab, torch.where(mask, expected, 0))


def test_strokes_color_the_picture():
    gray, painted, _ = painting()
    mask, ab = strokes_of(gray, painted)
    colored = propagate(rgb_to_lab(gray.expand(3, -1, -1))[:1], ab, mask)
    assert colored.isfinite().all() and (colored.square().sum(0).sqrt() > 1).all()


def test_strokes_that_do_not_fit_are_named():
    gray, painted, _ = painting()
    with pytest.raises(ValueError, match="painted must have gray's size"):
        strokes_of(gray, painted[..., 1:])
    with pytest.raises(ValueError, match=r"painted must be from 0 to 1"):
        strokes_of(gray, painted * 3)
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\); got 1"):
        strokes_of(gray, painted, 1.0)
