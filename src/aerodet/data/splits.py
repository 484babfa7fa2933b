"""Splits of a data set by a fraction of its images that keep places together, or by whole frames."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerodet.data.records import ImageRecord
from aerodet.errors import DataError

__all__ = ["Split", "frame_of", "split_by_fraction", "split_by_frames"]


@dataclass(frozen=True, slots=True)
class Split:
    """Two parts of a data set, as indices in their original order; unpacks as ``taken, rest``.

    Args:
        taken: the part asked for.
        rest: everything else.
        asked: the fraction asked for.
        groups_taken: number of groups with an image in ``taken``.
        groups: number of groups in all.
        boxes_taken: boxes in ``taken``.
        boxes: boxes in all.
    """

    taken: list[int]
    rest: list[int]
    asked: float
    groups_taken: int
    groups: int
    boxes_taken: int
    boxes: int

    def __iter__(self) -> Iterator[list[int]]:
        return iter((self.taken, self.rest))

    @property
    def fraction(self) -> float:
        """The fraction reached, by images."""
        return len(self.taken) / (len(self.taken) + len(self.rest))

    def share_of_mix(self, others: int) -> float:
        """Return which part of a mix with ``others`` further images the taken ones are.

        "10 % real" can mean 10 % of the real images or of the mix, so reports state both.
        """
        return len(self.taken) / (len(self.taken) + others)

    def to_dict(self) -> dict[str, Any]:
        """Return the sizes as JSON values, without the indices."""
        return {
            "asked": self.asked,
            "image_fraction": self.fraction,
            "box_fraction": self.boxes_taken / self.boxes if self.boxes else 0.0,
            "images_taken": len(self.taken),
            "images": len(self.taken) + len(self.rest),
            "boxes_taken": self.boxes_taken,
            "boxes": self.boxes,
            "groups_taken": self.groups_taken,
            "groups": self.groups,
        }


def split_by_fraction(
    records: Sequence[ImageRecord], fraction: float, seed: int, *, within_groups: bool = False
) -> Split:
    """Take a fraction of a data set, whole groups at a time.

    Groups are drawn in a seeded order and taken while that brings the number of images nearer to the fraction; each
    side has at least one group. With a fraction of 1 everything is taken.

    Args:
        records: the data set.
        fraction: of the images to take, over 0 and at most 1.
        seed: of the draw; the same seed gives the same split.
        within_groups: take the fraction of each group's images instead, as RarePlanes' "10 % per location";
            neighbouring tiles then end on both sides, so such a split serves fine-tuning, never testing. With one seed
            a larger fraction holds all that a smaller one does.

    Returns:
        The split.

    Raises:
        DataError: the fraction is out of range, or there are too few groups or images to split.
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction {fraction} must be over 0 and at most 1; 0.1 takes a tenth of the images")
    if not records:
        raise DataError("there are no images to split; give a data set that has some")
    groups: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(record.group, []).append(index)
    generator = np.random.default_rng(seed)
    if fraction == 1:
        taken = list(range(len(records)))
    elif within_groups:
        taken = _take_within(list(groups.values()), fraction, generator)
    else:
        taken = _take_groups(groups, fraction, generator)
    return _split(records, taken, fraction)


def split_by_frames(records: Sequence[ImageRecord], count: int, seed: int) -> Split:
    """Take whole frames: every tile of so many frames, as one who labels frame by frame would.

    Frames are drawn in a seeded order from those that show an object; more frames hold all that fewer do.

    Args:
        records: the data set.
        count: of frames, at least 1.
        seed: of the draw.

    Returns:
        The split; ``asked`` is the share of the frames.

    Raises:
        DataError: fewer frames show an object.
    """
    frames: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        frames.setdefault(frame_of(record), []).append(index)
    labelled = [members for members in frames.values() if any(len(records[index].boxes) for index in members)]
    if not 1 <= count <= len(labelled):
        raise DataError(
            f"{count} frames cannot be taken: {len(labelled)} of {len(frames)} frames show an object; ask for 1 to "
            f"{len(labelled)}"
        )
    order = np.random.default_rng(seed).permutation(len(labelled))[:count]
    return _split(records, [index for frame in order for index in labelled[frame]], count / len(frames))


def frame_of(record: ImageRecord) -> str:
    """Return the name of the frame that a tile was cut from; what was not cut is a frame itself."""
    return str(record.attributes["scene"]) if "tile_x" in record.attributes else record.file_name


def _split(records: Sequence[ImageRecord], taken: list[int], asked: float) -> Split:
    chosen = set(taken)
    return Split(
        taken=sorted(taken),
        rest=[index for index in range(len(records)) if index not in chosen],
        asked=asked,
        groups_taken=len({records[index].group for index in taken}),
        groups=len({record.group for record in records}),
        boxes_taken=sum(len(records[index].boxes) for index in taken),
        boxes=sum(len(record.boxes) for record in records),
    )


def _take_groups(groups: dict[str, list[int]], fraction: float, generator: np.random.Generator) -> list[int]:
    if len(groups) == 1:
        name, only = next(iter(groups.items()))
        raise DataError(
            f"all {len(only)} images belong to group {name!r}, so a fraction of {fraction} cannot be taken "
            "without splitting it; give each place its own group, or split within groups (within_groups)"
        )
    members = list(groups.values())
    order = [members[i] for i in generator.permutation(len(members))]
    target = fraction * sum(map(len, members))
    taken: list[list[int]] = []
    total = 0
    for group in order:
        if len(taken) < len(order) - 1 and abs(total + len(group) - target) < abs(total - target):
            taken.append(group)
            total += len(group)
    if not taken:  # each group overshoots by more than the target itself
        taken = [min(order, key=len)]
    return [index for group in taken for index in group]


def _take_within(members: list[list[int]], fraction: float, generator: np.random.Generator) -> list[int]:
    """Take from each group its share, to within one image, and so that a larger total only adds to a smaller one."""
    count = sum(map(len, members))
    if count == 1:
        raise DataError(
            f"one image alone cannot be split by a fraction of {fraction}; give more images or a fraction of 1"
        )
    total = min(max(1, round(fraction * count)), count - 1)
    ties = generator.permutation(len(members)).tolist()
    queues = [generator.permutation(group).tolist() for group in members]
    return [queues[group].pop(0) for group in itertools.islice(_turns([*map(len, members)], ties), total)]


def _turns(sizes: Sequence[int], ties: Sequence[int]) -> Iterator[int]:
    """Yield whose turn it is, such that after t turns a group of n has had t * n / sum(sizes) of them, to within one.

    The k-th turn of a group comes after (k - 1) * sum / n turns in all and by k * sum / n; the nearest deadline first
    keeps all of them (R. Tijdeman, The chairman assignment problem, 1980).
    """
    count = sum(sizes)
    waiting = [(0, group, 1) for group in range(len(sizes))]  # released after so many turns
    ready: list[tuple[int, int, int, int]] = []
    for turn in range(count):
        while waiting and waiting[0][0] <= turn:
            _, group, k = heapq.heappop(waiting)
            heapq.heappush(ready, (-(-k * count // sizes[group]), ties[group], group, k))
        _, _, group, k = heapq.heappop(ready)
        if k < sizes[group]:
            heapq.heappush(waiting, (k * count // sizes[group], group, k + 1))
        yield group
