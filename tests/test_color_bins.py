"""The 313 bins, soft encoding, decoding, rebalancing and colorfulness, against direct calculation."""

import math

import numpy as np
import pytest
import skimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import colorlib.color as color
from colorlib.color import bins as module

BINS = color.ab_bins(dtype=torch.float64)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def random(*shape, seed=0):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def brute_force(points, k, sigma=5.0):
    """All distances, sorted, in double precision: the k smallest squared distances and their weights."""
    distances = (points.double()[:, None] - BINS).square().sum(-1).topk(k, largest=False).values
    weights = (-(distances - distances[:, :1]) / (2 * sigma**2)).exp()
    return distances, weights / weights.sum(-1, keepdim=True)


def assert_exact(points, k, tolerance=2e-6):
    """The bins found are as near as the nearest, so they are the nearest, whichever way ties went."""
    indices, weights = color.soft_encode(points, k)
    assert indices.dtype == torch.int64 and indices.shape == weights.shape == (len(points), k)
    assert (indices.sort(-1).values.diff() > 0).all()  # k different bins
    found = (points.double()[:, None] - BINS[indices]).square().sum(-1)
    distances, expected = brute_force(points, k)
    torch.testing.assert_close(found, distances, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(weights.double(), expected, rtol=0, atol=tolerance)


# The bins ---------------------------------------------------------------------------------------------------


def test_the_bins_are_the_published_ones():
    assert BINS.shape == (313, 2)
    assert BINS[0].tolist() == [-90, 50] and BINS[-1].tolist() == [100, 0]
    rows, counts = BINS[:, 0].unique(return_counts=True)
    assert rows.tolist() == list(range(-90, 101, 10))
    assert counts.tolist() == [5, 8, 10, 12, 14, 15, 16, 16, 17, 18, 18, 18, 19, 20, 19, 20, 20, 19, 19, 10]
    assert BINS.tolist() == sorted(BINS.tolist())


@pytest.mark.parametrize("n", [5, 6, 9, 16, 40])
def test_the_bins_do_not_hang_on_the_lattice(n):
    assert np.array_equal(module._derive_bins(n), BINS.numpy())


@pytest.mark.slow
def test_no_bin_is_a_matter_of_rounding():
    """No grid point lies so near the hull's edge that another machine might decide otherwise."""
    grown = color.rgb_to_lab(torch.cartesian_prod(*[torch.linspace(0, 1, 17).double()] * 3).T[..., None])
    ab = grown[1:, :, 0].T
    ticks = torch.arange(-200.0, 201, 10).double()
    grid = torch.cartesian_prod(ticks, ticks)
    # A point is inside the grown hull if no direction shows it outside: independent of the hull's corners.
    angles = torch.arange(0, 2 * math.pi, 2e-4).double()
    directions = torch.stack([angles.cos(), angles.sin()])
    support = (ab @ directions).amax(0) + 10 * directions.abs().sum(0)
    margin = (support - grid @ directions).amin(1)
    assert (margin > 0).sum() == 313 and margin.abs().min() > 0.01


def test_nobody_can_spoil_the_bins():
    color.ab_bins().zero_()
    assert color.ab_bins().double().equal(BINS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bins_come_as_asked(dtype):
    asked = color.ab_bins("cpu", dtype)
    assert asked.dtype == dtype and asked.double().equal(BINS)
    assert color.ab_bins(device="meta").device.type == "meta"


# Soft encoding ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reach", [60, 130])
def test_the_five_nearest_bins_are_exact(reach, dtype):
    assert_exact(((random(60_000, 2) * 2 - 1) * reach).to(dtype), 5)


@pytest.mark.slow
def test_the_five_nearest_bins_are_exact_in_the_gamut_and_at_its_boundary():
    rgb = random(60_000, 3, seed=1)
    rgb[::2, 0] = random(30_000, seed=2).round()  # on a face of the cube
    rgb[::4, 1] = random(15_000, seed=3).round()  # on an edge
    lab = color.rgb_to_lab(rgb.T.unsqueeze(-1))
    assert_exact(lab[1:, :, 0].T.float(), 5)


@pytest.mark.slow
def test_the_five_nearest_bins_are_exact_on_every_line_of_symmetry():
    """Ties: multiples of 1.25 hit bin centers, edges and diagonals between them."""
    ticks = torch.arange(-130, 130.1, 1.25)
    assert_exact(torch.cartesian_prod(ticks, ticks), 5)


@pytest.mark.parametrize("scale", [1e3, 1e4, 1e6])
def test_far_points_are_exact(scale):
    assert_exact(((random(2_000, 2) * 2 - 1) * scale).float(), 5)
    indices, weights = color.soft_encode(torch.tensor([[1e30, 1e30], [-3e38, 0]]))
    assert weights.isfinite().all() and torch.allclose(weights.sum(-1), torch.ones(2))
    assert indices[1, 0] < 5  # in the row a = -90


@pytest.mark.parametrize("k", [1, 2, 3, 4, 6, 10, 50, 312, 313])
def test_any_number_of_neighbors_is_exact(k):
    assert_exact(((random(1_000, 2) * 2 - 1) * 150).float(), k)
    assert_exact(((random(100, 2) * 2 - 1) * 1e4).float(), k)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e5, 1e5, width=32), st.floats(-1e5, 1e5, width=32))
