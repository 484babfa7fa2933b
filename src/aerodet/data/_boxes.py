"""Boxes as data sets deliver them: outside the frame, empty, not a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

OnBadBox = Literal["fail", "fix", "drop"]
Duplicates = Literal["merge", "keep", "fail"]
# Pixels past the frame that are rounding, not a mistake: clipped boxes are re-projected from world coordinates.
ROUNDING = 1.0
# IoU of two boxes of one class that are one object labelled twice. Upright boxes of aircraft parked side by side stay
# far below it: on 70 Airbus frames no pair lies between 0.2 and 0.5, and 129 lie above.
SAME_OBJECT = 0.5


def to_xywh(value: Any) -> tuple[float, float, float, float]:
    """Return a ``bbox`` value as four floats, NaN where it is no list of four numbers."""
    try:
        x, y, w, h = (float(v) for v in value)
    except (TypeError, ValueError):
        return (np.nan, np.nan, np.nan, np.nan)
    return (x, y, w, h)


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


def duplicate_boxes(boxes: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which boxes of an image label an object that an earlier box labels already.

    Args:
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels.
        labels: int64 [N].

    Returns:
        bool [N]: the box overlaps an earlier box of its class, which is none itself, by IoU 0.5 or more.
    """
    wide = boxes.astype(np.float64)
    low = np.maximum(wide[:, None, :2], wide[None, :, :2])
    high = np.minimum(wide[:, None, 2:], wide[None, :, 2:])
    inter = np.maximum(high - low, 0).prod(axis=2)
    area = (wide[:, 2:] - wide[:, :2]).prod(axis=1)
    union = np.maximum(area[:, None] + area[None, :] - inter, 1e-9)
    same = (inter / union >= SAME_OBJECT) & (labels[:, None] == labels[None, :])
    found = np.zeros(len(boxes), bool)
    for index in range(1, len(boxes)):
        found[index] = bool((same[index, :index] & ~found[:index]).any())
    return found
