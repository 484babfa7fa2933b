"""Pavement: what years of use leave on a scene's ground, and the taxiways that cross its grass."""

from __future__ import annotations

import numpy as np

from aerodet.synth.airports import Band
from aerodet.synth.ground import WHITE, arc
from aerodet.synth.layout import Site
from aerodet.synth.solids import Floats

__all__ = ["connectors", "wear"]

_PAVED = ("runway", "taxiway", "lane", "stands", "gates")
_RED = (176, 70, 58)


def connectors(site: Site) -> None:
    """Lay taxiways across grass that lies between two pavements, so that it is left as islands with round ends."""
    bands = site.airport.bands
    for before, grass, after in zip(bands, bands[1:], bands[2:], strict=False):
        if grass.kind == "grass" and before.kind in _PAVED and after.kind in _PAVED and grass in site.bands:
            # The airport's own draw: scenes of one airport that overlap show the same crossings.
            rng = np.random.default_rng([int(grass.low * 10), int(grass.high * 10), 5])
            gap, shift = rng.uniform(110, 320), rng.uniform(-300, 300)
            slants = rng.choice([0.0, 0.0, 0.9, -0.9, 1.5], 64)
            first = int(np.floor((site.reach[0] - shift) / gap)) - 1
            for number in range(first, first + int((site.reach[1] - site.reach[0]) / gap) + 4):
                if (number * 7) % 5 != 2:  # not every crossing is built
                    _connect(site, (before, grass, after), shift + number * gap, float(slants[number % 64]))


def wear(site: Site) -> None:
    """Leave repairs, tracks of tyres, scorched stands and small markings on the aprons."""
    rng, ground = site.rng, site.ground
    for band in site.bands:
        if band.kind not in ("stands", "gates", "lane", "taxiway"):
            continue
        depth, reach = band.high - band.low, site.reach[1] - site.reach[0]
        worn = ground.texture * depth * reach / 10_000  # hectares
        for _ in range(rng.poisson(1.6 * worn)):
            size = site.airport.slab * rng.integers(1, 7, 2)
            place = (rng.uniform(*site.reach), rng.uniform(band.low, band.high))
            surface = "asphalt" if rng.random() < 0.12 else "concrete"
            ground.area(_clipped(place, size, band), surface, rng.choice([0.78, 0.86, 0.92, 1.06, 1.12]))
        for _ in range(rng.poisson(4.0 * worn)):
            ground.track(_sweep(band, site), rng.uniform(0.6, 5), rng.uniform(0.03, 0.16))
        for _ in range(rng.poisson(5.0 * worn)):
            centre = (rng.uniform(*site.reach), rng.uniform(band.low, band.high))
            ground.stain(arc(centre, rng.uniform(0.6, 4.5), 0, 2 * np.pi), rng.uniform(0.05, 0.3))
        if band.kind in ("stands", "gates"):
            _small_markings(band, site, worn)


def _connect(site: Site, bands: tuple[Band, Band, Band], u: float, slant: float) -> None:
    """Lay one taxiway over the middle band: straight, with edges that open towards both pavements."""
    before, grass, after = bands
    depth, half = grass.high - grass.low, 12.0
    radius = min(22.0, depth / 2)
    along = np.linspace(0, 1, 33)
    ends = np.minimum(along, 1 - along) * depth  # metres to the nearer pavement
    flare = radius - np.sqrt(np.maximum(radius**2 - np.maximum(radius - ends, 0) ** 2, 0))
    middle = u + slant * depth * (along - 0.5)
    # Half a metre over the edges: no seam shows where two areas meet.
    v = np.clip(grass.low + along * depth, grass.low + 0.01, grass.high - 0.01) + np.where(along < 0.5, -0.5, 0.5)
    left, right = np.column_stack([middle - half - flare, v]), np.column_stack([middle + half + flare, v])
    surface = "concrete" if before.kind == after.kind == "stands" else "asphalt"
    site.ground.area(np.vstack([left, right[::-1]]), surface, grass.tone)
    site.ground.line(left, 0.35)
    site.ground.line(right, 0.35)
    straight = np.column_stack([middle[4:-4], v[4:-4]])
    site.ground.line(straight, 0.5)
    site.ground.track(straight, 8, 0.08)
    for place, target in ((straight[0], before.middle), (straight[-1], after.middle)):
        for side in (-1, 1):
            lead = np.array([place[0] + side * 34, target])
            bend = np.array([place[0] + slant * (target - place[1]) * 0.5, target])
            site.ground.line(_curve(place, bend, lead), 0.5)


def _small_markings(band: Band, site: Site, worn: float) -> None:
    """Boxes for equipment, safety lines and a service road's edges."""
    rng, ground = site.rng, site.ground
    for _ in range(rng.poisson(2.0 * worn)):
        place = np.array([rng.uniform(*site.reach), rng.uniform(band.low, band.high)])
        width, height = rng.uniform(4, 26), rng.uniform(3, 12)
        corners = place + np.array([[0, 0], [width, 0], [width, height], [0, height]])
        colour = WHITE if rng.random() < 0.6 else _RED
        ground.line(corners, rng.uniform(0.15, 0.4), colour, closed=True)
    if rng.random() < 0.5:
        edge = band.high - rng.uniform(6, 10) if band.facing > 0 else band.low + rng.uniform(6, 10)
        for offset in (0.0, 7.0):
            v = edge - band.facing * offset
            ground.line([(site.reach[0], v), (site.reach[1], v)], 0.25, WHITE)


def _sweep(band: Band, site: Site) -> Floats:
    """The way of something that turned on the band."""
    rng = site.rng
    start = np.array([rng.uniform(*site.reach), rng.uniform(band.low, band.high)])
    bend = start + rng.normal(0, 30, 2)
    return _curve(start, bend, bend + rng.normal(0, 30, 2))


def _clipped(centre: tuple[float, float], size: np.ndarray, band: Band) -> Floats:
    low = np.maximum(np.array(centre) - size / 2, [-np.inf, band.low])
    high = np.minimum(np.array(centre) + size / 2, [np.inf, band.high])
    return np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]], np.float32)


def _curve(start: np.ndarray, bend: np.ndarray, stop: np.ndarray) -> Floats:
    """Points [12,2] of a parabola that leaves ``start`` towards ``bend`` and arrives at ``stop`` from it."""
    t = np.linspace(0, 1, 12)[:, None]
    return np.asarray((1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * stop, np.float32)
