"""The door for pictures: what comes in has the right colors, the right way up, or a sentence says why not."""

import io
import os
import struct
import threading
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import skimage.color
import tifffile
import torch
from PIL import Image, ImageFile, features

from colorlib.data.pictures import (
    listing,
    open_picture,
    pages,
    picture_files,
    read,
    square,
    suffixes,
    to_srgb,
)

# Files made by hand, so that nothing in them is as Pillow would write it.


def tiff(*files, order="<"):
    """A TIFF file of pages: each a dict of tags beside the common ones, and the bytes of the pixels."""
    out, link = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4)), 4
    for tags, pixels in files:
        offset = len(out)
        out += pixels + bytes(len(pixels) % 2)
        common = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 277: 1, 273: offset, 279: len(pixels)}
        tags = common | {278: tags.get(257, 1)} | tags
        out[link : link + 4] = struct.pack(order + "I", len(out))
        entries, extra, start = struct.pack(order + "H", len(tags)), b"", len(out) + 6 + 12 * len(tags)
        for tag, value in sorted(tags.items()):
            values = (value,) if isinstance(value, (int, float)) else value
            if isinstance(value, bytes):
                kind, data = 7, value
            elif isinstance(values[0], float):
                ratios = [part for x in values for part in (round(x * 1e6), 1000000)]
                kind, data = 5, struct.pack(f"{order}{len(ratios)}I", *ratios)
            else:
                kind = 4 if tag in (273, 279, 330) else 3
                data = struct.pack(f"{order}{len(values)}{'HI'[kind - 3]}", *values)
            if len(data) > 4:
                place, extra = start + len(extra), extra + data + bytes(len(data) % 2)
                data = struct.pack(order + "I", place)
            entries += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
        link = len(out) + len(entries)
        out += entries + bytes(4) + extra
    return bytes(out)


