"""Furniture: buildings, service vehicles, parked cars, trees and objects easily mistaken for aircraft."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from aerodet.synth.airports import Airport, Band
from aerodet.synth.ground import WHITE, arc
from aerodet.synth.layout import Parked, Site, Spot
from aerodet.synth.solids import Floats, Solid, box, gable, lamp, merge

__all__ = ["buildings", "decoys", "dress_stand", "equipment", "landside", "vehicles"]

_PAINTS = np.array(
    [
        *([236, 236, 232], [214, 176, 60], [176, 178, 180], [84, 92, 110]),
        *([150, 48, 42], [58, 60, 64], [60, 104, 150], [120, 132, 96]),
    ],
    np.float32,
)
_PAINT_SHARES = [0.4, 0.14, 0.14, 0.08, 0.06, 0.06, 0.07, 0.05]
_CARS = np.array(
    [[214, 214, 212], [58, 60, 64], [150, 152, 156], [98, 102, 108], [122, 44, 42], [52, 70, 108]], np.float32
)


def buildings(band: Band, site: Site) -> list[Solid]:
    """Return the halls of a "terminal" or "hangars" band."""
    rng, (left, right) = site.rng, site.reach
    halls = []
    u, depth = left - rng.uniform(0, 120), band.high - band.low
    while u < right:
        if band.kind == "terminal":
            length, gap = rng.uniform(110, 280), rng.choice([0.0, 0.0, 18.0, 40.0])
            hall = _terminal(length, depth - 3, site.airport, rng)
        else:
            length, gap = rng.uniform(38, 78), rng.uniform(8, 40)
            hall = _hangar(length, depth - rng.uniform(6, 18), site.airport, rng)
        halls.append(hall.placed(u + length / 2, band.middle))
        u += length + gap
    return halls


def dress_stand(spot: Spot, aircraft: Parked | None, side: int, site: Site) -> Solid | None:
    """Paint a stand's lines, which bend to one ``side`` (+1 or -1), and stains; return the jet bridge of a gate."""
    if spot.kind not in ("stands", "gates"):
        return None
    ground, rng = site.ground, site.rng
    length = aircraft.kind.length if aircraft else 40.0
    ground.line([spot.behind(-1), spot.behind(length + 4)], 0.5)
    ground.line([spot.behind(3, -3), spot.behind(3, 3)], 0.5)
    start, way = (length + 4, 1) if spot.nose_in else (-1, -1)
    turns = np.linspace(0, np.pi / 2, 7)
    ground.line([spot.behind(start + way * 18 * np.sin(a), side * 18 * (1 - np.cos(a))) for a in turns], 0.5)
    for place in rng.normal(0.45, 0.2, rng.poisson(2.5)):
        u, v = spot.behind(place * length, rng.normal(0, 4))
        ground.stain(arc((u, v), rng.uniform(0.8, 3.2), 0, 2 * np.pi), ground.texture * rng.uniform(0.08, 0.35))
    if rng.random() < 0.12 * ground.texture:  # a repaired slab
        u, v = spot.behind(rng.uniform(0, length), rng.normal(0, 10))
        half = site.airport.slab * rng.integers(1, 3)
        ground.area(_rectangle((u, v), half, half), "concrete", rng.choice([0.8, 0.88, 1.1]))
    return _bridge(spot, aircraft, rng) if spot.kind == "gates" else None


def vehicles(site: Site) -> list[Solid]:
    """Return service vehicles around the parked aircraft, along the edges of aprons and on roads."""
    rng, clutter = site.rng, site.look.clutter.vehicles
    places: list[tuple[float, float, float]] = []
    for aircraft in site.parked:
        if aircraft.spot.kind in ("stands", "gates"):
            for _ in range(rng.poisson(4 * clutter)):
                along = rng.uniform(-6, aircraft.kind.length)
                aside = rng.choice([-1, 1]) * rng.uniform(3.5, aircraft.kind.span / 2)
                heading = aircraft.spot.heading + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1)
                places.append((*aircraft.spot.behind(along, aside), heading))
    for band in site.bands:
        if band.kind in ("stands", "gates"):
            edge = band.high if band.kind == "gates" or band.facing < 0 else band.low
            for _ in range(rng.poisson(9 * clutter)):
                heading = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.05)
                places.append((rng.uniform(*site.reach), edge - rng.uniform(1, 9), heading))
        elif band.kind == "road":
            for _ in range(rng.poisson(4 * clutter)):
                lane = rng.choice([-1, 1]) * (band.high - band.low) / 4
                places.append((rng.uniform(*site.reach), band.middle + lane, 0.0))
    seen = site.camera.sees(np.array(places, np.float32).reshape(-1, 3)[:, :2], 10)
    found = [_vehicle(rng).placed(*place) for place, visible in zip(places, seen, strict=True) if visible]
    return [vehicle for vehicle in found if site.occupancy.claim(vehicle, 0.5)]


