"""What RarePlanes' files and their like hold, one test a quirk."""

from __future__ import annotations

import json

import pytest

from aerodet.data import published_split, read_coco
from aerodet.errors import DataError


def annotation(number=7, **fields):
    return {"id": number, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 10], **fields}


def image(number, **fields):
    return {"id": number, "file_name": f"image_{number}.png", "width": 64, "height": 48, **fields}


@pytest.mark.parametrize("number", [0, 1])
def test_the_category_of_real_files_has_id_0_and_of_synthetic_ones_id_1(coco, number):
    categories, annotations = [{"id": number, "name": "aircraft"}], [annotation(category_id=number)]
    assert read_coco(coco(categories=categories, annotations=annotations)).report.boxes == 1


def test_two_categories_of_one_name_are_one_class(coco):
    categories = [{"id": n, "name": "aircraft"} for n in (1, 2)]
    annotations = [annotation(1), annotation(2, category_id=2, bbox=[40, 20, 10, 10])]
    assert read_coco(coco(categories=categories, annotations=annotations)).report.boxes == 2


def test_a_tiled_file_without_categories_is_refused_or_read_as_one_class(coco):
    root = coco(
        categories=[{"image_fname": f"image_{n}.png"} for n in (1, 2, 3)],
        annotations=[annotation(n, category_id=None, bbox=[10 * n, 10, 9, 9]) for n in (1, 2, 3)],
    )
    with pytest.raises(DataError, match=r"annotation 1 has no category .* instances_train.*data.on_bad_entry=fix"):
        read_coco(root)
    source = read_coco(root, on_bad_entry="fix")
    assert (source.report.boxes, source.report.assumed) == (3, 3)
    assert source.report.sentences() == ["3 boxes without a category were read as the one class"]
    with pytest.raises(DataError, match="has no category"):
        read_coco(root, on_bad_entry="fix", classes=("a", "b"))


def test_some_annotations_without_a_category_are_left_out_and_counted(coco):
    root = coco(annotations=[annotation(1), annotation(2, category_id=None), annotation(3, category_id=9)])
    with pytest.raises(DataError, match=r"annotation 2 has no category.*data.on_bad_entry=drop"):
        read_coco(root)
    source = read_coco(root, on_bad_entry="drop")
    assert (source.report.boxes, source.report.uncategorised) == (1, 2)


def test_the_bounds_of_a_diamond_may_be_floats_and_stick_out(coco):
    # nose, left wing, tail, right wing, clipped to the tile in world coordinates and projected back
    diamond = [60.2, 20.1, 64.3, 30.2, 60.2, 40.3, -0.001, 30.2]
    source = read_coco(coco(annotations=[annotation(bbox=[-0.001, 20.1, 64.301, 20.2], segmentation=[diamond])]))
    assert source.records[0].boxes[0].tolist() == pytest.approx([0, 20.1, 64, 40.3])
    assert source.report.rounded == 1


def test_a_box_that_the_file_lacks_is_taken_from_its_diamond(coco):
    diamond = [[30, 10, 40, 20, 30, 30, 20, 20]]
    root = coco(annotations=[annotation(1, bbox=None, segmentation=diamond), annotation(2, bbox=[0, 0])])
    source = read_coco(root, on_bad_box="fix")
    assert source.records[0].boxes.tolist() == [[20, 10, 40, 30]]
    assert (source.report.outlined, source.report.dropped) == (1, 1)
    with pytest.raises(DataError, match="2 of 2 boxes"):
        read_coco(root)


def test_the_area_of_a_polygon_is_told_from_the_area_of_its_box(coco):
    annotations = [annotation(1, area=100.0), annotation(2, area=200, image_id=2), annotation(3, image_id=3)]
    source = read_coco(coco(annotations=annotations))
    assert source.report.polygon_areas == 1
    assert source.report.sentences() == ["1 boxes state the area of their polygon; sizes go by the boxes"]


def test_slivers_at_the_frame_are_counted_and_neither_object_nor_background(coco):
    root = coco(annotations=[annotation(1, bbox=[60, 10, 4, 1]), annotation(2)])
    assert read_coco(root).report.boxes == 2
    source = read_coco(root, min_side=2)
    assert (source.report.boxes, source.report.slivers) == (1, 1)
    assert [record.ignored.tolist() for record in source.records if len(record.ignored)] == [[[60, 10, 64, 11]]]


def test_a_sliver_that_is_labelled_twice_or_clipped_stays_one_region_each(coco):
    sliver, past = annotation(1, bbox=[60, 10, 4, 1]), annotation(3, bbox=[63, 20, 9, 9])
    root = coco(annotations=[sliver, annotation(2), {**sliver, "id": 4}, past])
    source = read_coco(root, min_side=2, on_bad_box="fix")
    assert (source.report.boxes, source.report.slivers, source.report.duplicates) == (1, 3, 0)
    found = [region for record in source.records for region in record.ignored.tolist()]
    assert found == [[60, 10, 64, 11], [60, 10, 64, 11], [63, 20, 64, 29]]


def test_a_name_that_ends_in_xml_finds_the_image_beside_it(coco):
    root = coco(images=[image(1, file_name="image_1.xml"), image(2, file_name="image_2.png.aux.xml")])
    (root / "images" / "image_1.xml").write_text("<annotation/>")
    (root / "images" / "image_2.png.aux.xml").write_text("<PAMDataset/>")
    document = json.loads((root / "instances_train_aircraft.json").read_text())
    document["annotations"] = document["annotations"][:2]
    (root / "instances_train_aircraft.json").write_text(json.dumps(document))
    with pytest.raises(
        DataError, match=r"image_1.xml, .* is no image, but .*image_1.png lies beside.*on_bad_entry=fix"
    ):
        read_coco(root)
    source = read_coco(root, on_bad_entry="fix")
    assert [record.file_name for record in source.records] == ["image_1.png", "image_2.png"]
    assert source.report.renamed == 2
    assert source.image(0).shape == (48, 64, 3)


