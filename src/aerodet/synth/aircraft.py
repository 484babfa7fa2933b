"""Aircraft: lofted bodies of the types, in true metres, and their liveries."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aerodet.synth.solids import Floats, Solid, loft
from aerodet.synth.types import AircraftType

__all__ = ["PARTS", "aircraft_solid", "paint_livery"]

PARTS = ("crown", "side", "glass", "rear", "wing", "edge", "flap", "fin", "tailplane", "engine", "dark")
_PART = {name: index for index, name in enumerate(PARTS)}


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
        if "canard" in kind.traits:
            self._panel("tailplane", kind.length * 0.30, kind.span * 0.21, kind.length * 0.09, 45, self.axis + 0.3)

    def _panel(self, part: str, lead: float, span: float, chord: float, sweep: float, z: float) -> None:
        """Add a pair of flat surfaces whose roots begin ``lead`` metres ahead of the middle."""
        reach, tip, root = lead - np.tan(np.radians(sweep)) * span, chord * 0.4, self.kind.width * 0.3
        self.both(part, [(lead, root, z), (lead - chord, root, z), (reach - tip, span, z), (reach, span, z)])

    def tail(self) -> None:
        """One fin or two, and a tailplane where the wing is no delta."""
        kind = self.kind
        if kind.fleet == "fighter" and "trainer" not in kind.traits:
            self._fighter_tail()
            return
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

    def _fighter_tail(self) -> None:
        kind, end = self.kind, -self.kind.length / 2
        height, chord = kind.length * 0.17, kind.length * 0.2
        foot, front = self.axis + kind.width * 0.2, end + chord * 1.25
        for aside in (1, -1) if "twin-fin" in kind.traits else (0,):
            y, out = aside * kind.width * 0.42, aside * height * 0.22
            x = [front, front - chord, front - height - chord * 0.4, front - height * 0.9]
            z, thick = [foot, foot, foot + height, foot + height], [0.16, 0.08, 0.05, 0.10]
            for side in (1, -1):
                lean = [0, 0, out, out]
                face = [(x[i], y + lean[i] + side * thick[i], z[i]) for i in range(4)]
                self.add("fin", np.array(face[::side], np.float32))
        if "delta" not in kind.traits:
            chord = kind.length * 0.15
            self._panel("tailplane", end + chord * 1.1, kind.span * 0.3, chord, min(kind.sweep + 6, 48), self.axis)

    def engines(self) -> None:
        """Nacelles on the wing or at the tail, a propeller at the nose, or nozzles in the fuselage's end."""
        kind = self.kind
        if "nose" in kind.traits:
            self._propeller(kind.length / 2 - 0.1, 0.0, self.axis, min(1.1, kind.width * 0.85))
            return
        if "inside" in kind.traits:
            half, end = kind.width * 0.3, -kind.length / 2
            pair = (half, -half) if "single" not in kind.traits else (0.0,)
            for y in pair:
                centres = np.array([(end + x, y, self.axis + kind.width * 0.2) for x in (1.6, 0.0)])
                self.add("dark", loft(centres, [half, half * 0.8], [half, half * 0.8], (0, np.pi), 4))
            return
        if "tri" in kind.traits:
            radius, foot = kind.width * 0.22, self.axis + kind.width * 0.75
            self._nacelle(-kind.length * 0.34, 0.0, foot, radius, kind.length * 0.12)
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
                size = min(1.0, kind.span / 24)
                self._nacelle(x + 1.9 * size, y, z + 0.1, 0.62 * size, 4.6 * size)
                for side in (y, -y):
                    self._propeller(x + 1.7 * size, side, z, 2.0 * size)
            else:
                radius = np.clip(kind.length * 0.026, 0.85, 1.8)
                self._nacelle(x + radius * 1.5, y, max(z - radius * 0.75, radius + 0.4), radius, radius * 3.5)

    def _propeller(self, x: float, y: float, z: float, radius: float) -> None:
        """A standing blade, which is all that is seen of a propeller from above."""
        blade = [(x, y - radius, z), (x, y + radius, z), (x - 0.3, y + radius, z), (x - 0.3, y - radius, z)]
        self.add("dark", np.array(blade, np.float32))

    def _nacelle(self, front: float, y: float, z: float, radius: float, length: float) -> None:
        centres = np.array([(front - length * s, 0, z) for s in (0, 0.12, 0.55, 1)])
        radii = radius * np.array([0.82, 1, 0.98, 0.55])
        faces = loft(centres, radii, radii, (-0.1, np.pi + 0.1), 4)
        for side in (1, -1):
            shifted = faces + np.array([0, side * y, 0], np.float32)
            self.add("dark", shifted[0])
            self.add("engine", shifted[1:])
