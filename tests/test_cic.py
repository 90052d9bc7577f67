"""The classifier over color bins, its network counted layer by layer, and the sparse loss."""

import math

import pytest
import torch
from torch import nn

from colorlib.color import (
    ab_bins,
    annealed_mean,
    bin_prior,
    lab_to_rgb,
    rebalancing_weights,
    rgb_to_lab,
    smooth_prior,
    soft_encode,
)
from colorlib.models import CIC, sparse_cross_entropy

# Zhang, Isola, Efros 2016: block, outputs, kernel, stride, dilation, output size as a fraction of the input.
PAPER = [
    ("conv1", 64, 3, 1, 1, 1), ("conv1", 64, 3, 2, 1, 2),
    ("conv2", 128, 3, 1, 1, 2), ("conv2", 128, 3, 2, 1, 4),
    ("conv3", 256, 3, 1, 1, 4), ("conv3", 256, 3, 1, 1, 4), ("conv3", 256, 3, 2, 1, 8),
    ("conv4", 512, 3, 1, 1, 8), ("conv4", 512, 3, 1, 1, 8), ("conv4", 512, 3, 1, 1, 8),
    ("conv5", 512, 3, 1, 2, 8), ("conv5", 512, 3, 1, 2, 8), ("conv5", 512, 3, 1, 2, 8),
    ("conv6", 512, 3, 1, 2, 8), ("conv6", 512, 3, 1, 2, 8), ("conv6", 512, 3, 1, 2, 8),
    ("conv7", 512, 3, 1, 1, 8), ("conv7", 512, 3, 1, 1, 8), ("conv7", 512, 3, 1, 1, 8),
    ("conv8", 256, 4, 2, 1, 4), ("conv8", 256, 3, 1, 1, 4), ("conv8", 256, 3, 1, 1, 4),
    ("to_bins", 313, 1, 1, 1, 4),
]  # fmt: skip
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def run_through(model, size):
    """The layers in the order in which a forward pass meets them: name of the block, layer, output."""
    met, hooks = [], []
    for name, layer in model.named_modules():
        if isinstance(layer, LAYERS):
            block = name.split(".")[0]

            def note(layer, _, output, block=block):
                met.append((block, layer, output.shape))

            hooks.append(layer.register_forward_hook(note))
    model.eval()
    with torch.no_grad():
        model.logits(torch.full((1, 1, size, size), 50.0))
    for hook in hooks:
        hook.remove()
    return met


