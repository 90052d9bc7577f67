"""Hostile files of the other formats."""

import struct

import numpy as np
from handmade import coded, curve, exif, packed, profile, turned
from hostile_cases import (
    BITS,
    COLORS,
    COUNT,
    PAINTED,
    RAMP,
    WIDE,
    color,
    deep_picture,
    good,
    gray,
    kinds,
    lossy,
    palette_picture,
    picture,
    saved,
)
from PIL import features


def bmp(values, bits, palette=b"", down=False, data=None):
    """A bitmap; `data`, if given, is compressed by runs."""
    height, width = values.shape[:2]
    if bits == 16:
        rows = [row.astype("<u2").tobytes() for row in values]
    else:
        rows = packed(values.reshape(height, -1), min(bits, 8))
    rows = [row + bytes(-len(row) % 4) for row in rows]
    body = data or b"".join(rows if down else rows[::-1])
    size = (width, -height if down else height)
    head = struct.pack("<I2i2H", 40, *size, 1, bits) + struct.pack(
        "<2I2i2I", bool(data), len(body), 0, 0, 0, 0
    )
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


@kinds
def bitmaps():
    for bits in (1, 4, 8):
        count = 2**bits
        levels = 255 - np.arange(count) * 255 // (count - 1)
        palette = b"".join(bytes([level, level, level, 0]) for level in levels)
        values = COUNT * 5 % count
        yield good(f"bmp/{bits} bits.bmp", bmp(values, bits, palette), gray(levels)[values])
    runs = b"".join(b"".join(bytes([1, value]) for value in row) + b"\0\0" for row in values[::-1]) + b"\0\1"
    yield good("bmp/runs.bmp", bmp(values, 8, palette, data=runs), gray(levels)[values])
    back = COLORS[..., ::-1]
    yield good("bmp/24 bits.bmp", bmp(back, 24), color(COLORS))
    yield good("bmp/24 bits, top first.bmp", bmp(back, 24, down=True), color(COLORS))
    unused = np.concatenate([back, np.zeros((4, 6, 1), int)], -1)
    yield good("bmp/32 bits, the fourth unused.bmp", bmp(unused, 32), color(COLORS))
    yield good("bmp/16 bits.bmp", bmp(COUNT << 10 | COUNT << 5 | COUNT, 16), gray(COUNT, 31))
    yield good("bmp/without a head.dib", bmp(back, 24)[14:], color(COLORS))


def words(values):
    return " ".join(map(str, values.reshape(-1))).encode()


@kinds
def maps():
    deep, coarse, floats = WIDE // 64, RAMP * 100 // 255, gray(RAMP)[::-1]
    one = RAMP.astype(np.uint8).tobytes()
    two = (COLORS * 257).astype(">u2").tobytes()
    for name, data, right in (
        ("gray in words.pgm", b"P2\n# by hand\n6 4\n255\n" + words(RAMP), gray(RAMP)),
        ("gray.pgm", b"P5 6 4 255\n" + one, gray(RAMP)),
        ("gray up to 1023.pgm", b"P5 6 4 1023\n" + deep.astype(">u2").tobytes(), gray(deep, 1023)),
        ("gray up to 65535.pgm", b"P5 6 4 65535\n" + WIDE.astype(">u2").tobytes(), gray(WIDE, 65535)),
        ("gray up to 100.pgm", b"P5 6 4 100\n" + coarse.astype(np.uint8).tobytes(), gray(coarse, 100)),
        ("gray up to 1023 in words.pgm", b"P2 6 4 1023\n" + words(deep), gray(deep, 1023)),
        ("colors.ppm", b"P6 6 4 255\n" + COLORS.astype(np.uint8).tobytes(), color(COLORS)),
        ("colors in words.ppm", b"P3 6 4 255\n" + words(COLORS), color(COLORS)),
        ("colors up to 65535.ppm", b"P6 6 4 65535\n" + two, color(COLORS)),
        ("bits in words.pbm", b"P1 6 4\n" + words(BITS), 1 - BITS),
        ("bits.pbm", b"P4 6 4\n" + b"".join(packed(BITS, 1)), 1 - BITS),
        ("either.pnm", b"P5 6 4 255\n" + one, gray(RAMP)),
        ("float.pfm", b"Pf\n6 4\n-1.0\n" + floats.astype("<f4").tobytes(), gray(RAMP)),
        ("float, big end first.pfm", b"Pf\n6 4\n1.0\n" + floats.astype(">f4").tobytes(), gray(RAMP)),
    ):
        yield good(f"maps/{name}", data, right)


