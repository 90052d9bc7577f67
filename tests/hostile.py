"""A folder of many kinds of picture files, good and damaged, and how light each good one has to be.

``python tests/hostile.py FOLDER`` makes it. What is right is computed from the numbers that a file holds and
from the specifications, by the arithmetic of :mod:`handmade`; nothing comes from the library.
"""

import io
import os
import struct
import sys
import unicodedata
import zipfile
import zlib
from functools import partial
from pathlib import Path

import hostile_colors  # noqa: F401 each of the three adds its kinds
import hostile_formats  # noqa: F401
import hostile_others  # noqa: F401
import numpy as np
from handmade import chunk, png, sheet, tiff
from hostile_cases import COLORS, KINDS, PAINTED, RAMP, Case, color, good, gray, jpeg, kinds, picture, saved


def flat(level, form="PNG", **options):
    """A small picture of one gray, told from all others by it."""
    return saved(np.full((3, 5), level), form, **options), np.full((3, 5), level / 255)


@kinds
def shapes():
    line = np.arange(5000)[None] % 256
    yield good("shapes/one pixel.png", png([[77]]), [[77 / 255]])
    yield good("shapes/one pixel jpeg.jpg", *_held(jpeg(np.full((1, 1), 77))))
    yield good("shapes/one pixel tiff.tif", tiff(sheet([[77]])), [[77 / 255]])
    yield good("shapes/5000 wide.png", png(line), gray(line))
    yield good("shapes/5000 high.png", png(line.T), gray(line.T))


def _held(made):
    return made[0], gray(made[1])


@kinds
def endings():
    """The content counts, and not the ending; endings in large letters, and less usual ones."""
    data, held = jpeg(PAINTED)
    for name in ("a.JPG", "b.jpeg", "c.JPEG", "d.jfif", "e.jpe", "f.JFIF", "png of jpeg.png", "g.jfif.jpg"):
        yield good(f"endings/{name}", data, color(held))
    for name in ("h.PNG", "i.apng", "jpg of png.jpg", "tif of png.tif", "webp of png.webp"):
        yield good(f"endings/{name}", png(COLORS, 8, 2), color(COLORS))
    yield good("endings/jpg of a tiff.jpg", tiff(sheet(RAMP, 8, 0)), 1 - gray(RAMP))
    yield good("endings/j.TIFF", tiff(sheet(RAMP)), gray(RAMP))
    yield good("endings/k.BMP", saved(RAMP, "BMP"), gray(RAMP))
    yield good("endings/l.j2c", saved(RAMP, "JPEG2000"), gray(RAMP))


@kinds
def names():
    letters = (
        "größe ÄÖÜ",
        "写真",
        "фото",
        "😀 emoji",
        "two\nlines",
        "-leading dash",
        "--force",
        "a 'quote' \" two",
    )
    odd = (
        "100% {x} $HOME",
        "back\\slash",
        "tab\tbed",
        " space at the head",
        "x" * 200,
        "ü" * 100,
        "trailing.",
        "[a]*",
    )
    latin = os.fsdecode("caf\xe9".encode("latin-1"))
    for level, stem in enumerate([*letters, *odd, latin, "ring\a", "CON", "colon: two"]):
        data, right = flat(40 + 2 * level)
        yield good(f"names/{stem}.png", data, right)
    same = (
        "twin.png",
        "Twin.png",
        "TWIN.PNG",
        "twin.jpg.png",
        "twin.png.png",
        "a.png",
        "a.jpg.png",
        "a.jpg-2.webp",
    )
    level = 110
    for name in (*same, "a-2.png", "straße.png", "STRASSE.png"):
        level += 3
        form = "WEBP" if name.endswith("webp") else "PNG"
        data, right = flat(level, **({"form": form, "lossless": True} if form == "WEBP" else {}))
        yield good(f"collide/{name}", data, right)
    for name in ("twin.jpg", "a.jpg", "a.tif", "b.gif", "b.bmp"):
        level += 3
        form = {"jpg": "JPEG", "tif": "TIFF", "gif": "GIF", "bmp": "BMP"}[name[-3:]]
        options = {"quality": 100} if form == "JPEG" else {}
        data, right = flat(level, form, **options)
        yield good(f"collide/{name}", data, right)
    for composed in ("NFC", "NFD"):
        level += 3
        data, right = flat(level)
        yield good(f"collide/{unicodedata.normalize(composed, 'é')}.png", data, right)
    pages = [np.full((3, 5), value) for value in (201, 205, 209)]
    yield good("collide/pages.tif", tiff(*map(sheet, pages)), *map(gray, pages))
    for name, level in (("pages-page-2.png", 213), ("pages.png", 217)):
        yield good(f"collide/{name}", *flat(level))


def _link(path, to):
    path.symlink_to(to)


def _read_only(path, data):
    path.write_bytes(data)
    path.chmod(0o400)


def _folder(path, name, data):
    path.mkdir()
    (path / name).write_bytes(data)


