"""The PixelCNN sees the past, all of it within its reach, and nothing else; in training and in sampling."""

import math

import pytest
import torch
from torch import nn

from colorlib.models import PixColorSettings, PixelCNN
from colorlib.sampling import cached_logits, sample

HEIGHT, WIDTH = 7, 9
PLACES = HEIGHT * WIDTH


def build(blocks, kernel=3, first_kernel=3, seed=0, attention_heads=0, num_frequencies=0, head_channels=0):
    """A small network with weights so large that gates and ReLUs are far from linear."""
    torch.manual_seed(seed)
    more = {"attention_heads": attention_heads, "num_frequencies": num_frequencies}
    sizes = {"width": 8, "blocks": blocks, "kernel": kernel, "first_kernel": first_kernel}
    more |= {"hidden_channels": 24, "levels": 3, "head_channels": head_channels}
    model = PixelCNN(PixColorSettings(**sizes, **more), condition_channels=2).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=1.2 / math.sqrt(parameter[0].numel()))
    return model


def small(**settings):
    sizes = {"width": 8, "blocks": 1, "kernel": 3, "first_kernel": 3, "hidden_channels": 24}
    return PixColorSettings(**sizes, **settings)


def inputs(count=16, seed=1):
    """So many pictures that no ReLU is shut for all of them."""
    generator = torch.Generator().manual_seed(seed)
    chroma = torch.rand(count, 2, HEIGHT, WIDTH, generator=generator, dtype=torch.float64) * 2 - 1
    return chroma, torch.randn(count, 2, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def jacobian(function, chroma):
    """Derivatives of outputs (B, C, h, w), of each picture by its own input: (B, C, h * w, 2, h * w)."""
    chroma = chroma.requires_grad_()
    outputs = function(chroma)
    count = outputs[0].numel()
    ones = torch.eye(count, dtype=outputs.dtype).view(count, 1, *outputs.shape[1:])
    (rows,) = torch.autograd.grad(
        outputs, chroma, ones.expand(-1, len(chroma), -1, -1, -1), is_grads_batched=True
    )
    rows = rows.view(outputs.shape[1], PLACES, len(chroma), 2, PLACES)
    return rows.permute(2, 0, 1, 3, 4)


def by_group(rows):
    """Which of (Cr, Cb) at which place depends on what: (2, h * w, 2, h * w), over pictures and channels."""
    return (rows.unflatten(1, (2, -1)) != 0).any(2).any(0)


def past(reach, own_row=True):
    """What (Cr, Cb) at each place should depend on: all that comes before it in a square of this reach."""
    wanted = torch.zeros(2, HEIGHT, WIDTH, 2, HEIGHT, WIDTH, dtype=torch.bool)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            left, right = max(0, x - reach), min(WIDTH, x + reach + 1)
            wanted[:, y, x, :, max(0, y - reach) : y, left:right] = True
            if own_row:
                wanted[:, y, x, :, y, left:x] = True
                wanted[1, y, x, 0, y, x] = True  # Cb sees the Cr of its own pixel
    return wanted.view(2, PLACES, 2, PLACES)


def stacks(model, condition, depth):
    """Functions of the chroma: the vertical and the horizontal stack after so many blocks."""

    def run(chroma):
        vertical, horizontal = model.first(chroma)
        for block in model.blocks[:depth]:
            vertical, horizontal = block(vertical, horizontal, condition)
        return vertical, horizontal

    return lambda chroma: run(chroma)[0], lambda chroma: run(chroma)[1]


def scores(model, condition):
    return lambda chroma: model(chroma, condition).flatten(1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kernel, first_kernel, depths", [(3, 3, 4), (5, 3, 3), (3, 7, 3), (1, 5, 2)])
def test_each_layer_sees_exactly_the_past_within_its_reach(kernel, first_kernel, depths):
    model, (chroma, condition) = build(depths - 1, kernel, first_kernel), inputs()
    for depth in range(depths):
        reach = first_kernel // 2 + depth * (kernel // 2)
        vertical, horizontal = stacks(model, condition, depth)
        assert torch.equal(by_group(jacobian(horizontal, chroma)), past(reach)), f"after {depth} blocks"
        # The vertical stack has no order of channels, and nothing of its own row.
        assert torch.equal(by_group(jacobian(vertical, chroma)), past(reach, own_row=False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "depth, attention_heads, num_frequencies, head_channels",
    [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (2, 0, 0, 0),
        (3, 0, 0, 0),
        (1, 2, 0, 0),
        (2, 1, 0, 0),
        (0, 0, 1, 0),
        (1, 2, 1, 0),
        (0, 0, 0, 6),
        (1, 2, 1, 6),
    ],
)
def test_the_scores_see_exactly_the_past_and_sampling_computes_the_same_derivatives(
    depth, attention_heads, num_frequencies, head_channels
):
    more = {"attention_heads": attention_heads, "num_frequencies": num_frequencies}
    model, (chroma, condition) = build(depth, head_channels=head_channels, **more), inputs()
    rows = jacobian(scores(model, condition), chroma)
    # Attention sees the whole past, however far.
    wanted = past(max(HEIGHT, WIDTH) if attention_heads else 1 + depth)
    assert torch.equal(by_group(rows), wanted)

    # The sampler's tensors are overwritten as it goes, so its derivatives are taken by differences: one
    # batch has every input of the first picture moved up, and every one moved down.
    step = 1e-5
    moves = torch.eye(2 * PLACES, dtype=torch.float64).view(-1, 2, HEIGHT, WIDTH) * step
    moved = torch.cat([chroma[:1] + moves, chroma[:1] - moves]).detach()
    got = cached_logits(model, condition[:1].expand(len(moved), -1, -1, -1).contiguous(), moved).flatten(1, 2)
    up, down = got.view(2, 2 * PLACES, 6, PLACES)
    differences = ((up - down) / (2 * step)).view(2, PLACES, 6, PLACES).permute(2, 3, 0, 1)
    torch.testing.assert_close(differences, rows[0], atol=1e-7, rtol=1e-6)
    # What the sampler must not see moves its scores by rounding at most: it never reads it.
    seen = wanted.repeat_interleave(3, 0)
    assert differences[~seen].abs().max() < 1e-9


def test_at_the_paper_s_size_the_field_reaches_23_pixels():
    model = PixelCNN().double().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(1, 64, 28, 49, generator=generator, dtype=torch.float64)
    chroma = torch.rand(1, 2, 28, 49, generator=generator, dtype=torch.float64).requires_grad_()
    out = model(chroma, condition)[0, 1, :, 25, 24]
    weights = torch.randn(32, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(out @ weights, chroma)
    wanted = torch.zeros(2, 28, 49, dtype=torch.bool)
    wanted[:, 2:25, 1:48] = True
    wanted[:, 25, 1:24] = True
    wanted[0, 25, 24] = True
    assert torch.equal(gradient[0] != 0, wanted)


def broken_masks():
    """Ways to break one mask: its name, and what to do to it, in a list."""

    def open_up(mask):
        mask.fill_(1)

    def shut(mask):  # without groups, and nothing of the pixel itself is seen: Cb misses its Cr
        mask[..., -1] = 0

    names = ["first.horizontal", "blocks.1.horizontal", "blocks.1.out", "hidden", "to_levels"]
    return [*((name, open_up) for name in names), ("first.horizontal", shut)]


@pytest.mark.slow
@pytest.mark.parametrize("name, change", broken_masks(), ids=lambda value: getattr(value, "__name__", value))
def test_one_broken_mask_is_noticed(name, change):
    model, (chroma, condition) = build(2), inputs()
    assert torch.equal(by_group(jacobian(scores(model, condition), chroma)), past(3))
    change(model.get_submodule(name).mask)
    assert not torch.equal(by_group(jacobian(scores(model, condition), chroma)), past(3))


@pytest.mark.slow
@pytest.mark.parametrize("sees_row", [True, False])
def test_a_vertical_kernel_in_the_wrong_place_is_noticed(sees_row):
    model, (chroma, condition) = build(2), inputs()
    layer = model.blocks[0].vertical if sees_row else model.first.vertical
    # Padding one row less at the top moves the output one row up: each row sees one row too far.
    layer.forward = lambda x: nn.functional.conv2d(
        nn.functional.pad(
            x[:, :, : HEIGHT - (not sees_row)],
            (layer.reach, layer.reach, layer.reach - 1, 1),
        ),
        layer.weight,
        layer.bias,
    )
    assert not torch.equal(by_group(jacobian(scores(model, condition), chroma)), past(3))


def test_a_gated_block_is_its_formula():
    model, (_, condition) = build(1, 3), inputs(1)
    block = model.blocks[0]
    v, h = torch.randn(2, 1, 8, HEIGHT, WIDTH, dtype=torch.float64)
    got = block(v, h, condition)
    y, x = 3, 4
    mask = torch.ones(16, 8, dtype=torch.float64)
    mask[:4, 4:] = 0  # Cr's half of the tanh, and of the sigmoid, sees no channel of Cb
    mask[8:12, 4:] = 0

    def at(row, column):
        total = block.vertical.bias.clone()
        for dy, dx in [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1)]:
            total += block.vertical.weight[:, :, dy + 1, dx + 1] @ v[0, :, row + dy, column + dx]
        return total + block.condition_to_vertical.weight[:, :, 0, 0] @ condition[0, :, row, column]

    above = at(y, x)
    row = block.horizontal.bias + block.vertical_to_horizontal.weight[:, :, 0, 0] @ above
    row = row + block.condition_to_horizontal.weight[:, :, 0, 0] @ condition[0, :, y, x]
    row = row + block.horizontal.weight[:, :, 0, 0] @ h[0, :, y, x - 1]
    row = row + (block.horizontal.weight[:, :, 0, 1] * mask) @ h[0, :, y, x]
    out = (block.out.weight[:, :, 0, 0] * mask[:8]) @ (row[:8].tanh() * row[8:].sigmoid())
    torch.testing.assert_close(got[0][0, :, y, x], above[:8].tanh() * above[8:].sigmoid())
    torch.testing.assert_close(got[1][0, :, y, x], h[0, :, y, x] + out)


@pytest.mark.parametrize("settings", [{}, {"width": 32, "blocks": 4, "kernel": 3}])
def test_with_variance_preserving_weights_chroma_reaches_the_last_block(settings):
    generator = torch.Generator().manual_seed(1)
    chroma = (0.2 * torch.randn(2, 2, 28, 28, generator=generator)).clamp(-1, 1)
    condition = torch.randn(1, settings.get("width", 64), 28, 28, generator=generator)
    arrived = {}
    for init in ("variance-preserving", "torch"):
        torch.manual_seed(0)
        model = PixelCNN(PixColorSettings(**settings, init=init), settings.get("width", 64)).requires_grad_(
            False
        )
        sums = []
        for block in model.blocks:
            block.vertical_to_horizontal.register_forward_hook(lambda layer, x, out, to=sums: to.append(x[0]))
        model(chroma, condition.expand(2, -1, -1, -1))
        assert len(sums) == len(model.blocks)
        # The zeros beyond the border make sums smaller, so it is left out.
        sums = torch.stack(sums)[..., 8:, 8:-8]
        if init == "variance-preserving":
            sizes = sums.square().mean((1, 2, 3, 4)).sqrt()
            assert sizes.min() > 0.7 and sizes.max() < 1.4
        arrived[init] = (sums[-1, 0] - sums[-1, 1]).square().mean().sqrt().item()
    # What another chroma changes in the last block: a fifth or so is lost in each, or with torch's weights
    # some three quarters.
    assert arrived["variance-preserving"] > 0.75 ** len(sums)
    assert arrived["torch"] < 0.3 ** len(sums)


def test_attention_recalls_a_weighted_mean_of_the_past():
    """Against the formula, pixel by pixel and head by head."""
    model, (chroma, condition) = build(0, attention_heads=2), inputs(count=2)
    recall = model.recall
    got = recall(chroma, condition)
    query, key, value, out = (
        layer.weight[:, :, 0, 0] for layer in (recall.query, recall.key, recall.value, recall.out)
    )
    for picture, y, x in ((0, 0, 0), (0, 0, 3), (1, 4, 0), (1, 6, 8)):
        recalled = []
        for head, slope in enumerate((2.0**-4, 2.0**-8)):
            own = slice(4 * head, 4 * head + 4)
            weights, values = [1.0], [torch.zeros(4, dtype=torch.float64)]  # the empty pixel
            for place in range(y * WIDTH + x):
                row, column = divmod(place, WIDTH)
                score = (query @ condition[picture, :, y, x])[own] @ (
                    key @ condition[picture, :, row, column]
                )[own]
                score = score / 2 - slope * math.hypot(y - row, x - column)
                sums = torch.cat([chroma[picture, :, row, column], condition[picture, :, row, column]])
                sums = value @ sums + recall.value.bias
                weights.append(score.exp().item())
                values.append((torch.tanh(sums[:8]) * torch.sigmoid(sums[8:]))[own])
            weights = torch.tensor(weights, dtype=torch.float64)
            recalled.append((weights / weights.sum()) @ torch.stack(values))
        torch.testing.assert_close(got[picture, :, y, x], out @ torch.cat(recalled))


def test_with_a_marginal_each_value_is_a_mixture_of_it_and_of_what_the_past_suggests():
    model, (chroma, condition) = build(1, head_channels=6), inputs(count=4)
    levels = model.quantize(chroma)
    with torch.no_grad():
        gate, p = model.gate(chroma, condition)[:, :, None], model(chroma, condition).exp()
        torch.testing.assert_close(p.sum(2), torch.ones_like(p[:, :, 0]))
        alone = model.marginal(chroma[:, 0], condition).softmax(2)
        plain = PixelCNN(small(levels=3), condition_channels=2).double()
        plain.load_state_dict(
            {
                name: x
                for name, x in model.state_dict().items()
                if name.split(".")[0] not in ("marginal", "to_gate")
            }
        )
        rest = plain(chroma, condition).softmax(2)
        assert gate.min() < 0.2 and gate.max() > 0.8 and (alone - rest).abs().max() > 0.5
        torch.testing.assert_close(p, gate * alone + (1 - gate) * rest)
        # Nats are those of the mixture, and of the marginal.
        losses = model.losses(levels, condition)
        assert set(losses) == {"nats", "marginal"}
        values = model.values(levels).to(condition)
        by_itself = model.marginal(values[:, 0], condition)
        for name, scores_ in (("nats", model(values, condition)), ("marginal", by_itself)):
            wanted = -scores_.log_softmax(2).gather(2, levels[:, :, None])[:, :, 0]
            torch.testing.assert_close(losses[name].double(), wanted)
        torch.testing.assert_close(model.nats(levels, condition), losses["nats"])
        # The gate is told where to be open.
        begins = chroma[:, 0] > 0.5
        losses, gate = model.losses(levels, condition, begins=begins), model.gate(values, condition)
        wanted = -torch.where(begins[:, None], gate, 1 - gate).log()
        torch.testing.assert_close(losses["gate"].double(), wanted)
        assert set(plain.losses(levels, condition, begins=begins)) == {"nats"}
    with pytest.raises(ValueError, match="this PixelCNN has no marginal head"):
        plain.gate(chroma, condition)
    with pytest.raises(TypeError, match="begins must be bool, got torch.float64"):
        model.losses(levels, condition, begins=begins.double())
    with pytest.raises(ValueError, match=r"begins must be \(4, 7, 9\), got \(4, 1, 7, 9\)"):
        model.losses(levels, condition, begins=begins[:, None])


def test_the_mixture_teaches_the_gate_and_not_the_marginal_which_teaches_the_condition():
    model, (chroma, condition) = build(1, head_channels=6), inputs(count=4)
    levels, condition = model.quantize(chroma), condition.requires_grad_()
    model.nats(levels, condition).mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("marginal"), name
    model.zero_grad()
    condition.grad = None
    model.losses(levels, condition)["marginal"].mean().backward()
    taught = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert taught == {name for name, _ in model.named_parameters() if name.startswith("marginal")}
    assert condition.grad.abs().sum() > 0
    # The gate, too, teaches all that it is made of.
    model.zero_grad()
    model.losses(levels, condition, begins=chroma[:, 0] > 0)["gate"].mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(("marginal", "to_levels")), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_marginal_and_the_mixture_are_precise_where_the_rest_is_not(dtype):
    model, (chroma, condition) = build(1, head_channels=6).float(), inputs(count=4)
    levels, condition = model.quantize(chroma), condition.float()
    with torch.no_grad():
        exact = model.losses(levels, condition)["marginal"]
        with torch.autocast("cpu", dtype):
            torch.testing.assert_close(model.losses(levels, condition)["marginal"], exact)
            assert model(chroma.float(), condition).dtype == torch.float32
            rounded = condition.to(dtype)  # as a condition network gives it
            loss = model.losses(levels, rounded)["marginal"]
        torch.testing.assert_close(loss, model.losses(levels, rounded.float())["marginal"])
        waves = model.marginal.cosines(model.values(torch.arange(3)))
        assert model.marginal.cosines(model.values(torch.arange(3)).to(dtype)).dtype == dtype
        torch.testing.assert_close(
            model.marginal.cosines(model.values(torch.arange(3)).to(dtype)).float(), waves, atol=0.01, rtol=0
        )


def test_the_marginal_sees_the_condition_and_for_cb_the_cr_of_its_own_cell_alone():
    model, (chroma, condition) = build(1, head_channels=6), inputs()
    seen = by_group(jacobian(lambda x: model.marginal(x[:, 0], condition).flatten(1, 2), chroma))
    wanted = torch.zeros(2, PLACES, 2, PLACES, dtype=torch.bool)
    wanted[1, :, 0] = torch.eye(PLACES) > 0
    assert torch.equal(seen, wanted)
    of_condition = by_group(
        jacobian(lambda x: model.marginal(chroma.detach()[:, 0], x).flatten(1, 2), condition)
    )
    assert torch.equal(of_condition, (torch.eye(PLACES) > 0)[:, None].expand(2, -1, 2, -1))


@pytest.mark.parametrize("levels", [2, 3, 32])
def test_the_waves_of_cr_tell_each_level_from_all_others(levels):
    # Those of an orthogonal cosine transform.
    model = PixelCNN(small(levels=levels, head_channels=6), condition_channels=2)
    waves = model.marginal.cosines(model.values(torch.arange(levels)).double())
    torch.testing.assert_close(waves[:, :1], torch.ones(levels, 1, dtype=torch.float64))
    squares = torch.full((levels,), levels / 2, dtype=torch.float64)
    squares[0] = levels
    torch.testing.assert_close(waves.T @ waves, torch.diag(squares), atol=1e-9, rtol=0)


@pytest.mark.slow
def test_attention_to_the_pixel_itself_is_noticed(monkeypatch):
    model, (chroma, condition) = build(1, attention_heads=2), inputs()
    whole = past(max(HEIGHT, WIDTH))
    assert torch.equal(by_group(jacobian(scores(model, condition), chroma)), whole)
    tril = torch.Tensor.tril
    monkeypatch.setattr(torch.Tensor, "tril", lambda x, diagonal=0: tril(x, diagonal + 1))
    assert not torch.equal(by_group(jacobian(scores(model, condition), chroma)), whole)


def test_levels_and_values():
    model = build(0)
    assert model.values(torch.arange(3)).tolist() == [-1, 0, 1]
    paper = PixelCNN(PixColorSettings(blocks=0))
    levels = torch.arange(32)
    assert torch.equal(paper.quantize(paper.values(levels)), levels)
    assert paper.values(torch.tensor(16)) == 0 and paper.values(torch.tensor(0)) == -1
    chroma = torch.linspace(-1, 1, 1001)
    error = (paper.values(paper.quantize(chroma)) - chroma).abs()
    assert error[chroma <= 31 / 32].max() <= 1 / 32 + 1e-6 and error.max() <= 1 / 16


def test_nats_are_those_of_the_scores():
    model, (_, condition) = build(2), inputs(3)
    levels = torch.randint(3, (3, 2, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))
    logits = model(model.values(levels).double(), condition)
    wanted = nn.functional.cross_entropy(logits.movedim(2, 1), levels, reduction="none")
    torch.testing.assert_close(model.nats(levels, condition), wanted)


def test_what_are_no_levels_is_named():
    model, (_, condition) = build(1), inputs(1)
    levels = torch.zeros(1, 2, HEIGHT, WIDTH, dtype=torch.int64)
    for wrong in (-1, 3):
        levels[0, 1, 2, 0] = wrong
        with pytest.raises(ValueError, match="from 0 to 2, got "):
            model.nats(levels, condition)
    with pytest.raises(TypeError, match="must be int64, got torch.float64"):
        model.nats(levels.double(), condition)


def test_of_two_colors_it_draws_one_for_the_whole_map():
    torch.manual_seed(0)
    model = PixelCNN(
        PixColorSettings(width=16, blocks=2, kernel=3, hidden_channels=32, levels=8), condition_channels=1
    )
    colors = torch.tensor([[6, 1], [2, 5]])
    levels = colors[:, :, None, None].expand(-1, -1, 4, 4)
    condition = torch.zeros(2, 1, 4, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nats = model.nats(levels, condition).sum((1, 2, 3)).mean()
        nats.backward()
        optimizer.step()
    # There is one choice of two, log 2 = 0.69 nats for the 32 values together, and nothing else to know.
    assert math.log(2) - 1e-6 <= nats < math.log(2) + 0.1
    drawn = sample(model, condition[:1], 400, torch.Generator().manual_seed(0))[:, 0]
    first, second = ((drawn == color).all(3).all(2).all(1) for color in levels)
    # One or the other, each half of the time, and never the mean of both.
    assert (first | second).float().mean() > 0.9
    assert abs(first.float().mean() - 0.5) < 5 * 0.5 / math.sqrt(400) + 0.1


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"width": 7}, ValueError, "width must be even.*got 7"),
        ({"hidden_channels": 3}, ValueError, "hidden_channels must be even.*got 3"),
        ({"kernel": 4}, ValueError, "kernel must be odd, got 4"),
        ({"first_kernel": 1}, ValueError, "first_kernel must be at least 3; got 1"),
        ({"levels": 1}, ValueError, "levels must be at least 2; got 1"),
        ({"blocks": -1}, ValueError, "blocks must be at least 0; got -1"),
        ({"blocks": 1.0}, TypeError, "blocks must be a whole number; got 1.0"),
        ({"init": "large"}, ValueError, "must be one of variance-preserving, torch; got 'large'"),
        ({"attention_heads": -1}, ValueError, "attention_heads must be at least 0; got -1"),
        ({"attention_heads": 7}, ValueError, "attention_heads must divide the width, 64; got 7"),
    ],
)
def test_bad_parameters_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        PixelCNN(PixColorSettings(**settings))
