"""Zip files of pictures, read in place."""

import errno
import io
import threading
import zipfile
from functools import partial
from pathlib import Path

LIMIT = 512 * 2**20  # bytes of one file, unpacked: more than any picture has, and less than a memory


class Archive:
    """A zip file that is open. Several threads may use it, but no process forked from this one.

    `files` is what is in it, by its path there, ``/`` between the parts. Of several with one path it is the
    last, as it would be after unpacking. Nothing at the path raises FileNotFoundError, what can't be opened
    OSError; no zip file, a damaged one or one cut short is a ValueError.
    """

    def __init__(self, path):
        path = Path(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except MemoryError:
            raise
        # Damage is answered with errors of many kinds, as with pictures.
        except Exception as error:
            # A damaged list of contents can name a place before the file's start, which is EINVAL.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            kind = _kind(path)
            if kind == "other":
                raise ValueError(f"path must be a folder or a zip file; {path} is another file") from None
            if kind == "cut":
                error = "it was cut short, for the list of what is in it, at its end, is missing"
            known = not isinstance(error, NotImplementedError)
            what = "a damaged zip file" if known else "a zip file of a kind that Python doesn't read"
            raise ValueError(f"{path} is {what}: {error}") from None
        self._lock = threading.Lock()
        # Some programs for Windows write backslashes.
        names = [(entry.filename.replace("\\", "/"), entry) for entry in self._zip.infolist()]
        self.files = {name: entry for name, entry in names if not name.endswith("/")}

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and CRC of a file, unpacked."""
        return self.files[name].file_size, self.files[name].CRC

    def read(self, name: str, stamp: tuple[int, int]) -> io.BytesIO:
        """Unpack a file into memory: the one that had these size and CRC when it was listed.

        It raises ValueError, zlib.error, lzma.LZMAError, OSError or NotImplementedError if it was changed, is
        encrypted, larger than 512 MiB, damaged, or packed in a way that Python doesn't know.
        """
        if name not in self.files or self.stamp(name) != stamp:
            raise ValueError("it was changed meanwhile")
        entry = self.files[name]
        if entry.flag_bits & 1:
            raise ValueError("it is encrypted")
        if entry.file_size > LIMIT:  # no more than it states comes out of it, so this can be relied on
            size = entry.file_size / 2**20
            raise ValueError(f"it has {size:,.0f} MiB when unpacked, more than {LIMIT // 2**20}")
        step = 2**20
        try:
            with self._lock, self._zip.open(entry) as file:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # Of other kinds Python unpacks all that it has read, at least 4 KiB, whatever the number
                    # asked for; and 45 bytes of bzip2 can hold 45 MiB.
                    step = file.MIN_READ_SIZE = 64
                return io.BytesIO(b"".join(iter(partial(file.read, step), b"")))
        except (zipfile.BadZipFile, EOFError):
            raise ValueError("it is damaged") from None


def _kind(path: Path) -> str:
    """Of a file that Python doesn't take for a zip file: "whole", "cut" or "other"."""
    with open(path, "rb") as file:
        start = file.read(2)
        file.seek(max(0, path.stat().st_size - 2**16 - 22))  # the last record, with its comment, is no longer
        if b"PK\5\6" in file.read():
            return "whole"
    return "cut" if start == b"PK" else "other"
