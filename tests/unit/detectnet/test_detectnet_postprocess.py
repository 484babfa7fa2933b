from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aerodet.detectnet.postprocess import ClusterOptions, cluster, decode


def outputs(cells: dict[tuple[int, int], tuple[float, list[float]]], grid: tuple[int, int] = (8, 8)) -> Any:
    """Return one image's coverage and box maps; a cell is (row, column): (coverage, pixel box)."""
    cov, bbox = torch.zeros(1, 1, *grid), torch.zeros(1, 4, *grid)
    for (i, j), (weight, (x1, y1, x2, y2)) in cells.items():
        x, y = 16 * j + 0.5, 16 * i + 0.5
        cov[0, 0, i, j] = weight
        bbox[0, :, i, j] = torch.tensor([x - x1, y - y1, x2 - x, y2 - y]) / 35
    return cov, bbox


def test_a_box_is_measured_from_half_a_pixel_into_the_cells_corner():
    boxes = decode(torch.ones(1, 4, 8, 8) * 0.5)

    # Cell (2, 3): x = 48.5, y = 32.5, half a unit is 17.5 pixels.
    assert boxes.shape == (1, 1, 8, 8, 4)
    assert boxes[0, 0, 2, 3].tolist() == [31.0, 15.0, 66.0, 50.0]


def test_scale_offset_and_stride_are_obeyed():
    boxes = decode(torch.ones(1, 4, 4, 4), stride=8, scale=10.0, offset=4.0, image_size=(100, 100))

    assert boxes[0, 0, 2, 1].tolist() == [2.0, 10.0, 22.0, 30.0]


def test_boxes_are_clipped_to_the_image_and_never_inverted():
    far = decode(torch.full((1, 4, 2, 3), 9.0))
    assert far[0, 0, 1, 2].tolist() == [0.0, 0.0, 48.0, 32.0]

    inverted = decode(torch.full((1, 4, 2, 3), -0.2))  # right edge 14 pixels left of the left edge
    assert inverted[0, 0, 0, 0].tolist() == [7.5, 7.5, 7.5, 7.5]
    outside = decode(torch.full((1, 4, 2, 3), -9.0))
    assert (outside[..., 2:] >= outside[..., :2]).all()
    assert outside[..., 2].max() <= 48


def test_classes_have_their_own_four_channels_and_half_precision_is_decoded_in_single():
    bbox = torch.zeros(2, 12, 4, 4, dtype=torch.float16)
    bbox[:, 4:8] = 0.5

    boxes = decode(bbox)

    assert boxes.shape == (2, 3, 4, 4, 4)
    assert boxes.dtype == torch.float32
    assert boxes[1, 1, 1, 1].tolist() == [0.0, 0.0, 34.0, 34.0]
    assert boxes[1, 0, 1, 1].tolist() == [16.5, 16.5, 16.5, 16.5]


def test_cells_that_agree_become_their_weighted_mean_with_their_summed_coverage():
    cov, bbox = outputs({(2, 2): (0.9, [20, 20, 60, 60]), (2, 3): (0.3, [22, 20, 62, 60])})

    (found,) = cluster(cov, bbox, [ClusterOptions()])

    assert found.boxes.tolist() == [pytest.approx([20.5, 20, 60.5, 60], abs=1e-4)]
    assert found.scores.tolist() == [pytest.approx(1.2)]
    assert found.labels.tolist() == [0]
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)


def test_the_mean_coverage_can_be_the_confidence():
    cov, bbox = outputs({(2, 2): (0.9, [20, 20, 60, 60]), (2, 3): (0.3, [22, 20, 62, 60])})

    (found,) = cluster(cov, bbox, [ClusterOptions()], confidence="mean")

    assert found.scores.tolist() == [pytest.approx(0.6)]


def test_a_lonely_weak_cell_vanishes():
    cov, bbox = outputs({(2, 2): (0.99, [20, 20, 60, 60]), (6, 6): (1.0, [80, 80, 120, 120])})

    (found,) = cluster(cov, bbox, [ClusterOptions()])

    assert found.boxes.tolist() == [pytest.approx([80, 80, 120, 120], abs=1e-4)]


def test_a_weak_neighbour_of_a_core_joins_its_cluster():
    # The third box overlaps only the second enough, and the second alone is a core thanks to the first.
    cells = {
        (2, 2): (0.8, [20, 20, 60, 60]),
        (2, 3): (0.8, [25, 20, 65, 60]),
        (2, 4): (0.1, [31, 20, 71, 60]),
    }
    (found,) = cluster(*outputs(cells), [ClusterOptions(dbscan_eps=0.3)])

    assert found.scores.tolist() == [pytest.approx(1.7)]


def test_only_cells_above_the_coverage_threshold_take_part():
    cells = {(2, 2): (1.0, [20, 20, 60, 60]), (2, 3): (0.4, [20, 20, 60, 60])}

    (found,) = cluster(*outputs(cells), [ClusterOptions(coverage_threshold=0.4)])

    assert found.scores.tolist() == [1.0]


def test_boxes_of_the_minimum_height_are_dropped_and_taller_ones_kept():
    cells = {(2, 2): (1.0, [20, 20, 60, 40]), (5, 5): (1.0, [70, 70, 110, 91])}

    (found,) = cluster(*outputs(cells), [ClusterOptions(minimum_height=20)])

    assert found.boxes.tolist() == [pytest.approx([70, 70, 110, 91], abs=1e-4)]


def test_dbscan_boxes_below_the_confidence_threshold_are_dropped():
    cells = {(2, 2): (1.0, [20, 20, 60, 60]), (5, 5): (1.0, [70, 70, 110, 110]), (5, 6): (0.5, [70, 70, 110, 110])}

    (found,) = cluster(*outputs(cells), [ClusterOptions(dbscan_confidence=1.25)])

    assert found.scores.tolist() == [1.5]


