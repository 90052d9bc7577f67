"""Color conversion against scikit-image and kornia, soft encoding against scikit-learn."""

import kornia
import numpy as np
import skimage
import torch
from sklearn.neighbors import NearestNeighbors

from benchmarks.harness import Comparison
from colorlib.color import ab_bins, lab_to_rgb, rgb_to_lab, soft_encode

PACKAGES = ("kornia", "scikit-image", "scikit-learn")
AIMS = {"scikit-image": 2.0, "kornia": 1.0}


def comparisons():
    """The color benchmarks, one after another."""
    sizes = {
        "32 images of 128x128": photographs(32, 128),
        "one photograph of 12 megapixels": enlarged_photograph(3000, 4000),
    }
    for size, rgb in sizes.items():
        yield to_lab(size, rgb)
        yield to_rgb(size, rgb)
    yield encode()


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
        },
        aims=AIMS,
        check=agreement(within={"scikit-image": 1e-3, "kornia": 1e-3}, unit="Lab units"),
        note="float32; channels last for scikit-image, first for the others.",
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
        },
        aims=AIMS,
        check=agreement(within={"scikit-image": 1e-4, "kornia": 1e-4}, unit="of the range"),
        note="float32; channels last for scikit-image, first for the others.",
    )


def agreement(within, unit):
    """A check that the results lie no farther apart than `within` says for each peer."""

    def check(ours, peers):
        differences = {}
        for name, theirs in peers.items():
            if isinstance(theirs, np.ndarray):
                theirs = torch.from_numpy(theirs).movedim(-1, 1)
            differences[name] = (ours - theirs).abs().max().item()
            assert differences[name] <= within[name], f"{name} differs by {differences[name]:.3g} {unit}"
        return (
            "Largest difference: "
            + ", ".join(f"{d:.1g} {unit} from {n}" for n, d in differences.items())
            + "."
        )

    return check


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
