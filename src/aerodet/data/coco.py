"""COCO data sets in: every quirk is either refused with a sentence or counted in a report, never passed over."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerodet.data._boxes import CheckedBoxes, Duplicates, OnBadBox, check_boxes, duplicate_boxes, to_xywh
from aerodet.data._layout import find_coco, find_images
from aerodet.data.pixels import decode_image
from aerodet.data.records import ImageFiles, ImageRecord
from aerodet.errors import DataError

__all__ = ["CocoReport", "CocoSource", "OnBadBox", "find_coco", "group_of", "read_coco"]

_OWN_KEYS = ("id", "file_name", "width", "height", "group")
_RAREPLANES_TILE = re.compile(r"(\d+)_[0-9A-Fa-f]{16}_tile_\d+$")


@dataclass(slots=True)
class CocoReport:
    """What reading a COCO file found and changed.

    Args:
        file: the COCO file.
        images: images read.
        boxes: boxes kept.
        empty_images: images without a box.
        rounded: boxes that reached past their frame by at most one pixel and were clipped.
        clipped: boxes that reached further past their frame and were clipped (``on_bad_box="fix"``).
        dropped: boxes that were left out: nothing inside the frame, no size, or ``on_bad_box="drop"``.
        duplicates: boxes of an object that another box of its class labels already (IoU 0.5 or more).
        duplicates_merged: they were left out (``duplicates="merge"``).
        crowds: annotations of whole crowds, left out because they bound no single object.
        other_categories: annotations left out by the name of their category, which was not asked for.
        renumbered: the image ids were not integers and have been replaced by 1, 2, 3...
        measured: images whose size the file does not state.
    """

    file: str
    images: int = 0
    boxes: int = 0
    empty_images: int = 0
    rounded: int = 0
    clipped: int = 0
    dropped: int = 0
    duplicates: int = 0
    duplicates_merged: bool = False
    crowds: int = 0
    other_categories: dict[str, int] = field(default_factory=dict)
    renumbered: bool = False
    measured: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return what a person should know, one sentence each; empty for a clean file."""
        counted = {
            f"{self.rounded} boxes past their frame by at most 1 px were clipped": self.rounded,
            f"{self.clipped} boxes past their frame were clipped to it": self.clipped,
            f"{self.dropped} broken boxes were dropped": self.dropped,
            f"{self.duplicates} boxes label an object a second time and were "
            + ("left out" if self.duplicates_merged else "kept"): self.duplicates,
            f"{self.crowds} crowd annotations were left out": self.crowds,
            f"{self.measured} images state no size and were measured": self.measured,
            "image ids are not integers and were replaced by 1, 2, 3...": int(self.renumbered),
        }
        others = [f"{n} boxes of category {name!r} were left out" for name, n in self.other_categories.items()]
        return [sentence for sentence, count in counted.items() if count] + others


@dataclass(frozen=True, eq=False)
class CocoSource(ImageFiles):
    """A COCO data set as read: records, image paths and the report of what was fixed or left out."""

    report: CocoReport


def read_coco(
    folder_or_json: Path | str,
    *,
    classes: Sequence[str] = ("aircraft",),
    images: Path | str | None = None,
    on_bad_box: OnBadBox = "fail",
    duplicates: Duplicates = "merge",
    split: str | None = None,
) -> CocoSource:
    """Read a COCO data set. Categories are matched by name, never by id, and ids may be 0 or strings.

    Args:
        folder_or_json: the data set's folder (see :func:`find_coco`) or its COCO file.
        classes: the classes wanted, as the file spells them; ``"plane:aircraft"`` reads the file's ``plane`` as class
            ``aircraft``. Class names become lower-case, as TAO has them.
        images: the folder of the images; found beside the file when None.
        on_bad_box: boxes outside their frame by more than a pixel or without size: ``fail`` raises, ``fix`` clips them
            and drops those with nothing left, ``drop`` drops them all.
        duplicates: boxes of one class that label the same object (IoU 0.5 or more), as when two people labelled a
            frame: ``merge`` keeps the first, ``keep`` all of them, ``fail`` raises.
        split: ``train``, ``test``...; needed only where the folder holds several COCO files.

    Returns:
        The records in the file's order. The pixels are not opened, except of images whose size the file does not state.

    Raises:
        DataError: the data set cannot be used as it is; the sentence names the file, image or annotation and the
            remedy.
    """
    path = Path(folder_or_json)
    document = _open(path if path.is_file() else find_coco(path, split), classes)
    report = CocoReport(str(document.path), images=len(document.entries))
    paths = find_images(document.path, [e["file_name"] for e in document.entries.values()], images, split)
    sizes = _frame_sizes(document, paths, report)
    annotations = _wanted_annotations(document, report)
    boxes = _usable_boxes(document, annotations, sizes, on_bad_box, report)
    _settle_duplicates(document, annotations, boxes, duplicates, report)
    records = _records(document, annotations, sizes, boxes, report)
    if report.boxes == 0:
        raise DataError(
            f"{document.path} has no usable box of {', '.join(document.names)}; give a file with annotations of it"
        )
    return CocoSource(document.names, records, paths, report)


