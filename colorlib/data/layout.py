"""The plan of a batch of scenes, what stands where, and how it is painted."""

import numpy as np
import torch
from torch import Tensor

from .sprites import EMPTY, MATERIAL_BIT, SHADE_BIT, SHADE_STEP, SHADOW, SHADOW_DEPTH, SLOT_BIT, pack
from .textures import FAR, THERMAL, TILE

ANGLES = 256  # in which a thing that turns may lie


class Layout:
    """The plan of a batch of scenes. Written by `landscape.layout` or `flowers.layout`, then painted.

    Without random numbers (`u` is None) it is a rehearsal on one scene, which records their names and the
    slots.
    """

    def __init__(self, world, u: Tensor | None):
        self.world, self.u = world, u
        self.names: list[str] = []
        self.slots: list[str] = []
        self.palette_columns: list[Tensor] = []
        self.steps: list[tuple] = []
        self.tables = None if u is None else world._on(u.device)
        self.offset = self._uniform("texture x"), self._uniform("texture y")
        self.thermal = self._uniform("thermal x"), self._uniform("thermal y")
        self.earth = None  # the slot of the ground, where there is one

    # What a layout is written with. Every result has shape (B,).

    def _uniform(self, name: str) -> Tensor:
        if self.u is None:
            if name in self.names:
                raise ValueError(f"the random number {name!r} is used twice")
            self.names.append(name)
            return torch.zeros(1)
        return self.u[:, self.world._streams[name]]

    def span(self, name: str, low: float, high: float) -> Tensor:
        """A number drawn uniformly from [low, high)."""
        return low + self._uniform(name) * (high - low)

    def chance(self, name: str, probability: float) -> Tensor:
        """True with that probability."""
        return self._uniform(name) < probability

    def aside(self, name: str, x: Tensor, low: float, high: float) -> Tensor:
        """A place in [0, 1) at a distance from `x`: farther right by low to high, and round the edge."""
        far = x + self.span(name, low, high)
        return far - far.floor()

    def pick(self, name: str, weights) -> Tensor:
        """A whole number k with probability weights[k]; the weights sum to 1."""
        u = self._uniform(name)
        steps = torch.tensor(np.cumsum(weights)[:-1], dtype=torch.float32, device=u.device)
        return (u[:, None] >= steps).sum(1)

    def columns(self, purpose: str) -> Tensor:
        """The random numbers of one purpose for every slot, (B, slots)."""
        first = self.world._streams[f"{purpose} {self.slots[0]}"]
        return self.u[:, first : first + len(self.slots)]

    # The steps of a layout, farthest first.

    def plain(self, name: str, material: str | Tensor) -> int:
        """An object that has no drawing of its own, such as the sky. Returns its slot."""
        if self.u is not None:
            if isinstance(material, str):
                material = torch.full((len(self.u),), self.world._ids[material], device=self.u.device)
            self.palette_columns.append(material)
        self.slots.append(name)
        return len(self.slots) - 1

    def thing(self, name, present, x, base, height, width=None, turn=False, variant=None, share=None) -> int:
        """One thing, such as "tree 1": its drawing, upright or turned, on `base` with its middle at `x`.

        Its group is the name less the number. `present` is a probability or a (B,) mask. `variant` is the
        drawing as a number within the group, drawn evenly without it; `width` follows from `height` unless
        given; `share` is the first slot of an earlier thing of the same group with which this one shares its
        objects and their colors. Returns the first slot.
        """
        group = name.split()[0]
        sprites, parts = self.world._atlas.groups[group], self.world._atlas.parts[group]
        if not isinstance(present, Tensor):
            present = self.chance(name, present)
        if variant is None:
            variant = (self._uniform(f"{name} variant") * len(sprites)).long()
        mirrored = self.chance(f"{name} mirrored", 0.5)
        angle = (self._uniform(f"{name} turn") * ANGLES).long() if turn else None
        first = len(self.slots) if share is None else share
        if share is None:
            self.slots += [f"{name} {part}" for part in parts]
        if self.u is not None:
            sprite = variant + sprites.start
            owned = self.tables["slot materials"][sprite].masked_fill(~present[:, None], -1)
            for k, material in enumerate(owned[:, : len(parts)].unbind(1)):
                if share is None:
                    self.palette_columns.append(material)
                else:
                    self.palette_columns[share + k] = torch.maximum(self.palette_columns[share + k], material)
            if width is None:
                width = height * self.tables["aspect"][sprite]
            self.steps.append(("thing", present, sprite, x, base, height, width, mirrored, angle, first))
        return first

    def horizon(self, y: Tensor, field: Tensor) -> None:
        """Fills the frame with sky down to a horizon at `y`; below it there will be a field or a meadow."""
        self.level, self.field = y, field
        self.steps.append(("sky", self.plain("sky", "sky")))
        line, shift = self._uniform("horizon line"), self._uniform("horizon shift")
        self.line = (line * 8).long(), (shift * 1024).long()

    def ground(self) -> None:
        ids = self.world._ids
        material = torch.where(self.field, ids["field"], ids["meadow"])
        self.earth = self.plain("ground", material)
        self.steps.append(("ground", self.earth, material))

    def road(self, y: Tensor, present: Tensor) -> None:
        """A road across the frame, seen from the side, in the middle of which things stand on `y`."""
        slot = self.plain("road", "road")
        if self.u is not None:
            self.palette_columns[slot] = self.palette_columns[slot].masked_fill(~present, -1)
        self.steps.append(("road", slot, y, present))

    def bed(self, material: str) -> None:
        """Fills the frame with one material."""
        self.steps.append(("bed", self.plain(material, material), self.world._ids[material]))

    # Painting.

    def prepare(self, tables: dict) -> None:
        """Once before `paint`."""
        self.prepared = [
            (kind, *(self._prepare_thing(tables, *step) if kind == "thing" else step))
            for kind, *step in self.steps
        ]

    def paint(self, part: slice, tables: dict) -> Tensor:
        """The codes of the scenes `part`: (b, H, W) int32, see `sprites`."""
        at = tables["at"]
        code = torch.zeros(len(self.u[part]), len(at), len(at), dtype=torch.int32, device=at.device)
        for kind, *step in self.prepared:
            code = getattr(self, f"_paint_{kind}")(code, part, tables, *step)
        return code

    def _paint_bed(self, code, part, tables, slot, material):
        return code + int(pack(material, slot))

    def _paint_sky(self, code, part, tables, slot):
        """Lighter toward the horizon."""
        down = tables["at"][None] / self.level[part, None]
        shade = (down * 26).clamp(max=30).int() - 16
        return code + int(pack(self.world._ids["sky"], slot)) + (shade << SHADE_BIT)[:, :, None]

    def _paint_ground(self, code, part, tables, slot, material):
        at = tables["at"]
        profile, shift = (v[part] for v in self.line)
        column = (at * 700).long()[None] + shift[:, None]
        level, profiles = self.level[part, None], tables["profiles"].reshape(-1)
        edge = level + profiles[profile[:, None] * 1024 + column % 1024]
        shade = ((0.6 - (at[None] - level)) * 34).clamp(min=0).int() - 12
        ground = (material[part].int() << MATERIAL_BIT)[:, None] + int(pack(0, slot)) + (shade << SHADE_BIT)
        return torch.where(at[None, :, None] >= edge[:, None], ground[:, :, None], code)

    def _paint_road(self, code, part, tables, slot, y, present):
        at, y, present = tables["at"][None], y[part, None], present[part, None]
        road = self.world._ids["road"]
        inside = (at > y - 0.075) & (at < y + 0.055) & present
        border = (at < y - 0.06) | (at > y + 0.04)
        line = (at * 4 - (at * 4).int() < 0.55)[:, None] & ((at - y + 0.005).abs() < 0.017)[:, :, None]
        shades = torch.where(border, int(pack(road, slot, -6)), int(pack(road, slot, 0)))[:, :, None]
        painted = torch.where(line, int(pack(road, slot, 30)), shades).int()
        return torch.where(inside[:, :, None], painted, code)

    def _prepare_thing(self, tables, present, sprite, x, base, height, width, mirrored, angle, first):
        """What can be done for all scenes at once: from places in the frame to places in the drawing."""
        at = tables["at"]
        chosen = present.nonzero()[:, 0]
        sprite, x, base, height, width, mirrored = (
            v.index_select(0, chosen)[:, None] for v in (sprite, x, base, height, width, mirrored)
        )
        rows, columns, start = tables["rows"][sprite], tables["columns"][sprite], tables["start"][sprite]
        across, down = (at - x) / width, (at - base) / height + 0.5
        across = torch.where(mirrored, -across, across)
        # `chosen` of scenes [0, k) are the first count[k] ones.
        count = [0, *present.cumsum(0).tolist()]
        if angle is None:
            column = self._inside(across + 0.5, columns)
            row = self._inside(down + 0.5, rows) * columns.int() + start
            return chosen, count, (column, row), first
        # The drawing of a thing that turns is square, and turns about its middle.
        cos, sin = (v[angle[chosen], None] for v in tables["turns"])
        places = across * cos, across * sin, down * sin, down * cos, columns, rows, start
        return chosen, count, places, first

    @staticmethod
    def _inside(place, count):
        """From [0, 1) to whole numbers below `count`.

        Outside a drawing its outermost texels, all empty, answer.
        """
        return torch.minimum((place * count).clamp(min=0), count - 1).int()

    def _paint_thing(self, code, part, tables, chosen, count, places, first):
        begin, end = count[part.start], count[min(part.stop, len(count) - 1)]
        if begin == end:
            return code
        places = [v[begin:end] for v in places]
        if len(places) == 2:
            column, row = places
            place = column[:, None] + row[:, :, None]
        else:
            across_cos, across_sin, down_sin, down_cos, columns, rows, start = places
            columns, rows = columns[:, :, None], rows[:, :, None]
            column = self._inside(across_cos[:, None] - down_sin[:, :, None] + 0.5, columns)
            row = self._inside(across_sin[:, None] + down_cos[:, :, None] + 0.5, rows)
            place = column + row * columns.int() + start[:, :, None]
        texel = tables["texels"].index_select(0, place.reshape(-1)).view(place.shape)
        here = chosen[begin:end] - part.start
        under = code.index_select(0, here)
        under = under - (texel == SHADOW).int() * (int(SHADOW_DEPTH / SHADE_STEP) << SHADE_BIT)
        return code.index_copy_(0, here, torch.where(texel > EMPTY, texel + (first << SLOT_BIT), under))

    def texture_at(self, part: slice, slot: Tensor, tables: dict) -> Tensor:
        """The texel of a tile from which every pixel reads its texture, (b, H, W) int32."""
        place = self._tile_at(self.offset, part, tables)
        if self.earth is None:
            return place
        # The ground lies flat: seen from above the horizon's line its furrows run together with distance.
        at = tables["at"][None]
        depth = (at - self.level[part, None]).clamp(min=0) + 0.16
        scale = 0.42 * TILE / depth
        x, y = (v[part, None] for v in self.offset)
        row = (y * TILE + 2 * TILE - scale * 0.5).int() & (TILE - 1)
        # Whole turns of the tile keep the number positive, so that cutting its fraction off rounds it down.
        column = (at - 0.5)[:, None] * scale[:, :, None] + (x * TILE + 4 * TILE)[:, :, None]
        column = column.int() & (TILE - 1)
        row = row * TILE + (depth < 0.32).int() * (FAR * TILE**2)
        return torch.where(slot == self.earth, row[:, :, None] + column, place)

    def haze_at(self, part: slice, tables: dict) -> Tensor:
        """The texel from which the infrared picture reads its haze."""
        return self._tile_at(self.thermal, part, tables) + THERMAL * TILE**2

    @staticmethod
    def _tile_at(offset, part, tables):
        at = (tables["at"] * TILE).int()[None]
        x, y = ((v[part, None] * TILE).int() for v in offset)
        return (((at + y) & (TILE - 1)) * TILE)[:, :, None] + ((at + x) & (TILE - 1))[:, None]
