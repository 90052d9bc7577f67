"""The color spaces against scikit-image, colorsys, Pillow and their own inverses."""

import colorsys
import warnings

import numpy as np
import pytest
import skimage.color
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.autograd import gradcheck

import colorlib.color as color
from colorlib.color import cielab, spaces

SPACES = ("lab", "yuv", "ycbcr", "hsv", "hsl", "cmyk")
FORWARD = {name: getattr(color, f"rgb_to_{name}") for name in SPACES}
BACKWARD = {name: getattr(color, f"{name}_to_rgb") for name in SPACES}
CHANNELS = {name: 4 if name == "cmyk" else 3 for name in SPACES}
# Every function of this module from an image to an image, with the channels it takes.
FUNCTIONS = {
    **{f"rgb_to_{name}": (function, 3) for name, function in FORWARD.items()},
    **{f"{name}_to_rgb": (function, CHANNELS[name]) for name, function in BACKWARD.items()},
    "lab_to_rgb unclipped": (lambda lab: color.lab_to_rgb(lab, clip=False), 3),
    "rgb_to_gray": (color.rgb_to_gray, 3),
    "fit_gamut": (color.fit_gamut, 3),
}
DIFFERENTIABLE = [name for name in FUNCTIONS if name != "fit_gamut"]
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def lattice(n, dtype=torch.float32):
    """Every color with n levels a channel, black, white, grays and primaries among them: (3, n^3, 1)."""
    levels = torch.linspace(0, 1, n, dtype=dtype)
    return torch.cartesian_prod(levels, levels, levels).T.unsqueeze(-1).contiguous()


def example(name, *shape, dtype=torch.float32, seed=0):
    """Random input for a function, (*shape), in the range of what it takes."""
    x = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    if name.startswith("lab") or name == "fit_gamut":
        x = x * torch.tensor([100.0, 200, 200]).view(3, 1, 1) - torch.tensor([0.0, 100, 100]).view(3, 1, 1)
    if name.startswith("yuv"):
        x = x - torch.tensor([0, 0.5, 0.5]).view(3, 1, 1)
    return x.to(dtype)


def convert_in_pieces(monkeypatch, pixels):
    monkeypatch.setattr(spaces, "_CHUNK", pixels)
    monkeypatch.setattr(cielab, "BLOCK", pixels)


def channels_last(x):
    return x.movedim(-3, -1).double().numpy()


def skimage_lab_to_rgb(lab):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every color it clips
        return skimage.color.lab2rgb(channels_last(lab))


# Against other code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lab_is_scikit_images(dtype):
    rgb = lattice(33, dtype)
    ours = channels_last(color.rgb_to_lab(rgb))
    np.testing.assert_allclose(ours, skimage.color.rgb2lab(channels_last(rgb)), rtol=0, atol=1e-3)


