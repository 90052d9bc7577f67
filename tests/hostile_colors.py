"""Hostile files about color: profiles in every format, and what PNG says of its numbers."""

import io
import struct
import zlib
from functools import partial

import numpy as np
from handmade import (
    PRIMARIES,
    coded,
    curve,
    exif,
    formula,
    gray_of_color,
    gray_of_lab,
    gray_of_lightness,
    modern_table,
    png,
    profile,
    rgb_profile,
    sheet,
    table,
    tiff,
    turned,
    with_segments,
)
from hostile_cases import (
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
    palette_picture,
    picture,
    power,
    saved,
)
from PIL import Image, features

# Color profiles. Each: its bytes, and the gray of device values in [0, 1].


def _press(values):
    """A curve like that of a press: a dot grows by a fifth in the middle."""
    ink = 1 - np.asarray(values, float)
    return 1 - ink - 0.8 * ink * (1 - ink)


_SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT2020 = (1 / 0.45, 1 / 1.0993, 0.0993 / 1.0993, 1 / 4.5, 0.08145)


def _piecewise(gamma, a, b, c, d):
    return lambda v: np.where(np.asarray(v) >= d, (a * np.asarray(v) + b).clip(0) ** gamma, c * np.asarray(v))


def gray_profiles():
    steps = np.linspace(0, 1, 1024)
    many = np.linspace(0, 1, 4096)
    light = np.where(many > 0.08, ((many * 100 + 16) / 116).clip(0) ** 3, many * 100 * (3 / 29) ** 3)
    for name, data, decode, version in (
        ("gamma 1.0", curve(), power(1), 2),
        ("gamma 1.4", curve(1.3984375), power(1.3984375), 2),
        ("gamma 1.8", curve(1.80078125), power(1.80078125), 2),
        ("gamma 2.2", curve(2.19921875), power(2.19921875), 2),
        ("gamma 2.6", formula(0, 2.6), power(2.6), 4),
        ("curve of sRGB", curve(*_piecewise(*_SRGB)(steps)), _piecewise(*_SRGB), 2),
        ("formula of sRGB", formula(3, *_SRGB), _piecewise(*_SRGB), 4),
        ("formula of six", formula(4, *_SRGB, 0.0, 0.0), _piecewise(*_SRGB), 4),
        ("dot gain", curve(*_press(steps)), _press, 2),
    ):
        yield f"gray {name}", profile(b"GRAY", {b"kTRC": data}, version), lambda v, f=decode: coded(f(v))
    yield (
        "gray by lightness",
        profile(b"GRAY", {b"kTRC": curve(*light)}),
        lambda v: gray_of_lightness(v * 100),
    )
    corners = [(20, 0, 0), (100, 0, 0)]
    tabled = profile(b"GRAY", {b"A2B0": table(corners)}, pcs=b"Lab ", kind=b"prtr")
    yield "gray by a table", tabled, lambda v: gray_of_lightness(20 + 80 * v)


def _rgb_corner(r, g, b):
    return 20 + 20 * r + 40 * g + 20 * b, 16 * (r - g), 12 * (g - b)


def _ink_corner(c, m, y, k):
    return 100 - 20 * (c + m + y + k), 6 * (m - c), 6 * (y - c)


def _corners(function, inputs):
    return [function(*(place >> inputs - 1 - i & 1 for i in range(inputs))) for place in range(2**inputs)]


def _by_table(function):
    return lambda v: gray_of_lab(np.stack(function(*np.moveaxis(np.asarray(v, float), -1, 0)), -1))


def rgb_profiles():
    steps = np.linspace(0, 1, 256)
    for name, primaries, data, decode, version in (
        ("Adobe RGB", "Adobe RGB", curve(2.19921875), power(2.19921875), 2),
        ("Display P3", "Display P3", formula(3, *_SRGB), _piecewise(*_SRGB), 4),
        ("ProPhoto", "ProPhoto", curve(1.80078125), power(1.80078125), 2),
        ("Rec 2020", "Rec. 2020", formula(3, *_BT2020), _piecewise(*_BT2020), 4),
        ("linear", "sRGB", curve(), power(1), 2),
        ("a table of curves", "sRGB", curve(*steps**1.5), power(1.5), 2),
        ("the formula of two", "Adobe RGB", formula(1, 2.0, 0.9, 0.1), lambda v: (0.9 * v + 0.1) ** 2, 4),
    ):
        yield (
            name,
            rgb_profile(primaries, data, version=version),
            partial(gray_of_color, primaries=primaries, decode=decode),
        )
    three = [curve(1.0), curve(1.5), curve(2.5)]
    yield (
        "three curves",
        rgb_profile("sRGB", *three),
        partial(gray_of_color, decode=lambda v: np.asarray(v) ** (1.0, 1.5, 2.5)),
    )
    corners = _corners(_rgb_corner, 3)
    wrong = [(100 - L, b, a) for L, a, b in corners]
    for name, tags, version in (
        ("a table of 16 bits", {b"A2B0": table(corners)}, 2),
        ("a table of 8 bits", {b"A2B0": table(corners, 8)}, 2),
        ("a table of version 4", {b"A2B0": modern_table(corners)}, 4),
        ("a table for each intent", {b"A2B0": table(wrong), b"A2B1": table(corners)}, 2),
    ):
        yield name, profile(b"RGB ", tags, version, b"Lab ", b"prtr"), _by_table(_rgb_corner)


