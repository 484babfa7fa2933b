"""Which objects of a bucket a mirror takes, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from aerodet.errors import DataError, UserError
from aerodet.files import is_image
from aerodet.storage.mirror._source import Item

__all__ = ["Choice", "is_archive", "select"]

_ANNOTATIONS = (".json", ".geojson", ".csv", ".txt", ".md", ".yaml", ".yml")
_ARCHIVES = (".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is wanted of a bucket.

    Args:
        include: patterns of keys, as a shell has them (``*`` takes slashes too); everything when empty.
        exclude: patterns of keys that are left out.
        sample: number of images, drawn by seed, with their masks, labels and side files; all when None. What belongs to
            no image, such as annotations for the whole set, is always taken.
        seed: of the draw; the same keys and seed give the same images.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    sample: int | None = None
    seed: int = 0


def is_archive(key: str) -> bool:
    """Say whether a key is named like a tar file."""
    return key.lower().endswith(_ARCHIVES)


def select(items: Sequence[Item], choice: Choice) -> list[Item]:
    """Return the wanted objects: annotations first, then labels, archives, and images; by key within each.

    Raises:
        DataError: nothing is left.
        UserError: the sample is under 1.
    """
    if choice.sample is not None and choice.sample < 1:
        raise UserError(f"a sample holds at least 1 image, not {choice.sample}")
    wanted = [
        item
        for item in items
        if (not choice.include or any(fnmatchcase(item.key, pattern) for pattern in choice.include))
        and not any(fnmatchcase(item.key, pattern) for pattern in choice.exclude)
    ]
    if choice.sample is not None:
        wanted = _sample(wanted, choice.sample, choice.seed)
    if not wanted:
        raise DataError(f"none of the {len(items)} objects is wanted; check the patterns")
    return sorted(wanted, key=lambda item: (_rank(item.key), item.key))


def _sample(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    import numpy as np  # a tenth of a second, which a mirror of everything need not wait

    images = sorted(item.key for item in items if is_image(PurePosixPath(item.key)) and not _is_mask(item.key))
    drawn = np.random.default_rng(seed).permutation(len(images))[:count]
    stems = {_stem(key) for key in images}
    taken = {_stem(images[number]) for number in drawn}
    return [item for item in items if (stem := _stem(item.key)) in taken or stem not in stems]


def _stem(key: str) -> str:
    """Return what an image's file has in common with its mask, its labels and its side file."""
    name = key.rpartition("/")[2]
    for ending in (".aux.xml", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".xml", ".geojson", ".txt", ".json", "_mask"):
        name = name.removesuffix(ending)
    return name


def _is_mask(key: str) -> bool:
    return PurePosixPath(key).stem.endswith("_mask")


def _rank(key: str) -> int:
    path = PurePosixPath(key.lower())
    if path.suffix in _ANNOTATIONS:
        return 0
    if is_image(path):
        return 3
    return 2 if is_archive(path.name) else 1