def test_any_point_is_exact(a, b):
    assert_exact(torch.tensor([[a, b]]), 5)


def test_few_points_of_the_gamut_take_the_slow_way(monkeypatch):
    compared = []
    original = module._nearest
    monkeypatch.setattr(module, "_nearest", lambda a, b, k: compared.append(len(a)) or original(a, b, k))
    lab = color.rgb_to_lab(random(3, 100, 100))
    color.soft_encode(lab[1:])
    assert 0 < sum(compared) < 0.05 * 10_000


def test_weights_at_a_bin_center_are_the_known_ones():
    indices, weights = color.soft_encode(torch.zeros(2))
    assert indices.shape == (5,)
    assert BINS[indices[0]].tolist() == [0, 0]
    assert weights.tolist() == pytest.approx([0.6488] + [0.0878] * 4, abs=5e-5)


@pytest.mark.parametrize("sigma", [1e-300, 1e-3, 0.5, 5, 40, 1e300, math.inf])
def test_sigma_from_one_bin_to_all_alike(sigma):
    points = ((random(500, 2) * 2 - 1) * 100).float()
    _, weights = color.soft_encode(points, sigma=sigma)
    assert weights.isfinite().all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(500))
    if 1e-100 < sigma < 1e100:
        torch.testing.assert_close(weights.double(), brute_force(points, 5, sigma)[1], rtol=1e-3, atol=1e-5)
    elif sigma < 1:
        assert weights[:, 0].min() == 1
    else:
        torch.testing.assert_close(weights, torch.full((500, 5), 0.2))


@pytest.mark.parametrize("k", [5, 7])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)])
@pytest.mark.parametrize("size", [(6, 5), (1, 1), (0, 5)])
def test_images_are_encoded_pixel_by_pixel(lead, size, k):
    ab = (random(*lead, 2, *size) * 200 - 100).float()
    before = ab.clone()
    indices, weights = color.soft_encode(ab, k)
    assert torch.equal(ab, before)
    assert indices.shape == weights.shape == (*lead, k, *size)
    points = ab.movedim(-3, -1).reshape(-1, 2)
    flat_indices, flat_weights = color.soft_encode(points, k)
    assert torch.equal(indices.movedim(-3, -1).reshape(-1, k), flat_indices)
    torch.testing.assert_close(weights.movedim(-3, -1).reshape(-1, k), flat_weights)
    view = ab.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(color.soft_encode(view, k)[0], indices)


@pytest.mark.parametrize("dtype", DTYPES)
def test_encoding_keeps_the_dtype(dtype):
    ab = (random(2, 8, 8) * 160 - 80).to(dtype)
    indices, weights = color.soft_encode(ab)
    assert weights.dtype == dtype
    if dtype != torch.float64:
        assert torch.equal(indices, color.soft_encode(ab.float())[0])
        assert torch.equal(weights, color.soft_encode(ab.float())[1].to(dtype))


@pytest.mark.parametrize("k", [1, 5, 8])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_gets_nan_and_a_valid_index(bad, k):
    ab = (random(2, 4, 4) * 100).float()
    expected = color.soft_encode(ab, k)
    for channel in range(2):
        broken = ab.clone()
        broken[channel, 1, 2] = bad
        indices, weights = color.soft_encode(broken, k)
        assert weights[:, 1, 2].isnan().all() and (indices[:, 1, 2] == 0).all()
        others = torch.ones(4, 4, dtype=torch.bool)
        others[1, 2] = False
        assert torch.equal(indices[:, others], expected[0][:, others])
        assert torch.equal(weights[:, others], expected[1][:, others])


