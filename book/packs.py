"""Packs for teaching: the book's figures as numbered files, and the chapters without their solutions.

``packs.py figures`` takes every figure of the built pages, in their order: `03-02.png` is the second of
chapter 3. A slider gives a file for each of its pictures, `03-04-1.png` and so on, and boxes to tick one for
each choice. `captions.md` has what each shows. ``packs.py student`` copies the chapters, with an empty cell
in the place of each solution.
"""

import argparse
import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
YOURS = "# Your answer\n"


class Figures(HTMLParser):
    """The figures of a page: for each, its pictures with what they show."""

    def __init__(self):
        super().__init__()
        self.found: list[list[tuple[bytes, str]]] = []
        self.inside = 0

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "figure" and "colorlib-" in (values.get("class") or ""):
            self.inside += 1
            self.found.append([])
        elif tag == "img" and self.inside and (values.get("src") or "").startswith("data:image/"):
            picture = base64.b64decode(values["src"].split(",", 1)[1])
            self.found[-1].append((picture, values.get("alt") or ""))

    def handle_endtag(self, tag):
        if tag == "figure" and self.inside:
            self.inside -= 1


def figures(pages: list[Path], out: Path) -> list[str]:
    """Write the figures of some pages as PNG files with a list of captions; the names of the files."""
    names, captions = [], ["# Figures", ""]
    out.mkdir(parents=True, exist_ok=True)
    for page in pages:
        reader = Figures()
        reader.feed(page.read_text(encoding="utf-8"))
        chapter = page.stem.split("_")[0]
        for number, pictures in enumerate(filter(None, reader.found), 1):
            for part, (picture, alt) in enumerate(pictures, 1):
                name = f"{chapter}-{number:02d}" + (f"-{part}" if len(pictures) > 1 else "") + ".png"
                Image.open(io.BytesIO(picture)).save(out / name)
                captions.append(f"- `{name}`: {' '.join(alt.split())}")
                names.append(name)
    (out / "captions.md").write_text("\n".join(captions) + "\n", encoding="utf-8")
    return names


def without_solutions(notebook: dict) -> dict:
    """A chapter with an empty cell in the place of each solution, open and not folded away."""
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and re.match(r"\s*# Solution\b", "".join(cell["source"])):
            tags = [tag for tag in cell["metadata"].get("tags", []) if tag != "hide-cell"]
            metadata = {**cell["metadata"], "tags": tags}
            cell = {**cell, "source": [YOURS], "metadata": metadata, "outputs": [], "execution_count": None}
        cells.append(cell)
    return {**notebook, "cells": cells}


def student(chapters: list[Path], out: Path) -> list[Path]:
    """Write the chapters without solutions into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in chapters:
        made = without_solutions(json.loads(path.read_text(encoding="utf-8")))
        target = out / path.name
        target.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(target)
    return written


def main() -> int:
    """Make the pack that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pack", choices=("figures", "student"))
    if parser.parse_args().pack == "student":
        for path in student(sorted((ROOT / "chapters").glob("*.ipynb")), BUILD / "student"):
            print(path.relative_to(ROOT))
        return 0
    pages = sorted((BUILD / "html" / "chapters").glob("*.html"))
    if not pages:
        print("The book is not built yet: make book", file=sys.stderr)
        return 1
    names = figures(pages, BUILD / "figures")
    print(f"{len(names)} pictures and captions.md are in {(BUILD / 'figures').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
