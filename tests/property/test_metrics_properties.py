from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerodet.metrics import Detections, coco_ap, tao_ap

QUICK = settings(max_examples=40, deadline=None)


@st.composite
def cases(draw):
    """Truth and jittered detections of a few images, with distinct scores."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    truth, found = [], []
    for count in draw(st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any)):
        corner = generator.uniform(0, 200, (count, 2))
        boxes = np.concatenate([corner, corner + generator.uniform(10, 60, (count, 2))], axis=1).astype(np.float32)
        labels = generator.integers(0, 2, count)
        truth.append((boxes, labels))
        found.append((boxes + generator.normal(0, 3, (count, 4)).astype(np.float32), labels))
    total = sum(len(boxes) for boxes, _ in found)
    scores = iter(generator.permutation(total) / total)
    return truth, [Detections(boxes, [next(scores) for _ in boxes], labels) for boxes, labels in found]


def measures(truth, detections):
    coco = coco_ap(truth, detections, 2)
    return [
        coco.ap,
        coco.ap50,
        coco.ap75,
        *(tao_ap(truth, detections, 2, mode).mean_ap for mode in ("sample", "integrate")),
    ]


@QUICK
@given(cases())
def test_every_measure_is_a_fraction_and_stricter_overlap_is_never_better(case):
    values = measures(*case)
    assert all(0 <= value <= 1 + 1e-9 for value in values)
    assert values[0] <= values[1] + 1e-9
    strict = tao_ap(*case, 2, min_overlap=0.75).mean_ap
    assert strict <= tao_ap(*case, 2, min_overlap=0.5).mean_ap + 1e-9


@QUICK
@given(cases())
def test_the_order_of_the_images_does_not_matter(case):
    truth, detections = case
    assert measures(truth[::-1], detections[::-1]) == pytest.approx(measures(truth, detections))


@QUICK
@given(cases())
def test_wrong_detections_below_all_others_change_nothing_but_integrates_last_step(case):
    truth, detections = case
    wrong = Detections([[900, 900, 920, 920]], [-1.0], [0])
    more = [
        Detections(
            np.concatenate([found.boxes, wrong.boxes]),
            np.concatenate([found.scores, wrong.scores]),
            np.concatenate([found.labels, wrong.labels]),
        )
        for found in detections
    ]
    assert measures(truth, more)[:4] == pytest.approx(measures(truth, detections)[:4])
