"""Image sets made in parts become one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from aerodet.data.shards import ImageSet, ImageSetWriter
from aerodet.errors import DataError

__all__ = ["gather_image_sets"]


def gather_image_sets(parts: Sequence[Path], folder: Path) -> None:
    """Copy the images of several image sets into one, in their order; ids and names must differ.

    Args:
        parts: folders of image sets with the same classes.
        folder: receives the image set.

    Raises:
        DataError: there is no part, the classes differ, or an id or a name comes twice.
    """
    sets = [ImageSet(part) for part in parts]
    if not sets or len({s.classes for s in sets}) > 1:
        raise DataError("image sets can be gathered when there is at least one and all have the same classes")
    with ImageSetWriter(folder, sets[0].classes) as writer:
        for part in sets:
            with part:
                for index, record in enumerate(part.records):
                    writer.add(record, part.encoded(index), PurePosixPath(record.file_name).suffix)
