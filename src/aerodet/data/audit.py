"""An audit of image sets: what is in them, what is broken, and what would make a test result untrue.

An audit reports and changes nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aerodet.data._hash import NEAR, hash_image, nearest_earlier
from aerodet.data.records import ImageRecord, Images
from aerodet.errors import DataError
from aerodet.metrics import areas as box_areas
from aerodet.progress import track

__all__ = ["Audit", "Finding", "SetAudit", "audit"]

_THREADS = 8  # at most: each holds a picture, which may be a whole scene
SMALL, MEDIUM = 32**2, 96**2  # COCO's limits between small, medium and large, square pixels
_BINS = (0, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, np.inf)  # of the square root of a box's area, pixels


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Args:
        severity: ``error`` makes results untrue or a stage fail, ``warning`` costs accuracy, ``note`` is worth knowing.
        kind: ``broken-box``, ``tiny-box``, ``repeated-box``, ``unreadable``, ``duplicate``, ``near-duplicate``
            or ``leak``.
        set: the image set's name.
        image: the image's file name; empty where the finding is about the whole set.
        sentence: for a person.
        other_set: the other set of a duplicate or leak.
        other_image: the other image of a duplicate.
    """

    severity: Literal["error", "warning", "note"]
    kind: str
    set: str
    image: str
    sentence: str
    other_set: str = ""
    other_image: str = ""


@dataclass(slots=True)
class SetAudit:
    """The figures of one image set.

    Args:
        images: number of images.
        boxes: number of boxes.
        regions: regions to ignore, which are neither object nor background.
        empty_images: images without a box.
        unreadable_images: images that cannot be decoded.
        groups: images by group.
        classes: boxes by class.
        sizes: boxes by COCO size, small under 32x32 px, medium under 96x96 px, large.
        size_histogram: ``edges`` (square root of the area, pixels; the last bin is open) and ``counts``.
        boxes_per_image: ``mean``, ``median``, ``max`` and ``counts``, the number of images by number of boxes.
        box_side: 5th, 50th and 95th percentile of the square root of a box's area, pixels.
        mean_rgb: mean colour over all readable images, 0 to 255.
    """

    images: int
    boxes: int
    regions: int
    empty_images: int
    unreadable_images: int
    groups: dict[str, int]
    classes: dict[str, int]
    sizes: dict[str, int]
    size_histogram: dict[str, list[float]]
    boxes_per_image: dict[str, Any]
    box_side: dict[str, float]
    mean_rgb: list[float]


@dataclass(slots=True)
class Audit:
    """The audit of several image sets.

    Args:
        sets: figures by set name.
        findings: everything found, errors first.
    """

    sets: dict[str, SetAudit]
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """The findings that make results untrue or a stage fail."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        counts = Counter(finding.severity for finding in self.findings)
        return {
            "sets": {name: asdict(figures) for name, figures in self.sets.items()},
            "findings": [asdict(finding) for finding in self.findings],
            "severities": {severity: counts[severity] for severity in ("error", "warning", "note")},
        }


@dataclass(slots=True)
class _Content:
    """What the pixels of a set say; unreadable images have an empty digest."""

    digests: list[str]
    hashes: NDArray[np.uint64]
    distinct: NDArray[np.bool_]
    mean_rgb: list[float]


def audit(sets: Mapping[str, Images], *, test_sets: Collection[str] | None = None, near: int = NEAR) -> Audit:
    """Audit image sets: decode each image once and compare everything with everything.

    Args:
        sets: image sets by name.
        test_sets: the names of the sets that results are measured on; those whose name contains ``test`` or ``val``
            when None. An image or a group shared by one of them and any other set is an error.
        near: images whose 256-bit difference hashes differ in at most this many bits are near duplicates.

    Returns:
        Figures and findings.
    """
    if test_sets is None:
        test_sets = [name for name in sets if "test" in name or "val" in name]
    findings: list[Finding] = []
    figures: dict[str, SetAudit] = {}
    contents: dict[str, _Content] = {}
    for name, images in sets.items():
        contents[name] = _read_content(name, images, findings)
        figures[name] = _figures(images, contents[name])
        for record in images.records:
            findings.extend(_box_findings(name, record, len(images.classes)))
    findings.extend(_duplicates(sets, contents, test_sets, near))
    findings.extend(_leaks(sets, test_sets))
    order = ("error", "warning", "note")
    return Audit(figures, sorted(findings, key=lambda finding: order.index(finding.severity)))


class _Look(NamedTuple):
    """What one image's pixels say."""

    digest: str
    hash: NDArray[np.uint64]
    distinct: bool
    mean_rgb: Sequence[float]


