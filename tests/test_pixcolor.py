"""PixColor: its parts counted against the paper's table, its losses, its training, and what it draws."""

import urllib.error
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
import torchvision
from torch import nn

from colorlib import zoo
from colorlib.color import lab_to_rgb, rgb_to_gray, rgb_to_lab, rgb_to_ycbcr, ycbcr_to_rgb
from colorlib.data import World
from colorlib.models import ConditionNetwork, PixColor, PixColorSettings, PixelCNN, Refinement
from colorlib.models.base import evaluating
from colorlib.models.blocks import pad
from colorlib.models.grid import cr_cb_to_ab, nearest_pixels, rgb_to_cr_cb
from colorlib.models.pixcolor_settings import OLD_NAMES, OLD_VALUES
from colorlib.models.teacher import LawTeacher
from colorlib.training import Recipe, fit, history


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def tiny(seed=0, **settings):
    """A network of a few thousand weights, for pictures of some 16 pixels."""
    torch.manual_seed(seed)
    settings = {
        "width": 8,
        "blocks": 2,
        "kernel": 3,
        "hidden_channels": 16,
        "levels": 8,
        "refinement_channels": 2,
        **settings,
    }
    return PixColor(backbone="small", **{"stride": 4, **settings})


def count(module):
    """Weights that a mask doesn't hold at zero."""
    total = sum(parameter.numel() for parameter in module.parameters())
    masks = [layer.mask for layer in module.modules() if hasattr(layer, "mask")]
    return total - sum(int((mask == 0).sum()) for mask in masks)


def by_the_law(model, levels, batch):
    """What the law adds to the model's loss."""
    pixels = nearest_pixels(batch["rgb"].shape[-2:], model.stride, levels.device)
    return model.teacher(levels, batch, pixels, model.pixelcnn.quantize, model.pixelcnn.levels)


def test_the_parts_have_the_table_s_layers():
    model = PixColor()

    # Bottlenecks of a ResNet: 1x1, 3x3, 1x1 to four times the width, each with two numbers of a batch norm.
    def group(inputs, width, blocks):
        def bottleneck(inputs):
            return inputs * width + 9 * width**2 + 4 * width**2 + 2 * (width + width + 4 * width)

        shortcut = inputs * 4 * width + 2 * 4 * width
        return bottleneck(inputs) + shortcut + (blocks - 1) * bottleneck(4 * width)

    first = 7 * 7 * 64 + 2 * 64
    resnet = first + group(64, 64, 3) + group(256, 128, 4) + group(512, 256, 23)
    assert count(model.condition.backbone) == resnet
    assert count(model.condition.adaptation) == (9 * 1024 * 64 + 64) + 2 * (9 * 64 * 64 + 64)

    def center(inputs, outputs):
        return inputs * outputs * 3 // 4  # type B: of Cr and Cb in and out, Cb to Cr is missing

    above = 2 * 64 * (3 * 7 + 3) + 64  # the 7x7 before its center, with a bias
    assert count(model.pixelcnn.first) == above + 64 // 2  # type A: at the center Cr to Cb alone
    vertical = 64 * 128 * 5 * 3 + 128
    horizontal = 64 * 128 * 2 + center(64, 128) + 128
    ones = 128 * 128 + 2 * 64 * 128 + center(64, 64)  # from stack to stack, the conditions', and the last
    assert [count(block) for block in model.pixelcnn.blocks] == [vertical + horizontal + ones] * 10
    assert count(model.pixelcnn.hidden) == center(64, 1024) + 1024
    assert count(model.pixelcnn.to_levels) == center(1024, 2 * 32) + 2 * 32

    channels = [3, 32, 64, 128, 128, 64, 32, 2]
    pairs = zip(channels, channels[1:], strict=False)
    assert count(model.refinement) == sum(9 * a * b + b for a, b in pairs)
    assert sum(map(count, model.children())) == count(model)


@pytest.mark.slow
def test_the_condition_of_224_pixels_is_28_by_28():
    model = PixColor().eval()
    shapes = []
    model.condition.backbone.register_forward_hook(lambda *call: shapes.append(tuple(call[2].shape)))
    with torch.no_grad():
        assert model.condition(noise(1, 1, 224, 224)).shape == (1, 64, 28, 28)
    assert shapes == [(1, 1024, 28, 28)]
    assert model.levels(noise(1, 3, 224, 224)).shape == (1, 2, 28, 28)


@pytest.mark.slow
def test_the_backbone_is_resnet101_dilated_and_cut_after_its_third_group(monkeypatch):
    whole, build = [], torchvision.models.resnet101

    def give(weights, **settings):
        assert weights == "IMAGENET1K_V1"
        torch.manual_seed(0)
        whole.append(build(weights=None, **settings).double())
        return whole[-1]

    monkeypatch.setattr(torchvision.models, "resnet101", give)
    network = ConditionNetwork(pretrained=True).double().eval()
    cut = nn.Sequential(*list(whole[0].children())[:7]).eval()
    assert cut[6][1].conv2.dilation == (2, 2) and cut[6][0].downsample[0].stride == (1, 1)
    gray, got = noise(1, 1, 32, 48).double(), []
    network.backbone.register_forward_hook(lambda *call: got.append(call[2]))
    with torch.no_grad():
        network(gray)
        wanted = cut(((gray - 0.449) / 0.226).expand(-1, 3, -1, -1))
    torch.testing.assert_close(got[0], wanted, atol=1e-9, rtol=1e-9)


def test_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    def refuse(**settings):
        raise urllib.error.URLError("no route to the host")

    monkeypatch.setattr(torchvision.models, "resnet101", refuse)
    with pytest.raises(RuntimeError, match="cannot be downloaded .*no route.*pretrained=False"):
        PixColor(pretrained=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (17, 23), (16, 16)])
