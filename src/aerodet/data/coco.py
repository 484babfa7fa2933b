"""COCO data sets in: every quirk is either refused with a sentence or counted in a report, never passed over."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import splitext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerodet.data._boxes import CheckedBoxes, Duplicates, OnBadBox, Policy, check_boxes, duplicate_boxes
from aerodet.data._coco_entries import Classes, ImageList, attribute_text, list_images, match_classes
from aerodet.data._coco_file import CocoFile, canonical, load_coco, short
from aerodet.data._coco_report import CocoReport
from aerodet.data._layout import ImageFinder, find_coco
from aerodet.data.records import ImageFiles, ImageRecord
from aerodet.errors import DataError

__all__ = ["CocoReport", "CocoSource", "OnBadBox", "Policy", "find_coco", "group_of", "read_coco"]

_OWN_KEYS = ("id", "file_name", "width", "height", "group")
_RAREPLANES_TILE = re.compile(r"(\d+)_[0-9A-Fa-f]{16}_tile_\d+$")
_DEEPEST = 20  # levels of a field of an image that are kept
_OTHER_AREA = 0.1  # share by which a stated area differs from its box's before it is another shape's


@dataclass(frozen=True, eq=False)
class CocoSource(ImageFiles):
    """A COCO data set as read: records, image paths and the report of what was fixed or left out."""

    report: CocoReport


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """The annotations of wanted classes that bound single objects, column by column.

    Args:
        index: int64 [N], their places in the file.
        image: int64 [N], the places of their images.
        label: int64 [N].
    """

    index: NDArray[np.int64]
    image: NDArray[np.int64]
    label: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[Any]) -> _Wanted:
        return _Wanted(self.index[chosen], self.image[chosen], self.label[chosen])


def read_coco(
    folder_or_json: Path | str,
    *,
    classes: Sequence[str] = ("aircraft",),
    class_from: str | None = None,
    images: Path | str | None = None,
    on_bad_box: Policy = "fail",
    on_bad_entry: Policy = "fail",
    duplicates: Duplicates = "merge",
    min_side: float = 0.0,
    split: str | None = None,
) -> CocoSource:
    """Read a COCO data set. Categories are matched by name, never by id, and ids may be 0 or strings.

    Args:
        folder_or_json: the data set's folder (see :func:`find_coco`) or its COCO file.
        classes: the classes wanted, as the file spells them; ``"plane:aircraft"`` reads the file's ``plane`` as class
            ``aircraft``. Class names become lower-case, as TAO has them.
        class_from: field of the annotations that says the class, such as RarePlanes' ``role``; their category when
            None.
        images: the folder of the images; found beside the file when None.
        on_bad_box: boxes outside their frame by more than a pixel or without size: ``fail`` raises, ``fix`` clips them,
            takes those that the file lacks from their polygons and drops those with nothing left, ``drop`` drops them
            all.
        on_bad_entry: images that are missing or listed twice, and annotations without a category or an image: ``fail``
            raises, ``drop`` leaves them out, ``fix`` first finds the image of a name that is none (``a.xml``), joins
            what is listed twice and takes a missing category for the one class asked for.
        duplicates: boxes of one class that label the same object (IoU 0.5 or more), as when two people labelled a
            frame: ``merge`` keeps the first, ``keep`` all of them, ``fail`` raises.
        min_side: a box whose shorter side is under this, pixels, becomes a region to ignore.
        split: ``train``, ``test``...; needed only where the folder holds several COCO files.

    Returns:
        The records in the file's order. The pixels are not opened, except of images whose size the file does not state.

    Raises:
        DataError: the data set cannot be used as it is; the sentence names the file, image or annotation and the
            remedy.
    """
    path = Path(folder_or_json)
    file = load_coco(path if path.is_file() else find_coco(path, split), class_from, outlines=on_bad_box == "fix")
    report = CocoReport(str(file.path), annotations=len(file.annotations))
    classes_of = match_classes(file, classes, on_bad_entry)
    listed = list_images(file, ImageFinder(file.path, images, split), on_bad_entry, report)
    wanted, crowds = _wanted(file, listed, classes_of, on_bad_entry, report)
    boxes, kept, slivers = _usable_boxes(file, listed, wanted, on_bad_box, min_side, report)
    ignored = _crowded(file, listed, crowds)
    for place, box in zip(wanted.image[slivers].tolist(), boxes[slivers].tolist(), strict=True):
        ignored.setdefault(place, []).append(box)
    wanted, boxes = _settle_duplicates(file, listed, wanted[kept], boxes[kept], duplicates, report)
    report.boxes = len(boxes)
    if report.annotations != report.boxes + report.left_out:
        raise AssertionError(
            f"{report.annotations} annotations, but {report.boxes} boxes and {report.left_out} left out"
        )
    if report.boxes == 0:
        raise DataError(
            f"{file.path} has no usable box of {', '.join(classes_of.names)}; give a file with annotations of it"
        )
    records = _records(listed, wanted, boxes, ignored, report)
    return CocoSource(classes_of.names, records, listed.paths, report)


def group_of(file_name: str, stated: Any = None) -> str:
    """Return the place an image shows: as stated, the location of a RarePlanes tile's name, or the image itself."""
    if stated is not None and str(stated):
        return str(stated)
    stem = splitext(file_name.rpartition("/")[2])[0]
    tile = _RAREPLANES_TILE.match(stem)
    return tile[1] if tile else stem