def ink_profile():
    return profile(b"CMYK", {b"A2B0": table(_corners(_ink_corner, 4))}, 2, b"Lab ", b"prtr")


def _embed(name, data, right, codes, painted):
    """The picture with the profile in each format; what is right comes from the numbers in the file."""
    yield good(f"profiles/{name} jpeg.jpg", *_pair(jpeg(painted, icc_profile=data), right))
    yield good(f"profiles/{name} png.png", saved(codes, "PNG", icc_profile=data), right(gray(codes)))
    yield good(f"profiles/{name} tiff.tif", saved(codes, "TIFF", icc_profile=data), right(gray(codes)))
    if codes.ndim == 3:
        made = saved(codes, "WEBP", lossless=True, icc_profile=data)
        yield good(f"profiles/{name} webp.webp", made, right(gray(codes)))


def _pair(made, right):
    data, held = made
    return data, right(gray(held))


@kinds
def profiles():
    for name, data, right in gray_profiles():
        yield from _embed(name, data, right, RAMP, PATCHES)
        deep = saved(deep_picture(), "PNG", icc_profile=data)
        yield good(f"profiles/{name} 16 bits.png", deep, right(gray(WIDE, 65535)))
        deep = tiff(sheet(WIDE, 16, photometric=0, t34675=("u", data)))
        yield good(f"profiles/{name} white is zero.tif", deep, right(1 - gray(WIDE, 65535)))
    for name, data, right in rgb_profiles():
        yield from _embed(name, data, right, COLORS, PAINTED)
    ink = np.stack([RAMP // 3, RAMP // 4, RAMP // 5, RAMP // 2], -1)
    right, data = _by_table(_ink_corner), ink_profile()
    yield good(
        "profiles/ink tiff.tif", saved(picture(ink, "CMYK"), "TIFF", icc_profile=data), right(gray(ink))
    )
    flat = np.stack([PATCHES // 3, PATCHES // 4, PATCHES // 5, PATCHES // 2], -1)
    made = saved(picture(flat, "CMYK"), "JPEG", quality=100, icc_profile=data)
    held = np.asarray(Image.open(io.BytesIO(made)))
    yield good("profiles/ink jpeg.jpg", made, right(gray(held)))
    data = rgb_profile("Adobe RGB", curve(2.19921875))
    right = partial(gray_of_color, primaries="Adobe RGB", decode=power(2.19921875))
    clear = np.concatenate([COLORS, np.where(RAMP % 2, 255, 0)[..., None]], -1)
    for form, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        made = saved(clear, form, icc_profile=data, **options)
        there = np.where(RAMP % 2, right(gray(COLORS)), 1)
        yield good(f"profiles/transparent {form.lower()}.{form.lower()}", made, there)
    made = saved(palette_picture(), "PNG", icc_profile=data)
    yield good("profiles/palette.png", made, right(gray(COLORS)))
    # A profile of 150 kB comes in three parts, each with its number; here the last one first.
    long = rgb_profile("Adobe RGB", curve(2.19921875), data=bytes(150_000))
    made, held = jpeg(PAINTED)
    parts = [long[place : place + 60_000] for place in range(0, len(long), 60_000)]
    numbered = [b"ICC_PROFILE\0" + bytes([k + 1, len(parts)]) + part for k, part in enumerate(parts)]
    yield good("profiles/in parts.jpg", with_segments(made, 0xE2, *numbered), right(gray(held)))
    yield good(
        "profiles/in parts, backwards.jpg", with_segments(made, 0xE2, *numbered[::-1]), right(gray(held))
    )
    lost = with_segments(made, 0xE2, *numbered[1:])
    yield good("profiles/in parts, one lost.jpg", lost, color(held), warns=True)
    # JPEG 2000 has a profile in the place of a number for the space.
    gamma = profile(b"GRAY", {b"kTRC": curve(1.80078125)})
    plain = saved(RAMP, "JPEG2000")
    box = struct.pack(">I4s3B", len(gamma) + 11, b"colr", 2, 0, 0) + gamma
    place, head = plain.index(b"colr") - 4, plain.index(b"jp2h") - 4
    longer = struct.pack(">I", int.from_bytes(plain[head : head + 4], "big") + len(box) - 15)
    made = plain[:head] + longer + plain[head + 4 : place] + box + plain[place + 15 :]
    yield good("profiles/jpeg 2000.jp2", made, coded(gray(RAMP) ** 1.80078125))
    # Gray with a profile of colors: a gray is red, green and blue of one value.
    for form in ("PNG", "TIFF"):
        made = saved(RAMP, form, icc_profile=data)
        right_gray = right(np.stack([gray(RAMP)] * 3, -1))
        yield good(f"profiles/gray with one of colors {form.lower()}.{form.lower()}", made, right_gray)
    if features.check("avif"):
        made = lossy(PAINTED, "AVIF", quality=100, subsampling="4:4:4", icc_profile=data)
        yield good("profiles/avif.avif", *_pair(made, right))


@kinds
def broken_profiles():
    whole = rgb_profile("ProPhoto", curve(1.8))
    single = profile(b"GRAY", {b"kTRC": curve(1.0)})
    for name, data in {
        "noise": bytes(np.random.default_rng(0).integers(0, 256, 600, dtype=np.uint8)),
        "cut": whole[: len(whole) // 2],
        "only a head": whole[:128],
        "short": b"acsp",
        "without curves": profile(b"RGB ", {}),
        "of gray": single,
        "of ink": ink_profile(),
        "of an unknown space": whole.replace(b"RGB XYZ ", b"QQQQXYZ "),
        "of another kind": whole.replace(b"mntrRGB ", b"nmclRGB "),
    }.items():
        for form in ("PNG", "JPEG", "TIFF", "WEBP"):
            options = {"lossless": True} if form == "WEBP" else {}
            made, held = saved(COLORS, form, icc_profile=data, **options), COLORS
            if form == "JPEG":
                made, held = jpeg(PAINTED, icc_profile=data)
            yield good(
                f"profiles/broken, {name} {form.lower()}.{form.lower()}", made, color(held), warns=True
            )
    for name, data in {"of ink": ink_profile(), "cut": single[:200]}.items():
        made = saved(RAMP, "PNG", icc_profile=data)
        yield good(f"profiles/broken gray, {name}.png", made, gray(RAMP), warns=True)
    made = png(RAMP, 8, 0, (b"iCCP", b"name\0\0not compressed"))
    yield good("profiles/broken, not compressed.png", made, gray(RAMP), warns=True)
    made = tiff(sheet(RAMP, t34675=("u", b"")))
    yield good("profiles/empty.tif", made, gray(RAMP))


# PNG.


def _gama(exponent):
    return b"gAMA", struct.pack(">I", round(100000 / exponent))


def _chrm(primaries):
    *corners, white = PRIMARIES[primaries]
    numbers = [round(value * 100000) for pair in (white, *corners) for value in pair]
    return b"cHRM", struct.pack(">8I", *numbers)


@kinds
def pngs():
    few = COUNT
    for depth in (1, 2, 4, 8, 16):
        top = 2**depth - 1
        values = (few * (top // 23) if depth >= 8 else few * 5 % (top + 1)).astype(int)
        yield good(f"png/gray of {depth}.png", png(values, depth), gray(values, top))
        made = png(values, depth, 0, interlaced=True)
        yield good(f"png/gray of {depth}, interlaced.png", made, gray(values, top))
        key = int(values[1, 2])
        made = png(values, depth, 0, (b"tRNS", struct.pack(">H", key)))
        yield good(
            f"png/gray of {depth} with a clear one.png", made, np.where(values == key, 1, gray(values, top))
        )
        for exponent in (1.0, 1.8):
            made = png(values, depth, 0, _gama(exponent))
            yield good(
                f"png/gray of {depth}, gAMA {exponent}.png", made, coded(gray(values, top) ** exponent)
            )
    alpha = np.where(few % 3 == 0, 0, np.where(few % 3 == 1, 128, 255))
    both = alpha / 255 * gray(RAMP) + 1 - alpha / 255
    made = png(np.stack([RAMP, alpha], -1), 8, 4)
    yield good("png/gray and alpha.png", made, both)
    made = png(np.stack([WIDE, alpha * 257], -1), 16, 4)
    yield good("png/gray and alpha of 16.png", made, alpha / 255 * gray(WIDE, 65535) + 1 - alpha / 255)
    deep = COLORS * 257 + 100
    yield good("png/colors of 8.png", png(COLORS, 8, 2), color(COLORS))
    yield good("png/colors of 8, interlaced.png", png(COLORS, 8, 2, interlaced=True), color(COLORS))
    yield good("png/colors of 16.png", png(deep, 16, 2), color(deep, 65535))
    yield good("png/colors of 16, interlaced.png", png(deep, 16, 2, interlaced=True), color(deep, 65535))
    over = alpha[..., None] / 255
    for depth, values in ((8, COLORS), (16, deep)):
        white = 2**depth - 1
        made = png(np.concatenate([values, alpha[..., None] * (white // 255)], -1), depth, 6)
        right = gray_of_color(over * gray(values, white) + 1 - over)
        yield good(f"png/colors and alpha of {depth}.png", made, right)
    key = (b"tRNS", struct.pack(">3H", *COLORS[2, 3]))
    there = np.where((COLORS == COLORS[2, 3]).all(-1), 1, color(COLORS))
    yield good("png/colors with a clear one.png", png(COLORS, 8, 2, key), there)
    for depth in (1, 2, 4, 8):
        count = min(24, 2**depth)
        palette, values = COLORS.reshape(-1, 3)[::-1][:count], few * 7 % count
        plte = (b"PLTE", palette.astype(np.uint8).tobytes())
        made = png(values, depth, 3, plte)
        yield good(f"png/palette of {depth}.png", made, color(palette)[values])
        made = png(values, depth, 3, plte, (b"tRNS", bytes([255, 0])))
        yield good(
            f"png/palette of {depth}, one clear.png", made, np.where(values == 1, 1, color(palette)[values])
        )
        made = png(values, depth, 3, _gama(1.4), plte)
        right = gray_of_color(gray(palette), decode=power(1.4))[values]
        yield good(f"png/palette of {depth}, gAMA 1.4.png", made, right)


@kinds
def png_colors():
    for exponent in (1.0, 1.4, 1.8, 2.6):
        made = png(COLORS, 8, 2, _gama(exponent))
        right = gray_of_color(gray(COLORS), decode=power(exponent))
        yield good(f"png/gAMA {exponent}.png", made, right)
        made = png(COLORS, 8, 2, _gama(exponent), _chrm("Adobe RGB"))
        right = gray_of_color(gray(COLORS), "Adobe RGB", power(exponent))
        yield good(f"png/gAMA {exponent} and cHRM.png", made, right)
    # Of 1/2.2 some programs make the curve of sRGB: here both are equally light.
    yield good("png/gAMA 2.2.png", png(MIDDLE, 8, 0, _gama(2.2)), gray(MIDDLE))
    srgb = (b"sRGB", b"\0")
    yield good("png/sRGB and gAMA.png", png(COLORS, 8, 2, srgb, _gama(2.2)), color(COLORS))
    yield good("png/sRGB and another gAMA.png", png(COLORS, 8, 2, srgb, _gama(1.0)), color(COLORS))
    yield good("png/gAMA of nothing.png", png(RAMP, 8, 0, (b"gAMA", bytes(4))), gray(RAMP))
    iccp = (b"iCCP", b"name\0\0" + zlib.compress(profile(b"GRAY", {b"kTRC": curve(1.80078125)})))
    right = coded(gray(RAMP) ** 1.80078125)
    yield good("png/iCCP and gAMA.png", png(RAMP, 8, 0, iccp, _gama(1.0)), right)
    yield good("png/gAMA and iCCP.png", png(RAMP, 8, 0, _gama(1.0), iccp), right)
    for name, codes, right in (
        ("P3", (12, 13, 0, 1), partial(gray_of_color, primaries="Display P3")),
        ("linear", (1, 8, 0, 1), partial(gray_of_color, decode=power(1))),
        ("sRGB", (1, 13, 0, 1), gray_of_color),
    ):
        made = png(COLORS, 8, 2, (b"cICP", bytes(codes)), _gama(1.4))
        yield good(f"png/cICP {name}.png", made, right(gray(COLORS)))
    dark = np.stack([WIDE // 40 + 300, WIDE // 50 + 250, WIDE // 60 + 200], -1)
    made = png(dark, 16, 2, _gama(1.0))
    yield good("png/dark colors of 16, gAMA 1.0.png", made, gray_of_color(gray(dark, 65535), decode=power(1)))
    alpha = np.where(RAMP % 2, 255, 0)
    made = png(np.stack([RAMP, alpha], -1), 8, 4, _gama(1.0))
    yield good("png/gray and alpha, gAMA 1.0.png", made, np.where(alpha, coded(gray(RAMP)), 1))
    for orientation in range(1, 9):
        made = png(RAMP, 8, 0, (b"eXIf", exif(orientation)))
        yield good(f"png/turned {orientation}.png", made, turned(gray(RAMP), orientation))
    made = saved(RAMP, "PNG", save_all=True, append_images=[picture(RAMP * 0 + 9)])
    yield good("png/animated.png", made, gray(RAMP))
