"""Drawing chroma maps at PixColor's full size: the cached sampler against two loops and a floor."""

import torch

from benchmarks.harness import Comparison
from colorlib.models import PixelCNN
from colorlib.sampling import cached_logits, naive_sample, sample

PACKAGES = ()
SIDE = 28
VALUES = 2 * SIDE * SIDE
NAIVE, CROPPED, FLOOR = "naive loop", "loop over cropped rows", "one teacher-forced pass"
WITHOUT = "colorlib without the CUDA graph"
# The cost of a cropped pass is a straight line in its rows, so these heights have the mean cost of all 28.
HEIGHTS = (4, 11, 18, 25)


def comparisons():
    """The benchmarks of sampling, one batch size after another; on a GPU too, where there is one."""
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for batch in (1, 4, 16, 64):
            yield drawing(batch, torch.device(device))


def drawing(batch, device):
    """One map for each of so many images, with random weights: they cost what trained ones cost."""
    torch.manual_seed(0)
    # With TF32, convolutions on a GPU keep ten bits, and the cached products all of them.
    torch.backends.cudnn.allow_tf32 = False
    model = PixelCNN().eval().to(device)
    condition = torch.randn(batch, 64, SIDE, SIDE).to(device)
    chroma = model.values(torch.randint(32, (batch, 2, SIDE, SIDE), device=device))
    passes = max(1, 4 // batch)
    on_gpu = device.type == "cuda"

    def whole(function):
        """Until its work is done: a GPU's goes on after the call."""

        def run():
            out = function()
            if on_gpu:
                torch.cuda.synchronize()
            return out

        return run

    def chance():
        return torch.Generator(device).manual_seed(0)

    def ours(**settings):
        return sample(model, condition, 1, chance(), **settings)

    def full_passes():
        with torch.inference_mode():
            for _ in range(passes):
                scores = model(chroma, condition)[:, 0, :, -1, -1]
        return scores

    def cropped_passes():
        with torch.inference_mode():
            for rows in HEIGHTS:
                scores = model(chroma[:, :, :rows], condition[:, :, :rows])[:, 0, :, -1, -1]
        return scores

    def floor():
        with torch.inference_mode():
            return model(chroma, condition)

    def check(ours, peers):
        difference = (cached_logits(model, condition, chroma) - peers[FLOOR]).abs().max().item()
        assert difference < 1e-3, f"the scores differ by {difference:.3g}"
        assert (peers[NAIVE] - peers[FLOOR][:, 0, :, -1, -1]).abs().max() < 1e-3
        corner = condition[:1, :, :4, :4]
        ones = [draw(model, corner, 1, chance()) for draw in (sample, naive_sample)]
        assert torch.equal(*ones), "the samplers differ on a corner of 4x4"
        assert ours.shape == (1, batch, 2, SIDE, SIDE)
        return f"Scores within {difference:.1g}; equal samples on a corner of 4x4."

    peers = {NAIVE: full_passes, CROPPED: cropped_passes, FLOOR: floor}
    if on_gpu:
        peers[WITHOUT] = lambda: ours(graph=False)
    return Comparison(
        name=f"draw chroma of {SIDE}x{SIDE} for {batch} image{'s' * (batch > 1)}{' on a GPU' * on_gpu}",
        ours=whole(ours),
        peers={name: whole(function) for name, function in peers.items()},
        shares={NAIVE: passes / VALUES, CROPPED: len(HEIGHTS) / VALUES},
        aims={} if on_gpu else {NAIVE: 100} if batch == 1 else {FLOOR: 1 / 3} if batch == 64 else {},
        check=check,
        items=(batch, "images"),
        note=f"The network of PixColor's paper: 10 blocks, {VALUES} values a map. The naive loop runs it on"
        f" the whole map for each value: {passes} of these passes are timed, and the rest is extrapolated."
        " The second loop, as tutorials have it, runs it on the rows down to the current one: a pass at each"
        f" of {len(HEIGHTS)} heights is timed, and the rest is extrapolated. The floor is one pass that"
        " scores a map that is there already: the arithmetic that every sampler has to do, in large pieces.",
    )
