from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aerodet.detectnet.targets import ClassShape, TargetMaker, Targets, encode
from aerodet.metrics import IGNORED

PLAIN = ClassShape()


def share(i: int, j: int, cx: float, cy: float, rx: float, ry: float) -> float:
    """The share of cell (i, j)'s samples that lie inside an ellipse."""
    inside = 0
    for a in (1 / 8, 3 / 8, 5 / 8, 7 / 8):
        for b in (1 / 8, 3 / 8, 5 / 8, 7 / 8):
            inside += ((j + b - cx) / rx) ** 2 + ((i + a - cy) / ry) ** 2 < 1
    return inside / 16


def reference(
    boxes: Any, labels: Any, size: tuple[int, int], shapes: list[ClassShape], deadzone: float
) -> tuple[Any, Any, Any]:
    """One picture's targets, box by box and cell by cell, in the words of TAO's rasteriser."""
    h, w = size[0] // 16, size[1] // 16
    cov, norm, bbox = np.zeros((len(shapes), h, w)), np.zeros((len(shapes), h, w)), np.zeros((len(shapes), 4, h, w))
    for c, shape in enumerate(shapes):
        own = [box for box, label in zip(boxes, labels, strict=True) if label == c]
        for x1, y1, x2, y2 in sorted(own, key=lambda box: float(box[3])):
            gx1, gy1, gx2, gy2 = x1 / 16, y1 / 16, x2 / 16, y2 / 16
            cx = gx1 + shape.cov_center_x * (gx2 - gx1)
            cy = gy1 + shape.cov_center_y * (gy2 - gy1)
            sx = min(shape.cov_center_x, 1 - shape.cov_center_x) * (gx2 - gx1)
            sy = min(shape.cov_center_y, 1 - shape.cov_center_y) * (gy2 - gy1)
            rx, ry = max(shape.cov_radius_x * sx, 0.1), max(shape.cov_radius_y * sy, 0.1)
            least = shape.bbox_min_radius
            if rx < least:
                rx, ry = least, least * ry / rx
            if ry < least:
                rx, ry = least * rx / ry, least
            dx = max((1 - deadzone) * rx + deadzone * sx, rx)
            dy = max((1 - deadzone) * ry + deadzone * sy, ry)
            for i in range(h):
                for j in range(w):
                    dead, inside = share(i, j, cx, cy, dx, dy), share(i, j, cx, cy, rx, ry)
                    if dead > 0 and dead >= cov[c, i, j]:
                        cov[c, i, j] = norm[c, i, j] = 0
                        bbox[c, :, i, j] = 0
                    if inside > 0 and inside >= cov[c, i, j]:
                        cov[c, i, j] = inside
                        norm[c, i, j] = inside / max(4 * rx * ry, 1)
                        x, y = 16 * j + 0.5, 16 * i + 0.5
                        bbox[c, :, i, j] = np.array([x - x1, y - y1, x2 - x, y2 - y]) / 35
    return cov, norm, bbox.reshape(-1, h, w)


def draw(boxes: Any, labels: Any = None, size: tuple[int, int] = (64, 64), **options: Any) -> Targets:
    """Targets of one picture."""
    boxes = torch.tensor(boxes, dtype=torch.float32).view(1, -1, 4)
    labels = torch.zeros(1, boxes.shape[1], dtype=torch.int64) if labels is None else torch.tensor([labels])
    shapes = options.pop("shapes", [PLAIN])
    return TargetMaker(size, shapes, **options)(boxes, labels)


