"""What several systems share: generators that keep a picture's size, discriminators, and a filter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from colorlib._check import flag, floating, listed, number, whole, wholes
from colorlib.color.spaces import widened
from colorlib.models.base import PIXELS_AT_ONCE, fitting

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


def joint_bilateral(
    x: Tensor, guide: Tensor, sigma_space: float = 3.0, sigma_range: float = 0.05, radius: int | None = None
) -> Tensor:
    """Smooth maps up to the edges of a guide, and enlarge maps that are smaller to its size.

    Each pixel becomes a weighted mean of the map's pixels around its own place. One counts the less, the
    farther away it is and the more its guide differs: both by a Gaussian. Of a smaller map the place of each
    of the guide's pixels is found in it, and its guide is the larger one reduced. At the border the window is
    cut off. It goes over a large guide in strips of rows.

    Parameters
    ----------
    x : Tensor
        Maps, (..., B, C, h, w), such as chroma.
    guide : Tensor
        (B, 1, H, W), such as lightness or luma in [0, 1], on the same device; not smaller than the maps.
    sigma_space : float
        Standard deviation of the distance, in pixels of the map, above 0.
    sigma_range : float
        Standard deviation of the difference, in the guide's units, above 0.
    radius : int, optional
        The window has 2 radius + 1 pixels a side. None: twice ``sigma_space``, rounded up.

    Returns
    -------
    Tensor
        (..., B, C, H, W), of the maps' dtype.

    Raises
    ------
    TypeError, ValueError
        For maps and a guide that don't fit, or a parameter out of its range.

    Notes
    -----
    Sources: Petschnigg and others, "Digital Photography with Flash and No-Flash Image Pairs", SIGGRAPH 2004,
    section 4.1, for the filter; Kopf and others, "Joint Bilateral Upsampling", SIGGRAPH 2007, for enlarging.

    >>> left = (torch.arange(6) < 3).float().expand(1, 1, 6, 6)
    >>> joint_bilateral(10 * left, left).round()[0, 0, 0]
    tensor([10., 10., 10.,  0.,  0.,  0.])
    """
    floating(x, "x", "(..., B, C, h, w)", empty=False)
    floating(guide, "guide", "(B, 1, H, W)", empty=False)
    if x.dim() < 4 or x.shape[-4] != len(guide):
        raise ValueError(f"x must be maps (..., {len(guide)}, C, h, w); got {tuple(x.shape)}")
    (low_height, low_width), (height, width) = x.shape[-2:], guide.shape[-2:]
    if low_height > height or low_width > width:
        raise ValueError(
            f"guide must not be smaller than x, {(low_height, low_width)}; got {(height, width)}"
        )
    sigma_space = number(sigma_space, "sigma_space", "(0, inf)")
    sigma_range = number(sigma_range, "sigma_range", "(0, inf)")
    if radius is None:
        radius = min(math.ceil(2 * min(sigma_space, 2.0**20)), max(low_height, low_width))
    radius = whole(radius, "radius", 0)
    kind, x, guide = x.dtype, widened(x), widened(guide).to(widened(x))
    reduced = guide
    if (low_height, low_width) != (height, width):
        size = (low_height, low_width)
        reduced = F.interpolate(guide, size, mode="bilinear", align_corners=False, antialias=True)
    across = (torch.arange(width, device=x.device) + 0.5) * (low_width / width) - 0.5
    rows_at_once = max(1, PIXELS_AT_ONCE // (x.shape[:-2].numel() * width))
    out = x.new_empty(*x.shape[:-2], height, width)
    for top in range(0, height, rows_at_once):
        strip = guide[:, :, top : top + rows_at_once]
        down = (torch.arange(top, top + strip.shape[-2], device=x.device) + 0.5) * (low_height / height) - 0.5
        total = torch.zeros_like(strip)
        mean = x.new_zeros(*x.shape[:-2], *strip.shape[-2:])
        for row, near_row in _near(down, low_height, radius, sigma_space):
            for column, near_column in _near(across, low_width, radius, sigma_space):
                there = reduced[..., row[:, None], column]
                weight = ((there - strip) / sigma_range).square_().mul_(-0.5).exp_()
                weight *= (near_row[:, None] * near_column).to(weight)
                total += weight
                mean.addcmul_(x[..., row[:, None], column], weight)
        # Where no pixel of the window is alike, all weights may round to nothing: then the nearest counts.
        plain = x[..., _nearest(down, low_height)[:, None], _nearest(across, low_width)]
        out[..., top : top + rows_at_once, :] = torch.where(total > 1e-30, mean / total, plain)
    return out.to(kind)


def _nearest(place: Tensor, side: int) -> Tensor:
    return place.round().long().clamp(0, side - 1)


def _near(place: Tensor, side: int, radius: int, sigma: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Each step of a window around places on a side: the pixels there, and their Gaussian, 0 outside."""
    middle = _nearest(place, side)
    for step in range(-min(radius, side - 1), min(radius, side - 1) + 1):
        pixel = middle + step
        weight = (-((pixel - place) / sigma).square() / 2).exp()
        yield pixel.clamp(0, side - 1), weight * ((pixel >= 0) & (pixel < side))
