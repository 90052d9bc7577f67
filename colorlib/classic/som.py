"""The self-organizing map: a sheet of neurons that lays itself over the data.

Data are samples (N, D), floating point and finite, at least one, on any device; half precision is worked on
in float32. For other data, or another argument out of its range, each function and method raises TypeError or
ValueError. Sources: T. Kohonen, "The self-organizing map", Proceedings of the IEEE 78(9), 1990 (the map and
the online rule); T. Kohonen, "Essentials of the self-organizing map", Neural Networks 37, 2013 (the batch
rule, the start on the principal axes).
"""

import math

import torch
from torch import Tensor

from colorlib._check import choice, finite, floating, listed, number, whole, wholes
from colorlib.color.bins import double

# So many distances between samples and neurons are held at a time: 4 MiB in float32.
PAIRS_AT_ONCE = 2**20


def nearest(data: Tensor, neurons: Tensor, k: int = 1) -> Tensor:
    """Find the `k` of the neurons (K, D) nearest to each sample: indices (N, k) int64, the nearest first.

    Distances are Euclidean and come from one matrix product, in pieces, so a million samples need little
    memory. A lower index wins a tie for the first place.

    >>> nearest(torch.tensor([[0.9], [2.2]]), torch.tensor([[0.0], [1.0], [2.0]]), k=2)
    tensor([[1, 0],
            [2, 1]])
    """
    data = _check_data(data)
    neurons = _check_data(neurons, "neurons").to(data)
    return _nearest(data, neurons, whole(k, "k", 1, len(neurons)))


