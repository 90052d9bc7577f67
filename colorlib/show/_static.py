"""Figures, grids, drawings, and sliders that need no kernel, as HTML."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image

from colorlib._check import came, choice, listed, string, whole

# Pictures up to this side are shown as the pixels they are; larger ones are photographs and are smoothed.
_PIXEL_ART_SIDE = 128
# No screen shows a course figure wider than this many real pixels, so larger pictures only cost download.
_LARGEST_SIDE = 800
_LARGEST_LOSSLESS = 150_000  # bytes
_FIGURE_DPI = 144
_DRAWINGS = Path(__file__).parent.parent / "drawings"


@dataclass(eq=False, repr=False)
class HTMLFigure:
    """A finished figure: notebooks show it as HTML, everything else as its one-line description."""

    markup: str
    description: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.description


def _as_picture(image) -> Image.Image:
    """One PIL picture from a tensor or array (3 or 1, H, W) in [0, 1], a PIL image or a matplotlib figure."""
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if hasattr(image, "savefig"):
        import matplotlib.pyplot as plt

        buffer = io.BytesIO()
        image.savefig(buffer, format="png", dpi=_FIGURE_DPI, facecolor="white")
        plt.close(image)  # so that the notebook does not show it twice
        return Image.open(buffer).convert("RGB")
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()  # numpy has no bfloat16
    if not isinstance(image, np.ndarray):
        wanted = "a tensor or array (3, H, W) or (1, H, W), a PIL image or a figure"
        raise TypeError(f"each of the images must be {wanted}; got {came(image)}")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"each of the images must be (3, H, W) or (1, H, W); got {tuple(image.shape)}")
    if not np.issubdtype(image.dtype, np.floating):
        raise TypeError(f"the images must be floating point in [0, 1]; got {image.dtype}")
    # Rounding may leave a color a hair outside; anything more is a mistake that clipping would hide.
    least, most = image.min(), image.max()
    if not (least >= -0.01 and most <= 1.01):
        raise ValueError(f"the images must be in [0, 1]; got values from {least:.3g} to {most:.3g}")
    pixels = np.round(np.clip(image.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=0) if pixels.shape[0] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _data_uri(picture: Image.Image, chart: bool) -> str:
    """The picture as a WebP data URI: without loss for charts and small images, else as a photograph."""
    small = max(picture.size) <= _PIXEL_ART_SIDE
    if not chart and max(picture.size) > _LARGEST_SIDE:
        scale = _LARGEST_SIDE / max(picture.size)
        picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.LANCZOS)
    buffer = io.BytesIO()
    if chart or small:
        picture.save(buffer, format="WEBP", lossless=True, quality=80, method=2)
    # Lines and letters pack well without loss. A chart that does not has photographs in it.
    if not (chart or small) or buffer.tell() > _LARGEST_LOSSLESS:
        buffer = io.BytesIO()
        picture.save(buffer, format="WEBP", quality=85, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _img(image, alt: str, width: int | None = None, extra: str = "") -> str:
    """The ``<img>`` element of one picture, as wide as its column or as ``width`` CSS pixels at most."""
    chart = hasattr(image, "savefig")
    width = width or (round(image.get_figwidth() * 96) if chart else None)
    picture = _as_picture(image)
    pixelated = not chart and max(picture.size) <= _PIXEL_ART_SIDE
    style = "width:100%;height:auto;margin:0;" + ("image-rendering:pixelated;" if pixelated else "")
    style += f"max-width:{width}px;" if width else ""
    return (
        f'<img src="{_data_uri(picture, chart)}" alt="{html.escape(alt)}"'
        f' width="{picture.width}" height="{picture.height}" style="{style}{extra}">'
    )


def figure(fig, alt: str) -> HTMLFigure:
    """Show a matplotlib figure.

    `alt` says in a sentence or two what a reader who can't see it has to know.
    """
    if not hasattr(fig, "savefig") or not hasattr(fig, "get_figwidth"):
        raise TypeError(f"fig must be a matplotlib figure; got {came(fig)}")
    string(alt, "alt")  # for a reader who can't see the figure
    # A chart shrunk to a phone's width can't be read: there it scrolls sideways instead.
    smallest = min(560, round(fig.get_figwidth() * 96))
    markup = _img(fig, alt, extra=f"min-width:{smallest}px;")
    return HTMLFigure(
        '<figure class="colorlib-figure" style="margin:1em 0;overflow-x:auto" tabindex="0"'
        f' aria-label="{html.escape(alt)}">{markup}</figure>',
        f"figure: {alt}",
    )


def drawing(name: str, caption: str) -> HTMLFigure:
    """Show one of the library's drawings of a system, light or dark as the reader's screen, with a caption.

    They are ``"one_way"``, what all models share, ``"regressors"``, ``"cic"``, ``"masks"``,
    ``"gated_block"`` and ``"patchgan"``. A screen reader says what a drawing shows.

    >>> drawing("one_way", "Figure 1. One way for all models.")
    drawing: one_way
    """
    name = choice(name, "name", sorted(path.stem for path in _DRAWINGS.glob("*.svg")))
    svg = (_DRAWINGS / f"{name}.svg").read_bytes()
    root = ElementTree.fromstring(svg)
    alt, width = root.findtext("{*}title"), root.get("width")
    uri = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    # As with charts: on a phone it scrolls, for its letters would be too small to read.
    style = f"width:100%;height:auto;max-width:{width}px;min-width:min({width}px,520px);margin:0"
    return HTMLFigure(
        '<figure class="colorlib-figure" style="margin:1em 0;overflow-x:auto" tabindex="0"'
        f' aria-label="{html.escape(alt)}"><img src="{uri}" alt="{html.escape(alt)}" style="{style}">'
        f"<figcaption>{html.escape(string(caption, 'caption'))}</figcaption></figure>",
        f"drawing: {name}",
    )


def grid(
    images, titles: Sequence[str] | None = None, columns: int | None = None, alt: str = "", width: int = 160
) -> HTMLFigure:
    """Show images beside each other, each with its title below.

    A title is one short text an image, which a screen reader says too; without titles, `alt` is needed. There
    are as many images a row as fit, or at most `columns`: a phone may show fewer.

    >>> grid([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)], titles=["black", "white"])
    grid of 2 images
    """
    images = listed(images, "images")
    if not images:
        raise ValueError("images must hold at least one image; got none")
    if titles is None and not alt:
        raise ValueError("titles or alt must be given, for a reader who can't see the images; got neither")
    alt = string(alt, "alt") if alt or not isinstance(alt, str) else alt
    if titles is not None:
        titles = [string(title, "each of the titles") for title in listed(titles, "titles")]
        if len(titles) != len(images):
            raise ValueError(f"titles must be one an image, {len(images)}; got {len(titles)}")
    columns, width = None if columns is None else whole(columns, "columns", 1), whole(width, "width", 1)
    cells = []
    for i, image in enumerate(images):
        words = titles[i] if titles is not None else f"{alt}, {i + 1} of {len(images)}"
        title = f'<div style="{_TITLE}">{html.escape(titles[i])}</div>' if titles is not None else ""
        cells.append(f'<div style="min-width:0">{_img(image, words, width)}{title}</div>')
    # With `columns`, a narrow page shrinks the images; without, it breaks the row.
    track = f"{columns},minmax(0,{width}px)" if columns else f"auto-fill,minmax({width}px,1fr)"
    label = f' role="group" aria-label="{html.escape(alt)}"' if alt else ""
    return HTMLFigure(
        f'<figure class="colorlib-grid"{label} style="display:grid;gap:8px;margin:1em 0;'
        f'grid-template-columns:repeat({track})">{"".join(cells)}</figure>',
        f"grid of {len(images)} images" + (f": {alt}" if alt else ""),
    )


_TITLE = "font-size:0.85em;line-height:1.25;text-align:center;overflow-wrap:anywhere"

# Runs in the reader's browser: it shows the chosen frame, hides the others, and says the label aloud.
_ON_INPUT = (
    "const f=this.closest('figure'),m=f.querySelectorAll('img');"
    "m.forEach((e,i)=>{e.style.display=i==this.value?'':'none'});"
    "const t=m[this.value].dataset.label;"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)


def _stack(images: list, labels: list[str], title, start, width, alt) -> tuple[str, int, int, str]:
    """Check what `frames` and `choices` share, and give it with the images' elements, one of them shown."""
    start, width = whole(start, "start", 0, len(images) - 1), whole(width, "width", 1)
    title, alt = string(title, "title"), string(title if alt is None else alt, "alt")
    elements = ""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        element = _img(image, f"{alt}: {label}", width, "" if i == start else "display:none;")
        elements += element.replace("<img ", f'<img data-label="{html.escape(label)}" ', 1)
    return title, start, width, elements


