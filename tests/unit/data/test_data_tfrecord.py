import random
import struct
from pathlib import Path

import numpy as np
import pytest
from tfrecord.reader import tfrecord_loader

from aerodet.data import ImageFiles, ImageRecord, write_kitti
from aerodet.data._records import read_records, write_records
from aerodet.data.tfrecord import read_tfrecords, shard_name, write_tfrecords
from aerodet.errors import DataError, SpecError

CLASSES = ("aircraft", "Fire Truck")


class Pictures:
    """Labelled pictures whose files are a few bytes in memory; counts how many were asked for at a time."""

    def __init__(self, count: int, *, suffix: str = ".png", seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.classes = CLASSES
        self.records = [self._record(generator, number, suffix) for number in range(count)]

    @staticmethod
    def _record(generator: np.random.Generator, number: int, suffix: str) -> ImageRecord:
        n = int(generator.integers(0, 6))
        corner = generator.uniform(0, 200, (n, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(0.5, 90, (n, 2))], axis=1)
        name = f"place_{number % 7}/tile_{number:05d}{suffix}"
        return ImageRecord(number + 1, name, 256, 192, f"{number % 7}", boxes, generator.integers(0, 2, n))

    def encoded(self, index: int) -> bytes:
        return f"picture {index}".encode() * 400


def frames_by_tfrecord_package(paths) -> list[dict]:
    return [record for path in paths for record in tfrecord_loader(str(path), None)]


def rows(value) -> list:
    """Return a feature of the independent reader as a list; it gives single values bare and bytes as uint8 arrays."""
    return [value] if isinstance(value, bytes) else list(np.atleast_1d(value))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Pictures, Path]:
    pictures, folder = Pictures(1200), tmp_path_factory.mktemp("records")
    write_tfrecords(pictures, folder / "real", val_split=10, num_shards=4)
    return pictures, folder


def label_lines(folder: Path) -> dict[str, list[list[str]]]:
    return {
        f"images/{path.stem}": [line.split() for line in path.read_text().splitlines()]
        for path in (folder / "labels").iterdir()
    }


def test_an_independent_reader_finds_the_kitti_labels_of_a_thousand_images(tmp_path: Path) -> None:
    pictures = Pictures(1000)
    for record in pictures.records:
        object.__setattr__(record, "file_name", Path(record.file_name).name)  # KITTI folders are flat
    write_kitti(pictures, tmp_path / "kitti")
    labels = label_lines(tmp_path / "kitti")
    write_tfrecords(pictures, tmp_path / "records", val_split=10)
    found = frames_by_tfrecord_package(sorted(tmp_path.glob("records-fold-*")))
    assert len(found) == len(labels) == 1000
    columns = ("coordinates_x1", "coordinates_y1", "coordinates_x2", "coordinates_y2")
    boxes = 0
    for frame in found:
        lines = labels.pop(bytes(frame["frame/id"]).decode())
        assert (frame["frame/width"][0], frame["frame/height"][0]) == (256, 192)
        expected = np.array([line[4:8] for line in lines], np.float64).astype(np.float32).reshape(-1, 4)
        got = np.stack([np.atleast_1d(frame[f"target/{name}"]) for name in columns], axis=1)
        np.testing.assert_array_equal(got, expected)
        assert all(len(np.atleast_1d(frame[f"target/{n}"])) == len(lines) for n in ("truncation", "world_bbox_rot_y"))
        assert np.atleast_1d(frame["target/occlusion"]).dtype == np.int64 or not lines
        boxes += len(lines)
    assert not labels
    assert boxes > 1500


def test_our_reader_gives_back_what_was_written(written) -> None:
    pictures, folder = written
    records = {f"images/{Path(r.file_name).with_suffix('')}": r for r in pictures.records}
    count = 0
    for frame in read_tfrecords(folder.glob("real-fold-*")):
        record = records[frame.id]
        usable = [b for b in record.boxes.clip(0, [256, 192] * 2) if int(b[0]) < int(b[2]) and int(b[1]) < int(b[3])]
        np.testing.assert_allclose(frame.boxes, np.array(usable, np.float32).reshape(-1, 4), atol=0.00501)
        assert set(frame.classes) <= {"aircraft", "firetruck"}
        assert frame.image is None
        count += 1
    assert count == 1200


def test_folds_and_shards_are_those_of_dataset_convert(written) -> None:
    pictures, folder = written
    assert sorted(path.name for path in folder.iterdir()) == [
        f"real-fold-00{fold}-of-002-shard-0000{shard}-of-00004" for fold in (0, 1) for shard in range(4)
    ]
    names = sorted(str(Path("images", r.file_name).with_suffix("")) for r in pictures.records)
    folds = [names[:120], names[120:]]
    generator = random.Random(42)  # TAO seeds once, and shuffles each fold twice
    for _ in range(2):
        for fold in folds:
            generator.shuffle(fold)
    for number, fold in enumerate(folds):
        assert [frame.id for frame in read_tfrecords(folder.glob(f"real-fold-00{number}-*"))] == fold


