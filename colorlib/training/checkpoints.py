"""Checkpoints: what a run has reached, in one file that is whole or is not there.

A checkpoint is a safetensors file: named tensors, and a JSON text with everything else. Reading one runs no
code. It is written under another name, flushed to the disk and then renamed. A rename is one act of the file
system, so a process killed at any moment leaves no half-written checkpoint behind.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import stat
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, uint8

from colorlib._files import PARTIAL, write_whole

KEPT = 2  # how many checkpoints stay: the newest, and one more in case the newest is damaged
VERSION = 2
FORMAT = f"colorlib checkpoint {VERSION}"
_FORMAT = re.compile(r"colorlib checkpoint ([1-9][0-9]*)")
_NAME = re.compile(r"checkpoint-([0-9]+)\.safetensors")


class TrainingError(RuntimeError):
    """A run that can't go on; the message says why, and what is kept."""


class Damaged(ValueError):
    """A file that could be read, and whose content is wrong; the message says how."""


@dataclass
class Checkpoint:
    """What a run has reached after `step` steps: tensors on the CPU by name, and facts that JSON can hold."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict


def folder(directory) -> Path:
    """Give the name of a run's directory as a Path; an empty one would be the current directory."""
    if not isinstance(directory, (str, os.PathLike)):
        raise TypeError(f"directory must be a str or a Path; got {directory!r}")
    if not str(directory):
        raise ValueError("directory must be the name of a directory; got an empty text")
    return Path(directory)


