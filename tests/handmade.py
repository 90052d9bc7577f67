"""Files made by hand, from their specifications: PNG, TIFF and color profiles; and the arithmetic of color.

Nothing here comes from the library, so that the two can be held against each other.
"""

import struct
import zlib

import numpy as np

# Color: CIE 15, IEC 61966-2-1, and the Bradford adaptation of ICC.1.

D50, D65 = (0.9642, 1.0, 0.8249), (0.3127, 0.3290)
PRIMARIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    "Rec. 2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    "ProPhoto": ((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), (0.345704, 0.358540)),
}
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def linear(coded):
    """From sRGB values in [0, 1] to light."""
    coded = np.asarray(coded, float)
    return np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)


def coded(light):
    """From light to sRGB values in [0, 1]."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def lightness(gray):
    """CIE L of a gray in sRGB."""
    light = linear(gray)
    return np.where(light > (6 / 29) ** 3, 116 * np.cbrt(light) - 16, light * (29 / 3) ** 3)


def gray_of_lightness(values):
    """The sRGB gray that has this CIE L."""
    values = np.asarray(values, float)
    return coded(np.where(values > 8, ((values + 16) / 116) ** 3, values * (3 / 29) ** 3))


def matrix(primaries):
    """Linear RGB of these primaries and this white to XYZ, adapted to D50; (3, 3)."""
    *corners, white = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries]
    columns = np.stack(corners, 1)
    cones = (_BRADFORD @ D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ columns * np.linalg.solve(columns, white)


_TO_SRGB = np.linalg.inv(matrix(PRIMARIES["sRGB"]))


def gray_of_xyz(xyz):
    """The sRGB gray as light as a color, given as XYZ at D50, (..., 3). It must lie within sRGB."""
    light = np.asarray(xyz) @ _TO_SRGB.T
    assert light.min() > -1e-3 and light.max() < 1.001, f"outside sRGB: {light}"
    return coded(light.clip(0, 1) @ (0.2126, 0.7152, 0.0722))


def gray_of_color(values, primaries="sRGB", decode=linear):
    """The sRGB gray as light as these colors, (..., 3) in [0, 1], of these primaries and this curve."""
    primaries = PRIMARIES.get(primaries, primaries)
    return gray_of_xyz(decode(np.asarray(values, float)) @ matrix(primaries).T)


def gray_of_lab(lab):
    """The sRGB gray as light as a color, given as Lab at D50, (..., 3)."""
    level = (np.asarray(lab, float)[..., :1] + 16) / 116
    root = level + np.asarray(lab, float)[..., 1:2] * (0.002, 0, 0)
    root = root - np.asarray(lab, float)[..., 2:] * (0, 0, 0.005)
    return gray_of_xyz(np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29)) * D50)


# Color profiles: ICC.1:2001-04 (version 2) and ICC.1:2010 (version 4).


def _fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def curve(*values):
    """Nothing: a straight line. One number: a gamma. More: a table of values in [0, 1]."""
    words = [round(values[0] * 256)] if len(values) == 1 else [round(value * 65535) for value in values]
    return b"curv" + struct.pack(f">2I{len(words)}H", 0, len(words), *words)


def formula(kind, *parameters):
    return b"para" + struct.pack(">IHH", 0, kind, 0) + _fixed(*parameters)


def point(*xyz):
    return b"XYZ " + bytes(4) + _fixed(*xyz)


def _lab_words(lab, full):
    # Version 2 ends at 0xFF00, version 4 at 0xFFFF.
    lightness, a, b = lab
    unit = 65535 / 255 if full else 256
    return [min(65535, round(value * unit)) for value in (lightness * 2.55, a + 128, b + 128)]


def table(corners, bits=16):
    """A lut8 or lut16 of Lab values at the corners of the device's cube, the first channel slowest."""
    inputs = int(np.log2(len(corners)))
    head = struct.pack(">I4B", 0, inputs, 3, 2, 0) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    if bits == 8:
        line = bytes(range(256))
        values = bytes(min(255, round(v)) for L, a, b in corners for v in (L * 2.55, a + 128, b + 128))
        return b"mft1" + head + line * inputs + values + line * 3
    words = [word for lab in corners for word in _lab_words(lab, False)]
    line = struct.pack(">2H", 0, 65535)
    values = struct.pack(f">{len(words)}H", *words)
    return b"mft2" + head + struct.pack(">2H", 2, 2) + line * inputs + values + line * 3


