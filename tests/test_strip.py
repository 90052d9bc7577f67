"""The strip of colorings in the README and on the front page is what the weights that are shipped make."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NEAR = 1.5  # mean difference of two pictures, of 255: two machines, or two versions of a JPEG encoder


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("strip", ROOT / "book" / "strip.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def off(one, other):
    return np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float)).mean()


def test_the_strip_is_what_the_shipped_weights_make(script):
    with Image.open(script.STRIP) as file:
        committed = file.convert("RGB")
    made = io.BytesIO()
    script.write(made)
    with Image.open(made) as anew:
        assert committed.size == anew.size
        assert off(committed, anew) < NEAR, "run `make strip`"
    # A small change of the colors is noticed.
    muted = script.strip(temperature=1.0).permute(1, 2, 0) * 255
    assert off(committed, muted) > NEAR


def test_the_strip_has_gray_above_and_the_same_lightness_in_color_below(script):
    strip, side = script.strip(), script.SIDE
    above, below = strip[:, :side], strip[:, side + script.GAP :]
    assert strip.shape[2] == len(script.NAMES) * (side + script.GAP) - script.GAP
    assert torch.equal(above[0], above[1]) and torch.equal(above[1], above[2])
    weights = torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]  # luminance, IEC 61966-2-1
    linear = [torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) for x in (above, below)]
    lost = (linear[0] - linear[1]).mul(weights).sum(0).abs()
    assert lost.max() < 0.01
    for k in range(len(script.NAMES)):
        column = below[:, :, k * (side + script.GAP) : k * (side + script.GAP) + side]
        assert (column.amax(0) - column.amin(0)).mean() > 0.02


def test_the_strip_is_small_and_told_to_those_who_cannot_see_it(script):
    assert script.STRIP.stat().st_size < 150_000
    for name, form in (("README.md", f"![{script.ALT}]("), ("book/index.md", f':alt: "{script.ALT}"')):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert form in text and script.STRIP.name in text
