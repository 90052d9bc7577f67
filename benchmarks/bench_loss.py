"""Classification with sparse targets against dense ones: the loss alone, and a whole training step."""

import copy
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import skimage
import torch
from sklearn.neighbors import NearestNeighbors

from benchmarks.harness import Comparison
from colorlib.color import ab_bins, rgb_to_lab, soft_encode
from colorlib.models import CIC, sparse_cross_entropy

PACKAGES = ("scikit-image", "scikit-learn")
USUAL = "dense targets"


def comparisons():
    """The benchmarks of the loss, one after another."""
    yield loss_alone()
    yield training_step()
    yield training_step("bfloat16")


def dense_targets(ab, search, dtype=np.float32):
    """Soft targets as maps of 313 classes, by scikit-learn: ab (B, 2, h, w) to (B, 313, h, w)."""
    batch, _, height, width = ab.shape
    points = np.moveaxis(ab, 1, -1).reshape(-1, 2)
    distances, indices = search.kneighbors(points)
    weights = np.exp(-(distances**2) / (2 * 5.0**2))
    target = np.zeros((len(points), 313), dtype=dtype)
    target[np.arange(len(points))[:, None], indices] = weights / weights.sum(1, keepdims=True)
    return torch.from_numpy(target.reshape(batch, height, width, 313)).permute(0, 3, 1, 2).contiguous()


def median_time(function, count=9):
    """Median time of a function in seconds, after one call to warm up."""
    function()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def nearest_bins():
    return NearestNeighbors(n_neighbors=5, algorithm="ball_tree").fit(ab_bins(dtype=torch.float64).numpy())


def dense_loss(logits, target):
    return -(target * logits.log_softmax(1)).sum(1).mean()


def loss_data():
    """Targets and scores of the same numbers each time: ab (8, 2, 64, 64), logits (8, 313, 64, 64)."""
    generator = torch.Generator().manual_seed(0)
    ab = rgb_to_lab(torch.rand(8, 3, 64, 64, generator=generator))[:, 1:].contiguous()
    return ab, torch.randn(8, 313, 64, 64, generator=generator).requires_grad_()


def ways_of_the_loss():
    """Both ways from ab and logits to the loss and the logits' gradient, by name."""
    ab, logits = loss_data()
    array, search = ab.numpy(), nearest_bins()

    def finish(loss):
        (gradient,) = torch.autograd.grad(loss, logits)
        return loss.item(), gradient

    return {
        "sparse": lambda: finish(sparse_cross_entropy(logits, *soft_encode(ab)).mean()),
        USUAL: lambda: finish(dense_loss(logits, dense_targets(array, search))),
    }


def peak_memory(way):
    """How far one call of a way raises the peak memory of a fresh process, in MiB; None except on Linux."""
    # Not resource.getrusage: a child that is started inherits its parent's peak there.
    code = (
        "from benchmarks.bench_loss import read_peak, ways_of_the_loss;"
        f"run = ways_of_the_loss()[{way!r}]; before = read_peak(); run(); print(read_peak() - before)"
    )
    if not Path("/proc/self/status").exists():
        return None
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return float(done.stdout)


