"""Checks of the assignment on color as classes: soft-encoding, rebalancing, annealed mean."""

import torch

from colorlib import color
from colorlib.check.engine import Case, Mistake, Task

POINTS = torch.tensor([[13.0, -4.0], [-21.0, 38.0], [2.0, 1.0]])
K, SIGMA = 5, 5.0


def _encoded(k=K, power=2.0, two=2.0, normal=True, even=False):
    bins = color.ab_bins()
    distance = (POINTS[:, None] - bins).norm(dim=-1)
    weights = torch.exp(-(distance**power) / (two * SIGMA**power))
    weights = torch.ones_like(weights) if even else weights
    near = torch.zeros_like(weights).scatter(1, distance.topk(k, largest=False).indices, 1.0)
    weights = weights * near
    return weights / weights.sum(1, keepdim=True) if normal else weights


ENCODE = Case(
    of="three colors spread over the 313 bins, the 5 nearest to each, with a sigma of 5",
    ask=lambda f: f(POINTS.clone(), color.ab_bins(), K, SIGMA),
    wanted=_encoded,
    wants=(
        "Wanted is a row of 313 weights for each color. All are 0 but those of the k nearest bins; these are "
        "proportional to exp(-d^2 / (2 sigma^2)), d being the distance, and sum to 1. So the mean of the "
        "bins under them is close to the color itself."
    ),
    tolerance=1e-4,
    mistakes=(
        Mistake(
            "one-hot",
            lambda: _encoded(k=1),
            "Your rows have a single 1, at the nearest bin. That is hard encoding: the color snaps to the "
            "grid, and a network learns nothing of how near the neighbors are.",
            "The number of neighbors: topk with k, and not argmin.",
        ),
        Mistake(
            "all bins",
            lambda: _encoded(k=313),
            "Your weights are spread over all bins. They are small far away, but they are there, and a loss "
            "over them costs sixty times as much.",
            "After the weights, keep the k nearest: topk names them, scatter puts them in their places.",
        ),
        Mistake(
            "not normalized",
            lambda: _encoded(normal=False),
            "Your weights have the right ratios, and don't sum to 1. A cross entropy would then count some "
            "pixels more than others.",
            "The last step: divide each row by its sum, with keepdim=True.",
        ),
        Mistake(
            "no two",
            lambda: _encoded(two=1.0),
            "Your weights are those without the 2 below the fraction bar, and fall off too fast.",
            "The denominator in exp: twice the square of sigma.",
        ),
        Mistake(
            "not squared",
            lambda: _encoded(power=1.0),
            "Your weights fall off with the distance and not with its square.",
            "The argument of exp: distance and sigma both come squared.",
        ),
        Mistake(
            "even",
            lambda: _encoded(even=True),
            "Your five bins all have one fifth. So a color close to one bin and a color between two bins are "
            "told apart by nothing.",
            "The weights: it is exp of the distances of the k nearest that is wanted, not ones.",
        ),
        Mistake(
            "farthest",
            lambda: torch.full_like(_encoded(), torch.nan),
            "There is nothing left to divide by: the weights of the bins that you keep are all 0, as they "
            "are for bins that lie far from the color.",
            "The option of topk: without largest=False it keeps the largest distances.",
        ),
    ),
)

PRIOR = torch.tensor([0.6, 0.25, 0.1, 0.05])
MIX = 0.25


def _rebalanced(p, mix, norm="expected"):
    weights = 1 / ((1 - mix) * p + mix / len(p))
    return (
        weights
        / {
            "expected": (p * weights).sum(),
            "sum": weights.sum(),
            "mean": weights.mean(),
            "none": 1,
        }[norm]
    )


REBALANCE = Case(
    of="the weights of four classes that make up 60, 25, 10 and 5 % of the pixels, with a mix of 0.25",
    ask=lambda f: f(PRIOR.clone(), MIX),
    wanted=lambda: _rebalanced(PRIOR, MIX),
    wants=(
        "Wanted is a weight for each class, proportional to 1 / ((1 - mix) p + mix / Q) with Q classes, and "
        "scaled so that the expected weight, the sum of p times w, is 1. So rare classes count for more, and "
        "the loss as a whole keeps its size."
    ),
    tolerance=1e-4,
    mistakes=(
        Mistake(
            "no mix",
            lambda: _rebalanced(PRIOR, 0.0),
            "Your weights are those of 1 / p alone. A class that hardly comes would then rule the loss, and "
            "one that never comes would have an infinite weight.",
            "Before the reciprocal, p is to be mixed with the uniform share, 1 / Q.",
        ),
        Mistake(
            "mix turned around",
            lambda: _rebalanced(PRIOR, 1 - MIX),
            "Your weights are right for a mix of 0.75: the two shares have changed places. At a mix of 1 all "
            "weights should be equal.",
            "The mixture: mix belongs to the uniform part, 1 - mix to p.",
        ),
        Mistake(
            "sum to one",
            lambda: _rebalanced(PRIOR, MIX, "sum"),
            "Your weights sum to 1. With 313 classes they would all be tiny, and the learning rate with "
            "them.",
            "The last division: by the sum of p times w, and not by the sum of w.",
        ),
        Mistake(
            "not normalized",
            lambda: _rebalanced(PRIOR, MIX, "none"),
            "Your weights have the right ratios and are not scaled, so the loss becomes larger or smaller "
            "than without them.",
            "A last step is missing: divide by the sum of p times w.",
        ),
        Mistake(
            "mean one",
            lambda: _rebalanced(PRIOR, MIX, "mean"),
            "Your weights have the mean 1 over the classes. But most pixels belong to frequent classes, "
            "whose weights are small, so the mean over the pixels is far below 1.",
            "The last division: a mean over pixels weighs each class with its share p.",
        ),
        Mistake(
            "proportional",
            lambda: 1 / _rebalanced(PRIOR, MIX, "none") / (PRIOR / _rebalanced(PRIOR, MIX, "none")).sum(),
            "Your weights grow with the share, so that frequent classes count for more. It is the other way "
            "around that helps the rare ones.",
            "The mixture stands below the fraction bar: take its reciprocal.",
        ),
    ),
)

