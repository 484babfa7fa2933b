"""Where a data set keeps its annotations and its images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aerodet.data.pixels import is_image
from aerodet.errors import DataError
from aerodet.files import read_json

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


def find_images(document: Path, names: Sequence[str], folder: Path | str | None, split: str | None) -> list[Path]:
    """Find the image file of each name.

    Args:
        document: the COCO file that names them.
        names: ``file_name`` of each image.
        folder: where the images lie; found beside the COCO file when None.
        split: a subfolder that may hold them.

    Returns:
        One path a name.

    Raises:
        DataError: there are no images, or some are missing.
    """
    places = [Path(folder)] if folder is not None else list(_image_places(document, split))
    paths: list[Path] = []
    missing: list[str] = []
    for name in names:
        # A name with folders may be relative to the COCO file or to a folder that has been flattened.
        candidates = [place / part for place in places for part in dict.fromkeys((name, Path(name).name))]
        path = next((c for c in candidates if c.is_file()), None)
        if path is None:
            missing.append(name)
        else:
            paths.append(path)
    if not missing:
        return paths
    looked = " and ".join(str(place) for place in places)
    if not paths and not any(is_image(path) for place in places for path in place.iterdir()):
        raise DataError(f"there are no images for {document} (looked in {looked}); put them there or name their folder")
    raise DataError(
        f"image {missing[0]}, named in {document}, is missing ({len(missing)} of {len(names)} are; looked in {looked}"
        "); put it there or take it out of the file"
    )


def _image_places(document: Path, split: str | None) -> Iterator[Path]:
    bases = [document.parent]
    if document.parent.name in _ANNOTATION_FOLDERS:
        bases.append(document.parent.parent)
    named = _SPLIT_IN_NAME.match(document.name)
    split = split or (named[1] if named else None)
    parts = ["", "images"]
    if split:
        parts += [split, f"{split}/images", f"images/{split}", f"{split}/PS-RGB_tiled", f"{split}2017"]
    yield from (base / part for base in bases for part in parts if (base / part).is_dir())


def _only(found: list[Path], folder: Path) -> Path:
    found = list(dict.fromkeys(found))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{folder} holds several COCO files ({names}); name the one to use, or its split")
    return found[0]


def _looks_like_coco(path: Path) -> bool:
    try:
        value: Any = read_json(path)
    except ValueError:
        return False
    return isinstance(value, dict) and "images" in value and "annotations" in value
