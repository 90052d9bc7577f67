"""CIELAB: its curves, the plain conversions of tensors, and the same in blocks on a CPU.

The plain functions take any floating dtype, device and transform, and carry gradients. The others do in
float32 on a CPU what those do, a block of pixels at a time, each step writing over the last: they make no new
memory but for the result, and what they work on stays in the cache.
"""

import math
from functools import partial

import numpy as np
import torch

# Linear sRGB to CIE XYZ, and the white point D65 seen at 2 degrees: the figures that scikit-image uses.
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
WHITE = (0.95047, 1.0, 1.08883)
# The figures of the four curves: the sRGB curve to linear and back, the Lab curve and back. Each is a line up
# to a threshold, with a slope, and a power above it.
TO_LINEAR, TO_SRGB = (0.04045, 1 / 12.92), (0.0031308, 12.92)
TO_LAB, FROM_LAB = (0.008856, 7.787), (0.2068966, 1 / 7.787)
# A color is inside the gamut where R, G and B are from -SLACK to 1 + SLACK. Gray itself leaves [0, 1] by 2e-5
# at L = 100: the white point and the matrix have few digits.
SLACK = 5e-5


def inverse(matrix):
    """The inverse of a matrix, as tuples."""
    return tuple(map(tuple, torch.tensor(matrix, dtype=torch.float64, device="cpu").inverse().tolist()))


# The white point is folded into the matrices: one multiplication less for each value.
_WHITE_XYZ_FROM_RGB = tuple(
    tuple(m / white for m in row) for row, white in zip(XYZ_FROM_RGB, WHITE, strict=True)
)
_RGB_FROM_WHITE_XYZ = inverse(_WHITE_XYZ_FROM_RGB)


def mix(x, matrix):
    """Multiply the channel vector of every pixel by a matrix, in plain sums.

    A matrix product would round differently for different sizes of image, and on some GPUs to 10 bits.
    """
    first, second, third = x.unbind(-3)
    rows = [torch.add(torch.add(first * m1, second, alpha=m2), third, alpha=m3) for m1, m2, m3 in matrix]
    return torch.stack(rows, -3)


# Plain ------------------------------------------------------------------------------------------------------


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


srgb_to_linear = partial(_line_then, lambda v: _power((v + 0.055) / 1.055, 2.4), *TO_LINEAR)
linear_to_srgb = partial(_line_then, lambda v: 1.055 * _power(v, 1 / 2.4) - 0.055, *TO_SRGB)
_lab_curve = partial(_line_then, lambda v: _power(v, 1 / 3), *TO_LAB)
_inverse_lab_curve = partial(_line_then, lambda v: v * v * v, *FROM_LAB)


def rgb_to_lab(rgb):
    """sRGB (..., 3, H, W) to CIELAB."""
    x, y, z = _lab_curve(mix(srgb_to_linear(rgb), _WHITE_XYZ_FROM_RGB)).unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)


def gray_to_lightness(gray):
    """sRGB gray (..., 1, H, W) to L: gray's luminance, in parts of white's, is its linear value."""
    return 116 * _lab_curve(srgb_to_linear(gray)) - 16


def lab_to_rgb(lab, clip):
    """CIELAB (..., 3, H, W) to sRGB."""
    rgb = linear_to_srgb(lab_to_linear(lab, clip))
    return rgb.clamp(0, 1) if clip else rgb


def lab_to_linear(lab, clip=False):
    """CIELAB (..., 3, H, W) to linear sRGB; with `clip`, Z is at least 0."""
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    x = y + a / 500
    z = y - b / 200
    if clip:
        z = z.clamp(min=0)  # as scikit-image does
    return mix(_inverse_lab_curve(torch.stack([x, y, z], -3)), _RGB_FROM_WHITE_XYZ)


# The gamut --------------------------------------------------------------------------------------------------

# The slack in linear light, so that looking whether a color is inside needs no power.
_LEAST, _MOST = -SLACK / 12.92, ((1 + SLACK + 0.055) / 1.055) ** 2.4


def outside(linear):
    """How far linear sRGB (..., 3, H, W) is outside the gamut, (..., H, W): the gamut's colors have <= 0."""
    return torch.maximum(linear.amax(-3) - _MOST, _LEAST - linear.amin(-3))


def fit_gamut(lab):
    """CIELAB (..., 3, H, W) inside the gamut, without a gradient."""
    lab = torch.cat([lab.narrow(-3, 0, 1).clamp(0, 100), lab.narrow(-3, 1, 2)], -3)
    out = ~(outside(lab_to_linear(lab)) <= 0)  # NaN is neither
    colors = lab.movedim(-3, -1)[out].T
    lab.movedim(-3, -1)[out] = _fitted(colors).T
    return lab


