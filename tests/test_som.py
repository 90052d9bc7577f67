"""The self-organizing map against the formulas of its papers, written out again here in numpy."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from colorlib.classic import SOM, nearest, som


def cloud(n=500, d=2, seed=0, dtype=torch.float32):
    """Correlated Gaussian samples, (n, d), away from the origin."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator)
    return (torch.randn(n, d, generator=generator) @ mix * 10 + 5).to(dtype)


def map_distance2(rows, columns, topology):
    """Squared distance of every pair of neurons on the map, by the geometry of the grid."""
    at = []
    for row in range(rows):
        for column in range(columns):
            shift = 0.5 * (row % 2) if topology == "hexagonal" else 0.0
            height = math.sqrt(3) / 2 if topology == "hexagonal" else 1.0
            at.append((column + shift, row * height))
    at = np.array(at)
    return ((at[:, None] - at[None]) ** 2).sum(-1)


def geometric(first, last, step, steps):
    return first * (last / first) ** (step / (steps - 1))


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_batch_rule_is_the_weighted_mean_of_the_paper(topology):
    rows, columns, epochs = 3, 4, 4
    data = cloud(200, 3, dtype=torch.float64)
    start = cloud(rows * columns, 3, seed=1, dtype=torch.float64)
    grid = map_distance2(rows, columns, topology)
    w, expected = start.numpy().copy(), [start.numpy().copy()]
    for epoch in range(epochs):
        radius = geometric(2.0, 0.5, epoch, epochs)
        numerator, denominator = np.zeros_like(w), np.zeros(len(w))
        for x in data.numpy():
            c = np.argmin(np.linalg.norm(w - x, axis=1))
            for i in range(len(w)):
                h = math.exp(-grid[c, i] / (2 * radius**2))
                numerator[i] += h * x
                denominator[i] += h
        w = numerator / denominator[:, None]
        expected.append(w.copy())
    fitted = SOM(rows, columns, topology).fit(data, epochs, init=start, radius=(2.0, 0.5))
    np.testing.assert_allclose(fitted.history.numpy(), expected, rtol=1e-10)
    assert torch.equal(fitted.neurons, fitted.history[-1])


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_online_rule_is_the_step_of_the_paper(topology):
    rows, columns, epochs, n, seed = 4, 3, 3, 60, 7
    data = cloud(n, 2, dtype=torch.float64)
    start = cloud(rows * columns, 2, seed=1, dtype=torch.float64)
    grid = map_distance2(rows, columns, topology)
    generator = torch.Generator().manual_seed(seed)
    w, expected, t = start.numpy().copy(), [start.numpy().copy()], 0
    for _ in range(epochs):
        for index in torch.randperm(n, generator=generator).tolist():
            x = data.numpy()[index]
            radius = geometric(2.0, 0.4, t, epochs * n)
            rate = geometric(0.6, 0.05, t, epochs * n)
            c = np.argmin([math.dist(x, neuron) for neuron in w])
            for i in range(len(w)):
                w[i] += rate * math.exp(-grid[c, i] / (2 * radius**2)) * (x - w[i])
            t += 1
        expected.append(w.copy())
    fitted = SOM(rows, columns, topology).fit(
        data, epochs, rule="online", init=start, radius=(2.0, 0.4), learning_rate=(0.6, 0.05), seed=seed
    )
    np.testing.assert_allclose(fitted.history.numpy(), expected, rtol=1e-9)


def test_positions_have_6_or_8_nearest_places():
    center = 2 * 5 + 2
    hexagonal = SOM(5, 5, "hexagonal").positions
    distance = (hexagonal - hexagonal[center]).norm(dim=1).sort().values
    torch.testing.assert_close(distance[1:7], torch.ones(6, dtype=torch.float64))
    assert distance[7] > 1.7
    rectangular = SOM(5, 5).positions
    distance = (rectangular - rectangular[center]).norm(dim=1).sort().values
    torch.testing.assert_close(distance[1:9], torch.tensor([1.0] * 4 + [math.sqrt(2)] * 4).double())
    assert distance[9] == 2
    assert rectangular[center + 1].tolist() == [3, 2]  # (x, y): the next neuron is one column on