def test_weights_carry_a_gradient():
    ab = (random(2, 6, 6, seed=4) * 300 - 150).requires_grad_()  # some points take the slow way
    assert torch.autograd.gradcheck(lambda x: color.soft_encode(x)[1], ab, fast_mode=True)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (3, 4, 4), (1, 4, 4), (4, 4, 2)])
def test_encoding_refuses_wrong_shapes(shape):
    with pytest.raises(ValueError) as error:
        color.soft_encode(torch.zeros(shape))
    assert "(..., 2, H, W)" in str(error.value) and str(shape) in str(error.value)


@pytest.mark.parametrize("k", [0, -1, 314, 2.5, None])
def test_encoding_refuses_a_wrong_k(k):
    with pytest.raises((TypeError, ValueError), match=f"k must be (from 1 to 313|a whole number); got {k}"):
        color.soft_encode(torch.zeros(2), k)


@pytest.mark.parametrize("sigma", [0, -1, math.nan])
def test_encoding_refuses_a_wrong_sigma(sigma):
    with pytest.raises(ValueError, match=rf"sigma must be in \(0, inf\]; got {sigma}"):
        color.soft_encode(torch.zeros(2), sigma=sigma)


@pytest.mark.parametrize(
    "function", [color.soft_encode, color.annealed_mean, color.bin_prior, color.rebalancing_weights]
)
def test_what_is_no_floating_tensor_is_refused(function):
    with pytest.raises(TypeError, match="got list"):
        function([0.0, 0.0])
    with pytest.raises(TypeError, match=r"got torch.int64"):
        function(torch.zeros(2, dtype=torch.int64))


# Decoding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.05, 0.38, 1, 3.0, 100])
def test_annealed_mean_is_its_formula(temperature):
    z = random(2, 313, 3, 4, seed=5) ** 8
    z = z / z.sum(1, keepdim=True)
    sharpened = np.exp(np.log(z.numpy()) / temperature)
    sharpened /= sharpened.sum(1, keepdims=True)
    expected = np.einsum("nqhw,qc->nchw", sharpened, BINS.numpy())
    shifted = z.log() + 7  # logits are free up to a constant
    np.testing.assert_allclose(color.annealed_mean(shifted, temperature).numpy(), expected, rtol=0, atol=1e-9)
    ours = color.annealed_mean(shifted.float(), temperature)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=2e-3)


def test_annealed_mean_of_one_bin_is_its_center():
    for temperature in (0, 1e-300, 0.38, 1, 1e300, math.inf):
        logits = torch.full((313, 313), -math.inf).fill_diagonal_(3.0)
        torch.testing.assert_close(color.annealed_mean(logits, temperature), BINS.float())


def test_annealed_mean_between_mode_and_mean():
    logits = random(50, 313, seed=6) * 20
    mode = BINS[logits.argmax(-1)]
    assert torch.equal(color.annealed_mean(logits, 0), mode)
    for cold in (1e-300, 1e-20, 1e-6):
        torch.testing.assert_close(color.annealed_mean(logits, cold), mode)
        torch.testing.assert_close(color.annealed_mean(logits.float() * 1e30, cold), mode.float())
    everything = BINS.mean(0).expand(50, 2)
    for hot in (1e12, 1e300, math.inf):
        torch.testing.assert_close(color.annealed_mean(logits, hot), everything, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            color.annealed_mean(logits.float(), hot), everything.float(), rtol=0, atol=1e-4
        )


def test_annealed_mean_leaves_out_what_is_impossible():
    logits = torch.zeros(313)
    logits[10:] = -math.inf
    for temperature in (1e-3, 0.38, 5, math.inf):
        torch.testing.assert_close(color.annealed_mean(logits, temperature), BINS[:10].mean(0).float())
    assert color.annealed_mean(logits, 0).tolist() == BINS[0].tolist()


@pytest.mark.parametrize("temperature", [0, 1e-9, 0.38, 1, math.inf])
def test_annealed_mean_of_nothing_is_nan(temperature):
    clean = random(313, 2, 2).float()
    for bad in (math.nan, math.inf):
        logits = clean.clone()
        logits[7, 0, 1] = bad
        ab = color.annealed_mean(logits, temperature)
        assert ab[:, 0, 1].isnan().all() and ab.isnan().sum() == 2
    logits = clean.clone()
    logits[:, 1, 1] = -math.inf
    ab = color.annealed_mean(logits, temperature)
    assert ab[:, 1, 1].isnan().all() and ab.isnan().sum() == 2


