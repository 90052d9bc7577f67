"""Color spaces: pure functions from (..., C, H, W) to (..., C, H, W); C is 3 where nothing else is said.

Every function takes float16, bfloat16, float32 or float64, on any device, and returns the dtype that came in.
The half types are computed in float32 inside. Gradients are finite everywhere. A NaN in one pixel makes that
pixel NaN and no other. A tensor that is not floating raises `TypeError`; a wrong shape raises `ValueError`,
and so do 8 or 16 bits that nobody has divided: only on a CPU, for on a GPU looking would mean waiting.
"""

import math

import torch

from colorlib._check import flag, image, undivided
from colorlib.color import cielab
from colorlib.color.cielab import XYZ_FROM_RGB, inverse, linear_to_srgb, mix, srgb_to_linear

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


_RGB_FROM_YUV = inverse(YUV_FROM_RGB)
_RGB_FROM_YCBCR = inverse(_YCBCR_FROM_RGB)

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


# CIELAB -----------------------------------------------------------------------------------------------------


def rgb_to_lab(rgb):
    """Convert sRGB in [0, 1] to CIELAB (white point D65, 2 degree observer), as scikit-image does.

    L is in [0, 100]; inside the sRGB gamut a runs from -86.2 to 98.2 and b from -107.9 to 94.5. Values
    outside [0, 1] are not clipped: the curve's straight part goes on below 0, its power above 1. Sources: CIE
    15:2004, Colorimetry; IEC 61966-2-1 for sRGB.

    >>> red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    >>> rgb_to_lab(red).flatten().round()
    tensor([53., 80., 67.])
    """
    image(rgb, 3, "rgb", unit=True)
    return cielab.rgb_to_lab_in_blocks(rgb) if cielab.in_blocks(rgb) else _convert(cielab.rgb_to_lab, rgb)


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
    if cielab.in_blocks(lab):
        return cielab.lab_to_rgb_in_blocks(lab, clip)
    return _convert(lambda part: cielab.lab_to_rgb(part, clip), lab)


def rgb_to_gray(rgb):
    """Convert sRGB to the sRGB gray of the same CIE lightness: (..., 3, H, W) to (..., 1, H, W), in [0, 1].

    The color is made linear, its relative luminance Y is taken, and Y is given the sRGB curve again (IEC
    61966-2-1). BT.601 luma, the Y of YUV and YCbCr, is another gray: it weights the values before they are
    made linear, and makes saturated colors darker. Pure blue has luma 0.114; the gray that is as light:

    >>> rgb_to_gray(torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)).flatten().round(decimals=3)
    tensor([0.2980])
    """

    def convert(part):
        red, green, blue = srgb_to_linear(part).unbind(-3)
        m1, m2, m3 = XYZ_FROM_RGB[1]
        return linear_to_srgb(m1 * red + m2 * green + m3 * blue).unsqueeze(-3)

    return _convert(convert, image(rgb, 3, "rgb", unit=True), 1)


def fit_gamut(lab):
    """Bring CIELAB colors into the sRGB gamut at their own lightness and hue.

    A color outside has its chroma scaled toward gray until it is inside, by bisection: then `lab_to_rgb` with
    ``clip=False`` gives values from -1e-4 to 1 + 1e-4. One inside is returned as it came. L is clipped to
    [0, 100]. The result carries no gradient.
    """
    image(lab, 3, "lab")
    with torch.no_grad():
        return _convert(cielab.fit_gamut, lab.detach())


def gray_to_lightness(gray):
    """CIE L of sRGB gray, (..., 1, H, W) to (..., 1, H, W), without a gradient."""
    with torch.no_grad():
        if cielab.in_blocks(gray):
            return cielab.gray_to_lightness_in_blocks(gray)
        return _convert(cielab.gray_to_lightness, gray, 1)


def fitted_rgb(lightness, ab):
    """`lab_to_rgb(fit_gamut(lab))` for L in [0, 100], (..., 1, H, W), and ab, (..., 2, H, W), of one dtype.

    The result carries no gradient.
    """
    if ab.dtype == torch.float32 and cielab.in_blocks(ab.detach()) and ab.numel():
        return cielab.fitted_rgb_in_blocks(lightness.detach(), ab.detach())
    return lab_to_rgb(fit_gamut(torch.cat([lightness, ab], -3)))


# YUV and YCbCr ----------------------------------------------------------------------------------------------


def rgb_to_yuv(rgb):
    """Convert RGB in [0, 1] to analog YUV (ITU-R BT.470-6), as scikit-image does.

    Y is in [0, 1], U in [-0.436, 0.436], V in [-0.615, 0.615].
    """
    return _convert(lambda part: mix(part, YUV_FROM_RGB), image(rgb, 3, "rgb", unit=True))


def yuv_to_rgb(yuv):
    """Convert analog YUV to RGB: the inverse of `rgb_to_yuv`. What that didn't give is not clipped."""
    return _convert(lambda part: mix(part, _RGB_FROM_YUV), image(yuv, 3, "yuv", unit=True))


def rgb_to_ycbcr(rgb):
    """Convert RGB in [0, 1] to YCbCr of full range, as JPEG files hold it: each of the three in [0, 1].

    A gray has Cb = Cr = 0.5. Source: ITU-T T.871 (JFIF), with the luma weights of ITU-R BT.601. scikit-image
    has another convention, the studio range of video: Y from 16 to 235.

    >>> rgb_to_ycbcr(torch.full((3, 1, 1), 0.25)).flatten().round(decimals=4)
    tensor([0.2500, 0.5000, 0.5000])
    """
    return _convert(lambda x: mix(x, _YCBCR_FROM_RGB) + _chroma_center(x), image(rgb, 3, "rgb", unit=True))


def ycbcr_to_rgb(ycbcr):
    """Convert YCbCr of full range to RGB: the inverse of `rgb_to_ycbcr`.

    What that didn't give is not clipped.
    """
    image(ycbcr, 3, "ycbcr", unit=True)
    return _convert(lambda x: mix(x - _chroma_center(x), _RGB_FROM_YCBCR), ycbcr)


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
