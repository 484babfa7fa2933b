"""Aircraft: a table of types in true metres, their lofted bodies and their liveries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aerodet.synth.solids import Floats, Solid, loft

__all__ = ["PARTS", "TYPES", "AircraftType", "aircraft_solid", "paint_livery"]

PARTS = ("crown", "side", "glass", "rear", "wing", "edge", "flap", "fin", "tailplane", "engine", "dark")
_PART = {name: index for index, name in enumerate(PARTS)}


@dataclass(frozen=True, slots=True)
class AircraftType:
    """One aircraft type; lengths in metres.

    Attributes:
        name: common designation.
        group: "regional", "narrow", "wide" or "military".
        length: nose to tail.
        span: wing tip to wing tip.
        width: of the fuselage.
        sweep: of the wing's leading edge, degrees.
        chords: of the wing at the root and at the tip.
        station: where the wing root begins, as a share of the length from the nose.
        engines: their places as shares of the half span, or () when two sit at the tail.
        traits: any of "propellers", "high" (wing on top of the fuselage) and "t-tail".
    """

    name: str
    group: str
    length: float
    span: float
    width: float
    sweep: float
    chords: tuple[float, float]
    station: float
    engines: tuple[float, ...] = (0.33,)
    traits: tuple[str, ...] = ()


# Length and span as the makers publish them, metres; chords, sweep and stations are approximate.
_PROP, _PROP_LOW, _T, _HIGH_T = ("propellers", "high"), ("propellers",), ("t-tail",), ("high", "t-tail")
TYPES: dict[str, AircraftType] = {
    t.name: t
    for t in (
        AircraftType("CRJ200", "regional", 26.8, 21.2, 2.7, 27, (4.6, 1.4), 0.42, (), _T),
        AircraftType("ERJ145", "regional", 29.9, 20.0, 2.3, 25, (4.4, 1.1), 0.46, (), _T),
        AircraftType("Gulfstream V", "regional", 29.4, 28.5, 2.4, 30, (5.2, 1.7), 0.40, (), _T),
        AircraftType("ATR 72", "regional", 27.2, 27.1, 2.9, 3, (2.6, 1.6), 0.40, (0.30,), (*_PROP, *_T)),
        AircraftType("Dash 8-400", "regional", 32.8, 28.4, 2.7, 4, (2.9, 1.4), 0.42, (0.31,), (*_PROP, *_T)),
        AircraftType("E190", "regional", 36.2, 28.7, 3.0, 27, (5.6, 1.5), 0.36, (0.32,)),
        AircraftType("A319", "narrow", 33.8, 35.8, 4.0, 28, (6.6, 1.6), 0.32, (0.34,)),
        AircraftType("A320", "narrow", 37.6, 35.8, 4.0, 28, (6.6, 1.6), 0.34, (0.34,)),
        AircraftType("A321", "narrow", 44.5, 35.8, 4.0, 28, (6.8, 1.6), 0.36, (0.34,)),
        AircraftType("737-800", "narrow", 39.5, 35.8, 3.8, 28, (7.2, 1.6), 0.33, (0.28,)),
        AircraftType("MD-83", "narrow", 45.0, 32.8, 3.4, 27, (6.6, 1.3), 0.44, (), _T),
        AircraftType("757-200", "narrow", 47.3, 38.0, 3.8, 29, (8.0, 1.8), 0.34, (0.34,)),
        AircraftType("767-300", "wide", 54.9, 47.6, 5.0, 34, (10.2, 2.3), 0.32, (0.33,)),
        AircraftType("A330-300", "wide", 63.7, 60.3, 5.6, 33, (11.2, 2.4), 0.33, (0.31,)),
        AircraftType("A340-300", "wide", 63.7, 60.3, 5.6, 33, (11.2, 2.4), 0.33, (0.31, 0.64)),
        AircraftType("787-9", "wide", 62.8, 60.1, 5.8, 35, (11.6, 1.8), 0.33, (0.32,)),
        AircraftType("777-300ER", "wide", 73.9, 64.8, 6.2, 34, (13.6, 2.2), 0.35, (0.31,)),
        AircraftType("747-400", "wide", 70.7, 64.4, 6.5, 41, (14.4, 3.4), 0.26, (0.36, 0.65)),
        AircraftType("A380-800", "wide", 72.7, 79.8, 7.1, 37, (17.6, 3.6), 0.26, (0.37, 0.65)),
        AircraftType("C-130H", "military", 29.8, 40.4, 4.3, 2, (4.9, 2.6), 0.33, (0.26, 0.51), _PROP),
        AircraftType("P-3C", "military", 35.6, 30.4, 3.5, 3, (5.6, 2.3), 0.33, (0.28, 0.56), _PROP_LOW),
        AircraftType("KC-135R", "military", 41.5, 39.9, 3.8, 38, (9.0, 2.8), 0.28, (0.34, 0.60)),
        AircraftType("Il-76", "military", 46.6, 50.5, 4.8, 28, (8.8, 3.0), 0.34, (0.27, 0.44), _HIGH_T),
        AircraftType("C-17A", "military", 53.0, 51.8, 6.8, 29, (10.4, 3.2), 0.33, (0.30, 0.54), _HIGH_T),
    )
}


_DARK = np.array([[38, 48, 84], [58, 60, 66], [34, 62, 74], [92, 36, 44], [30, 34, 40]], np.float32)
_MILITARY = np.array([[138, 144, 148], [112, 118, 122], [96, 104, 92], [150, 150, 146], [84, 88, 90]], np.float32)


def aircraft_solid(kind: AircraftType, livery: Floats, wear: Floats | None = None) -> Solid:
    """Return an aircraft that points along +u, its middle at the origin, standing on the ground.

    Args:
        kind: the type.
        livery: float32 [len(PARTS),3] RGB of each part.
        wear: float32 [F] factor of each face's paint; needs ``F = len(faces)``, longer arrays are cut.
    """
    faces, parts = _body(kind)
    paint = livery[parts]
    if wear is not None:
        paint = paint * wear[: len(faces), None]
    return Solid(faces, np.asarray(paint, np.float32))


def paint_livery(rng: np.random.Generator, scheme: str) -> Floats:
    """Draw a livery [len(PARTS),3].

    Args:
        rng: source of the choices.
        scheme: "white", "tail" (white with a coloured tail), "full" (coloured all over), "dark", "metal" or "military".
    """
    white = np.full(3, rng.uniform(226, 250), np.float32)
    hue, other = _vivid(rng), _vivid(rng)
    dark, drab = _DARK[rng.integers(len(_DARK))], _MILITARY[rng.integers(len(_MILITARY))]
    grey = np.full(3, rng.uniform(178, 215), np.float32)
    body, tail, wing, engine = {
        "white": (white, white if rng.random() < 0.6 else grey, white * 0.94, white * 0.9),
        "tail": (white, hue, grey, hue if rng.random() < 0.4 else white),
        "full": (hue, other if rng.random() < 0.6 else hue, grey, hue),
        "dark": (dark, hue if rng.random() < 0.5 else _DARK[0], grey * 0.8, _DARK[1]),
        "metal": (grey * 0.92, hue, grey * 0.85, grey),
        "military": (drab, drab, drab * 0.95, drab * 0.85),
    }[scheme]
    side = hue if scheme == "tail" and rng.random() < 0.3 else body * 0.97
    rear = tail if scheme == "tail" and rng.random() < 0.5 else body
    colours = {
        "crown": body, "side": side, "glass": np.array([48, 52, 60]),
        "rear": rear, "wing": wing, "edge": np.minimum(wing * 1.12, 245), "flap": wing * 0.9, "fin": tail,
        "tailplane": wing if rng.random() < 0.7 else body, "engine": engine, "dark": np.array([62, 62, 66]),
    }  # fmt: skip
    return np.array([colours[part] for part in PARTS], np.float32)


def _vivid(rng: np.random.Generator) -> Floats:
    """A saturated airline colour: red and blue are the commonest."""
    hues, shares = [0.0, 0.6, 0.08, 0.13, 0.35, 0.5, 0.83], [0.28, 0.3, 0.1, 0.1, 0.08, 0.08, 0.06]
    hue = rng.choice(hues, p=shares) + rng.normal(0, 0.02)
    phase = (hue + np.array([0, 2 / 3, 1 / 3])) * 2 * np.pi
    tint = 0.5 + 0.5 * np.cos(phase)
    return np.asarray((40 + 190 * tint) * rng.uniform(0.65, 1.05), np.float32)


@lru_cache(maxsize=64)
def _body(kind: AircraftType) -> tuple[Floats, NDArray[np.int64]]:
    """Faces [F,4,3] and the part [F] each belongs to; the extents are the type's length and span exactly."""
    builder = _Builder(kind)
    builder.fuselage()
    builder.wing()
    builder.tail()
    builder.engines()
    faces = np.concatenate(builder.faces)
    low, high = faces[..., 0].min(), faces[..., 0].max()
    faces[..., 0] = (faces[..., 0] - (low + high) / 2) * (kind.length / (high - low))
    faces[..., 1] *= kind.span / 2 / np.abs(faces[..., 1]).max()
    parts = np.array(builder.parts)
    faces.setflags(write=False)
    return faces, parts


