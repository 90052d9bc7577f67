"""What a file says about its picture, such as date, place and resolution, from one file to another."""

import re
import struct
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .pictures import quiet

SEGMENT = 65533  # bytes that a segment of a JPEG file holds

FIRST, SHOT, PLACE = 0, 0x8769, 0x8825  # EXIF's directories
DESCRIPTION, ORIENTATION, SOFTWARE, COMMENT = 0x010E, 0x0112, 0x0131, 0x9C9C  # the last is of Windows
IPTC, XMP = 0x83BB, 0x02BC  # tags of a TIFF file
RESOLUTION = 0x011A, 0x011B, 0x0128  # in x, in y, and their unit: 2 is the inch, 3 the centimeter
# What a first directory tells of a picture: names, camera, resolution, dates, people, rating, place. A TIFF
# file has much else in it, about how the pixels are stored.
TELLING = {0x010D, DESCRIPTION, 0x010F, 0x0110, 0x011D, 0x0129, SOFTWARE, 0x0132, *RESOLUTION}
TELLING |= {0x013B, 0x013C, 0x4746, 0x4749, 0x8298, *range(0x9C9B, 0x9CA0)}
TELLING |= {0x830E, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1, 0xA480}
# What holds for the gray picture's file alone: compression, color space, size, interoperability, gamma.
STALE = {0x9102, 0xA001, 0xA002, 0xA003, 0xA005, 0xA500}
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"  # of a segment of a JPEG file
KEYWORDS = {"Title": 0x010D, "Description": DESCRIPTION, "Author": 0x013B, "Copyright": 0x8298}  # of PNG


class Metadata(NamedTuple):
    """What a file says about its picture, see :func:`read_metadata`."""

    tags: dict[int, dict]  # of EXIF's directories
    texts: dict[str, str] = {}  # of a PNG file, by keyword
    comment: str = ""
    xmp: bytes = b""
    iptc: bytes = b""
    dpi: tuple[float, float] | None = None
    broken: tuple[str, ...] = ()  # what couldn't be read


def read_metadata(image: Image.Image) -> Metadata:
    """Read what a file says about its picture. What is damaged is left out, and named as ``broken``.

    The image has to be as it was opened: when Pillow loads a TIFF file, it turns the picture and forgets that
    it did.
    """
    tags, broken, info = {FIRST: {}, SHOT: {}, PLACE: {}}, set(), image.info
    turned = said = False
    with quiet() as listener:  # the warnings module's own recorder would take those of other threads
        before = listener.heard
        for part in tags:
            try:
                found = image.getexif().get_ifd(part) if part else image.getexif()
                turned = turned or part == FIRST and found.get(ORIENTATION, 1) > 4
                said = said or len(found) > 0
                names = [tag for tag in found if (tag in TELLING if part == FIRST else tag not in STALE)]
            except Exception:  # damage is answered with errors of many kinds
                broken.add("EXIF")
                continue
            for tag in names:
                try:
                    value = found[tag]
                    if isinstance(value, str) and not value.isascii():
                        value = value.encode("latin-1")  # as it was read; written as text it would be "???"
                    _directory({part: {tag: value}}).tobytes(8)
                    tags[part][tag] = value
                except Exception:
                    broken.add("some of its EXIF")
        texts = {}
        try:
            texts = dict(getattr(image, "text", {}))  # of a PNG file, which is loaded for it
        except Exception:
            broken.add("texts")
        photoshop = info.get("photoshop") or {}
        iptc = image.tag_v2.get(IPTC) if hasattr(image, "tag_v2") else photoshop.get(0x0404)
    if not said and len(info.get("exif") or b"") > 20:
        broken.add("EXIF")  # Pillow has noticed, and kept it to itself
    elif listener.heard > before and not broken:
        broken.add("some of its EXIF")
    x, y, unit = (tags[FIRST].pop(tag, None) for tag in RESOLUTION)
    xmp = info.get("xmp") or texts.get("XML:com.adobe.xmp") or getattr(image, "tag_v2", {}).get(XMP)
    for marker, content in getattr(image, "applist", ()):  # of a JPEG file, for Pillow 10
        if not xmp and marker == "APP1" and content.startswith(_XMP_HEAD):
            xmp = content[len(_XMP_HEAD) :]
    dpi = None
    with suppress(KeyError, TypeError, ValueError, ZeroDivisionError):
        # EXIF knows both directions; Pillow's note of a JPEG file may have taken one for both.
        inch = {None: 1, 2: 1, 3: 2.54}.get(unit)
        x, y = (float(value) for value in ((x * inch, y * inch) if x and y and inch else info["dpi"]))
        if 0 < min(x, y) <= max(x, y) < 65535:
            dpi = (y, x) if turned else (x, y)
    return Metadata(
        tags,
        {key: str(text) for key, text in texts.items() if not key.startswith(("XML:", "Raw profile"))},
        _decoded(info.get("comment")),
        xmp.encode() if isinstance(xmp, str) else xmp if isinstance(xmp, bytes) else b"",
        iptc if isinstance(iptc, bytes) and iptc.startswith(b"\x1c") else b"",
        dpi,
        tuple(sorted(broken)),
    )