def _wanted(
    file: CocoFile, listed: ImageList, classes: Classes, policy: Policy, report: CocoReport
) -> tuple[_Wanted, list[tuple[int, int]]]:
    """Choose the annotations of wanted classes that bound single objects; the others are counted.

    Returns:
        Them, and (place in the file, place of the image) of those that bound crowds.
    """
    others: Counter[str] = Counter()
    crowds: list[tuple[int, int]] = []
    columns = array("q"), array("q"), array("q")  # a list of tuples would take ten times the memory
    keep_index, keep_place, keep_label = (column.append for column in columns)

    def keep(index: int, place: int, label: int) -> None:
        keep_index(index)
        keep_place(place)
        keep_label(label)

    for index, annotation in enumerate(file.annotations):
        image = annotation.image_id
        place = listed.by_id.get(image, -1) if type(image) is int else listed.place(image)
        category = file.category(annotation)
        key = canonical(category) if file.attribute is None else attribute_text(category)
        if place < 0:
            if policy == "fail":
                raise DataError(
                    f"{file.path}: {file.called(index)} belongs to image {short(image)}, which the file does not list; "
                    "correct its image_id, or pass --set data.on_bad_entry=drop to leave such boxes out"
                )
            report.strays += 1
        elif annotation.iscrowd:
            report.crowds += 1  # of whatever category: what is in a crowd nobody has told apart
            crowds.append((index, place))
        elif key in classes.labels:
            keep(index, place, classes.labels[key])
        elif key in classes.others:
            others[classes.others[key]] += 1
        elif category is None and classes.assumed:
            report.assumed += 1
            keep(index, place, 0)
        elif policy == "fail":
            raise DataError(_no_category(file, index, category))
        else:
            report.uncategorised += 1
    report.other_categories = dict(others)
    return _Wanted(*(np.array(column, np.int64) for column in columns)), crowds


def _crowded(file: CocoFile, listed: ImageList, crowds: Sequence[tuple[int, int]]) -> dict[int, list[list[float]]]:
    """Return the crowds' boxes, inside their frames, by the place of their image."""
    found: dict[int, list[list[float]]] = {}
    xywh = file.boxes() if crowds else np.zeros((0, 4))
    for index, place in crowds:
        checked = check_boxes(xywh[index][None], np.array([listed.sizes[place]], np.float64))
        if not checked.lost[0]:
            found.setdefault(place, []).append(checked.xyxy[0].tolist())
    return found


def _no_category(file: CocoFile, index: int, category: Any) -> str:
    called = f"{file.path}: {file.called(index)}"
    remedy = "complete it, or pass --set data.on_bad_entry=drop to leave such boxes out"
    if file.attribute is not None:
        return f"{called} has no {file.attribute!r}; {remedy}"
    if category is None:
        return f"{called} has no category (category_id null, as in RarePlanes' *_tiled.json); {remedy}"
    return f"{called} is of category {short(category)}, which the file does not define; correct it"


