"""Checks of the assignment on masked convolution and the sampler."""

import torch
from torch.nn import functional as F

from colorlib.check.engine import Case, Mistake, Task
from colorlib.check.values import called, close, gradient

SIZE = 5


def _mask(kind, size=SIZE, center=None, whole_row=False):
    mask = torch.zeros(size, size)
    middle = size // 2
    mask[:middle] = 1
    mask[middle, : size if whole_row else middle] = 1
    mask[middle, middle] = (kind == "B") if center is None else center
    return mask


def _mask_case(kind):
    right = _mask(kind)
    other = "A" if kind == "B" else "B"
    return Case(
        of=f"the mask of a kernel of 5 by 5 of the kind {kind}",
        ask=lambda f: f(SIZE, kind),
        wanted=lambda: _mask(kind),
        wants=(
            "Wanted is 1 where a convolution may look and 0 elsewhere. It may look at the rows above, and at "
            "what is left of the center in its own row, for these pixels are drawn before. The center itself "
            "is seen by kind B and not by kind A, which stands in the first layer."
        ),
        tolerance=0,
        mistakes=(
            Mistake(
                "other kind",
                lambda: _mask(other),
                "Your mask is the one of the other kind: the two differ in the center alone. A first layer "
                "that sees its own pixel has nothing to predict: it copies.",
                "The line that sets the center: 1 for kind B only.",
            ),
            Mistake(
                "whole row",
                lambda: _mask(kind, whole_row=True, center=right[2, 2]),
                "Your mask has the whole row of the center, also what is right of it. Those pixels are drawn "
                "later, and when sampling they are not there yet.",
                "The slice of the center's row ends before the center, at size // 2.",
            ),
            Mistake(
                "transposed",
                lambda: right.T,
                "Your mask is the right one with rows and columns exchanged: it sees columns to the left. "
                "The maps are drawn row by row.",
                "The first index of a mask is the row, the second the column.",
            ),
            Mistake(
                "future",
                lambda: right.flip(0, 1),
                "Your mask is the right one turned upside down: it sees what comes later, and nothing of "
                "what came before.",
                "Which rows are set to 1? Those with small numbers are above. torch doesn't turn a kernel.",
            ),
            Mistake(
                "rows above only",
                lambda: (
                    _mask(kind) * torch.tensor([1.0, 1, 0, 0, 0])[:, None]
                    + torch.zeros(5, 5).index_put((torch.tensor(2), torch.tensor(2)), right[2, 2])
                ),
                "Your mask sees the rows above, and nothing of its own row. The neighbor on the left, which "
                "tells most, is left out.",
                "A second slice is needed, for the center's row up to the center.",
            ),
        ),
    )


X = torch.rand(2, 3, 6, 7, generator=torch.Generator().manual_seed(1)) - 0.5
WEIGHT = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2)) - 0.5


def _convolve(f):
    result, after = called(f, X, WEIGHT, _mask("B"))
    return result if close(after[1], WEIGHT, 0) else torch.full((2, 4, 6, 7), -1e6)  # names it


