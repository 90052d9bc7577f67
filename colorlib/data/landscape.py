"""What a landscape is made of, drawn once each, and where its things stand."""

import numpy as np

from .sprites import Canvas


def _cloud(ids, puffs):
    c = Canvas(ids, 2.0, 0.8)
    mask = np.zeros((c.rows, c.columns), bool)
    for cx, cy, r in puffs:
        mask |= c.ellipse(cx, cy, r, r * 0.85)
    light = 5 - 15 * np.clip((c.y - 0.25) / 0.5, 0, 1) + 0 * c.x
    return c.paint(mask & (c.y < 0.72), "cloud", shade=light, warmth=0.02)


def _mountains(ids, peaks):
    """Peaks as (x of the summit, height, half width): a lit face, a shaded one, snow above a jagged line."""
    c = Canvas(ids, 2.4, 1.0, bleed=True)
    wiggle = 0.02 * np.sin(23 * c.y + 4 * c.x) + 0.012 * np.sin(61 * c.y)
    for cx, height, half in peaks:
        depth = c.y - (1 - height)  # below the summit
        edge = half * depth / height
        across = c.x - cx + wiggle
        jag = 0.012 * np.sin(47 * c.x) + 0.008 * np.sin(113 * c.x)
        mask = (depth > 0) & (np.abs(across + jag) < edge)
        crease = 0.28 * edge * np.sin(9 * depth + cx) + 0.1 * edge
        lit = across < crease
        shade = np.where(lit, 9 - 5 * depth, -11 + 3 * depth)
        c.paint(mask, "rock", shade=shade, warmth=np.where(lit, 0.08, -0.05))
        line = 0.3 * height + 0.05 * np.sin(31 * c.x + cx) + 0.035 * np.sin(73 * c.x)
        if height > 0.55:
            c.paint(mask & (depth < line), "snow", shade=np.where(lit, 4, -9))
    return c


def _hills(ids, phase, bump):
    c = Canvas(ids, 3.0, 0.6, bleed=True)
    top = 0.3 + 0.14 * np.sin(2.1 * c.x + phase) + 0.07 * np.sin(5.2 * c.x + 2 * phase)
    crowns = np.abs(np.sin(bump * c.x + phase)) * 0.045 + np.abs(np.sin(1.7 * bump * c.x)) * 0.03
    depth = c.y - top + crowns
    return c.paint(depth > 0, "forest", shade=6 - 16 * np.clip(depth / 0.35, 0, 1))


def _lake(ids, phase):
    c = Canvas(ids, 3.0, 0.6)
    bank = 0.05 * np.sin(5 * c.x + phase) + 0.03 * np.sin(11 * c.x)
    mask = ((c.x - 1.5) / 1.45) ** 2 + ((c.y - 0.3 + bank) / 0.2) ** 2 < 1
    return c.paint(mask, "water", shade=9 - 34 * (c.y - 0.1) + 0 * c.x)


def _windows(c, cells, r=0.075):
    for cx, cy in cells:
        pane = c.box(cx - r, cy - 1.25 * r, cx + r, cy + 1.25 * r)
        c.paint(pane, "glass", shade=np.where(c.y < cy, 8, -4) + 0 * c.x)


