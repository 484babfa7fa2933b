"""Plain COCO folders, for every tool that is not ours: ``annotations.json`` and the images as files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aerodet.data._coco_write import CocoStream
from aerodet.data._files import Placing, place_image
from aerodet.data.records import Images
from aerodet.errors import DataError
from aerodet.files import atomic_path
from aerodet.progress import track

__all__ = ["PlainReport", "write_coco"]


@dataclass(frozen=True, slots=True)
class PlainReport:
    """What was written.

    Args:
        images: image files.
        boxes: annotations.
        empty_images: images without a box.
    """

    images: int
    boxes: int
    empty_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def write_coco(images: Images, folder: Path | str, *, how: Placing = "copy") -> PlainReport:
    """Write images and a COCO file to a folder that appears whole.

    Args:
        images: an image set, or images in files.
        folder: where ``images/`` and ``annotations.json`` shall be.
        how: ``copy`` the images, or ``link`` those that are files on the same disk.

    Returns:
        What was written.

    Raises:
        DataError: two images have the same name.
    """
    boxes = empty = 0
    with atomic_path(Path(folder)) as partial:
        (partial / "images").mkdir(parents=True)
        with CocoStream(partial / "annotations.json") as stream:
            for index, record in enumerate(track(images.records, "writing COCO")):
                target = partial / "images" / record.file_name
                if target.exists():
                    raise DataError(f"image {record.file_name} is in the set twice; rename one")
                if "/" in record.file_name:
                    target.parent.mkdir(parents=True, exist_ok=True)
                place_image(images, index, str(target), how)
                stream.add(record)
                boxes, empty = boxes + len(record.boxes), empty + (not len(record.boxes))
            stream.finish(images.classes)
    return PlainReport(len(images.records), boxes, empty)
