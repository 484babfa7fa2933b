"""Images and their labels side by side in two folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from aerodet.data.records import ImageFiles, ImageRecord, Images
from aerodet.errors import DataError
from aerodet.progress import progress

__all__ = ["Placing", "place_image", "write_pairs"]

Placing = Literal["copy", "link"]
_BATCH = 256


def write_pairs(images: Images, folder: Path, text: Callable[[ImageRecord], str], how: Placing, title: str) -> None:
    """Write images and their label files to ``images/`` and ``labels/``, both under the image's bare name.

    Args:
        images: the collection.
        folder: where the two folders shall be.
        text: the label file of a record.
        how: see :func:`place_image`.
        title: what the progress is called.

    Raises:
        DataError: two images have the same bare name, or one cannot be read.
    """
    pictures, labels = folder / "images", folder / "labels"
    pictures.mkdir(parents=True)
    labels.mkdir()
    # The disk places the images of a batch while Python writes their labels.
    with ThreadPoolExecutor(1) as pool, progress(title, len(images.records)) as bar:
        for start in range(0, len(images.records), _BATCH):
            batch = range(start, min(start + _BATCH, len(images.records)))
            placing = pool.submit(_place_all, images, batch, pictures, how)
            for index in batch:
                _write_label(images, index, labels, text)
            placing.result()
            bar.advance(len(batch))


def _place_all(images: Images, batch: range, pictures: Path, how: Placing) -> None:
    for index in batch:
        place_image(images, index, f"{pictures}/{images.records[index].file_name.rpartition('/')[2]}", how)


def _write_label(images: Images, index: int, labels: Path, text: Callable[[ImageRecord], str]) -> None:
    record = images.records[index]
    # Opened for the first time or not at all: the folder itself knows the names, so nothing has to be remembered.
    try:
        descriptor = os.open(f"{labels}/{record.stem}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        twin = next(other.file_name for other in images.records if other.stem == record.stem)
        raise DataError(
            f"images {twin} and {record.file_name} would share the label file {record.stem}.txt; rename one"
        ) from None
    try:
        os.write(descriptor, text(record).encode())
    finally:
        os.close(descriptor)


def place_image(images: Images, index: int, target: str, how: Placing) -> None:
    """Put an image's file to a place: a copy, or a second name of the file where the disk is the same.

    Raises:
        DataError: the image cannot be read.
    """
    if isinstance(images, ImageFiles):
        source = images.paths[index]
        try:
            if how == "link":
                try:
                    os.link(source, target)
                except OSError:  # another disk, or one without links
                    shutil.copyfile(source, target)
            else:
                shutil.copyfile(source, target)
        except FileNotFoundError as error:
            raise DataError(f"image {source} cannot be read ({error.strerror}); put it back or leave it out") from error
    else:
        Path(target).write_bytes(images.encoded(index))