def test_lab_is_scikit_images_in_the_dark():
    """Near black the straight part of the curve holds; so does it for values below 0."""
    rgb = torch.cat([lattice(21) * 0.06 - 0.01, lattice(11) * 0.4 + 0.9], 1)
    ours = channels_last(color.rgb_to_lab(rgb))
    np.testing.assert_allclose(ours, skimage.color.rgb2lab(channels_last(rgb)), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lab_to_rgb_is_scikit_images(dtype):
    """Also far outside the gamut, where Z and then R, G and B are clipped."""
    lab = lattice(29, dtype) * torch.tensor([100, 260, 260]).view(3, 1, 1)
    lab = lab - torch.tensor([0, 130, 130]).view(3, 1, 1)
    ours = channels_last(color.lab_to_rgb(lab.to(dtype)))
    np.testing.assert_allclose(ours, skimage_lab_to_rgb(lab), rtol=0, atol=1e-5)


def test_yuv_is_scikit_images():
    rgb = lattice(17)
    ours = channels_last(color.rgb_to_yuv(rgb))
    np.testing.assert_allclose(ours, skimage.color.rgb2yuv(channels_last(rgb)), rtol=0, atol=1e-6)


def test_ycbcr_is_that_of_jpeg():
    """Pillow converts as its JPEG reader does, in whole numbers: it may differ by the rounding of one."""
    levels = np.array([0, 1, 17, 64, 100, 128, 200, 254, 255], dtype=np.uint8)
    image = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    reference = np.asarray(Image.fromarray(image).convert("YCbCr"), dtype=float)
    ours = color.rgb_to_ycbcr(torch.from_numpy(image).permute(2, 0, 1).double() / 255)
    # JPEG's 8-bit chroma has its center at 128, which is 127.5 + 0.5, and ends at 255.
    expected = np.clip(channels_last(ours) * 255 + np.array([0, 0.5, 0.5]), 0, 255)
    np.testing.assert_allclose(expected, reference, rtol=0, atol=1.01)
    assert np.abs(expected - reference).mean() < 0.5


def test_ycbcr_has_full_range():
    ycbcr = color.rgb_to_ycbcr(lattice(2, torch.float64)).flatten(1)
    assert ycbcr.amin(1).tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    assert ycbcr.amax(1).tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    gray = color.rgb_to_ycbcr(torch.full((3, 1, 1), 0.25, dtype=torch.float64))
    assert gray.flatten().tolist() == pytest.approx([0.25, 0.5, 0.5])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hsv_and_hsl_are_those_of_colorsys(dtype):
    rgb = lattice(10, dtype)
    colors = rgb[..., 0].T.tolist()
    hsv = torch.tensor([colorsys.rgb_to_hsv(*c) for c in colors])
    hls = torch.tensor([colorsys.rgb_to_hls(*c) for c in colors])
    torch.testing.assert_close(color.rgb_to_hsv(rgb)[..., 0].T.float(), hsv, rtol=0, atol=1e-5)
    torch.testing.assert_close(color.rgb_to_hsl(rgb)[..., 0].T.float(), hls[:, [0, 2, 1]], rtol=0, atol=1e-5)


def test_hsv_and_hsl_back_are_those_of_colorsys():
    colors = lattice(13)  # a hue of 0 and of 1 among them
    points = colors[..., 0].T.tolist()
    rgb = torch.tensor([colorsys.hsv_to_rgb(*p) for p in points])
    torch.testing.assert_close(color.hsv_to_rgb(colors)[..., 0].T, rgb, rtol=0, atol=1e-6)
    rgb = torch.tensor([colorsys.hls_to_rgb(h, lightness, s) for h, s, lightness in points])
    torch.testing.assert_close(color.hsl_to_rgb(colors)[..., 0].T, rgb, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["hsv", "hsl"])
def test_hue_goes_around_the_circle(name):
    colors = example(name, 3, 8, 8)
    turned = colors.clone()
    turned[0] -= 3
    torch.testing.assert_close(BACKWARD[name](turned), BACKWARD[name](colors), rtol=0, atol=1e-5)
    assert FORWARD[name](lattice(21))[0].max() < 1


@pytest.mark.parametrize(
    ("rgb", "cmyk"),
    [
        ((0, 0, 0), (0, 0, 0, 1)),
        ((1, 1, 1), (0, 0, 0, 0)),
        ((1, 0, 0), (0, 1, 1, 0)),
        ((0, 0.5, 0), (1, 0, 1, 0.5)),
        ((0.2, 0.4, 0.8), (0.75, 0.5, 0, 0.2)),
    ],
)
def test_cmyk_of_known_colors(rgb, cmyk):
    ours = color.rgb_to_cmyk(torch.tensor(rgb, dtype=torch.float64).view(3, 1, 1))
    assert ours.flatten().tolist() == pytest.approx(cmyk)


# In blocks, against the plain conversion in float64 ---------------------------------------------------------


def test_blocks_are_exact_over_the_whole_cube_and_beyond():
    """Far below 0.01 Lab units and 1e-4 of the range: as float32 rounds, which is more at the dark rim."""
    far = torch.rand(3, 200_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for rgb in (lattice(61), lattice(41) * 0.06, far.float() * 3 - 1):
        assert cielab.in_blocks(rgb) and not cielab.in_blocks(rgb.double())
        exact = color.rgb_to_lab(rgb.double())
        torch.testing.assert_close(color.rgb_to_lab(rgb).double(), exact, rtol=0, atol=5e-4)
    wide = far * torch.tensor([120.0, 300, 300]).view(3, 1, 1) - torch.tensor([10.0, 150, 150]).view(3, 1, 1)
    for lab in (color.rgb_to_lab(lattice(61)), wide.float()):
        for clip in (True, False):
            exact = color.lab_to_rgb(lab.double(), clip)
            torch.testing.assert_close(color.lab_to_rgb(lab, clip).double(), exact, rtol=2e-6, atol=4e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [cielab.BLOCK, 100])
def test_the_lightness_of_gray_is_that_of_three_equal_channels(dtype, block, monkeypatch):
    convert_in_pieces(monkeypatch, block)
    gray = torch.cat([torch.linspace(0, 1, 600), torch.linspace(0, 0.05, 600)]).view(2, 1, 30, 20).to(dtype)
    expected = color.rgb_to_lab(gray.double().expand(-1, 3, -1, -1))[:, :1]
    lightness = spaces.gray_to_lightness(gray)
    assert lightness.dtype == dtype
    torch.testing.assert_close(lightness.double(), expected, rtol=0, atol=1e-4)


def test_what_carries_a_gradient_is_converted_the_plain_way():
    x = example("rgb_to_lab", 3, 4, 4)
    assert not cielab.in_blocks(x.clone().requires_grad_())
    with torch.no_grad():
        assert cielab.in_blocks(x.clone().requires_grad_())
    gradient = torch.autograd.grad(color.rgb_to_lab(x.requires_grad_()).sum(), x)[0]
    x = x.detach()
    torch.testing.assert_close(torch.func.grad(lambda v: color.rgb_to_lab(v).sum())(x), gradient)
    _, slope = torch.func.jvp(color.rgb_to_lab, (x,), (torch.ones_like(x),))
    assert slope.isfinite().all() and slope.abs().max() > 1
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        tangent = torch.autograd.forward_ad.unpack_dual(color.rgb_to_lab(dual)).tangent
    torch.testing.assert_close(tangent, slope)


# Round trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPACES)
def test_round_trip(name):
    rgb = lattice(33)
    torch.testing.assert_close(BACKWARD[name](FORWARD[name](rgb)), rgb, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=60, deadline=None)
@given(rgb=st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))
def test_round_trip_of_any_color(name, rgb):
    rgb = torch.tensor(rgb).view(3, 1, 1)
    there = FORWARD[name](rgb)
    assert there.isfinite().all()
    torch.testing.assert_close(BACKWARD[name](there), rgb, rtol=0, atol=1e-4)


def test_lab_round_trip_outside_the_gamut():
    rgb = lattice(15) * 1.6 - 0.3
    back = color.lab_to_rgb(color.rgb_to_lab(rgb), clip=False)
    torch.testing.assert_close(back, rgb, rtol=0, atol=1e-4)
    assert back.min() < -0.29 and back.max() > 1.29
    assert color.lab_to_rgb(color.rgb_to_lab(rgb)).min() == 0


@pytest.mark.parametrize("name", ["hsv", "hsl", "cmyk"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ranges_are_those_of_the_docstrings(name, dtype):
    out = FORWARD[name](lattice(18, torch.float64).to(dtype))
    assert out.min() >= 0 and out.max() <= 1


def test_ranges_of_lab_and_yuv():
    lab = color.rgb_to_lab(lattice(33, torch.float64)).flatten(1)
    assert lab.amin(1).tolist() == pytest.approx([0, -86.2, -107.9], abs=0.05)
    assert lab.amax(1).tolist() == pytest.approx([100, 98.2, 94.5], abs=0.05)
    yuv = color.rgb_to_yuv(lattice(2, torch.float64)).flatten(1)
    assert yuv.amax(1).tolist() == pytest.approx([1, 0.436, 0.615], abs=1e-3)


# Gray and the gamut -----------------------------------------------------------------------------------------


def test_gray_has_the_lightness_of_the_color():
    rgb = lattice(21)
    gray = color.rgb_to_gray(rgb)
    assert gray.shape == (1, 21**3, 1) and gray.min() >= -1e-6 and gray.max() <= 1 + 1e-6
    lightness = color.rgb_to_lab(gray.expand(3, -1, -1))[:1]
    torch.testing.assert_close(lightness, color.rgb_to_lab(rgb)[:1], rtol=0, atol=1e-3)


def test_gray_is_not_luma():
    blue = torch.tensor([0.0, 0, 1]).view(3, 1, 1)
    assert color.rgb_to_gray(blue).item() == pytest.approx(0.2978, abs=1e-3)
    assert color.rgb_to_ycbcr(blue)[0].item() == pytest.approx(0.114)


def test_fit_gamut_keeps_lightness_and_hue():
    lab = example("lab", 3, 90, 90) * torch.tensor([1, 1.3, 1.3]).view(3, 1, 1)
    lab[0, 0, :45] = 0
    lab[0, 0, 45:] = 100
    fitted = color.fit_gamut(lab)
    rgb = color.lab_to_rgb(fitted, clip=False)
    assert rgb.min() >= -1e-4 and rgb.max() <= 1 + 1e-4

    lightness = color.rgb_to_lab(color.lab_to_rgb(fitted))[0]
    torch.testing.assert_close(lightness, lab[0], rtol=0, atol=0.05)
    # The hue is kept and the chroma only shrinks: the fitted (a, b) is a share of the one that came.
    share = (fitted[1:] * lab[1:]).sum(0) / lab[1:].square().sum(0)
    assert share.min() >= 0 and share.max() <= 1
    torch.testing.assert_close(fitted[1:], share * lab[1:], rtol=0, atol=1e-3)


def test_fit_gamut_takes_no_more_chroma_than_it_must():
    lab = example("lab", 3, 60, 60)
    fitted = color.fit_gamut(lab)
    moved = (fitted != lab).any(0)
    assert 0.2 < moved.float().mean() < 1
    bolder = fitted + 0.01 * (lab - fitted)  # a hundredth of the way back out
    rgb = color.lab_to_rgb(bolder, clip=False)[:, moved]
    further_out = torch.maximum(-rgb, rgb - 1).amax(0)
    assert (further_out > 4e-5).all()


def gamut_by_bisection(lab):
    """In double precision, each look at a color by the whole conversion: (3, N) to (3, N)."""

    def inside(colors):
        rgb = color.lab_to_rgb(colors[..., None], clip=False)[..., 0]
        return ((rgb >= -5e-5) & (rgb <= 1 + 5e-5)).all(0)

    low, high = torch.zeros_like(lab[0]), torch.ones_like(lab[0])
    for _ in range(16):
        middle = (low + high) / 2
        kept = inside(torch.stack([lab[0], middle * lab[1], middle * lab[2]]))
        low, high = torch.where(kept, middle, low), torch.where(kept, high, middle)
    share = torch.where(inside(lab), 1, low)
    return torch.stack([lab[0], share * lab[1], share * lab[2]])


@pytest.mark.parametrize("dtype, steps", [(torch.float64, 1), (torch.float32, 2)])
def test_fit_gamut_is_bisection(dtype, steps):
    chance = torch.Generator().manual_seed(0)
    lab = torch.rand(3, 60_000, generator=chance, dtype=torch.float64) * torch.tensor([[100.0], [240], [240]])
    lab = lab - torch.tensor([[0.0], [120], [120]])
    lab[0, :300], lab[0, 300:600] = 0, 100
    lab = lab.to(dtype).double()
    expected, got = gamut_by_bisection(lab), color.fit_gamut(lab.to(dtype)[..., None])[..., 0].double()
    # Of 2^16 shares of a color's chroma, the next may be found: no color here has a chroma above 170.
    atol = 1e-9 + steps * 170 / 2**16
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)
    assert (got[1:] != lab[1:]).any(0).double().mean() > 0.3


@pytest.mark.parametrize("block", [cielab.BLOCK, 100])
def test_fitted_rgb_is_both_steps_in_one(block, monkeypatch):
    monkeypatch.setattr(cielab, "BLOCK", block)
    lab = example("lab", 2, 3, 3, 41, 37, seed=5)
    lab[0, 0, 1, 2, 3] = float("nan")
    lab[1, 0, :, :20] *= torch.tensor([1, 0.1, 0.1]).view(3, 1, 1)
    got = spaces.fitted_rgb(lab[..., :1, :, :], lab[..., 1:, :, :])
    expected = color.lab_to_rgb(color.fit_gamut(lab.double()))
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=2e-4, equal_nan=True)
    assert got[0, 0, :, 2, 3].isnan().all() and got.isnan().sum() == 3
    plain = spaces.fitted_rgb(lab[..., :1, :, :].double(), lab[..., 1:, :, :].double())
    torch.testing.assert_close(plain, expected, equal_nan=True)


def test_fit_gamut_leaves_colors_inside_alone():
    lab = color.rgb_to_lab(lattice(25))
    inside = lab.clone()
    inside[0].clamp_(0, 100)
    assert torch.equal(color.fit_gamut(lab), inside)
    torch.testing.assert_close(lab, inside, rtol=0, atol=1e-4)


def test_fit_gamut_clips_lightness():
    lab = torch.tensor([[-20.0, 120, 50], [10, 10, 0], [5, 5, 0]]).unsqueeze(-1)
    fitted = color.fit_gamut(lab)
    assert fitted[0].flatten().tolist() == [0, 100, 50]
    assert torch.equal(fitted[:, 2], lab[:, 2])


# Shapes, dtypes, devices ------------------------------------------------------------------------------------


@every_function
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_is_kept_and_half_is_computed_in_float32(name, dtype):
    function, channels = FUNCTIONS[name]
    x = example(name, channels, 9, 11, dtype=dtype)
    out = function(x)
    assert out.dtype == dtype
    if dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(out, function(x.float()).to(dtype))


@every_function
@pytest.mark.parametrize("lead", [(), (1,), (2,), (2, 3), (0,), (2, 0)])
@pytest.mark.parametrize("size", [(5, 4), (1, 1), (1, 4), (0, 4), (5, 0)])
def test_any_leading_dimensions_and_sizes(name, lead, size):
    function, channels = FUNCTIONS[name]
    x = example(name, *lead, channels, *size)
    out = function(x)
    assert out.shape[:-3] == lead and out.shape[-2:] == size
    images, results = (
        x.reshape(-1, channels, *size) if x.numel() else [],
        out.flatten(0, -4) if lead else [out],
    )
    for image, result in zip(images, results, strict=False):
        assert torch.equal(function(image), result)


@every_function
@pytest.mark.parametrize("shape", [(7, 19, 23), (2, 2, 19, 61), (1, 700, 3)])
def test_pieces_give_what_the_whole_gives(name, shape, monkeypatch):
    """A large image is converted in pieces; that must not show in a single bit."""
    function, channels = FUNCTIONS[name]
    x = example(name, *shape[:-2], channels, *shape[-2:])
    whole = function(x)
    convert_in_pieces(monkeypatch, 100)
    assert torch.equal(function(x), whole)


def test_a_large_image_is_really_converted_in_pieces(monkeypatch):
    sizes = []
    original = cielab._block_to_lab
    monkeypatch.setattr(
        cielab, "_block_to_lab", lambda space, v, o: sizes.append(v.shape[1:]) or original(space, v, o)
    )
    color.rgb_to_lab(torch.rand(3, 512, 512 + 1))
    color.rgb_to_lab(torch.rand(300, 3, 16, 16))
    assert sizes == [(1, cielab.BLOCK)] * 4 + [(1, 512), (256, 256), (44, 256)]
    sizes.clear()
    original = cielab.rgb_to_lab
    monkeypatch.setattr(cielab, "rgb_to_lab", lambda x: sizes.append(x.shape[-1]) or original(x))
    color.rgb_to_lab(torch.rand(3, 512, 512 + 1, dtype=torch.float64))
    assert sizes == [spaces._CHUNK, 512]


@every_function
def test_non_contiguous_input(name):
    function, channels = FUNCTIONS[name]
    x = example(name, 2, channels, 6, 8)
    for view in (
        x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        x.transpose(-1, -2).contiguous().transpose(-1, -2),
        torch.stack([x, x], -1)[..., 0],
    ):
        assert not view.is_contiguous()
        torch.testing.assert_close(function(view), function(x), rtol=1e-5, atol=1e-4)
    one = example(name, 1, channels, 6, 8)
    assert torch.equal(function(one.expand(4, -1, -1, -1))[3], function(one)[0])


@every_function
def test_input_is_not_modified(name, monkeypatch):
    function, channels = FUNCTIONS[name]
    x = example(name, 2, channels, 9, 9)
    before = x.clone()
    function(x)
    convert_in_pieces(monkeypatch, 30)
    out = function(x)
    assert torch.equal(x, before)
    out += 1
    assert torch.equal(x, before)


# NaN and infinity -------------------------------------------------------------------------------------------


@every_function
def test_nan_stays_in_its_pixel(name, monkeypatch):
    function, channels = FUNCTIONS[name]
    clean = example(name, 2, channels, 5, 6)
    for chunk in (spaces._CHUNK, 7):
        convert_in_pieces(monkeypatch, chunk)
        for channel in range(channels):
            x = clean.clone()
            x[1, channel, 2, 3] = float("nan")
            out, expected = function(x), function(clean)
            assert out[1, :, 2, 3].isnan().all()
            expected[1, :, 2, 3] = float("nan")
            torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)


