"""Color spaces: pure functions from (..., C, H, W) to (..., C, H, W); C is 3 where nothing else is said.

Every function takes float16, bfloat16, float32 or float64, on any device, and returns the dtype that came in.
The half types are computed in float32 inside. Gradients are finite everywhere. A NaN in one pixel makes that
pixel NaN and no other. A tensor that is not floating raises `TypeError`; a wrong shape raises `ValueError`,
and so do 8 or 16 bits that nobody has divided: only on a CPU, for on a GPU looking would mean waiting.
"""

import math
from functools import partial

import torch

from colorlib._check import flag, image, undivided

# Linear sRGB to CIE XYZ, and the white point D65 seen at 2 degrees: the figures that scikit-image uses.
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)

# Analog YUV after ITU-R BT.470, as in scikit-image.
YUV_FROM_RGB = (
    (0.299, 0.587, 0.114),
    (-0.14714119, -0.28886916, 0.43601035),
    (0.61497538, -0.51496512, -0.10001026),
)


# YCbCr is luma, and how far blue and red are from it, brought to [-0.5, 0.5].
_LUMA = YUV_FROM_RGB[0]
_YCBCR_FROM_RGB = (
    _LUMA,
    tuple(((channel == 2) - weight) / (2 - 2 * _LUMA[2]) for channel, weight in enumerate(_LUMA)),
    tuple(((channel == 0) - weight) / (2 - 2 * _LUMA[0]) for channel, weight in enumerate(_LUMA)),
)


def _inverse(matrix):
    return tuple(map(tuple, torch.tensor(matrix, dtype=torch.float64, device="cpu").inverse().tolist()))


# The white point is folded into the matrices: one multiplication less for each value.
_WHITE_XYZ_FROM_RGB = tuple(
    tuple(m / white for m in row) for row, white in zip(XYZ_FROM_RGB, WHITE, strict=True)
)
_RGB_FROM_WHITE_XYZ = _inverse(_WHITE_XYZ_FROM_RGB)
_RGB_FROM_YUV = _inverse(YUV_FROM_RGB)
_RGB_FROM_YCBCR = _inverse(_YCBCR_FROM_RGB)

# Pixels worked on at once on a CPU. The intermediate results of that many stay in the cache; those of a whole
# photograph would go to memory and back at every step. Smaller pieces are no faster, and each step of each
# piece makes torch's threads wait for one another: dear where other programs use the cores too.
_CHUNK = 1 << 18


def widened(x):
    """`x` in float64 where it is, in float32 else."""
    return x if x.dtype == torch.float64 else x.float()


def _convert(function, x, out_channels=3):
    """Apply `function`, which maps channels pixel by pixel, to `x`; compute half types in float32."""

    def compute(part):
        return function(widened(part)).to(part.dtype)

    needs_graph = torch.is_grad_enabled() and x.requires_grad
    if needs_graph or x.device.type != "cpu" or x.numel() <= x.shape[-3] * _CHUNK:
        return compute(x)

    # The same function on one piece after another: its result for a pixel depends on that pixel alone.
    channels, height, width = x.shape[-3:]
    pixels = x.reshape(-1, channels, 1, height * width)
    out = torch.empty(pixels.shape[0], out_channels, 1, height * width, dtype=x.dtype)
    images_at_once = max(1, _CHUNK // pixels.shape[-1])
    for inputs, outputs in zip(pixels.split(images_at_once), out.split(images_at_once), strict=True):
        for part, result in zip(inputs.split(_CHUNK, -1), outputs.split(_CHUNK, -1), strict=True):
            result.copy_(compute(part))
    return out.view(*x.shape[:-3], out_channels, height, width)


def _mix(x, matrix):
    """Multiply the channel vector of every pixel by a matrix, in plain sums.

    A matrix product would round differently for different sizes of image, and on some GPUs to 10 bits.
    """
    first, second, third = x.unbind(-3)
    rows = [torch.add(torch.add(first * m1, second, alpha=m2), third, alpha=m3) for m1, m2, m3 in matrix]
    return torch.stack(rows, -3)


# CIELAB -----------------------------------------------------------------------------------------------------


def _power(x, exponent):
    # Twice as fast as `x**exponent`, and the same for a pixel wherever it lies in the array. `**` rounds the
    # last few elements of an array otherwise, and results would depend on the size of the batch.
    return torch.exp(torch.log(x) * exponent)


def _line_then(power, threshold, slope, x):
    """A straight line up to the threshold and `power(x)` above it: the shape of all four curves of CIELAB.

    It is written as a sum of two parts, each constant where the other varies. That is several times as fast
    as `torch.where`, and its gradient is finite at black. The published constants let line and power meet
    only to within 4e-7; here they meet exactly.
    """
    above = power(x.clamp(min=threshold))
    below = x.clamp(max=threshold) - threshold
    return torch.add(above, below, alpha=slope)


_srgb_to_linear = partial(_line_then, lambda v: _power((v + 0.055) / 1.055, 2.4), 0.04045, 1 / 12.92)
_linear_to_srgb = partial(_line_then, lambda v: 1.055 * _power(v, 1 / 2.4) - 0.055, 0.0031308, 12.92)
_lab_curve = partial(_line_then, lambda v: _power(v, 1 / 3), 0.008856, 7.787)
_inverse_lab_curve = partial(_line_then, lambda v: v * v * v, 0.2068966, 1 / 7.787)


def _rgb_to_lab(rgb):
    x, y, z = _lab_curve(_mix(_srgb_to_linear(rgb), _WHITE_XYZ_FROM_RGB)).unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)


