#!/usr/bin/env bash
# One would guess: after image.seek(1), image.info describes the second page of a TIFF file.
# What happens: entries of the page before stay where the new page has none of its own. A second page without a color
# profile comes with the first one's: converting "by the page's profile" changes colors that need no change.
# Who meets it: files that hold a photograph with its profile and then, say, the plain scan of its back.
# Seen with Pillow 13.0.0; file by tifffile 2026.3.3. The page's own tag, image.tag_v2.get(34675), is right.
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
from PIL import Image, ImageCms

profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
page = np.full((4, 6, 3), 90, np.uint8)
with tifffile.TiffWriter("a.tif") as file:
    file.write(page, photometric="rgb", iccprofile=profile, contiguous=False)
    file.write(page, photometric="rgb", contiguous=False)
with tifffile.TiffFile("a.tif") as file:
    there = [34675 in one.tags for one in file.pages]
walked = Image.open("a.tif")
walked.seek(1)
print("Pillow", PIL.__version__)
print("profile stored on page 1, page 2:", there)
print("page 2's info has a profile of", len(walked.info.get("icc_profile", b"")), "bytes")
print("page 2's own tag:", walked.tag_v2.get(34675))
assert there == [True, False] and walked.tag_v2.get(34675) is None
assert walked.info.get("icc_profile") == profile, "the behavior has changed"
EOF
