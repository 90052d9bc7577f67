"""One right call of every public function, for tests that go through all of them."""

import functools
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from PIL import Image

from colorlib import check, classic, color, data, metrics, models, sampling, show, training, zoo
from colorlib.data import Law, World, masks
from colorlib.data.materials import FLOWERS
from colorlib.training import Recipe

ROOMS = {
    "color": color,
    "classic": classic,
    "data": data,
    "masks": masks,
    "models": models,
    "sampling": sampling,
    "show": show,
    "metrics": metrics,
    "training": training,
    "zoo": zoo,
    "check": check,
}


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def whole(*shape, below):
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(0))


RGB, AB, LIGHTNESS = rand(2, 3, 8, 8), 100 * rand(2, 2, 8, 8) - 50, 100 * rand(2, 1, 8, 8)
PRIOR = torch.full((313,), 1 / 313)
SWATCH = rand(2, 1, 8, 8) < 0.1
NEURONS = 100 * rand(4, 2) - 50
STROKES = rand(2, 1, 8, 8) < 0.3
LABELS = whole(2, 8, 8, below=3)


def chance():
    return torch.Generator().manual_seed(0)


@functools.cache
def world():
    return World(8, "flowers")


@functools.cache
def scenes():
    return world().batch([0, 1])


@functools.cache
def fitted():
    return classic.SOM(2, 2).fit(rand(20, 3), epochs=1)


@functools.cache
def built(name):
    torch.manual_seed(0)
    cls, settings = CALLS[f"models.{name}"]()
    return cls(**settings)


@functools.cache
def pixelcnn():
    torch.manual_seed(0)
    return models.PixelCNN(
        models.PixColorSettings(width=4, blocks=1, kernel=3, hidden_channels=4, levels=3), 3
    )


@functools.cache
def folder():
    """A folder of three pictures and the metrics of a run; `folder.holder` keeps it until the tests end."""
    folder.holder = tempfile.TemporaryDirectory()
    path = Path(folder.holder.name)
    for number in range(3):
        Image.new("RGB", (12, 12), (50 * number, 80, 200)).save(path / f"{number}.png")
    (path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": {"model": 1.0}, "rate": 0.1}\n', encoding="utf-8"
    )
    return path


def seeded():
    return {"rgb": RGB, "seed": torch.arange(2)}


def sampler(function):
    known = {"known": whole(1, 2, 2, 2, below=3), "mask": rand(1, 2, 2, 2) < 0.5}
    arguments = {"condition": rand(1, 3, 2, 2), "samples": 2, "generator": chance()}
    knobs = {"temperature": 0.5, "top_p": 0.9, "progress": None}
    return function, {"pixelcnn": pixelcnn(), **arguments, **knobs, **known}


def method(name, method, **arguments):
    return lambda: (getattr(built(name), method), arguments)


def whole_strips(model):
    """The strips of a coloring, all of them."""

    @functools.wraps(model.strips)
    def function(*arguments, **named):
        return list(model.strips(*arguments, **named))

    return function


def model_calls(name, **knobs):
    """What every colorizer has."""
    return {
        f"models.{name}.colorize": lambda: (
            built(name).colorize,
            {"gray": rand(2, 1, 8, 8), "samples": 2, "seed": 3, "image_size": 4, "strokes": None, **knobs},
        ),
        f"models.{name}.strips": lambda: (
            whole_strips(built(name)),
            {"gray": rand(2, 1, 8, 8), "samples": 2, "seed": 3, "image_size": 4, "strokes": None, **knobs},
        ),
        f"models.{name}.chroma": lambda: (
            built(name).chroma,
            {"lightness": LIGHTNESS, "samples": 2, "generator": chance(), **knobs},
        ),
    }


def law_calls():
    calls = {
        name: (lambda name=name: (getattr(world().law, name), {"scene": scenes()}))
        for name in ("mean", "variance", "mode", "distribution", "pixel_entropy", "object_entropy", "entropy")
    }
    for name in ("log_prob", "drawn"):
        calls[name] = lambda name=name: (
            getattr(world().law, name),
            {"scene": scenes(), "colors": scenes().colors},
        )
    return {f"data.Law.{name}": call for name, call in calls.items()}


