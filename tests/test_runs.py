"""A run's folder under rough use: damage, kills at any moment, a second run, corrected mistakes."""

import builtins
import errno
import io
import json
import os
import shutil
import signal
import sys
import warnings
from pathlib import Path

import pytest
import torch
from processes import Script
from safetensors import safe_open
from safetensors.torch import save_file
from test_training import RECIPE, AtCall, Net, Pictures, change, same, weights

from colorlib.models import MaskedGAN
from colorlib.training import TrainingError, checkpoints, fit, history, learning_curve, lock, metrics
from colorlib.training.checkpoints import Checkpoint


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run's folder, and its weights."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    model = fit(Net(), Pictures(), RECIPE, folder)
    return folder, weights(model)


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
        b'{"step": NaN, "loss": {"model": 1.0}}',
        b'{"step": true, "loss": {"model": 1.0}}',
        b'{"step": 4, "loss": {"model": "1"}}',
        b'{"step": 4, "loss": {"model": NaN}}',
        b'{"step": 4, "loss": {"model": 1}, "seconds": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b'{"step": -4, "loss": {}}',
        b"\xef\xbb\xbf\x00",
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


# Kills, full disks and passing errors, at each act on the file system.


class Killed(BaseException):
    """Ends a run as a kill does: whatever clean-up is tried afterwards does nothing."""


class Half:
    """A file of which the fatal write leaves half."""

    def __init__(self, file, disk):
        self.file, self.disk = file, disk

    def write(self, data):
        if self.disk.fails():
            self.file.write(data[: len(data) // 2])
            self.file.flush()
            raise self.disk.error
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()


class Disk:
    """Counts the acts that change the disk; the n-th fails, and all that follow where it is a kill."""

    ACTS = ("replace", "unlink", "fsync", "mkdir", "truncate", "write")

    def __init__(self, patch, fail_at, error):
        self.count, self.fail_at, self.error = 0, fail_at, error
        for name in self.ACTS:
            patch.setattr(os, name, self.wrap(getattr(os, name)))
        self.opened = open
        for module in (builtins, io):  # pathlib takes the second
            patch.setattr(module, "open", self.open)

    def fails(self):
        self.count += 1
        dead = self.count > self.fail_at and isinstance(self.error, Killed)
        return dead or self.count == self.fail_at

    def wrap(self, act):
        def acted(*arguments, **options):
            if self.fails():
                raise self.error
            return act(*arguments, **options)

        return acted

    def open(self, file, mode="r", *arguments, **options):
        if not set(mode) & set("wax+"):
            return self.opened(file, mode, *arguments, **options)
        return Half(self.wrap(self.opened)(file, mode, *arguments, **options), self)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "full"]
)
@pytest.mark.parametrize("after", [0, 8], ids=["begun", "gone on"])
def test_ended_at_any_act_on_the_disk_a_run_goes_on_to_the_same_end(
    whole, tmp_path, monkeypatch, error, after
):
    if after:  # stopped in the middle, with lines of metrics that will be written again, and half a one
        shutil.copytree(whole[0], tmp_path / "stopped")
        checkpoints.listed(tmp_path / "stopped")[0].unlink()
        with open(tmp_path / "stopped" / metrics.FILE, "a") as file:
            file.write('{"step": 15, "lo')
    for moment in range(1, 200):
        folder = tmp_path / str(moment)
        if after:
            shutil.copytree(tmp_path / "stopped", folder)
        with monkeypatch.context() as patched:
            disk = Disk(patched, moment, error)
            try:
                fit(Net(), Pictures(), RECIPE, folder)
            except (Killed, TrainingError):
                pass
        if not isinstance(error, Killed):
            assert not list(folder.glob("*.partial")), f"failed at act {moment}"
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            begun = folder.exists() and checkpoints.listed(folder)
            model = fit(Net(seed=1 if begun else 0), Pictures(), RECIPE, folder)
        assert same(weights(model), whole[1]), f"ended at act {moment}"
        assert [line["step"] for line in history(folder)] == [3, 6, 9, 12]
        assert sorted(os.listdir(folder)) == sorted(os.listdir(whole[0]))
        if disk.count < moment:
            break
    assert 12 < moment < 100  # all of them, and there are some


