"""``aerodet data``: look at labelled images and change their form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli import mirror
from aerodet.pipelines.cli._paths import require_new

if TYPE_CHECKING:
    from rich.table import Table

    from aerodet.data import Audit, CocoReport, Images
    from aerodet.gap import Gap

__all__ = ["Form", "app", "audit", "convert", "gap"]

app = typer.Typer(help="Labelled images: look at them, change their form.", no_args_is_help=True)
app.command()(mirror.mirror)
app.command()(mirror.verify)
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME", help="A class wanted; plane:aircraft renames one. Aircraft by default."),
]
_SHOWN = 20  # findings of one kind
_OF_TILES = ("size", "overlap", "truncated")  # options that mean nothing elsewhere
_OF_COCO = ("class_from", "split", "min_side", "on_bad_box", "on_bad_entry", "duplicates")


class Form(StrEnum):
    """What images can be turned into."""

    kitti = "kitti"
    yolo = "yolo"
    coco = "coco"
    tiles = "tiles"


class Placing(StrEnum):
    """What happens to image files that keep their bytes."""

    copy = "copy"
    link = "link"


class Policy(StrEnum):
    """What happens to what cannot be right."""

    fail = "fail"
    fix = "fix"
    drop = "drop"


class Duplicates(StrEnum):
    """What happens to boxes that label an object again."""

    merge = "merge"
    keep = "keep"
    fail = "fail"


class Truncated(StrEnum):
    """What happens to objects that a tile cuts."""

    keep = "keep"
    drop = "drop"
    blank = "blank"


@app.command()
def audit(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="COCO or KITTI folders, or image sets.")],
    classes: Classes = None,
    tests: Annotated[
        list[Path] | None,
        typer.Option("--test", metavar="DIR", help="A folder that results are measured on; repeatable."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", dir_okay=False, help="Write the audit as a page too.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="With --html: a run, export or checkpoint whose doubts about labels are shown.")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="With --model: pictures are resized by it. Else as the model's run did.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Look for broken boxes, unreadable and duplicate images, and places on both sides of a split.

    Nothing is changed. In the column `ignored` are regions that are neither object nor background, as COCO's crowds.
    The exit status is 2 when something is found that makes results untrue.
    """
    from rich.console import Console

    from aerodet.data import CocoSource
    from aerodet.data import audit as audit_sets

    if model is not None and page is None:
        raise UserError("--model shows its doubts on the page; name that with --html too")
    places: dict[str, Path] = {}
    for folder in [*folders, *(tests or [])]:
        if folder.resolve() in {place.resolve() for place in places.values()}:
            raise UserError(f"{folder} is named twice; name each set once, as one to train on or after --test")
        places[str(folder)] = folder
    sets = {name: _open(folder, classes, "fix", "fix") for name, folder in places.items()}
    reports = {name: images.report for name, images in sets.items() if isinstance(images, CocoSource)}
    result = audit_sets(sets, test_sets=[str(folder) for folder in tests] if tests else None)
    if page is not None:
        _write_page(page, sets, result, model, scale)
    if as_json:
        read = {name: report.to_dict() for name, report in reports.items()}
        typer.echo(json.dumps({**result.to_dict(), "read": read}, indent=2))
    else:
        Console(width=None if Console().is_terminal else 120).print(_figures(result))
        _print_findings(result, reports)
    if result.errors or any(report.broken for report in reports.values()):
        raise typer.Exit(2)


