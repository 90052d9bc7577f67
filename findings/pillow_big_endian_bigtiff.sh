#!/usr/bin/env bash
# One would guess: a program that reads BigTIFF and reads both byte orders of TIFF reads BigTIFF in both byte orders.
# What happens: Pillow takes the version number from the third byte of the file, where it stands in the little order
# only. A big-endian BigTIFF is "not identified", though its first bytes are on Pillow's list.
# Who meets it: large scans and slides written by other programs.
# Seen with Pillow 13.0.0; files by tifffile 2026.3.3, which reads both.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
venv/bin/python - <<'EOF'
import numpy as np
import PIL
import tifffile
from PIL import Image, UnidentifiedImageError

print("Pillow", PIL.__version__)
pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
seen = {}
for order, name in (("<", "little"), (">", "big")):
    for big in (False, True):
        path = f"{name}-{big}.tif"
        tifffile.imwrite(path, pixels, photometric="minisblack", bigtiff=big, byteorder=order)
        assert np.array_equal(tifffile.imread(path), pixels)
        try:
            with Image.open(path) as image:
                seen[order, big] = np.array_equal(np.asarray(image), pixels)
            said = "read"
        except UnidentifiedImageError as error:
            seen[order, big], said = None, str(error)
        print(f"{name} end first, {'BigTIFF' if big else 'TIFF'}: {said}")
assert seen["<", False] and seen["<", True] and seen[">", False], "a kind that was read has changed"
assert seen[">", True] is None, "the behavior has changed"
EOF
