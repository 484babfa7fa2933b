"""Labels that a trained model disagrees with: the first to look at when a data set is put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aerodet.metrics.boxes import iou, share_inside
from aerodet.metrics.detections import Detections, Truth

__all__ = ["Suspect", "rank_suspects"]

Kind = Literal["unlabelled", "unseen", "class", "outline"]
_SAME, _NEAR = 0.5, 0.1  # IoU of a match, and of a box that is about the same object


@dataclass(frozen=True, slots=True)
class Suspect:
    """One place where a model and the labels disagree.

    Args:
        image: index of the image.
        kind: ``unlabelled``: the model sees an object without a label; ``unseen``: it sees none where a label is;
            ``class``: it sees another class; ``outline``: it sees the object elsewhere or of another size.
        doubt: 0 to 1, how sure the model is against the label.
        box: x1, y1, x2, y2 in pixels: the label, or the detection where there is no label.
        seen: the detection, where both are there.
        label: the label's class; the detection's where there is none.
        seen_label: the detection's class.
    """

    image: int
    kind: Kind
    doubt: float
    box: tuple[float, float, float, float]
    seen: tuple[float, float, float, float] | None
    label: int
    seen_label: int | None


def rank_suspects(truth: Sequence[Truth], detections: Sequence[Detections]) -> list[Suspect]:
    """Rank the disagreements of labels and detections, the gravest first.

    Detections take labels by falling score, each the label that it overlaps most. An object without a label is doubted
    by the detection's score; a label by what the surest detection near it lacks to 1; a class by the score of the other
    class; an outline by the score times what the overlap lacks.

    Args:
        truth: boxes and labels of each image.
        detections: of the same images, in the same order; scores over 1 count as 1.

    Returns:
        The disagreements; those of doubt 0 are left out.
    """
    found = [
        suspect
        for image, ((boxes, labels), seen) in enumerate(zip(truth, detections, strict=True))
        for suspect in _of_image(image, boxes, labels, seen)
        if suspect.doubt > 0
    ]
    return sorted(found, key=lambda suspect: (-suspect.doubt, suspect.image, suspect.box))


def _of_image(image: int, boxes: NDArray[np.float32], labels: NDArray[np.int64], seen: Detections) -> list[Suspect]:
    ignored = share_inside(seen.boxes, boxes[labels < 0]) >= _SAME
    boxes, labels = boxes[labels >= 0], labels[labels >= 0]
    scores = np.minimum(seen.scores.astype(np.float64), 1.0)
    overlap = iou(seen.boxes, boxes)
    taken = np.full(len(boxes), -1, np.int64)
    suspects = []
    for index in np.argsort(-scores, kind="stable").tolist():
        free = np.where(taken < 0, overlap[index], 0.0)
        best = int(free.argmax()) if len(boxes) else -1
        if best >= 0 and free[best] >= _SAME:
            taken[best] = index
        elif not ignored[index] and (not len(boxes) or overlap[index].max() < _NEAR):
            box, label = _corners(seen.boxes[index]), int(seen.labels[index])
            suspects.append(Suspect(image, "unlabelled", float(scores[index]), box, None, label, label))
    for number, index in enumerate(taken.tolist()):
        box, label = _corners(boxes[number]), int(labels[number])
        if index < 0:
            near = scores[overlap[:, number] >= _NEAR] if len(scores) else scores
            suspects.append(Suspect(image, "unseen", 1 - float(near.max(initial=0.0)), box, None, label, None))
            continue
        other, score = int(seen.labels[index]), float(scores[index])
        kind: Kind = "class" if other != label else "outline"
        doubt = score if other != label else score * (1 - float(overlap[index, number]))
        suspects.append(Suspect(image, kind, doubt, box, _corners(seen.boxes[index]), label, other))
    return suspects


def _corners(box: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(value), 2) for value in box)
    return (x1, y1, x2, y2)