def group_of(file_name: str, stated: Any = None) -> str:
    """Return the place an image shows: as stated, the location of a RarePlanes tile's name, or the image itself."""
    if stated is not None and str(stated):
        return str(stated)
    stem = PurePosixPath(file_name).stem
    tile = _RAREPLANES_TILE.match(stem)
    return tile[1] if tile else stem


@dataclass(frozen=True, slots=True)
class _Document:
    """A COCO file of sound structure: image entries by id, class names, labels by category id; ids as text."""

    path: Path
    content: Mapping[str, Any]
    entries: Mapping[str, Mapping[str, Any]]
    names: tuple[str, ...]
    labels: Mapping[str, int]


def _open(path: Path, classes: Sequence[str]) -> _Document:
    content = _load(path)
    names, labels = _match_categories(content, path, classes)
    return _Document(path, content, _check_entries(content, path), names, labels)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise DataError(f"{path} is not JSON ({error}); give a COCO annotation file") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(document, dict) or any(not isinstance(document.get(key), list) for key in keys):
        raise DataError(f"{path} is not a COCO file: it needs the lists images, annotations and categories")
    for key in keys:
        if not document[key]:
            raise DataError(f"{path} is an empty COCO file: its list of {key} has no entry; give a file that has some")
        if not all(isinstance(entry, dict) for entry in document[key]):
            raise DataError(f"{path} is not a COCO file: an entry of {key} is not an object")
    return document


