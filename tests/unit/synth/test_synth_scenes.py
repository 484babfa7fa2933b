"""Scenes: determinism, boxes, groups, looks and limits."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aerodet.errors import DataError, SpecError
from aerodet.synth import CLASSES, Look, Scene, SceneSettings, contact_sheet, load_look, render_scene, render_scenes


@pytest.fixture(scope="module", params=["synthetic", "sensor"])
def scenes(request: pytest.FixtureRequest) -> list[Scene]:
    return list(render_scenes(SceneSettings(look=load_look(request.param)), 24, seed=5))


def test_the_same_seed_and_index_give_the_same_scene():
    settings = SceneSettings(size=128)
    first, second = render_scene(settings, 3, 4), render_scene(settings, 3, 4)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert first.details == second.details


def test_another_seed_or_index_gives_another_scene():
    settings = SceneSettings(size=128)
    images = [render_scene(settings, seed, index).image for seed, index in ((3, 4), (3, 5), (4, 4))]
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])


def test_the_number_of_processes_does_not_change_the_scenes():
    settings = SceneSettings(size=128)
    alone = list(render_scenes(settings, 11, seed=2))
    shared = list(render_scenes(settings, 11, seed=2, workers=2))
    assert len(alone) == len(shared) == 11
    for one, other in zip(alone, shared, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.boxes, other.boxes)
        assert one.group == other.group


def test_a_scene_has_the_promised_shapes_and_types(scenes):
    for scene in scenes:
        count = len(scene.details)
        assert scene.image.shape == (256, 256, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.shape == (count, 4)
        assert scene.boxes.dtype == np.float32
        assert scene.labels.shape == (count,)
        assert scene.labels.dtype == np.int64
        assert scene.masks.shape == (count, 256, 256)
        assert set(scene.labels.tolist()) <= set(range(len(CLASSES)))


def test_boxes_bound_the_masks_exactly_and_stay_in_the_frame(scenes):
    for scene in scenes:
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert min(box[2] - box[0], box[3] - box[1]) >= 6


def test_aircraft_do_not_overlap_each_other(scenes):
    for scene in scenes:
        assert scene.masks.sum(axis=0).max(initial=0) <= 1


def test_most_scenes_hold_three_to_eight_aircraft_of_25_to_90_pixels(scenes):
    counts = np.array([len(scene.boxes) for scene in scenes if len(scene.boxes)])
    boxes = np.concatenate([scene.boxes for scene in scenes])
    whole = (boxes[:, :2].min(axis=1) > 0) & (boxes[:, 2:].max(axis=1) < 256)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)[whole]
    assert 3.5 <= counts.mean() <= 6.5
    assert (sides >= 20).all()
    assert sides.max() <= 100


def test_a_share_of_the_scenes_is_empty_as_asked():
    assert all(len(scene.boxes) == 0 for scene in render_scenes(SceneSettings(size=128, empty=1.0), 6, seed=1))
    filled = sum(len(scene.boxes) > 0 for scene in render_scenes(SceneSettings(empty=0.0), 12, seed=1))
    assert filled >= 11


def test_scenes_of_one_airport_share_a_group_and_looks_do_not():
    settings = SceneSettings(size=128, scenes_per_airport=3)
    groups = [scene.group for scene in render_scenes(settings, 7, seed=9)]
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == groups[5] != groups[0]
    assert len(set(groups)) == 3
    other = render_scene(SceneSettings(size=128, look=load_look("synthetic")), 9, 0).group
    assert other not in groups
    assert render_scene(settings, 10, 0).group not in groups


def test_the_looks_differ_as_a_renderer_and_a_sensor_do():
    def describe(look: str) -> tuple[float, float, float, float]:
        images = [
            scene.image
            for scene in render_scenes(SceneSettings(look=load_look(look), scenes_per_airport=1), 16, seed=8)
        ]
        pixels = np.stack(images).astype(float)
        saturation = np.mean([cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1].mean() / 255 for image in images])
        return pixels.mean(), pixels[..., 0].mean() - pixels[..., 2].mean(), saturation, np.std(pixels.mean((1, 2, 3)))

    bright, cold, pale, alike = describe("synthetic")
    dark, warm, coloured, varied = describe("sensor")
    assert bright > dark + 25
    assert cold < 0 < warm
    assert pale < 0.15 < coloured
    assert alike < varied


def test_a_finer_ground_sample_distance_shows_the_same_world_larger():
    coarse = [s.boxes for s in render_scenes(SceneSettings(size=256, gsd=1.0, look=load_look("synthetic")), 6, seed=4)]
    fine = [s.boxes for s in render_scenes(SceneSettings(size=512, gsd=0.5, look=load_look("synthetic")), 6, seed=4)]
    side = [np.median(np.concatenate([b[:, 2] - b[:, 0] for b in boxes])) for boxes in (coarse, fine)]
    assert side[1] / side[0] == pytest.approx(2, rel=0.3)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"size": 250}, "size"),
        ({"size": 16}, "size"),
        ({"gsd": 5.0}, "gsd"),
        ({"gsd": float("nan")}, "gsd"),
        ({"aircraft": 0}, "aircraft"),
        ({"empty": 1.5}, "empty"),
        ({"scenes_per_airport": 0}, "scenes_per_airport"),
        ({"size": 128, "gsd": 0.3}, "size=128"),
    ],
)
def test_settings_out_of_their_limits_are_refused_by_name(values, name):
    with pytest.raises(SpecError, match=name):
        SceneSettings(**values)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_a_negative_seed_or_index_is_refused(seed, index):
    with pytest.raises(SpecError, match="0 or more"):
        render_scene(SceneSettings(), seed, index)


def test_a_contact_sheet_draws_boxes_outside_the_aircraft():
    scenes = [render_scene(SceneSettings(size=128), 1, index) for index in range(5)]
    sheet = contact_sheet([(scene.image, scene.boxes) for scene in scenes], columns=3)
    assert sheet.shape == (2 * 128 + 4, 3 * 128 + 8, 3)
    assert sheet.dtype == np.uint8
    drawn = (sheet[:128, :128] != scenes[0].image).any(axis=2)
    assert drawn.any()
    for mask in scenes[0].masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        inner = drawn[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]
        assert not inner.all()


def test_a_contact_sheet_needs_scenes_of_one_size():
    with pytest.raises(DataError, match="one or more pictures"):
        contact_sheet([])
    mixed = [(np.zeros((side, side, 3), np.uint8), np.zeros((0, 4), np.float32)) for side in (128, 144)]
    with pytest.raises(DataError, match="one size"):
        contact_sheet(mixed)


def headings_within_an_airport(look: Look) -> list[float]:
    """Return the mean distance of the headings of a scene's aircraft from a multiple of the rows' right angles."""
    settings = SceneSettings(look=look)
    distances = []
    for scene in render_scenes(settings, 16, seed=8):
        turns = np.array([details["heading"] for details in scene.details])
        if len(turns) > 2:
            doubled = np.exp(4j * np.deg2rad(turns))  # the same for headings at right angles
            distances.append(1 - abs(doubled.mean()))
    return distances


def test_scattered_aircraft_are_headed_anywhere_and_overlap_as_little():
    rows = headings_within_an_airport(load_look("varied"))
    scattered = headings_within_an_airport(load_look("varied", ["layout.scatter=1"]))

    assert np.mean(scattered) > 2 * np.mean(rows)
    assert len(scattered) >= 3


def test_a_look_that_scatters_nothing_draws_as_before():
    settings = [SceneSettings(size=128, look=load_look("varied", o)) for o in ([], ["layout.scatter=0"])]
    one, other = (render_scene(s, 3, 4) for s in settings)
    assert np.array_equal(one.image, other.image)