CONV_WANTS = (
    "Wanted is a convolution whose kernel was multiplied by the mask, with zeros around the picture, so that "
    "the result has its height and width. Then the value at a pixel depends on what the mask lets through, "
    "and on nothing else."
)
CONVOLUTION = Case(
    of="a convolution of a batch (2, 3, 6, 7) with a kernel (4, 3, 5, 5) and the mask of kind B",
    ask=_convolve,
    wanted=lambda: F.conv2d(X, WEIGHT * _mask("B"), padding=2),
    wants=CONV_WANTS,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            "unmasked",
            lambda: F.conv2d(X, WEIGHT, padding=2),
            "Your values are those of the plain convolution: the mask enters nowhere, and the network would "
            "see the pixel that it is to predict.",
            "Multiply the weight by the mask before you convolve; the two shapes fit as they are.",
        ),
        Mistake(
            "no padding",
            lambda: F.conv2d(X, WEIGHT * _mask("B")),
            "Your values are right, and a rim of two pixels is missing: without zeros around it, a picture "
            "shrinks by the kernel's size less one.",
            "The option padding of F.conv2d: half of the kernel's size, weight.shape[-1] // 2.",
        ),
        Mistake(
            "in place",
            lambda: torch.full((2, 4, 6, 7), -1e6),
            "Your function changed the weight that it was given. An optimizer that holds this weight "
            "goes on with another one than it knows.",
            "An operation like *= or mul_ writes into its argument: make a new tensor, weight * mask.",
        ),
        Mistake(
            "turned mask",
            lambda: F.conv2d(X, WEIGHT * _mask("B").flip(0, 1), padding=2),
            "Your values are those of the mask turned upside down. In torch a convolution doesn't turn its "
            "kernel, so there is nothing to make good.",
            "Use the mask as it is, without flip.",
        ),
        Mistake(
            "no sum over channels",
            lambda: F.conv2d(X, WEIGHT.mean(1, keepdim=True).expand_as(WEIGHT) * _mask("B"), padding=2),
            "Your values use one kernel for all channels that come in. Each has its own.",
            "F.conv2d takes the whole weight, (out, in, k, k), and sums over the second dimension itself.",
        ),
    ),
)
CAUSAL = Case(
    of="which pixels the result at row 3, column 3 depends on, by its gradient",
    ask=lambda f: gradient(lambda x: f(x, WEIGHT.clone(), _mask("B"))[:, :, 3, 3], X),
    wanted=lambda: gradient(lambda x: F.conv2d(x, WEIGHT * _mask("B"), padding=2)[:, :, 3, 3], X),
    wants=CONV_WANTS,
    tolerance=1e-4,
    mistakes=(
        Mistake(
            "no gradient",
            lambda: torch.zeros_like(X),
            "Your values are right and their gradient is zero: somewhere the chain from the picture to the "
            "result is cut, and no layer before this one could learn.",
            "Look for detach, no_grad, .data or a way through numpy.",
        ),
    ),
)

LEVELS = 6


def chain(levels: torch.Tensor, count: int = LEVELS) -> torch.Tensor:
    """A model that is always sure: the level before plus one, and plus two where a row begins."""
    left = F.pad(levels, (1, 0))[:, :, :-1] + 1
    before = F.pad(levels[:, :-1, -1:], (0, 0, 1, 0)) + 2  # the end of the row above
    sure = torch.cat([before, left[:, :, 1:]], 2) % count
    return 60.0 * F.one_hot(sure, count).movedim(-1, 1).float()


def _filled(order, height=3, width=4, feed=True):
    levels = torch.zeros(2, height, width, dtype=torch.int64)
    for row, column in order:
        drawn = chain(levels if feed else torch.zeros_like(levels)).argmax(1)
        levels[:, row, column] = drawn[:, row, column]
    return levels


def _order(by_columns=False, skip=0):
    order = [(r, c) for r in range(3) for c in range(4)]
    order = sorted(order, key=lambda p: p[::-1]) if by_columns else order
    return order[skip:]


def _seeded(seed=0):
    return torch.Generator().manual_seed(seed)


ORDER = Case(
    of="two maps of 3 by 4 from a model that is sure of each level, given the one before it",
    ask=lambda f: f(chain, 2, 3, 4, _seeded()),
    wanted=lambda: _filled(_order()),
    wants=(
        "Wanted are whole numbers, drawn pixel by pixel: row after row, each from left to right. For each "
        "pixel the model is asked anew, with all that was drawn before in its place, since its answer "
        "depends on that. This model adds one to the level before."
    ),
    tolerance=0,
    mistakes=(
        Mistake(
            "one pass",
            lambda: _filled(_order(), feed=False),
            "Your maps look as if the model had been asked once, on an empty map, and all pixels drawn from "
            "that. So no pixel knows of another.",
            "The call of the model stands before the loop, or gets a map that isn't filled. Ask it within "
            "the inner loop, with the map as it is by then.",
        ),
        Mistake(
            "by columns",
            lambda: _filled(_order(by_columns=True)),
            "Your maps were drawn column after column. The model was trained row by row: when it is asked "
            "for a pixel, it counts on the whole row above being there.",
            "The outer loop is the one over rows.",
        ),
        Mistake(
            "first left out",
            lambda: _filled(_order(skip=1)),
            "Your first pixel was never drawn: it stayed what the empty map holds, and all that follow "
            "build upon it.",
            "The first pixel is drawn like all others. The loops start at 0.",
        ),
        Mistake(
            "empty",
            lambda: torch.zeros(2, 3, 4, dtype=torch.int64),
            "Your maps are empty: what was drawn did not get into them.",
            "The assignment of the drawn level: levels[:, row, column] = ...",
        ),
    ),
)

