"""The training loop: the same weights however a run is stopped, split or spread."""

import dataclasses
import json
import math
import os
import random
import re
import resource
import signal
import socket
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from processes import Script, run
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from colorlib import zoo
from colorlib.data import World
from colorlib.models import MODELS, PatchMLP
from colorlib.training import (
    Interrupted,
    Player,
    Recipe,
    TrainingError,
    checkpoints,
    fit,
    history,
    learning_curve,
)
from colorlib.training.batches import FIRST_ENDLESS, Batches, augment

RECIPE = Recipe(steps=12, batch=4, learning_rate=1e-2, checkpoint_every=4, log_every=3)


class Pictures:
    """Pictures by number, each a function of its number."""

    def __init__(self, count=10, size=8):
        chance = torch.Generator().manual_seed(7)
        self.rgb = torch.rand(count, 3, size, size, generator=chance)
        self.seen = []

    def __len__(self):
        return len(self.rgb)

    def __repr__(self):
        return f"Pictures({len(self)})"

    def batch(self, indices, device=None):
        self.seen.append(list(indices))
        return {"rgb": self.rgb[list(indices)].to(device)}


class Net(nn.Module):
    """Gray to RGB, with what makes resuming hard: dropout and batch normalization."""

    def __init__(self, seed=0, hidden=4, dropout=0.5, norm=True, act=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(1, hidden, 3, padding=1),
                nn.BatchNorm2d(hidden) if norm else nn.Identity(),
                nn.Dropout(dropout),
                nn.Conv2d(hidden, 3, 3, padding=1),
            )
        self.act, self.calls, self.beside = act, 0, None

    def loss(self, batch):
        self.calls += 1
        if self.act:
            self.act(self)
        loss = (self.layers(batch["rgb"].mean(1, keepdim=True)) - batch["rgb"]).square().mean()
        loss = loss * math.nan if self.act == "nan" else loss
        return loss if self.beside is None else (loss, self.beside)


def plain(seed=0):
    return Net(seed, dropout=0.0, norm=False)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def change(**settings):
    return dataclasses.replace(RECIPE, **settings)


class AtCall:
    """Does something as the loss is asked for the n-th time in a process."""

    def __init__(self, call, do):
        self.call, self.do = call, do

    def __call__(self, model):
        if model.calls == self.call:
            self.do()


@pytest.mark.slow
def test_a_run_learns_and_a_finished_one_gives_its_weights_at_once(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    world = World(size=16)
    first = PatchMLP.small(torch.tensor([[50.0, 50.0], [-50.0, 40.0], [0.0, -50.0]]))
    torch.set_rng_state(before)
    held_out = {"rgb": world.batch(range(64)).rgb}
    untrained = first.loss(held_out).item()
    recipe = change(steps=60, batch=8, checkpoint_every=15)
    model = fit(first, world, recipe, tmp_path)
    assert model is first and not model.training
    assert torch.equal(torch.get_rng_state(), before)  # the caller's chance is left alone
    losses = [line["loss"]["model"] for line in history(tmp_path)]
    assert model.loss(held_out).item() < 0.9 * untrained
    assert [line["step"] for line in history(tmp_path)] == [*range(3, 61, 3)]
    again = fit(PatchMLP.small(torch.zeros(3, 2)), world, recipe, tmp_path)
    assert same(weights(again), weights(model))
    figure = learning_curve(tmp_path)
    assert figure.axes[0].lines[0].get_xydata()[:, 1].tolist() == losses


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "weight_decay": 0.1, "ema": 0.9, "schedule": "one-cycle", "warmup": 3},
        {"optimizer": "sgd", "schedule": "cosine", "clip": 0.1},
        {"optimizer": "rmsprop", "accumulation": 2, "flip": True, "crop": 5},
        {"precision": "bfloat16"},
    ],
    ids=lambda settings: next(iter(settings.values())),
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_checkpoint_and_it_goes_on_the_same(tmp_path, settings, number, capsys):
    recipe = change(**settings)
    whole = fit(Net(), Pictures(), recipe, tmp_path / "whole")
    calls = 5 * recipe.accumulation
    stopped = Net(act=AtCall(calls, lambda: signal.raise_signal(number)))
    handler = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        fit(stopped, Pictures(), recipe, tmp_path / "parts")
    assert caught.value.code == 128 + number and signal.getsignal(number) is handler
    assert f"{number.name} after step 5 of 12" in capsys.readouterr().err
    assert checkpoints.listed(tmp_path / "parts")[0].name == "checkpoint-00000005.safetensors"
    # With other first weights: all has to come from the checkpoint.
    model = fit(Net(seed=1), Pictures(), recipe, tmp_path / "parts")
    assert same(weights(model), weights(whole))
    assert untimed(tmp_path / "parts") == untimed(tmp_path / "whole")