@pytest.mark.parametrize("d", [1, 2, 7])
@pytest.mark.parametrize("pairs", [1, 1000, 2**20])
def test_nearest_is_the_brute_force_answer_in_any_piece_size(d, pairs, monkeypatch):
    monkeypatch.setattr(som, "PAIRS_AT_ONCE", pairs)
    data, neurons = cloud(301, d, dtype=torch.float64), cloud(17, d, seed=3, dtype=torch.float64)
    order = np.argsort(np.linalg.norm(data.numpy()[:, None] - neurons.numpy(), axis=-1), axis=1)
    assert np.array_equal(nearest(data, neurons, 1).numpy(), order[:, :1])
    assert np.array_equal(nearest(data, neurons, 3).numpy(), order[:, :3])


def test_nearest_keeps_its_digits_far_from_the_origin():
    grid = torch.cartesian_prod(torch.arange(10.0), torch.arange(10.0)) + 1e5
    data = grid.repeat(3, 1) + 0.25 * torch.randint(
        -1, 2, (300, 2), generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(nearest(data, grid)[:, 0], torch.arange(100).repeat(3))


def test_no_step_holds_more_distances_than_its_limit():
    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.largest = max(self.largest, result.numel())
            return result

    data = cloud(50_000)  # times 400 neurons: 20 million distances
    with Watch() as watch:
        fitted = SOM(20, 20).fit(data, epochs=1)
        fitted.quantization_error(data)
        fitted.topographic_error(data)
    assert 0 < watch.largest <= som.PAIRS_AT_ONCE


def test_sums_do_not_drift_over_many_samples():
    data = torch.full((3_000_000, 1), 50.3)
    assert SOM(1, 1).fit(data, epochs=1).neurons.item() == pytest.approx(50.3, abs=1e-5)


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_errors_of_a_map_are_those_of_its_definitions(topology):
    rows, columns = 4, 5
    data = cloud(400)
    fitted = SOM(rows, columns, topology).fit(data, epochs=1, init=cloud(20, seed=5), radius=(0.5, 0.5))
    w, x = fitted.neurons.double().numpy(), data.double().numpy()
    distance = np.linalg.norm(x[:, None] - w, axis=-1)
    assert fitted.quantization_error(data) == pytest.approx(distance.min(1).mean(), rel=1e-5)
    assert np.array_equal(fitted.assign(data).numpy(), distance.argmin(1))
    assert torch.equal(fitted.quantize(data), fitted.neurons[distance.argmin(1)])

    def neighbors(p, q):
        (r, c), (s, d) = divmod(p, columns), divmod(q, columns)
        if topology == "rectangular":
            return max(abs(r - s), abs(c - d)) == 1
        if r == s:
            return abs(c - d) == 1
        return abs(r - s) == 1 and d - c in ((0, 1) if r % 2 else (-1, 0))  # odd rows are moved to the right

    best = np.argsort(distance, axis=1)[:, :2]
    errors = [not neighbors(p, q) for p, q in best.tolist()]
    assert 0.05 < np.mean(errors) < 0.95  # both kinds occur
    assert fitted.topographic_error(data) == pytest.approx(np.mean(errors), abs=1e-6)


@pytest.mark.parametrize("rule", ["batch", "online"])
@pytest.mark.parametrize("init", ["pca", "sample"])
@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
def test_training_orders_the_map(rule, init, topology):
    data = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    fitted = SOM(5, 5, topology).fit(data, epochs=8 if rule == "batch" else 3, rule=rule, init=init)
    # 25 neurons as a 5 x 5 lattice have 1/5 x 1/5 cells, and a mean distance of 0.3826 / 5 to their centers.
    assert fitted.quantization_error(data) < 1.1 * 0.3826 / 5
    assert fitted.topographic_error(data) < 0.1


def test_a_chain_on_a_line_is_sorted_and_a_very_wide_radius_pulls_it_into_a_point():
    data = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0))
    chain = SOM(1, 8).fit(data, epochs=30, init="sample").neurons[:, 0]
    steps = chain.diff()
    assert (steps > 0).all() or (steps < 0).all()
    wide = SOM(1, 8).fit(data, radius=(1e4, 1e4)).neurons  # every neuron weighs all samples alike
    torch.testing.assert_close(wide, data.mean(0).expand(8, 1))


