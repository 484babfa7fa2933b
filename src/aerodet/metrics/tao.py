"""Average precision as TAO's DetectNet_v2 reports it, which is the Pascal VOC measure with habits of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aerodet.metrics.detections import Detections, Truth, check_pairs

__all__ = ["BoxLimits", "Mode", "TaoResult", "tao_ap"]

Mode = Literal["sample", "integrate"]


@dataclass(frozen=True, slots=True)
class BoxLimits:
    """The sizes of boxes that count, pixels, as in a spec's ``evaluation_box_config``; the ends are included."""

    minimum_height: float = 0
    maximum_height: float = np.inf
    minimum_width: float = 0
    maximum_width: float = np.inf

    def allow(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return bool [N]: whether each of the boxes [N, 4] counts."""
        width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        wide = (width >= self.minimum_width) & (width <= self.maximum_width)
        high = (height >= self.minimum_height) & (height <= self.maximum_height)
        return np.asarray(wide & high)


@dataclass(frozen=True, slots=True)
class TaoResult:
    """Average precisions, fractions from 0 to 1: the mean over all classes, and each class's by label."""

    mean_ap: float
    per_class: list[float]


def tao_ap(
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    num_classes: int,
    mode: Mode = "sample",
    *,
    min_overlap: float | Sequence[float] = 0.5,
    limits: BoxLimits | Sequence[BoxLimits] | None = None,
) -> TaoResult:
    """Measure detections the way TAO does.

    Boxes outside the limits are dropped, true or detected; corners are rounded to whole pixels and areas include both
    ends. A detection is compared only with the true box that it overlaps most: it is right if that overlap suffices and
    no surer detection has taken the box.

    ``sample`` is the mean, over recall 0, 0.1 ... 1, of the best precision at that recall or beyond. ``integrate`` sums
    recall steps times the best precision beyond, but starts at the first recall reached, so its first step is lost: a
    perfect detector on n boxes gets (n - 1) / n.

    Args:
        truth: one pair of boxes (float32 [N, 4], pixels) and labels (int64 [N]) an image.
        detections: one an image, in the same order.
        num_classes: number of classes; one without true boxes counts as 0, as in TAO.
        mode: ``sample`` or ``integrate``.
        min_overlap: least IoU of a match, for all classes or by label (``minimum_detection_ground_truth_overlap``).
        limits: sizes that count, for all classes or by label; every size when None.

    Returns:
        The average precisions.

    Raises:
        DataError: there is no true box.

    Source: TAO 5, ``detectnet_v2/evaluation/compute_metrics.py``.
    """
    check_pairs(truth, detections, num_classes)
    overlaps = [min_overlap] * num_classes if isinstance(min_overlap, int | float) else list(min_overlap)
    bounds = [limits or BoxLimits()] * num_classes if limits is None or isinstance(limits, BoxLimits) else list(limits)
    if not len(overlaps) == len(bounds) == num_classes:
        raise ValueError(f"{len(overlaps)} overlaps and {len(bounds)} limits for {num_classes} classes")
    measure = {"sample": _sample, "integrate": _integrate}[mode]
    per_class = []
    for label in range(num_classes):
        right, total = _match(truth, detections, label, overlaps[label], bounds[label])
        hits = np.cumsum(right)
        # Without true boxes TAO's recall is not a number and its AP becomes 0.
        per_class.append(measure(hits / total, hits / np.arange(1, len(right) + 1)) if total and len(right) else 0.0)
    return TaoResult(float(np.mean(per_class)), per_class)


def _match(
    truth: Sequence[Truth], detections: Sequence[Detections], label: int, min_overlap: float, limits: BoxLimits
) -> tuple[NDArray[np.bool_], int]:
    """Return bool [D], right or wrong, surest detection first, and the number of true boxes of the class."""
    scores, keys = [], []
    total = 0
    for (boxes, labels), found in zip(truth, detections, strict=True):
        true = boxes[(labels == label) & limits.allow(boxes)]
        mine = (found.labels == label) & limits.allow(found.boxes)
        scores.append(found.scores[mine])
        keys.append(_best(found.boxes[mine], true, min_overlap, total))
        total += len(true)
    # TAO sorts with quicksort; a stable sort makes ties the same everywhere.
    order = np.argsort(-np.concatenate(scores), kind="stable")
    key = np.concatenate(keys)[order]
    first = np.zeros(len(key), bool)
    first[np.unique(key, return_index=True)[1]] = True
    return first & (key >= 0), total


def _best(found: NDArray[np.float32], true: NDArray[np.float32], min_overlap: float, offset: int) -> NDArray[np.int64]:
    """Return int64 [D]: ``offset`` + the true box that each detection overlaps most, -1 where that is not enough."""
    if not len(true) or not len(found):
        return np.full(len(found), -1, np.int64)
    a, b = np.rint(found).astype(np.float64)[:, None], np.rint(true).astype(np.float64)[None]
    sides = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1, 0)
    shared = sides.prod(axis=-1)
    iou = shared / ((a[..., 2:] - a[..., :2] + 1).prod(axis=-1) + (b[..., 2:] - b[..., :2] + 1).prod(axis=-1) - shared)
    best = iou.argmax(axis=1)
    return np.where(iou[np.arange(len(found)), best] >= min_overlap, best + offset, -1)


def _sample(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    reached = [precision[recall >= level].max(initial=0.0) for level in np.linspace(0, 1, 11)]
    return float(np.mean(reached))


def _integrate(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    steps, first = np.unique(recall, return_index=True)
    best = np.maximum.reduceat(precision, first)[:-1]  # detections at the last recall do not count
    return float((np.diff(steps) * np.maximum.accumulate(best[::-1])[::-1]).sum())
