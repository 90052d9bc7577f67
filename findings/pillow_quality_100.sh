#!/usr/bin/env bash
# One would guess: quality=100 keeps the colors of neighboring pixels, all but rounding.
# What happens: JPEG and AVIF files by Pillow store chroma at half the size whatever the quality. Red and blue lines of
# one pixel become one purple; subsampling=0 (AVIF: "4:4:4") keeps them.
# Who meets it: whoever saves colored pictures or training data "at the best quality" and judges color at edges.
# Seen with Pillow 13.0.0, libjpeg-turbo 3.2.0 and libavif 1.4.2.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
venv/bin/python - <<'EOF'
import io

import numpy as np
import PIL
from PIL import Image, features

print("Pillow", PIL.__version__, "libjpeg-turbo", features.version("libjpeg_turbo"), "libavif", features.version("avif"))
lines = np.zeros((32, 32, 3), np.uint8)
lines[:, ::2], lines[:, 1::2] = (255, 0, 0), (0, 0, 255)
for form, best in (("JPEG", 0), ("AVIF", "4:4:4")):
    off = {}
    for name, options in (("quality=100", {}), (f"and subsampling={best!r}", {"subsampling": best})):
        file = io.BytesIO()
        Image.fromarray(lines).save(file, form, quality=100, **options)
        got = np.asarray(Image.open(file)).astype(int)
        off[name] = int(np.abs(got - lines).max())
        print(f"{form}, {name}: red is {got[8, 8].tolist()}, blue {got[8, 9].tolist()}; off by {off[name]}")
    assert off["quality=100"] > 100 and off[f"and subsampling={best!r}"] < 5, "the behavior has changed"
EOF