@every_function
def test_infinity_does_not_crash_or_spread(name):
    function, channels = FUNCTIONS[name]
    clean = example(name, channels, 3, 3)
    for value in (float("inf"), -float("inf"), 1e30, -1e30):
        x = clean.clone()
        x[:, 1, 1] = value
        out, expected = function(x), function(clean)
        out[:, 1, 1] = expected[:, 1, 1] = 0
        assert torch.equal(out, expected)


# Gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_gradients_are_finite_everywhere(name, dtype):
    function, channels = FUNCTIONS[name]
    levels = torch.tensor([0, 1e-30, 1e-7, 1e-3, 0.04045, 0.25, 0.5, 0.75, 1 - 1e-7, 1], dtype=torch.float64)
    x = torch.cartesian_prod(*[levels] * channels).T.unsqueeze(-1)
    if name.startswith("lab"):
        x = x * torch.tensor([100, 200, 200]).view(3, 1, 1) - torch.tensor([0, 100, 100]).view(3, 1, 1)
    x = x.to(dtype).requires_grad_()
    for channel in range(function(x).shape[0]):
        (gradient,) = torch.autograd.grad(function(x)[channel].sum(), x)
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_right(name):
    """Against finite differences, on random colors: a kink is met with probability 0."""
    function, channels = FUNCTIONS[name]
    x = example(name, channels, 4, 4, dtype=torch.float64, seed=3)
    if name == "lab_to_rgb":
        x[1:] *= 0.1  # inside the gamut: where a color is clipped the gradient is 0
    assert gradcheck(function, x.requires_grad_(), eps=1e-7, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_result_is_the_same_with_and_without_a_gradient(name, monkeypatch):
    function, channels = FUNCTIONS[name]
    x = example(name, 2, channels, 13, 17)
    convert_in_pieces(monkeypatch, 50)
    with_gradient = function(x.clone().requires_grad_())
    assert with_gradient.requires_grad
    without = function(x)
    assert not without.requires_grad
    # CIELAB has a way of its own for numbers without a gradient: float32 rounds otherwise.
    near = {"rgb_to_lab": 5e-4, "lab_to_rgb": 4e-5, "lab_to_rgb unclipped": 4e-5}.get(name, 0)
    torch.testing.assert_close(with_gradient.detach(), without, rtol=0, atol=near)


def test_fit_gamut_carries_no_gradient():
    assert not color.fit_gamut(example("lab", 3, 4, 4).requires_grad_()).requires_grad


# Bad input --------------------------------------------------------------------------------------------------


@every_function
@pytest.mark.parametrize("bad", [None, 0.5, [[[0.0]]], np.zeros((3, 4, 4), np.float32)])
def test_what_is_no_tensor_is_refused(name, bad):
    with pytest.raises(TypeError, match=r"must be a torch\.Tensor; got .*" + type(bad).__qualname__):
        FUNCTIONS[name][0](bad)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not name.startswith(("lab", "fit"))])