@pytest.mark.parametrize("width", [64, 8])
def test_the_network_is_the_paper_s_layer_for_layer(width):
    model = CIC() if width == 64 else CIC.small()
    met = run_through(model, 64)
    convolutions = [(b, x, shape) for b, x, shape in met if isinstance(x, (nn.Conv2d, nn.ConvTranspose2d))]
    inputs, got = 1, []
    for block, layer, shape in convolutions:
        assert layer.in_channels == inputs and layer.bias is not None
        assert isinstance(layer, nn.ConvTranspose2d) == (layer.kernel_size == (4, 4))
        assert shape[-1] == shape[-2]
        inputs = layer.out_channels
        got.append((block, inputs, layer.kernel_size[0], layer.stride[0], layer.dilation[0], 64 // shape[-1]))
    wanted = [(b, c if b == "to_bins" else c * width // 64, *rest) for b, c, *rest in PAPER]
    assert got == wanted
    # A ReLU follows every convolution but the last; a batch norm stands at the end of blocks 1 to 7 only.
    kinds = [(block, next(kind for kind in LAYERS if isinstance(layer, kind))) for block, layer, _ in met]
    order = []
    for place, (block, *_) in enumerate(PAPER):
        order.append((block, nn.ConvTranspose2d if PAPER[place][2] == 4 else nn.Conv2d))
        if block != "to_bins":
            order.append((block, nn.ReLU))
            if PAPER[place + 1][0] != block and block != "conv8":
                order.append((block, nn.BatchNorm2d))
    assert kinds == order


def test_the_parameters_are_counted():
    by_hand, inputs = 0, 1
    for place, (block, outputs, kernel, *_) in enumerate(PAPER):
        by_hand += outputs * inputs * kernel**2 + outputs
        last = place + 1 == len(PAPER) or PAPER[place + 1][0] != block
        by_hand += 2 * outputs if last and block not in ("conv8", "to_bins") else 0
        inputs = outputs
    count = sum(p.numel() for p in CIC().parameters())
    assert count == by_hand
    assert round(count / 1e6, 2) == 32.24
    assert 0.3e6 < sum(p.numel() for p in CIC.small().parameters()) < 1e6


def test_the_input_is_lightness_less_50():
    model, seen = CIC.small().eval(), []
    model.conv1[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lightness = noise(1, 1, 5, 16) * 100
    model.logits(lightness)
    torch.testing.assert_close(seen[0][:, :, :5], lightness - 50)
    assert seen[0].shape == (1, 1, 8, 16)
    torch.testing.assert_close(seen[0][:, :, 5:], (lightness[:, :, 4:] - 50).expand(-1, -1, 3, -1))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (8, 8), (17, 23), (64, 64)])
def test_any_size_in_that_size_and_lightness_out(size):
    torch.manual_seed(0)
    model, gray = CIC.small(), noise(2, 1, *size)
    nn.init.normal_(model.to_bins.weight)  # an untrained network is almost gray: make it bold
    rgb = model.colorize(gray, samples=2, temperature=0.1)
    assert rgb.shape == (2, 2, 3, *size)
    lab = rgb_to_lab(rgb)
    assert (lab[:, :, :1] - rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]).abs().max() < 0.1
    assert lab[:, :, 1:].abs().max() > 10
    assert torch.equal(rgb[0], rgb[1])
    cells = tuple(math.ceil(side / 4) for side in size)
    lightness = rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
    assert model.distribution(lightness).shape == (2, 313, *cells)
    indices, _ = model.targets(noise(2, 3, *size))
    assert indices.shape == (2, 5, *cells)
    assert torch.isfinite(model.loss({"rgb": noise(2, 3, *size)}))


def dense_loss(logits, ab, k=5, sigma=5.0, weights=None):
    """The definition: Gaussian weights on the k nearest of all bins, in a float64 map of 313 classes."""
    bins, ab = ab_bins(dtype=torch.float64), ab.double().movedim(1, -1)
    distance = (ab[..., None, :] - bins).norm(dim=-1)  # (B, h, w, 313)
    kept = distance.topk(k, largest=False)
    target = torch.zeros_like(distance)
    target.scatter_(-1, kept.indices, (-(kept.values**2) / (2 * sigma**2)).exp())
    target = (target / target.sum(-1, keepdim=True)).movedim(-1, 1)
    each = -(target * logits.log_softmax(1)).sum(1)
    if weights is not None:
        each = each * weights[target.argmax(1)]
    return each.mean()


@pytest.mark.parametrize("k, sigma", [(1, 5.0), (5, 5.0), (5, 12.0), (10, 5.0)])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_loss_and_its_gradient_are_those_of_the_dense_definition(k, sigma, balanced):
    torch.manual_seed(0)
    prior = torch.rand(313)
    prior = prior / prior.sum() if balanced else None
    model = CIC(prior, neighbors=k, sigma=sigma, width=4).eval()
    rgb = noise(3, 3, 16, 12)
    lab = rgb_to_lab(rgb)
    # One pixel a cell, next to its center: rows and columns 2, 6, 10 ...
    wanted_ab = lab[:, 1:, 2::4, 2::4]
    logits = model.logits(lab[:, :1]).detach() * 20  # far from the uniform distribution
    weights = rebalancing_weights(prior.double()) if balanced else None
    dense_logits = logits.double().requires_grad_()
    wanted = dense_loss(dense_logits, wanted_ab, k, sigma, weights)
    wanted.backward()

    model.logits = lambda lightness: sparse_logits
    sparse_logits = logits.requires_grad_()
    loss = model.loss({"rgb": rgb})
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    gradient = dense_logits.grad
    torch.testing.assert_close(
        sparse_logits.grad.double(), gradient, atol=1e-5 * gradient.abs().max().item(), rtol=1e-4
    )


def test_sparse_cross_entropy_in_double_precision():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 7, 3, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    indices = torch.rand(2, 7, 3, 2, generator=generator).argsort(1)[:, :3]
    weights = torch.rand(2, 3, 3, 2, dtype=torch.float64, generator=generator)  # they need not sum to 1
    expected = torch.zeros(2, 3, 2, dtype=torch.float64)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2)).tolist():
        logs = logits[b, :, y, x].log_softmax(0)
        expected[b, y, x] = -sum(weights[b, i, y, x] * logs[indices[b, i, y, x]] for i in range(3))
    torch.testing.assert_close(sparse_cross_entropy(logits, indices, weights), expected)
    assert torch.autograd.gradcheck(lambda x: sparse_cross_entropy(x, indices, weights), logits)


