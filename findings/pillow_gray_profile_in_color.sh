#!/usr/bin/env bash
# One would guess: image.convert("RGB") of a gray picture gives a color picture that other programs can show.
# What happens: the gray picture's profile stays in image.info, and save() writes it into the color file (PNG, TIFF). A
# profile for gray does not fit RGB; the PNG specification forbids it, and color-managed programs refuse or ignore it.
# Who meets it: everybody who makes "L" pictures to "RGB" before a network sees them, and saves them again.
# Seen with Pillow 13.0.0. Till it changes: del image.info["icc_profile"], after converting by it.
set -euo pipefail
unset PYTHONPATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
venv/bin/python - <<'EOF'
import io
import struct

import PIL
from PIL import Image, ImageCms


def gray_profile(gamma):
    """A gray profile of version 2, by ICC.1:2001-04; gamma 1.0 as a curve without entries."""
    entries = [] if gamma == 1 else [round(gamma * 256)]
    white = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in (0.9642, 1, 0.8249)))
    curve = b"curv" + struct.pack(f">2I{len(entries)}H", 0, len(entries), *entries)
    name = b"desc" + struct.pack(">2I", 0, 5) + b"gray\0" + bytes(78)
    tags = {b"desc": name, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": white, b"kTRC": curve}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += struct.pack(">4s2I", tag, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s12s4s", place + len(body), 0x02000000, b"mntr", b"GRAY", b"XYZ ", bytes(12), b"acsp")
    head += bytes(28) + white[8:] + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


print("Pillow", PIL.__version__)
gray = io.BytesIO()
Image.new("L", (4, 4), 90).save(gray, "PNG", icc_profile=gray_profile(1.8))
ImageCms.ImageCmsProfile(io.BytesIO(gray_profile(1.8)))  # the profile itself is a good one
for form in ("PNG", "TIFF"):
    color = io.BytesIO()
    Image.open(gray).convert("RGB").save(color, form)
    image = Image.open(color)
    space = image.info.get("icc_profile", b"")[16:20].decode() or "none"
    print(f"{form}: mode {image.mode}, a profile for: {space}")
    try:
        ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"])), ImageCms.createProfile("sRGB"))
        said = "converted"
    except ImageCms.PyCMSError as error:
        said = str(error)
    print("  Pillow's own color management on it:", said)
    assert image.mode == "RGB" and space == "GRAY" and said != "converted", "the behavior has changed"
EOF