SHAPES = {
    "default": [PLAIN, PLAIN],
    "tao sample": [ClassShape(0.5, 0.5, 0.4, 0.4, 1.0)] * 2,
    "small and off centre": [ClassShape(0.4, 0.7, 0.9, 0.6, 0.3), ClassShape(0.5, 0.3, 0.5, 1.0, 0.7)],
}


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("deadzone", [0.0, 0.4, 0.67, 1.0])
def test_targets_are_those_of_taos_rasteriser_cell_by_cell(shapes: list[ClassShape], deadzone: float):
    rng = np.random.default_rng(len(shapes) + int(100 * deadzone))
    size, count = (96, 128), 14
    maker = TargetMaker(size, shapes, deadzone_radius=deadzone)
    corner = rng.uniform(-30, 128, (3, count, 2))  # some boxes reach past the frame, some are outside
    extent = rng.uniform(0, 1, (3, count, 2)) ** 2 * 70 + rng.choice([0.01, 8.0], (3, count, 1))  # some are tiny
    boxes = np.concatenate([corner, corner + extent], axis=2).astype(np.float32)
    labels = rng.integers(-1, 2, (3, count))  # two classes, and padding

    targets = maker(torch.from_numpy(boxes), torch.from_numpy(labels))

    for n in range(3):
        cov, norm, bbox = reference(boxes[n].astype(np.float64), labels[n], size, shapes, deadzone)
        assert cov.any()
        np.testing.assert_allclose(targets.cov[n], cov, atol=1e-6)
        np.testing.assert_allclose(targets.cov_norm[n], norm, atol=1e-6)
        np.testing.assert_allclose(targets.bbox[n], bbox, atol=1e-5)


def test_a_box_worked_by_hand():
    targets = draw([16, 16, 48, 48])

    # In cells: centre (2, 2), radius 1. Of the 16 samples of each of the four cells around the centre the three next to
    # the outer corner lie outside.
    expected = torch.zeros(4, 4)
    expected[1:3, 1:3] = 13 / 16
    assert torch.equal(targets.cov[0, 0], expected)
    assert torch.allclose(targets.cov_norm[0, 0], expected / 4)  # area 4·rx·ry
    assert targets.bbox[0, :, 1, 1].tolist() == pytest.approx([0.5 / 35, 0.5 / 35, 31.5 / 35, 31.5 / 35])
    assert targets.bbox[0, :, 1, 2].tolist() == pytest.approx([16.5 / 35, 0.5 / 35, 15.5 / 35, 31.5 / 35])
    assert targets.bbox[0, :, 0, 0].tolist() == [0, 0, 0, 0]


def test_cells_whose_centre_lies_in_a_region_to_ignore_count_neither_way_unless_an_object_covers_them():
    alone = draw([[16, 16, 48, 48]])
    targets = draw([[16, 16, 48, 48], [0, 0, 23, 64], [0, 0, 64, 64]], [0, IGNORED, -1])

    assert torch.equal(targets.cov[0, 0, 1:3, 1], alone.cov[0, 0, 1:3, 1])
    assert targets.cov[0, 0, :, 0].tolist() == [-1, -1, -1, -1]
    assert targets.cov[0, 0, :, 1].tolist() == [0, 13 / 16, 13 / 16, 0]  # their centres are at 24
    assert torch.equal(targets.cov_norm, alone.cov_norm)
    assert torch.equal(targets.bbox, alone.bbox)


def test_a_region_to_ignore_leaves_the_cells_of_an_object_to_all_classes():
    boxes, labels = [[16, 16, 48, 48], [0, 0, 64, 64]], [1, IGNORED]
    cov = draw(boxes, labels, shapes=[PLAIN, PLAIN]).cov[0]

    assert (cov[0, 1:3, 1:3] == 0).all()  # it is no object of class 0
    assert (cov[1, 1:3, 1:3] > 0).all()
    assert (cov[:, 0] == -1).all()


def test_a_small_ellipse_keeps_its_aspect_and_its_area_counts_as_one_cell_at_least():
    small = ClassShape(cov_radius_x=0.5, cov_radius_y=0.5, bbox_min_radius=0.5)

    targets = draw([16, 16, 48, 48], shapes=[small])

    # Radius 0.5: the samples at (1/8, 1/8), (1/8, 3/8), (3/8, 1/8) from the centre are inside.
    assert targets.cov[0, 0, 1, 1] == 3 / 16
    assert targets.cov_norm[0, 0, 1, 1] == 3 / 16

    wide = draw([0, 24, 64, 40], shapes=[ClassShape(bbox_min_radius=1.0)])  # rx 2, ry 0.5 grow to 4 and 1
    assert wide.cov[0, 0, 1].tolist() == wide.cov[0, 0, 2].tolist()
    assert (wide.cov_norm[0, 0, 1] * 16 == wide.cov[0, 0, 1]).all()