def _nearest(data: Tensor, neurons: Tensor, k: int = 1) -> Tensor:
    if data.shape[1] != neurons.shape[1]:
        raise ValueError(f"the neurons have {neurons.shape[1]} features; got data of {data.shape[1]}")
    # |x - w|^2 = |x|^2 + 2 (|w|^2 / 2 - x.w), and |x|^2 is the same for every neuron: rank by the bracket
    # alone. Distances do not change when the origin moves; near the neurons the bracket loses fewer digits.
    origin = neurons.mean(0)
    neurons = neurons - origin
    half_square = neurons.square().sum(1) / 2
    # One block: keeps the heap whole.
    found = torch.empty(len(data), k, dtype=torch.int64, device=data.device)
    size = max(1, PAIRS_AT_ONCE // len(neurons))
    for part, into in zip(data.split(size), found.split(size), strict=True):
        rank = torch.addmm(half_square, part - origin, neurons.T, alpha=-1)
        into.copy_(rank.argmin(1, keepdim=True) if k == 1 else rank.topk(k, largest=False).indices)
    return found


class SOM:
    """A Kohonen map of ``rows`` x ``columns`` neurons, each at least 1.

    Each neuron has a place on the map, which never changes, and a vector in the space of the data, which
    learns. A sample pulls its best-matching unit (the neuron nearest to it) and, less, the units beside that
    one on the map. So neurons that are neighbors on the map end up near each other among the data. The
    topology is ``"rectangular"``, a square grid, where a neuron has up to 8 neighbors, the diagonal ones
    included; or ``"hexagonal"``: odd rows are moved by half a step, and a neuron has up to 6 neighbors, all
    at distance 1.

    - `positions` (rows * columns, 2) float64: places of the neurons on the map as (x, y), x along the
      columns. Neuron ``row * columns + column`` sits at that row and column.
    - `neurons` (rows * columns, D): their vectors; None before :meth:`fit`.
    - `history` (epochs + 1, rows * columns, D): the neurons before the first epoch and after each.

    >>> line = torch.linspace(0, 1, 101)[:, None]
    >>> SOM(1, 3).fit(line, epochs=20).neurons.flatten().round(decimals=1)
    tensor([0.2000, 0.5000, 0.8000])
    """

    def __init__(self, rows: int, columns: int, topology: str = "rectangular"):
        self.rows, self.columns = wholes(rows=rows, columns=columns)
        self.topology = choice(topology, "topology", ("rectangular", "hexagonal"))
        sides = [torch.arange(side, dtype=torch.float64, device="cpu") for side in (self.rows, self.columns)]
        y, x = torch.meshgrid(*sides, indexing="ij")
        if topology == "hexagonal":
            x, y = x + 0.5 * (y % 2), y * math.sqrt(3) / 2
        self.positions = torch.stack([x, y], dim=-1).reshape(-1, 2)
        self.neurons: Tensor | None = None
        self.history: Tensor | None = None

    def __repr__(self) -> str:
        return f"SOM({self.rows}, {self.columns}, topology={self.topology!r})"

    @torch.no_grad()
    def fit(
        self,
        data: Tensor,
        epochs: int = 10,
        rule: str = "batch",
        init: str | Tensor = "pca",
        radius: tuple[float, float] | None = None,
        learning_rate: tuple[float, float] = (0.5, 0.01),
        seed: int = 0,
    ) -> "SOM":
        """Train the map from a fresh start, and return it.

        Both rules weigh the neuron at distance d (on the map) from the best-matching unit by the Gaussian h =
        exp(-d^2 / (2 r^2)). The radius r, and the learning rate of the online rule, decay geometrically from
        their first value to their second one.

        - ``"batch"``: once an epoch, every neuron moves to the mean of all samples, each weighted by the h
          between the neuron and the sample's best-matching unit. There is no learning rate.
        - ``"online"``: samples come one at a time, in a new order each epoch, and each moves every neuron by
          learning rate * h * (sample - neuron). Radius and rate decay from sample to sample.

        Parameters
        ----------
        epochs : int
            Passes over the data, at least 1.
        init : str or Tensor
            ``"pca"``: a flat grid along the first two principal axes of the data, one standard deviation to
            each side of the mean, the longer side of the map along the first; the data must vary along as
            many directions as the map. ``"sample"``: distinct rows of the data drawn at random. Or the
            neurons to start from, (rows * columns, D).
        radius : tuple of float, optional
            First and last radius, in steps of the map. Default: from 1 with ``"pca"``, which starts in order;
            else from half the longer side of the map (at least 1), wide enough to bring the whole map into
            order. Down to 0.25, where a direct neighbor weighs 0.0003: neurons settle in the middle of the
            samples they win, as k-means would have them, while the order found earlier stays. A wider last
            radius gives a smoother map and a larger quantization error.
        learning_rate : tuple of float
            First and last learning rate of the online rule, in (0, 1].
        seed : int
            Fixes the drawing of ``"sample"`` and the orders of the online rule, on every device alike.
        """
        data = _check_data(data)
        epochs, seed = whole(epochs, "epochs", 1), whole(seed, "seed", -(2**63), 2**64 - 1)
        choice(rule, "rule", ("batch", "online"))
        if radius is None:
            in_order = isinstance(init, str) and init == "pca"
            radius = (1.0 if in_order else max(max(self.rows, self.columns) / 2, 1.0), 0.25)
        radii = _check_decay("radius", radius, "(0, inf)")
        rates = _check_decay("learning_rate", learning_rate, "(0, 1]")
        generator = torch.Generator().manual_seed(seed)  # on the CPU: the same draws for every device

        neurons = self._start(data, init, generator)
        place = self.positions.to(neurons)
        distance2 = (place[:, None] - place).square().sum(-1)  # squared distances on the map, (K, K)
        history = [neurons]
        for epoch in range(epochs):
            if rule == "batch":
                neurons = _batch_epoch(data, neurons, distance2, _decay(radii, epoch, epochs))
            else:
                order = torch.randperm(len(data), generator=generator).to(data.device)
                neurons = _online_epoch(data[order], neurons, distance2, radii, rates, epoch, epochs)
            history.append(neurons)
        self.neurons, self.history = neurons, torch.stack(history)
        return self

    def _start(self, data: Tensor, init: str | Tensor, generator: torch.Generator) -> Tensor:
        """Neurons before the first epoch, (K, D)."""
        count = self.rows * self.columns
        if isinstance(init, Tensor):
            finite(floating(init, "init", f"({count}, {data.shape[1]})"), "init")
            return init.detach().to(data).clone()
        choice(init, "init", ("pca", "sample"))
        if init == "sample":
            if len(data) < count:
                message = f"init='sample' needs a sample for each of {count} neurons"
                raise ValueError(f"{message}, got {len(data)} samples")
            return data[torch.randperm(len(data), generator=generator)[:count].to(data.device)]
        mean = data.mean(0)
        centered = data - mean
        # Eigenvectors of the covariance, the largest variance first; a small matrix, so on the CPU.
        variance, axes = torch.linalg.eigh((centered.T @ centered / len(data)).cpu().double())
        variance, axes = variance.flip(0).clamp(min=0), axes.flip(1)
        sides = sum(side > 1 for side in (self.rows, self.columns))
        directions = int((variance > 100 * torch.finfo(data.dtype).eps * variance[0]).sum())
        if directions < sides:
            raise ValueError(
                f"init='pca' lays the {self.rows} x {self.columns} map along {sides} principal axes, but the "
                f"data vary along {directions}; use init='sample' or another map"
            )
        # An eigenvector's sign is arbitrary: let its largest entry be positive.
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        steps = (axes * variance.sqrt()).T.to(data)  # row i: one standard deviation along axis i
        # Places on the map from -1 to 1 on each side (0 along a side of one neuron), the longer side first.
        low, high = self.positions.amin(0), self.positions.amax(0)
        place = (2 * self.positions - low - high) / (high - low).clamp(min=1e-6)
        place = place * torch.tensor([self.columns > 1, self.rows > 1], device="cpu")
        if self.rows > self.columns:
            place = place.flip(1)
        place = place[:, : len(steps)].to(data)
        return mean + place @ steps[: place.shape[1]]

    def assign(self, data: Tensor) -> Tensor:
        """Give the index of each sample's best-matching unit: (N, D) to int64 (N,)."""
        return self._nearest(data)[:, 0]

    def quantize(self, data: Tensor) -> Tensor:
        """Replace each sample by the vector of its best-matching unit: (N, D) to (N, D)."""
        return self.neurons[self.assign(data)]

    def quantization_error(self, data: Tensor) -> float:
        """Give the samples' mean Euclidean distance from their best-matching units, in the units of data."""
        return (self.quantize(data) - data.to(self.neurons)).square().sum(1).sqrt().mean().item()

    def topographic_error(self, data: Tensor) -> float:
        """Give the share of the samples whose two best-matching units are not neighbors on the map.

        From 0 (the map keeps the order of the data) to 1; NaN for a map of one neuron, which has no second
        best. Neighbors are the 8 around a neuron on the rectangular map and the 6 around it on the hexagonal
        one. Source: Kiviluoto, "Topology preservation in self-organizing maps", ICNN 1996.
        """
        if len(self.positions) == 1:
            return math.nan
        first, second = self.positions[self._nearest(data, k=2).cpu()].unbind(1)
        # Neighbors are at most sqrt(2) apart, the others at least sqrt(3) (hexagonal) or 2 (rectangular).
        return ((first - second).norm(dim=1) > 1.5).float().mean().item()

    def _nearest(self, data: Tensor, k: int = 1) -> Tensor:
        if self.neurons is None:
            raise ValueError("this map has no neurons yet to compare data with: call fit first")
        return _nearest(_check_data(data).to(self.neurons), self.neurons, k)


def _batch_epoch(data: Tensor, neurons: Tensor, distance2: Tensor, radius: float) -> Tensor:
    """Neurons after one pass of the batch rule.

    The weighted mean over all samples needs only, for each neuron j, the sum S_j of the samples that it won
    and their number n_j: neuron i moves to sum_j h_ij S_j / sum_j h_ij n_j.
    """
    winners = _nearest(data, neurons)[:, 0]
    # In double precision: float32 sums over a million samples lose too many digits.
    wide, old = double(data), double(neurons)
    sums = torch.zeros_like(old).index_add_(0, winners.to(wide.device), wide)
    counts = double(torch.bincount(winners, minlength=len(neurons)))
    h = torch.exp(double(distance2) / (-2 * radius**2))
    weight = (h @ counts)[:, None]
    # A neuron so far from every winner that its weight underflows stays where it is.
    moved = torch.where(weight > 1e-300, h @ sums / weight, old)
    return moved.to(neurons.dtype).to(neurons.device)


def _online_epoch(
    data: Tensor, neurons: Tensor, distance2: Tensor, radii: tuple, rates: tuple, epoch: int, epochs: int
) -> Tensor:
    """Neurons after one pass of the online rule over the samples in the order given."""
    neurons = neurons.clone()
    for i, sample in enumerate(data):
        step, steps = epoch * len(data) + i, epochs * len(data)
        difference = sample - neurons
        winner = difference.square().sum(1).argmin()
        h = torch.exp(distance2[winner] / (-2 * _decay(radii, step, steps) ** 2))
        neurons.addcmul_(h[:, None], difference, value=_decay(rates, step, steps))  # += rate * h * difference
    return neurons


def _decay(ends: tuple[float, float], step: int, steps: int) -> float:
    """Geometric decay from ends[0] at step 0 to ends[1] at the last step."""
    first, last = ends
    return first * (last / first) ** (step / max(steps - 1, 1))


def _check_data(data: Tensor, name: str = "data") -> Tensor:
    floating(data, name, "(N, D)", empty=False)
    if not data.isfinite().all():
        bad = int((~data.isfinite()).any(1).sum())
        raise ValueError(f"{name} must be finite; got NaN or infinite values in {bad} of {len(data)} rows")
    return data.detach().to(torch.promote_types(data.dtype, torch.float32))


def _check_decay(name: str, ends: tuple, interval: str) -> tuple[float, float]:
    pair = listed(ends, name)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a pair (first, last); got {ends!r}")
    first, last = (number(end, name, interval) for end in pair)
    if last > first:
        raise ValueError(f"{name} must not rise from its first to its last value; got {ends!r}")
    return first, last
