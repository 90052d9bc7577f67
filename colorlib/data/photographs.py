"""The photographs whose files come inside the scikit-image package: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from colorlib._check import choices, flag, whole

COLOR = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png",
    "hubble": "hubble_deep_field.jpg",
    "retina": "retina.jpg",
    "tissue": "ihc.png",
}
GRAY = {
    "camera": "camera.png",
    "coins": "coins.png",
    "moon": "moon.png",
    "clock": "clock_motion.png",
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
}


def photos(
    names: str | Iterable[str] | None = None, gray: bool = False, max_side: int | None = None
) -> dict[str, Tensor]:
    """The photographs that come inside scikit-image, in a fixed order. Files are read, none is downloaded.

    In color: "astronaut" (Eileen Collins; NASA, public domain), "chelsea" (a cat; Stefan van der Walt, CC0),
    "coffee" (Rachel Michetti, CC0), "rocket" (a launch; SpaceX, public domain), "motorcycle" (the left view
    of a pair from the Middlebury stereo benchmark; Scharstein and others, 2014; no license stated), "hubble"
    (the eXtreme Deep Field; NASA, public domain), "retina" (the back of an eye; Mikael Häggström, CC0) and
    "tissue" (a stained section of a colon; CMMI, no known restrictions). In black and white: "camera" (a man
    with a camera; Lav Varshney, CC0), "coins" (Brooklyn Museum, no known restrictions), "moon" (no license
    stated), "clock" (moved during the exposure; Stefan van der Walt, public domain) and the textures "brick",
    "grass" and "gravel" (CC0). Sources and licenses are those that scikit-image's documentation of its data
    states.

    Parameters ---------- names : str or sequence of str, optional Which ones, in this order; all by default.
    gray : bool The photographs that were taken in black and white in place of those in color. max_side : int,
    optional Larger photographs are made smaller until their longer side is this long, each pixel an average
    of those it covers (Lanczos' filter); smaller ones stay as they are.

    Returns
    -------
    dict of str to Tensor
        (3, H, W) float32 sRGB in [0, 1], each at its own size; (1, H, W) with `gray`.

    An unknown name or another value of an argument raises TypeError or ValueError.

    >>> photos("coffee", max_side=60)["coffee"].shape
    torch.Size([3, 40, 60])
    """
    files, mode = (GRAY, "L") if flag(gray, "gray") else (COLOR, "RGB")
    names = choices(list(files) if names is None else names, "names", files)
    max_side = None if max_side is None else whole(max_side, "max_side", 1)
    return {name: _read(files[name], mode, max_side) for name in names}


def _read(file: str, mode: str, max_side: int | None) -> Tensor:
    # Not skimage.data.coffee() and so on: those look a missing file up on the network.
    with Image.open(Path(skimage.data.__file__).parent / file) as image:
        image = image.convert(mode)
    if max_side is not None and max(image.size) > max_side:
        scale = max_side / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image)).float() / 255
    return pixels[None] if mode == "L" else pixels.permute(2, 0, 1).contiguous()
