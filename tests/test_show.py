"""What `colorlib.show` puts on a page: pictures that decode to what came in, labels, texts, errors."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from colorlib import show  # noqa: E402


def pictures(markup):
    """Every picture of the markup, decoded, as an array (H, W, 3) in 0..255."""
    found = re.findall(r'src="data:image/webp;base64,([^"]+)"', markup)
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)
        for data in found
    ]


def smooth(height, width, channels=3):
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([x, y, (x + y) / 2])[:channels]


def test_small_images_arrive_to_the_last_bit():
    images = torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    shown = pictures(show.grid(images, ["a", "b", "c"])._repr_html_())
    for image, arrived in zip(images, shown, strict=True):
        assert np.array_equal(arrived, (image * 255).round().permute(1, 2, 0).numpy().astype(int))


def test_gray_images_come_out_gray():
    (arrived,) = pictures(show.grid(smooth(8, 8, 1)[None], ["gray"])._repr_html_())
    assert (arrived[..., 0] == arrived[..., 1]).all() and (arrived[..., 0] == arrived[..., 2]).all()


def test_photographs_are_small_and_close():
    image = smooth(300, 400)
    markup = show.grid([image], ["photo"])._repr_html_()
    (arrived,) = pictures(markup)
    assert len(markup) < 30_000
    assert np.abs(arrived - (image * 255).permute(1, 2, 0).numpy()).mean() < 3


def test_large_photographs_are_shrunk_and_keep_their_shape():
    (arrived,) = pictures(show.grid([smooth(900, 1600)], ["wide"])._repr_html_())
    assert arrived.shape == (450, 800, 3)


def test_arrays_tensors_with_gradients_and_figures_are_images_too():
    image = smooth(9, 7).requires_grad_()
    fig, axis = plt.subplots()
    axis.plot([0, 1])
    shown = pictures(
        show.grid([image, image.detach().numpy(), fig, Image.new("RGB", (5, 6))], list("abcd")).markup
    )
    assert np.array_equal(shown[0], shown[1])
    assert shown[3].shape == (6, 5, 3)
    assert not plt.fignum_exists(fig.number)


def test_frames_show_one_image_and_hold_all():
    images = torch.stack([torch.full((3, 4, 4), value) for value in (0.0, 0.5, 1.0)])
    markup = show.frames(images, [0, "half", 1.5], "a <knob>", start=1)._repr_html_()
    tags = re.findall(r"<img [^>]*>", markup)
    assert [("display:none" in tag) for tag in tags] == [True, False, True]
    assert [int(shown[0, 0, 0]) for shown in pictures(markup)] == [0, 128, 255]
    assert 'max="2"' in markup and 'value="1"' in markup and 'aria-valuetext="half"' in markup
    assert "a &lt;knob&gt;" in markup and "<knob>" not in markup
    assert 'alt="a &lt;knob&gt;: 1.5"' in markup


def test_every_image_has_a_text():
    fig, _ = plt.subplots()
    for shown in (
        show.grid(torch.rand(2, 3, 4, 4), alt="noise"),
        show.grid(torch.rand(2, 3, 4, 4), ["one", "two"]),
        show.frames(torch.rand(2, 3, 4, 4), [1, 2], "noise"),
        show.figure(fig, alt="an empty chart"),
    ):
        for tag in re.findall(r"<img [^>]*>", shown.markup):
            assert re.search(r'alt="[^"]+"', tag)


def test_titles_are_text_and_not_markup():
    assert "<script>" not in show.grid(torch.rand(1, 3, 4, 4), ["<script>"], alt='"><script>').markup


@pytest.mark.parametrize(
    "image, error, words",
    [
        (torch.rand(4, 4), ValueError, r"\(4, 4\)"),
        (torch.rand(2, 4, 4), ValueError, r"\(2, 4, 4\)"),
        (torch.rand(4, 4, 3), ValueError, r"\(4, 4, 3\)"),
        (torch.rand(3, 0, 4), ValueError, r"\(3, 0, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), TypeError, "uint8"),
        (torch.full((3, 4, 4), 2.0), ValueError, "to 2"),
        (torch.full((3, 4, 4), float("nan")), ValueError, "nan"),
        ("photo.png", TypeError, "got 'photo.png'"),
    ],
)
def test_what_is_no_image_is_named(image, error, words):
    with pytest.raises(error, match=words):
        show.grid([image], ["x"])


def test_wrong_calls_are_named():
    two = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match="labels must be one an image, 2; got 3"):
        show.frames(two, [1, 2, 3], "t")
    with pytest.raises(ValueError, match="at least 2 to slide over; got 1"):
        show.frames(two[:1], [1], "t")
    with pytest.raises(ValueError, match="start must be from 0 to 1; got 2"):
        show.frames(two, [1, 2], "t", start=2)
    with pytest.raises(ValueError, match="title must not be empty"):
        show.frames(two, [1, 2], " ")
    with pytest.raises(ValueError, match="titles must be one an image, 2; got 1"):
        show.grid(two, ["a"])
    with pytest.raises(ValueError, match="titles or alt"):
        show.grid(two)
    with pytest.raises(ValueError, match="at least one image"):
        show.grid([])
    with pytest.raises(ValueError, match="columns must be at least 1; got 0"):
        show.grid(two, alt="x", columns=0)
    with pytest.raises(TypeError, match="fig must be .*; got a tensor"):
        show.figure(two, alt="x")
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match="alt must not be empty"):
        show.figure(fig, alt=" ")


def test_claims_display_a_box_and_store_their_parts(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **how: shown.append((data, how)))
    show.claim("S9.1", source="a post", claimed="1 < 2.", ours="1.0 and 2.0", held=np.bool_(True))
    box = shown[0][0]._repr_html_()
    assert 'id="claim-S9.1"' in box and "1 &lt; 2." in box and ">held<" in box
    stored = {how["metadata"]["scrapbook"]["name"]: list(data.values())[0] for data, how in shown[1:]}
    assert stored == {
        "S9.1-source": "'a post'",
        "S9.1-claim": "'1 < 2.'",
        "S9.1-ours": "'1.0 and 2.0'", "S9.1-held": "'held'",
    }  # fmt: skip
    for identifier, held in [("claim 1", True), ("S9.1", "maybe"), ("S9.1", None)]:
        with pytest.raises(ValueError, match="; got"):
            show.claim(identifier, source="s", claimed="c", ours="o", held=held)


def test_choices_hold_an_image_for_each_set_of_boxes():
    images = torch.stack([torch.full((3, 4, 4), n / 255) for n in range(8)])
    markup = show.choices(images, ["petals", "<leaves>", "ground"], "in color", start=5)._repr_html_()
    tags = re.findall(r"<img [^>]*>", markup)
    assert [int(shown[0, 0, 0]) for shown in pictures(markup)] == list(range(8))
    assert [n for n, tag in enumerate(tags) if "display:none" not in tag] == [5]
    labels = [re.search(r'data-label="([^"]*)"', tag)[1] for tag in tags]
    assert labels[0] == "none" and labels[1] == "petals" and labels[4] == "ground"
    assert labels[6] == "&lt;leaves&gt;, ground" and len(set(labels)) == 8
    assert 'alt="in color: petals, ground"' in tags[5]
    boxes = re.findall(r"<input [^>]*>", markup)
    assert [" checked" in box for box in boxes] == [True, False, True]  # 5 is 1 + 4
    assert "<leaves>" not in markup


def test_wrong_choices_are_named():
    four = torch.rand(4, 3, 4, 4)
    with pytest.raises(ValueError, match="each set of names, 8; got 4"):
        show.choices(four, ["a", "b", "c"], "t")
    with pytest.raises(ValueError, match="names must be 1 to 6 .*; got"):
        show.choices(four[:1], [], "t")
    with pytest.raises(ValueError, match="names must be 1 to 6 .*; got"):
        show.choices(four, list("abcdefg"), "t")
    with pytest.raises(ValueError, match="different"):
        show.choices(four, ["a", "a"], "t")
    with pytest.raises(ValueError, match="names must not be empty"):
        show.choices(four, ["a", " "], "t")
    with pytest.raises(ValueError, match="start must be from 0 to 3; got 4"):
        show.choices(four, ["a", "b"], "t", start=4)
    with pytest.raises(ValueError, match="title must not be empty"):
        show.choices(four, ["a", "b"], "")


@pytest.mark.parametrize(
    "checks, words",
    [([True, True], "held"), ([True, False], "held in part"), ([False, torch.tensor(False)], "did not hold")],
)
def test_a_claim_of_several_checks_holds_in_all_in_part_or_not(checks, words, capsys):
    show.claim("S9.1", source="s", claimed="c", ours="o", held=checks)
    assert f"Verdict: {words}." in capsys.readouterr().out


def test_a_question_is_answered(capsys):
    for held, answer in ((True, "yes"), ([True, False], "in part"), (False, "no")):
        show.claim("S9.1", source="s", claimed="Is it?", ours="o", held=held, question=True)
        assert f"Answer: {answer}." in (said := capsys.readouterr().out) and "Verdict" not in said


DRAWINGS = sorted((Path(show.__file__).parents[1] / "drawings").glob("*.svg"))


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.stem)
def test_a_drawing_is_whole_by_itself_and_has_words_for_those_who_cant_see_it(path):
    root = ElementTree.parse(path).getroot()
    assert len(root.findtext("{http://www.w3.org/2000/svg}title")) > 60
    text = path.read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "") and "<script" not in text
    assert "prefers-color-scheme: dark" in text
    shown = show.drawing(path.stem, "Figure 1. Words & more.")._repr_html_()
    assert "Words &amp; more." in shown and f'width="{root.get("width")}"' in text


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_of_a_drawing_lies_within_it_and_can_be_read(browser, scheme):
    page = browser.new_page(color_scheme=scheme)
    for path in DRAWINGS:
        page.set_content(path.read_text())
        problems = page.evaluate(LOOK)
        assert not problems, f"{path.name}: {problems}"
    page.close()


# In the browser: texts that are cut, that run into each other, or that hardly stand out from what is behind.
LOOK = """() => {
    const light = c => {
        const [r, g, b] = c.match(/[\\d.]+/g).map(v => v / 255).map(
            v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const svg = document.querySelector('svg'), all = svg.getBoundingClientRect(), found = []
    const texts = [...svg.querySelectorAll('text')]
    const boxes = texts.map(t => t.getBoundingClientRect())
    texts.forEach((t, n) => {
        const b = boxes[n]
        if (b.left < all.left || b.right > all.right || b.top < all.top || b.bottom > all.bottom)
            found.push(t.textContent + ' is cut')
        boxes.forEach((o, k) => {
            const beside = b.left > o.right - 1 || o.left > b.right - 1
            if (k > n && !beside && b.top < o.bottom - 3 && o.top < b.bottom - 3)
                found.push(t.textContent + ' runs into ' + texts[k].textContent)
        })
        const under = [...svg.querySelectorAll('rect')].filter(r => {
            const q = r.getBoundingClientRect()
            return q.left <= b.left && q.right >= b.right && q.top <= b.top + 3 && q.bottom >= b.bottom - 3
        }).pop()
        const one = light(getComputedStyle(t).fill), two = light(getComputedStyle(under).fill)
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05)
        if (contrast < 4.5) found.push(t.textContent + ' has a contrast of ' + contrast.toFixed(1))
    })
    return found
}"""
