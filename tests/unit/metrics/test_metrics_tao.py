from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from aerodet.errors import DataError
from aerodet.metrics import BoxLimits, Detections, tao_ap


def squares(count, *, start=0):
    """Boxes of 10x10 px, far apart."""
    x = (np.arange(start, start + count) * 100.0)[:, None]
    return np.concatenate([x, 0 * x, x + 10, 0 * x + 10], axis=1).astype(np.float32)


def one_image(true, found, scores):
    truth = [(np.asarray(true, np.float32).reshape(-1, 4), np.zeros(len(true), np.int64))]
    return truth, [Detections(found, scores, np.zeros(len(scores)))]


@pytest.mark.parametrize(("boxes", "integrate"), [(1, 0.0), (2, 0.5), (10, 0.9), (100, 0.99)])
def test_a_perfect_detector_loses_the_first_step_of_integrate(boxes, integrate):
    case = one_image(squares(boxes), squares(boxes), np.linspace(1, 0.5, boxes))
    assert tao_ap(*case, 1, "integrate").mean_ap == pytest.approx(integrate)
    assert tao_ap(*case, 1, "sample").mean_ap == pytest.approx(1.0)


def test_a_hand_worked_case():
    # 4 true boxes; by confidence right, wrong, right, right, wrong.
    # Recall 1/4, 1/4, 2/4, 3/4, 3/4; precision 1, 1/2, 2/3, 3/4, 3/5.
    true, wrong = squares(4), squares(2, start=10)
    case = one_image(true, [true[0], wrong[0], true[1], true[2], wrong[1]], [0.9, 0.8, 0.7, 0.6, 0.5])
    # recall 0, .1, .2: 1; .3 to .7: 3/4; .8, .9, 1: not reached
    assert tao_ap(*case, 1, "sample").mean_ap == pytest.approx((3 * 1 + 5 * 3 / 4) / 11)
    # steps 1/4 to 2/4 (best beyond: 1, 1/2, 2/3 -> 1) and 2/4 to 3/4 (2/3); the detections at recall 3/4 do not count
    assert tao_ap(*case, 1, "integrate").mean_ap == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)


def test_integrate_starts_at_zero_when_the_surest_detection_is_wrong():
    true = squares(2)
    case = one_image(true, [*squares(1, start=9), *true], [0.9, 0.8, 0.7])
    # recall 0 1/2 1, precision 0 1/2 2/3: steps from 0 (best beyond: 1/2) and from 1/2 (1/2)
    assert tao_ap(*case, 1, "integrate").mean_ap == pytest.approx(0.5 * 0.5 + 0.5 * 0.5)


def test_overlap_counts_whole_pixels_with_both_ends():
    true = [[0, 0, 9, 9]]  # 10x10 pixels
    half = [[0, 0, 9, 4]]  # 10x5 of them: exactly 0.5, where corners as lengths would give 4/9
    assert tao_ap(*one_image(true, half, [1]), 1).mean_ap == 1
    assert tao_ap(*one_image(true, half, [1]), 1, min_overlap=0.51).mean_ap == 0


def test_corners_are_rounded_half_to_even_before_the_overlap():
    true = [[0, 0, 9, 9]]
    assert tao_ap(*one_image(true, [[0, 0, 9, 4.5]], [1]), 1).mean_ap == 1  # 4.5 -> 4: 50 of 100 pixels
    assert tao_ap(*one_image(true, [[0, 0, 9, 3.5]], [1]), 1).mean_ap == 1  # 3.5 -> 4
    assert tao_ap(*one_image(true, [[0, 0, 9, 3.4]], [1]), 1).mean_ap == 0


def test_a_second_detection_of_a_box_is_wrong_even_if_another_box_would_do():
    true = [[0, 0, 100, 100], [0, 0, 100, 70]]
    found = [[0, 0, 100, 100], [0, 0, 100, 98]]  # both overlap the first box most
    assert tao_ap(*one_image(true, found, [0.9, 0.8]), 1).mean_ap == pytest.approx(6 / 11)


def test_the_surer_detection_takes_the_box_and_ties_keep_their_order():
    true = squares(1)
    loose = true + np.float32([0, 0, 0, 3])
    assert tao_ap(*one_image(true, [*true, *loose], [0.5, 0.9]), 1).mean_ap == 1
    case = one_image(true, [*squares(1, start=5), *true], [0.5, 0.5])
    assert tao_ap(*case, 1).mean_ap == pytest.approx(0.5)


