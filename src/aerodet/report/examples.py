"""Best and worst test images: which they are, and the picture of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.errors import DataError
from aerodet.files import read_json
from aerodet.metrics import Detections, iou, share_inside
from aerodet.report.data import Example, OperatingPoint

if TYPE_CHECKING:
    from aerodet.data import ImageRecord, Images

__all__ = ["Match", "draw_boxes", "draw_match", "make_examples", "match_detections", "pick_examples", "read_detections"]

IOU = 0.5
# RGB; the page's legend has like colours
FOUND, FALSE_ALARM, MISSED, IGNORED = (52, 211, 103), (255, 77, 77), (255, 214, 51), (228, 141, 255)
SMALLEST_SIDE, LARGEST_SIDE = 480, 800  # of the drawn picture, pixels


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Detections of one image held against its true boxes, at IoU 0.5 and one score threshold.

    Attributes:
        index: of the image in its set.
        boxes: float32 [D, 4], detections at or over the threshold, x1, y1, x2, y2 in pixels.
        hits: bool [D], which of them are a true box's.
        truth: float32 [T, 4], the true boxes.
        taken: bool [T], which of them were found.
        ignored: float32 [I, 4], regions in which nothing counts.
    """

    index: int
    boxes: NDArray[np.float32]
    hits: NDArray[np.bool_]
    truth: NDArray[np.float32]
    taken: NDArray[np.bool_]
    ignored: NDArray[np.float32]

    @property
    def found(self) -> int:
        """True boxes that were found."""
        return int(self.taken.sum())

    @property
    def missed(self) -> int:
        """True boxes that were not."""
        return len(self.taken) - self.found

    @property
    def false_alarms(self) -> int:
        """Detections of nothing, or of something already found."""
        return int((~self.hits).sum())

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1; 1 for an empty image left empty."""
        errors = self.missed + self.false_alarms
        return 2 * self.found / (2 * self.found + errors) if self.found or errors else 1.0


def read_detections(path: Path, truth: Sequence[ImageRecord]) -> list[Detections]:
    """Read a COCO results list, one :class:`aerodet.metrics.Detections` an image.

    Args:
        path: ``detections.json`` of an evaluation; category ids are label + 1.
        truth: the images, in the wanted order.

    Raises:
        DataError: a detection belongs to none of the images.
    """
    by_image: dict[int, list[dict[str, Any]]] = {record.id: [] for record in truth}
    for entry in read_json(path):
        if entry["image_id"] not in by_image:
            raise DataError(f"{path} has detections on image {entry['image_id']}, which is not in this test set")
        by_image[entry["image_id"]].append(entry)
    found = []
    for record in truth:
        entries = by_image[record.id]
        corners = np.asarray([e["bbox"] for e in entries], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        scores, labels = [e["score"] for e in entries], [e["category_id"] - 1 for e in entries]
        found.append(Detections(corners, np.asarray(scores, np.float32), np.asarray(labels, np.int64)))
    return found


def match_detections(
    truth: Sequence[ImageRecord], detections: Sequence[Detections], threshold: float | None = None
) -> tuple[list[Match], float]:
    """Match each image's detections to its true boxes: highest score first, each true box once, classes apart.

    Detections in regions to ignore are left out, unless they found a true box.

    Args:
        truth: one record an image.
        detections: of the same images, in the same order.
        threshold: leave out detections scored under this; by default the score with the best F1 over all images.

    Returns:
        One match an image, and the threshold.
    """
    raw = [_greedy(record, found) for record, found in zip(truth, detections, strict=True)]
    counts = [
        (assigned >= 0) | (share_inside(found.boxes, record.ignored) < IOU)
        for record, found, assigned in zip(truth, detections, raw, strict=True)
    ]
    if threshold is None:
        scores = np.concatenate(
            [d.scores[c] for d, c in zip(detections, counts, strict=True)] or [np.zeros(0, np.float32)]
        )
        hits = np.concatenate([a[c] >= 0 for a, c in zip(raw, counts, strict=True)] or [np.zeros(0, bool)])
        threshold = _best_threshold(scores, hits, sum(len(r.boxes) for r in truth))
    matches = []
    for index, (record, found, assigned, counted) in enumerate(zip(truth, detections, raw, counts, strict=True)):
        kept = (found.scores >= threshold) & counted
        taken = np.isin(np.arange(len(record.boxes)), assigned[kept])
        matches.append(Match(index, found.boxes[kept], assigned[kept] >= 0, record.boxes, taken, record.ignored))
    return matches, threshold


def pick_examples(matches: Sequence[Match], n: int) -> tuple[list[Match], list[Match]]:
    """Choose the ``n`` best and the ``n`` worst images by F1 at IoU 0.5.

    Among equals the best have the most aircraft found and the worst the most errors; an image without aircraft is never
    among the best, nor one without errors among the worst.

    Args:
        matches: one an image.
        n: how many of each, at most.

    Returns:
        Best first, and worst first.
    """
    best = sorted((m for m in matches if m.found), key=lambda m: (-m.f1, -m.found, m.index))[:n]
    chosen = {m.index for m in best}
    wrong = (m for m in matches if m.index not in chosen and m.missed + m.false_alarms)
    return best, sorted(wrong, key=lambda m: (m.f1, -m.missed - m.false_alarms, m.index))[:n]


def make_examples(
    images: Images, detections: Sequence[Detections], n: int = 4
) -> tuple[tuple[Example, ...], OperatingPoint]:
    """Pick and draw the best and worst images of a test set.

    Args:
        images: the test set.
        detections: one an image, in its order.
        n: how many of each, at most.

    Returns:
        Best first, then worst; and the score with the best F1, from which on detections count there.
    """
    matches, threshold = match_detections(images.records, detections)
    best, worst = pick_examples(matches, n)
    examples = []
    for kind, chosen in (("best", best), ("worst", worst)):
        for match in chosen:
            jpeg, width, height = draw_match(images.image(match.index), match)
            examples.append(
                Example(
                    kind="best" if kind == "best" else "worst",
                    file_name=images.records[match.index].file_name,
                    jpeg=jpeg,
                    width=width,
                    height=height,
                    found=match.found,
                    missed=match.missed,
                    false_alarms=match.false_alarms,
                    ignored=len(match.ignored),
                )
            )
    return tuple(examples), _operating_point(matches, threshold)


def _operating_point(matches: Sequence[Match], threshold: float) -> OperatingPoint:
    found, missed = sum(m.found for m in matches), sum(m.missed for m in matches)
    alarms = sum(m.false_alarms for m in matches)
    return OperatingPoint(
        threshold,
        precision=found / (found + alarms) if found + alarms else 1.0,
        recall=found / (found + missed) if found + missed else 1.0,
    )


def draw_match(image: NDArray[np.uint8], match: Match) -> tuple[bytes, int, int]:
    """Draw detections on an image: green found, red false alarm, yellow dashed missed, violet dotted to ignore.

    Args:
        image: uint8 RGB [H, W, 3].
        match: its detections.

    Returns:
        JPEG bytes, width and height of the picture, which is scaled to a side of 480 to 800 pixels.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = np.clip(longest, SMALLEST_SIDE, LARGEST_SIDE) / longest
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.array(cv2.resize(image, size, interpolation=way) if scale != 1 else image, np.uint8)
    for box in match.ignored * scale:
        _draw(canvas, _dashes(box, dash=3, gap=5), IGNORED)
    for box in match.truth[~match.taken] * scale:
        _draw(canvas, _dashes(box), MISSED)
    for box, hit in zip(match.boxes * scale, match.hits, strict=True):
        _draw(canvas, _sides(box), FOUND if hit else FALSE_ALARM)
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not encoded:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes(), *size