def _usable_boxes(
    file: CocoFile, listed: ImageList, wanted: _Wanted, policy: Policy, min_side: float, report: CocoReport
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return float32 [N, 4] x1, y1, x2, y2, bool [N], which of them are boxes, and bool [N], which are too narrow."""
    xywh = file.boxes()[wanted.index]
    outlined: NDArray[np.bool_] = np.zeros(len(xywh), bool)
    if policy == "fix":
        outlined[np.isnan(xywh).any(axis=1)] = True
        for place in np.flatnonzero(outlined):
            xywh[place] = file.annotations[wanted.index[place]].bounds()
        outlined[~np.isfinite(xywh).all(axis=1)] = False
    frames = np.array(listed.sizes, np.float64)[wanted.image].reshape(-1, 2)
    checked = check_boxes(xywh, frames)
    if checked.bad.any() and policy == "fail":
        raise DataError(_bad_box(file, listed, wanted, checked))
    gone = checked.bad if policy == "drop" else checked.lost
    short_side = (checked.xyxy[:, 2:] - checked.xyxy[:, :2]).min(axis=1, initial=math.inf)
    slivers = ~gone & (short_side < min_side)
    kept = ~gone & ~slivers
    report.outlined = int((outlined & kept).sum())
    report.rounded = int((checked.rounded & kept).sum())
    report.clipped = int((checked.bad & kept).sum())
    report.dropped, report.slivers = int(gone.sum()), int(slivers.sum())
    report.polygon_areas = _other_areas(file, wanted, xywh, kept)
    return checked.xyxy, kept, slivers


def _other_areas(file: CocoFile, wanted: _Wanted, xywh: NDArray[np.float64], kept: NDArray[np.bool_]) -> int:
    """Count the boxes whose stated ``area`` is another shape's; RarePlanes states its diamonds'."""
    values = [file.annotations[index].area for index in wanted.index[kept].tolist()]
    stated = np.array([v if type(v) in (int, float) and abs(v) < 1e18 else math.nan for v in values], np.float64)
    sides = xywh[kept, 2:]
    own = sides[:, 0] * sides[:, 1]
    with np.errstate(invalid="ignore"):
        return int((np.abs(stated - own) > _OTHER_AREA * own).sum())


def _settle_duplicates(
    file: CocoFile,
    listed: ImageList,
    wanted: _Wanted,
    boxes: NDArray[np.float32],
    duplicates: Duplicates,
    report: CocoReport,
) -> tuple[_Wanted, NDArray[np.float32]]:
    """Count the boxes that label an object again; with ``merge`` leave them out."""
    again = duplicate_boxes(boxes, wanted.label, wanted.image)
    report.duplicates, report.duplicates_merged = int(again.sum()), duplicates == "merge"
    if again.any() and duplicates == "fail":
        image = wanted.image[again].min()
        count = int((wanted.image[again] == image).sum())
        raise DataError(
            f"{file.path}: {count} boxes of image {listed.entries[image]['file_name']} label an object that another "
            "box labels already; pass --set data.duplicates=merge to keep one of each"
        )
    return (wanted[~again], boxes[~again]) if duplicates == "merge" else (wanted, boxes)


def _bad_box(file: CocoFile, listed: ImageList, wanted: _Wanted, checked: CheckedBoxes) -> str:
    first, count = int(np.flatnonzero(checked.bad)[0]), int(checked.bad.sum())
    index, image = int(wanted.index[first]), int(wanted.image[first])
    width, height = listed.sizes[image]
    return (
        f"{file.path}: {count} of {len(wanted.index)} boxes lie outside their frame or have no size, the first is "
        f"{file.called(index)} of image {listed.entries[image]['file_name']}, "
        f"bbox {short(file.annotations[index].bbox)} in a frame of {width}x{height}; "
        "pass --set data.on_bad_box=fix to clip such boxes and drop those with nothing left"
    )


def _records(
    listed: ImageList,
    wanted: _Wanted,
    boxes: NDArray[np.float32],
    ignored: Mapping[int, list[list[float]]],
    report: CocoReport,
) -> list[ImageRecord]:
    order = np.argsort(wanted.image, kind="stable")
    counts = np.bincount(wanted.image, minlength=len(listed.entries))
    ends = np.cumsum(counts)
    boxes, labels = boxes[order], wanted.label[order]
    report.renumbered = not all(type(entry["id"]) is int and abs(entry["id"]) < 1 << 63 for entry in listed.entries)
    report.empty_images = int((counts == 0).sum())
    records = []
    for number, entry in enumerate(listed.entries):
        attributes = {name: _json_value(value, report) for name, value in entry.items() if name not in _OWN_KEYS}
        if report.renumbered:
            attributes["source_id"] = _json_value(entry["id"], report)
        own = slice(int(ends[number] - counts[number]), int(ends[number]))
        records.append(
            ImageRecord(
                id=number + 1 if report.renumbered else entry["id"],
                file_name=_inner_name(entry["file_name"]),
                width=listed.sizes[number][0],
                height=listed.sizes[number][1],
                group=group_of(entry["file_name"], entry.get("group")),
                boxes=boxes[own],
                labels=labels[own],
                attributes=attributes,
                ignored=np.array(ignored.get(number, []), np.float32),
            )
        )
    return records


def _json_value(value: Any, report: CocoReport, depth: int = 0) -> Any:
    """Return a field's value, None for NaN and Infinity, which JSON has not, and for what lies too deep."""
    if depth > _DEEPEST or (isinstance(value, float) and not math.isfinite(value)):
        report.unstated += 1
        return None
    if isinstance(value, Mapping):
        return {name: _json_value(inner, report, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json_value(inner, report, depth + 1) for inner in value]
    return value


def _inner_name(file_name: str) -> str:
    """Return a name that stays inside any folder it is written to."""
    if "/" not in file_name:
        return file_name
    path = PurePosixPath(file_name)
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()
