"""One run in a directory at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
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
_FAR = 2**30  # Windows lets nobody read a byte that is locked: one is locked that is never written
_held: set[int] = set()  # descriptors of the lock files that this process holds


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, a file that is there meanwhile and names the process.

    Where the file system knows no locks, as some mounted ones don't, nothing is held.

    Raises
    ------
    TrainingError
        If another holds it, or the file can't be written.
    """
    path = directory / FILE
    try:
        handle = _opened(path)
    except OSError as error:
        raise TrainingError(f"{directory} can't be written to: {error.strerror or error}") from error
    _held.add(handle)
    try:
        yield
    finally:
        if handle in _held:  # not so in a child of fork
            _held.remove(handle)
            with contextlib.suppress(OSError):
                if fcntl and _same(handle, path):
                    path.unlink()  # while it is locked: later, another one might hold it
            os.close(handle)
            with contextlib.suppress(OSError):
                if not fcntl:
                    path.unlink()  # Windows removes no file that is open elsewhere


def _opened(path: Path) -> int:
    """Give a descriptor of the lock file, locked where that can be done."""
    for left in reversed(range(10)):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _locked(handle):
            holder = os.read(handle, 20).decode(errors="replace").strip()
            os.close(handle)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise TrainingError(
                f"{who} is training in {path.parent}, and two runs can't share a directory. Wait for the end "
                "of that one, or give this one another directory. Nothing was changed."
            )
        if not left or _same(handle, path):
            break
        os.close(handle)  # a run that ended just now has removed it: another one may make it anew
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def _locked(handle: int) -> bool:
    """Lock a file; False where another descriptor, of this process or another, has it locked."""
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt:
            os.lseek(handle, _FAR, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        # Any other error says that this file system has no locks.
        if isinstance(error, BlockingIOError) or (msvcrt and isinstance(error, PermissionError)):
            os.lseek(handle, 0, os.SEEK_SET)
            return False
    return True


def _same(handle: int, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(handle), os.stat(path))
    return False


def _let_go() -> None:
    # A child of fork shares the lock, and would keep it after its parent's death.
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
