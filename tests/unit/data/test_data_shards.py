from __future__ import annotations

import errno
import json
import os
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_pictures import make_record, picture
from pycocotools.coco import COCO

from aerodet.data import ANNOTATIONS, ImageRecord, ImageSet, ImageSetWriter, encode_image
from aerodet.errors import DataError, MachineError
from aerodet.files import folder_digest


def write(folder, count=5, **options):
    with ImageSetWriter(folder, ("aircraft",), **options) as writer:
        for number in range(1, count + 1):
            writer.add(make_record(number), picture(number))
    return folder


def test_what_is_written_is_read_back(tmp_path):
    record = ImageRecord(
        4,
        "scene/tile.png",
        64,
        48,
        "7",
        [[0.1, 2.7, 33.3, 44.4], [1, 2, 3, 4]],
        [1, 0],
        {"scene": "f.png", "tile_x": 3},
    )
    with ImageSetWriter(tmp_path / "set", ("b", "a")) as writer:
        writer.add(record, picture(0))
    images = ImageSet(tmp_path / "set")
    back = images.records[0]
    assert images.classes == ("b", "a")
    assert (back.id, back.file_name, back.width, back.height, back.group) == (4, "scene/tile.png", 64, 48, "7")
    assert back.boxes.tolist() == record.boxes.tolist()
    assert back.labels.tolist() == [1, 0]
    assert back.attributes == record.attributes
    assert np.array_equal(images.image(0), picture(0))


def test_many_shards_are_numbered_of_their_count_and_read_at_random(tmp_path):
    folder = write(tmp_path / "set", 6, shard_bytes=20_000)
    names = sorted(path.name for path in folder.glob("*.tar"))
    assert len(names) > 1
    assert names[0] == f"images-00000-of-{len(names):05d}.tar"
    images = ImageSet(folder)
    for index in (5, 0, 3):
        assert np.array_equal(images.image(index), picture(index + 1))


