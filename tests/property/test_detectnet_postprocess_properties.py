from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from aerodet.detectnet.postprocess import ClusterOptions, _dbscan, cluster, decode
from aerodet.detectnet.targets import encode

Array = npt.NDArray[Any]


def random_candidates(rng: np.random.Generator, count: int, objects: int, jitter: float) -> tuple[Array, Array]:
    """Boxes scattered around a few objects, some of no area, with coverages."""
    middle, size = rng.uniform(0, 300, (objects, 2)), rng.uniform(5, 80, (objects, 2))
    own = rng.integers(0, objects, count)
    corner = middle[own] + rng.normal(0, jitter, (count, 2))
    boxes = np.concatenate([corner, corner + size[own] + rng.normal(0, jitter, (count, 2)).clip(-5)], axis=1)
    boxes[rng.random(count) < 0.05, 2:] = boxes[rng.random(count) < 0.05, 2:].max(initial=0)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
    return boxes.astype(np.float32), rng.uniform(0.005, 1, count).astype(np.float32)


def taos_distance(boxes: Array) -> Array:
    """1 - IoU of all pairs, as TAO computes it."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlap = (high - low).clip(0).prod(axis=2)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return np.float32(1) - overlap / (area[:, None] + area - overlap + np.float32(1e-5))


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 120),
    objects=st.integers(1, 12),
    jitter=st.sampled_from([0.0, 1.0, 4.0, 30.0]),
    eps=st.sampled_from([0.05, 0.15, 0.3, 0.7, 0.99, 1.0]),
    min_samples=st.integers(1, 3),
)
def test_clusters_are_those_of_scikit_learn(
    seed: int, count: int, objects: int, jitter: float, eps: float, min_samples: int
):
    boxes, weights = random_candidates(np.random.default_rng(seed), count, objects, jitter)
    oracle = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed")

    expected = oracle.fit_predict(taos_distance(boxes), sample_weight=weights)

    assert _dbscan(boxes, weights, np.zeros(len(boxes), int), eps, min_samples).tolist() == expected.tolist()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_decoding_undoes_encoding(data: st.DataObject):
    h, w = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    scale, offset = data.draw(st.sampled_from([35.0, 20.0])), data.draw(st.sampled_from([0.5, 0.0, 8.0]))
    x = sorted(data.draw(st.tuples(st.floats(0, 16 * w, width=32), st.floats(0, 16 * w, width=32))))
    y = sorted(data.draw(st.tuples(st.floats(0, 16 * h, width=32), st.floats(0, 16 * h, width=32))))
    box = torch.tensor([[x[0], y[0], x[1], y[1]]], dtype=torch.float32)

    boxes = decode(encode(box, (h, w), scale=scale, offset=offset), scale=scale, offset=offset)

    assert boxes.shape == (1, 1, h, w, 4)
    torch.testing.assert_close(boxes, box.expand_as(boxes), atol=1e-3, rtol=0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), eps=st.sampled_from([0.15, 0.4]), mean=st.booleans())
def test_a_batch_gives_what_scikit_learn_gives_image_by_image(seed: int, eps: float, mean: bool):
    generator = torch.Generator().manual_seed(seed)
    cov = torch.rand(3, 2, 9, 7, generator=generator) ** 4
    bbox = torch.rand(3, 8, 9, 7, generator=generator) * 2
    options = [
        ClusterOptions(dbscan_eps=eps, minimum_height=10),
        ClusterOptions(dbscan_eps=eps, coverage_threshold=0.2),
    ]

    found = cluster(cov, bbox, options, confidence="mean" if mean else "aggregate")

    pixels = decode(bbox).numpy()
    for image in range(3):
        expected = []
        for label, option in enumerate(options):
            keep = cov[image, label].numpy() > option.coverage_threshold
            boxes, weights = pixels[image, label][keep], cov[image, label].numpy()[keep]
            oracle = DBSCAN(eps=eps, min_samples=1, metric="precomputed")
            labels = oracle.fit_predict(taos_distance(boxes), sample_weight=weights)
            for number in range(labels.max() + 1):
                own = labels == number
                box = np.average(boxes[own], axis=0, weights=weights[own])
                if box[3] - box[1] > option.minimum_height:
                    score = weights[own].mean() if mean else weights[own].sum()
                    expected.append((score, label, *box))
        expected.sort(reverse=True)
        result = [
            (s, c, *b) for s, c, b in zip(found[image].scores, found[image].labels, found[image].boxes, strict=True)
        ]
        assert len(result) == len(expected)
        assert np.array(result) == pytest.approx(np.array(expected), rel=1e-4, abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), limit=st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_nms_is_greedy_suppression(seed: int, limit: float):
    generator = torch.Generator().manual_seed(seed)
    cov = torch.rand(1, 1, 6, 6, generator=generator)
    bbox = torch.rand(1, 4, 6, 6, generator=generator) * 1.5

    (found,) = cluster(cov, bbox, [ClusterOptions(algorithm="nms", nms_iou=limit, nms_confidence=0.3)])

    kept: list[Array] = []
    boxes = decode(bbox).reshape(-1, 4).numpy()
    for index in np.argsort(-cov.numpy().ravel(), kind="stable"):
        box = boxes[index].astype(np.float64)
        if cov.flatten()[index] > 0.3 and all(pixel_iou(box, other) <= limit for other in kept):
            kept.append(box)
    assert found.boxes == pytest.approx(np.array(kept), abs=1e-4)


def pixel_iou(a: Array, b: Array) -> float:
    overlap = float((np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]) + 1).clip(0).prod())
    return overlap / (float((a[2:] - a[:2] + 1).prod()) + float((b[2:] - b[:2] + 1).prod()) - overlap)
