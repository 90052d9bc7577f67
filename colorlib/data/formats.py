"""What some formats say of their numbers, and Pillow passes over or takes otherwise."""

import re
import struct

import numpy as np
from PIL import Image

from .profiles import built


def note_colors(image: Image.Image, head: bytes, file) -> None:
    """Put what Pillow leaves out of a file's words on color into the image's notes."""
    boxes = rb"colrnclx\0(.)\0(.)"
    pattern = {"PNG": rb"\0\0\0\x04cICP(.)(.)", "AVIF": boxes, "HEIF": boxes}.get(image.format)
    if pattern and (found := re.search(pattern, head.partition(b"IDAT")[0], re.DOTALL)):
        image.info["cicp"] = found[1][0], found[2][0]
    if image.format == "JPEG2000" and (found := re.search(rb"(....)colr\x02..", head, re.DOTALL)):
        start = found.end()
        image.info["icc_profile"] = head[start : start + struct.unpack(">I", found[1])[0] - 11]
    if image.format == "BMP" and len(head) >= 122 and struct.unpack_from("<I", head, 14)[0] >= 108:
        _note_bmp(image, head, file)
    if image.format == "PSD" and image.mode == "RGBA":
        image.selection = not _psd_is_clear(file)


def _note_bmp(image: Image.Image, head: bytes, file) -> None:
    """The profile, or primaries and gammas, of a header of version 4 or 5 (Microsoft, BITMAPV5HEADER)."""
    if head[70:74] == b"DEBM" and len(head) >= 138:  # PROFILE_EMBEDDED, from right to left
        start, length = struct.unpack_from("<II", head, 126)
        place = file.tell()
        file.seek(14 + start)
        image.info["icc_profile"] = file.read(length) or None
        file.seek(place)
    elif head[70:74] == bytes(4):  # LCS_CALIBRATED_RGB
        ends = np.array(struct.unpack_from("<9i", head, 74)).reshape(3, 3) / 2**30
        gammas = np.array(struct.unpack_from("<3I", head, 110)) / 2**16
        if gammas.min() > 0 and np.abs(np.linalg.det(ends)) > 1e-6 and ends.sum(1).min() > 0:
            points = [point[:2] / point.sum() for point in (ends.sum(0), *ends)]
            steps = np.linspace(0, 1, 4096)
            image.info["icc_profile"] = built(np.stack([steps**gamma for gamma in gammas]), points)


def mended(image: Image.Image, head: bytes) -> Image.Image:
    """A loaded image with the numbers and the transparency that its file means."""
    if image.format == "JPEG2000":
        return _jpeg2000(image, head)
    if image.format == "PSD" and image.mode == "1":
        return image.point(lambda value: 255 - value)  # in a bitmap 1 is black
    if getattr(image, "selection", False):
        return image.convert("RGB")  # the fourth channel is one that was saved, and hides nothing
    if image.format in ("TGA", "BMP", "DIB") and image.mode in ("RGBA", "LA"):
        low, high = image.getchannel("A").getextrema()
        unused = image.format == "TGA" and len(head) > 17 and (head[17] & 15) == 0
        if unused or low == high == 0:  # nobody stores a picture of which nothing is to be seen
            return image.convert(image.mode[:-1])
    return image


def _psd_is_clear(file) -> bool:
    """Whether a PSD file's fourth channel is its transparency: then it counts its layers below zero."""
    before = file.tell()
    file.seek(26)
    for _ in range(2):  # the palette, the resources
        file.seek(int.from_bytes(file.read(4), "big"), 1)
    section, layers = (int.from_bytes(file.read(4), "big") for _ in range(2))
    count = int.from_bytes(file.read(2), "big", signed=True)
    file.seek(before)
    return section > 0 and layers > 0 and count < 0


def _jpeg2000(image: Image.Image, head: bytes) -> Image.Image:
    """Numbers of any depth and sign brought to all of 8 bits, or of 16 where it is gray of more than 8."""
    found = re.search(rb"\xff\x4f\xff\x51.{36}(..)(.)", head, re.DOTALL)  # SOC and SIZ, ISO/IEC 15444-1, A.5
    if not found:
        return image
    bits, signed = (found[2][0] & 127) + 1, found[2][0] > 127
    wide = image.mode[0] == "I"
    if bits > 8 and image.mode == "RGB":
        # Pillow rounds to 8 bits and cuts off the ninth: the brightest numbers become 0.
        if any(low == 0 for low, _ in image.getextrema()):
            raise SyntaxError(
                f"it is JPEG 2000 with color of {bits} bits, of which Pillow makes white black; "
                "save it as TIFF or PNG"
            )
        return image.point(lambda value: int(value * 2 ** (bits - 8) * 255 / (2**bits - 1) + 0.5))
    if bits < 8 or (signed and image.mode in ("L", "RGB", "I;16")):
        full = 16 if wide else 8
        top = 2 ** max(bits, full) - 1 if bits >= full else (2**bits - 1) << (full - bits)
        values = np.asarray(image).astype(np.float32)
        values = (2 * values - (2**full)).clip(0) if signed else values
        top = 2 * top - 2**full if signed else top
        values = values.clip(0, top) * ((2**full - 1) / top) + 0.5
        return Image.fromarray(values.astype(np.uint16 if wide else np.uint8))
    return image