def equipment(site: Site) -> list[Solid]:
    """Return rows of containers, dollies and steps that wait beside the stands."""
    rng, found = site.rng, []
    for band in site.bands:
        if band.kind not in ("stands", "gates") or band.fleet in ("light", "fighter"):
            continue
        for _ in range(rng.poisson(3.5 * site.look.clutter.equipment)):
            edge = band.high - rng.uniform(2, 14) if rng.random() < 0.7 else band.low + rng.uniform(2, 14)
            heading = rng.choice([0, np.pi / 2, rng.normal(0, 0.4)])
            block = _equipment(rng).placed(rng.uniform(*site.reach), edge, heading)
            if site.camera.sees(block.faces[:1, 0, :2], 20).all() and site.occupancy.claim(block, 1.0):
                found.append(block)
    return found


def landside(site: Site) -> None:
    """Paint parked cars and trees, seen from above, straight onto the ground."""
    for band in site.bands:
        if band.kind == "carpark":
            _park_cars(band, site)
        elif band.kind == "grass" and band.high - band.low >= 90:
            _plant_trees(band, site)


def decoys(site: Site) -> list[Solid]:
    """Return things easily mistaken for aircraft: crosses, cross-shaped halls, masts, trailers, cranes."""
    rng = site.rng
    found: list[Solid] = []
    makers: list[Callable[[np.random.Generator], Solid]] = [_mast, _mast, _trailers, _crane, _containers]
    half = site.camera.size * site.camera.gsd / 2
    for _ in range(rng.poisson(1.8 * site.look.clutter.decoys)):
        u, v = np.array(site.camera.centre) + rng.uniform(-half, half, 2)
        kind = next((b.kind for b in site.bands if b.low <= v < b.high), "grass")
        heading = rng.uniform(0, 2 * np.pi)
        if kind not in ("grass", "stands", "gates", "hangars"):
            continue
        if rng.random() < 0.2:
            _ground_cross((u, v), heading, site)
            continue
        make = _cross_hall if kind == "grass" else makers[rng.integers(len(makers))]
        solid = make(rng).placed(u, v, heading)
        if site.occupancy.claim(solid, 3.0):
            found.append(solid)
    return found


def _rectangle(centre: tuple[float, float], u: float, v: float) -> Floats:
    return np.array(centre, np.float32) + np.array([[-u, -v], [u, -v], [u, v], [-u, v]], np.float32)


def _park_cars(band: Band, site: Site) -> None:
    rng, camera = site.rng, site.camera
    columns, rows = np.arange(*site.reach, 2.8), np.arange(band.low + 5, band.high - 4, 8.2)
    centres = np.array(np.meshgrid(columns, rows)).reshape(2, -1).T
    centres = centres + rng.normal(0, 0.2, centres.shape)
    filled = rng.random(len(centres)) < rng.uniform(0.25, 0.7) * min(1.0, site.look.clutter.vehicles + 0.2)
    centres = centres[filled & camera.sees(centres)]
    _stamp(centres, _rectangle((0, 0), 0.95, 2.3), 1.4, _CARS[rng.integers(len(_CARS), size=len(centres))], site)


def _plant_trees(band: Band, site: Site) -> None:
    rng, count = site.rng, site.rng.poisson(26 * site.look.clutter.vehicles)
    centres = np.column_stack([rng.uniform(*site.reach, count), rng.uniform(band.low + 4, band.high - 4, count)])
    leaves = site.airport.surfaces["grass"] * rng.uniform(0.5, 0.8, (count, 1))
    _stamp(centres, arc((0, 0), rng.uniform(2.0, 4.5), 0, 2 * np.pi, 9), 6.0, leaves, site)


