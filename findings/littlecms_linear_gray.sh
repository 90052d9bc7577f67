#!/usr/bin/env bash
# One would guess: color management gives the nearest of 256 levels, an error of at most half a level.
# What happens: for 8-bit gray of a linear profile (gamma 1.0) LittleCMS replaces its curves by a coarse table unless
# told not to. The darkest grays come out up to 10 levels wrong.
# Who meets it: renders and scans in linear gray: their shadows change.
# Seen with Pillow 13.0.0, which has LittleCMS 2.19. With Flags.NOOPTIMIZE the error is half a level.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'EOF'
import io
import struct

import numpy as np
import PIL
from PIL import Image, ImageCms, features


def gray_profile(gamma):
    """A gray profile of version 2, by ICC.1:2001-04; gamma 1.0 as a curve without entries."""
    entries = [] if gamma == 1 else [round(gamma * 256)]
    white = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    curve = b"curv" + struct.pack(f">2I{len(entries)}H", 0, len(entries), *entries)
    name = b"desc" + struct.pack(">2I", 0, 5) + b"gray\0" + bytes(78)
    tags = {b"desc": name, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": white, b"kTRC": curve}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += struct.pack(">4s2I", tag, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s12s4s", place + len(body), 0x02000000, b"mntr", b"GRAY", b"XYZ ", bytes(12), b"acsp")
    head += bytes(28) + white[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


print("Pillow", PIL.__version__, "LittleCMS", features.version("littlecms2"))
linear = ImageCms.ImageCmsProfile(io.BytesIO(gray_profile(1.0)))
srgb = ImageCms.createProfile("sRGB")
levels = np.arange(256)
light = levels / 255
right = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
picture = Image.fromarray(levels.astype(np.uint8)[None])
worst = {}
for name, flags in (("as it is", ImageCms.Flags.NONE), ("not optimized", ImageCms.Flags.NOOPTIMIZE)):
    transform = ImageCms.buildTransform(linear, srgb, "L", "RGB", flags=flags)
    got = np.asarray(ImageCms.applyTransform(picture, transform))[0, :, 0]
    worst[name] = np.abs(got - right).max()
    print(f"{name}: off by up to {worst[name]:.2f} levels; 0 to 5 give {got[:6].tolist()}")
print("right:", right[:6].round(1).tolist())
assert worst["as it is"] > 5 and worst["not optimized"] < 0.6, "the behavior has changed"
EOF