def modern_table(corners):
    """The same as lutAToB of version 4: curves, a table, curves."""
    inputs = int(np.log2(len(corners)))
    words = [word for lab in corners for word in _lab_words(lab, True)]
    values = bytes([2] * inputs + [0] * (16 - inputs) + [2, 0, 0, 0])
    values += struct.pack(f">{len(words)}H", *words)
    lines = curve() * 3
    values += bytes(-len(values) % 4)
    offsets = (32, 0, 0, 32 + len(lines), 32 + len(lines) + len(values))
    return b"mAB " + struct.pack(">I4B5I", 0, inputs, 3, 0, 0, *offsets) + lines + values + curve() * inputs


def profile(space, tags, version=2, pcs=b"XYZ ", kind=b"mntr"):
    """A profile of these tags, a dict of signatures and data."""
    text = "made by hand"
    if version == 2:
        about = b"desc" + struct.pack(">2I", 0, len(text) + 1) + text.encode() + bytes(79)
        rights = b"text" + bytes(4) + b"None claimed\0"
    else:
        wide = text.encode("utf-16-be")
        about = b"mluc" + struct.pack(">3I4s2I", 0, 1, 12, b"enUS", len(wide), 28) + wide
        rights = about
    tags = {b"desc": about, b"cprt": rights, b"wtpt": point(*D50), **tags}
    place, entries, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        entries += struct.pack(">4s2I", name, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4x2H4s4s4s6H4s", place + len(body), version << 8, 0, kind, space, pcs, *TODAY, b"acsp"
    )
    head += bytes(28) + _fixed(*D50) + bytes(48)
    return head + struct.pack(">I", len(tags)) + entries + body


TODAY = (2026, 1, 1, 0, 0, 0)


def rgb_profile(primaries, *curves, version=2, data=b""):
    """A profile of three primaries; one curve for all, or one for each; and private data."""
    columns = matrix(PRIMARIES[primaries]).T
    curves = curves * 3 if len(curves) == 1 else curves
    tags = {name: point(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags |= dict(zip((b"rTRC", b"gTRC", b"bTRC"), curves, strict=True))
    return profile(b"RGB ", tags | ({b"zzzz": b"data" + bytes(8) + data} if data else {}), version)


# PNG: W3C, third edition.


def packed(values, depth):
    """Rows of whole numbers, (H, N), as bytes: `depth` bits each, the highest first, a row ends at a byte."""
    values = np.asarray(values).astype(np.int64)
    bits = values[..., None] >> np.arange(depth - 1, -1, -1) & 1
    return [row.tobytes() for row in np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)]


def chunk(name, data, wrong=0):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data) ^ wrong)


