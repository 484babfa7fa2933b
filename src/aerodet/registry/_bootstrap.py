"""AP50 under resampling of the images: how sure a difference between two models is.

Matching does not depend on which images are drawn, so it is done once; a replicate only counts each image as often as
it was drawn. Replicates go through one cumulative sum, many at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from aerodet.metrics import Detections, Truth, areas, iou, share_inside

__all__ = ["Matches", "ap50", "draws", "match"]

_IOU = 0.5
_MOST = 100  # detections of one class in an image that count, as in COCO
_RECALLS = np.linspace(0, 1, 101)
_CELLS = 1_000_000  # of replicates x right detections at once: 8 MB an array, which stays in the cache
_EPSILON = float(np.spacing(1))

Chosen = Sequence[NDArray[np.bool_]]
"""Which true boxes count, bool [N] an image; the others are neither to be found nor missed."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """One class's detections, surest first, and how many true boxes each image has.

    Attributes:
        image: int64 [D], the place of the detection's image.
        right: bool [D]; what is not right is a false alarm, and what matched a box that does not count is not here.
        boxes: int64 [images], true boxes that count.
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    boxes: NDArray[np.int64]


def draws(images: int, replicates: int, seed: int) -> NDArray[np.int64]:
    """Return int64 [replicates, images]: how often each image is drawn, with replacement."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=replicates)


def match(
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    num_classes: int,
    chosen: Chosen | None = None,
    area: tuple[float, float] | None = None,
) -> list[Matches]:
    """Match detections to true boxes at IoU 0.5, greedily from the surest down, as COCO does.

    Args:
        truth: one pair of boxes (float32 [N, 4], pixels) and labels (int64 [N]) an image.
        detections: one an image, in the same order.
        num_classes: number of classes.
        chosen: which true boxes count, regions to ignore not among them; all when None.
        area: false alarms of another size, square pixels, are left out, as COCO does for its sizes.

    Returns:
        The matches of each class.

    Source: pycocotools ``COCOeval.evaluateImg``.
    """
    return [_match_class(truth, detections, label, chosen, area) for label in range(num_classes)]


def ap50(matches: Sequence[Matches], weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Return AP50 in percent, float64 [replicates], the mean over the classes that have true boxes.

    Args:
        matches: of each class.
        weights: int64 [replicates, images], how often each image counts; once each when None.

    Returns:
        Not a number where a replicate has no true box at all.
    """
    if weights is None:
        weights = np.ones((1, len(matches[0].boxes)), np.int64)
    per_class = np.stack([_average_precision(found, weights) for found in matches])
    counted = (~np.isnan(per_class)).sum(axis=0)
    total = np.nansum(per_class, axis=0)
    return np.asarray(100 * np.divide(total, counted, out=np.full(len(total), np.nan), where=counted > 0))


def _average_precision(found: Matches, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the 101-point AP of one class for each row of weights; not a number where it has no true box.

    The curve is looked at where something right was found only: between two of these precision just falls.
    """
    boxes = weights @ found.boxes
    result = np.full(len(weights), np.nan)
    hits_at, alarms = _columns(found, weights.shape[1])
    step = max(1, _CELLS // max(1, len(hits_at)))
    for start in range(0, len(weights), step):
        rows = weights[start : start + step]
        hits = np.cumsum(rows[:, hits_at], axis=1)
        false = np.cumsum((alarms @ rows.T).T, axis=1)
        precision = hits / (hits + false + _EPSILON)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for row, (reached, curve, count) in enumerate(zip(hits, best, boxes[start : start + step], strict=True), start):
            if count:
                places = np.searchsorted(reached / count, _RECALLS)
                result[row] = np.append(curve, 0.0)[places].mean()
    return result


def _columns(found: Matches, images: int) -> tuple[NDArray[np.int64], csr_array]:
    """Return the image of each right detection, and of the false alarms just before it how many each image has."""
    places = np.flatnonzero(found.right)
    before = np.searchsorted(places, np.flatnonzero(~found.right))
    alarms, image = before < len(places), found.image[~found.right]  # those after the last right one matter to nothing
    counts = (np.ones(int(alarms.sum()), np.int64), (before[alarms], image[alarms]))
    return found.image[places], csr_array(counts, shape=(len(places), images))


def _match_class(
    truth: Sequence[Truth],
    detections: Sequence[Detections],
    label: int,
    chosen: Chosen | None,
    area: tuple[float, float] | None,
) -> Matches:
    images, rights, scores = [], [], []
    boxes = np.zeros(len(truth), np.int64)
    for index, ((true, labels), found) in enumerate(zip(truth, detections, strict=True)):
        wanted, ignored = labels == label, true[labels < 0]
        counts = np.ones(int(wanted.sum()), bool) if chosen is None else chosen[index][wanted[labels >= 0]]
        boxes[index] = counts.sum()
        mine = np.flatnonzero(found.labels == label)
        mine = mine[np.argsort(-found.scores[mine], kind="stable")][:_MOST]
        taken = _match_image(found.boxes[mine], true[wanted], counts, share_inside(found.boxes[mine], ignored))
        if area is not None:
            sizes = areas(found.boxes[mine])
            taken[(taken == 0) & ((sizes < area[0]) | (sizes >= area[1]))] = -1
        keep = taken >= 0
        images.append(np.full(int(keep.sum()), index))
        rights.append(taken[keep] == 1)
        scores.append(found.scores[mine][keep])
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Matches(np.concatenate(images)[order], np.concatenate(rights)[order], boxes)


def _match_image(
    found: NDArray[np.float32], true: NDArray[np.float32], counts: NDArray[np.bool_], crowded: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return int64 [D]: 1 right, 0 a false alarm, -1 matched to a box that does not count, or to a crowd.

    ``crowded`` is the share of each detection that lies in a region to ignore, which takes any number of them.
    """
    result = np.where(crowded >= _IOU, -1, 0)
    if not len(true) or not len(found):
        return result
    overlap = iou(found, true)
    free = np.ones(len(true), bool)
    for place in np.flatnonzero(overlap.max(axis=1) >= _IOU):
        for group, verdict in ((counts, 1), (~counts, -1)):  # boxes that count come first
            open_to_it = np.where(free & group, overlap[place], -1.0)
            best = len(true) - 1 - int(open_to_it[::-1].argmax())  # of equals the last, as in COCO
            if open_to_it[best] >= _IOU and (verdict == 1 or open_to_it[best] > crowded[place]):
                free[best] = False
                result[place] = verdict
                break
    return result
