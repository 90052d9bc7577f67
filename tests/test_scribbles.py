"""Color from strokes: what the equations ask, held against a dense solution written out pixel by pixel."""

import builtins
import math

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from colorlib.classic import corrected, propagate, scribbles, strokes_of
from colorlib.cli import app
from colorlib.color import fit_gamut, lab_to_rgb, rgb_to_lab
from colorlib.data import read
from colorlib.models.base import Colorizer


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


# A network's colors, corrected.


def two_things():
    """Lightness of two halves with an edge between, a network's chroma, and a stroke on the left one."""
    lightness = torch.full((1, 24, 32), 30.0, dtype=torch.float64) + rand(1, 24, 32)
    lightness[..., 16:] += 40
    mask = torch.zeros(1, 24, 32, dtype=torch.bool)
    mask[0, 10:14, 4:10] = True
    return lightness, 20 * rand(2, 24, 32, seed=1), mask, torch.full((2, 24, 32), -30.0, dtype=torch.float64)


@pytest.mark.parametrize("method", ["direct", "multigrid"])
def test_a_stroke_changes_its_thing_and_leaves_the_other(method):
    lightness, ab, mask, strokes = two_things()
    got = corrected(lightness, ab, mask, strokes, reach=0.5, method=method)
    assert torch.equal(got[:, mask[0]], strokes[:, mask[0]])
    change = (got - ab)[:, :, :15]
    assert change.max() < -20  # what was between 0 and 20 follows to -30, shades included
    assert (got - ab)[:, :, 17:].abs().max() < 2
    # Without the edge, the same stroke reaches over.
    flat = corrected(torch.full_like(lightness, 30.0), ab, mask, strokes, reach=0.5, method=method)
    assert (flat - ab)[:, :, 17:20].abs().min() > 5


def test_correction_fades_with_distance_where_nothing_holds_it():
    lightness, mask = torch.full((1, 21, 121), 50.0), torch.zeros(1, 21, 121, dtype=torch.bool)
    mask[..., :2] = True
    ab, strokes = torch.zeros(2, 21, 121), torch.full((2, 21, 121), 40.0)
    near, far = (corrected(lightness, ab, mask, strokes, reach)[0, 10] for reach in (0.5, 1.0))
    for row, length in ((near, 10.5), (far, 21.0)):
        # u falls as exp(-distance / length): in full to log 2 lengths, not at all beyond log 10.
        assert (row[: int(0.65 * length)] > 39.9).all() and (row[int(2.5 * length) :] < 1e-3).all()
        assert (row.diff() <= 1e-6).all()
    torch.testing.assert_close(near[5:50], far[9:99:2], atol=1.0, rtol=0)


def test_strokes_that_agree_with_the_network_change_nothing():
    lightness, ab, mask, _ = two_things()
    torch.testing.assert_close(corrected(lightness, ab, mask, ab), ab)


def test_without_strokes_chroma_stays():
    lightness, ab, mask, strokes = two_things()
    batch = [torch.stack([x, x]) for x in (lightness, ab, mask, strokes)]
    batch[2][1] = False
    got = corrected(*batch)
    assert torch.equal(got[1], ab) and torch.equal(got[0], corrected(lightness, ab, mask, strokes))


def test_two_strokes_share_the_way_between_them():
    lightness, mask = torch.full((1, 15, 31), 50.0), torch.zeros(1, 15, 31, dtype=torch.bool)
    mask[..., :2] = mask[..., -2:] = True
    strokes = torch.full((2, 15, 31), 30.0)
    strokes[..., 15:] = -30
    row = corrected(lightness, torch.zeros(2, 15, 31), mask, strokes, reach=2.0)[0, 7]
    torch.testing.assert_close(row, -row.flip(0), atol=1e-4, rtol=0)
    assert (row.diff() <= 1e-5).all() and row[5] > 15


