"""What the command line says: lines that any console can show, warnings, failures and progress."""

from __future__ import annotations

import sys
import threading
import unicodedata
import warnings
from contextlib import contextmanager
from pathlib import Path

import typer

_HELD = threading.local()


class Failure(typer.Exit):
    """Ends the command with a message and exit code 1."""

    def __init__(self, error):
        say(f"colorlib: {error}", sys.stderr)
        super().__init__(1)


@contextmanager
def plain_warnings():
    """Let the library's warnings look like the command's own messages, without file and line."""
    before = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        # A warning about a picture names the line that asked for it, which may be typer's.
        if category is not UserWarning and Path(__file__).parent not in Path(filename).parents:
            return before(message, category, filename, lineno, file, line)
        if (waiting := getattr(_HELD, "messages", None)) is None:
            note(message)
        else:
            waiting.append(message)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


@contextmanager
def held():
    """Give a list that takes the warnings of this thread, which so wait for their turn."""
    before, _HELD.messages = getattr(_HELD, "messages", None), []
    try:
        yield _HELD.messages
    finally:
        _HELD.messages = before


def note(message) -> None:
    """Print a message of the command."""
    from tqdm import tqdm

    tqdm.write(f"colorlib: {message}", file=sys.stderr)  # on a line of its own, where a bar is shown


def say(text, stream=None) -> None:
    """Print a line, whatever characters are in it and whatever the console can show."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    line = plain(text).encode(encoding, "backslashreplace").decode(encoding)
    if "tqdm.std" in sys.modules:
        with sys.modules["tqdm.std"].tqdm.external_write_mode(stream):  # on a line of its own
            print(line, file=stream)
    else:
        print(line, file=stream)


def plain(text) -> str:
    """A text in one line: what would break it, or move the cursor, is escaped."""
    odd = ("Cc", "Cs", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in odd else c for c in str(text))


@contextmanager
def bar(name: str):
    """A function that shows how many rows are drawn, on a terminal; a picture done leaves no trace of it."""
    from tqdm import tqdm

    with tqdm(desc=plain(name), unit="row", leave=False, disable=None) as bar:

        def report(done: int, rows: int) -> None:
            bar.total = rows
            bar.update(done - bar.n)

        yield report


@contextmanager
def folder_bar(total: int):
    """A function to call after each of several pictures; a terminal shows how many are left, and how long."""
    from tqdm.std import tqdm

    with tqdm(total=total, unit="picture", leave=False, disable=None if total > 1 else True) as bar:
        yield bar.update