def test_any_size_in_that_size_and_lightness_out(size):
    model, gray = tiny(), noise(2, 1, *size)
    rgb = model.colorize(gray, samples=3, seed=0)
    assert rgb.shape == (3, 2, 3, *size)
    lab = rgb_to_lab(rgb)
    assert (lab[:, :, :1] - rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]).abs().max() < 0.1
    assert lab[:, :, 1:].abs().max() > 5
    assert torch.isfinite(model.loss({"rgb": noise(2, 3, *size)}))


def test_colorings_are_repeatable_and_differ_between_samples():
    model, gray = tiny(), noise(2, 1, 16, 20)
    one, same = (model.colorize(gray, samples=4, seed=0) for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, model.colorize(gray, samples=4, seed=1))
    assert all(not torch.equal(one[i], one[j]) for i in range(4) for j in range(i))
    for knobs in ({"temperature": 0.3}, {"top_p": 0.5}):
        assert not torch.equal(one, model.colorize(gray, samples=4, seed=0, **knobs))
    with pytest.raises(TypeError, match="no knob 'warmth'; it has temperature, top_p, refine, known"):
        model.colorize(gray, warmth=1)


def test_the_true_small_map_comes_back_as_the_true_color():
    """With cells of one pixel, nothing is lost but the rounding to levels."""
    model = tiny(stride=1, levels=512)
    rgb = lab_to_rgb(torch.cat([30 + 50 * noise(1, 1, 8, 8), 60 * noise(1, 2, 8, 8, seed=1) - 30], 1))
    everywhere = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    back = model.colorize(rgb_to_gray(rgb), seed=0, known=model.levels(rgb), mask=everywhere)
    assert (back[0] - rgb).abs().max() < 0.01


def test_known_colors_stay():
    model, rgb = tiny(), noise(1, 3, 16, 16)
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., 1:3] = True
    known, kept = model.levels(rgb), []
    model.enlarge, enlarge = lambda x, size: (kept.append(x), enlarge(x, size))[1], model.enlarge
    model.colorize(rgb_to_gray(rgb), samples=2, seed=0, known=known, mask=mask)
    for chroma in kept:
        assert torch.equal(chroma[..., 1:3], model.pixelcnn.values(known)[..., 1:3])


@pytest.mark.parametrize("color", [(0, 0, 1), (1, 0, 0), (0.9, 0.9, 0.1), (0.02, 0, 0), (0, 0, 0), (1, 1, 1)])
def test_chroma_becomes_ab_at_the_gray_s_own_lightness(color):
    rgb = torch.tensor(color, dtype=torch.float64).view(1, 3, 1, 1)
    ab = cr_cb_to_ab(rgb_to_gray(rgb), rgb_to_cr_cb(rgb))
    assert (ab - rgb_to_lab(rgb)[:, 1:]).abs().max() < 1


def test_chroma_is_cr_then_cb():
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    cr, cb = rgb_to_cr_cb(red).flatten().tolist()
    assert cr == pytest.approx(1, abs=1e-3) and cb == pytest.approx(-0.337, abs=1e-3)
    model = tiny(stride=2, levels=32)
    levels = model.levels(red.expand(-1, -1, 2, 2)).flatten().tolist()
    assert levels == [31, 16 + round(-0.337 * 16)]
    assert model.levels(torch.full((1, 3, 2, 2), 0.4)).flatten().tolist() == [16, 16]


def test_a_cell_holds_a_mean_or_one_pixel():
    # Each cell of 4 x 4 has the color wanted at one pixel, and its opposite around it.
    wanted = 0.3 * (noise(1, 2, 3, 2) - 0.5)
    chroma = (-wanted / 15).repeat_interleave(4, 2).repeat_interleave(4, 3)
    chroma[:, :, 2::4, 2::4] = wanted
    rgb = ycbcr_to_rgb(torch.cat([torch.full((1, 1, 12, 8), 0.5), chroma.flip(1) / 2 + 0.5], 1))
    mean, pixel = tiny(levels=256), tiny(levels=256, downsample="nearest")
    assert mean.levels(rgb).eq(128).all()
    assert torch.equal(pixel.levels(rgb), pixel.pixelcnn.quantize(wanted))
    # What has no middle is continued from its edge.
    assert torch.equal(pixel.levels(rgb[:, :, :9, :5]), pixel.levels(pad(rgb[:, :, :9, :5], 4)))
    # A cell of one pixel holds it either way.
    alike = [
        tiny(stride=1, levels=256, downsample=downsample).levels(rgb) for downsample in ("area", "nearest")
    ]
    assert torch.equal(*alike)


def test_the_losses_are_nats_a_value_and_the_squared_error():
    model, rgb = tiny().eval(), noise(2, 3, 13, 16)
    nn.init.normal_(model.refinement.correction.weight, std=0.1)
    gray, levels = rgb_to_gray(rgb), model.levels(rgb)
    nats, parts = model.pixelcnn_loss({"rgb": rgb})
    assert parts == {}
    each = model.log_prob(gray, model.pixelcnn.values(levels))
    assert nats.item() == pytest.approx(-each.mean().item() / (2 * 4 * 4), rel=1e-5)
    squared = model.refinement_loss({"rgb": rgb})
    coarse = model.enlarge(model.pixelcnn.values(levels), (13, 16))
    for size in ((16, 20), (12, 16), (17, 16)):
        with pytest.raises(ValueError, match=r"a picture of .* has .* cells; got \(4, 4\)"):
            model.enlarge(model.pixelcnn.values(levels), size)
    wanted = ((model.refinement(gray, coarse) - (2 * rgb_to_ycbcr(rgb)[:, [2, 1]] - 1)) ** 2).mean()
    assert squared.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert model.loss({"rgb": rgb}).item() == pytest.approx((nats + squared).item(), rel=1e-5)


