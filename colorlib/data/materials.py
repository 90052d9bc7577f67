"""The materials of the world: what each is made of, which colors it may have, how warm it is.

A material fixes four things. Its *palette* lists the colors an object of that material may have, as
``(name, probability, a, b)`` in CIELAB. Its *lightness* is a base, a range that no pixel leaves, a spread
between objects and a texture. Its *temperature* is what an infrared camera sees. The palettes are chosen so
that every entry stays inside the sRGB gamut over the whole lightness range of its material; the tests check
all of them.
"""

from typing import NamedTuple

# The lightness textures, by name; `textures.py` draws them.
TEXTURES = tuple("flat cloud grass furrow leaf rock plank tile grit ripple bark vein thicket".split())


class Material(NamedTuple):
    """One material. Lightness in CIE units (0 to 100), temperature and warmth in [0, 1]."""

    name: str
    palette: tuple[tuple[str, float, float, float], ...]  # (name, probability, a, b)
    base: float  # lightness before shading and texture
    low: float  # no pixel is darker
    high: float  # no pixel is lighter
    spread: float  # objects differ from the base by up to this much
    texture: str
    amplitude: float  # of the texture
    temperature: float  # 0 is the coldest thing the infrared camera sees, 1 the warmest


LANDSCAPE = (
    Material("sky", (("clear", 0.55, -4, -31), ("overcast", 0.27, -1, -4), ("dusk", 0.18, 20, 34)),
             68, 55, 79, 2, "cloud", 5, 0.06),
    Material("cloud", (("white", 0.85, 0, 0), ("peach", 0.15, 7, 8)),
             86, 70, 91, 1, "cloud", 2, 0.14),
    Material("rock", (("slate", 0.45, -1, -9), ("brown", 0.35, 8, 15), ("mauve", 0.2, 9, -12)),
             52, 34, 72, 3, "rock", 8, 0.27),
    Material("snow", (("white", 1.0, 0, -3),),
             89, 76, 95, 0, "rock", 4, 0.03),
    Material("forest", (("green", 0.75, -20, 17), ("autumn", 0.15, 17, 27), ("blue haze", 0.1, -5, -17)),
             37, 24, 54, 3, "leaf", 7, 0.25),
    Material("meadow", (("green", 0.74, -27, 36), ("straw", 0.26, 4, 37)),
             53, 36, 68, 3, "grass", 7, 0.36),
    Material("field", (("brown", 0.68, 13, 25), ("straw", 0.22, 5, 35), ("red earth", 0.1, 27, 26)),
             46, 30, 62, 3, "furrow", 10, 0.44),
    Material("water", (("blue", 0.62, -6, -29), ("teal", 0.24, -18, -6), ("gray", 0.14, -2, 0)),
             58, 44, 72, 2, "ripple", 8, 0.18),
    Material("road", (("gray", 1.0, 0, -1),),
             39, 26, 84, 2, "grit", 3, 0.56),
    Material("wall",
             (("cream", 0.36, 2, 19), ("white", 0.24, 0, 2), ("brick", 0.28, 25, 20),
              ("blue", 0.12, -6, -19)),
             67, 44, 78, 4, "plank", 4, 0.48),
    Material("roof", (("red", 0.58, 42, 31), ("slate", 0.28, 0, -6), ("green", 0.14, -21, 8)),
             43, 26, 60, 4, "tile", 5, 0.72),
    Material("door", (("brown", 0.6, 15, 24), ("blue", 0.2, 4, -33), ("green", 0.2, -24, 15)),
             32, 24, 48, 3, "flat", 0, 0.42),
    Material("glass", (("gray", 1.0, -2, -7),),
             27, 14, 62, 3, "flat", 0, 0.3),
    Material("broadleaf", (("green", 0.7, -30, 33), ("autumn", 0.19, 25, 37), ("blossom", 0.11, 31, -6)),
             46, 30, 63, 3, "leaf", 13, 0.29),
    Material("conifer", (("green", 0.94, -19, 15), ("blue", 0.06, -7, -13)),
             34, 20, 50, 3, "leaf", 7, 0.27),
    Material("trunk", (("brown", 1.0, 8, 14),),
             30, 16, 46, 4, "bark", 6, 0.38),
    Material("car",
             (("red", 0.29, 42, 28), ("blue", 0.23, 6, -42), ("silver", 0.22, 0, -1),
              ("yellow", 0.14, 6, 47), ("green", 0.07, -34, 15), ("orange", 0.05, 29, 40)),
             58, 41, 68, 3, "flat", 0, 0.62),
    Material("tire", (("black", 1.0, 0, 0),),
             19, 8, 62, 2, "flat", 0, 0.74),
    Material("ball",
             (("red", 0.4, 43, 24), ("blue", 0.27, 7, -43), ("yellow", 0.23, 5, 48), ("green", 0.1, -41, 27)),
             60, 42, 70, 3, "flat", 0, 0.4),
    Material("shirt",
             (("red", 0.42, 44, 27), ("blue", 0.26, 6, -41), ("yellow", 0.2, 3, 40),
              ("green", 0.12, -33, 16)),
             59, 38, 68, 3, "flat", 0, 0.88),
    Material("trousers", (("blue", 0.72, 3, -24), ("black", 0.28, 0, -1)),
             27, 14, 40, 4, "flat", 0, 0.84),
    Material("skin", (("skin", 1.0, 14, 18),),
             66, 46, 78, 6, "flat", 0, 0.97),
    Material("bicycle", (("black", 1.0, 0, -1),),
             20, 8, 50, 2, "flat", 0, 0.34),
)  # fmt: skip

