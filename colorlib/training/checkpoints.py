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

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, uint8

KEPT = 2  # how many checkpoints stay: the newest, and one more in case the newest is damaged
FORMAT = "colorlib checkpoint 2"
_FIRST_FORMAT = "colorlib checkpoint 1"  # its checksum leaves types and shapes out
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
    facts = json.dumps({"step": checkpoint.step, **checkpoint.facts}, sort_keys=True)
    metadata = {"format": FORMAT, "facts": facts, "checksum": checksum(facts, checkpoint.tensors)}
    try:
        write_whole(path, save(checkpoint.tensors, metadata))
    except OSError as error:
        kept = ", ".join(p.name for p in listed(directory)) or "none"
        raise TrainingError(
            f"the checkpoint of step {checkpoint.step} could not be written to {directory}: "
            f"{error.strerror or error}. Training stops; checkpoints kept: {kept}. "
            "Make room and run it again to go on from there."
        ) from error
    _remove_old(directory)
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, flush it to the disk, and rename it: it is whole or is not there."""
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before its name is: a power cut must not swap the two
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    _sync_directory(path.parent)


def newest(directory: Path, mend: bool = True) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; None where there is none at all.

    A file that is torn, altered or not a checkpoint is passed over with a warning that names it, and the one
    before is read. Where `mend` allows it, the damaged one is renamed to ``*.damaged``, and what a killed
    process left is removed; otherwise the directory stays as it is.

    Raises
    ------
    TrainingError
        If a file can't be read at the moment, or none of those there is whole. Nothing is changed then.
    """
    damaged: list[tuple[Path, Exception]] = []
    for path in listed(directory):
        try:
            checkpoint = _read(path)
            break
        except FileNotFoundError:
            continue  # a run that goes on beside us has just removed it
        except OSError as error:
            # A drive that is away, or too many open files: that says nothing about what the file holds.
            raise TrainingError(
                f"{path} could not be read: {error.strerror or error}. Nothing was changed; try again."
            ) from error
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            damaged.append((path, error))
    else:
        if damaged:
            names = "; ".join(f"{path.name}: {error}" for path, error in damaged)
            raise TrainingError(
                f"{directory} has no whole checkpoint ({names}). Nothing was changed: to begin anew, remove "
                "them or give another directory."
            )
        checkpoint = None
    for path, error in damaged:
        now = f"; it is now named {set_aside(path).name}" if mend else ""
        warnings.warn(
            f"{path} is not a whole checkpoint ({error}){now}; the one before it is used", stacklevel=3
        )
    if mend:
        for leftover in directory.glob(f"checkpoint-*{_PARTIAL}"):
            leftover.unlink(missing_ok=True)  # from a process that was killed as it wrote
        _remove_old(directory)  # what a process left that was killed between renaming and removing
    return checkpoint


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
    metadata, tensors = parse(path.read_bytes())
    if metadata.get("format") not in (FORMAT, _FIRST_FORMAT):
        newer = metadata.get("format", "").startswith("colorlib checkpoint ")
        raise ValueError(f"a newer version wrote it: {metadata['format']}" if newer else "it is another file")
    text = metadata.get("facts", "")
    if metadata.get("checksum") != checksum(text, tensors, shapes=metadata["format"] == FORMAT):
        raise ValueError("its checksum is wrong")
    facts = json.loads(text)
    step = facts.pop("step")
    if int(_NAME.fullmatch(path.name)[1]) != step:
        raise ValueError(f"it holds step {step}")
    return Checkpoint(step, tensors, facts)


def parse(content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file that was read whole.

    Raises
    ------
    SafetensorError, ValueError
        If it is none, or not whole: the format's head states the file's size.
    """
    tensors = load(content)
    # A head of JSON, its length before it in eight bytes.
    head = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return head.get("__metadata__", {}), tensors


def checksum(text: str, tensors: dict[str, Tensor], shapes: bool = True) -> str:
    """A number of a text and of tensors, with their names and, unless told otherwise, types and shapes.

    The format itself notices a file cut short, but not a flipped bit.
    """
    total = zlib.crc32(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(
            f"{name} {tensor.dtype} {list(tensor.shape)}".encode() if shapes else name.encode(), total
        )
        # As bytes: numpy has no bfloat16. A tensor without dimensions can't be viewed so: give it one.
        flat = tensor.reshape(-1)
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
