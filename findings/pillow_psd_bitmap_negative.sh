#!/usr/bin/env bash
# One would guess: a PSD file in bitmap mode comes out of Pillow with its black black.
# What happens: in such a file 1 is black; Pillow takes 1 as white, and the page is a negative.
# Who meets it: readers of scanned pages and line art kept in PSD.
# Seen with Pillow 13.0.0; the file is written here by Adobe's specification of the format (bitmap: 1 bit, 1 is black).
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

import PIL
from PIL import Image

print("Pillow", PIL.__version__)
head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, 1, 8, 1, 0)  # 1 channel, 1 x 8 pixels, 1 bit, bitmap
held = head + struct.pack(">IIIH", 0, 0, 0, 0) + bytes([0b10000000])
row = list(Image.open(io.BytesIO(held)).convert("L").tobytes())
print(f"one black pixel, seven white: Pillow gives {row}, right is {[0] + [255] * 7}")
assert row == [255] + [0] * 7, "the behavior has changed"
EOF