def frames(
    images, labels: Sequence, title: str, start: int = 0, width: int = 512, alt: str | None = None
) -> HTMLFigure:
    """Show a slider over two or more ready-made images: alive in a notebook and on a published page alike.

    The slider is the browser's own, so it needs no kernel, no widget library and no network, and the arrow
    keys, Home and End move it. `title` says what it changes, for instance "temperature", and `labels`, one
    text or number an image, the value that it shows at each; it starts at the image numbered `start`. A
    screen reader says `alt`, by default the title, before the label.
    """
    images, labels = listed(images, "images"), [str(label) for label in listed(labels, "labels")]
    if len(images) < 2:
        raise ValueError(f"images must be at least 2 to slide over; got {len(images)}")
    if len(labels) != len(images):
        raise ValueError(f"labels must be one an image, {len(images)}; got {len(labels)}")
    title, start, width, pictures = _stack(images, labels, title, start, width, alt)
    now = html.escape(labels[start])
    markup = (
        f'<figure class="colorlib-frames" style="margin:1em 0;max-width:{width}px">'
        f"{pictures}"
        '<label style="display:flex;flex-wrap:wrap;gap:0 0.6em;align-items:center;padding:0.4em 0">'
        f'<span>{html.escape(title)}</span><input type="range" min="0" max="{len(images) - 1}" step="1"'
        # The data attribute asks JupyterLab to leave the arrow keys to the slider.
        f' value="{start}" data-lm-suppress-shortcuts="true" autocomplete="off"'
        f' aria-label="{html.escape(title)}"'
        f' aria-valuetext="{now}" style="flex:1 1 10em;min-width:8em;height:2em;margin:0"'
        f' oninput="{html.escape(_ON_INPUT)}">'
        f'<output style="min-width:4em">{now}</output></label>'
        "</figure>"
    )
    return HTMLFigure(markup, f"slider over {len(images)} images: {title}, {labels[0]} to {labels[-1]}")


