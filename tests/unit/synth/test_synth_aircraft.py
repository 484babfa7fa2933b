"""Aircraft: true sizes, and what the painter makes of a solid."""

from __future__ import annotations

import numpy as np
import pytest

from aerodet.synth.aircraft import PARTS, aircraft_solid, paint_livery
from aerodet.synth.look import SCHEMES
from aerodet.synth.solids import Camera, box, paint_solids, shadow_mask, silhouette_area
from aerodet.synth.types import TYPES

WHITE = np.full((len(PARTS), 3), 240, np.float32)


def overhead(gsd: float = 0.5, sun: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> Camera:
    return Camera(256, gsd, centre=(0.0, 0.0), bearing=0.0, lean=(0.0, 0.0), sun=sun)


@pytest.mark.parametrize("name", TYPES)
def test_a_type_has_its_published_length_and_span(name):
    kind = TYPES[name]
    extents = np.ptp(aircraft_solid(kind, WHITE).faces.reshape(-1, 3), axis=0)
    assert extents[:2] == pytest.approx([kind.length, kind.span], rel=1e-3)
    assert 1.5 < extents[2] < 30


@pytest.mark.parametrize("name", TYPES)
def test_a_type_covers_its_size_in_pixels(name):
    kind, camera = TYPES[name], overhead()
    mask = paint_solids([aircraft_solid(kind, WHITE)], [2], camera, 0.4).mask(2)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert len(columns) * camera.gsd == pytest.approx(kind.length, abs=1.5)
    assert len(rows) * camera.gsd == pytest.approx(kind.span, abs=1.5)
    assert columns[-1] - columns[0] + 1 == len(columns)  # in one piece
    assert 0.1 < mask.sum() * camera.gsd**2 / (kind.length * kind.span) < 0.6


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_the_same_left_and_right(name):
    mask = paint_solids([aircraft_solid(TYPES[name], WHITE)], [2], overhead(), 0.4).mask(2)
    assert (mask != mask[::-1]).mean() < 0.004


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_livery_colours_every_part(scheme):
    livery = paint_livery(np.random.default_rng(0), scheme)
    assert livery.shape == (len(PARTS), 3)
    assert livery.min() >= 0
    assert livery.max() <= 255


def test_a_box_is_painted_where_it_stands_and_hides_what_is_lower():
    low, high = box((40, 40, 2), [0, 0, 0], [200, 0, 0]), box((10, 10, 9), [0, 0, 0], [0, 200, 0])
    layer = paint_solids([low.placed(0, 0), high.placed(20, 10)], [1, 2], overhead(gsd=1.0), 1.0)
    assert layer.mask(2).sum() == 100
    assert layer.mask(1).sum() == 1600 - 50
    assert layer.colour[128 - 10, 128 + 20].tolist() == pytest.approx([0, 200, 0], abs=1)  # +v is up


def test_a_shadow_falls_away_from_the_sun_and_grows_with_height():
    sun = (0.6, 0.0, 0.8)
    reach = []
    for height in (8.0, 16.0):
        mask = shadow_mask([box((10, 10, height), [0, 0, 0], [9, 9, 9])], overhead(gsd=1.0, sun=sun))
        columns = np.flatnonzero(mask.max(axis=0) > 0.5)
        assert columns[-1] < 128 + 6
        reach.append(123 - columns[0])
    assert reach == pytest.approx([8 * 0.75, 16 * 0.75], abs=1)


def test_a_leaning_camera_shifts_a_roof_by_its_height():
    camera = Camera(256, 1.0, (0.0, 0.0), 0.0, lean=(0.25, 0.0), sun=(0.0, 0.0, 1.0))
    roof = np.array([[0.0, 0.0, 20.0]])
    assert camera.pixels(roof)[0].tolist() == pytest.approx([128 + 5, 128])


def test_attributes_are_those_of_rareplanes():
    assert TYPES["A320"].attributes() == {
        "type": "A320",
        "role": "Medium Civil Transport/Utility",
        "num_engines": 2,
        "propulsion": "jet",
        "canards": "no",
        "num_tail_fins": 1,
        "wing_position": "mid/low mounted",
        "wing_type": "swept",
        "faa_wingspan_class": 3,
        "length": 37.6,
        "wingspan": 35.8,
    }


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("C172", "propulsion", "propeller"),
        ("C172", "num_engines", 1),
        ("C172", "faa_wingspan_class", 1),
        ("Falcon 7X", "num_engines", 3),
        ("747-400", "num_engines", 4),
        ("A380-800", "faa_wingspan_class", 6),
        ("B-52H", "num_engines", 8),
        ("B-52H", "role", "Military Bomber"),
        ("T-6A", "role", "Military Trainer"),
        ("F-15C", "num_tail_fins", 2),
        ("Typhoon", "canards", "yes"),
        ("Mirage 2000", "wing_type", "delta"),
        ("C-130H", "wing_type", "straight"),
        ("C-130H", "wing_position", "high mounted"),
    ],
)
def test_a_type_is_described_as_it_is_built(name, key, value):
    assert TYPES[name].attributes()[key] == value


def test_a_silhouette_has_the_area_of_the_whole_aircraft_wherever_the_frame_is():
    kind, camera = TYPES["A320"], overhead()
    solid = aircraft_solid(kind, WHITE)
    whole = paint_solids([solid], [2], camera, 0.4).area(2)
    assert silhouette_area(solid, camera) == pytest.approx(whole, rel=0.01)
    half = solid.placed(-64.0, 0.0)  # its middle on the frame's left edge
    assert paint_solids([half], [2], camera, 0.4).area(2) < 0.7 * silhouette_area(half, camera)
    assert silhouette_area(half, camera) == pytest.approx(whole, rel=0.01)
