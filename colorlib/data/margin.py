"""The margin of a print: even paper around a picture, where there are no colors to find."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull
from torch import Tensor

SIDE = 1024  # the margin is looked for in the picture reduced to one or two times so many pixels
EVEN = 6  # levels of 255 by which paper may differ from its median: noise, grain, traces of JPEG
RING = 0.97  # share of each outer edge that has to be paper; the rest is dust and scratches
LEAST = 0.25  # share of the whole that the picture has to take: a ship on an even sea is no print
STRAIGHT = 0.96  # share of the smallest rectangle around it that the picture has to fill
TILT = np.radians(np.linspace(-5, 5, 41))  # how such a rectangle may lie
# So many pixels along its edge stay gray, for traces of JPEG; in so many more color sets in.
EDGE, SOFT = 2, 2
_AT_ONCE = 2**20  # so many pixels of a large picture are brought to 8 bits at a time


def margin(gray: Tensor) -> Tensor | None:
    """Find an even margin around a picture, (1, H, W) in [0, 1], such as the paper of an old print.

    It has to run around all four sides, in one lightness, and what it surrounds has to be a rectangle or
    nearly so: a sky, a backdrop or snow that reaches the edge is none. Writing on the margin belongs to it.

    Gives how much of its color each pixel keeps, (1, H, W): 0 on the margin, 1 in the picture, values between
    along the picture's edge. None where there is no margin.
    """
    keep = kept(levels(gray))
    return None if keep is None else rows(keep, gray.shape[-2:], 0, gray.shape[-2]).to(gray)


def levels(gray: Tensor) -> Image.Image:
    """Gray (1, H, W) in [0, 1] as an image of 8 bits. It is made in strips, to need no copy in floats."""
    strips = gray[0].split(max(1, _AT_ONCE // gray.shape[-1]))
    parts = [(strip * 255 + 0.5).to(torch.uint8).cpu() for strip in strips]
    return Image.fromarray(torch.cat(parts).numpy())


def kept(gray: Image.Image) -> Image.Image | None:
    """What :func:`margin` gives, of an image of 8 bits and as a small one of floats: see :func:`rows`."""
    inside = _inside(np.asarray(gray.reduce(max(1, max(gray.size) // SIDE))).astype(int))
    if inside is None:
        return None
    within = ndimage.distance_transform_cdt(inside, "chessboard")
    return Image.fromarray(((within - EDGE) / SOFT).clip(0, 1).astype(np.float32))


def rows(keep: Image.Image, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Some rows of what is kept, from `top` to before `bottom`, at a picture's size (H, W): (1, rows, W)."""
    scale = keep.height / size[0]
    box = (0, top * scale, keep.width, min(keep.height, bottom * scale))
    part = keep.resize((size[1], bottom - top), Image.Resampling.BILINEAR, box=box)
    return torch.from_numpy(np.array(part))[None].clamp_(0, 1)


def _inside(gray: np.ndarray) -> np.ndarray | None:
    """The picture inside a margin as a mask (H, W), of gray from 0 to 255; None where there is no margin."""
    edges = gray[0], gray[-1], gray[:, 0], gray[:, -1]
    differs = abs(gray - np.median(np.concatenate(edges))) > EVEN
    if any(edge.mean() > 1 - RING for edge in (differs[0], differs[-1], differs[:, 0], differs[:, -1])):
        return None
    # The picture is what is large and not paper: letters are small, a hair doesn't survive the opening. Its
    # hull takes in what is as light as paper, such as a sky.
    labels, _ = ndimage.label(ndimage.binary_opening(differs, np.ones((3, 3))))
    sizes = np.bincount(labels.flat)
    sizes[0] = 0
    if not sizes.any():
        return None
    picture = (sizes >= sizes.max() / 10)[labels]
    rows = np.flatnonzero(picture.any(1))
    ends = picture[rows].argmax(1), picture.shape[1] - 1 - picture[rows, ::-1].argmax(1)
    points = np.concatenate([np.stack([end, rows], -1) for end in ends])  # each row's first and last pixel
    hull = ConvexHull(points)
    corners = points[hull.vertices]
    turned = np.stack([np.cos(TILT), np.sin(TILT)], -1), np.stack([-np.sin(TILT), np.cos(TILT)], -1)
    sides = [np.ptp(corners @ axis.T, axis=0) for axis in turned]
    if hull.volume < max(LEAST * gray.size, STRAIGHT * (sides[0] * sides[1]).min()):
        return None
    mask = Image.new("1", gray.shape[::-1])
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in corners.tolist()], fill=1)
    return np.asarray(mask)
