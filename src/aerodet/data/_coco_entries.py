"""The images and categories of a COCO file: which image is which, which category is which class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerodet.data._boxes import Policy
from aerodet.data._coco_file import CocoFile, canonical, short
from aerodet.data._coco_report import CocoReport
from aerodet.data._layout import ImageFinder
from aerodet.data.pixels import image_size
from aerodet.errors import DataError

__all__ = ["Classes", "ImageList", "attribute_text", "list_images", "match_classes"]

_LARGEST = 1 << 20  # pixels of a side; no frame is a thousand times as wide


@dataclass(frozen=True, slots=True)
class ImageList:
    """The images that are read.

    Args:
        entries: their entries in the file's order.
        paths: where each lies.
        sizes: width and height of each, pixels.
        by_id: place in ``entries`` of each canonical id.
    """

    entries: list[Mapping[str, Any]]
    paths: list[Path]
    sizes: list[tuple[int, int]]
    by_id: dict[int | str, int]

    def place(self, image_id: Any) -> int:
        """Return the place of an annotation's image, -1 for none."""
        key = canonical(image_id)
        return self.by_id.get(key, -1) if key is not None else -1


@dataclass(frozen=True, slots=True)
class Classes:
    """Which annotation belongs to which class.

    Args:
        names: class names, lower-case.
        labels: label of each category that was asked for; a category is known by its canonical id, or by the value of
            the attribute that classes come from.
        others: name of each category beside them.
        assumed: annotations without a category are of the only class.
    """

    names: tuple[str, ...]
    labels: Mapping[Hashable, int]
    others: Mapping[Hashable, str]
    assumed: bool


def list_images(file: CocoFile, finder: ImageFinder, policy: Policy, report: CocoReport) -> ImageList:
    """Find the images of a file and settle which entry is which image.

    Raises:
        DataError: with ``fail``, the first entry that is not in order; with any policy, that no image was found.
    """
    ids, entries = _unique_entries(file, policy, report)
    paths = finder.paths([entry["file_name"] for entry in entries], fix=policy == "fix", fail=policy == "fail")
    lost: Counter[str] = Counter(report.lost_images)
    kept: list[Mapping[str, Any]] = []
    places: dict[int, int] = {}
    for number, (entry, path) in enumerate(zip(entries, paths, strict=True)):
        if path is None:
            lost["missing"] += 1
            continue
        if path.name != entry["file_name"].rpartition("/")[2]:
            report.renamed += 1
            parent, slash, _ = entry["file_name"].rpartition("/")
            entry = {**entry, "file_name": f"{parent}{slash}{path.name}"}  # noqa: PLW2901
        places[number] = len(kept)
        kept.append(entry)
    if not kept:
        raise DataError(finder.no_images(entries[0]["file_name"] if entries else ""))
    report.lost_images = {reason: count for reason, count in lost.items() if count}
    found = [path for path in paths if path is not None]
    by_id = {key: places[number] for key, number in ids.items() if number in places}
    sizes = [_size(entry, path, report) for entry, path in zip(kept, found, strict=True)]
    report.images = len(kept)
    return ImageList(kept, found, sizes, by_id)


def _unique_entries(
    file: CocoFile, policy: Policy, report: CocoReport
) -> tuple[dict[int | str, int], list[Mapping[str, Any]]]:
    """Return the number of each id's entry, and the entries, each image once."""
    ids: dict[int | str, int] = {}
    names: dict[str, int] = {}
    entries: list[Mapping[str, Any]] = []
    ambiguous: set[int | str] = set()
    lost: Counter[str] = Counter()
    for entry in file.images:
        key, name = canonical(entry.get("id")), entry.get("file_name")
        if key is None or not _is_name(name):
            _refuse(policy, f"{file.path}: an image entry has no id or no file_name ({short(entry)}); complete it")
            lost["incomplete"] += 1
        elif key in ids and entries[ids[key]]["file_name"] != name:
            first = entries[ids[key]]["file_name"]
            _refuse(policy, f"{file.path}: image id {key} is used twice, by {first} and {name}; renumber one")
            ambiguous.add(key)
            lost["ambiguous"] += 1
        elif name in names:
            first_id = entries[names[name]]["id"]
            _refuse(
                policy, f"{file.path}: image {name} is listed twice, as {first_id} and {key}; merge the two entries"
            )
            if policy == "fix":
                ids[key] = names[name]
            report.merged_images += 1
        else:
            ids[key] = names[str(name)] = len(entries)
            entries.append(entry)
    return _without(ids, entries, ambiguous, lost, report)


