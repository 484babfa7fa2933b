"""Contact sheets: scenes side by side with their boxes."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.errors import DataError
from aerodet.synth.scenes import Scene

__all__ = ["contact_sheet"]


def contact_sheet(
    scenes: Iterable[Scene], columns: int = 4, *, gap: int = 4, colour: tuple[int, int, int] = (80, 255, 80)
) -> NDArray[np.uint8]:
    """Return scenes of one size as a grid with their boxes drawn one pixel outside the aircraft.

    Args:
        scenes: scenes with images of one size.
        columns: pictures in a row.
        gap: white pixels between pictures.
        colour: RGB of the boxes.

    Returns:
        uint8 [H,W,3] RGB.

    Raises:
        DataError: there is no scene, or their sizes differ.
    """
    pictures = []
    for scene in scenes:
        picture = scene.image.copy()
        for x1, y1, x2, y2 in scene.boxes.astype(int).tolist():
            cv2.rectangle(picture, (x1 - 1, y1 - 1), (x2, y2), colour, 1)
        pictures.append(picture)
    if not pictures or len({p.shape for p in pictures}) > 1:
        raise DataError("a contact sheet needs one or more scenes of one size; render them with one SceneSettings")
    columns = min(max(1, columns), len(pictures))
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        y, x = (number // columns) * (height + gap), (number % columns) * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet
