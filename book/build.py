"""Build the book into _build/html: run the chapters that changed; warnings are errors.

Running the chapters takes minutes, so Jupyter Book keeps the outputs of a chapter until the chapter's own
text changes. They depend on colorlib and on the installed packages too, so this script throws them away when
either has changed. Rendering the pages takes seconds, so it is done anew each time: left to itself, Sphinx
would not repeat the warnings of a page that it has read before, nor see a change in a style sheet.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"


def fingerprint() -> str:
    """A hash of all that the chapters' outputs depend on besides their own text."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "colorlib").rglob("*")):
        # No chapter reads a model card.
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    for package in ["torch", "numpy", "scikit-image", "matplotlib", "pillow", "jupyter-book", "myst-nb"]:
        digest.update(f"{package} {version(package)}".encode())
    digest.update(os.environ.get("COLORLIB_SCALE", "").encode())
    return digest.hexdigest()


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def forget_outdated() -> None:
    """Throw the chapters' outputs away where they are another library's or other packages'."""
    stamp, now = BUILD / ".built-with", fingerprint()
    if not stamp.exists() or stamp.read_text() != now:
        remove(BUILD / ".jupyter_cache")
    BUILD.mkdir(exist_ok=True)
    stamp.write_text(now)


def build() -> int:
    """Build the book; the exit status is not 0 when a chapter failed or anything warned."""
    forget_outdated()
    remove(BUILD / ".doctrees", BUILD / "html")
    # Called through this very Python, so that it is this environment's also where that is not activated.
    jupyter_book = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*jupyter_book, "build", "--warningiserror", "--keep-going", str(ROOT)]
    # No kernel runs behind a page: what computes in a notebook is shown there as ready-made pictures.
    status = subprocess.run(command, cwd=ROOT, env={**os.environ, "COLORLIB_STATIC": "1"}).returncode
    if not status and (BUILD / "html" / "book" / "try_it.html").exists():
        import browser  # a neighbor of this script

        browser.write(BUILD / "html" / "_static" / "try", BUILD / "try")
    if status:
        remove(BUILD / "html")
        print("\nThe book was not built: see the errors above.", file=sys.stderr)
    else:
        print(f"\nThe book is built. Open it in a browser:\n    {(BUILD / 'html' / 'index.html').as_uri()}")
    return status


if __name__ == "__main__":
    sys.exit(build())
