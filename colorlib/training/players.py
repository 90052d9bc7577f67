"""Who learns: the players of a model, their optimizers and their losses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from colorlib._check import came, whole

from .recipes import Recipe

Batch: TypeAlias = dict[str, Tensor]  # "rgb", (B, 3, H, W) in [0, 1], and whatever else the data has


class Player(NamedTuple):
    """One who learns: the parameters it may change, and the loss that it wants small.

    A model with one player need not name it: `fit` minimizes ``model.loss(batch)`` over all parameters. A
    model with two, such as a GAN, has a method ``players()`` that gives them in the order of their moves::

        def players(self):
            return {
                "discriminator": Player(self.discriminator.parameters(), self.discriminator_loss),
                "generator": Player(self.generator.parameters(), self.generator_loss, every=5),
            }

    No two players share a parameter; in a player's turn the others' get no gradient. Each loss makes of a
    batch a scalar tensor, a mean over the batch's pictures, or a pair of it and a dict of scalars such as its
    parts, whose means the metrics keep. A player moves in each step whose number, counted from 1, ``every``
    divides.
    """

    parameters: Iterable[nn.Parameter]
    loss: Callable[[Batch], Tensor | tuple[Tensor, dict[str, Tensor]]]
    every: int = 1


def listed(model: nn.Module) -> dict[str, Player]:
    """The model's players, their parameters listed and checked."""
    if hasattr(model, "players"):
        named = model.players()
    elif callable(getattr(model, "loss", None)):
        named = {"model": Player(model.parameters(), model.loss)}
    else:
        raise TypeError(f"{type(model).__name__} has neither loss(batch) nor players()")
    if not isinstance(named, dict) or not all(isinstance(it, (tuple, list)) for it in named.values()):
        raise TypeError(f"{type(model).__name__}.players() must be a dict of Players; got {came(named)}")
    players, owner = {}, {}
    for name, player in named.items():
        player = Player(*player)
        parameters = [p for p in player.parameters if p.requires_grad]
        if not parameters:
            raise ValueError(f"the player {name!r} has no parameters to train")
        every = whole(player.every, f"every of the player {name!r}", 1)
        for parameter in parameters:
            if owner.setdefault(id(parameter), name) != name:
                raise ValueError(f"the players {owner[id(parameter)]!r} and {name!r} share a parameter")
        players[name] = player._replace(parameters=parameters, every=every)
    if not players:
        raise ValueError(f"{type(model).__name__}.players() is empty")
    return players


def optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    common = {"lr": recipe.rate(0), "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, betas=recipe.betas, **common)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, betas=recipe.betas, **common)
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=recipe.betas[1], **common)
    return torch.optim.SGD(parameters, momentum=recipe.betas[0], **common)


def with_parts(loss, name: str) -> tuple[Tensor, dict[str, Tensor]]:
    """A player's loss, checked, and the scalars that it gave beside."""
    loss, parts = loss if isinstance(loss, tuple) and len(loss) == 2 else (loss, {})
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise TypeError(f"the loss of the player {name!r} must be a scalar tensor; got {got}")
    if not loss.requires_grad:
        raise ValueError(f"the loss of the player {name!r} doesn't depend on its parameters")
    if not isinstance(parts, dict):
        raise TypeError(f"beside the loss of the player {name!r} must be a dict; got {came(parts)}")
    noted = {}
    for key, value in parts.items():
        value = torch.as_tensor(value, dtype=torch.float32, device=loss.device).detach()
        if value.ndim:
            raise TypeError(
                f"{key!r} beside the loss of the player {name!r} must be a scalar; got {tuple(value.shape)}"
            )
        noted[key] = value
    return loss, noted
