"""Color conversion against scikit-image, kornia and OpenCV, soft encoding against scikit-learn.

And a photograph colored, beside the time that Pillow takes to read and write it.
"""

import io

import cv2
import kornia
import numpy as np
import skimage
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors

import colorlib
from benchmarks.harness import Comparison
from colorlib.color import ab_bins, lab_to_rgb, rgb_to_gray, rgb_to_lab, soft_encode

PACKAGES = ("kornia", "opencv-python-headless", "pillow", "scikit-image", "scikit-learn")
EQUALS = {"scikit-image": 1e-3, "kornia": 1e-3}  # the errors that are taken for rounding
AIMS = {"scikit-image": 2.0, "kornia": 1.0, "OpenCV": 1 / 1.5}


def comparisons():
    """The color benchmarks, one after another."""
    cv2.setNumThreads(torch.get_num_threads())
    sizes = {
        "32 images of 128x128": photographs(32, 128),
        "one photograph of 12 megapixels": enlarged_photograph(3000, 4000),
    }
    for size, rgb in sizes.items():
        yield to_lab(size, rgb)
        yield to_rgb(size, rgb)
    yield encode()
    yield color_photograph(sizes["one photograph of 12 megapixels"])


def photograph():
    """The astronaut of scikit-image: float32 (1, 3, 512, 512)."""
    return torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None].float() / 255


def photographs(count, size):
    """Crops of it at random places: (count, 3, size, size)."""
    whole = photograph()[0]
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 512 - size, (count, 2), generator=generator).tolist()
    return torch.stack([whole[:, y : y + size, x : x + size] for y, x in corners])


def enlarged_photograph(height, width):
    """The same photograph, interpolated to (1, 3, height, width)."""
    return torch.nn.functional.interpolate(photograph(), (height, width), mode="bicubic").clamp(0, 1)


def channels_last(image):
    return np.ascontiguousarray(image.movedim(1, -1).numpy())


def to_lab(size, rgb):
    """RGB to CIELAB."""
    array = channels_last(rgb)
    return Comparison(
        name=f"rgb_to_lab, {size}",
        ours=lambda: rgb_to_lab(rgb),
        peers={
            "scikit-image": lambda: skimage.color.rgb2lab(array),
            "kornia": lambda: kornia.color.rgb_to_lab(rgb),
            "OpenCV": lambda: opencv(array, cv2.COLOR_RGB2Lab),
        },
        aims=AIMS,
        check=agreement(
            rgb_to_lab(rgb.double()), within={**EQUALS, "OpenCV": 2.0}, unit="Lab units", ours=1e-3
        ),
        note="float32; channels first for colorlib and kornia, last for the others.",
    )


def to_rgb(size, rgb):
    """CIELAB to RGB."""
    lab = rgb_to_lab(rgb)
    array = channels_last(lab)
    return Comparison(
        name=f"lab_to_rgb, {size}",
        ours=lambda: lab_to_rgb(lab),
        peers={
            "scikit-image": lambda: skimage.color.lab2rgb(array),
            "kornia": lambda: kornia.color.lab_to_rgb(lab),
            "OpenCV": lambda: opencv(array, cv2.COLOR_Lab2RGB),
        },
        aims=AIMS,
        check=agreement(
            lab_to_rgb(lab.double()), within={**EQUALS, "OpenCV": 1e-2}, unit="of the range", ours=1e-4
        ),
        note="float32; channels first for colorlib and kornia, last for the others.",
    )


def opencv(array, code):
    """One picture, or several one after another, as it has no batches."""
    return (
        np.stack([cv2.cvtColor(x, code) for x in array]) if len(array) > 1 else cv2.cvtColor(array[0], code)
    )


def agreement(exact, within, unit, ours):
    """A check that no result is farther from the one in float64 than it may be."""

    def check(result, peers):
        errors = {}
        for name, theirs in {"colorlib": result, **peers}.items():
            if isinstance(theirs, np.ndarray):
                theirs = torch.from_numpy(theirs).view(len(exact), *theirs.shape[-3:]).movedim(-1, 1)
            errors[name] = (exact - theirs).abs().max().item()
            limit = {"colorlib": ours, **within}[name]
            assert errors[name] <= limit, f"{name} is wrong by {errors[name]:.3g} {unit}"
        told = ", ".join(f"{error:.1g} of {name}" for name, error in errors.items())
        return f"Largest error, {unit}, against float64: {told}."

    return check


def color_photograph(rgb):
    """A photograph colored by the weights for photographs, in memory."""
    gray = rgb_to_gray(rgb)
    model = colorlib.load("photographs")
    buffer = io.BytesIO()
    pixels = (channels_last(rgb)[0] * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)

    def read_and_write():
        with Image.open(buffer) as image:
            image.load()
        image.save(io.BytesIO(), "JPEG", quality=95, subsampling=0)

    return Comparison(
        name="color one photograph of 12 megapixels",
        ours=lambda: model.colorize(gray, seed=0),
        peers={"Pillow, reading and writing the JPEG file": read_and_write},
        note="The model that `colorlib colorize` takes where it is not told otherwise, from gray to RGB in"
        " memory. Reading and writing the file in color, which a command must do as well, is the floor.",
    )


def encode():
    """The five nearest bins and their weights."""
    rgb = torch.rand(32, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ab = rgb_to_lab(rgb)[:, 1:].contiguous()
    points = ab.movedim(1, -1).reshape(-1, 2).double().numpy()
    bins = ab_bins(dtype=torch.float64).numpy()

    def usual_way(jobs):
        search = NearestNeighbors(n_neighbors=5, algorithm="ball_tree", n_jobs=jobs).fit(bins)

        def contestant():
            distances, indices = search.kneighbors(points)
            weights = np.exp(-(distances**2) / (2 * 5.0**2))
            return indices, weights / weights.sum(1, keepdims=True)

        return contestant

    def check(ours, peers):
        indices, weights = (x.movedim(1, -1).reshape(-1, 5).double().numpy() for x in ours)
        distances = np.linalg.norm(points[:, None] - bins[indices.astype(int)], axis=-1)
        for name, (their_indices, theirs) in peers.items():
            # Of two bins equally near, either may come first: the distances must agree, not the indices.
            expected = np.linalg.norm(points[:, None] - bins[their_indices], axis=-1)
            assert np.abs(distances - expected).max() < 1e-4, f"{name} found other bins"
            assert np.abs(weights - theirs).max() < 1e-5, f"{name} has other weights"
        return "All found the same bins, and weights within 1e-5."

    return Comparison(
        name="soft_encode, 131,072 colors, 5 nearest bins",
        ours=lambda: soft_encode(ab),
        peers={"scikit-learn": usual_way(None), "scikit-learn, all cores": usual_way(-1)},
        aims={"scikit-learn": 10.0},
        check=check,
        note="Colors drawn evenly from the sRGB cube: more of them lie near the rim of the gamut than in"
        " photographs. scikit-learn's ball tree as colorization code uses it, then the Gaussian weights.",
    )
