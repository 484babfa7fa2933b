from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from aerodet.errors import DataError
from aerodet.metrics import Detections, coco_ap, coco_results


def oracle(truth, detections, num_classes):
    """Return pycocotools' precision [10, 101, classes, 4 areas] and its first six figures."""
    dataset = COCO()
    annotations = []
    for image, (boxes, labels) in enumerate(truth):
        for (x1, y1, x2, y2), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            box = [x1, y1, x2 - x1, y2 - y1]
            for category in [label] if label >= 0 else range(num_classes):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": category + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": int(label < 0),
                    }
                )
    dataset.dataset = {
        "images": [{"id": image} for image in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": str(label)} for label in range(num_classes)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(coco_results(range(len(truth)), detections)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.eval["precision"][..., 2], evaluation.stats[:6]


def random_boxes(generator, count):
    corner = generator.uniform(0, 300, (count, 2))
    return np.concatenate([corner, corner + generator.uniform(3, 150, (count, 2))], axis=1).astype(np.float32)


def random_case(seed, num_classes, images=25):
    """Images with and without truth and detections, jittered and false boxes, tied scores."""
    generator = np.random.default_rng(seed)
    truth, detections = [], []
    for image in range(images):
        boxes = random_boxes(generator, 0 if image % 6 == 1 else generator.integers(1, 12))
        labels = generator.integers(0, num_classes, len(boxes))
        truth.append((boxes, labels))
        if image % 7 == 2:
            detections.append(Detections.empty())
            continue
        seen = generator.random(len(boxes)) < 0.8
        jittered = boxes[seen] + generator.normal(0, 4, (int(seen.sum()), 4)).astype(np.float32)
        false = random_boxes(generator, generator.integers(0, 5))
        found = np.concatenate([jittered, false])
        guesses = np.concatenate([labels[seen], generator.integers(0, num_classes, len(false))])
        detections.append(Detections(found, generator.random(len(found)).round(1), guesses))
    return truth, detections


@pytest.mark.parametrize(("seed", "num_classes"), [(0, 1), (1, 1), (2, 3), (3, 3), (4, 7)])
def test_every_figure_agrees_with_pycocotools(seed, num_classes):
    truth, detections = random_case(seed, num_classes)
    result = coco_ap(truth, detections, num_classes)
    precision, stats = oracle(truth, detections, num_classes)
    sizes = [result.slices[size] for size in ("small", "medium", "large")]
    assert [result.ap, result.ap50, result.ap75] == pytest.approx(stats[:3].tolist(), abs=1e-6)
    for area, piece in enumerate(sizes, start=1):
        at_50 = precision[0, :, :, area]
        assert piece.ap50 == pytest.approx(at_50[at_50 > -1].mean(), abs=1e-6)
    for label, value in enumerate(result.per_class_ap50):
        assert value == pytest.approx(precision[0, :, label, 0].mean(), abs=1e-6)
    assert result.curve.precision == pytest.approx(precision[0, :, :, 0].mean(axis=1), abs=1e-6)
    assert result.curve.precision.mean() == pytest.approx(result.ap50, abs=1e-9)
    assert sum(piece.boxes for piece in sizes) == sum(len(boxes) for boxes, _ in truth)


@pytest.mark.parametrize("num_classes", [1, 3])
def test_regions_to_ignore_are_what_crowds_are_to_pycocotools(num_classes):
    plain, detections = random_case(4, num_classes)
    generator = np.random.default_rng(9)
    truth = [
        (np.concatenate([boxes, random_boxes(generator, 3)]), np.concatenate([labels, [-2, -2, -2]]))
        for boxes, labels in plain
    ]
    result = coco_ap(truth, detections, num_classes)
    stats = oracle(truth, detections, num_classes)[1]
    assert [result.ap, result.ap50, result.ap75] == pytest.approx(stats[:3].tolist(), abs=1e-6)
    assert [result.slices[size].ap50 for size in ("small", "medium", "large")] == pytest.approx(
        [at_50[at_50 > -1].mean() for at_50 in oracle(truth, detections, num_classes)[0][0].transpose(2, 0, 1)[1:]],
        abs=1e-6,
    )
    assert sum(piece.boxes for piece in result.slices.values()) == sum(len(boxes) for boxes, _ in plain)
    assert result.ap50 > coco_ap(plain, detections, num_classes).ap50


def test_only_the_hundred_surest_detections_of_an_image_count_as_in_pycocotools():
    generator = np.random.default_rng(5)
    boxes = random_boxes(generator, 130)
    truth = [(boxes, np.zeros(130, np.int64))]
    detections = [Detections(boxes, generator.random(130), np.zeros(130))]
    result = coco_ap(truth, detections, 1)
    assert result.ap50 == pytest.approx(oracle(truth, detections, 1)[1][1], abs=1e-6)
    assert result.ap50 < 0.8


def test_perfect_detections_reach_one():
    truth, _ = random_case(6, 2)
    detections = [Detections(boxes, np.ones(len(boxes)), labels) for boxes, labels in truth]
    result = coco_ap(truth, detections, 2)
    assert (result.ap, result.ap50, result.ap75) == pytest.approx((1, 1, 1))
    assert result.curve.recall[[0, 50, 100]].tolist() == [0, 0.5, 1]
    assert result.curve.precision == pytest.approx(np.ones(101))


def test_a_hand_worked_case():
    # Two true boxes; the surest detection is wrong, the next is right: precision 1/2 up to recall 1/2, then 0.
    truth = [(np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32), np.zeros(2, np.int64))]
    found = Detections([[100, 100, 110, 110], [0, 0, 10, 10]], [0.9, 0.8], [0, 0])
    result = coco_ap(truth, [found], 1)
    assert result.ap50 == pytest.approx(0.5 * 51 / 101)
    assert result.slices["small"].boxes == 2
    assert result.slices["large"].ap50 is None


def test_no_detections_at_all_are_zero():
    truth, detections = random_case(7, 2)
    result = coco_ap(truth, [Detections.empty()] * len(detections), 2)
    assert (result.ap, result.ap50, result.ap75, result.per_class_ap50) == (0, 0, 0, [0, 0])
    assert (result.curve.precision == 0).all()


def test_a_class_without_truth_has_no_figure_and_does_not_enter_the_mean():
    truth = [(np.array([[0, 0, 10, 10]], np.float32), np.zeros(1, np.int64))]
    found = Detections([[0, 0, 10, 10], [5, 5, 9, 9]], [0.9, 0.8], [0, 1])
    result = coco_ap(truth, [found], 2)
    assert result.per_class_ap50 == [pytest.approx(1), None]
    assert result.ap50 == pytest.approx(1)


def test_no_truth_at_all_is_refused():
    empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="the 2 test images have no box"):
        coco_ap([empty] * 2, [Detections.empty()] * 2, 1)


def test_detections_that_do_not_belong_to_the_truth_are_a_defect():
    truth = [(np.ones((1, 4), np.float32), np.zeros(1, np.int64))]
    with pytest.raises(ValueError, match="truth of 1 images, detections of 2"):
        coco_ap(truth, [Detections.empty()] * 2, 1)
    with pytest.raises(ValueError, match="outside 0 to 0"):
        coco_ap(truth, [Detections([[0, 0, 1, 1]], [1], [1])], 1)
    with pytest.raises(ValueError, match="1 boxes, 2 scores and 1 labels"):
        Detections([[0, 0, 1, 1]], [1, 2], [1])


def test_nothing_is_printed(capfd):
    coco_ap(*random_case(8, 2), 2)
    assert capfd.readouterr() == ("", "")


def test_results_are_written_as_coco_has_them():
    found = Detections([[1, 2, 4, 6]], [0.5], [1])
    assert len(found) == 1
    assert coco_results([7], [found]) == [{"image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]
