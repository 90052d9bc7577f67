"""The formats in which pictures are saved: known without torch, so that a wrong one is named at once."""

from functools import cache

from PIL import Image

# The formats that hold 8-bit RGB, each written so that little is lost, and 12 megapixels take seconds.
FORMATS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "TIFF": {},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 90, "subsampling": "4:4:4", "speed": 8},
    "JPEG2000": {"mct": 1},
    "BMP": {},
    "TGA": {},
}


@cache
def endings() -> dict[str, str]:
    """Endings of the files that pictures are saved as, as ".jpg", and Pillow's names of their formats."""
    Image.init()
    known = Image.registered_extensions().items()
    return {ending: kind for ending, kind in known if kind in FORMATS and kind in Image.SAVE}