@kinds
def things():
    data, right = flat(100)
    yield good("things/target.png", data, right)
    yield good("things/link.png", partial(_link, to="target.png"), right)
    yield good("things/a link of another ending.jpg", partial(_link, to="target.png"), right)
    yield good("things/read-only.png", partial(_read_only, data=data), right)
    yield good("things/folder.jpg/inner.png", data, right)
    yield good("things/deep/er/and/deeper/still.png", data, right)
    yield Case("things/loop", partial(_link, to="."), ())
    yield Case("things/up", partial(_link, to=".."), ())
    yield Case("things/onto itself.jpg", partial(_link, to="onto itself.jpg"), None)
    yield Case("things/onto nothing.jpg", partial(_link, to="not there.jpg"), None)
    yield Case("things/pipe.jpg", os.mkfifo, None)
    yield Case("things/empty.png", os.mkdir, ())
    for name in ("notes.txt", "page.pdf", "film.mpg", "sound.wav", "program.py", "no ending"):
        yield Case(f"things/{name}", b"no picture", ())
    for name in (".hidden.png", "._a.png", ".folder/a.png", "__MACOSX/._b.png"):
        yield Case(f"things/{name}", data, ())


@kinds
def damaged():
    photograph = jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3)), within=99)[0]
    noise = np.random.default_rng(1).integers(0, 256, (40, 40))
    many = saved(noise, "PNG")
    strip = tiff(sheet(noise, rows=8))
    packed_tiff = saved(noise, "TIFF", compression="tiff_lzw")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packing:
        packing.writestr("a.png", many)
    huge = chunk(b"IHDR", struct.pack(">2I5B", 30000, 30000, 8, 0, 0, 0, 0))
    huge = many[:8] + huge + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    ends = saved(noise, "GIF")
    for name, data in {
        "empty.jpg": b"",
        "empty.tif": b"",
        "one byte.png": b"\x89",
        "text.jpg": b"This is no picture.\n",
        "page.jpg": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
        "zeros.png": bytes(3000),
        "noise.jpg": noise.astype(np.uint8).tobytes(),
        "archive.png": archive.getvalue(),
        "half.jpg": photograph[: len(photograph) // 2],
        "head.jpg": photograph[:300],
        "start.jpg": photograph[:2],
        "progressive half.jpg": _half(jpeg(noise, within=99, progressive=True)[0]),
        "document.jpg": b"%PDF-1.4\n%%EOF\n",
        "a changed byte.png": many[:600] + bytes([many[600] ^ 1]) + many[601:],
        "half.png": many[: len(many) // 2],
        "head.png": many[:33],
        "wrong checksum.png": png(RAMP, wrong=1),
        "no pixels.png": png(RAMP[:0], size=(4, 6)),
        "wide as nothing.png": png(RAMP, size=(0, 0)),
        "too large.png": huge,
        "depth of 3.png": png(RAMP % 8, 3, 0),
        "cut strip.tif": strip[:900],
        "far strip.tif": tiff(sheet(RAMP, t273=("I", 10**6))),
        "far directory.tif": b"II*\0" + struct.pack("<I", 10**6),
        "no directory.tif": b"II*\0\0\0\0\0",
        "half of it packed.tif": _half(packed_tiff),
        "unknown packing.tif": tiff(sheet(RAMP, t259=("H", 4711))),
        "broken packing.tif": tiff(sheet(RAMP, t259=("H", 8), pack=lambda strip: b"nothing")),
        "bits of 13.tif": tiff(sheet(RAMP, 13)),
        "no frames.gif": b"GIF89a\x06\0\x04\0\0\0\0;",
        "half.gif": _half(ends),
        "head.gif": ends[:20],
        "half.bmp": _half(saved(noise, "BMP")),
        "half.pgm": b"P5 40 40 255\n" + bytes(700),
        "words.pgm": b"P2 2 2 255\n1 2 three 4\n",
        "half.ppm": b"P6 40 40 255\n" + bytes(700),
        "half.webp": _half(saved(noise, "WEBP", lossless=True)),
        "head.webp": b"RIFF\x20\0\0\0WEBPVP8 ",
        "half.jp2": _half(saved(noise, "JPEG2000")),
        "half.tga": _half(saved(noise, "TGA")),
        "half.pcx": _half(saved(noise, "PCX")),
        "half.sgi": _half(saved(noise, "SGI")),
        "half.psd": _half(hostile_others.psd(1, [noise])),
        "half.qoi": _half(saved(picture(np.stack([noise] * 3, -1)), "QOI")),
        "half.pfm": b"Pf\n40 40\n-1.0\n" + bytes(3000),
    }.items():
        yield Case(f"damaged/{name}", data, None)


def _half(data):
    return data[: len(data) // 2]


def cases():
    """All of them."""
    return [case for kind in KINDS for case in kind()]


def build(folder, wanted=lambda case: True):
    """Make the files in a folder, and return the cases made: all that this file system can hold."""
    made = []
    for case in filter(wanted, cases()):
        path = Path(folder, case.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):  # where names are the same but for the size of their letters
            continue
        try:
            case.data(path) if callable(case.data) else path.write_bytes(case.data)
        except OSError:
            if case.name.isascii() and case.name.isprintable():
                raise
            continue
        made.append(case)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/hostile.py FOLDER")
    made = build(sys.argv[1])
    bad = sum(case.pages is None for case in made)
    print(f"{len(made)} files in {sys.argv[1]}, {bad} of them damaged")
