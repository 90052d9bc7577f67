"""Where Pillow reads other numbers than a file holds: the right values, by hand or by another writer."""

import base64
import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from test_pictures import icc, numbers, png, srgb, write_tiff

CHANCE = np.random.default_rng(0)
COLORS = CHANCE.integers(0, 256, (6, 9, 3), dtype=np.uint8)

# 16 x 2 pixels of JPEG 2000 by imagecodecs 2026.3.6: a ramp of 12 bits from 1100 to 3000, all white, ramps of
# 4 bits and of 1, and one of signed 16 from 0 to 32767. Pillow writes no such depths.
JPEG_2000 = {
    "rgb12": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000020000G00RpL0000001sntY;pkr000005"
        "C8xGv1)KKWB*V8Q2;Lh000005C8xG0ssI200000000005C8xG0ssI2000000009E0RamE0Sf^E|55-9000010RRL900IA800"
        "cl_|6~9q00BdCWnpw>WFTUBAWv{*Zc0!^M<8}(a&u{KZXhx)H7+#&kN^q*00000IRF9wlgI2#2#<2mNaN2G0(!}0p<b47(C@"
        "c5NF;&aOuFaDaBe(vW{}M=<A{KO|Je"
    ),
    "white12": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000020000G00RpL0000001sntY;pkr000005"
        "C8xGk7{r-WB*V8Q2;Lh000005C8xG0ssI200000000005C8xG0ssI2000000009E0RamE0Sf^E|55-9000010RRL900IA800"
        "cl_|6~9q00BdCWnpw>WFTUBAWv{*Zc0!^M<8}(a&u{KZXhx)H7+#&kN^q*000007XShOlh5Q30oegOfPnwm"
    ),
    "gray4": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000020000G009FB0000001sntY;pkr000005"
        "dZ)HkZN!;WB*V8Q2;3b000005C8xG0ssI200000000005C8xG0ssI200000000340RjI~01N;C009611Oxy9|6BkBKp_8Q03"
        "`qcLvm$dbY)~9VtF7>aAj^vP(?=|c4cyNX>V>IGA=bPH2;tQ3IG5A0015U0soWVAkYa{Bw|Nefm=2#u=39T*#"
    ),
    "rgb4": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000020000G00RRD0000001sntY;pkr000005"
        "C8xGm}+n`WB*V8Q2;Lh000005C8xG0ssI200000000005C8xG0ssI200000000960RaO60RsU6|55-9000010RRL900IA800"
        "clF|6~9q00BdCWnpw>WFTUBAWv{*Zc0!^M<8}(a&u{KZXhx)H7+#&kN^q*00000AOHdXliwiF30EXyM_PefHY~96&VYdb*#"
    ),
    "gray1": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000020000G009680000001sntY;pkr000005"
        "dZ)HhH7v!WB*V8Q2;3b000005C8xG0ssI200000000005C8xG0ssI200000000310RjI~01N;C009611Oxy9|6BkBKnVY203"
        "`qcLvm$dbY)~9VtF7>aAj^vP(?=|c4cyNX>V>IGA=bPH2;tQ3IG5A000yK0soWI00{QI$^Y2"
    ),
    "signed16": (
        "0000CYEU2`4GM<}0000KW^{RQYH%_j00000YH%_j0000jYH%`W0000MX=r3}000020000G00EB&0000001sntY;pkr000005"
        "dZ)H#cFUeWB*V8Q2;3b000005C8xG0ssI200000000005C8xG0ssI2000000004x0RjI~01N;C009611Oxy9|6BkBK!E>b03"
        "`qcLvm$dbY)~9VtF7>aAj^vP(?=|c4cyNX>V>IGA=bPH2;tQ3IG5A002_}0soWF{4oS7r#nNive!Yc-@{}-l}zm@6pm(#G#("
        "^)MQzvE=-JM5#!4FyO!XQMAqN`Uuj_HnbD%Pru>#UFLF1GLw(I|Y|Je"
    ),
}


@pytest.mark.parametrize(
    "name, right",
    [
        ("rgb12", np.linspace(1100, 3000, 16).round() / 4095),
        ("gray4", np.linspace(0, 1, 16)),
        ("rgb4", np.linspace(0, 1, 16)),
        ("gray1", np.array([0, 1] * 8)),
        ("signed16", np.linspace(0, 1, 16)),
    ],
)
def test_jpeg_2000_of_every_depth_and_sign(name, right):
    assert np.abs(numbers(base64.b85decode(JPEG_2000[name]))[0, :, 0] - 255 * right).max() <= 1.01