@pytest.mark.parametrize(("height", "width"), [(12, 16), (13, 9)])
def test_the_materials_are_a_second_goal_of_the_condition_network(height, width):
    # The network reads the pixel in the middle of each cell of 4 x 4, or the last one there is.
    model = tiny(materials=5).eval()
    rgb, chance = noise(3, 3, height, width), torch.Generator().manual_seed(0)
    material = torch.randint(5, (3, height, width), generator=chance)
    batch = {"rgb": rgb, "material": material}
    plain = tiny().eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "segmentation" not in k})
    scores = model.condition.segment(model.condition(rgb_to_gray(rgb))).log_softmax(1)
    wanted = []
    for k in range(3):
        for row in range(scores.shape[2]):
            for column in range(scores.shape[3]):
                down, right = min(4 * row + 2, height - 1), min(4 * column + 2, width - 1)
                wanted.append(-scores[k, material[k, down, right], row, column])
    segmentation, nats = torch.stack(wanted).mean(), plain.pixelcnn_loss(batch)[0]
    loss, parts = model.pixelcnn_loss(batch)
    assert loss.item() == pytest.approx((nats + segmentation).item(), rel=1e-5)
    assert parts["nats"].item() == pytest.approx(nats.item(), rel=1e-6)
    assert parts["segmentation"].item() == pytest.approx(segmentation.item(), rel=1e-5)
    # It teaches the condition network, all of it, and nothing else.
    model._segmentation_loss(model.condition(rgb_to_gray(rgb)), batch).backward()
    taught = {name for name, p in model.named_parameters() if p.grad is not None}
    assert taught == {name for name, _ in model.named_parameters() if name.startswith("condition.")}
    with pytest.raises(ValueError, match="tells no materials apart"):
        plain.condition.segment(plain.condition(rgb_to_gray(rgb)))
    for wrong in (material.int(), material[:, 1:], material[:2]):
        with pytest.raises(ValueError, match="'material' must be int64 .* as 'rgb'; got torch.int"):
            model.pixelcnn_loss({"rgb": rgb, "material": wrong})
    with pytest.raises(ValueError, match="5 materials needs 'material' .* got rgb"):
        model.pixelcnn_loss({"rgb": rgb})
    for wrong in (material + 1, material - 1):
        with pytest.raises(ValueError, match="'material' must be from 0 to 4, got"):
            model.pixelcnn_loss({"rgb": rgb, "material": wrong})
    with pytest.raises(ValueError, match="materials must be at least 0; got -1"):
        tiny(materials=-1)
    with pytest.raises(TypeError, match="materials must be a whole number; got True"):
        tiny(materials=True)


@pytest.mark.slow
def test_a_law_takes_the_place_of_the_draws_where_things_begin():
    world = World(32)
    scene = world.batch([3, 7])
    model = tiny(stride=2, levels=32, downsample="nearest", law="landscape", materials=23).eval()
    condition = model.condition(scene.gray)
    thing = scene.object[:, 1::2, 1::2].flatten(1)
    first = torch.stack(
        [torch.tensor([t not in row[:k] for k, t in enumerate(row)]) for row in thing.tolist()]
    )
    assert 10 < first.sum() < 100

    def nats(colors):
        """Of each cell, by draws and by the law, were the scenes painted so: (2, 2, 256)."""
        rgb = lab_to_rgb(torch.cat([scene.lightness, world.law.drawn(scene, colors)], 1))
        levels = model.levels(rgb)
        by_law = by_the_law(model, levels, {**vars(scene), "rgb": rgb})
        assert torch.equal(by_law["begins"].flatten(1), first)
        return [
            model.pixelcnn.nats(levels, condition, targets).flatten(2)
            for targets in (None, by_law["targets"])
        ]

    with torch.no_grad():
        drawn, lawful = nats(scene.colors)
        torch.testing.assert_close(
            lawful.masked_select(~first[:, None]), drawn.masked_select(~first[:, None])
        )
        # Over all colors that one thing might have, the law's figure for its first cell has the mean of the
        # draws', in Cr and in Cb; and in Cr, which comes first, it doesn't depend on the color.
        for slot in thing.unique().tolist():
            mean = torch.zeros(2, 2, 2)  # (by draws and by law, scenes, channels)
            material = scene.palette_of[:, slot].clamp(min=0)
            of_cr = []
            for entry in range(world.law.probabilities.shape[1]):
                p = world.law.probabilities[material, entry]
                colors = scene.colors.clone()
                colors[:, slot] = torch.where(p > 0, entry, 0)
                each = torch.stack(nats(colors))
                at = first & (thing == slot)  # in at most one cell of a scene
                each = (each * at[:, None]).sum(3)
                mean += each * p[:, None]
                of_cr.append(each[1, :, 0])
            torch.testing.assert_close(mean[1], mean[0], rtol=1e-4, atol=1e-5)
            assert torch.stack(of_cr).std(0).max() < 1e-4
        assert (lawful - drawn).abs().max() > 0.1
    batch = {**vars(scene)}
    loss, parts = model.pixelcnn_loss(batch)
    assert loss.item() == pytest.approx((lawful.mean() + parts["segmentation"]).item(), rel=1e-5)
    with pytest.raises(ValueError, match="world's scenes; the batch has no object, palette_of, lightness"):
        model.pixelcnn_loss({"rgb": scene.rgb, "material": scene.material})
    flowers = vars(World(32, "flowers").batch([0, 1]))
    with pytest.raises(ValueError, match="colors that the world 'landscape' doesn't have"):
        model.pixelcnn_loss(flowers)
    bed = tiny(stride=2, levels=32, downsample="nearest", law="flowers")
    with pytest.raises(ValueError, match="colors that the world 'flowers' doesn't have"):
        bed.pixelcnn_loss(batch)
    # It is there in training, too, and for the other kind.
    by_law, _ = bed.pixelcnn_loss(flowers)
    bed.teacher = None
    assert abs(by_law - bed.pixelcnn_loss(flowers)[0]) > 1e-5  # ignored, it would be 0
    for wrong in ("sea", []):
        with pytest.raises(ValueError, match="law must be one of landscape, flowers; got ('sea'|\\[)"):
            tiny(downsample="nearest", law=wrong)
    with pytest.raises(ValueError, match="a law needs downsample='nearest'"):
        tiny(law="landscape")