def untimed(directory):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history(directory)]


KILLED = """
    import os, sys, time
    import test_training as t
    # Wide gaps between writing, flushing and renaming, so that kills fall into them too.
    write, replace = os.fsync, os.replace
    os.fsync = lambda handle: (time.sleep(0.002), write(handle), time.sleep(0.002))
    os.replace = lambda old, new: (replace(old, new), time.sleep(0.001))
    t.fit(t.Net(int(sys.argv[2])), t.Pictures(), t.KILLED_RECIPE, sys.argv[1])
"""
KILLED_RECIPE = dataclasses.replace(
    RECIPE, steps=150, checkpoint_every=3, ema=0.9, optimizer="adamw", flip=True
)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    killed, chance = tmp_path / "killed", random.Random()

    def reached():
        names = [path.name for path in checkpoints.listed(killed)[:1]] if killed.exists() else []
        return int(names[0].split("-")[1].split(".")[0]) if names else -1

    kills, stops = 0, set()
    while kills < 8:
        # Later calls draw other first weights: all has to come from the checkpoint.
        seed = 2 if reached() >= 0 else 1
        start, wanted = reached(), chance.choice([1, 1, 2])
        process = Script(KILLED, killed, str(seed))
        # The moment is counted in checkpoints, plus a little: on a busy machine, too, it gets somewhere.
        while process.running() and reached() < start + 3 * wanted:
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        said = process.said.read()
        assert process.wait() in (0, -signal.SIGKILL), said
        if process.wait() == 0:  # done before the kill: the rest has to find it finished
            break
        kills += 1
        stops.add(reached())
    assert kills >= 4 and len(stops) >= 3  # kills at different places in the run
    run(KILLED, killed, "2")
    whole = fit(Net(seed=1), Pictures(), KILLED_RECIPE, tmp_path / "whole")
    model = fit(Net(seed=3), Pictures(), KILLED_RECIPE, killed)
    assert same(weights(model), weights(whole))
    assert untimed(killed) == untimed(tmp_path / "whole")
    assert sorted(os.listdir(killed)) == sorted(os.listdir(tmp_path / "whole"))


