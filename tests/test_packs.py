"""What is taken along to teach: figures as files, chapters without solutions."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from colorlib import show

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
spec = importlib.util.spec_from_file_location("packs", ROOT / "book" / "packs.py")
packs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(packs)


def test_figures_are_numbered_files_with_captions(tmp_path):
    picture = torch.rand(3, 8, 12)
    shown = [
        show.grid([picture], ["a & b"]),
        show.frames([picture, 1 - picture], [0, 1], "turned"),
        show.grid([picture, picture], alt="two"),
    ]
    page = tmp_path / "03_name.html"
    page.write_text(f"<p><img src='data:image/png;base64,AA=='>{'<p>'.join(f.markup for f in shown)}</p>")
    names = packs.figures([page], tmp_path / "out")
    assert names == ["03-01.png", "03-02-1.png", "03-02-2.png", "03-03-1.png", "03-03-2.png"]
    assert Image.open(tmp_path / "out" / "03-01.png").size == (12, 8)
    captions = (tmp_path / "out" / "captions.md").read_text(encoding="utf-8")
    assert "`03-01.png`: a & b" in captions and "`03-02-2.png`: turned: 1" in captions


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_are_handed_out_without_solutions(path, tmp_path):
    before = json.loads(path.read_text(encoding="utf-8"))
    (written,) = packs.student([path], tmp_path)
    after = json.loads(written.read_text(encoding="utf-8"))
    assert len(before["cells"]) == len(after["cells"]) and before["metadata"] == after["metadata"]
    emptied = 0
    for old, new in zip(before["cells"], after["cells"], strict=True):
        if "".join(old["source"]).startswith("# Solution"):
            emptied += 1
            assert new["source"] == [packs.YOURS] and "hide-cell" not in new["metadata"]["tags"]
        else:
            assert old == new
    assert emptied == json.dumps(before).count("{exercise}") > 0