_failing = []  # the place of the act that fails, counted down


def _watch(event, arguments):
    if _failing and event in ("open", "os.listdir", "os.scandir"):
        _failing[0] -= 1
        if _failing[0] == 0:
            raise OSError(errno.EMFILE, "Too many open files")


sys.addaudithook(_watch)  # which sees all of Python's own


@pytest.mark.slow
def test_a_passing_error_at_any_act_costs_a_run_nothing(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "stopped")
    checkpoints.listed(tmp_path / "stopped")[0].unlink()
    stopped = 0
    for moment in range(1, 200):
        folder = Path(shutil.copytree(tmp_path / "stopped", tmp_path / str(moment)))
        before = content(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _failing[:] = [moment]
            try:
                fit(Net(seed=1), Pictures(), RECIPE, folder)
            except TrainingError as error:
                assert "Too many open files" in str(error)
                stopped += 1
            finally:
                (left,) = _failing
                _failing.clear()
            kept = content(folder)
            assert all(kept.get(name) == before[name] for name in before if "0008" in name), moment
            assert same(weights(fit(Net(seed=1), Pictures(), RECIPE, folder)), whole[1])
        assert [line["step"] for line in history(folder)] == [3, 6, 9, 12]
        assert sorted(os.listdir(folder)) == sorted(os.listdir(whole[0]))
        if left > 0:
            break
    assert 5 < stopped < moment < 100


# Two runs, and mistakes.

HOLDER = """
import sys, time
from pathlib import Path
from colorlib.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
def test_a_second_run_in_a_folder_is_refused_until_the_first_is_gone_or_killed(whole, run):
    other = Script(HOLDER, run)
    try:
        assert other.said.readline() == "held\n"
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
        other.kill()
        other.wait()
    fit(Net(), Pictures(), RECIPE, run)


def test_a_run_within_a_run_in_the_same_folder_is_refused(tmp_path):
    def again(model):
        if model.calls == 2:
            with pytest.raises(TrainingError, match="in use: this process"):
                fit(Net(), Pictures(), RECIPE, tmp_path)

    fit(Net(act=again), Pictures(), RECIPE, tmp_path)
    assert [line["step"] for line in history(tmp_path)] == [3, 6, 9, 12]


class Windows:
    """Its locks, as far as they are used: each byte of a file belongs to one descriptor."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self):
        self.held = {}

    def locking(self, handle, mode, count):
        byte = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        if mode == self.LK_UNLCK:
            assert self.held.pop(byte) == handle
        elif self.held.setdefault(byte, handle) != handle:
            raise PermissionError(errno.EACCES, "Permission denied")


def test_locks_of_windows_serve_as_well(tmp_path, monkeypatch):
    windows = Windows()
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "msvcrt", windows)
    with lock.locked(tmp_path):
        assert len(windows.held) == 1
        monkeypatch.setattr(lock, "_HELD", set())  # as another process sees it
        with pytest.raises(TrainingError, match=f"process {os.getpid()} on"), lock.locked(tmp_path):
            pass
    assert not windows.held
    with pytest.raises(KeyError), lock.locked(tmp_path):
        raise KeyError
    assert not windows.held