def test_sparse_cross_entropy_of_large_and_of_half_precision_logits():
    logits = torch.tensor([1e4, 0.0, -1e4]).reshape(1, 3, 1, 1).requires_grad_()
    indices, weights = (
        torch.tensor([0, 2]).reshape(1, 2, 1, 1),
        torch.tensor([0.25, 0.75]).reshape(1, 2, 1, 1),
    )
    loss = sparse_cross_entropy(logits, indices, weights)
    assert loss.item() == pytest.approx(0.75 * 2e4)
    loss.sum().backward()
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([0.75, 0.0, -0.75]))

    half = torch.linspace(-3, 3, 313).reshape(1, 313, 1, 1).bfloat16().requires_grad_()
    loss = sparse_cross_entropy(half, indices, weights)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, sparse_cross_entropy(half.detach().float(), indices, weights))
    loss.sum().backward()
    assert half.grad.dtype == torch.bfloat16


def test_bad_shapes_are_named():
    logits, indices = torch.zeros(1, 313, 2, 2), torch.zeros(1, 5, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"weights .*\(1, 5, 2, 2\); got \(1, 4, 2, 2\)"):
        sparse_cross_entropy(logits, indices, torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match=r"indices .*\(1, k, 2, 1\); got \(1, 5, 2, 2\)"):
        sparse_cross_entropy(logits[..., :1], indices, torch.zeros(1, 5, 2, 2))


def test_no_tensor_of_the_logits_size_is_kept_between_the_passes():
    logits = torch.randn(2, 313, 4, 4, requires_grad=True)
    indices, weights = soft_encode(torch.zeros(2, 2, 4, 4))
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        sparse_cross_entropy(logits, indices, weights).mean()
    maps = [tensor for tensor in kept if tensor.numel() >= logits.numel()]
    assert len(maps) == 1 and maps[0].data_ptr() == logits.data_ptr()


def test_the_weight_of_a_pixel_is_that_of_its_nearest_bin():
    prior = torch.rand(313, generator=torch.Generator().manual_seed(0))
    prior /= prior.sum()
    for k in (1, 5):
        model = CIC(width=4, neighbors=k)
        assert torch.equal(model.weights, torch.ones(313))
        model.set_prior(prior, mix=0.3)
        torch.testing.assert_close(model.weights, rebalancing_weights(prior, 0.3))
        model.eval().logits = lambda lightness: torch.zeros(1, 313, 1, 1)
        for ab in ([14.0, -23.0], [-31.0, 38.0], [3.0, 4.0]):
            lab = torch.tensor([60.0, *ab]).reshape(1, 3, 1, 1)
            nearest = (ab_bins() - lab[0, 1:, 0, 0]).norm(dim=1).argmin()
            # Equal logits: the cross entropy is log 313, whatever the target.
            loss = model.loss({"rgb": lab_to_rgb(lab)})
            assert loss.item() == pytest.approx(math.log(313) * model.weights[nearest].item(), rel=1e-4)
        model.set_prior(None)
        assert torch.equal(model.weights, torch.ones(313))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: CIC(width=0), ValueError, "width must be at least 1; got 0"),
        (lambda: CIC(width=2.0), TypeError, "width must be a whole number; got 2.0"),
        (lambda: CIC(neighbors=314), ValueError, "from 1 to 313; got 314"),
        (lambda: CIC(neighbors=True), TypeError, "True"),
        (lambda: CIC(sigma=0.0), ValueError, r"sigma must be in \(0, inf\]; got 0.0"),
        (lambda: CIC.small(torch.full((10,), 0.1)), ValueError, r"\(313,\); got \(10,\)"),
        (lambda: CIC.small(torch.ones(313)), ValueError, "sum to 1"),
        (lambda: CIC.small(torch.full((313,), 1 / 313), mix=2), ValueError, "mix"),
        (lambda: CIC.small().colorize(noise(1, 1, 8, 8), temperature=-1.0), ValueError, "temperature"),
    ],
)
def test_bad_parameters_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_state_comes_back_with_the_weights_of_the_colors():
    torch.manual_seed(0)
    prior = smooth_prior(bin_prior(rgb_to_lab(noise(1, 3, 32, 32))[:, 1:]))
    model, other, gray = CIC(prior, width=4), CIC(width=4), noise(1, 1, 9, 9)
    model.loss({"rgb": noise(2, 3, 16, 16)})  # moves the statistics of the batch norms
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.weights, rebalancing_weights(prior))
    assert torch.equal(other.colorize(gray), model.colorize(gray))


def test_the_color_is_the_annealed_mean_of_the_cells_enlarged():
    torch.manual_seed(0)
    model, lightness = CIC(width=4).eval(), noise(1, 1, 24, 24) * 100
    nn.init.normal_(model.to_bins.weight)
    with torch.no_grad():
        ab = model.chroma(lightness, 1, None, temperature=0.5)[0]
        cells = annealed_mean(model.logits(lightness), 0.5)
    # Pixels 1 and 2 of a cell lie 1/8 of a cell from its center, so 4 bilinear terms stand there.
    row, column = 2, 3
    near = cells[0, :, row : row + 2, column : column + 2]
    blend = torch.tensor([7 / 8, 1 / 8])
    wanted = torch.einsum("cyx,y,x->c", near, blend, blend)
    torch.testing.assert_close(ab[0, :, 4 * row + 2, 4 * column + 2], wanted, atol=1e-3, rtol=1e-4)


