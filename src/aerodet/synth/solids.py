"""Solids made of flat faces, the camera that sees them and the painter that fills them.

Everything is in metres in the *local* frame of a scene: u along the airport, v across it, z up. The camera is an
oblique parallel projection, exact enough for a satellite: a point of height z is shifted by ``lean * z`` in the picture
and its shadow falls at ``-z * sun_uv / sun_z`` on the ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "SHIFT",
    "Camera",
    "Layer",
    "Solid",
    "box",
    "fixed",
    "gable",
    "lamp",
    "loft",
    "merge",
    "paint_solids",
    "shadow_mask",
    "silhouette_area",
]

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SUPERSAMPLE = 3  # picture elements per pixel and axis while solids are painted
SHIFT = 4  # OpenCV's fixed-point fraction bits: polygons keep 1/16 of a picture element


@dataclass(frozen=True, slots=True)
class Solid:
    """Faces with their paint.

    Attributes:
        faces: float32 [F,4,3] corners (u,v,z) in metres, counter-clockwise from outside; a triangle repeats one.
        paint: float32 [F,3] RGB, 0..255, as it looks lying flat in the sun.
    """

    faces: Floats
    paint: Floats

    def placed(self, u: float, v: float, heading: float = 0.0) -> Solid:
        """Return the solid turned by ``heading`` (radians, counter-clockwise from the u axis) and moved to (u, v)."""
        cos, sin = np.cos(heading), np.sin(heading)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
        return Solid(self.faces @ turn + np.array([u, v, 0], np.float32), self.paint)


@dataclass(frozen=True, slots=True)
class Camera:
    """Where a scene is seen from and lit from.

    Attributes:
        size: side of the square picture in pixels.
        gsd: ground sample distance in metres per pixel.
        centre: local (u, v) of the middle of the picture.
        bearing: angle of the u axis in the picture, radians.
        lean: local shift per metre of height, the tangent of the off-nadir angle along (u, v).
        sun: unit vector towards the sun (u, v, z).
    """

    size: int
    gsd: float
    centre: tuple[float, float]
    bearing: float
    lean: tuple[float, float]
    sun: tuple[float, float, float]

    def affine(self) -> NDArray[np.float64]:
        """Return the [2,3] matrix from ground (u, v) in metres to picture (x, y) in pixels."""
        cos, sin = np.cos(self.bearing) / self.gsd, np.sin(self.bearing) / self.gsd
        matrix = np.array([[cos, -sin], [-sin, -cos]])
        offset = self.size / 2 - matrix @ np.array(self.centre)
        return np.column_stack([matrix, offset])

    def pixels(self, points: ArrayLike) -> Floats:
        """Project points [...,2] on the ground or [...,3] in space to pixels [...,2]; pixel i covers i..i+1."""
        points = np.asarray(points, np.float32)
        ground = points[..., :2]
        if points.shape[-1] == 3:
            ground = ground + points[..., 2:] * np.array(self.lean, np.float32)
        matrix = self.affine().astype(np.float32)
        return np.asarray(ground @ matrix[:, :2].T + matrix[:, 2], np.float32)

    def shadows(self, points: Floats) -> Floats:
        """Project points [...,3] along the sun's rays onto the ground, to pixels [...,2]."""
        u, v, z = self.sun
        return self.pixels(points[..., :2] - points[..., 2:] * np.array([u / z, v / z], np.float32))

    def sees(self, points: Floats, margin: float = 0.0) -> NDArray[np.bool_]:
        """Tell which ground points [...,2] fall inside the picture grown by ``margin`` metres."""
        pixels, margin = self.pixels(points), margin / self.gsd
        return np.asarray(((pixels > -margin) & (pixels < self.size + margin)).all(axis=-1))