@app.command()
def convert(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A COCO, KITTI or YOLO folder, or an image set.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder.")],
    to: Annotated[Form, typer.Option(help="KITTI as TAO reads it, YOLO, plain COCO, or an image set of tiles.")],
    classes: Classes = None,
    class_from: Annotated[
        str | None, typer.Option(metavar="FIELD", help="COCO: the field of a box that says its class, such as role.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="COCO: which of several files, such as train.")] = None,
    size: Annotated[int, typer.Option(help="Side of a tile in pixels, a multiple of 16.")] = 512,
    overlap: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of a tile that its neighbours have in common.")
    ] = 0.2,
    truncated: Annotated[
        Truncated,
        typer.Option(help="Objects cut by a tile: keep them, leave them out, or paint over what is left out."),
    ] = Truncated.keep,
    min_side: Annotated[
        float, typer.Option(min=0, help="COCO: pixels; a box with a shorter side becomes a region to ignore.")
    ] = 0.0,
    on_bad_box: Annotated[Policy, typer.Option(help="Boxes outside their image or without size.")] = Policy.fail,
    on_bad_entry: Annotated[
        Policy, typer.Option(help="Images that are missing or listed twice, boxes without a category.")
    ] = Policy.fail,
    duplicates: Annotated[Duplicates, typer.Option(help="Boxes that label an object again.")] = Duplicates.merge,
    images: Annotated[
        Placing, typer.Option(help="Copy the image files, or link them on the same disk.")
    ] = Placing.copy,
) -> None:
    """Write labelled images in another form; every box is in it or counted."""
    from aerodet.data import CocoSource, ImageSet, tile_images, write_coco, write_kitti, write_yolo

    require_new(destination)
    asked = [
        name for name in context.params if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    idle = {"images": "tiles are new files"}
    _refuse(asked, idle if to is Form.tiles else dict.fromkeys(_OF_TILES, f"--to {to} cuts no tiles"))
    opened = _open(
        source,
        classes,
        on_bad_box.value,
        on_bad_entry.value,
        class_from=class_from,
        duplicates=duplicates.value,
        min_side=min_side,
        split=split,
    )
    if not isinstance(opened, CocoSource):
        _refuse(asked, dict.fromkeys(_OF_COCO, f"{source} is no COCO folder"))
    if isinstance(opened, ImageSet):
        _refuse(asked, {"classes": f"{source} is an image set, which has its classes"})
    for sentence in opened.report.sentences() if isinstance(opened, CocoSource) else ():
        typer.echo(f"note: {sentence}")
    if to is Form.tiles:
        report: Any = tile_images(opened, destination, size, overlap, truncated=truncated.value)
    else:
        write = {Form.kitti: write_kitti, Form.yolo: write_yolo, Form.coco: write_coco}[to]
        report = write(opened, destination, how=images.value)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.to_dict().items())
    typer.echo(f"{destination}: {counts}")
    places = {record.group for record in opened.records}
    if to in (Form.kitti, Form.yolo) and len(places) < len(opened.records):
        typer.echo(
            f"note: {to.value} has no places: read again, each image is one, where here {len(places)} places keep "
            "their images on one side of a split"
        )


@app.command()
def gap(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="A COCO, KITTI or YOLO folder, or an image set.")],
    synthetic: Annotated[Path, typer.Argument(metavar="SYNTHETIC", help="The same of synthetic images.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the comparison as a page.")
    ] = None,
    classes: Classes = None,
    images: Annotated[int, typer.Option(min=2, help="Images looked at in each set; labels are those of all.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of the images.")] = 0,
    real_gsd: Annotated[
        float, typer.Option(min=0, help="Metres a pixel of the real images; 0: what they say of themselves.")
    ] = 0.0,
    synthetic_gsd: Annotated[float, typer.Option(min=0, help="The same of the synthetic images.")] = 0.0,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say how far synthetic images are from real ones: light, colour, spectrum, size, shape and number of boxes.

    Compare what a detector would be trained on: tiles with scenes of the same size and ground sample distance.
    """
    from rich.console import Console

    from aerodet.gap import compare, measure
    from aerodet.report.gap import GapData
    from aerodet.report.gap_page import crop_images, render_gap

    places = {"real": (real, real_gsd), "synthetic": (synthetic, synthetic_gsd)}
    sets = {name: _open(folder, classes, "fix", "fix") for name, (folder, _) in places.items()}
    figures = {
        name: measure(opened, count=images, seed=seed, gsd=places[name][1], name=name) for name, opened in sets.items()
    }
    found = compare(figures["real"], figures["synthetic"], seed=seed)
    if out is not None:
        crops = {name: crop_images(opened, seed=seed) for name, opened in sets.items()}
        render_gap(GapData(found.to_dict(), crops), out)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    Console(width=None if Console().is_terminal else 120).print(_distances(found))
    typer.echo(found.sentence)
    if out is not None:
        typer.echo(str(out))


def _distances(found: Gap) -> Table:
    from rich.table import Table

    from aerodet.gap import STATISTICS

    table = Table(box=None, header_style="bold")
    for heading in ("statistic", "real, median", "synthetic, median", "distance", "real to itself"):
        table.add_column(heading, justify="left" if heading == "statistic" else "right")
    for comparison in found.comparisons:
        entry = comparison.to_dict()
        medians = [entry[side].get("p50") if entry[side] else None for side in ("real", "synthetic")]
        figures = [*medians, entry["distance"], entry["own"]]
        table.add_row(STATISTICS[comparison.key].label, *("" if f is None else f"{f:.2f}" for f in figures))
    return table


def _write_page(page: Path, sets: dict[str, Images], result: Audit, model: Path | None, scale: float | None) -> None:
    """Write the audit's page, with the labels that a model doubts where one is given."""
    from aerodet.report.audit_page import Doubt, draw_doubts, render_audit

    doubts: list[Doubt] = []
    if model is not None:
        from aerodet.data import ImageSet
        from aerodet.deploy.detector import open_detector
        from aerodet.detectnet.mosaic import detect_frames
        from aerodet.metrics import rank_suspects
        from aerodet.pipelines.cli._scale import scale_of_run

        predictor, settings, _ = open_detector(model)
        as_run = scale_of_run(model) if scale is None else scale
        for name, images in sets.items():
            truth = [record.truth for record in images.records]
            tiles = scale is None and isinstance(images, ImageSet)  # which have the network's size
            found = detect_frames(predictor, images, settings, scale=1.0 if tiles else as_run)
            doubts += draw_doubts(name, images, rank_suspects(truth, found))
    render_audit(result.to_dict(), page, sorted(doubts, key=lambda doubt: -doubt.suspect.doubt))


