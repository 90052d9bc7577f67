"""The world: endless synthetic scenes, each drawn from its number, with colors whose law is known.

Each pixel is computed with operations that IEEE 754 rounds exactly (+ - * / floor, comparisons), whole
numbers and look-ups in tables made once, and never with a sum over pixels or scenes. Functions such as
`exp` give other last bits in the vectorised body of a tensor than in its tail, so a scene would depend on
the batch it is drawn in. This way it doesn't.
"""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from colorlib._check import came, choice, device_of, integers, listed, whole
from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab

from . import flowers, landscape
from .law import Law
from .materials import KINDS, TEXTURES
from .sprites import (
    EMPTY,
    MATERIAL_BIT,
    SHADE_BIT,
    SHADE_STEP,
    SHADE_ZERO,
    SHADOW,
    SHADOW_DEPTH,
    SLOT_BIT,
    WARMTH_ZERO,
    Atlas,
    pack,
)
from .textures import FAR, THERMAL, TILE, bank

LEVELS = 1001  # lightness is a whole number of tenths, 0.0 to 100.0
# Pixels painted together. They stay in the cache of a core, and torch doesn't wake other cores for fewer
# than 32,768 elements: at this size that costs more time than it saves.
CHUNK = 31 * 1024
PLAN = 124  # scenes planned together: four chunks of 32x32, and few enough for the same reason
_DRAWINGS = {"landscape": landscape, "flowers": flowers}
_MASK32 = 0xFFFFFFFF


@dataclass(frozen=True)
class Scene:
    """One scene of the world, or a batch of them (then every tensor has the batch in front).

    Attributes
    ----------
    rgb : Tensor
        (..., 3, H, W) float32, sRGB in [0, 1].
    lightness : Tensor
        (..., 1, H, W) float32, CIE L, a multiple of 0.1.
    material : Tensor
        (..., H, W) int64, each pixel's place in `World.materials`.
    object : Tensor
        (..., H, W) int64, the slot of the object each pixel belongs to, a place in `World.slots`.
    infrared : Tensor
        (..., 1, H, W) float32 in [0, 1], 1 is warm. It doesn't depend on paint.
    colors : Tensor
        (..., slots) int64, the palette entry each object drew; -1 where the scene has no such object. An
        object of the scene that nearer ones hide has drawn its color too: `visible` tells which objects
        show.
    palette_of : Tensor
        (..., slots) int64, each object's material, whose palette it drew from; -1 where the scene has no
        such object.
    """

    rgb: Tensor
    lightness: Tensor
    material: Tensor
    object: Tensor
    infrared: Tensor
    colors: Tensor
    palette_of: Tensor

    @property
    def gray(self) -> Tensor:
        """(..., 1, H, W) in [0, 1]: the picture in black and white, a function of the lightness alone."""
        nothing = torch.zeros_like(self.lightness)
        return rgb_to_gray(lab_to_rgb(torch.cat([self.lightness, nothing, nothing], -3)))

    @property
    def lab(self) -> Tensor:
        """(..., 3, H, W): `rgb` in CIELAB."""
        return rgb_to_lab(self.rgb)

    @property
    def visible(self) -> Tensor:
        """(..., slots) bool: the objects of which at least one pixel shows."""
        shows = torch.zeros_like(self.colors, dtype=torch.bool)
        return shows.scatter(-1, self.object.flatten(-2), True)

    def to(self, device) -> Scene:
        """The same scene on another device."""
        return Scene(
            **{field.name: getattr(self, field.name).to(device_of(device)) for field in fields(self)}
        )

    def __len__(self) -> int:
        if self.colors.dim() == 1:
            raise TypeError("one scene has no length; a batch has")
        return len(self.colors)

    def __getitem__(self, index) -> Scene:
        """Scenes of a batch: an int gives one scene; a slice, a list or a tensor gives a batch."""
        if self.colors.dim() == 1:
            raise TypeError("one scene can't be indexed; a batch can")
        try:
            if isinstance(index, (bool, tuple, type(None))):  # of a tensor they mean other dimensions
                raise TypeError
            return Scene(**{field.name: getattr(self, field.name)[index] for field in fields(self)})
        except (IndexError, RuntimeError, TypeError, ValueError):
            wanted = f"one of {len(self)} scenes, or several"
            raise IndexError(f"index must be {wanted}; got {came(index)}") from None

    def __iter__(self):
        return (self[k] for k in range(len(self)))


