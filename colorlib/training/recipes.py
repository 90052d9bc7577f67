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


# Each model's recipes. "quick": two CPU cores and the world, about a minute. "world": the world, for as long
# as it takes to come near the optimum, half an hour of a CPU; those whose names begin with "world-" are
# variants, or go on from it. "photographs": small photographs, hours of a CPU. These trained the weights that
# come with the library; the weights' cards say which. "full": a GPU and a folder of
# photographs. "paper": what the publication states; what it leaves open is said here.
_QUICK = Recipe(
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
_PHOTOGRAPHS = Recipe(
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
_WORLD = replace(
    _QUICK, steps=6_000, warmup=600, ema=0.999, checkpoint_every=500, size=64, settings={"width": 32}
)
_FULL = Recipe(
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
# For two players: Adam with little momentum, as in pix2pix, for the other player moves the goal each step.
_GAN = {"optimizer": "adam", "betas": (0.5, 0.999), "weight_decay": 0.0, "clip": None}
_QUICK_GAN = replace(_QUICK, **_GAN)
_WORLD_GAN = replace(_QUICK_GAN, steps=6_000, warmup=600, ema=0.999, checkpoint_every=500, size=64)
# Small, so that a series of trained ones can come with the library: the chapter on GANs holds them side by
# side. No moving average: two players may circle, and an average would hide it.
_SMALL_GAN = {"generator": "resnet", "width": 10, "blocks": 4, "layers": 1, "l1": 10.0, "dropout": 0.0}
_SERIES_GAN = replace(_QUICK_GAN, steps=2_000, warmup=200, checkpoint_every=500, settings=_SMALL_GAN)
_FULL_GAN = replace(_FULL, **_GAN, batch=32, learning_rate=2e-4, size=286, crop=256)
# The chapter on masks trains the same small network by one of these, and changes the masks and what is true.
_FLOWERS_MASKED = {"mask_weight": 100.0, "width": 10, "layers": 3}
_FLOWERS_GAN = replace(_QUICK_GAN, steps=2_000, warmup=200, ema=0.999, checkpoint_every=500)
_SMALL_PIXCOLOR = {
    "backbone": "small",
    "stride": 4,
    "width": 32,
    "blocks": 4,
    "kernel": 3,
    "hidden_channels": 128,
    "refinement_channels": 8,
    "downsample": "nearest",
}
# Everything that the PixelCNN of the world can be told, from the first step: names, chances, each cell's own
# gray, and what a cell could be by itself.
_TOLD_PIXCOLOR = {
    **_SMALL_PIXCOLOR,
    "kernel": 5,
    "hidden_channels": 256,
    "attention_heads": 2,
    "materials": 23,
    "law": "landscape",
    "num_frequencies": 32,
    "head_channels": 256,
    "depth": 12,
    "fine_depth": 2,
}
_RECIPES = {
    "patch": {
        "quick": Recipe(
            steps=300,
            batch=16,
            learning_rate=3e-3,
            schedule="cosine",
            warmup=20,
            checkpoint_every=100,
            settings={"patch": 7, "hidden": 32, "neurons": 9},
        ),
        "full": replace(
            _FULL, steps=20_000, batch=32, crop=128, settings={"patch": 9, "hidden": 100, "neurons": 9}
        ),
    },
    "regression": {
        "quick": replace(_QUICK, settings={"width": 16}),
        "world": _WORLD,
        # From the weights of "world" on: the network is blurred at borders, and in larger pictures fewer
        # pixels lie at one.
        "world-large": replace(
            _WORLD, steps=3_500, warmup=350, batch=4, learning_rate=1e-3, size=192, checkpoint_every=250
        ),
        "photographs": replace(_PHOTOGRAPHS, steps=2_500, warmup=250, settings={"width": 48}),
        "full": replace(_FULL, settings={"pretrained": True}),
    },
    "cic": {
        "quick": replace(_QUICK, settings={"width": 8}),
        "world": replace(_WORLD, steps=3_000, warmup=300, settings={"width": 12}),
        # With mix=0.5, the paper's, rare colors count about 50 times as much as gray, and a small network
        # paints them where they don't belong; with 0.9 it is about 7 times.
        "photographs": replace(_PHOTOGRAPHS, settings={"width": 16, "mix": 0.9, "rebalance": 1.3}),
        "full": replace(
            _FULL, learning_rate=3e-4, betas=(0.9, 0.99), weight_decay=1e-3, settings={"mix": 0.5}
        ),
        # Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, and its released training code. The
        # number of steps is this course's choice, and a cosine stands for the rate that was lowered in steps.
        "paper": Recipe(
            steps=450_000,
            batch=40,
            learning_rate=3e-5,
            betas=(0.9, 0.99),
            weight_decay=1e-3,
            schedule="cosine",
            crop=176,
            flip=True,
            checkpoint_every=1_000,
            log_every=50,
            size=256,
            settings={"mix": 0.5},
        ),
    },
    "gan": {
        "quick": replace(_QUICK_GAN, settings={"width": 16, "depth": 5, "layers": 1}),
        "world": _SERIES_GAN,
        # The same, but for one thing: the weight of the absolute error, the seed, or dropout. With "l1-only"
        # the adversary is still there, and so weak that it decides nothing.
        "world-l1-0": replace(_SERIES_GAN, settings={**_SMALL_GAN, "l1": 0.0}),
        "world-l1-1": replace(_SERIES_GAN, settings={**_SMALL_GAN, "l1": 1.0}),
        "world-l1-100": replace(_SERIES_GAN, settings={**_SMALL_GAN, "l1": 100.0}),
        "world-l1-only": replace(_SERIES_GAN, settings={**_SMALL_GAN, "l1": 10_000.0}),
        "world-seed-1": replace(_SERIES_GAN, seed=1),
        "world-seed-2": replace(_SERIES_GAN, seed=2),
        "world-dropout": replace(_SERIES_GAN, settings={**_SMALL_GAN, "dropout": 0.5}),
        "full": _FULL_GAN,
        # Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017. Size,
        # batch and steps, as many pictures as six epochs of ImageNet, are this course's choice.
        "paper": Recipe(
            steps=1_800_000,
            batch=4,
            learning_rate=2e-4,
            betas=(0.5, 0.999),
            flip=True,
            checkpoint_every=1_000,
            log_every=50,
            size=256,
            settings={"generator": "unet", "discriminator": "patch", "adversarial": "vanilla", "l1": 100.0},
        ),
    },
    "masked": {
        # The mask that colors all is among them, so that the trained model can be used without a mask.
        "quick": replace(_QUICK_GAN, settings={"masks": ["ten", "full"], "width": 16, "layers": 3}),
        "world": replace(
            _WORLD_GAN,
            settings={
                "masks": [
                    "full",
                    "ten",
                    "stripes",
                    "grids",
                    "rectangles",
                    "strokes",
                    "noise",
                    "segments",
                ],
                "width": 16,
                "layers": 4,
            },
        ),
        # Flower beds, with one fixed mask and with ten, the discriminator's true pictures colored inside the
        # mask only or everywhere.
        "flowers-half": replace(_FLOWERS_GAN, settings={**_FLOWERS_MASKED, "masks": ["left half"]}),
        "flowers-ten": replace(_FLOWERS_GAN, settings={**_FLOWERS_MASKED, "masks": ["ten"]}),
        "flowers-half-colored": replace(
            _FLOWERS_GAN, settings={**_FLOWERS_MASKED, "masks": ["left half"], "truth": "colored"}
        ),
        "flowers-ten-colored": replace(
            _FLOWERS_GAN, settings={**_FLOWERS_MASKED, "masks": ["ten"], "truth": "colored"}
        ),
        # And with masks of every kind, drawn at random.
        "flowers-mixed": replace(
            _FLOWERS_GAN,
            steps=6_000,
            warmup=600,
            settings={
                **_FLOWERS_MASKED,
                "masks": [
                    "full",
                    "ten",
                    "stripes",
                    "grids",
                    "rectangles",
                    "strokes",
                    "noise",
                    "segments",
                ],
            },
        ),
        # Photographs come without labels, so there are no masks of segments.
        "full": replace(
            _FULL_GAN,
            settings={"masks": ["full", "ten", "stripes", "grids", "rectangles", "strokes", "noise"]},
        ),
        # A course project at IMPA, 2018: 80 epochs of 1360 photographs of flowers, each with all ten masks.
        # Here each picture's mask is drawn, so that it meets the ten equally often on average. All the rest
        # is this course's choice.
        "paper": Recipe(
            steps=80 * 1_360 * 10 // 16,
            batch=16,
            learning_rate=2e-4,
            betas=(0.5, 0.999),
            checkpoint_every=1_000,
            log_every=50,
            size=224,
            settings={"masks": ["ten"]},
        ),
    },
    "pixcolor": {
        "quick": replace(_QUICK, size=64, settings=_SMALL_PIXCOLOR),
        # For a quarter of an hour of a large GPU; on two cores it takes days.
        "world": replace(
            _QUICK,
            steps=15_000,
            warmup=1_000,
            batch=512,
            learning_rate=4e-3,
            ema=0.999,
            precision="bfloat16",
            checkpoint_every=1_000,
            log_every=20,
            size=64,
            settings=_TOLD_PIXCOLOR,
        ),
        # The published parts alone.
        "world-plain": replace(
            _QUICK,
            steps=28_000,
            warmup=2_000,
            batch=32,
            learning_rate=4e-3,
            ema=0.9995,
            precision="bfloat16",
            checkpoint_every=500,
            size=64,
            settings=_SMALL_PIXCOLOR,
        ),
        "full": replace(_FULL, learning_rate=3e-4, settings={"pretrained": True, "unfreeze_at": 20_000}),
        # Guadarrama et al., "PixColor", BMVC 2017. Its backbone had learned segmentation; ImageNet's weights
        # stand for it. Size, crop, mirror and the bound of colorfulness are this course's choice.
        "paper": Recipe(
            steps=360_000,
            batch=64,
            learning_rate=3e-4,
            crop=224,
            flip=True,
            checkpoint_every=1_000,
            log_every=50,
            size=256,
            colorful=10.0,
            settings={"pretrained": True, "unfreeze_at": 100_000},
        ),
    },
    "photo": {
        "quick": replace(_QUICK, settings={"mix": 0.8, "width": 8}),
        # Two runs, the second from the first one's weights: small pictures are cheap, and teach most of it.
        "photographs-small": replace(
            _PHOTOGRAPHS,
            steps=2_500,
            warmup=250,
            learning_rate=1e-3,
            precision="bfloat16",
            settings={"mix": 0.8, "pretrained": True},
        ),
        "photographs": replace(
            _PHOTOGRAPHS,
            steps=7_000,
            warmup=300,
            learning_rate=6e-4,
            precision="bfloat16",
            size=128,
            settings={"mix": 0.8, "pretrained": True},
        ),
        "full": replace(
            _FULL, learning_rate=1e-3, crop=None, size=176, settings={"mix": 0.8, "pretrained": True}
        ),
    },
}


def get(model: str, name: str = "quick") -> Recipe:
    """Give a model's recipe by name.

    Parameters
    ----------
    model : str
        The model's name on the command line, such as ``"cic"``.
    name : str
        ``"quick"``: two CPU cores and the world; ``"world"`` and others beginning so: the world, for longer,
        see the cards of the weights; ``"photographs"``: small photographs, hours of a CPU;
        ``"full"``: a GPU and photographs; ``"paper"``: as published, where the publication says enough.

    Raises
    ------
    ValueError
        For a model without recipes, or a recipe that the model doesn't have.
    """
    if not isinstance(model, str) or model not in _RECIPES:
        raise ValueError(f"no recipes for the model {model!r}; there are some for {', '.join(_RECIPES)}")
    known = _RECIPES[model]
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{model} has no recipe of the name {name!r}; it has {', '.join(known)}")
    return known[name]


def names() -> dict[str, tuple[str, ...]]:
    """List the recipes: each model's name with the names of its recipes."""
    return {model: tuple(recipes) for model, recipes in _RECIPES.items()}
