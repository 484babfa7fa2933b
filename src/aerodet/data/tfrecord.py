"""TFRecords as TAO's ``detectnet_v2 dataset_convert`` writes them, so that no GPU node is taken for a conversion.

::

    write_tfrecords(images, Path("tfrecords/real"), val_split=10)
    for frame in read_tfrecords(Path("tfrecords").glob("real-fold-*")): ...

A record holds an image's *labels*, its size and its frame id, ``images/NAME``: DetectNet_v2 reads the pixels from
``image_directory_path/images/NAME.<image_extension>``. With ``embed=True`` it also carries the image file's bytes, as
the feature ``frame/encoded`` (TAO's name for it in its DALI records), so that one file is the whole data set;
DetectNet_v2 passes over it.

Features, names, shards, partitions and order are those of ``nvidia_tao_tf1/cv/detectnet_v2/dataio/``
(``kitti_converter_lib.py``, ``dataset_converter_lib.py``) on the folder that :func:`aerodet.data.write_kitti` makes,
but for its ``DontCare`` lines: those are counted and left out.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from aerodet.data._example import Value, as_example, decode_example, encode_feature
from aerodet.data._records import read_records, write_records
from aerodet.data.kitti import kitti_label
from aerodet.data.records import Boxes, ImageRecord, Images
from aerodet.errors import DataError, SpecError
from aerodet.progress import Bar, progress

__all__ = [
    "Frame",
    "TFRecordReport",
    "read_tfrecords",
    "shard_name",
    "write_tfrecords",
]

_SEED = 42  # TAO's converter shuffles with it
_PARTITIONS = 2  # of TAO's partition mode "random": fold 0 to validate on, fold 1 to train on
_SIDES = ("x1", "y1", "x2", "y2")
_WORLD = tuple(f"world_bbox_{name}" for name in ("h", "w", "l", "x", "y", "z", "rot_y"))
_ABSENT = ("truncation", "occlusion", "observation_angle", *_WORLD)  # fields of a KITTI line that a 2D box lacks


@dataclass(frozen=True, eq=False)
class Frame:
    """What a record says of one image.

    Args:
        id: path of the image below the image folder, without its suffix.
        width: pixels.
        height: pixels.
        classes: class of each object.
        boxes: float32 [N, 4], x1, y1, x2, y2 in pixels.
        image: the image file's bytes, where they are embedded.
    """

    id: str
    width: int
    height: int
    classes: tuple[str, ...]
    boxes: Boxes
    image: bytes | None = None


@dataclass(frozen=True)
class TFRecordReport:
    """What was written.

    Args:
        images: records in all.
        boxes: objects by class.
        folds: records by the number of the fold in the file names.
        skipped: boxes left out, as TAO leaves them out: a side of no whole pixel.
        regions_left_out: regions to ignore, which TAO takes for background.
        files: names of the shards.
        bytes: of the shards.
    """

    images: int
    boxes: Mapping[str, int]
    folds: Mapping[int, int]
    skipped: int
    regions_left_out: int
    files: tuple[str, ...] = field(repr=False)
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**asdict(self), "folds": {str(k): v for k, v in self.folds.items()}, "files": list(self.files)}


def write_tfrecords(
    images: Images,
    prefix: Path,
    *,
    val_split: float = 0.0,
    validation: Sequence[int] | None = None,
    indices: Sequence[int] | None = None,
    num_shards: int = 10,
    image_folder: str = "images",
    embed: bool = False,
) -> TFRecordReport:
    """Write images' labels as TFRecords; memory does not grow with the number of images.

    Fold 0 is there to validate on. It holds the first ``val_split`` percent of the images by name, as in TAO: tiles of
    one place can end on both sides. ``validation`` names its images instead, and the others are fold 1 even where it
    names none. With neither, everything is written as **fold 0**, because TAO numbers the folds that are not empty.
    Such files are no ``data_sources`` of a spec that has ``validation_fold: 0``, which would leave nothing to train on;
    name them in a ``validation_data_source``, or leave validation out.

    Args:
        images: an image set, or images in files; all with the same suffix.
        prefix: path and beginning of the files' names; ``-fold-000-of-002-shard-00000-of-00010`` and so on follow.
        val_split: percent of the images in fold 0, at least 0 and below 100.
        validation: the images of fold 0, by index; then ``val_split`` is not looked at.
        indices: the images to write; all by default.
        num_shards: files a fold.
        image_folder: first part of the frame ids, the folder of the images below ``image_directory_path``.
        embed: also put the image files' bytes into the records.

    Raises:
        SpecError: ``val_split`` is out of range or takes no image, or ``num_shards`` is below 1.
        DataError: suffixes are mixed, there are no images, or files of that prefix exist.
    """
    chosen = list(range(len(images.records))) if indices is None else list(indices)
    parts = _folds(images.records, chosen, val_split, validation)
    numbers = range(_PARTITIONS) if validation is not None or parts[0] else (1, 0)  # TAO numbers what is not empty
    folds = {number: fold for number, fold in zip(numbers, parts, strict=True) if fold}
    if num_shards < 1:
        raise SpecError(f"num_shards must be at least 1, not {num_shards}")
    _check_names(images.records, chosen)
    if stale := sorted(prefix.parent.glob(f"{prefix.name}-fold-*")):
        raise DataError(
            f"{stale[0]} exists, and a pattern for the new TFRecords would match it too; remove it or change the prefix"
        )
    boxes: Counter[str] = Counter()
    skipped = 0
    files: list[Path] = []

    def records(part: Sequence[int], bar: Bar) -> Iterator[list[bytes]]:
        nonlocal skipped
        for index in part:
            record = images.records[index]
            lines, _, left_out = kitti_label(record, images.classes)
            skipped += left_out
            classes, columns = _parse(lines)
            boxes.update(classes)
            name = f"{image_folder}/{record.file_name.rpartition('.')[0]}"
            image = images.encoded(index) if embed else None
            yield _encode(name, (record.width, record.height), classes, columns, image)
            bar.advance()

    with progress("writing TFRecords", len(chosen)) as bar:
        for number, fold in folds.items():
            for shard, part in enumerate(_shards(fold, num_shards)):
                files.append(prefix.with_name(shard_name(prefix.name, number, shard, num_shards)))
                write_records(files[-1], records(part, bar))
    return TFRecordReport(
        images=len(chosen),
        boxes=dict(boxes),
        folds={number: len(fold) for number, fold in folds.items()},
        skipped=skipped,
        regions_left_out=sum(len(images.records[index].ignored) for index in chosen),
        files=tuple(path.name for path in files),
        bytes=sum(path.stat().st_size for path in files),
    )


def read_tfrecords(paths: Iterable[Path]) -> Iterator[Frame]:
    """Read frames back, file after file in the order of their names, record after record.

    Raises:
        DataError: there is no file, or one is not of DetectNet_v2 or damaged.
    """
    files = sorted(paths)
    if not files:
        raise DataError("there are no TFRecords to read; check the folder and the pattern")
    for path in files:
        for number, data in enumerate(read_records(path)):
            try:
                yield _frame(decode_example(data))
            except (ValueError, KeyError, IndexError) as error:
                raise DataError(
                    f"{path}, record {number}: not a record of DetectNet_v2 ({error}); convert the images again"
                ) from error


def shard_name(prefix: str, fold: int, shard: int, num_shards: int) -> str:
    """Return a shard's file name as TAO writes it."""
    return f"{prefix}-fold-{fold:03d}-of-{_PARTITIONS:03d}-shard-{shard:05d}-of-{num_shards:05d}"


