"""Color as two numbers: a residual network that is trained to miss a and b by as little as it can."""

import functools
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPException

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import flag, floating, whole
from colorlib.color import rgb_to_lab
from colorlib.models.base import AB_SCALE, Colorizer, asked, fitting, true_rgb
from colorlib.models.blocks import Norm, pad
from colorlib.training import Batch
from colorlib.training.recipes import FULL, PHOTOGRAPHS, QUICK, WORLD

COARSEST = 8  # the features are an eighth of the picture's size


class ResNetRegressor(Colorizer):
    """The first half of a ResNet-18, transposed convolutions back to full size, squared error in ab.

    The residual network is cut after its sixth set of layers: first convolution, batch norm, ReLU, max
    pooling and two groups of two residual blocks, which give 128 features at an eighth of the size. Three
    transposed convolutions, each with batch norm and ReLU, double the size three times, and a last
    convolution gives ab.

    A squared error asks for the mean of all colors that a thing may have, and so gets it.

    The source names the trunk, the transposed convolutions and the loss. Built here: their sizes (4 x 4,
    stride 2, 128, 64 and 32 channels), the last 3 x 3 convolution, ab divided by 110. Lightness divided by
    100 takes the place of gray and is normalized with the mean and the deviation of photographs' gray that
    pretrained trunks expect. A picture whose sides are not multiples of 8 is continued with its edge pixels,
    and the result is cropped.

    Parameters
    ----------
    pretrained : bool
        Whether the trunk starts from torchvision's ImageNet weights, which are downloaded once. The first
        convolution is then summed over RGB: on a gray picture it gives what the original gives.
    width : int
        Channels of the first convolution, 64 in ResNet-18; the others follow in proportion.

    Raises
    ------
    TypeError, ValueError
        For a width that is not an int, is below 1, or is not 64 with ``pretrained``.
    DownloadError
        Where the pretrained weights cannot be downloaded.

    Notes
    -----
    Sources: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1, for the
    trunk; torchvision for its blocks and weights.
    """

    command = "regression"
    recipes = {
        "quick": replace(QUICK, settings={"width": 16}),
        "world": WORLD,
        # From the weights of "world" on: the network is blurred at borders, and in larger pictures fewer
        # pixels lie at one.
        "world-large": replace(
            WORLD, steps=3_500, warmup=350, batch=4, learning_rate=1e-3, size=192, checkpoint_every=250
        ),
        "photographs": replace(PHOTOGRAPHS, steps=2_500, warmup=250, settings={"width": 48}),
        "full": replace(FULL, settings={"pretrained": True}),
    }

    def __init__(self, pretrained: bool = False, width: int = 64):
        super().__init__()
        width = whole(width, "width", 1)
        if flag(pretrained, "pretrained") and width != 64:
            raise ValueError(f"width must be 64 with pretrained weights; got {width}")
        self.settings = {"width": width}
        self.trunk = _trunk(width)
        if pretrained:
            self.trunk.load_state_dict(_pretrained_trunk())
        self.decoder = nn.Sequential(
            *_double(2 * width, 2 * width),  # 1/8 of the size to 1/4
            *_double(2 * width, width),  # 1/2
            *_double(width, width // 2 or 1),  # 1
            nn.Conv2d(width // 2 or 1, 2, 3, padding=1),
        )

    @classmethod
    def small(cls) -> "ResNetRegressor":
        """Build the quick version: a quarter of ResNet-18's width, not pretrained."""
        return cls(width=16)

    def features(self, lightness: Tensor) -> Tensor:
        """Give the trunk's features: CIE L (B, 1, H, W) to (B, 2 width, ceil(H / 8), ceil(W / 8))."""
        lightness = fitting(lightness, self)
        x = (lightness / 100 - 0.449) / 0.226  # ImageNet's mean and deviation, averaged over RGB
        return self.trunk(pad(x, COARSEST))

    def forward(self, lightness: Tensor) -> Tensor:
        """Predict ab: CIE L (B, 1, H, W) to CIE ab (B, 2, H, W)."""
        return self._scaled(lightness) * AB_SCALE

    def _scaled(self, lightness: Tensor) -> Tensor:
        features = self.features(lightness)
        return self.decoder(features)[:, :, : lightness.shape[-2], : lightness.shape[-1]]

    def loss(self, batch: Batch) -> Tensor:
        """Give the mean squared error of a and b, both divided by 110.

        Parameters
        ----------
        batch : dict of Tensor
            ``"rgb"``, (B, 3, H, W) in [0, 1].
        """
        lab = rgb_to_lab(true_rgb(batch))
        return F.mse_loss(self._scaled(lab[:, :1]).to(lab.dtype), lab[:, 1:] / AB_SCALE)

    def chroma(self, lightness: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """Give the ab of a lightness; see :meth:`Colorizer.chroma`. All samples are equal."""
        lightness, samples = asked(self, lightness, samples, generator)
        return self(lightness).expand(samples, -1, -1, -1, -1)


def _trunk(width: int) -> nn.Sequential:
    """The first six children of torchvision's ``resnet18``, for one channel and of any width."""
    from torchvision.models.resnet import BasicBlock  # here, so that the library imports without torchvision

    block = functools.partial(BasicBlock, norm_layer=Norm)
    shortcut = nn.Sequential(nn.Conv2d(width, 2 * width, 1, 2, bias=False), Norm(2 * width))
    trunk = nn.Sequential(
        nn.Conv2d(1, width, 7, 2, padding=3, bias=False),
        Norm(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
        nn.Sequential(block(width, width), block(width, width)),
        nn.Sequential(block(width, 2 * width, 2, shortcut), block(2 * width, 2 * width)),
    )
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return trunk


def _double(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
        Norm(outputs),
        nn.ReLU(inplace=True),
    ]


def _pretrained_trunk() -> dict[str, Tensor]:
    """The state of torchvision's ImageNet ResNet-18, cut, its first convolution summed over RGB."""
    from torchvision.models import resnet18

    state = nn.Sequential(*list(pretrained_network(resnet18).children())[:6]).state_dict()
    state["0.weight"] = sum_over_rgb(state["0.weight"])
    return state


class DownloadError(RuntimeError):
    """Pretrained weights that can't be downloaded; `reason` is what it says without its advice."""

    def __init__(self, reason: str):
        super().__init__(f"{reason}; connect to the network, or use pretrained=False")
        self.reason = reason


def pretrained_network(build: Callable[..., nn.Module], **settings) -> nn.Module:
    """One of torchvision's networks with its ImageNet weights, which are downloaded once."""
    try:
        return build(weights="IMAGENET1K_V1", **settings)
    except (OSError, HTTPException, RuntimeError) as error:  # no network, a full disk, a torn or altered file
        name = f"torchvision's weights of {build.__name__}"
        raise DownloadError(f"{name} cannot be downloaded ({str(error) or type(error).__name__})") from error


def sum_over_rgb(weight: Tensor) -> Tensor:
    """Weights of a convolution over RGB, (outputs, 3, h, w), to those over gray that do the same to R=G=B.

    Returns (outputs, 1, h, w). Raises ValueError where there are not three input channels.
    """
    return floating(weight, "weight", "(outputs, 3, h, w)").sum(1, keepdim=True)
