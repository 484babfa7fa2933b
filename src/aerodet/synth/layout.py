"""Layout: where aircraft, buildings, vehicles and the things that look like aircraft stand in one scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.synth.aircraft import aircraft_solid, paint_livery
from aerodet.synth.airports import PITCH, Airport, Band
from aerodet.synth.ground import Ground
from aerodet.synth.look import Look
from aerodet.synth.solids import Camera, Solid
from aerodet.synth.types import AircraftType

__all__ = ["Occupancy", "Parked", "Site", "Spot", "aim", "park", "spots"]

_INTEREST = {"stands": 3.0, "gates": 4.0, "taxiway": 1.0, "lane": 1.5, "runway": 0.6}  # as the middle of a picture
_LIKING = {"stands": 1.0, "gates": 1.0, "lane": 0.35, "taxiway": 0.6, "runway": 0.5}  # as a place for an aircraft
_SIDE = 7  # pixels: what shows less than this of an aircraft is not drawn at all
_SHARE = 0.25  # nor is an aircraft of which less than this share lies inside the picture


@dataclass(frozen=True, slots=True)
class Spot:
    """A place for one aircraft: its nose stands at (u, v) and points along ``heading`` (radians)."""

    u: float
    v: float
    heading: float
    fleet: str
    kind: str  # "stands", "gates", "lane", "taxiway" or "runway"
    nose_in: bool = False  # the lane it came from lies behind it

    def behind(self, distance: float, aside: float = 0.0) -> tuple[float, float]:
        """Return the point ``distance`` metres behind the nose and ``aside`` metres to the left."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return self.u - cos * distance - sin * aside, self.v - sin * distance + cos * aside


@dataclass(frozen=True, slots=True)
class Parked:
    """An aircraft in its place."""

    spot: Spot
    kind: AircraftType
    solid: Solid


