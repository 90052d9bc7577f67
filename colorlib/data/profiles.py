"""ICC profiles, as far as they are three curves and a matrix: read, applied to light, and built."""

import struct
from functools import cache

import numpy as np
from PIL import ImageCms

_D50 = np.array([0.9642, 1.0, 0.8249])  # the white of profiles
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def encoded(light: np.ndarray) -> np.ndarray:
    """Light from 0 to 1 in the numbers of sRGB, from 0 to 1; what lies beyond is cut."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def xyz(values: np.ndarray, profile: bytes) -> np.ndarray | None:
    """Colors (..., 3) from 0 to 1 as XYZ under D50, by a profile; None where it is of another kind."""
    held = curves_and_matrix(profile)
    if held is None:
        return None
    return np.stack([curve(values[..., k]) for k, curve in enumerate(held[0])], -1) @ held[1].T


@cache
def xyz_to_light() -> np.ndarray:
    """The matrix from XYZ under D50 to light of sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return np.linalg.inv(curves_and_matrix(profile)[1])


def curves_and_matrix(profile: bytes) -> tuple[list, np.ndarray] | None:
    """Of an ICC profile its curves to light and its matrix to XYZ; None where it has tables, or lacks one.

    Source: ICC.1:2022, sections 7.3 (tags), 10.6 (curves), 10.18 (parametric curves), 10.31 (XYZ).
    """
    tags = {}
    for place in range(132, 132 + 12 * min(100, struct.unpack_from(">I", profile, 128)[0]), 12):
        name, start, length = struct.unpack_from(">4sII", profile, place)
        tags[name] = profile[start : start + length]
    names = [channel + kind for kind in (b"TRC", b"XYZ") for channel in (b"r", b"g", b"b")]
    if b"A2B0" in tags or b"A2B1" in tags or not tags.keys() >= set(names):
        return None
    curves = [_curve(tags[name]) for name in names[:3]]
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in names[3:]]
    return (curves, np.array(columns).T / 65536) if all(curves) else None


def _curve(tag: bytes):
    """A function of 0 to 1 from a tag of a curve; None for a kind that isn't known."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        table = np.frombuffer(tag, ">u2", count, 12)
        if count > 1:
            return lambda x: np.interp(x, np.linspace(0, 1, count), table / 65535)
        gamma = table[0] / 256 if count else 1.0
        return lambda x: x**gamma
    kind = struct.unpack_from(">H", tag, 8)[0] if tag[:4] == b"para" else 5
    if kind > 4:
        return None
    g, *rest = (value / 65536 for value in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12))
    a, b, c, d, e, f = {
        0: lambda: (1, 0, 0, 0, 0, 0),
        1: lambda: (*rest, 0, -rest[1] / rest[0], 0, 0),
        2: lambda: (*rest[:2], 0, -rest[1] / rest[0], rest[2], rest[2]),
        3: lambda: (*rest, 0, 0),
        4: lambda: rest,
    }[kind]()
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


def built(curves: np.ndarray, space=None) -> bytes:
    """An ICC profile of light as a table of the number, and of the colors of RGB; of gray without these.

    Its form: International Color Consortium, Specification ICC.1:2010.
    """

    def numbers(values) -> bytes:
        return b"XYZ " + bytes(4) + np.round(np.asarray(values) * 65536).astype(">i4").tobytes()

    curves = (np.atleast_2d(curves).clip(0, 1) * 65535 + 0.5).astype(">u2")
    curves = [b"curv" + struct.pack(">4xI", len(curve)) + curve.tobytes() for curve in curves]
    parts = {b"wtpt": numbers(_D50)}
    if space is None:
        parts[b"kTRC"] = curves[0]
    else:
        white, *primaries = np.array([(x / y, 1, (1 - x - y) / y) for x, y in np.asarray(space, float)])
        colors = np.transpose(primaries) * np.linalg.solve(np.transpose(primaries), white)
        # Bradford's adaptation of the white to that of profiles.
        gain = (_BRADFORD @ _D50) / (_BRADFORD @ white)
        colors = np.linalg.solve(_BRADFORD, gain[:, None] * (_BRADFORD @ colors))
        for k, letter in enumerate((b"r", b"g", b"b")):
            parts[letter + b"XYZ"] = numbers(colors[:, k])
            parts[letter + b"TRC"] = curves[k % len(curves)]
    start, table, body = 132 + 12 * len(parts), struct.pack(">I", len(parts)), b""
    for signature, part in parts.items():
        table += signature + struct.pack(">II", start + len(body), len(part))
        body += part + bytes(-len(part) % 4)
    kind = b"GRAY" if space is None else b"RGB "
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 0x02400000, b"mntr", kind, b"XYZ ", b"acsp")
    return head + numbers(_D50)[8:] + bytes(48) + table + body
