#!/usr/bin/env bash
# One would guess: color of 12 or 16 bits in JPEG 2000 comes out of Pillow as the nearest color of 8 bits.
# What happens: it is rounded to the nearest of 256 steps of 8 bits, the topmost of which is 256, and that is stored as
# 0: white comes out black, with no word. Gray of the same depths is right, for it keeps its 16 bits.
# Who meets it: readers of archives and film scanners, which keep their masters in JPEG 2000 of more than 8 bits.
# Seen with Pillow 13.0.0; the file is written by imagecodecs 2026.3.6, whose own reader gives 4095 back.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6 numpy==2.4.6
venv/bin/python - <<'EOF'
import io

import imagecodecs
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__, "imagecodecs", imagecodecs.__version__)
how = {"level": 0, "codecformat": "jp2", "reversible": True, "bitspersample": 12}
for value, seen in ((4095, 0), (4088, 0), (4087, 255), (2048, 128), (0, 0)):
    held = imagecodecs.jpeg2k_encode(np.full((8, 8, 3), value, np.uint16), **how)
    assert imagecodecs.jpeg2k_decode(held).max() == value
    got = np.asarray(Image.open(io.BytesIO(held)))[0, 0].tolist()
    print(f"{value} of 4095: Pillow gives {got}, right is {round(value * 255 / 4095)}")
    assert got == [seen] * 3, "the behavior has changed"
EOF
