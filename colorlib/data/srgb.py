"""What the numbers of a Pillow image mean: from any mode, depth and color profile to upright sRGB."""

import io
import itertools
import sys
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, ImageOps

from .formats import mended
from .profiles import built, encoded, xyz, xyz_to_light

# White, red, green and blue as xy, by their numbers in ITU-T H.273: BT.709 and sRGB, BT.2020, Display P3.
_D65 = (0.3127, 0.3290)
_SPACES = {
    1: (_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    9: (_D65, (0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: (_D65, (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "Adobe": (_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
}
_STEPS = np.linspace(0, 1, 4096)
_SRGB_CURVE = np.where(_STEPS <= 0.04045, _STEPS / 12.92, ((_STEPS + 0.055) / 1.055) ** 2.4)
_GRAY = ("1", "L", "LA", "La")
_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
_RELATIVE = 1  # the rendering intent relative colorimetric
_EXACT, _FINE = 0x0100, 0x0400  # LittleCMS's flags: every pixel in full; a finer table of colors


def to_srgb(image: Image.Image, copy: bool = True) -> Image.Image:
    """A picture as shown on a screen: upright, in sRGB of 8 bits, mode RGB, transparency put on white.

    The image is loaded and turned in place. It is converted by its color profile, relative colorimetric, or
    by what the file says of its colors in other ways: PNG's cICP, gAMA and cHRM, the TIFF tags WhitePoint,
    PrimaryChromaticities and TransferFunction, EXIF's Adobe RGB and Gamma. A gray picture with a profile for
    RGB is taken as R = G = B. A profile that is broken, or for pixels of another kind, is passed over with a
    warning: the numbers are taken as sRGB.

    More than 8 bits are rounded to 8 after that, but where Pillow gives 8 alone, as of color in JPEG 2000.
    The largest number of the file's depth is white: of 12 bits, 4095. Of signed numbers, 0 and those below
    are black. Where numbers of 32 bits would all fit in 8, or in 16, they are taken as such. Floats are light
    from 0 to 1; where some are larger, the largest finite one is white. Infinity is white, and what is no
    number black.

    With ``copy`` False, what needs no change is the image itself, which ends where its file is closed.
    """
    given = image
    name = getattr(image, "name", "the picture")
    tags = dict(getattr(image, "tag_v2", {}))
    key = image.info.get("transparency")
    _mend_key(image)
    image.load()
    low = getattr(image, "low", None)  # the lower bytes of 16, see `open_picture`
    if low is not None:
        low.load()
    try:
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            profile, trouble = _stated(image, {**tags, **_exif(image)}), None
    except Exception as error:
        profile, trouble = None, error
    if image.format != "TIFF":  # Pillow turns these in loading; before version 10.1, the tag stays
        try:
            ImageOps.exif_transpose(image, in_place=True)
            if low is not None:
                ImageOps.exif_transpose(low, in_place=True)
        except MemoryError:
            raise
        except Exception:
            pass  # damaged EXIF turns nothing
    if low is not None and low.paired:
        high, rest, alpha, _ = low.split()
        image = Image.fromarray(np.asarray(high).astype(np.uint16) * 256 + np.asarray(rest))
        low = None
    elif low is not None and image.mode == "RGB" and key:
        clear = np.all(np.asarray(image) * 256.0 + np.asarray(low) == np.array(key), -1)
        alpha = Image.fromarray(np.where(clear, 0, 255).astype(np.uint8))
        del image.info["transparency"]
    else:
        image, alpha = _without_alpha(mended(image, getattr(image, "head", b"")))
    image = _sixteen(image, tags)
    try:
        image = _converted(image, profile) if low is None else _fine(image, low, profile)
    except MemoryError:
        raise
    except Exception as error:  # of many kinds, from Pillow, LittleCMS and numpy
        trouble, image = error, _converted(image, None)
    if trouble is not None:
        _warn(f"{name} has a color profile that can't be used and is passed over: {trouble}")
    if alpha is None:
        return image.copy() if copy and image is given else image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return white


# Numbers.


def _sixteen(image: Image.Image, tags: dict) -> Image.Image:
    """Raw numbers as gray of 16 bits, 0 black and 65535 white; another image as it is."""
    kind, first = image.mode[0], lambda tag, default: np.atleast_1d(tags.get(tag, default))[0]
    signed, inverted = first(339, 1) == 2, first(262, 1) == 0
    if kind not in "IF" and not (image.mode == "L" and signed):
        return image
    values = np.asarray(image)
    if kind == "F":
        top = np.max(values, where=np.isfinite(values), initial=1)
        values = values / top
        values = np.nan_to_num(1 - values if inverted else values, nan=0, posinf=1, neginf=0)
        top = 1.0
    else:
        # Pillow gives 16 bits of PNG and PGM files, scaled to that, in its modes of 16 bits or of 32.
        wide = image.mode == "I" and image.format not in ("PNG", "PPM")
        bits = int(first(258, 32 if wide else 16))
        signed = signed or image.format == "FITS" or (wide and not tags)
        if image.format == "FITS" and bits == 16:
            values = values.view(np.int16)
        if bits == 32 and not signed:
            values = values.view(np.uint32)
        elif bits == 8:
            values = values.view(np.int8)
        top = 2 ** (bits - signed) - 1
        if bits == 32:
            largest = values.max()
            top = 255 if largest < 256 else 65535 if largest < 65536 else top
        values = values.astype(np.float32)
        values = top - values if inverted else values
    return Image.fromarray((values.clip(0, top) * np.float32(65535 / top) + 0.5).astype(np.uint16))


def _without_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    if image.mode[0] in "IF":
        key = image.info.get("transparency")
        opaque = (np.asarray(image) != key) * np.uint8(255) if isinstance(key, int) else None
        return image, None if opaque is None else Image.fromarray(opaque)
    palette = image.palette.mode[-1:] == "A" if image.mode == "P" and image.palette else False
    if image.mode not in _ALPHA and "transparency" not in image.info and not palette:
        return image.convert("RGB") if image.mode == "P" else image, None
    image = image.convert("LA" if image.mode in _GRAY else "RGBA")
    return image.convert(image.mode[:-1]), image.getchannel("A")


def _mend_key(image: Image.Image) -> None:
    """Bring PNG's transparent color from the file's depth to the 8 bits to which Pillow brings the pixels."""
    key, raw = image.info.get("transparency"), image.tile[0][3] if getattr(image, "tile", ()) else None
    if image.format == "PNG" and raw in ("L;2", "L;4"):
        if isinstance(key, int):
            image.info["transparency"] = key * (85 if raw == "L;2" else 17)
    elif image.format == "PNG" and raw == "RGB;16B" and key:
        image.info["transparency"] = tuple(value >> 8 for value in key)


# Colors.


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "RGB" and (profile or b"")[16:20] == b"GRAY" and np.ptp(np.asarray(image), 2).max() <= 2:
        image = image.convert("L")  # WebP and AVIF have no gray of one channel
    if image.mode in ("1", "L", "I;16"):
        table = _gray_table(profile)
        if image.mode == "I;16":
            return Image.fromarray(table[np.asarray(image)]).convert("RGB")
        return image.convert("L").point(table[::257].tolist()).convert("RGB")
    if image.mode == "LAB" and profile is None:
        source = ImageCms.createProfile("LAB")
    elif profile is None:
        return image if image.mode == "RGB" else image.convert("RGB")  # no second copy of a large picture
    else:
        source = _opened(profile, {"CMYK": "CMYK", "LAB": "Lab"}.get(image.mode, "RGB"))
    image = image if image.mode in ("CMYK", "LAB", "RGB") else image.convert("RGB")
    target = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(source, target, image.mode, "RGB", _RELATIVE, _FINE)
    return ImageCms.applyTransform(image, transform)


def _fine(image: Image.Image, low: Image.Image, profile: bytes | None) -> Image.Image:
    """Color of 16 bits in two images, upper and lower bytes, as sRGB of 8.

    Pillow gives LittleCMS 8 bits at a time. So what a profile of three curves and a matrix says is computed
    here, in floats. Of any other the eight nearest colors of 8 bits are converted, and what lies between them
    is interpolated.
    """
    if profile is not None:
        _opened(profile, "RGB")
    out = []
    step = max(1, 2**20 // image.width)
    for top in range(0, image.height, step):
        box = (0, top, image.width, min(image.height, top + step))
        upper, lower = (np.asarray(part.crop(box).convert("RGB"), np.float32) for part in (image, low))
        values = (256 * upper + lower) / 257
        color = None if profile is None else xyz(values / 255, profile)
        if color is not None:
            values = 255 * encoded(color @ xyz_to_light().T)
        elif profile is not None:
            below, between = np.floor(values), values % 1
            values = np.zeros_like(values)
            for corner in itertools.product((0, 1), repeat=3):
                share = np.where(corner, between, 1 - between).prod(-1, keepdims=True)
                near = Image.fromarray(np.minimum(below + corner, 255).astype(np.uint8))
                values += share * np.asarray(_converted(near, profile))
        out.append((values + 0.5).astype(np.uint8))
    return Image.fromarray(np.concatenate(out))


def _opened(profile: bytes, *spaces: str):
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space.strip()
    if space not in spaces:
        raise ValueError(f"it is for {space}, the pixels are {' or '.join(spaces)}")
    return opened


@lru_cache(8)
def _gray_table(profile: bytes | None) -> np.ndarray:
    """The sRGB numbers of 65,536 grays, uint8."""
    ramp = np.arange(65536.0)
    if profile is None:
        curve = ramp
    elif profile[16:20] == b"RGB " and (color := xyz(np.stack([ramp / 65535] * 3, -1), profile)) is not None:
        _opened(profile, "RGB")
        curve = 65535 * encoded(color[:, 1])
    else:
        source = _opened(profile, "GRAY", "RGB")
        target = ImageCms.ImageCmsProfile(io.BytesIO(built(_SRGB_CURVE)))
        of_gray = source.profile.xcolor_space == "GRAY"
        ramp = np.arange(65536, dtype=np.uint16) if of_gray else np.arange(256, dtype=np.uint8)
        ramp = Image.fromarray(ramp[None]) if of_gray else Image.fromarray(np.stack([ramp] * 3, -1)[None])
        out = Image.new("I;16", ramp.size)
        for sixteen in ("L;16", "I;16"):  # ImageCms's name of the mode up to Pillow 10.3, and since
            try:
                into = sixteen if of_gray else "RGB"
                ImageCms.buildTransform(source, target, into, sixteen, _RELATIVE, _EXACT).apply(ramp, out)
                break
            except ValueError:
                continue
        curve = np.asarray(out)[0].astype(float)
        curve = np.interp(np.linspace(0, 1, 65536), np.linspace(0, 1, len(curve)), curve)
    return (curve / 257 + 0.5).astype(np.uint8)


# What a file says of its colors.


def _exif(image: Image.Image) -> dict:
    """The EXIF entries: the picture's, those of how it was taken, and the "index" of interoperability."""
    try:
        exif = image.getexif()
        return {**exif.get_ifd(0x8769), **exif, "index": exif.get_ifd(0xA005).get(1)}
    except Exception:  # damaged, as any part of a file may be; the picture may be sound
        return {}


def _stated(image: Image.Image, exif: dict) -> bytes | None:
    """The profile that a file holds, or one built of what else it says; None for sRGB, and for nothing."""
    info, gray = image.info, image.mode in _GRAY or image.mode[0] in "IF"
    codes = info.get("cicp")
    if "icc_profile" in info and not (codes and image.format == "PNG"):
        if info["icc_profile"] is None:
            raise ValueError("it is damaged")
        return info["icc_profile"]
    space, curve = _SPACES[1], _SRGB_CURVE
    if image.mode in ("CMYK", "LAB"):
        return None
    if codes:
        if codes[1] in (16, 18):
            raise ValueError("it is for a range of light that screens of sRGB don't have")
        # The curves of BT.709 and its kind are meant for the same screens as sRGB's.
        space = _SPACES.get(codes[0], space)
        curve = {4: _STEPS**2.2, 5: _STEPS**2.8, 8: _STEPS}.get(codes[1], curve)
    elif image.format == "PNG" and {"srgb", "gamma", "chromaticity"} & info.keys():
        if "srgb" in info:
            return None
        if info.get("chromaticity"):
            space = np.reshape(info["chromaticity"], (4, 2))
        if info.get("gamma"):
            curve = _STEPS ** (1 / info["gamma"])
    elif exif.get(0xA001) == 1:  # EXIF's word for sRGB
        return None
    else:
        if exif.get("index") == "R03" or exif.get(0xA001) == 2:
            space, curve = _SPACES["Adobe"], _STEPS ** (563 / 256)
        elif exif.get(0xA500):
            curve = _STEPS ** float(exif[0xA500])
        if 318 in exif and 319 in exif:
            space = np.reshape([float(x) for x in (*exif[318], *exif[319])], (4, 2))
        if 301 in exif:
            table = np.reshape(exif[301], (-1, 2 ** int(np.atleast_1d(exif.get(258, 8))[0]))) / 65535
            table = table[:, ::-1] if exif.get(262) == 0 else table
            steps = np.linspace(0, 1, table.shape[1])
            curve = np.stack([np.interp(_STEPS, steps, one) for one in table])
    if space is _SPACES[1] and curve is _SRGB_CURVE:
        return None
    return built(curve) if gray else built(curve, space)


def _warn(message: str) -> None:
    """Warn at the line outside this library that asked for the picture."""
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("colorlib."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