class World:
    """Synthetic scenes without end, each drawn from its index, with an answer key.

    ``world[i]`` is a function of (`kind`, `seed`, ``i``, `size`) alone: the same bits in any batch, order,
    process or number of threads. The things of a scene and their colors don't depend on `size` either: it
    is one scene, seen finer.

    Every object draws one entry from the palette of its material, independently of everything else: of the
    other objects, of where it stands and of all lightness. So a gray picture tells the color only through
    the materials it shows, and the exact distribution of the colors given the gray picture is known: it is
    `law`.

    ``world[i]`` is one `Scene`. The world has no length and no last index; iterating over it never ends.

    Parameters
    ----------
    size : int
        Height and width in pixels, 8 to 1024.
    kind : str
        "landscape": sky, clouds, mountains, hills, meadows and fields, lakes, houses, trees, cars on a
        road, balls and, in one scene of forty, a person on a bicycle. "flowers": a flower bed from above,
        five species.
    seed : int
        Another seed is another world of the same kind. 0 or more.

    Attributes
    ----------
    materials : tuple of str
        The names that `Scene.material` and `Scene.palette_of` number.
    slots : tuple of str
        The names of the objects that `Scene.object` numbers, for instance "car 0 body".
    law : Law
        The exact posterior of the colors.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of its range.
    """

    def __init__(self, size: int = 64, kind: str = "landscape", seed: int = 0):
        self.size = whole(size, "size", 8, 1024)
        self.seed = whole(seed, "seed", 0, 2**63 - 1)
        self.kind = choice(kind, "kind", KINDS)
        table = KINDS[kind]
        self.materials = tuple(material.name for material in table)
        self.law = Law(table)
        ids = {name: k for k, name in enumerate(self.materials)}
        self._ids = ids
        self._atlas = _atlas(kind)
        # A first run of the layout, with nothing in it, learns which random numbers and which slots a scene
        # needs.
        trial = Layout(self, None)
        _DRAWINGS[kind].layout(trial)
        self.slots = tuple(trial.slots)
        purposes = (
            [f"color {s}" for s in self.slots],
            [f"light {s}" for s in self.slots],
            [f"warm {s}" for s in self.slots],
        )
        self._streams = {name: k for k, name in enumerate([*trial.names, *purposes[1], *purposes[2]])}
        # Each seed has keys of its own: mixed with the index instead, it would give the same scenes in
        # another order.
        self._keys = tuple(self._seeded(_keys(names)) for names in (self._streams, purposes[0]))
        self._tables = {"cpu": self._make_tables(table)}

    def __repr__(self) -> str:
        return f"World(size={self.size}, kind={self.kind!r}, seed={self.seed})"

    def __getitem__(self, index: int) -> Scene:
        return self.batch([whole(index, "index", 0, 2**63 - 1, IndexError)])[0]

    def __iter__(self):
        index = 0
        while True:
            yield self[index]
            index += 1

    def batch(self, indices, device=None, draw: int = 0) -> Scene:
        """Several scenes at once.

        Parameters
        ----------
        indices : sequence or 1-D integer tensor
            Which scenes, in any order, repeats allowed.
        device : torch.device or str, optional
            Where they are painted and stay; the CPU by default.
        draw : int
            0 gives the scenes themselves. Another number gives the same scenes painted anew: the same
            things, lightness and infrared, with colors drawn again from the same palettes.

        Returns
        -------
        Scene
            With (B, ...) tensors.
        """
        state, device = self._state(indices, device)
        draw = whole(draw, "draw", 0, 2**32 - 1)
        tables = self._on(device)
        count, size, slots = len(state), self.size, len(self.slots)
        scene = Scene(
            rgb=torch.empty(count, 3, size, size, device=device),
            lightness=torch.empty(count, 1, size, size, device=device),
            material=torch.empty(count, size, size, dtype=torch.int64, device=device),
            object=torch.empty(count, size, size, dtype=torch.int64, device=device),
            infrared=torch.empty(count, 1, size, size, device=device),
            colors=torch.empty(count, slots, dtype=torch.int64, device=device),
            palette_of=torch.empty(count, slots, dtype=torch.int64, device=device),
        )
        # As many scenes are painted at a time as fit in a chunk, and planned a few chunks at a time.
        paint = min(PLAN, max(1, CHUNK // size**2)) if device.type == "cpu" else max(1, count)
        plan = PLAN // paint * paint if device.type == "cpu" else max(1, count)
        for start in range(0, count, plan):
            here = slice(start, start + plan)
            layout = self._lay_out(state[here], tables)
            colors = self._draw_colors(state[here], layout.palette_of, draw, tables)
            scene.colors[here], scene.palette_of[here] = colors, layout.palette_of
            self._paint(layout, colors, paint, tables, scene[here])
        return scene

    def colors(self, indices, device=None, draw: int = 0) -> tuple[Tensor, Tensor]:
        """What every object drew, without painting: the `colors` and `palette_of` of ``batch(indices,
        device, draw)``.

        Returns
        -------
        tuple of Tensor
            Both (B, slots) int64, -1 where a scene has no such object.
        """
        state, device = self._state(indices, device)
        draw = whole(draw, "draw", 0, 2**32 - 1)
        tables = self._on(device)
        palette_of = self._lay_out(state, tables).palette_of
        return self._draw_colors(state, palette_of, draw, tables), palette_of

    # Random numbers.

    def _state(self, indices, device) -> tuple[Tensor, torch.device]:
        device = device_of(device)
        if isinstance(indices, Tensor):
            index = integers(indices, "indices", "(B,)").to(device=device, dtype=torch.int64)
            if len(index):
                whole(index.min(), "each of the indices", 0, error=IndexError)
        else:
            indices = listed(indices, "indices")
            numbers = [whole(i, "each of the indices", 0, 2**63 - 1, IndexError) for i in indices]
            index = torch.tensor(numbers, dtype=torch.int64, device=device)
        return _hash(_hash(index & _MASK32) ^ (index >> 32)), device

    def _seeded(self, keys: Tensor) -> Tensor:
        """The keys that this world's seed makes of the common ones, with both of the seed's 32-bit halves."""
        return _hash(_hash(keys ^ (self.seed & _MASK32)) ^ (self.seed >> 32))

    def _lay_out(self, state: Tensor, tables: dict) -> Layout:
        layout = Layout(self, _uniforms(state, tables["keys"]))
        _DRAWINGS[self.kind].layout(layout)
        layout.palette_of = torch.stack(layout.palette_columns, 1)
        return layout

    def _draw_colors(self, state: Tensor, palette_of: Tensor, draw: int, tables: dict) -> Tensor:
        if draw:
            state = _hash(state ^ _hash(torch.full_like(state, draw)))
        u = _uniforms(state, tables["color keys"])
        # The entry drawn is the number of steps of the cumulative distribution that u has passed.
        steps = tables["cumulative"].index_select(0, palette_of.clamp(min=0).reshape(-1))
        steps = steps.view(*palette_of.shape, steps.shape[1])
        return (u[..., None] >= steps).sum(-1).masked_fill(palette_of < 0, -1)

    # Paint.

    def _paint(self, layout: Layout, colors: Tensor, step: int, tables: dict, out: Scene) -> None:
        """Paints the scenes of a layout into `out`, `step` at a time."""
        known = layout.palette_of.clamp(min=0)
        spread = tables["spread"].index_select(0, known.reshape(-1)).view(known.shape)
        # By slot: a color's row in the table of paints, a shift of lightness in tenths and of warmth in
        # thousandths.
        per_slot = (
            (
                tables["first paint"].index_select(0, known.reshape(-1)).view(known.shape)
                + colors.clamp(min=0)
            ).int(),
            (layout.columns("light") * (2 * spread)).int() - spread,
            (layout.columns("warm") * 100).int() - 50,
        )
        layout.prepare(tables)
        for start in range(0, len(known), step):
            part = slice(start, start + step)
            code = layout.paint(part, tables)
            self._develop(code, layout, part, [values[part] for values in per_slot], tables, out)

    def _develop(
        self, code: Tensor, layout: Layout, part: slice, per_slot: list, tables: dict, out: Scene
    ) -> None:
        """Codes to pictures: decode every pixel, add texture, look its color up."""
        count, size = code.shape[0], self.size
        shape = (count, size, size)
        slot, material = code >> SLOT_BIT, (code >> MATERIAL_BIT) & 63
        flat_slot = (slot + tables["arange"][:count, None, None] * len(self.slots)).reshape(-1)
        flat_material = material.reshape(-1)

        def by_slot(values):
            return values.reshape(-1).index_select(0, flat_slot).view(shape)

        def by_material(name):
            return tables[name].index_select(0, flat_material).view(shape)

        row, light, warm = (by_slot(values) for values in per_slot)
        texel = by_material("layer") + layout.texture_at(part, slot, tables)
        texture = tables["bank"].index_select(0, texel.reshape(-1)).view(shape)
        shade = ((code >> SHADE_BIT) & 1023) - SHADE_ZERO
        level = (
            by_material("base")
            + light
            + shade * int(10 * SHADE_STEP)
            + ((texture * by_material("amplitude")) >> 6)
        )
        level = torch.minimum(torch.maximum(level, by_material("low")), by_material("high"))
        paint = (row * LEVELS + level).reshape(-1)
        for channel in range(3):
            out.rgb[part, channel] = tables["rgb"][channel].index_select(0, paint).view(shape)
        out.lightness[part, 0] = level / tables["tenths"]
        out.material[part] = material
        out.object[part] = slot

        haze = tables["bank"].index_select(0, layout.haze_at(part, tables).reshape(-1)).view(shape)
        heat = by_material("temperature") + warm + ((code & 63) - WARMTH_ZERO) * 16 + ((haze * 22) >> 6)
        out.infrared[part, 0] = heat.clamp(0, 1000) / tables["thousandths"]

    # Tables.

    def _make_tables(self, materials) -> dict:
        def column(values, scale=1.0, dtype=torch.int32):
            return torch.tensor(np.rint(np.array(values, np.float64) * scale)).to(dtype)

        entries = [len(m.palette) for m in materials]
        # Past the last entry the steps are above every u, so they are never passed.
        cumulative = torch.full((len(materials), max(entries)), 2.0)
        for k, m in enumerate(materials):
            total = np.cumsum([p for _, p, _, _ in m.palette])[:-1]
            cumulative[k, : len(total)] = torch.tensor(total)
        atlas = self._atlas
        return {
            # As tensors: a GPU multiplies by the reciprocal of a plain number, which rounds twice.
            "tenths": torch.tensor([10.0]),
            "thousandths": torch.tensor([1000.0]),
            "keys": self._keys[0],
            "color keys": self._keys[1],
            "cumulative": cumulative,
            "first paint": torch.tensor(np.cumsum([0, *entries])[:-1]),
            "spread": column([m.spread for m in materials], 10),
            "base": column([m.base for m in materials], 10),
            "low": column([m.low for m in materials], 10),
            "high": column([m.high for m in materials], 10),
            "amplitude": column([m.amplitude for m in materials], 10),
            "temperature": column([m.temperature for m in materials], 1000),
            "layer": column([TEXTURES.index(m.texture) * TILE**2 for m in materials]),
            "bank": torch.from_numpy(bank(self.size)).reshape(-1),
            "rgb": _paints(self.kind),
            "texels": torch.from_numpy(atlas.texels),
            "start": torch.from_numpy(atlas.start).int(),
            "rows": torch.from_numpy(atlas.rows).float(),
            "columns": torch.from_numpy(atlas.columns).float(),
            "aspect": torch.from_numpy(atlas.aspect),
            "slot materials": torch.from_numpy(atlas.materials),
            "at": (torch.arange(self.size, dtype=torch.float32) + 0.5) / self.size,
            "arange": torch.arange(max(1, CHUNK), dtype=torch.int32),
            "turns": torch.tensor(_CIRCLE, dtype=torch.float32),
            "profiles": torch.from_numpy(_profiles()),
        }

    def _on(self, device: torch.device) -> dict:
        key = str(device)
        if key not in self._tables:

            def move(value):
                return tuple(v.to(device) for v in value) if isinstance(value, tuple) else value.to(device)

            self._tables[key] = {name: move(value) for name, value in self._tables["cpu"].items()}
        return self._tables[key]


# Cosine and sine of 256 angles, so that turning a thing is a look-up.
_ANGLES = 256
_CIRCLE = [[float(np.float32(f(2 * np.pi * k / _ANGLES))) for k in range(_ANGLES)] for f in (np.cos, np.sin)]


def _profiles() -> np.ndarray:
    """Wavy lines for horizons, (8, 1024) float32 in frame heights, around zero."""
    x = np.arange(1024) / 1024 * 2 * np.pi
    lines = [sum(np.sin(n * x + 1.7 * k * n + n * n) / n for n in (1, 2, 3, 5)) for k in range(8)]
    return np.rint(np.array(lines) * 0.011 * 2**16).astype(np.float32) / 2**16


@functools.cache
def _atlas(kind: str) -> Atlas:
    return Atlas(_DRAWINGS[kind].sprites({material.name: k for k, material in enumerate(KINDS[kind])}))


@functools.cache
def _paints(kind: str) -> tuple[Tensor, ...]:
    """Red, green and blue of every palette entry at every lightness, each (entries * LEVELS,) float32."""
    ab = torch.tensor([entry[2:] for m in KINDS[kind] for entry in m.palette], dtype=torch.float64)
    lightness = torch.arange(LEVELS, dtype=torch.float64) / 10
    lab = torch.cat([lightness.expand(len(ab), 1, -1), ab[:, :, None].expand(-1, -1, LEVELS)], 1)
    # A material uses only the levels at which all its paints are inside the gamut: there is nothing to clip.
    rgb = lab_to_rgb(lab[:, :, None], clip=False).float()
    return tuple(rgb[:, channel].reshape(-1) for channel in range(3))


class Layout:
    """The plan of a batch of scenes: what stands where. Written by `landscape.layout` or `flowers.layout`,
    then painted.

    Without random numbers (`u` is None) it is a rehearsal on one scene, which records their names and the
    slots.
    """

    def __init__(self, world: World, u: Tensor | None):
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
        """A place in [0, 1) that keeps its distance from `x`: farther right by low to high, and round the
        edge.
        """
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

    def thing(
        self,
        group: str,
        number: int,
        present,
        x,
        base,
        height,
        width=None,
        turn=False,
        variant=None,
        share=None,
    ) -> int:
        """One thing of a group: its drawing, upright or turned, standing on `base` with its middle at `x`.

        `present` is a probability or a (B,) mask. `variant` is the drawing as a number within the group,
        drawn evenly without it; `width` follows from `height` unless given; `share` is the first slot of an
        earlier thing of the same group with which this one shares its objects and their colors. Returns the
        first slot.
        """
        name, sprites = f"{group} {number}", self.world._atlas.groups[group]
        if not isinstance(present, Tensor):
            present = self.chance(name, present)
        if variant is None:
            variant = (self._uniform(f"{name} variant") * len(sprites)).long()
        mirrored = self.chance(f"{name} mirrored", 0.5)
        angle = (self._uniform(f"{name} turn") * _ANGLES).long() if turn else None
        first = len(self.slots) if share is None else share
        parts = self.world._atlas.parts[group]
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
        self.line = (
            (self._uniform("horizon line") * 8).long(),
            (self._uniform("horizon shift") * 1024).long(),
        )

    def ground(self) -> None:
        material = None
        if self.u is not None:
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
            ("thing", *self._prepare_thing(tables, *step)) if kind == "thing" else (kind, *step)
            for kind, *step in self.steps
        ]

    def paint(self, part: slice, tables: dict) -> Tensor:
        """The codes of the scenes `part`: (b, H, W) int32, see `sprites`."""
        at = tables["at"]
        size = len(at)
        count = len(self.u[part])
        code = torch.zeros(count, size, size, dtype=torch.int32, device=at.device)
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
        edge = (
            self.level[part, None] + tables["profiles"].reshape(-1)[profile[:, None] * 1024 + column % 1024]
        )
        depth = at[None] - self.level[part, None]
        shade = ((0.6 - depth) * 34).clamp(min=0).int() - 12
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
        return (
            chosen,
            count,
            (across * cos, across * sin, down * sin, down * cos, columns, rows, start),
            first,
        )

    @staticmethod
    def _inside(place, count):
        """From [0, 1) to whole numbers below `count`. Outside a drawing its outermost texels answer: they
        are empty.
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


def _keys(names) -> Tensor:
    return torch.tensor([zlib.crc32(name.encode()) for name in names], dtype=torch.int64)


def _times32(x: Tensor, factor: int) -> Tensor:
    """x * factor modulo 2^32 for 0 <= x < 2^32, in two halves so that 64 signed bits never overflow."""
    return (x * (factor & 0xFFFF) + ((x * (factor >> 16) & 0xFFFF) << 16)) & _MASK32


def _hash(x: Tensor) -> Tensor:
    """lowbias32, a hash of 32-bit numbers held in int64 (C. Wellons, "Prospecting for hash functions",
    2018).
    """
    x = (x + 0x9E3779B9) & _MASK32  # so that 0 doesn't stay 0
    x = _times32(x ^ (x >> 16), 0x7FEB352D)
    x = _times32(x ^ (x >> 15), 0x846CA68B)
    return x ^ (x >> 16)


def _uniforms(state: Tensor, keys: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), one for each state and key: (B, keys) float32, multiples of 2^-24.

    A counter-based generator: a number is a hash of what it is for, so none depends on another having been
    drawn.
    """
    x = _hash(_hash(state[:, None] ^ keys) ^ state[:, None])
    return (x >> 8).float() / 2.0**24
