"""Arithmetic of upright boxes: x1, y1, x2, y2 in pixels, [N, 4], of any float type; results are float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["areas", "iou", "share_inside"]

_Floats = NDArray[np.floating[Any]]
_Doubles = NDArray[np.float64]


def areas(boxes: _Floats) -> _Doubles:
    """Return the area of each box, float64 [N]; 0 of one whose corners are the wrong way round."""
    return np.asarray(np.maximum(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0).prod(axis=1))


def iou(a: _Floats, b: _Floats) -> _Doubles:
    """Return intersection over union of every box of ``a`` with every box of ``b``, float64 [A, B]; 0 of two points."""
    shared = _shared(a, b)
    union = areas(a)[:, None] + areas(b)[None] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def share_inside(boxes: _Floats, regions: _Floats) -> _Doubles:
    """Return the largest share of each box's area that lies inside one of the regions, float64 [N]."""
    if not len(boxes) or not len(regions):
        return np.zeros(len(boxes))
    return np.asarray((_shared(boxes, regions) / np.maximum(areas(boxes), 1e-9)[:, None]).max(axis=1))


def _shared(a: _Floats, b: _Floats) -> _Doubles:
    """Return the area that every box of ``a`` shares with every box of ``b``, float64 [A, B]."""
    first, second = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    return np.asarray(np.maximum(sides, 0).prod(axis=-1))
