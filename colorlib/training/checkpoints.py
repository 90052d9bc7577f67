"""Checkpoints: what a run has reached, in one file that is whole or is not there.

A checkpoint is a safetensors file: named tensors, and a JSON text with everything else. Reading one runs no
code. It is written under another name, flushed to the disk and then renamed. A rename is one act of the file
system, so a process killed at any moment leaves no half-written checkpoint behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

KEPT = 2  # how many checkpoints stay: the newest, and one more in case the newest is damaged
FORMAT = "colorlib checkpoint 1"
_NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
_PARTIAL = ".partial"


class TrainingError(RuntimeError):
    """A run that can't go on; the message says why, and what is kept."""


@dataclass
class Checkpoint:
    """What a run has reached after `step` steps: tensors on the CPU by name, and facts that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict


def write(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, then remove all but the last two.

    Raises
    ------
    TrainingError
        If it can't be written, for instance on a full disk. Earlier checkpoints are untouched.
    """
    path = directory / f"checkpoint-{checkpoint.step:08d}.safetensors"
    partial = path.with_name(path.name + _PARTIAL)
    facts = json.dumps({"step": checkpoint.step, **checkpoint.facts}, sort_keys=True)
    metadata = {"format": FORMAT, "facts": facts, "checksum": _checksum(facts, checkpoint.tensors)}
    content = save(checkpoint.tensors, metadata)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before its name is: a power cut must not swap the two
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        kept = ", ".join(p.name for p in listed(directory)) or "none"
        raise TrainingError(
            f"the checkpoint of step {checkpoint.step} could not be written to {directory}: "
            f"{error.strerror or error}. Training stops; checkpoints kept: {kept}. "
            "Make room and run it again to go on from there."
        ) from error
    _sync_directory(directory)
    _remove_old(directory)
    return path


def newest(directory: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; None where there is none.

    A file that is torn, altered or not a checkpoint is renamed to ``*.damaged``, with a warning that names
    it, and the one before is read.
    """
    for leftover in directory.glob(f"checkpoint-*{_PARTIAL}"):
        leftover.unlink()  # from a process that was killed as it wrote
    for path in listed(directory):
        try:
            checkpoint = _read(path)
            _remove_old(directory)  # what a process left that was killed between renaming and removing
            return checkpoint
        except (OSError, SafetensorError, ValueError) as error:
            aside = set_aside(path)
            warnings.warn(
                f"{path} is not a whole checkpoint ({error}); it is now named {aside.name}, and the one "
                "before it is used",
                stacklevel=3,
            )
    return None


def listed(directory: Path) -> list[Path]:
    """List the files in the directory that are named as checkpoints, the newest first."""
    found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(_NAME.fullmatch(path.name)[1]), reverse=True)


def set_aside(path: Path) -> Path:
    """Rename a file to ``*.damaged``, with a number where that name is taken."""
    aside, count = path.with_name(path.name + ".damaged"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.{count}.damaged")
    os.replace(path, aside)
    return aside


def _remove_old(directory: Path) -> None:
    for old in listed(directory)[KEPT:]:
        with contextlib.suppress(OSError):
            old.unlink()


def _read(path: Path) -> Checkpoint:
    with safe_open(path, "pt") as file:  # compares the sizes that its head states with the file's
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError("it was not written by this trainer")
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if metadata.get("checksum") != _checksum(metadata.get("facts", ""), tensors):
        raise ValueError("its checksum is wrong")
    facts = json.loads(metadata["facts"])
    step = facts.pop("step")
    if int(_NAME.fullmatch(path.name)[1]) != step:
        raise ValueError(f"it holds step {step}")
    return Checkpoint(step, tensors, facts)


def _checksum(facts: str, tensors: dict[str, Tensor]) -> str:
    # The format itself notices a file cut short, but not a flipped bit.
    total = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        # As bytes: numpy has no bfloat16. A tensor without dimensions can't be viewed so: give it one.
        flat = tensors[name].reshape(-1)
        if len(flat):
            total = zlib.crc32(flat.view(dtype=uint8).numpy(), total)
    return f"{total:08x}"


def _sync_directory(directory: Path) -> None:
    # The new name too has to reach the disk. Some file systems, among them Drive's, can't do it: then the
    # rename is safe from a killed process, though not from a power cut.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