BINS = torch.tensor([[0.0, 0.0], [40.0, 20.0], [-30.0, 50.0], [60.0, -40.0]])
LOGITS = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.05, 0.15, 0.5, 0.3]]).log() + 2.0
BIG = torch.tensor([[900.0, 899.0, 0.0, -900.0]])


def _annealed_case(of, logits, temperature):
    def mean(x):
        return x.softmax(-1) @ BINS

    p = logits.softmax(-1)
    sharpened = p ** (1 / temperature)
    return Case(
        of=of,
        ask=lambda f: f(logits.clone(), BINS.clone(), temperature),
        wanted=lambda: mean(logits / temperature),
        wants=(
            "Wanted is the mean of the bins' colors under softmax(logits / T). At T = 1 that is the plain "
            "mean of the distribution. Below 1 the likely bins gain, so colors get more vivid; close to 0 "
            "the likeliest bin takes all."
        ),
        tolerance=1e-3,
        mistakes=(
            Mistake(
                "times T",
                lambda: mean(logits * temperature),
                "Your color is the one for logits multiplied by the temperature. A low temperature then "
                "makes all bins alike, and the color gray.",
                "Logits and temperature: the one is divided by the other.",
            ),
            Mistake(
                "no temperature",
                lambda: mean(logits),
                "Your color is the plain mean, whatever the temperature: it enters nowhere.",
                "The argument of softmax: divide the logits by the temperature there.",
            ),
            Mistake(
                "mode",
                lambda: BINS[logits.argmax(-1)],
                "Your color is that of the likeliest bin. That is where the way ends, at a temperature of 0; "
                "at others the neighbors have their say.",
                "argmax is not needed: softmax gives the weights of a mean.",
            ),
            Mistake(
                "softmax twice",
                lambda: mean(p / temperature),
                "Your color is the one for a softmax of probabilities. Probabilities lie between 0 and 1, so "
                "their softmax is nearly even, and the color nearly gray.",
                "Softmax comes once, and takes logits. Divide these, not the probabilities.",
            ),
            Mistake(
                "not normalized",
                lambda: sharpened @ BINS,
                "Your weights are sharpened, and no longer sum to 1, so the mean is too near to gray or too "
                "far from it.",
                "After raising probabilities to a power, divide by their sum; or use softmax, which does.",
            ),
        ),
    )


def _picture():
    from colorlib import data, show

    scene = data.World(64)[9]
    log = data.World(64).law.distribution(scene).log()
    pictures = [
        color.lab_to_rgb(torch.cat([scene.lightness, color.annealed_mean(log, t)]), clip=True)
        for t in (1.0, 0.38, 0.05)
    ]
    return show.grid([scene.rgb, *pictures], ["drawn", "T = 1", "T = 0.38", "T = 0.05"])


def _spread():
    import matplotlib.pyplot as plt

    from colorlib import show

    bins, weights = color.ab_bins().T.numpy(), _encoded().numpy()
    fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.6), layout="constrained")
    for axis, point, row in zip(axes, POINTS.tolist(), weights, strict=True):
        axis.scatter(*bins, s=4, color="lightgray")
        axis.scatter(*bins, s=250 * row, color="tab:blue")
        axis.plot(*point, "x", color="tab:red")
        axis.set(xlim=(point[0] - 28, point[0] + 28), ylim=(point[1] - 28, point[1] + 28))
        axis.set_title(f"a = {point[0]:.0f}, b = {point[1]:.0f}", fontsize=9)
    return show.figure(
        fig,
        "Three colors, red crosses, among the bins, gray dots. At the five bins nearest to each, blue "
        "discs stand for the weights: the nearer the bin, the larger the disc.",
    )


def _curves():
    import matplotlib.pyplot as plt

    from colorlib import show

    shares = torch.logspace(-3, -0.3, 60)
    fig, axis = plt.subplots(figsize=(4.5, 2.8), layout="constrained")
    for mix in (0.1, 0.5, 0.9, 1.0):
        # One class of each share, the rest of the pixels spread evenly over 312 others.
        priors = [torch.cat([p[None], ((1 - p) / 312).expand(312)]) for p in shares]
        weights = [color.rebalancing_weights(p, mix)[0].item() for p in priors]
        axis.loglog(shares.tolist(), weights, label=f"mix {mix}")
    axis.set(xlabel="share of the class", ylabel="its weight")
    axis.legend(fontsize=8)
    return show.figure(fig, "The weight of a class falls with its share, and the less, the larger the mix.")


TASKS = (
    Task("soft_encode", "soft_encode(ab, bins, k, sigma)", (ENCODE,), _spread),
    Task("rebalancing_weights", "rebalancing_weights(prior, mix)", (REBALANCE,), _curves),
    Task(
        "annealed_mean",
        "annealed_mean(logits, bins, temperature)",
        (
            _annealed_case(
                "the color of two distributions over four bins at a temperature of 0.38", LOGITS, 0.38
            ),
            _annealed_case("the color of logits as large as 900, at a temperature of 0.5", BIG, 0.5),
        ),
        _picture,
    ),
)
