"""What a reader sees of the chapters' code: what teaches stands open and is short, the rest is folded."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "chapters").glob("*.ipynb"))
LINES, COLUMNS = 20, 88


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def folded(cell):
    return any(
        tag in ("hide-input", "hide-cell", "remove-input", "remove-cell")
        for tag in cell["metadata"].get("tags", [])
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_open_code_is_short(path):
    for cell in code_cells(path):
        lines = "".join(cell["source"]).splitlines()
        if not folded(cell):
            said = f"{path.name}, {cell['id']}"
            assert len(lines) <= LINES, f"{said} has {len(lines)} lines: fold it, split it or shorten it"
            assert max(map(len, lines)) <= COLUMNS, f"{said} has a line of {max(map(len, lines))} columns"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_sets_up_or_draws_is_folded_also_in_jupyterlab(path):
    for cell in code_cells(path):
        source = "".join(cell["source"])
        if "%pip" in source or source.startswith("import ") or "plt.subplots" in source:
            assert folded(cell), f"{path.name}, {cell['id']} stands open"
        if "hide-input" in cell["metadata"].get("tags", []) and "solution" not in source:
            assert cell["metadata"].get("jupyter", {}).get("source_hidden", True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_pasted_from_chapter_to_chapter(path):
    mine = {
        line
        for cell in code_cells(path)
        for line in "".join(cell["source"]).splitlines()
        if line[:4] == "def "
    }
    for other in NOTEBOOKS:
        if other > path:
            theirs = {line for cell in code_cells(other) for line in "".join(cell["source"]).splitlines()}
            assert not mine & theirs, f"{path.name} and {other.name} share {mine & theirs}"