def _stamp(centres: ArrayLike, outline: Floats, height: float, colours: ArrayLike, site: Site) -> None:
    """Paint one outline [K,2] at many centres [N,2], each with its shadow."""
    shapes = np.asarray(centres)[:, None] + outline
    u, v, z = site.camera.sun
    dark = site.airport.surfaces["asphalt"] * 0.45
    site.ground.patches(shapes - height * np.array([u / z, v / z]), np.tile(dark, (len(shapes), 1)))
    site.ground.patches(shapes, colours)


def _terminal(length: float, width: float, airport: Airport, rng: np.random.Generator) -> Solid:
    roof = airport.roofs[rng.integers(len(airport.roofs))]
    wall, height = roof * 0.72, rng.uniform(10, 17)
    deck = roof * rng.uniform(0.86, 0.97)
    parts = [box((length, width, height), wall, roof), box((length - 3, width - 3, 0.2), deck, deck, base=height)]
    if rng.random() < 0.5:  # a raised hall along the middle
        parts.append(box((length * rng.uniform(0.5, 0.95), width * 0.4, 3.5), wall, roof * 1.04, base=height))
    else:
        light = box((2.2, width * 0.6, 0.5), wall, roof * 0.62, base=height)
        parts += [light.placed(u, 0) for u in np.arange(-length / 2 + 9, length / 2 - 6, rng.uniform(9, 16))]
    for _ in range(rng.integers(3, 9)):  # plant
        u, v = rng.uniform(-length / 2 + 4, length / 2 - 4), rng.uniform(-width / 2 + 3, width / 2 - 3)
        size = (rng.uniform(2, 7), rng.uniform(2, 5), 2.2)
        parts.append(box(size, wall * 0.8, roof * rng.uniform(0.6, 1.1), base=height).placed(u, v))
    return merge(parts)


def _hangar(length: float, width: float, airport: Airport, rng: np.random.Generator) -> Solid:
    roof = airport.roofs[rng.integers(len(airport.roofs))]
    wall, eaves = roof * 0.75, rng.uniform(8, 15)
    if rng.random() < 0.6:
        return gable((length, width), (eaves, eaves + rng.uniform(2, 5)), wall, roof)
    rib = box((1.4, width * 0.9, 0.5), roof * 0.7, roof * 0.8, base=eaves)
    ribs = [rib.placed(u, 0) for u in np.arange(-length / 2 + 6, length / 2 - 3, rng.uniform(7, 12))]
    return merge([box((length, width, eaves), wall, roof), *ribs])


def _bridge(spot: Spot, aircraft: Parked | None, rng: np.random.Generator) -> Solid:
    """A rotunda at the terminal, a tunnel and a cabin at the left front door, or drawn back at an empty gate."""
    root = np.array(spot.behind(-14, 11))
    if aircraft:
        door = np.array(spot.behind(aircraft.kind.length * 0.13, aircraft.kind.width / 2 + 2))
    else:
        door = np.array(spot.behind(-2, 13))
    delta = door - root
    length, heading = float(np.hypot(*delta)), float(np.arctan2(delta[1], delta[0]))
    paint = np.full(3, rng.uniform(150, 215))
    middle = (root + door) / 2
    tunnel = box((length, 3.0, 2.8), paint * 0.7, paint, base=3.0).placed(middle[0], middle[1], heading)
    cabin = box((4.2, 4.2, 3.4), paint * 0.6, paint * 0.85, base=2.8).placed(door[0], door[1], heading)
    rotunda = box((5.0, 5.0, 3.6), paint * 0.6, paint * 0.95, base=2.8).placed(root[0], root[1], heading + 0.6)
    return merge([tunnel, cabin, rotunda])


def _vehicle(rng: np.random.Generator) -> Solid:
    paint = _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)] * rng.uniform(0.8, 1.0)
    wall, load = paint * 0.6, _PAINTS[rng.integers(4)]
    match rng.integers(5):
        case 0:  # car or van
            return box((rng.uniform(4, 6), 2.0, 1.9), wall, paint)
        case 1:  # lorry: cab and box
            return merge([box((6.5, 2.6, 3.2), load * 0.7, load), box((2.0, 2.4, 2.4), wall, paint).placed(4.6, 0)])
        case 2:  # bus
            return box((13, 3.0, 3.0), wall, paint)
        case 3:  # tug and dollies
            dolly = box((2.8, 1.7, 1.5), load * 0.5, load)
            dollies = [dolly.placed(-4.0 * i, 0) for i in range(1, rng.integers(3, 6))]
            return merge([box((2.6, 1.6, 1.5), wall, paint), *dollies])
        case _:  # tanker
            return merge([box((9, 2.6, 2.6), wall, paint * 0.95), box((8, 1.0, 0.4), paint, paint * 1.05, base=2.6)])


