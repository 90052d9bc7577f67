"""Pictures before and after, side by side: one pair for each, and a contact sheet of a whole folder."""

from __future__ import annotations

import math
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

THUMB = 160  # the longer side of a picture on a contact sheet, in pixels
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
_GAP, _LINE = 12, 20  # around a pair, and for the name beneath it
_WIDEST = 65_500  # pixels that a side of a JPEG file may have


def side_by_side(before: Image.Image, after: Image.Image) -> Image.Image:
    """Two images of one size on white paper, the second one right of the first, with a thin gap between."""
    gap = max(2, before.width // 100)
    width = 2 * before.width + gap
    pair = Image.new("RGB", (width, before.height), _PAPER)
    pair.paste(before, (0, 0))
    pair.paste(after, (before.width + gap, 0))
    if max(pair.size) > _WIDEST:
        pair.thumbnail((_WIDEST, _WIDEST))
    return pair


def thumbnail(image: Image.Image) -> Image.Image:
    """A small copy of an image for a contact sheet."""
    small = image.copy() if max(image.size) <= THUMB else None
    if small is None:
        scale = THUMB / max(image.size)
        size = [max(1, round(side * scale)) for side in image.size]
        # The box filter first, by a whole number: nearly all of the quality in a fraction of the time.
        small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small.convert("RGB")


def contact_sheet(pairs: Iterable[tuple[Image.Image, Image.Image, str]]) -> Image.Image:
    """Small pictures before and after, as :func:`thumbnail` makes them, and their names, row by row.

    There are four pairs in a row, or more where a sheet would become longer than a JPEG file can be. A name
    that is too long for its place is cut; letters that the font of Pillow lacks are shown as boxes.
    """
    pairs = list(pairs)
    wide, high = 2 * THUMB + 2 + _GAP, THUMB + _LINE + _GAP
    columns = max(min(4, len(pairs)), math.ceil(len(pairs) * high / (_WIDEST - _GAP)))
    lines = math.ceil(len(pairs) / columns)
    sheet = Image.new("RGB", (_GAP + columns * wide, _GAP + lines * high), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (before, after, name) in enumerate(pairs):
        left, top = _GAP + place % columns * wide, _GAP + place // columns * high
        middle = left + THUMB + 1
        height = (THUMB - before.height) // 2
        sheet.paste(before, (middle - 1 - before.width, top + height))
        sheet.paste(after, (middle + 1, top + height))
        room = 2 * THUMB
        if draw.textlength(name, font) > room:
            while name and draw.textlength(name + "...", font) > room:
                name = name[:-1]
            name += "..."
        draw.text((middle, top + THUMB + 4), name, _INK, font, anchor="ma")
    return sheet