class Network(Colorizer):
    """Gives every pixel the same chroma, at an eighth of the picture's size."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def chroma(self, lightness, samples, generator):
        size = [max(1, side // 8) for side in lightness.shape[-2:]]
        return torch.tensor([5.0, 15.0])[:, None, None].expand(samples, len(lightness), 2, *size)


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("size", [(60, 90), (300, 450)])
def test_a_colorizer_follows_strokes(size, guided):
    height, width = size
    gray = torch.full((2, 1, height, width), 0.3)
    gray[..., width // 2 :] = 0.6
    mask = torch.zeros(2, 1, height, width, dtype=torch.bool)
    mask[0, 0, height // 2 : height // 2 + 2, width // 8 : width // 4] = True  # thin; none on the second
    ab = torch.tensor([-20.0, 10.0])[:, None, None].expand(2, 2, height, width)
    plain = Network().colorize(gray, samples=2, guided=guided)
    got = Network().colorize(gray, samples=2, guided=guided, strokes=(mask, ab))
    assert torch.equal(got[0], got[1])
    left, right = got[0, 0, :, :, : width // 2 - 4], got[0, 0, :, :, width // 2 + 4 :]
    under = rgb_to_lab(got[0, 0])[1:, mask[0, 0]]
    torch.testing.assert_close(under, ab[0][:, mask[0, 0]], atol=1.0, rtol=0)
    middle = rgb_to_lab(left)[1:, height // 2 - height // 20, width // 4]
    torch.testing.assert_close(middle, torch.tensor([-20.0, 10.0]), atol=2.0, rtol=0)
    torch.testing.assert_close(right, plain[0, 0, :, :, width // 2 + 4 :], atol=0.02, rtol=0)
    torch.testing.assert_close(got[0, 1], plain[0, 1], atol=1e-4, rtol=0)


def test_strokes_for_a_colorizer_that_do_not_fit_are_named():
    gray, mask, ab = (
        torch.rand(1, 1, 8, 8),
        torch.zeros(1, 1, 8, 8, dtype=torch.bool),
        torch.zeros(1, 2, 8, 8),
    )
    mask[..., 0] = True
    for strokes, error, message in [
        (3, TypeError, "strokes must be a sequence"),
        ((mask,), ValueError, "strokes must be a pair"),
        ((mask.float(), ab), TypeError, "strokes must begin with a mask"),
        ((mask[..., 1:], ab), ValueError, "strokes must have a mask of gray's shape"),
        ((mask, ab[..., 1:]), ValueError, "strokes must have an ab of gray's size"),
        ((mask, ab / 0), ValueError, "strokes' ab must be finite"),
    ]:
        with pytest.raises(error, match=message):
            Network().colorize(gray, strokes=strokes)


# The command line.


@pytest.fixture
def files(tmp_path):
    """A gray photograph, the same with a red stroke, and the stroke alone."""
    values = np.full((48, 64), 90, np.uint8)
    values[:, 32:] = 180
    photo = Image.fromarray(values)
    photo.save(tmp_path / "photo.png")
    painted = photo.convert("RGB")
    painted.paste((210, 40, 40), (6, 20, 20, 26))
    painted.save(tmp_path / "painted.png")
    alone = Image.new("RGBA", (64, 48))
    alone.paste((210, 40, 40, 255), (6, 20, 20, 26))
    alone.save(tmp_path / "alone.png")
    return tmp_path


def command(*arguments, name="colorize"):
    return CliRunner().invoke(app, [name, *map(str, arguments)])


def test_command_line_pins_the_colors_of_strokes(files):
    colored = {}
    for name in (None, "painted", "alone"):
        out = files / f"out-{name}"
        strokes = [] if name is None else ["--strokes", files / f"{name}.png"]
        result = command(files / "photo.png", "--model", "cic-world", "--out", out, *strokes)
        assert result.exit_code == 0, result.output
        colored[name] = torch.from_numpy(np.array(Image.open(out / "photo.png"))).movedim(-1, 0) / 255
    assert torch.equal(colored["painted"], colored["alone"])
    plain, ab = (rgb_to_lab(colored[name])[1:] for name in (None, "painted"))
    expected = rgb_to_lab(torch.tensor([210.0, 40.0, 40.0])[:, None, None] / 255)[1:]
    angle = torch.atan2(ab[1], ab[0])[21:25, 8:18]  # at this lightness, sRGB has less chroma of this hue
    assert (angle - torch.atan2(expected[1], expected[0])).abs().max() < 0.1
    assert ab[0, 21:25, 8:18].min() > 45
    assert (ab - plain)[:, :, 40:].abs().max() < 3


@pytest.mark.parametrize(
    "strokes, message",
    [
        ("missing.png", "no picture or folder at"),
        ("photo.png", "has no strokes"),
        ("small.png", "48 pixels; it has 32 x 24"),
    ],
)
def test_command_line_names_what_is_wrong_with_strokes(files, strokes, message):
    Image.new("RGB", (32, 24)).save(files / "small.png")
    result = command(
        files / "photo.png", "--model", "cic-world", "--out", files / "out", "--strokes", files / strokes
    )
    assert result.exit_code == 1 and message in result.output, result.output


@pytest.mark.parametrize("name", ["painted", "alone"])
def test_scribble_spreads_strokes_over_the_whole_picture(files, name):
    out = files / "colored.png"
    result = command(files / "photo.png", files / f"{name}.png", "--out", out, name="scribble")
    assert result.exit_code == 0 and str(out) in result.output, result.output
    got = torch.from_numpy(np.array(Image.open(out))).movedim(-1, 0) / 255
    mask, ab = strokes_of(read(files / "photo.png", gray=True), read(files / "painted.png"))
    lightness = rgb_to_lab(read(files / "photo.png"))[:1]
    expected = fit_gamut(torch.cat([lightness, propagate(lightness, ab, mask)]))
    assert (got - lab_to_rgb(expected)).abs().max() < 1.01 / 255
    assert rgb_to_lab(got)[1].min() > 5  # a single stroke reaches all


def test_scribble_overwrites_nothing_and_names_what_is_wrong(files):
    photo, painted, out = files / "photo.png", files / "painted.png", files / "colored.png"
    out.write_bytes(b"mine")
    for arguments, message in [
        ((photo, painted, "--out", out), "is there already; --force"),
        ((photo, painted, "--out", painted, "--force"), "is the picture itself"),
        ((photo, painted, "--out", files / "colored.xyz"), "--out must end in one of"),
        ((photo, files / "missing.png", "--out", files / "new.png"), "no picture at"),
        ((photo, photo, "--out", files / "new.png"), "has no strokes"),
        ((photo, "", "--out", files / "new.png"), "STROKES must be a name"),
    ]:
        result = command(*arguments, name="scribble")
        assert result.exit_code == 1 and message in result.output, result.output
    assert out.read_bytes() == b"mine" and not (files / "new.png").exists()
    assert command(photo, painted, "--out", out, "--force", name="scribble").exit_code == 0
    assert Image.open(out).mode == "RGB"