class _Builder:
    """Collects the faces of one type; x points forward, y to the left, the ground is z = 0."""

    def __init__(self, kind: AircraftType) -> None:
        self.kind = kind
        self.faces: list[Floats] = []
        self.parts: list[int] = []
        self.axis = kind.width * (0.95 if "high" not in kind.traits else 0.75)  # height of the fuselage's axis
        self.deck = self.axis + kind.width * (0.46 if "high" in kind.traits else -0.28)  # height of the wing root

    def add(self, part: str, faces: Floats) -> None:
        faces = np.asarray(faces, np.float32).reshape(-1, 4, 3)
        self.faces.append(faces)
        self.parts.extend([_PART[part]] * len(faces))

    def both(self, part: str, face: list[tuple[float, float, float]]) -> None:
        """Add a face of the left side and its mirror image, both looking up."""
        left = np.array(face, np.float32)
        self.add(part, left[::-1])
        self.add(part, left * np.array([1, -1, 1], np.float32))

    def fuselage(self) -> None:
        kind, half = self.kind, self.kind.width / 2
        nose, tail = kind.length / 2, -kind.length / 2
        ahead = np.array([0, 0.12, 0.35, 0.75, 1.3]) * kind.width * 1.15
        behind = np.array([0.0, 0.1, 0.3, 0.6, 1.0]) * kind.length * 0.30
        x = np.concatenate([nose - ahead, (tail + behind)[::-1]])
        radius = half * np.array([0.05, 0.45, 0.75, 0.95, 1, 1, 0.86, 0.56, 0.26, 0.10])
        droop = np.array([-0.35, -0.25, -0.12, 0, 0, 0, 0.1, 0.35, 0.6, 0.75]) * half
        centres = np.column_stack([x, np.zeros_like(x), self.axis + droop])
        faces = loft(centres, radius, radius, (-0.25, np.pi + 0.25), 8)
        for station, ring in enumerate(faces):
            rear = station >= len(faces) - 3
            for step, face in enumerate(ring):
                outer = step in (0, 1, 6, 7)
                part = "glass" if station == 2 and not outer else "rear" if rear else "side" if outer else "crown"
                self.add(part, face)

    def wing(self) -> None:
        kind = self.kind
        half, (root, tip) = kind.span / 2, kind.chords
        slope = np.tan(np.radians(kind.sweep))
        lead = kind.length / 2 - kind.station * kind.length
        inner, kink = kind.width * 0.3, half * 0.36
        # Inboard of the kink a swept wing's trailing edge runs straight across the fuselage.
        straight = np.interp(kink, [inner, half], [root, tip])
        kink_chord = max(root - slope * (kink - inner), straight) if kind.sweep > 15 else straight
        spans = np.array([inner, kink, half * 0.965, half])
        chords = np.array([root, kink_chord, np.interp(0.965 * half, [kink, half], [kink_chord, tip]), tip * 0.55])
        leads = lead - slope * (spans - inner)
        leads[-1] -= tip * 0.3
        dihedral = -0.03 if "high" in kind.traits else 0.08
        heights = self.deck + dihedral * (spans - inner)
        rows = [(0.0, -0.10), (0.14, 0.12), (0.72, 0.08), (1.0, -0.14)]
        for front, back, part in zip(rows, rows[1:], ("edge", "wing", "flap"), strict=False):
            for i, j in ((0, 1), (1, 2), (2, 3)):
                corners = [(i, front), (i, back), (j, back), (j, front)]
                face = [(leads[s] - c * chords[s], spans[s], heights[s] + lift) for s, (c, lift) in corners]
                self.both(part, face)
        self._lead, self._slope, self._inner, self._dihedral = lead, slope, inner, dihedral

    def tail(self) -> None:
        kind = self.kind
        end = -kind.length / 2
        height = kind.length * 0.115 + kind.width * 0.75
        foot, top = self.axis + kind.width * 0.3, self.axis + kind.width * 0.3 + height
        chord, tip = kind.length * 0.17, kind.length * 0.075
        rake = height * (0.75 if kind.sweep > 15 else 0.35)
        front = end + chord + kind.length * 0.025
        profile = [(front, foot), (front - chord, foot), (front - rake - tip, top), (front - rake, top)]
        thick = [0.45, 0.12, 0.08, 0.25]
        for side in (1, -1):
            face = [(x, side * t * kind.width * 0.16, z) for (x, z), t in zip(profile, thick, strict=True)]
            self.add("fin", np.array(face[::side], np.float32))
        ridge = [(front - rake, 0.16), (front - rake, -0.16), (front - rake - tip, -0.16), (front - rake - tip, 0.16)]
        self.add("fin", np.array([(x, y, top) for x, y in ridge[::-1]], np.float32))

        span, t_tail = max(kind.span * 0.185, kind.width * 1.7), "t-tail" in kind.traits
        slope = np.tan(np.radians(min(kind.sweep + 4, 38)))
        root, tip = kind.length * (0.10 if t_tail else 0.115), kind.length * 0.042
        z = top if t_tail else self.axis + kind.width * 0.22
        lead = front - rake + root * 0.25 if t_tail else end + root + kind.length * 0.045
        reach = lead - slope * span
        inboard, outboard = (
            [(lead, 0.05, z), (lead - root, 0.05, z)],
            [(reach - tip, span, z + 0.5), (reach, span, z + 0.5)],
        )
        self.both("tailplane", inboard + outboard)

    def engines(self) -> None:
        kind = self.kind
        if not kind.engines:
            radius, length = kind.width * 0.26, kind.width * 1.75
            x, y = -kind.length / 2 + kind.length * 0.285, kind.width / 2 + radius * 0.85
            self._nacelle(x, y, self.axis + kind.width * 0.18, radius, length)
            return
        for share in kind.engines:
            y = share * kind.span / 2
            x = self._lead - self._slope * (y - self._inner)
            z = self.deck + self._dihedral * y
            if "propellers" in kind.traits:
                self._nacelle(x + 1.9, y, z + 0.1, 0.62, 4.6)
                blade = [(x + 1.7, y - 2.0, z), (x + 1.4, y - 2.0, z), (x + 1.4, y + 2.0, z), (x + 1.7, y + 2.0, z)]
                self.both("dark", [(px, py, pz) for px, py, pz in blade[::-1]])
            else:
                radius = np.clip(kind.length * 0.026, 0.85, 1.8)
                self._nacelle(x + radius * 1.5, y, max(z - radius * 0.75, radius + 0.4), radius, radius * 3.5)

    def _nacelle(self, front: float, y: float, z: float, radius: float, length: float) -> None:
        centres = np.array([(front - length * s, 0, z) for s in (0, 0.12, 0.55, 1)])
        radii = radius * np.array([0.82, 1, 0.98, 0.55])
        faces = loft(centres, radii, radii, (-0.1, np.pi + 0.1), 4)
        for side in (1, -1):
            shifted = faces + np.array([0, side * y, 0], np.float32)
            self.add("dark", shifted[0])
            self.add("engine", shifted[1:])