def save_options(kind: str, about: Metadata, note: str, size: tuple[int, int]) -> tuple[dict, list[str]]:
    """Give Pillow's options that write metadata into a colored picture, and name what can't be written.

    `kind` is Pillow's name of the format, `about` the gray picture's metadata, `note`, what made the picture,
    is added to the entry for software, and `size` is width and height. Orientation, size and color space are
    the new picture's; sRGB is stated by a profile.
    """
    tags = {part: dict(about.tags.get(part, {})) for part in (FIRST, SHOT, PLACE)}
    first, shot, texts, comment = tags[FIRST], tags[SHOT], dict(about.texts), about.comment
    xmp, iptc, lost = _xmp(about.xmp, size), about.iptc, []
    if kind not in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF"):
        said = {"EXIF": any(tags.values()), "XMP": xmp, "IPTC": iptc, "texts": texts}
        options = {}
        if kind == "JPEG2000":
            options["comment"] = "; ".join(filter(None, [comment, note]))
        else:
            said["comment"] = comment
        if kind == "BMP" and about.dpi:
            options["dpi"] = about.dpi
        return options, [name for name, value in said.items() if value]
    software = _decoded(first.get(SOFTWARE)) or texts.get("Software", "")
    software = "; ".join(filter(None, [software.replace(note, "").strip("; "), note]))
    if kind != "PNG":
        for key, tag in KEYWORDS.items():
            if key in texts and tag not in first:
                first[tag] = texts.pop(key).encode()
        texts.pop("Software", None)
        comment = "\n".join(filter(None, [comment, *(f"{key}: {text}" for key, text in texts.items())]))
    if kind in ("TIFF", "WEBP", "AVIF") and comment:
        if DESCRIPTION not in first:
            first[DESCRIPTION] = comment.encode()
        elif COMMENT not in first:
            first[COMMENT] = comment.encode("utf-16le") + b"\0\0"
        else:
            lost.append("comment")
    first[SOFTWARE] = software.encode()
    if about.dpi:
        first |= dict(zip(RESOLUTION, (*about.dpi, 2), strict=True))
    if shot:
        shot |= {0xA001: 1, 0xA002: size[0], 0xA003: size[1]}
    if kind != "AVIF":  # which has another place for it, and Pillow would write the whole EXIF anew
        first[ORIENTATION] = 1
    options = {"icc_profile": srgb_profile(), "exif": _block(tags), "xmp": xmp}
    if kind in ("JPEG", "PNG", "TIFF") and about.dpi:
        options["dpi"] = about.dpi
    if kind == "JPEG":
        if len(options["exif"]) > SEGMENT:
            lost.append("long entries of its EXIF")
            each = [(part, tag) for part in tags for tag in tags[part]]
            entries = [(len(_block({part: {tag: tags[part][tag]}})), part, tag) for part, tag in each]
            for _, part, tag in sorted(entries, reverse=True):
                if len(options["exif"]) > SEGMENT:
                    del tags[part][tag]
                    options["exif"] = _block(tags)
        segments = {"XMP": (0xE1, _XMP_HEAD, options.pop("xmp"))}
        resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc + bytes(len(iptc) % 2)
        segments["IPTC"] = (0xED, b"Photoshop 3.0\0", resource if iptc else b"")
        options |= {"comment": comment.encode(), "extra": b""}
        for name, (marker, head, body) in segments.items():
            if len(head + body) > SEGMENT:
                lost.append(name)
            elif body:
                options["extra"] += struct.pack(">BBH", 0xFF, marker, len(head + body) + 2) + head + body
    elif kind == "TIFF":
        del options["exif"], options["xmp"]
        options["tiffinfo"] = _directory(tags)
        for tag, value in ((XMP, xmp), (IPTC, iptc)):
            if value:
                options["tiffinfo"][tag] = value
    elif iptc:
        lost.append("IPTC")
    if kind == "PNG":
        options["pnginfo"] = info = PngInfo()
        texts |= {"Software": software} | ({"Comment": comment} if comment else {})
        for key, text in texts.items():
            info.add_text(key, text)
        if options.pop("xmp"):
            info.add_itxt("XML:com.adobe.xmp", xmp.decode(errors="replace"))
    return options, lost


@cache
def srgb_profile() -> bytes:
    """A small ICC profile of sRGB, the same bytes each time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # In place of the time of day:
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


def _directory(tags: dict[int, dict]) -> ImageFileDirectory_v2:
    directory = ImageFileDirectory_v2()
    for tag, value in tags.get(FIRST, {}).items():
        if isinstance(value, bytes) and not 0x9C9B <= tag < 0x9CA0:
            directory.tagtype[tag] = 2  # text
        directory[tag] = value
    for part in (SHOT, PLACE):
        if tags.get(part):
            directory[part] = dict(tags[part])
    return directory


def _block(tags: dict[int, dict]) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + _directory(tags).tobytes(8)


def _xmp(xmp: bytes, size: tuple[int, int]) -> bytes:
    """XMP that tells of the colored picture: it is upright, and no thumbnail shows it gray."""
    xmp = re.sub(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", b"", xmp, flags=re.DOTALL)
    facts = {"tiff:Orientation": 1, "exif:ColorSpace": 1, "photoshop:ICCProfile": "sRGB"}
    facts |= dict(zip(("tiff:ImageWidth", "tiff:ImageLength"), size, strict=True))
    facts |= dict(zip(("exif:PixelXDimension", "exif:PixelYDimension"), size, strict=True))
    for name, value in facts.items():
        pattern = rb"(?<!/)(%s(?:\s*=\s*[\"']|>))[^\"'<]*" % name.encode()
        xmp = re.sub(pattern, rb"\g<1>%s" % str(value).encode(), xmp)
    return xmp


def _decoded(text: bytes | str | None) -> str:
    """A text of unknown encoding: UTF-8 where it is some, else Latin-1, in which all bytes mean something."""
    if not isinstance(text, bytes):
        return str(text or "")
    try:
        return text.decode().rstrip("\0")
    except UnicodeDecodeError:
        return text.decode("latin-1").rstrip("\0")
