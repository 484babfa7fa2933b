from dataclasses import replace

import cv2
import numpy as np
import pytest

from aerodet.data import ImageRecord
from aerodet.errors import DataError
from aerodet.files import write_json
from aerodet.metrics import Detections, coco_results
from aerodet.report import OperatingPoint, draw_match, make_examples, match_detections, pick_examples, read_detections


def record(index, boxes, labels=None):
    return ImageRecord(index, f"{index}.png", 100, 100, "g", np.array(boxes), np.array(labels or [0] * len(boxes)))


def detections(boxes, scores, labels=None):
    return Detections(np.array(boxes), np.array(scores), np.array(labels or [0] * len(boxes)))


SQUARE, SHIFTED, ELSEWHERE = [10, 10, 30, 30], [14, 10, 34, 30], [60, 60, 80, 80]


def test_each_true_box_is_found_once_by_the_surest_detection():
    matches, _ = match_detections([record(1, [SQUARE])], [detections([SHIFTED, SQUARE], [0.9, 0.8])], threshold=0)
    assert matches[0].hits.tolist() == [True, False]
    assert (matches[0].found, matches[0].missed, matches[0].false_alarms) == (1, 0, 1)
    assert matches[0].f1 == pytest.approx(2 / 3)


def test_what_is_found_in_a_region_to_ignore_is_no_false_alarm():
    truth = replace(record(1, [SQUARE]), ignored=np.array([[55, 55, 100, 100]]))
    (match,), _ = match_detections([truth], [detections([SQUARE, ELSEWHERE], [0.9, 0.8])])
    assert (match.found, match.false_alarms) == (1, 0)


def test_classes_are_matched_apart():
    matches, _ = match_detections([record(1, [SQUARE], [1])], [detections([SQUARE], [0.9], [0])], threshold=0)
    assert (matches[0].found, matches[0].missed, matches[0].false_alarms) == (0, 1, 1)


def test_the_threshold_is_the_score_with_the_best_f1():
    truth = [record(1, [SQUARE]), record(2, [ELSEWHERE])]
    found = [detections([SQUARE, ELSEWHERE], [0.7, 0.3]), detections([ELSEWHERE, SQUARE], [0.6, 0.6])]
    _, threshold = match_detections(truth, found)
    assert threshold == pytest.approx(0.6)  # both aircraft, and the false alarm that has the same score
    _, threshold = match_detections(truth, [Detections.empty(), Detections.empty()])
    assert threshold == 0.0


def test_best_and_worst_are_apart_and_in_order(scenes):
    matches, threshold = match_detections(scenes.records, scenes.detections())
    best, worst = pick_examples(matches, 2)
    assert 0.1 < threshold <= 0.9
    assert [m.index for m in best] == [4, 2]
    assert [m.index for m in worst] == [5, 3]
    assert worst[0].false_alarms == 1
    assert worst[0].missed == 5


def test_an_image_without_aircraft_is_no_example_unless_it_has_a_false_alarm():
    truth = [record(1, np.zeros((0, 4))), record(2, np.zeros((0, 4)))]
    best, worst = pick_examples(match_detections(truth, [Detections.empty(), detections([SQUARE], [0.9])])[0], 5)
    assert best == []
    assert [m.index for m in worst] == [1]


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        match_detections([record(1, [SQUARE])], [])


def test_boxes_are_drawn_in_their_colours():
    truth = [replace(record(1, [SQUARE, ELSEWHERE]), ignored=np.array([[10, 60, 30, 80]]))]
    (match,), _ = match_detections(truth, [detections([SQUARE, [60, 10, 80, 30]], [0.9, 0.9])], threshold=0)
    image = np.full((100, 100, 3), 90, np.uint8)
    jpeg, width, height = draw_match(image, match)
    assert (width, height) == (480, 480)
    assert (image == 90).all()  # the caller's pixels are left alone
    drawn = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(int)

    def edge(x, y):
        """The most colourful pixel at the middle of a box's left side, in the picture's 4.8 times larger pixels."""
        patch = drawn[round(y * 4.8) - 12 : round(y * 4.8) + 12, round(x * 4.8) - 2 : round(x * 4.8) + 3].reshape(-1, 3)
        return patch[np.ptp(patch, axis=1).argmax()]

    red, green, blue = edge(10, 20)
    assert green > red + 60
    red, green, blue = edge(60, 20)
    assert red > green + 60
    red, green, blue = edge(60, 70)
    assert min(red, green) > blue + 60
    red, green, blue = edge(10, 70)
    assert min(red, blue) > green + 40


def test_large_pictures_are_made_smaller():
    (match,), _ = match_detections([record(1, [SQUARE])], [Detections.empty()])
    _, width, height = draw_match(np.zeros((500, 2000, 3), np.uint8), match)
    assert (width, height) == (800, 200)


def test_examples_carry_what_the_page_says_of_them(scenes):
    examples, point = make_examples(scenes, scenes.detections(), n=2)
    matches, threshold = match_detections(scenes.records, scenes.detections())
    found, missed, alarms = (sum(getattr(m, name) for m in matches) for name in ("found", "missed", "false_alarms"))
    assert point == OperatingPoint(threshold, found / (found + alarms), found / (found + missed))
    assert 0 < point.recall < 1
    assert [(e.kind, e.file_name, e.found, e.missed, e.false_alarms) for e in examples] == [
        ("best", "place/scene-4.png", 4, 0, 0),
        ("best", "place/scene-2.png", 2, 0, 0),
        ("worst", "place/scene-5.png", 0, 5, 1),
        ("worst", "place/scene-3.png", 0, 3, 0),
    ]
    assert len(make_examples(scenes, scenes.detections(), n=0)[0]) == 0


def test_detections_are_read_back_in_the_order_of_the_images(scenes, tmp_path):
    made = scenes.detections()
    write_json(tmp_path / "detections.json", coco_results([r.id for r in scenes.records], made)[::-1])
    found = read_detections(tmp_path / "detections.json", scenes.records)
    for mine, theirs in zip(made, found, strict=True):
        np.testing.assert_allclose(mine.boxes[::-1], theirs.boxes, atol=1e-4)
        np.testing.assert_array_equal(mine.scores[::-1], theirs.scores)
        np.testing.assert_array_equal(mine.labels[::-1], theirs.labels)
    with pytest.raises(DataError, match="not in this test set"):
        read_detections(tmp_path / "detections.json", scenes.records[:3])


def test_examples_say_how_many_regions_they_show(scenes):
    best = make_examples(scenes, scenes.detections(), n=1)[0][0]
    index = [record.file_name for record in scenes.records].index(best.file_name)
    scenes.records[index] = replace(scenes.records[index], ignored=np.array([[0, 0, 9, 9], [9, 9, 20, 20]]))
    assert make_examples(scenes, scenes.detections(), n=1)[0][0].ignored == 2


def test_a_test_set_in_which_nothing_was_found_has_an_operating_point(scenes):
    _, point = make_examples(scenes, [Detections.empty() for _ in scenes.records])
    assert point == OperatingPoint(0.0, 1.0, 0.0)