CHANCES = torch.tensor([0.6, 0.3, 0.1])
SCORES = CHANCES.log() + 5


def _constant(levels):
    return SCORES.view(1, 3, 1, 1).expand(len(levels), 3, *levels.shape[1:])


def _shares(f):
    torch.manual_seed(1)
    levels = torch.as_tensor(f(_constant, 3000, 1, 2, _seeded(5))).long()
    return torch.bincount(levels.flatten().clamp(0, 2), minlength=3) / levels.numel()


FREQUENCIES = Case(
    of="how often each of three levels comes when the model gives them 60, 30 and 10 %",
    ask=_shares,
    wanted=lambda: CHANCES,
    wants=(
        "Wanted are shares near to the model's probabilities, give or take three hundredths for chance. The "
        "model gives logits, so softmax turns them into probabilities, and from these a level is drawn: the "
        "likeliest comes most often, and rare ones come too."
    ),
    tolerance=0.03,
    mistakes=(
        Mistake(
            "argmax",
            lambda: torch.tensor([1.0, 0, 0]),
            "In your maps only the likeliest level comes. That is no draw: every map will be the same, and "
            "all of its colors the most common ones.",
            "In place of argmax, draw: torch.multinomial(probabilities, 1, generator=generator).",
        ),
        Mistake(
            "logits as probabilities",
            lambda: SCORES / SCORES.sum(),
            "Your shares are those of the logits themselves, divided by their sum. Here they happen to be "
            "positive; others would stop the program.",
            "Before you draw: softmax over the dimension of the levels.",
        ),
        Mistake(
            "softmax twice",
            lambda: CHANCES.softmax(0),
            "Your shares are those after two times softmax, which makes all levels nearly alike.",
            "softmax comes once, right before the draw.",
        ),
        Mistake(
            "uniform",
            lambda: torch.full((3,), 1 / 3),
            "In your maps all levels come equally often, whatever the model says.",
            "What do you draw from? The model's logits at this row and column: logits[:, :, row, column].",
        ),
    ),
)


def _repeats(f):
    maps = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        maps.append(torch.as_tensor(f(_constant, 40, 4, 4, _seeded(9))))
    maps.append(torch.as_tensor(f(_constant, 40, 4, 4, _seeded(10))))
    return float(torch.equal(*maps[:2]) and not torch.equal(*maps[1:]))


def _distinct(f):
    maps = torch.as_tensor(f(_constant, 20, 6, 6, _seeded(3)))
    return float(len(maps.flatten(1).unique(dim=0)))


REPEATS = Case(
    of="whether a generator with the same seed gives the same maps again and another others, 1 for yes",
    ask=_repeats,
    wanted=lambda: 1.0,
    wants=(
        "Wanted is 1: all chance comes from the generator that was handed in. So a picture that you like can "
        "be made again from its seed, and other code that draws random numbers changes nothing of it."
    ),
    mistakes=(
        Mistake(
            "own chance",
            lambda: 0.0,
            "Your maps don't follow the generator, so some of the draws don't use it and take torch's own "
            "source of chance in its place.",
            "Each function that draws has an option generator=. Hand it on in every call.",
        ),
    ),
)
DISTINCT = Case(
    of="how many of 20 maps of 6 by 6 differ from each other",
    ask=_distinct,
    wanted=lambda: 20.0,
    wants=(
        "Wanted is 20: each map draws for itself, at every pixel. That two of them agree in all 36 pixels by "
        "chance is as good as impossible here, and several different colorings are what a sampler is for."
    ),
    mistakes=(
        Mistake(
            "one map",
            lambda: 1.0,
            "All of your maps are the same one: a single draw was made at each pixel and given to all.",
            "The probabilities at a pixel are (count, levels), and one level is drawn for each row of them.",
        ),
    ),
)


def _picture():
    from colorlib import show

    masks = [_mask(kind, 7)[None] for kind in "AB"]
    return show.grid(masks, ["kind A, 7 by 7: white is seen", "kind B"], width=120)


TASKS = (
    Task("causal_mask", "causal_mask(size, kind)", (_mask_case("A"), _mask_case("B")), _picture),
    Task("masked_conv", "masked_conv(x, weight, mask)", (CONVOLUTION, CAUSAL), _picture),
    Task(
        "sample",
        "sample(model, count, height, width, generator)",
        (ORDER, FREQUENCIES, REPEATS, DISTINCT),
        _picture,
    ),
)