@dataclass(frozen=True, slots=True)
class Layer:
    """The painted solids of a scene.

    Attributes:
        colour: float32 [H,W,3] RGB, multiplied by the coverage.
        coverage: float32 [H,W], 0..1.
        owners: uint8 [S*H,S*W] owner of each picture element (0: the ground).
    """

    colour: Floats
    coverage: Floats
    owners: Bytes

    def area(self, owner: int) -> float:
        """Return the visible area of an owner in pixels."""
        return float(np.count_nonzero(self.owners == owner)) / SUPERSAMPLE**2

    def mask(self, owner: int) -> NDArray[np.bool_]:
        """Return the visible mask [H,W] of an owner: pixels that it covers by half or more."""
        share = cv2.resize(
            (self.owners == owner).astype(np.uint8) * 255, self.coverage.shape[::-1], interpolation=cv2.INTER_AREA
        )
        return np.asarray(share >= 128)


def merge(solids: Sequence[Solid]) -> Solid:
    """Join solids into one."""
    if not solids:
        return Solid(np.zeros((0, 4, 3), np.float32), np.zeros((0, 3), np.float32))
    return Solid(np.concatenate([s.faces for s in solids]), np.concatenate([s.paint for s in solids]))


def box(size: tuple[float, float, float], wall: ArrayLike, roof: ArrayLike, base: float = 0.0) -> Solid:
    """Return an upright box centred on the origin, ``size`` along (u, v, z), standing at ``base`` metres."""
    u, v, height = size[0] / 2, size[1] / 2, size[2]
    ring = np.array([[-u, -v], [u, -v], [u, v], [-u, v]], np.float32)
    low, high = (np.column_stack([ring, np.full(4, z, np.float32)]) for z in (base, base + height))
    sides = [np.stack([low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]]) for i in range(4)]
    return Solid(np.stack([*sides, high]), np.asarray([wall] * 4 + [roof], np.float32))


def gable(size: tuple[float, float], heights: tuple[float, float], wall: ArrayLike, roof: ArrayLike) -> Solid:
    """Return a hall of ``size`` along (u, v) whose roof rises from the eaves to a ridge along u."""
    (u, v), (eaves, ridge) = (size[0] / 2, size[1] / 2), heights
    slopes = [
        [[-u, -v, eaves], [u, -v, eaves], [u, 0, ridge], [-u, 0, ridge]],
        [[-u, 0, ridge], [u, 0, ridge], [u, v, eaves], [-u, v, eaves]],
    ]
    ends = [
        [[u, -v, eaves], [u, v, eaves], [u, 0, ridge], [u, 0, ridge]],
        [[-u, v, eaves], [-u, -v, eaves], [-u, 0, ridge], [-u, 0, ridge]],
    ]
    top = Solid(np.array(slopes + ends, np.float32), np.asarray([roof, roof, wall, wall], np.float32))
    body = box((*size, eaves), wall, roof)
    return merge([Solid(body.faces[:4], body.paint[:4]), top])


def lamp(height: float, arm: float, paint: ArrayLike) -> Solid:
    """Return a floodlight mast: a thin pole with a cross beam, seen mostly by its shadow."""
    return merge([box((0.6, 0.6, height), paint, paint), box((0.8, arm, 0.8), paint, paint, base=height)])


def loft(
    centres: ArrayLike, half_widths: ArrayLike, half_heights: ArrayLike, arc: tuple[float, float], steps: int
) -> Floats:
    """Sweep an elliptic arc along stations.

    Args:
        centres: [S,3] centre of each station, from the front (high x) backwards.
        half_widths: [S] half axis along y, metres.
        half_heights: [S] half axis along z, metres.
        arc: first and last angle in radians; 0 is +y (left), pi/2 up.
        steps: faces around the arc.

    Returns:
        float32 [S-1,steps,4,3] faces that look outwards.
    """
    angles = np.linspace(*arc, steps + 1)
    centres = np.asarray(centres, np.float32)
    ring = np.zeros((len(centres), steps + 1, 3), np.float32)
    ring[..., 1] = np.asarray(half_widths)[:, None] * np.cos(angles)
    ring[..., 2] = np.asarray(half_heights)[:, None] * np.sin(angles)
    ring += centres[:, None]
    return np.stack([ring[:-1, :-1], ring[:-1, 1:], ring[1:, 1:], ring[1:, :-1]], axis=2)[:, :, ::-1]