FLOWERS = (
    Material("undergrowth", (("green", 0.82, -13, 13), ("earth", 0.18, 6, 9)),
             22, 12, 36, 3, "thicket", 7, 0.22),
    Material("leaf", (("green", 0.74, -29, 30), ("lime", 0.18, -15, 34), ("red", 0.08, 25, 12)),
             42, 27, 60, 4, "vein", 4, 0.34),
    Material("stem", (("green", 0.92, -23, 28), ("brown", 0.08, 8, 18)),
             44, 30, 58, 3, "flat", 0, 0.38),
    Material("daisy", (("white", 0.44, 0, 2), ("yellow", 0.42, -3, 56), ("pink", 0.14, 20, -6)),
             77, 58, 88, 3, "vein", 2, 0.52),
    Material("sunflower", (("yellow", 0.9, 5, 55), ("orange", 0.1, 17, 44)),
             67, 50, 80, 3, "vein", 3, 0.58),
    Material("tulip", (("yellow", 0.46, 4, 49), ("red", 0.34, 42, 24), ("magenta", 0.2, 44, -18)),
             63, 44, 70, 3, "vein", 2, 0.64),
    Material("pansy", (("violet", 0.47, 29, -36), ("yellow", 0.44, 5, 49), ("wine", 0.09, 38, 5)),
             63, 44, 71, 3, "vein", 2, 0.46),
    Material("lily", (("pink", 0.42, 34, -10), ("yellow", 0.4, 2, 56), ("orange", 0.18, 20, 32)),
             70, 54, 80, 3, "vein", 2, 0.55),
    Material("disk", (("yellow", 0.86, 10, 40), ("brown", 0.14, 12, 24)),
             50, 34, 66, 3, "grit", 7, 0.78),
    Material("seeds", (("brown", 0.92, 9, 13), ("green", 0.08, -9, 13)),
             24, 13, 38, 2, "grit", 8, 0.85),
    Material("blotch", (("violet", 1.0, 14, -21),),
             22, 12, 32, 2, "flat", 0, 0.56),
)  # fmt: skip

KINDS = {"landscape": LANDSCAPE, "flowers": FLOWERS}
