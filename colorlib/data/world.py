"""The world: endless synthetic scenes, each drawn from its number, with colors whose law is known.

Each pixel is computed with operations that IEEE 754 rounds exactly (+ - * / floor, comparisons), whole
numbers and look-ups in tables made once, and never with a sum over pixels or scenes. Functions such as `exp`
give other last bits in the vectorized body of a tensor than in its tail, so a scene would depend on the batch
it is drawn in. This way it doesn't.
"""

import functools
import itertools

import numpy as np
import torch
from torch import Tensor

from colorlib._check import choice, device_of, integers, listed, whole
from colorlib.color import lab_to_rgb

from . import flowers, landscape
from .chance import LOW, keys_of, mixed, uniforms
from .law import Law
from .layout import ANGLES, Layout
from .materials import KINDS, TEXTURES
from .scene import Scene
from .sprites import MATERIAL_BIT, SHADE_BIT, SHADE_STEP, SHADE_ZERO, SLOT_BIT, WARMTH_ZERO, Atlas
from .textures import TILE, bank

LEVELS = 1001  # lightness is a whole number of tenths, 0.0 to 100.0
# Pixels painted together. They stay in the cache of a core, and torch doesn't wake other cores for fewer
# than 32,768 elements: at this size that costs more time than it saves.
CHUNK = 31 * 1024
PLAN = 124  # scenes planned together: four chunks of 32x32, and few enough for the same reason
_DRAWINGS = {"landscape": landscape, "flowers": flowers}