def test_a_kill_between_renaming_and_removing_leaves_no_third_checkpoint(tmp_path, monkeypatch):
    recipe = change(steps=6, checkpoint_every=2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_remove_old", lambda directory: None)
        fit(Net(), Pictures(), recipe, tmp_path)
    assert len(checkpoints.listed(tmp_path)) == 4  # steps 0, 2, 4 and 6
    fit(Net(), Pictures(), recipe, tmp_path)  # it is finished, and tidies up
    assert [checkpoints.whole(path).step for path in checkpoints.listed(tmp_path)] == [6, 4]


def test_what_a_step_sees_is_a_function_of_seed_and_step(tmp_path):
    recipe = change(batch=8, accumulation=2, crop=5, flip=True)
    data = Pictures()
    whole = Batches(data, dataclasses.replace(recipe, accumulation=1), torch.device("cpu"))
    halves = [Batches(data, recipe, torch.device("cpu"), process, 2) for process in (0, 1)]
    for step in (7, 0, 3):
        (batch,) = whole(step)
        parts = [part for half in halves for part in half(step)]
        assert [len(part["rgb"]) for part in parts] == [2, 2, 2, 2]
        for name in ("rgb", "seed"):
            assert torch.equal(torch.cat([part[name] for part in parts]), batch[name])
    # An epoch shows every picture once, though epochs end within a batch.
    shown = [index for step in range(5) for index in whole.indices(step)]
    epochs = [shown[k : k + 10] for k in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs) and epochs[0] != epochs[1]
    other = Batches(data, change(batch=8, seed=1), torch.device("cpu"))
    assert other.indices(0) != whole.indices(0)
    endless = Batches(World(size=8), recipe, torch.device("cpu"))
    assert min(endless.indices(0)) >= FIRST_ENDLESS and endless.indices(0) != endless.indices(1)
    for batches in (whole, *halves, other, endless):
        batches.close()
    with pytest.raises(ValueError, match="batch of 8 can't be divided evenly among 3 processes"):
        Batches(data, recipe, torch.device("cpu"), 0, 3)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_batches_are_prepared_ahead_where_the_cpu_has_nothing_else_to_do(device):
    """The meta device stands for a GPU, whose steps the CPU waits for."""
    asked = []

    class Watched(Pictures):
        def batch(self, indices, device):
            asked.append((indices, threading.get_ident()))
            return super().batch(indices, "cpu")

    batches = Batches(Watched(), change(batch=4, steps=3), torch.device(device))
    for step in range(3):
        (part,) = batches(step)
        assert part["rgb"].device.type == device
    batches.close()
    assert [indices for indices, _ in asked] == [batches.indices(step) for step in range(3)]
    assert {thread == threading.get_ident() for _, thread in asked} == {device == "cpu"}


def test_endless_data_is_prepared_for_several_steps_at_a_time_where_that_is_ahead():
    asked = []

    class Endless:
        def batch(self, indices, device):
            asked.append(list(indices))
            rgb = torch.tensor(indices).float().view(-1, 1, 1, 1).expand(-1, 3, 4, 6).clone()
            rgb += torch.arange(6) / 10  # so that a mirror shows
            return {"rgb": rgb, "number": torch.tensor(indices)}

    recipe = change(batch=4, steps=19, flip=True, accumulation=2)
    one_by_one = Batches(Endless(), recipe, torch.device("cpu"))
    single = [one_by_one(step) for step in range(19)]
    asked.clear()
    together = one_by_one.parts(list(range(19)))
    assert len(asked) == 1
    for parts, others in zip(single, together, strict=True):
        assert len(parts) == len(others) == 2
        for part, other in zip(parts, others, strict=True):
            assert part.keys() == other.keys()
            assert all(torch.equal(part[name], other[name]) for name in part)
    # From the eleventh step on, as after an interruption: groups of eight, each asked for once.
    asked.clear()
    ahead = Batches(Endless(), recipe, torch.device("meta"))
    for step in range(10, 19):
        parts = ahead(step)
        assert [part["rgb"].shape for part in parts] == [(2, 3, 4, 6)] * 2
        for part, other in zip(parts, single[step], strict=True):
            assert torch.equal(part["seed"], other["seed"])  # on the CPU everywhere
    one_by_one.close()
    ahead.close()
    assert [len(indices) for indices in asked] == [32, 4]
    assert sum(asked, []) == [index for step in range(10, 19) for index in one_by_one.indices(step)]


def test_crops_and_mirrors_are_alike_in_all_tensors():
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(9.0), indexing="ij")
    rgb = torch.stack([rows, columns, rows * 9 + columns]).expand(50, 3, 6, 9)
    batch = {"rgb": rgb, "material": rgb[:, 2].long(), "colors": torch.arange(100).reshape(50, 2)}
    places = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    out = augment(batch, places, 4, True)
    assert out["rgb"].shape == (50, 3, 4, 4)
    assert torch.equal(out["material"], out["rgb"][:, 2].long())
    assert torch.equal(out["colors"], batch["colors"])
    down, right = out["rgb"][:, 0], out["rgb"][:, 1]
    assert (down.diff(dim=1) == 1).all() and (down.diff(dim=2) == 0).all()
    direction = right.diff(dim=2)[:, 0, 0]
    assert torch.equal(direction, torch.where(places[:, 2] < 0.5, -1.0, 1.0))
    assert set(down[:, 0, 0].tolist()) == {0, 1, 2} and set(right.amin((1, 2)).tolist()) == set(range(6))
    with pytest.raises(ValueError, match="at most the pictures' size, 6 x 9; got 7"):
        augment(batch, places, 7, False)


def test_convolutions_train_with_channels_last_and_come_back_as_they_were(tmp_path):
    seen = []
    net = Net(hidden=6, act=lambda model: seen.append(model.layers[3].weight.stride()))
    fit(net, Pictures(), change(steps=2, warmup=0), tmp_path)
    assert set(seen) == {(54, 1, 18, 6)} and net.layers[3].weight.stride() == (54, 9, 3, 1)

    class Volumes(Net):
        def __init__(self):
            super().__init__()
            self.volume = nn.Parameter(torch.ones(1, 1, 1, 1, 1))

    fit(Volumes(), Pictures(), change(steps=1), tmp_path / "volumes")  # torch refuses channels last for these


