"""Pavement: crossings of the grass, wear of the aprons, and margins of the labels."""

from __future__ import annotations

import numpy as np
import pytest

from aerodet.errors import SpecError
from aerodet.synth import SceneSettings, load_look, render_scene
from aerodet.synth.airports import Airport, Band
from aerodet.synth.ground import Ground
from aerodet.synth.layout import Occupancy, Site
from aerodet.synth.pavement import connectors, wear
from aerodet.synth.solids import Camera

SIDE = 400
BANDS = (Band("runway", 0, 50), Band("grass", 50, 110), Band("taxiway", 110, 140), Band("grass", 140, 200))
GREEN, GREY, DARK = np.array([0, 255, 0]), np.array([120, 120, 120]), np.array([60, 60, 60])


def site(centre: tuple[float, float], bands: tuple[Band, ...] = BANDS) -> Site:
    """A view of 400 m with one metre a pixel, u to the right."""
    surfaces = {"grass": GREEN, "concrete": GREY, "runway": DARK, "asphalt": DARK}
    home = Airport(
        "a", bands, {k: v.astype(np.float32) for k, v in surfaces.items()}, np.full((4, 3), 200), GREY, 6, 1, 0
    )
    camera = Camera(size=SIDE, gsd=1.0, centre=centre, bearing=0.0, lean=(0.0, 0.0), sun=(0.0, 0.5, 0.8))
    rng = np.random.default_rng(0)
    reach = (centre[0] - SIDE / 2, centre[0] + SIDE / 2)
    look = load_look("sensor")
    return Site(home, look, camera, list(bands), reach, Ground(home, camera, 1.0, rng), Occupancy(camera), rng)


def grass(where: Site, band: Band) -> np.ndarray:
    """Which metres [V,U] of a band are grass; two metres at each edge are left out."""
    corners = where.camera.pixels([(where.reach[0], band.low), (where.reach[1], band.high)])
    low, high = np.sort(corners[:, 1].round().astype(int))
    return np.asarray((where.ground.picture[low + 2 : high - 2] == GREEN).all(axis=2))


def test_a_taxiway_crosses_grass_between_two_pavements_from_edge_to_edge():
    where = site((0.0, 95.0))
    assert grass(where, BANDS[1]).all()
    connectors(where)
    left = grass(where, BANDS[1]).mean(axis=1)
    assert left.max() < 0.95
    assert left.min() > 0.2


def test_grass_that_ends_the_airport_stays_whole():
    where = site((0.0, 95.0))
    connectors(where)
    assert grass(where, BANDS[3]).all()


def test_a_crossing_opens_towards_both_pavements():
    where = site((0.0, 95.0), (Band("runway", 0, 50), Band("grass", 50, 150), Band("taxiway", 150, 180)))
    connectors(where)
    left = grass(where, where.bands[1]).mean(axis=1)
    assert left[[0, -1]].mean() < left[len(left) // 2]


def test_two_scenes_of_one_place_show_the_same_crossings():
    first, second = site((0.0, 95.0)), site((60.0, 95.0))
    connectors(first)
    connectors(second)
    same = grass(first, BANDS[1])[:, 60:] == grass(second, BANDS[1])[:, :-60]
    assert same.mean() > 0.99


def test_wear_grows_with_the_texture_and_leaves_grass_alone():
    apron = (Band("grass", 0, 100), Band("stands", 100, 200, "narrow"), Band("grass", 200, 300))
    changed = []
    for texture in (0.2, 2.0):
        where = site((0.0, 150.0), apron)
        before = where.ground.picture.copy()
        where.ground.texture = texture
        wear(where)
        assert grass(where, apron[0]).all()
        changed.append((where.ground.picture != before).any(axis=2).mean())
    assert changed[0] < changed[1]


def test_a_margin_widens_every_box_and_changes_nothing_else():
    tight = render_scene(SceneSettings(look=load_look("sensor")), 5, 3)
    loose = render_scene(SceneSettings(look=load_look("sensor", ["labels.margin=[0.1, 0.2]"])), 5, 3)
    assert np.array_equal(tight.image, loose.image)
    assert np.array_equal(tight.masks, loose.masks)
    sides = np.tile(tight.boxes[:, 2:] - tight.boxes[:, :2], 2)
    grown = (tight.boxes - loose.boxes) * [1, 1, -1, -1] / sides
    inside = (loose.boxes > 0) & (loose.boxes < 256)
    assert inside.any()
    assert ((grown >= 0.0999) & (grown <= 0.2001))[inside].all()
    assert loose.boxes.min() >= 0
    assert loose.boxes.max() <= 256


@pytest.mark.parametrize("margin", ["[0.2, 0.1]", "[-0.1, 0.1]", "[0, 0.9]"])
def test_a_margin_out_of_its_limits_is_refused(margin):
    with pytest.raises(SpecError, match=r"labels.margin: give a range within 0 to 0.5"):
        load_look("sensor", [f"labels.margin={margin}"])