def _equipment(rng: np.random.Generator) -> Solid:
    """A block of small things of one kind in rows, with gaps."""
    size = [(1.6, 1.5, 1.6), (3.2, 2.4, 1.7), (2.8, 1.6, 0.5), (7.0, 2.2, 2.6)][rng.integers(4)]
    bright = rng.random() < 0.6
    columns, rows = rng.integers(2, 9), rng.integers(1, 4)
    parts = []
    for column in range(columns):
        for row in range(rows):
            if rng.random() < 0.2:
                continue
            paint = np.full(3, rng.uniform(190, 250)) if bright else _PAINTS[rng.integers(len(_PAINTS))]
            part = box(size, paint * 0.65, paint * rng.uniform(0.85, 1.0))
            parts.append(part.placed(column * (size[0] + 0.7), row * (size[1] + 0.9), rng.normal(0, 0.04)))
    return merge(parts or [box(size, _PAINTS[0] * 0.65, _PAINTS[0])])


def _cross_hall(rng: np.random.Generator) -> Solid:
    """Two halls that cross, of an airliner's size and paint."""
    paint = np.full(3, rng.uniform(150, 245))
    length, width, height = rng.uniform(24, 46), rng.uniform(4, 8), rng.uniform(3, 6)
    wing = box((width * rng.uniform(0.8, 1.4), length * rng.uniform(0.5, 0.9), height), paint * 0.7, paint * 0.96)
    return merge([box((length, width, height), paint * 0.7, paint), wing.placed(rng.uniform(-0.4, 0.4) * length, 0)])


def _mast(rng: np.random.Generator) -> Solid:
    return lamp(rng.uniform(18, 32), rng.uniform(4, 9), np.full(3, 170.0))


def _trailers(rng: np.random.Generator) -> Solid:
    """Trailers parked side by side."""
    paint = _PAINTS[rng.integers(3)]
    trailer = box((12, 2.6, 3.6), paint * 0.7, paint)
    return merge([trailer.placed(rng.normal(0, 0.6), 3.6 * i) for i in range(rng.integers(2, 7))])


def _crane(rng: np.random.Generator) -> Solid:
    """A mobile crane with a long thin jib."""
    paint = np.array([206, 166, 54]) * rng.uniform(0.8, 1.1)
    jib = box((rng.uniform(25, 42), 1.3, 1.2), paint * 0.7, paint, base=9).placed(10, 0, rng.normal(0, 0.2))
    cabin = box((5, 4, 2), paint * 0.6, paint * 0.9, base=3)
    return merge([box((12, 3, 3), paint * 0.6, paint), cabin, jib])


def _containers(rng: np.random.Generator) -> Solid:
    """Freight containers in a loose block."""
    found = []
    for column in range(rng.integers(2, 7)):
        for row in range(rng.integers(1, 4)):
            paint = np.array([190, 192, 194]) * rng.uniform(0.6, 1.15)
            can = box((3.0, 2.3, 1.6), paint * 0.7, paint)
            found.append(can.placed(column * 3.4 + rng.normal(0, 0.2), row * 2.8))
    return merge(found)


def _ground_cross(place: tuple[float, float], heading: float, site: Site) -> None:
    """A painted cross, as closed taxiways carry, or a helipad."""
    ground, rng = site.ground, site.rng
    reach, width = rng.uniform(9, 20), rng.uniform(1.5, 3.5)
    colour: ArrayLike = WHITE if rng.random() < 0.5 else site.airport.marking
    if rng.random() < 0.3:
        ground.area(arc(place, reach + 4, 0, 2 * np.pi, 24), "asphalt")
        ground.line(arc(place, reach, 0, 2 * np.pi, 24), 1.0, WHITE, closed=True)
        reach *= 0.5
    for angle in (heading, heading + np.pi / 2):
        step = reach * np.array([np.cos(angle), np.sin(angle)])
        ground.line([np.array(place) - step, np.array(place) + step], width, colour)
