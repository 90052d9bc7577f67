"""One run at a time in a directory: a lock that goes when its process does, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from pathlib import Path

from .checkpoints import TrainingError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
try:
    import msvcrt
except ImportError:
    msvcrt = None

FILE = "run.lock"
_FAR = 2**30  # Windows lets no other process read a byte that is locked, so none that is written is
_GUARD = threading.Lock()
_HELD: set[tuple[int, Path]] = set()  # a process may take its own lock twice: what this one holds


@contextlib.contextmanager
def locked(directory: Path):
    """Hold a directory for a run; the file stays, for removing it would let a third one in.

    Where the file system knows no locks, as a mounted Drive, it is not held against other processes.

    Raises
    ------
    TrainingError
        If another run holds it, or the file can't be made.
    """
    path = directory.resolve() / FILE
    # With the process's number: a child made by fork inherits the set, but not the lock.
    key = os.getpid(), path
    with _GUARD:
        if key in _HELD:
            raise _taken(directory, "this process")
        _HELD.add(key)
    try:
        with _opened(path) as file:
            _take(file, directory)
            with contextlib.suppress(OSError):  # a full disk: who holds it is told for comfort only
                os.truncate(file.fileno(), 0)
                os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
            try:
                yield
            finally:
                if fcntl is None and msvcrt is not None:  # closing alone may free it late there
                    with contextlib.suppress(OSError):
                        os.lseek(file.fileno(), _FAR, os.SEEK_SET)
                        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    finally:
        with _GUARD:
            _HELD.discard(key)


def _opened(path: Path):
    try:
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{path} could not be opened: {error.strerror or error}") from error


def _take(file, directory: Path) -> None:
    try:
        if fcntl is not None:
            # A record lock: a child, such as a worker that loads pictures, doesn't inherit it.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(file.fileno(), _FAR, os.SEEK_SET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return  # no locks on this file system
        file.seek(0)
        holder = ""
        with contextlib.suppress(OSError, ValueError):  # told for comfort only
            holder = file.read().strip()
        raise _taken(directory, holder or "another process") from None


def _taken(directory: Path, holder: str) -> TrainingError:
    return TrainingError(
        f"{directory} is in use: {holder} trains there. Wait for it or stop it, or give another directory. "
        "Nothing was changed."
    )