def _fitted(colors):
    """Colors (3, N), L in [0, 100], with no more chroma than the gamut has room for.

    The share of its chroma that a color keeps is found by 16 bisections: 0 is known to be inside, 1 is not.
    What does not depend on it is computed once, and the rest in place.
    """
    lightness, a, b = colors
    threshold, slope = FROM_LAB
    y = (lightness + 16) / 116
    reach = torch.stack([a / 500, b / -200])
    of_y = _inverse_lab_curve(y)
    fixed = [of_y * m2 - slope * threshold * (m1 + m3) for m1, m2, m3 in _RGB_FROM_WHITE_XYZ]
    share, over, xz, curved = torch.zeros_like(y), torch.empty_like(y), torch.empty_like(reach), reach.clone()
    rgb = colors.new_empty(3, len(y))
    for bit in range(1, 17):
        share += 0.5**bit
        torch.addcmul(y, reach, share, out=xz)
        torch.clamp(xz, min=threshold, out=curved)
        torch.pow(curved, 3, out=curved)
        curved.add_(xz.clamp_(max=threshold), alpha=slope)
        for row, rest, (m1, _, m3) in zip(rgb, fixed, _RGB_FROM_WHITE_XYZ, strict=True):
            torch.add(rest, curved[0], alpha=m1, out=row).add_(curved[1], alpha=m3)
        torch.gt(outside(rgb[:, None])[0], 0, out=over)
        share.sub_(over, alpha=0.5**bit)
    fitted = torch.stack([lightness, share * a, share * b])
    return fitted.masked_fill(~colors.isfinite().all(0), math.nan)


# In blocks --------------------------------------------------------------------------------------------------

# Pixels worked on at once. What is needed for so many stays in the cache; with fewer, the cost of calling
# torch some thirty times for each block would show.
BLOCK = 1 << 16
_LINE = 64  # numbers, a multiple of what any processor computes at once


def in_blocks(x):
    """Whether the functions below may take a tensor: it is on a CPU, and numbers are all that is wanted."""
    if x.device.type != "cpu" or x.dtype == torch.float64 or type(x) is not torch.Tensor:
        return False
    if torch.is_grad_enabled() and x.requires_grad:
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    try:
        x.data_ptr()
    except RuntimeError:  # inside torch.func's transforms there are no values
        return False
    return torch.autograd.forward_ad.unpack_dual(x).tangent is None


def blank(*shape):
    """An empty float32 tensor on the CPU, in numpy's memory.

    On Linux numpy asks for large pages. To be given 144 MB in small ones takes as long as half a conversion.
    """
    return torch.from_numpy(np.empty(shape, np.float32))


