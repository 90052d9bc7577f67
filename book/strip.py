"""Make the strip of colorings that the README and the front page show (`make strip`).

Photographs that come with scikit-image, gray above and colored below by the weights that come with the
library. The file is committed, so that GitHub can show it. A test fails where the weights have changed since.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import colorlib
from colorlib import color, data

STRIP = Path(__file__).resolve().parent / "_static" / "colorings.jpg"
NAMES = ["chelsea", "coffee", "astronaut", "rocket"]  # in the public domain or CC0, so they may lie here
ALT = "A cat, a cup of coffee, an astronaut and a rocket: each in gray, and below it colored by the network"
SIDE, GAP = 240, 4  # pixels


def strip(**knobs) -> Tensor:
    """Give RGB in [0, 1], (3, H, W): of each photograph the middle square."""
    model = colorlib.load("photographs", device="cpu")
    line = torch.ones(3, 2 * SIDE + GAP, GAP)
    parts = []
    for photo in data.photos(NAMES).values():
        side = min(photo.shape[1:])
        top, left = ((length - side) // 2 for length in photo.shape[1:])
        square = F.interpolate(
            photo[None, :, top : top + side, left : left + side],
            (SIDE, SIDE),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        ).clamp(0, 1)
        gray = color.rgb_to_gray(square)
        colored = model.colorize(gray, **knobs)[0, 0]
        parts += [torch.cat([gray[0].expand(3, -1, -1), torch.ones(3, GAP, SIDE), colored], 1), line]
    return torch.cat(parts[:-1], 2)


def write(file) -> None:
    """Write the strip as a JPEG, to a path or a binary file."""
    pixels = (strip() * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=85, optimize=True)


def main() -> None:
    write(STRIP)
    print(f"wrote {STRIP}")


if __name__ == "__main__":
    sys.exit(main())
