"""One set of images through every form and back."""

from __future__ import annotations

import numpy as np
import pytest
from data_pictures import picture

from aerodet.data import (
    ImageRecord,
    ImageSet,
    ImageSetWriter,
    read_coco,
    read_kitti,
    read_yolo,
    write_coco,
    write_kitti,
    write_tfrecords,
    write_yolo,
)
from aerodet.errors import DataError

CLASSES = ("civil", "military")
READERS = {
    "coco": lambda folder: read_coco(folder, classes=CLASSES, duplicates="keep"),
    "kitti": lambda folder: read_kitti(folder, CLASSES),
    "yolo": read_yolo,
}
WRITERS = {"coco": write_coco, "kitti": write_kitti, "yolo": write_yolo}


@pytest.fixture
def images(tmp_path):
    """Five images of fractional boxes of two classes, one of them without any; two have a region to ignore."""
    generator = np.random.default_rng(3)
    with ImageSetWriter(tmp_path / "set", CLASSES) as writer:
        for number in range(1, 6):
            count = 0 if number == 3 else number
            corner = generator.uniform(0, 20, (count, 2))
            boxes = np.concatenate([corner, corner + generator.uniform(3, 25, (count, 2))], axis=1)
            labels = generator.integers(0, 2, count)
            ignored = [[1.5, 2.25, 9.0, 8.5]] if number > 3 else []
            record = ImageRecord(number, f"image_{number}.png", 64, 48, "g", boxes, labels, ignored=ignored)
            writer.add(record, picture(number))
    return ImageSet(tmp_path / "set")


def test_yolo_boxes_that_rounding_put_past_the_edge_are_clipped_and_others_are_told(tmp_path):
    with ImageSetWriter(tmp_path / "set", ("aircraft",)) as writer:
        boxes = np.array([[0.0, 10.7, 6.3, 48.0], [57.7, 0.0, 64.0, 9.1]], np.float32)
        writer.add(ImageRecord(1, "edge.png", 64, 48, "g", boxes, np.zeros(2, np.int64)), picture(1))
    write_yolo(ImageSet(tmp_path / "set"), tmp_path / "yolo")
    label = tmp_path / "yolo" / "labels" / "edge.txt"
    label.write_text(label.read_text() + "0 0.5 0.5 1.028 1.0\n0 0.5 0.5 1.035 0.5\n")
    found = read_yolo(tmp_path / "yolo").records[0].boxes
    assert found[:3].min() >= 0
    assert (found[:3] <= [64, 48, 64, 48]).all()
    np.testing.assert_allclose(found[:2], boxes, atol=1e-5)
    # 0.9 px past both edges is rounding; 1.1 px is a mistake that the audit shall see.
    np.testing.assert_allclose(found[3], [-1.12, 12, 65.12, 36], atol=1e-5)


@pytest.mark.parametrize("form", [form for form in WRITERS if form != "yolo"])
def test_regions_to_ignore_survive_where_the_form_has_them(images, tmp_path, form):
    WRITERS[form](images, tmp_path / "there")
    back = READERS[form](tmp_path / "there")
    assert [record.ignored.tolist() for record in back.records] == [r.ignored.tolist() for r in images.records]


def test_regions_to_ignore_that_a_form_cannot_hold_are_counted(images, tmp_path):
    assert write_yolo(images, tmp_path / "yolo").regions_left_out == 2
    assert write_tfrecords(images, tmp_path / "records").regions_left_out == 2


@pytest.mark.parametrize("first", WRITERS)
@pytest.mark.parametrize("second", WRITERS)
def test_boxes_labels_empty_images_and_pixels_survive_two_conversions(images, tmp_path, first, second):
    WRITERS[first](images, tmp_path / "first")
    between = READERS[first](tmp_path / "first")
    report = WRITERS[second](between, tmp_path / "second")
    back = READERS[second](tmp_path / "second")
    assert report.to_dict()["boxes"] == sum(len(record.boxes) for record in images.records)
    assert report.to_dict()["empty_images"] == 1
    assert back.classes == CLASSES
    for index, (record, original) in enumerate(zip(back.records, images.records, strict=True)):
        assert record.file_name == original.file_name
        assert record.boxes == pytest.approx(original.boxes, abs=0.011)  # KITTI has two places
        assert record.labels.tolist() == original.labels.tolist()
        assert back.encoded(index) == images.encoded(index)


@pytest.mark.parametrize("form", WRITERS)
def test_images_in_files_can_be_linked(images, tmp_path, form):
    write_coco(images, tmp_path / "plain")
    source = READERS["coco"](tmp_path / "plain")
    WRITERS[form](source, tmp_path / "linked", how="link")
    assert (tmp_path / "linked/images/image_1.png").stat().st_ino == source.paths[0].stat().st_ino
    WRITERS[form](source, tmp_path / "copied")
    assert (tmp_path / "copied/images/image_1.png").stat().st_ino != source.paths[0].stat().st_ino


@pytest.mark.parametrize("form", WRITERS)
def test_an_image_that_is_gone_is_named_and_nothing_is_left(images, tmp_path, form):
    write_coco(images, tmp_path / "plain")
    source = READERS["coco"](tmp_path / "plain")
    source.paths[2].unlink()
    with pytest.raises(DataError, match=r"image .*image_3.png cannot be read"):
        WRITERS[form](source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_yolo_labels_are_shares_of_the_image(images, tmp_path):
    record = images.records[0]
    write_yolo(images, tmp_path / "yolo")
    label, *numbers = (tmp_path / "yolo/labels/image_1.txt").read_text().split()
    x1, y1, x2, y2 = record.boxes[0].tolist()
    assert int(label) == record.labels[0]
    expected = [(x1 + x2) / 2 / 64, (y1 + y2) / 2 / 48, (x2 - x1) / 64, (y2 - y1) / 48]
    assert [float(number) for number in numbers] == pytest.approx(expected, abs=1e-6)


def test_yolo_polygons_become_their_bounds_and_missing_labels_no_objects(images, tmp_path):
    write_yolo(images, tmp_path / "yolo")
    (tmp_path / "yolo/labels/image_1.txt").write_text("1 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n\n")
    (tmp_path / "yolo/labels/image_2.txt").unlink()
    back = read_yolo(tmp_path / "yolo", ["military:aircraft"])
    assert back.classes == ("aircraft",)
    assert back.records[0].boxes.tolist() == [[16, 12, 48, 36]]
    assert len(back.records[1].boxes) == 0


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.1", "9 0.5 0.5 0.1 0.1", "x 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1"])
def test_a_line_that_is_no_yolo_label_is_named(images, tmp_path, line):
    write_yolo(images, tmp_path / "yolo")
    (tmp_path / "yolo/labels/image_2.txt").write_text(line)
    with pytest.raises(DataError, match=r"image_2.txt, line 1: not a YOLO label"):
        read_yolo(tmp_path / "yolo")


def test_a_yolo_folder_that_is_incomplete_is_refused(images, tmp_path):
    with pytest.raises(DataError, match="is not a YOLO folder"):
        read_yolo(tmp_path)
    write_yolo(images, tmp_path / "yolo")
    with pytest.raises(DataError, match="has no class ship, only civil, military"):
        read_yolo(tmp_path / "yolo", ["ship"])
    (tmp_path / "yolo/data.yaml").write_text("names: [")
    with pytest.raises(DataError, match="class names cannot be read"):
        read_yolo(tmp_path / "yolo")
    (tmp_path / "yolo/data.yaml").write_text("nc: 2")
    with pytest.raises(DataError, match="has no class names"):
        read_yolo(tmp_path / "yolo")
