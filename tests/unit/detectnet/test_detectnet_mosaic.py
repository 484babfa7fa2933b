"""Scenes cut into tiles, and their detections put together again."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.data import tile_grid
from aerodet.data.scenes import open_scene
from aerodet.detectnet.mosaic import detect_scene, merge_tiles
from aerodet.detectnet.postprocess import ClusterOptions
from aerodet.errors import SpecError
from aerodet.metrics import Detections

SIZE = 64
SETTINGS = SimpleNamespace(
    size=(SIZE, SIZE),
    clusters=[ClusterOptions(coverage_threshold=0.5, algorithm="nms", nms_iou=0.9)],
    box_scale=35.0,
    box_offset=0.5,
)


def bright_boxes(images):
    """A perfect detector of bright rectangles: one cell for each, with what the tile shows of it."""
    cov = np.zeros((len(images), 1, SIZE // 16, SIZE // 16), np.float32)
    bbox = np.zeros((len(images), 4, SIZE // 16, SIZE // 16), np.float32)
    for number, image in enumerate(images):
        count, _, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 0] > 128).astype(np.uint8))
        for x, y, w, h, _ in stats[1:count]:
            column, row = int(x + w / 2) // 16, int(y + h / 2) // 16
            while cov[number, 0, row, column]:
                column = (column + 1) % (SIZE // 16)
            at = np.array([16 * column + 0.5, 16 * row + 0.5])
            cov[number, 0, row, column] = 0.5 + 0.4 * w * h / SIZE**2
            bbox[number, :, row, column] = [
                (at[0] - x) / 35,
                (at[1] - y) / 35,
                (x + w - at[0]) / 35,
                (y + h - at[1]) / 35,
            ]
    return cov, bbox


def scene_of(boxes, width, height, folder):
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    cv2.imwrite(str(folder / "scene.png"), image)
    return open_scene(folder / "scene.png")


def sorted_boxes(boxes):
    return sorted([round(float(value)) for value in box] for box in boxes)


@pytest.mark.parametrize(
    "boxes",
    [
        [(5, 5, 25, 20)],
        [(50, 10, 70, 30)],  # across the edge of a tile, whole in its neighbour
        [(30, 40, 110, 60)],  # longer than a tile
        [(56, 56, 72, 72), (80, 80, 100, 90), (130, 5, 150, 25)],
        [],
    ],
)
def test_objects_on_several_tiles_are_found_once_and_whole(boxes, tmp_path):
    found = detect_scene(bright_boxes, scene_of(boxes, 200, 120, tmp_path), SETTINGS, overlap=0.4)
    assert sorted_boxes(found.boxes) == sorted_boxes(boxes)
    assert (np.diff(found.scores) <= 0).all()


def test_a_frame_smaller_than_a_tile_is_one_tile(tmp_path):
    found = detect_scene(bright_boxes, scene_of([(3, 4, 20, 18)], 40, 30, tmp_path), SETTINGS)
    assert sorted_boxes(found.boxes) == [[3, 4, 20, 18]]


def test_a_scene_can_be_resized_first_and_boxes_stay_in_its_own_pixels(tmp_path):
    boxes = [(40, 40, 80, 72), (200, 100, 240, 140)]
    found = detect_scene(bright_boxes, scene_of(boxes, 300, 200, tmp_path), SETTINGS, scale=0.5, overlap=0.5)
    assert found.boxes[np.argsort(found.boxes[:, 0])] == pytest.approx(np.array(boxes, np.float32), abs=2.5)


def test_weak_detections_are_left_out(tmp_path):
    scene = scene_of([(5, 5, 10, 10), (20, 20, 60, 60)], 64, 64, tmp_path)
    assert sorted_boxes(detect_scene(bright_boxes, scene, SETTINGS, threshold=0.6).boxes) == [[20, 20, 60, 60]]


def test_options_out_of_their_limits_are_refused(tmp_path):
    scene = scene_of([], 64, 64, tmp_path)
    with pytest.raises(SpecError, match="scale 0"):
        detect_scene(bright_boxes, scene, SETTINGS, scale=0)
    with pytest.raises(SpecError, match="cut into square tiles"):
        detect_scene(bright_boxes, scene, SimpleNamespace(size=(64, 128)))


def one_tile(*boxes, scores=None, labels=None):
    return Detections(list(boxes), scores or [0.9] * len(boxes), labels or [0] * len(boxes))


def test_boxes_of_one_tile_are_never_merged_nor_are_two_classes():
    inside = one_tile([10, 10, 30, 30], [11, 11, 31, 31])
    assert len(merge_tiles([(0, 0)], [inside], 64, (64, 64))) == 2
    both = [one_tile([20, 0, 40, 20]), one_tile([0, 0, 20, 20], labels=[1])]
    assert len(merge_tiles([(0, 0), (20, 0)], both, 64, (84, 64))) == 2


def test_the_whole_box_stands_for_the_part_that_scored_higher():
    found = [one_tile([50, 10, 64, 30], scores=[0.99]), one_tile([10, 10, 40, 30], scores=[0.5])]
    merged = merge_tiles([(0, 0), (40, 0)], found, 64, (104, 64))
    assert merged.boxes.tolist() == [[50, 10, 80, 30]]


def test_neighbours_that_touch_stay_two():
    found = [one_tile([40, 10, 52, 30]), one_tile([13, 10, 30, 30])]
    assert len(merge_tiles([(0, 0), (40, 0)], found, 64, (104, 64))) == 2


@st.composite
def layouts(draw):
    """Rectangles on a grid of cells, so that none touches another."""
    cells = draw(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=8))
    sides = [(draw(st.integers(6, 24)), draw(st.integers(6, 24))) for _ in cells]
    return [
        (40 * c + 6, 40 * r + 6, 40 * c + 6 + w, 40 * r + 6 + h)
        for (c, r), (w, h) in zip(sorted(cells), sides, strict=True)
    ]


@settings(max_examples=40, deadline=None)
@given(layouts(), st.sampled_from([0.4, 0.5, 0.7]))
def test_every_object_is_found_exactly_once(tmp_path_factory, boxes, overlap):
    scene = scene_of(boxes, 210, 170, tmp_path_factory.mktemp("scene"))
    found = detect_scene(bright_boxes, scene, SETTINGS, overlap=overlap)
    assert sorted_boxes(found.boxes) == sorted_boxes(boxes)
    assert len(tile_grid(210, 170, SIZE, overlap)) > 4
