"""The answer key: what the colors of a scene can be, and how often, given everything but the colors."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from colorlib._check import came, choice, inside, integers, listed, seen
from colorlib.color import ab_bins, soft_encode

from .materials import Material


class Palette(NamedTuple):
    """The colors of one material: `probabilities` (n,), `ab` (n, 2) in CIE units and their `names`."""

    probabilities: Tensor
    ab: Tensor
    names: tuple[str, ...]


class Law:
    """The exact posterior of a world's colors given the layout of a scene.

    An object draws one entry of its material's palette; the draws are independent of each other, of the
    layout and of the lightness. So the distribution at a pixel is the palette of its material, and that of a
    picture is the product over its objects. A gray picture shows the materials by their texture, shape and
    place, so this is what a colorizer that understands the picture can know at best.

    `materials` is a kind's table, see `colorlib.data.materials`; probabilities of a palette that don't sum to
    1 raise ValueError. Methods take a `Scene` of these materials, one or a batch, and use only its
    `material`, `object` and `palette_of`, except `drawn` and `log_prob`, which read `colors`; anything else
    raises TypeError or ValueError. Results are float32 on the scene's device. Entropies and log probabilities
    are in nats.

    >>> from colorlib.data import World
    >>> World(kind="flowers").law.palette("daisy").names
    ('white', 'yellow', 'pink')
    """

    def __init__(self, materials):
        materials = listed(materials, "materials")
        if not materials or not all(isinstance(material, Material) for material in materials):
            raise TypeError(f"materials must be at least one Material; got {came(materials)}")
        self._names = {material.name: k for k, material in enumerate(materials)}
        self._entries = [tuple(entry[0] for entry in material.palette) for material in materials]
        numbers = [[entry[1:] for entry in material.palette] for material in materials]
        numbers = [torch.tensor(each, dtype=torch.float64, device="cpu") for each in numbers]
        numbers = pad_sequence(numbers, batch_first=True)  # with 0, up to the longest palette
        p, ab = numbers[..., 0].contiguous(), numbers[..., 1:].contiguous()
        if not torch.allclose(p.sum(1), p.new_ones(len(p)), atol=1e-12):
            raise ValueError("the probabilities of a palette must sum to 1")
        mean = (p[..., None] * ab).sum(1)
        bins, weights = soft_encode(ab.permute(2, 0, 1))  # (5, materials, entries)
        share = p.new_zeros(len(materials), len(ab_bins()))
        for k, w in zip(bins, weights, strict=True):
            share.scatter_add_(1, k, w.double() * p)
        tables = {
            "probabilities": p,
            "log": p.log(),  # -inf past the last entry: such a color can't be
            "ab": ab,
            "mean": mean,
            "variance": (p * ((ab - mean[:, None]) ** 2).sum(-1)).sum(1)[:, None],
            "mode": ab[range(len(p)), p.argmax(1)],
            "distribution": share,
            "entropy": torch.special.entr(p).sum(1)[:, None],
        }
        self._tables = {"cpu": {name: table.float() for name, table in tables.items()}}

    def _table(self, name: str, like: Tensor) -> Tensor:
        key = str(like.device)
        if key not in self._tables:
            self._tables[key] = {n: t.to(like.device) for n, t in self._tables["cpu"].items()}
        return self._tables[key][name]

    def _by_material(self, name: str, scene) -> Tensor:
        (material,) = self._read(scene, "material")
        return self._table(name, material)[material].movedim(-1, -3)

    def _read(self, scene, *names: str) -> list[Tensor]:
        """Tensors of a scene. Whether they are of this world only a CPU looks: on a GPU it means waiting."""
        tensors = [getattr(scene, name, None) for name in names]
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            raise TypeError(f"scene must be a Scene, one or a batch; got {came(scene)}")
        for name, tensor in zip(names, tensors, strict=True):
            if name in ("material", "palette_of") and seen(tensor):
                inside(tensor, f"the scene's {name}", -1, len(self._names) - 1)
        return tensors

    def _colors(self, scene, colors: Tensor | None) -> Tensor:
        (own,) = self._read(scene, "colors")
        return own if colors is None else integers(colors, "colors", str(tuple(own.shape))).to(own)

    @property
    def probabilities(self) -> Tensor:
        """(materials, entries): the probability of each palette entry, 0 past the last one of a palette."""
        return self._tables["cpu"]["probabilities"].clone()

    @property
    def ab(self) -> Tensor:
        """(materials, entries, 2): the color of each palette entry, 0 past the last one of a palette."""
        return self._tables["cpu"]["ab"].clone()

    def __str__(self) -> str:
        """The palettes as a table: a line for each material, its colors with their probabilities."""
        width = max(map(len, self._names))
        lines = []
        for name in self._names:
            palette = self.palette(name)
            colors = zip(palette.names, palette.probabilities.tolist(), strict=True)
            lines.append(f"{name:{width}}  " + ", ".join(f"{color} {p:.0%}" for color, p in colors))
        return "\n".join(lines)

    def palette(self, name: str) -> Palette:
        """The palette of the material `name`, one of the world's."""
        k = self._names[choice(name, "name", self._names)]
        n = len(self._entries[k])
        return Palette(
            self._tables["cpu"]["probabilities"][k, :n].clone(),
            self._tables["cpu"]["ab"][k, :n].clone(),
            self._entries[k],
        )

    def mean(self, scene) -> Tensor:
        """(..., 2, H, W): the mean ab at each pixel, which a squared error asks for."""
        return self._by_material("mean", scene)

    def variance(self, scene) -> Tensor:
        """(..., 1, H, W): the mean squared distance of ab from its mean; no squared error can go below."""
        return self._by_material("variance", scene)

    def mode(self, scene) -> Tensor:
        """(..., 2, H, W): the most probable ab at each pixel."""
        return self._by_material("mode", scene)

    def distribution(self, scene) -> Tensor:
        """(..., 313, H, W): probabilities over `colorlib.color.ab_bins`, each color soft-encoded."""
        return self._by_material("distribution", scene)

    def pixel_entropy(self, scene) -> Tensor:
        """(..., 1, H, W): the entropy of the palette entry at each pixel, taken alone."""
        return self._by_material("entropy", scene)

    def object_entropy(self, scene) -> Tensor:
        """(..., slots): the entropy of each object's draw; 0 for objects that are absent or don't show."""
        (palette_of,) = self._read(scene, "palette_of")
        entropy = self._table("entropy", palette_of)[palette_of.clamp(min=0), 0]
        return entropy.masked_fill(~scene.visible, 0)

    def entropy(self, scene) -> Tensor:
        """(...): the entropy of the picture's color given its gray: the sum over the objects that show.

        Every object draws once, so it is not the sum over the pixels.
        """
        return self.object_entropy(scene).sum(-1)

    def log_prob(self, scene, colors: Tensor | None = None) -> Tensor:
        """(...): the log probability of the colors of the objects that show.

        `colors` (..., slots) takes the place of the scene's own; -inf where an entry isn't in its object's
        palette.
        """
        (palette_of,), colors = self._read(scene, "palette_of"), self._colors(scene, colors)
        table = self._table("log", colors)
        most = table.shape[1]
        wrong = (colors < 0) | (colors >= most)
        log = table[palette_of.clamp(min=0), colors.clamp(0, most - 1)].masked_fill(wrong, -torch.inf)
        return log.masked_fill(~scene.visible, 0).sum(-1)

    def drawn(self, scene, colors: Tensor | None = None) -> Tensor:
        """(..., 2, H, W): the exact ab of the colors drawn, or of other `colors` (..., slots)."""
        (thing, palette_of), colors = self._read(scene, "object", "palette_of"), self._colors(scene, colors)
        table = self._table("ab", colors)
        if seen(colors):
            inside(colors, "colors", -1, table.shape[1] - 1)
        ab = table[palette_of.clamp(min=0), colors.clamp(min=0)]  # (..., slots, 2)
        flat = thing.flatten(-2)[..., None].expand(*thing.shape[:-2], -1, 2)
        return ab.gather(-2, flat).movedim(-1, -2).reshape(*thing.shape[:-2], 2, *thing.shape[-2:])
