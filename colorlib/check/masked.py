"""Checks of the assignment on the two losses of a masked GAN."""

import torch
from torch.nn import functional as F

from colorlib.check.engine import Case, Mistake, Task
from colorlib.check.values import gradient


def _rand(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


PAINTED, TRUTH = _rand(2, 2, 4, 4, seed=1) - 0.5, _rand(2, 2, 4, 4, seed=2) - 0.5
MASK = (_rand(2, 1, 4, 4, seed=3) < 0.4).float()
REAL, FAKE = 4 * _rand(6, 1, seed=4) - 1, 4 * _rand(6, 1, seed=5) - 3


def _wanted_error(painted=PAINTED):
    return ((painted - TRUTH * MASK) ** 2).sum(1).mean()


MASK_LOSS = Case(
    of="the mask loss of two small pictures whose masks color about four pixels of ten",
    ask=lambda f: f(PAINTED.clone(), TRUTH.clone(), MASK.clone()),
    wanted=_wanted_error,
    wants=(
        "Wanted is one number: the squared distance between painted and wanted chroma, over both channels, "
        "as a mean over all pixels. Inside the mask the truth is wanted, and outside of it gray, that is 0, "
        "so that color outside costs as well."
    ),
    tolerance=1e-5,
    mistakes=(
        Mistake(
            "no mask",
            lambda: ((PAINTED - TRUTH) ** 2).sum(1).mean(),
            "Your number is the plain error against the truth: the mask enters nowhere. A network trained "
            "with it colors the whole picture.",
            "What is wanted: the true chroma times the mask.",
        ),
        Mistake(
            "inside only",
            lambda: (((PAINTED - TRUTH) * MASK) ** 2).sum(1).mean(),
            "Your number counts the pixels inside the mask alone. Outside of it the network may paint what "
            "it likes, and it will.",
            "Only the truth is multiplied by the mask, and not what was painted, nor the difference.",
        ),
        Mistake(
            "by area",
            lambda: (((PAINTED - TRUTH) * MASK) ** 2).sum() / MASK.sum(),
            "Your number is the mean over the pixels of the mask. So the pixels outside cost nothing, and "
            "small masks weigh as much as large ones.",
            "Divide by the number of all pixels; mean does it. Outside the mask, gray is wanted.",
        ),
        Mistake(
            "mean over channels",
            lambda: _wanted_error() / 2,
            "Your number is half of what was wanted: the mean went over the two channels too. A distance "
            "sums over them.",
            "First sum over dimension 1, the channels, then take the mean of what remains.",
        ),
        Mistake(
            "absolute",
            lambda: (PAINTED - TRUTH * MASK).abs().sum(1).mean(),
            "Your number is the one for absolute differences. It asks for the median of the colors that are "
            "possible, and the square for their mean.",
            "The step after the difference: it should square.",
        ),
        Mistake(
            "turned around",
            lambda: ((PAINTED - TRUTH * (1 - MASK)) ** 2).sum(1).mean(),
            "Your number is the one for the opposite mask: color outside, gray inside.",
            "1 in the mask means color. There is no need for 1 - mask.",
        ),
        Mistake(
            "sum",
            lambda: ((PAINTED - TRUTH * MASK) ** 2).sum(),
            "Your number is the sum over the pixels. It grows with the picture, and so would its weight "
            "against the other loss.",
            "The last step: a mean over pixels and pictures, and not a sum.",
        ),
    ),
)


def _d_loss(real=REAL, fake=FAKE):
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


D_WANTS = (
    "Wanted is one number: half the cross entropy of calling true pictures true, plus half that of calling "
    "painted ones false, in nats. Scores are logits: the probability that a picture is true is the sigmoid "
    "of its score. A score of 0 everywhere, a judge who knows nothing, costs log 2, about 0.693."
)
DISCRIMINATOR = Case(
    of="the discriminator's loss for six scores of true pictures and six of painted ones",
    ask=lambda f: f(REAL.clone(), FAKE.clone()),
    wanted=_d_loss,
    wants=D_WANTS,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            "labels swapped",
            lambda: _d_loss(FAKE, REAL),
            "Your number rewards the judge for calling painted pictures true, and true ones painted: the two "
            "have changed places.",
            "The label of the true pictures is 1, that of the painted ones 0.",
        ),
        Mistake(
            "no half",
            lambda: 2 * _d_loss(),
            "Your number is twice what was wanted: the two parts are added, and their mean is asked for. The "
            "judge would learn twice as fast as meant.",
            "The last step: divide the sum of the two parts by 2.",
        ),
        Mistake(
            "true only",
            lambda: F.softplus(-REAL).mean(),
            "Your number is that of the true pictures alone. A judge who calls everything true would be "
            "perfect by it.",
            "A second part is missing, that of the painted pictures, whose label is 0.",
        ),
        Mistake(
            "sigmoid twice",
            lambda: _d_loss(REAL.sigmoid(), FAKE.sigmoid()),
            "Your number is the one for scores that went through a sigmoid twice. Then no score can be far "
            "from one half, and the loss never gets small.",
            "A function whose name has with_logits, and softplus too, takes scores as they are.",
        ),
        Mistake(
            "least squares",
            lambda: ((REAL - 1) ** 2).mean() / 2 + (FAKE**2).mean() / 2,
            "Your number is that of the least-squares GAN, which is another game. It is a good loss; here "
            "the cross entropy is asked for.",
            "Use softplus, or binary_cross_entropy_with_logits.",
        ),
        Mistake(
            "sign",
            lambda: -_d_loss(),
            "Your number has the wrong sign. A loss is what is to become small, so it is minus the logarithm "
            "of a probability.",
            "The minus sign before the logarithm.",
        ),
    ),
)
SURE = torch.tensor([[120.0], [-120.0]])
SAFE = Case(
    of="the discriminator's loss where it is very sure, with scores of 120 and -120",
    ask=lambda f: f(SURE.clone(), SURE.clone()),
    wanted=lambda: _d_loss(SURE, SURE),
    wants=D_WANTS,
    otherwise=(
        "Your function is right for small scores. For large ones the sigmoid rounds to exactly 0 or 1, and "
        "the logarithm of that is lost or infinite."
    ),
)

