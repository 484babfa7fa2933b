"""From the network's two maps to detections: decode boxes, gather the cells that agree, one box for each group.

Sources: ``nvidia_tao_tf1/cv/detectnet_v2/objectives/bbox_objective.py`` (decoding) and
``postprocessor/cluster.py`` (clustering). Clusters are those of scikit-learn's DBSCAN on the distance 1 - IoU; only
pairs of boxes that can be near are compared, so that an untrained network, which fires everywhere, stays cheap.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aerodet.detectnet.model import STRIDE
from aerodet.metrics import Detections

__all__ = ["ClusterOptions", "cluster", "decode"]

_Floats = npt.NDArray[np.float32]
_Ints = npt.NDArray[np.int64]
_AREA_EPSILON = np.float32(1e-5)  # TAO's guard against a division by zero


@dataclass(frozen=True)
class ClusterOptions:
    """How the cells of one class become boxes (``postprocessing_config…clustering_config``).

    Args:
        coverage_threshold: cells above it are candidates.
        algorithm: ``dbscan``: the mean box of cells that overlap; ``nms``: the box of the strongest cell.
        minimum_height: pixels; a lower or equal DBSCAN box is dropped. NMS ignores it, as in TAO.
        dbscan_eps: two cells are neighbours when 1 - IoU of their boxes is at most this.
        dbscan_min_samples: summed coverage that a neighbourhood needs to found a cluster; 0 counts as 1.
        dbscan_confidence: least confidence of a DBSCAN box.
        nms_iou: a box that overlaps a stronger one by more than this is dropped.
        nms_confidence: NMS keeps boxes with coverage above it.
    """

    coverage_threshold: float = 0.005
    algorithm: Literal["dbscan", "nms"] = "dbscan"
    minimum_height: float = 4
    dbscan_eps: float = 0.15
    dbscan_min_samples: int = 1
    dbscan_confidence: float = 0.0
    nms_iou: float = 0.2
    nms_confidence: float = 0.0


def decode(
    bbox: Tensor,
    *,
    stride: int = STRIDE,
    scale: float = 35.0,
    offset: float = 0.5,
    image_size: tuple[int, int] | None = None,
) -> Tensor:
    """Turn box distances into boxes in pixels, clipped to the image.

    Cell (i, j) gives x1 = 16j + offset - scale·L, y1 = 16i + offset - scale·T, x2 = 16j + offset + scale·R and
    y2 = 16i + offset + scale·B; x2 and y2 are never below x1 and y1.

    Args:
        bbox: [N, 4C, h, w], any device and float type.
        stride: pixels of a cell.
        scale: pixels for an output of 1 (``objective_set.bbox.scale``).
        offset: pixels from a cell's corner to the point that boxes are measured from (``objective_set.bbox.offset``).
        image_size: (H, W) to clip to; the grid's size when None.

    Returns:
        [N, C, h, w, 4] x1, y1, x2, y2, float32 on the device of ``bbox``.
    """
    n, channels, h, w = bbox.shape
    height, width = image_size or (h * stride, w * stride)
    left, top, right, bottom = bbox.float().reshape(n, channels // 4, 4, h, w).unbind(2)
    x = torch.arange(w, device=bbox.device, dtype=torch.float32) * stride + offset
    y = (torch.arange(h, device=bbox.device, dtype=torch.float32) * stride + offset)[:, None]
    x1, y1 = (x - scale * left).clamp(0, width), (y - scale * top).clamp(0, height)
    x2 = (x + scale * right).clamp(max=width).maximum(x1)
    y2 = (y + scale * bottom).clamp(max=height).maximum(y1)
    return torch.stack([x1, y1, x2, y2], dim=-1)


def cluster(
    cov: Tensor | npt.NDArray[Any],
    bbox: Tensor | npt.NDArray[Any],
    options: Sequence[ClusterOptions],
    *,
    scale: float = 35.0,
    offset: float = 0.5,
    image_size: tuple[int, int] | None = None,
    confidence: Literal["aggregate", "mean"] = "aggregate",
) -> list[Detections]:
    """Turn the network's outputs into detections.

    Args:
        cov: coverage [N, C, h, w] in 0..1, a tensor on any device or an array.
        bbox: box distances [N, 4C, h, w].
        options: one :class:`ClusterOptions` per class, in channel order.
        scale: see :func:`decode`.
        offset: see :func:`decode`.
        image_size: see :func:`decode`.
        confidence: of a DBSCAN box: ``aggregate``, the sum of its cells' coverage, which is at least about 1 and has no
            upper bound (TAO's evaluation), or ``mean``, their mean. NMS boxes have the coverage of their own cell.

    Returns:
        One :class:`Detections` per image, by falling confidence.

    Raises:
        ValueError: the shapes do not fit each other or ``options``.

    Note:
        TAO's NMS (``get_keep_indices``) re-orders coverages in place while it suppresses and so gives boxes the
        confidences of other boxes; here each keeps its own. TAO's ``mean_cov`` rescales the mean by the cluster's
        range, which is undefined for a cluster of one; ``mean`` is the plain mean.
    """
    cov, bbox = torch.as_tensor(cov).detach(), torch.as_tensor(bbox).detach()
    classes = len(options)
    if cov.shape[1] != classes or bbox.shape != (cov.shape[0], 4 * classes, *cov.shape[2:]):
        raise ValueError(f"coverage {tuple(cov.shape)} and boxes {tuple(bbox.shape)} do not fit {classes} classes")
    cov = cov.float()
    thresholds = torch.tensor([o.coverage_threshold for o in options], device=cov.device)
    mask = cov > thresholds[:, None, None]
    boxes = decode(bbox, scale=scale, offset=offset, image_size=image_size)[mask].cpu().numpy()
    weights = cov[mask].cpu().numpy()
    images, labels = (index.cpu().numpy() for index in mask.nonzero(as_tuple=True)[:2])
    parts = []
    for label, option in enumerate(options):
        own = labels == label  # candidates come sorted by image
        candidates = boxes[own], weights[own], images[own]
        if option.algorithm == "nms":
            kept, scores, at = _nms(*candidates, option)
        else:
            kept, scores, at = _dbscan_boxes(*candidates, option, mean=confidence == "mean")
        parts.append((kept, scores, np.full(len(scores), label), at))
    return _by_image(parts, len(cov))


def _by_image(parts: Sequence[tuple[_Floats, _Floats, _Ints, _Ints]], count: int) -> list[Detections]:
    """Join the boxes, scores, labels and images of all classes; return each image's by falling score."""
    boxes, scores, labels, images = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((-scores, images))  # a stable sort
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    cuts = np.searchsorted(images[order], np.arange(count + 1))
    places = [slice(start, end) for start, end in itertools.pairwise(cuts)]
    return [Detections(boxes=boxes[p].copy(), scores=scores[p].copy(), labels=labels[p].copy()) for p in places]


# -------------------------------------------------------------------------------------------------------- DBSCAN


def _dbscan_boxes(
    boxes: _Floats, weights: _Floats, images: _Ints, option: ClusterOptions, *, mean: bool
) -> tuple[_Floats, _Floats, _Ints]:
    """Return the mean boxes, the scores and the images of one class's clusters."""
    labels = _dbscan(boxes, weights, images, option.dbscan_eps, max(option.dbscan_min_samples, 1))
    member = labels >= 0
    labels, boxes, images, weight = labels[member], boxes[member], images[member], weights[member].astype(np.float64)
    sums = np.bincount(labels, weight)
    moments = np.stack([np.bincount(labels, weight * boxes[:, i]) for i in range(4)], axis=1)
    mean_boxes = (moments / sums[:, None]).astype(np.float32)
    scores = (sums / np.bincount(labels) if mean else sums).astype(np.float32)
    at = np.zeros(len(sums), np.int64)
    at[labels] = images
    keep = (mean_boxes[:, 3] - mean_boxes[:, 1] > option.minimum_height) & (scores >= option.dbscan_confidence)
    return mean_boxes[keep], scores[keep], at[keep]


def _dbscan(boxes: _Floats, weights: _Floats, images: _Ints, eps: float, min_weight: float) -> _Ints:
    """Label boxes with clusters, as scikit-learn's DBSCAN does with each image's.

    A box is a core when the weights in its neighbourhood, itself among them, sum to ``min_weight``. Cores that are
    neighbours share a cluster; other boxes join the first cluster among their core neighbours.

    Args:
        boxes: [M, 4].
        weights: [M].
        images: [M], rising; boxes of different images are no neighbours.
        eps: largest distance 1 - IoU of neighbours.
        min_weight: see above.

    Returns:
        [M] cluster numbers without gaps, in order of each cluster's first core; -1 for no cluster.
    """
    from scipy import sparse
    from scipy.sparse import csgraph

    m = len(boxes)
    first, second = _neighbours(boxes, images, eps)
    own = np.float32(1) - _iou(boxes, boxes) <= eps  # not where a box has no area
    around = weights * own.astype(np.float64)
    around += np.bincount(first, weights[second], minlength=m) + np.bincount(second, weights[first], minlength=m)
    core = around >= min_weight
    labels = np.full(m, m, np.int64)
    if not core.any():
        return labels - m - 1
    number = np.cumsum(core) - 1  # of the cores alone
    between = core[first] & core[second]
    ends = (number[first[between]], number[second[between]])
    links = sparse.coo_array((np.ones(len(ends[0]), bool), ends), shape=(core.sum(), core.sum()))
    # The search starts at the lowest unseen core, which numbers clusters by their first core.
    labels[core] = csgraph.connected_components(links, directed=False)[1]
    for one, other in ((first, second), (second, first)):
        border = core[other] & ~core[one]
        np.minimum.at(labels, one[border], labels[other[border]])
    labels[labels == m] = -1
    return labels


def _neighbours(boxes: _Floats, images: _Ints, eps: float) -> tuple[_Ints, _Ints]:
    """Return each pair (i, j) of boxes of one image with 1 - IoU at most ``eps`` once.

    IoU is at most the overlap of the x-ranges over their union, so that neighbours' left edges lie at most eps widths
    apart: after sorting by left edge each box is compared with the few that follow it.
    """
    order = np.lexsort((boxes[:, 0], images))
    x1, x2, image = boxes[order, 0].astype(np.float64), boxes[order, 2], images[order]
    # Each image gets a range of its own, wide enough that none reaches into the next.
    reach = (x2 - x1) * eps + 1e-3  # the constant covers float32 rounding
    low, high = x1.min(initial=0), (x1 + reach).max(initial=0)
    key = x1 + image * (high - low + 1)
    # At eps 1 all boxes of an image are neighbours.
    ends = np.searchsorted(key, key + reach, side="right") if eps < 1 else np.searchsorted(image, image, side="right")
    counts = ends - np.arange(len(order)) - 1
    first = np.repeat(np.arange(len(order)), counts)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    first, second = order[first], order[second]
    near = np.float32(1) - _iou(boxes[first], boxes[second]) <= eps
    return first[near], second[near]


def _iou(a: _Floats, b: _Floats) -> _Floats:
    """Return the IoU of boxes a and b [M, 4], pair by pair."""
    size = (np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])).clip(0)
    overlap = size[:, 0] * size[:, 1]
    area_a, area_b = ((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (a, b))
    result: _Floats = overlap / (area_a + area_b - overlap + _AREA_EPSILON)
    return result


# ----------------------------------------------------------------------------------------------------------- NMS


def _nms(boxes: _Floats, weights: _Floats, images: _Ints, option: ClusterOptions) -> tuple[_Floats, _Floats, _Ints]:
    """Return the boxes, scores and images of one class that survive greedy suppression, all images at once."""
    rest = np.flatnonzero(weights > option.nms_confidence)
    rest = rest[np.lexsort((-weights[rest], images[rest]))]
    kept = [np.zeros(0, np.int64)]
    while rest.size:
        is_first = np.diff(images[rest], prepend=-1) != 0  # the strongest that is left of each image
        strongest = rest[is_first]
        kept.append(strongest)
        others, rivals = rest[~is_first], strongest[np.cumsum(is_first) - 1][~is_first]
        rest = others[_pixel_iou(boxes[rivals], boxes[others]) <= option.nms_iou]
    survivors = np.concatenate(kept)
    return boxes[survivors], weights[survivors], images[survivors]


def _pixel_iou(a: _Floats, b: _Floats) -> _Floats:
    """Return the IoU of boxes a and b [M, 4], pair by pair; sides count both edge pixels, as in TAO's NMS."""
    size = (np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + 1).clip(0)
    overlap = size[:, 0] * size[:, 1]
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b))
    result: _Floats = overlap / (area_a + area_b - overlap)
    return result