# ------------------------------------------------------------------------------------------------------- the frames


def _folds(
    records: Sequence[ImageRecord], chosen: Sequence[int], val_split: float, validation: Sequence[int] | None
) -> list[list[int]]:
    """Return the indices of fold 0 and fold 1, each in TAO's order."""
    if not chosen:
        raise DataError("there are no images to write; check what selects them")
    if not 0 <= val_split < 100:
        raise SpecError(f"val_split is a percentage from 0 to below 100, not {val_split:g}")
    ordered = sorted(chosen, key=lambda index: records[index].file_name)
    if validation is not None:
        held = set(validation)
        folds = [[i for i in ordered if i in held], [i for i in ordered if i not in held]]
    else:
        count = int(val_split / 100 * len(ordered))
        if val_split and not count:
            raise SpecError(
                f"val_split {val_split:g} of {len(ordered)} images is no image, and TAO would number the training "
                "images as fold 0; raise it, or set it to 0 and validate on other files"
            )
        folds = [ordered[:count], ordered[count:]]
    generator = random.Random(_SEED)
    for _ in range(2):  # TAO shuffles both folds when it makes them, and both again before it writes
        for fold in folds:
            generator.shuffle(fold)
    return folds


def _shards(fold: Sequence[int], count: int) -> Iterator[Sequence[int]]:
    """Cut a fold into shards of equal size; the last takes the rest."""
    size = len(fold) // count
    for number in range(count):
        yield fold[number * size : (number + 1) * size if number + 1 < count else None]


