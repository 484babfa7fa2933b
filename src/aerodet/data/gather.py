"""Image sets made of others: of several in parts, or of some of one's images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from aerodet.data.shards import ImageSet, ImageSetWriter
from aerodet.errors import DataError

__all__ = ["check_image_set", "copy_image_set", "gather_image_sets"]


def gather_image_sets(parts: Sequence[Path], folder: Path) -> None:
    """Copy the images of several image sets into one, in their order; ids and names must differ.

    Args:
        parts: folders of image sets with the same classes.
        folder: receives the image set.

    Raises:
        DataError: there is no part, the classes differ, or an id or a name comes twice.
    """
    sets = [ImageSet(part) for part in parts]
    if not sets or len({s.classes for s in sets}) > 1:
        raise DataError("image sets can be gathered when there is at least one and all have the same classes")
    with ImageSetWriter(folder, sets[0].classes) as writer:
        for part in sets:
            _add(writer, part, range(len(part)))


def copy_image_set(images: ImageSet, indices: Iterable[int], folder: Path) -> None:
    """Copy some of an image set's images, as they are, into a new one.

    Raises:
        DataError: none is chosen.
    """
    with ImageSetWriter(folder, images.classes) as writer:
        _add(writer, images, indices)


def check_image_set(images: ImageSet, classes: Sequence[str], size: int) -> None:
    """Check that a network can be trained on an image set as it is.

    Args:
        images: the image set.
        classes: what the network detects.
        size: side of its input, pixels.

    Raises:
        DataError: the classes are others, or an image has another size.
    """
    if images.classes != tuple(classes):
        raise DataError(
            f"{images.folder} is labelled {', '.join(images.classes)}, and the classes are {', '.join(classes)}; "
            "set classes, or make the image set again"
        )
    for record in images.records:
        if (record.width, record.height) != (size, size):
            raise DataError(
                f"image {record.file_name} of the image set {images.folder} has {record.width}x{record.height} px, and "
                f"the network takes {size}x{size}; cut it with `aerodet data convert --to tiles --size {size}`, or "
                f"set size"
            )


def _add(writer: ImageSetWriter, images: ImageSet, indices: Iterable[int]) -> None:
    with images:
        for index in indices:
            record = images.records[index]
            writer.add(record, images.encoded(index), PurePosixPath(record.file_name).suffix)
