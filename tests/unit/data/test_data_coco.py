from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aerodet.data import find_coco, group_of, read_coco
from aerodet.errors import DataError


def annotation(**fields):
    return {"id": 7, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 10], **fields}


def image(number, **fields):
    return {"id": number, "file_name": f"image_{number}.png", "width": 64, "height": 48, **fields}


def test_a_clean_folder_is_read_with_nothing_to_report(coco):
    source = read_coco(coco())
    assert len(source) == 3
    assert source.classes == ("aircraft",)
    assert source.records[0].boxes.tolist() == [[10, 10, 30, 20]]
    assert source.records[0].labels.tolist() == [0]
    assert source.report.sentences() == []
    assert source.report.to_dict()["boxes"] == 3
    assert source.image(0).shape == (48, 64, 3)


def test_categories_are_matched_by_name_and_id_zero_is_valid(coco):
    categories = [{"id": 1, "name": "vehicle"}, {"id": 0, "name": "aircraft"}]
    annotations = [annotation(category_id=0), annotation(id=8, category_id=1)]
    source = read_coco(coco(categories=categories, annotations=annotations))
    assert sum(len(record.boxes) for record in source.records) == 1
    assert source.report.other_categories == {"vehicle": 1}
    assert source.report.sentences() == ["1 boxes of category 'vehicle' were left out"]


def test_several_classes_keep_the_order_asked_for(coco):
    categories = [{"id": 5, "name": "jet"}, {"id": 2, "name": "propeller"}]
    annotations = [annotation(category_id=5), annotation(id=8, category_id=2)]
    source = read_coco(coco(categories=categories, annotations=annotations), classes=("propeller", "jet"))
    assert source.classes == ("propeller", "jet")
    assert source.records[0].labels.tolist() == [1, 0]


def test_a_category_can_be_read_as_a_class_of_another_name(coco):
    root = coco(categories=[{"id": 1, "name": "Plane"}])
    assert read_coco(root, classes=("Plane:aircraft",)).classes == ("aircraft",)
    assert read_coco(root, classes=("Plane",)).classes == ("plane",)


def test_a_class_may_be_spelt_differently_in_two_files(coco):
    both = ("aircraft", "Aircraft:aircraft")
    assert read_coco(coco("a"), classes=both).classes == ("aircraft",)
    assert read_coco(coco("b", categories=[{"id": 1, "name": "Aircraft"}]), classes=both).classes == ("aircraft",)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"categories": [{"id": 1, "name": "Aircraft"}]},
            "spells category 'aircraft' as 'Aircraft'.*classes=Aircraft:aircraft",
        ),
        (
            {"categories": [{"id": 1, "name": "plane"}]},
            "has no category 'aircraft', only 'plane'.*classes=plane:aircraft",
        ),
        ({"images": []}, "empty COCO file: its list of images"),
        ({"annotations": []}, "empty COCO file: its list of annotations"),
        ({"annotations": None}, "not a COCO file: it needs the lists"),
        (
            {"annotations": [annotation(category_id=None)]},
            "annotation 7 has no category .category_id null.*use instances_",
        ),
        ({"annotations": [annotation(category_id=9)]}, "annotation 7 is of category 9, which the file does not define"),
        ({"annotations": [annotation(image_id=9)]}, "annotation 7 belongs to image 9, which the file does not list"),
        ({"images": [image(1), image(1, file_name="image_2.png")]}, "image id 1 is used twice"),
        ({"images": [image(1), image("1", file_name="image_2.png")]}, "image id 1 is used twice"),
        ({"images": [image(1), image(2, file_name="image_1.png")]}, "image image_1.png is listed twice"),
        ({"images": [{"id": 1}]}, "no id or no file_name"),
        ({"images": [image(1), image(9)]}, "image image_9.png, named in .* is missing .1 of 2"),
        ({"annotations": [annotation(iscrowd=1)]}, "no usable box of aircraft"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_one_sentence(coco, parts, message):
    with pytest.raises(DataError, match=message) as caught:
        read_coco(coco(**parts))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "bbox",
    [[60, 10, 20, 10], [-5, 0, 20, 10], [10, 10, 0, 5], [10, 10, -4, 5], [1, 2, float("nan"), 3], None, [1, 2], 5],
)
def test_a_broken_box_is_refused_with_its_annotation_and_the_option(coco, bbox):
    root = coco(annotations=[annotation(), annotation(id=12, bbox=bbox)])
    with pytest.raises(
        DataError, match=r"1 of 2 boxes .* annotation 12 of image image_1.png.*64x48.*--set data.on_bad_box=fix"
    ):
        read_coco(root)


