"""What the command line says: lines that any console can show, warnings, failures and progress."""

from __future__ import annotations

import sys
import unicodedata
import warnings
from contextlib import contextmanager
from pathlib import Path

import typer


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
        note(message)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def note(message) -> None:
    from tqdm import tqdm

    tqdm.write(f"colorlib: {message}", file=sys.stderr)  # on a line of its own, where a bar is shown


def say(text, stream=None) -> None:
    """Print a line, whatever characters are in it and whatever the console can show."""
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(plain(text).encode(encoding, "backslashreplace").decode(encoding), file=stream)


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
