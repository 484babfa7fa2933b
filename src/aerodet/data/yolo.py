"""YOLO folders, the form in which Ultralytics' trainers take images and labels.

::

    images/NAME.jpg     the image files as they are
    labels/NAME.txt     one line an object: class number, centre x and y, width, height, as shares of the image
    data.yaml           the class names by number
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerodet.data._boxes import ROUNDING
from aerodet.data._files import Placing, write_pairs
from aerodet.data.pixels import image_size
from aerodet.data.records import ImageFiles, ImageRecord, Images
from aerodet.errors import DataError
from aerodet.files import atomic_path, is_image, write_text

__all__ = ["YoloReport", "read_yolo", "write_yolo"]


@dataclass(frozen=True, slots=True)
class YoloReport:
    """What was written.

    Args:
        images: image files, and as many label files.
        boxes: lines written.
        empty_images: images whose label file is empty.
        regions_left_out: regions to ignore, for which the form has no line.
    """

    images: int
    boxes: int
    empty_images: int
    regions_left_out: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


def write_yolo(images: Images, folder: Path | str, *, how: Placing = "copy") -> YoloReport:
    """Write images and YOLO labels to a folder that appears whole.

    Args:
        images: an image set, or images in files.
        folder: where ``images/``, ``labels/`` and ``data.yaml`` shall be.
        how: ``copy`` the images, or ``link`` those that are files on the same disk.

    Returns:
        What was written.

    Raises:
        DataError: two images have the same bare name.
    """
    import yaml

    totals = np.zeros(3, np.int64)

    def text(record: ImageRecord) -> str:
        lines = _lines(record)
        totals[:] += (len(lines), not lines, len(record.ignored))
        return "".join(lines)

    with atomic_path(Path(folder)) as partial:
        write_pairs(images, partial, text, how, "writing YOLO")
        names = dict(enumerate(images.classes))
        content = {"path": ".", "train": "images", "val": "images", "names": names}
        write_text(partial / "data.yaml", yaml.safe_dump(content, sort_keys=False))
    return YoloReport(len(images.records), *totals.tolist())


def read_yolo(folder: Path | str, classes: Sequence[str] | None = None) -> ImageFiles:
    """Read a YOLO folder.

    Args:
        folder: holds ``images/``, ``labels/`` and ``data.yaml``.
        classes: the classes wanted; ``plane:aircraft`` renames one; all when None.

    Returns:
        The images in the order of their names; each is its own group. One without a label file shows no object, as
        Ultralytics has it; a line with more than four numbers is a polygon and becomes its bounds. Boxes are clipped
        where they reach past the image by no more than rounding.

    Raises:
        DataError: a folder or the names are missing, or a line is not a YOLO label.
    """
    folder = Path(folder)
    if not (folder / "images").is_dir() or not (folder / "labels").is_dir():
        raise DataError(f"{folder} is not a YOLO folder: it needs images/, labels/ and data.yaml")
    names = _names(folder / "data.yaml")
    wanted = dict(_spelt(entry) for entry in classes) if classes is not None else {n: n.lower() for n in names.values()}
    if not set(wanted) & set(names.values()):
        raise DataError(f"{folder / 'data.yaml'} has no class {', '.join(wanted)}, only {', '.join(names.values())}")
    kept = tuple(dict.fromkeys(wanted.values()))
    labels = {number: kept.index(wanted[name]) for number, name in names.items() if name in wanted}
    paths = sorted(path for path in (folder / "images").iterdir() if is_image(path))
    if not paths:
        raise DataError(f"{folder / 'images'} holds no images; put them there")
    records = []
    for number, path in enumerate(paths, start=1):
        width, height = image_size(path)
        objects = [
            (labels[label], box)
            for label, box in _read_labels(folder / "labels" / f"{path.stem}.txt", names)
            if label in labels
        ]
        boxes = np.array([box for _, box in objects], np.float64).reshape(-1, 4) * [width, height, width, height]
        inside = np.clip(boxes, 0, [width, height, width, height])
        boxes = np.where(np.abs(boxes - inside).max(axis=1, keepdims=True, initial=0.0) <= ROUNDING, inside, boxes)
        found = np.array([label for label, _ in objects], np.int64)
        records.append(ImageRecord(number, path.name, width, height, path.stem, boxes.astype(np.float32), found))
    return ImageFiles(kept, records, paths)


def _lines(record: ImageRecord) -> list[str]:
    scale = np.array([record.width, record.height] * 2, np.float64)
    x1, y1, x2, y2 = (np.clip(record.boxes / scale, 0, 1)).T
    columns = zip(record.labels.tolist(), (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, strict=True)
    # Nine places keep a box of a 10,000 px frame to a hundred-thousandth of a pixel.
    return [f"{label} {x:.9f} {y:.9f} {w:.9f} {h:.9f}\n" for label, x, y, w, h in columns]


def _spelt(entry: str) -> tuple[str, str]:
    source, _, name = entry.rpartition(":")
    return source or name, name.lower()


def _names(path: Path) -> dict[int, str]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} with the class names cannot be read ({type(error).__name__}); put it there") from error
    names = content.get("names") if isinstance(content, dict) else None
    pairs = names.items() if isinstance(names, Mapping) else enumerate(names if isinstance(names, list) else ())
    found = {int(number): str(name) for number, name in pairs if str(number).isdecimal()}
    if not found:
        raise DataError(f"{path} has no class names; it needs names: with one a class")
    return found


def _read_labels(path: Path, names: Mapping[int, str]) -> list[tuple[int, tuple[float, ...]]]:
    """Return the class number and x1, y1, x2, y2, as shares of the image, of each line."""
    if not path.is_file():
        return []
    objects = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            label, values = int(fields[0]), [float(field) for field in fields[1:]]
        except ValueError:
            label, values = -1, []
        whole = len(values) == 4 or (len(values) >= 6 and len(values) % 2 == 0)
        if not whole or label not in names or not all(map(math.isfinite, values)):
            raise DataError(
                f"{path}, line {number}: not a YOLO label of a class and four numbers ({line[:60]!r}); correct the line"
            )
        if len(values) == 4:
            x, y, w, h = values
            box: tuple[float, ...] = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        else:
            box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        objects.append((label, box))
    return objects