@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)])
@pytest.mark.parametrize("temperature", [0, 0.38])
def test_annealed_mean_of_any_shape(lead, temperature):
    logits = random(*lead, 313, 3, 2)
    ab = color.annealed_mean(logits, temperature)
    assert ab.shape == (*lead, 2, 3, 2)
    flat = color.annealed_mean(logits.movedim(-3, -1).reshape(-1, 313), temperature)
    torch.testing.assert_close(ab.movedim(-3, -1).reshape(-1, 2), flat)
    assert color.annealed_mean(logits[..., :0, :], temperature).shape == (*lead, 2, 0, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_annealed_mean_keeps_the_dtype(dtype):
    logits = (random(313, 2, 2) * 5).to(dtype)
    ab = color.annealed_mean(logits)
    assert ab.dtype == dtype
    torch.testing.assert_close(ab.double(), color.annealed_mean(logits.double()), rtol=1e-2, atol=1e-2)


def test_annealed_mean_is_differentiable():
    logits = random(2, 313, seed=7).requires_grad_()
    assert torch.autograd.gradcheck(color.annealed_mean, logits, fast_mode=True)


def test_annealed_mean_undoes_soft_encoding():
    """Between the bins the five weights pull back to the color they came from."""
    ab = random(1_000, 2, seed=8) * 60 - 30
    indices, weights = color.soft_encode(ab)
    z = torch.zeros(1_000, 313, dtype=torch.float64).scatter(1, indices, weights)
    assert (color.annealed_mean(z.log(), 1) - ab).norm(dim=1).max() < 3


@pytest.mark.parametrize("temperature", [-0.1, -math.inf, math.nan])
def test_annealed_mean_refuses_a_wrong_temperature(temperature):
    with pytest.raises(ValueError, match=f"temperature must be .*; got {temperature}"):
        color.annealed_mean(torch.zeros(313), temperature)


@pytest.mark.parametrize("shape", [(), (312,), (313, 2), (2, 312), (2, 3, 313), (314, 4, 4)])
def test_annealed_mean_refuses_wrong_shapes(shape):
    with pytest.raises(ValueError) as error:
        color.annealed_mean(torch.zeros(shape))
    assert "(..., 313, H, W)" in str(error.value) and str(shape) in str(error.value)


# Rebalancing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [0, 0.1, 0.5, 1])
def test_rebalancing_weights_are_their_formula(mix):
    prior = random(313, seed=9) ** 4 + 1e-6
    prior = prior / prior.sum()
    weights = color.rebalancing_weights(prior, mix)
    assert (prior * weights).sum().item() == pytest.approx(1)
    inverse = weights * ((1 - mix) * prior + mix / 313)
    torch.testing.assert_close(inverse, inverse.mean().expand(313))


def test_rebalancing_weights_at_both_ends():
    prior = torch.tensor([0.5, 0.3, 0.2])
    torch.testing.assert_close(color.rebalancing_weights(prior, 1), torch.ones(3))
    torch.testing.assert_close(color.rebalancing_weights(prior, 0), 1 / (3 * prior))
    assert color.rebalancing_weights(torch.tensor([1.0, 0]), 0.5).isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_rebalancing_weights_keep_the_dtype(dtype):
    prior = color.bin_prior((random(1_000, 2) * 100 - 50).to(dtype))
    assert prior.dtype == dtype
    for out in (color.rebalancing_weights(prior), color.smooth_prior(prior)):
        assert out.dtype == dtype and out.isfinite().all()


@pytest.mark.parametrize(
    ("prior", "mix", "message"),
    [
        ([0.5, 0.4], 0.5, "sums to 0.9"),
        ([0.5, 0.7, -0.2], 0.5, "least is -0.2"),
        ([0.5, math.nan], 0.5, "NaN"),
        ([[0.5, 0.5]], 0.5, r"\(1, 2\)"),
        ([], 0.5, r"\(0,\)"),
        ([0.5, 0.5], 1.1, "got 1.1"),
        ([0.5, 0.5], -0.1, "got -0.1"),
        ([0.5, 0.5], math.nan, "got nan"),
        ([1.0, 0.0, 0.0], 0, "2 bins have the share 0"),
    ],
)
def test_rebalancing_refuses_what_is_no_distribution(prior, mix, message):
    with pytest.raises(ValueError, match=message):
        color.rebalancing_weights(torch.tensor(prior), mix)


def test_bin_prior_counts_the_nearest_bins():
    ab = (random(3, 2, 20, 20, seed=10) * 200 - 100).float()
    points = ab.movedim(1, -1).reshape(-1, 2)
    nearest = torch.cdist(points.double(), BINS).argmin(1)
    expected = torch.tensor([(nearest == q).double().mean() for q in range(313)])
    torch.testing.assert_close(color.bin_prior(ab), expected.float())
    torch.testing.assert_close(color.bin_prior(points), expected.float())


def test_bin_prior_refuses_nothing_and_nan():
    with pytest.raises(ValueError, match=r"no color.*\(2, 0, 3\)"):
        color.bin_prior(torch.zeros(2, 0, 3))
    with pytest.raises(ValueError, match="1 colors that are not finite"):
        color.bin_prior(torch.tensor([[0.0, 1], [math.nan, 2]]))


def test_smooth_prior_spreads_each_share():
    prior = random(313, seed=11)
    prior = prior / prior.sum()
    kernel = np.exp(-((BINS[:, None] - BINS).square().sum(-1)).numpy() / (2 * 7.0**2))
    kernel /= kernel.sum(0)  # column: how the share of one bin is handed on
    np.testing.assert_allclose(color.smooth_prior(prior, 7).numpy(), kernel @ prior.numpy(), atol=1e-12)
    assert color.smooth_prior(prior).sum().item() == pytest.approx(1)
    torch.testing.assert_close(color.smooth_prior(prior, 1e-3), prior)
    with pytest.raises(ValueError, match=r"\(313,\); got \(2,\)"):
        color.smooth_prior(torch.tensor([0.5, 0.5]))


# Colorfulness -----------------------------------------------------------------------------------------------


def test_colorfulness_has_signs():
    """Absolute values, a common mistake, would give 206.52."""
    assert color.colorfulness(torch.eye(3).unsqueeze(1)).item() == pytest.approx(275.43, abs=0.005)


def test_colorfulness_of_published_tables_is_the_one_without_signs():
    rocket = torch.from_numpy(skimage.data.rocket()).permute(2, 0, 1) / 255
    assert color.colorfulness(rocket).item() == pytest.approx(38.56, abs=0.005)
    assert color.colorfulness(rocket, absolute=True).item() == pytest.approx(28.98, abs=0.005)


def test_colorfulness_is_its_formula():
    rgb = random(4, 3, 9, 7, seed=12)
    red, green, blue = 255 * rgb.numpy().transpose(1, 0, 2, 3)
    rg, yb = red - green, (red + green) / 2 - blue
    axes = (1, 2)
    expected = np.sqrt(rg.var(axes) + yb.var(axes)) + 0.3 * np.sqrt(rg.mean(axes) ** 2 + yb.mean(axes) ** 2)
    ours = color.colorfulness(rgb)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12)
    assert color.colorfulness(rgb[0]).shape == () and color.colorfulness(rgb[None]).shape == (1, 4)
    torch.testing.assert_close(color.colorfulness(rgb[2].float()), ours[2].float())


def test_colorfulness_of_gray_is_zero_with_a_finite_gradient():
    gray = random(1, 5, 5).expand(2, 3, 5, 5).clone().requires_grad_()
    value = color.colorfulness(gray)
    assert value.tolist() == [0, 0]
    value.sum().backward()
    assert gray.grad.isfinite().all()


def test_colorfulness_gradient_nan_and_nothing():
    assert torch.autograd.gradcheck(color.colorfulness, random(3, 3, 4, seed=13).requires_grad_(), atol=1e-4)
    rgb = random(2, 3, 4, 4)
    rgb[1, 0, 0, 0] = math.nan
    assert color.colorfulness(rgb).isnan().tolist() == [False, True]
    assert color.colorfulness(torch.zeros(2, 3, 0, 4)).isnan().all()
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, H, W\); got \(4, 4\)"):
        color.colorfulness(torch.zeros(4, 4))
    with pytest.raises(TypeError, match="255"):
        color.colorfulness(torch.zeros(3, 4, 4, dtype=torch.uint8))
