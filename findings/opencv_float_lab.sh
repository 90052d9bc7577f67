#!/usr/bin/env bash
# One would guess: OpenCV's Lab of a float picture has the precision of floats; 8 bits are for 8-bit pictures.
# What happens: the float conversion uses a table too. Lightness is off by up to 0.2 and a and b by up to 0.5 CIE units,
# and pure grays get chroma: of an exactly gray picture a and b are not 0.
# Who meets it: whoever measures color differences below 1, or tests "is it gray" by chroma == 0.
# Seen with opencv-python-headless 5.0.0.93.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
venv/bin/python - <<'EOF'
import cv2
import numpy as np


def lab(rgb):
    """CIE 15 and IEC 61966-2-1, in double precision, with the matrix and white that OpenCV documents."""
    rgb = rgb.astype(float)
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    xyz = light @ np.array(to_xyz).T / (0.950456, 1, 1.088754)
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * 841 / 108 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


print("OpenCV", cv2.__version__)
colors = np.random.default_rng(0).random((200, 200, 3)).astype(np.float32)
grays = np.repeat(np.linspace(0, 1, 4096, dtype=np.float32)[None, :, None], 3, axis=2)
off = np.abs(cv2.cvtColor(colors, cv2.COLOR_RGB2LAB) - lab(colors)).max((0, 1))
tint = np.abs(cv2.cvtColor(grays, cv2.COLOR_RGB2LAB)[..., 1:]).max()
print("random colors: L, a, b are off by up to", off.round(3).tolist())
print("grays: a or b of up to", float(tint), "- by the formulas up to", np.abs(lab(grays)[..., 1:]).max().round(4))
assert off[0] > 0.1 and off[1:].max() > 0.3 and tint > 0.05, "the behavior has changed"
EOF