WEIGHT = 3.0


def _g_loss(fake=FAKE, painted=PAINTED, weight=WEIGHT):
    return F.softplus(-fake).mean() + weight * _wanted_error(painted)


G_WANTS = (
    "Wanted is one number: minus the mean logarithm of the probability that the painted pictures are taken "
    "for true, plus the weight times the mask loss. The first part asks for colors that could be true, the "
    "second for color inside the mask and gray outside."
)
GENERATOR = Case(
    of="the generator's loss for six scores and two painted pictures, with a weight of 3 for the mask loss",
    ask=lambda f: f(FAKE.clone(), PAINTED.clone(), TRUTH.clone(), MASK.clone(), WEIGHT),
    wanted=_g_loss,
    wants=G_WANTS,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            "saturating",
            lambda: -F.softplus(FAKE).mean() + WEIGHT * _wanted_error(),
            "Your number has log(1 - D) in it, the form of the game in the book's first formula. Its slope "
            "vanishes where the judge is sure, which is how every training begins.",
            "Ask that painted pictures are called true: the label is 1, as for true pictures.",
        ),
        Mistake(
            "wants to be caught",
            lambda: F.softplus(FAKE).mean() + WEIGHT * _wanted_error(),
            "Your number falls when the painted pictures are called false: the generator would work for the "
            "judge and not against it.",
            "The label of the painted pictures is 1 in the generator's loss, and 0 in the discriminator's.",
        ),
        Mistake(
            "no mask loss",
            lambda: F.softplus(-FAKE).mean(),
            "Your number is the game alone, and the mask loss is missing. Nothing tells the generator then "
            "where to color.",
            "Add the weight times what your function mask_loss gives.",
        ),
        Mistake(
            "no game",
            lambda: WEIGHT * _wanted_error(),
            "Your number is the mask loss alone, and the scores enter nowhere. The colors will be means, and "
            "muddy.",
            "Add the part that comes from the scores, fake.",
        ),
        Mistake(
            "weight on the game",
            lambda: WEIGHT * F.softplus(-FAKE).mean() + _wanted_error(),
            "Your number has the weight at the wrong part: it multiplies the game.",
            "The weight belongs to the mask loss.",
        ),
        Mistake(
            "no weight",
            lambda: _g_loss(weight=1.0),
            "Your number adds the two parts as they are: the weight enters nowhere.",
            "Multiply the mask loss by the weight.",
        ),
    ),
)
SLOPE = Case(
    of="how the generator's loss changes with each score, its gradient",
    ask=lambda f: gradient(lambda s: f(s, PAINTED.clone(), TRUTH.clone(), MASK.clone(), WEIGHT), FAKE),
    wanted=lambda: gradient(_g_loss, FAKE),
    wants=G_WANTS,
    tolerance=1e-5,
    mistakes=(
        Mistake(
            "no gradient",
            lambda: torch.zeros_like(FAKE),
            "Your value is right, and its gradient is zero: the chain from the scores to the loss is cut. "
            "The generator would learn nothing from the judge.",
            "Look for detach, item, float(...), no_grad or a conversion to numpy. It is in the "
            "discriminator's step that paintings are detached, and outside of this function.",
        ),
    ),
)


def _picture():
    from colorlib import color, data, show
    from colorlib.data import masks

    scene = data.World(64, "flowers")[3]
    mask = masks.ten(64, ["left half", "coarse grid"])
    lab = scene.lab
    pictures = [color.lab_to_rgb(torch.cat([lab[:1], lab[1:] * m]), clip=True) for m in mask]
    return show.grid([scene.rgb, *pictures], ["truth", "wanted, left half", "wanted, grid"])


TASKS = (
    Task("mask_loss", "mask_loss(painted, ab, mask)", (MASK_LOSS,), _picture),
    Task("discriminator_loss", "discriminator_loss(real, fake)", (DISCRIMINATOR, SAFE), _picture),
    Task("generator_loss", "generator_loss(fake, painted, ab, mask, weight)", (GENERATOR, SLOPE), _picture),
)