@pytest.mark.slow
def test_a_child_of_fork_neither_holds_nor_frees_its_parent_s_lock(tmp_path):
    """Workers of a DataLoader are such children, and may outlive a run that is killed."""
    code = """
import os, sys, time
from pathlib import Path
from colorlib.training.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    print(child, flush=True)
    time.sleep(600)
"""
    parent = Script(code, tmp_path)
    child = int(parent.said.readline())
    try:
        with pytest.raises(TrainingError, match="in use"), lock.locked(tmp_path):
            pass
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # it is there still
        with lock.locked(tmp_path):
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0)
            os.waitpid(grandchild, 0)
            busy = Script(code, tmp_path)
            assert f"process {os.getpid()} on" in busy.said.read() and busy.wait() == 1
    finally:
        parent.kill()
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["no locks", "neither module"])
def test_where_there_are_no_locks_training_goes_on(tmp_path, monkeypatch, kind):
    def refused(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    if kind == "no locks":
        monkeypatch.setattr(lock.fcntl, "lockf", refused)
    else:
        monkeypatch.setattr(lock, "fcntl", None)
    fit(Net(), Pictures(), change(steps=2), tmp_path)


def test_a_finished_run_is_read_where_nothing_can_be_written(whole, run, monkeypatch):
    def read_only(file, mode="r", *_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(builtins, "open", read_only)
    before = content(run)
    assert same(weights(fit(Net(seed=1), Pictures(), RECIPE, run)), whole[1])
    assert content(run) == before
    checkpoints.listed(run)[0].unlink()
    with pytest.raises(TrainingError, match="run.lock could not be opened: Read-only file system"):
        fit(Net(), Pictures(), RECIPE, run)


@pytest.mark.parametrize("mistake", ["crop", "loss", "batch", "data"])
def test_a_mistake_that_shows_in_the_first_step_leaves_nothing(tmp_path, mistake):
    def fail(model):
        raise KeyError("a mistake in the loss")

    class Short(Pictures):
        def batch(self, indices, device=None):
            return super().batch(indices[1:], device)

    net = Net(hidden=8, act=fail if mistake == "loss" else None)
    recipe = change(crop=99) if mistake == "crop" else change(batch=1) if mistake == "batch" else RECIPE
    data = Short() if mistake == "data" else Pictures(size=1 if mistake == "batch" else 8)
    with pytest.raises((ValueError, KeyError)):
        fit(net, data, recipe, tmp_path)
    assert os.listdir(tmp_path) == ["run.lock"]


def test_a_mistake_that_shows_before_the_first_checkpoint_can_be_corrected(whole, tmp_path):
    def fail():
        raise KeyError("a mistake in the loss of the third step")

    with pytest.raises(KeyError):
        fit(Net(hidden=8, act=AtCall(4, fail)), Pictures(count=3), change(learning_rate=0.5), tmp_path)
    assert (tmp_path / metrics.FILE).exists() and checkpoints.newest(tmp_path).step == 0
    with pytest.warns(UserWarning) as said:
        model = fit(Net(), Pictures(), RECIPE, tmp_path)
    first, second = (str(warning.message) for warning in said)
    assert "replaces another run, of a Net at step 0" in first and "weights layers.0.bias [8] there" in first
    assert "metrics.jsonl was another run's" in second
    assert same(weights(model), whole[1])
    assert [line["step"] for line in history(tmp_path)] == [3, 6, 9, 12]


def test_a_run_that_lost_its_newest_to_damage_is_not_replaced(run):
    """Step 0 is the newest whole one, and yet the run had got further."""
    newest, before = checkpoints.listed(run)
    first = checkpoints.newest(run)
    first.step = 0
    before.unlink()
    checkpoints.write(run, first)
    newest.write_bytes(b"torn")
    kept = content(run)
    with pytest.warns(UserWarning, match="not a whole"), pytest.raises(ValueError, match="another run"):
        fit(Net(), Pictures(), change(learning_rate=0.5), run)
    assert content(run) == kept


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


def test_an_empty_name_is_no_folder(run, monkeypatch):
    monkeypatch.chdir(run)
    before = content(run)
    for use in (lambda name: fit(Net(), Pictures(), RECIPE, name), history, learning_curve):
        with pytest.raises(ValueError, match="directory must be the name of a directory"):
            use("")
    assert content(run) == before


def test_a_folder_that_goes_away_ends_a_run_with_a_sentence(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="metrics of step 6 could not be written"):
        fit(Net(act=AtCall(5, lambda: shutil.rmtree(run))), Pictures(), RECIPE, run)
    with pytest.raises(TrainingError, match="checkpoint of step 4 could not be written.*kept: unknown"):
        fit(Net(act=AtCall(4, lambda: shutil.rmtree(run))), Pictures(), RECIPE, run)


def test_a_checkpoint_of_something_else_is_another_run(tmp_path):
    checkpoints.write(tmp_path, Checkpoint(4, {"x": torch.ones(2)}, {}))
    with pytest.raises(ValueError, match="another run, of a None at step 4: model None there, Net here; "):
        fit(Net(), Pictures(), RECIPE, tmp_path)


def test_the_weights_of_a_step_that_broke_them_are_not_kept(tmp_path):
    """The loss was still finite; the step went too far."""

    class Steep(Net):
        def loss(self, batch):
            return 1e4 * super().loss(batch)

    with pytest.raises(TrainingError, match="weights layers.0.* not finite after step 1.*00000000"):
        fit(Steep(), Pictures(), change(steps=1, learning_rate=3e38, optimizer="sgd"), tmp_path)
    assert checkpoints.newest(tmp_path).step == 0


class Held:
    """Data of pictures that it is given, and whose text has an address in it."""

    def __init__(self, pictures):
        self.pictures = pictures
        self.batch = pictures.batch

    def __len__(self):
        return len(self.pictures)

    def __repr__(self):
        return f"Held({object.__repr__(self)})"


def test_what_tells_runs_apart_and_what_does_not(tmp_path):
    class Nameless(Pictures):
        __repr__ = object.__repr__

    def frozen(first):
        net = Net()
        net.settings, net.image_size = {"sizes": (1, 2)}, 8
        net.layers[0].requires_grad_(not first)
        return net

    recipe = change(steps=4, settings={"widths": (1, 2)})
    fit(frozen(False), Held(Pictures()), recipe, tmp_path / "held")
    fit(frozen(False), Held(Pictures()), recipe, tmp_path / "held")  # tuples are lists in JSON
    for model, data, message in [
        (frozen(True), Held(Pictures()), "the player of layers.0.weight model there, none here"),
        (frozen(False), Held(Pictures(11)), "pictures 10 there, 11 here"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(model, data, recipe, tmp_path / "held")
    fit(Net(), Nameless(), change(steps=4), tmp_path / "nameless")
    with pytest.raises(ValueError, match="holds another run.*: pictures 10 there, 11 here"):
        fit(Net(), Nameless(11), change(steps=4), tmp_path / "nameless")


def test_checkpoints_of_earlier_versions_are_gone_on_with(whole, run):
    """They did not say how many pictures there are and who learns what, nor a folder's hash."""

    class Folder(Pictures):
        def __repr__(self):
            return f"Folder('cats', size=8; {len(self)} pictures, 0123abcd)"

    def earlier(folder, data):
        path = checkpoints.listed(folder)[0]
        path.unlink()
        found = checkpoints.newest(folder)
        found.facts = {key: value for key, value in found.facts.items() if key not in ("learn", "pictures")}
        checkpoints.write(folder, Checkpoint(found.step, found.tensors, {**found.facts, "data": data}))

    earlier(run, "Pictures(10)")
    assert same(weights(fit(Net(seed=1), Pictures(), RECIPE, run)), whole[1])
    earlier(run, "Folder('cats', size=8; 10 pictures)")
    assert same(weights(fit(Net(seed=1), Folder(), RECIPE, run)), whole[1])
    earlier(run, "Folder('cats', size=8; 10 pictures, 76543210)")
    with pytest.raises(ValueError, match="data Folder.*76543210. there, Folder.*0123abcd. here"):
        fit(Net(seed=1), Folder(), RECIPE, run)


def test_metadata_is_json_that_a_reader_of_safetensors_sees(run):
    with safe_open(checkpoints.listed(run)[0], "pt") as file:
        facts = json.loads(file.metadata()["facts"])
    assert facts["model"] == "Net" and facts["step"] == 12
