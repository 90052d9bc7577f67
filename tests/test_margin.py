"""The even margin of a print: found where there is one, and nowhere else."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from colorlib.data.margin import margin


def shapes(width=180, height=120, low=30, high=225, seed=0):
    """A picture of soft shapes with grain, of 8-bit gray."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(low, high, (9, 12), dtype=np.uint8))
    picture = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) + random.normal(
        0, 4, (height, width)
    )
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def noisy(image, levels=2):
    """A gray tensor of an image with even noise, as a scanner makes it."""
    pixels = np.asarray(image).astype(int)
    pixels = pixels + np.random.default_rng(1).integers(-levels, levels + 1, pixels.shape)
    return torch.from_numpy(pixels.clip(0, 255) / 255)[None].float()


def framed(picture, paper, border, angle=0.0):
    """A picture on paper with a border, laid askew by an angle; and where the picture is."""
    picture, whole = (
        image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        for image in (picture, Image.new("L", picture.size, 255))
    )
    left, top, right, bottom = border
    size = picture.width + left + right, picture.height + top + bottom
    scan, inside = Image.new("L", size, paper), Image.new("L", size)
    scan.paste(picture, (left, top), whole)
    inside.paste(whole, (left, top))
    return scan, np.asarray(inside) > 0


@pytest.mark.parametrize("paper", [255, 239, 210, 18, 0])
@pytest.mark.parametrize(
    "border, angle", [((9, 9, 9, 9), 0), ((20, 14, 8, 40), 0), ((3, 3, 3, 3), 0), ((12, 12, 12, 12), 2.5)]
)
def test_paper_stays_gray_and_the_picture_keeps_its_color(paper, border, angle):
    scan, inside = framed(shapes(low=60, high=190), paper, border, angle)
    for size in (1, 3):  # the larger one is looked at in a smaller copy
        large = scan.resize((scan.width * size, scan.height * size), Image.Resampling.BICUBIC)
        keep = margin(noisy(large))[0].numpy()
        where = np.kron(inside, np.ones((size, size))) > 0
        assert keep[~ndimage.binary_dilation(where, iterations=2 * size)].max() == 0
        assert keep[ndimage.binary_erosion(where, iterations=6 * size)].min() == 1
        assert abs(np.diff(keep, axis=0)).max() < 1  # no hard step


def test_writing_on_the_margin_belongs_to_it():
    scan, inside = framed(shapes(), 240, (20, 20, 20, 40))
    ImageDraw.Draw(scan).text((60, 145), "Summer 1931", fill=60)
    keep = margin(noisy(scan))[0].numpy()
    assert keep[~inside].max() == 0 and keep[ndimage.binary_erosion(inside, iterations=6)].min() == 1


def test_a_sky_as_light_as_the_paper_belongs_to_the_picture():
    picture = shapes(high=200)
    ImageDraw.Draw(picture).rectangle((30, 0, 120, 50), fill=240)
    scan, inside = framed(picture, 240, (15, 15, 15, 15))
    keep = margin(noisy(scan))[0].numpy()
    assert keep[~inside].max() == 0 and keep[ndimage.binary_erosion(inside, iterations=6)].min() == 1


def test_traces_of_compression_do_not_hide_a_margin():
    scan, inside = framed(shapes(), 240, (21, 19, 21, 19))
    file = io.BytesIO()
    scan.save(file, "JPEG", quality=75)
    keep = margin(noisy(Image.open(file), 0))[0].numpy()
    assert keep[~ndimage.binary_dilation(inside, iterations=2)].max() == 0


def scenes():
    """Pictures without a margin."""
    blank = Image.new("L", (180, 120), 200)
    ramp = Image.fromarray(np.tile(np.linspace(120, 235, 120)[:, None], 180).astype(np.uint8))
    yield "a picture", shapes()
    yield "one lightness", blank
    yield "a ramp", ramp
    sky = shapes()
    sky.paste(blank.crop((0, 0, 180, 50)), (0, 0))
    yield "a plain sky over land", sky
    snow = shapes(high=120)
    snow.paste(240, (0, 60, 180, 120))
    yield "snow below", snow
    beside = shapes()
    beside.paste(235, (0, 0, 40, 120))
    beside.paste(235, (140, 0, 180, 120))
    yield "walls on both sides", beside
    three = shapes()
    for box in ((0, 0, 180, 20), (0, 0, 20, 120), (160, 0, 180, 120)):
        three.paste(235, box)
    yield "three sides", three
    for name, draw in (
        (
            "a head before a backdrop",
            lambda d: (d.ellipse((60, 15, 120, 90), 90), d.ellipse((30, 80, 150, 200), 60)),
        ),
        ("a ball before a backdrop", lambda d: d.ellipse((45, 15, 135, 105), 90)),
        ("a ship on the sea", lambda d: d.rectangle((80, 50, 100, 60), 60)),
        ("a hill", lambda d: d.polygon([(10, 110), (90, 10), (170, 110)], 80)),
        ("a bird", lambda d: d.polygon([(20, 30), (90, 60), (160, 20), (95, 90)], 50)),
    ):
        image = blank.copy()
        draw(ImageDraw.Draw(image))
        yield name, image
    yield "four pixels", Image.new("L", (2, 2), 200)
    tiny = Image.new("L", (5, 5), 240)
    tiny.paste(20, (1, 1, 4, 4))
    yield "too small to tell", tiny


@pytest.mark.parametrize("name, scene", [pytest.param(*one, id=one[0]) for one in scenes()])
def test_other_pictures_keep_all_their_color(name, scene):
    assert margin(noisy(scene)) is None
