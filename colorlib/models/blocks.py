"""Networks that several systems share: generators that keep a picture's size, and discriminators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import flag, listed, number, whole, wholes
from colorlib.models.base import fitting

GRID = 4  # the discriminator of whole pictures looks at this many places down and across at last


def doubled(width: int, layers: int) -> list[int]:
    """Channels of layers that each halve a picture: ``width``, then twice the one before up to 8 times it."""
    if layers > 16:
        raise ValueError(f"at most 16 layers can halve a picture; got {layers}")
    return [width * 2 ** min(place, 3) for place in range(layers)]


class UNet(nn.Module):
    """Convolutions down to a small map and transposed ones back, joined at each size.

    On the way down each 4 x 4 convolution of stride 2 halves the size, with batch norm and a leaky ReLU of
    slope 0.2; ``channels`` are those of each layer. On the way back each 4 x 4 transposed one doubles it,
    with batch norm and ReLU. It is given the map of the layer below it and, beside it, the map of the same
    size from the way down: without these a small map would have to remember every edge. The first layer and
    the one at the smallest size have no norm; with ``middle`` a 3 x 3 convolution stands there between the
    two ways. The last one ends in a tanh. ``dropout`` is the share of the values that is dropped after the
    norm of each of the first three layers on the way back, the last layer of all excepted.

    A picture whose sides don't fit is continued with its edge pixels, and the result is cropped.

    Sources: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015; Isola and others, "Image-to-Image Translation
    with Conditional Adversarial Networks", CVPR 2017, section 6.1.1, with the layers of its released network.

    >>> UNet(1, 2, [4, 8])(torch.zeros(1, 1, 9, 6)).shape
    torch.Size([1, 2, 9, 6])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        channels: Sequence[int],
        middle: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.inputs, outputs = wholes(inputs=inputs, outputs=outputs)
        channels = [whole(count, "channels", 1) for count in listed(channels, "channels")]
        if not channels:
            raise ValueError("channels must be those of at least one layer; got none")
        middle, dropout = flag(middle, "middle"), number(dropout, "dropout", "[0, 1)")
        self.multiple = 2 ** len(channels)
        last = len(channels) - 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for place, (before, after) in enumerate(zip([self.inputs, *channels], channels, strict=False)):
            norm = place > 0 and (middle or place < last)
            layers = [nn.Conv2d(before, after, 4, 2, padding=1, bias=not norm)]
            layers += [Norm(after)] if norm else []
            self.down.append(nn.Sequential(*layers, nn.LeakyReLU(0.2)))
        self.middle = None
        if middle:
            convolution = nn.Conv2d(channels[-1], channels[-1], 3, padding=1)
            self.middle = nn.Sequential(convolution, nn.LeakyReLU(0.2))
        for place in reversed(range(len(channels))):
            # Below the smallest map there is no other to join it with.
            before = channels[place] * (2 if middle or place < last else 1)
            if place == 0:
                self.up.append(nn.Sequential(nn.ConvTranspose2d(before, outputs, 4, 2, padding=1), nn.Tanh()))
                break
            after = channels[place - 1]
            layers = [nn.ConvTranspose2d(before, after, 4, 2, padding=1, bias=False), Norm(after)]
            layers += [nn.Dropout(dropout)] if dropout and len(self.up) < 3 else []
            self.up.append(nn.Sequential(*layers, nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W) in [-1, 1]."""
        x = fitting(x, self, "x", self.inputs)
        height, width = x.shape[-2:]
        x = pad(x, self.multiple)
        maps = []
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        if self.middle is None:
            maps[-1] = None
        else:
            x = self.middle(x)
        for layer in self.up:
            beside = maps.pop()
            x = layer(x if beside is None else torch.cat([x, beside], 1))
        return x[:, :, :height, :width]


class ResNetGenerator(nn.Module):
    """Residual blocks at a quarter of the size, between two halvings and two doublings.

    A 7 x 7 convolution of ``width`` channels, two 3 x 3 ones of stride 2, the blocks, two 3 x 3 transposed
    ones, and a 7 x 7 one with a tanh. Each but the last has batch norm and ReLU; a block is two 3 x 3
    convolutions whose result is added to what came in, with ``dropout`` between them. Maps are reflected at
    their edges.

    A picture whose sides don't fit is continued with its edge pixels, and the result is cropped.

    Sources: Johnson, Alahi, Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
    ECCV 2016; Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent
    Adversarial Networks", ICCV 2017, section 7.2. Dropout as in the released code of the latter.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 64, blocks: int = 9, dropout: float = 0.0):
        super().__init__()
        self.inputs, outputs, width, blocks = wholes(
            inputs=inputs, outputs=outputs, width=width, blocks=blocks
        )
        dropout = number(dropout, "dropout", "[0, 1)")

        def normed(layer: nn.Module, channels: int) -> list[nn.Module]:
            return [layer, Norm(channels), nn.ReLU()]

        layers = [
            nn.ReflectionPad2d(3),
            *normed(nn.Conv2d(self.inputs, width, 7, bias=False), width),
            *normed(nn.Conv2d(width, 2 * width, 3, 2, padding=1, bias=False), 2 * width),
            *normed(nn.Conv2d(2 * width, 4 * width, 3, 2, padding=1, bias=False), 4 * width),
            *(_Residual(4 * width, dropout) for _ in range(blocks)),
        ]
        for before in (4 * width, 2 * width):
            double = nn.ConvTranspose2d(before, before // 2, 3, 2, padding=1, output_padding=1, bias=False)
            layers += normed(double, before // 2)
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W) in [-1, 1]."""
        x = fitting(x, self, "x", self.inputs)
        height, width = x.shape[-2:]
        # Only a map of two rows or more can be reflected.
        return self.layers(pad(x, 4, least=8))[:, :, :height, :width]


class _Residual(nn.Module):
    def __init__(self, channels: int, dropout: float):
        super().__init__()

        def layer() -> list[nn.Module]:
            convolution = nn.Conv2d(channels, channels, 3, bias=False)
            return [nn.ReflectionPad2d(1), convolution, Norm(channels)]

        between = [nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        self.layers = nn.Sequential(*layer(), *between, *layer())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class PatchDiscriminator(nn.Module):
    """PatchGAN: scores every patch of a picture, true or generated, and knows nothing beyond the patch.

    All convolutions are 4 x 4 with a leaky ReLU of slope 0.2, and batch norm in all but the first and the
    last. ``layers`` of them have stride 2 and ``width``, twice, four times as many channels and so on up to 8
    times; then one of stride 1 doubles the channels once more, up to 8 times, and one of stride 1 gives the
    score. With 3 layers a score sees 70 x 70 pixels, with 1 layer 16 x 16, with 5 layers 286 x 286. A picture
    that is too small for a single score is continued with its edge pixels.

    Source: Isola and others, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017,
    section 6.1.2.

    >>> PatchDiscriminator(3).receptive_field
    70
    """

    def __init__(self, inputs: int, width: int = 64, layers: int = 3):
        super().__init__()
        self.inputs, width, layers = wholes(inputs=inputs, width=width, layers=layers)
        channels = doubled(width, layers + 1)
        self.least = 3 * 2**layers
        modules = _halve(self.inputs, channels[0], norm=False)
        for before, after in zip(channels[:-1], channels[1:-1], strict=False):
            modules += _halve(before, after)
        modules += _halve(channels[-2], channels[-1], stride=1)
        self.layers = nn.Sequential(*modules, nn.Conv2d(channels[-1], 1, 4, padding=1))

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the square that one score sees."""
        side = 1
        for layer in reversed(self.layers):
            if isinstance(layer, nn.Conv2d):
                side = layer.stride[0] * (side - 1) + layer.kernel_size[0]
        return side

    def forward(self, x: Tensor) -> Tensor:
        """Score the patches: (B, inputs, H, W) to (B, 1, h, w)."""
        return self.layers(pad(fitting(x, self, "x", self.inputs), 1, self.least))


class ImageDiscriminator(nn.Module):
    """Scores a picture as a whole: one number for all of it.

    ``layers`` 4 x 4 convolutions of stride 2, like those of a :class:`PatchDiscriminator`, lead to a small
    map. It is brought to 4 x 4 places, each the mean of its share, and one last convolution over all of them
    gives the score. So the picture may have any size.

    Source: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks", ICLR 2016, for strided convolutions down to 4 x 4 and one score; the means are this
    course's, for pictures of any size.
    """

    def __init__(self, inputs: int, width: int = 64, layers: int = 4):
        super().__init__()
        self.inputs, width, layers = wholes(inputs=inputs, width=width, layers=layers)
        channels = doubled(width, layers)
        self.least = 2 ** (layers + 1)
        modules = _halve(self.inputs, channels[0], norm=False)
        for before, after in zip(channels, channels[1:], strict=False):
            modules += _halve(before, after)
        self.layers = nn.Sequential(*modules)
        self.score = nn.Conv2d(channels[-1], 1, GRID)

    def forward(self, x: Tensor) -> Tensor:
        """Score the pictures: (B, inputs, H, W) to (B, 1, 1, 1)."""
        x = pad(fitting(x, self, "x", self.inputs), 1, self.least)
        return self.score(F.adaptive_avg_pool2d(self.layers(x), GRID))


def _halve(before: int, after: int, norm: bool = True, stride: int = 2) -> list[nn.Module]:
    """A layer of a discriminator."""
    layers = [nn.Conv2d(before, after, 4, stride, padding=1, bias=not norm)]
    return [*layers, *([Norm(after)] if norm else []), nn.LeakyReLU(0.2)]


class Norm(nn.BatchNorm2d):
    """Batch norm that also trains where each channel has one value: a batch of one at the smallest map.

    One value has no variance. There it takes the statistics gathered so far, and adds nothing to them.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def start_normal(network: nn.Module, deviation: float = 0.02) -> None:
    """Draw a network's first weights as pix2pix does.

    Weights of convolutions are drawn from N(0, 0.02), those of batch norms from N(1, 0.02); biases are 0.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0, deviation)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, deviation)
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)


def pad(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Continue pictures (B, C, H, W) to the right and downward with their edge pixels.

    Both sides become multiples of ``multiple``, and at least ``least`` pixels long.
    """
    height, width = (max(side, least) for side in x.shape[-2:])
    right, below = width + -width % multiple - x.shape[-1], height + -height % multiple - x.shape[-2]
    return F.pad(x, (0, right, 0, below), mode="replicate") if right or below else x