class Occupancy:
    """Which pixels of a scene, and of a margin around it, something already stands on."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._margin = round(90 / camera.gsd)
        side = camera.size + 2 * self._margin
        self._taken = np.zeros((side, side), np.uint8)

    def claim(self, solid: Solid, clearance: float, *, framed: bool = False) -> bool:
        """Take a solid's place with ``clearance`` metres around it, if it is free.

        Args:
            solid: what shall stand there.
            clearance: metres to leave to its neighbours.
            framed: refuse a solid of which too little lies inside the picture.

        Returns:
            Whether the place was free and is now taken.
        """
        corners = np.rint(self._camera.pixels(solid.faces) - 0.5).astype(np.int32) + self._margin
        grow = max(1, round(clearance / self._camera.gsd))
        low = np.maximum(corners.min(axis=(0, 1)) - grow, 0)
        high = np.minimum(corners.max(axis=(0, 1)) + grow + 1, self._taken.shape[0])
        if (high <= low).any():
            return False
        shape = np.zeros((high - low)[::-1], np.uint8)
        for corner in corners - low.astype(np.int32):
            cv2.fillConvexPoly(shape, corner, 255)
        if framed and not self._shows(shape, low):
            return False
        view = self._taken[low[1] : high[1], low[0] : high[0]]
        grown = np.asarray(cv2.dilate(shape, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)), np.uint8)
        if (view & grown).any():
            return False
        view |= shape
        return True

    def _shows(self, shape: NDArray[np.uint8], low: NDArray[np.int64]) -> bool:
        left, top = np.maximum(self._margin - low, 0)
        right, bottom = np.maximum(self._margin + self._camera.size - low, 0)
        inside = shape[top:bottom, left:right]
        if cv2.countNonZero(inside) < _SHARE * cv2.countNonZero(shape) if inside.size else True:
            return False
        _, _, width, height = cv2.boundingRect(inside)
        return min(width, height) >= _SIDE


@dataclass(slots=True)
class Site:
    """A scene under construction: what is given and what has been placed so far.

    Attributes:
        airport: bands and colours.
        look: clutter and liveries.
        camera: the view.
        bands: those of the airport's bands that the picture shows.
        reach: lowest and highest u that matter.
        ground: what lines and stains are painted on.
        occupancy: what is taken.
        rng: source of all choices.
        parked: aircraft placed so far.
    """

    airport: Airport
    look: Look
    camera: Camera
    bands: list[Band]
    reach: tuple[float, float]
    ground: Ground
    occupancy: Occupancy
    rng: np.random.Generator
    parked: list[Parked] = field(default_factory=list)


def aim(airport: Airport, rng: np.random.Generator, *, empty: bool) -> float:
    """Choose the v that a scene is centred on: mostly where aircraft park, anywhere when the scene shall be empty."""
    weights = np.array([1.0 if empty else _INTEREST.get(band.kind, 0.0) for band in airport.bands])
    band = airport.bands[rng.choice(len(airport.bands), p=weights / weights.sum())]
    return float(band.middle + rng.normal(0, 25))


def spots(site: Site) -> list[Spot]:
    """List the places for aircraft whose noses lie in or near the picture."""
    found: list[Spot] = []
    for band in site.bands:
        if band.kind in ("stands", "gates"):
            found += _row(band, site)
        elif band.kind in ("lane", "taxiway", "runway"):
            found += _queue(band, site)
    scatter = site.look.layout.scatter
    if scatter > 0:
        found = [_anywhere(spot, site) if site.rng.random() < scatter else spot for spot in found]
    places = np.array([spot.behind(18) for spot in found], np.float32).reshape(-1, 2)
    keep = site.camera.sees(places, margin=12)
    return [spot for spot, seen in zip(found, keep, strict=True) if seen]


def park(site: Site, places: Sequence[Spot], count: int, types: Sequence[AircraftType]) -> list[Parked]:
    """Fill up to ``count`` of the places with aircraft that fit and do not overlap in the picture."""
    rng = site.rng
    liking = np.array([_LIKING[spot.kind] for spot in places])
    # Weighted order without replacement (Efraimidis and Spirakis, 2006).
    order = np.argsort(-(rng.random(len(places)) ** (1 / liking))).tolist()
    parked: list[Parked] = []
    while order and len(parked) < count:
        spot = places[order.pop(0)]
        fitting = [t for t in types if t.fleet == spot.fleet] or list(types)
        kind = fitting[rng.integers(len(fitting))]
        if kind.span > PITCH[spot.fleet] + 4:
            continue
        model = aircraft_solid(kind, paint_livery(rng, _scheme(kind, site.look, rng)), _wear(site.look, rng))
        u, v = spot.behind(kind.length / 2)
        solid = model.placed(u, v, spot.heading)
        if site.occupancy.claim(solid, 2.0, framed=True):
            parked.append(Parked(spot, kind, solid))
    return parked


def _anywhere(spot: Spot, site: Site) -> Spot:
    """Move a place to anywhere in the bands that the picture shows; nothing belongs to it there."""
    rng = site.rng
    v = rng.uniform(min(band.low for band in site.bands), max(band.high for band in site.bands))
    return Spot(float(rng.uniform(*site.reach)), float(v), float(rng.uniform(-np.pi, np.pi)), spot.fleet, "lane")


def _row(band: Band, site: Site) -> list[Spot]:
    rng, (left, right) = site.rng, site.reach
    pitch = PITCH[band.fleet] / np.cos(band.slant)
    phase = rng.uniform(0, pitch)
    back_in = band.kind == "stands" and band.slant == 0 and rng.random() < 0.3
    facing = -band.facing if back_in else band.facing
    nose = (band.high if facing > 0 else band.low) - facing * (16 if band.kind == "gates" else 6)
    row = []
    for u in np.arange(left + phase, right, pitch):
        turn = rng.normal(0, 0.015) + (rng.normal(0, 0.35) if band.kind == "stands" and rng.random() < 0.06 else 0)
        heading = facing * np.pi / 2 + band.slant + turn
        nose_in = back_in or band.kind == "gates"
        row.append(Spot(float(u), float(nose + rng.normal(0, 0.8)), float(heading), band.fleet, band.kind, nose_in))
    return row


def _queue(band: Band, site: Site) -> list[Spot]:
    """Aircraft that roll along a band, all in one direction."""
    rng, (left, right) = site.rng, site.reach
    heading = 0.0 if rng.random() < 0.5 else np.pi
    gap = {"lane": 150.0, "taxiway": 95.0, "runway": 400.0}[band.kind]
    fleets = ["regional", "narrow", "wide"] if band.high - band.low > 30 else ["regional", "narrow"]
    queue = []
    for u in np.arange(left + rng.uniform(0, gap), right, gap):
        turn = rng.normal(0, 0.02) + (rng.choice([-0.6, 0.6]) if band.kind == "lane" and rng.random() < 0.3 else 0)
        place = (float(u + rng.uniform(-15, 15)), float(band.middle + rng.normal(0, 0.7)))
        queue.append(Spot(*place, float(heading + turn), str(rng.choice(fleets)), band.kind))
    return queue


def _scheme(kind: AircraftType, look: Look, rng: np.random.Generator) -> str:
    if kind.fleet in ("military", "fighter") and look.liveries.get("military"):
        return "military" if rng.random() < 0.85 else "metal"
    shares = np.array(list(look.liveries.values()))
    return str(rng.choice(list(look.liveries), p=shares / shares.sum()))


def _wear(look: Look, rng: np.random.Generator) -> NDArray[np.float32]:
    """A factor for each face, more than any aircraft has; faces of one strip differ like patched panels."""
    overall = 1 - abs(rng.normal(0, look.clutter.wear * 1.5))
    return np.clip(overall + rng.normal(0, look.clutter.wear * 0.5, 400), 0.5, 1.08).astype(np.float32)