def _house_front(ids, wide=1.1, tall=0.62, pitch=0.42):
    """A gable that faces us: walls, a roof in front view with eaves, a door, windows, a chimney."""
    c = Canvas(ids, wide + 0.3, tall + pitch + 0.16)
    left, right, eaves, base = 0.15, 0.15 + wide, pitch + 0.08, pitch + 0.08 + tall
    mid = (left + right) / 2
    c.shadow(c.ellipse(mid + 0.12, base, wide * 0.56, 0.07))
    gable = c.polygon((left, eaves + 0.01), (mid, 0.1), (right, eaves + 0.01))
    c.paint(c.box(left, eaves, right, base) | gable, "wall", shade=4 - 7 * (c.x - left) / wide + 0 * c.y)
    c.paint(c.box(mid + 0.2 * wide, 0.08, mid + 0.2 * wide + 0.12, eaves - 0.1), "wall", shade=-10)
    for side in (-1, 1):
        end = mid + side * (wide / 2 + 0.12)
        slope = c.polygon((mid, 0.02), (end, eaves + 0.06), (end, eaves + 0.17), (mid, 0.19))
        c.paint(slope, "roof", shade=-3 * side, warmth=0.05 * -side)
    c.paint(c.box(mid - 0.085, base - 0.3, mid + 0.085, base), "door", shade=2 - 5 * (c.x > mid) + 0 * c.y)
    cells = [(left + wide * 0.22, base - tall * 0.48), (right - wide * 0.22, base - tall * 0.48)]
    _windows(c, cells + [(mid, eaves - 0.04)])
    return c


def _house_side(ids, wide=1.0, front=0.55, tall=0.5, pitch=0.4):
    """A house seen from a corner: a lit gable at the left, a long wall and the roof at the right."""
    c = Canvas(ids, front + wide + 0.3, tall + pitch + 0.16)
    left, corner, right = 0.12, 0.12 + front, 0.12 + front + wide
    eaves, base, top = pitch + 0.08, pitch + 0.08 + tall, 0.08
    ridge = left + front / 2
    c.shadow(c.ellipse((left + right) / 2 + 0.1, base, (right - left) * 0.54, 0.065))
    c.paint(c.box(corner, eaves, right, base), "wall", shade=-12)
    gable = c.polygon((left, eaves + 0.01), (ridge, top), (corner, eaves + 0.01))
    c.paint(c.box(left, eaves, corner, base) | gable, "wall", shade=4)
    c.paint(c.box(right - 0.42, 0.03, right - 0.3, eaves - 0.1), "wall", shade=-8)
    upper, lower = (right - front / 2 + 0.12, top), (right + 0.08, eaves + 0.07)
    slope = c.polygon((ridge, top), upper, lower, (corner - 0.02, eaves + 0.07))
    c.paint(slope, "roof", shade=5 - 14 * (c.y - top) / pitch + 0 * c.x, warmth=0.06)
    c.paint(c.capsule((ridge, top), (left - 0.06, eaves + 0.06), 0.05), "roof", shade=-8)
    c.paint(c.box(ridge - 0.08, base - 0.3, ridge + 0.08, base), "door")
    _windows(c, [(corner + wide * f, base - tall * 0.52) for f in (0.2, 0.52, 0.84)], 0.08)
    return c


def _tower(ids):
    """A tall house, two rows of windows under a steep roof."""
    c = Canvas(ids, 0.95, 1.5)
    c.shadow(c.ellipse(0.56, 1.42, 0.4, 0.055))
    c.paint(c.box(0.15, 0.5, 0.8, 1.42), "wall", shade=5 - 16 * (c.x > 0.56) + 0 * c.y)
    roof = c.polygon((0.475, 0.02), (0.92, 0.56), (0.03, 0.56))
    c.paint(roof, "roof", shade=5 - 14 * (c.x > 0.56) + 0 * c.y, warmth=0.04)
    c.paint(c.box(0.27, 1.13, 0.43, 1.42), "door")
    _windows(c, [(0.35, 0.72), (0.68, 0.72), (0.35, 0.96), (0.68, 0.96)], 0.07)
    return c


def _barn(ids):
    c = Canvas(ids, 1.3, 1.05)
    c.shadow(c.ellipse(0.72, 0.98, 0.6, 0.055))
    outline = ((0.14, 0.98), (0.14, 0.48), (0.3, 0.22), (0.65, 0.08), (1.0, 0.22), (1.16, 0.48), (1.16, 0.98))
    c.paint(c.polygon(*outline), "wall", shade=4 - 8 * c.x + 0 * c.y)
    for p, q in zip(outline[1:-2], outline[2:-1], strict=True):
        c.paint(c.capsule(p, q, 0.06), "roof", shade=-6 * (p[0] > 0.5))
    c.paint(c.box(0.42, 0.55, 0.88, 0.98), "door", shade=-5 * (np.abs(c.x - 0.65) < 0.02) + 0 * c.y)
    _windows(c, [(0.65, 0.34)], 0.075)
    return c


