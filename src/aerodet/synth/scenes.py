"""Scenes: one overhead picture of an airport with the boxes of its aircraft."""

from __future__ import annotations

import math
import multiprocessing
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.errors import SpecError
from aerodet.synth.airports import Airport, airport
from aerodet.synth.expose import expose, through_air
from aerodet.synth.furniture import buildings, decoys, dress_stand, equipment, landside, vehicles
from aerodet.synth.ground import Ground, mark_band
from aerodet.synth.layout import Occupancy, Parked, Site, aim, park, spots
from aerodet.synth.look import Look, load_look
from aerodet.synth.pavement import connectors, wear
from aerodet.synth.solids import Camera, Floats, Layer, Solid, merge, paint_solids, shadow_mask, silhouette_area
from aerodet.synth.types import TYPES, AircraftType

__all__ = ["CLASSES", "Scene", "SceneSettings", "render_scene", "render_scenes"]

CLASSES = ("aircraft",)

_SMALLEST = 20  # pixels: a type shorter and narrower than this is left out
_THING, _FIRST = 1, 2  # owners in a layer: 1 is any thing, 2 and up are aircraft
_CHUNK = 8  # scenes per task of a worker process


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What scenes to render.

    Attributes:
        size: side of the square picture in pixels, a multiple of 16.
        gsd: ground sample distance in metres per pixel. Aircraft keep their true size: an A320 is 38 px long at 1.0.
        look: what is drawn at random, see :func:`aerodet.synth.load_look`.
        aircraft: mean number of aircraft in a scene that has any; crowding may leave fewer.
        empty: share of scenes without aircraft, 0..1.
        scenes_per_airport: scenes that share an airport, and so a group.

    Raises:
        SpecError: a value is out of its limits.
    """

    size: int = 256
    gsd: float = 1.0
    look: Look = field(default_factory=lambda: load_look("sensor"))
    aircraft: float = 5.0
    empty: float = 0.1
    scenes_per_airport: int = 8

    def __post_init__(self) -> None:
        def require(fits: bool, name: str, rule: str) -> None:  # noqa: FBT001
            if not fits:
                raise SpecError(f"scene setting {name}={getattr(self, name)!r} is out of its limits; {rule}")

        require(64 <= self.size <= 2048 and self.size % 16 == 0, "size", "give a multiple of 16 from 64 to 2048 pixels")
        require(0.2 <= self.gsd <= 2.0, "gsd", "give 0.2 to 2.0 metres per pixel")
        require(1 <= self.aircraft <= 40, "aircraft", "give a mean from 1 to 40 aircraft a scene")
        require(0 <= self.empty <= 1, "empty", "give a share from 0 to 1")
        require(self.scenes_per_airport >= 1, "scenes_per_airport", "give 1 or more")
        low, high = (self.gsd * zoom for zoom in self.look.view.zoom)
        require(low >= 0.1 and high <= 4, "gsd", "its zooms (view.zoom of the look) must stay within 0.1 to 4 m/px")
        reach = self.size * low
        if reach < 100:
            raise SpecError(
                f"scenes of size={self.size} px and gsd={self.gsd} m/px span {reach:.0f} m, too little for aircraft; "
                "raise one so that they span 100 m or more"
            )


def _visible_types(gsd: float) -> list[AircraftType]:
    """Return the aircraft types that are large enough to be seen at a ground sample distance."""
    return [t for t in TYPES.values() if max(t.length, t.span) / gsd >= _SMALLEST]


@dataclass(frozen=True, slots=True)
class Scene:
    """One rendered scene.

    Attributes:
        image: uint8 [H,W,3] RGB.
        boxes: float32 [N,4] x1,y1,x2,y2 in pixels, around the visible mask of each aircraft, shadows left out:
            tight but for the look's ``labels.margin``.
        labels: int64 [N], indices into :data:`CLASSES`.
        group: the airport; split data sets by it.
        masks: bool [N,H,W], the pixels that the aircraft covers by half or more.
        details: of each aircraft: RarePlanes' attributes of its type, its ``visible_fraction`` (0..1, the share of its
            silhouette that the picture shows) and its ``heading`` (degrees clockwise from the picture's top).
        gsd: ground sample distance in metres per pixel.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    group: str
    masks: NDArray[np.bool_]
    details: tuple[dict[str, Any], ...]
    gsd: float


def render_scene(settings: SceneSettings, seed: int, index: int) -> Scene:
    """Render one scene; the same settings, seed and index always give the same scene.

    Aircraft cut by the frame stay, labelled, while a quarter of them and seven pixels of either side are inside;
    otherwise they are not drawn at all, so that nothing visible is unlabelled.

    Args:
        settings: what to render.
        seed: names the world, 0 or more: its airports and all that happens on them.
        index: number of the scene in that world, 0 or more.

    Returns:
        The scene.

    Raises:
        SpecError: ``seed`` or ``index`` is negative.
    """
    if seed < 0 or index < 0:
        raise SpecError(f"scene seed={seed} index={index}: both must be 0 or more")
    look = settings.look
    rng = np.random.default_rng([seed, index, 2])
    home = airport(look, seed, index // settings.scenes_per_airport)
    empty = bool(rng.random() < settings.empty)
    count = 0 if empty else max(1, round(rng.normal(settings.aircraft, 0.35 * settings.aircraft)))
    camera = _camera(settings, home, aim(home, rng, empty=empty), rng)
    site = _site(look, home, camera, rng)
    things = _furnish(site, count, _visible_types(camera.gsd))

    ambient = rng.uniform(*look.light.ambient)
    solids = [merge(things), *(p.solid for p in site.parked)]
    owners = [_THING, *range(_FIRST, _FIRST + len(site.parked))]
    layer = paint_solids(solids, owners, camera, ambient)
    ground = site.ground.finish()
    shadow = shadow_mask(solids, camera) if look.light.shadows else np.zeros(ground.shape[:2], np.float32)
    picture = through_air(_lay(ground, shadow, ambient, layer), look.atmosphere, rng)
    masks = np.array([layer.mask(owner) for owner in owners[1:]], bool).reshape(-1, settings.size, settings.size)
    shown = [bool(mask.any()) for mask in masks]  # a jet bridge may hide the little that the frame leaves
    parked = [p for p, seen in zip(site.parked, shown, strict=True) if seen]
    areas = [layer.area(owner) for owner, seen in zip(owners[1:], shown, strict=True) if seen]
    masks = masks[shown]
    image = expose(picture, look.sensor, rng)
    boxes = np.array([_bounds(mask) for mask in masks], np.float32).reshape(-1, 4)
    return Scene(
        image=image,
        boxes=_widened(boxes, look.labels.margin, settings.size, rng),
        labels=np.zeros(len(masks), np.int64),
        group=home.name,
        masks=masks,
        details=tuple(_details(p, area, camera) for p, area in zip(parked, areas, strict=True)),
        gsd=camera.gsd,
    )


def _details(parked: Parked, area: float, camera: Camera) -> dict[str, Any]:
    visible = min(1.0, area / silhouette_area(parked.solid, camera))
    heading = math.degrees(math.pi / 2 - parked.spot.heading - camera.bearing) % 360
    return {**parked.kind.attributes(), "visible_fraction": round(visible, 3), "heading": round(heading, 1)}


def render_scenes(
    settings: SceneSettings, count: int, seed: int, workers: int | None = None, *, first: int = 0
) -> Generator[Scene]:
    """Yield ``count`` scenes in order, the same ones whatever the number of processes.

    Args:
        settings: what to render.
        count: number of scenes.
        seed: names the world.
        workers: processes to start; None or 1 renders in this one. With more, the calling script needs the usual
            ``if __name__ == "__main__":`` guard, because workers are spawned.
        first: number of the first scene.

    Yields:
        One scene after the other; at most a few dozen wait in memory.
    """
    if workers is None or workers <= 1:
        for index in range(first, first + count):
            yield render_scene(settings, seed, index)
        return
    # Spawned, not forked: the caller may hold threads (torch, OpenCV), which a fork copies in an unknown state.
    context = multiprocessing.get_context("spawn")
    stop = first + count
    chunks = iter(range(first, stop, _CHUNK))
    waiting: deque[Future[list[Scene]]] = deque()
    with ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:

        def submit() -> None:
            start = next(chunks, None)
            if start is not None:
                waiting.append(pool.submit(_render_chunk, settings, seed, start, min(start + _CHUNK, stop)))

        for _ in range(2 * workers):
            submit()
        while waiting:
            scenes = waiting.popleft().result()
            submit()
            yield from scenes


def _render_chunk(settings: SceneSettings, seed: int, start: int, stop: int) -> list[Scene]:
    return [render_scene(settings, seed, index) for index in range(start, stop)]


def _camera(settings: SceneSettings, home: Airport, v: float, rng: np.random.Generator) -> Camera:
    look = settings.look
    elevation, azimuth = math.radians(rng.uniform(*look.light.elevation)), rng.uniform(0, 2 * math.pi)
    tilt, towards = math.tan(math.radians(rng.uniform(*look.view.off_nadir))), rng.uniform(0, 2 * math.pi)
    low, high = look.view.zoom
    zoom = low * (high / low) ** rng.random()  # as often half as twice
    level = math.cos(elevation)
    return Camera(
        size=settings.size,
        gsd=settings.gsd * zoom,
        centre=(float(rng.uniform(-800, 800)), v),
        bearing=home.bearing + float(rng.choice([0, math.pi]) + rng.normal(0, 0.35)),
        lean=(tilt * math.cos(towards), tilt * math.sin(towards)),
        sun=(level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)),
    )


def _site(look: Look, home: Airport, camera: Camera, rng: np.random.Generator) -> Site:
    u, v = camera.centre
    half = 0.75 * camera.size * camera.gsd  # half the diagonal and a little more
    snow = rng.uniform(0.2, 1) if rng.random() < look.ground.snow else 0.0
    wet = rng.uniform(0.2, 1) if rng.random() < look.ground.wet else 0.0
    roofs = home.roofs * (1 - 0.9 * snow) + 240 * 0.9 * snow
    home = replace(home, roofs=np.asarray(roofs, np.float32))
    return Site(
        airport=home,
        look=look,
        camera=camera,
        bands=[band for band in home.bands if band.high > v - half and band.low < v + half],
        reach=(u - half, u + half),
        ground=Ground(home, camera, look.ground.texture, rng, snow=snow, wet=wet),
        occupancy=Occupancy(camera),
        rng=rng,
    )


def _furnish(site: Site, count: int, types: list[AircraftType]) -> list[Solid]:
    """Place everything, aircraft before what gives way to them; return all solids but the aircraft."""
    things: list[Solid] = []
    for band in site.bands:
        mark_band(site.ground, band, site.reach)
        if band.kind in ("terminal", "hangars"):
            things += buildings(band, site)
    connectors(site)
    wear(site)
    for thing in things:
        site.occupancy.claim(thing, 0.0)
    places = spots(site)
    site.parked = park(site, places, count, types)
    taken = {parked.spot: parked for parked in site.parked}
    side = 1 if site.rng.random() < 0.5 else -1
    bridges = [dress_stand(spot, taken.get(spot), side, site) for spot in places]
    things += [bridge for bridge in bridges if bridge is not None]
    things += decoys(site)
    things += equipment(site)
    things += vehicles(site)
    landside(site)
    return things


def _lay(ground: Floats, shadow: Floats, ambient: float, layer: Layer) -> Floats:
    """Put shadows, which are lit by the blue sky alone, and then the solids on the ground."""
    sky = ambient * np.array([0.9, 0.97, 1.1], np.float32)
    lit = ground * (1 - shadow[..., None] * (1 - sky))
    return np.asarray(lit * (1 - layer.coverage[..., None]) + layer.colour, np.float32)


def _widened(boxes: Floats, margin: tuple[float, float], size: int, rng: np.random.Generator) -> Floats:
    """Return the boxes [N,4] as somebody draws them who leaves a margin, cut at the frame."""
    if margin[1] == 0:
        return boxes
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    grown = boxes + sides * rng.uniform(*margin, boxes.shape) * [-1, -1, 1, 1]
    return np.asarray(np.clip(grown, 0, size), np.float32)


def _bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + width, y + height
