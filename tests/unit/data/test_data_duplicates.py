import json

import numpy as np
import pytest

from aerodet.data import encode_image, read_coco
from aerodet.data._boxes import duplicate_boxes
from aerodet.errors import DataError

ONE, SAME, SHIFTED, APART = (10, 10, 30, 30), (11, 9, 31, 29), (22, 10, 42, 30), (60, 60, 80, 80)


def _found(*boxes, labels=None):
    labels = [0] * len(boxes) if labels is None else labels
    return duplicate_boxes(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)).tolist()


def test_a_second_box_on_the_same_object_is_a_duplicate():
    assert _found(ONE, APART, SAME) == [False, False, True]


def test_neighbours_that_overlap_a_little_are_none():
    assert _found(ONE, SHIFTED) == [False, False]


def test_boxes_of_two_classes_are_none():
    assert _found(ONE, SAME, labels=[0, 1]) == [False, False]


def test_a_third_box_on_the_object_is_one_too_and_no_chain_runs_away():
    # The third box overlaps the first by less than half, and the second, a duplicate itself, by more: it stays.
    assert _found((0, 0, 20, 20), (0, 0, 20, 20), (0, 0, 20, 20)) == [False, True, True]
    assert _found((0, 0, 20, 20), (6, 0, 26, 20), (12, 0, 32, 20)) == [False, True, False]


def test_no_boxes_are_no_duplicates():
    assert _found() == []


@pytest.fixture
def twice(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_image(np.zeros((64, 64, 3), np.uint8)))
    boxes = [(4, 4, 20, 20), (5, 4, 20, 20), (40, 40, 10, 10)]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 1, "bbox": b} for n, b in enumerate(boxes)],
        "categories": [{"id": 1, "name": "aircraft"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    return tmp_path


def test_an_object_labelled_twice_is_merged_and_counted(twice):
    source = read_coco(twice)
    assert source.records[0].boxes.tolist() == [[4, 4, 24, 24], [40, 40, 50, 50]]
    assert (source.report.boxes, source.report.duplicates) == (2, 1)
    assert source.report.sentences() == ["1 boxes label an object a second time and were left out"]


def test_it_can_be_kept_and_is_counted_all_the_same(twice):
    source = read_coco(twice, duplicates="keep")
    assert len(source.records[0].boxes) == 3
    assert source.report.sentences() == ["1 boxes label an object a second time and were kept"]


def test_it_can_be_refused(twice):
    with pytest.raises(DataError, match=r"1 boxes of image a.png label an object .* --set data.duplicates=merge"):
        read_coco(twice, duplicates="fail")