def test_boxes_out_of_limits_are_dropped_on_both_sides():
    true, found = [*squares(1), [500, 0, 504, 4]], [*squares(1), [900, 0, 904, 4]]
    case = one_image(true, found, [0.5, 0.9])
    assert tao_ap(*case, 1).mean_ap == pytest.approx(6 * 0.5 / 11)
    assert tao_ap(*case, 1, limits=BoxLimits(minimum_height=5)).mean_ap == 1
    assert tao_ap(*case, 1, limits=[BoxLimits(minimum_width=5)]).mean_ap == 1
    assert tao_ap(*case, 1, limits=BoxLimits(maximum_width=9)).mean_ap == 0
    assert tao_ap(*case, 1, limits=BoxLimits(10, 10, 10, 10)).mean_ap == 1


def test_classes_and_images_are_kept_apart_and_a_class_without_truth_is_zero():
    truth = [(squares(2), np.array([0, 1])), (squares(1), np.array([1]))]
    detections = [Detections(squares(2), [0.9, 0.8], [1, 1]), Detections(squares(1), [0.7], [1])]
    result = tao_ap(truth, detections, 3)
    # class 1: wrong, right, right of 2: precision beyond is 2/3 everywhere
    assert result.per_class == pytest.approx([0, 2 / 3, 0])
    assert result.mean_ap == pytest.approx(2 / 9)


def test_overlaps_may_differ_by_class():
    truth = [(np.array([[0, 0, 9, 9], [100, 0, 109, 9]], np.float32), np.array([0, 1]))]
    found = [Detections([[0, 0, 9, 5], [100, 0, 109, 5]], [1, 1], [0, 1])]
    assert tao_ap(truth, found, 2, min_overlap=[0.5, 0.7]).per_class == [1, 0]
    with pytest.raises(ValueError, match="1 overlaps and 2 limits for 2 classes"):
        tao_ap(truth, found, 2, min_overlap=[0.5])


def test_no_detections_are_zero_and_no_truth_is_refused():
    truth = [(squares(2), np.zeros(2, np.int64))]
    for mode in ("sample", "integrate"):
        assert tao_ap(truth, [Detections.empty()], 1, mode).mean_ap == 0
    with pytest.raises(DataError, match="have no box"):
        tao_ap([(squares(0), np.zeros(0, np.int64))], [Detections.empty()], 1)


def plain_tao(truth, detections, label, mode):
    """The measure written out box by box, from its description."""
    rows = sorted(
        (
            (-float(s), image, n)
            for image, found in enumerate(detections)
            for n, s in enumerate(found.scores)
            if found.labels[n] == label
        ),
    )
    used, hits = set(), []
    for _, image, n in rows:
        x1, y1, x2, y2 = (round(float(v)) for v in detections[image].boxes[n])
        best, which = -1.0, -1
        for k, (box, other) in enumerate(zip(*truth[image], strict=True)):
            if other != label:
                continue
            u1, v1, u2, v2 = (round(float(v)) for v in box)
            shared = max(0, min(x2, u2) - max(x1, u1) + 1) * max(0, min(y2, v2) - max(y1, v1) + 1)
            iou = shared / ((x2 - x1 + 1) * (y2 - y1 + 1) + (u2 - u1 + 1) * (v2 - v1 + 1) - shared)
            if iou > best:
                best, which = iou, k
        hits.append(best >= 0.5 and (image, which) not in used)
        if hits[-1]:
            used.add((image, which))
    total = sum(int((labels == label).sum()) for _, labels in truth)
    recall = [sum(hits[: n + 1]) / total for n in range(len(hits))]
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    if mode == "sample":
        levels = np.linspace(0, 1, 11)
        return (
            sum(max((p for p, r in zip(precision, recall, strict=True) if r >= level), default=0) for level in levels)
            / 11
        )
    reached = sorted(set(recall))
    area = 0.0
    for low, high in pairwise(reached):
        area += (high - low) * max(p for p, r in zip(precision, recall, strict=True) if low <= r < reached[-1])
    return area


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["sample", "integrate"])
def test_random_cases_agree_with_the_measure_written_out(seed, mode):
    generator = np.random.default_rng(seed)
    truth, detections = [], []
    for _ in range(12):
        count = generator.integers(0, 8)
        corner = generator.uniform(0, 80, (count, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(8, 40, (count, 2))], axis=1).astype(np.float32)
        labels = generator.integers(0, 2, count)
        copies = generator.integers(0, max(count, 1), 2 * count)
        found = boxes[copies] + generator.normal(0, 3, (2 * count, 4)).astype(np.float32)
        truth.append((boxes, labels))
        detections.append(Detections(found, generator.random(2 * count), labels[copies]))
    expected = [plain_tao(truth, detections, label, mode) for label in range(2)]
    assert tao_ap(truth, detections, 2, mode).per_class == pytest.approx(expected, abs=1e-12)
