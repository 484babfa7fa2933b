"""Airports: a palette and a cross-section of bands that several scenes share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aerodet.synth.look import LOOKS
from aerodet.synth.solids import Floats

__all__ = ["Airport", "Band", "airport"]

PITCH = {"regional": 38.0, "narrow": 44.0, "wide": 76.0, "military": 58.0}  # metres between neighbouring stands
DEPTH = {"regional": 44.0, "narrow": 56.0, "wide": 84.0, "military": 62.0}  # metres from nose to tail of a stand


@dataclass(frozen=True, slots=True)
class Band:
    """A strip of an airport that runs along u from one end of the world to the other.

    Attributes:
        kind: "grass", "runway", "taxiway", "lane", "stands", "gates", "terminal", "hangars", "road" or "carpark".
        low: lower edge, metres along v.
        high: upper edge, metres along v.
        fleet: group of aircraft types that park here; "" where none do.
        facing: +1 when noses point to +v, -1 when they point to -v.
        slant: stands turned out of the row's normal, radians.
        tone: factor of the surface's brightness.
    """

    kind: str
    low: float
    high: float
    fleet: str = ""
    facing: int = 1
    slant: float = 0.0
    tone: float = 1.0

    @property
    def middle(self) -> float:
        """Middle of the band, metres along v."""
        return (self.low + self.high) / 2


@dataclass(frozen=True, slots=True)
class Airport:
    """What the scenes of one group share.

    Attributes:
        name: the group.
        bands: strips from low to high v, without gaps.
        surfaces: RGB of "concrete", "asphalt", "runway" and "grass".
        roofs: [R,3] roof colours.
        marking: RGB of the taxi lines.
        slab: side of the concrete slabs, metres.
        joints: how much the slabs show, 0..1.
        bearing: angle of the runway in pictures, radians.
    """

    name: str
    bands: tuple[Band, ...]
    surfaces: dict[str, Floats]
    roofs: Floats
    marking: Floats
    slab: float
    joints: float
    bearing: float


@lru_cache(maxsize=256)
def airport(look: str, seed: int, number: int) -> Airport:
    """Return airport ``number`` of the world that ``seed`` and ``look`` name."""
    rng = np.random.default_rng([seed, number, 1])
    palette, spread = LOOKS[look].palette, LOOKS[look].spread

    def pick(name: str) -> Floats:
        colour = palette[name][int(rng.integers(len(palette[name])))]
        return np.clip(np.array(colour) + rng.normal(0, spread) + rng.normal(0, 2, 3), 8, 250).astype(np.float32)

    surfaces = {name: pick(name) for name in ("concrete", "asphalt", "runway", "grass")}
    roofs = np.array([pick("roof") for _ in range(4)])
    return Airport(
        name=f"{look}-{seed}-airport-{number:03d}",
        bands=_cross_section(rng),
        surfaces=surfaces,
        roofs=roofs,
        marking=pick("marking"),
        slab=float(rng.choice([5.0, 6.0, 7.5])),
        joints=float(rng.uniform(0.1, 1.0)),
        bearing=float(rng.uniform(0, 2 * np.pi)),
    )


def _cross_section(rng: np.random.Generator) -> tuple[Band, ...]:
    """Stack bands from a remote apron over the runway to the passenger terminal."""
    bands: list[Band] = []
    edge = 0.0

    def add(kind: str, depth: float, fleet: str = "", facing: int = 1, slant: float = 0.0) -> None:
        nonlocal edge
        bands.append(Band(kind, edge, edge + depth, fleet, facing, slant, float(rng.uniform(0.93, 1.07))))
        edge += depth

    remote = str(rng.choice(["regional", "narrow", "military", "wide"], p=[0.2, 0.4, 0.2, 0.2]))
    slant = float(rng.choice([0, 0, 0.5, -0.5, 0.78])) if remote in ("regional", "military") else 0.0
    add("grass", 90)
    add("road", 14)
    add("hangars", rng.uniform(50, 70))
    add("stands", DEPTH[remote], remote, -1, slant)
    add("lane", rng.uniform(30, 44))
    add("stands", DEPTH[remote], remote, 1, slant)
    if rng.random() < 0.6:
        add("stands", DEPTH[remote], remote, -1)
        add("lane", rng.uniform(30, 44))
    add("grass", rng.uniform(14, 30))
    add("taxiway", rng.uniform(26, 34))
    add("grass", rng.uniform(45, 80))
    add("runway", rng.uniform(45, 60))
    add("grass", rng.uniform(45, 80))
    add("taxiway", rng.uniform(28, 38))
    if rng.random() < 0.5:
        add("grass", rng.uniform(10, 24))
    main = str(rng.choice(["narrow", "wide", "regional"], p=[0.55, 0.33, 0.12]))
    if rng.random() < 0.6:
        add("stands", DEPTH[main], main, int(rng.choice([-1, 1])))
    add("lane", rng.uniform(34, 48))
    add("gates", DEPTH[main] + 12, main, 1)
    add("terminal", rng.uniform(26, 44))
    add("road", 18)
    add("carpark", rng.uniform(60, 90))
    add("grass", 120)
    return tuple(bands)