def test_distribution_leaves_the_model_as_it_was():
    model = CIC(width=4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    probabilities = model.distribution(noise(1, 1, 8, 8) * 100)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, 2, 2))
    assert model.training and not probabilities.requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def train(model, batch, steps, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def two_colors():
    """Pictures of which each comes in two colors, equally often: RGB (16, 3, 16, 16) and both ab."""
    lightness = (35 + 30 * noise(8, 1, 16, 16, seed=1)).repeat(2, 1, 1, 1)
    colors = torch.tensor([[30.0, 20.0], [-20.0, 20.0]])
    ab = colors.repeat_interleave(8, 0)[:, :, None, None].expand(-1, -1, 16, 16)
    rgb = lab_to_rgb(torch.cat([lightness, ab], 1))
    torch.testing.assert_close(rgb_to_lab(rgb)[:, 1:], ab, atol=0.05, rtol=0)  # all inside the gamut
    return rgb, lightness, colors


@pytest.mark.slow
def test_it_learns_both_of_two_equally_likely_colors():
    torch.manual_seed(0)
    rgb, lightness, colors = two_colors()
    model = CIC.small()
    losses = train(model, {"rgb": rgb}, 60, 1e-2)
    # The least loss is the entropy of the target: that of a soft code at a bin's center, and of a fair coin.
    _, weights = soft_encode(colors)
    least = torch.special.entr(weights).sum(1).mean().item() + math.log(2)
    assert least - 1e-3 <= losses[-1] < least + 0.05
    probabilities = model.distribution(lightness)
    for color in colors:
        around = (ab_bins() - color).norm(dim=1) < 15
        assert (probabilities[:, around].sum(1) - 0.5).abs().max() < 0.1
    model.eval()
    with torch.no_grad():
        mean = model.chroma(lightness, 1, None, temperature=1.0)
        cells = annealed_mean(model.logits(lightness), 0.0).movedim(1, -1).reshape(-1, 2)
    assert (mean.movedim(2, -1) - colors.mean(0)).norm(dim=-1).mean() < 4
    assert all(any(torch.equal(cell, color) for color in colors) for cell in cells)


@pytest.mark.slow
def test_it_overfits_one_batch():
    torch.manual_seed(0)
    colors = torch.tensor([[40.0, 30.0], [-30.0, 30.0], [10.0, -40.0], [0.0, 0.0]])
    lightness = 40 + 20 * noise(4, 1, 16, 16)
    ab = colors[:, :, None, None].expand(-1, -1, 16, 16)
    model = CIC.small()
    losses = train(model, {"rgb": lab_to_rgb(torch.cat([lightness, ab], 1))}, 150, 1e-3)
    _, weights = soft_encode(colors)
    least = torch.special.entr(weights).sum(1).mean().item()
    assert losses[0] > 5 and losses[-1] < least + 0.05


def test_rebalancing_after_training_is_the_power_of_the_weights():
    # Where a network has learned p w exactly, the knob gives back p, and any other p w^r.
    prior = torch.rand(313, generator=torch.Generator().manual_seed(0), dtype=torch.float64).float()
    prior = prior / prior.sum()
    torch.manual_seed(0)
    model = CIC(prior, mix=0.5, width=4).eval()
    honest = torch.randn(313, generator=torch.Generator().manual_seed(1)).softmax(0)
    with torch.no_grad():
        model.to_bins.weight.zero_()
        model.to_bins.bias.copy_((honest * model.weights).log())
    lightness = torch.rand(1, 1, 8, 8) * 100
    for power in (0.0, 0.5, 1.0, 2.0):
        wanted = honest * model.weights**power
        given = model.distribution(lightness, rebalance=power)[0, :, 0, 0]
        assert torch.allclose(given, wanted / wanted.sum(), atol=1e-6)
    ab = model.chroma(lightness, 1, None, temperature=1.0, rebalance=0.0)[0, 0, :, 0, 0]
    assert torch.allclose(ab, honest @ ab_bins(), atol=1e-3)
    model.rebalance = 0.0
    assert torch.allclose(model.distribution(lightness)[0, :, 0, 0], honest, atol=1e-6)
    plain = CIC(width=4).eval()
    assert torch.equal(plain.distribution(lightness, 3.0), plain.distribution(lightness))
    for bad, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(error, match="rebalance must be"):
            plain.distribution(lightness, bad)
        with pytest.raises(error, match="rebalance must be"):
            CIC(width=4, rebalance=bad)