def test_neurons_settle_on_the_means_of_separate_clusters():
    centers = torch.tensor([[-50.0, -50.0], [-50.0, 50.0], [50.0, -50.0], [50.0, 50.0]])
    data = centers.repeat(100, 1) + torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    fitted = SOM(2, 2).fit(data)
    found = nearest(centers, fitted.neurons)[:, 0]
    assert sorted(found.tolist()) == [0, 1, 2, 3]
    means = torch.stack([data[i::4].mean(0) for i in range(4)])
    torch.testing.assert_close(fitted.neurons[found], means, atol=0.1, rtol=0)


def test_pca_start_lies_one_standard_deviation_along_the_principal_axes():
    data = cloud(400, 5, dtype=torch.float64)
    for rows, columns in ((3, 7), (7, 3)):
        start = SOM(rows, columns).fit(data, epochs=1).history[0].reshape(rows, columns, 5)
        if rows > columns:
            start = start.movedim(0, 1)
        centered = (data - data.mean(0)).numpy()
        _, size, axes = np.linalg.svd(centered, full_matrices=False)
        deviation = size / math.sqrt(len(data))
        long = (start[0, -1] - start[0, 0]).numpy() / 2  # the longer side goes along the first axis
        short = (start[-1, 0] - start[0, 0]).numpy() / 2
        np.testing.assert_allclose(abs(axes[0] @ long), deviation[0], rtol=1e-6)
        np.testing.assert_allclose(abs(axes[1] @ short), deviation[1], rtol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(long), deviation[0], rtol=1e-6)
        torch.testing.assert_close(start.mean((0, 1)), data.mean(0))


def test_sample_start_takes_distinct_rows_of_the_data():
    data = cloud(30)
    start = SOM(5, 6).fit(data, epochs=1, init="sample", seed=3).history[0]
    assert sorted(start.tolist()) == sorted(data.tolist())
    assert not torch.equal(start, data)


def test_a_neuron_out_of_reach_of_every_sample_stays():
    start = torch.tensor([[0.0], [100.0], [200.0]])
    fitted = SOM(1, 3).fit(torch.tensor([[1.0], [3.0]]), epochs=2, init=start, radius=(0.01, 0.01))
    assert fitted.neurons[:, 0].tolist() == [2.0, 100.0, 200.0]


@pytest.mark.parametrize("rule", ["batch", "online"])
def test_seed_fixes_the_map_and_the_global_state_is_left_alone(rule):
    data = cloud(80)
    before = torch.random.get_rng_state()
    first = SOM(3, 3).fit(data, 2, rule, init="sample", seed=1)
    again = SOM(3, 3).fit(data, 2, rule, init="sample", seed=1)
    other = SOM(3, 3).fit(data, 2, rule, init="sample", seed=2)
    assert torch.equal(first.history, again.history)
    assert not torch.equal(first.neurons, other.neurons)
    assert torch.equal(before, torch.random.get_rng_state())


def test_history_is_the_way_from_start_to_end():
    data, start = cloud(80), cloud(6, seed=2)
    fitted = SOM(2, 3).fit(data, epochs=5, init=start)
    assert fitted.history.shape == (6, 6, 2)
    assert torch.equal(fitted.history[0], start)
    assert torch.equal(fitted.history[-1], fitted.neurons)


@pytest.mark.parametrize("rule", ["batch", "online"])
def test_data_and_start_are_not_written_to(rule):
    data, start = cloud(50), cloud(4, seed=2)
    copies = data.clone(), start.clone()
    SOM(2, 2).fit(data, 2, rule, init=start)
    SOM(2, 2).fit(data, 2, rule, init="sample")
    assert torch.equal(data, copies[0]) and torch.equal(start, copies[1])


@pytest.mark.parametrize("rule", ["batch", "online"])
@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (6, 1)])
def test_thin_maps_work(size, topology, rule):
    data = cloud(100)
    fitted = SOM(*size, topology).fit(data, 3, rule)
    assert fitted.neurons.shape == (size[0] * size[1], 2)
    assert fitted.neurons.isfinite().all()
    if size == (1, 1):
        assert math.isnan(fitted.topographic_error(data))
        assert (fitted.assign(data) == 0).all()
        if rule == "batch":
            torch.testing.assert_close(fitted.neurons[0], data.mean(0))
    else:
        assert fitted.topographic_error(data) < 0.5
        start = fitted.history[0]  # a straight line, also where hexagonal rows alternate
        torch.testing.assert_close(start.diff(dim=0), (start[1] - start[0]).expand(5, 2), atol=1e-4, rtol=0)


