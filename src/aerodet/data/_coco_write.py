"""COCO documents out: at once, or entry by entry without keeping the entries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from aerodet.data.records import ImageRecord

__all__ = ["CocoStream", "coco_document"]


def coco_document(records: Sequence[ImageRecord], classes: Sequence[str]) -> dict[str, Any]:
    """Return records as a COCO document; category ids are label + 1.

    Args:
        records: the images.
        classes: class names that the labels index.

    Returns:
        A dictionary of JSON values with ``images``, ``annotations`` and ``categories``.
    """
    annotations: list[dict[str, Any]] = []
    for record in records:
        annotations += _annotations(record, len(annotations) + 1)
    return {
        "images": [_image(record) for record in records],
        "annotations": annotations,
        "categories": _categories(classes),
    }


class CocoStream:
    """Writes a COCO file while its images come; only the file grows, so any number of images fits into memory.

    Args:
        path: the file, which is there after :meth:`finish`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts = [path.with_name(f"{path.name}.{part}") for part in ("images", "annotations")]
        self._images = self._boxes = 0

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._streams: list[IO[str]] = [
            self._stack.enter_context(part.open("w", encoding="utf-8")) for part in self._parts
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for part in self._parts:
            part.unlink(missing_ok=True)

    def add(self, record: ImageRecord, **more: Any) -> None:
        """Write an image's entries; ``more`` are further fields of the image."""
        images, annotations = self._streams
        images.write(", " * bool(self._images) + json.dumps({**_image(record), **more}, allow_nan=False))
        self._images += 1
        for annotation in _annotations(record, self._boxes + 1):
            annotations.write(", " * bool(self._boxes) + json.dumps(annotation, allow_nan=False))
            self._boxes += 1

    def finish(self, classes: Sequence[str], info: Mapping[str, Any] | None = None) -> None:
        """Write the file: ``info`` where it is given, images, annotations and categories."""
        self._stack.close()
        with self._path.open("w", encoding="utf-8") as out:
            out.write("{" + (f'"info": {json.dumps(dict(info), allow_nan=False)}, ' if info is not None else ""))
            for name, part in zip(("images", "annotations"), self._parts, strict=True):
                out.write(f'"{name}": [')
                with part.open(encoding="utf-8") as stream:
                    shutil.copyfileobj(stream, out, 1 << 20)
                out.write("], ")
            out.write(f'"categories": {json.dumps(_categories(classes))}}}\n')


def _image(record: ImageRecord) -> dict[str, Any]:
    return {
        **record.attributes,
        "id": record.id,
        "file_name": record.file_name,
        "width": record.width,
        "height": record.height,
        "group": record.group,
    }


def _annotations(record: ImageRecord, first: int) -> Iterator[dict[str, Any]]:
    details = record.details or ({},) * len(record.boxes)
    entries = zip(record.boxes.tolist(), record.labels.tolist(), details, strict=True)
    for number, (box, label, detail) in enumerate(entries, start=first):
        x1, y1, x2, y2 = box
        yield {
            "area": (x2 - x1) * (y2 - y1),  # of the mask, where the details have one
            **detail,
            "id": number,
            "image_id": record.id,
            "category_id": label + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 0,
        }
    for number, (x1, y1, x2, y2) in enumerate(record.ignored.tolist(), start=first + len(record.boxes)):
        yield {
            "area": (x2 - x1) * (y2 - y1),
            "id": number,
            "image_id": record.id,
            "category_id": 1,  # COCO wants one; the reader takes it for all
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "iscrowd": 1,
        }


def _categories(classes: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
