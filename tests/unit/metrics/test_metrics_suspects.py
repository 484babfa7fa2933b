from __future__ import annotations

import numpy as np
import pytest

from aerodet.metrics import Detections, rank_suspects

BOX, SHIFTED, FAR = [10, 10, 30, 30], [15, 10, 35, 30], [100, 100, 120, 120]


def ranked(boxes, labels, seen):
    truth = [(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64))]
    return [(s.kind, round(s.doubt, 3)) for s in rank_suspects(truth, [seen])]


def test_labels_that_the_model_sees_just_so_are_not_suspected():
    assert ranked([BOX], [0], Detections([BOX], [0.9], [0])) == []


def test_an_object_without_a_label_is_doubted_by_its_score():
    assert ranked([BOX], [0], Detections([BOX, FAR], [0.9, 0.7], [0, 0])) == [("unlabelled", 0.7)]


def test_what_is_seen_in_a_region_to_ignore_is_not_suspected():
    assert ranked([BOX, [90, 90, 130, 130]], [0, -2], Detections([BOX, FAR], [0.9, 0.7], [0, 0])) == []


def test_a_label_where_nothing_is_seen_is_doubted_in_full_and_less_where_something_is_near():
    assert ranked([BOX], [0], Detections.empty()) == [("unseen", 1.0)]
    aside = [22, 10, 42, 30]  # IoU 0.25: about the same object, and no match
    assert ranked([BOX], [0], Detections([aside], [0.6], [0])) == [("unseen", 0.4)]


def test_another_class_is_doubted_by_the_score_and_scores_over_one_count_as_one():
    assert ranked([BOX], [0], Detections([BOX], [3.5], [1])) == [("class", 1.0)]


def test_another_outline_is_doubted_by_what_the_overlap_lacks():
    # The boxes share 15 x 20 of 25 x 20 pixels: IoU 0.6.
    assert ranked([BOX], [0], Detections([SHIFTED], [0.5], [0])) == [("outline", pytest.approx(0.2))]


def test_the_gravest_come_first_over_all_images():
    truth = [(np.array([BOX], np.float32), np.zeros(1, np.int64))] * 2
    found = rank_suspects(truth, [Detections([SHIFTED], [0.5], [0]), Detections([FAR], [0.8], [0])])
    assert [(s.image, s.kind) for s in found] == [(1, "unseen"), (1, "unlabelled"), (0, "outline")]
    assert found[1].box == (100, 100, 120, 120)
