"""TIFF files: kinds of numbers beyond those that Pillow takes, and which of the pages are pictures."""

import sys

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

_ORDER = {"little": b"II", "big": b"MM"}[sys.byteorder]


class Tiff(TiffImageFile):
    """Pillow's reader, told that a kind which it doesn't know is a near one with the same bits.

    Of gray with white as 0 it knows few kinds and turns round fewer; `to_srgb` turns all of them.
    """

    def _setup(self) -> None:
        # By number: 258 BitsPerSample, 259 Compression, 262 PhotometricInterpretation, 339 SampleFormat.
        tags, told = self.tag_v2, {}
        bits, signs = (np.atleast_1d(tags.get(tag, 1))[0] for tag in (258, 339))
        if tags.get(262) == 0 and (bits > 8 or signs != 1):
            told[262] = 1
        if bits == 32 and signs == 1:
            told[339] = 2
        for note in ("icc_profile", "dpi", "transparency"):  # of the page before
            self.info.pop(note, None)
        kept, order = {tag: tags.get(tag, 1) for tag in told}, tags._prefix
        tags.update(told)
        if bits == 12 or tags.get(259, 1) != 1:  # libtiff unpacks to this machine's order of bytes
            tags._prefix = _ORDER
        flat = bits == 16 and tags.get(284) == 2 and tags.get(259, 1) == 1
        if flat and tags.get(262) not in (0, 1, 2):
            raise SyntaxError("it is a TIFF file of 16 bits in planes, of a kind that Pillow doesn't read")
        try:
            super()._setup()
            if flat:  # planes of 16 bits that aren't compressed, which Pillow takes as of 8
                kind = ";16" + ("L" if order == b"II" else "B")
                self.tile = [
                    t._replace(args=(t.args[0] + kind, *t.args[1:])) if t.args[0] in "RGBA" else t
                    for t in self.tile
                ]
        except (SyntaxError, KeyError) as error:
            raise SyntaxError(f"it is a TIFF file of a kind that Pillow doesn't read, {bits} bits") from error
        finally:
            tags._prefix = order
            tags.update(kept)


def frames(file, head: bytes) -> list[int]:
    """The numbers of a TIFF file's frames, without previews and masks."""
    # 254 NewSubfileType, 255 SubfileType, 256 and 257 width and height, 330 pages within a page.
    tags = ImageFileDirectory_v2(head[: 16 if head[2] == 43 else 8])
    marked, sizes, seen, raw = [], [], set(), False
    while tags.next and tags.next not in seen:
        seen.add(tags.next)
        file.seek(tags.next)
        try:
            tags.load(file)
        except Exception:  # what comes before may be sound; of the first page Pillow's reader tells
            break
        marked.append(bool(tags.get(254, 0) & 5 or tags.get(255) == 2))
        sizes.append((tags.get(256, 0), tags.get(257, 0)))
        raw = raw or (marked[-1] and 330 in tags)
    if marked and all(marked) and raw:
        raise SyntaxError("it holds a camera's raw data, and a preview; develop it first")
    whole = [size for size, preview in zip(sizes, marked, strict=True) if not preview] or sizes
    kept = [
        k for k, size in enumerate(sizes) if size in whole and not any(_is_preview(size, of) for of in whole)
    ]
    return [k for k in kept if not marked[k]] or kept[:1]


def _is_preview(size, of) -> bool:
    return 3 * size[0] <= of[0] and 3 * size[1] <= of[1] and abs(size[0] - of[0] * size[1] / of[1]) <= 1