def test_the_last_shard_takes_the_rest_and_small_folds_leave_shards_empty(tmp_path: Path) -> None:
    report = write_tfrecords(Pictures(11), tmp_path / "a", val_split=20, num_shards=3)
    counts = [len(list(read_records(tmp_path / name))) for name in report.files]
    assert counts == [0, 0, 2, 3, 3, 3]
    assert report.folds == {0: 2, 1: 9}
    assert (report.images, report.bytes) == (11, sum((tmp_path / name).stat().st_size for name in report.files))


def test_without_validation_everything_is_fold_0_as_in_tao(tmp_path: Path) -> None:
    report = write_tfrecords(Pictures(10), tmp_path / "test", num_shards=1)
    assert report.files == ("test-fold-000-of-002-shard-00000-of-00001",)
    assert report.folds == {0: 10}


def test_a_share_that_takes_no_image_is_refused_rather_than_renumbered(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="val_split 5 of 10 images is no image"):
        write_tfrecords(Pictures(10), tmp_path / "a", val_split=5)
    with pytest.raises(SpecError, match="from 0 to below 100, not 100"):
        write_tfrecords(Pictures(10), tmp_path / "a", val_split=100)
    with pytest.raises(SpecError, match="num_shards must be at least 1, not 0"):
        write_tfrecords(Pictures(10), tmp_path / "a", num_shards=0)
    assert not list(tmp_path.iterdir())


def test_images_to_write_and_to_validate_on_can_be_chosen(tmp_path: Path) -> None:
    pictures = Pictures(20)
    write_tfrecords(pictures, tmp_path / "a", indices=range(10), validation=[3, 7, 15], num_shards=1)
    ids = {number: {f.id for f in read_tfrecords(tmp_path.glob(f"a-fold-00{number}-*"))} for number in (0, 1)}
    name = {i: str(Path("images", pictures.records[i].file_name).with_suffix("")) for i in range(20)}
    assert ids[0] == {name[3], name[7]}
    assert ids[1] == {name[i] for i in range(10)} - ids[0]
    assert write_tfrecords(pictures, tmp_path / "b", validation=(), num_shards=1).folds == {1: 20}


def test_image_files_travel_inside_when_asked_for(tmp_path: Path) -> None:
    pictures = Pictures(5)
    write_tfrecords(pictures, tmp_path / "a", num_shards=1, embed=True)
    by_id = {str(Path("images", r.file_name).with_suffix("")): i for i, r in enumerate(pictures.records)}
    for frame in read_tfrecords(tmp_path.iterdir()):
        assert frame.image == pictures.encoded(by_id[frame.id])
    (path,) = tmp_path.iterdir()
    assert {bytes(f["frame/encoded"]) for f in frames_by_tfrecord_package([path])} == {
        pictures.encoded(i) for i in range(5)
    }


def test_images_are_taken_one_at_a_time(tmp_path: Path) -> None:
    pictures, asked = Pictures(50), []
    written_bytes = pictures.encoded

    def encoded(index: int) -> bytes:
        asked.append(index)
        return written_bytes(index)

    pictures.encoded = encoded
    write_tfrecords(pictures, tmp_path / "a", num_shards=2)
    assert asked == []  # labels need no pixels
    write_tfrecords(pictures, tmp_path / "b", num_shards=2, embed=True)
    assert sorted(asked) == list(range(50))


def test_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_tfrecords(Pictures(30), tmp_path / name / "x", val_split=10, num_shards=2)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_files_that_a_pattern_would_mix_in_are_refused(tmp_path: Path) -> None:
    write_tfrecords(Pictures(4), tmp_path / "a", num_shards=1)
    with pytest.raises(DataError, match=r"a-fold-000-of-002-shard-00000-of-00001 exists"):
        write_tfrecords(Pictures(4), tmp_path / "a", num_shards=2)
    write_tfrecords(Pictures(4), tmp_path / "ab", num_shards=2)


def test_mixed_suffixes_and_no_images_are_refused(tmp_path: Path) -> None:
    pictures = Pictures(3)
    pictures.records += Pictures(1, suffix=".jpg").records
    with pytest.raises(DataError, match=r"different suffixes \(3 .png, 1 .jpg\)"):
        write_tfrecords(pictures, tmp_path / "a")
    with pytest.raises(DataError, match="no images to write"):
        write_tfrecords(ImageFiles(CLASSES, [], []), tmp_path / "a")


def test_damage_is_found_and_named(tmp_path: Path) -> None:
    path = tmp_path / shard_name("a", 0, 0, 1)
    write_tfrecords(Pictures(3), tmp_path / "a", num_shards=1)
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    cases = {
        whole[:6]: "record 0: the file ends in the middle",
        whole[: length + 20]: "record 1: the file ends in the middle",
        whole[:12] + b"\xff" + whole[13:]: "record 0: the data does not match its checksum",
        b"PNG" + whole[3:]: "record 0: not a TFRecord file",
    }
    for data, sentence in cases.items():
        path.write_bytes(data)
        with pytest.raises(DataError, match=sentence):
            list(read_tfrecords([path]))
    write_records(path, [[b"\x0a\x02\x0a\x00"]])
    with pytest.raises(DataError, match="not a record of DetectNet_v2"):
        list(read_tfrecords([path]))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_tfrecords([tmp_path / "none"]))
    with pytest.raises(DataError, match="no TFRecords to read"):
        list(read_tfrecords([]))