def test_accumulation_changes_nothing_but_rounding(tmp_path):
    one = fit(plain(), Pictures(), change(optimizer="sgd"), tmp_path / "one")
    two = fit(plain(), Pictures(), change(optimizer="sgd", accumulation=4), tmp_path / "two")
    for name, tensor in weights(one).items():
        torch.testing.assert_close(two.state_dict()[name], tensor, atol=1e-6, rtol=1e-5)
    assert not same(weights(one), weights(plain()))


def test_a_step_is_that_of_the_plain_optimizer(tmp_path):
    data, recipe = Pictures(), change(steps=5, clip=0.05, ema=0.5, warmup=2)
    model = fit(plain(), data, recipe, tmp_path)
    batches = Batches(data, recipe, torch.device("cpu"))
    reference = plain()
    average = [p.detach().clone() for p in reference.parameters()]
    optimizer = torch.optim.Adam(reference.parameters())
    for step, rate in enumerate([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2, 1e-2]):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        reference.loss(batches(step)[0]).backward()
        length = torch.cat([p.grad.flatten() for p in reference.parameters()]).norm()
        for p in reference.parameters():
            p.grad *= min(1.0, 0.05 / length.item())
        optimizer.step()
        decay = min(0.5, (1 + step) / (10 + step))
        pairs = zip(average, reference.parameters(), strict=True)
        average = [decay * a + (1 - decay) * p.detach() for a, p in pairs]
    batches.close()
    for ours, wanted in zip(model.parameters(), average, strict=True):
        torch.testing.assert_close(ours.detach(), wanted, atol=1e-5, rtol=1e-4)


class Duel(nn.Module):
    """Two players who notice what the other's loss does to them."""

    def __init__(self):
        super().__init__()
        self.critic, self.artist = nn.Linear(3, 1), nn.Linear(3, 3)
        self.moves = []

    def players(self):
        return {
            "critic": Player(self.critic.parameters(), self.critic_loss),
            "artist": Player(self.artist.parameters(), self.artist_loss, every=3),
        }

    def painted(self, batch):
        return self.critic(self.artist(batch["rgb"].mean((2, 3))))

    def critic_loss(self, batch):
        self.moves.append(("critic", weights(self)))
        return (self.painted(batch) - self.critic(batch["rgb"].mean((2, 3)))).mean()

    def artist_loss(self, batch):
        self.moves.append(("artist", weights(self)))
        return -self.painted(batch).mean()


def test_two_players_move_in_turn_and_only_themselves(tmp_path):
    model = Duel()
    first = weights(model)
    stop = change(steps=9, weight_decay=0.1)
    fit(model, Pictures(), stop, tmp_path)
    assert [name for name, _ in model.moves] == ["critic", "critic", "critic", "artist"] * 3
    states = [state for _, state in model.moves] + [weights(model)]
    for (name, before), after in zip(model.moves, states[1:], strict=True):
        changed = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
        assert changed == {name}
    assert all(p.requires_grad for p in model.parameters())
    assert set(history(tmp_path)[-1]["loss"]) == {"critic", "artist"}
    assert len(learning_curve(tmp_path).axes) == 2
    again = Duel()
    assert same(weights(fit(again, Pictures(), stop, tmp_path)), weights(model)) and not same(
        first, weights(model)
    )


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "no checkpoint of ours"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage):
    whole = fit(Net(), Pictures(), RECIPE, tmp_path)
    path = tmp_path / "checkpoint-00000012.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-100]
    elif damage == "flipped":
        content[-10] ^= 1
    elif damage == "empty":
        content = b""
    elif damage == "foreign":
        content = b"another file altogether" * 100
    path.write_bytes(content)
    if damage == "no checkpoint of ours":
        save_file({"x": torch.zeros(3)}, path)
    content = path.read_bytes()
    with (
        pytest.warns(UserWarning, match="checkpoint-00000012.safetensors is not a whole checkpoint"),
        pytest.warns(UserWarning, match="is now named checkpoint-00000012.safetensors.damaged"),
    ):
        model = fit(Net(seed=1), Pictures(), RECIPE, tmp_path)
    assert (tmp_path / (path.name + ".damaged")).read_bytes() == content
    assert same(weights(model), weights(whole))