def _crown(c, blobs, height):
    """Foliage as overlapping balls: each is lit from above left, later ones lie in front."""
    for cx, cy, r in blobs:
        shade = c.ball(cx, cy, r, r * 0.92, strength=11) - 16 * (cy / height - 0.3)
        c.paint(c.ellipse(cx, cy, r, r * 0.92), "broadleaf", "foliage", shade=shade)
    return c


def _broadleaf(ids, blobs, height=1.5, width=1.2):
    c = Canvas(ids, width, height)
    mid = width / 2
    c.shadow(c.ellipse(mid + 0.1, height - 0.06, 0.42 * width, 0.055))
    trunk = c.capsule((mid, height * 0.5), (mid, height - 0.06), 0.06, 0.085)
    c.paint(trunk, "trunk", shade=5 - 60 * (c.x - mid) + 0 * c.y)
    c.paint(c.capsule((mid, height * 0.66), (mid + 0.2, height * 0.48), 0.04), "trunk")
    return _crown(c, blobs, height)


def _conifer(ids, tiers, spread):
    c = Canvas(ids, 0.9, 1.5)
    c.shadow(c.ellipse(0.53, 1.43, 0.33, 0.05))
    c.paint(c.box(0.4, 1.2, 0.5, 1.43), "trunk", shade=4)
    for k in range(tiers - 1, -1, -1):
        top, bottom = 0.04 + k * 1.1 / tiers * 0.92, 0.04 + (k + 1.45) * 1.1 / tiers * 0.92
        half = spread * (0.35 + 0.65 * (k + 1) / tiers)
        right = (0.45 + half, bottom), (0.45 + half * 0.45, bottom - 0.045)
        left = (0.45 - half * 0.45, bottom - 0.045), (0.45 - half, bottom)
        mask = c.polygon((0.45, top), *right, (0.45, bottom + 0.02), *left)
        c.paint(mask, "conifer", "foliage", shade=7 - 26 * (c.x - 0.3) - 22 * (c.y - top) * (c.y > top))
    return c


def _bush(ids):
    c = Canvas(ids, 1.4, 0.75)
    c.shadow(c.ellipse(0.75, 0.68, 0.6, 0.05))
    return _crown(c, [(0.35, 0.42, 0.27), (0.75, 0.33, 0.3), (1.08, 0.45, 0.25), (0.6, 0.5, 0.22)], 1.4)


def _car(ids, body, cabin, panes, wheels, nose, r=0.19, height=0.98):
    """A car that drives right: outlines of body and cabin, panes, wheels; the engine is under the hood."""
    c = Canvas(ids, 2.3, height)
    ground, top = height - 0.06, body[0][1]  # the body's side begins at its first corner
    c.shadow(c.ellipse(1.17, ground, 1.08, 0.055))
    # The engine warms the nose, painted or not: an infrared camera sees where it is.
    engine = 0.3 * np.clip(1 - np.abs(c.x - nose) / 0.55, 0, 1) + 0 * c.y
    mask = c.polygon(*body) | c.polygon(*cabin)
    shade = 11 - 24 * np.clip((c.y - 0.1) / (ground - 0.22), 0, 1) + 9 * (c.y < top) + 0 * c.x
    c.paint(mask, "car", "body", shade=shade, warmth=engine)
    c.paint(mask & (np.abs(c.y - top - 0.16) < 0.022), "car", "body", shade=-9, warmth=engine)
    for pane in panes:
        shade = 13 - 60 * (c.y - 0.12) + 16 * (np.abs(c.x + c.y - pane[0][0] - 0.42) < 0.07)
        c.paint(c.polygon(*pane), "glass", shade=shade)
    front, rear = max(p[0] for p in body), min(p[0] for p in body)
    c.paint(c.ellipse(front - 0.06, top + 0.14, 0.06, 0.05), "glass", shade=34)
    c.paint(c.ellipse(rear + 0.05, top + 0.14, 0.045, 0.05), "glass", shade=10)
    for cx in wheels:
        c.paint(c.ellipse(cx, ground - r, r + 0.035) & mask, "car", "body", shade=-14, warmth=engine)
    for cx in wheels:
        for share, shade in ((1, 0), (0.52, 38), (0.2, 8)):
            c.paint(c.ellipse(cx, ground - r, share * r), "tire", "tires", shade=shade)
    return c


