#!/usr/bin/env bash
# One would guess: the one transparent gray of a PNG file (its tRNS chunk) is transparent after convert("RGBA").
# What happens: for gray of 2 and 4 bits Pillow scales the pixels to 0..255 and leaves the transparent value as it is
# stored, 0..3 or 0..15. The transparent pixels become opaque; at 8 bits all is well.
# Who meets it: scanned line art, maps and icons that an optimizer has packed into fewer bits.
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


def png(depth, row, key):
    bits = "".join(f"{value:0{depth}b}" for value in row).ljust(8 * -(-depth * len(row) // 8), "0")
    pixels = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    head = chunk(b"IHDR", struct.pack(">2I5B", len(row), 1, depth, 0, 0, 0, 0))
    parts = [head, chunk(b"tRNS", struct.pack(">H", key)), chunk(b"IDAT", zlib.compress(pixels))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


print("Pillow", PIL.__version__)
for depth, row, key, well in ((2, [0, 1, 2, 3], 2, False), (4, [0, 5, 10, 15], 10, False), (8, [0, 5, 10, 15], 10, True)):
    image = Image.open(io.BytesIO(png(depth, row, key)))
    alpha = list(image.convert("RGBA").getchannel("A").tobytes())
    right = [0 if value == key else 255 for value in row]
    print(f"{depth} bits {row}, {key} is transparent: alpha {alpha}, right is {right}")
    assert (alpha == right) == well, "the behavior has changed"
EOF
