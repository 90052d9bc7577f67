"""A folder of some 200 kinds of files, good and bad, with what each good one must look like.

``python tests/hostile.py FOLDER`` makes it. The right lightness of a picture is computed here from the
definitions of formats and color spaces, or is the picture's own before it was saved; no reader is asked.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, features

# Flat squares of 8 by 8, which lossy formats keep; no two rows or columns of them are alike.
LEVELS = np.array([[0, 40, 90, 128], [160, 200, 230, 255]], dtype=np.uint8)
GRAY = np.kron(LEVELS, np.ones((8, 8), np.uint8))  # 16 high, 32 wide
COLORS = np.array([[[200, 60, 50], [40, 160, 80]], [[30, 60, 190], [230, 220, 120]]], dtype=np.uint8)
COLOR = np.kron(COLORS, np.ones((8, 8, 1), np.uint8))  # 16 by 16


class Case(NamedTuple):
    """A file: its content, and the lightness (CIE L) of each of its pages; None where it is a bad one."""

    content: bytes
    pages: list[np.ndarray] | None
    tolerance: float = 0.45  # a step of 8 bits is 0.4 at the most


def linear(values):
    values = np.asarray(values, float)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def lightness(srgb):
    """CIE L of sRGB in [0, 1], (H, W) or (H, W, 3)."""
    srgb = np.asarray(srgb, float)
    light = linear(srgb)
    y = light @ [0.2126, 0.7152, 0.0722] if srgb.ndim == 3 else light
    return np.where(y > 216 / 24389, 116 * np.cbrt(y) - 16, y * 24389 / 27)


def of(numbers):
    return lightness(np.asarray(numbers) / 255)


def saved(array, form, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(np.asarray(array))
    stream = io.BytesIO()
    (image.convert(mode) if mode else image).save(stream, form, **options)
    return stream.getvalue()


# Color profiles, by hand.

SPACES = {  # white, red, green, blue as xy; exponent of the curve
    "adobe": ([0.3127, 0.329], [0.64, 0.33], [0.21, 0.71], [0.15, 0.06], 563 / 256),
    "p3": ([0.3127, 0.329], [0.68, 0.32], [0.265, 0.69], [0.15, 0.06], 2.2),
    "prophoto": ([0.3457, 0.3585], [0.7347, 0.2653], [0.1596, 0.8404], [0.0366, 0.0001], 1.8),
    "rec2020": ([0.3127, 0.329], [0.708, 0.292], [0.17, 0.797], [0.131, 0.046], 2.4),
    "linear": ([0.3127, 0.329], [0.64, 0.33], [0.3, 0.6], [0.15, 0.06], 1.0),
}


def xyz(xy):
    return np.array([xy[0] / xy[1], 1.0, (1 - xy[0] - xy[1]) / xy[1]])


def matrix(white, *primaries):
    """From light in a space's own red, green and blue to XYZ under its own white."""
    columns = np.stack([xyz(p) for p in primaries], 1)
    return columns * np.linalg.solve(columns, xyz(white))


def adapted(source, target):
    """Bradford's adaptation of one white, xy, to another."""
    cone = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    gain = (cone @ xyz(target)) / (cone @ xyz(source))
    return np.linalg.inv(cone) @ np.diag(gain) @ cone


def to_srgb(numbers, space, exponent=None):
    """sRGB in [0, 1] of a space's numbers from 0 to 255."""
    white, *primaries, curve = SPACES[space]
    light = (np.asarray(numbers) / 255) ** (curve if exponent is None else exponent)
    light = light @ (adapted(white, [0.3127, 0.329]) @ matrix(white, *primaries)).T
    return encoded(light @ np.linalg.inv(matrix([0.3127, 0.329], [0.64, 0.33], [0.3, 0.6], [0.15, 0.06])).T)