def _match_categories(
    document: Mapping[str, Any], path: Path, classes: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the class names and the label of each wanted category id (as text)."""
    wanted: dict[str, str] = {}
    for entry in classes:
        source, _, name = entry.partition(":")
        wanted[source] = (name or source).lower()
    names = tuple(dict.fromkeys(wanted.values()))
    ids = {str(category.get("name")): category.get("id") for category in document["categories"]}
    for name in names:
        sources = [source for source, target in wanted.items() if target == name]
        if not any(source in ids for source in sources):
            raise DataError(_missing_category(path, name, sources, list(ids)))
    labels = {str(ids[source]): names.index(name) for source, name in wanted.items() if source in ids}
    return names, labels


def _missing_category(path: Path, name: str, sources: list[str], present: list[str]) -> str:
    alike = [other for other in present if other.lower() in {source.lower() for source in sources}]
    suggestion = f"{(alike or present)[0]}:{name}"
    listed = ", ".join(repr(other) for other in present[:8]) + (
        f" and {len(present) - 8} more" if len(present) > 8 else ""
    )
    what = (
        f"spells category {sources[0]!r} as {alike[0]!r}" if alike else f"has no category {sources[0]!r}, only {listed}"
    )
    return f"{path} {what}; name the category that holds it, for example --set data.classes={suggestion}"


def _check_entries(document: Mapping[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """Return the image entries by id (as text)."""
    entries: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for entry in document["images"]:
        if entry.get("id") is None or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            raise DataError(f"{path}: an image entry has no id or no file_name ({_short(entry)}); complete it")
        key, name = str(entry["id"]), entry["file_name"]
        if key in entries:
            raise DataError(
                f"{path}: image id {key} is used twice, by {entries[key]['file_name']} and {name}; renumber one"
            )
        if name in seen:
            raise DataError(f"{path}: image {name} is listed twice, as {seen[name]} and {key}; merge the two entries")
        entries[key], seen[name] = entry, key
    return entries


def _frame_sizes(document: _Document, paths: Sequence[Path], report: CocoReport) -> dict[str, tuple[int, int]]:
    """Return the width and height of each image, measured where the file does not state it."""
    sizes: dict[str, tuple[int, int]] = {}
    for (key, entry), path in zip(document.entries.items(), paths, strict=True):
        width, height = entry.get("width"), entry.get("height")
        if not (isinstance(width, int | float) and isinstance(height, int | float) and width >= 1 and height >= 1):
            height, width = decode_image(path.read_bytes(), str(path)).shape[:2]
            report.measured += 1
        sizes[key] = (int(width), int(height))
    return sizes


def _wanted_annotations(document: _Document, report: CocoReport) -> list[dict[str, Any]]:
    """Return the annotations of wanted categories that bound single objects."""
    names = {str(category.get("id")): str(category.get("name")) for category in document.content["categories"]}
    others: Counter[str] = Counter()
    kept = []
    for number, annotation in enumerate(document.content["annotations"]):
        called = f"{document.path}: annotation {annotation.get('id', f'number {number}')}"
        category, image = annotation.get("category_id"), annotation.get("image_id")
        if category is None:
            raise DataError(
                f"{called} has no category (category_id null, as in RarePlanes' *_tiled.json); "
                "use instances_train_aircraft.json or instances_test_aircraft.json instead"
            )
        if str(category) not in names:
            raise DataError(f"{called} is of category {category}, which the file does not define; correct it")
        if str(image) not in document.entries:
            raise DataError(f"{called} belongs to image {image}, which the file does not list; correct its image_id")
        if annotation.get("iscrowd"):
            report.crowds += 1
        elif str(category) in document.labels:
            kept.append(annotation)
        else:
            others[names[str(category)]] += 1
    report.other_categories = dict(others)
    return kept


def _usable_boxes(
    document: _Document,
    annotations: list[dict[str, Any]],
    sizes: Mapping[str, tuple[int, int]],
    on_bad_box: OnBadBox,
    report: CocoReport,
) -> NDArray[np.float32]:
    """Return float32 [N, 4] x1, y1, x2, y2; zeros stand for boxes that are left out."""
    xywh = np.array([to_xywh(a.get("bbox")) for a in annotations], np.float64).reshape(-1, 4)
    frames = np.array([sizes[str(a["image_id"])] for a in annotations], np.float64).reshape(-1, 2)
    checked = check_boxes(xywh, frames)
    if checked.bad.any() and on_bad_box == "fail":
        raise DataError(_bad_box(document, annotations, sizes, checked))
    gone = checked.bad if on_bad_box == "drop" else checked.lost
    checked.xyxy[gone] = 0.0
    report.rounded = int(checked.rounded.sum())
    report.clipped = int((checked.bad & ~gone).sum())
    report.dropped = int(gone.sum())
    report.boxes = int((~gone).sum())
    return checked.xyxy


def _settle_duplicates(
    document: _Document,
    annotations: list[dict[str, Any]],
    boxes: NDArray[np.float32],
    duplicates: Duplicates,
    report: CocoReport,
) -> None:
    """Count the boxes that label an object again; with ``merge`` set them to zeros, which leaves them out."""
    members: dict[str, list[int]] = {}
    for index, annotation in enumerate(annotations):
        if boxes[index].any():
            members.setdefault(str(annotation["image_id"]), []).append(index)
    report.duplicates_merged = duplicates == "merge"
    for key, indices in members.items():
        labels = np.array([document.labels[str(annotations[i]["category_id"])] for i in indices], np.int64)
        again = np.array(indices)[duplicate_boxes(boxes[indices], labels)]
        report.duplicates += len(again)
        if len(again) and duplicates == "fail":
            raise DataError(
                f"{document.path}: {len(again)} boxes of image {document.entries[key]['file_name']} label an object "
                "that another box labels already; pass --set data.duplicates=merge to keep one of each"
            )
        if duplicates == "merge":
            boxes[again] = 0.0
            report.boxes -= len(again)


def _bad_box(
    document: _Document,
    annotations: list[dict[str, Any]],
    sizes: Mapping[str, tuple[int, int]],
    checked: CheckedBoxes,
) -> str:
    first = int(np.flatnonzero(checked.bad)[0])
    annotation, count = annotations[first], int(checked.bad.sum())
    key = str(annotation["image_id"])
    width, height = sizes[key]
    return (
        f"{document.path}: {count} of {len(annotations)} boxes lie outside their frame or have no size, the first is "
        f"annotation {annotation.get('id', f'number {first}')} of image {document.entries[key]['file_name']}, "
        f"bbox {_short(annotation.get('bbox'))} in a frame of {width}x{height}; "
        "pass --set data.on_bad_box=fix to clip such boxes and drop those with nothing left"
    )


def _records(
    document: _Document,
    annotations: list[dict[str, Any]],
    sizes: Mapping[str, tuple[int, int]],
    boxes: NDArray[np.float32],
    report: CocoReport,
) -> list[ImageRecord]:
    entries, labels = document.entries, document.labels
    members: dict[str, list[int]] = {key: [] for key in entries}
    for index, annotation in enumerate(annotations):
        if boxes[index].any():
            members[str(annotation["image_id"])].append(index)
    report.renumbered = not all(type(entry["id"]) is int for entry in entries.values())
    report.empty_images = sum(not indices for indices in members.values())
    records = []
    for number, (key, entry) in enumerate(entries.items(), start=1):
        attributes = {name: value for name, value in entry.items() if name not in _OWN_KEYS}
        if report.renumbered:
            attributes["source_id"] = entry["id"]
        records.append(
            ImageRecord(
                id=number if report.renumbered else entry["id"],
                file_name=_inner_name(entry["file_name"]),
                width=sizes[key][0],
                height=sizes[key][1],
                group=group_of(entry["file_name"], entry.get("group")),
                boxes=boxes[members[key]],
                labels=np.array([labels[str(annotations[i]["category_id"])] for i in members[key]], np.int64),
                attributes=attributes,
            )
        )
    return records


def _inner_name(file_name: str) -> str:
    """Return a name that stays inside any folder it is written to."""
    path = PurePosixPath(file_name)
    return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
