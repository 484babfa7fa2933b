"""Image sets: the folder in which labelled images travel between stages.

::

    annotations.json              plain COCO, so that pycocotools reads it; an image entry also carries its group and
                                  where its bytes lie: "shard": [number of the shard, offset, size]
    images-00000-of-00002.tar     uncompressed tar files of the images, in the order of annotations.json
    images-00001-of-00002.tar

Kubeflow Pipelines copies artifacts file by file, so ten thousand tiles in a few shards travel far faster than as files.
The same images, added in the same order, give the same bytes.
"""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from aerodet.data._coco_write import CocoStream
from aerodet.data._seen import Seen
from aerodet.data.pixels import decode_image, encode_image, sniff_suffix
from aerodet.data.records import ImageRecord, Pixels
from aerodet.errors import DataError
from aerodet.files import IMAGE_SUFFIXES, atomic_path, read_json

__all__ = ["ANNOTATIONS", "ImageSet", "ImageSetWriter", "is_image_set"]

ANNOTATIONS = "annotations.json"
SCHEMA = "aerodet/image-set/1"
_OWN_KEYS = ("id", "file_name", "width", "height", "group", "shard")
_BOX_KEYS = ("id", "image_id", "category_id", "bbox", "iscrowd")


def is_image_set(folder: Path | str) -> bool:
    """Say whether a folder is an image set, rather than COCO with its images as files."""
    return (Path(folder) / ANNOTATIONS).is_file() and any(Path(folder).glob("images-*-of-*.tar"))


class ImageSet:
    """An image set that is read: records at once, images at random and from any thread.

    Args:
        folder: the artifact's folder.

    Raises:
        DataError: the folder is not an image set.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        document = _read_document(self.folder / ANNOTATIONS)
        self.classes: tuple[str, ...] = tuple(category["name"] for category in document["categories"])
        self.records: list[ImageRecord] = _read_records(document)
        self.info: dict[str, Any] = document["info"]
        self._places: list[tuple[int, int, int]] = [tuple(entry["shard"]) for entry in document["images"]]
        self._shards: int = self.info["shards"]
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"ImageSet({str(self.folder)!r}: {len(self)} images of {', '.join(self.classes)})"

    def __reduce__(self) -> tuple[type[ImageSet], tuple[Path]]:
        return ImageSet, (self.folder,)  # open files do not travel to other processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()

    def close(self) -> None:
        """Close the shards; a later read opens them again."""
        while self._files:
            os.close(self._files.popitem()[1])

    def size_of(self, index: int) -> int:
        """Return how many bytes the image file has, as annotations.json says."""
        return self._places[index][2]

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file.

        Raises:
            DataError: its shard is missing or shorter than it was.
        """
        shard, offset, size = self._places[index]
        data = os.pread(self._file(shard), size, offset)
        if len(data) < size:
            raise DataError(
                f"image {self.records[index].file_name} in {self.folder / _shard_name(shard, self._shards)} "
                "is truncated; copy or make the image set again"
            )
        return data

    def image(self, index: int) -> Pixels:
        """Return the pixels, uint8 RGB [H, W, 3].

        Raises:
            DataError: the image is truncated, unreadable or not of its record's size.
        """
        record = self.records[index]
        where = f"{record.file_name} in {self.folder}"
        return decode_image(self.encoded(index), where, size=(record.width, record.height))

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                path = self.folder / _shard_name(shard, self._shards)
                try:
                    self._files[shard] = os.open(path, os.O_RDONLY)
                except OSError as error:
                    raise DataError(
                        f"shard {path} cannot be read ({error.strerror}); copy or make the image set again"
                    ) from error
            return self._files[shard]