def test_fixing_clips_boxes_and_drops_those_with_nothing_left(coco):
    boxes = [[60, 10, 20, 10], [100, 100, 5, 5], [10, 10, 0, 5], [1, 2, float("inf"), 3], [10, 10, 20, 10]]
    root = coco(annotations=[annotation(id=n, bbox=box) for n, box in enumerate(boxes)])
    source = read_coco(root, on_bad_box="fix")
    assert source.records[0].boxes.tolist() == [[60, 10, 64, 20], [10, 10, 30, 20]]
    assert (source.report.clipped, source.report.dropped, source.report.boxes) == (1, 3, 2)
    assert len(source.report.sentences()) == 2


def test_dropping_leaves_every_broken_box_out(coco):
    boxes = [[60, 10, 20, 10], [10, 10, 0, 5], [10, 10, 20, 10]]
    source = read_coco(coco(annotations=[annotation(id=n, bbox=box) for n, box in enumerate(boxes)]), on_bad_box="drop")
    assert source.records[0].boxes.tolist() == [[10, 10, 30, 20]]
    assert (source.report.clipped, source.report.dropped) == (0, 2)


def test_a_box_past_the_frame_by_a_pixel_is_rounding_and_counted(coco):
    source = read_coco(coco(annotations=[annotation(bbox=[-0.4, 38, 20, 11]), annotation(id=8)]))
    assert source.records[0].boxes[0].tolist() == pytest.approx([0, 38, 19.6, 48])
    assert source.report.rounded == 1
    assert source.report.sentences() == ["1 boxes past their frame by at most 1 px were clipped"]


def test_crowds_are_regions_to_ignore_inside_their_frame_and_counted(coco):
    crowds = [annotation(id=8, iscrowd=1, bbox=[60, 10, 20, 10]), annotation(id=9, iscrowd=1, bbox=[500, 0, 9, 9])]
    source = read_coco(coco(annotations=[annotation(), *crowds]))
    assert (source.report.boxes, source.report.crowds, source.report.empty_images) == (1, 2, 2)
    assert source.report.sentences() == ["2 crowd annotations are neither objects nor background"]
    record = source.records[0]
    assert record.ignored.tolist() == [[60, 10, record.width, 20]]
    assert record.truth[1].tolist() == [0, -2]


def test_string_ids_are_accepted_and_replaced(coco):
    images = [image(f"x{n}", file_name=f"image_{n}.png") for n in (1, 2)]
    source = read_coco(coco(images=images, annotations=[annotation(image_id="x2")]))
    assert [record.id for record in source.records] == [1, 2]
    assert source.records[1].attributes["source_id"] == "x2"
    assert len(source.records[1].boxes) == 1
    assert source.report.renumbered


def test_images_without_a_stated_size_are_measured(coco):
    source = read_coco(coco(images=[{"id": 1, "file_name": "image_1.png"}], annotations=[annotation()]))
    assert (source.records[0].width, source.records[0].height) == (64, 48)
    assert source.report.measured == 1


def test_the_group_is_stated_or_told_from_a_rareplanes_name_or_the_image_itself(coco):
    assert group_of("a.png", 5) == "5"
    assert group_of("a.png", 0) == "0"
    assert group_of("tiles/105_104001003108D900_tile_47.png") == "105"
    assert group_of("Atlanta_Airport_0_0_100_1836.png") == "Atlanta_Airport_0_0_100_1836"
    source = read_coco(coco(images=[image(1, group=3, weather="snow")], annotations=[annotation()]))
    assert source.records[0].group == "3"
    assert source.records[0].attributes == {"weather": "snow"}


