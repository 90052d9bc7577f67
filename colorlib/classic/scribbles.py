"""Color from a few strokes: neighbors of similar lightness get similar colors.

Source: A. Levin, D. Lischinski, Y. Weiss, "Colorization using Optimization", SIGGRAPH 2004, sections 2 and 3.
Each pixel r has eight neighbors N(r), the window of 3 x 3 around it. The nearer a neighbor's lightness Y, the
more it weighs: w_rs ~ exp(-(Y_r - Y_s)^2 / (2 sigma_r^2)) with the variance sigma_r^2 of the lightness in
the window, and the weights of each pixel sum to 1. The paper looks for the chroma U that minimizes

    J(U) = sum over r of (U_r - sum over s in N(r) of w_rs U_s)^2, with U given on the strokes.

What is solved here: every pixel without a stroke is the weighted mean of its neighbors, U_r = sum w_rs U_s.
In matrices that is (I - W) U = 0 at those pixels. It brings every term of J there to zero, so it minimizes J
without the terms that are centered on strokes: those ask a color that the user has fixed to be the mean of
its neighbors, too. Leaving them out has two merits. A mean lies between the least and the greatest of its
terms, so no color can come out that exceeds those of the strokes. And the matrix is far better conditioned
than its square, in which least squares ends.

No weight is zero: among n pixels, the squared difference of two is at most 2 n times the variance, so that
with n = 9 no weight is below exp(-9) before they are brought to the sum 1. So no part of a picture is out of
reach: one stroke colors all of it. Only a picture without any stroke has no solution.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse import linalg
from torch import Tensor
from torch.nn import functional as F

from colorlib._check import choice, finite, image, inside, number
from colorlib.color import rgb_to_lab

OFFSETS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]  # in the order in which pixels are numbered
# A variance below this one, of lightness in [0, 100], is the rounding of 8-bit values (a step is about 0.4,
# its variance 0.4^2 / 12): there a difference says nothing.
LEAST_VARIANCE = 0.01
# A network's colors are corrected at a low resolution: there, shades this fine belong to one thing.
FINE_VARIANCE = 1.0
DIRECT_PIXELS = 2**16  # up to here, factors are as quick as multigrid
RESIDUAL = 1e-7  # of multigrid, relative to the right side: about a hundredth of a unit of ab in a megapixel


def propagate(
    lightness: Tensor, ab: Tensor, mask: Tensor, sharpness: float = 1.0, method: str = "auto"
) -> Tensor:
    """Spread the chroma of strokes: each other pixel becomes the weighted mean of its neighbors.

    Parameters
    ----------
    lightness : Tensor
        CIE L in [0, 100], floating point, (..., 1, H, W).
    ab : Tensor
        Chroma, floating point, (..., 2, H, W); read where the mask is True, whatever it holds elsewhere.
    mask : Tensor
        True on strokes, bool, (..., 1, H, W): at least one pixel of each picture.
    sharpness : float
        Multiplies the exponent of the weights, in [0, 4]. 1: the paper's formula. There a long straight edge,
        however high, lowers the weights across it to exp(-9 / 4), a tenth, and colors seep through where
        only one side has a stroke; with 3 it is a thousandth. 0: all neighbors weigh alike.
    method : str
        ``"direct"``: sparse factors, exact but for rounding. ``"multigrid"``: algebraic multigrid as the
        preconditioner of BiCGSTAB, until the residual has fallen by 1e-7; a picture of a megapixel takes some
        10 seconds. It needs the package pyamg. ``"auto"``: direct up to 65,536 pixels, then multigrid.

    Returns
    -------
    Tensor
        ab, (..., 2, H, W), of the dtype and on the device of ``ab``: on strokes exactly what was given,
        elsewhere between the least and the greatest value of the picture's strokes. All is worked out on the
        CPU in float64, without gradient.

    Raises
    ------
    ImportError
        Multigrid is asked for, or needed for a large picture, and pyamg is not installed.

    Examples
    --------
    >>> strokes = torch.tensor([[[40.0, 0, 0, 0, 0]], [[0.0, 0, 0, 0, 20]]])
    >>> mask = torch.tensor([[[True, False, False, False, True]]])
    >>> propagate(torch.full((1, 1, 5), 50.0), strokes, mask)
    tensor([[[40., 30., 20., 10.,  0.]],
    <BLANKLINE>
            [[ 0.,  5., 10., 15., 20.]]])
    """
    _check(lightness, ab, mask)
    sharpness = number(sharpness, "sharpness", "[0, 4]")
    choice(method, "method", ("auto", "direct", "multigrid"))
    empty = (~mask.flatten(-3).any(-1)).flatten()
    if empty.any():
        which = "" if empty.numel() == 1 else f"; pictures {empty.nonzero().flatten().tolist()} have none"
        raise ValueError(f"mask must have a stroke, at least one pixel that is True{which}")
    return _each(lambda L, color, strokes: _solve(L, color, strokes, sharpness, method), lightness, ab, mask)


def corrected(
    lightness: Tensor,
    ab: Tensor,
    mask: Tensor,
    strokes_ab: Tensor,
    reach: float = 0.25,
    sharpness: float = 3.0,
    method: str = "auto",
) -> Tensor:
    """Correct a picture's chroma by strokes: what a stroke touches follows it, the rest stays as it is.

    What spreads is the difference D between the strokes and the chroma below them, so that shades stay. A
    stroke must not reach the whole picture, so D is pulled to zero everywhere: ((1 + f) I - W) D = 0 beside
    the strokes, with the W of :func:`propagate`. A walker that steps to a neighbor by its weight, and stops
    at each step with probability f / (1 + f), gets from a pixel to a stroke with a probability u. Where
    lightness is flat, u falls to a third, exp(-1), within `reach`; an edge lets few walkers through. D / u is
    the mean of the strokes, weighted by their nearness. It is applied in full where u is above a half, and
    not at all where it is below a tenth, with a smooth step between: so one thing gets one color. Variances
    of lightness below 1 count as 1, so that grain and fine shades stop no walker.

    Parameters
    ----------
    lightness : Tensor
        CIE L in [0, 100], floating point, (..., 1, H, W). Up to 256 x 256 pixels take less than a second.
    ab : Tensor
        Chroma to be corrected, such as a network's, floating point, (..., 2, H, W).
    mask : Tensor
        True on strokes, bool, (..., 1, H, W). A picture without strokes stays as it is.
    strokes_ab : Tensor
        Chroma of the strokes, floating point, (..., 2, H, W); read where the mask is True.
    reach : float
        As a share of the picture's shorter side, in [0.001, 1000].
    sharpness, method
        As for :func:`propagate`.

    Returns
    -------
    Tensor
        ab, (..., 2, H, W), of the dtype and on the device of ``ab``, without gradient; on strokes exactly
        theirs.

    Examples
    --------
    >>> lightness = torch.tensor([[[30.0] * 3 + [90.0] * 3]])
    >>> mask = torch.tensor([[[True] + [False] * 5]])
    >>> corrected(lightness, torch.zeros(2, 1, 6), mask, torch.full((2, 1, 6), 40.0), reach=9)[0].round()
    tensor([[40., 40., 40.,  0.,  0.,  0.]])
    """
    _check(lightness, ab, mask)
    _check(lightness, strokes_ab, mask, "strokes_ab")
    finite(ab, "ab")
    reach = number(reach, "reach", "[0.001, 1000]") * min(lightness.shape[-2:])
    sharpness = number(sharpness, "sharpness", "[0, 4]")
    choice(method, "method", ("auto", "direct", "multigrid"))
    # A step of the walker has the variance 3/4 along each axis: f D = (3/8) D'' falls to exp(-1) in `reach`.
    fade = 0.375 / reach**2

    def spread(L, difference, strokes):
        if not strokes.any():
            return np.zeros_like(difference)
        values = np.stack([*difference, strokes])
        *solved, u = _solve(L, values, strokes, sharpness, method, FINE_VARIANCE, fade)
        step = np.clip((u - 0.1) / 0.4, 0, 1)
        return np.stack(solved) * (step * step * (3 - 2 * step) / np.maximum(u, 0.1))

    target = strokes_ab.detach().to(ab)
    difference = target.cpu().double() - ab.detach().cpu().double()
    difference = torch.where(mask.cpu(), difference, 0)
    change = _each(spread, lightness, difference, mask)
    return torch.where(mask.to(ab.device), target, ab.detach() + change.to(ab))


def strokes_of(gray: Tensor, painted: Tensor, threshold: float = 0.1) -> tuple[Tensor, Tensor]:
    """Find the strokes painted on a gray photograph: the mask and the chroma that `propagate` takes.

    A pixel belongs to a stroke where one of R, G and B is more than ``threshold`` from the photograph's gray.
    JPEG changes the pixels around strokes: save painted pictures as PNG, or raise the threshold. Where the
    painted picture has an alpha channel and is transparent somewhere, alpha alone decides: a stroke is where
    it is above one half.

    The edge of a brush is a mix of stroke and photograph, and what spreads would be this paler color. So a
    stroke's pixel takes the chroma of the one in its 3 x 3 window that differs most from the photograph, if
    that one differs by a quarter more.

    Parameters
    ----------
    gray : Tensor
        The photograph, floating point in [0, 1], (..., 1, H, W), or (..., 3, H, W) where paper or toning
        gives it some color.
    painted : Tensor
        The same with strokes on it, sRGB in [0, 1], (..., 3, H, W), or with alpha, (..., 4, H, W).
    threshold : float
        In [0, 1): a stroke differs from the photograph by more.

    Returns
    -------
    tuple of Tensor
        mask (..., 1, H, W), bool, and ab (..., 2, H, W), which is zero where there is no stroke.

    Examples
    --------
    >>> gray = torch.full((1, 1, 3), 0.5)
    >>> painted = gray.repeat(3, 1, 1)
    >>> painted[:, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    >>> mask, ab = strokes_of(gray, painted)
    >>> mask
    tensor([[[ True, False, False]]])
    >>> ab[:, 0, 0].round()
    tensor([80., 67.])
    """
    toned = isinstance(gray, Tensor) and gray.dim() > 2 and gray.shape[-3] == 3
    image(gray, 3 if toned else 1, "gray", unit=True)
    channels = 4 if getattr(painted, "ndim", 0) > 2 and painted.shape[-3] == 4 else 3
    image(painted, channels, "painted", unit=True)
    threshold = number(threshold, "threshold", "[0, 1)")
    for x, name in ((gray, "gray"), (painted, "painted")):
        if not x.numel():
            raise ValueError(f"{name} must have at least one pixel; got {tuple(x.shape)}")
        inside(x, name, 0, 1, slack=1e-3)
    if _places(painted) != _places(gray):
        raise ValueError(f"painted must have gray's size, {_places(gray)}; got {_places(painted)}")
    painted = painted.detach().to(gray.device, torch.promote_types(painted.dtype, torch.float32)).clamp(0, 1)
    ab = rgb_to_lab(painted[..., :3, :, :])[..., 1:, :, :]
    if channels == 4 and (painted[..., 3:, :, :] < 1).any():
        mask = painted[..., 3:, :, :] > 0.5
    else:
        difference = (painted[..., :3, :, :] - gray.detach().to(painted)).abs().amax(-3, keepdim=True)
        mask = difference > threshold
        flat = difference.reshape(-1, 1, *difference.shape[-2:])
        most, place = F.max_pool2d(flat, 3, 1, 1, return_indices=True)
        clearest = ab.flatten(-2).gather(-1, place.view(*mask.shape[:-2], -1).expand_as(ab.flatten(-2)))
        ab = torch.where(most.view_as(mask) > 1.25 * difference, clearest.view_as(ab), ab)
    return mask, torch.where(mask, ab, 0)


def _places(x: Tensor) -> tuple[int, ...]:
    """The shape of pictures but for their channels."""
    return (*x.shape[:-3], *x.shape[-2:])


def _check(lightness: Tensor, ab: Tensor, mask: Tensor, name: str = "ab") -> None:
    image(lightness, 1, "lightness")
    if 0 in lightness.shape:
        raise ValueError(f"lightness must have at least one pixel; got {tuple(lightness.shape)}")
    inside(lightness, "lightness", 0, 100, slack=0.1)
    image(ab, 2, name)
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a tensor of bool; got {kind}")
    if mask.shape != lightness.shape:
        raise ValueError(
            f"mask must have lightness's shape, {tuple(lightness.shape)}; got {tuple(mask.shape)}"
        )
    if _places(ab) != _places(lightness):
        wanted = (*lightness.shape[:-3], 2, *lightness.shape[-2:])
        raise ValueError(f"{name} must have shape {wanted}, as lightness has it; got {tuple(ab.shape)}")
    finite(ab.movedim(-3, -1)[mask.to(ab.device).squeeze(-3)], name)


def _each(function, lightness: Tensor, ab: Tensor, mask: Tensor) -> Tensor:
    """Apply a function of arrays (H, W), (C, H, W), (H, W) to every picture; strokes stay as they are."""
    # On the CPU first: not every device has float64.
    wide = lightness.detach().cpu().double(), ab.detach().cpu().double(), mask.cpu()
    flat = [x.reshape(-1, *x.shape[-3:]) for x in wide]
    pictures = zip(*(x.numpy() for x in flat), strict=True)
    solved = [torch.from_numpy(function(L[0], color, m[0])) for L, color, m in pictures]
    return torch.where(mask.to(ab.device), ab.detach(), torch.stack(solved).view(ab.shape).to(ab))


def _solve(
    lightness: np.ndarray,
    color: np.ndarray,
    mask: np.ndarray,
    sharpness: float,
    method: str,
    least: float = LEAST_VARIANCE,
    fade: float = 0.0,
) -> np.ndarray:
    """Solve ((1 + fade) I - W) U = 0 where there is no stroke: (C, H, W) from lightness and mask (H, W)."""
    given, free = np.flatnonzero(mask), np.flatnonzero(~mask)
    solved = color.reshape(len(color), -1).copy()
    if len(free):
        rows = affinities(lightness, sharpness, least)[free]
        right = rows[:, given] @ solved[:, given].T
        matrix = sparse.eye(len(free), format="csr") * (1 + fade) - rows[:, free]
        del rows
        multigrid = method == "multigrid" or (method == "auto" and mask.size > DIRECT_PIXELS)
        solved[:, free] = (_multigrid if multigrid else _direct)(matrix, right).T
    return solved.reshape(color.shape)


def affinities(lightness: np.ndarray, sharpness: float, least: float = LEAST_VARIANCE) -> sparse.csr_matrix:
    """Weights w_rs of the neighbors of each pixel of a lightness (H, W): (H W, H W), each row's sum 1."""
    height, width = lightness.shape
    there = np.zeros((9, height, width), bool)
    difference = np.zeros((9, height, width))
    for k, (y, x) in enumerate(OFFSETS):
        here = slice(max(0, -y), height - max(0, y)), slice(max(0, -x), width - max(0, x))
        beside = slice(max(0, y), height + min(0, y)), slice(max(0, x), width + min(0, x))
        there[(k, *here)] = True
        difference[(k, *here)] = lightness[beside] - lightness[here]
    count = there.sum(0)
    square = difference * difference
    # The variance does not change when all values are moved by the lightness in the middle.
    variance = square.sum(0) / count - (difference.sum(0) / count) ** 2
    weights = np.exp(square * (-sharpness / 2) / np.maximum(variance, least), out=square)
    there[4] = False  # the pixel itself
    weights *= there
    weights /= np.maximum(weights.sum(0), np.finfo(float).tiny)  # a picture of one pixel has no neighbors
    # Row by row, the neighbors in the order of their numbers: what a matrix in CSR form holds.
    there = there.reshape(9, -1).T
    places = np.arange(height * width, dtype=np.int32)[:, None]
    columns = places + np.array([y * width + x for y, x in OFFSETS], np.int32)
    ends = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
    parts = weights.reshape(9, -1).T[there], columns[there], ends
    return sparse.csr_matrix(parts, shape=(height * width,) * 2)


def _direct(matrix: sparse.csr_matrix, right: np.ndarray) -> np.ndarray:
    # Each row is dominated by its diagonal, so factors need no pivots, and the pattern is symmetric: with an
    # order of elimination made for that, they stay small.
    options = {"SymmetricMode": True}
    factors = linalg.splu(matrix.tocsc(), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
    return factors.solve(right)


def _multigrid(matrix: sparse.csr_matrix, right: np.ndarray) -> np.ndarray:
    try:
        import pyamg
    except ImportError:
        raise ImportError(
            "method 'multigrid', which large pictures need, uses pyamg, which is not installed: "
            "pip install pyamg, or take method='direct', with 3 GiB of memory for a megapixel"
        ) from None
    # Ruge and Stueben's coarsening follows the strong weights. It is made for just such matrices: positive on
    # the diagonal, negative beside it, row sums of zero or more.
    levels = pyamg.ruge_stuben_solver(matrix, max_coarse=500)
    solved = np.empty_like(right)
    for channel, b in enumerate(right.T):
        # The matrix is not symmetric (each pixel has its own sigma), which conjugate gradients would need.
        solved[:, channel] = levels.solve(b, tol=RESIDUAL, maxiter=100, accel="bicgstab")
        left = np.linalg.norm(b - matrix @ solved[:, channel])
        if not left <= 10 * RESIDUAL * np.linalg.norm(b):
            return _direct(matrix, right)  # slow but sure
    return solved
