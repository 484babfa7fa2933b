"""Scenes: pictures and GeoTIFFs, read window by window."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from data_pictures import picture
from rasterio.transform import from_origin

from aerodet.data import encode_image
from aerodet.data.scenes import geojson, open_scene
from aerodet.errors import DataError


def tiff(path, bands, **profile):
    count, height, width = bands.shape
    options = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype, **profile}
    with rasterio.open(path, "w", **options) as file:
        file.write(bands)
    return path


@pytest.fixture
def strip(tmp_path):
    """A georeferenced strip of half a metre a pixel in UTM zone 11."""
    pixels = picture(1, 300, 80)
    where = from_origin(500_000, 3_700_000, 0.5, 0.5)
    return tiff(tmp_path / "strip.tif", np.moveaxis(pixels, -1, 0), crs="EPSG:32611", transform=where), pixels


def test_a_window_has_the_pixels_of_the_picture_and_black_past_its_edge(tmp_path):
    pixels = picture(2)
    (tmp_path / "a.png").write_bytes(encode_image(pixels))
    scene = open_scene(tmp_path / "a.png")
    assert (scene.width, scene.height, scene.georeference) == (64, 48, None)
    assert np.array_equal(scene.window(10, 5, 20, 30), pixels[5:35, 10:30])
    past = scene.window(50, 40, 32, 32)
    assert np.array_equal(past[:8, :14], pixels[40:, 50:])
    assert not past[8:].any()
    scene.close()


def test_a_geotiff_is_read_by_window(strip):
    path, pixels = strip
    scene = open_scene(path)
    assert (scene.name, scene.width, scene.height) == ("strip.tif", 300, 80)
    assert np.array_equal(scene.window(100, 10, 64, 64), pixels[10:74, 100:164])
    assert np.array_equal(scene.window(290, 70, 16, 16)[:10, :10], pixels[70:, 290:])
    assert scene.georeference.crs == "EPSG:32611"
    scene.close()


def test_boxes_become_polygons_in_degrees_where_they_lie(strip):
    scene = open_scene(strip[0])
    found = geojson("strip.tif", scene.georeference, np.array([[0, 0, 200, 100]], np.float32), [{"score": 0.5}])
    (feature,) = found["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert feature["properties"] == {"image": "strip.tif", "score": 0.5}
    assert ring[0].tolist() == ring[-1].tolist()
    # Easting 500,000 m is the zone's central meridian, 117° west; the meridian's arc of 3,700,000 m / 0.9996 from the
    # equator ends at 33.4394° north.
    assert ring[0] == pytest.approx([-117.0, 33.4394], abs=1e-4)
    east = (ring[2] - ring[1])[0] * 111_320 * np.cos(np.radians(33.44))
    assert east == pytest.approx(100, abs=0.5)
    assert (ring[0] - ring[1])[1] * 110_900 == pytest.approx(50, abs=0.5)
    signed = np.sum(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1])
    assert signed > 0  # counter-clockwise, as RFC 7946 asks
    scene.close()


def test_more_than_eight_bits_are_stretched_and_grey_becomes_rgb(tmp_path):
    bands = np.linspace(200, 1200, 64 * 64).reshape(1, 64, 64).astype(np.uint16)
    scene = open_scene(
        tiff(tmp_path / "pan.tif", bands, crs="EPSG:32611", transform=from_origin(500_000, 3_700_000, 1, 1))
    )
    window = scene.window(0, 0, 64, 64)
    assert window.shape == (64, 64, 3)
    assert (window[0, 0, 0], window[-1, -1, 0]) == (0, 255)
    assert window[32, 0].tolist() == pytest.approx([127] * 3, abs=3)
    scene.close()


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no image")
    (tmp_path / "a.png").write_bytes(b"no image")
    for name in ("a.tif", "a.png"):
        with pytest.raises(DataError, match="not an image"):
            open_scene(tmp_path / name)
    with pytest.raises(DataError, match="is not a file"):
        open_scene(tmp_path / "none.png")