@pytest.mark.parametrize("shape, most", [((4, 4), 255), ((700, 800), 255), ((4, 4), 65_535), ((1, 64), 200)])
def test_numbers_of_8_or_16_bits_are_refused(name, shape, most):
    function, channels = FUNCTIONS[name]
    with pytest.raises(
        ValueError, match=f"{name.split('_to_')[0]} .* up to {most}.*divide 8-bit values by 255"
    ):
        function(torch.full((channels, *shape), float(most)))
    with pytest.raises(ValueError, match="divide"):
        color.colorfulness(torch.full((3, *shape), float(most)))


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name.startswith("rgb_to")])
def test_what_is_a_little_outside_is_taken(name):
    """Colors outside the gamut, and those of the brightest displays: 125 times white, with the sRGB curve."""
    function, channels = FUNCTIONS[name]
    function(torch.linspace(-1, 1.055 * 125 ** (1 / 2.4), 48).view(channels, 4, 4))


@pytest.mark.slow
@every_function
def test_the_checks_stand_in_the_way_of_no_transform(name):
    function, channels = FUNCTIONS[name]
    if name == "fit_gamut":
        return  # it looks for the colors outside
    x = example(name, 2, channels, 4, 4, seed=3)
    torch.testing.assert_close(torch.func.vmap(function)(x), function(x), rtol=1e-5, atol=5e-4)
    with torch.device("meta"):
        assert function(torch.rand(2, channels, 4, 4)).device.type == "meta"
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), function(x), rtol=1e-5, atol=5e-4)


