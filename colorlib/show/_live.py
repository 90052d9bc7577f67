"""Controls that compute, in a notebook whose kernel runs."""

import asyncio
import html
import inspect
import os

import torch

from colorlib._check import came, listed, string, whole

from ._static import HTMLFigure, _img, frames

_SETTLED = 0.12  # seconds without a further move of a slider before its picture is computed
_LARGEST_UPLOAD = 640  # the longer side to which a reader's own picture is reduced


def live(function, alt: str, width: int = 512, **controls) -> HTMLFigure | object:
    """Show what a function makes of some controls: computed at each move where a kernel runs.

    In JupyterLab and on Colab these are ipywidgets: sliders for numbers, a box to tick for ``[False, True]``,
    else a menu. On a published page, where nothing can be computed, it is :func:`frames` over the first
    control, the others left as they are: so list there first what teaches most, in few steps.

    Parameters
    ----------
    function : callable
        Takes the controls by their names and gives an image as in :func:`frames`. What it raises is shown in
        place of the picture, and the controls stay alive.
    alt : str
        Says, for readers who can't see it, what the picture shows.
    width : int
        Of the picture at most, in CSS pixels.
    **controls
        For each argument its values: a sequence of two or more numbers or texts, or a dict of what is to be
        read and the value that stands for it. A dict of pictures (3, H, W) lets the reader upload another
        one, too. Each starts at the function's own default, or else at its first value.

    Returns
    -------
    HTMLFigure or ipywidgets.VBox
        The second where a kernel runs, unless the environment variable ``COLORLIB_STATIC`` is set, as the
        book's build does.

    >>> live(lambda shade: torch.full((3, 8, 8), shade), "a gray square", shade=[0.0, 0.5, 1.0])
    slider over 3 images: shade, 0.0 to 1.0
    """
    if not callable(function):
        raise TypeError(f"function must be callable; got {came(function)}")
    alt, width = string(alt, "alt"), whole(width, "width", 1)
    if not controls:
        raise ValueError("controls must be at least one, such as temperature=[0.1, 0.5, 1.0]; got none")
    values, start, defaults = {}, {}, inspect.signature(function).parameters
    for name, given in controls.items():
        if not isinstance(given, dict):
            given = {str(value): value for value in listed(given, name)}
        if len(given) < 2:
            raise ValueError(f"{name} must have at least 2 values; got {len(given)}")
        values[name] = given
        default = defaults[name].default if name in defaults else None
        places = [n for n, value in enumerate(given.values()) if value is default or _same(value, default)]
        start[name] = places[0] if places else 0
    if _kernel():
        return _widgets(function, alt, width, values, start)
    first, given = next(iter(values.items()))
    rest = {name: list(values[name].values())[start[name]] for name in values if name != first}
    images = [function(**{first: value}, **rest) for value in given.values()]
    return frames(images, list(given), first.replace("_", " "), start[first], width, alt)


def _same(value, other) -> bool:
    plain = (bool, int, float, str)
    return isinstance(value, plain) and isinstance(other, plain) and value == other


def _kernel() -> bool:
    """Whether a notebook's kernel runs this, and a reader sits before it."""
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel") and not os.environ.get("COLORLIB_STATIC")


def _widgets(function, alt: str, width: int, values: dict[str, dict], start: dict[str, int]):
    import ipywidgets

    pictures = {
        name
        for name, given in values.items()
        if all(isinstance(value, torch.Tensor) and value.dim() == 3 for value in given.values())
    }
    shown, trouble, timer = ipywidgets.HTML(), ipywidgets.HTML(), None
    controls = {}
    for name, given in values.items():
        options = list(zip(given, range(len(given)), strict=True))
        look = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
        numbers = all(isinstance(value, (int, float)) for value in given.values())
        if numbers and [*map(repr, given.values())] == ["False", "True"]:
            controls[name] = ipywidgets.Checkbox(value=bool(start[name]), indent=False, **look)
        elif numbers:
            layout = ipywidgets.Layout(width=f"{width}px", max_width="98%")
            controls[name] = ipywidgets.SelectionSlider(
                options=options, value=start[name], layout=layout, **look
            )
        else:
            controls[name] = ipywidgets.Dropdown(options=options, value=start[name], **look)

    def compute() -> None:
        now = {name: list(values[name].items())[int(control.value)] for name, control in controls.items()}
        words = ", ".join(f"{name.replace('_', ' ')} {label}" for name, (label, _) in now.items())
        try:
            image = function(**{name: value for name, (_, value) in now.items()})
            shown.value, trouble.value = _img(image, f"{alt}: {words}", width), ""
        except Exception as error:  # a reader's own picture may be any; the controls must stay alive
            said = html.escape(f"{type(error).__name__}: {error}")
            trouble.value = f'<p role="alert"><strong>This did not work.</strong> {said}</p>'

    def moved(_) -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        try:
            timer = asyncio.get_running_loop().call_later(_SETTLED, compute)
        except RuntimeError:  # no loop runs that could wait
            compute()

    rows = []
    for name, control in controls.items():
        control.observe(moved, "value")
        rows.append(control)
        if name in pictures:
            rows.append(_upload(name, control, values[name], trouble))
    compute()
    return ipywidgets.VBox([shown, *rows, trouble])


def _upload(name: str, control, pictures: dict, trouble):
    """A button that adds a reader's own picture to a menu and chooses it."""
    import ipywidgets

    from colorlib.data import read

    button = ipywidgets.FileUpload(
        accept="image/*", multiple=False, description="your own", tooltip=f"another {name}, from your device"
    )

    def arrived(_) -> None:
        given = button.value  # a tuple of files, before ipywidgets 8 a dict of them by their names
        if not given:
            return
        file, label = (
            (given[0], given[0]["name"])
            if isinstance(given, tuple)
            else next((file, label) for label, file in given.items())
        )
        try:
            rgb = read(bytes(file["content"]))
        except (OSError, ValueError) as error:
            trouble.value = f'<p role="alert">{html.escape(f"{label}: {error}")}</p>'
            return
        size = [max(1, round(side * min(1, _LARGEST_UPLOAD / max(rgb.shape)))) for side in rgb.shape[1:]]
        pictures[label] = torch.nn.functional.interpolate(
            rgb[None], size, mode="bilinear", align_corners=False, antialias=True
        )[0].clamp(0, 1)
        chosen = list(pictures).index(label)
        control.options = list(zip(pictures, range(len(pictures)), strict=True))
        control.value = chosen

    button.observe(arrived, "value")
    return button