def draw_boxes(
    canvas: NDArray[np.uint8], boxes: NDArray[np.float32], colour: tuple[int, int, int], *, dashed: bool = False
) -> None:
    """Draw boxes [N, 4] into uint8 RGB pixels [H, W, 3]."""
    for box in boxes:
        _draw(canvas, _dashes(box) if dashed else _sides(box), colour)


def _greedy(record: ImageRecord, found: Detections) -> NDArray[np.int64]:
    """Return, for each detection, the index of the true box it takes, or -1."""
    assigned = np.full(len(found.scores), -1, np.int64)
    if not len(record.boxes) or not len(assigned):
        return assigned
    overlap = iou(found.boxes, record.boxes)
    overlap[found.labels[:, None] != record.labels[None, :]] = 0
    for detection in np.argsort(-found.scores, kind="stable"):
        best = int(overlap[detection].argmax())
        if overlap[detection, best] >= IOU:
            assigned[detection] = best
            overlap[:, best] = 0
    return assigned


def _best_threshold(scores: NDArray[np.float32], hits: NDArray[np.bool_], truths: int) -> float:
    """Return the score at which detections from it upwards have the best F1; 0 when nothing was found at all."""
    if not hits.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    f1 = 2 * hits[order].cumsum() / (np.arange(1, len(scores) + 1) + truths)
    last_of_score = np.append(scores[order][1:] != scores[order][:-1], True)  # equal scores go in together
    return float(scores[order][np.where(last_of_score, f1, -1).argmax()])


Segment = tuple[tuple[int, int], tuple[int, int]]


def _draw(canvas: NDArray[np.uint8], segments: Iterable[Segment], colour: tuple[int, int, int]) -> None:
    segments = list(segments)
    for width, ink in ((4, (0, 0, 0)), (2, colour)):  # a dark rim keeps lines legible on concrete and on grass
        for start, end in segments:
            cv2.line(canvas, start, end, ink, width, cv2.LINE_AA)


def _sides(box: NDArray[np.float32]) -> list[Segment]:
    x1, y1, x2, y2 = (round(float(v)) for v in box)
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    return list(zip(corners, corners[1:] + corners[:1], strict=True))


def _dashes(box: NDArray[np.float32], dash: int = 7, gap: int = 6) -> list[Segment]:
    segments = []
    for (x1, y1), (x2, y2) in _sides(box):
        length = max(abs(x2 - x1), abs(y2 - y1))
        for start in range(0, length, dash + gap):
            a, b = start / length, min(start + dash, length) / length
            from_ = (round(x1 + (x2 - x1) * a), round(y1 + (y2 - y1) * a))
            segments.append((from_, (round(x1 + (x2 - x1) * b), round(y1 + (y2 - y1) * b))))
    return segments