def png(values, depth=8, kind=0, *chunks, interlaced=False, size=None, wrong=0):
    """A picture of samples (H, W) or (H, W, channels); `chunks` stand before the pixels."""
    values = np.asarray(values)
    height, width = size or values.shape[:2]
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    pixels = b""
    for top, left, down, right in steps if interlaced else [(0, 0, 1, 1)]:
        part = values[top::down, left::right]
        if part.size:
            pixels += b"".join(b"\0" + row for row in packed(part.reshape(len(part), -1), depth))
    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, kind, 0, 0, interlaced), wrong)
    parts = [
        head,
        *(chunk(*one) for one in chunks),
        chunk(b"IDAT", zlib.compress(pixels)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# TIFF: revision 6.0, its technical notes, and BigTIFF.

_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "b": 6, "u": 7, "h": 8, "i": 9, "f": 11, "d": 12, "Q": 16}


def sheet(
    values, bits=8, photometric=1, order="<", sign=1, rows=None, planar=1, tile=None, pack=None, **tags
):
    """One page for :func:`tiff`: its entries and its strips or tiles.

    `values` are (H, W) or (H, W, channels); `rows` a strip; `pack` compresses a strip. More entries as
    t274=("H", 6).
    """
    values = np.asarray(values)
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    layers = list(np.moveaxis(values, 2, 0)) if planar == 2 else [values]
    blocks = []
    for layer in layers:
        if tile:
            down, across = -(-height // tile) * tile, -(-width // tile) * tile
            whole = np.zeros((down, across, *layer.shape[2:]), values.dtype)
            whole[:height, :width] = layer
            blocks += [
                whole[y : y + tile, x : x + tile]
                for y in range(0, down, tile)
                for x in range(0, across, tile)
            ]
        else:
            blocks += [layer[y : y + (rows or height)] for y in range(0, height, rows or height)]
    strips = [_samples(block.reshape(len(block), -1), bits, order, sign) for block in blocks]
    entries = {
        256: ("I", width),
        257: ("I", height),
        258: ("H", [bits] * channels),
        259: ("H", 1),
        262: ("H", photometric),
        277: ("H", channels),
        284: ("H", planar),
        339: ("H", [sign] * channels),
    }
    entries |= {322: ("I", tile), 323: ("I", tile)} if tile else {278: ("I", rows or height)}
    entries |= {int(name[1:]): entry for name, entry in tags.items()}
    return entries, [pack(strip) if pack else strip for strip in strips]


def _samples(block, bits, order, sign):
    if sign == 3:
        return block.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (16, 32):
        return block.astype(f"{order}{'i' if sign == 2 else 'u'}{bits // 8}").tobytes()
    return b"".join(packed(block, bits))


def tiff(*sheets, order="<", big=False):
    """A file of these pages. The pixels of a page stand before its directory."""
    word, number = ("Q", 8) if big else ("I", 4)
    head = {"<": b"II", ">": b"MM"}[order]
    out = bytearray(head + (struct.pack(order + "3H", 43, 8, 0) if big else struct.pack(order + "H", 42)))
    link = len(out)
    out += bytes(number)
    for entries, strips in sheets:
        places = []
        for strip in strips:
            places.append(len(out))
            out += strip + bytes(len(strip) % 2)
        tiled = 322 in entries
        sizes = [len(strip) for strip in strips]
        entries = {324 if tiled else 273: ("I", places), 325 if tiled else 279: ("I", sizes)} | entries
        rows = b""
        for tag, (kind, values) in sorted(entries.items()):
            if isinstance(values, bytes):
                count, data = len(values), values
            else:
                values = [values] if isinstance(values, (int, float)) else list(values)
                count = len(values)
                if kind == "R":
                    data = b"".join(struct.pack(order + "2I", round(value * 1e6), 10**6) for value in values)
                else:
                    data = struct.pack(f"{order}{count}{kind}", *values)
            if len(data) > number:
                place = len(out)
                out += data + bytes(len(data) % 2)
                data = struct.pack(order + word, place)
            rows += struct.pack(f"{order}2H{word}", tag, _TYPES[kind], count) + data.ljust(number, b"\0")
        out[link : link + number] = struct.pack(order + word, len(out))
        out += struct.pack(order + ("Q" if big else "H"), len(entries)) + rows
        link = len(out)
        out += bytes(number)
    return bytes(out)


def with_segments(jpeg, marker, *contents):
    """A JPEG file with these segments at its head."""
    parts = (b"\xff" + bytes([marker]) + struct.pack(">H", len(one) + 2) + one for one in contents)
    return jpeg[:2] + b"".join(parts) + jpeg[2:]


def exif(orientation, order="<", kind="H"):
    """The EXIF entry of a picture's orientation, without the name before it."""
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    value = struct.pack(order + kind, orientation).ljust(4, b"\0")
    return head + struct.pack(order + "3HI", 1, 274, _TYPES[kind], 1) + value + bytes(4)


def turned(values, orientation):
    """How a picture stored with this orientation has to be seen."""
    values = np.asarray(values)
    if orientation in (5, 6, 7, 8):  # the first row stands upright, at a side
        values = values.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)  # the first row (5 to 8: the first column) is at the bottom
    across = orientation in (2, 3, 6, 7)
    return values[:: -1 if down else 1, :: -1 if across else 1]
