"""One scene of the world, or a batch of them, and what can be told of it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from colorlib._check import came, device_of
from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab


@dataclass(frozen=True)
class Scene:
    """One scene of the world, or a batch of them (then every tensor has the batch in front).

    - `rgb` (..., 3, H, W) float32: sRGB in [0, 1].
    - `lightness` (..., 1, H, W) float32: CIE L, a multiple of 0.1.
    - `material` (..., H, W) int64: each pixel's place in `World.materials`.
    - `object` (..., H, W) int64: the slot of the object each pixel belongs to, a place in `World.slots`.
    - `infrared` (..., 1, H, W) float32: from 0 to 1, which is warm. It doesn't depend on paint.
    - `colors` (..., slots) int64: the palette entry each object drew; -1 where the scene has no such object.
      One that nearer ones hide has drawn its color too: `visible` tells which objects show.
    - `palette_of` (..., slots) int64: each object's material, whose palette it drew from; -1 as in `colors`.
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
        device = device_of(device)
        return self._each(lambda tensor: tensor.to(device))

    def _each(self, change) -> Scene:
        return Scene(**{field.name: change(getattr(self, field.name)) for field in fields(self)})

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
            return self._each(lambda tensor: tensor[index])
        except (IndexError, RuntimeError, TypeError, ValueError):
            raise IndexError(
                f"index must be one of {len(self)} scenes, or several; got {came(index)}"
            ) from None

    def __iter__(self):
        return (self[k] for k in range(len(self)))
