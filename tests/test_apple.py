"""Apple's GPUs have no double precision: nothing asks for it there, and the results are those of the CPU."""

import copy

import pytest
import torch
from apple import APPLE, Apple
from calls import CALLS, built
from torch.utils._pytree import tree_leaves, tree_map

from colorlib import metrics
from colorlib.classic import SOM
from colorlib.color import bin_prior, rebalancing_weights, smooth_prior, soft_encode

# Not of tensors, or of tensors that come from the CPU whatever the device of the arguments.
PLAIN = ("show.claim", "data.photos")


@pytest.fixture
def apple(monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *shown, **how: None)
    built.cache_clear()  # other tests show these networks NaN
    return Apple(monkeypatch)


def moved(x):
    """The same on the device, where it holds tensors or is a network."""
    if isinstance(x, torch.nn.Module):
        return copy.deepcopy(x).to(APPLE)
    if isinstance(x, torch.Generator):
        return torch.Generator(APPLE).manual_seed(x.initial_seed())
    return x.to(APPLE) if isinstance(x, torch.Tensor) or hasattr(x, "palette_of") else x


def back(x):
    return x.cpu().detach() if isinstance(x, torch.Tensor) else x


def floats(x):
    leaves = [back(leaf) for leaf in tree_leaves(vars(x) if hasattr(x, "palette_of") else x)]
    return [leaf for leaf in leaves if isinstance(leaf, (torch.Tensor, float))]


def test_the_stand_in_refuses_what_the_device_refuses(apple):
    with apple:
        x = torch.rand(3, 4).to(APPLE)
        assert x[1:].exp().device == torch.zeros(2, device=APPLE).device == APPLE
        for attempt in (x.double, lambda: torch.zeros(2, device=APPLE, dtype=torch.float64)):
            with pytest.raises(TypeError, match="doesn't support float64"):
                attempt()
        with pytest.raises(TypeError, match="doesn't support float64"):
            torch.zeros(3, dtype=torch.float64).to(APPLE)
        with pytest.raises(RuntimeError, match="same device"):
            x + torch.ones(4)
        assert torch.equal(x.cpu().double(), x.held.double())
        assert torch.zeros(3, dtype=torch.float64).to(APPLE, torch.float32).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith(PLAIN)])
def test_everything_runs_without_double_precision(name, apple):
    with apple:
        function, right = CALLS[name]()
        torch.manual_seed(0)
        wanted = floats(function(**right))
        function, right = CALLS[name]()
        right = tree_map(moved, right)
        if "device" in right:
            right["device"] = APPLE
        if right.get("dtype") == torch.float64:
            right["dtype"] = torch.float32
        owner = getattr(function, "__self__", None)
        if isinstance(owner, torch.nn.Module):
            function = getattr(moved(owner), function.__name__)
        torch.manual_seed(0)
        got = floats(function(**right))
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4, check_dtype=False)


def test_nothing_is_lost_to_single_precision(apple, monkeypatch):
    """Sums over many numbers, and colors so far away that single precision can't tell the bins apart."""
    # The same conversion on both: a CPU's own rounds otherwise in the last digits.
    monkeypatch.setattr("colorlib.color.cielab.in_blocks", lambda x: False)
    chance = torch.Generator().manual_seed(0)
    ab = 60 * torch.randn(100_000, 2, generator=chance)
    far = 1e6 * torch.randn(50, 2, generator=chance)
    rgb, truth = torch.rand(2, 300, 3, 4, 4, generator=chance)
    with apple:

        def figures(device):
            prior = bin_prior(ab.to(device))
            smooth = smooth_prior(prior)
            som = SOM(3, 3).fit(ab.to(device), epochs=3)
            encoded = soft_encode(far.to(device), k=3, sigma=1e9)[0]
            assert prior.device == smooth.device == som.neurons.device == encoded.device == device
            tensors = [prior, smooth, rebalancing_weights(smooth), som.neurons]
            compared = metrics.compare(rgb.to(device), truth.to(device))
            return [back(x) for x in tensors], back(encoded), list(compared.values())

        (there, far_there, compared_there), (here, far_here, compared_here) = map(
            figures, (APPLE, torch.device("cpu"))
        )
    for one, other in zip(there, here, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)
    assert torch.equal(far_there, far_here)
    assert compared_there == pytest.approx(compared_here, rel=1e-12)
