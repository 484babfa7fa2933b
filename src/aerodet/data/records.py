"""One labelled picture, and what every collection of labelled pictures can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import splitext
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerodet.data.pixels import decode_image
from aerodet.errors import DataError
from aerodet.metrics import IGNORED

__all__ = ["Boxes", "ImageFiles", "ImageRecord", "Images", "Labels", "Pixels"]

Boxes = NDArray[np.float32]
Labels = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """What is known of one image, without its pixels.

    Args:
        id: number, unique in its set.
        file_name: name inside its set, with forward slashes.
        width: pixels.
        height: pixels.
        group: the place it shows; images of one group never end on both sides of a split.
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels, origin at the image's top left corner.
        labels: int64 [N], indices into the set's classes.
        attributes: further fields, such as the frame that a tile was cut from; JSON values only.
        details: further fields of each box, such as its mask; JSON values only. Empty, or one a box.
        ignored: float32 [K, 4], regions that are neither object nor background, such as the tip of a wing whose
            aircraft is in the next tile, or a crowd (COCO's ``iscrowd``, KITTI's DontCare).
    """

    id: int
    file_name: str
    width: int
    height: int
    group: str
    boxes: Boxes = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: Labels = field(default_factory=lambda: np.zeros(0, np.int64))
    attributes: Mapping[str, Any] = field(default_factory=dict)
    details: Sequence[Mapping[str, Any]] = ()
    ignored: Boxes = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        labels = np.asarray(self.labels, np.int64).reshape(-1)
        if len(boxes) != len(labels):
            raise ValueError(f"{self.file_name}: {len(boxes)} boxes but {len(labels)} labels")
        if self.details and len(self.details) != len(boxes):
            raise ValueError(f"{self.file_name}: {len(boxes)} boxes but details of {len(self.details)}")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "ignored", np.asarray(self.ignored, np.float32).reshape(-1, 4))

    @property
    def truth(self) -> tuple[Boxes, Labels]:
        """The boxes and their labels, then the ignored regions with the label :data:`aerodet.metrics.IGNORED`."""
        labels = np.concatenate([self.labels, np.full(len(self.ignored), IGNORED)])
        return np.concatenate([self.boxes, self.ignored]), labels

    @property
    def stem(self) -> str:
        """The bare name without folders and suffix."""
        return splitext(self.file_name.rpartition("/")[2])[0]


class Images(Protocol):
    """A collection of labelled pictures: files in a folder, or an image set in shards."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Lower-case class names; labels index them."""

    @property
    def records(self) -> Sequence[ImageRecord]:
        """One record an image, in a fixed order."""

    def encoded(self, index: int) -> bytes:
        """The image file's bytes."""

    def image(self, index: int) -> Pixels:
        """The pixels, uint8 RGB [H, W, 3]."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labelled pictures that lie as single files in folders.

    Args:
        classes: lower-case class names; labels index them.
        records: one an image.
        paths: where each record's image lies, in the order of the records.
    """

    classes: tuple[str, ...]
    records: list[ImageRecord]
    paths: list[Path]

    def __len__(self) -> int:
        return len(self.records)

    def encoded(self, index: int) -> bytes:
        """Return the image file's bytes.

        Raises:
            DataError: the file cannot be read.
        """
        try:
            return self.paths[index].read_bytes()
        except OSError as error:
            raise DataError(
                f"image {self.paths[index]} cannot be read ({error.strerror}); put it back or leave it out"
            ) from error

    def image(self, index: int) -> Pixels:
        """Return the pixels, uint8 RGB [H, W, 3].

        Raises:
            DataError: the file cannot be decoded, or its size is not the record's.
        """
        record = self.records[index]
        return decode_image(self.encoded(index), str(self.paths[index]), size=(record.width, record.height))
