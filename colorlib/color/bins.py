"""The 313 color bins: where they come from, and the way of a color into them and out again.

Colors are a and b in CIE units, in any floating dtype, which results keep. For an argument of another type,
shape or range, each function raises TypeError or ValueError. The source of all is Zhang, Isola and Efros,
Colorful Image Colorization, ECCV 2016, section 2.
"""

import functools
import math

import numpy as np
import torch
from scipy.spatial import ConvexHull

from colorlib._check import came, device_of, floating, number, whole
from colorlib.color.spaces import rgb_to_lab, widened

STEP = 10  # the bins lie on a square grid in the ab plane, this far apart
COUNT = 313


@functools.lru_cache
def _derive_bins(n=17):
    """The bins as a float64 array (313, 2), from an n x n x n lattice over the sRGB cube."""
    levels = torch.linspace(0, 1, n, dtype=torch.float64, device="cpu")
    lattice = torch.cartesian_prod(levels, levels, levels).T.unsqueeze(-1)  # (3, n^3, 1)
    ab = rgb_to_lab(lattice)[1:, :, 0].T.numpy()
    # Growing a convex shape by a square is the hull of its corners moved to each corner of the square.
    corners = ab[ConvexHull(ab).vertices]
    square = np.array([(-STEP, -STEP), (-STEP, STEP), (STEP, -STEP), (STEP, STEP)])
    hull = ConvexHull((corners[:, None] + square).reshape(-1, 2))
    ticks = np.arange(-200, 201, STEP)
    grid = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), -1).reshape(-1, 2)
    # Each edge of the hull is a line: inside is where all of them are negative.
    inside = (grid @ hull.equations[:, :2].T + hull.equations[:, 2] <= 0).all(1)
    return grid[inside].astype(np.float64)


def ab_bins(device=None, dtype=torch.float32):
    """Give the centers of the 313 bins of CIELAB's ab plane, (313, 2), ordered by a, then by b.

    The sRGB gamut is projected on (a, b), its convex hull is grown by 10 units to each side, and the
    multiples of 10 inside are kept. No file of data is needed, and the tensor is a new one at each call. The
    source (section 2.1) names the number of bins and their step. The recipe is this library's; it gives the
    published bins.

    >>> ab_bins().shape, ab_bins()[0]
    (torch.Size([313, 2]), tensor([-90.,  50.]))
    """
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype; got {came(dtype)}")
    device = None if device is None else device_of(device)
    return torch.tensor(_derive_bins(), device=device, dtype=dtype)


# Soft encoding ----------------------------------------------------------------------------------------------

_REACH = 12  # the table below goes from -12 to 12 steps in a and in b: every bin, and a rim without bins
_SIDE = 2 * _REACH + 1
_KINDS = 24  # eight octants about a grid point, three orders in each


@functools.lru_cache
def _nearest_table(device):
    """The five nearest bins for every kind of point: int64 (5, rows), -1 where one of the five is not a bin.

    There is a row for each grid point, octant and order; `_nearest_five` explains them.
    """
    with torch.device("cpu"):
        return _make_nearest_table().to(device)


def _make_nearest_table():
    which = torch.full((_SIDE, _SIDE), -1)
    at = torch.from_numpy(_derive_bins() / STEP).long() + _REACH
    which[at[:, 0], at[:, 1]] = torch.arange(COUNT)

    here, right, up, down, left, diagonal = (0, 0), (1, 0), (0, 1), (0, -1), (-1, 0), (1, 1)
    orders = torch.tensor(
        [(here, right, up, down, left), (here, right, up, down, diagonal), (here, right, up, diagonal, down)]
    )
    octants = [
        (orders.flip(-1) if swapped else orders) * torch.tensor([sign_a, sign_b])
        for swapped in (False, True)
        for sign_a in (1, -1)
        for sign_b in (1, -1)
    ]
    offsets = torch.cat(octants)  # (24, 5, 2)

    inner = torch.arange(1, _SIDE - 1)
    neighbors = torch.cartesian_prod(inner, inner)[:, None, None] + offsets
    five = which[neighbors[..., 0], neighbors[..., 1]]
    five[(five < 0).any(-1)] = -1
    table = torch.full((_SIDE, _SIDE, _KINDS, 5), -1)
    table[1:-1, 1:-1] = five.view(_SIDE - 2, _SIDE - 2, _KINDS, 5)
    return table.view(-1, 5).T.contiguous()


