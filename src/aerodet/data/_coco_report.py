"""What reading a COCO file found and changed: boxes in are boxes out and boxes reported."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["CocoReport"]


@dataclass(slots=True)
class CocoReport:
    """What reading a COCO file found and changed.

    Args:
        file: the COCO file.
        annotations: annotations in the file.
        images: images read.
        boxes: boxes kept.
        empty_images: images without a box.
        rounded: boxes that reached past their frame by at most one pixel and were clipped.
        clipped: boxes that reached further past their frame and were clipped (``on_bad_box="fix"``).
        outlined: boxes that the file lacks, taken from the bounds of their polygon (``on_bad_box="fix"``).
        dropped: boxes that were left out: nothing inside the frame, no size, or ``on_bad_box="drop"``.
        slivers: boxes that became regions to ignore because a side is under ``min_side``.
        duplicates: boxes of an object that another box of its class labels already (IoU 0.5 or more).
        duplicates_merged: they were left out (``duplicates="merge"``).
        crowds: annotations of whole crowds, of any category: they bound no single object, and their regions are
            neither object nor background.
        other_categories: annotations left out by the name of their category, which was not asked for.
        assumed: annotations without a category, read as the one class asked for (``on_bad_entry="fix"``).
        uncategorised: annotations left out because they have no category, or one that the file does not define.
        strays: annotations left out because the file lists no such image, or it was left out.
        renamed: images whose entry names another file, such as the ``.xml`` of their labels.
        merged_images: entries that list an image a second time; with ``fix`` their boxes go to the first.
        lost_images: images left out by reason: ``missing``, ``ambiguous`` or ``incomplete``.
        polygon_areas: boxes whose ``area`` is not theirs but their polygon's; sizes go by the boxes.
        renumbered: the image ids were not integers and have been replaced by 1, 2, 3...
        measured: images whose size the file does not state.
        unstated: fields of images that hold no JSON value (NaN) and were emptied.
    """

    file: str
    annotations: int = 0
    images: int = 0
    boxes: int = 0
    empty_images: int = 0
    rounded: int = 0
    clipped: int = 0
    outlined: int = 0
    dropped: int = 0
    slivers: int = 0
    duplicates: int = 0
    duplicates_merged: bool = False
    crowds: int = 0
    other_categories: dict[str, int] = field(default_factory=dict)
    assumed: int = 0
    uncategorised: int = 0
    strays: int = 0
    renamed: int = 0
    merged_images: int = 0
    lost_images: dict[str, int] = field(default_factory=dict)
    polygon_areas: int = 0
    renumbered: bool = False
    measured: int = 0
    unstated: int = 0

    @property
    def left_out(self) -> int:
        """The annotations that became no box, each counted under one reason."""
        merged = self.duplicates if self.duplicates_merged else 0
        alone = self.dropped + self.slivers + self.crowds + self.uncategorised + self.strays
        return alone + merged + sum(self.other_categories.values())

    @property
    def broken(self) -> int:
        """What ``on_bad_box="fail"`` and ``on_bad_entry="fail"`` refuse."""
        boxes = self.clipped + self.outlined + self.dropped
        entries = self.assumed + self.uncategorised + self.strays + self.renamed + self.merged_images
        return boxes + entries + sum(self.lost_images.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def sentences(self) -> list[str]:
        """Return what a person should know, one sentence each; empty for a clean file."""
        counted = {
            f"{self.rounded} boxes past their frame by at most 1 px were clipped": self.rounded,
            f"{self.clipped} boxes past their frame were clipped to it": self.clipped,
            f"{self.outlined} boxes were taken from their polygons": self.outlined,
            f"{self.dropped} broken boxes were dropped": self.dropped,
            f"{self.slivers} boxes with too short a side became regions to ignore": self.slivers,
            f"{self.duplicates} boxes label an object a second time and were "
            + ("left out" if self.duplicates_merged else "kept"): self.duplicates,
            f"{self.crowds} crowd annotations are neither objects nor background": self.crowds,
            f"{self.assumed} boxes without a category were read as the one class": self.assumed,
            f"{self.uncategorised} boxes without a category that the file defines were left out": self.uncategorised,
            f"{self.strays} boxes of images that the file does not list or that were left out are left out too": (
                self.strays
            ),
            f"{self.renamed} images were found under another name than the file gives": self.renamed,
            f"{self.merged_images} images that are listed twice were read once": self.merged_images,
            f"{self.polygon_areas} boxes state the area of their polygon; sizes go by the boxes": self.polygon_areas,
            f"{self.measured} images state no size and were measured": self.measured,
            f"{self.unstated} fields of images hold no value and were emptied": self.unstated,
            "image ids are not integers and were replaced by 1, 2, 3...": int(self.renumbered),
        }
        reasons = {
            "missing": "whose file is missing",
            "ambiguous": "that share an id with another image",
            "incomplete": "without an id or a file name",
        }
        lost = [f"{n} images {reasons[reason]} were left out" for reason, n in self.lost_images.items()]
        others = [f"{n} boxes of category {name!r} were left out" for name, n in self.other_categories.items()]
        return [sentence for sentence, count in counted.items() if count] + lost + others
