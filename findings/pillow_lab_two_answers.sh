#!/usr/bin/env bash
# One would guess: numpy.asarray(image) and image.getpixel(...) give the same numbers.
# What happens: for mode LAB they don't. Pillow stores a and b as signed bytes; numpy sees them as unsigned (neutral is
# 0, and -10 is 246), getpixel adds 128 (neutral is 128). Code that takes one for the other has wrong colors everywhere,
# and for a picture without color it still looks well.
# Who meets it: whoever makes Lab pictures by ImageCms, or reads Lab TIFF files.
# Seen with Pillow 13.0.0.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'EOF'
import numpy as np
import PIL
from PIL import Image, ImageCms

print("Pillow", PIL.__version__)
srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
for color in ((120, 120, 120), (100, 150, 100), (200, 60, 50)):
    image = ImageCms.profileToProfile(Image.new("RGB", (1, 1), color), srgb, lab, outputMode="LAB")
    array, pixel = np.asarray(image)[0, 0].tolist(), list(image.getpixel((0, 0)))
    print(f"{color}: numpy {array}, getpixel {pixel}")
    assert array[0] == pixel[0] and array != pixel, "the behavior has changed"
    assert [(value + 128) % 256 for value in array[1:]] == pixel[1:], "the behavior has changed"
EOF