def test_the_shards_are_plain_tar_files(tmp_path):
    folder = write(tmp_path / "set", 2)
    with tarfile.open(folder / "images-00000-of-00001.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["image_1.png", "image_2.png"]
        assert {(member.mtime, member.uid, member.gid) for member in members} == {(0, 0, 0)}
        assert tar.extractfile(members[1]).read() == ImageSet(folder).encoded(1)


def test_long_and_foreign_names_are_kept(tmp_path):
    names = ["a" * 180 + ".png", "Flughafen_Zürich.png"]
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        for number, name in enumerate(names, start=1):
            writer.add(ImageRecord(number, name, 64, 48, "g"), picture(number))
    images = ImageSet(tmp_path / "set")
    assert [record.file_name for record in images.records] == names
    assert np.array_equal(images.image(1), picture(2))


def test_the_same_images_give_the_same_bytes(tmp_path):
    assert folder_digest(write(tmp_path / "one")) == folder_digest(write(tmp_path / "two"))


def test_the_annotations_are_plain_coco(tmp_path, capsys):
    dataset = COCO(str(write(tmp_path / "set", 3) / ANNOTATIONS))
    assert "index created" in capsys.readouterr().out
    assert dataset.loadCats(dataset.getCatIds()) == [{"id": 1, "name": "aircraft"}]
    assert dataset.loadImgs([2])[0]["group"] == "place_2"
    assert dataset.loadAnns(dataset.getAnnIds([2]))[0]["bbox"] == [10, 10, 20, 10]


def test_jpeg_bytes_pass_through_and_name_the_file(tmp_path):
    data = encode_image(picture(1), ".jpg")
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        stored = writer.add(make_record(1), data)
        writer.add(make_record(2), picture(2), ".jpg")
        writer.add(ImageRecord(3, "v1.2", 64, 48, "g"), picture(3))
    images = ImageSet(tmp_path / "set")
    assert stored.file_name == "image_1.jpg"
    assert images.encoded(0) == data
    assert images.encoded(1).startswith(b"\xff\xd8")
    assert images.records[2].file_name == "v1.2.png"


def test_images_are_read_from_many_threads_and_other_processes(tmp_path):
    images = ImageSet(write(tmp_path / "set", 8, shard_bytes=20_000))
    with ThreadPoolExecutor(4) as pool:
        pixels = list(pool.map(images.image, list(range(8)) * 5))
    assert all(np.array_equal(array, picture(index % 8 + 1)) for index, array in enumerate(pixels))
    copy = pickle.loads(pickle.dumps(images))
    assert np.array_equal(copy.image(7), picture(8))


def test_a_closed_set_opens_again(tmp_path):
    with ImageSet(write(tmp_path / "set", 1)) as images:
        images.image(0)
    assert images.image(0).shape == (48, 64, 3)
    assert len(images) == 1
    assert "1 images of aircraft" in repr(images)


def test_a_truncated_shard_names_the_image(tmp_path):
    folder = write(tmp_path / "set", 3)
    shard = folder / "images-00000-of-00001.tar"
    with shard.open("rb+") as stream:
        stream.truncate(json.loads((folder / ANNOTATIONS).read_text())["images"][2]["shard"][1] + 10)
    images = ImageSet(folder)
    images.image(1)
    with pytest.raises(DataError, match=r"image image_3.png in .*00001.tar is truncated"):
        images.image(2)


def test_a_damaged_image_is_named(tmp_path, capfd):
    folder = write(tmp_path / "set", 1)
    offset = json.loads((folder / ANNOTATIONS).read_text())["images"][0]["shard"][1]
    with (folder / "images-00000-of-00001.tar").open("rb+") as stream:
        stream.seek(offset)
        stream.write(bytes(100))
    with pytest.raises(DataError, match=r"image image_1.png in .* is truncated or not an image"):
        ImageSet(folder).image(0)


def test_a_missing_shard_is_named(tmp_path):
    folder = write(tmp_path / "set", 1)
    (folder / "images-00000-of-00001.tar").unlink()
    with pytest.raises(DataError, match=r"shard .*images-00000-of-00001.tar cannot be read"):
        ImageSet(folder).image(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not an image set"),
        ("{", "is not JSON"),
        ("[]", "data convert"),
        ('{"info": {"schema": "other"}}', "data convert"),
    ],
)
def test_a_folder_that_is_no_image_set_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / ANNOTATIONS).write_text(content)
    with pytest.raises(DataError, match=message):
        ImageSet(tmp_path)


def test_double_ids_and_names_and_names_that_leave_the_folder_are_refused(tmp_path):
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        writer.add(make_record(1), picture(1))
        with pytest.raises(DataError, match=r"image id 1 of other.png is already in"):
            writer.add(ImageRecord(1, "other.png", 64, 48, "g"), picture(1))
        with pytest.raises(DataError, match=r"image name image_1.png is already in"):
            writer.add(ImageRecord(2, "image_1.png", 64, 48, "g"), picture(1))
        with pytest.raises(DataError, match="leaves its folder"):
            writer.add(ImageRecord(2, "../image.png", 64, 48, "g"), picture(1))
        with pytest.raises(ValueError, match="record 48x64"):
            writer.add(ImageRecord(2, "x.png", 64, 48, "g"), picture(1, 32, 32))
        with pytest.raises(ValueError, match="labels"):
            writer.add(ImageRecord(2, "x.png", 64, 48, "g", [[0, 0, 1, 1]], [1]), picture(1))
    assert len(ImageSet(tmp_path / "set")) == 1


def test_a_set_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images were left"), ImageSetWriter(tmp_path / "set", ("aircraft",)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    class OwnError(Exception):
        pass

    def fail():
        with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
            writer.add(make_record(1), picture(1))
            raise OwnError

    with pytest.raises(OwnError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_machines_fault(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(MachineError, match="is full"):
        write(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_an_older_set_is_replaced(tmp_path):
    write(tmp_path / "set", 3)
    assert len(ImageSet(write(tmp_path / "set", 2))) == 2