def _read_content(name: str, images: Images, findings: list[Finding]) -> _Content:
    count = len(images.records)
    content = _Content([""] * count, np.zeros((count, 4), np.uint64), np.zeros(count, bool), [])
    colours: list[Sequence[float]] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:  # OpenCV and hashlib let go of the GIL
        try:
            looks = pool.map(partial(_look, images), range(count))
            for index, look in enumerate(track(looks, f"auditing {name}", count)):
                if isinstance(look, DataError):
                    findings.append(Finding("error", "unreadable", name, images.records[index].file_name, str(look)))
                    continue
                content.digests[index], content.hashes[index], content.distinct[index], mean = look
                colours.append(mean)
        finally:
            pool.shutdown(cancel_futures=True)
    content.mean_rgb = [round(float(c), 1) for c in np.mean(colours, axis=0)] if colours else []
    return content


def _look(images: Images, index: int) -> _Look | DataError:
    try:
        pixels = images.image(index)
    except DataError as error:
        return error
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
    digest.update(repr(pixels.shape).encode())
    return _Look(digest.hexdigest(), *hash_image(pixels), cv2.mean(pixels)[:3])


def _figures(images: Images, content: _Content) -> SetAudit:
    records = images.records
    boxes = np.concatenate([r.boxes for r in records] or [np.zeros((0, 4), np.float32)]).astype(np.float64)
    labels = np.concatenate([r.labels for r in records] or [np.zeros(0, np.int64)])
    areas = np.nan_to_num(box_areas(boxes))
    per_image = np.array([len(r.boxes) for r in records])
    medium = (areas >= SMALL) & (areas < MEDIUM)
    counts = np.histogram(np.sqrt(areas), _BINS)[0]
    percentiles = np.percentile(np.sqrt(areas), (5, 50, 95)) if len(areas) else np.zeros(3)
    return SetAudit(
        images=len(records),
        boxes=len(boxes),
        regions=sum(len(r.ignored) for r in records),
        empty_images=int((per_image == 0).sum()),
        unreadable_images=content.digests.count(""),
        groups=dict(Counter(r.group for r in records)),
        classes={name: int((labels == label).sum()) for label, name in enumerate(images.classes)},
        sizes={"small": int((areas < SMALL).sum()), "medium": int(medium.sum()), "large": int((areas >= MEDIUM).sum())},
        size_histogram={"edges": [float(edge) for edge in _BINS[:-1]], "counts": counts.tolist()},
        boxes_per_image={
            "mean": round(float(per_image.mean()), 3) if len(per_image) else 0.0,
            "median": float(np.median(per_image)) if len(per_image) else 0.0,
            "max": int(per_image.max(initial=0)),
            "counts": np.bincount(per_image).tolist() if len(per_image) else [],
        },
        box_side={f"p{q}": round(float(v), 2) for q, v in zip((5, 50, 95), percentiles, strict=True)},
        mean_rgb=content.mean_rgb,
    )