def _cars(ids):
    low = ((0.08, 0.44), (2.0, 0.46), (2.2, 0.56), (2.22, 0.78), (0.06, 0.78), (0.04, 0.5))
    cabin = ((0.42, 0.46), (0.72, 0.1), (1.38, 0.1), (1.72, 0.47))
    rear = ((0.56, 0.43), (0.78, 0.17), (1.02, 0.17), (1.02, 0.43))
    front = ((1.08, 0.43), (1.08, 0.17), (1.34, 0.17), (1.58, 0.43))
    sedan = _car(ids, low, cabin, [rear, front], (0.52, 1.74), 2.05)
    cabin = ((0.1, 0.46), (0.22, 0.1), (1.2, 0.08), (1.66, 0.47))
    rear = ((0.24, 0.43), (0.32, 0.17), (0.7, 0.16), (0.7, 0.43))
    front = ((0.77, 0.43), (0.77, 0.16), (1.15, 0.16), (1.5, 0.43))
    hatch = _car(ids, low, cabin, [rear, front], (0.5, 1.74), 2.0)
    body = ((0.06, 0.44), (1.95, 0.44), (2.18, 0.52), (2.22, 0.78), (0.06, 0.78))
    cabin = ((0.06, 0.46), (0.06, 0.06), (1.55, 0.06), (1.96, 0.46))
    rear = ((0.16, 0.38), (0.16, 0.14), (0.62, 0.14), (0.62, 0.38))
    middle = ((0.7, 0.38), (0.7, 0.14), (1.14, 0.14), (1.14, 0.38))
    front = ((1.22, 0.38), (1.22, 0.14), (1.5, 0.14), (1.78, 0.38))
    van = _car(ids, body, cabin, [rear, middle, front], (0.5, 1.76), 2.05)
    body = ((0.06, 0.44), (2.0, 0.46), (2.2, 0.54), (2.22, 0.78), (0.06, 0.78))
    cabin = ((0.98, 0.46), (1.04, 0.1), (1.5, 0.1), (1.76, 0.47))
    panes = [((1.1, 0.42), (1.13, 0.17), (1.45, 0.17), (1.62, 0.42))]
    pickup = _car(ids, body, cabin, panes, (0.5, 1.76), 2.05, r=0.2)
    return [sedan, hatch, van, pickup]


def _ball(ids):
    c = Canvas(ids, 1.1, 1.1)
    c.shadow(c.ellipse(0.62, 0.99, 0.42, 0.085))
    shade = c.ball(0.5, 0.52, 0.44, strength=21) + 12 * c.ellipse(0.36, 0.34, 0.13, 0.1)
    return c.paint(c.ellipse(0.5, 0.52, 0.44), "ball", shade=shade)


