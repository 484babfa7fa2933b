"""The gap between real and synthetic images as the pages take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerodet.files import read_json

__all__ = ["SETS", "Crop", "GapData", "read_gap", "write_crops"]

SETS = ("real", "synthetic")


@dataclass(frozen=True, slots=True)
class Crop:
    """A part of an image with an aircraft in its middle, pixel by pixel.

    Attributes:
        file_name: the image's.
        jpeg: the encoded picture.
    """

    file_name: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class GapData:
    """What the section shows.

    Attributes:
        gap: :meth:`aerodet.gap.Gap.to_dict`.
        crops: pictures by set.
    """

    gap: Mapping[str, Any]
    crops: Mapping[str, Sequence[Crop]]


def write_crops(crops: Mapping[str, Sequence[Crop]], folder: Path) -> dict[str, list[dict[str, str]]]:
    """Write pictures into a folder; returns their entry of ``gap.json``."""
    entries: dict[str, list[dict[str, str]]] = {}
    for name, pictures in crops.items():
        for number, crop in enumerate(pictures):
            file = f"{name}-{number}.jpg"
            (folder / file).write_bytes(crop.jpeg)
            entries.setdefault(name, []).append({"file": file, "image": crop.file_name})
    return entries


def read_gap(folder: Path) -> GapData:
    """Read what the stage wrote."""
    gap = read_json(folder / "gap.json")
    pictures = gap.pop("pictures")
    crops = {
        name: [Crop(e["image"], (folder / e["file"]).read_bytes()) for e in pictures.get(name, ())] for name in SETS
    }
    return GapData(gap, crops)
