"""Masks: the ten fixed ones, those drawn from seeds, and those of segments."""

import pytest
import torch
from skimage.segmentation import felzenszwalb

from colorlib.data import World, masks, photos

SEEDS = list(range(40))
RANDOM = ("stripes", "grids", "rectangles", "strokes", "noise", "segments")


def world_labels(count=40, size=32):
    return World(size).batch(range(count)).material


@pytest.mark.parametrize("size", [16, 64, (32, 48)])
def test_the_ten_are_halves_stripes_and_grids(size):
    made = masks.ten(size)
    height, width = (size, size) if isinstance(size, int) else size
    assert made.shape == (10, 1, height, width) and made.dtype == torch.float32
    assert ((made == 0) | (made == 1)).all()
    assert (made.mean((1, 2, 3)) == 0.5).all()  # each colors one half
    assert len({tuple(mask.flatten().tolist()) for mask in made}) == 10
    named = dict(zip(masks.TEN, made[:, 0], strict=True))
    assert torch.equal(named["left half"], 1 - named["right half"])
    assert torch.equal(named["top half"], 1 - named["bottom half"])
    assert named["left half"][:, : width // 2].all() and named["top half"][: height // 2].all()

    def changes(line):  # borders met on the way along it
        return int(line.diff().abs().sum())

    for name, across, down in [
        ("left half", 1, 0),
        ("bottom half", 0, 1),
        ("vertical stripes", 3, 0),
        ("narrow vertical stripes", 7, 0),
        ("horizontal stripes", 0, 3),
        ("narrow horizontal stripes", 0, 7),
        ("coarse grid", 3, 3),
        ("fine grid", 7, 7),
    ]:
        assert changes(named[name][0]) == across and changes(named[name][:, 0]) == down, name
    # Of a grid, fields that meet at an edge differ.
    tall, wide = height // 4, width // 4
    grid = named["coarse grid"]
    assert torch.equal(grid[tall:, :], 1 - grid[:-tall, :]) and torch.equal(
        grid[:, wide:], 1 - grid[:, :-wide]
    )
    assert torch.equal(masks.ten(size, ["fine grid", "left half"])[1, 0], named["left half"])


@pytest.mark.parametrize("kind", masks.KINDS)
def test_a_mask_is_a_function_of_its_seed_alone(kind):
    labels = world_labels()
    before = torch.get_rng_state()
    drawn = masks.draw(SEEDS, 32, kind, labels)
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn.shape == (40, 1, 32, 32) and drawn.dtype == torch.float32
    assert drawn.min() >= 0 and drawn.max() <= 1
    some = [7, 3, 39]
    again = masks.draw(torch.tensor(some), (32, 32), [kind], labels[some])
    assert torch.equal(again, drawn[some])
    different = {tuple(mask.flatten().tolist()) for mask in drawn}
    if kind in RANDOM:
        assert len(different) > 30
    else:
        assert len(different) == (10 if kind == "ten" else 1)
    if kind != "full":  # each has something to color and something to leave
        share = drawn.mean((1, 2, 3))
        assert (share > 0).all() and (share < 1).any()


@pytest.mark.parametrize("kind", ["stripes", "grids", "rectangles", "strokes", *masks.TEN])
def test_a_finer_mask_is_the_same_shape(kind):
    fine = masks.draw(SEEDS, (96, 160), kind)
    coarse = masks.draw(SEEDS, (32, 32), kind)
    # The center of a coarse pixel is the center of the middle one of the 3 x 5 fine ones that it covers.
    assert torch.equal(fine[:, :, 1::3, 2::5], coarse)


def test_kinds_are_drawn_evenly():
    seeds = torch.randint(2**62, (3000,), generator=torch.Generator().manual_seed(0))
    drawn = masks.draw(seeds, 8, ("left half", "right half", "full"))
    left, right = masks.ten(8, ["left half", "right half"])
    counts = [int((drawn == mask).all((2, 3)).sum()) for mask in (left, right, torch.ones(1, 8, 8))]
    assert sum(counts) == 3000
    # Three standard deviations of a count of 3000 with chance 1/3 are 77.
    assert all(abs(count - 1000) < 90 for count in counts), counts
    ten = masks.draw(seeds, 16, "ten")
    counts = [int((ten == mask).all((2, 3)).sum()) for mask in masks.ten(16)]
    assert sum(counts) == 3000 and all(abs(count - 300) < 60 for count in counts), counts


def test_shapes_are_as_they_are_described():
    size, border = 64, 1 / 32
    for mask in masks.draw(SEEDS, size, "stripes")[:, 0]:
        assert 0.3 < mask.mean() < 0.7
    for mask in masks.draw(SEEDS, size, "rectangles")[:, 0]:
        on = mask.nonzero()
        tall, wide = ((on.amax(0) - on.amin(0) + 1) / size).tolist()
        assert tall > 1 / 8 - border and wide > 1 / 8 - border
        # Four rectangles have eight borders at most: nine bands of equal rows.
        assert len({tuple(row.tolist()) for row in mask}) <= 9
    shares = masks.draw(range(200), size, "noise").mean((1, 2, 3))
    assert 0.05 < shares.min() < 0.2 and 0.8 < shares.max() < 0.95 and abs(shares.mean() - 0.5) < 0.06
    for mask in masks.draw(SEEDS, size, "noise")[:, 0]:  # neighbors know nothing of each other
        share = mask.mean()
        together = (mask[:, 1:] * mask[:, :-1]).mean()
        assert abs(together - share**2) < 0.03
    for mask in masks.draw(SEEDS, size, "strokes")[:, 0]:
        # A brush at least 1/10 wide covers a square of 4 pixels, half of 1/10 of 64 and some, somewhere.
        squares = torch.nn.functional.avg_pool2d(mask[None, None], 4, 1)
        assert (squares == 1).any()


def test_a_segmentation_colors_any_set_of_materials():
    world = World(32)
    scenes = world.batch(range(20))
    chosen = ["sky", "car", "roof"]
    made = masks.segmentation(scenes.material, chosen, world.materials)
    assert made.shape == (20, 1, 32, 32)
    names = [[world.materials[k] for k in row] for row in scenes.material.flatten(1).tolist()]
    wanted = torch.tensor([[name in chosen for name in row] for row in names]).view(20, 1, 32, 32)
    assert torch.equal(made, wanted.float()) and 0 < made.mean() < 1
    numbers = [world.materials.index(name) for name in chosen]
    assert torch.equal(masks.segmentation(scenes.material, numbers), made)
    sky = masks.segmentation(scenes.material[3], "sky", world.materials)
    assert torch.equal(sky[0, 0] == 1, scenes.material[3] == world.materials.index("sky"))
    everything = masks.segmentation(scenes.material, world.materials, world.materials)
    assert (everything == 1).all() and (masks.segmentation(scenes.material, []) == 0).all()


def test_a_segmentation_of_a_photograph():
    photo = photos("coffee", max_side=64)["coffee"]
    labels = torch.from_numpy(felzenszwalb(photo.permute(1, 2, 0).numpy(), scale=50))
    made = masks.segmentation(labels, [0, 2])
    assert made.shape == (1, 1, *photo.shape[-2:])
    assert torch.equal(made[0, 0] == 1, (labels == 0) | (labels == 2))


def test_drawn_segments_are_whole_and_never_none():
    labels = world_labels(200)
    drawn = masks.draw(range(200), 32, "segments", labels)[:, 0]
    shares = []
    for mask, label in zip(drawn, labels, strict=True):
        colored = {int(k): mask[label == k] for k in label.unique()}
        assert all(part.min() == part.max() for part in colored.values())  # a label is colored as a whole
        on = [bool(part[0]) for part in colored.values()]
        assert any(on)
        shares.append(sum(on) / len(on))
    assert abs(sum(shares) / len(shares) - 0.5) < 0.05
    one = masks.draw(range(9), 4, "segments", torch.full((9, 4, 4), 7))
    assert (one == 1).all()  # the only label there is


@pytest.mark.parametrize("kind", [kind for kind in masks.FAMILIES if kind != "segments"])
def test_any_size_down_to_one_pixel(kind):
    for size in ((1, 1), (1, 9), (7, 3)):
        assert masks.draw(SEEDS[:5], size, kind).shape == (5, 1, *size)
    assert masks.draw([], 8, kind).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (
            lambda: masks.draw([0], 8, "circles"),
            ValueError,
            "kinds must be one of full, ten.*; got 'circles'",
        ),
        (lambda: masks.draw([0], 8, []), ValueError, "kinds must name at least one"),
        (lambda: masks.draw([0], 0), ValueError, "at least 1; got 0"),
        (lambda: masks.draw([0], 8.0), TypeError, "size must be a whole number; got 8.0"),
        (lambda: masks.draw([0], (8, 8, 8)), ValueError, "one or two whole numbers"),
        (lambda: masks.draw([-1], 8), ValueError, "seeds must be at least 0; got -1"),
        (lambda: masks.draw([0.5], 8), TypeError, "got 0.5"),
        (
            lambda: masks.draw(torch.zeros(2), 8),
            TypeError,
            "seeds must be a tensor of whole numbers; got torch.float32",
        ),
        (lambda: masks.draw([0], 8, "segments"), ValueError, "'segments' need labels"),
        (
            lambda: masks.draw([0, 1], 8, "segments", torch.zeros(1, 8, 8, dtype=torch.int64)),
            ValueError,
            r"labels must have shape \(2, 8, 8\); got \(1, 8, 8\)",
        ),
        (lambda: masks.ten(8, ["left"]), ValueError, "names must be one of left half.*; got 'left'"),
        (lambda: masks.ten(8, []), ValueError, "names must name at least one"),
        (lambda: masks.segmentation(torch.zeros(8, 8), [0]), TypeError, "whole numbers; got torch.float32"),
        (lambda: masks.segmentation([[0]], [0]), TypeError, "labels must be a torch.Tensor; got list"),
        (
            lambda: masks.segmentation(torch.zeros(8, dtype=torch.int64), [0]),
            ValueError,
            r"\(B, H, W\) or \(H, W\); got \(8,\)",
        ),
        (
            lambda: masks.segmentation(torch.zeros(8, 8, dtype=torch.int64), ["sky"], ["sea", "sand"]),
            ValueError,
            "chosen must be one of sea, sand; got 'sky'",
        ),
        (lambda: masks.segmentation(torch.zeros(8, 8, dtype=torch.int64), [1.5]), TypeError, "got 1.5"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.uint16, torch.int32])
def test_labels_of_any_whole_numbers_will_do(dtype):
    labels = torch.tensor([[[0, 1], [1, 0]]])
    assert torch.equal(masks.segmentation(labels.to(dtype), [1]), masks.segmentation(labels, [1]))
    drawn = [masks.draw([3], 2, "segments", kind) for kind in (labels.to(dtype), labels)]
    assert torch.equal(*drawn)