class _Space:
    """Room for a block of pixels, twice: `a` and `b`, (channels, pixels), and views of them."""

    def __init__(self, channels, pixels):
        self.size, size = pixels, channels * pixels
        both = torch.ones(2, -(-size // _LINE) * _LINE)
        self.a, self.b = (half[:size].view(channels, pixels) for half in both)
        self.rows_a, self.rows_b = list(self.a), list(self.b)
        self._flat, self._array = both[0], both[0].numpy()
        # Small enough for torch to use one thread, and without a rest that it would compute otherwise.
        self._parts = both[0].split(1 << 14)

    def power_(self, exponent):
        """Raise `a` to a power, in place.

        numpy has the fastest logarithm, torch the fastest power of 2; both are within 4 units in the last
        place.
        """
        np.log(self._array, out=self._array)
        self._flat.mul_(exponent / math.log(2))
        for part in self._parts:
            part.exp2_()


def _mix_rows(sources, targets, matrix, offset):
    """Set the rows of a block to a matrix times (other rows plus an offset)."""
    first, second, third = sources
    for target, (m1, m2, m3) in zip(targets, matrix, strict=True):
        constant = torch.tensor(offset * (m1 + m2 + m3))
        torch.add(constant, first, alpha=m1, out=target).add_(second, alpha=m2).add_(third, alpha=m3)


def _blocks(out, *inputs):
    """Go over pictures (N, C, P) block by block: room, the inputs' and the output's blocks, (C, n, p) each.

    Before each comes its first pixel's number among the N P pixels.
    """
    images, channels, pixels = out.shape
    at_once = max(1, BLOCK // max(1, pixels))
    space = None
    for image in range(0, images, at_once):
        for start in range(0, pixels, BLOCK):
            o, *xs = (
                x[image : image + at_once, :, start : start + BLOCK].movedim(1, 0) for x in (out, *inputs)
            )
            size = o.shape[1] * o.shape[2]
            if space is None or space.size != size:
                space = _Space(channels, size)
            yield image * pixels + start, space, o, *(x.float() for x in xs)


def _over(convert, x, channels=3):
    """Apply a conversion of blocks to pictures (..., C, H, W)."""
    flat = x.reshape(-1, x.shape[-3], x.shape[-2] * x.shape[-1]) if x.numel() else x.new_empty(0, 1, 1)
    out = blank(len(flat), channels, flat.shape[-1])
    for _, space, o, v in _blocks(out, flat):
        convert(space, v, o)
    return out.view(*x.shape[:-3], channels, *x.shape[-2:]).to(x.dtype)


def _linear(space, v):
    """Set `a` to linear light plus a constant, times a factor: the constants are below."""
    a, b, (threshold, slope) = space.a, space.b, TO_LINEAR
    torch.clamp(v, min=threshold, out=a.view(v.shape))
    a.add_(0.055)
    space.power_(2.4)
    torch.clamp(v, max=threshold, out=b.view(v.shape))
    a.add_(b, alpha=slope * _FACTOR)


_FACTOR = 1.055**2.4
_OFFSET = TO_LINEAR[0] * TO_LINEAR[1] * _FACTOR
_WHITE_XYZ_FROM_LINEAR = tuple(tuple(m / _FACTOR for m in row) for row in _WHITE_XYZ_FROM_RGB)


def _curved(space, b):
    """Set `a` to the Lab curve of `b`, plus a constant, and change `b`."""
    threshold, slope = TO_LAB
    torch.clamp(b, min=threshold, out=space.a)
    space.power_(1 / 3)
    space.a.add_(b.clamp_(max=threshold), alpha=slope)


_ZERO = -16 - 116 * TO_LAB[0] * TO_LAB[1]


def _block_to_lab(space, v, o):
    _linear(space, v)
    _mix_rows(space.rows_a, space.rows_b, _WHITE_XYZ_FROM_LINEAR, -_OFFSET)
    _curved(space, space.b)
    f = space.a.view(v.shape)
    torch.sub(f[:2], f[1:], out=o[1:])
    o[1].mul_(500)
    o[2].mul_(200)
    torch.mul(f[1], 116, out=o[0]).add_(_ZERO)


def _block_to_linear(space, lightness, ab, clip):
    """Set `a` to the linear sRGB of CIELAB."""
    a, b, (threshold, slope) = space.a, space.b, FROM_LAB
    x, y, z = a.view(3, *lightness.shape[1:])
    torch.add(torch.tensor(16 / 116), lightness[0], alpha=1 / 116, out=y)
    torch.add(y, ab[0], alpha=1 / 500, out=x)
    torch.sub(y, ab[1], alpha=1 / 200, out=z)
    if clip:
        z.clamp_(min=0)
    torch.clamp(a, min=threshold, out=b)
    torch.pow(b, 3, out=b)
    b.add_(a.clamp_(max=threshold), alpha=slope)
    _mix_rows(space.rows_b, space.rows_a, _RGB_FROM_WHITE_XYZ, -threshold * slope)


def _block_to_srgb(space, o, clip):
    """Set the output to the sRGB of the linear `a`."""
    a, b, (threshold, slope) = space.a, space.b, TO_SRGB
    torch.clamp(a, max=threshold, out=b)
    a.clamp_(min=threshold)
    space.power_(1 / 2.4)
    a.mul_(1.055).add_(b, alpha=slope)
    constant = 0.055 + threshold * slope
    if clip:
        torch.clamp(a.sub_(constant).view(o.shape), 0, 1, out=o)
    else:
        torch.sub(a.view(o.shape), constant, out=o)


def rgb_to_lab_in_blocks(rgb):
    """What `rgb_to_lab` does."""
    return _over(_block_to_lab, rgb)


def gray_to_lightness_in_blocks(gray):
    """What `gray_to_lightness` does."""

    def convert(space, v, o):
        _linear(space, v)
        torch.mul(space.a, 1 / _FACTOR, out=space.b).sub_(_OFFSET / _FACTOR)
        _curved(space, space.b)
        torch.mul(space.a.view(v.shape), 116, out=o).add_(_ZERO)

    return _over(convert, gray, 1)


def lab_to_rgb_in_blocks(lab, clip):
    """What `lab_to_rgb` does."""

    def convert(space, v, o):
        _block_to_linear(space, v[:1], v[1:], clip)
        _block_to_srgb(space, o, clip)

    return _over(convert, lab)


def fitted_rgb_in_blocks(lightness, ab):
    """`lab_to_rgb(fit_gamut(lab))` for L in [0, 100], (..., 1, H, W), and ab, (..., 2, H, W), in float32.

    Both look at linear sRGB: it is computed once. Colors outside are put aside until all others are done.
    """
    size = ab.shape[-2:]
    lightness, flat = (x.reshape(-1, x.shape[-3], size.numel()) for x in (lightness, ab))
    out = blank(len(flat), 3, size.numel())
    places, colors = [], []
    for first, space, o, v, w in _blocks(out, lightness, flat):
        _block_to_linear(space, v, w, False)
        least, most = space.a.aminmax()
        if not (least >= _LEAST and most <= _MOST):
            place = (outside(space.a[:, None])[0] <= 0).logical_not_().nonzero()[:, 0]
            places.append(place + first)
            colors.append(torch.cat([v, w]).flatten(1)[:, place])
        _block_to_srgb(space, o, True)
    if places:
        place = torch.cat(places)
        fitted = torch.cat([_fitted(part) for part in torch.cat(colors, 1).split(BLOCK, 1)], 1)
        rgb = lab_to_rgb_in_blocks(fitted[:, None], True)[:, 0]
        image, place = place.div(out.shape[-1], rounding_mode="floor"), place % out.shape[-1]
        out[image, :, place] = rgb.T
    return out.view(*ab.shape[:-3], 3, *size)
