"""The drawn world's law as a teacher of PixColor: exact chances where photographs have one draw."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from colorlib._check import choice
from colorlib.color import lab_to_rgb
from colorlib.data import Law
from colorlib.data.materials import KINDS
from colorlib.models.grid import rgb_to_cr_cb


class LawTeacher(nn.Module):
    """Tells, of each cell of a drawn scene, which levels of chroma it might have had, and with what chances.

    Each thing of a scene draws its color once. So the first cell of a thing, in raster order, had a choice;
    in those that follow nothing is left to choose, and where Cr is known, Cb is one of those that go with it.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind, palettes = kind, Law(KINDS[choice(kind, "kind", KINDS)])
        # Not with the weights: they follow from the kind.
        self.register_buffer("chances", palettes.probabilities, persistent=False)
        self.register_buffer("ab", palettes.ab, persistent=False)

    @torch.no_grad()
    def forward(
        self,
        levels: Tensor,
        batch: dict[str, Tensor],
        pixels: tuple[Tensor, Tensor],
        quantize: Callable[[Tensor], Tensor],
        count: int,
    ) -> dict:
        """Give what the law adds to the arguments of :meth:`PixelCNN.losses`.

        The ``targets`` are given all values before, the ``marginal_targets`` none but the cell's own Cr.

        Parameters
        ----------
        levels : Tensor
            Those drawn, (B, 2, h, w).
        batch : dict of Tensor
            All tensors of a :class:`colorlib.data.Scene` of this kind; others raise ValueError, or on a GPU,
            where looking would mean waiting, the chances are not a number.
        pixels : tuple of Tensor
            Rows (h, 1) and columns (w,) of the cells' own pixels.
        quantize : callable
            Chroma in [-1, 1] to levels, of which there are ``count``.
        """
        self._check(levels, batch)
        down, right = pixels
        thing = batch["object"][:, down, right].flatten(1)  # (B, cells)
        material = batch["palette_of"].gather(1, thing)
        if not material.is_cuda and not 0 <= material.min() <= material.max() < len(self.chances):
            raise self._other_scenes()
        chances, ab = self.chances[material], self.ab[material]  # (B, cells, k), (B, cells, k, 2)
        lightness = batch["lightness"][:, 0, down, right].flatten(1)[..., None].expand_as(chances)
        painted = lab_to_rgb(torch.cat([lightness[:, None], ab.movedim(-1, 1)], 1))  # (B, 3, cells, k)
        options = quantize(rgb_to_cr_cb(painted))
        place = torch.arange(thing.shape[1], device=thing.device).expand_as(thing)
        first = torch.full_like(batch["palette_of"], thing.shape[1]).scatter_reduce(1, thing, place, "amin")
        first = (first.gather(1, thing) == place)[:, None, :, None]
        true = levels.flatten(2)[..., None]
        # Painted again, a color may round to the next level; no other is so near in every channel.
        away = (options - true).abs()
        here = chances > 0
        fits = (here & (away.amax(1) <= 1)).any(-1, keepdim=True)
        if not away.is_cuda and not fits.all():
            raise self._other_scenes()
        away = away[:, 0].masked_fill(~here, count)
        # Where nothing fits, 0 / 0: on a GPU the loss is then not a number, and training stops.
        given = chances * (away == away.amin(-1, keepdim=True)) * fits
        chances = torch.stack([chances, given / given.sum(-1, keepdim=True)], 1)
        drawn = torch.zeros_like(chances)
        drawn[..., 0] = 1

        def on_grid(*pair):
            return tuple(x.transpose(2, 3).unflatten(3, levels.shape[2:]) for x in pair)

        return {
            "targets": on_grid(torch.where(first, options, true), torch.where(first, chances, drawn)),
            "marginal_targets": on_grid(options, chances),
            "begins": first[:, 0, :, 0].unflatten(1, levels.shape[2:]),
        }

    @staticmethod
    def _check(levels: Tensor, batch: dict[str, Tensor]) -> None:
        if missing := [name for name in ("object", "palette_of", "lightness") if name not in batch]:
            raise ValueError(
                f"a model that follows a law needs the world's scenes; the batch has no {', '.join(missing)}"
            )
        size = tuple(batch["rgb"].shape[-2:])
        for name, wanted in (("object", (len(levels), *size)), ("lightness", (len(levels), 1, *size))):
            if batch[name].shape != wanted:
                raise ValueError(f"{name!r} must be {wanted}, as 'rgb'; got {tuple(batch[name].shape)}")

    def _other_scenes(self) -> ValueError:
        return ValueError(
            f"the batch has things or colors that the world {self.kind!r} doesn't have; it must "
            "hold scenes of that kind"
        )