def _cyclist(ids, knee, foot, knee_far, foot_far):
    """A person on a bicycle who rides to the right."""
    c = Canvas(ids, 1.34, 1.42)
    ground, r = 1.36, 0.29
    back, front = (0.32, ground - r), (1.02, ground - r)
    crank, saddle, head = (0.6, ground - r + 0.02), (0.5, 0.72), (0.9, 0.7)
    c.shadow(c.ellipse(0.68, ground, 0.58, 0.04))
    far_leg = c.capsule((0.52, 0.66), knee_far, 0.07) | c.capsule(knee_far, foot_far, 0.055)
    c.paint(far_leg, "trousers", shade=-6)
    for hub in (back, front):
        c.paint(c.ellipse(*hub, r) & ~c.ellipse(*hub, r - 0.075), "tire", "tires", warmth=-0.25)
        c.paint(c.ellipse(*hub, 0.05), "bicycle", shade=10)
    frame = [(back, saddle), (back, crank), (crank, saddle), (saddle, head), (crank, head), (head, front)]
    for p, q in [*frame, (head, (0.94, 0.58))]:
        c.paint(c.capsule(p, q, 0.034), "bicycle", shade=6)
    c.paint(c.capsule((0.42, 0.7), (0.58, 0.7), 0.035), "bicycle")
    hip, shoulder, hand = (0.5, 0.62), (0.72, 0.34), (0.98, 0.6)
    c.paint(c.capsule(hip, knee, 0.085, 0.07) | c.capsule(knee, foot, 0.065, 0.05), "trousers", shade=3)
    c.paint(c.ellipse(foot[0] + 0.04, foot[1] + 0.02, 0.075, 0.04), "bicycle")
    c.paint(c.capsule(hip, shoulder, 0.115, 0.125), "shirt", shade=9 - 40 * (c.y - 0.36) + 0 * c.x)
    c.paint(c.capsule(shoulder, hand, 0.05, 0.04), "skin", shade=-4)
    c.paint(c.capsule(shoulder, (0.84, 0.46), 0.062), "shirt", shade=-6)
    c.paint(c.ellipse(0.8, 0.18, 0.105, 0.12), "skin", shade=4)
    c.paint(c.ellipse(0.785, 0.14, 0.125, 0.115) & (c.y < 0.15 + 0.12 * (c.x - 0.8)), "shirt", shade=6)
    return c


def sprites(ids: dict[str, int]) -> dict[str, list[Canvas]]:
    """Every role of a landscape with the drawings that can play it."""
    crown = [(0.6, 0.4, 0.36), (0.34, 0.62, 0.28), (0.86, 0.6, 0.28), (0.6, 0.72, 0.3), (0.5, 0.42, 0.24)]
    return {
        "cloud": [
            _cloud(ids, [(0.45, 0.55, 0.26), (0.8, 0.4, 0.34), (1.2, 0.48, 0.3), (1.58, 0.58, 0.24)]),
            _cloud(ids, [(0.5, 0.6, 0.22), (0.95, 0.5, 0.3), (1.35, 0.42, 0.36), (1.68, 0.6, 0.2)]),
            _cloud(ids, [(0.4, 0.62, 0.24), (0.72, 0.56, 0.24), (1.1, 0.52, 0.26), (1.5, 0.6, 0.3)]),
        ],
        "mountain": [
            _mountains(ids, [(0.5, 0.72, 0.75), (1.9, 0.8, 0.8), (1.2, 0.95, 0.85)]),
            _mountains(ids, [(1.3, 0.6, 0.9), (0.55, 0.92, 0.8), (2.1, 0.66, 0.7)]),
            _mountains(ids, [(0.25, 0.6, 0.7), (1.75, 0.94, 0.95), (0.95, 0.68, 0.6)]),
            _mountains(ids, [(0.3, 0.5, 0.8), (1.0, 0.5, 0.7), (2.0, 0.53, 0.8), (1.5, 0.45, 0.7)]),
        ],
        "hill": [_hills(ids, 0.4, 15), _hills(ids, 2.6, 21), _hills(ids, 4.9, 12)],
        "lake": [_lake(ids, 0.3), _lake(ids, 2.8)],
        "house": [
            _house_front(ids),
            _house_front(ids, 1.3, 0.5, 0.5),
            _house_side(ids),
            _house_side(ids, 0.8, 0.62, 0.56, 0.36),
            _tower(ids),
            _barn(ids),
        ],
        "tree": [
            _broadleaf(ids, crown),
            _broadleaf(ids, [(0.6, 0.55, 0.5), (0.45, 0.45, 0.28)]),
            _broadleaf(ids, [(0.45, 0.3, 0.26), (0.78, 0.42, 0.28), (0.38, 0.66, 0.27), (0.74, 0.76, 0.28)]),
            _broadleaf(ids, [(0.45, 0.4, 0.3), (0.45, 0.72, 0.34), (0.42, 0.5, 0.26)], 1.6, 0.9),
            _conifer(ids, 3, 0.4),
            _conifer(ids, 4, 0.36),
        ],
        "bush": [_bush(ids)],
        "car": _cars(ids),
        "cyclist": [
            _cyclist(ids, (0.76, 0.82), (0.66, 1.22), (0.72, 0.88), (0.52, 0.98)),
            _cyclist(ids, (0.72, 0.78), (0.7, 1.04), (0.66, 0.92), (0.54, 1.2)),
        ],
        "ball": [_ball(ids)],
    }