def write(directory: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, then remove all but the last two.

    Raises
    ------
    TrainingError
        If it can't be written, for instance on a full disk. Earlier checkpoints are untouched.
    """
    path = directory / f"checkpoint-{checkpoint.step:08d}.safetensors"
    facts = json.dumps({"step": checkpoint.step, **checkpoint.facts}, sort_keys=True)
    metadata = {"format": FORMAT, "facts": facts, "checksum": checksum(FORMAT + facts, checkpoint.tensors)}
    try:
        write_whole(path, save(checkpoint.tensors, metadata))
    except OSError as error:
        raise TrainingError(
            f"the checkpoint of step {checkpoint.step} could not be written to {directory}: "
            f"{error.strerror or error}. Training stops; checkpoints kept: {kept(directory)}. "
            "Make room and run it again to go on from there."
        ) from error
    _remove_old(directory)
    return path


def newest(directory: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; None where there is none at all. Nothing is changed.

    One that is torn, altered or another file is passed over, with a warning that names it.

    Raises
    ------
    OSError
        If a file can't be read now: it may be whole.
    Damaged
        If there are checkpoints and none is whole.
    ValueError
        If a later version of this library wrote one.
    """
    for _ in range(5):
        damaged: dict[Path, Damaged] = {}
        for path in listed(directory):
            try:
                checkpoint = whole(path)
            except Damaged as error:
                damaged[path] = error
            except FileNotFoundError as error:  # a run that goes on has removed it meanwhile: look again
                missing = error
                break
            except OSError as error:
                raise OSError(
                    f"{path} could not be read now: {error.strerror or error}; try again"
                ) from error
            else:
                for wrong, error in damaged.items():
                    message = f"{wrong} is not a whole checkpoint ({error}); {path.name} is used in its place"
                    warnings.warn(message, stacklevel=3)
                return checkpoint
        else:
            if damaged:
                reasons = "; ".join(f"{path.name}: {error}" for path, error in damaged.items())
                raise Damaged(f"{directory} holds no whole checkpoint ({reasons})")
            return None
    raise missing


def listed(directory: Path) -> list[Path]:
    """List the files in the directory that are named as checkpoints, the newest first."""
    return sorted(
        (path for path in directory.iterdir() if _NAME.fullmatch(path.name)), key=_step, reverse=True
    )


def kept(directory: Path) -> str:
    """Name the checkpoints in the directory, for a message."""
    with contextlib.suppress(OSError):
        return ", ".join(path.name for path in listed(directory)) or "none"
    return "unknown, for the directory can't be listed"


def set_aside(path: Path) -> Path:
    """Rename a file to the name that :func:`aside` gives."""
    new = aside(path)
    os.replace(path, new)
    return new


def aside(path: Path) -> Path:
    """Give the file's name with ``.damaged``, and with a number where that name is taken."""
    new, count = path.with_name(path.name + ".damaged"), 1
    while new.exists():
        count += 1
        new = path.with_name(f"{path.name}.{count}.damaged")
    return new


def mend(directory: Path, step: int) -> None:
    """Rename what is damaged, all that is named as a checkpoint after `step`, and remove leftovers.

    Raises
    ------
    OSError
        If a file can't be renamed.
    """
    for path in listed(directory):
        if _step(path) > step:
            warnings.warn(f"{path} is now named {set_aside(path).name}", stacklevel=4)
    _remove_old(directory)


def _remove_old(directory: Path) -> None:
    """Remove old checkpoints, and what a process left that was killed as it wrote."""
    with contextlib.suppress(OSError):
        partial = [directory.glob(name + PARTIAL) for name in ("checkpoint-*", "metrics.jsonl")]
        for old in itertools.chain(listed(directory)[KEPT:], *partial):
            old.unlink()


def _step(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def whole(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    OSError
        If the file can't be read now.
    Damaged
        If it is not as this trainer wrote it; the message leaves the path to the caller.
    ValueError
        If a later version of this library wrote it.
    """
    metadata, tensors = read(path)
    version = _FORMAT.fullmatch(metadata.get("format", ""))
    if not version:
        raise Damaged("it was not written by this trainer")
    facts = metadata.get("facts", "")
    # Format 1's checksum leaves out the format itself and the types and shapes of the tensors.
    ours = (
        checksum(facts, tensors, shapes=False) if int(version[1]) == 1 else checksum(FORMAT + facts, tensors)
    )
    if int(version[1]) > VERSION and metadata.get("checksum") != ours:
        raise ValueError(f"{path} is a {version[0]}, which a later version of this library wrote; update it")
    if metadata.get("checksum") != ours or int(version[1]) > VERSION:
        raise Damaged("its checksum is wrong")
    try:
        facts = json.loads(facts)
        step = facts.pop("step")
    except (AttributeError, KeyError, ValueError) as error:
        raise Damaged(f"it doesn't say its step: {error}") from error
    if _NAME.fullmatch(path.name) and _step(path) != step:
        raise Damaged(f"it holds step {step}")
    return Checkpoint(step, tensors, facts)


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read the metadata and the tensors of a safetensors file.

    Raises
    ------
    OSError
        If it can't be read now, which says nothing about what it holds.
    Damaged
        If it holds anything else, or a part only.
    """
    # In one piece and then parsed: safe_open says "no such file" of too many open files, too.
    if not stat.S_ISREG(path.stat().st_mode):
        raise Damaged("it is not a regular file")
    content = path.read_bytes()
    try:
        tensors = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__")
    except (SafetensorError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise Damaged(f"it is not a whole safetensors file: {error}") from error
    return metadata or {}, tensors


def checksum(text: str, tensors: dict[str, Tensor], shapes: bool = True) -> str:
    """Give eight hexadecimal digits that depend on a text and on the tensors' names, types, shapes and bytes.

    The format itself notices a file cut short, but not a flipped bit. Without `shapes`, types and shapes are
    left out, as in the first format of checkpoints.
    """
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        head = f"{name} {tensor.dtype} {list(tensor.shape)}" if shapes else name
        total = zlib.crc32(head.encode(), total)
        # As bytes: numpy has no bfloat16. A tensor without dimensions can't be viewed so: give it one.
        flat = tensor.reshape(-1)
        if len(flat):
            total = zlib.crc32(flat.view(dtype=uint8).numpy(), total)
    return f"{total:08x}"
