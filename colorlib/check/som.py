"""Checks of the assignment on self-organizing maps."""

import torch

from colorlib.check.engine import Case, Mistake, Task
from colorlib.check.values import called, close

# Chosen so that squared, absolute and dot-product distance each name other neurons.
NEURONS = torch.tensor([[5.0, 5.0], [0.0, 8.0], [20.0, -10.0], [-40.0, 30.0]])
DATA = torch.tensor([[0.0, 0.0], [6.0, 4.0], [-30.0, 20.0], [16.0, -8.0], [1.0, 9.0]])


def _distances(power=2):
    return (DATA[:, None] - NEURONS).abs().pow(power).sum(-1)


NEAREST = Case(
    of="which of four neurons in the ab plane is nearest to each of five colors",
    ask=lambda f: f(DATA.clone(), NEURONS.clone()),
    wanted=lambda: _distances().argmin(1),
    wants=(
        "Wanted is one whole number a color: the row of the neuron whose squared distance, the sum of the "
        "squared differences in a and in b, is the least. That neuron is the color's winner, and training "
        "moves it and its neighbors toward the color."
    ),
    tolerance=0,
    mistakes=(
        Mistake(
            "farthest",
            lambda: _distances().argmax(1),
            "Your neurons are those that are farthest away. Training with them would drive the map apart.",
            "The last step: the smallest distance wins, so it is argmin that names the winner.",
        ),
        Mistake(
            "absolute distance",
            lambda: _distances(1).argmin(1),
            "Your neurons are nearest by the sum of absolute differences. That measures the way along the "
            "two axes, and not the straight one, and for some colors another neuron is nearer by it.",
            "The step between the difference and the sum: it should square.",
        ),
        Mistake(
            "dot product",
            lambda: (DATA @ NEURONS.T).argmax(1),
            "Your neurons are those with the largest product with the color. That prefers neurons far from "
            "the center, since the product grows with a neuron's length; a distance does not.",
            "Where you multiply the two: a distance starts with a difference, data[:, None] - neurons.",
        ),
        Mistake(
            "other direction",
            lambda: _distances().argmin(0),
            "What you gave is the nearest color of each neuron, in place of the nearest neuron of each "
            "color: one number for each neuron.",
            "The dim of argmin: it is the dimension that vanishes, and the neurons are to vanish.",
        ),
        Mistake(
            "distances",
            lambda: _distances().min(1).values,
            "Your numbers are the distances to the winners, and not the winners. The map needs to know which "
            "neuron it is.",
            "torch.min gives a pair, values and indices. It is the indices that are wanted, as from argmin.",
        ),
    ),
)


def _grid(rows, columns):
    return torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1).reshape(
        -1, 2
    )


def _bell(rows, columns, winner, radius, two=2.0, power=2.0):
    grid = _grid(rows, columns).float()
    distance = ((grid - grid[winner]) ** 2).sum(1).sqrt()
    return torch.exp(-(distance**power) / (two * radius**power))


def _along(rows, columns, winner, radius):
    return torch.exp(-((torch.arange(rows * columns) - winner) ** 2) / (2 * radius**2))


def _swapped():
    grid = torch.stack([torch.arange(12) // 3, torch.arange(12) % 3], 1).float()
    return torch.exp(-((grid - grid[6]) ** 2).sum(1) / (2 * 1.5**2))


NEIGHBORHOOD = Case(
    of="how much each neuron of a map of 3 rows and 4 columns moves when neuron 6 wins, with a radius of 1.5",
    ask=lambda f: f(3, 4, 6, 1.5),
    wanted=lambda: _bell(3, 4, 6, 1.5),
    wants=(
        "Wanted is one weight for each neuron, exp(-d^2 / (2 radius^2)), where d is the straight distance to "
        "the winner on the grid of the map, counted in steps. Neuron k stands in row k // columns and column "
        "k % columns. The winner itself has the weight 1."
    ),
    tolerance=1e-4,
    mistakes=(
        Mistake(
            "no two",
            lambda: _bell(3, 4, 6, 1.5, two=1.0),
            "Your weights are those without the 2 below the fraction bar, so the bell is narrower than its "
            "radius says.",
            "The denominator in exp: twice the square of the radius.",
        ),
        Mistake(
            "not squared",
            lambda: _bell(3, 4, 6, 1.5, power=1.0),
            "Your weights fall off with the distance and not with its square. The bell has a sharp tip then, "
            "and near neighbors move too little.",
            "Both the distance and the radius are to be squared in exp.",
        ),
        Mistake(
            "mixed powers",
            lambda: torch.exp(-_bell(3, 4, 6, 1.0).log().mul(-2).sqrt() / (2 * 1.5**2)),
            "Your weights square the radius, and the distance not.",
            "The numerator in exp: a root may have been taken that is not needed.",
        ),
        Mistake(
            "along the list",
            lambda: _along(3, 4, 6, 1.5),
            "Your weights take the difference of the numbers of two neurons for their distance. But neuron 2 "
            "stands right above neuron 6, four numbers away and one step.",
            "The distance: make row and column of each neuron first, then take differences of these.",
        ),
        Mistake(
            "rows for columns",
            _swapped,
            "Your weights are those of a map of 4 rows and 3 columns: the two sizes have changed places.",
            "The division that makes rows: a new row begins after as many neurons as there are columns.",
        ),
        Mistake(
            "hard window",
            lambda: (_bell(3, 4, 6, 1.5).log().mul(-4.5).sqrt() <= 1.5).float(),
            "Your weights are 1 within the radius and 0 outside. Such a window works, roughly; the bell lets "
            "near ones move more than far ones, and so the map unfolds evenly.",
            "The comparison with the radius: it is exp that is wanted in its place.",
        ),
    ),
)

MAP = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [20.0, 20.0], [30.0, -10.0], [-20.0, 5.0]])
COLOR, RATE, RADIUS = torch.tensor([24.0, 12.0]), 0.25, 0.8