def _nearest_five(a, b):
    """The five bins nearest to each point (B, P): indices, squared distances less the smallest; (B, 5, P).

    The bins lie on a square grid. Measure from the grid point nearest to a color, in steps. Turn the plane so
    that the color is in the octant u >= v >= 0; both are at most 1/2. Then the squared distances to the grid
    points are, less the smallest,

        (0, 0)  0            (0, -1)  1 + 2 v
        (1, 0)  1 - 2 u      (-1, 0)  1 + 2 u
        (0, 1)  1 - 2 v      (1, 1)   2 - 2 u - 2 v

    and no other grid point is nearer than the fifth of these. The first three come first, in this order. Then
    come (0, -1) and the nearer of (-1, 0) and (1, 1). These are three orders in all, so a table gives the
    bins without a search. Near the rim of the gamut and beyond it one of the five may not be a bin: the table
    holds -1, and those points, few in a photograph, are compared with all 313.
    """
    grid_a, grid_b = torch.round(a / STEP), torch.round(b / STEP)
    from_a, from_b = a - STEP * grid_a, b - STEP * grid_b
    size_a, size_b = from_a.abs(), from_b.abs()
    u, v = torch.maximum(size_a, size_b), torch.minimum(size_a, size_b)
    step, twice = STEP**2, 2 * STEP
    down, left, diagonal = step + twice * v, step + twice * u, 2 * step - twice * (u + v)
    fourth, fifth = torch.minimum(down, diagonal), torch.minimum(torch.maximum(down, diagonal), left)
    nearest = [torch.zeros_like(u), step - twice * u, step - twice * v, fourth, fifth]
    distances = torch.stack(nearest, 1)

    # Points outside the table, and NaN, are taken to its rim, where there are no bins.
    row, column = ((grid + _REACH).clamp(0, 2 * _REACH).nan_to_num(nan=0).long() for grid in (grid_a, grid_b))
    octant = (size_b > size_a) * 4 + (from_a < 0) * 2 + (from_b < 0)
    order = (diagonal < left).long() + (diagonal < down)
    place = (row * _SIDE + column) * _KINDS + octant * 3 + order
    indices = torch.stack([torch.take(nth, place) for nth in _nearest_table(a.device)], 1)

    rest = indices[:, 0] < 0
    if rest.any():
        exact = _nearest(a[rest], b[rest], 5)
        indices.movedim(1, -1)[rest] = exact[0]
        distances.movedim(1, -1)[rest] = exact[1]
    return indices, distances


def _nearest(a, b, k):
    """The k bins nearest to each point (N,), compared with all of them: the same two as above, (N, k)."""
    # A far point is almost equally far from all bins: only double precision tells them apart.
    points = double(torch.stack([a, b], -1))
    bins = ab_bins(points.device, torch.float64)
    finite = points.isfinite().all(-1, keepdim=True)
    indices, distances = [], []
    for part in points.masked_fill(~finite, 0).split(4096):
        # |p - q|^2 less |p|^2, which is the same for all bins q.
        nearest = (bins.square().sum(-1) - 2 * part @ bins.T).topk(k, largest=False)
        indices.append(nearest.indices)
        distances.append(nearest.values - nearest.values[:, :1])
    indices, distances = torch.cat(indices), torch.cat(distances)
    distances = distances.masked_fill(~finite, math.nan).to(a.dtype)
    return indices.masked_fill(~finite, 0).to(a.device), distances.to(a.device)