def icc(curve, space=None, kind=None):
    """A profile with a curve, the bytes of its tag, of gray or of a space."""
    d50 = [0.3457, 0.3585]

    def numbers(values):
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    parts = {b"wtpt": numbers([0.9642, 1, 0.8249])}
    if space is None:
        parts[b"kTRC"] = curve
    else:
        white, *primaries, _ = SPACES[space]
        columns = adapted(white, d50) @ matrix(white, *primaries)
        for k, letter in enumerate((b"r", b"g", b"b")):
            parts[letter + b"XYZ"], parts[letter + b"TRC"] = numbers(columns[:, k]), curve
    at, table, body = 132 + 12 * len(parts), b"", b""
    for name, part in parts.items():
        table += name + struct.pack(">2I", at + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    kind = kind or (b"GRAY" if space is None else b"RGB ")
    head = struct.pack(">I4xI", at + len(body), 0x02200000) + b"mntr" + kind + b"XYZ " + bytes(12) + b"acsp"
    head += bytes(28) + numbers([0.9642, 1, 0.8249])[8:]
    return head + bytes(128 - len(head)) + struct.pack(">I", len(parts)) + table + body


def power(exponent):
    return b"curv" + struct.pack(">4xIH", 1, round(exponent * 256))


def table(function, count=256):
    values = [round(65535 * function(k / (count - 1))) for k in range(count)]
    return b"curv" + struct.pack(f">4xI{count}H", count, *values)


def para(*values):
    """The curve of IEC 61966-2.1's form: (g, a, b, c, d)."""
    return b"para" + struct.pack(">4xH2x5i", 3, *(round(value * 65536) for value in values))


# Files by hand.


def png(bits, kind, rows, *chunks, size=None, interlaced=False):
    """A PNG file of packed rows of bytes; chunks are pairs of name and content, put before the pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = size or (len(rows), 32)
    head = struct.pack(">2I5B", width, height, bits, kind, 0, 0, int(interlaced))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + b"".join(chunk(*one) for one in ((b"IHDR", head), *chunks))
        + pixels
        + chunk(b"IEND", b"")
    )


def packed(values, bits, order=">"):
    """Rows of whole numbers as bytes, `bits` each."""
    if bits >= 16:
        kind = "u" if values.dtype.kind in "ui" else "f"
        signed = values.dtype.kind == "i"
        return [row.astype(f"{order}{'i' if signed else kind}{bits // 8}").tobytes() for row in values]
    shifts = np.arange(bits, dtype=np.uint64)[::-1]
    ones = (values.astype(np.uint64)[..., None] >> shifts) & np.uint64(1)
    return [bytes(np.packbits(row.reshape(-1).astype(np.uint8))) for row in ones]


def tiff(*pages, order="<"):
    """A TIFF file of pages, each a pair of the tags, by number, and the packed rows."""
    out, last = bytearray({"<": b"II*\0", ">": b"MM\0*"}[order] + bytes(4)), 4
    for tags, rows in pages:
        strip, data = len(out), b"".join(rows)
        out += data + bytes(len(data) % 2)
        tags = {258: 8, 259: 1, 262: 1, 277: 1, 278: tags[257], 273: strip, 279: len(data), **tags}
        entries, extra = [], bytearray()
        at = len(out) + 2 + 12 * len(tags) + 4
        for tag, value in sorted(tags.items()):
            if isinstance(value, list) and isinstance(value[0], float):
                content, code, count = b"", 5, len(value)
                for number in value:
                    content += struct.pack(order + "2I", round(number * 10000), 10000)
            else:
                value = value if isinstance(value, list) else [value]
                code, count = (4, len(value)) if tag in (256, 257, 273, 278, 279) else (3, len(value))
                content = struct.pack(f"{order}{count}{'I' if code == 4 else 'H'}", *value)
            if len(content) > 4:
                content, offset = content + bytes(len(content) % 2), at + len(extra)
                extra += content
                content = struct.pack(order + "I", offset)
            entries.append(struct.pack(order + "2HI", tag, code, count) + content.ljust(4, b"\0"))
        struct.pack_into(order + "I", out, last, len(out))
        out += struct.pack(order + "H", len(tags)) + b"".join(entries)
        last = len(out)
        out += bytes(4) + extra
    return bytes(out)


def page(values, bits, order="<", **tags):
    height, width = values.shape[:2]
    tags = {int(name[1:]): value for name, value in tags.items()}
    return {256: width, 257: height, 258: bits, **tags}, packed(values, bits, order)


def turned(array, orientation):
    """The array that a file must hold for readers to see `array` with that EXIF orientation."""
    undo = [
        lambda a: a,
        np.fliplr,
        lambda a: np.rot90(a, 2),
        np.flipud,
        lambda a: a.T,
        np.rot90,
        lambda a: np.rot90(a, 2).T,
        lambda a: np.rot90(a, -1),
    ]
    return np.ascontiguousarray(undo[orientation - 1](array))


def exif(orientation):
    entries = Image.Exif()
    entries[0x0112] = orientation
    return entries


def cases() -> dict[str, Case]:
    """All the files of one kind each, by name."""
    out: dict[str, Case] = {}

    def good(name, content, *pages, tolerance=0.45):
        assert name not in out, name
        out[name] = Case(content, [np.asarray(one, float) for one in pages or (of(GRAY),)], tolerance)

    def bad(name, content):
        assert name not in out, name
        out[name] = Case(content, None)

    lossy = 1.0
    jpeg = saved(GRAY, "JPEG", quality=95)
    # Formats and modes as Pillow writes them.
    good("gray.jpg", jpeg, tolerance=lossy)
    good("rgb.jpg", saved(COLOR, "JPEG", quality=98, subsampling=0), of(COLOR), tolerance=lossy)
    good("progressive.jpg", saved(GRAY, "JPEG", quality=95, progressive=True), tolerance=lossy)
    good("optimized.jfif", saved(GRAY, "JPEG", "RGB", quality=95, optimize=True), tolerance=lossy)
    good("capitals.JPG", jpeg, tolerance=lossy)
    good("other ending.jpe", jpeg, tolerance=lossy)
    cmyk = np.stack([0 * GRAY] * 3 + [255 - GRAY], -1)  # black ink alone
    good("cmyk.jpg", saved(Image.fromarray(cmyk, "CMYK"), "JPEG", quality=98), tolerance=1.5)
    good("without its end.jpg", jpeg[:-2], tolerance=lossy)
    good("bytes after its end.jpg", jpeg + b"and more", tolerance=lossy)
    pair = io.BytesIO()
    Image.fromarray(GRAY).save(
        pair, "MPO", save_all=True, append_images=[Image.new("L", (32, 16))], quality=95
    )
    good("two of a stereo camera.mpo", pair.getvalue(), tolerance=lossy)
    for kind, tolerance, endings in (
        ("PNG", 0.45, "png"),
        ("BMP", 0.45, "bmp"),
        ("TGA", 0.45, "tga"),
        ("PCX", 0.45, "pcx"),
        ("SGI", 0.45, "sgi"),
        ("PPM", 0.45, "ppm"),
        ("GIF", 0.45, "gif"),
        ("DDS", 0.45, "dds"),
        ("TIFF", 0.45, "tif"),
        ("JPEG2000", 0.45, "jp2"),
        ("WEBP", lossy, "webp"),
        ("AVIF", 1.5, "avif"),
    ):
        needs = {"JPEG2000": "jpg_2000", "WEBP": "webp", "AVIF": "avif"}.get(kind)
        if needs and not features.check(needs):
            continue
        options = {"quality": 98} if tolerance > 0.45 else {}
        good(f"gray as {kind}.{endings}", saved(GRAY, kind, "RGB", **options), tolerance=tolerance)
        if kind not in ("GIF", "PCX", "WEBP"):  # two lose colors, the third blurs them
            options = {"quality": 100, "subsampling": "4:4:4"} if kind == "AVIF" else {}
            good(
                f"color as {kind}.{endings}",
                saved(COLOR, kind, **options),
                of(COLOR),
                tolerance=tolerance + 0.3,
            )
    good("lossless.webp", saved(COLOR, "WEBP", lossless=True), of(COLOR))
    half = np.dstack([COLOR, np.full(COLOR.shape[:2], 102, np.uint8)])  # two fifths
    shown = COLOR * 0.4 + 255 * 0.6
    good("see-through.png", saved(half, "PNG"), of(shown), tolerance=0.6)
    good("see-through.webp", saved(half, "WEBP", lossless=True), of(shown), tolerance=0.6)
    good("see-through.tif", saved(half, "TIFF"), of(shown), tolerance=0.6)
    good("see-through.tga", saved(half, "TGA"), of(shown), tolerance=0.6)
    good(
        "gray see-through.png",
        saved(np.dstack([GRAY, GRAY]), "PNG"),
        of(GRAY * (GRAY / 255) + 255.0 - GRAY),
        tolerance=0.6,
    )
    icon = np.kron(LEVELS[:, :2], np.ones((8, 8), np.uint8))
    good("icon.ico", saved(Image.fromarray(icon).convert("RGB"), "ICO", sizes=[(16, 16)]), of(icon))
    palette = Image.fromarray(GRAY).convert("RGB").quantize(8)
    good("palette.png", saved(palette, "PNG"))
    good("palette.bmp", saved(palette, "BMP"))
    good("palette.tif", saved(palette, "TIFF"))
    inside = np.where(GRAY == 40, 255, GRAY)
    good(
        "gif with a hole.gif",
        saved(Image.fromarray(GRAY), "GIF", transparency=40, optimize=False),
        of(inside),
    )
    for kind in ("GIF", "PNG", "WEBP", "AVIF"):
        if kind == "AVIF" and not features.check("avif"):
            continue
        options = {"lossless": True} if kind == "WEBP" else {"quality": 98} if kind == "AVIF" else {}
        moving = saved(
            Image.fromarray(GRAY).convert("RGB"),
            kind,
            save_all=True,
            append_images=[Image.new("RGB", (32, 16))],
            **options,
        )
        good(f"moving.{kind.lower()}", moving, tolerance=1.5 if kind == "AVIF" else 0.45)
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate"):
        good(f"{compression}.tiff", saved(GRAY, "TIFF", compression=compression))
    good("tiff of jpeg.tif", saved(GRAY, "TIFF", compression="jpeg", quality=95), tolerance=lossy)
    bits = GRAY > 100
    good("one bit.png", saved(bits, "PNG"), of(bits * 255))
    good("fax.tif", saved(bits, "TIFF", compression="group4"), of(bits * 255))
    good("one bit.bmp", saved(bits, "BMP"), of(bits * 255))
    good("cmyk.tif", saved(Image.fromarray(cmyk, "CMYK"), "TIFF"))
    # PNG: depths, keys, words on color.
    for depth in (1, 2, 4):
        values = GRAY // (255 // (2**depth - 1))
        good(
            f"gray of {depth} bits.png",
            png(depth, 0, packed(values, depth)),
            of(values * (255 // (2**depth - 1))),
        )
    sixteen = np.round(np.linspace(0, 65535, 512)).astype(int).reshape(16, 32)
    good("gray of 16 bits.png", png(16, 0, packed(sixteen, 16)), of(sixteen / 257))
    good(
        "color of 16 bits.png",
        png(16, 2, packed(np.stack([sixteen] * 3, -1).reshape(16, -1), 16)),
        of(sixteen / 257),
    )
    keyed = png(8, 0, packed(GRAY.astype(int), 8), (b"tRNS", struct.pack(">H", 90)))
    good("gray with a key.png", keyed, of(np.where(GRAY == 90, 255, GRAY)))
    keyed = png(4, 0, packed(GRAY // 17, 4), (b"tRNS", struct.pack(">H", 128 // 17)))
    sixteenths = GRAY // 17 * 17
    good("gray of 4 bits with a key.png", keyed, of(np.where(sixteenths == 128 // 17 * 17, 255, sixteenths)))
    rows = packed(GRAY.astype(int), 8)
    for name, exponent in (("linear", 1.0), ("1.4", 1.4), ("1.8", 1.8), ("2.2", 2.2), ("2.6", 2.6)):
        gama = (b"gAMA", struct.pack(">I", round(100000 / exponent)))
        right = lightness(encoded((GRAY / 255) ** exponent))
        good(f"gamma {name}.png", png(8, 0, rows, gama), right)
        good(f"profile of gamma {name}.png", saved(GRAY, "PNG", icc_profile=icc(power(exponent))), right)
        good(
            f"profile of gamma {name}.jpg",
            saved(GRAY, "JPEG", quality=98, icc_profile=icc(power(exponent))),
            right,
            tolerance=1.2,
        )
        good(f"profile of gamma {name}.tif", saved(GRAY, "TIFF", icc_profile=icc(power(exponent))), right)
    both = (b"gAMA", struct.pack(">I", 100000)), (b"sRGB", b"\0")
    good("sRGB beside a gamma.png", png(8, 0, rows, *both))
    profile = (b"iCCP", b"profile\0\0" + zlib.compress(icc(power(1.8))))
    good(
        "profile beside a gamma.png",
        png(8, 0, rows, profile, both[0]),
        lightness(encoded((GRAY / 255) ** 1.8)),
    )
    deep = png(16, 0, packed(sixteen, 16), profile)
    good("16 bits with a profile.png", deep, lightness(encoded((sixteen / 65535) ** 1.8)))
    colors = [bytes(row.reshape(-1)) for row in COLOR]
    for name, (white, *primaries, exponent) in SPACES.items():
        right = lightness(to_srgb(COLOR, name))
        chunks = (
            (b"gAMA", struct.pack(">I", round(100000 / exponent))),
            (
                b"cHRM",
                struct.pack(">8I", *(round(100000 * v) for point in (white, *primaries) for v in point)),
            ),
        )
        good(f"{name} by chunks.png", png(8, 2, colors, *chunks, size=(16, 16)), right, tolerance=0.6)
        profile = icc(power(exponent), name)
        for form, options in (
            ("PNG", {}),
            ("TIFF", {}),
            ("WEBP", {"lossless": True}),
            ("JPEG", {"quality": 100, "subsampling": 0}),
        ):
            content = saved(COLOR, form, icc_profile=profile, **options)
            good(f"{name} as {form}.{form.lower()}", content, right, tolerance=1.5 if form == "JPEG" else 0.6)
        good(
            f"gray in {name}.png",
            saved(GRAY, "PNG", icc_profile=profile),
            lightness(encoded((GRAY / 255) ** exponent)),
            tolerance=0.6,
        )
    good(
        "a table's curve.png",
        saved(GRAY, "PNG", icc_profile=icc(table(lambda x: x**1.5))),
        lightness(encoded((GRAY / 255) ** 1.5)),
    )
    standard = para(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    good("sRGB's own curve.png", saved(GRAY, "PNG", icc_profile=icc(standard)))
    for name, broken in (
        ("cut", icc(power(1.8))[:150]),
        ("of ink", icc(power(1.8), kind=b"CMYK")),
        ("no", b"this is no profile"),
        ("of color for gray", icc(power(1.8))),
    ):
        picture = COLOR if name == "of color for gray" else GRAY
        good(
            f"{name} profile.jpg",
            saved(picture, "JPEG", quality=100, subsampling=0, icc_profile=broken),
            of(picture),
            tolerance=1.2,
        )
    # How a picture is turned.
    for orientation in range(1, 9):
        held = turned(GRAY, orientation)
        good(
            f"turned {orientation}.jpg",
            saved(held, "JPEG", quality=95, exif=exif(orientation)),
            tolerance=lossy,
        )
        height, width = held.shape
        tags, content = page(held.astype(int), 8, t274=orientation)
        good(f"turned {orientation}.tif", tiff((tags, content)))
    good("turned.png", saved(turned(GRAY, 6), "PNG", exif=exif(6)))
    good("turned.webp", saved(turned(GRAY, 8), "WEBP", "RGB", lossless=True, exif=exif(8)))
    # TIFF: depth, sign, polarity, order of bytes, pages.
    ramp = np.tile(np.linspace(0, 1, 32), (16, 1))
    for order, named in (("<", "little"), (">", "big")):
        for depth in (1, 4, 8, 12, 16, 32):
            numbers = np.round(ramp * (2**depth - 1)).astype(np.uint64)
            right = of(numbers.astype(float) / (2.0**depth - 1) * 255)
            good(f"{depth} bits {named}.tif", tiff(page(numbers, depth, order), order=order), right)
            inverse = (np.uint64(2**depth - 1) - numbers).astype(np.uint64)
            good(
                f"{depth} bits {named}, white is 0.tif",
                tiff(page(inverse, depth, order, t262=0), order=order),
                right,
            )
    for depth in (16, 32):
        numbers = np.round(ramp * (2 ** (depth - 1) - 1)).astype(np.int64)
        numbers[0] = -5
        right = of(np.maximum(numbers, 0) / (2.0 ** (depth - 1) - 1) * 255)
        good(f"signed, {depth} bits.tif", tiff(page(numbers, depth, t339=2)), right)
    floats = ramp.astype(np.float32)
    good("floats.tif", tiff(page(floats, 32, t339=3)), of(ramp * 255))
    good("floats to 4.tif", tiff(page(4 * floats, 32, t339=3)), of(ramp * 255))
    infinite = floats.copy()
    infinite[3, 3] = np.inf
    good(
        "an infinite one.tif",
        tiff(page(infinite, 32, t339=3)),
        of(np.where(np.isinf(infinite), 1, ramp) * 255),
    )
    good("bytes in 32 bits.tif", tiff(page(GRAY.astype(np.uint64), 32)))
    small = GRAY[::4, ::4].astype(int)
    full, upside = page(GRAY.astype(int), 8), page(GRAY[::-1].astype(int), 8)
    good("two pages.tif", tiff(full, upside), of(GRAY), of(GRAY[::-1]))
    good("preview first.tif", tiff(page(small, 8, t254=1), full))
    good("small page first.tif", tiff(page(small, 8), full))
    good("old preview last.tif", tiff(full, page(small, 8, t255=2)))
    primaries = SPACES["adobe"]
    tags = page(COLOR.reshape(16, -1).astype(int), 8, t258=[8, 8, 8], t256=16, t262=2, t277=3)[0]
    tags |= {318: primaries[0], 319: [v for point in primaries[1:4] for v in point]}
    tags |= {301: [round(65535 * (k / 255) ** (563 / 256)) for k in range(256)] * 3}
    good("primaries in tags.tif", tiff((tags, colors)), lightness(to_srgb(COLOR, "adobe")), tolerance=0.6)
    # Others by hand.
    for maximum in (255, 1023, 65535):
        numbers = np.round(ramp * maximum).astype(int)
        text = "\n".join(" ".join(map(str, row)) for row in numbers)
        good(f"text to {maximum}.pgm", f"P2 32 16 {maximum}\n{text}\n".encode(), of(numbers / maximum * 255))
        data = b"".join(packed(numbers, 8 if maximum < 256 else 16))
        good(
            f"binary to {maximum}.pgm", f"P5\n32 16\n{maximum}\n".encode() + data, of(numbers / maximum * 255)
        )
    text = " ".join(str(int(not bit)) for bit in bits.reshape(-1))
    good("text.pbm", f"P1 32 16\n{text}\n".encode(), of(bits * 255))
    planes = b"8BPS\0\1" + bytes(6) + struct.pack(">H2I2H", 3, 16, 16, 8, 3) + bytes(12) + bytes(2)
    good("layers.psd", planes + COLOR.transpose(2, 0, 1).tobytes(), of(COLOR))
    head = b"qoif" + struct.pack(">2I2B", 16, 16, 3, 0)
    good(
        "quite ok.qoi",
        head + b"".join(b"\xfe" + bytes(pixel) for pixel in COLOR.reshape(-1, 3)) + bytes(7) + b"\1",
        of(COLOR),
    )
    pcx = saved(GRAY, "PCX")
    good(
        "pages.dcx",
        struct.pack("<4I", 0x3ADE68B1, 16, 16 + len(pcx), 0) + pcx + saved(GRAY[::-1], "PCX"),
        of(GRAY),
        of(GRAY[::-1]),
    )
    if features.check("jpg_2000"):
        good("16 bits.jp2", saved(Image.fromarray(sixteen.astype(np.uint16)), "JPEG2000"), of(sixteen / 257))
    # Names and sizes.
    plain = saved(GRAY, "PNG")
    for name in (
        "with spaces.png",
        "ümläut.png",
        "日本.png",
        "🎨.png",
        "-dash.png",
        "line\nbreak.png",
        "l" * 200 + ".png",
        "a.png",
        "A.PNG",
        "a.png.png",
        "a-2.png",
        "two.dots.png",
        "png named.jpg",
    ):
        good(name, plain)
    good("a.jpg", jpeg, tolerance=lossy)
    good("deeper/a.png", plain)
    good("one pixel.png", saved(GRAY[:1, :1], "PNG"), of(GRAY[:1, :1]))
    good("a line.png", saved(np.tile(GRAY[:1], (1, 16)), "PNG"), of(np.tile(GRAY[:1], (1, 16))))
    # Damaged, or no pictures at all.
    bad("empty.jpg", b"")
    bad("text.jpg", b"This is no picture.\n")
    bad("page of the web.png", b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for form, options in (("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {})):
        content = saved(noise, form, "RGB" if form == "WEBP" else None, **options)
        bad(f"half of a {form}.{form.lower()}", content[: len(content) // 2])
    bad("half, progressive.jpg", saved(noise, "JPEG", progressive=True)[:2000])
    flipped = bytearray(saved(noise, "PNG"))
    flipped[1000] ^= 1
    bad("a changed byte.png", bytes(flipped))
    bad("strip outside.tif", tiff(page(GRAY.astype(int), 8, t273=10**6)))
    bad("no strips.tif", b"II*\0\x08\0\0\0\0\0\0\0\0\0")
    bad("archive.png", b"PK\5\6" + bytes(18))
    bad("too many pixels.png", png(1, 0, [b""], size=(30_000, 30_000)))
    bad("document.jpg", b"%PDF-1.4\n%%EOF\n")
    return out


def make(folder: Path) -> dict[str, Case]:
    """Write them all, and files that are none: links, a folder with a picture's name, a pipe, other files."""
    found = cases()
    for name, case in found.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.content)
    (folder / "a folder.jpg").mkdir()
    (folder / "linked.png").symlink_to("a.png")
    found["linked.png"] = found["a.png"]
    (folder / "onto itself.png").symlink_to("onto itself.png")
    (folder / "again").symlink_to(".", target_is_directory=True)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("no picture")
    (folder / "raw.xyz").write_bytes(b"of a format that nobody knows")
    (folder / ".hidden.png").write_bytes(b"hidden")
    (folder / "Thumbs.db").write_bytes(b"left by a system")
    return found


if __name__ == "__main__":
    print(f"{len(make(Path(sys.argv[1])))} files")
