"""Jobs: scenes rendered into an image set, in parts, so that a job that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from aerodet.data import ImageRecord, ImageSetWriter, encode_mask, gather_image_sets
from aerodet.errors import SpecError
from aerodet.progress import progress
from aerodet.synth.scenes import CLASSES, Scene, SceneSettings, render_scenes

__all__ = ["render_set"]

_PART = 250  # scenes


def render_set(
    folder: Path,
    settings: SceneSettings,
    count: int,
    seed: int,
    *,
    first: int = 0,
    workers: int | None = None,
    suffix: str = ".png",
    continued: bool = False,
) -> None:
    """Render scenes into an image set: boxes, RLE masks, visible fractions, RarePlanes' attributes.

    Args:
        folder: receives the image set.
        settings: what to render.
        count: scenes.
        seed: names the world.
        first: number of the first scene: jobs of other numbers can be gathered into one set.
        workers: processes.
        suffix: ``.png`` or ``.jpg``.
        continued: keep finished parts beside ``folder`` until the set is whole, and use what an earlier job left there.

    Raises:
        SpecError: ``count`` or ``first`` is out of range.
        MachineError: the disk is full; with ``continued`` the finished parts stay.
    """
    if count < 1 or first < 0:
        raise SpecError(f"count={count} first={first}: give at least 1 scene and a first number of 0 or more")
    with progress(f"rendering {settings.look.name} scenes", count) as bar:
        if not continued:
            _render(folder, settings, range(first, first + count), seed, workers, suffix, bar.advance)
            return
        key = hashlib.sha256(f"{settings!r} {seed} {suffix}".encode()).hexdigest()[:16]
        place = folder.with_name(f".{folder.name}.parts") / key
        parts: list[Path] = []
        for start in range(first, first + count, _PART):
            numbers = range(start, min(start + _PART, first + count))
            part = place / f"{numbers.start:07d}-{numbers.stop:07d}"
            if part.is_dir():
                bar.advance(len(numbers))
            else:
                _render(part, settings, numbers, seed, workers, suffix, bar.advance)
            parts.append(part)
    gather_image_sets(parts, folder)
    shutil.rmtree(place.parent)


def _render(
    folder: Path,
    settings: SceneSettings,
    numbers: range,
    seed: int,
    workers: int | None,
    suffix: str,
    advance: Callable[[], None],
) -> None:
    with (
        ImageSetWriter(folder, CLASSES) as writer,
        closing(render_scenes(settings, len(numbers), seed, workers, first=numbers.start)) as scenes,
    ):
        for number, scene in zip(numbers, scenes, strict=True):
            writer.add(_record(settings, seed, number, scene, suffix), scene.image, suffix)
            advance()


def _record(settings: SceneSettings, seed: int, number: int, scene: Scene, suffix: str) -> ImageRecord:
    masks = [
        {**detail, "segmentation": encode_mask(mask), "area": int(mask.sum())}
        for detail, mask in zip(scene.details, scene.masks, strict=True)
    ]
    return ImageRecord(
        id=number + 1,
        file_name=f"{settings.look.name}_{seed}_{number:06d}{suffix}",
        width=settings.size,
        height=settings.size,
        group=scene.group,
        boxes=scene.boxes,
        labels=scene.labels,
        attributes={"gsd": round(scene.gsd, 4), "look": settings.look.name},
        details=masks,
    )
