"""Boxes as data sets deliver them: outside the frame, empty, not a number, twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Policy = Literal["fail", "fix", "drop"]
OnBadBox = Policy
Duplicates = Literal["merge", "keep", "fail"]
# Pixels past the frame that are rounding, not a mistake: clipped boxes are re-projected from world coordinates.
ROUNDING = 1.0
# IoU of two boxes of one class that are one object labelled twice. Upright boxes of aircraft parked side by side stay
# far below it: on 70 Airbus frames no pair lies between 0.2 and 0.5, and 129 lie above.
SAME_OBJECT = 0.5


@dataclass(frozen=True, eq=False)
class CheckedBoxes:
    """Boxes clipped to their frames, and what was wrong with each.

    Args:
        xyxy: float32 [N, 4] clipped to the frame; zeros where nothing is left.
        excess: float64 [N], pixels by which the box reached past its frame.
        lost: bool [N], nothing is left of the box inside the frame (or it was never a box).
        bad: bool [N], lost or more than rounding past the frame.
        rounded: bool [N], clipped by no more than rounding.
    """

    xyxy: NDArray[np.float32]
    excess: NDArray[np.float64]
    lost: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    rounded: NDArray[np.bool_]


def check_boxes(xywh: NDArray[np.float64], frames: NDArray[np.float64]) -> CheckedBoxes:
    """Clip boxes to their frames and tell the good from the bad.

    Args:
        xywh: float64 [N, 4], x, y, width, height in pixels.
        frames: float64 [N, 2], width and height of each box's frame in pixels.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # 1e308 + 1e308 is no box either
        whole = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    limits = np.concatenate([frames, frames], axis=1)
    finite = np.isfinite(whole).all(axis=1)
    safe = np.where(finite[:, None], whole, 0.0)
    clipped = np.clip(safe, 0.0, limits).astype(np.float32)
    excess = np.abs(safe - np.clip(safe, 0.0, limits)).max(axis=1, initial=0.0)
    empty = (clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1])
    lost = ~finite | empty
    bad = lost | (excess > ROUNDING)
    clipped[lost] = 0.0
    return CheckedBoxes(clipped, excess, lost, bad, ~bad & (excess > 0))


def duplicate_boxes(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], images: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Tell which boxes label an object that an earlier box of the same image labels already.

    Args:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels.
        labels: int64 [N].
        images: int64 [N], the image of each box; all are of one when None.

    Returns:
        bool [N]: the box overlaps an earlier box of its image and class, which is none itself, by IoU 0.5 or more.
    """
    found = np.zeros(len(boxes), bool)
    if images is None:
        images = np.zeros(len(boxes), np.int64)
    order = np.argsort(images, kind="stable")
    wide, label = boxes[order].astype(np.float64), labels[order]
    pairs = [_same_object(wide, label, first, second) for first, second in _neighbours(images[order])]
    for earlier, later in sorted(
        (pair for some in pairs for pair in some.tolist()), key=lambda pair: (pair[1], pair[0])
    ):
        if not found[order[earlier]]:
            found[order[later]] = True
    return found


def _neighbours(images: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs of boxes of one image, first those next to each other, then those two apart...

    Args:
        images: int64 [N], ascending.
    """
    ends = np.searchsorted(images, images, side="right")
    first = np.arange(len(images))
    for apart in range(1, len(images)):
        first = first[first + apart < ends[first]]
        if not len(first):
            return
        yield first, first + apart


def _same_object(
    boxes: NDArray[np.float64], labels: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return those pairs [P, 2] whose boxes overlap by IoU 0.5 or more and are of one class."""
    a, b = boxes[first], boxes[second]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    inter = np.maximum(sides, 0).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - inter
    same = (inter / np.maximum(union, 1e-9) >= SAME_OBJECT) & (labels[first] == labels[second])
    return np.stack([first[same], second[same]], axis=1)
