#!/usr/bin/env bash
# One would guess: a TIFF file of unsigned 32-bit gray is read with its values, or refused.
# What happens: Pillow has only a signed mode of 32 bits and puts the bits into it. The lighter half of the picture
# becomes negative; scaled and clipped to 8 bits, white is black.
# Who meets it: sums of exposures, and label maps and results of science that were saved as uint32.
# Seen with Pillow 13.0.0; files by tifffile 2026.3.3, which reads them well.
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

values = np.array([[0, 1 << 30, (1 << 31) - 1, 1 << 31, 3 << 30, (1 << 32) - 1]], dtype=np.uint32)
tifffile.imwrite("a.tif", values, photometric="minisblack")
image = Image.open("a.tif")
got = np.asarray(image)
print("Pillow", PIL.__version__)
print("stored:  ", tifffile.imread("a.tif").tolist())
print("Pillow's:", got.tolist(), "mode", image.mode, got.dtype)
print("as 8 bits:", np.clip(got / (2**32 - 1) * 255, 0, 255).round().astype(int).tolist())
assert np.array_equal(tifffile.imread("a.tif"), values)
assert got.dtype == np.int32 and np.array_equal(got.view(np.uint32), values), "the behavior has changed"
assert (got[values >= 1 << 31] < 0).all(), "the behavior has changed"
EOF