def test_names_cannot_leave_the_folder_they_are_written_to(coco):
    source = read_coco(coco(images=[image(1, file_name="../images/image_1.png")], annotations=[annotation()]))
    assert source.records[0].file_name == "image_1.png"


def test_a_truncated_or_resized_image_is_refused_when_it_is_read(coco):
    source = read_coco(coco(images=[image(1), image(2, width=80)], annotations=[annotation()]))
    source.paths[0].write_bytes(source.encoded(0)[:-400])
    with pytest.raises(DataError, match=r"image .*image_1.png is truncated or not an image"):
        source.image(0)
    with pytest.raises(DataError, match=r"image_2.png is 64x48 pixels but its annotations are for 80x48"):
        source.image(1)
    source.paths[0].unlink()
    with pytest.raises(DataError, match="cannot be read"):
        source.image(0)


def test_a_file_that_is_not_json_is_refused(coco):
    root = coco()
    (root / "instances_train_aircraft.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_coco(root)
    (root / "instances_train_aircraft.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not JSON"):
        read_coco(root)


def test_a_folder_without_images_is_refused(coco):
    root = coco()
    for path in (root / "images").iterdir():
        path.rename(path.with_suffix(".png.aux.xml"))  # side files are no images
    with pytest.raises(DataError, match="there are no images for"):
        read_coco(root)


def test_images_beside_the_file_or_in_a_named_folder_are_found(coco, tmp_path):
    assert read_coco(coco("beside", place=".")).paths[0].parent.name == "beside"
    root = coco("elsewhere")
    (root / "images").rename(tmp_path / "pixels")
    assert read_coco(root, images=tmp_path / "pixels").paths[0].parent == tmp_path / "pixels"


def test_the_layouts_of_rareplanes_coco_and_roboflow_are_understood(coco):
    rareplanes = coco("r", "metadata_annotations/instances_test_aircraft.json", place="test/PS-RGB_tiled")
    assert len(read_coco(rareplanes)) == 3
    assert len(read_coco(coco("c", "annotations/instances_train2017.json", place="train2017"), split="train")) == 3
    assert len(read_coco(coco("f", "valid/_annotations.coco.json", place="valid"), split="valid")) == 3


def test_the_coco_file_is_found_by_split_or_when_it_is_the_only_one(coco, tmp_path):
    root = coco()
    assert find_coco(root).name == "instances_train_aircraft.json"
    coco(name="instances_test_aircraft.json")
    coco(name="instances_test_role.json")
    assert find_coco(root, "test").name == "instances_test_aircraft.json"
    with pytest.raises(DataError, match="holds several COCO files"):
        find_coco(root)
    with pytest.raises(DataError, match=r"holds no COCO file; put one there, named instances_val_aircraft.json"):
        find_coco(root, "val")
    only = coco("only", "labels.json")
    (only / "other.json").write_text("[]")
    (only / "broken.json").write_text("{")
    assert find_coco(only).name == "labels.json"
    assert find_coco(coco("plain", "annotations.json")).name == "annotations.json"
    with pytest.raises(DataError, match="is not a folder"):
        find_coco(tmp_path / "nowhere")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="holds no COCO file"):
        find_coco(tmp_path / "void")


def test_boxes_stay_paired_with_their_labels(coco):
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    annotations = [annotation(id=n, category_id=1 + n % 2, bbox=[n, 0, 10, 10]) for n in range(6)]
    record = read_coco(coco(categories=categories, annotations=annotations), classes=("a", "b")).records[0]
    assert record.labels.tolist() == [int(x) % 2 for x in record.boxes[:, 0]]
    assert record.boxes.dtype == np.float32


def test_the_file_itself_can_be_named(coco):
    path = coco() / "instances_train_aircraft.json"
    assert len(read_coco(path)) == 3
    document = json.loads(path.read_text())
    assert Path(read_coco(str(path)).report.file) == path
    assert document["images"][0]["id"] == 1
