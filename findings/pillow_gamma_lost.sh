#!/usr/bin/env bash
# One would guess: opening a PNG file and saving it again keeps how it looks.
# What happens: Pillow reads a gAMA chunk into image.info["gamma"], applies it nowhere and does not write it. The numbers
# are the same, and their meaning is gone: a linear picture (gamma 1.0) gets much darker in a browser. An ICC profile, by
# contrast, is kept.
# Who meets it: linear renders and old scans, converted, cropped or numbered by a script.
# Seen with Pillow 13.0.0; the file is written here by the PNG specification.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
venv/bin/python - <<'EOF'
import io
import struct
import zlib

import PIL
from PIL import Image


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


head = chunk(b"IHDR", struct.pack(">2I5B", 3, 1, 8, 0, 0, 0, 0))
pixels = chunk(b"IDAT", zlib.compress(b"\0" + bytes([0, 55, 255])))
linear = chunk(b"gAMA", struct.pack(">I", 100000))
data = b"\x89PNG\r\n\x1a\n" + head + linear + pixels + chunk(b"IEND", b"")
image = Image.open(io.BytesIO(data))
color, again = image.convert("RGB"), io.BytesIO()
image.save(again, "PNG")
copy = Image.open(again)
light = (55 / 255) ** 1.0
shown = round(255 * (1.055 * light ** (1 / 2.4) - 0.055))
print("Pillow", PIL.__version__)
print("said by the file:", image.info, "- 55 has to be shown as", shown)
print("converted to RGB:", color.getpixel((1, 0)))
print("saved again:", copy.getpixel((1, 0)), copy.info, "- shown as 55")
assert image.info.get("gamma") == 1.0 and color.getpixel((1, 0)) == (55, 55, 55), "the behavior has changed"
assert copy.getpixel((1, 0)) == 55 and b"gAMA" not in again.getvalue(), "the behavior has changed"
EOF
