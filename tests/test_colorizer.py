"""What all colorizers have in common: large pictures, and the size at which a model sees them."""

import copy
from typing import Annotated

import pytest
import torch

from colorlib import zoo
from colorlib.color import rgb_to_gray, rgb_to_lab
from colorlib.data import World
from colorlib.models import CIC, MODELS, ColorGAN, Colorizer, MaskedGAN, PatchMLP, ResNetRegressor, base
from colorlib.models.blocks import Norm
from colorlib.training import Recipe, fit, history


class Ramp(Colorizer):
    """Chroma that grows from left to right; it notes the sizes that it was shown."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def chroma(self, lightness, samples, generator):
        self.seen.append(tuple(lightness.shape[-2:]))
        ramp = torch.linspace(-15, 15, lightness.shape[-1]).expand(
            *lightness.shape[:1], 2, *lightness.shape[-2:]
        )
        return ramp.expand(samples, -1, -1, -1, -1)


@pytest.mark.parametrize(
    "size, side, seen",
    [
        ((60, 90), 20, (20, 30)),
        ((90, 60), 20, (30, 20)),
        ((20, 300), 20, (20, 300)),  # its shorter side is not longer than that
        ((10, 10), 20, (10, 10)),
        ((1, 1), 1, (1, 1)),
        ((7, 500), 3, (3, 214)),
        ((60, 90), None, (60, 90)),
    ],
)
def test_a_model_sees_large_pictures_reduced(size, side, seen):
    gray = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    model = Ramp()
    model.image_size = side
    rgb = model.colorize(gray, samples=2)
    assert model.seen == [seen]
    assert rgb.shape == (2, 2, 3, *size)
    assert torch.allclose(rgb_to_gray(rgb), gray.expand(2, -1, -1, -1, -1), atol=1e-3)  # no detail is lost
    ab = rgb_to_lab(rgb)[:, :, 1:]
    wanted = torch.linspace(-15, 15, size[1])
    # The ramp comes out a ramp again: enlarging puts it where it was, to within a pixel of the small one.
    step = 30 / max(1, seen[1] - 1)
    if size[1] > 1:
        assert (ab - wanted).abs().max() <= step / 2 + 0.1


def test_the_knob_image_size_is_stronger_than_the_models_own():
    model = Ramp()
    model.image_size = 16
    gray = torch.rand(1, 1, 64, 64)
    model.colorize(gray, image_size=32)
    model.colorize(gray)
    assert model.seen == [(32, 32), (16, 16)]
    for bad, error in [
        (0, ValueError),
        (-3, ValueError),
        (2.5, TypeError),
        (True, TypeError),
        ("8", TypeError),
    ]:
        with pytest.raises(error, match="image_size must be"):
            model.colorize(gray, image_size=bad)


@pytest.mark.parametrize("pixels", [1, 64, 100, 10**6])
def test_strips_do_not_show(pixels, monkeypatch):
    gray = torch.rand(2, 1, 23, 17, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = CIC(width=4)
    whole = model.colorize(gray, samples=2)
    monkeypatch.setattr(base, "PIXELS_AT_ONCE", pixels)
    assert torch.equal(model.colorize(gray, samples=2), whole)


@pytest.mark.parametrize("guided", [False, True])
def test_strips_are_the_rows_of_the_whole(guided, monkeypatch):
    gray = torch.rand(2, 1, 50, 17, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = CIC(width=4)
    whole = model.colorize(gray, samples=2, image_size=8, guided=guided)
    monkeypatch.setattr(base, "PIXELS_AT_ONCE", 2 * 2 * 17 * 3)
    strips = list(model.strips(gray, samples=2, image_size=8, guided=guided))
    assert [strip.shape for strip in strips] == 16 * [(2, 2, 3, 3, 17)] + [(2, 2, 3, 2, 17)]
    assert torch.equal(torch.cat(strips, -2), whole)


def test_gray_in_half_precision_is_enough_for_8_bits():
    gray = torch.arange(256.0).view(1, 1, 16, 16) / 255
    model = Ramp()
    whole, half = model.colorize(gray), model.colorize(gray.half())
    assert half.dtype == torch.float32
    assert torch.equal((gray.half().float() * 255).round(), gray * 255)
    assert (whole - half).abs().max() < 1 / 255 / 4


def test_the_model_runs_when_strips_are_asked_for_and_leaves_no_trace():
    model = Ramp().train()
    gray = torch.rand(1, 1, 8, 8)
    with pytest.raises(TypeError, match="no knob 'nonsense'"):
        model.strips(gray, nonsense=1)  # and not at the first strip
    strips = model.strips(gray)
    assert model.seen == [(8, 8)]
    strip = next(strips)
    assert torch.is_grad_enabled() and model.training and not strip.requires_grad
    with pytest.raises(StopIteration):
        next(strips)


def test_a_mask_is_checked_for_strips_too():
    model, gray = MaskedGAN(width=2, layers=3), torch.rand(2, 1, 8, 8)
    mask = torch.zeros(1, 1, 8, 8)
    assert torch.equal(next(model.strips(gray, mask=mask)), model.colorize(gray, mask=mask))
    with pytest.raises(ValueError, match="mask must be of the pictures' size"):
        model.strips(gray, mask=mask[..., :4])


def test_with_a_side_colors_hardly_change_with_the_size_of_the_file():
    # A smooth picture, at 64 pixels and at 256: what a model makes of it should be the same picture.
    small = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    torch.manual_seed(0)
    model = ResNetRegressor.small().eval()
    model.image_size = 64
    colored = []
    for side in (64, 256):
        gray = torch.nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 1)
        rgb = model.colorize(gray)[0]
        colored.append(torch.nn.functional.interpolate(rgb, (64, 64), mode="area"))
    assert (colored[0] - colored[1]).abs().mean() < 0.01


def test_a_seed_that_no_generator_takes_is_named():
    model, gray = ResNetRegressor.small().eval(), torch.rand(1, 1, 8, 8)
    for seed in (1.5, True, "1"):
        with pytest.raises(TypeError, match=f"seed must be a whole number; got {seed!r}"):
            model.colorize(gray, seed=seed)
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match=f"seed must be from .*got {seed}"):
            model.colorize(gray, seed=seed)
    for seed in (2**64 - 1, -(2**63)):
        assert torch.equal(model.colorize(gray, seed=seed), model.colorize(gray, seed=0))


@pytest.mark.parametrize("side", [1, 8, 32])
@pytest.mark.parametrize(
    "build",
    [
        lambda: CIC(width=2),
        lambda: ResNetRegressor(width=2),
        lambda: ColorGAN(depth=5, width=2, layers=1),
        lambda: ColorGAN("resnet", "image", width=2, blocks=1, layers=2),
        lambda: MaskedGAN(width=2, layers=3),
    ],
)
def test_a_batch_of_one_trains_whatever_its_size(build, side):
    torch.manual_seed(0)
    model = build()
    batch = {"rgb": torch.rand(1, 3, side, side), "seed": torch.tensor([3])}
    players = model.players() if hasattr(model, "players") else {"": (list(model.parameters()), model.loss)}
    for parameters, loss, *_ in players.values():
        model.zero_grad()
        cost = loss(batch)
        (cost[0] if isinstance(cost, tuple) else cost).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)


def test_a_norm_of_one_value_takes_the_statistics_gathered_so_far():
    norm, x = Norm(3), torch.randn(1, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x), x, rtol=1e-4, atol=1e-4)  # none so far: mean 0, variance 1
    norm(5 + 2 * torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(1)))
    before = copy.deepcopy(norm.state_dict())
    in_training = norm(x)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    torch.testing.assert_close(in_training, norm.eval()(x))
    # Two values are a batch: the library's norm is torch's.
    pair = torch.cat([x, 1 - x])
    torch.testing.assert_close(Norm(3)(pair), torch.nn.BatchNorm2d(3)(pair))


def test_a_class_with_a_command_is_found_by_the_library(tmp_path):
    assert {"cic", "patch", "pixcolor", "photo"} <= set(MODELS)
    try:

        class Constant(Colorizer):
            """One color for all."""

            command, recipes = "constant", {"quick": Recipe(steps=2, batch=2, learning_rate=0.1)}

            def __init__(self, start: float = 0.0):
                super().__init__()
                self.settings = {"start": start}
                self.ab = torch.nn.Parameter(torch.full((2,), start))

            def loss(self, batch):
                error = (rgb_to_lab(batch["rgb"])[:, 1:].mean((0, 2, 3)) - self.ab).square().sum()
                return error, {"step": batch["step"]}

            def chroma(
                self, lightness, samples, generator, *, turn: Annotated[bool, "Turn the hue."] = False
            ):
                ab = -self.ab if turn else self.ab
                return ab[:, None, None].expand(samples, len(lightness), -1, *lightness.shape[-2:])

        world = World(16)
        model = zoo.build("constant", world, {"start": 5.0})
        assert model.image_size == 16 and [(knob.name, knob.kind) for knob in model.options()] == [
            ("turn", bool)
        ]
        fit(model, world, zoo.recipe("constant"), tmp_path / "run")
        assert history(tmp_path / "run")[-1]["scalars"] == {"step": 0.5}  # the mean of steps 0 and 1
        loaded = zoo.load(zoo.save(model, tmp_path / "c.safetensors"))
        assert type(loaded) is Constant and loaded.image_size == 16 and loaded.ab.abs().min() > 0
        with pytest.raises(ValueError, match="command must be no other model's; Constant has 'constant'"):

            class Other(Colorizer):
                command = "constant"

    finally:
        MODELS.pop("constant")
    with pytest.raises(ValueError, match="name must be one of .*got 'constant'"):
        zoo.build("constant", World(16))


def test_old_names_in_weights_files_are_read(tmp_path):
    model = zoo.build("patch", World(16), {"patch": 5, "hidden_size": 8, "neurons": 4})
    assert PatchMLP.rebuild({"patch": 5, "hidden": 8}, model.state_dict()).settings == model.settings
    assert zoo.load("cic-world").image_size == 64  # written as "side"


def test_the_guided_filter_is_the_least_squares_fit_of_each_window():
    chance = torch.Generator().manual_seed(0)
    guide, chroma = torch.rand(2, 1, 7, 9, generator=chance), torch.rand(3, 2, 2, 7, 9, generator=chance)
    slope, offset = base.guided_coefficients(guide.double(), chroma.double(), radius=2, eps=0.01)

    def window(x, row, column):
        return x[..., max(0, row - 2) : row + 3, max(0, column - 2) : column + 3].flatten(-2).double()

    fits = torch.zeros(2, 3, 2, 2, 7, 9, dtype=torch.float64)
    for row in range(7):
        for column in range(9):
            seen, wanted = window(guide, row, column), window(chroma, row, column)
            # Ridge regression: eps times the squared slope is added to the mean squared error.
            count = seen.shape[-1]
            design = torch.stack([seen, torch.ones_like(seen)], -1)  # (B, 1, N, 2)
            ridge = torch.diag(torch.tensor([0.01 * count, 0.0], dtype=torch.float64))
            left = design.mT @ design + ridge
            fit = torch.linalg.solve(left, design.mT @ wanted[..., None])[..., 0]
            fits[..., row, column] = fit.movedim(-1, 0)
    for got, fit in zip((slope, offset), fits, strict=True):
        means = torch.stack(
            [torch.stack([window(fit, row, column).mean(-1) for column in range(9)], -1) for row in range(7)],
            -2,
        )
        torch.testing.assert_close(got, means)


class Halves(Ramp):
    """Chroma of two halves, at an eighth of the size: red on the left, blue on the right, mixed between."""

    def chroma(self, lightness, samples, generator):
        size = [side // 8 for side in lightness.shape[-2:]]
        left = (torch.arange(size[1]) < size[1] / 2 - 0.5).float() * 40 - 20
        left[size[1] // 2] = 0.0 if size[1] % 2 else left[size[1] // 2]
        return left.expand(samples, len(lightness), 2, *size)


@pytest.mark.parametrize("pixels", [2**20, 300])
def test_no_color_runs_over_a_clear_edge(pixels, monkeypatch):
    monkeypatch.setattr(base, "PIXELS_AT_ONCE", pixels)
    gray = torch.full((1, 1, 64, 72), 0.35)  # nine cells, the edge in the middle of the fifth
    gray[..., 36:] = 0.65
    model = Halves()
    plain, guided = (rgb_to_lab(model.colorize(gray, guided=how)[0])[0, 1] for how in (False, True))
    near = slice(26, 46)
    true = torch.where(torch.arange(72) < 36, 20.0, -20.0)
    assert (plain - true)[:, near].abs().max() > 15 and (guided - true)[:, near].abs().max() < 8
    # Where there is no edge, it changes nothing.
    assert (guided - plain)[:, :8].abs().max() < 0.5


def test_strips_of_enlarged_chroma_are_those_of_the_whole():
    x = torch.rand(2, 3, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.interpolate(x.flatten(0, 1), (33, 20), mode="bilinear", align_corners=False)
    strips = [base._enlarged(x, top, min(4, 33 - top), (33, 20)) for top in range(0, 33, 4)]
    torch.testing.assert_close(torch.cat(strips, -2).flatten(0, 1), whole)
