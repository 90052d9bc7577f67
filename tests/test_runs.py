"""A run's folder under rough use: damage, kills at any moment, a second run, corrected mistakes."""

import builtins
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_training import RECIPE, Net, Pictures, change, same, weights

from colorlib.models import MaskedGAN
from colorlib.training import TrainingError, checkpoints, fit, history, learning_curve, metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run's folder, and its weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "whole"
    model = fit(Net(), Pictures(), RECIPE, folder)
    yield folder, weights(model)
    torch.set_num_threads(before)


@pytest.fixture
def run(whole, tmp_path):
    """A copy of it to damage."""
    return Path(shutil.copytree(whole[0], tmp_path / "run"))


def content(folder):
    return {path.name: path.is_file() and path.read_bytes() for path in folder.iterdir()}


def rewrite(path, change_tensors=None, **entries):
    """Write a checkpoint again with other tensors or metadata, as its writer would."""
    with safe_open(path, "pt") as file:
        about, tensors = dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}
    save_file(change_tensors(tensors) if change_tensors else tensors, path, {**about, **entries})


# Damage.


def test_a_reader_takes_the_one_before_and_leaves_the_folder_as_it_is(run):
    newest = checkpoints.listed(run)[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    (run / "checkpoint-00000016.safetensors.partial").write_bytes(b"half")
    before = content(run)
    with pytest.warns(UserWarning, match="00000012.* is not a whole checkpoint"):
        assert checkpoints.newest(run).step == 8
    assert content(run) == before


@pytest.mark.parametrize("kind", ["dtype", "shape", "name", "bit", "step", "foreign"])
def test_whatever_of_a_checkpoint_is_altered_is_noticed(run, kind):
    path = checkpoints.listed(run)[0]
    if kind == "dtype":
        rewrite(
            path,
            lambda tensors: {
                k: t.view(torch.int32) if t.dtype == torch.float32 else t for k, t in tensors.items()
            },
        )
    elif kind == "shape":
        rewrite(path, lambda tensors: {k: t.reshape(-1) for k, t in tensors.items()})
    elif kind == "name":
        rewrite(path, lambda tensors: {k.replace("layers.0", "layers.9"): t for k, t in tensors.items()})
    elif kind == "bit":
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
    elif kind == "step":
        path.rename(path.with_name("checkpoint-00000013.safetensors"))
    else:
        save_file({"model/x": torch.ones(2)}, path)
    with pytest.warns(UserWarning, match="is not a whole checkpoint"):
        assert checkpoints.newest(run).step == 8


def test_checkpoints_of_the_first_format_are_read_still(run):
    path = checkpoints.listed(run)[0]
    with safe_open(path, "pt") as file:
        facts, tensors = file.metadata()["facts"], {key: file.get_tensor(key) for key in file.keys()}
    old = checkpoints.checksum(facts, tensors, shapes=False)
    rewrite(path, format="colorlib checkpoint 1", checksum=old)
    assert checkpoints.newest(run).step == 12


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ESTALE])
def test_a_passing_error_is_no_damage(run, number, monkeypatch):
    before = content(run)

    def away(path):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", away)
        with pytest.raises(TrainingError, match="could not be read now.*Its checkpoints are as they were"):
            fit(Net(), Pictures(), RECIPE, run)
    assert content(run) == before


def test_when_no_checkpoint_is_whole_nothing_begins_anew_unasked(run):
    for path in checkpoints.listed(run):
        path.write_bytes(path.read_bytes()[:-1])
    before = content(run)
    with pytest.raises(TrainingError, match="no whole checkpoint.*00000012.*00000008.*move these files away"):
        fit(Net(), Pictures(), RECIPE, run)
    assert content(run) == before
    for path in checkpoints.listed(run):
        path.unlink()
    with pytest.warns(UserWarning, match="metrics.jsonl was another run's; it is now named .*damaged"):
        fit(Net(), Pictures(), RECIPE, run)  # asked for


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b"7",
        b"half",
        b'{"step": "4"}',
        b'{"step": 4, "loss": 3}',
        b"\xff\xfe",
        b'{"step": NaN}',
    ],
)
def test_a_damaged_line_of_metrics_costs_that_line_alone(run, line):
    path = run / metrics.FILE
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, *lines[1:]]) + b"\n")
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match="is damaged in line 2;"):
        assert [entry["step"] for entry in history(run)] == [3, 6, 9, 12]
    assert path.read_bytes() == damaged
    checkpoints.listed(run)[0].unlink()  # it goes on from step 8
    with pytest.warns(UserWarning, match="was damaged in line 2; metrics.jsonl.damaged has it as it was"):
        fit(Net(), Pictures(), RECIPE, run)
    assert (run / "metrics.jsonl.damaged").read_bytes() == damaged
    assert [entry["step"] for entry in history(run)] == [3, 6, 9, 12]
    learning_curve(run)


def test_metrics_that_cannot_be_read_stop_an_unfinished_run_with_a_sentence(whole, run):
    (run / metrics.FILE).unlink()
    (run / metrics.FILE).mkdir()
    assert same(weights(fit(Net(), Pictures(), RECIPE, run)), whole[1])  # it is finished, and asks for none
    with pytest.raises(OSError, match=r"metrics.jsonl can't be read: Is a directory"):
        learning_curve(run)
    checkpoints.listed(run)[0].unlink()
    before = content(run)
    with pytest.raises(TrainingError, match=r"metrics.jsonl could not be read or written: Is a directory"):
        fit(Net(), Pictures(), RECIPE, run)
    assert content(run) == before


