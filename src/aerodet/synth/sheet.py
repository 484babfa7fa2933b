"""Contact sheets: pictures side by side with their boxes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.data import Boxes, Images, Pixels, encode_image
from aerodet.errors import DataError
from aerodet.files import atomic_path

__all__ = ["contact_sheet", "set_sheet"]


def contact_sheet(
    pictures: Iterable[tuple[Pixels, Boxes]],
    columns: int = 4,
    *,
    gap: int = 4,
    colour: tuple[int, int, int] = (80, 255, 80),
) -> NDArray[np.uint8]:
    """Return pictures of one size as a grid with their boxes drawn one pixel outside the aircraft.

    Args:
        pictures: uint8 [H,W,3] RGB and boxes [N,4] x1,y1,x2,y2 in pixels.
        columns: pictures in a row.
        gap: white pixels between pictures.
        colour: RGB of the boxes.

    Returns:
        uint8 [H,W,3] RGB.

    Raises:
        DataError: there is no picture, or their sizes differ.
    """
    drawn = []
    for image, boxes in pictures:
        picture = image.copy()
        for x1, y1, x2, y2 in boxes.astype(int).tolist():
            cv2.rectangle(picture, (x1 - 1, y1 - 1), (x2, y2), colour, 1)
        drawn.append(picture)
    if not drawn or len({picture.shape for picture in drawn}) > 1:
        raise DataError("a contact sheet needs one or more pictures of one size; render them with one SceneSettings")
    columns = min(max(1, columns), len(drawn))
    height, width, _ = drawn[0].shape
    rows = -(-len(drawn) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(drawn):
        y, x = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def set_sheet(images: Images, path: Path, count: int) -> None:
    """Write a contact sheet of ``count`` pictures of a set, evenly spread, to a ``.png`` or ``.jpg`` file."""
    total = len(images.records)
    chosen = sorted({i * total // count for i in range(count)})
    sheet = contact_sheet((images.image(i), images.records[i].boxes) for i in chosen)
    with atomic_path(path) as partial:
        partial.write_bytes(encode_image(sheet, path.suffix.lower()))
