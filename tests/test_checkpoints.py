"""Checkpoints: which file is whole, and what becomes of the others."""

import json
import os
import random
import resource
import shutil
import struct
import zlib

import pytest
import torch
from safetensors.torch import save, save_file

from colorlib.training import checkpoints
from colorlib.training.checkpoints import Checkpoint, Damaged

TENSORS = {
    "model/a": torch.arange(6.0).reshape(2, 3),
    "model/half": torch.ones(4, dtype=torch.bfloat16),
    "model/scalar": torch.tensor(3),
    "model/flags": torch.tensor([True, False]),
    "model/none": torch.zeros(0, 3),
}


@pytest.fixture
def folder(tmp_path):
    for step in (4, 8):
        checkpoints.write(tmp_path, Checkpoint(step, TENSORS, {"model": "Net", "side": step}))
    return tmp_path


def snapshot(folder):
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def header(content):
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(head, data):
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + data


def altered(content, change):
    """The same bytes with another header: what a flipped bit there, or another hand, may leave."""
    head, data = header(content)
    change(head)
    return joined(head, data)


def test_the_newest_is_read_as_it_was_written(folder):
    found = checkpoints.newest(folder)
    assert found.step == 8 and found.facts == {"model": "Net", "side": 8}
    assert found.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found.tensors[name].dtype == tensor.dtype and torch.equal(found.tensors[name], tensor)
    (folder / "empty").mkdir()
    assert checkpoints.newest(folder / "empty") is None


def retyped(head):
    head["model/a"]["dtype"] = "I32"  # of the same size


def reshaped(head):
    head["model/a"]["shape"] = [3, 2]


def renamed(head):
    head["model/b"] = head.pop("model/a")


def unchecked(head):
    del head["__metadata__"]["checksum"]


def other_facts(head):
    facts = json.loads(head["__metadata__"]["facts"])
    head["__metadata__"]["facts"] = json.dumps({**facts, "side": 9}, sort_keys=True)


def other_format(head):
    head["__metadata__"]["format"] = "colorlib weights 1"


DAMAGE = {
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"x",
    "empty": lambda content: b"",
    "foreign": lambda content: b"another file altogether" * 100,
    "another's": lambda content: save({"x": torch.zeros(3)}),
    **{
        change.__name__: lambda content, change=change: altered(content, change)
        for change in (retyped, reshaped, renamed, unchecked, other_facts, other_format)
    },
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_passed_over_and_only_its_own_run_renames_it(folder, damage):
    path = folder / "checkpoint-00000008.safetensors"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    (folder / "checkpoint-00000012.safetensors.partial").write_bytes(b"half")
    before = snapshot(folder)
    with pytest.warns(UserWarning, match="00000008.safetensors is not a whole .* checkpoint-00000004"):
        assert checkpoints.newest(folder).step == 4
    assert snapshot(folder) == before
    with pytest.warns(UserWarning, match="now named checkpoint-00000008.safetensors.damaged"):
        checkpoints.mend(folder, 4)
    after = snapshot(folder)
    assert after.pop(f"{path.name}.damaged") == before[path.name]
    assert after == {name: before[name] for name in ("checkpoint-00000004.safetensors",)}


def test_no_flipped_bit_goes_unnoticed(folder):
    path = folder / "checkpoint-00000008.safetensors"
    content = path.read_bytes()
    chance = random.Random()
    number = content.index(b"checkpoint 2") + len("checkpoint ")  # with one bit more, it is 3 or 6
    places = [(number, 0), (number, 2)]
    places += [(place, chance.randrange(8)) for place in chance.sample(range(len(content)), 150)]
    for place, bit in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        with pytest.warns(UserWarning, match="not a whole checkpoint"):
            assert checkpoints.newest(folder).step == 4, place


def test_a_checkpoint_under_another_s_name_is_refused(folder):
    shutil.copy(folder / "checkpoint-00000004.safetensors", folder / "checkpoint-00000100.safetensors")
    with pytest.warns(UserWarning, match="it holds step 4"):
        assert checkpoints.newest(folder).step == 8


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_passed_over(folder, kind):
    path = folder / "checkpoint-00000012.safetensors"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.warns(UserWarning, match="not a regular file"):
        assert checkpoints.newest(folder).step == 8


def test_the_first_format_is_still_read_with_its_own_checksum(tmp_path):
    facts = json.dumps({"step": 3, "model": "Net"})
    total = zlib.crc32(facts.encode())
    for name in sorted(TENSORS):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(bytes(TENSORS[name].flatten().view(torch.uint8).tolist()), total)
    path = tmp_path / "checkpoint-00000003.safetensors"
    about = {"format": "colorlib checkpoint 1", "facts": facts, "checksum": f"{total:08x}"}
    save_file(TENSORS, path, about)
    found = checkpoints.newest(tmp_path)
    assert found.step == 3 and found.facts == {"model": "Net"}
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match="checksum is wrong"):
        checkpoints.newest(tmp_path)


def test_one_of_a_later_version_is_named_and_left_alone(folder):
    path = folder / "checkpoint-00000008.safetensors"

    def later(head):
        head["__metadata__"] |= {"format": "colorlib checkpoint 10", "checksum": "of another kind"}

    path.write_bytes(altered(path.read_bytes(), later))
    before = snapshot(folder)
    with pytest.raises(ValueError, match="00000008.*colorlib checkpoint 10, which a later version") as caught:
        checkpoints.newest(folder)
    assert not isinstance(caught.value, Damaged) and snapshot(folder) == before


def test_where_none_is_whole_nothing_changes(folder):
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    before = snapshot(folder)
    with pytest.raises(Damaged, match="holds no whole checkpoint .*00000008.*00000004"):
        checkpoints.newest(folder)
    assert snapshot(folder) == before


def test_a_passing_error_is_no_damage(folder):
    """Too many open files: a real one, that safetensors itself reports as a missing file."""
    before = snapshot(folder)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            checkpoints.newest(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "Too many open files" in str(caught.value)
    assert snapshot(folder) == before and checkpoints.newest(folder).step == 8


def test_an_error_of_one_file_is_no_reason_to_take_another(folder, monkeypatch):
    read = type(folder).read_bytes

    def away(path):
        if "00000008" in path.name:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(type(folder), "read_bytes", away)
    with pytest.raises(OSError, match="00000008.* could not be read now: Input/output error; try again"):
        checkpoints.newest(folder)
    monkeypatch.undo()
    assert checkpoints.newest(folder).step == 8


def test_a_run_that_goes_on_meanwhile_is_no_error(folder, monkeypatch):
    """Between listing and reading, the run writes two more and removes the two that were listed."""
    listed, calls = checkpoints.listed, []

    def then_it_goes_on(directory):
        found = listed(directory)
        calls.append(found)
        if len(calls) == 1:
            for step in (12, 16):
                path = checkpoints.write(directory, Checkpoint(step, TENSORS, {}))
            assert path.exists() and not found[0].exists()
        return found

    monkeypatch.setattr(checkpoints, "listed", then_it_goes_on)
    monkeypatch.setattr(
        checkpoints, "_remove_old", lambda directory: [p.unlink() for p in listed(directory)[2:]]
    )
    assert checkpoints.newest(folder).step == 16
