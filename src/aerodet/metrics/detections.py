"""What a detector says about one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aerodet.errors import DataError

__all__ = ["IGNORED", "Detections", "Truth", "check_pairs"]

IGNORED = -2  # the label of a region that is neither object nor background; -1 is padding in training
Truth = tuple[NDArray[np.float32], NDArray[np.int64]]
"""An image's true boxes, float32 [N, 4] x1, y1, x2, y2 in pixels, and their labels, int64 [N].

The label ``IGNORED`` is a region to ignore, which COCO calls a crowd: a detection is neither right nor wrong where the
share of it that lies inside is at least the IoU that is asked for.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The detections in one image.

    Args:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels.
        scores: float32 [N], higher is surer; may exceed 1 (TAO's clusters sum their coverage).
        labels: int64 [N], indices into the classes.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, np.float32).reshape(-1)
        labels = np.asarray(self.labels, np.int64).reshape(-1)
        if not len(boxes) == len(scores) == len(labels):
            raise ValueError(f"{len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels)

    @classmethod
    def empty(cls) -> Self:
        """Return no detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.boxes)


def check_pairs(truth: Sequence[Truth], detections: Sequence[Detections], num_classes: int) -> None:
    """Check that truth and detections belong together and there is something to measure.

    Args:
        truth: one pair of boxes and labels an image.
        detections: one an image, in the same order.
        num_classes: number of classes.

    Raises:
        DataError: there is no true box in any image.
        ValueError: the lengths differ, or a label is out of range.
    """
    if len(truth) != len(detections):
        raise ValueError(f"truth of {len(truth)} images, detections of {len(detections)}")
    if not any((labels >= 0).any() for _, labels in truth):
        raise DataError(
            f"the {len(truth)} test images have no box, so there is nothing to measure; give a test set that has some"
        )
    for labels in (*(labels[labels != IGNORED] for _, labels in truth), *(found.labels for found in detections)):
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"a label lies outside 0 to {num_classes - 1}")