def _lab_to_rgb(lab, clip):
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    x = y + a / 500
    z = y - b / 200
    if clip:
        z = z.clamp(min=0)  # as scikit-image does
    xyz = _inverse_lab_curve(torch.stack([x, y, z], -3))
    rgb = _linear_to_srgb(_mix(xyz, _RGB_FROM_WHITE_XYZ))
    return rgb.clamp(0, 1) if clip else rgb


def rgb_to_lab(rgb):
    """Convert sRGB in [0, 1] to CIELAB (white point D65, 2 degree observer), as scikit-image does.

    L is in [0, 100]; inside the sRGB gamut a runs from -86.2 to 98.2 and b from -107.9 to 94.5. Values
    outside [0, 1] are not clipped: the curve's straight part goes on below 0, its power above 1. Sources: CIE
    15:2004, Colorimetry; IEC 61966-2-1 for sRGB.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    >>> rgb_to_lab(red).flatten().round()
    tensor([53., 80., 67.])
    """
    return _convert(_rgb_to_lab, image(rgb, 3, "rgb", unit=True))


def lab_to_rgb(lab, clip=True):
    """Convert CIELAB to sRGB: the inverse of `rgb_to_lab`, from L in [0, 100] and any a and b in CIE units.

    With `clip`, colors outside the gamut are clipped to it: first Z at 0, as scikit-image does, then each of
    R, G and B to [0, 1]. Without it they come as they are, below 0 or above 1, and `rgb_to_lab` brings them
    back.

    >>> lab_to_rgb(torch.tensor([53.0, 80.0, 67.0]).view(3, 1, 1)).flatten().round(decimals=1)
    tensor([1., 0., 0.])
    """
    image(lab, 3, "lab")
    clip = flag(clip, "clip")
    return _convert(lambda part: _lab_to_rgb(part, clip), lab)


def rgb_to_gray(rgb):
    """Convert sRGB to the sRGB gray of the same CIE lightness: (..., 3, H, W) to (..., 1, H, W), in [0, 1].

    The color is made linear, its relative luminance Y is taken, and Y is given the sRGB curve again (IEC
    61966-2-1). BT.601 luma, the Y of YUV and YCbCr, is another gray: it weights the values before they are
    made linear, and makes saturated colors darker. Pure blue has luma 0.114; the gray that is as light:

    >>> rgb_to_gray(torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)).flatten().round(decimals=3)
    tensor([0.2980])
    """

    def convert(part):
        red, green, blue = _srgb_to_linear(part).unbind(-3)
        m1, m2, m3 = XYZ_FROM_RGB[1]
        return _linear_to_srgb(m1 * red + m2 * green + m3 * blue).unsqueeze(-3)

    return _convert(convert, image(rgb, 3, "rgb", unit=True), 1)


def fit_gamut(lab):
    """Bring CIELAB colors into the sRGB gamut at their own lightness and hue.

    A color outside has its chroma scaled toward gray until it is inside, by bisection: then `lab_to_rgb` with
    ``clip=False`` gives values from -1e-4 to 1 + 1e-4. One inside is returned as it came. L is clipped to
    [0, 100]. The result carries no gradient.
    """
    image(lab, 3, "lab")
    with torch.no_grad():
        return _convert(_fit_gamut, lab.detach())


