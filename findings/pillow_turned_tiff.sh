#!/usr/bin/env bash
# One would guess: Image.open gives the same pixels for a path and for an open file.
# What happens: of an uncompressed gray TIFF with orientation 6 (5 to 8 all turn by a quarter) the pixels are turned
# for an open file. For a path they are mapped from the disk: the size comes out unturned, width and height are not
# those that were stated at first, and the orientation entry is gone, so that nothing tells how to mend it.
# Who meets it: scans of upright pages, read by name in one place and from a zip file in another.
# Seen with Pillow 13.0.0, made and checked with tifffile 2026.3.3.
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
from PIL import Image

stored = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
tifffile.imwrite("a.tif", stored, photometric="minisblack", extratags=[(274, "H", 1, 6, True)])
right = np.rot90(stored, -1)  # orientation 6: the first row is at the right
named = Image.open("a.tif")
stated = named.size
with open("a.tif", "rb") as file:
    opened = np.asarray(Image.open(file))
got = np.asarray(named)
print("Pillow", PIL.__version__)
print("right:      ", right.shape, "first row", right[0])
print("open file:  ", opened.shape, "first row", opened[0])
print("by its name:", got.shape, "first row", got[0], "- stated size", stated, "then", named.size)
print("orientation left to mend it with:", named.getexif().get(274))
assert np.array_equal(opened, right), "the open file's pixels have changed"
assert not np.array_equal(got, right) and stated != named.size, "the behavior has changed"
assert named.getexif().get(274) is None
EOF
