"""Recipes: complete, named settings of a training run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace

from colorlib._check import came, choice, flag, number, whole

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "one-cycle")
PRECISIONS = ("float32", "bfloat16", "float16")
_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}
_LEAST = {
    "steps": 1,
    "batch": 1,
    "accumulation": 1,
    "crop": 1,
    "checkpoint_every": 1,
    "log_every": 1,
    "size": 1,
}
_LEAST |= {"warmup": 0, "seed": 0}
_INTERVALS = {"learning_rate": "(0, inf)", "weight_decay": "[0, inf)", "clip": "(0, inf)", "ema": "[0, 1)"}
_INTERVALS |= {"colorful": "[0, inf)"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All settings of a training run. With the model, the data and the first weights it fixes the result.

    ``dataclasses.replace(recipe, steps=100)`` gives a changed copy.

    Parameters
    ----------
    steps : int
        Updates of the weights, at least 1.
    batch : int
        Pictures a step, over all processes and all parts of a step together.
    optimizer : str
        ``"adam"``, ``"adamw"``, ``"rmsprop"`` or ``"sgd"``.
    learning_rate : float
        The highest rate that the schedule reaches.
    betas : tuple of float
        Adam's two decay rates. SGD takes the first as its momentum, RMSprop the second as its smoothing.
    weight_decay : float
        Strength of the pull toward zero, 0 for none; AdamW applies it apart from the gradient.
    schedule : str
        The rate over the steps, see :meth:`rate`: ``"constant"``, ``"cosine"`` or ``"one-cycle"``.
    warmup : int
        Steps in which the rate rises at the start; fewer than ``steps``. A one-cycle needs at least 1.
    clip : float, optional
        Longest gradient of a player: a longer one is scaled down to it. None leaves all as they are.
    accumulation : int
        Parts that a batch is split into, one after the other, where memory is short; divides ``batch``.
    ema : float, optional
        Decay of the exponential moving average of the weights, in [0, 1); the trained model then has the
        averaged weights. None: no average.
    precision : str
        ``"float32"``, ``"bfloat16"`` or ``"float16"``: what the layers compute in. Weights stay in float32.
    crop : int, optional
        Side in pixels of a square cut from each picture at a random place; None takes pictures whole.
    flip : bool
        Whether every other picture, by chance, is mirrored left to right.
    seed : int
        Decides which pictures a step sees, their crops and mirrors, and chance inside the loss. 0 or more.
    checkpoint_every, log_every : int
        Steps from one checkpoint, or one line of metrics, to the next. They don't change the weights.
    size : int
        Height and width in pixels of the pictures that ``colorlib train`` takes from the world or a folder.
    colorful : float
        Least colorfulness of the pictures that it takes from a folder; 0 takes all.
    settings : dict
        Arguments with which it builds the model.

    Raises
    ------
    TypeError, ValueError
        For a setting of the wrong type or out of its range.
    """

    steps: int
    batch: int
    learning_rate: float
    optimizer: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: int = 0
    clip: float | None = None
    accumulation: int = 1
    ema: float | None = None
    precision: str = "float32"
    crop: int | None = None
    flip: bool = False
    seed: int = 0
    checkpoint_every: int = 500
    log_every: int = 10
    size: int = 32
    colorful: float = 0.0
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        for name, value in vars(self).copy().items():
            if value is None and name in ("crop", "clip", "ema"):
                continue
            if name in _LEAST:
                value = whole(value, name, _LEAST[name])
            elif name in _INTERVALS:
                value = number(value, name, _INTERVALS[name])
            elif name in _CHOICES:
                value = choice(value, name, _CHOICES[name])
            elif name == "flip":
                value = flag(value, name)
            elif name == "betas":
                if not isinstance(value, (tuple, list)) or len(value) != 2:
                    raise TypeError(f"betas must be two numbers; got {came(value)}")
                value = tuple(number(beta, name, "[0, 1)") for beta in value)
            object.__setattr__(self, name, value)  # how a frozen dataclass sets its own field
        try:
            if not isinstance(self.settings, dict):
                raise TypeError("it is no dict")
            json.dumps(self.settings)
        except (TypeError, ValueError) as error:
            got = came(self.settings)
            raise TypeError(f"settings must be a dict that fits into JSON: {error}; got {got}") from error
        if self.warmup >= self.steps:
            raise ValueError(f"warmup must be below steps, {self.steps}; got {self.warmup}")
        if self.schedule == "one-cycle" and self.warmup == 0:
            raise ValueError("a one-cycle schedule needs a warmup of at least 1 step; got 0")
        if self.batch % self.accumulation:
            raise ValueError(f"accumulation must divide batch, {self.batch}; got {self.accumulation}")

    def rate(self, step: int) -> float:
        """Give the learning rate of a step, counted from 0.

        ``"constant"`` rises in a straight line during the warmup, then stays. ``"cosine"`` rises so too, then
        falls along half a cosine toward 0. ``"one-cycle"`` rises from 1/25 of the rate and falls to 1/250,000
        of it, both along half a cosine.

        Notes
        -----
        Sources: Loshchilov, Hutter, "SGDR", ICLR 2017, section 3 (cosine); Smith, Topin, "Super-Convergence",
        2018 (one-cycle; the cosine shape and the two fractions are those of PyTorch's OneCycleLR).
        """
        step = whole(step, "step", 0, self.steps - 1)
        # A function of the step alone, unlike torch's schedulers: there is no state to save and to restore.
        rising = step < self.warmup
        done = step / self.warmup if rising else (step - self.warmup) / (self.steps - self.warmup)
        wave = (1 - math.cos(math.pi * done)) / 2  # 0 to 1 along half a cosine
        if self.schedule == "one-cycle":
            start, end = (1 / 25, 1.0) if rising else (1.0, 1 / 250_000)
            return self.learning_rate * (start + (end - start) * wave)
        if rising:
            return self.learning_rate * (step + 1) / (self.warmup + 1)
        return self.learning_rate * (1 - wave if self.schedule == "cosine" else 1.0)


# What the models' recipes, which stand beside their classes, have in common; see `Colorizer.recipes`.
QUICK = Recipe(
    steps=400,
    batch=16,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=1e-4,
    schedule="one-cycle",
    warmup=100,
    clip=1.0,
    flip=True,
    checkpoint_every=100,
    size=32,
)
PHOTOGRAPHS = Recipe(
    steps=8_000,
    batch=32,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=1e-2,
    schedule="one-cycle",
    warmup=800,
    clip=1.0,
    ema=0.999,
    flip=True,
    checkpoint_every=200,
    log_every=20,
    size=64,
    colorful=10.0,
)
WORLD = replace(
    QUICK, steps=6_000, warmup=600, ema=0.999, checkpoint_every=500, size=64, settings={"width": 32}
)
FULL = Recipe(
    steps=100_000,
    batch=64,
    optimizer="adamw",
    learning_rate=5e-4,
    weight_decay=1e-4,
    schedule="cosine",
    warmup=1_000,
    clip=1.0,
    ema=0.999,
    precision="bfloat16",
    crop=176,
    flip=True,
    size=256,
    colorful=10.0,
)
