"""KITTI folders, the form in which TAO's converters take images and labels.

::

    images/NAME.jpg     the image files as they are
    labels/NAME.txt     one line an object; an empty file for an image without objects. ``DontCare``: a region to ignore
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerodet.data._files import Placing, write_pairs
from aerodet.data.pixels import image_size
from aerodet.data.records import ImageFiles, ImageRecord, Images
from aerodet.errors import DataError
from aerodet.files import atomic_path, is_image

__all__ = ["KittiReport", "kitti_label", "read_kitti", "write_kitti"]

_REST = " 0.00" * 7  # size, place and angle in space
_DONT_CARE = "dontcare"
_REGION = "DontCare 0.00 0 0.00 %.2f %.2f %.2f %.2f" + _REST
FIELDS = 15  # TAO's converter asserts exactly this number (facts of its dataio: more or fewer stop it)


@dataclass(frozen=True, slots=True)
class KittiReport:
    """What was written.

    Args:
        images: image files, and as many label files.
        boxes: lines of objects.
        regions_to_ignore: lines of ``DontCare``; TAO has no use for them but in a loss mask that names them.
        empty_images: images without objects.
        clipped: boxes that reached past the frame.
        skipped: boxes left out because TAO's converter skips them: a side of no whole pixel after clipping.
    """

    images: int
    boxes: int
    regions_to_ignore: int
    empty_images: int
    clipped: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def write_kitti(images: Images, folder: Path | str, *, how: Placing = "copy") -> KittiReport:
    """Write images and KITTI labels to a folder that appears whole.

    Args:
        images: an image set, or images in files.
        folder: where ``images/`` and ``labels/`` shall be.
        how: ``copy`` the images, or ``link`` those that are files on the same disk.

    Returns:
        What was written and left out.

    Raises:
        DataError: two images have the same bare name.
    """
    totals = np.zeros(5, np.int64)

    def text(record: ImageRecord) -> str:
        lines, clipped, skipped = kitti_label(record, images.classes)
        regions = [_REGION % tuple(box) for box in record.ignored.tolist()]
        totals[:] += (len(lines), len(regions), not lines, clipped, skipped)
        return "".join(f"{line}\n" for line in lines + regions)

    with atomic_path(Path(folder)) as partial:
        write_pairs(images, partial, text, how, "writing KITTI")
    return KittiReport(len(images.records), *totals.tolist())


def kitti_label(record: ImageRecord, classes: Sequence[str]) -> tuple[list[str], int, int]:
    """Return the label lines of an image's objects, and how many boxes were clipped to the frame and skipped.

    The class is lower-case without blanks, as TAO's converter makes it; fields that a 2D box lacks are 0.

    Args:
        record: the image.
        classes: class names that its labels index.
    """
    width, height = record.width, record.height
    lines, clipped = [], 0
    names = [f"{name.lower().replace(' ', '')} 0.00 0 0.00" for name in classes]
    for (left, top, right, bottom), label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
        # Plain numbers: an array of a dozen boxes costs more to set up than it saves.
        if left >= 0.0 and top >= 0.0 and right <= width and bottom <= height:
            x1, y1, x2, y2 = left, top, right, bottom
        else:
            x1, y1 = min(max(left, 0.0), width), min(max(top, 0.0), height)
            x2, y2 = min(max(right, 0.0), width), min(max(bottom, 0.0), height)
        if int(x1) < int(x2) and int(y1) < int(y2):
            lines.append("%s %.2f %.2f %.2f %.2f%s" % (names[label], x1, y1, x2, y2, _REST))  # noqa: UP031 - half the time
            clipped += (x1, y1, x2, y2) != (left, top, right, bottom)
    return lines, clipped, len(record.boxes) - len(lines)


def read_kitti(folder: Path | str, classes: Sequence[str] | None = None) -> ImageFiles:
    """Read a KITTI folder back.

    Args:
        folder: holds ``images/`` and ``labels/``.
        classes: the classes wanted, lower-case; all names that occur, sorted, when None. ``DontCare`` is never one:
            its boxes are regions to ignore.

    Returns:
        The images in the order of their names; each image is its own group.

    Raises:
        DataError: a folder or label file is missing, or a line is not a KITTI label.
    """
    folder = Path(folder)
    if not (folder / "images").is_dir() or not (folder / "labels").is_dir():
        raise DataError(f"{folder} is not a KITTI folder: it needs images/ and labels/")
    paths = sorted(path for path in (folder / "images").iterdir() if is_image(path))
    if not paths:
        raise DataError(f"{folder / 'images'} holds no images; put them there")
    labelled = [_read_label(folder / "labels" / f"{path.stem}.txt", path) for path in paths]
    found = sorted({name for objects in labelled for name, _ in objects} - {_DONT_CARE})
    wanted = found if classes is None else [name.lower() for name in classes]
    names = tuple(name for name in wanted if name != _DONT_CARE)
    if not set(names) & set(found):
        raise DataError(
            f"{folder / 'labels'} has no label of {', '.join(names) or 'any class'}, "
            f"only {', '.join(found) or 'files without objects'}; name the classes as the files spell them"
        )
    records = []
    for number, (path, objects) in enumerate(zip(paths, labelled, strict=True), start=1):
        kept = [(names.index(name), box) for name, box in objects if name in names]
        width, height = image_size(path)
        boxes = np.array([box for _, box in kept], np.float32).reshape(-1, 4)
        labels = np.array([label for label, _ in kept], np.int64)
        ignored = np.array([box for name, box in objects if name == _DONT_CARE], np.float32)
        records.append(ImageRecord(number, path.name, width, height, path.stem, boxes, labels, ignored=ignored))
    return ImageFiles(names, records, paths)


def _read_label(path: Path, image: Path) -> list[tuple[str, tuple[float, ...]]]:
    if not path.is_file():
        raise DataError(f"image {image.name} has no label file {path}; an image without objects needs an empty one")
    objects: list[tuple[str, tuple[float, ...]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        try:
            box = tuple(float(field) for field in fields[4:8])
        except ValueError:
            box = ()
        if len(fields) not in (FIELDS, FIELDS + 1) or len(box) != 4 or not all(map(math.isfinite, box)):
            raise DataError(
                f"{path}, line {number}: not a KITTI label of {FIELDS} fields ({line[:60]!r}); correct the line"
            )
        objects.append((fields[0].lower(), box))
    return objects
