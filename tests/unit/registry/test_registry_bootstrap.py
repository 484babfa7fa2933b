import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.metrics import Detections, coco_ap
from aerodet.registry._bootstrap import ap50, draws, match


def made_up(seed, images=12, classes=2, most=6, decimals=1):
    """Return truth and detections of made-up images: some found, some missed, some false, some twice."""
    random = np.random.default_rng(seed)
    truth, detections = [], []
    for _ in range(images):
        count = int(random.integers(0, most))
        corners = random.uniform(0, 200, (count, 2))
        boxes = np.concatenate([corners, corners + random.uniform(12, 120, (count, 2))], 1).astype(np.float32)
        labels = random.integers(0, classes, count)
        kept = random.random(count) < 0.8
        found = np.concatenate([boxes[kept] + random.uniform(-5, 5, (kept.sum(), 4)), boxes[kept][:1]])
        noise = random.uniform(0, 200, (int(random.integers(0, 4)), 2))
        found = np.concatenate([found, np.concatenate([noise, noise + 30], 1)]).astype(np.float32)
        marks = np.concatenate([labels[kept], labels[kept][:1], random.integers(0, classes, len(noise))])
        scores = np.round(random.random(len(found)), decimals)  # one decimal makes ties
        corners = random.uniform(0, 200, (int(random.integers(0, 3)), 2))  # regions to ignore
        regions = np.concatenate([corners, corners + random.uniform(12, 90, (len(corners), 2))], 1).astype(np.float32)
        truth.append((np.concatenate([boxes, regions]), np.concatenate([labels, np.full(len(corners), -2)])))
        detections.append(Detections(found, scores, marks))
    return truth, detections


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_image_once_is_cocos_ap50(seed):
    truth, detections = made_up(seed)
    if not any((labels >= 0).any() for _, labels in truth):
        return
    result = coco_ap(truth, detections, 2)
    assert ap50(match(truth, detections, 2))[0] == pytest.approx(100 * result.ap50, abs=1e-9)
    for area, name in (((0, 32**2), "small"), ((32**2, 96**2), "medium"), ((96**2, np.inf), "large")):
        own = [boxes[labels >= 0] for boxes, labels in truth]
        sides = [(boxes[:, 2:] - boxes[:, :2]).astype(np.float64) for boxes in own]
        chosen = [(s.prod(axis=1) >= area[0]) & (s.prod(axis=1) < area[1]) for s in sides]
        expected = result.slices[name].ap50
        (found,) = ap50(match(truth, detections, 2, chosen, area))
        assert found == pytest.approx(np.nan if expected is None else 100 * expected, abs=1e-9, nan_ok=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_weight_is_as_good_as_that_many_copies_of_the_image(seed):
    truth, detections = made_up(seed, images=6, decimals=9)
    weights = draws(6, 3, seed)
    for row, score in zip(weights, ap50(match(truth, detections, 2), weights), strict=True):
        copies = [index for index, count in enumerate(row) for _ in range(count)]
        again = ap50(match([truth[i] for i in copies], [detections[i] for i in copies], 2))[0]
        assert score == pytest.approx(again, abs=1e-9, nan_ok=True)


def test_a_crowd_takes_any_number_of_detections_and_uses_up_no_box_of_another_size():
    true = np.array([[100, 100, 131, 131], [300, 300, 350, 350], [70, 100, 122, 131]], np.float32)
    found = [[92, 100, 122, 131], [100, 100, 140, 137], [300, 300, 350, 350]]
    truth, detections = [(true, np.array([0, 0, -2]))], [Detections(found, [0.9, 0.8, 0.7], [0, 0, 0])]
    medium = match(truth, detections, 1, [np.array([False, True])], (32**2, 96**2))
    assert ap50(medium)[0] == pytest.approx(100 * coco_ap(truth, detections, 1).slices["medium"].ap50) == 100


def test_one_hit_one_miss_and_one_false_alarm_by_hand():
    """Precision is 1 at recall 0.5, then nothing more is found: 51 of the 101 recall points have precision 1."""
    box, other = [0, 0, 20, 20], [50, 50, 80, 80]
    truth = [(np.array([box, other], np.float32), np.zeros(2, np.int64))]
    found = [Detections(np.array([box, [100, 100, 120, 120]]), np.array([0.9, 0.5]), np.zeros(2))]
    assert ap50(match(truth, found, 1))[0] == pytest.approx(100 * 51 / 101)
    only_the_other = [np.array([False, True])]
    assert ap50(match(truth, found, 1, only_the_other))[0] == 0.0
    only_this = [np.array([True, False])]
    assert ap50(match(truth, found, 1, only_this))[0] == pytest.approx(100.0)


def test_nothing_detected_is_nought_and_nothing_to_find_is_no_number():
    truth = [(np.array([[0, 0, 9, 9]], np.float32), np.zeros(1, np.int64)), (np.zeros((0, 4), np.float32), np.zeros(0))]
    nothing = [Detections.empty(), Detections.empty()]
    scores = ap50(match(truth, nothing, 1), np.array([[1, 1], [0, 2]]))
    assert scores[0] == 0
    assert np.isnan(scores[1])


def test_the_same_seed_draws_the_same_images():
    assert (draws(20, 50, 7) == draws(20, 50, 7)).all()
    assert (draws(20, 50, 7) != draws(20, 50, 8)).any()
    assert (draws(20, 50, 7).sum(axis=1) == 20).all()


def test_a_thousand_draws_of_a_thousand_images_take_seconds():
    truth, detections = made_up(3, images=1000, classes=1)
    began = time.process_time()
    scores = ap50(match(truth, detections, 1), draws(1000, 1000, 0))
    assert scores.shape == (1000,)
    assert time.process_time() - began < 5
