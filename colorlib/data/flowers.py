"""What a flower bed is made of, drawn once each, and where its flowers stand."""

import numpy as np

from .sprites import Canvas


def sprites(ids: dict[str, int]) -> dict[str, list[Canvas]]:
    """Every role of a flower bed with the drawings that can play it. All are square, since they turn."""
    return {
        "leaf": [_leaf(ids, 0.27, 0.0), _leaf(ids, 0.2, 0.12), _leaf(ids, 0.34, -0.06)],
        "stem": [_stem(ids, 0.16), _stem(ids, -0.12)],
        "flower": [flower(ids) for _, flower, _ in SPECIES],
    }


def _polar(c):
    x, y = c.x - c.width / 2, c.y - c.height / 2
    return np.hypot(x, y), np.arctan2(y, x)


def _leaf(ids, half, bend):
    """A pointed leaf with a light midrib and side veins: its base is on the left, its tip on the right."""
    c = Canvas(ids, 1.2, 1.2, 96)
    t = np.clip((c.x - 0.08) / 1.04, 0, 1)
    middle = 0.6 + bend * np.sin(np.pi * t)
    side = (c.y - middle) / np.maximum(half * np.sin(np.pi * t**0.8) ** 0.8, 1e-6)
    mask = np.abs(side) < 1
    c.shadow((np.abs(c.y - 0.06 - middle) < half * np.sin(np.pi * t**0.8) ** 0.8) & (t > 0) & (t < 1))
    veins = np.sin(2 * np.pi * (9 * t - 1.3 * np.abs(side)))
    shade = np.where(side < 0, 5, -6) - 3 * np.abs(side) ** 2 + 2.5 * veins
    shade = np.where(np.abs(c.y - middle) < 0.022, 12, shade)
    return c.paint(mask, "leaf", shade=shade)


def _stem(ids, bend):
    c = Canvas(ids, 1.2, 1.2, 96)
    middle = 0.6 + bend * np.sin(np.pi * np.clip(c.x / 1.2, 0, 1))
    mask = (np.abs(c.y - middle) < 0.035) & (c.x > 0.58)
    return c.paint(mask, "stem", shade=np.where(c.y < middle, 6, -5) + 0 * c.x)


def _petals(c, material, count, length, fullness, start=0.0, tip=1.0, shade=0.0, contrast=14.0, notch=0.0):
    """A ring of petals. `fullness` below 1 is rounder, above 1 thinner; `notch` dents the tips."""
    r, angle = _polar(c)
    phase = count * (angle - start) / 2
    wave = np.abs(np.cos(phase))
    edge = length * (wave**fullness * tip + (1 - tip)) - notch * np.clip(wave - 0.93, 0, 1) * length
    mask = r < edge
    # Petals are light along their middle and dark where they meet, so that they can be told apart in gray.
    light = contrast * (wave**0.7 - 0.75) + 5 * (r / length - 0.6)
    return c.paint(mask, material, "petals", shade=shade + light)


def _daisy(ids):
    c = Canvas(ids, 1.2, 1.2, 128)
    r, _ = _polar(c)
    _petals(c, "daisy", 13, 0.56, 0.55, 0.2, shade=-9)
    _petals(c, "daisy", 13, 0.54, 0.55, 0.2 + np.pi / 13, shade=3, contrast=16)
    c.paint(r < 0.15, "disk", "center", shade=c.ball(0.6, 0.6, 0.15, strength=12))
    return c


def _sunflower(ids):
    c = Canvas(ids, 1.2, 1.2, 128)
    r, angle = _polar(c)
    _petals(c, "sunflower", 17, 0.57, 0.8, 0.1, tip=0.75, shade=-10)
    _petals(c, "sunflower", 17, 0.52, 0.9, 0.1 + np.pi / 17, tip=0.75, shade=4)
    spiral = np.sin(21 * angle + 60 * r) * np.sin(21 * angle - 60 * r)
    c.paint(r < 0.31, "seeds", "center", shade=5 * spiral + 7 * (r / 0.31) - 3)
    c.paint(r < 0.11, "seeds", "center", shade=-6 + 3 * spiral)
    return c


def _tulip(ids):
    """Six broad petals that stand up like a cup: three behind, three in front."""
    c = Canvas(ids, 1.2, 1.2, 128)
    for k in range(3):
        _tulip_petal(c, 2 * np.pi * k / 3 + 0.5, 0.27, -7)
    for k in range(3):
        _tulip_petal(c, 2 * np.pi * k / 3 + 0.5 + np.pi / 3, 0.22, 4)
    r, _ = _polar(c)
    c.paint(r < 0.14, "tulip", "petals", shade=-14 + 50 * r)
    c.paint(c.ellipse(0.6, 0.6, 0.06), "seeds", "center", shade=-6)
    return c