def paint_solids(solids: Sequence[Solid], owners: Sequence[int], camera: Camera, ambient: float) -> Layer:
    """Paint solids from the lowest face to the highest, lit by the sun.

    Args:
        solids: what stands on the ground.
        owners: one number in 0..255 per solid, found again in :attr:`Layer.owners`; a higher number is painted later.
        camera: the view.
        ambient: share of a flat surface's light that comes from the sky, 0..1.
    """
    side = camera.size * SUPERSAMPLE
    canvas = np.zeros((side, side, 4), np.uint8)
    everything = merge(solids)
    owner = np.repeat(np.asarray(owners, np.uint8), [len(s.faces) for s in solids])
    normals = _normals(everything.faces)
    towards = np.array([-camera.lean[0], -camera.lean[1], 1.0], np.float32)
    pixels = camera.pixels(everything.faces)
    inside = (pixels.max(axis=1) > 0).all(axis=1) & (pixels.min(axis=1) < camera.size).all(axis=1)
    shown = np.flatnonzero(inside & (normals @ towards > 0))
    order = shown[np.lexsort((everything.faces[shown, :, 2].mean(axis=1), owner[shown]))]

    colours = _lit(everything.paint[order], normals[order], camera, ambient)
    corners = fixed(pixels[order] * SUPERSAMPLE)
    values = np.column_stack([colours, owner[order]]).tolist()
    for corner, value in zip(corners, values, strict=True):
        cv2.fillConvexPoly(canvas, corner, value, cv2.LINE_8, SHIFT)

    ids = np.ascontiguousarray(canvas[..., 3])
    size = (camera.size, camera.size)
    coverage = cv2.resize((ids > 0).astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)[..., :3]
    return Layer(colour.astype(np.float32), np.asarray(coverage / np.float32(255)), ids)


def shadow_mask(solids: Sequence[Solid], camera: Camera) -> Floats:
    """Return the share [H,W] of the direct sun that solids take from the ground."""
    mask = np.zeros((camera.size, camera.size), np.uint8)
    pixels = camera.shadows(merge(solids).faces)
    inside = (pixels.max(axis=1) > 0).all(axis=1) & (pixels.min(axis=1) < camera.size).all(axis=1)
    for corner in fixed(pixels[inside]):
        cv2.fillConvexPoly(mask, corner, 255, cv2.LINE_AA, SHIFT)
    return np.asarray(mask / np.float32(255))


def silhouette_area(solid: Solid, camera: Camera) -> float:
    """Return how many pixels a solid would cover if the picture went on and nothing hid it."""
    pixels = camera.pixels(solid.faces) * SUPERSAMPLE
    low = np.floor(pixels.min(axis=(0, 1))) - 1
    width, height = (np.ceil(pixels.max(axis=(0, 1))) - low + 2).astype(int)
    mask = np.zeros((height, width), np.uint8)
    for corner in fixed(pixels - low):
        cv2.fillConvexPoly(mask, corner, 1, cv2.LINE_8, SHIFT)
    return cv2.countNonZero(mask) / SUPERSAMPLE**2


def _normals(faces: Floats) -> Floats:
    cross = np.cross(faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1])
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    return np.asarray(cross / np.maximum(length, 1e-9), np.float32)


def _lit(paint: Floats, normals: Floats, camera: Camera, ambient: float) -> NDArray[np.uint8]:
    """Lambert's law, scaled so that a flat roof keeps its paint; a touch of gloss on what faces the sun."""
    sun = np.array(camera.sun, np.float32)
    direct = np.maximum(normals @ sun, 0)
    half = sun + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)
    gloss = np.maximum(np.maximum(normals @ half, 0) ** 24 - half[2] ** 24, 0)
    sky = ambient * (0.55 + 0.45 * normals[:, 2])
    light = np.minimum(sky + (1 - ambient) * direct / sun[2], 1.45)
    return np.asarray(np.clip(paint * light[:, None] + 22 * gloss[:, None], 0, 255), np.uint8)


def fixed(pixels: Floats) -> NDArray[np.int32]:
    """To OpenCV's fixed point, where a whole number is the centre of a pixel."""
    return np.asarray(np.rint((pixels - 0.5) * (1 << SHIFT)), np.int32)
