"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PARTIAL = ".partial"  # ends the names of files that are being written


def write_whole(path: Path, content: bytes, aside: str | None = None) -> None:
    """Write a file that, whatever happens, is there whole or as it was before.

    It is written under another name beside it, `aside` or its own with an ending, flushed and renamed.

    Raises
    ------
    OSError
        If it can't be written; no part of it is left behind.
    """
    partial = path.with_name(aside or path.name + PARTIAL)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before its name is: a power cut must not swap the two
        os.replace(partial, path)
    except BaseException:  # Ctrl-C too
        with suppress(OSError):
            partial.unlink()
        raise
    # The new name too has to reach the disk. Some file systems, among them Drive's, can't do it: then the
    # rename is safe from a killed process, though not from a power cut.
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
