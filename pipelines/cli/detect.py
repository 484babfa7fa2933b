"""``aerodet detect``: aircraft on pictures of any size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import DataError, UserError
from aerodet.files import atomic_path, write_json
from aerodet.pipelines.cli._paths import require_new

if TYPE_CHECKING:
    from aerodet.data.scenes import Scene
    from aerodet.metrics import Detections

__all__ = ["detect"]


def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures and GeoTIFFs of any size.")],
    model: Annotated[Path, typer.Option(help="A run, an export, an ONNX graph or a checkpoint.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the results.")] = Path("detections"),
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Least score.")] = 0.4,
    overlap: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share that neighbouring tiles have in common.")
    ] = 0.25,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Pictures are resized by it: metres a pixel, theirs over the model's. Else as the model's run did."
        ),
    ] = None,
    *,
    draw: Annotated[bool, typer.Option("--draw", help="Write each picture with its detections as JPEG.")] = False,
) -> None:
    """Detect aircraft on whole scenes: cut into tiles, merged across them.

    DIR/detections.json is COCO with a score for each box; a georeferenced picture gets a GeoJSON file too.
    """
    from aerodet.data.scenes import open_scene
    from aerodet.deploy.detector import open_detector
    from aerodet.detectnet.mosaic import detect_scene
    from aerodet.pipelines.cli._scale import gsd_of_run, scale_of_run

    require_new(out)
    _require_files(images)
    predictor, settings, used = open_detector(model)
    if scale is None:
        scale = scale_of_run(model)
    learned = gsd_of_run(model)
    at = f", which learned at {learned:g} m/px" if learned else ""
    typer.echo(f"detecting with {used}{at}" + (f"; pictures are resized by {scale:g}" if scale != 1 else ""))
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with atomic_path(out) as partial:
        partial.mkdir()
        for number, path in enumerate(images, start=1):
            try:
                with closing(open_scene(path)) as scene:
                    found = detect_scene(predictor, scene, settings, overlap=overlap, scale=scale, threshold=threshold)
                    entry = {"id": number, "file_name": scene.name, "width": scene.width, "height": scene.height}
                    _write_beside(partial, path.stem, scene, found, settings.classes, draw=draw)
            except DataError as error:
                if len(images) == 1:
                    raise
                typer.echo(f"left out: {error}", err=True)
                continue
            entries.append(entry)
            annotations += _annotations(found, number, len(annotations))
            typer.echo(f"{path}: {len(found)} detections")
        if not entries:
            raise DataError(f"none of the {len(images)} pictures could be read")
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(settings.classes)]
        content = {"images": entries, "annotations": annotations, "categories": categories}
        write_json(partial / "detections.json", {"info": {"model": used, "threshold": threshold}, **content})
    typer.echo(f"{out}: {len(annotations)} detections on {len(entries)} images")
    if left_out := len(images) - len(entries):
        raise DataError(f"{left_out} of {len(images)} pictures could not be read, see above; {out} has the others")


def _require_files(images: list[Path]) -> None:
    for path in images:
        if path.is_dir():
            raise UserError(f"{path} is a folder; give its pictures, such as {path}/*.jpg")
        if not path.is_file():
            raise UserError(f"{path} is not a file; give an image")
    stems = [path.stem for path in images]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise UserError(f"two images are named {twice}; detect on them in two calls")


def _write_beside(
    folder: Path, stem: str, scene: Scene, found: Detections, classes: tuple[str, ...], *, draw: bool
) -> None:
    """Write what a picture gets of its own: GeoJSON if it is georeferenced, and itself with the boxes."""
    from aerodet.data.scenes import geojson

    if scene.georeference is not None:
        properties = [
            {"class": classes[label], "score": round(score, 4)}
            for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
        ]
        write_json(folder / f"{stem}.geojson", geojson(scene.name, scene.georeference, found.boxes, properties))
    if draw:
        (folder / f"{stem}.jpg").write_bytes(_drawn(scene, found))


def _annotations(found: Detections, image: int, before: int) -> list[dict[str, Any]]:
    from aerodet.metrics import coco_results

    results = coco_results([image], [found])
    for number, result in enumerate(results, start=before + 1):
        result |= {"id": number, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
    return results


def _drawn(scene: Scene, found: Detections) -> bytes:
    import numpy as np

    from aerodet.data import encode_image
    from aerodet.report.examples import FOUND, draw_boxes

    pixels = np.array(scene.window(0, 0, scene.width, scene.height))
    draw_boxes(pixels, found.boxes, FOUND)
    return encode_image(pixels, ".jpg")
