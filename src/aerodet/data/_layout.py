"""Where a data set keeps its annotations and its images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from aerodet.errors import DataError
from aerodet.files import is_image, read_json

_PLAIN_NAMES = ("annotations.json", "_annotations.coco.json")
_ANNOTATION_FOLDERS = ("annotations", "metadata_annotations")  # COCO's name and RarePlanes'
_SPLIT_IN_NAME = re.compile(r"instances_([a-z]+)")


def find_coco(folder: Path | str, split: str | None = None) -> Path:
    """Find the COCO file of a data set's folder.

    Looked for, in this order, in the folder, ``annotations/`` and ``metadata_annotations/``:
    ``instances_{split}_aircraft.json`` (as RarePlanes names it), any ``instances_{split}*.json``, ``annotations.json``,
    ``_annotations.coco.json`` (as Roboflow names it), and any single COCO file. With a split its own subfolder
    comes first.

    Args:
        folder: the data set's folder.
        split: ``train``, ``test``...; needed only where the folder holds several.

    Returns:
        The path of the COCO file.

    Raises:
        DataError: the folder is missing, holds no COCO file, or holds several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder that holds the images and their COCO file")
    places = [folder, *(folder / name for name in _ANNOTATION_FOLDERS)]
    if split:
        places.insert(0, folder / split)
    for pattern in (f"instances_{split or '*'}_aircraft.json", f"instances_{split or ''}*.json"):
        found = [path for place in places for path in sorted(place.glob(pattern))]
        if found:
            return _only(found, folder)
    plain = [place / name for place in places for name in _PLAIN_NAMES if (place / name).is_file()]
    if plain:
        return plain[0]
    others = [
        path for place in places for path in sorted(place.glob("*.json")) if not path.name.startswith("instances_")
    ]
    if len(others) > 1:
        others = [path for path in others if _looks_like_coco(path)]
    if others:
        return _only(others, folder)
    wanted = f"instances_{split}_aircraft.json" if split else "instances_train_aircraft.json or annotations.json"
    raise DataError(f"{folder} holds no COCO file; put one there, named {wanted}, or name the file itself")


def published_split(folder: Path | str, part: str) -> str | None:
    """Return which published split of a folder a part is: RarePlanes comes as ``train`` and ``test``.

    Args:
        folder: the data set's folder.
        part: ``train``, ``test`` or ``all``; ``all`` of a folder with both is its ``train``, as no test image is
            trained on.

    Returns:
        The split, or None where the folder does not come as ``train`` and ``test``.
    """
    folder = Path(folder)
    places = [folder, *(folder / name for name in _ANNOTATION_FOLDERS)]
    both = all(any(any(place.glob(f"instances_{side}*.json")) for place in places) for side in ("train", "test"))
    return ("test" if part == "test" else "train") if both else None


class ImageFinder:
    """Finds the image files that a COCO file names. Folders are listed once, not asked for every name.

    Args:
        document: the COCO file.
        folder: where the images lie; found beside the COCO file when None.
        split: a subfolder that may hold them.
    """

    def __init__(self, document: Path, folder: Path | str | None = None, split: str | None = None) -> None:
        self._document = document
        self._places = [Path(folder)] if folder is not None else list(_image_places(document, split))
        self._roots = [str(place) for place in self._places]
        self._listings: dict[str, frozenset[str]] = {}
        self._by_stem: dict[Path, dict[str, str]] = {}

    def paths(self, names: Sequence[str], *, fix: bool = False, fail: bool = True) -> list[Path | None]:
        """Return where each image lies.

        Args:
            names: ``file_name`` of each image.
            fix: a name that is none of an image stands for the image with its stem: ``a.xml`` and ``a.png.aux.xml``
                for ``a.png``.
            fail: refuse names without a file; otherwise their place holds None.

        Raises:
            DataError: an image is missing and ``fail`` is set.
        """
        found = [self._find(name) or (self._sibling(name) if fix else None) for name in names]
        missing = [name for name, path in zip(names, found, strict=True) if path is None]
        if missing and fail:
            raise DataError(self._missing(missing, len(names)))
        return found

    def no_images(self, name: str) -> str:
        """Return a sentence for images of which none was found, ``name`` being the first."""
        return self._missing([name], 1)

    def _missing(self, missing: list[str], count: int) -> str:
        looked = " and ".join(str(place) for place in self._places)
        document = self._document
        if len(missing) == count and not any(
            is_image(path) for place in self._places if place.is_dir() for path in place.iterdir()
        ):
            return f"there are no images for {document} (looked in {looked}); put them there or name their folder"
        if self._sibling(missing[0]):
            return (
                f"image {missing[0]}, named in {document}, is no image, but {self._sibling(missing[0])} lies beside "
                f"it ({len(missing)} of {count} are missing); pass --set data.on_bad_entry=fix to read such images"
            )
        return (
            f"image {missing[0]}, named in {document}, is missing ({len(missing)} of {count} are; looked in {looked}"
            "); put it there, take it out of the file, or pass --set data.on_bad_entry=drop to leave such images out"
        )

    def _find(self, name: str) -> Path | None:
        if name.lower().endswith(".xml"):
            return None
        # A name with folders may be relative to the COCO file or to a folder that has been flattened.
        parts = (name,) if "/" not in name else (name, name.rpartition("/")[2])
        for place in self._roots:
            for part in parts:
                parent, _, last = (part if part.startswith("/") else f"{place}/{part}").rpartition("/")
                if last in self._listing(parent):
                    return Path(parent, last)
        return None

    def _sibling(self, name: str) -> Path | None:
        stem = PurePosixPath(name).name.removesuffix(".aux.xml")
        if is_image(PurePosixPath(stem)):
            return self._find(stem)
        stem = PurePosixPath(stem).stem
        return next((place / by[stem] for place in self._places if stem in (by := self._stems(place))), None)

    def _listing(self, folder: str) -> frozenset[str]:
        """Return the names of a folder's files; none where there is no such folder."""
        if folder not in self._listings:
            try:
                with os.scandir(folder or "/") as entries:
                    self._listings[folder] = frozenset(entry.name for entry in entries if entry.is_file())
            except (OSError, ValueError):  # no such folder, or a name that none can have
                self._listings[folder] = frozenset()
        return self._listings[folder]

    def _stems(self, place: Path) -> dict[str, str]:
        """Return the names of the images in a folder by their stems."""
        if place not in self._by_stem:
            images = (name for name in sorted(self._listing(str(place))) if is_image(PurePosixPath(name)))
            self._by_stem[place] = {PurePosixPath(name).stem: name for name in images}
        return self._by_stem[place]


def _image_places(document: Path, split: str | None) -> Iterator[Path]:
    bases = [document.parent]
    if document.parent.name in _ANNOTATION_FOLDERS:
        bases.append(document.parent.parent)
    named = _SPLIT_IN_NAME.match(document.name)
    split = split or (named[1] if named else None)
    parts = ["", "images"]
    if split:
        parts += [split, f"{split}/images", f"images/{split}", f"{split}2017"]
        parts += [f"{split}/PS-RGB_tiled", f"tarballs/{split}/PS-RGB_tiled"]  # RarePlanes, as files and unpacked
    yield from (base / part for base in bases for part in parts if (base / part).is_dir())


def _only(found: list[Path], folder: Path) -> Path:
    found = list(dict.fromkeys(found))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds several COCO files ({names}); give the file to use, or its split")
    return found[0]


def _looks_like_coco(path: Path) -> bool:
    try:
        value: Any = read_json(path)
    except ValueError:
        return False
    return isinstance(value, dict) and "images" in value and "annotations" in value