def test_single_sample_and_equal_samples():
    assert SOM(1, 1).fit(torch.tensor([[3.0, 4.0]])).neurons.tolist() == [[3.0, 4.0]]
    gray = torch.zeros(50, 2)
    fitted = SOM(2, 2).fit(gray, init="sample")
    assert (fitted.neurons == 0).all() and fitted.quantization_error(gray) == 0


def test_half_precision_is_worked_on_in_single_and_double_stays():
    data = cloud(100)
    half = SOM(2, 2).fit(data.half())
    assert half.neurons.dtype == torch.float32
    torch.testing.assert_close(half.neurons, SOM(2, 2).fit(data.half().float()).neurons)
    assert half.assign(data.half()).shape == (100,)
    assert SOM(2, 2).fit(data.double()).neurons.dtype == torch.float64


@pytest.mark.parametrize(
    "data, error, message",
    [
        (np.zeros((4, 2)), TypeError, "ndarray"),
        (torch.zeros(4, 2, dtype=torch.int64), TypeError, "int64"),
        (torch.zeros(4), ValueError, r"\(4,\)"),
        (torch.zeros(1, 2, 3), ValueError, r"\(1, 2, 3\)"),
        (torch.zeros(0, 2), ValueError, r"\(0, 2\)"),
        (torch.zeros(4, 0), ValueError, r"\(4, 0\)"),
        (torch.tensor([[0.0, 1.0], [math.nan, 1.0]]), ValueError, "1 of 2 rows"),
        (torch.tensor([[0.0, 1.0], [math.inf, 1.0]]), ValueError, "1 of 2 rows"),
    ],
)
def test_bad_data_is_named(data, error, message):
    with pytest.raises(error, match=message):
        SOM(2, 2).fit(data)
    with pytest.raises(error, match=message):
        SOM(2, 2).fit(cloud(10)).assign(data)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
        ({"epochs": 1.5}, TypeError, "1.5"),
        ({"rule": "minibatch"}, ValueError, "batch, online; got 'minibatch'"),
        ({"init": "random"}, ValueError, "pca, sample; got 'random'"),
        ({"init": torch.zeros(4, 3)}, ValueError, r"\(9, 2\); got \(4, 3\)"),
        ({"init": torch.full((9, 2), math.nan)}, ValueError, "init must be finite"),
        ({"radius": (1.0, 2.0)}, ValueError, r"\(1.0, 2.0\)"),
        ({"radius": (1.0, 0.0)}, ValueError, r"radius must be in \(0, inf\); got 0.0"),
        ({"radius": 3.0}, TypeError, "radius must be a sequence; got 3.0"),
        ({"radius": (3.0,)}, ValueError, "pair"),
        ({"radius": (math.inf, 1.0)}, ValueError, "inf"),
        ({"learning_rate": (1.5, 0.1)}, ValueError, r"in \(0, 1\]; got 1.5"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        SOM(3, 3).fit(cloud(20), **change)


def test_other_mistakes_are_named():
    with pytest.raises(ValueError, match="9 neurons, got 8 samples"):
        SOM(3, 3).fit(cloud(8), init="sample")
    with pytest.raises(ValueError, match="vary along 1"):
        SOM(3, 3).fit(torch.arange(20.0)[:, None] * torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="vary along 1"):
        SOM(3, 3).fit(cloud(20, 1))
    with pytest.raises(ValueError, match="fit first"):
        SOM(3, 3).assign(cloud(8))
    with pytest.raises(ValueError, match="2 features; got data of 3"):
        SOM(3, 3).fit(cloud(20)).assign(cloud(8, 3))
    with pytest.raises(ValueError, match="rows must be at least 1; got 0"):
        SOM(0, 3)
    with pytest.raises(TypeError, match="columns must be a whole number; got 3.0"):
        SOM(3, 3.0)
    with pytest.raises(ValueError, match="'triangular'"):
        SOM(3, 3, "triangular")