def test_nms_keeps_the_strongest_box_with_its_own_coverage():
    # The stronger box comes last: a suppression that re-orders coverages in place would swap the confidences.
    cells = {
        (2, 2): (0.3, [20, 20, 60, 60]),
        (2, 3): (0.7, [24, 20, 64, 60]),
        (6, 6): (0.5, [80, 80, 120, 120]),
    }
    (found,) = cluster(*outputs(cells), [ClusterOptions(algorithm="nms", nms_iou=0.5)])

    assert found.scores.tolist() == [pytest.approx(0.7), pytest.approx(0.5)]
    assert found.boxes[0].tolist() == pytest.approx([24, 20, 64, 60], abs=1e-4)
    assert found.boxes[1].tolist() == pytest.approx([80, 80, 120, 120], abs=1e-4)


def test_nms_counts_edge_pixels_and_keeps_an_overlap_equal_to_the_limit():
    # 10 and 10 pixels wide (both edges counted), 5 shared: IoU 50 / 150 exactly.
    cells = {(0, 0): (0.9, [0, 0, 9, 9]), (0, 1): (0.8, [5, 0, 14, 9])}
    third = float(np.float32(1) / np.float32(3))

    (kept,) = cluster(*outputs(cells), [ClusterOptions(algorithm="nms", nms_iou=third + 1e-3)])
    (suppressed,) = cluster(*outputs(cells), [ClusterOptions(algorithm="nms", nms_iou=third - 1e-3)])

    assert len(kept) == 2
    assert suppressed.scores.tolist() == [pytest.approx(0.9)]


def test_nms_boxes_need_more_than_the_confidence_threshold():
    cells = {(2, 2): (0.5, [20, 20, 60, 60]), (6, 6): (0.75, [80, 80, 120, 120])}

    (found,) = cluster(*outputs(cells), [ClusterOptions(algorithm="nms", nms_confidence=0.5)])

    assert found.scores.tolist() == [0.75]


@pytest.mark.parametrize("algorithm", ["dbscan", "nms"])
def test_images_and_classes_are_kept_apart_and_sorted_by_confidence(algorithm: Any):
    cov, bbox = torch.zeros(3, 2, 8, 8), torch.full((3, 8, 8, 8), 0.5)
    cov[0, 0, 2, 2], cov[0, 1, 2, 2], cov[0, 1, 6, 6] = 1.0, 2.0, 3.0
    cov[2, 0, 4, 4] = 1.5

    first, second, third = cluster(cov, bbox, [ClusterOptions(algorithm=algorithm)] * 2)

    assert first.scores.tolist() == [3.0, 2.0, 1.0]
    assert first.labels.tolist() == [1, 1, 0]
    assert (len(second), second.boxes.shape) == (0, (0, 4))
    assert (third.scores.tolist(), third.labels.tolist()) == ([1.5], [0])


def test_each_class_follows_its_own_options():
    cov, bbox = torch.zeros(1, 2, 8, 8), torch.full((1, 8, 8, 8), 0.5)
    cov[0, :, 2, 2] = 0.5

    (found,) = cluster(cov, bbox, [ClusterOptions(), ClusterOptions(algorithm="nms")])

    assert found.labels.tolist() == [1]


def test_arrays_and_half_precision_tensors_give_the_same_detections():
    cov, bbox = outputs({(2, 2): (1.0, [20, 20, 60, 60]), (2, 3): (0.5, [20, 20, 60, 60])})

    (tensor,) = cluster(cov, bbox, [ClusterOptions()])
    (array,) = cluster(cov.numpy(), bbox.numpy(), [ClusterOptions()])
    (half,) = cluster(cov.half(), bbox.half(), [ClusterOptions()])

    assert (tensor.boxes == array.boxes).all()
    assert half.boxes == pytest.approx(tensor.boxes, abs=0.05)


def test_a_network_that_fires_everywhere_with_one_box_gives_one_detection():
    cov, bbox = torch.full((1, 1, 32, 32), 0.5), torch.full((1, 4, 32, 32), 99.0)

    (found,) = cluster(cov, bbox, [ClusterOptions()])

    assert found.boxes.tolist() == [[0, 0, 512, 512]]
    assert found.scores.tolist() == [512.0]


def test_outputs_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(ValueError, match="do not fit 2 classes"):
        cluster(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, 4), [ClusterOptions()] * 2)
    with pytest.raises(ValueError, match="do not fit 1 classes"):
        cluster(torch.zeros(1, 1, 4, 4), torch.zeros(1, 8, 4, 4), [ClusterOptions()])


@pytest.mark.parametrize("algorithm", ["dbscan", "nms"])
def test_images_of_a_batch_do_not_touch_each_other(algorithm: Any):
    rng = np.random.default_rng(4)
    cov = (rng.random((5, 2, 6, 6)) * (rng.random((5, 2, 6, 6)) > 0.4)).astype(np.float32)
    bbox = rng.uniform(0, 1.2, (5, 8, 6, 6)).astype(np.float32)
    options = [ClusterOptions(0.05, algorithm=algorithm, dbscan_eps=eps) for eps in (0.5, 1.0)]

    together = cluster(cov, bbox, options)

    for n, found in enumerate(together):
        (alone,) = cluster(cov[n : n + 1], bbox[n : n + 1], options)
        assert len(found) > 0
        np.testing.assert_array_equal(found.boxes, alone.boxes)
        np.testing.assert_array_equal(found.scores, alone.scores)
        np.testing.assert_array_equal(found.labels, alone.labels)