@pytest.mark.slow
def test_a_color_that_rounds_to_the_next_level_is_still_the_law_s(monkeypatch):
    # With 256 levels a car's blue at one lightness, painted again, falls on the other side of a border.
    world = World(32)
    model = tiny(stride=2, levels=256, downsample="nearest", law="landscape").eval()
    cars = world.materials.index("car")
    slot = world.slots.index("car 0 body")
    scene = next(s for s in world if s.palette_of[slot] == cars and (s.object[1::2, 1::2] == slot).any())
    batch = {name: tensor[None] for name, tensor in vars(scene).items()}
    for lightness in torch.linspace(41, 68, 271):
        batch["lightness"] = torch.full_like(batch["lightness"], lightness)
        levels = model.levels(
            lab_to_rgb(torch.cat([batch["lightness"], world.law.drawn(scene, scene.colors)[None]], 1))
        )
        for shift in (-1, 0, 1):
            by_law = by_the_law(model, levels + shift, batch)
            for _, chances in (by_law["targets"], by_law["marginal_targets"]):
                torch.testing.assert_close(chances.sum(2), torch.ones_like(chances[:, :, 0]))
    # In both channels: a color two levels off in one of them is none of the law's.
    for off in ((2, 2), (2, 0), (0, 2)):
        wrong = levels + torch.tensor(off)[:, None, None]
        with pytest.raises(ValueError, match="doesn't have"):
            by_the_law(model, wrong, batch)
    # Where it may not look, it doesn't learn them either.
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda x: True))
    for maps, right in ((wrong, False), (levels, True)):
        by_law = by_the_law(model, maps, batch)
        for _, chances in (by_law["targets"], by_law["marginal_targets"]):
            assert chances.isfinite().all() == right


def test_given_its_cr_a_color_has_the_chances_of_those_that_share_it():
    # Two of a car's colors, yellow and orange say, may have one Cr, and then Cb tells them apart.
    world = World(32)
    model = tiny(stride=2, levels=32, downsample="nearest", law="landscape").eval()
    scene = world.batch(range(40))
    by_law = by_the_law(model, model.levels(scene.rgb), vars(scene))
    (options, chances), by_itself = by_law["targets"], by_law["marginal_targets"]
    true = model.levels(scene.rgb)
    begins = (chances[:, 0] > 0).sum(1) > 1  # (B, h, w): where a thing with a choice begins
    shared = 0
    for i, row, column in begins.nonzero().tolist():
        cr, cb = options[i, :, :, row, column]
        p, given = chances[i, :, :, row, column]
        wanted = p * (cr == true[i, 0, row, column])
        torch.testing.assert_close(given, wanted / wanted.sum())
        shared += int((given > 0).sum() > 1)
        for of_all, of_first in zip(by_itself, (options, chances), strict=True):
            assert torch.equal(of_all[i, :, :, row, column], of_first[i, :, :, row, column])
    assert shared > 5
    # By itself, each cell has what its thing might have: the same chances everywhere in a thing.
    cells = scene.palette_of.gather(1, scene.object[:, 1::2, 1::2].flatten(1)).view(40, 1, 16, 16)
    wanted = world.law.probabilities[cells[:, 0]].movedim(-1, 1)
    torch.testing.assert_close(by_itself[1][:, 0], wanted)
    fits = (by_itself[0][:, 0] == true[:, :1]) * wanted  # of these Cb is one
    torch.testing.assert_close(by_itself[1][:, 1], fits / fits.sum(1, keepdim=True))
    # And its levels are those that the scene would have in each of the thing's colors.
    for entry in range(wanted.shape[1]):
        colors = torch.full_like(scene.colors, entry)
        rgb = lab_to_rgb(torch.cat([scene.lightness, world.law.drawn(scene, colors)], 1))
        there = (wanted[:, entry] > 0)[:, None].expand(-1, 2, -1, -1)
        assert torch.equal(by_itself[0][:, :, entry][there], model.levels(rgb)[there])


