#!/usr/bin/env bash
# One would guess: a TIFF file of 16 bits whose red, green and blue lie in planes is read like one whose lie side by side.
# What happens: where the planes are not compressed, Pillow reads their bytes as numbers of 8 bits each. The picture is
# twice too wide, cut, and striped by the lower bytes; there is no error. Compressed planes are right.
# Who meets it: readers of scans and of scientific cameras, whose programs write such planes.
# Seen with Pillow 13.0.0; the file is written by tifffile 2026.3.3, whose own reader gives the numbers back.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
venv/bin/python - <<'EOF'
import io

import numpy as np
import PIL
import tifffile
from PIL import Image

print("Pillow", PIL.__version__, "tifffile", tifffile.__version__)
values = np.full((3, 2, 6), 0x80FF, np.uint16)
for compression, well in ((None, False), ("zlib", True)):
    stream = io.BytesIO()
    how = {"planarconfig": "separate", "photometric": "rgb", "metadata": None}
    tifffile.imwrite(stream, values, compression=compression, **how)
    assert np.array_equal(tifffile.imread(io.BytesIO(stream.getvalue())), values)
    red = np.asarray(Image.open(io.BytesIO(stream.getvalue())))[0, :, 0].tolist()
    print(f"planes, compression {compression}: red {red}, right is {[0x80] * 6}")
    assert (red == [0x80] * 6) == well, "the behavior has changed"
EOF
