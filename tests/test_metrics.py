"""The figures that compare a coloring with the truth, against other code and by hand."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from colorlib import metrics
from colorlib.color import ab_bins, fit_gamut, lab_to_rgb, rgb_to_gray, rgb_to_lab
from colorlib.data import Folder, World
from colorlib.models import ResNetRegressor


def pictures(seed=0, count=3, side=12):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_known_shift_in_ab_is_the_error():
    lab = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    lab[:, 0], lab[:, 1] = 60, 10
    shifted = lab.clone()
    shifted[:, 1] += 3
    shifted[:, 2, :2] += 4  # half of the pixels: 5 away, the others 3
    rgb, truth = lab_to_rgb(shifted), lab_to_rgb(lab)
    assert metrics.ab_error(rgb, truth).item() == pytest.approx(4.0, abs=1e-3)
    assert metrics.ab_rmse(rgb, truth).item() == pytest.approx(math.sqrt(17), abs=1e-3)
    assert metrics.mean_chroma(truth).item() == pytest.approx(10, abs=1e-3)


def test_gray_errs_by_the_chroma():
    truth = pictures()
    gray = rgb_to_gray(truth).expand_as(truth)
    assert torch.allclose(metrics.ab_error(gray, truth), metrics.mean_chroma(truth), atol=1e-2)


def test_accuracy_is_the_mean_over_the_thresholds():
    rgb, truth = pictures(1), pictures(2)
    distance = (rgb_to_lab(rgb)[:, 1:] - rgb_to_lab(truth)[:, 1:]).norm(dim=1).numpy()
    assert distance.max() > 100
    shares = [(distance <= threshold).mean(axis=(1, 2)) for threshold in range(151)]
    assert np.allclose(metrics.accuracy(rgb, truth).numpy(), np.mean(shares, axis=0), atol=1e-6)
    assert (metrics.accuracy(rgb, rgb) == 1).all()


def test_psnr_is_that_of_scikit_image():
    rgb, truth = pictures(1), pictures(2)
    wanted = [
        peak_signal_noise_ratio(t.numpy(), r.numpy(), data_range=1) for r, t in zip(rgb, truth, strict=True)
    ]
    assert np.allclose(metrics.psnr(rgb, truth).numpy(), wanted, atol=1e-4)


def test_divergence():
    chance = torch.Generator().manual_seed(0)
    p, q = (torch.rand(2, 5, 3, generator=chance, dtype=torch.float64).softmax(1) for _ in range(2))
    p[0, 1, 0] = 0
    p = p / p.sum(1, keepdim=True)
    wanted = torch.nn.functional.kl_div(q.log(), p, reduction="none").sum(1)
    assert torch.allclose(metrics.divergence(p, q), wanted)
    assert (metrics.divergence(p, p) == 0).all()
    q[0, 2, 0] = 0
    assert metrics.divergence(p, q / q.sum(1, keepdim=True))[0, 0] == math.inf


@pytest.mark.parametrize(
    "bad", [torch.full((2, 5), 0.3), torch.tensor([[1.5, -0.5]]), torch.full((1, 2), math.nan)]
)
def test_divergence_wants_probabilities(bad):
    good = torch.full(bad.shape, 1 / bad.shape[1])
    with pytest.raises(ValueError, match="exact must hold probabilities"):
        metrics.divergence(bad, good)
    with pytest.raises(ValueError, match="predicted must hold probabilities"):
        metrics.divergence(good, bad)


def test_figures_want_pictures_of_one_size():
    for figure in (metrics.ab_error, metrics.ab_rmse, metrics.accuracy, metrics.psnr):
        with pytest.raises(ValueError, match="of one size"):
            figure(torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5))
        with pytest.raises(ValueError, match=r"truth must have shape \(\.\.\., 3, H, W\)"):
            figure(torch.rand(1, 3, 4, 4), torch.rand(1, 1, 4, 4))
        with pytest.raises(TypeError, match="uint8"):
            figure(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.rand(1, 3, 4, 4))


def test_evaluate_is_the_mean_over_all_pictures_whatever_the_batches():
    world, model = World(16), ResNetRegressor.small().eval()
    figures = metrics.evaluate(model, world, range(40))  # a batch of 32 and one of 8
    truth = world.batch(range(40)).rgb
    colored = model.colorize(rgb_to_gray(truth))[0]
    assert figures["model"] == pytest.approx(metrics.compare(colored, truth), rel=1e-4)
    assert figures["gray"]["ab error"] == pytest.approx(figures["truth"]["chroma"], abs=1e-2)
    assert figures["truth"]["PSNR"] == math.inf and figures["truth"]["ab error"] == 0
    assert figures["truth"]["hue"] == figures["truth"]["balanced"] == 1 and figures["gray"]["hue"] == 0
    with pytest.raises(ValueError, match="at least one picture"):
        metrics.evaluate(model, world, [])
    with pytest.raises(ValueError, match="at least one picture"):
        metrics.compare(truth[:0], truth[:0])


def test_a_picture_that_is_gray_in_truth_does_not_lift_the_psnr():
    truth = pictures(1)
    truth[0] = truth[0, :1]
    gray = rgb_to_gray(truth).expand_as(truth)
    errors = [mean_squared_error(t.numpy(), g.numpy()) for t, g in zip(truth, gray, strict=True)]
    assert errors[0] < 1e-12 < 1e-3 < min(errors[1:])
    assert metrics.compare(gray, truth)["PSNR"] == pytest.approx(-10 * math.log10(np.mean(errors)), abs=1e-3)


def test_evaluate_measures_no_stand_ins(tmp_path):
    chance = np.random.default_rng(0)
    truth = {k: chance.integers(0, 256, (16, 16, 3), dtype=np.uint8) for k in range(40)}
    for k, pixels in truth.items():
        Image.fromarray(pixels // (1 + k % 3)).save(tmp_path / f"{k:02}.png")
    # More in the first batch of 32, all in the second, and a picture asked for twice.
    damaged = {*range(0, 32, 2), *range(32, 40)}
    for k in damaged:
        (tmp_path / f"{k:02}.png").write_text("no picture")
    model, folder = ResNetRegressor.small().eval(), Folder(tmp_path, 16)
    with pytest.warns(UserWarning) as caught:
        figures = metrics.evaluate(model, folder, [3, *range(40)])
    assert {str(warning.message)[:2] for warning in caught} == {f"{k:02}" for k in damaged}
    sound = [3, *(k for k in truth if k not in damaged)]
    rgb = torch.stack([torch.from_numpy(truth[k] // (1 + k % 3)) for k in sound]).permute(0, 3, 1, 2) / 255
    gray = rgb_to_gray(rgb)
    for name, wanted in (("model", model.colorize(gray)[0]), ("gray", gray.expand_as(rgb)), ("truth", rgb)):
        assert figures[name] == pytest.approx(metrics.compare(wanted, rgb), rel=1e-4, abs=1e-5)
    assert folder.unfit == damaged
    with pytest.raises(ValueError, match="none of the 2 pictures asked for can be read"):
        metrics.evaluate(model, folder, [0, 2])


def test_what_is_no_number_is_not_measured():
    rgb = torch.full((1, 3, 4, 4), 0.5)
    broken = rgb.clone()
    broken[0, 0, 0, 0] = torch.nan
    for pair in ((broken, rgb), (rgb, broken)):
        with pytest.raises(ValueError, match="(rgb|truth) must be finite; 1 of its values are not"):
            metrics.compare(*pair)


def bins_of(ab):
    """The nearest of the 313 bins of each color, by all distances."""
    return ((ab[:, None] - ab_bins().numpy()) ** 2).sum(-1).argmin(1)


def test_balanced_counts_each_color_bin_once():
    # Many pixels of few colors and few of others, so that plain and balanced differ.
    truth = 0.5 + 0.5 * (pictures(2, 2, 16) - 0.5) ** 3
    rgb = (truth + 0.2 * (pictures(1, 2, 16) - 0.5)).clamp(0, 1)
    lab, true = (rgb_to_lab(x)[:, 1:].movedim(1, -1).reshape(-1, 2).numpy() for x in (rgb, truth))
    right = np.linalg.norm(lab - true, axis=1)[:, None] <= np.arange(151)
    nearest = bins_of(true)
    wanted = np.mean([right[nearest == bin].mean() for bin in np.unique(nearest)])
    numbers = metrics.compare(rgb, truth)
    assert numbers["balanced"] == pytest.approx(wanted, abs=1e-6)
    assert abs(numbers["balanced"] - numbers["accuracy"]) > 1e-3


def test_hue_is_right_within_thirty_degrees_of_the_colored_pixels():
    angles = torch.tensor([0, 29, -29, 31, -31, 180, 10, 0], dtype=torch.float64).deg2rad()
    chroma = torch.tensor([20, 20, 20, 20, 20, 20, 0, 20], dtype=torch.float64)  # one left gray
    truth = torch.full((1, 3, 1, 8), 60.0, dtype=torch.float64)
    rgb = truth.clone()
    start = math.radians(200)
    true = torch.tensor([25, 25, 25, 25, 25, 25, 25, 9], dtype=torch.float64)  # the last one has no hue
    for lab, size, angle in ((truth, true, torch.zeros(8)), (rgb, chroma, angles)):
        lab[0, 1, 0], lab[0, 2, 0] = size * (start + angle).cos(), size * (start + angle).sin()
    assert metrics.compare(lab_to_rgb(rgb), lab_to_rgb(truth))["hue"] == pytest.approx(3 / 7)
    gray = torch.full((1, 3, 4, 4), 0.3)
    assert math.isnan(metrics.compare(gray, gray)["hue"])


def test_the_best_constant_is_the_geometric_median():
    ab = 20 * torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ab[:100, 0] += 60
    found = metrics.best_constant(ab)
    wanted = minimize(lambda at: np.linalg.norm(ab.numpy() - at, axis=1).mean(), [0, 0], method="Nelder-Mead")
    assert found.numpy() == pytest.approx(wanted.x, abs=0.01)
    assert (found - ab.mean(0)).norm() > 1  # it is not the mean
    most = torch.tensor([[5.0, 5.0]] * 3 + [[0.0, 90.0], [70.0, 0.0]])
    assert metrics.best_constant(most).tolist() == pytest.approx([5, 5], abs=0.01)
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        metrics.best_constant(torch.zeros(0, 2))


def test_one_color_is_the_one_that_fits_these_pictures_best():
    class Brown:
        rgb = (0.8 * pictures(0, 40, 16) + torch.tensor([0.2, 0.1, 0.0])[:, None, None]) ** 1.5

        def batch(self, indices, device=None):
            return {"rgb": self.rgb[indices]}

    figures = metrics.evaluate(ResNetRegressor.small().eval(), Brown(), range(40))
    truth = rgb_to_lab(Brown.rgb)
    errors = {}
    for a in range(-12, 13, 4):
        for b in range(-12, 25, 4):
            lab = truth.clone()
            lab[:, 1], lab[:, 2] = a, b
            errors[a, b] = (rgb_to_lab(lab_to_rgb(fit_gamut(lab))) - truth)[:, 1:].norm(dim=1).mean().item()
    assert figures["constant"]["ab error"] <= min(errors.values()) + 0.05
    assert figures["constant"]["ab error"] < errors[0, 0] - 1 and figures["constant"]["chroma"] > 1