def test_a_marginal_is_learned_in_every_cell_beside_the_mixture():
    world = World(32)
    scene = vars(world.batch([3, 7]))
    model = tiny(stride=2, levels=32, downsample="nearest", head_channels=6, materials=23).eval()
    levels, condition = model.levels(scene["rgb"]), model.condition(rgb_to_gray(scene["rgb"]))
    with torch.no_grad():
        for law in (None, "landscape"):
            model.teacher = LawTeacher(law) if law else None
            loss, parts = model.pixelcnn_loss(scene)
            assert set(parts) == {"nats", "marginal", "segmentation", *(["gate"] if law else [])}
            assert loss.item() == pytest.approx(sum(parts.values()).item(), rel=1e-6)
            by_law = by_the_law(model, levels, scene) if law else {}
            nats = model.pixelcnn.nats(levels, condition, by_law.get("targets")).mean()
            assert parts["nats"].item() == pytest.approx(nats.item(), rel=1e-6)
            alone = model.pixelcnn.marginal(model.pixelcnn.values(levels)[:, 0], condition).log_softmax(2)
            options, chances = by_law.get("marginal_targets") or (
                levels[:, :, None],
                torch.ones_like(levels[:, :, None]),
            )
            wanted = -(chances * alone.gather(2, options)).sum(2).mean()
            assert parts["marginal"].item() == pytest.approx(wanted.item(), rel=1e-5)
    gate = model.pixelcnn.gate(model.pixelcnn.values(levels), condition)
    wanted = -torch.where(by_law["begins"][:, None], gate, 1 - gate).log().mean()
    assert parts["gate"].item() == pytest.approx(wanted.item(), rel=1e-5)
    assert model.settings["head_channels"] == 6
    PixColor(**model.settings).load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", ["object", "lightness"])
def test_scenes_that_are_not_of_the_picture_s_size_are_refused(name):
    model = tiny(stride=2, levels=32, downsample="nearest", law="landscape")
    batch = {**vars(World(16).batch([0, 1]))}
    for wrong in (batch[name][..., :8], batch[name][:1], torch.cat([batch[name]] * 2, -1)):
        with pytest.raises(ValueError, match=f"'{name}' must be .*16, 16.*, as 'rgb'; got "):
            model.pixelcnn_loss({**batch, name: wrong})
    assert model.steps == 0  # a refused batch is no step


@pytest.mark.parametrize("downsample", ["nearest", "area"])
def test_with_waves_the_condition_has_each_cell_s_own_gray_and_its_materials(downsample):
    plain, model = (
        tiny(downsample=downsample, materials=5).eval(),
        tiny(downsample=downsample, materials=5, num_frequencies=6).eval(),
    )
    model.condition.load_state_dict(plain.condition.state_dict())
    gray = noise(2, 1, 13, 16)
    features, condition = plain.condition(gray), model.condition(gray)
    assert condition.shape == (2, 8 + 6 + 5, 4, 4) and model.condition.channels == 19
    assert torch.equal(condition[:, :8], features)
    padded = torch.cat([gray, gray[:, :, -1:].expand(-1, -1, 3, -1)], 2)
    for row in range(4):
        for column in range(4):
            cell = padded[:, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            own = cell[:, 2, 2] if downsample == "nearest" else cell.mean((1, 2))
            for k in range(1, 7):
                torch.testing.assert_close(
                    condition[:, 7 + k, row, column], torch.cos(torch.pi * k * own), atol=1e-5, rtol=0
                )
    torch.testing.assert_close(condition[:, 14:], plain.condition.segmentation(features).softmax(1))
    # The names are learned as names: what comes after sends nothing back through them.
    condition[:, 14:].sum().mul(0).add(condition[:, :8].sum()).backward()
    assert model.condition.segmentation.weight.grad is None
    # And without materials there are waves alone.
    assert tiny(downsample=downsample, num_frequencies=6).condition(gray).shape == (2, 14, 4, 4)


def test_where_all_is_given_the_picture_is_not_looked_at(monkeypatch):
    model, rgb = tiny().eval(), noise(2, 3, 16, 16)
    known, mask = model.levels(rgb), torch.ones(2, 1, 4, 4, dtype=torch.bool)
    whole = model.colorize(rgb_to_gray(rgb), seed=0, known=known, mask=mask)
    monkeypatch.setattr(model.condition, "forward", None)
    assert torch.equal(model.colorize(rgb_to_gray(rgb), seed=0, known=known, mask=mask), whole)
    mask[1, 0, 3, 3] = False
    with pytest.raises(TypeError):
        model.colorize(rgb_to_gray(rgb), seed=0, known=known, mask=mask)


def test_told_of_all_it_learns_all(tmp_path):
    """With the settings of the world's recipe each weight moves."""
    settings = PixColor.recipes["world"].settings
    assert {
        "num_frequencies": 32,
        "head_channels": 256,
        "depth": 12,
        "fine_depth": 2,
    }.items() <= settings.items()
    small = {
        "width": 8,
        "blocks": 1,
        "kernel": 3,
        "hidden_channels": 16,
        "refinement_channels": 2,
        "depth": 5,
        "fine_depth": 1,
    }
    torch.manual_seed(0)
    model = PixColor(**{**settings, **small, "num_frequencies": 3, "head_channels": 6})
    first = {name: p.clone() for name, p in model.named_parameters()}
    fit(model, World(size=16), change(steps=4, precision="bfloat16"), tmp_path)
    for name, p in model.named_parameters():
        assert not torch.equal(first[name], p), name
    _, parts = model.pixelcnn_loss(vars(World(16).batch([0, 1])))
    assert set(parts) == {"nats", "marginal", "gate", "segmentation"}


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"downsample": "median"}, ValueError, "downsample must be one of area, nearest; got 'median'"),
        ({"num_frequencies": 2.5}, TypeError, "num_frequencies must be a whole number; got 2.5"),
        ({"num_frequencies": -3}, ValueError, "num_frequencies must be at least 0; got -3"),
        ({"materials": -2}, ValueError, "materials must be at least 0; got -2"),
        ({"width": 8.0}, TypeError, "width must be a whole number; got 8.0"),
        ({"width": 0}, ValueError, "width must be at least 1; got 0"),
    ],
)
def test_bad_parameters_of_the_condition_network_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        ConditionNetwork(PixColorSettings(**{"backbone": "small", "stride": 4, **settings}))


