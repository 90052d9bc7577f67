"""Controls that compute: as Python sees them, and in JupyterLab by a reader's keyboard."""

import asyncio
import base64
import io
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ipywidgets
import pytest
import torch
from PIL import Image
from traitlets import Any

from colorlib import show
from colorlib.show._live import _SETTLED

ROOT = Path(__file__).resolve().parent.parent


def shade(lightness=0.5, tint="none", dark=False):
    rgb = torch.full((3, 8, 8), float(lightness))
    rgb[0] += 0.25 * (tint == "red")
    return rgb / 2 if dark else rgb


CONTROLS = {"lightness": [0.0, 0.25, 0.5, 0.75], "tint": ["none", "red"], "dark": [False, True]}


@pytest.fixture
def kernel(monkeypatch):
    """As in a kernel, but computed at once: other tests' browser may leave a loop running in this thread."""
    monkeypatch.setattr("colorlib.show._live._kernel", lambda: True)
    monkeypatch.setattr("asyncio.get_running_loop", no_loop)


def no_loop():
    raise RuntimeError("no running event loop")


def shown(box):
    """The mean color of the picture that a box shows."""
    source = re.search(r'src="data:image/webp;base64,([^"]+)"', box.children[0].value)[1]
    with Image.open(io.BytesIO(base64.b64decode(source))) as image:
        return image.convert("RGB").getpixel((2, 2))


def parts(box):
    """Its controls by what they are called."""
    return {child.description: child for child in box.children if getattr(child, "description", "")}


def test_without_a_kernel_it_is_the_frames_of_the_first_control():
    live = show.live(shade, "a square", **CONTROLS)
    images = [shade(value) for value in CONTROLS["lightness"]]
    wanted = show.frames(images, CONTROLS["lightness"], "lightness", start=2, alt="a square")
    assert live._repr_html_() == wanted._repr_html_()


def test_each_control_computes(kernel):
    box = show.live(shade, "a square", **CONTROLS)
    controls = parts(box)
    assert [type(control).__name__ for control in controls.values()] == [
        "SelectionSlider",
        "Dropdown",
        "Checkbox",
    ]
    assert shown(box) == (128, 128, 128)
    controls["lightness"].value = 1
    assert shown(box) == (64, 64, 64)
    controls["tint"].value = 1
    assert shown(box) == (128, 64, 64)
    controls["dark"].value = True
    assert shown(box) == (64, 32, 32)
    assert 'alt="a square: lightness 0.25, tint red, dark True"' in box.children[0].value


def test_while_a_slider_moves_nothing_is_computed(monkeypatch):
    monkeypatch.setattr("colorlib.show._live._kernel", lambda: True)
    seen = []

    def counted(lightness=0.0):
        seen.append(lightness)
        return shade(lightness)

    async def drag():
        box = show.live(counted, "a square", lightness=[n / 20 for n in range(20)])
        for place in range(1, 20):
            parts(box)["lightness"].value = place
            await asyncio.sleep(0)
        before = list(seen)
        await asyncio.sleep(3 * _SETTLED)
        return before

    with ThreadPoolExecutor() as other:  # a thread without a loop
        assert other.submit(asyncio.run, drag()).result() == [0.0] and seen == [0.0, 0.95]


def test_an_error_is_shown_and_the_controls_stay_alive(kernel):
    def moody(lightness=0.0):
        if lightness == 0.5:
            raise ValueError("no <half> measures")
        return shade(lightness)

    box = show.live(moody, "a square", lightness=[0.0, 0.5, 1.0])
    parts(box)["lightness"].value = 1
    assert "no &lt;half&gt; measures" in box.children[-1].value and shown(box) == (0, 0, 0)
    parts(box)["lightness"].value = 2
    assert not box.children[-1].value and shown(box) == (255, 255, 255)


