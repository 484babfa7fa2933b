"""Scenes of any size, read window by window, and where on Earth they lie."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerodet.data.pixels import decode_image
from aerodet.data.records import Boxes, Pixels
from aerodet.errors import DataError

__all__ = ["Georeference", "PictureScene", "Scene", "geojson", "open_scene"]

_SIDE = 1024  # of the small picture that a raster's brightness is taken from, pixels
_STRETCH = (2, 98)  # percent of its pixels that become black and white


@dataclass(frozen=True, slots=True)
class Georeference:
    """Where a scene's pixels lie.

    Args:
        crs: coordinate reference system, as ``EPSG:32611`` or WKT.
        transform: a, b, c, d, e, f: x = a·column + b·row + c, y = d·column + e·row + f.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]

    def corners(self, boxes: Boxes) -> NDArray[np.float64]:
        """Return the corners of boxes [N, 4] as longitude and latitude in degrees, [N, 4, 2], counter-clockwise."""
        from rasterio.warp import transform

        x1, y1, x2, y2 = boxes.astype(np.float64).T
        columns, rows = np.stack([x1, x1, x2, x2], axis=1), np.stack([y1, y2, y2, y1], axis=1)
        a, b, c, d, e, f = self.transform
        x, y = a * columns + b * rows + c, d * columns + e * rows + f
        longitude, latitude = transform(self.crs, "EPSG:4326", x.ravel().tolist(), y.ravel().tolist())
        return np.stack([longitude, latitude], axis=-1).reshape(-1, 4, 2)


class Scene(Protocol):
    """A picture that is read in windows."""

    name: str
    width: int
    height: int
    georeference: Georeference | None

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Return the pixels of a window, uint8 RGB [height, width, 3], black where it reaches past the scene."""

    def close(self) -> None:
        """Close its file."""


def open_scene(path: Path | str) -> Scene:
    """Open a picture; a TIFF is read by window with rasterio where that is installed.

    Args:
        path: a PNG, JPEG, TIFF, BMP or WebP file.

    Raises:
        DataError: it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not a file; give an image")
    if path.suffix.lower() in (".tif", ".tiff") and importlib.util.find_spec("rasterio") is not None:
        return _RasterScene(path)
    return PictureScene.read(path)


class PictureScene:
    """A picture in memory.

    Args:
        name: for messages and results.
        pixels: uint8 RGB [H, W, 3].
    """

    georeference: Georeference | None = None

    def __init__(self, name: str, pixels: Pixels) -> None:
        self.name, self._pixels = name, pixels
        self.height, self.width = pixels.shape[:2]

    @classmethod
    def read(cls, path: Path) -> PictureScene:
        """Read a file."""
        try:
            return cls(path.name, decode_image(path.read_bytes(), str(path)))
        except OSError as error:
            raise DataError(f"image {path} cannot be read ({error.strerror}); check the path") from error

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        """Return the pixels of a window."""
        part = self._pixels[max(0, y) : y + height, max(0, x) : x + width]
        return _padded(part, width, height)

    def close(self) -> None:
        """Keep the picture: nothing is open."""


class _RasterScene:
    """A GeoTIFF; integers of more than 8 bits are stretched from black to white."""

    def __init__(self, path: Path) -> None:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        self.name = path.name
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain TIFF is fine
                self._file: Any = rasterio.open(path)
            self._bands = [1, 2, 3] if self._file.count >= 3 else [1]
            self._low, self._high = self._limits()
        except RasterioError as error:
            raise DataError(f"image {path} is truncated or not an image ({type(error).__name__})") from error
        self.width, self.height = self._file.width, self._file.height
        self.georeference: Georeference | None = None
        if self._file.crs is not None:
            a, b, c, d, e, f = self._file.transform[:6]
            self.georeference = Georeference(self._file.crs.to_string(), (a, b, c, d, e, f))

    def window(self, x: int, y: int, width: int, height: int) -> Pixels:
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        right, bottom = min(x + width, self.width), min(y + height, self.height)
        try:
            part = self._file.read(self._bands, window=Window(x, y, right - x, bottom - y))
        except RasterioError as error:
            raise DataError(f"image {self.name} is truncated; fetch it again") from error
        return _padded(self._to_bytes(part), width, height)

    def close(self) -> None:
        self._file.close()

    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return per band what becomes black and white: the type's own range for bytes, else its percentiles."""
        if all(kind == "uint8" for kind in self._file.dtypes):
            return np.zeros(1), np.full(1, 255.0)
        shape = (min(_SIDE, self._file.height), min(_SIDE, self._file.width))
        small = self._file.read(self._bands, out_shape=(len(self._bands), *shape)).astype(np.float64)
        known = np.where(small == (self._file.nodata if self._file.nodata is not None else 0), np.nan, small)
        known[:, 0, 0] = np.where(np.isnan(known).all(axis=(1, 2)), 0, known[:, 0, 0])
        low, high = np.nanpercentile(known, _STRETCH, axis=(1, 2))
        return low, np.maximum(high, low + 1)

    def _to_bytes(self, part: NDArray[Any]) -> Pixels:
        if part.dtype != np.uint8:
            low, high = self._low[:, None, None], self._high[:, None, None]
            part = (np.clip((part - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        pixels = np.moveaxis(part, 0, -1)
        return np.ascontiguousarray(np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels)


def _padded(part: Pixels, width: int, height: int) -> Pixels:
    if part.shape[:2] == (height, width):
        return np.ascontiguousarray(part)
    whole = np.zeros((height, width, 3), np.uint8)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


def geojson(name: str, reference: Georeference, boxes: Boxes, properties: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return boxes of a scene as a GeoJSON feature collection (RFC 7946: longitude and latitude, WGS 84).

    Args:
        name: of the scene.
        reference: where it lies.
        boxes: float32 [N, 4] in its pixels.
        properties: one dictionary of JSON values a box.
    """
    features = []
    for corners, more in zip(reference.corners(boxes).tolist(), properties, strict=True):
        ring = [[round(longitude, 8), round(latitude, 8)] for longitude, latitude in [*corners, corners[0]]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "geometry": geometry, "properties": {"image": name, **more}})
    return {"type": "FeatureCollection", "features": features}