class ImageSetWriter:
    """Writes an image set; the folder appears when the ``with`` block ends well, and not at all otherwise.

    ::

        with ImageSetWriter(folder, ("aircraft",)) as writer:
            writer.add(record, pixels)

    Args:
        folder: where the image set shall be; an older one is replaced.
        classes: lower-case class names that the labels index.
        shard_bytes: a shard is closed when it has grown to this size.
        info: further fields for the ``info`` object of annotations.json.
    """

    def __init__(
        self,
        folder: Path | str,
        classes: Sequence[str],
        *,
        shard_bytes: int = 256 << 20,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.classes = tuple(classes)
        self._shard_bytes = shard_bytes
        self._info = dict(info or {})
        self._stack = ExitStack()
        self._count = 0
        self._shards: list[Path] = []
        self._stream: IO[bytes] | None = None
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> Self:
        self._partial = self._stack.enter_context(atomic_path(self.folder))
        self._partial.mkdir()
        self._seen = Seen()
        self._stack.callback(self._seen.close)
        self._annotations = self._stack.enter_context(CocoStream(self._partial / ANNOTATIONS))
        self._stack.push(self._finish)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def __len__(self) -> int:
        return self._count

    def add(self, record: ImageRecord, image: bytes | Pixels, suffix: str | None = None) -> ImageRecord:
        """Add one image.

        Args:
            record: its record; ids and file names are unique in a set.
            image: the bytes of an image file, kept as they are, or uint8 RGB pixels [H, W, 3] to be encoded.
            suffix: ``.png`` (the default for pixels) or ``.jpg``; for bytes it is told from the bytes.

        Returns:
            The record as stored: its file name ends in the suffix.

        Raises:
            DataError: the id or the file name is already in the set.
        """
        if isinstance(image, np.ndarray):
            if image.shape[:2] != (record.height, record.width):
                raise ValueError(
                    f"{record.file_name}: pixels {list(image.shape)}, record {record.height}x{record.width}"
                )
            suffix = suffix or ".png"
            data = encode_image(image, suffix)
        else:
            data = bytes(image)
            suffix = suffix or sniff_suffix(data, record.file_name)
        stored = _renamed(record, suffix)
        self._check_new(stored)
        self._annotations.add(stored, shard=list(self._append(stored.file_name, data)))
        return stored

    def _check_new(self, record: ImageRecord) -> None:
        path = PurePosixPath(record.file_name)
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"image name {record.file_name} leaves its folder; rename the image")
        if len(record.labels) and not 0 <= record.labels.min() <= record.labels.max() < len(self.classes):
            raise ValueError(f"{record.file_name}: labels {record.labels.tolist()} for {len(self.classes)} classes")
        twice = self._seen.add(record.id, record.file_name)
        if twice == "id":
            raise DataError(
                f"image id {record.id} of {record.file_name} is already in {self.folder}; renumber the images"
            )
        if twice == "name":
            raise DataError(f"image name {record.file_name} is already in {self.folder}; rename one of the images")
        self._count += 1

    def _append(self, name: str, data: bytes) -> tuple[int, int, int]:
        """Write one member and return its shard, offset and size."""
        if self._tar is None:
            path = self._partial / f"{len(self._shards):05d}.tar"
            self._shards.append(path)
            self._stream = path.open("wb")
            self._tar = tarfile.open(fileobj=self._stream, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        member = tarfile.TarInfo(name)  # owner, group and time stay zero: same images, same bytes
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        self._tar.members.clear()  # type: ignore[attr-defined]  # it would keep an entry of each file
        end = self._tar.offset
        place = (len(self._shards) - 1, end - -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, len(data))
        if end >= self._shard_bytes:
            self._close_shard()
        return place

    def _close_shard(self) -> None:
        if self._tar is not None and self._stream is not None:
            self._tar.close()
            self._stream.close()
            self._tar = self._stream = None

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            if self._stream is not None:
                self._stream.close()
            return
        if not self._count:
            raise DataError(
                f"no images were left for the image set {self.folder}; check the data set and the options that "
                "select from it"
            )
        self._close_shard()
        for number, path in enumerate(self._shards):
            path.rename(self._partial / _shard_name(number, len(self._shards)))
        self._annotations.finish(self.classes, {**self._info, "schema": SCHEMA, "shards": len(self._shards)})


def _shard_name(number: int, count: int) -> str:
    return f"images-{number:05d}-of-{count:05d}.tar"


def _renamed(record: ImageRecord, suffix: str) -> ImageRecord:
    path = PurePosixPath(record.file_name)
    known = path.suffix.lower()
    if known == suffix or {known, suffix} == {".jpg", ".jpeg"}:
        return record
    name = path.with_suffix(suffix) if known in IMAGE_SUFFIXES else path.with_name(path.name + suffix)
    return replace(record, file_name=name.as_posix())


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document = read_json(path)
    except OSError as error:
        raise DataError(
            f"{path.parent} is not an image set: {path.name} cannot be read ({error.strerror}); "
            "`aerodet data convert SOURCE FOLDER --to tiles` makes one"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); copy or make the image set again") from error
    info = document.get("info") if isinstance(document, dict) else None
    if not isinstance(info, dict) or info.get("schema") != SCHEMA:
        raise DataError(
            f"{path} is not of an image set ({SCHEMA}); `aerodet data convert SOURCE FOLDER --to tiles` makes one"
        )
    return dict(document)


def _read_records(document: Mapping[str, Any]) -> list[ImageRecord]:
    boxes: dict[int, list[list[float]]] = {entry["id"]: [] for entry in document["images"]}
    labels: dict[int, list[int]] = {entry["id"]: [] for entry in document["images"]}
    details: dict[int, list[dict[str, Any]]] = {entry["id"]: [] for entry in document["images"]}
    ignored: dict[int, list[list[float]]] = {entry["id"]: [] for entry in document["images"]}
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        if annotation["iscrowd"]:
            ignored[annotation["image_id"]].append([x, y, x + w, y + h])
            continue
        boxes[annotation["image_id"]].append([x, y, x + w, y + h])
        labels[annotation["image_id"]].append(annotation["category_id"] - 1)
        details[annotation["image_id"]].append(_details(annotation))
    return [
        ImageRecord(
            id=entry["id"],
            file_name=entry["file_name"],
            width=entry["width"],
            height=entry["height"],
            group=entry["group"],
            boxes=np.array(boxes[entry["id"]], np.float32).reshape(-1, 4),
            labels=np.array(labels[entry["id"]], np.int64),
            attributes={key: value for key, value in entry.items() if key not in _OWN_KEYS},
            details=details[entry["id"]] if any(details[entry["id"]]) else (),
            ignored=np.array(ignored[entry["id"]], np.float32),
        )
        for entry in document["images"]
    ]


def _details(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an annotation says beside its box; its area only where it has a mask."""
    return {k: v for k, v in annotation.items() if k not in _BOX_KEYS and (k != "area" or "segmentation" in annotation)}