def test_jpeg_2000_whose_white_pillow_makes_black_is_refused():
    with pytest.raises(ValueError, match="JPEG 2000 with color of 12 bits"):
        numbers(base64.b85decode(JPEG_2000["white12"]))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_planes_of_16_bits_that_are_not_compressed(order, count, tile):
    values = CHANCE.integers(0, 65536, (count, 20, 24), dtype=np.uint16)
    values[3:] = 65535
    alpha = ["unassalpha"] * (count - 3)
    stream = io.BytesIO()
    how = {"planarconfig": "separate", "photometric": "rgb", "extrasamples": alpha, "tile": tile}
    tifffile.imwrite(stream, values, byteorder=order, metadata=None, **how)
    assert np.abs(numbers(stream.getvalue()) - values[:3].transpose(1, 2, 0) / 257).max() <= 0.51


def test_planes_of_16_bits_of_ink_are_refused():
    stream = io.BytesIO()
    ink = np.zeros((4, 4, 5), np.uint16)
    tifffile.imwrite(stream, ink, planarconfig="separate", photometric="separated", metadata=None)
    with pytest.raises(ValueError, match="16 bits in planes"):
        numbers(stream.getvalue())


def whole(source):
    return numbers(source).round()


def psd(mode, bits, planes, layers=None):
    """A PSD file; with `layers` a section of layers that counts so many."""
    count, height, width = planes.shape[0], planes.shape[1], planes.shape[2] * (8 if bits == 1 else 1)
    section = b"" if layers is None else struct.pack(">Ihxx", 4, layers)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, count, height, width, bits, mode)
    return head + bytes(8) + struct.pack(">I", len(section)) + section + bytes(2) + planes.tobytes()


def test_a_psd_bitmap_is_black_where_it_is_1():
    read = whole(psd(0, 1, np.array([[[0x80], [0x0F]]], np.uint8)))[..., 0]
    assert read.tolist() == [[0, *[255] * 7], [255] * 4 + [0] * 4]


@pytest.mark.parametrize("layers, clear", [(None, False), (1, False), (-1, True)])
def test_a_fourth_channel_of_psd_is_transparency_only_with_layers_below_zero(layers, clear):
    planes = np.concatenate([COLORS.transpose(2, 0, 1), np.zeros((1, 6, 9), np.uint8)])
    right = np.full_like(COLORS, 255) if clear else COLORS
    assert np.array_equal(whole(psd(3, 8, planes, layers)), right)


def tga(bits, descriptor, pixels):
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 9, 6, bits, descriptor)
    return head + pixels.tobytes()


@pytest.mark.parametrize("alpha, bits, clear", [(0, 0, False), (0, 8, False), (255, 8, False), (0, 8, None)])
def test_transparency_of_tga_that_says_nothing(alpha, bits, clear):
    last = np.full((6, 9, 1), alpha, np.uint8)
    if clear is None:
        last[0, 0] = 255  # one pixel is to be seen: so the others are not
    pixels = np.concatenate([COLORS[..., ::-1], last], 2)
    right = COLORS if clear is False else np.where(last == 255, COLORS, 255)
    assert np.array_equal(whole(tga(32, 0x20 | bits, pixels)), right)


@pytest.mark.parametrize("descriptor", [0x20, 0x21])
@pytest.mark.parametrize("bit", [0, 0x8000])
def test_tga_of_16_bits_whatever_its_attribute_bit(descriptor, bit):
    five = COLORS.astype(int) >> 3
    words = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2] | bit).astype("<u2")
    assert np.abs(numbers(tga(16, descriptor, words)) - five * 255 / 31).max() <= 1


def bmp(pixels, bits, kind, compression=0, masks=bytes(16), ends=bytes(36), gammas=bytes(12), profile=b""):
    """A BMP file with a header of version 5."""
    data = b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in pixels[::-1])
    head = struct.pack("<IiiHHIIiiII", 124, 9, 6, 1, bits, compression, len(data), 2835, 2835, 0, 0)
    head += masks + kind + ends + gammas + struct.pack("<4I", 4, 124 + len(data), len(profile), 0)
    return b"BM" + struct.pack("<IxxxxI", 14 + len(head) + len(data), 14 + len(head)) + head + data + profile