def test_the_world_s_recipe_has_the_world_s_materials_and_law():
    recipe = PixColor.recipes["world"]
    assert recipe.settings["materials"] == len(World(recipe.size).materials)
    assert recipe.settings["law"] == "landscape"


def test_probabilities_of_a_picture_s_maps_sum_to_one():
    model = tiny(levels=2, seed=3).double()
    gray = noise(1, 1, 4, 8).double()  # a grid of 1 x 2
    maps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0], dtype=torch.float64)] * 4).view(-1, 2, 1, 2)
    log_prob = model.log_prob(gray.expand(len(maps), -1, -1, -1), maps)
    assert log_prob.shape == (16,) and log_prob.std() > 0.1
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert model.training  # the mode is as it was


def test_each_player_moves_its_own_part_alone(tmp_path):
    # With the two channels of the tiny one, chance may leave a layer without any that a ReLU lets through.
    model = tiny(materials=23, refinement_channels=16)
    first = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    players = model.players()
    held = [id(p) for parameters, *_ in players.values() for p in parameters]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    players["refinement"][1]({"rgb": noise(2, 3, 16, 16)}).backward()
    assert all(p.grad is None for p in players["pixelcnn"][0])
    fit(model, World(size=16), change(steps=3), tmp_path)
    line = history(tmp_path)[-1]
    assert set(line["loss"]) == {"pixelcnn", "refinement"}
    assert line["loss"]["pixelcnn"] == pytest.approx(sum(line["scalars"].values()), rel=1e-5)
    for name, tensor in model.state_dict().items():
        assert not torch.equal(first[name], tensor), name


def change(**settings):
    defaults = {"steps": 8, "batch": 4, "learning_rate": 1e-2, "checkpoint_every": 4, "log_every": 2}
    return Recipe(**{**defaults, **settings})


class Stop(Exception):
    pass


@pytest.mark.slow
def test_training_resumes_across_the_step_that_frees_the_backbone(tmp_path):
    def same(one, other):
        return all(torch.equal(one[name], other[name]) for name in one)

    whole = fit(tiny(unfreeze_at=5), World(size=16), change(), tmp_path / "whole").state_dict()
    broken = tiny(unfreeze_at=5)
    enlarge = broken.enlarge

    def fail(*arguments):
        if broken.steps == 7:
            raise Stop
        return enlarge(*arguments)

    broken.enlarge = fail
    with pytest.raises(Stop):
        fit(broken, World(size=16), change(), tmp_path / "stopped")
    again = fit(tiny(seed=9, unfreeze_at=5), World(size=16), change(), tmp_path / "stopped").state_dict()
    assert same(whole, again) and whole["steps"] == 8
    # Set free earlier, it would have ended elsewhere.
    other = fit(tiny(unfreeze_at=3), World(size=16), change(), tmp_path / "other").state_dict()
    assert not same(whole, other)


def test_a_run_is_not_gone_on_with_by_a_model_of_other_settings(tmp_path):
    # Heads of attention and the pixel of a cell don't show in the shapes of the weights.
    first = fit(tiny(attention_heads=2), World(size=16), change(), tmp_path).state_dict()
    for other, wanted in (
        ({"attention_heads": 4}, "setting attention_heads 2 there, 4 here"),
        ({"attention_heads": 2, "downsample": "nearest"}, "setting downsample area there, nearest here"),
    ):
        with pytest.raises(ValueError, match=wanted):
            fit(tiny(**other), World(size=16), change(), tmp_path)
    again = fit(tiny(attention_heads=2, seed=5), World(size=16), change(), tmp_path).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_backbone_is_frozen_until_its_step():
    model, batch = tiny(unfreeze_at=2), {"rgb": noise(2, 3, 16, 16)}
    before = {name: tensor.clone() for name, tensor in model.condition.backbone.state_dict().items()}
    for frozen in (True, True, False):
        model.zero_grad()
        model.train()
        model.pixelcnn_loss(batch)[0].backward()
        state = model.condition.backbone.state_dict()
        assert all(torch.equal(before[name], state[name]) for name in before) == frozen
        assert all((p.grad is None) == frozen for p in model.condition.backbone.parameters())
        assert all(p.grad is not None for p in model.condition.adaptation.parameters())
    model.eval()
    model.pixelcnn_loss(batch)
    assert model.steps == 3  # evaluation doesn't count