def _fit_gamut(lab):
    lab = torch.cat([lab.narrow(-3, 0, 1).clamp(0, 100), lab.narrow(-3, 1, 2)], -3)
    outside = ~_in_gamut(lab)
    colors = lab.movedim(-3, -1)[outside].T[:, None]  # (3, 1, colors outside)
    lightness, ab = colors[:1], colors[1:]
    # The share of its chroma that a color may keep: `low` is known to be inside, `high` outside.
    low = torch.zeros_like(lightness)
    high = torch.ones_like(lightness)
    for _ in range(16):
        middle = (low + high) / 2
        inside = _in_gamut(torch.cat([lightness, middle * ab], -3))
        low = torch.where(inside, middle, low)
        high = torch.where(inside, high, middle)
    fitted = torch.cat([lightness, low * ab], -3)
    fitted = fitted.masked_fill(~colors.isfinite().all(0), math.nan)
    lab.movedim(-3, -1)[outside] = fitted[:, 0].T
    return lab


def _in_gamut(lab):
    # Gray itself leaves [0, 1] by 2e-5 at L = 100: the white point and the matrix have few digits.
    rgb = _lab_to_rgb(lab, clip=False)
    return ((rgb >= -5e-5) & (rgb <= 1 + 5e-5)).all(-3)


# YUV and YCbCr ----------------------------------------------------------------------------------------------


def rgb_to_yuv(rgb):
    """Convert RGB in [0, 1] to analog YUV (ITU-R BT.470-6), as scikit-image does.

    Y is in [0, 1], U in [-0.436, 0.436], V in [-0.615, 0.615].
    """
    return _convert(lambda part: _mix(part, YUV_FROM_RGB), image(rgb, 3, "rgb", unit=True))


def yuv_to_rgb(yuv):
    """Convert analog YUV to RGB: the inverse of `rgb_to_yuv`. What that didn't give is not clipped."""
    return _convert(lambda part: _mix(part, _RGB_FROM_YUV), image(yuv, 3, "yuv", unit=True))


def rgb_to_ycbcr(rgb):
    """Convert RGB in [0, 1] to YCbCr of full range, as JPEG files hold it: each of the three in [0, 1].

    A gray has Cb = Cr = 0.5. Source: ITU-T T.871 (JFIF), with the luma weights of ITU-R BT.601. scikit-image
    has another convention, the studio range of video: Y from 16 to 235.

    >>> rgb_to_ycbcr(torch.full((3, 1, 1), 0.25)).flatten().round(decimals=4)
    tensor([0.2500, 0.5000, 0.5000])
    """
    return _convert(lambda x: _mix(x, _YCBCR_FROM_RGB) + _chroma_center(x), image(rgb, 3, "rgb", unit=True))


def ycbcr_to_rgb(ycbcr):
    """Convert YCbCr of full range to RGB: the inverse of `rgb_to_ycbcr`.

    What that didn't give is not clipped.
    """
    image(ycbcr, 3, "ycbcr", unit=True)
    return _convert(lambda x: _mix(x - _chroma_center(x), _RGB_FROM_YCBCR), ycbcr)


def _chroma_center(x):
    return torch.tensor([0, 0.5, 0.5], dtype=x.dtype, device=x.device).view(3, 1, 1)


# HSV, HSL and CMYK ------------------------------------------------------------------------------------------
# These divide by quantities that are 0 for black, white and gray. `_ratio` gives 0 there.


def _ratio(numerator, denominator, tiny):
    """Divide; 0 where the denominator is below `tiny`, the smallest normal number: no gradient overflows."""
    degenerate = denominator < tiny
    return (numerator / denominator.masked_fill(degenerate, 1)).masked_fill(degenerate, 0)


def _tones(rgb, tiny):
    """The hue, the spread from the least to the largest channel, and these two, least first."""
    high, low = rgb.amax(-3), rgb.amin(-3)
    red, green, blue = rgb.unbind(-3)
    # Which channel is the largest says which third of the circle, the other two say where in it.
    sector = torch.where(high == red, 0.0, torch.where(high == green, 2.0, 4.0))
    difference = torch.where(high == red, green - blue, torch.where(high == green, blue - red, red - green))
    hue = (sector + _ratio(difference, high - low, tiny)) / 6
    return torch.where(hue < 0, hue + 1, hue), high - low, low, high