def _check_names(records: Sequence[ImageRecord], chosen: Sequence[int]) -> None:
    suffixes = Counter(PurePosixPath(records[index].file_name).suffix for index in chosen)
    if len(suffixes) > 1:
        counted = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common())
        raise DataError(f"the images have different suffixes ({counted}), but TAO reads one; make the set again in one")


def _parse(lines: Sequence[str]) -> tuple[tuple[str, ...], list[list[float]]]:
    """Return the classes of a KITTI label's lines, and their x1s, y1s, x2s and y2s."""
    objects = [line.split(maxsplit=8) for line in lines]
    columns = [[float(fields[column]) for fields in objects] for column in range(4, 8)]
    return tuple([fields[0] for fields in objects]), columns


def _encode(
    name: str, size: tuple[int, int], classes: tuple[str, ...], columns: Sequence[Sequence[float]], image: bytes | None
) -> list[bytes]:
    """Return a frame's Example."""
    layout, heads, tail = _layout(size, classes)
    pieces = [
        *encode_feature("frame/id", bytes, [name.encode()]),
        layout.pack(*(part for head, column in zip(heads, columns, strict=True) for part in (head, *column)), tail),
    ]
    if image is not None:
        pieces += encode_feature("frame/encoded", bytes, [image])
    return as_example(pieces)


@lru_cache(maxsize=4096)
def _layout(size: tuple[int, int], names: tuple[str, ...]) -> tuple[struct.Struct, tuple[bytes, ...], bytes]:
    """Encode what frames of one size and classes have in common, which is all but the id and the coordinates.

    Returns:
        How the rest of the message lies in memory, what stands in front of each of the four lists of coordinates, and
        what stands behind them.
    """
    common: dict[str, tuple[type, Value]] = {
        "frame/height": (int, [size[1]]),
        "frame/width": (int, [size[0]]),
        "target/object_class": (bytes, [name.encode() for name in names]),
    }
    begin = b"".join(piece for key, (kind, values) in common.items() for piece in encode_feature(key, kind, values))
    lists = [b"".join(encode_feature(f"target/coordinates_{side}", float, [0.0] * len(names))) for side in _SIDES]
    heads = [entry[: len(entry) - 4 * len(names)] for entry in lists]
    heads[0], tail = begin + heads[0], _zeros(len(names))
    layout = "".join(f"{len(head)}s{len(names)}f" for head in heads)
    return struct.Struct(f"<{layout}{len(tail)}s"), tuple(heads), tail


def _zeros(count: int) -> bytes:
    """Return the features of a KITTI line that are 0 for a box in an image."""
    kinds = {name: int if name == "occlusion" else float for name in _ABSENT}
    return b"".join(
        p for name, kind in kinds.items() for p in encode_feature(f"target/{name}", kind, [kind(0)] * count)
    )


def _frame(features: Mapping[str, Any]) -> Frame:
    sides = [features[f"target/coordinates_{side}"] for side in _SIDES]
    (image,) = features.get("frame/encoded", [None])
    return Frame(
        id=features["frame/id"][0].decode(),
        width=features["frame/width"][0],
        height=features["frame/height"][0],
        classes=tuple(name.decode() for name in features["target/object_class"]),
        boxes=np.array(sides, np.float32).reshape(4, -1).T,
        image=image,
    )
