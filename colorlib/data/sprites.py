"""Canvases on which the things of the world are drawn once, and the atlas that holds them.

A *texel* is one whole number that packs what a camera needs to know about a point of a thing: which of the
thing's objects it belongs to, the object's material, a change of lightness (shading) and a change of
warmth. Painting a scene is then looking up texels and putting the nearer ones over the farther ones; color
and texture come last, in one pass.
"""

import numpy as np

EMPTY, SHADOW = -1, -2  # texels that aren't part of a thing: nothing, and a cast shadow
# From the lowest bit: 6 bits of warmth, 10 of shading, 6 of material, 9 of slot. 31 in all, so a texel is
# never negative.
SHADE_BIT, MATERIAL_BIT, SLOT_BIT = 6, 16, 22
WARMTH_ZERO, SHADE_ZERO = 32, 512
SHADE_STEP = 0.5  # CIE lightness units
SHADOW_DEPTH = 14  # how much darker a cast shadow is, in lightness units


def pack(material, slot=0, shade=0.0, warmth=0.0):
    """Whole number(s) for a material id, a slot, shading in lightness units and warmth in [-0.5, 0.5)."""
    shade = np.rint(np.asarray(shade) / SHADE_STEP).astype(np.int64) + SHADE_ZERO
    warmth = np.clip(np.rint(np.asarray(warmth) * 64).astype(np.int64) + WARMTH_ZERO, 0, 63)
    slot, material = np.asarray(slot) << SLOT_BIT, np.asarray(material) << MATERIAL_BIT
    return slot | material | (shade << SHADE_BIT) | warmth


class Canvas:
    """A drawing of one thing, `width` by `height` units; later strokes cover earlier ones.

    `x` runs right, `y` down. The outermost texels stay empty unless `bleed`, so that looking up a point
    outside the drawing finds nothing.
    """

    def __init__(self, ids: dict[str, int], width: float, height: float, texels=110, bleed=False):
        self.ids, self.width, self.height, self.bleed = ids, width, height, bleed
        self.columns, self.rows = round(width * texels), round(height * texels)
        self.x = ((np.arange(self.columns) + 0.5) / texels)[None]
        self.y = ((np.arange(self.rows) + 0.5) / texels)[:, None]
        self.texel = np.full((self.rows, self.columns), EMPTY, np.int64)
        self.slots: dict[str, tuple[int, int]] = {}  # part -> (slot within the thing, material id)

    def paint(self, mask, material: str, part: str | None = None, shade=0.0, warmth=0.0):
        """Covers `mask` with a material. Parts of one name are one object: they draw one color together."""
        part = part or material
        slot, _ = self.slots.setdefault(part, (len(self.slots), self.ids[material]))
        texel = pack(self.ids[material], slot, shade, warmth)
        self.texel = np.where(mask, texel, self.texel)
        return self

    def shadow(self, mask):
        self.texel = np.where(mask, SHADOW, self.texel)
        return self

    def finish(self) -> np.ndarray:
        if not self.bleed:
            self.texel[[0, -1]] = EMPTY
            self.texel[:, [0, -1]] = EMPTY
        return self.texel.astype(np.int32)

    # Masks. All take and give canvas units.

    def ellipse(self, cx, cy, rx, ry=None):
        return ((self.x - cx) / rx) ** 2 + ((self.y - cy) / (rx if ry is None else ry)) ** 2 < 1

    def box(self, left, top, right, bottom):
        return (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)

    def polygon(self, *points):
        """The even-odd inside of a polygon."""
        inside = np.zeros((self.rows, self.columns), bool)
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            if y0 != y1:
                crosses = (self.y >= min(y0, y1)) & (self.y < max(y0, y1))
                inside ^= crosses & (self.x < x0 + (self.y - y0) * (x1 - x0) / (y1 - y0))
        return inside

    def capsule(self, p, q, r, r_end=None):
        """A thick line from p to q, of radius `r` at p and `r_end` at q."""
        (px, py), (qx, qy) = p, q
        length2 = (qx - px) ** 2 + (qy - py) ** 2
        t = np.clip(((self.x - px) * (qx - px) + (self.y - py) * (qy - py)) / length2, 0, 1)
        radius = r + t * ((r if r_end is None else r_end) - r)
        return (self.x - px - t * (qx - px)) ** 2 + (self.y - py - t * (qy - py)) ** 2 < radius**2

    def ball(self, cx, cy, rx, ry=None, light=(-0.45, -0.6), strength=16.0):
        """The shading of a ball lit from above left, in lightness units."""
        u, v = (self.x - cx) / rx, (self.y - cy) / (rx if ry is None else ry)
        w = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        return strength * (u * light[0] + v * light[1] + 0.66 * w - 0.33)


class Atlas:
    """All drawings of a kind of scene in one flat table.

    `texels` (all,) int32; for every sprite its first texel, rows, columns, aspect (width over height in
    canvas units) and the material of each of its slots (-1 where it has fewer). `groups` maps a name to the
    sprites that can play that role.
    """

    def __init__(self, groups: dict[str, list[Canvas]]):
        canvases = [canvas for group in groups.values() for canvas in group]
        tables = [canvas.finish().reshape(-1) for canvas in canvases]
        self.texels = np.concatenate(tables)
        self.start = np.cumsum([0] + [len(t) for t in tables])[:-1].astype(np.int64)
        self.rows = np.array([c.rows for c in canvases], np.int64)
        self.columns = np.array([c.columns for c in canvases], np.int64)
        self.aspect = np.array([c.width / c.height for c in canvases], np.float32)
        most = max(len(c.slots) for c in canvases)
        self.materials = np.full((len(canvases), most), -1, np.int64)
        for k, canvas in enumerate(canvases):
            for slot, material in canvas.slots.values():
                self.materials[k, slot] = material
        self.groups, first = {}, 0
        for name, group in groups.items():
            self.groups[name] = range(first, first + len(group))
            first += len(group)
        # group -> names of its slots, for reading a scene; a canvas numbers them in the order of this dict
        self.parts = {name: list(max((c.slots for c in group), key=len)) for name, group in groups.items()}