def _wave(hue, n):
    """The trapezoid over the color circle that R, G and B follow, each a third of the circle apart."""
    place = torch.remainder(n + 6 * hue, 6)
    return torch.minimum(place, 4 - place).clamp(0, 1)


def rgb_to_hsv(rgb):
    """Convert RGB to hue, saturation and value (Smith, Color gamut transform pairs, SIGGRAPH 1978).

    All are in [0, 1]. The hue is a fraction of the circle: red 0, green 1/3, blue 2/3; gray gets 0.

    >>> rgb_to_hsv(torch.tensor([0.0, 0.0, 0.5]).view(3, 1, 1)).flatten()
    tensor([0.6667, 1.0000, 0.5000])
    """
    tiny = torch.finfo(image(rgb, 3, "rgb", unit=True).dtype).tiny

    def convert(part):
        hue, spread, _, high = _tones(part, tiny)
        return torch.stack([hue, _ratio(spread, high, tiny), high], -3)

    return _convert(convert, rgb)


def hsv_to_rgb(hsv):
    """Convert hue, saturation and value to RGB in [0, 1]: the inverse of `rgb_to_hsv`.

    The hue may be any number.
    """
    undivided(image(hsv, 3, "hsv").narrow(-3, 1, 2), "hsv")

    def convert(part):
        hue, saturation, value = part.unbind(-3)
        return torch.stack([value - value * saturation * _wave(hue, n) for n in (5, 3, 1)], -3)

    return _convert(convert, hsv)


def rgb_to_hsl(rgb):
    """Convert RGB to hue, saturation and lightness (Joblove and Greenberg, SIGGRAPH 1978), in this order.

    All are in [0, 1]; the hue is that of `rgb_to_hsv`. The lightness is the mean of the largest and the
    smallest channel, not that of CIELAB. Python's colorsys has H, L, S. The source's title: Color spaces for
    computer graphics.

    >>> rgb_to_hsl(torch.tensor([0.0, 0.0, 0.5]).view(3, 1, 1)).flatten()
    tensor([0.6667, 1.0000, 0.2500])
    """
    tiny = torch.finfo(image(rgb, 3, "rgb", unit=True).dtype).tiny

    def convert(part):
        hue, spread, low, high = _tones(part, tiny)
        total = high + low
        # Not 2 - total: its rounding could bring the saturation above 1.
        saturation = _ratio(spread, torch.where(total <= 1, total, (1 - high) + (1 - low)), tiny)
        return torch.stack([hue, saturation, total / 2], -3)

    return _convert(convert, rgb)


def hsl_to_rgb(hsl):
    """Convert hue, saturation and lightness to RGB: the inverse of `rgb_to_hsl`, at any hue."""
    undivided(image(hsl, 3, "hsl").narrow(-3, 1, 2), "hsl")

    def convert(part):
        hue, saturation, lightness = part.unbind(-3)
        reach = saturation * torch.minimum(lightness, 1 - lightness)
        return torch.stack([lightness + reach * (1 - 2 * _wave(hue, n)) for n in (5, 3, 1)], -3)

    return _convert(convert, hsl)


def rgb_to_cmyk(rgb):
    """Convert RGB to cyan, magenta, yellow and black ink, (..., 4, H, W) in [0, 1], without a color profile.

    Black takes all that the three inks share; pure black is (0, 0, 0, 1). Source: Foley et al., Computer
    Graphics: Principles and Practice, chapter 13.

    >>> rgb_to_cmyk(torch.tensor([0.5, 0.0, 0.0]).view(3, 1, 1)).flatten()
    tensor([0.0000, 1.0000, 1.0000, 0.5000])
    """
    tiny = torch.finfo(image(rgb, 3, "rgb", unit=True).dtype).tiny

    def convert(part):
        high = part.amax(-3, keepdim=True)
        return torch.cat([_ratio(high - part, high, tiny), 1 - high], -3)

    return _convert(convert, rgb, 4)


def cmyk_to_rgb(cmyk):
    """Convert inks, (..., 4, H, W) in [0, 1], to RGB: (1 - ink) (1 - black) for each channel."""

    def convert(part):
        rgb = (1 - part.narrow(-3, 0, 3)) * (1 - part.narrow(-3, 3, 1))
        # Each ink makes one channel: a NaN in one would leave the others of that pixel standing.
        return rgb.masked_fill(part.isnan().any(-3, keepdim=True), math.nan)

    return _convert(convert, image(cmyk, 4, "cmyk", unit=True))