def network_calls(name, inputs, **settings):
    cls = getattr(models, name)
    return {
        f"models.{name}": lambda: (cls, {"inputs": inputs, **settings}),
        f"models.{name}.forward": lambda: (built(name).forward, {"x": rand(2, inputs, 8, 8)}),
    }


SPACES = ("lab", "yuv", "ycbcr", "hsv", "hsl", "cmyk")
PAIR = {"rgb": RGB, "truth": rand(2, 3, 8, 8, seed=1)}
IMAGES = rand(4, 3, 8, 8)
GAN = {"l1": 1.0, "width": 2, "blocks": 1, "layers": 1, "dropout": 0.5}
# One right call of each: the function, and its arguments by name.
CALLS = {
    **{f"color.rgb_to_{s}": lambda s=s: (getattr(color, f"rgb_to_{s}"), {"rgb": RGB}) for s in SPACES},
    **{
        f"color.{s}_to_rgb": lambda s=s: (
            getattr(color, f"{s}_to_rgb"),
            {s: getattr(color, f"rgb_to_{s}")(RGB), **({"clip": True} if s == "lab" else {})},
        )
        for s in SPACES
    },
    "color.rgb_to_gray": lambda: (color.rgb_to_gray, {"rgb": RGB}),
    "color.fit_gamut": lambda: (color.fit_gamut, {"lab": color.rgb_to_lab(RGB)}),
    "color.colorfulness": lambda: (color.colorfulness, {"rgb": RGB, "absolute": False}),
    "color.ab_bins": lambda: (color.ab_bins, {"device": None, "dtype": torch.float64}),
    "color.soft_encode": lambda: (color.soft_encode, {"ab": AB, "k": 3, "sigma": 5.0}),
    "color.annealed_mean": lambda: (
        color.annealed_mean,
        {"logits": rand(2, 313, 2, 2), "temperature": 0.5},
    ),
    "color.bin_prior": lambda: (color.bin_prior, {"ab": AB}),
    "color.smooth_prior": lambda: (color.smooth_prior, {"prior": PRIOR, "sigma": 5.0}),
    "color.rebalancing_weights": lambda: (color.rebalancing_weights, {"prior": PRIOR, "mix": 0.5}),
    "classic.nearest": lambda: (classic.nearest, {"data": rand(5, 2), "neurons": NEURONS, "k": 2}),
    "classic.SOM": lambda: (classic.SOM, {"rows": 2, "columns": 3, "topology": "hexagonal"}),
    "classic.SOM.fit": lambda: (
        classic.SOM(2, 2).fit,
        {
            "data": rand(20, 3),
            "epochs": 1,
            "rule": "online",
            "init": "sample",
            "radius": None,
            "learning_rate": (0.5, 0.1),
            "seed": 0,
        },
    ),
    "classic.SOM.fit from neurons": lambda: (
        classic.SOM(2, 2).fit,
        {"data": rand(20, 3), "init": rand(4, 3), "radius": (1.0, 0.5)},
    ),
    **{
        f"classic.SOM.{name}": lambda name=name: (getattr(fitted(), name), {"data": rand(5, 3)})
        for name in ("assign", "quantize", "quantization_error", "topographic_error")
    },
    "classic.propagate": lambda: (
        classic.propagate,
        {"lightness": LIGHTNESS, "ab": AB, "mask": STROKES, "sharpness": 2.0, "method": "direct"},
    ),
    "classic.corrected": lambda: (
        classic.corrected,
        {"lightness": LIGHTNESS, "ab": AB, "mask": STROKES, "strokes_ab": -AB}
        | {"reach": 0.5, "sharpness": 2.0, "method": "direct"},
    ),
    "classic.strokes_of": lambda: (
        classic.strokes_of,
        {"gray": rand(2, 1, 8, 8), "painted": RGB, "threshold": 0.1},
    ),
    "classic.rgb_to_lalphabeta": lambda: (classic.rgb_to_lalphabeta, {"rgb": RGB}),
    "classic.lalphabeta_to_rgb": lambda: (
        classic.lalphabeta_to_rgb,
        {"lalphabeta": classic.rgb_to_lalphabeta(RGB)},
    ),
    "classic.transfer": lambda: (
        classic.transfer,
        {"rgb": RGB[0], "reference": RGB[1], "swatches": ((SWATCH[0, 0], SWATCH[1, 0]),)},
    ),
    "classic.transfer of whole pictures": lambda: (
        classic.transfer,
        {"rgb": RGB[0], "reference": RGB[1], "swatches": None},
    ),
    "classic.match": lambda: (
        classic.match,
        {"gray": rand(1, 8, 8), "reference": RGB[0], "samples": 9, "window": 3, "seed": 0},
    ),
    "data.World": lambda: (World, {"size": 8, "kind": "flowers", "seed": 0}),
    "data.World.batch": lambda: (world().batch, {"indices": [0, 3], "device": None, "draw": 0}),
    "data.World.batch of a tensor": lambda: (world().batch, {"indices": torch.tensor([0, 3])}),
    "data.World.colors": lambda: (world().colors, {"indices": [0, 3], "device": None, "draw": 0}),
    "data.World.__getitem__": lambda: (world().__getitem__, {"index": 3}),
    "data.Scene.__getitem__": lambda: (scenes().__getitem__, {"index": 1}),
    "data.Scene.to": lambda: (scenes().to, {"device": "cpu"}),
    "data.Law": lambda: (Law, {"materials": FLOWERS}),
    "data.Law.palette": lambda: (world().law.palette, {"name": "daisy"}),
    **law_calls(),
    "data.photos": lambda: (data.photos, {"names": "moon", "gray": True, "max_side": 8}),
    "data.photos by names": lambda: (data.photos, {"names": ["chelsea"], "max_side": None}),
    "masks.ten": lambda: (masks.ten, {"size": (8, 8), "names": ["left half"]}),
    "masks.ten of a square": lambda: (masks.ten, {"size": 8, "names": "left half"}),
    "masks.segmentation": lambda: (masks.segmentation, {"labels": LABELS, "chosen": [0, 1], "names": ()}),
    "masks.segmentation by name": lambda: (
        masks.segmentation,
        {"labels": LABELS, "chosen": "sky", "names": ["sky"]},
    ),
    "masks.draw": lambda: (
        masks.draw,
        {"seeds": [0, 5], "size": 8, "kinds": "segments", "labels": LABELS},
    ),
    "masks.draw by seeds of a tensor": lambda: (
        masks.draw,
        {"seeds": torch.arange(2), "size": (8, 8), "kinds": ["ten"], "labels": None},
    ),
    "masks.check_kinds": lambda: (masks.check_kinds, {"kinds": ["ten", "full"]}),
    "models.PatchMLP": lambda: (models.PatchMLP, {"neurons": NEURONS, "patch": 3, "hidden_size": 2}),
    "models.PatchMLP.small": lambda: (models.PatchMLP.small, {"neurons": NEURONS}),
    "models.PatchMLP.logits": method("PatchMLP", "logits", lightness=LIGHTNESS),
    "models.PatchMLP.labels": method("PatchMLP", "labels", rgb=RGB),
    "models.PatchMLP.loss": method("PatchMLP", "loss", batch={"rgb": RGB}),
    "models.PatchMLP.accuracy": method("PatchMLP", "accuracy", batch={"rgb": RGB}),
    **model_calls("PatchMLP", how="sample"),
    "models.ResNetRegressor": lambda: (models.ResNetRegressor, {"pretrained": False, "width": 2}),
    "models.ResNetRegressor.features": method("ResNetRegressor", "features", lightness=LIGHTNESS),
    "models.ResNetRegressor.forward": method("ResNetRegressor", "forward", lightness=LIGHTNESS),
    "models.ResNetRegressor.loss": method("ResNetRegressor", "loss", batch={"rgb": RGB}),
    **model_calls("ResNetRegressor"),
    "models.DeepColorization": lambda: (
        models.DeepColorization,
        {"category": "predicted", "categories": 5, "radius": 2, "width": 2},
    ),
    "models.DeepColorization.small": lambda: (models.DeepColorization.small, {"width": 2}),
    "models.DeepColorization.features": method(
        "DeepColorization", "features", gray=rand(2, 1, 8, 8), category=rand(2, 5, 8, 8)
    ),
    "models.DeepColorization.forward": method(
        "DeepColorization", "forward", gray=rand(2, 1, 8, 8), category=rand(2, 5, 8, 8)
    ),
    "models.DeepColorization.one_hot": method("DeepColorization", "one_hot", labels=LABELS),
    "models.DeepColorization.loss": method(
        "DeepColorization", "loss", batch={"rgb": RGB, "material": LABELS}
    ),
    **model_calls("DeepColorization", labels=LABELS, sigma_space=1.5, sigma_range=0.1),
    "models.SegmentationNetwork": lambda: (
        models.SegmentationNetwork,
        {"categories": 3, "width": 2, "inputs": 1},
    ),
    "models.SegmentationNetwork.forward": method("SegmentationNetwork", "forward", x=rand(2, 1, 8, 8)),
    "models.daisy": lambda: (models.daisy, {"gray": rand(2, 1, 8, 8), "radius": 2}),
    "models.joint_bilateral": lambda: (
        models.joint_bilateral,
        {
            "x": rand(2, 3, 4, 5),
            "guide": rand(2, 1, 8, 8),
            "sigma_space": 1.5,
            "sigma_range": 0.1,
            "radius": 2,
        },
    ),
    "models.CIC": lambda: (
        models.CIC,
        {"prior": PRIOR, "mix": 0.5, "neighbors": 3, "sigma": 5.0, "width": 1, "rebalance": 1.0},
    ),
    "models.CIC.small": lambda: (models.CIC.small, {"prior": None, "mix": 0.5, "neighbors": 5}),
    "models.CIC.set_prior": lambda: (models.CIC(width=1).set_prior, {"prior": PRIOR, "mix": 0.5}),
    "models.CIC.logits": method("CIC", "logits", lightness=LIGHTNESS),
    "models.CIC.targets": method("CIC", "targets", rgb=RGB),
    "models.CIC.loss": method("CIC", "loss", batch={"rgb": RGB}),
    "models.CIC.distribution": method("CIC", "distribution", lightness=LIGHTNESS, rebalance=0.5),
    **model_calls("CIC", temperature=0.5, rebalance=None),
    "models.PretrainedUNet": lambda: (
        models.PretrainedUNet,
        {
            "prior": PRIOR,
            "mix": 0.5,
            "pretrained": False,
            "width": 1,
            "vary": 0.5,
            "rebalance": 1.0,
            "temperature": 0.5,
        },
    ),
    "models.PretrainedUNet.set_prior": lambda: (
        models.PretrainedUNet(width=1).set_prior,
        {"prior": PRIOR, "mix": 0.5},
    ),
    "models.PretrainedUNet.logits": method("PretrainedUNet", "logits", lightness=LIGHTNESS),
    "models.PretrainedUNet.loss": method("PretrainedUNet", "loss", batch={"rgb": RGB}),
    **model_calls("PretrainedUNet", temperature=None, rebalance=None, mirror=False),
    "models.ColorGAN": lambda: (
        models.ColorGAN,
        {"generator": "unet", "discriminator": "image", "adversarial": "hinge", "depth": 4, **GAN},
    ),
    "models.ColorGAN.small": lambda: (models.ColorGAN.small, {"width": 2}),
    "models.ColorGAN.discriminator_loss": method("ColorGAN", "discriminator_loss", batch={"rgb": RGB}),
    "models.ColorGAN.generator_loss": method("ColorGAN", "generator_loss", batch={"rgb": RGB}),
    "models.ColorGAN.forward": method("ColorGAN", "forward", lightness=LIGHTNESS),
    "models.ColorGAN.scores": method("ColorGAN", "scores", rgb=RGB),
    **model_calls("ColorGAN", dropout=True),
    "models.MaskedGAN": lambda: (
        models.MaskedGAN,
        {
            "masks": ["ten"],
            "mask_loss": "huber",
            "mask_weight": 1.0,
            "delta": 0.1,
            "l1": 0.5,
            "truth": "colored",
            "adversarial": "lsgan",
            "width": 2,
            "layers": 1,
        },
    ),
    "models.MaskedGAN.small": lambda: (models.MaskedGAN.small, {"width": 2}),
    "models.MaskedGAN.batch_masks": method("MaskedGAN", "batch_masks", batch=seeded()),
    "models.MaskedGAN.discriminator_loss": method("MaskedGAN", "discriminator_loss", batch=seeded()),
    "models.MaskedGAN.generator_loss": method("MaskedGAN", "generator_loss", batch=seeded()),
    "models.MaskedGAN.generator_loss with masks": method(
        "MaskedGAN", "generator_loss", batch={"rgb": RGB, "mask": rand(2, 1, 8, 8)}
    ),
    "models.MaskedGAN.batch_masks of segments": lambda: (
        models.MaskedGAN(["segments"], width=1, layers=1).batch_masks,
        {"batch": {**seeded(), "material": LABELS}},
    ),
    "models.MaskedGAN.mask_cost": method("MaskedGAN", "mask_cost", painted=AB / 110, wanted=AB / 110),
    "models.MaskedGAN.forward": method("MaskedGAN", "forward", lightness=LIGHTNESS, mask=rand(2, 1, 8, 8)),
    **model_calls("MaskedGAN", mask=rand(2, 1, 8, 8)),
    **network_calls("UNet", 2, outputs=2, channels=[2, 3], middle=True, dropout=0.5),
    **network_calls("ResNetGenerator", 1, outputs=2, width=2, blocks=1, dropout=0.5),
    **network_calls("PatchDiscriminator", 3, width=2, layers=1),
    **network_calls("ImageDiscriminator", 3, width=2, layers=1),
    **{
        f"models.{name}": lambda name=name: (
            getattr(models, name),
            {"real": rand(2, 1, 2, 2), "fake": rand(2, 1, 2, 2), "kind": "vanilla"},
        )
        for name in ("discriminator_loss", "discriminator_accuracy")
    },
    "models.generator_loss": lambda: (models.generator_loss, {"fake": rand(2, 1), "kind": "hinge"}),
    "models.sparse_cross_entropy": lambda: (
        models.sparse_cross_entropy,
        {"logits": rand(2, 5, 3, 3), "indices": whole(2, 2, 3, 3, below=5), "weights": rand(2, 2, 3, 3)},
    ),
    "sampling.sample": lambda: (
        sampler(sampling.sample)[0],
        {**sampler(sampling.sample)[1], "graph": True},
    ),
    "sampling.naive_sample": lambda: sampler(sampling.naive_sample),
    "sampling.cached_logits": lambda: (
        sampling.cached_logits,
        {"pixelcnn": pixelcnn(), "condition": rand(1, 3, 2, 2), "chroma": rand(1, 2, 2, 2)},
    ),
    "sampling.draw": lambda: (
        sampling.draw,
        {"logits": rand(2, 5), "noise": rand(2, 5), "temperature": 1.0, "top_p": 0.5},
    ),
    "show.figure": lambda: (show.figure, {"fig": plt.figure(figsize=(1, 1)), "alt": "nothing"}),
    "show.grid": lambda: (
        show.grid,
        {"images": IMAGES, "titles": list("abcd"), "columns": 2, "alt": "four", "width": 64},
    ),
    "show.frames": lambda: (
        show.frames,
        {"images": IMAGES, "labels": [1, 2, 3, 4], "title": "t", "start": 1, "width": 64, "alt": None},
    ),
    "show.choices": lambda: (
        show.choices,
        {"images": IMAGES, "names": ["a", "b"], "title": "t", "start": 1, "width": 64, "alt": None},
    ),
    "show.drawing": lambda: (show.drawing, {"name": "cic", "caption": "Figure 1."}),
    "show.live": lambda: (
        show.live,
        {"function": lambda shade=0.5: torch.zeros(3, 2, 2), "alt": "a square", "width": 64}
        | {"shade": [0.0, 0.5]},
    ),
    "show.claim": lambda: (
        show.claim,
        {"identifier": "S1.1", "source": "a", "claimed": "b", "ours": "c", "held": True}
        | {"question": False},
    ),
    **{
        f"metrics.{name}": lambda name=name: (getattr(metrics, name), dict(PAIR))
        for name in ("ab_distance", "ab_error", "ab_rmse", "accuracy", "psnr")
    },
    "metrics.mean_chroma": lambda: (metrics.mean_chroma, {"rgb": RGB}),
    "metrics.divergence": lambda: (
        metrics.divergence,
        {"exact": rand(2, 5).softmax(1), "predicted": rand(2, 5).softmax(1), "dim": 1},
    ),
    "metrics.best_constant": lambda: (metrics.best_constant, {"ab": rand(9, 2)}),
    "metrics.compare": lambda: (metrics.compare, dict(PAIR)),
    "metrics.evaluate": lambda: (
        metrics.evaluate,
        {"model": built("ResNetRegressor"), "data": world(), "indices": [0, 1]},
    ),
    "data.Folder": lambda: (
        data.Folder,
        {"path": folder(), "size": 8, "colorful": 0.0, "held_out": None},
    ),
    "data.Folder.batch": lambda: (data.Folder(folder(), 8).batch, {"indices": [0, 1], "device": None}),
    "data.Folder.__getitem__": lambda: (data.Folder(folder(), 8).__getitem__, {"index": 1}),
    "data.picture_files": lambda: (data.picture_files, {"path": folder()}),
    "data.read": lambda: (data.read, {"path": folder() / "1.png", "gray": True, "page": 1}),
    "data.pages": lambda: (data.pages, {"path": folder() / "1.png"}),
    "training.Recipe": lambda: (
        Recipe,
        {
            **{"steps": 2, "batch": 2, "learning_rate": 1e-3, "optimizer": "adam", "betas": (0.9, 0.99)},
            **{"weight_decay": 0.1, "schedule": "constant", "warmup": 1, "clip": 1.0, "accumulation": 1},
            **{"ema": 0.9, "precision": "float32", "crop": None, "flip": False, "seed": 0},
            **{"checkpoint_every": 1, "log_every": 1, "size": 8, "colorful": 0.0, "settings": {"width": 2}},
        },
    ),
    "training.Recipe.rate": lambda: (Recipe(steps=2, batch=2, learning_rate=1.0).rate, {"step": 1}),
    "training.fit": lambda: (
        training.fit,
        {
            "model": built("ResNetRegressor"),
            "data": world(),
            "recipe": Recipe(steps=1, batch=2, learning_rate=1e-3),
            "directory": Path(tempfile.mkdtemp(dir=folder())),
        },
    ),
    "training.history": lambda: (training.history, {"directory": folder()}),
    "training.learning_curve": lambda: (training.learning_curve, {"directory": folder()}),
    "zoo.recipe": lambda: (zoo.recipe, {"model": "cic", "name": "quick"}),
    "zoo.build": lambda: (
        zoo.build,
        {"name": "regression", "data": world(), "settings": {"width": 2}, "seed": 0, "init_from": None},
    ),
    "zoo.save": lambda: (
        zoo.save,
        {"model": built("ResNetRegressor"), "path": folder() / "w.safetensors", "history": []},
    ),
    "zoo.load": lambda: (zoo.load, {"name_or_path": "gan-world", "device": None}),
    "zoo.history": lambda: (zoo.history, {"name_or_path": "gan-world"}),
    "check.check": lambda: (
        check.check,
        {"task": "rebalancing_weights", "answer": color.rebalancing_weights},
    ),
    "check.look": lambda: (check.look, {"task": "rebalancing_weights", "answer": color.rebalancing_weights}),
    "check.target": lambda: (check.target, {"task": "causal_mask"}),
}
