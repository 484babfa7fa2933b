"""Airports: a palette and a cross-section of bands that several scenes share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aerodet.synth.look import Look
from aerodet.synth.solids import Floats

__all__ = ["Airport", "Band", "airport"]

# Metres between neighbouring stands, and from nose to tail of a stand, by the fleet that they are made for.
PITCH = {"light": 16, "business": 31, "fighter": 21, "regional": 38, "narrow": 44, "wide": 76, "military": 58}
DEPTH = {"light": 14, "business": 36, "fighter": 26, "regional": 44, "narrow": 56, "wide": 84, "military": 62}
_TURNED = ("light", "business", "fighter", "regional", "military")  # fleets whose stands may be turned out of the row


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


def airport(look: Look, seed: int, number: int) -> Airport:
    """Return airport ``number`` of the world that ``seed`` and the look's name stand for."""
    rng = np.random.default_rng([seed, number, 1])

    def pick(name: str) -> Floats:
        colours = look.palette[name]
        colour = np.array(colours[int(rng.integers(len(colours)))])
        drawn = colour + rng.normal(0, look.ground.spread) + rng.normal(0, look.ground.hue, 3)
        return np.clip(drawn, 8, 250).astype(np.float32)

    surfaces = {name: pick(name) for name in ("concrete", "asphalt", "runway", "grass")}
    roofs = np.array([pick("roof") for _ in range(4)])
    return Airport(
        name=f"{look.name}-{seed}-airport-{number:03d}",
        bands=_cross_section(look, rng),
        surfaces=surfaces,
        roofs=roofs,
        marking=pick("marking"),
        slab=float(rng.choice([5.0, 6.0, 7.5])),
        joints=float(rng.uniform(0.1, 1.0)),
        bearing=float(rng.uniform(0, 2 * np.pi)),
    )


def _cross_section(look: Look, rng: np.random.Generator) -> tuple[Band, ...]:
    """Stack bands from a remote apron over the runway to the passenger terminal."""
    bands: list[Band] = []
    edge = 0.0

    def add(kind: str, depth: float, fleet: str = "", facing: int = 1, slant: float = 0.0) -> None:
        nonlocal edge
        bands.append(Band(kind, edge, edge + depth, fleet, facing, slant, float(rng.uniform(0.93, 1.07))))
        edge += depth

    shares = np.array(list(look.fleets.values()))
    remote = str(rng.choice(list(look.fleets), p=shares / shares.sum()))
    slant = float(rng.choice([0, 0, 0.5, -0.5, 0.78])) if remote in _TURNED else 0.0
    add("grass", 90)
    add("road", 14)
    add("hangars", rng.uniform(50, 70))
    lane = (14, 22) if remote == "light" else (30, 44)
    for facing in (-1, 1, -1, 1) if remote == "light" else (-1, 1):  # tie-downs come in many rows
        add("stands", DEPTH[remote], remote, facing, slant)
        if facing < 0:
            add("lane", rng.uniform(*lane))
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
    if rng.random() < 0.55:  # a pier: gates on its other side too, and once more apron
        add("gates", DEPTH[main] + 12, main, -1)
        add("lane", rng.uniform(34, 60))
        if rng.random() < 0.5:
            add("stands", DEPTH[main], main, int(rng.choice([-1, 1])))
            add("lane", rng.uniform(30, 44))
        add("gates", DEPTH[main] + 12, main, 1)
        add("terminal", rng.uniform(26, 50))
    add("road", 18)
    add("carpark" if rng.random() < 0.5 else "hangars", rng.uniform(60, 90))
    add("grass", 120)
    return tuple(bands)