def double(x):
    """`x` in double precision: on its own device, or on the CPU where that has none, as Apple's GPUs."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def soft_encode(ab, k=5, sigma=5.0):
    """Spread each color over the k bins nearest to it, with Gaussian weights (section 2.1).

    From any points of the plane, (..., 2, H, W), (N, 2) or (2,), to indices, int64, and weights, with k in
    place of 2. The indices are rows of `ab_bins`, nearest first, and equally near ones in any order. The k
    nearest of all 313 bins, k from 1 to 313, are found exactly. Their weights are proportional to exp(-d^2 /
    (2 sigma^2)), where d is the distance to the bin's center, and sum to 1. `sigma` is in CIE units, above 0;
    infinity gives each of the k bins the same weight. A color that is not finite gets the weights NaN and the
    indices 0.

    >>> indices, weights = soft_encode(torch.tensor([2.0, 1.0]), k=2)
    >>> ab_bins()[indices[0]], weights.round(decimals=2)
    (tensor([0., 0.]), tensor([0.7700, 0.2300]))
    """
    floating(ab, "ab", "(..., 2, H, W)", "(N, 2)", "(2,)")
    flat = ab.dim() < 3
    k, sigma = whole(k, "k", 1, COUNT), number(sigma, "sigma", "(0, inf]")

    shape = ab.shape
    a, b = ab.unbind(-1 if flat else -3)
    images = 1 if flat else math.prod(shape[:-3])
    a, b = (widened(x.reshape(images, x.numel() // max(images, 1))) for x in (a, b))
    if k <= 5:
        indices, distances = (x[:, :k] for x in _nearest_five(a, b))
    else:
        found = _nearest(a.flatten(), b.flatten(), k)
        indices, distances = (x.unflatten(0, a.shape).movedim(-1, 1) for x in found)
    # Within these limits the square of sigma is neither 0 nor infinite in float32.
    weights = (distances / (-2 * min(max(sigma, 1e-15), 1e15) ** 2)).exp()
    weights = (weights / weights.sum(1, keepdim=True)).to(ab.dtype)
    if flat:
        return tuple(x[0].T.reshape(*shape[:-1], k) for x in (indices, weights))
    return tuple(x.reshape(*shape[:-3], k, *shape[-2:]) for x in (indices, weights))


# Decoding ---------------------------------------------------------------------------------------------------


def annealed_mean(logits, temperature=0.38):
    """Give the color that a distribution over the bins stands for: its mean after sharpening (section 2.3).

    From (..., 313, H, W), (N, 313) or (313,) to (..., 2, H, W), (N, 2) or (2,). Logits are logarithms of
    probabilities, up to a constant; a bin of probability 0 has -inf. With probabilities z, the mean of the
    bins is taken under softmax(log z / T), equation 5. The temperature T = 1 gives the mean of z, 0 the
    center of its most probable bin (the first, if several tie), infinity the plain mean of all bins whose
    probability is not 0. Where all logits are -inf, or one is NaN or +inf, the color is NaN.

    >>> annealed_mean(torch.arange(313.0), temperature=0)
    tensor([100.,   0.])
    """
    floating(logits, "logits", f"(..., {COUNT}, H, W)", f"(N, {COUNT})", f"({COUNT},)")
    flat, temperature = logits.dim() < 3, number(temperature, "temperature", "[0, inf]")

    wide = widened(logits)
    wide = wide if flat else wide.movedim(-3, -1)
    bins = ab_bins(wide.device, wide.dtype)
    # The largest logit becomes 0: whatever small temperature divides it, it stays 0, and the others overflow
    # to -inf at worst.
    wide = wide - wide.detach().amax(-1, keepdim=True)
    limits = torch.finfo(wide.dtype)
    if temperature == 0:
        broken = wide.isnan().any(-1, keepdim=True)
        ab = bins[wide.argmax(-1)].masked_fill(broken, math.nan)
    else:
        flattest = temperature > limits.max
        wide = wide.masked_fill(wide > -math.inf, 0) if flattest else wide / max(temperature, limits.tiny)
        ab = wide.softmax(-1) @ bins
    return (ab if flat else ab.movedim(-1, -3)).to(logits.dtype)


# Rebalancing ------------------------------------------------------------------------------------------------


def _check_prior(prior, shape="(Q,)"):
    floating(prior, "prior", shape, empty=False)
    if not (prior >= 0).all():
        raise ValueError(f"prior must hold no negative number and no NaN; its least is {prior.min().item()}")
    total = double(prior).sum().item()
    # The rounding of Q numbers may add up, but no more than this.
    if abs(total - 1) > max(1e-3, torch.finfo(prior.dtype).eps):
        raise ValueError(f"prior must sum to 1; it sums to {total:.6g}")


def bin_prior(ab):
    """Tell how often each bin is the nearest to a color: (..., 2, H, W) or (N, 2) to shares (313,) of sum 1.

    No color at all, or one that is not finite, raises ValueError.

    >>> bin_prior(torch.zeros(4, 2)).max()
    tensor(1.)
    """
    indices, weights = soft_encode(ab)
    nearest = indices.select(-1 if ab.dim() < 3 else -3, 0).flatten()
    if not len(nearest):
        raise ValueError(f"ab holds no color: its shape is {tuple(ab.shape)}")
    broken = weights.isnan().select(-1 if ab.dim() < 3 else -3, 0).sum().item()
    if broken:
        raise ValueError(f"ab holds {broken} colors that are not finite")
    shares = double(torch.bincount(nearest, minlength=COUNT)) / len(nearest)
    return shares.to(ab.dtype).to(ab.device)


def smooth_prior(prior, sigma=5.0):
    """Smooth a distribution over the bins, (313,), with a Gaussian of width `sigma` (section 2.2).

    Each bin hands its share on to all bins in proportion to exp(-d^2 / (2 sigma^2)), where d is the distance
    between the centers. So the shares still sum to 1.
    """
    _check_prior(prior, f"({COUNT},)")
    wide = widened(prior)
    indices, weights = soft_encode(ab_bins(wide.device, wide.dtype), k=COUNT, sigma=sigma)
    shares = weights * wide[:, None]
    return torch.zeros_like(wide).index_add(0, indices.flatten(), shares.flatten()).to(prior.dtype)


def rebalancing_weights(prior, mix=0.5):
    """Give weights that make rare colors count for more in a loss (section 2.2, equation 4): (Q,) to (Q,).

    The weight of a bin is proportional to 1 / ((1 - mix) p + mix / Q), where p is its share and Q the number
    of bins. The weights are scaled so that the expected weight, the sum of p w, is 1. `mix`, from 0 to 1, is
    how much of the uniform distribution is mixed in: 1 gives every bin the weight 1, and 0 raises ValueError
    where some share is 0.

    >>> rebalancing_weights(torch.tensor([0.75, 0.25]), mix=0)
    tensor([0.6667, 2.0000])
    """
    _check_prior(prior)
    mix = number(mix, "mix", "[0, 1]")
    empty = int((prior == 0).sum())
    if mix == 0 and empty:
        raise ValueError(f"mix is 0 and {empty} bins have the share 0: their weight would be infinite")
    wide = widened(prior)
    weights = 1 / ((1 - mix) * wide + mix / len(wide))
    return (weights / (wide * weights).sum()).to(prior.dtype)
