"""Boxes as data sets deliver them: outside the frame, empty, not a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

OnBadBox = Literal["fail", "fix", "drop"]
ROUNDING = (
    1.0  # pixels past the frame that are rounding, not a mistake: clipped boxes are re-projected from world coordinates
)


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