def test_what_a_bmp_says_of_its_colors():
    bgr = COLORS[..., ::-1]
    held = bmp(bgr, 24, b"DEBM", profile=icc(1.8, "Adobe RGB"))
    assert np.abs(numbers(held) - srgb(COLORS, 1.8, "Adobe RGB")).max() <= 1.6
    points = [(0.64, 0.33, 0.03), (0.3, 0.6, 0.1), (0.15, 0.06, 0.79)]
    white = np.array([0.3127, 0.329, 0.3583]) / 0.329
    ends = np.array(points) * np.linalg.solve(np.array(points).T, white)[:, None]
    ends = struct.pack("<9i", *(round(x * 2**30) for x in ends.ravel()))
    linear = bmp(bgr, 24, bytes(4), ends=ends, gammas=struct.pack("<3I", *[65536] * 3))
    assert np.abs(numbers(linear) - srgb(COLORS, 1.0)).max() <= 1.6
    for kind in (b"BGRs", b" niW", bytes(4)):  # sRGB, Windows's own, and one that says no more
        assert np.array_equal(whole(bmp(bgr, 24, kind)), COLORS)


def test_transparency_of_bmp_that_hides_all_is_none():
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    pixels = np.concatenate([COLORS[..., ::-1], np.zeros((6, 9, 1), np.uint8)], 2)
    assert np.array_equal(whole(bmp(pixels, 32, b"BGRs", 3, masks)), COLORS)
    pixels[0, 0, 3] = 255
    right = np.full_like(COLORS, 255)
    right[0, 0] = COLORS[0, 0]
    assert np.array_equal(whole(bmp(pixels, 32, b"BGRs", 3, masks)), right)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_gray_of_16_bits_with_transparency_keeps_its_depth(gamma):
    values = np.arange(0, 65536, 253)[:240]
    for alpha in (65535, 0):
        row = np.stack([values, np.full(240, alpha)], -1).astype(">u2").tobytes()
        chunk = {"gAMA": struct.pack(">I", round(100000 / gamma))}
        right = 255 if alpha == 0 else srgb(np.stack([values / 257] * 3, -1), gamma)
        assert np.abs(numbers(png(240, 16, 4, row, **chunk))[0] - right).max() <= 0.6


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_gray_of_16_bits_with_a_profile_for_rgb_keeps_its_depth(gamma):
    values = np.arange(0, 4000, 17).astype(np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values[None], iccprofile=icc(gamma, "sRGB"), metadata=None)
    right = srgb(np.stack([values / 257] * 3, -1), round(gamma * 256) / 256)
    assert np.abs(numbers(stream.getvalue())[0] - right).max() <= 1.01


def test_a_transparent_color_of_16_bits_is_that_color_alone():
    row = np.array([[0x1234] * 3, [0x1256] * 3], ">u2").tobytes()
    read = numbers(png(2, 16, 2, row, tRNS=np.array([0x1234] * 3, ">u2").tobytes()))[0]
    assert read[0].round().tolist() == [255] * 3 and np.abs(read[1] - 0x1256 / 257).max() <= 0.51


def test_a_page_a_zip_file_and_a_text_file_are_named():
    first = np.zeros((60, 64, 3), np.uint8)
    both = write_tiff(first, CHANCE.integers(0, 255, (64, 64, 3), np.uint8), compression="zlib")
    cut = both[:-5000] + bytes(50) + both[-4950:]  # in the middle of the second page's pixels
    assert whole(cut).max() == 0
    with pytest.raises(ValueError, match="page 2 of the picture can't be read"):
        numbers(cut, page=2)
    with pytest.raises(ValueError, match="it is a zip file"):
        numbers(b"PK\3\4" + bytes(60))
    with pytest.raises(TypeError, match="path must be a binary file; this one gives str"):
        numbers(io.StringIO("x"))
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(ValueError, match="the picture can't be read: I/O operation on closed file"):
        numbers(closed)


def test_a_fourth_value_is_kept_where_it_is_transparency():
    stream = io.BytesIO()
    Image.fromarray(np.concatenate([COLORS, np.full((6, 9, 1), 128, np.uint8)], 2)).save(stream, "TGA")
    assert np.abs(numbers(stream.getvalue()) - (COLORS * (128 / 255) + 255 * (127 / 255))).max() <= 1.01