def _without(
    ids: dict[int | str, int],
    entries: list[Mapping[str, Any]],
    ambiguous: set[int | str],
    lost: Counter[str],
    report: CocoReport,
) -> tuple[dict[int | str, int], list[Mapping[str, Any]]]:
    """Take out the images whose id another image has too: their boxes may be of either."""
    gone = {ids[key] for key in ambiguous}
    lost["ambiguous"] += len(gone)
    report.lost_images = dict(lost)
    if not gone:
        return ids, entries
    places = {
        number: place for place, number in enumerate(number for number in range(len(entries)) if number not in gone)
    }
    kept = {key: places[number] for key, number in ids.items() if number in places}
    return kept, [entries[number] for number in places]


def _size(entry: Mapping[str, Any], path: Path, report: CocoReport) -> tuple[int, int]:
    """Return the stated width and height of an image, measured where they are none."""
    width, height = entry.get("width"), entry.get("height")
    if _is_side(width) and _is_side(height):
        return int(width), int(height)  # type: ignore[arg-type]
    report.measured += 1
    return image_size(path)


def _is_side(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= _LARGEST


def _is_name(value: Any) -> bool:
    """Say whether a file name can be one: text with a last part, which a file system and a message can hold."""
    if not isinstance(value, str) or "\0" in value or value.rpartition("/")[2] in ("", ".", ".."):
        return False
    return value.isprintable() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _refuse(policy: Policy, sentence: str) -> None:
    if policy == "fail":
        raise DataError(f"{sentence}, or pass --set data.on_bad_entry=fix")


def match_classes(file: CocoFile, wanted: Sequence[str], policy: Policy) -> Classes:
    """Match the categories of a file, or the values of an attribute, with the classes that are wanted.

    Args:
        file: the COCO file.
        wanted: names as the file spells them; ``"plane:aircraft"`` reads ``plane`` as class ``aircraft``.
        policy: what happens to annotations without a category.

    Raises:
        DataError: a class is not in the file, or the file leaves categories out and the policy is ``fail``.
    """
    spelt: dict[str, str] = {}
    for entry in wanted:
        source, _, name = entry.rpartition(":")
        spelt[source or name] = name.lower()
    names = tuple(dict.fromkeys(spelt.values()))
    attribute = file.attribute
    assumed = policy == "fix" and attribute is None and len(names) == 1
    unmarked = attribute is None and all(annotation.category_id is None for annotation in file.annotations)
    if unmarked and not assumed:
        raise DataError(
            f"{file.path}: {file.called(0)} has no category (category_id null, as in RarePlanes' *_tiled.json); use "
            "instances_train_aircraft.json or instances_test_aircraft.json instead, or read all boxes as one class: "
            "--set data.on_bad_entry=fix"
        )
    known: list[tuple[Hashable, str]]
    if attribute is None:
        known = [(canonical(entry.get("id")), str(entry.get("name"))) for entry in file.categories]
    else:
        texts = dict.fromkeys(attribute_text(file.category(annotation)) for annotation in file.annotations)
        known = [(text, text) for text in texts if text is not None]
    present = [name for _, name in known]
    for name in names:
        sources = [source for source, target in spelt.items() if target == name]
        if not unmarked and not any(source in present for source in sources):
            raise DataError(_missing(file.path, name, sources, present, attribute))
    labels = {key: names.index(spelt[name]) for key, name in known if key is not None and name in spelt}
    others = {key: name for key, name in known if key is not None and name not in spelt}
    return Classes(names, labels, others, assumed)


def attribute_text(value: Any) -> str | None:
    """Return an attribute's value as the name of a category; None for what is no value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else f"{value:g}"
    if isinstance(value, int):
        return str(value)
    return value or None if isinstance(value, str) else None


def _missing(path: Path, name: str, sources: list[str], present: list[str], attribute: str | None) -> str:
    what = f"value of {attribute!r}" if attribute else "category"
    if not present:
        return f"{path} has no {what} at all; give a file that has one, or read classes from another field"
    alike = [other for other in present if other.lower() in {source.lower() for source in sources}]
    other = (alike or present)[0]
    suggestion = other if other == name else f"{other}:{name}"
    unique = list(dict.fromkeys(present))
    listed = ", ".join(repr(other) for other in unique[:8]) + (f" and {len(unique) - 8} more" if unique[8:] else "")
    says = f"spells {what} {sources[0]!r} as {alike[0]!r}" if alike else f"has no {what} {sources[0]!r}, only {listed}"
    remedy = f"--set data.classes={suggestion} in a run, --class {suggestion} elsewhere"
    return f"{path} {says}; name the category that holds it, for example {remedy}"