@kinds
def others():
    small, inked, few, lines = (
        picture(RAMP),
        picture(COLORS),
        palette_picture(),
        picture(BITS * 255).convert("1"),
    )
    both = picture(np.concatenate([COLORS, BITS[..., None] * 255], -1))
    there = np.where(BITS, color(COLORS), 1)
    four = {
        "gray": (small, gray(RAMP)),
        "colors": (inked, color(COLORS)),
        "palette": (few, color(COLORS)),
        "alpha": (both, there),
        "bits": (lines, BITS),
    }
    for form, ending, options, names in (
        ("GIF", "gif", {}, "gray palette"),
        ("TGA", "tga", {}, "gray colors palette alpha bits"),
        ("TGA", "icb", {"compression": "tga_rle"}, "gray colors palette alpha"),
        ("TGA", "vda", {"orientation": 1}, "gray colors palette alpha"),
        ("PCX", "pcx", {}, "gray colors palette bits"),
        ("SGI", "sgi", {}, "gray colors alpha"),
        ("SGI", "bw", {}, "gray"),
        ("SGI", "rgb", {}, "colors"),
        ("JPEG2000", "jp2", {}, "gray colors alpha"),
        ("JPEG2000", "j2k", {}, "gray colors"),
        ("JPEG2000", "jpf", {}, "colors"),
        ("WEBP", "webp", {"lossless": True, "exact": True}, "gray colors alpha"),
        ("QOI", "qoi", {}, "colors alpha"),
        ("XBM", "xbm", {}, "bits"),
        ("MSP", "msp", {}, "bits"),
        ("DDS", "dds", {}, "gray colors alpha"),
    ):
        for name in names.split():
            image, right = four[name]
            yield good(f"other/{name} {ending}.{ending}", saved(image, form, **options), right)
    clear = np.where(COUNT == 5, 1, color(COLORS))
    yield good("other/one clear.gif", saved(few, "GIF", transparency=5), clear)
    more = {"save_all": True, "append_images": [inked.rotate(180)]}
    yield good("other/animated gif.gif", saved(few, "GIF", **more), color(COLORS))
    yield good("other/animated webp.webp", saved(inked, "WEBP", lossless=True, **more), color(COLORS))
    book = [saved(image, "PCX") for image in (small, inked)]
    head = struct.pack("<4I", 987654321, 16, 16 + len(book[0]), 0)
    yield good("other/two pages.dcx", head + b"".join(book), gray(RAMP), color(COLORS))
    yield good("other/gray of 16 jp2.jp2", saved(deep_picture(), "JPEG2000"), gray(WIDE, 65535))
    data, held = lossy(PAINTED, "WEBP", 4, quality=100)
    yield good("other/lossy webp.webp", data, color(held))
    made = saved(inked, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6))
    yield good("other/turned webp.webp", made, turned(color(COLORS), 6))
    if features.check("avif"):
        options = {"quality": 100, "subsampling": "4:4:4"}
        data, held = lossy(PAINTED, "AVIF", **options)
        yield good("other/colors avif.avif", data, color(held))
        data, held = lossy(PAINTED, "AVIF", exif=b"Exif\0\0" + exif(8), **options)
        yield good("other/turned avif.avif", data, turned(color(held), 8))
    square = picture(np.full((32, 32, 3), 90))
    made = saved(square, "ICO", sizes=[(16, 16), (32, 32)])
    yield good("other/icon.ico", made, np.full((32, 32), 90 / 255))
    numbers = struct.pack(">8I", 0x59A66A95, 6, 4, 8, 24, 1, 0, 0)
    yield good("other/gray ras.ras", numbers + RAMP.astype(np.uint8).tobytes(), gray(RAMP))
    card = (
        "SIMPLE  =                    T",
        "BITPIX  =                    8",
        "NAXIS   =                    2",
    )
    cards = [*card, "NAXIS1  =                    6", "NAXIS2  =                    4", "END"]
    star = "".join(text.ljust(80) for text in cards).ljust(2880).encode()
    body = RAMP[::-1].astype(np.uint8).tobytes().ljust(2880, b"\0")
    yield good("other/star.fits", star + body, gray(RAMP))
    full = np.full_like(RAMP, 255)
    linear = profile(b"GRAY", {b"kTRC": curve()})
    for name, mode, planes, right in (
        ("gray psd", 1, [RAMP], gray(RAMP)),
        ("colors psd", 3, np.moveaxis(COLORS, -1, 0), color(COLORS)),
        ("ink psd", 4, [full, full, full, RAMP], gray(RAMP)),
        ("two tones psd", 8, [RAMP], gray(RAMP)),
    ):
        yield good(f"other/{name}.psd", psd(mode, planes), right)
    yield good("other/gray psd with a profile.psd", psd(1, [RAMP], linear), coded(gray(RAMP)))


def psd(mode, planes, icc=b""):
    """A Photoshop file without layers."""
    resource = b"8BIM" + struct.pack(">HHI", 1039, 0, len(icc)) + icc + bytes(len(icc) % 2) if icc else b""
    head = b"8BPS" + struct.pack(">H6xH2I2H", 1, len(planes), *np.shape(planes)[1:], 8, mode)
    parts = struct.pack(">2I", 0, len(resource)) + resource + struct.pack(">IH", 0, 0)
    return head + parts + np.asarray(planes).astype(np.uint8).tobytes()