def _open(
    folder: Path, classes: list[str] | None, on_bad_box: Any = "fail", on_bad_entry: Any = "fail", **coco: Any
) -> Images:
    """Open labelled images, whatever form they have; the other options are those of COCO."""
    from aerodet.data import ImageSet, is_image_set, read_coco, read_kitti, read_yolo

    if not folder.exists():
        raise UserError(f"{folder} does not exist; give a folder of labelled images")
    if is_image_set(folder):
        return ImageSet(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        read = read_yolo if (folder / "data.yaml").is_file() else read_kitti
        return read(folder, classes)
    wanted = classes or ("aircraft",)
    return read_coco(folder, classes=wanted, on_bad_box=on_bad_box, on_bad_entry=on_bad_entry, **coco)


def _refuse(asked: Iterable[str], idle: Mapping[str, str]) -> None:
    """Refuse what was asked for and would change nothing, by the reason why."""
    if found := [name for name in asked if name in idle]:
        options = ", ".join("--class" if name == "classes" else "--" + name.replace("_", "-") for name in found)
        raise UserError(f"{options} would change nothing: {idle[found[0]]}; leave it out")


def _figures(result: Audit) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("set", "images", "empty", "places", "boxes", "ignored", "small", "medium", "large"):
        table.add_column(heading, justify="left" if heading == "set" else "right")
    for name, figures in result.sets.items():
        counts = (figures.images, figures.empty_images, len(figures.groups), figures.boxes, figures.regions)
        sizes = (figures.sizes.get(size, 0) for size in ("small", "medium", "large"))
        table.add_row(name, *(f"{count:,}" for count in (*counts, *sizes)))
    return table


def _print_findings(result: Audit, reports: dict[str, CocoReport]) -> None:
    for name, report in reports.items():
        for sentence in report.sentences():
            typer.echo(f"note: {name}: {sentence}")
        if report.broken:
            typer.echo(
                f"error: {name}: a run refuses its broken boxes and entries; --set data.on_bad_box=fix or drop and "
                "data.on_bad_entry=fix or drop take the rest"
            )
    kinds = dict.fromkeys((finding.severity, finding.kind) for finding in result.findings)
    for severity, kind in kinds:
        found = [finding for finding in result.findings if (finding.severity, finding.kind) == (severity, kind)]
        for finding in found[:_SHOWN]:
            image = f"{finding.image}: " if finding.image and finding.image not in finding.sentence else ""
            typer.echo(f"{severity}: {finding.set}: {image}{finding.sentence}")
        if len(found) > _SHOWN:
            typer.echo(f"{severity}: and {len(found) - _SHOWN} more of {kind}; --json lists them all")
    if not result.findings and not any(report.sentences() for report in reports.values()):
        typer.echo("nothing found")
