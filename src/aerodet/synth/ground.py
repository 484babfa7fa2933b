"""The ground of a scene: bands of pavement and grass, slabs, stains, painted lines and tyre marks."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aerodet.synth.airports import Airport, Band
from aerodet.synth.solids import SHIFT, Camera, Floats, fixed

__all__ = ["WHITE", "Ground", "arc", "mark_band"]

FAR = 4000.0  # metres: bands end beyond every picture
_SURFACE = {"grass": "grass", "runway": "runway", "taxiway": "asphalt", "road": "asphalt", "carpark": "asphalt"}
_NOISE_TILE = 1024
WHITE = (232, 232, 226)
_SNOW = np.array([238, 241, 246], np.float32)
_SKY = np.array([136, 144, 154], np.float32)  # what puddles mirror


class Ground:
    """A picture of the ground that layout code paints on; all coordinates are local metres.

    Args:
        airport: surfaces and colours.
        camera: the view.
        texture: contrast of noise, slabs and stains (1: a worn apron).
        rng: source of the choices.
        snow: how much lies, 0..1; pavements are cleared first.
        wet: how wet the pavement is, 0..1.
    """

    def __init__(
        self,
        airport: Airport,
        camera: Camera,
        texture: float,
        rng: np.random.Generator,
        *,
        snow: float = 0.0,
        wet: float = 0.0,
    ) -> None:
        self.airport, self.camera, self.texture, self.rng = airport, camera, texture, rng
        self.snow, self.wet = snow, wet
        side = camera.size
        self.picture = np.zeros((side, side, 3), np.uint8)
        self._paved = np.zeros((side, side), np.uint8)  # 255 on concrete, where the slab joints show
        self._dirt = np.zeros((side, side), np.uint8)
        self._lines: dict[tuple[int, int, int], NDArray[np.uint8]] = {}
        for band in airport.bands:
            surface = _SURFACE.get(band.kind, "concrete")
            self.area([(-FAR, band.low), (FAR, band.low), (FAR, band.high), (-FAR, band.high)], surface, band.tone)
            if surface == "concrete":
                self._strips(band)

    def area(self, outline: ArrayLike, surface: str, tone: float = 1.0) -> None:
        """Cover an outline [K,2] with a surface of the airport."""
        colour = np.clip(self.airport.surfaces[surface] * tone, 0, 255).tolist()
        corners = self._fixed(outline)
        cv2.fillPoly(self.picture, [corners], colour, cv2.LINE_AA, SHIFT)
        cv2.fillPoly(self._paved, [corners], 255 if surface == "concrete" else 0, cv2.LINE_8, SHIFT)

    def patches(self, outlines: ArrayLike, colours: ArrayLike) -> None:
        """Cover convex outlines [N,K,2] with colours [N,3]: cars seen from above, crowns of trees."""
        for corners, colour in zip(self._fixed(outlines), np.asarray(colours, float).tolist(), strict=True):
            cv2.fillConvexPoly(self.picture, corners, colour, cv2.LINE_AA, SHIFT)

    def stain(self, outline: ArrayLike, depth: float) -> None:
        """Darken an outline [K,2] softly; ``depth`` 0..1."""
        cv2.fillPoly(self._dirt, [self._fixed(outline)], int(np.clip(255 * depth, 0, 255)), cv2.LINE_AA, SHIFT)

    def track(self, path: ArrayLike, width: float, depth: float) -> None:
        """Darken a path [K,2] as tyres do."""
        thickness = max(1, round(width / self.camera.gsd))
        cv2.polylines(self._dirt, [self._fixed(path)], False, int(255 * depth), thickness, cv2.LINE_AA, SHIFT)

    def line(self, path: ArrayLike, width: float, colour: ArrayLike | None = None, *, closed: bool = False) -> None:
        """Paint a path [K,2] of a ``width`` in metres; lines thinner than a pixel fade."""
        paint = self.airport.marking if colour is None else np.asarray(colour)
        key = (int(paint[0]), int(paint[1]), int(paint[2]))
        layer = self._lines.setdefault(key, np.zeros_like(self._paved))
        thickness = max(1, round(width / self.camera.gsd))
        strength = min(1.0, width / self.camera.gsd / thickness)
        cv2.polylines(layer, [self._fixed(path)], closed, int(255 * strength), thickness, cv2.LINE_AA, SHIFT)

    def bars(self, low: tuple[float, float], high: tuple[float, float], count: int, duty: float = 0.5) -> None:
        """Fill ``count`` white bars between two corners (u, v), side by side along v: a threshold, a crossing."""
        edges = np.linspace(low[1], high[1], count + 1)
        layer = self._lines.setdefault(WHITE, np.zeros_like(self._paved))
        for v in edges[:-1]:
            top = v + duty * (edges[1] - edges[0])
            cv2.fillPoly(
                layer,
                [self._fixed([(low[0], v), (high[0], v), (high[0], top), (low[0], top)])],
                230,
                cv2.LINE_AA,
                SHIFT,
            )

    def finish(self) -> Floats:
        """Return the ground as float32 [H,W,3], 0..255: texture first, then dirt, then worn paint."""
        fine, coarse = self._noise(rough=True), self._noise(rough=False)
        paved = self._paved.astype(np.float32) / 255
        tint = (0.045 + 0.04 * (1 - paved)) * fine + 0.06 * coarse + 0.05 * self.airport.joints * paved * self._slabs()
        dirt = cv2.GaussianBlur(self._dirt, (0, 0), sigmaX=max(0.6, 1.1 / self.camera.gsd)).astype(np.float32) / 255
        factor = (1 + self.texture * tint) * (1 - dirt * (0.85 + 0.15 * fine))
        picture = self.picture * factor[..., None]
        if self.wet or self.snow:
            picture = self._weather(picture, coarse, fine)
        wear = np.clip(0.85 + 0.12 * self.texture * (coarse + fine), 0.2, 1)
        for colour, layer in self._lines.items():
            share = (layer.astype(np.float32) / 255 * wear)[..., None]
            picture = picture * (1 - share) + np.array(colour, np.float32) * share
        return np.asarray(picture, np.float32)

    def _weather(self, picture: Floats, coarse: Floats, fine: Floats) -> Floats:
        """Darken and flood the pavement, and lay snow where nobody clears it."""
        grass = self.airport.surfaces["grass"]
        paved = (np.abs(self.picture.astype(np.float32) - grass).sum(axis=2) > 24).astype(np.float32)
        if self.wet:
            picture = picture * (1 - 0.35 * self.wet * paved)[..., None]
            pools = (paved * np.clip(4 * (coarse - 2.2 + 1.2 * self.wet), 0, 0.7))[..., None]
            picture = picture * (1 - pools) + pools * _SKY
        if self.snow:
            cover = np.clip(0.5 + 0.5 * coarse + 0.3 * fine + 3 * (self.snow - 0.5) - 1.6 * paved, 0, 1)[..., None]
            picture = picture * (1 - cover) + cover * _SNOW
        return np.asarray(picture, np.float32)

    def _strips(self, band: Band) -> None:
        """Lanes of pavement laid in different years."""
        low = band.low
        while low < band.high:
            high = min(low + self.rng.uniform(8, 26), band.high)
            tone = band.tone * (1 + self.texture * self.rng.normal(0, 0.035))
            self.area([(-FAR, low), (FAR, low), (FAR, high), (-FAR, high)], "concrete", tone)
            low = high

    def _fixed(self, points: ArrayLike) -> NDArray[np.int32]:
        return fixed(self.camera.pixels(points))

    def _noise(self, *, rough: bool) -> Floats:
        """A window [H,W] of a periodic tile of noise with unit variance."""
        tile, side = _noise_tile(rough=rough), self.camera.size
        x, y = self.rng.integers(_NOISE_TILE, size=2)
        rows, columns = (y + np.arange(side)) % _NOISE_TILE, (x + np.arange(side)) % _NOISE_TILE
        return np.asarray(tile[np.ix_(rows, columns)])

    def _slabs(self) -> Floats:
        """Slabs of slightly different brightness with dark joints, [H,W]."""
        scale = 6 / self.airport.slab  # texture elements per metre
        matrix = cv2.invertAffineTransform(self.camera.affine())
        matrix = (matrix * scale).astype(np.float64)
        texture = _slab_tile()
        side = self.camera.size
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(texture, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_WRAP)
        return np.asarray(warped, np.float32)


@lru_cache(maxsize=2)
def _noise_tile(*, rough: bool) -> Floats:
    """Periodic noise whose power falls with frequency: slowly when rough, fast otherwise."""
    rng = np.random.default_rng(20 + rough)
    fy, fx = np.meshgrid(np.fft.fftfreq(_NOISE_TILE), np.fft.rfftfreq(_NOISE_TILE), indexing="ij")
    power = np.maximum(np.hypot(fx, fy), 3 / _NOISE_TILE) ** (-0.55 if rough else -1.6)
    spectrum = np.fft.rfft2(rng.standard_normal((_NOISE_TILE, _NOISE_TILE))) * power
    tile = np.fft.irfft2(spectrum)
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


@lru_cache(maxsize=1)
def _slab_tile() -> Floats:
    """A periodic field of 64x64 slabs, 6 elements each."""
    rng = np.random.default_rng(7)
    rows = rng.normal(0, 0.45, (64, 1))  # a row is cast in one go
    tile = np.kron(rng.normal(0, 0.6, (64, 64)) + rows, np.ones((6, 6))).astype(np.float32)
    tile[::6] -= 1.3
    tile[:, ::6] -= 1.3
    return tile


def arc(centre: tuple[float, float], radius: float, start: float, stop: float, steps: int = 12) -> Floats:
    """Return points [steps,2] on a circle between two angles in radians."""
    angles = np.linspace(start, stop, steps)
    return np.asarray(np.array(centre) + radius * np.column_stack([np.cos(angles), np.sin(angles)]), np.float32)


def mark_band(ground: Ground, band: Band, reach: tuple[float, float]) -> None:
    """Paint the lines that a band always has, between two places on the u axis."""
    left, right = reach
    middle = band.middle
    if band.kind == "taxiway":
        ground.track([(left, middle), (right, middle)], 9, 0.10)
        ground.line([(left, middle), (right, middle)], 0.5)
        for edge in (band.low + 2, band.high - 2):
            ground.line([(left, edge), (right, edge)], 0.35)
    elif band.kind == "lane":
        ground.track([(left, middle), (right, middle)], 8, 0.12)
        ground.line([(left, middle), (right, middle)], 0.6)
    elif band.kind == "runway":
        _mark_runway(ground, band, reach)
    elif band.kind == "road":
        ground.line([(left, band.low + 0.8), (right, band.low + 0.8)], 0.3, WHITE)
        ground.line([(left, band.high - 0.8), (right, band.high - 0.8)], 0.3, WHITE)
        for u in np.arange(left - left % 9, right, 9):
            ground.line([(u, middle), (u + 4, middle)], 0.4, WHITE)
    elif band.kind in ("gates", "stands"):
        edge = band.low + 1.5 if band.facing > 0 else band.high - 1.5
        ground.line([(left, edge), (right, edge)], 0.3, WHITE)


def _mark_runway(ground: Ground, band: Band, reach: tuple[float, float]) -> None:
    left, right = reach
    middle = band.middle
    for offset in (-4.0, -1.5, 1.0, 3.5):
        ground.track([(left, middle + offset), (right, middle + offset)], 2.5, 0.16)
    for edge in (band.low + 3, band.high - 3):
        ground.line([(left, edge), (right, edge)], 0.9, WHITE)
    for u in np.arange(left - left % 50, right, 50):
        ground.line([(u, middle), (u + 30, middle)], 0.9, WHITE)
    # Thresholds come every two kilometres, so that few pictures show one.
    for u in np.arange(left - left % 900 + 300, right, 900):
        ground.bars((u, band.low + 6), (u + 30, middle - 3), 4)
        ground.bars((u, middle + 3), (u + 30, band.high - 6), 4)
        for side in (-1, 1):
            ground.bars((u + 120, middle + side * 9 - 3), (u + 160, middle + side * 9 + 3), 1, 1.0)
