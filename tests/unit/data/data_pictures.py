"""Pictures and records for the tests of the data room."""

from __future__ import annotations

from typing import Any

import numpy as np

from aerodet.data import ImageRecord, Pixels


def picture(seed: int, width: int = 64, height: int = 48) -> Pixels:
    """A smooth picture with structure of its own for each seed."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (7, 9, 3)).astype(np.float64)
    rows, columns = np.linspace(0, 5.99, height), np.linspace(0, 7.99, width)
    y, x = rows.astype(int)[:, None], columns.astype(int)[None]
    fy, fx = (rows - rows.astype(int))[:, None, None], (columns - columns.astype(int))[None, :, None]
    top = coarse[y, x] * (1 - fx) + coarse[y, x + 1] * fx
    bottom = coarse[y + 1, x] * (1 - fx) + coarse[y + 1, x + 1] * fx
    return (top * (1 - fy) + bottom * fy).astype(np.uint8)


def make_record(
    number: int,
    *,
    group: str = "",
    boxes: Any = ((10, 10, 30, 20),),
    width: int = 64,
    height: int = 48,
    ignored: Any = (),
) -> ImageRecord:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(array), np.int64)
    place, regions = group or f"place_{number}", np.array(ignored, np.float32)
    return ImageRecord(number, f"image_{number}.png", width, height, place, array, labels, ignored=regions)