def read_peak():
    """The largest memory that this process has held so far, in MiB; Linux only."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def loss_alone():
    """Encoding, loss and gradient of the logits."""
    ways = ways_of_the_loss()

    def check(ours, peers):
        (loss, gradient), (their_loss, theirs) = ours, peers[USUAL]
        assert abs(loss - their_loss) < 1e-4, f"the losses are {loss:.6f} and {their_loss:.6f}"
        # Each gradient is divided by the number of pixels: so many times it is a difference of probabilities.
        difference = (gradient - theirs).abs().max().item() * gradient[:, 0].numel()
        assert difference < 1e-4, f"the gradients differ by {difference:.3g}"
        remark = f"Losses within 1e-4, gradients within {difference:.1g}."
        peaks = [peak_memory(way) for way in ("sparse", USUAL)]
        if None not in peaks:
            remark += f" Peak memory above the data: colorlib {peaks[0]:.0f} MiB, dense {peaks[1]:.0f} MiB."
        return remark

    return Comparison(
        name="soft encoding, cross entropy and gradient, 8 targets of 64x64",
        ours=ways["sparse"],
        peers={USUAL: ways[USUAL]},
        check=check,
        note="The dense way: scikit-learn's ball tree, a float32 map of 313 targets a pixel, log-softmax and"
        " a sum over 313. Colors drawn evenly from the sRGB cube.",
    )


def training_step(precision="float32"):
    """From RGB to the gradient of every weight, the same network on both sides.

    Ours is laid out as `fit` lays it out, and runs in a recipe's `precision`.
    """
    photograph = skimage.data.astronaut()
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 512 - 64, (32, 2), generator=generator).tolist()
    images = [photograph[y : y + 64, x : x + 64] for y, x in corners]
    batch = {"rgb": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().contiguous() / 255}
    torch.manual_seed(0)
    model, search = CIC.small(), nearest_bins()
    twin = copy.deepcopy(model)
    model.to(memory_format=torch.channels_last)
    half = precision == "bfloat16"

    def ours():
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model.loss(batch)
        return finish(model, loss)

    def finish(network, loss):
        network.zero_grad(set_to_none=True)
        loss.backward()
        return loss.item(), [parameter.grad.clone() for parameter in network.parameters()]

    def usual():
        lab = np.stack([skimage.color.rgb2lab(image) for image in images]).transpose(0, 3, 1, 2)
        logits = twin.logits(torch.from_numpy(lab[:, :1]).float())
        return finish(twin, dense_loss(logits, dense_targets(lab[:, 1:, 2::4, 2::4], search)))

    def check(ours, peers):
        (loss, gradients), (their_loss, theirs) = ours, peers["usual pipeline"]
        last, whole = apart(gradients[-2:], theirs[-2:]), apart(gradients, theirs)
        if half:  # eight bits of precision: the last layer's gradient agrees to about two digits
            assert abs(loss - their_loss) < 0.05, f"the losses are {loss:.6f} and {their_loss:.6f}"
            assert last < 0.05, f"the last layer's gradients differ by {last:.3g} of their length"
            return (
                f"Losses {loss:.4f} and {their_loss:.4f}; the gradients differ by {last:.1g} of their length"
                f" in the last layer and {whole:.1g} in all.\n\n{table()}"
            )
        assert abs(loss - their_loss) < 1e-3, f"the losses are {loss:.6f} and {their_loss:.6f}"
        # The two conversions to Lab differ in the last digits, and two dozen ReLUs let that grow in the first
        # layers. So the whole gradient is compared on one and the same Lab, in float64, where nothing grows.
        assert last < 1e-3, f"the last layer's gradients differ by {last:.3g} of their length"
        same = apart(*on_the_same_lab())
        assert same < 1e-9, f"from the same Lab, the gradients differ by {same:.3g} of their length"
        return (
            f"From the same Lab, in float64, the gradients differ by {same:.1g} of their length. As timed,"
            f" with each side's own conversion, by {last:.1g} in the last layer and {whole:.1g} in all."
            f"\n\n{table()}"
        )

    def on_the_same_lab():
        network = copy.deepcopy(model).double()
        lab = np.stack([skimage.color.rgb2lab(image) for image in images]).transpose(0, 3, 1, 2)
        ours = torch.from_numpy(np.ascontiguousarray(lab))
        logits = network.logits(ours[:, :1])
        _, sparse = finish(network, sparse_cross_entropy(logits, *network._targets(ours)).mean())
        target = dense_targets(lab[:, 1:, 2::4, 2::4], search, np.float64)
        _, dense = finish(network, dense_loss(network.logits(ours[:, :1]), target))
        return sparse, dense

    def table():
        """Where the time goes: the parts of both steps, the median of nine."""
        array = np.stack([skimage.color.rgb2lab(image) for image in images]).transpose(0, 3, 1, 2)
        lab = rgb_to_lab(batch["rgb"])
        targets, dense = model._targets(lab), dense_targets(array[:, 1:, 2::4, 2::4], search)
        logits = model.logits(lab[:, :1])
        cut = logits.detach().requires_grad_()

        def ours_back():
            model.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                out = model.logits(lab[:, :1])
            out.backward(torch.ones_like(out))

        def theirs_back():
            twin.zero_grad(set_to_none=True)
            twin.logits(lab[:, :1]).backward(torch.ones_like(logits))

        def step_of(loss):
            def run():
                torch.autograd.grad(loss(), cut)

            return run

        rows = [
            (
                "RGB to Lab",
                lambda: rgb_to_lab(batch["rgb"]),
                lambda: [skimage.color.rgb2lab(i) for i in images],
            ),
            (
                "soft encoding",
                lambda: model._targets(lab),
                lambda: dense_targets(array[:, 1:, 2::4, 2::4], search),
            ),
            ("network, forward and back", ours_back, theirs_back),
            (
                "loss and its gradient",
                step_of(lambda: sparse_cross_entropy(cut, *targets).mean()),
                step_of(lambda: dense_loss(cut, dense)),
            ),
        ]
        lines = ["| part of the step | colorlib | usual pipeline |", "|---|---:|---:|"]
        for name, *ways in rows:
            times = [median_time(way) for way in ways]
            lines.append(f"| {name} | " + " | ".join(f"{1000 * t:.1f} ms" for t in times) + " |")
        return "\n".join(lines)

    def apart(gradients, theirs):
        ours_flat, theirs_flat = (torch.cat([g.flatten() for g in x]) for x in (gradients, theirs))
        return ((ours_flat - theirs_flat).norm() / theirs_flat.norm()).item()

    return Comparison(
        name="training step of CIC.small(), 32 images of 64x64, data to gradient"
        + (", in bfloat16" if half else ""),
        ours=ours,
        peers={"usual pipeline": usual},
        aims={"usual pipeline": 2.0},
        check=check,
        note="The usual pipeline: scikit-image's rgb2lab an image at a time, scikit-learn's ball tree, dense"
        " targets, float32 NCHW; on the CPU. Ours keeps its channels last, as `fit` does"
        + (", and computes in bfloat16, as a recipe with `precision='bfloat16'` does." if half else "."),
    )
