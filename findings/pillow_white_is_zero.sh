#!/usr/bin/env bash
# One would guess: a TIFF file that stores white as 0 looks the same at 8 bits and at 16.
# What happens: Pillow turns 8 bits around, and hands out 16 bits and floats as they are stored: a negative, without a
# word. Code that scales 16 bits to 8 shows black for white in half of its files.
# Who meets it: scans by medical and microfilm scanners, which often store white as 0.
# Seen with Pillow 13.0.0; files by tifffile 2026.3.3.
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

print("Pillow", PIL.__version__)
light = np.array([[0, 1 / 3, 2 / 3, 1]])  # black to white, as a viewer has to show it
shown = {}
for kind, white in ((np.uint8, 255), (np.uint16, 65535), (np.float32, 1)):
    tifffile.imwrite("a.tif", ((1 - light) * white).astype(kind), photometric="miniswhite")
    image = Image.open("a.tif")
    shown[kind] = np.asarray(image) / white
    print(f"{np.dtype(kind)}, mode {image.mode}:", shown[kind].round(3).tolist())
assert np.allclose(shown[np.uint8], light), "8 bits have changed"
assert np.allclose(shown[np.uint16], 1 - light), "the behavior has changed for 16 bits"
assert np.allclose(shown[np.float32], 1 - light, atol=1e-6), "the behavior has changed for floats"
EOF