def _box_findings(name: str, record: ImageRecord, classes: int) -> Iterator[Finding]:
    seen: set[tuple[float, ...]] = set()
    for (x1, y1, x2, y2), label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
        text = f"box {x1:g}, {y1:g}, {x2:g}, {y2:g}"
        if not np.isfinite([x1, y1, x2, y2]).all() or x2 <= x1 or y2 <= y1:
            yield Finding("error", "broken-box", name, record.file_name, f"{text} has no size")
        elif min(x1, y1) < 0 or x2 > record.width or y2 > record.height:
            sentence = f"{text} reaches past the frame of {record.width}x{record.height}"
            yield Finding("error", "broken-box", name, record.file_name, sentence)
        elif min(x2 - x1, y2 - y1) < 2:
            yield Finding(
                "warning", "tiny-box", name, record.file_name, f"{text} has a side under 2 px, too small to be seen"
            )
        if not 0 <= label < classes:
            yield Finding(
                "error", "broken-box", name, record.file_name, f"{text} has label {label} of {classes} classes"
            )
        key = (x1, y1, x2, y2, float(label))
        if key in seen:
            yield Finding("warning", "repeated-box", name, record.file_name, f"{text} is annotated twice")
        seen.add(key)


def _duplicates(
    sets: Mapping[str, Images], contents: Mapping[str, _Content], test_sets: Collection[str], near: int
) -> Iterator[Finding]:
    """Compare each image with the ones before it in its own set and in the sets before."""
    names = list(sets)
    for later, name in enumerate(names):
        for other in names[: later + 1]:
            pairs = list(_pairs(contents[name], contents[other], same=other == name, near=near))
            across = (name in test_sets) != (other in test_sets)
            if other != name and not across:
                # Training sets may share images on purpose, as the tenth that fine-tunes does: one line says it.
                if pairs:
                    sentence = f"{len(pairs)} images of {name} are also in {other}"
                    yield Finding("note", "duplicate", name, "", sentence, other)
                continue
            yield from (_duplicate(sets, name, other, pair, across=across) for pair in pairs)


def _pairs(mine: _Content, theirs: _Content, *, same: bool, near: int) -> Iterator[tuple[int, int, int]]:
    """Yield index, index of the other image and hash distance (-1 for equal pixels), one pair an image."""
    where: dict[str, int] = {}
    if not same:
        where = {digest: index for index, digest in reversed(list(enumerate(theirs.digests))) if digest}
    close, distances = nearest_earlier(mine.hashes, mine.distinct, theirs.hashes, theirs.distinct, same=same)
    for index, digest in enumerate(mine.digests):
        if not digest:
            continue
        if digest in where:
            yield index, where[digest], -1
        elif close[index] >= 0 and distances[index] <= near:
            yield index, int(close[index]), int(distances[index])
        if same:
            where.setdefault(digest, index)


def _duplicate(
    sets: Mapping[str, Images], name: str, other: str, pair: tuple[int, int, int], *, across: bool
) -> Finding:
    index, partner, distance = pair
    image, twin = sets[name].records[index].file_name, sets[other].records[partner].file_name
    exact = distance < 0
    how = "has the same pixels as" if exact else f"looks almost the same ({distance} of 256 hash bits differ) as"
    where = f"{twin} in {other}" if other != name else twin
    remedy = ", so the test result would be untrue" if across and exact else ""
    severity: Literal["error", "warning"] = "error" if across and exact else "warning"
    kind = "duplicate" if exact else "near-duplicate"
    return Finding(severity, kind, name, image, f"{image} {how} {where}{remedy}", other, twin)


def _leaks(sets: Mapping[str, Images], test_sets: Collection[str]) -> Iterator[Finding]:
    def groups(records: Sequence[ImageRecord]) -> Counter[str]:
        return Counter(record.group for record in records)

    for test in (name for name in sets if name in test_sets):
        for other in (name for name in sets if name not in test_sets):
            tested, trained = groups(sets[test].records), groups(sets[other].records)
            for group in sorted(tested.keys() & trained.keys()):
                sentence = (
                    f"group {group} is in {test} ({tested[group]} images) and in {other} ({trained[group]}), "
                    "so the test result would be too good"
                )
                yield Finding("error", "leak", test, "", sentence, other)