def test_the_quick_recipe_builds_the_small_version():
    settings = PixColor.recipes["quick"].settings
    assert PixColor(**settings).settings == PixColor.small().settings
    again = PixColor(**PixColor.small().settings)
    again.load_state_dict(PixColor.small().state_dict())
    paper = PixColor.recipes["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.steps, paper.batch) == ("adam", 3e-4, 360_000, 64)
    assert paper.settings["unfreeze_at"] == 100_000


def test_an_untrained_refinement_changes_nothing_and_a_trained_one_finds_edges():
    torch.manual_seed(0)
    network = Refinement(8)
    gray, chroma = noise(2, 1, 9, 14), noise(2, 2, 9, 14, seed=1)
    assert torch.equal(network(gray, chroma), chroma)
    # A disk of one color on another: the small map smears its edge, the gray picture shows it.
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    inside = ((rows - 7.3) ** 2 + (columns - 8.1) ** 2 < 25)[None, None]
    gray = torch.where(inside, 0.7, 0.3)
    true = torch.where(inside, torch.tensor([0.5, -0.3]).view(1, 2, 1, 1), torch.tensor(0.0))
    smeared = nn.functional.avg_pool2d(true, 4)
    smeared = nn.functional.interpolate(smeared, scale_factor=4, mode="bilinear")
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.mse_loss(network(gray, smeared), true).backward()
        optimizer.step()
    assert nn.functional.mse_loss(network(gray, smeared), true) < 0.1 * nn.functional.mse_loss(smeared, true)


@pytest.mark.parametrize(
    "settings, error, message",
    [
        ({"backbone": "vgg"}, ValueError, "one of resnet101, lite0, small; got 'vgg'"),
        ({"stride": 3, "backbone": "small"}, ValueError, "power of 2, got 3"),
        ({"stride": 4}, ValueError, "'resnet101' has a stride of 8, got 4"),
        ({"stride": 4.0}, TypeError, "4.0"),
        (
            {"pretrained": True, "backbone": "small"},
            ValueError,
            "pretrained=True is for the backbone 'resnet101' or 'lite0', got 'small'",
        ),
        ({"pretrained": "photographs"}, ValueError, "'photographs' is for .* 'lite0', got 'resnet101'"),
        ({"pretrained": "places"}, ValueError, "pretrained must be one of photographs; got 'places'"),
        ({"backbone": "lite0"}, ValueError, "'lite0' has a stride of 4, got 8"),
        ({"backbone": "lite0", "stride": 4, "depth": 2}, ValueError, "2, 0 for 'lite0'"),
        ({"vary": 1.5}, ValueError, r"vary must be in \[0, 1\]; got 1.5"),
        ({"unfreeze_at": -1}, ValueError, "at least 0; got -1"),
        ({"unfreeze_at": 1.5}, TypeError, "a whole number; got 1.5"),
        ({"downsample": "median"}, ValueError, "downsample must be one of area, nearest; got 'median'"),
        (
            {"refinement_channels": -1, "backbone": "small"},
            ValueError,
            "refinement_channels must be at least 0; got -1",
        ),
        ({"width": 7, "backbone": "small"}, ValueError, "width must be even.*got 7"),
    ],
)
def test_bad_parameters_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        PixColor(**settings)


def test_settings_of_before_build_the_same_model():
    model = tiny(downsample="nearest", num_frequencies=3, head_channels=6, materials=5)
    before = {new: old for old, new in OLD_NAMES.items()}
    words = {(name, new): old for name, table in OLD_VALUES.items() for old, new in table.items()}
    old = {before.get(k, k): words.get((k, v), v) for k, v in model.settings.items()}
    assert {"reduction": 4, "cells": "pixel", "first_weights": "even", "waves": 3}.items() <= old.items()
    again = PixColor.rebuild(old, model.state_dict())
    assert again.settings == model.settings
    again.load_state_dict(model.state_dict())
    assert set(OLD_NAMES.values()) <= {field.name for field in fields(PixColorSettings)}
    with pytest.raises(ValueError, match="no settings warmth; a newer version may have them"):
        PixColor.rebuild({**old, "warmth": 1}, model.state_dict())


def test_settings_stay_as_they_were_checked():
    settings = PixColorSettings()
    with pytest.raises(FrozenInstanceError):
        settings.width = 7
    assert all(field.name in PixColor(**tiny().settings).settings for field in fields(settings))


def test_layers_frozen_by_hand_stay_frozen():
    model = tiny().train()
    model.condition.backbone.eval()
    modes = [module.training for module in model.modules()]
    with pytest.raises(Stop), evaluating(model):
        assert not any(module.training for module in model.modules())
        raise Stop
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2
    model.log_prob(noise(1, 1, 8, 8), torch.zeros(1, 2, 2, 2))
    assert [module.training for module in model.modules()] == modes


def test_a_map_of_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 3\) for gray \(1, 1, 8, 9\), got \(1, 2, 2, 2\)"):
        tiny().log_prob(noise(1, 1, 8, 9), torch.zeros(1, 2, 2, 2))


@pytest.mark.parametrize(
    "gray, chroma, error, message",
    [
        (
            torch.zeros(1, 1, 8, 8, dtype=torch.uint8),
            torch.zeros(1, 2, 2, 2),
            TypeError,
            "gray must be float16",
        ),
        (torch.full((1, 1, 8, 8), 255.0), torch.zeros(1, 2, 2, 2), ValueError, "gray must be from 0 to 1"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 2, 2, 2).long(), TypeError, "makes chroma of levels"),
        (torch.zeros(1, 1, 8, 8), torch.full((1, 2, 2, 2), 16.0), ValueError, "got values from 16 to 16"),
        (torch.zeros(1, 1, 8, 8), torch.full((1, 2, 2, 2), float("nan")), ValueError, "got values from nan"),
    ],
)
def test_what_log_prob_is_given_is_checked(gray, chroma, error, message):
    with pytest.raises(error, match=message):
        tiny().log_prob(gray, chroma)


def test_beyond_the_range_the_outermost_level_is_taken():
    net = PixelCNN(PixColorSettings(width=8, blocks=0), condition_channels=8)
    chroma = torch.tensor([-float("inf"), -1e20, -1.0, 0.0, 1.0, 1e20, float("inf")])
    assert net.quantize(chroma).tolist() == [0, 0, 0, 16, 31, 31, 31]