def _tulip_petal(c, angle, offset, shade):
    cx, cy = 0.6 + offset * np.cos(angle), 0.6 + offset * np.sin(angle)
    along = (c.x - cx) * np.cos(angle) + (c.y - cy) * np.sin(angle)
    across = -(c.x - cx) * np.sin(angle) + (c.y - cy) * np.cos(angle)
    # An egg with its point outward.
    width = 0.245 * np.sqrt(np.clip(1 - (along / 0.29) ** 2, 0, 1)) * np.clip(1.1 - 1.3 * along, 0.3, 1.4)
    mask = np.abs(across) < width
    light = 6 - 17 * (across / 0.22) ** 2 + 26 * along
    c.paint(mask, "tulip", "petals", shade=shade + light)


def _pansy(ids):
    """Five round petals that overlap, with a dark face."""
    c = Canvas(ids, 1.2, 1.2, 128)
    for dx, dy, r, shade in (
        (-0.2, -0.24, 0.29, -6),
        (0.2, -0.24, 0.29, -3),
        (-0.27, 0.06, 0.29, 3),
        (0.27, 0.06, 0.29, 6),
        (0.0, 0.25, 0.32, 9),
    ):
        cx, cy = 0.6 + dx, 0.6 + dy
        rim = ((c.x - cx) ** 2 + (c.y - cy) ** 2) / r**2
        c.paint(rim < 1, "pansy", "petals", shade=shade + 5 - 15 * rim**2)
    eye = c.ellipse(0.6, 0.6, 0.075)
    c.paint(eye, "disk", "center")  # first, so that every species' center is its second object
    for dx, dy in ((-0.14, 0.05), (0.14, 0.05), (0.0, 0.17)):
        c.paint(c.ellipse(0.6 + dx, 0.6 + dy, 0.12), "blotch")
    c.paint(eye, "disk", "center", shade=8)
    return c


def _lily(ids):
    """A star of six long pointed petals."""
    c = Canvas(ids, 1.2, 1.2, 128)
    _petals(c, "lily", 3, 0.58, 1.6, 0.0, shade=-7, contrast=18)
    _petals(c, "lily", 3, 0.58, 1.6, np.pi / 3, shade=5, contrast=18)
    _petals(c, "lily", 3, 0.56, 2.2, 0.0, shade=-3, contrast=18)
    r, angle = _polar(c)
    c.paint((np.abs(r - 0.2) < 0.045) & (np.cos(6 * angle) > 0.5), "disk", "center", shade=4)
    c.paint(r < 0.06, "disk", "center", shade=-8)
    return c


# A species: its material, its drawing, how often it grows.
SPECIES = (
    ("daisy", _daisy, 0.26),
    ("sunflower", _sunflower, 0.14),
    ("tulip", _tulip, 0.2),
    ("pansy", _pansy, 0.2),
    ("lily", _lily, 0.2),
)
MOST = 4  # flowers in a scene


def layout(draw) -> None:
    """Places leaves, stems and one to four flowers. `draw` is the world's `Layout`."""
    draw.bed("undergrowth")
    leaves = None
    for k in range(7):
        x, y = draw.span(f"leaf {k} x", 0.0, 1.0), draw.span(f"leaf {k} y", 0.2, 1.2)
        height, often = draw.span(f"leaf {k} height", 0.42, 0.68), 1.0 if leaves is None else 0.8
        slot = draw.thing(f"leaf {k}", often, x, y, height, turn=True, share=leaves)
        leaves = slot if leaves is None else leaves
    # Each flower has a quarter of the frame to itself; fewer flowers grow larger.
    count = 1 + draw.pick("flowers", (0.2, 0.3, 0.3, 0.2))
    quarter = draw.pick("first quarter", (0.25,) * 4)
    single = count == 1
    stems, flowers = None, []
    for k in range(MOST):
        place = (quarter + k * 3) % 4
        cx, cy = 0.27 + 0.46 * (place % 2), 0.27 + 0.46 * (place // 2)
        size = draw.span(f"flower {k} size", 0.42, 0.56)
        x = cx + draw.span(f"flower {k} x", -0.06, 0.06)
        y = cy + draw.span(f"flower {k} y", -0.06, 0.06)
        # Alone it stands near the middle, and is half as large again.
        x = x + single * (0.5 - x) * 0.7
        y = y + single * (0.5 - y) * 0.7
        flowers.append((k < count, x, y, size * (1 + 0.5 * single)))
        slot = draw.thing(f"stem {k}", k < count, x, y + 0.3, y * 0 + 0.6, turn=True, share=stems)
        stems = slot if stems is None else stems
    for k, (here, x, y, size) in enumerate(flowers):
        species = draw.pick(f"flower {k} species", [often for _, _, often in SPECIES])
        draw.thing(f"flower {k}", here, x, y + size / 2, size, turn=True, variant=species)