def test_a_lower_boxs_dead_zone_erases_the_cells_of_a_higher_one():
    higher, lower = [0, 0, 32, 32], [0, 16, 64, 80]
    shapes = [ClassShape(cov_radius_x=0.4, cov_radius_y=0.4)]

    alone = draw([higher], shapes=shapes, deadzone_radius=1.0)
    both = draw([lower, higher], shapes=shapes, deadzone_radius=1.0)
    no_dead_zone = draw([lower, higher], shapes=shapes, deadzone_radius=0.0)

    assert alone.cov[0, 0, 1, 1] > 0
    assert no_dead_zone.cov[0, 0, 1, 1] > 0
    assert both.cov[0, 0, 1, 1] == 0
    assert both.cov_norm[0, 0, 1, 1] == 0
    assert both.bbox[0, :, 1, 1].tolist() == [0, 0, 0, 0]
    assert both.cov[0, 0, 0, 0] == alone.cov[0, 0, 0, 0]


def test_of_two_boxes_with_equal_shares_the_lower_one_takes_the_cell():
    targets = draw([[0, 0, 64, 63], [0, 0, 64, 64]])
    again = draw([[0, 0, 64, 64], [0, 0, 64, 63]])

    assert targets.bbox[0, 3, 1, 1] == pytest.approx((64 - 16.5) / 35)
    assert all(torch.equal(a, b) for a, b in zip(targets, again, strict=True))


def test_classes_have_their_own_channels_and_do_not_erase_each_other():
    box = [16.0, 16.0, 48.0, 48.0]
    targets = draw([box, box], [0, 2], shapes=[PLAIN] * 3)

    assert torch.equal(targets.cov[0, 0], targets.cov[0, 2])
    assert float(targets.cov[0, 1].abs().sum()) == 0
    assert torch.equal(targets.bbox[0, 0:4], targets.bbox[0, 8:12])
    assert targets.bbox.shape == (1, 12, 4, 4)


@pytest.mark.parametrize("boxes", [torch.zeros(2, 0, 4), torch.full((2, 3, 4), 20.0)], ids=["none", "padding"])
def test_pictures_without_boxes_have_empty_targets(boxes: torch.Tensor):
    labels = torch.full(boxes.shape[:2], -1)

    targets = TargetMaker((64, 96), [PLAIN])(boxes, labels)

    assert [tuple(t.shape) for t in targets] == [(2, 1, 4, 6), (2, 1, 4, 6), (2, 4, 4, 6)]
    assert all(float(t.abs().sum()) == 0 for t in targets)


def test_boxes_outside_the_frame_draw_nothing_and_a_far_corner_stays_measured_past_the_frame():
    outside = draw([[-80, -80, -40, -40], [100, 0, 140, 30]])
    assert float(outside.cov.sum()) == 0

    cut = draw([32, 32, 96, 96])
    assert cut.bbox[0, 2, 3, 3] == pytest.approx((96 - 48.5) / 35)


def test_every_picture_of_a_batch_has_its_own_boxes():
    boxes = torch.tensor([[[0.0, 0, 32, 32]], [[32.0, 32, 64, 64]]])
    maker = TargetMaker((64, 64), [PLAIN])

    both = maker(boxes, torch.zeros(2, 1, dtype=torch.int64))

    for n in range(2):
        alone = maker(boxes[n : n + 1], torch.zeros(1, 1, dtype=torch.int64))
        assert all(torch.equal(a[0], b[n]) for a, b in zip(alone, both, strict=True))


def test_scale_and_offset_are_obeyed():
    targets = draw([16, 16, 48, 48], scale=10.0, offset=8.0)

    assert targets.bbox[0, :, 1, 1].tolist() == pytest.approx([0.8, 0.8, 2.4, 2.4])
    encoded = encode(torch.tensor([16.0, 16, 48, 48]), (4, 4), scale=10.0, offset=8.0)
    assert torch.allclose(encoded[:, 1, 1], targets.bbox[0, :, 1, 1])


def test_boxes_are_encoded_by_their_distance_from_the_cells_corner_plus_the_offset():
    encoded = encode(torch.tensor([[3.0, 5.0, 30.0, 40.0]]), (2, 3))

    assert encoded.shape == (1, 4, 2, 3)
    # Cell (1, 2): x 32.5, y 16.5.
    assert encoded[0, :, 1, 2].tolist() == pytest.approx([29.5 / 35, 11.5 / 35, -2.5 / 35, 23.5 / 35])