# Kills and full disks, at each act on the file system.


class Killed(BaseException):
    """Ends a run as a kill does: whatever clean-up is tried afterwards does nothing."""


class Disk:
    """Counts the acts that change the disk; the n-th fails, and all that follow where it is a kill."""

    ACTS = ("replace", "unlink", "fsync", "mkdir")

    def __init__(self, patch, fail_at, error):
        self.count, self.fail_at, self.error = 0, fail_at, error
        for name in self.ACTS:
            patch.setattr(os, name, self.wrap(getattr(os, name)))
        patch.setattr(
            builtins, "open", self.wrap(open, lambda file, mode="r", *_, **__: set(mode) & set("wax+"))
        )

    def wrap(self, act, counts=lambda *_, **__: True):
        def acted(*arguments, **options):
            if counts(*arguments, **options):
                self.count += 1
                if self.count == self.fail_at or (self.count > self.fail_at and self.error is Killed):
                    raise (
                        self.error() if self.error is Killed else OSError(self.error, os.strerror(self.error))
                    )
            return act(*arguments, **options)

        return acted


@pytest.mark.parametrize("error", [Killed, errno.ENOSPC], ids=["killed", "full"])
def test_ended_at_any_act_on_the_disk_a_run_goes_on_to_the_same_end(whole, tmp_path, monkeypatch, error):
    for moment in range(1, 200):
        folder = tmp_path / str(moment)
        with monkeypatch.context() as patched:
            disk = Disk(patched, moment, error)
            try:
                fit(Net(), Pictures(), RECIPE, folder)
            except (Killed, TrainingError):
                pass
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            begun = folder.exists() and checkpoints.listed(folder)
            model = fit(Net(seed=1 if begun else 0), Pictures(), RECIPE, folder)
        assert same(weights(model), whole[1]), f"ended at act {moment}"
        assert [line["step"] for line in history(folder)] == [3, 6, 9, 12]
        assert not list(folder.glob("*.partial")) and len(checkpoints.listed(folder)) == 2
        if disk.count < moment:
            break
    assert 12 < moment < 100  # all of them, and there are some


# Two runs, and mistakes.

HOLDER = """
import sys, time
from pathlib import Path
from colorlib.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_gone_or_killed(whole, run):
    other = subprocess.Popen([sys.executable, "-c", HOLDER, run], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        before = content(run)
        assert same(weights(fit(Net(), Pictures(), RECIPE, run)), whole[1])  # a finished one may be read
        assert content(run) == before
        checkpoints.listed(run)[0].unlink()
        before = content(run)
        with pytest.raises(TrainingError, match=f"in use: process {other.pid} on .*Nothing was changed"):
            fit(Net(), Pictures(), RECIPE, run)
        assert content(run) == before
        assert checkpoints.newest(run).step == 8  # a reader may look
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    fit(Net(), Pictures(), RECIPE, run)


def test_a_run_within_a_run_in_the_same_folder_is_refused(tmp_path):
    def again(model):
        if model.calls == 2:
            with pytest.raises(TrainingError, match="in use: this process"):
                fit(Net(), Pictures(), RECIPE, tmp_path)

    fit(Net(act=again), Pictures(), RECIPE, tmp_path)
    assert [line["step"] for line in history(tmp_path)] == [3, 6, 9, 12]


def test_where_the_file_system_knows_no_locks_training_goes_on(tmp_path, monkeypatch):
    from colorlib.training import lock

    def refused(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(lock.fcntl, "lockf", refused)
    fit(Net(), Pictures(), change(steps=2), tmp_path)


def test_a_mistake_before_the_first_checkpoint_can_be_corrected(whole, tmp_path):
    with pytest.raises(ValueError, match="crop must be at most"):
        fit(Net(), Pictures(), change(crop=99), tmp_path)

    def fail(model):
        raise KeyError("a mistake in the loss")

    with pytest.raises(KeyError):
        fit(Net(hidden=8, act=fail), Pictures(count=3), RECIPE, tmp_path)
    assert same(weights(fit(Net(), Pictures(), RECIPE, tmp_path)), whole[1])
    assert [line["step"] for line in history(tmp_path)] == [3, 6, 9, 12]


@pytest.mark.parametrize("settings", [{"batch": 1}, {"batch": 2, "accumulation": 2}])
def test_a_batch_too_small_for_batch_norm_is_explained(tmp_path, settings):
    pixels = Pictures(size=1)
    with pytest.raises(ValueError, match="batch normalization.* 1 pictures at a time"):
        fit(Net(), pixels, change(steps=1, **settings), tmp_path)
    fit(Net(), pixels, change(steps=1, batch=2), tmp_path)  # and it is corrected


def test_a_masked_gan_learns_from_single_pictures(tmp_path):
    class Masked(Pictures):
        def batch(self, indices, device=None):
            rgb = super().batch(indices, device)["rgb"]
            return {"rgb": rgb, "mask": torch.ones_like(rgb[:, :1])}

    model = fit(MaskedGAN.small(), Masked(size=32), change(steps=2, batch=1), tmp_path)
    assert all(tensor.isfinite().all() for tensor in weights(model).values())


def test_an_empty_name_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="directory must be the name of a directory"):
        fit(Net(), Pictures(), RECIPE, "")
    assert not list(tmp_path.iterdir())


def test_metadata_is_json_that_a_reader_of_safetensors_sees(run):
    with safe_open(checkpoints.listed(run)[0], "pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert facts["model"] == "Net" and facts["step"] == 12