@pytest.mark.parametrize("before_8", [False, True])
def test_a_reader_s_own_picture_joins_the_menu(kernel, before_8, monkeypatch):
    pictures = {"dark": torch.zeros(3, 4, 4), "light": torch.ones(3, 4, 4)}
    # What arrives in `value` differs between the two; a plain object stands for the browser's button.
    button = ipywidgets.Button()
    button.add_traits(value=Any())
    monkeypatch.setattr("ipywidgets.FileUpload", lambda **arguments: button)
    box = show.live(lambda picture=pictures["light"]: picture, "a picture", picture=pictures)
    assert shown(box) == (255, 255, 255)

    def upload(name, content):
        file = {"name": name, "content": memoryview(content)}
        button.value = {name: {"content": content}} if before_8 else (file,)

    upload("notes.txt", b"no picture")
    assert "notes.txt" in box.children[-1].value and shown(box) == (255, 255, 255)
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), (10, 20, 30)).save(file, "PNG")
    upload("mine.png", file.getvalue())
    assert shown(box) == pytest.approx((10, 20, 30), abs=2) and pictures["mine.png"].shape == (3, 320, 640)
    assert parts(box)["picture"].label == "mine.png"


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"function": "shade"}, TypeError, "function must be callable"),
        ({"lightness": [0.5]}, ValueError, "lightness must have at least 2 values; got 1"),
        ({"lightness": 0.5}, TypeError, "lightness must be"),
        ({}, ValueError, "controls must be at least one"),
    ],
)
def test_what_is_wrong_is_named(arguments, error, message):
    function = arguments.pop("function", shade)
    with pytest.raises(error, match=message):
        show.live(function, "a square", **arguments, **({"dark": [False, True]} if function != shade else {}))


@pytest.fixture
def lab(tmp_path):
    """JupyterLab in an empty home on a free port: its address for a notebook."""
    token = secrets.token_hex(8)
    environment = {**os.environ, "HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    environment.pop("COLORLIB_STATIC", None)
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--port=0",
        "--port-retries=0",
    ]
    command += [f"--IdentityProvider.token={token}", "--expose-app-in-browser", f"--notebook-dir={tmp_path}"]
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        for line in server.stderr:
            if found := re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/", line):
                break
        else:
            pytest.fail("JupyterLab did not start")
        # What it says later is read, too, lest the pipe fill up.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        yield lambda name: f"http://localhost:{found[1]}/lab/tree/{name}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(60)


def chapter(path: Path, name: str) -> None:
    """Write a chapter's imports and its live cells, and nothing else, as a notebook."""
    book = json.loads((ROOT / "chapters" / name).read_text())
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    imports = next(cell for cell in code if "from colorlib import" in "".join(cell["source"]))
    live = [cell for cell in code if "show.live(" in "".join(cell["source"])]
    assert live, name
    path.write_text(json.dumps({**book, "cells": [imports, *live[:1]]}))


@pytest.mark.slow
def test_a_reader_moves_chapter_6_by_keyboard_in_jupyterlab(lab, tmp_path, browser):
    chapter(tmp_path / "six.ipynb", "06_classification.ipynb")
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.goto(lab("six.ipynb"))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    # Cells that are run before the kernel answers are passed over.
    page.evaluate(
        """async () => {
            const session = window.jupyterapp.shell.currentWidget.context.sessionContext
            await session.ready
            await session.session.kernel.info
            await window.jupyterapp.commands.execute('notebook:run-all-cells')
        }"""
    )
    picture = page.locator(".jp-OutputArea .widget-html img")
    picture.wait_for(timeout=120_000)
    before, text = picture.get_attribute("src"), picture.get_attribute("alt")
    handle = page.locator(".widget-slider .noUi-handle, .widget-slider .ui-slider-handle").first
    handle.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "document.querySelector('.widget-html img').alt.includes('temperature 0.8')", timeout=120_000
    )
    assert "temperature 0.38" in text and picture.get_attribute("src") != before
    saved = json.loads((tmp_path / "six.ipynb").read_text())
    assert "widgets" not in saved["metadata"]
