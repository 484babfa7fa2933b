"""Stages that make image sets: synthesize, ingest, sample and audit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from aerodet.data import (
    CocoSource,
    Duplicates,
    ImageFiles,
    ImageRecord,
    ImageSet,
    ImageSetWriter,
    OnBadBox,
    Policy,
    check_image_set,
    copy_image_set,
    gather_image_sets,
    is_image_set,
    published_split,
    read_coco,
    split_by_fraction,
    split_by_frames,
    tile_images,
)
from aerodet.data import audit as audit_sets
from aerodet.errors import SpecError
from aerodet.files import write_json
from aerodet.report.audit_page import render_audit
from aerodet.stages._run import Outcome, stage
from aerodet.synth import SceneSettings, load_look, render_set

__all__ = ["IMAGE_SET", "audit", "gather", "ingest", "sample", "synthesize"]

IMAGE_SET = "aerodet/image-set/1"


@stage("dataset")
def synthesize(
    *, dataset: Path, look: str, count: int, size: int, gsd: float, seed: int, world: int = 0, first: int = 0
) -> Outcome:
    """Render overhead scenes of airports.

    Args:
        dataset: receives the image set.
        look: a look's name, or its YAML.
        count: scenes.
        size: side of a scene in pixels.
        gsd: metres per pixel.
        seed: the run's seed.
        world: added to the seed: sets of different worlds share no airport.
        first: number of the first scene; sets of other numbers of the same world can be gathered.

    Raises:
        SpecError: a setting is out of range.
    """
    settings = SceneSettings(size=size, gsd=gsd, look=load_look(look))
    render_set(dataset, settings, count, seed + world, first=first, workers=os.cpu_count())
    return _made("dataset", dataset)


@stage("dataset")
def gather(*, parts: list[Path], dataset: Path) -> Outcome:
    """Make one image set of several.

    Args:
        parts: image sets whose ids and names differ.
        dataset: receives the image set.

    Raises:
        DataError: they cannot be one set.
    """
    gather_image_sets(parts, dataset)
    return _made("dataset", dataset)


@stage("dataset")
def ingest(
    *,
    dataset: Path,
    source: str,
    part: str,
    classes: list[str],
    size: int,
    overlap: float,
    scale: float,
    min_visible: float,
    keep_empty: float,
    tile_format: str,
    on_bad_box: str,
    duplicates: str,
    test_fraction: float,
    seed: int,
    class_from: str = "",
    on_bad_entry: str = "fail",
    min_side: float = 2.0,
) -> Outcome:
    """Read a COCO folder and cut its frames into tiles; the images of an image set are taken as they are.

    Args:
        dataset: receives the image set.
        source: the folder, or that of an image set, such as ``aerodet synth`` makes, with images of the tiles' size.
        part: ``all``, or ``train`` or ``test``: the folder's split of that name where it has a file for each (``all``
            is then ``train``), else one side of a split by ``test_fraction`` that keeps places together.
        classes: class names wanted.
        size: side of a tile in pixels.
        overlap: share of a tile's side that neighbours have in common.
        scale: frames are resized by it first.
        min_visible: least share of a box that a tile must show to keep it.
        keep_empty: share of the tiles without boxes that is kept.
        tile_format: ``png`` or ``jpg``.
        on_bad_box: ``fail``, ``fix`` or ``drop``.
        duplicates: ``merge``, ``keep`` or ``fail``.
        test_fraction: share of the images held apart for ``test``.
        seed: of the split and of the choice of empty tiles.
        class_from: field of the annotations that says the class; empty for their category.
        on_bad_entry: ``fail``, ``fix`` or ``drop`` images that are missing or listed twice, and boxes of no category.
        min_side: least side of a box, pixels of the frame and of a tile; one under it becomes a region to ignore.

    Raises:
        DataError: the folder cannot be used as it is; the sentence says what to do.
    """
    _choice("part", part, ("all", "train", "test"))
    if is_image_set(source):
        images = ImageSet(source)
        check_image_set(images, list(dict.fromkeys(name.rpartition(":")[2].lower() for name in classes)), size)
        chosen = range(len(images)) if part == "all" else _side(images.records, part, test_fraction, seed)
        copy_image_set(images, chosen, dataset)
        return _made("dataset", dataset)
    split = published_split(source, part)
    coco = read_coco(
        Path(source),
        classes=classes,
        class_from=class_from or None,
        on_bad_entry=_choice("on_bad_entry", on_bad_entry, get_args(Policy)),
        min_side=min_side,
        split=split,
        on_bad_box=_choice("on_bad_box", on_bad_box, get_args(OnBadBox)),
        duplicates=_choice("duplicates", duplicates, get_args(Duplicates)),
    )
    notes = coco.report.sentences()
    for note in notes:
        print(f"{source}: {note}")
    tiles = tile_images(
        coco if split else _part(coco, part, test_fraction, seed),
        dataset,
        size,
        overlap,
        scale=scale,
        min_visible=min_visible,
        min_side=min_side,
        keep_empty=keep_empty,
        seed=seed,
        suffix="." + _choice("tile_format", tile_format, ("png", "jpg")),
    )
    cut = tiles.sentences()
    for note in cut:
        print(f"{source}: {note}")
    # The file's name alone: the same data in another folder are the same image set.
    report = {**coco.report.to_dict(), "file": Path(coco.report.file).name}
    write_json(dataset / "ingest.json", {"part": part, "coco": report, "notes": notes + cut, "tiles": asdict(tiles)})
    return _made("dataset", dataset)


def _part(coco: CocoSource, part: str, test_fraction: float, seed: int) -> ImageFiles:
    """Choose the frames of one part, see :func:`ingest`."""
    if part == "all":
        return coco
    chosen = _side(coco.records, part, test_fraction, seed)
    return ImageFiles(coco.classes, [coco.records[i] for i in chosen], [coco.paths[i] for i in chosen])


def _side(records: Sequence[ImageRecord], part: str, test_fraction: float, seed: int) -> Sequence[int]:
    split = split_by_fraction(records, test_fraction, seed)
    return split.taken if part == "test" else split.rest


def _choice(name: str, value: str, choices: Sequence[str]) -> Any:
    """Return one of the choices, typed as the callee wants it."""
    if value not in choices:
        raise SpecError(f"{name} is one of {', '.join(choices)}, not '{value}'")
    return value


@stage("subset")
def sample(*, dataset: Path, subset: Path, fraction: float, seed: int, frames: int = 0) -> Outcome:
    """Take a fraction of every place's images, or a few whole frames, as one who can label only so many would.

    With one seed a larger fraction holds all that a smaller one does, and more frames hold the fewer.

    Args:
        dataset: image set.
        subset: receives the smaller image set and ``sample.json``.
        fraction: of the images, above 0 and at most 1; without meaning where ``frames`` are asked for.
        seed: of the choice.
        frames: that are taken with all their tiles, from those that show an object; 0: take a fraction.

    Raises:
        DataError: the fraction is out of range or takes nothing, or there are fewer frames.
    """
    source = ImageSet(dataset)
    if frames:
        split = split_by_frames(source.records, frames, seed)
    else:
        split = split_by_fraction(source.records, fraction, seed, within_groups=True)
    with ImageSetWriter(subset, source.classes) as writer:
        for index in split.taken:
            record = source.records[index]
            writer.add(record, source.encoded(index), Path(record.file_name).suffix)
    write_json(subset / "sample.json", split.to_dict())
    return _made("subset", subset)


@stage("audit", "page")
def audit(*, real: Path, synthetic: Path, test: Path, audit: Path, page: Path) -> Outcome:
    """Look for what is wrong with the data: broken boxes, unreadable and duplicate images, places on both sides.

    Args:
        real: image set of the real arm.
        synthetic: image set of the synthetic arm.
        test: image set that everything is tested on.
        audit: receives ``audit.json``.
        page: the HTML file.
    """
    result = audit_sets({"real": ImageSet(real), "synthetic": ImageSet(synthetic), "test": ImageSet(test)})
    audit.mkdir()
    write_json(audit / "audit.json", result.to_dict())
    render_audit(result.to_dict(), page)
    findings, errors = float(len(result.findings)), float(len(result.errors))
    metadata = {"audit": {"kind": "audit", "schema": "aerodet/audit/1"}, "page": {"kind": "report"}}
    return Outcome(metadata, {"findings": findings, "errors": errors})


def _made(name: str, folder: Path) -> Outcome:
    images = ImageSet(folder)
    counts = {"images": len(images), "boxes": sum(len(r.boxes) for r in images.records)}
    return Outcome({name: {"kind": "coco", "schema": IMAGE_SET, **counts}}, counts)
