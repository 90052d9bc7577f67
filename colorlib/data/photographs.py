"""The photographs whose files come inside the scikit-image package: nothing is downloaded."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from colorlib._check import choices, flag, whole

COLOR = {
    "astronaut": "astronaut.png", "chelsea": "chelsea.png", "coffee": "coffee.png", "rocket": "rocket.jpg",
    "motorcycle": "motorcycle_left.png", "hubble": "hubble_deep_field.jpg", "retina": "retina.jpg",
    "tissue": "ihc.png",
}  # fmt: skip
GRAY = {name: f"{name}.png" for name in ("camera", "coins", "moon", "clock", "brick", "grass", "gravel")}
GRAY["clock"] = "clock_motion.png"


def photos(
    names: str | Iterable[str] | None = None, gray: bool = False, max_side: int | None = None
) -> dict[str, Tensor]:
    """The photographs that come inside scikit-image, in a fixed order. Files are read, none is downloaded.

    In color: "astronaut" (Eileen Collins; NASA, public domain), "chelsea" (a cat; Stefan van der Walt, CC0),
    "coffee" (Rachel Michetti, CC0), "rocket" (a launch; SpaceX, public domain), "motorcycle" (the left view
    of a pair from the Middlebury stereo benchmark; Scharstein and others, 2014; no license stated), "hubble"
    (the eXtreme Deep Field; NASA, public domain), "retina" (the back of an eye; Mikael Häggström, CC0) and
    "tissue" (a stained section of a colon; CMMI, no known restrictions). In black and white, with `gray`:
    "camera" (a man with a camera; Lav Varshney, CC0), "coins" (Brooklyn Museum, no known restrictions),
    "moon" (no license stated), "clock" (moved during the exposure; Stefan van der Walt, public domain) and
    the textures "brick", "grass" and "gravel" (CC0). Sources and licenses are those that scikit-image's
    documentation of its data states.

    Each is (3, H, W) float32 sRGB in [0, 1] at its own size, or (1, H, W) with `gray`. `names` are those
    wanted, in this order; all by default. Photographs whose longer side is above `max_side` are made smaller
    until it is that long, each pixel an average of those it covers (Lanczos' filter). An unknown name or
    another value of an argument raises TypeError or ValueError.

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