@every_function
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.int8])
def test_whole_numbers_are_refused(name, dtype):
    function, channels = FUNCTIONS[name]
    advice = r"\.float\(\)" if name.startswith(("lab", "hsv", "hsl", "fit")) else "255"
    with pytest.raises(TypeError, match=rf"got {dtype}.*{advice}"):
        function(torch.zeros(channels, 4, 4, dtype=dtype))


@every_function
@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2])
def test_other_dtypes_are_refused(name, dtype):
    function, channels = FUNCTIONS[name]
    with pytest.raises(TypeError, match=f"float64; got {dtype}$"):
        function(torch.zeros(channels, 4, 4).to(dtype))


@every_function
@pytest.mark.parametrize("shape", [(), (3,), (4, 4), (1, 4, 5), (2, 5, 4, 5), (0, 4, 5)])
def test_wrong_shapes_are_named(name, shape):
    function, channels = FUNCTIONS[name]
    with pytest.raises(ValueError) as error:
        function(torch.zeros(shape))
    assert f"(..., {channels}, H, W)" in str(error.value) and str(shape) in str(error.value)
    assert "permute" not in str(error.value)


@every_function
def test_channels_last_gets_advice(name):
    function, channels = FUNCTIONS[name]
    with pytest.raises(ValueError, match=r"\.movedim\(-1, -3\).*\.permute\(2, 0, 1\)"):
        function(torch.zeros(8, 9, channels))
    with pytest.raises(ValueError, match=r"\.movedim\(-1, -3\)"):
        function(torch.zeros(2, 8, 9, channels))


def test_all_names_can_be_imported():
    assert sorted(color.__all__) == color.__all__
    assert all(callable(getattr(color, name)) for name in color.__all__)
    assert all(getattr(color, name).__doc__ for name in color.__all__)