class World:
    """Synthetic scenes without end, each drawn from its index, with an answer key.

    ``world[i]``, one `Scene`, is a function of (`kind`, `seed`, ``i``, `size`) alone: the same bits in any
    batch, order, process or number of threads. The things of a scene and their colors don't depend on `size`
    either, the height and width in pixels, 8 to 1024: it is one scene, seen finer. Another `seed`, 0 or more,
    is another world of the same kind. The world has no length and no last index; iterating over it never
    ends.

    The kind "landscape" has sky, clouds, mountains, hills, meadows and fields, lakes, houses, trees, cars on
    a road, balls and, in one scene of forty, a person on a bicycle; "flowers" is a flower bed from above,
    five species.

    Every object draws one entry from the palette of its material, independently of everything else: of the
    other objects, of where it stands and of all lightness. So a gray picture tells the color only through the
    materials it shows, and the exact distribution of the colors given the gray picture is known: it is `law`,
    a :class:`Law`. `materials` are the names that `Scene.material` and `Scene.palette_of` number; `slots` are
    those of the objects that `Scene.object` numbers, for instance "car 0 body".

    An argument of another type or out of its range raises TypeError or ValueError, here and in the methods;
    an index below 0 raises IndexError.

    >>> world = World(16)
    >>> world[7].rgb.shape, world.batch([7, 8]).rgb.shape
    (torch.Size([3, 16, 16]), torch.Size([2, 3, 16, 16]))
    """

    def __init__(self, size: int = 64, kind: str = "landscape", seed: int = 0):
        self.size = whole(size, "size", 8, 1024)
        self.seed = whole(seed, "seed", 0, 2**63 - 1)
        self.kind = choice(kind, "kind", KINDS)
        table = KINDS[kind]
        self.materials = tuple(material.name for material in table)
        self.law = Law(table)
        self._ids = {name: k for k, name in enumerate(self.materials)}
        self._atlas = _atlas(kind)
        # A first run of the layout, with nothing in it, learns which random numbers and which slots a scene
        # needs.
        trial = Layout(self, None)
        _DRAWINGS[kind].layout(trial)
        self.slots = tuple(trial.slots)
        color, light, warm = ([f"{what} {s}" for s in self.slots] for what in ("color", "light", "warm"))
        self._streams = {name: k for k, name in enumerate([*trial.names, *light, *warm])}
        # Each seed has keys of its own: mixed with the index instead, it would give the same scenes in
        # another order.
        self._keys = tuple(self._seeded(keys_of(names)) for names in (self._streams, color))
        self._tables = {"cpu": self._make_tables(table)}

    def __repr__(self) -> str:
        return f"World(size={self.size}, kind={self.kind!r}, seed={self.seed})"

    def __getitem__(self, index: int) -> Scene:
        return self.batch([whole(index, "index", 0, 2**63 - 1, IndexError)])[0]

    def __iter__(self):
        return map(self.__getitem__, itertools.count())

    def batch(self, indices, device=None, draw: int = 0) -> Scene:
        """Give several scenes at once, in any order, repeats allowed: a `Scene` of (B, ...) tensors.

        The indices are a sequence or a 1-D integer tensor. A `draw` of 0 gives the scenes themselves; another
        number, the same scenes painted anew: the same things, lightness and infrared, with colors drawn again
        from the same palettes.
        """
        state, device = self._state(indices, device)
        draw = whole(draw, "draw", 0, 2**32 - 1)
        tables = self._on(device)
        count, size, slots = len(state), self.size, len(self.slots)

        def empty(*shape, dtype=torch.int64):
            return torch.empty(count, *shape, dtype=dtype, device=device)

        scene = Scene(
            rgb=empty(3, size, size, dtype=torch.float32),
            lightness=empty(1, size, size, dtype=torch.float32),
            material=empty(size, size),
            object=empty(size, size),
            infrared=empty(1, size, size, dtype=torch.float32),
            colors=empty(slots),
            palette_of=empty(slots),
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
        """Give what every object drew, without painting: `colors` and `palette_of` of ``batch``."""
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
        return mixed(mixed(index & LOW) ^ (index >> 32)), device

    def _seeded(self, keys: Tensor) -> Tensor:
        """Give the keys that the seed makes of the common ones, with both of its 32-bit halves."""
        return mixed(mixed(keys ^ (self.seed & LOW)) ^ (self.seed >> 32))

    def _lay_out(self, state: Tensor, tables: dict) -> Layout:
        layout = Layout(self, uniforms(state, tables["keys"]))
        _DRAWINGS[self.kind].layout(layout)
        layout.palette_of = torch.stack(layout.palette_columns, 1)
        return layout

    def _draw_colors(self, state: Tensor, palette_of: Tensor, draw: int, tables: dict) -> Tensor:
        if draw:
            state = mixed(state ^ mixed(torch.full_like(state, draw)))
        u = uniforms(state, tables["color keys"])
        # The entry drawn is the number of steps of the cumulative distribution that u has passed.
        steps = tables["cumulative"].index_select(0, palette_of.clamp(min=0).reshape(-1))
        steps = steps.view(*palette_of.shape, steps.shape[1])
        return (u[..., None] >= steps).sum(-1).masked_fill(palette_of < 0, -1)

    # Paint.

    def _paint(self, layout: Layout, colors: Tensor, step: int, tables: dict, out: Scene) -> None:
        """Paint the scenes of a layout into `out`, `step` at a time."""
        known = layout.palette_of.clamp(min=0)
        spread = tables["spread"].index_select(0, known.reshape(-1)).view(known.shape)
        first = tables["first paint"].index_select(0, known.reshape(-1)).view(known.shape)
        # By slot: a color's row in the table of paints, a shift of lightness in tenths and of warmth in
        # thousandths.
        per_slot = (
            (first + colors.clamp(min=0)).int(),
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
        level = by_material("base") + light + shade * int(10 * SHADE_STEP)
        level = level + ((texture * by_material("amplitude")) >> 6)
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
        atlas, tenths = self._atlas, ("spread", "base", "low", "high", "amplitude")
        return {
            # As tensors: a GPU multiplies by the reciprocal of a plain number, which rounds twice.
            "tenths": torch.tensor([10.0]),
            "thousandths": torch.tensor([1000.0]),
            "keys": self._keys[0],
            "color keys": self._keys[1],
            "cumulative": cumulative,
            "first paint": torch.tensor(np.cumsum([0, *entries])[:-1]),
            **{what: column([getattr(m, what) for m in materials], 10) for what in tenths},
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
            "turns": torch.tensor(_circle(), dtype=torch.float32),
            "profiles": torch.from_numpy(_profiles()),
        }

    def _on(self, device: torch.device) -> dict:
        key = str(device)
        if key not in self._tables:

            def move(value):
                return tuple(v.to(device) for v in value) if isinstance(value, tuple) else value.to(device)

            self._tables[key] = {name: move(value) for name, value in self._tables["cpu"].items()}
        return self._tables[key]


def _circle() -> list[list[float]]:
    """Cosine and sine of all angles, so that turning a thing is a look-up."""
    turns = [2 * np.pi * k / ANGLES for k in range(ANGLES)]
    return [[float(np.float32(function(turn))) for turn in turns] for function in (np.cos, np.sin)]


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
