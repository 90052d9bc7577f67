"""Hostile JPEG and TIFF files."""

import struct
import zlib

import numpy as np
from handmade import (
    PRIMARIES,
    coded,
    curve,
    exif,
    gray_of_color,
    gray_of_lab,
    profile,
    sheet,
    tiff,
    turned,
    with_segments,
)
from hostile_cases import (
    BITS,
    COLORS,
    COUNT,
    MIDDLE,
    PAINTED,
    PATCHES,
    RAMP,
    WIDE,
    color,
    deep_picture,
    good,
    gray,
    jpeg,
    kinds,
    lossy,
    picture,
    power,
    saved,
)

# JPEG.


@kinds
def jpegs():
    data, held = jpeg(PATCHES)
    yield good("jpeg/gray.jpg", data, gray(held))
    colored, painted = jpeg(PAINTED)
    yield good("jpeg/colors.jpg", colored, color(painted))
    yield good("jpeg/without its end.jpg", data[:-2], gray(held))
    yield good("jpeg/and something more.jpg", data + b"something more", gray(held))
    yield good("jpeg/comment.jpg", with_segments(data, 0xFE, b"by hand"), gray(held))
    for name, options in {
        "progressive": {"progressive": True},
        "halved chroma": {"subsampling": 2},
        "restarts": {"restart_marker_blocks": 1},
        "kept as RGB": {"keep_rgb": True},
    }.items():
        made, held_here = jpeg(PAINTED, **options)
        yield good(f"jpeg/{name}.jpg", made, color(held_here))
    made, flat = jpeg(np.full((33, 17, 3), 100), subsampling=2)
    yield good("jpeg/odd size, halved chroma.jpg", made, color(flat))
    none = np.zeros_like(PATCHES)
    made = saved(picture(np.stack([none] * 3 + [255 - PATCHES], -1), "CMYK"), "JPEG", quality=100)
    yield good("jpeg/ink, Adobe's.jpg", made, gray(PATCHES))
    # Four channels with K alone, marked as YCCK: luma 0 and middle chroma are no ink at all.
    middle = np.full_like(PATCHES, 127)
    stored = np.stack([none + 255, middle, middle, 255 - PATCHES], -1)
    made = bytearray(saved(picture(stored, "CMYK"), "JPEG", quality=100))
    made[made.index(b"Adobe") + 11] = 2
    yield good("jpeg/ink, as YCCK.jpg", bytes(made), gray(PATCHES))
    made = saved(PATCHES, "MPO", save_all=True, append_images=[picture(255 - PATCHES)], quality=100)
    yield good("jpeg/two pictures.mpo", made, gray(held))


@kinds
def turned_jpegs():
    for name, values in (("wide", PATCHES), ("tall", PATCHES.T)):
        data, held = jpeg(values)
        for orientation in range(1, 9):
            made = with_segments(data, 0xE1, b"Exif\0\0" + exif(orientation, "<>"[orientation % 2]))
            yield good(f"jpeg/{name}, turned {orientation}.jpg", made, turned(gray(held), orientation))
    for name, entry, right in (
        ("turned by 0, which is nothing", exif(0), 1),
        ("turned by 9, which is nothing", exif(9), 1),
        ("turned by 65535, which is nothing", exif(65535), 1),
        ("turned by a long number", exif(6, kind="I"), 6),
        ("broken EXIF", b"II*\0\xff\xff\0\0", 1),
        ("EXIF of four bytes", b"none", 1),
    ):
        made = with_segments(data, 0xE1, b"Exif\0\0" + entry)
        yield good(f"jpeg/{name}.jpg", made, turned(gray(held), right))
    # What cameras write for Adobe RGB: an uncalibrated space, and the letters R03.
    data, held = jpeg(PAINTED)
    inside = struct.pack(
        "<H2HIIHHIIIH2HI4sI", 2, 0xA001, 3, 1, 0xFFFF, 0xA005, 4, 1, 56, 0, 1, 1, 2, 4, b"R03", 0
    )
    space = b"II*\0\x08\0\0\0" + struct.pack("<H2H2II", 1, 0x8769, 4, 1, 26, 0) + inside
    made = with_segments(data, 0xE1, b"Exif\0\0" + space)
    right = gray_of_color(gray(held), "Adobe RGB", power(2.19921875))
    yield good("jpeg/Adobe RGB by EXIF.jpg", made, right)


# TIFF.


