"""Average precision as COCO defines it, computed in memory by hotcoco; pycocotools is the oracle in the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerodet.metrics.detections import Detections, Truth, check_pairs

if TYPE_CHECKING:
    from hotcoco import COCO

__all__ = ["CocoResult", "Curve", "SizeSlice", "coco_ap", "coco_results"]

SIZES = ("small", "medium", "large")
SMALL, MEDIUM = 32**2, 96**2  # COCO's limits, square pixels
_AT_50, _AT_75 = 0, 5  # places of IoU 0.5 and 0.75 in COCO's ten thresholds
_HUNDRED = 2  # place of "at most 100 detections an image" in COCO's 1, 10, 100


@dataclass(frozen=True, slots=True)
class SizeSlice:
    """AP at IoU 0.5 of the boxes of one size (None where there are none), and how many there are."""

    ap50: float | None
    boxes: int


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Precision over recall at IoU 0.5, averaged over the classes: two float64 [101]."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CocoResult:
    """COCO's figures, fractions from 0 to 1.

    Args:
        ap: mean over IoU 0.50, 0.55 ... 0.95 and the classes.
        ap50: at IoU 0.5.
        ap75: at IoU 0.75.
        per_class_ap50: by label; None for a class without true boxes.
        slices: by box size, ``small`` (under 32x32 px), ``medium`` (under 96x96 px) and ``large``.
        curve: precision over recall at IoU 0.5.
    """

    ap: float
    ap50: float
    ap75: float
    per_class_ap50: list[float | None]
    slices: dict[str, SizeSlice]
    curve: Curve


def coco_ap(truth: Sequence[Truth], detections: Sequence[Detections], num_classes: int) -> CocoResult:
    """Measure detections the COCO way: greedy matching, 101 recall points, at most 100 detections an image.

    Args:
        truth: one pair of boxes (float32 [N, 4], pixels) and labels (int64 [N]) an image; regions to ignore are crowds
            of every class.
        detections: one an image, in the same order.
        num_classes: number of classes; classes without true boxes do not enter the means.

    Returns:
        The figures; all are 0 where nothing was detected.

    Raises:
        DataError: there is no true box.

    Source: pycocotools ``COCOeval`` with ``iouType="bbox"``.
    """
    check_pairs(truth, detections, num_classes)
    dataset, areas = _dataset(truth, num_classes)
    precision = _precision(dataset, detections)
    every, at_50 = precision[:, :, :, 0], precision[_AT_50]
    counts = np.histogram(areas, (-np.inf, SMALL, MEDIUM, np.inf))[0].tolist()
    return CocoResult(
        ap=_mean(every) or 0.0,
        ap50=_mean(every[_AT_50]) or 0.0,
        ap75=_mean(every[_AT_75]) or 0.0,
        per_class_ap50=[_mean(at_50[:, label, 0]) for label in range(num_classes)],
        slices={size: SizeSlice(_mean(at_50[:, :, place + 1]), counts[place]) for place, size in enumerate(SIZES)},
        curve=_curve(at_50[:, :, 0]),
    )


def coco_results(image_ids: Sequence[int], detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Return detections as a COCO results list; category ids are label + 1, as in image sets.

    Args:
        image_ids: id of each image.
        detections: one an image, in the same order.
    """
    return [
        {"image_id": image, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for image, found in zip(image_ids, detections, strict=True)
        for (x1, y1, x2, y2), label, score in zip(
            found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
        )
    ]


def _dataset(truth: Sequence[Truth], num_classes: int) -> tuple[COCO, NDArray[np.float64]]:
    """Return the truth in hotcoco's form, and the areas of the boxes that count.

    Image ids are places in the list, category ids are labels; a region to ignore is a crowd of each class.
    """
    from hotcoco import COCO

    images = np.repeat(np.arange(len(truth)), [len(labels) for _, labels in truth])
    labels = np.concatenate([labels for _, labels in truth])
    boxes = _to_xywh(np.concatenate([boxes for boxes, _ in truth]))
    times = np.where(labels < 0, num_classes, 1)
    crowd = np.repeat(labels < 0, times)
    images, labels, boxes = (np.repeat(column, times, axis=0) for column in (images, labels, boxes))
    labels[crowd] = np.tile(np.arange(num_classes), int(crowd.sum()) // num_classes)
    areas = boxes[:, 2] * boxes[:, 3]
    dataset = COCO.from_arrays(
        [{"id": i, "width": 1, "height": 1, "file_name": ""} for i in range(len(truth))],  # sizes are not used
        [{"id": label, "name": str(label)} for label in range(num_classes)],
        images,
        labels,
        boxes,
        ids=np.arange(1, len(boxes) + 1),
        area=areas,
        iscrowd=crowd.astype(int),
    )
    return dataset, areas[~crowd]


def _precision(dataset: COCO, detections: Sequence[Detections]) -> NDArray[np.float64]:
    """Return float64 [10 thresholds, 101 recalls, classes, all and 3 sizes]; -1 where there is no true box."""
    from hotcoco import COCOeval

    columns = [
        np.repeat(np.arange(len(detections)), [len(found) for found in detections])[:, None],
        _to_xywh(np.concatenate([found.boxes for found in detections])),
        np.concatenate([found.scores for found in detections])[:, None],
        np.concatenate([found.labels for found in detections])[:, None],
    ]
    evaluation = COCOeval(dataset, dataset.load_res(np.concatenate(columns, axis=1, dtype=np.float64)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    accumulated: Any = evaluation.eval
    return np.asarray(accumulated["precision"], np.float64)[..., _HUNDRED]


def _to_xywh(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = boxes.astype(np.float64)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1)


def _mean(precision: NDArray[np.float64]) -> float | None:
    measured = precision[precision > -1]
    return float(measured.mean()) if measured.size else None


def _curve(precision: NDArray[np.float64]) -> Curve:
    """Average float64 [101, classes] over the classes that have true boxes."""
    present = (precision > -1).all(axis=0)
    return Curve(np.linspace(0, 1, 101), precision[:, present].mean(axis=1))
