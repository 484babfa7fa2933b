"""What can be checked before a run starts: the folders that it names, and that their data can be split and sampled."""

from __future__ import annotations

from pathlib import Path

from aerodet.data import Split, read_coco, split_by_fraction
from aerodet.errors import DataError
from aerodet.pipelines.profiles import Profile

__all__ = ["check"]


def check(profile: Profile) -> None:
    """Check a profile's sources; pixels are read by the stages, not here.

    Raises:
        DataError: a folder cannot be used as it is; the sentence says what to do.
    """
    data = profile.data
    for name in ("real", "synthetic", "test"):
        source = getattr(data, name)
        if not source:
            continue
        if not Path(source).is_dir():
            raise DataError(f"--{name} {source} is not a folder; give a folder with images and a COCO file")
        coco = read_coco(Path(source), classes=data.classes or profile.classes, on_bad_box=data.on_bad_box)
        if name == "real" and not data.test:
            _check_split(split_by_fraction(coco.records, data.test_fraction, profile.seed), source)


def _check_split(split: Split, source: str) -> None:
    if not split.boxes_taken or split.boxes_taken == split.boxes:
        raise DataError(f"{source}: one side of the test split has no boxes; set data.test_fraction or give --test")