@kinds
def tiffs():
    few = COUNT
    for bits in (1, 4, 8, 12, 16, 32):
        top = 2**bits - 1
        values = few * (top // 23) if bits >= 8 else few * 5 % (top + 1)
        for order, ordered in (("<", ""), (">", ", big end first")):
            for photometric, polarity in ((1, ""), (0, ", white is zero")):
                right = gray(values, top) if photometric else 1 - gray(values, top)
                made = tiff(sheet(values, bits, photometric, order), order=order)
                yield good(f"tiff/gray of {bits}{ordered}{polarity}.tif", made, right)
    for bits in (16, 32):
        top = 2 ** (bits - 1) - 1
        values = few * (top // 23)
        for order in "<>":
            made = tiff(sheet(values, bits, order=order, sign=2), order=order)
            end = ", big end first" if order == ">" else ""
            yield good(f"tiff/signed of {bits}{end}.tif", made, gray(values, top))
        made = tiff(sheet(values, bits, 0, sign=2))
        yield good(f"tiff/signed of {bits}, white is zero.tif", made, 1 - gray(values, top))
        below = np.where(COUNT % 5, values, -values)
        made = tiff(sheet(below, bits, sign=2))
        yield good(f"tiff/signed of {bits}, some below zero.tif", made, gray(below, top).clip(0))
    for bits in (16, 32, 64):
        for order in "<>":
            made = tiff(sheet(few / 23, bits, order=order, sign=3), order=order)
            end = ", big end first" if order == ">" else ""
            yield good(f"tiff/float of {bits}{end}.tif", made, few / 23, refusable=bits != 32)
        made = tiff(sheet(few / 23, bits, 0, sign=3))
        yield good(f"tiff/float of {bits}, white is zero.tif", made, 1 - few / 23, refusable=bits != 32)
    yield good("tiff/float to 4.tif", tiff(sheet(few / 23 * 4, 32, sign=3)), few / 23)
    odd = few / 23
    odd[1, 2], odd[2, 3] = np.inf, -np.inf
    made = tiff(sheet(odd, 32, sign=3))
    yield good("tiff/float with infinite ones.tif", made, odd.clip(0, 1))
    made = tiff(sheet(few * 5 % 4, 2))
    yield good("tiff/gray of 2.tif", made, gray(few * 5 % 4, 3))
    wide = sheet(np.arange(35).reshape(5, 7) * 117, 12, 0)
    right = 1 - np.arange(35).reshape(5, 7) / 35
    yield good("tiff/gray of 12, rows of an odd length.tif", tiff(wide), right)
    deep, many, paint = WIDE, np.tile(RAMP, (6, 5)), np.tile(COLORS, (6, 5, 1))
    for name, made, right in (
        ("big", tiff(sheet(RAMP), big=True), gray(RAMP)),
        ("strips of a row", tiff(sheet(RAMP, rows=1)), gray(RAMP)),
        ("strips of 3 rows of 16", tiff(sheet(deep, 16, 0, rows=3)), 1 - gray(deep, 65535)),
        ("tiles", tiff(sheet(many, tile=16)), gray(many)),
        ("tiles of 16", tiff(sheet(many * 257, 16, 0, tile=16)), 1 - gray(many)),
        ("tiles of colors", tiff(sheet(paint, 8, 2, tile=16)), color(paint)),
        ("tiles of colors, planar", tiff(sheet(paint, 8, 2, tile=16, planar=2)), color(paint)),
        ("colors", tiff(sheet(COLORS, 8, 2)), color(COLORS)),
        ("colors, planar", tiff(sheet(COLORS, 8, 2, planar=2)), color(COLORS)),
        ("colors of 16", tiff(sheet(COLORS * 257, 16, 2)), color(COLORS)),
        ("colors of 16, big end first", tiff(sheet(COLORS * 257, 16, 2, ">"), order=">"), color(COLORS)),
    ):
        yield good(f"tiff/{name}.tif", made, right)
    made = tiff(sheet(deep, 16, order=">"), order=">", big=True)
    yield good("tiff/big, of 16, big end first.tif", made, gray(deep, 65535), refusable=True)


def _deflated(values, bits, order="<"):
    """Packed with the difference to the pixel on the left."""
    values = np.asarray(values)
    steps = np.diff(values, axis=1, prepend=0) % 2**bits
    return tiff(
        sheet(steps, bits, order=order, pack=zlib.compress, t259=("H", 8), t317=("H", 2)), order=order
    )


@kinds
def packed_tiffs():
    yield good("tiff/deflated.tif", tiff(sheet(RAMP, pack=zlib.compress, t259=("H", 8))), gray(RAMP))
    made = tiff(sheet(WIDE, 16, 0, pack=zlib.compress, t259=("H", 8)))
    yield good("tiff/deflated, 16 bits, white is zero.tif", made, 1 - gray(WIDE, 65535))
    yield good("tiff/differences.tif", _deflated(RAMP, 8), gray(RAMP))
    yield good("tiff/differences of 16.tif", _deflated(WIDE, 16), gray(WIDE, 65535))
    yield good("tiff/differences of 16, big end first.tif", _deflated(WIDE, 16, ">"), gray(WIDE, 65535))
    values = COUNT * (2**32 // 24)
    made = tiff(sheet(values, 32, pack=zlib.compress, t259=("H", 8)))
    yield good("tiff/deflated, 32 bits.tif", made, gray(values, 2**32))
    values = COUNT / 23
    made = tiff(sheet(values, 32, sign=3, pack=zlib.compress, t259=("H", 8)))
    yield good("tiff/deflated, float.tif", made, values)
    for compression in ("tiff_lzw", "packbits", "tiff_adobe_deflate", "lzma", "zstd"):
        made = saved(COLORS, "TIFF", compression=compression)
        yield good(f"tiff/{compression.removeprefix('tiff_')}.tif", made, color(COLORS))
    made = saved(deep_picture(), "TIFF", compression="tiff_lzw")
    yield good("tiff/lzw of 16.tif", made, gray(WIDE, 65535))
    data, held = lossy(PAINTED, "TIFF", 3, compression="jpeg", quality=100)
    yield good("tiff/jpeg.tif", data, color(held))
    data, held = lossy(PATCHES, "TIFF", compression="jpeg", quality=100)
    yield good("tiff/jpeg, gray.tif", data, gray(held))
    lines = np.kron(BITS, np.ones((2, 3), int))
    for compression in ("group3", "group4", "tiff_ccitt"):
        made = saved(picture(lines * 255).convert("1"), "TIFF", compression=compression)
        yield good(f"tiff/{compression}.tif", made, lines)
    made = tiff(sheet(lines[:, :16], 1, 0, t266=("H", 2), pack=_flipped))
    yield good("tiff/bits from the right.tif", made, 1 - lines[:, :16])


def _flipped(data):
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()


@kinds
def tiff_pages():
    pages = [RAMP, 255 - RAMP[:3], RAMP.T]
    made = tiff(*map(sheet, pages))
    yield good("tiff/three pages.tif", made, *map(gray, pages))
    mixed = tiff(sheet(RAMP), sheet(WIDE, 16, 0), sheet(COLORS, 8, 2, t274=("H", 6)))
    yield good(
        "tiff/pages of three kinds.tif", mixed, gray(RAMP), 1 - gray(WIDE, 65535), turned(color(COLORS), 6)
    )
    linear = profile(b"GRAY", {b"kTRC": curve()})
    made = tiff(sheet(RAMP), sheet(RAMP, t34675=("u", linear)))
    yield good("tiff/a profile on page 2.tif", made, gray(RAMP), coded(gray(RAMP)))
    made = tiff(sheet(RAMP, t34675=("u", linear)), sheet(RAMP), sheet(COLORS, 8, 2))
    yield good("tiff/a profile on page 1.tif", made, coded(gray(RAMP)), gray(RAMP), color(COLORS))
    whole = np.kron(RAMP, np.ones((8, 8), int))
    small = RAMP[::2, ::2]
    reduced, old = {"t254": ("I", 1)}, {"t255": ("H", 2)}
    yield good("tiff/a preview first.tif", tiff(sheet(small, **reduced), sheet(whole)), gray(whole))
    yield good("tiff/a small page first.tif", tiff(sheet(small), sheet(whole)), gray(whole))
    yield good("tiff/an old preview first.tif", tiff(sheet(small, **old), sheet(whole)), gray(whole))
    made = tiff(sheet(whole), sheet(whole[::2, ::2], **reduced), sheet(small, **reduced))
    yield good("tiff/smaller ones behind.tif", made, gray(whole))
    mask = sheet(whole // 255, 1, 4, t254=("I", 4))
    yield good("tiff/a mask behind.tif", tiff(sheet(whole), mask), gray(whole))
    made = tiff(sheet(RAMP, t254=("I", 2)), sheet(255 - RAMP, t254=("I", 2)))
    yield good("tiff/numbered pages.tif", made, gray(RAMP), 1 - gray(RAMP))
    yield good(
        "tiff/pages, big.tif", tiff(sheet(RAMP), sheet(WIDE, 16), big=True), gray(RAMP), gray(WIDE, 65535)
    )
    for orientation in range(1, 9):
        for name, made, right in (
            ("gray", sheet(RAMP, t274=("H", orientation)), gray(RAMP)),
            ("gray of 16", sheet(WIDE, 16, 0, t274=("H", orientation)), 1 - gray(WIDE, 65535)),
            ("colors", sheet(COLORS, 8, 2, t274=("H", orientation)), color(COLORS)),
            ("deflated", sheet(RAMP, pack=zlib.compress, t259=("H", 8), t274=("H", orientation)), gray(RAMP)),
        ):
            yield good(f"tiff/{name}, turned {orientation}.tif", tiff(made), turned(right, orientation))


@kinds
def tiff_colors():
    *corners, white = PRIMARIES["Adobe RGB"]
    flat = [value for pair in corners for value in pair]
    level = np.stack([MIDDLE, MIDDLE // 2 + 50, 199 - MIDDLE], -1)
    made = tiff(sheet(level, 8, 2, t318=("R", white), t319=("R", flat)))
    right = gray_of_color(gray(level), "Adobe RGB", power(2.19921875))
    yield good("tiff/primaries.tif", made, right)
    function = [round(65535 * (step / 255) ** 1.5) for step in range(256)]
    made = tiff(sheet(COLORS, 8, 2, t318=("R", white), t319=("R", flat), t301=("H", function)))
    right = gray_of_color(gray(COLORS), "Adobe RGB", power(1.5))
    yield good("tiff/primaries and a curve.tif", made, right)
    palette = COLORS.reshape(-1, 3)
    for bits in (4, 8):
        entries = np.zeros((3, 2**bits), int)
        count = min(24, 2**bits)
        entries[:, :count] = palette[:count].T * 257
        values = COUNT * 7 % count
        made = tiff(sheet(values, bits, 3, t320=("H", entries.reshape(-1).tolist())))
        yield good(f"tiff/palette of {bits}.tif", made, color(palette)[values])
    none = np.zeros_like(RAMP)
    ink = np.stack([none, none, none, 255 - RAMP], -1)
    yield good("tiff/ink.tif", tiff(sheet(ink, 8, 5)), gray(RAMP))
    yield good("tiff/ink of 16.tif", tiff(sheet(ink * 257, 16, 5)), gray(RAMP))
    yield good("tiff/ink, planar.tif", tiff(sheet(ink, 8, 5, planar=2)), gray(RAMP))
    lab = np.stack([RAMP, none + 12, none - 6], -1)[1:3]  # where all of it is within sRGB
    made = tiff(sheet(lab % 256, 8, 8))
    yield good("tiff/Lab.tif", made, gray_of_lab(lab * (100 / 255, 1, 1)))
    full = np.stack([RAMP, none + 128, none + 128], -1)
    made = tiff(sheet(full, 8, 6, t530=("H", [1, 1]), t532=("R", [0, 255, 128, 255, 128, 255])))
    yield good("tiff/luma and chroma.tif", made, gray(RAMP))
    alpha = np.where(RAMP % 3 == 0, 0, np.where(RAMP % 3 == 1, 128, 255))
    share = alpha[..., None] / 255
    made = tiff(sheet(np.concatenate([COLORS, alpha[..., None]], -1), 8, 2, t338=("H", 2)))
    yield good("tiff/alpha.tif", made, gray_of_color(share * gray(COLORS) + 1 - share))
    laid = (COLORS * share).round().astype(int)
    made = tiff(sheet(np.concatenate([laid, alpha[..., None]], -1), 8, 2, t338=("H", 1)))
    yield good("tiff/alpha, multiplied.tif", made, gray_of_color(gray(laid) + 1 - share))
    made = tiff(sheet(np.concatenate([COLORS, alpha[..., None]], -1), 8, 2, t338=("H", 0)))
    yield good("tiff/a fourth channel of no meaning.tif", made, color(COLORS))
    made = tiff(sheet(np.stack([RAMP, alpha], -1), 8, 1, t338=("H", 2)))
    yield good("tiff/gray and alpha.tif", made, (share * gray(RAMP)[..., None] + 1 - share)[..., 0])
