"""The self-organizing map against MiniSom, at equal passes over the data."""

import torch
from minisom import MiniSom

from benchmarks.harness import Comparison
from colorlib.classic import SOM
from colorlib.color import rgb_to_lab
from colorlib.data import photos

PACKAGES = ("MiniSom",)
SIDE, PASSES, SAMPLES = 10, 10, 20_000


def comparisons():
    """The SOM benchmark."""
    data = chroma()
    array = data.double().numpy()

    def minisom(seed=0):
        peer = MiniSom(SIDE, SIDE, 2, random_seed=seed)
        peer.pca_weights_init(array)
        peer.train(array, PASSES * SAMPLES, random_order=True)
        return peer

    def check(ours, peers):
        # MiniSom's order of samples is a matter of its seed: ours must be no worse than its mean over three.
        theirs = [peers["MiniSom"], minisom(1), minisom(2)]
        errors = [peer.quantization_error(array) for peer in theirs]
        mean, error = sum(errors) / len(errors), ours.quantization_error(data)
        assert error <= mean, f"quantization error {error:.4f}, MiniSom's {mean:.4f} on average"
        online = peers["colorlib, online rule"]
        topographic = [peer.topographic_error(array) for peer in theirs]
        return (
            f"Quantization error, in Lab units: {error:.3f} for colorlib's batch rule,"
            f" {online.quantization_error(data):.3f} for its online rule,"
            f" {', '.join(f'{e:.3f}' for e in errors)} for MiniSom with seeds 0, 1, 2."
            f" Topographic error: {ours.topographic_error(data):.3f}, {online.topographic_error(data):.3f},"
            f" {', '.join(f'{e:.3f}' for e in topographic)}."
        )

    yield Comparison(
        name=f"SOM of {SIDE} x {SIDE}, {SAMPLES:,} chroma points, {PASSES} passes",
        ours=lambda: on_one_thread(data, "batch"),
        peers={
            "MiniSom": minisom,
            "colorlib, online rule": lambda: on_one_thread(data, "online"),
        },
        aims={"MiniSom": 50.0},
        check=check,
        note="ab of pixels drawn from scikit-image's color photographs; float32 for colorlib, float64 for"
        " MiniSom. All run on one thread and start from the principal axes. colorlib's"
        " batch rule moves the neurons once a pass; its online rule and MiniSom, with its default radius and"
        " learning rate, move them at every sample.",
    )


def on_one_thread(data, rule):
    """Our map, trained on a single thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return SOM(SIDE, SIDE).fit(data, epochs=PASSES, rule=rule)
    finally:
        torch.set_num_threads(threads)


def chroma():
    """The ab of pixels drawn at random from all color photographs together: (SAMPLES, 2)."""
    ab = torch.cat([rgb_to_lab(photo)[1:].flatten(1).T for photo in photos().values()])
    chosen = torch.randperm(len(ab), generator=torch.Generator().manual_seed(0))[:SAMPLES]
    return ab[chosen].contiguous()
