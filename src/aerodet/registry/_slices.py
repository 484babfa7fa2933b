"""Parts of a test set that are looked at on their own: boxes of one size, of one kind, of one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerodet.data import ImageRecord

__all__ = ["Slice", "slices_of"]

_SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}  # COCO's, square pixels


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Some of the true boxes of a test set.

    Attributes:
        name: such as ``size small``, ``place 1024`` or ``role military``.
        images: places of the images that belong to it.
        boxes: bool [N] for each image of the whole set: which of its boxes belong to it.
        count: how many do.
        area: square pixels, from and below, in which false alarms count; None for every size.
    """

    name: str
    images: Sequence[int]
    boxes: Sequence[NDArray[np.bool_]]
    count: int
    area: tuple[float, float] | None = None


def slices_of(records: Sequence[ImageRecord], names: Sequence[str]) -> list[Slice]:
    """Cut a test set into slices.

    Args:
        records: of the test set.
        names: ``size``, ``place``, or an attribute of the images: a list with a value a box cuts by box, a single
            value by image. One that no image has gives no slice.

    Returns:
        The slices that have a box, in the order of the names.
    """
    found: list[Slice] = []
    for name in dict.fromkeys(names):
        if name == "size":
            found += [_sized(records, size, area) for size, area in _SIZES.items()]
        elif name == "place":
            found += _valued(records, name, [[record.group] * len(record.labels) for record in records])
        else:
            found += _valued(records, name, [_values(record, name) for record in records])
    return [part for part in found if part.count]


def _sized(records: Sequence[ImageRecord], name: str, area: tuple[float, float]) -> Slice:
    boxes = []
    for record in records:
        wide = record.boxes.astype(np.float64)
        sizes = (wide[:, 2] - wide[:, 0]) * (wide[:, 3] - wide[:, 1])
        boxes.append((sizes >= area[0]) & (sizes < area[1]))
    return Slice(f"size {name}", range(len(records)), boxes, int(sum(chosen.sum() for chosen in boxes)), area)


def _values(record: ImageRecord, name: str) -> list[str]:
    """Return an attribute's value for each box; empty texts where it has none."""
    value = record.attributes.get(name)
    if isinstance(value, list) and len(value) == len(record.labels):
        return ["" if one is None else str(one) for one in value]
    return [str(value) if isinstance(value, str | int) else ""] * len(record.labels)


def _valued(records: Sequence[ImageRecord], name: str, values: Sequence[Sequence[str]]) -> list[Slice]:
    """Cut by a value of each box; the images of a slice are those that have such a box."""
    texts = [np.array(list(found), dtype=np.str_) for found in values]
    parts = []
    for value in sorted({text for found in values for text in found} - {""}):
        boxes = [found == value for found in texts]
        images = [index for index, chosen in enumerate(boxes) if chosen.any()]
        if name == "place":  # its empty images too: what is found there is a false alarm
            images = [index for index, record in enumerate(records) if record.group == value]
        parts.append(Slice(f"{name} {value}", images, boxes, int(sum(chosen.sum() for chosen in boxes))))
    return parts
