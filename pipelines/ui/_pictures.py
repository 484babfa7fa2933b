"""Pictures of image sets with their boxes, and of evaluations with what was found, missed and invented."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from aerodet.errors import DataError, UserError
from aerodet.lineage import Record
from aerodet.pipelines.ui._library import Library
from aerodet.storage import open_store

__all__ = ["Pictures"]

A_PAGE = 12  # pictures
LARGEST_PICTURE = 32 << 20  # bytes of one image file
LARGEST_SET = 1 << 30  # bytes of an image set that is fetched from a bucket to be looked at
KEPT = 8  # image sets that stay open
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError)
MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class Pictures:
    """Image sets, opened on first use and kept open.

    Args:
        library: where the artifacts lie.
        scratch: folder for what is fetched from buckets to be looked at.
    """

    def __init__(self, library: Library, scratch: Path) -> None:
        self._library, self._scratch = library, scratch
        self._open: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def page(self, digest: str, offset: int = 0) -> dict[str, Any] | None:
        """Return a page of pictures of an image set or an evaluation; None where the artifact has none.

        Raises:
            UserError: there is no such artifact, or its images are not at hand.
        """
        record = self._library.artifact(digest)[0]
        try:
            if _has(record, "annotations.json"):
                return self._set_page(digest, offset)
            if _has(record, "detections.json") and "dataset" in record.provenance.inputs:
                return self._evaluation_page(record, offset)
        except _DAMAGE as error:
            raise DataError("the pictures cannot be shown: a file does not hold what its name promises") from error
        return None

    def image(self, digest: str, index: int) -> tuple[bytes, str]:
        """Return an image's bytes and its media type.

        Raises:
            UserError: there is no such image, or it is neither PNG nor JPEG.
        """
        images = self._images(digest)
        if not 0 <= index < len(images):
            raise UserError(f"the image set has {len(images)} images, and none of number {index}")
        try:
            content: bytes = images.encoded(index)
        except (ValueError, TypeError, OSError, OverflowError) as error:
            raise DataError(f"image {index} is not where the set's index says") from error
        kind = next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), None)
        if kind is None:
            raise UserError(f"image {index} is neither PNG nor JPEG")
        return content, kind

    def _set_page(self, digest: str, offset: int) -> dict[str, Any]:
        images = self._images(digest)
        items = []
        for index in range(max(0, offset), min(max(0, offset) + A_PAGE, len(images))):
            record = images.records[index]
            names = [images.classes[label] for label in record.labels]
            boxes = [[*_corners(box), "truth", name] for box, name in zip(record.boxes, names, strict=True)]
            boxes += _ignored(record)
            items.append(_item(digest, index, record, boxes))
        legend = ["truth", *_more(images)]
        return {"items": items, "total": len(images), "offset": offset, "size": A_PAGE, "legend": legend}

    def _evaluation_page(self, record: Record, offset: int) -> dict[str, Any]:
        """Return the pictures of an evaluation, those with most errors first."""
        from aerodet.report.examples import match_detections, read_detections

        dataset = record.provenance.inputs["dataset"].digest
        images, key = self._images(dataset), f"matches {record.provenance.digest}"
        if (known := self._open.get(key)) is None:
            folder = self._local(record, ("detections.json",))
            found = read_detections(folder / "detections.json", images.records)
            matches, threshold = match_detections(images.records, found)
            matches.sort(key=lambda m: (-m.missed - m.false_alarms, m.index))
            known = self._keep(key, (matches, threshold))
        matches, threshold = known
        items = []
        for match in matches[max(0, offset) : max(0, offset) + A_PAGE]:
            boxes = [
                [*_corners(b), "found" if h else "invented", ""] for b, h in zip(match.boxes, match.hits, strict=True)
            ]
            boxes += [[*_corners(box), "missed", ""] for box in match.truth[~match.taken]]
            boxes += _ignored(images.records[match.index])
            items.append(_item(dataset, match.index, images.records[match.index], boxes))
        legend = ["found", "invented", "missed", *_more(images)]
        return {
            "items": items,
            "total": len(matches),
            "offset": offset,
            "size": A_PAGE,
            "legend": legend,
            "threshold": float(threshold),
        }

    def _images(self, digest: str) -> Any:
        from aerodet.data import ImageSet

        with self._lock:
            if digest in self._open:
                self._open.move_to_end(digest)
                return self._open[digest]
        try:
            images = ImageSet(self._local(self._library.artifact(digest)[0], ()))
            _check(images)
        except _DAMAGE as error:
            raise DataError("the image set cannot be read: it does not hold what an image set holds") from error
        return self._keep(digest, images)

    def _keep(self, key: str, value: Any) -> Any:
        with self._lock:
            self._open[key] = value
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        return value

    def _local(self, record: Record, names: tuple[str, ...]) -> Path:
        """Return the artifact's folder on this machine; from a bucket it is fetched, or only the files named are."""
        if record.folder is not None:
            if any(path.is_symlink() for path in record.folder.iterdir()):
                raise UserError(f"{record.uri} holds links, and links are not followed")
            return record.folder
        folder = self._scratch / record.provenance.digest
        store = open_store(record.uri)
        entries = [entry for entry in store.keys() if "/" not in entry.key and entry.key not in (".", "..")]
        entries = [entry for entry in entries if not names or entry.key in names]
        if sum(entry.size for entry in entries) > LARGEST_SET:
            raise UserError(f"{record.uri} has more than {LARGEST_SET >> 30} GiB; copy it here to look at its images")
        for entry in entries:
            if not (folder / entry.key).exists():
                store.download(entry.key, folder / entry.key)
        return folder


def _has(record: Record, name: str) -> bool:
    return name in record.provenance.files or (record.folder is not None and (record.folder / name).is_file())


def _item(digest: str, index: int, record: Any, boxes: list[list[Any]]) -> dict[str, Any]:
    place = {"width": record.width, "height": record.height, "group": record.group}
    return {"src": f"{digest}/images/{index}", "name": record.file_name, **place, "boxes": boxes}


def _ignored(record: Any) -> list[list[Any]]:
    return [[*_corners(region), "ignored", ""] for region in record.ignored]


def _more(images: Any) -> list[str]:
    """Return what the legend of a set says besides."""
    return ["ignored"] if any(len(record.ignored) for record in images.records) else []


def _corners(box: Any) -> list[float]:
    corners = [float(value) for value in box]
    if not all(map(math.isfinite, corners)):
        raise ValueError("a box without a place")
    return corners


def _check(images: Any) -> None:
    """Refuse an image set whose index asks for more bytes than an image has."""
    for index in range(len(images)):
        if not 0 <= images.size_of(index) <= LARGEST_PICTURE:
            raise ValueError("an image of absurd size")
