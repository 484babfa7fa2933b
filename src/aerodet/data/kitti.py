"""KITTI folders, the form in which TAO's converters take images and labels.

::

    images/NAME.jpg     the image files as they are
    labels/NAME.txt     one line an object; an empty file for an image without objects
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerodet.data.pixels import decode_image, is_image
from aerodet.data.records import ImageFiles, ImageRecord, Images
from aerodet.errors import DataError
from aerodet.files import atomic_path
from aerodet.progress import track

__all__ = ["KittiReport", "kitti_label", "read_kitti", "write_kitti"]

FIELDS = 15  # TAO's converter asserts exactly this number (facts of its dataio: more or fewer stop it)


@dataclass(frozen=True, slots=True)
class KittiReport:
    """What was written.

    Args:
        images: image files, and as many label files.
        boxes: lines written.
        empty_images: images whose label file is empty.
        clipped: boxes that reached past the frame.
        skipped: boxes left out because TAO's converter skips them: a side of no whole pixel after clipping.
    """

    images: int
    boxes: int
    empty_images: int
    clipped: int
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def write_kitti(images: Images, folder: Path | str) -> KittiReport:
    """Write images and KITTI labels to a folder that appears whole.

    Args:
        images: an image set, or images in files.
        folder: where ``images/`` and ``labels/`` shall be.

    Returns:
        What was written and left out.

    Raises:
        DataError: two images have the same bare name.
    """
    names: dict[str, str] = {}
    totals = np.zeros(4, np.int64)
    with atomic_path(Path(folder)) as partial:
        (partial / "images").mkdir(parents=True)
        (partial / "labels").mkdir()
        for index, record in enumerate(track(images.records, "writing KITTI")):
            if record.stem in names:
                raise DataError(
                    f"images {names[record.stem]} and {record.file_name} would share the label file "
                    f"{record.stem}.txt; rename one"
                )
            names[record.stem] = record.file_name
            lines, clipped, skipped = kitti_label(record, images.classes)
            (partial / "labels" / f"{record.stem}.txt").write_text(
                "".join(f"{line}\n" for line in lines), encoding="utf-8"
            )
            (partial / "images" / Path(record.file_name).name).write_bytes(images.encoded(index))
            totals += (len(lines), not lines, clipped, skipped)
    boxes, empty, clipped, skipped = totals.tolist()
    return KittiReport(len(names), boxes, empty, clipped, skipped)


def kitti_label(record: ImageRecord, classes: Sequence[str]) -> tuple[list[str], int, int]:
    """Return an image's label lines, and how many boxes were clipped to the frame and skipped.

    The class is lower-case without blanks, as TAO's converter makes it; fields that a 2D box lacks are 0.

    Args:
        record: the image.
        classes: class names that its labels index.
    """
    limits = np.array([record.width, record.height] * 2, np.float32)
    boxes = np.clip(record.boxes, 0, limits)
    whole = np.trunc(boxes)
    usable = (whole[:, 0] < whole[:, 2]) & (whole[:, 1] < whole[:, 3])
    lines = []
    for (x1, y1, x2, y2), label in zip(boxes[usable].tolist(), record.labels[usable].tolist(), strict=True):
        name = classes[label].lower().replace(" ", "")
        lines.append(f"{name} 0.00 0 0.00 {x1:.2f} {y1:.2f} {x2:.2f} {y2:.2f}" + " 0.00" * 7)
    clipped = (boxes != record.boxes).any(axis=1) & usable
    return lines, int(clipped.sum()), int((~usable).sum())


def read_kitti(folder: Path | str, classes: Sequence[str] | None = None) -> ImageFiles:
    """Read a KITTI folder back.

    Args:
        folder: holds ``images/`` and ``labels/``.
        classes: the classes wanted, lower-case; all names that occur, sorted, when None. ``DontCare`` is never one.

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
    found = sorted({name for objects in labelled for name, _ in objects})
    names = tuple(name.lower() for name in classes) if classes is not None else tuple(found)
    if not set(names) & set(found):
        raise DataError(
            f"{folder / 'labels'} has no label of {', '.join(names) or 'any class'}, "
            f"only {', '.join(found) or 'empty files'}; name the classes as the files spell them"
        )
    records = []
    for number, (path, objects) in enumerate(zip(paths, labelled, strict=True), start=1):
        kept = [(names.index(name), box) for name, box in objects if name in names]
        height, width = decode_image(path.read_bytes(), str(path)).shape[:2]
        boxes = np.array([box for _, box in kept], np.float32).reshape(-1, 4)
        labels = np.array([label for label, _ in kept], np.int64)
        records.append(ImageRecord(number, path.name, width, height, path.stem, boxes, labels))
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
        if fields[0].lower() != "dontcare":
            objects.append((fields[0].lower(), box))
    return objects