def test_another_run_s_directory_is_refused_and_left_as_it_was(tmp_path):
    fit(Net(), Pictures(), RECIPE, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments, message in [
        ((Net(), Pictures(), change(learning_rate=0.5)), "recipe's learning_rate 0.01 there, 0.5 here"),
        (
            (Net(hidden=5), Pictures(), RECIPE),
            r"layers.0.weight \[4, 1, 3, 3\] there, \[5, 1, 3, 3\] here",
        ),
        ((Duel(), Pictures(), RECIPE), "model Net there, Duel here"),
        ((Net(), Pictures(11), RECIPE), r"data Pictures\(10\) there, Pictures\(11\) here"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(*arguments, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    fit(Net(), Pictures(), change(log_every=1, checkpoint_every=2), tmp_path)  # these two may change


def test_a_full_disk_ends_with_a_plain_message_and_whole_checkpoints(tmp_path):
    whole = fit(Net(hidden=64), Pictures(), RECIPE, tmp_path / "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():  # a real failure, in the middle of a write
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))

    try:
        with pytest.raises(TrainingError, match="checkpoint of step 8 could not be written.*-00000004"):
            fit(Net(hidden=64, act=AtCall(6, fill)), Pictures(), RECIPE, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    left = sorted(path.name for path in (tmp_path / "full").iterdir())
    kept = ["checkpoint-00000000.safetensors", "checkpoint-00000004.safetensors"]
    assert left == [*kept, "metrics.jsonl", "run.lock"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit(Net(hidden=64, seed=1), Pictures(), RECIPE, tmp_path / "full")
    assert same(weights(model), weights(whole))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_numbers_that_are_not_finite_end_the_run_and_keep_the_weights_before(tmp_path, what):
    class Broken(Net):
        def loss(self, batch):
            loss = super().loss(batch)
            if self.calls == 7:
                # The root's gradient at 0 is infinite, times 0 not a number; its value is 0.
                loss = loss * math.nan if what == "loss" else loss + (loss * 0).sqrt()
            return loss

    with pytest.raises(TrainingError, match=f"the {what} of the player 'model' was nan at step 7"):
        fit(Broken(), Pictures(), RECIPE, tmp_path)
    kept = checkpoints.newest(tmp_path)
    assert kept.step == 4 and all(tensor.isfinite().all() for tensor in kept.tensors.values())
    json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])


SPREAD = """
    import sys
    import test_training as t
    from accelerate import PartialState
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    with t.pytest.raises(ValueError, match="is a file"):  # in both, where only the first one looks
        t.fit(t.plain(), t.Pictures(), t.RECIPE, t.__file__)
    model = t.fit(t.plain(seed=state.process_index), t.Pictures(), t.change(log_every=1), sys.argv[1])
    print("sum", sum(p.double().sum().item() for p in model.parameters()), flush=True)
    state.destroy_process_group() if hasattr(state, "destroy_process_group") else None
"""


@pytest.mark.slow
def test_two_processes_follow_the_losses_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "ACCELERATE_USE_CPU": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    pair = [
        Script(SPREAD, tmp_path / "two", **common, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in (0, 1)
    ]
    said = [process.said.read() for process in pair]
    assert [process.wait() for process in pair] == [0, 0], said
    sums = [re.findall(r"(?m)^sum (.*)$", text) for text in said]
    assert sums[0] == sums[1] and len(sums[0]) == 1  # both end with the very same weights
    fit(plain(), Pictures(), change(log_every=1), tmp_path / "one")
    one, two = (
        [(line["loss"]["model"], line["gradient"]["model"]) for line in history(tmp_path / name)]
        for name in ("one", "two")
    )
    torch.testing.assert_close(torch.tensor(two), torch.tensor(one), atol=1e-6, rtol=1e-4)


def test_recipes_are_complete_and_checked():
    for model, kind in MODELS.items():
        for name, recipe in kind.recipes.items():
            assert zoo.recipe(model, name) is recipe
            assert eval(repr(recipe), {"Recipe": Recipe}) == recipe  # printed, it can be typed in again
    paper = zoo.recipe("cic", "paper")
    assert (paper.learning_rate, paper.betas, paper.weight_decay) == (3e-5, (0.9, 0.99), 1e-3)
    assert (paper.batch, paper.crop, paper.flip, paper.optimizer) == (40, 176, True, "adam")
    with pytest.raises(ValueError, match="no recipe of the name 'paper'; it has quick, full"):
        zoo.recipe("patch", "paper")
    with pytest.raises(ValueError, match="model must be one of cic, .*got 'cicc'"):
        zoo.recipe("cicc")
    for settings, message in [
        ({"steps": 0}, "steps must be at least 1; got 0"),
        ({"steps": 1.5}, "steps must be a whole number; got 1.5"),
        ({"optimizer": "lion"}, "optimizer must be one of adam, adamw, rmsprop, sgd; got 'lion'"),
        ({"learning_rate": -1.0}, r"in \(0, inf\); got -1.0"),
        ({"learning_rate": math.nan}, r"in \(0, inf\); got nan"),
        ({"ema": 1.0}, r"in \[0, 1\); got 1.0"),
        ({"accumulation": 3}, "divide batch, 4; got 3"),
        ({"warmup": 12}, "below steps, 12; got 12"),
        ({"schedule": "one-cycle"}, "warmup of at least 1"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            change(**settings)


def test_recipes_take_numpy_s_numbers_and_print_python_s():
    recipe = Recipe(
        steps=np.int64(12),
        batch=np.uint8(4),
        learning_rate=np.float32(0.5),
        betas=[np.float64(0.5), 0],
        warmup=np.int32(3),
        crop=np.int16(5),
        clip=np.float64(2.0),
        ema=np.float16(0.5),
        settings={"width": 8, "sizes": (1, 2)},
    )
    settings = {"width": 8, "sizes": (1, 2)}
    numbers = {"learning_rate": 0.5, "betas": (0.5, 0), "warmup": 3, "crop": 5, "clip": 2.0, "ema": 0.5}
    assert recipe == Recipe(steps=12, batch=4, settings=settings, **numbers)
    assert eval(repr(recipe), {"Recipe": Recipe}) == recipe and "np." not in repr(recipe)
    for name in ("steps", "batch", "learning_rate", "warmup", "clip", "ema", "crop", "seed", "colorful"):
        for wrong in (True, "4", [4], 4j, math.inf, math.nan, np.float64("nan"), -1):
            with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
                change(**{name: wrong})
    for settings in ({"a": torch.ones(2)}, {"a": {1, 2}}, {"a": object()}, [("a", 1)], "a"):
        with pytest.raises(TypeError, match="^settings must"):
            change(settings=settings)
    for betas in ((0.5,), 0.5, (0.5, True), ("0.5", 0.5), (0.5, 1.0), None):
        with pytest.raises((TypeError, ValueError), match="^betas must be"):
            change(betas=betas)


@pytest.mark.parametrize(("warmup", "steps"), [(10, 50), (1, 7)])
def test_the_one_cycle_is_torch_s(warmup, steps):
    recipe = change(schedule="one-cycle", warmup=warmup, steps=steps)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    # Torch counts the last step as the end of the fall; here the fall would end one step later.
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-2, total_steps=steps + 1, pct_start=(warmup + 1) / (steps + 1), cycle_momentum=False
    )
    for step in range(steps):
        assert recipe.rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()
    cosine = change(schedule="cosine", warmup=warmup, steps=steps)
    assert cosine.rate(warmup) == 1e-2 and cosine.rate(0) < 1e-2
    assert cosine.rate((steps + warmup) // 2) == pytest.approx(5e-3)
    assert 0 < cosine.rate(steps - 1) < 1e-3


class NoFloat64(TorchDispatchMode):
    """Apple's GPUs refuse numbers of 64 bits."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **(options or {}))
        for tensor in tree_flatten(out)[0]:
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                raise TypeError(f"{function} gives float64")
        return out


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_training_asks_for_no_float64(tmp_path, optimizer):
    recipe = change(
        optimizer=optimizer, clip=0.1, ema=0.9, flip=True, crop=5, accumulation=2, weight_decay=0.1
    )
    stopped = Net(act=AtCall(10, lambda: signal.raise_signal(signal.SIGTERM)))
    stopped.beside = {"accuracy": 0.5}
    with NoFloat64():
        with pytest.raises(Interrupted):
            fit(stopped, Pictures(), recipe, tmp_path)
        fit(Net(), Pictures(), recipe, tmp_path)
    with pytest.raises(TypeError, match="gives float64"), NoFloat64():
        torch.ones(2).double()


def test_wrong_arguments_are_named(tmp_path):
    def players(value):
        model = Net()
        model.players = lambda: value
        return model

    def loss(value):
        model = Net()
        model.loss = lambda batch: value
        return model

    class Data(Pictures):
        def __init__(self, out):
            super().__init__()
            self.out = out

        def batch(self, indices, device=None):
            return self.out

    one = list(Net().parameters())
    beside = Net()
    beside.beside = {"a": torch.ones(2)}
    strange = Net()
    strange.beside = 0.5
    odd = Net()
    odd.settings = {"prior": torch.ones(2)}
    for arguments, message in [
        (("net", Pictures(), RECIPE), "torch Module; got str"),
        ((Net, Pictures(), RECIPE), "torch Module; got type"),
        ((Net(), Pictures(), "quick"), "must be a Recipe"),
        ((Net(), Pictures(), Recipe), "must be a Recipe"),
        ((Net(), [1, 2], RECIPE), "method batch"),
        ((Net(), None, RECIPE), "method batch"),
        ((Net(), World, RECIPE), "method batch"),
        ((nn.Linear(1, 1), Pictures(), RECIPE), "Linear has neither loss"),
        ((players([one]), Pictures(), RECIPE), "must be a dict of Players; got "),
        ((players({"a": 3}), Pictures(), RECIPE), "must be a dict of Players; got "),
        ((players({}), Pictures(), RECIPE), "players.. is empty"),
        ((players({"a": Player([], len)}), Pictures(), RECIPE), "'a' has no parameters"),
        (
            (players({"a": Player(one, len, 0.5)}), Pictures(), RECIPE),
            "every of the player .a. must be",
        ),
        (
            (players({"a": Player(one, len, True)}), Pictures(), RECIPE),
            "every of the player .a. must be",
        ),
        ((loss(3.0), Pictures(), RECIPE), "must be a scalar tensor; got float"),
        ((loss(torch.ones(2)), Pictures(), RECIPE), r"must be a scalar tensor; got shape \(2,\)"),
        ((loss(torch.ones(())), Pictures(), RECIPE), "doesn't depend on its parameters"),
        ((beside, Pictures(), RECIPE), r"'a' beside the loss of the player 'model' must be.*got \(2,\)"),
        ((strange, Pictures(), RECIPE), r"beside the loss of the player 'model' must be a dict; got 0.5"),
        ((odd, Pictures(), RECIPE), "settings, init_from and image_size must fit into JSON"),
        ((Net(), Data(3), RECIPE), "a dict or a dataclass of tensors; it gave int"),
        ((Net(), Data({}), RECIPE), r"'rgb' of shape \(B, 3, H, W\); got none"),
        ((Net(), Data({"rgb": torch.ones(4, 3, 8)}), RECIPE), r"got \(4, 3, 8\)"),
        ((Net(), Data({"rgb": torch.ones(4, 3, 8, 8).byte()}), RECIPE), "floating-point .* got torch.uint8"),
        ((Net(), Data({"rgb": torch.ones(3, 3, 8, 8)}), RECIPE), r"asked for 4 pictures.*'rgb' of \(3, 3, 8"),
        (
            (Net(), Data({"rgb": torch.ones(4, 3, 8, 8), "mask": torch.ones(())}), RECIPE),
            r"asked for 4 pictures.*'mask' of \(\)",
        ),
        ((Net(), Pictures(0), RECIPE), r"no pictures in Pictures\(0\)"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            fit(*arguments, tmp_path / "run")
        assert not (tmp_path / "run").exists() or os.listdir(tmp_path / "run") == ["run.lock"], message
    for directory, message in [
        (3, "got 3"),
        (None, "got None"),
        (b"run", "got b'run'"),
        ("", "an empty text"),
    ]:
        with pytest.raises((TypeError, ValueError), match=f"^directory must be .*{message}"):
            fit(Net(), Pictures(), RECIPE, directory)
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match="file is a file"):
            fit(Net(), Pictures(), RECIPE, directory)
    with pytest.raises(FileNotFoundError, match="metrics.jsonl"):
        history(tmp_path)