_MOST_CHOICES = 6  # 64 images; each further box doubles what the page weighs

# Each box is one bit of the number of the image to be shown.
_ON_CHOICE = (
    "const f=this.closest('figure'),m=f.querySelectorAll('img');let n=0;"
    "f.querySelectorAll('input').forEach((e,i)=>{if(e.checked)n+=2**i});"
    "m.forEach((e,i)=>{e.style.display=i==n?'':'none'});"
    "f.querySelector('output').textContent=m[n].dataset.label"
)


def choices(
    images, names: Sequence[str], title: str, start: int = 0, width: int = 512, alt: str | None = None
) -> HTMLFigure:
    """Show boxes to tick over ready-made images, one image for each set of boxes.

    `names` are the texts of K boxes, 1 to 6, all different, and `images` 2**K. Image n is shown when exactly
    those boxes k are ticked whose bit is set in n: image 0 without any, image 1 for the first alone, image 2
    for the second alone, image 3 for both, and so on. `title` says what the boxes choose, for instance "in
    color". All else is as with :func:`frames`, with the names ticked for a label.
    """
    images = listed(images, "images")
    names = [string(name, "each of the names") for name in listed(names, "names")]
    if not 1 <= len(names) <= _MOST_CHOICES or len(set(names)) != len(names):
        raise ValueError(f"names must be 1 to {_MOST_CHOICES} different ones; got {came(names)}")
    if len(images) != 2 ** len(names):
        raise ValueError(f"images must be one for each set of names, {2 ** len(names)}; got {len(images)}")
    ticked = [[name for k, name in enumerate(names) if n >> k & 1] for n in range(len(images))]
    labels = [", ".join(some) or "none" for some in ticked]
    title, start, width, pictures = _stack(images, labels, title, start, width, alt)
    boxes = "".join(
        '<label style="display:inline-flex;gap:0.4em;align-items:center;min-height:2em">'
        f'<input type="checkbox"{" checked" if start >> k & 1 else ""} data-lm-suppress-shortcuts="true"'
        f' autocomplete="off" onchange="{html.escape(_ON_CHOICE)}">{html.escape(name)}</label>'
        for k, name in enumerate(names)
    )
    markup = (
        f'<figure class="colorlib-choices" style="margin:1em 0;max-width:{width}px">{pictures}'
        f'<div role="group" aria-label="{html.escape(title)}"'
        ' style="display:flex;flex-wrap:wrap;gap:0 1.2em;align-items:center;padding:0.4em 0">'
        f"<span>{html.escape(title)}:</span>{boxes}</div>"
        # Seen by nobody, said aloud by a screen reader: the image that takes the other's place is not.
        '<output aria-live="polite" style="position:absolute;width:1px;height:1px;overflow:hidden;'
        f'clip-path:inset(50%)">{html.escape(labels[start])}</output></figure>'
    )
    return HTMLFigure(markup, f"boxes over {len(images)} images: {title}, {', '.join(names)}")