def _moved(sign=1.0, rate=RATE, weights=None, winner=3):
    weights = _bell(2, 3, winner, RADIUS) if weights is None else weights
    return MAP + sign * rate * weights[:, None] * (COLOR - MAP)


def _step(f):
    moved, after = called(f, MAP, COLOR, 2, 3, RATE, RADIUS)
    return moved if close(after[0], MAP, 0) else torch.full_like(MAP, -1e6)  # a value that names it


STEP = Case(
    of="the neurons of a map of 2 rows and 3 columns after one step toward the color (24, 12)",
    ask=_step,
    wanted=_moved,
    wants=(
        "Wanted are new neurons: each one moves toward the color by the learning rate, times its weight in "
        "the winner's neighborhood, times what is still missing. The winner moves most, far ones hardly, and "
        "the neurons that came in stay as they were."
    ),
    mistakes=(
        Mistake(
            "in place",
            lambda: torch.full_like(MAP, -1e6),
            "Your function changed the neurons that it was given. Whoever calls it and keeps the old ones, "
            "to draw how the map moved, finds them gone.",
            "An operation that ends in an underscore, or +=, writes into its argument. Use neurons + ... "
            "instead.",
        ),
        Mistake(
            "away",
            lambda: _moved(sign=-1.0),
            "Your neurons move away from the color by just as much as they should move toward it.",
            "The difference: what is missing is the color less the neuron, not the neuron less the color.",
        ),
        Mistake(
            "winner alone",
            lambda: _moved(weights=torch.eye(6)[3]),
            "In your step only the winner moves. That is k-means learning one color at a time; it is the "
            "neighbors that make a map of it.",
            "The product: each neuron's own weight, from your function neighborhood, belongs into it.",
        ),
        Mistake(
            "no neighborhood",
            lambda: _moved(weights=torch.ones(6)),
            "In your step all neurons move by the same share, so that they gather in one point.",
            "The product: the weights of the neighborhood are missing, as a column, weights[:, None].",
        ),
        Mistake(
            "no rate",
            lambda: _moved(rate=1.0),
            "Your winner lands on the color itself: the step is a full one. Then the map forgets all earlier "
            "colors at each step.",
            "The product: the learning rate is missing.",
        ),
        Mistake(
            "first neuron",
            lambda: _moved(winner=0),
            "Your neighborhood is that of neuron 0, whichever neuron wins.",
            "The winner: ask your function nearest for it, with the color as a row, color[None].",
        ),
    ),
)


def _picture():
    from colorlib import color, data, show
    from colorlib.classic import SOM

    photo = data.photos(["coffee"], max_side=120)["coffee"]
    lab = color.rgb_to_lab(photo)
    som = SOM(2, 3).fit(lab[1:].flatten(1).T, epochs=2)
    ab = som.quantize(lab[1:].flatten(1).T).T.reshape(2, *photo.shape[1:])
    colored = color.lab_to_rgb(torch.cat([lab[:1], ab]), clip=True)
    return show.grid([photo, colored], ["picture", "its chroma in six neurons"])


def _bells():
    from colorlib import show

    radii = (0.5, 1.0, 2.0)
    bells = [_bell(5, 7, 17, radius).view(1, 5, 7) for radius in radii]
    return show.grid(bells, [f"5 by 7, neuron 17 wins, radius {radius}" for radius in radii], width=140)


TASKS = (
    Task("nearest", "nearest(data, neurons)", (NEAREST,), _picture),
    Task("neighborhood", "neighborhood(rows, columns, winner, radius)", (NEIGHBORHOOD,), _bells),
    Task("som_step", "som_step(neurons, color, rows, columns, rate, radius)", (STEP,), _picture),
)
