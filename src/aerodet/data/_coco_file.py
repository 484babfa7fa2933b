"""A COCO file as it lies on disk: its three lists, with nothing believed of what they hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from aerodet.errors import DataError

__all__ = ["Annotation", "CocoFile", "canonical", "load_coco", "short"]

_KEYS = ("images", "annotations", "categories")
_FIELDS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")


class Annotation(msgspec.Struct, gc=False):
    """One annotation; 600,000 of them as plain dictionaries would take a gigabyte.

    ``value`` is the attribute that classes are taken from, where one was asked for.
    """

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = None
    segmentation: Any = msgspec.field(default=None, name="")  # read where :func:`_schema` says so
    value: Any = None

    def bounds(self) -> tuple[float, float, float, float]:
        """Return the ``bbox`` that encloses the polygons of ``segmentation``; NaN where there is none."""
        try:
            raw = self.segmentation
            value: Any = msgspec.json.decode(raw) if isinstance(raw, msgspec.Raw) else raw
            rings = value if isinstance(value[0], list) else [value]
            points = np.concatenate([np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings])
            low, high = points.min(axis=0), points.max(axis=0)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError, msgspec.DecodeError):
            return (math.nan,) * 4
        return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The lists of a COCO file; each entry is an object, nothing else is certain."""

    path: Path
    images: Sequence[Mapping[str, Any]]
    annotations: Sequence[Annotation]
    categories: Sequence[Mapping[str, Any]]
    attribute: str | None = None

    def category(self, annotation: Annotation) -> Any:
        """Return what says an annotation's class: its category's id, or its value of the attribute."""
        if self.attribute is None:
            return annotation.category_id
        return getattr(annotation, self.attribute if self.attribute in _FIELDS else "value")

    def called(self, index: int) -> str:
        """Return what an annotation is called in a message."""
        number = self.annotations[index].id
        return f"annotation {short(number)}" if number is not None else f"annotation number {index}"

    def boxes(self) -> NDArray[np.float64]:
        """Return each annotation's ``bbox``, float64 [N, 4] x, y, width, height; NaN where it is no box."""
        values = [annotation.bbox for annotation in self.annotations]
        try:
            array = np.asarray(values, np.float64)
        except (TypeError, ValueError, OverflowError, RecursionError):
            array = np.zeros(0)
        if array.shape == (len(values), 4):
            return array
        return np.array([_to_xywh(value) for value in values], np.float64).reshape(-1, 4)


def load_coco(path: Path, attribute: str | None = None, *, outlines: bool = True) -> CocoFile:
    """Read a COCO file.

    Args:
        path: the JSON file.
        attribute: field of the annotations to read into :attr:`Annotation.value`.
        outlines: keep the polygons, and with them the bytes of the file.

    Raises:
        DataError: it cannot be read, is not JSON, or lacks one of the lists.
    """
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path") from error
    try:
        content = msgspec.json.decode(
            data, type=_schema(None if attribute in _FIELDS else attribute, outlines=outlines)
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Python's reader takes NaN and Infinity, which JSON has not, and tells what is wrong with the rest.
        images, annotations, categories = _load_slowly(path, data, attribute)
    else:
        images, annotations, categories = content.images, content.annotations, content.categories
    for key, entries in zip(_KEYS, (images, annotations, categories), strict=True):
        if not entries:
            raise DataError(f"{path} is an empty COCO file: its list of {key} has no entry; give a file that has some")
    return CocoFile(path, images, annotations, categories, attribute)


def canonical(value: Any) -> int | str | None:
    """Return an id in the form in which equal ids are equal: 7, 7.0 and "7" are one; None for what is no id."""
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value:
        return int(value) if len(value) < 19 and value.isdecimal() and str(int(value)) == value else value
    return None


def short(value: Any) -> str:
    """Return a value as JSON for a message, cut to 80 characters."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def _schema(attribute: str | None, *, outlines: bool) -> Any:
    fields: list[Any] = []
    if outlines or attribute == "segmentation":
        # A raw polygon is a view of the file's bytes; decoded polygons would outweigh everything else.
        fields.append(("segmentation", msgspec.Raw, msgspec.Raw(b"null")))
    if attribute is not None:
        fields.append(("value", Any, None))
    entry = msgspec.defstruct("Entry", fields, bases=(Annotation,), rename={"value": attribute or "value"}, gc=False)
    return msgspec.defstruct(
        "Content",
        [("images", list[dict[str, Any]]), ("annotations", list[entry]), ("categories", list[dict[str, Any]])],  # type: ignore[valid-type]
        gc=False,
    )


def _load_slowly(
    path: Path, data: bytes, attribute: str | None
) -> tuple[list[dict[str, Any]], list[Annotation], list[dict[str, Any]]]:
    try:
        document = json.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply; give a COCO annotation file") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise DataError(f"{path} is not JSON ({error}); give a COCO annotation file") from error
    if not isinstance(document, dict) or any(not isinstance(document.get(key), list) for key in _KEYS):
        raise DataError(f"{path} is not a COCO file: it needs the lists images, annotations and categories")
    for key in _KEYS:
        if not all(isinstance(entry, dict) for entry in document[key]):
            raise DataError(f"{path} is not a COCO file: an entry of {key} is not an object")
    fields = (*_FIELDS, attribute or "")
    annotations = [Annotation(*map(entry.get, fields)) for entry in document["annotations"]]
    return document["images"], annotations, document["categories"]


def _to_xywh(value: Any) -> tuple[float, float, float, float]:
    if not isinstance(value, list):  # the text "1234" would pass for four numbers
        return (math.nan,) * 4
    try:
        x, y, w, h = (float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        return (math.nan,) * 4
    return (x, y, w, h)