def test_images_without_pixels_are_left_out_with_their_boxes(coco):
    root = coco()
    (root / "images" / "image_2.png").unlink()
    with pytest.raises(DataError, match=r"image_2.png, .* is missing .1 of 3.*data.on_bad_entry=drop"):
        read_coco(root)
    for policy in ("drop", "fix"):
        source = read_coco(root, on_bad_entry=policy)
        assert (source.report.images, source.report.boxes, source.report.strays) == (2, 2, 1)
        assert source.report.lost_images == {"missing": 1}
        assert len(source.paths) == 2


def test_boxes_of_images_that_are_not_listed_are_counted(coco):
    root = coco(annotations=[annotation(1), annotation(2, image_id=99), annotation(3, image_id=None)])
    with pytest.raises(DataError, match="annotation 2 belongs to image 99"):
        read_coco(root)
    assert read_coco(root, on_bad_entry="drop").report.strays == 2


def test_an_image_that_is_listed_twice_keeps_the_boxes_of_both(coco):
    root = coco(
        images=[image(1), image(5, file_name="image_1.png"), image(2)],
        annotations=[annotation(1), annotation(2, image_id=5, bbox=[40, 20, 9, 9]), annotation(3, image_id=2)],
    )
    source = read_coco(root, on_bad_entry="fix")
    assert [len(record.boxes) for record in source.records] == [2, 1]
    assert source.report.merged_images == 1
    assert read_coco(root, on_bad_entry="drop").report.strays == 1


def test_images_that_share_an_id_are_both_left_out(coco):
    root = coco(
        images=[image(1), image(1, file_name="image_3.png"), image(2)],
        annotations=[annotation(1), annotation(2, image_id=2)],
    )
    source = read_coco(root, on_bad_entry="fix")
    assert [record.file_name for record in source.records] == ["image_2.png"]
    assert source.report.lost_images == {"ambiguous": 2}
    assert source.report.strays == 1


@pytest.mark.parametrize(("given", "named"), [(1, "1"), ("1", 1), ("1", "1"), (1.0, 1), ("x", "x")])
def test_ids_may_be_text_on_either_side(coco, given, named):
    root = coco(images=[image(1, id=given)], annotations=[annotation(image_id=named)])
    assert read_coco(root).report.boxes == 1


def test_side_files_are_no_images(coco):
    root = coco()
    for number in (1, 2, 3):
        (root / "images" / f"image_{number}.png.aux.xml").write_text("<PAMDataset/>")
    assert len(read_coco(root)) == 3


def test_values_that_json_has_not_are_emptied_and_counted(coco):
    root = coco(images=[image(1, gsd=float("nan"), view={"angle": [1.0, float("inf")]})], annotations=[annotation()])
    source = read_coco(root)
    assert source.records[0].attributes == {"gsd": None, "view": {"angle": [1.0, None]}}
    assert source.report.unstated == 2


def test_a_byte_order_mark_is_no_obstacle(coco):
    root = coco()
    path = root / "instances_train_aircraft.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_coco(root).report.boxes == 3


ROLES = ("Small Civil Transport/Utility", "Medium Civil Transport/Utility", "Military Fighter/Interceptor/Attack")


def test_classes_come_from_an_attribute_on_demand(coco):
    annotations = [
        annotation(n, category_id=None, role=role, num_engines=n, canards=False, image_id=n)
        for n, role in enumerate(ROLES, start=1)
    ]
    root = coco(annotations=annotations, categories=[{"id": 1}])
    source = read_coco(
        root, class_from="role", classes=[f"{ROLES[2]}:fighter", f"{ROLES[0]}:small", f"{ROLES[1]}:small"]
    )
    assert source.classes == ("fighter", "small")
    assert [record.labels.tolist() for record in source.records] == [[1], [1], [0]]
    engines = read_coco(root, class_from="num_engines", classes=["2:two-engines"])
    assert engines.report.other_categories == {"1": 1, "3": 1}
    assert read_coco(root, class_from="canards", classes=["false:plain"]).report.boxes == 3
    with pytest.raises(DataError, match=r"has no value of 'role' 'bomber', only 'Small Civil"):
        read_coco(root, class_from="role", classes=["bomber"])
    with pytest.raises(DataError, match="has no value of 'colour' at all"):
        read_coco(root, class_from="colour", classes=["red"])


def test_a_box_without_the_attribute_is_refused_or_counted(coco):
    annotations = [annotation(1, role="civil"), annotation(2, image_id=2)]
    root = coco(annotations=annotations)
    with pytest.raises(DataError, match="annotation 2 has no 'role'"):
        read_coco(root, class_from="role", classes=["civil"])
    assert read_coco(root, class_from="role", classes=["civil"], on_bad_entry="drop").report.uncategorised == 1


def test_a_folder_that_comes_as_train_and_test_says_which_is_which(coco):
    root = coco(name="metadata_annotations/instances_train_aircraft.json", place="train/PS-RGB_tiled")
    assert published_split(root, "train") is None
    coco(
        name="metadata_annotations/instances_test_aircraft.json",
        place="test/PS-RGB_tiled",
        images=[image(2)],
        annotations=[annotation(image_id=2)],
    )
    assert [published_split(root, part) for part in ("all", "train", "test")] == ["train", "train", "test"]
    assert len(read_coco(root, split="train")) == 3
    assert read_coco(root, split="test").paths[0].parent.parent.name == "test"