def test_it_draws_inside_autocast():
    model, gray = tiny().eval(), torch.rand(1, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = model.colorize(gray, seed=0)
    assert inside.isfinite().all() and inside.shape == (1, 1, 3, 8, 8)


def test_the_parts_work_apart():
    settings = PixColorSettings(width=8, backbone="small", stride=4, blocks=1)
    condition = ConditionNetwork(settings)(noise(1, 1, 10, 8))
    assert condition.shape == (1, 8, 3, 2)
    logits = PixelCNN(settings, condition_channels=8)(torch.zeros(1, 2, 3, 2), condition)
    assert logits.shape == (1, 2, 32, 3, 2)


def photograph(**settings):
    """A PixColor with the photograph colorizer's backbone and a small PixelCNN."""
    torch.manual_seed(0)
    sizes = {"width": 8, "blocks": 1, "kernel": 3, "hidden_channels": 16, "refinement_channels": 0}
    return PixColor(backbone="lite0", **{"stride": 4, **sizes, **settings})


def test_the_backbone_of_photographs_is_the_shipped_colorizer():
    model, colorizer = photograph(pretrained="photographs").eval(), zoo.load("photographs")
    gray = noise(1, 1, 64, 96)
    with torch.no_grad():
        features = model.condition.backbone(gray)
        lightness = rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
        torch.testing.assert_close(
            colorizer.to_bins(features), colorizer.logits(lightness), atol=1e-3, rtol=1e-3
        )
        assert model.condition(noise(1, 1, 37, 70)).shape == (1, 8, 10, 18)
    names = {name.split(".")[0] for name, _ in model.condition.backbone.named_parameters()}
    assert names == {name.split(".")[0] for name, _ in colorizer.named_parameters()} - {"to_bins"}


def test_without_a_refinement_a_guided_filter_enlarges():
    model, rgb = photograph(), noise(2, 3, 32, 64)
    assert set(model.players()) == {"pixelcnn"} and model.guided and not tiny().guided
    model.eval()
    torch.testing.assert_close(model.loss({"rgb": rgb}), model.pixelcnn_loss({"rgb": rgb})[0])
    with pytest.raises(ValueError, match="no refinement: its refinement_channels are 0"):
        model.refinement_loss({"rgb": rgb})
    gray, levels = rgb_to_gray(rgb), model.levels(rgb)
    given = {"known": levels, "mask": torch.ones_like(levels, dtype=torch.bool)}
    lightness = rgb_to_lab(gray.expand(-1, 3, -1, -1))[:, :1]
    ab = model.chroma(lightness, 1, torch.Generator(), **given)
    assert ab.shape == (1, 2, 2, 8, 16)
    low = nn.functional.avg_pool2d(gray, 4)
    torch.testing.assert_close(ab[0], cr_cb_to_ab(low, model.pixelcnn.values(levels)), atol=1e-2, rtol=1e-3)
    guided, plain = (model.colorize(gray, seed=0, guided=way, **given) for way in (None, False))
    assert guided.shape == (1, 2, 3, 32, 64) and not torch.equal(guided, plain)
    assert torch.equal(guided, model.colorize(gray, seed=0, guided=True, **given))


def test_training_varies_the_gray_and_not_the_color_that_is_asked_for():
    model, rgb = tiny(vary=1.0), noise(4, 3, 16, 16)
    shown, asked = [], []
    model.condition.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[0]))
    losses = model.pixelcnn.losses
    model.pixelcnn.losses = lambda levels, *rest, **more: (
        asked.append(levels) or losses(levels, *rest, **more)
    )
    for training in (True, False):
        model.train(training)
        model.pixelcnn_loss({"rgb": rgb})
    gray = rgb_to_gray(rgb)
    assert torch.equal(shown[1], gray)
    assert all((one - other).abs().max() > 0.01 for one, other in zip(shown[0], gray, strict=True))
    assert torch.equal(asked[0], model.levels(rgb)) and torch.equal(asked[0], asked[1])


@pytest.mark.slow
def test_the_recipe_of_photographs_leaves_the_colorizer_s_features_as_they_are():
    recipe = PixColor.recipes["photographs"]
    torch.manual_seed(0)
    model = PixColor(**recipe.settings)
    assert recipe.settings["unfreeze_at"] > recipe.steps
    before = {name: tensor.clone() for name, tensor in model.condition.backbone.state_dict().items()}
    model.train()
    model.pixelcnn_loss({"rgb": noise(2, 3, 32, 32)})[0].backward()
    assert all(torch.equal(before[name], x) for name, x in model.condition.backbone.state_dict().items())
    assert all(p.grad is None for p in model.condition.backbone.parameters())
    learned = [p for part in (model.condition.adaptation, model.pixelcnn) for p in part.parameters()]
    assert all(p.grad is not None for p in learned)
    assert sum(p.numel() * 2 for p in model.parameters()) < 10e6  # the file's size, in half precision


# Of scenes 0 to 5 of World(64, seed=1): log probabilities of their maps, the mean of two colorings by seed 0,
# and the two losses. Computed before the means to enlarge trained networks were taken out of the library.
BEFORE = {
    "pixcolor-world": (
        (-12.4862, -6.08109, -9.97801, -13.8598, -9.62959, -13.3217),
        (0.4873084, 0.410568, 0.00165282),
    ),
    "pixcolor-world-plain": (
        (-13.758, -8.3316, -15.5596, -21.1011, -19.0733, -17.8646),
        (0.487999, 0.0311485, 0.00192773),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BEFORE)
def test_the_shipped_weights_score_and_color_as_they_did(name):
    log_probs, (coloring, loss, refinement) = BEFORE[name]
    model, scenes = zoo.load(name), World(64, seed=1).batch(range(6))
    got = model.log_prob(scenes.gray, model.pixelcnn.values(model.levels(scenes.rgb)))
    torch.testing.assert_close(got, torch.tensor(log_probs), rtol=1e-4, atol=1e-3)
    # A draw at the border of two levels may fall to the other side on another processor.
    assert model.colorize(scenes.gray, samples=2, seed=0).mean().item() == pytest.approx(coloring, abs=1e-3)
    assert model.pixelcnn_loss(vars(scenes))[0].item() == pytest.approx(loss, rel=1e-4)
    assert model.refinement_loss(vars(scenes)).item() == pytest.approx(refinement, rel=1e-4)
