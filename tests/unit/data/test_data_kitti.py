from __future__ import annotations

import numpy as np
import pytest
from data_pictures import make_record, picture

from aerodet.data import ImageRecord, ImageSet, ImageSetWriter, kitti_label, read_kitti, write_kitti
from aerodet.errors import DataError


@pytest.fixture
def images(tmp_path):
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        writer.add(make_record(1, boxes=[[10.25, 10, 30.5, 20], [0, 0, 5, 5]]), picture(1))
        writer.add(make_record(2, boxes=[]), picture(2))
    return ImageSet(tmp_path / "set")


def test_a_label_line_has_the_fifteen_fields_that_tao_asserts(images):
    lines, clipped, skipped = kitti_label(images.records[0], ("Air Craft",))
    assert lines[0] == "aircraft 0.00 0 0.00 10.25 10.00 30.50 20.00 0.00 0.00 0.00 0.00 0.00 0.00 0.00"
    assert len(lines[0].split()) == 15
    assert (clipped, skipped) == (0, 0)


def test_every_image_gets_a_label_file_and_an_empty_one_where_nothing_is(images, tmp_path):
    report = write_kitti(images, tmp_path / "kitti")
    assert sorted(p.name for p in (tmp_path / "kitti/labels").iterdir()) == ["image_1.txt", "image_2.txt"]
    assert (tmp_path / "kitti/labels/image_2.txt").read_text() == ""
    assert (tmp_path / "kitti/images/image_1.png").read_bytes() == images.encoded(0)
    counts = {"images": 2, "boxes": 2, "regions_to_ignore": 0, "empty_images": 1, "clipped": 0, "skipped": 0}
    assert report.to_dict() == counts


def test_boxes_are_clipped_and_those_that_tao_skips_are_counted():
    record = make_record(1, boxes=[[-5, 0, 20, 60], [10.2, 10, 10.9, 20], [70, 0, 80, 10]])
    lines, clipped, skipped = kitti_label(record, ("aircraft",))
    assert [line.split()[4:8] for line in lines] == [["0.00", "0.00", "20.00", "48.00"]]
    assert (clipped, skipped) == (1, 2)


def test_what_is_written_is_read_back(images, tmp_path):
    write_kitti(images, tmp_path / "kitti")
    back = read_kitti(tmp_path / "kitti")
    assert back.classes == ("aircraft",)
    assert [r.boxes.tolist() for r in back.records] == [r.boxes.tolist() for r in images.records]
    assert np.array_equal(back.image(1), picture(2))
    assert (back.records[0].width, back.records[0].height, back.records[0].group) == (64, 48, "image_1")


def test_two_images_cannot_share_a_label_file(tmp_path):
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        writer.add(ImageRecord(1, "a/x.png", 64, 48, "g"), picture(1))
        writer.add(ImageRecord(2, "b/x.png", 64, 48, "g"), picture(2))
    with pytest.raises(DataError, match=r"images a/x.png and b/x.png would share the label file x.txt"):
        write_kitti(ImageSet(tmp_path / "set"), tmp_path / "kitti")
    assert not (tmp_path / "kitti").exists()


def test_dont_care_is_no_class_but_a_region_to_ignore_and_others_can_be_left_out(images, tmp_path):
    write_kitti(images, tmp_path / "kitti")
    path = tmp_path / "kitti/labels/image_1.txt"
    line = path.read_text().splitlines()[0]
    path.write_text(
        path.read_text() + line.replace("aircraft", "DontCare") + "\n" + line.replace("aircraft", "Car") + " 0.9\n"
    )
    assert read_kitti(tmp_path / "kitti").classes == ("aircraft", "car")
    record = read_kitti(tmp_path / "kitti", ["aircraft"]).records[0]
    assert (len(record.boxes), len(record.ignored)) == (2, 1)
    assert record.ignored.tolist() == record.boxes[:1].tolist()
    assert read_kitti(tmp_path / "kitti", ["aircraft", "DontCare"]).classes == ("aircraft",)
    with pytest.raises(DataError, match="has no label of ship"):
        read_kitti(tmp_path / "kitti", ["ship"])


@pytest.mark.parametrize(
    "line", ["aircraft 0 0 0 1 2 3 4", "aircraft 0 0 0 1 2 x 4 0 0 0 0 0 0 0", "aircraft 0 0 0 1 2 nan 4 0 0 0 0 0 0 0"]
)
def test_a_line_that_is_no_label_is_named(images, tmp_path, line):
    write_kitti(images, tmp_path / "kitti")
    (tmp_path / "kitti/labels/image_2.txt").write_text(line)
    with pytest.raises(DataError, match=r"image_2.txt, line 1: not a KITTI label"):
        read_kitti(tmp_path / "kitti")


def test_a_folder_that_is_incomplete_is_refused(images, tmp_path):
    with pytest.raises(DataError, match="is not a KITTI folder"):
        read_kitti(tmp_path)
    write_kitti(images, tmp_path / "kitti")
    (tmp_path / "kitti/labels/image_2.txt").unlink()
    with pytest.raises(DataError, match=r"image image_2.png has no label file"):
        read_kitti(tmp_path / "kitti")
    (tmp_path / "void/images").mkdir(parents=True)
    (tmp_path / "void/labels").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        read_kitti(tmp_path / "void")