def png(width, depth, kind, row, **chunks):
    """A PNG file one pixel high."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))
    middle = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + middle
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


def psd(mode, channels, icc=b""):
    """A Photoshop file of one pixel."""
    resource = b"8BIM" + struct.pack(">HHI", 1039, 0, len(icc)) + icc + bytes(len(icc) % 2) if icc else b""
    head = b"8BPS" + struct.pack(">H6xHIIHHI", 1, len(channels), 1, 1, 8, mode, 0)
    return head + struct.pack(">I", len(resource)) + resource + struct.pack(">IH", 0, 0) + bytes(channels)


def saved(image, form, **how):
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


# Colors worked out apart from LittleCMS: profiles by the simplest means, right values by linear algebra.

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SPACES = {
    "sRGB": (D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "Adobe RGB": (D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "Display P3": (D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
    "ProPhoto": (D50, (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
    "Rec. 2020": (D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
}
GAMMAS = (1.0, 1.4, 1.8, 2.2, 2.6)


def matrix(space):
    """Columns of XYZ with the space's white brought to that of profiles, by Bradford's method."""
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in SPACES[space])
    colors = np.stack(primaries, 1)
    colors = colors * (np.linalg.inv(colors) @ white)
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    target = np.array([0.9642, 1, 0.8249])
    return np.linalg.inv(cones) @ np.diag((cones @ target) / (cones @ white)) @ cones @ colors


def icc(gamma, space=None):
    """A profile whose curves are one number, which has steps of 1/256."""
    kind, parts = b"GRAY", {b"kTRC": b"curv" + struct.pack(">4xIHxx", 1, round(gamma * 256))}
    if space:
        kind, curve = b"RGB ", parts.pop(b"kTRC")
        for name, column in zip((b"r", b"g", b"b"), matrix(space).T, strict=True):
            parts[name + b"TRC"] = curve
            parts[name + b"XYZ"] = b"XYZ " + struct.pack(">4x3i", *(round(x * 65536) for x in column))
    parts[b"wtpt"] = b"XYZ " + struct.pack(">4x3i", 63190, 65536, 54061)
    place, table = 132 + 12 * len(parts), struct.pack(">I", len(parts))
    for name, part in parts.items():
        table += name + struct.pack(">II", place, len(part))
        place += len(part)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x", place, 0x02100000, b"mntr", kind, b"XYZ ", b"acsp", 63190, 65536, 54061
    )
    return head + table + b"".join(parts.values())


def srgb(numbers, gamma, space="sRGB"):
    """What numbers from 0 to 255 are in sRGB."""
    light = (np.asarray(numbers, float) / 255) ** gamma @ (np.linalg.inv(matrix("sRGB")) @ matrix(space)).T
    return 255 * encoded(light)


def encoded(light):
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def numbers(source, **how):
    """The picture as numbers from 0 to 255, (H, W, 3)."""
    return (read(source, **how).permute(1, 2, 0).double() * 255).numpy()


def lab(source):
    return skimage.color.rgb2lab(numbers(source)[0, 0] / 255)


CHANCE = np.random.default_rng(0)
COLORS = CHANCE.integers(0, 256, (16, 24, 3), dtype=np.uint8)
RAMP = np.arange(256, dtype=np.uint8)[None]


def test_the_two_colors_of_reference():
    gray = saved(Image.new("L", (8, 8), 128), "PNG", icc_profile=icc(1.8))
    assert lab(gray) == pytest.approx([60.6, 0, 0], abs=0.1)
    red = saved(Image.new("RGB", (8, 8), (200, 60, 50)), "TIFF", icc_profile=icc(563 / 256, "Adobe RGB"))
    assert lab(red) == pytest.approx([52.0, 65.1, 47.4], abs=0.1)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_colors_are_converted_by_the_profile(gamma, space):
    file = saved(Image.fromarray(COLORS), "PNG", icc_profile=icc(gamma, space))
    right = srgb(COLORS, round(gamma * 256) / 256, space)
    assert np.abs(numbers(file) - right).max() < 1


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gray_is_converted_before_it_is_cut_to_eight_bits(gamma):
    exact = round(gamma * 256) / 256
    for profile in (icc(gamma), icc(gamma, "ProPhoto")):
        got = numbers(saved(Image.fromarray(RAMP), "PNG", icc_profile=profile))
        assert np.abs(got - srgb(RAMP[..., None].repeat(3, 2), exact)).max() < 0.6
        assert (got == got[..., :1]).all()
        deep = np.arange(0, 65536, 7, dtype=np.uint16)[None]
        right = srgb((deep / 257)[..., None].repeat(3, 2), exact)
        for form in ("PNG", "TIFF"):
            got = numbers(saved(Image.fromarray(deep), form, icc_profile=profile))
            assert np.abs(got - right).max() < (0.6 if profile == icc(gamma) else 1)


FORMS = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
Image.init()
for form in ("WEBP", "AVIF"):
    if form not in Image.OPEN or not features.check(form.lower()):
        del FORMS[form]


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("space", ["sRGB", "Adobe RGB"])
@pytest.mark.parametrize("channels", [3, 4])
def test_color_too_is_converted_before_it_is_cut_to_eight_bits(gamma, space, channels):
    # Dark, where a step of 8 bits of light is thirteen of sRGB, and colors that sRGB has.
    chance = np.random.default_rng(0)
    values = chance.integers(0, 3000, (16, 24, 1)) * chance.uniform(0.7, 1, (16, 24, 3))
    values = values.astype(np.uint16)
    right = srgb(values / 257, gamma, space)
    opaque = np.full((16, 24, channels - 3), 65535, np.uint16)
    held = np.concatenate([values, opaque], 2)
    profile = icc(gamma, space)
    files = [
        write_tiff(held, compression=compression, byteorder=order, iccprofile=profile)
        for compression in (None, "zlib")
        for order in "<>"
    ]
    for file in files:
        assert np.abs(numbers(file) - right).max() <= 1.01
    row = held[0].astype(">u2").tobytes()
    file = png(24, 16, 2 if channels == 3 else 6, row, iCCP=b"p\0\0" + zlib.compress(profile))
    assert np.abs(numbers(file)[0] - right[0]).max() <= 1.01
    # A page that is not the first, and one that lies on its side.
    both = write_tiff(held[::-1], held, iccprofile=profile)
    assert np.abs(numbers(both, page=2) - right).max() <= 1.01
    turned = write_tiff(np.rot90(held), iccprofile=profile, extratags=[(274, 3, 1, 6, True)])
    assert np.abs(numbers(turned) - right).max() <= 1.01


def curve_tag(kind):
    """An sRGB curve in each of the forms that ICC has: a table, and parametric curves of four kinds."""
    if kind == "table":
        x = np.linspace(0, 1, 4096)
        light = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        return b"curv" + struct.pack(">4xI", 4096) + np.round(light * 65535).astype(">u2").tobytes()
    numbers = {
        0: (2.4,),
        1: (2.4, 1 / 1.055, 0.055 / 1.055),
        2: (2.4, 1 / 1.055, 0.055 / 1.055, 0.001),
        3: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
        4: (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0),
    }[kind]
    return b"para" + struct.pack(f">4xHxx{len(numbers)}i", kind, *(round(x * 65536) for x in numbers))


@pytest.mark.parametrize("kind", ["table", 0, 1, 2, 3, 4])
@pytest.mark.parametrize("space", ["sRGB", "Adobe RGB"])
def test_curves_of_every_kind_are_those_of_littlecms(kind, space):
    # Of colors that 8 bits hold too: LittleCMS's own answer to the 8 bits is the reference.
    values = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    profile, curve = icc(1.0, space), curve_tag(kind)
    for channel in b"rgb":  # the curve goes to the end, and the table of tags says so
        place = profile.index(bytes([channel]) + b"TRC")
        profile = profile[: place + 4] + struct.pack(">II", len(profile), len(curve)) + profile[place + 12 :]
    profile += curve + bytes(-len(curve) % 4)
    profile = struct.pack(">I", len(profile)) + profile[4:]
    fine = numbers(write_tiff(values.astype(np.uint16) * 257, iccprofile=profile))
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG", icc_profile=profile)
    assert np.abs(fine - numbers(stream.getvalue())).max() <= 1.01
    assert np.abs(fine - values).max() > 2 or (space, kind) in (("sRGB", "table"), ("sRGB", 3), ("sRGB", 4))


def write_tiff(*pages, **options):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=options.pop("byteorder", "<")) as file:
        for array in pages:
            alpha = ["unassalpha"] if array.shape[2] == 4 else None
            file.write(array, photometric="rgb", extrasamples=alpha, metadata=None, **options)
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_profiles_of_every_kind_of_file(form):
    for mode, color, profile in (
        ("RGB", (200, 60, 50), icc(1.8, "Adobe RGB")),
        ("L", 128, icc(1.8)),
        ("L", 128, icc(1.8, "Display P3")),
    ):
        file = saved(Image.new(mode, (8, 8), color), form, icc_profile=profile, **FORMS[form])
        shown = np.broadcast_to(color, 3)
        right = srgb(shown, 461 / 256, "Adobe RGB" if mode == "RGB" else "sRGB")
        assert np.abs(numbers(file)[0, 0] - right).max() < 3


def test_photoshop_avif_and_jpeg_2000():
    red = srgb((200, 60, 50), 461 / 256, "Adobe RGB")
    assert np.abs(numbers(psd(3, (200, 60, 50), icc(1.8, "Adobe RGB"))) - red).max() < 1
    assert np.abs(numbers(psd(1, (128,), icc(1.8))) - srgb([128] * 3, 461 / 256)).max() < 1
    assert numbers(psd(4, (255, 0, 255, 255)))[0, 0] == pytest.approx([255, 0, 255])  # ink from 255 to 0
    if "AVIF" in FORMS:  # its own words on color: here Display P3
        file = saved(Image.new("RGB", (8, 8), (200, 60, 50)), "AVIF", **FORMS["AVIF"])
        assert b"colrnclx\0\1\0\x0d" in file
        file = file.replace(b"colrnclx\0\1\0\x0d", b"colrnclx\0\x0c\0\x0d")
        light = ((np.array([200, 60, 50]) / 255 + 0.055) / 1.055) ** 2.4
        right = 255 * encoded(np.linalg.inv(matrix("sRGB")) @ matrix("Display P3") @ light)
        assert np.abs(numbers(file)[0, 0] - right).max() < 3
    if not features.check("jpg_2000"):
        return
    file = saved(Image.new("RGB", (8, 8), (200, 60, 50)), "JPEG2000")
    box = file.index(b"colr") - 4
    profile = icc(1.8, "Adobe RGB")
    inside = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    outer = file.index(b"jp2h") - 4
    grown = struct.pack(">I", struct.unpack(">I", file[outer : outer + 4])[0] + len(inside) - 15)
    file = file[:outer] + grown + file[outer + 4 : box] + inside + file[box + 15 :]
    assert np.abs(numbers(file)[0, 0] - red).max() < 1


def test_a_profile_of_srgb_changes_nothing():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image in (Image.fromarray(COLORS), Image.fromarray(RAMP)):
        plain = numbers(saved(image, "PNG"))
        assert np.abs(numbers(saved(image, "PNG", icc_profile=profile)) - plain).max() <= 1


def test_inks_and_lab():
    # Without a profile: what each ink leaves, as Pillow has it. JPEG stores ink upside down.
    for form in ("TIFF", "JPEG"):
        file = saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), form)
    # A profile for inks, as small as can be: a table of two steps an ink, the L of paper or of none.
    # A profile for inks, as small as can be: a table of two steps an ink, Lab of paper or none.
    inks = np.array([[(1 - k) * 100 * (c + m + y < 3), 0, 0] for c, m, y, k in np.ndindex(2, 2, 2, 2)])
    table = np.stack([inks[:, 0] / 100 * 255, *[np.full(16, 128)] * 2], 1).round().astype(np.uint8)
    lut = b"mft1" + struct.pack(">4xBBBx9i", 4, 3, 2, *(np.eye(3).ravel() * 65536).astype(int))
    lut += bytes(range(256)) * 4 + table.tobytes() + bytes(range(256)) * 3
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x",
        144 + len(lut),
        0x02100000,
        b"prtr",
        b"CMYK",
        b"Lab ",
        b"acsp",
        63190,
        65536,
        54061,
    )
    profile = head + struct.pack(">I4sII", 1, b"A2B1", 144, len(lut)) + lut
    for form in ("TIFF", "JPEG"):
        file = saved(Image.new("CMYK", (8, 8), (0, 0, 0, 128)), form, icc_profile=profile)
        assert lab(file) == pytest.approx([50, 0, 0], abs=1.5)
        file = saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), form, icc_profile=profile)
        assert lab(file) == pytest.approx([100, 0, 0], abs=1)
    # A TIFF file of Lab needs none.
    file = tiff(({258: (8, 8, 8), 262: 8, 277: 3}, struct.pack("Bbb", 128, 30, -20)))
    xyz = skimage.color.lab2xyz([128 / 2.55, 30, -20], illuminant="D50")
    assert np.abs(numbers(file)[0, 0] - 255 * encoded(np.linalg.inv(matrix("sRGB")) @ xyz)).max() < 1.5


def test_what_png_says_without_a_profile():
    red, adobe = (
        bytes((200, 60, 50)),
        np.round(np.ravel(SPACES["Adobe RGB"]) * 100000).astype(">u4").tobytes(),
    )
    for gamma in GAMMAS:
        power = struct.pack(">I", round(100000 / gamma))
        right = srgb((200, 60, 50), gamma, "Adobe RGB")
        assert np.abs(numbers(png(1, 8, 2, red, gAMA=power, cHRM=adobe)) - right).max() < 1
        assert np.abs(numbers(png(1, 8, 2, red, gAMA=power)) - srgb((200, 60, 50), gamma)).max() < 1
        assert np.abs(numbers(png(1, 8, 0, b"\x32", gAMA=power)) - srgb([50] * 3, gamma)).max() < 0.6
        deep = numbers(png(1, 16, 0, b"\x01\x81", gAMA=power))  # 1.5 in 8 bits
        assert np.abs(deep - srgb([385 / 257] * 3, gamma)).max() < 0.6
    linear, profile = struct.pack(">I", 100000), b"a\0\0" + zlib.compress(icc(1.8, "Adobe RGB"))
    # A profile goes before the word sRGB, and this before the others; cICP before all.
    right = srgb((200, 60, 50), 461 / 256, "Adobe RGB")
    assert np.abs(numbers(png(1, 8, 2, red, iCCP=profile, gAMA=linear)) - right).max() < 1
    assert numbers(png(1, 8, 2, red, sRGB=b"\0", gAMA=linear, cHRM=adobe)) == pytest.approx(
        np.array([[(200, 60, 50)]])
    )
    light = ((np.array([200, 60, 50]) / 255 + 0.055) / 1.055) ** 2.4
    right = 255 * encoded(np.linalg.inv(matrix("sRGB")) @ matrix("Display P3") @ light)
    assert np.abs(numbers(png(1, 8, 2, red, cICP=bytes((12, 13, 0, 1)), iCCP=profile)) - right).max() < 1


def test_what_exif_and_tiff_say_without_a_profile():
    right = srgb((200, 60, 50), 563 / 256, "Adobe RGB")
    for form, how in FORMS.items():
        exif = Image.Exif()
        exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03"}}
        if form not in ("TIFF", "AVIF"):  # Pillow writes no such EXIF; AVIF's own words go before EXIF's
            file = saved(Image.new("RGB", (8, 8), (200, 60, 50)), form, exif=exif, **how)
            assert np.abs(numbers(file)[0, 0] - right).max() < 3, form
            exif[0x8769] = {0xA001: 1, 0xA005: {1: "R98"}}
            file = saved(Image.new("RGB", (8, 8), (200, 60, 50)), form, exif=exif, **how)
            assert numbers(file)[0, 0] == pytest.approx([200, 60, 50], abs=2), form
    white, *primaries = SPACES["Adobe RGB"]
    curve = np.round((np.arange(256) / 255) ** 1.8 * 65535).astype(int).tolist()
    colors = {318: white, 319: tuple(np.ravel(primaries).tolist())}
    right = srgb((200, 60, 50), 1.8, "Adobe RGB")
    colors |= {258: (8, 8, 8), 262: 2, 277: 3}
    assert np.abs(numbers(tiff((colors | {301: curve * 3}, bytes((200, 60, 50))))) - right).max() < 1
    for order in "<>":
        assert np.abs(numbers(tiff(({301: curve}, b"\x64"), order=order)) - srgb([100] * 3, 1.8)).max() < 0.7
    # Where white is 0, the curve is that of the numbers in the file.
    assert np.abs(numbers(tiff(({262: 0, 301: curve[::-1]}, b"\x9b"))) - srgb([100] * 3, 1.8)).max() < 0.7


def test_a_profile_that_cannot_be_used_is_told_once_and_the_numbers_stay():
    plain = Image.new("RGB", (8, 8), (200, 60, 50))
    zeros = {"gAMA": struct.pack(">I", 100000), "cHRM": bytes(32)}
    for file in (
        saved(plain, "PNG", icc_profile=b"no profile"),
        saved(plain, "TIFF", icc_profile=icc(1.8, "Adobe RGB")[:200]),
        saved(plain, "PNG", icc_profile=icc(1.8)),  # for gray
        saved(plain, "PNG", icc_profile=icc(1.8).replace(b"GRAY", b"CMYK")),
        png(1, 8, 2, bytes((200, 60, 50)), iCCP=b"a\0\0not packed"),
        png(1, 8, 2, bytes((200, 60, 50)), **zeros),
        png(1, 8, 2, bytes((200, 60, 50)), cICP=bytes((9, 16, 0, 1))),  # light of a wider range
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with open_picture(file, "holiday.png") as image:
                got = to_srgb(image)
        assert got.getpixel((0, 0)) == (200, 60, 50)
        assert len(told) == 1 and str(told[0].message).startswith("holiday.png has a color profile that")
        assert told[0].filename == __file__


# Numbers.


def packed(values, kind, order):
    if kind == "u12":
        bits = "".join(f"{value:012b}" for value in values)
        return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    return np.asarray(values).astype(f"{order}{kind[0]}{int(kind[1:]) // 8}").tobytes()


NUMBERS = [
    ("u8", (0, 51, 255), (0, 51, 255)),
    ("i8", (-128, 0, 127), (0, 0, 255)),
    ("i8", (0, 64, 127), (0, 128.5, 255)),
    ("u12", (0, 2184, 4095), (0, 136, 255)),
    ("u12", (4095, 819, 1), (255, 51, 0)),
    ("u16", (0, 21845, 65535), (0, 85, 255)),
    ("u16", (43690, 200, 129), (170, 0.8, 0.5)),
    ("i16", (-32768, 0, 32767), (0, 0, 255)),
    ("i16", (-1, 10922, 21845), (0, 85, 170)),
    ("u32", (0, 2**32 // 3, 2**32 - 1), (0, 85, 255)),
    ("u32", (2**31, 2**31 - 1, 65536), (127.5, 127.5, 0)),
    ("i32", (-5, 2**31 // 3, 2**31 - 1), (0, 85, 255)),
    ("u32", (0, 51, 255), (0, 51, 255)),
    ("i32", (-9, 51, 200), (0, 51, 200)),
    ("u32", (0, 13107, 65535), (0, 51, 255)),
    ("i32", (0, 13107, 300), (0, 51, 300 / 257)),
    ("f32", (0, 0.2, 1), (0, 51, 255)),
    ("f32", (-3, 0.2, 0.6), (0, 51, 153)),
    ("f32", (0, 50, 250), (0, 51, 255)),
    ("f32", (float("nan"), float("inf"), 0.2), (0, 255, 51)),
    ("f32", (float("-inf"), float("inf"), 400), (0, 255, 255)),
]


@pytest.mark.parametrize(("kind", "values", "right"), NUMBERS)
def test_numbers_of_every_depth_sign_order_and_polarity(kind, values, right):
    for order in "<>":
        for pack, pixels in (
            (1, packed(values, kind, order)),
            (8, zlib.compress(packed(values, kind, order))),
        ):
            tags = {256: 3, 258: int(kind[1:]), 259: pack, 339: {"u": 1, "i": 2, "f": 3}[kind[0]]}
            got = numbers(tiff((tags, pixels), order=order))
            assert np.abs(got[0] - np.array(right)[:, None]).max() <= 0.51, (order, pack)
            got = numbers(tiff((tags | {262: 0}, pixels), order=order))
            wanted = [0 if np.isnan(value) else 255 - x for value, x in zip(values, right, strict=True)]
            assert np.abs(got[0] - np.array(wanted)[:, None]).max() <= 0.51, (order, pack, "white is 0")


def test_a_ramp_of_sixteen_bits_with_white_as_zero(tmp_path):
    ramp = np.array([65535, 43690, 21845, 0], "<u2")
    (tmp_path / "a.tif").write_bytes(tiff(({256: 4, 258: 16, 262: 0}, ramp.tobytes())))
    got = read(tmp_path / "a.tif", gray=True)
    torch.testing.assert_close(got, torch.tensor([[[0, 1 / 3, 2 / 3, 1]]]), atol=1e-5, rtol=0)


def test_rows_of_twelve_bits_end_at_a_byte():
    rows = [(0, 2184, 4095), (4095, 0, 819)]
    pixels = b"".join(packed(row, "u12", "<") for row in rows)
    got = numbers(tiff(({256: 3, 257: 2, 258: 12}, pixels)))
    assert got[..., 0].round().tolist() == [[0, 136, 255], [255, 0, 51]]


def test_numbers_of_other_formats():
    assert numbers(b"P5 3 1 1023\n" + struct.pack(">3H", 0, 341, 1023))[0, :, 0].round().tolist() == [
        0,
        85,
        255,
    ]
    assert numbers(b"P5 3 1 65535\n" + struct.pack(">3H", 0, 200, 300))[0, :, 0].round().tolist() == [0, 1, 1]
    assert numbers(b"P5 3 1 15\n\0\5\x0f")[0, :, 0].round().tolist() == [0, 85, 255]
    assert numbers(b"P4 8 1\n\x0f")[0, :, 0].round().tolist() == [255] * 4 + [0] * 4
    assert numbers(png(3, 16, 0, struct.pack(">3H", 0, 200, 65535)))[0, :, 0].round().tolist() == [0, 1, 255]


def test_transparency_is_put_on_white_after_the_color_is_converted():
    profile = b"a\0\0" + zlib.compress(icc(1.8, "Adobe RGB"))
    right = srgb((200, 60, 50), 461 / 256, "Adobe RGB") * 0.2 + 255 * 0.8
    assert np.abs(numbers(png(1, 8, 6, bytes((200, 60, 50, 51)), iCCP=profile)) - right).max() < 1
    palette = {"PLTE": bytes((200, 60, 50)), "tRNS": b"\x33", "iCCP": profile}
    assert np.abs(numbers(png(1, 8, 3, b"\0", **palette)) - right).max() < 1
    gray = {"iCCP": b"a\0\0" + zlib.compress(icc(1.8))}
    right = srgb([100] * 3, 461 / 256) * 0.2 + 255 * 0.8
    assert np.abs(numbers(png(1, 8, 4, bytes((100, 51)), **gray)) - right).max() < 1


@pytest.mark.parametrize(
    ("depth", "kind", "row", "key", "right"),
    [
        (1, 0, b"\x40", (0,), (255, 255)),
        (2, 0, b"\x10", (1,), (0, 255)),
        (4, 0, b"\x12", (1,), (255, 34)),
        (8, 0, b"\5\6", (5,), (255, 6)),
        (16, 0, b"\x20\0\x20\1", (0x2001,), (32, 255)),
        (8, 2, bytes(range(6)), (0, 1, 2), (255, 3)),
        (16, 2, bytes(range(12)), (1, 0x203, 0x405), (255, 6)),
    ],
)
def test_the_transparent_color_of_png(depth, kind, row, key, right):
    got = numbers(png(2, depth, kind, row, tRNS=struct.pack(f">{len(key)}H", *key)))
    assert got[0, :, 0].round().tolist() == list(right)


# The right way up.

UPRIGHT = np.kron(
    np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]), np.ones((24, 40, 1))
)
UPRIGHT = UPRIGHT.astype(np.uint8)
LYING = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.swapaxes(0, 1),
    6: np.rot90(UPRIGHT),
    7: np.rot90(UPRIGHT, 2).swapaxes(0, 1),
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", LYING)
def test_pictures_are_turned_once(tmp_path, orientation):
    lying = np.ascontiguousarray(LYING[orientation])
    gray = UPRIGHT[..., :1] // 2
    size = {256: lying.shape[1], 257: lying.shape[0], 274: orientation}
    color = {258: (8, 8, 8), 262: 2, 277: 3} | size
    files = [(UPRIGHT, tiff((color, lying.tobytes())))]
    files.append((UPRIGHT, tiff((color | {259: 8}, zlib.compress(lying.tobytes())))))
    files.append((gray, tiff((size, (lying[..., 0] // 2).tobytes()))))
    deep = (lying[..., 0] // 2).astype("<u2") * 257
    files.append((gray, tiff((size | {258: 16}, deep.tobytes()))))
    files.append((255 - gray, tiff((size | {258: 16, 262: 0}, deep.tobytes()))))
    for form, how in FORMS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        files.append((UPRIGHT, saved(Image.fromarray(lying), form, exif=exif, **how)))
    for number, (right, file) in enumerate(files):
        (tmp_path / str(number)).write_bytes(file)
        for source in (file, tmp_path / str(number), io.BytesIO(file)):
            got = numbers(source)
            assert got.shape == UPRIGHT.shape, number
            assert np.abs(got - right).mean() < 3, number
        with open_picture(file) as image:
            assert np.abs(square(image, 48) - right[:, 16:64].astype(float)).mean() < 8, number


# Pages.


def page(width, height, value, **tags):
    more = {int(name[1:]): entry for name, entry in tags.items()}
    return {256: width, 257: height} | more, bytes([value]) * (width * height)


@pytest.mark.parametrize(
    ("files", "values"),
    [
        ([page(8, 6, 10), page(8, 6, 20), page(8, 6, 30)], [10, 20, 30]),
        ([page(8, 6, 10, _254=2), page(8, 6, 20, _254=2)], [10, 20]),
        ([page(8, 6, 10, _254=1), page(32, 24, 20)], [20]),
        ([page(32, 24, 20), page(16, 12, 10, _254=1), page(8, 6, 10, _255=2)], [20]),
        ([page(8, 6, 10), page(32, 24, 20)], [20]),  # not marked
        ([page(32, 24, 20), page(10, 8, 10), page(32, 24, 30)], [20, 30]),
        ([page(32, 24, 20), page(32, 24, 10, _254=4)], [20]),  # what is transparent
        ([page(8, 8, 10), page(32, 24, 20)], [10, 20]),  # of another shape
        ([page(16, 12, 10), page(32, 24, 20)], [10, 20]),  # scanned at half the resolution
        ([page(8, 6, 10, _254=1)], [10]),
    ],
)
def test_the_pages_of_a_tiff_file_are_its_pictures(tmp_path, files, values):
    for order in "<>":
        (tmp_path / "a.tif").write_bytes(tiff(*files, order=order))
        assert pages(tmp_path / "a.tif") == len(values)
        for number, value in enumerate(values, 1):
            assert (numbers(tmp_path / "a.tif", page=number).round() == value).all()
        with pytest.raises(ValueError, match="page must be at least 1; got 0"):
            read(tmp_path / "a.tif", page=0)
        for number in (len(values) + 1, 99):
            with pytest.raises(
                ValueError, match=rf"a.tif has {len(values)} pages?; there is no page {number}$"
            ):
                read(tmp_path / "a.tif", page=number)


def test_a_camera_s_raw_file_is_no_picture():
    with pytest.raises(ValueError, match="raw data"):
        read(tiff(page(8, 6, 10, _254=1, _330=8)))


def test_animations_and_icons_are_one_picture():
    first, second = (Image.new("RGB", (64, 64), color) for color in ((255, 0, 0), (0, 0, 255)))
    for form in {"GIF", "PNG", "WEBP", "AVIF", "MPO"} & {"GIF", "PNG", "MPO", *FORMS}:
        file = saved(first, form, save_all=True, append_images=[second])
        assert pages(file) == 1, form
        assert numbers(file)[0, 0] == pytest.approx([255, 0, 0], abs=4), form
    assert read(saved(first, "ICO", sizes=[(16, 16), (48, 48), (32, 32)])).shape == (3, 48, 48)
    dcx = b"".join(saved(Image.new("RGB", (8, 8), (value,) * 3), "PCX") for value in (10, 20))
    half = len(dcx) // 2
    dcx = struct.pack("<4I", 987654321, 16, 16 + half, 0) + dcx
    assert pages(dcx) == 2 and numbers(dcx, page=2)[0, 0, 0] == pytest.approx(20)


# What is a picture, by its name.


def test_endings_are_those_that_pillow_reads():
    assert {
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".png",
        ".tif",
        ".tga",
        ".bmp",
        ".gif",
        ".pgm",
        ".psd",
        ".mpo",
    } <= suffixes()
    assert (".webp" in suffixes(), ".avif" in suffixes(), ".jp2" in suffixes()) == (
        features.check("webp"),
        "AVIF" in Image.OPEN and features.check("avif"),
        features.check("jpg_2000"),
    )
    assert (
        not {".eps", ".ps", ".pdf", ".mpg", ".h5", ".grib", ".bufr", ".wmf", ".emf", ".txt", ".zip", ""}
        & suffixes()
    )
    # Each that Pillow writes comes back through the door.
    image = Image.new("RGB", (32, 32), (204, 51, 51))
    for ending, form in Image.registered_extensions().items():
        if form in Image.SAVE and ending in suffixes() and form not in ("MSP", "XBM", "SPIDER"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    file = saved(image, form)
                except (OSError, ValueError):  # formats for palettes alone
                    file = saved(image.convert("P"), form)
            assert numbers(file)[8, 8] == pytest.approx([204, 51, 51], abs=9), ending


@pytest.fixture
def folder(tmp_path):
    """Pictures in folders, behind links, and much that is none."""
    root, far = tmp_path / "root", tmp_path / "far"
    for path in ("root/b.jpg", "root/a/c.JFIF", "root/a/d.tga", "far/e.png", "root/.hidden/f.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    for path in ("notes.txt", "Thumbs.db", "a/.DS_Store", "a/clip.mpg", ".g.png"):
        (root / path).write_bytes(b"x")
    (root / "far").symlink_to(far)
    (root / "again").symlink_to(root / "a")
    (root / "a" / "up").symlink_to("..")
    (far / "self").symlink_to(far)
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "h.jpg").symlink_to(far / "e.png")
    (root / "nowhere.jpg").symlink_to("nothing")
    os.mkfifo(root / "pipe.jpg")
    (root / "folder.png").mkdir()
    return root


def test_pictures_are_found_behind_links_and_others_are_counted(folder):
    found = listing(folder)
    assert found.names == ["a/c.JFIF", "a/d.tga", "b.jpg", "far/e.png", "h.jpg"]
    assert found.others == ["a/clip.mpg", "loop.jpg", "notes.txt", "nowhere.jpg", "pipe.jpg"]
    assert found.note() == "5 other files were passed over"
    assert picture_files(folder) == found.names
    (folder / "alias").symlink_to(folder)
    assert listing(folder / "alias").names == found.names


def test_a_zip_file_is_listed_alike(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("b.jpe", "a/c.png", "a/notes.txt", "__MACOSX/._c.png", ".DS_Store", "a/Thumbs.db"):
            archive.writestr(name, "x")
    found = listing(tmp_path / "a.zip")
    assert (found.names, found.others) == (["a/c.png", "b.jpe"], ["a/notes.txt"])
    assert found.note() == "1 other file was passed over"
    whole = (tmp_path / "a.zip").read_bytes()
    for damaged in (whole[: len(whole) // 2], whole.replace(b"PK\1\2", b"PK\1\3")):
        (tmp_path / "cut.zip").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"cut.zip is a damaged zip file"):
            listing(tmp_path / "cut.zip")


def test_heic_gets_advice(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    if ".heic" in suffixes():
        return
    with pytest.raises(ValueError, match="no pictures in .*; 1 other file.*pillow-heif"):
        picture_files(tmp_path)
    with pytest.raises(ValueError, match="a.heic can't be read: .*pillow-heif"):
        read(tmp_path / "a.heic")


# What can't be read.


def test_errors_are_a_sentence_with_the_name_once(tmp_path, folder):
    photo = saved(Image.fromarray(COLORS), "PNG")
    cases = {
        "empty.jpg": b"",
        "text.jpg": b"no picture at all",
        "half.png": photo[: len(photo) // 2],
        "flipped.png": photo[:60] + bytes(20) + photo[80:],
        "half.tif": saved(Image.fromarray(COLORS), "TIFF")[:600],
        "half.webp": saved(Image.fromarray(COLORS), "WEBP", lossless=True)[:300],
        "half.gif": saved(Image.fromarray(COLORS), "GIF")[:300],
        "head.jpg": saved(Image.fromarray(COLORS), "JPEG")[:20],
        "float.tif": tiff(({258: 64, 339: 3}, bytes(8))),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in cases] + [
        folder / "pipe.jpg",
        folder / "folder.png",
        folder / "loop.jpg",
    ]
    for path in paths:
        with pytest.raises(ValueError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path} can't be read: ") and message.count(path.name) == 1, message
        assert "<" not in message and "\n" not in message, message
    for path in (tmp_path / "nothing.jpg", folder / "nowhere.jpg", ""):
        with pytest.raises(FileNotFoundError, match="no picture at"):
            read(path)
    for source in (b"", io.BytesIO(b"text")):
        with (
            pytest.raises(ValueError, match="^a.jpg in b.zip can't be read: "),
            open_picture(source, "a.jpg in b.zip"),
        ):
            pass
    with pytest.raises(ValueError, match="got an empty text"):
        listing("")


def test_jpeg_without_its_end_is_read_if_nothing_else_is_missing():
    smooth = Image.fromarray(COLORS).resize((72, 50), Image.Resampling.BICUBIC)
    gray, one = smooth.convert("L"), Image.new("L", (64, 64), 128)
    for image, how in ((smooth, {}), (smooth, {"quality": 95, "optimize": True}), (gray, {}), (one, {})):
        file = saved(image, "JPEG", **how)
        assert file.endswith(b"\xff\xd9")
        for cut in range(1, 9):
            if cut <= 2:
                assert (numbers(file[:-cut]) == numbers(file)).all()
            else:
                with pytest.raises(ValueError, match="cut short"):
                    read(file[:-cut])
        with pytest.raises(ValueError, match="can't be read"):
            read(file[: -len(file) // 4])
        # Bytes after the end, of whatever sort, are no part of the picture.
        assert (numbers(file + b"\xff\xda after") == numbers(file)).all()
    with pytest.raises(ValueError, match="cut short"):
        read(saved(smooth, "JPEG", progressive=True)[:-2])


def test_pictures_of_many_pixels(monkeypatch):
    files = {form: saved(Image.new("L", (40, 30)), form) for form in ("PNG", "JPEG", "TIFF", "GIF", "BMP")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for limit in (1200, 601, 600, None):
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
            for form, file in files.items():
                assert read(file).shape == (3, 30, 40), form
                with open_picture(file) as image:
                    assert square(image, 30).shape == (30, 30, 3)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        for form, file in files.items():
            with pytest.raises(ValueError, match="a.x can't be read: it has 0.0012 megapixels") as caught:
                with open_picture(file, "a.x"):
                    pass
            assert "limit of 0.0008" in str(caught.value) and "PIL.Image.MAX_IMAGE_PIXELS" in str(
                caught.value
            ), form
            assert "DOS" not in str(caught.value)


def test_too_little_memory_is_told_with_the_pictures_name_and_size(monkeypatch):
    file = saved(Image.new("L", (1500, 1000)), "PNG")

    def fail(*arguments, **keywords):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch.Tensor, "float", fail)
    with pytest.raises(MemoryError, match="the picture can't be read: .* memory for its 1.5 megapixels"):
        read(file)


def test_pillow_s_warnings_are_kept_back_in_the_thread_that_reads_alone(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    file = saved(Image.new("L", (13, 13)), "PNG")
    inside, outside = threading.Event(), threading.Event()

    def other():
        assert inside.wait(10)
        with Image.open(io.BytesIO(file)):
            outside.set()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        thread = threading.Thread(target=other)
        thread.start()
        with open_picture(file) as image:
            inside.set()
            assert outside.wait(10)
            image.crop((0, 0, 12, 12))
            warnings.warn("of the program's own", stacklevel=1)
        thread.join()
    kinds = [warning.category for warning in told]
    assert kinds == [Image.DecompressionBombWarning, UserWarning]


def test_a_file_with_damaged_exif_is_read_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for exif in (
            b"Exif\0\0no EXIF",
            b"Exif\0\0II*\0\x08\0\0\0\xff\xff\1\1\1\1",
            b"Exif\0\0MM\0*\0\0\0\x08\0\1\x87\x69",
        ):
            for form in ("JPEG", "PNG"):
                file = saved(Image.new("RGB", (8, 8), (200, 60, 50)), form, exif=exif)
                assert numbers(file)[0, 0] == pytest.approx([200, 60, 50], abs=2)


def test_pillow_s_setting_for_cut_files_is_honored(monkeypatch):
    file = saved(Image.fromarray(COLORS), "JPEG")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert read(file[: -len(file) // 8]).shape == (3, 16, 24)


def test_a_square_is_converted_by_the_profile():
    file = saved(
        Image.new("RGB", (90, 60), (200, 60, 50)), "JPEG", icc_profile=icc(1.8, "Adobe RGB"), quality=100
    )
    with open_picture(file) as image:
        pixels = square(image, 7)
    assert pixels.shape == (7, 7, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels - srgb((200, 60, 50), 461 / 256, "Adobe RGB")).max() < 4