def layout(draw) -> None:
    """Places the things of a landscape, farthest first. `draw` is the world's `Layout`."""

    def place(name, present, x, base, height, below=0.0, width=None):
        """Puts a thing, such as "tree 1", somewhere: a pair of numbers is a range to draw from."""
        x, y, height, width = (
            draw.span(f"{name} {what}", *value) if isinstance(value, tuple) else value
            for what, value in (("x", x), ("y", base), ("height", height), ("width", width))
        )
        draw.thing(f"{name} 0" if name.isalpha() else name, present, x, below + y, height, width=width)

    horizon = draw.span("horizon", 0.4, 0.54)
    draw.horizon(horizon, draw.chance("ground is a field", 0.24))

    for k, often in enumerate((0.62, 0.4)):
        height = draw.span(f"cloud {k} height", 0.11, 0.19)
        place(f"cloud {k}", often, (0.0, 1.0), draw.span(f"cloud {k} top", 0.02, 0.16), height, below=height)
    place("mountain", 0.46, (0.42, 0.58), 0.04, (0.22, 0.36), below=horizon, width=(1.25, 1.6))
    place("hill", 0.5, (0.4, 0.6), 0.1, (0.2, 0.28), below=horizon, width=(1.3, 1.8))
    draw.ground()
    home, housed = draw.span("house x", 0.16, 0.84), draw.chance("house", 0.64)
    lake = draw.chance("lake", 0.5) & ~housed  # no house stands in a lake
    place("lake", lake, (0.25, 0.75), (0.19, 0.22), (0.14, 0.19), below=horizon, width=(0.8, 1.3))
    place("tree 0", 0.45, (0.04, 0.96), (0.02, 0.05), (0.25, 0.34), below=horizon)
    place("house", housed, home, (0.09, 0.16), (0.32, 0.44), below=horizon)
    # Everything after the first house stands to one side of it, so that few houses are hidden.
    place("tree 1", 0.56, draw.aside("tree 1 x", home, 0.34, 0.66), (0.18, 0.24), (0.38, 0.52), below=horizon)
    place("bush", 0.3, draw.aside("bush x", home, 0.2, 0.8), (0.18, 0.24), (0.1, 0.15), below=horizon)

    road = draw.span("road y", 0.8, 0.86)
    riding = draw.chance("cyclist", 0.025)
    driving = draw.chance("car", 0.46) & ~riding
    draw.road(road, driving | riding | draw.chance("empty road", 0.12))
    x = draw.span("traffic x", 0.28, 0.72)
    place("car", driving, x, (0.0, 0.03), (0.21, 0.27), below=road)
    place("cyclist", riding, x, 0.03, (0.46, 0.54), below=road)
    first = draw.aside("ball 0 x", x, 0.26, 0.74)  # seldom in front of the car
    place("ball 0", 0.62, first, (0.88, 0.97), (0.14, 0.22))
    place("ball 1", 0.3, draw.aside("ball 1 x", first, 0.3, 0.7), (0.92, 0.98), (0.15, 0.23))
