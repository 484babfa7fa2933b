"""``aerodet data``: look at labelled images and change their form."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli._paths import require_new

if TYPE_CHECKING:
    from rich.table import Table

    from aerodet.data import Audit, CocoReport, Images

__all__ = ["Form", "app", "audit", "convert"]

app = typer.Typer(help="Labelled images: look at them, change their form.", no_args_is_help=True)
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", metavar="NAME", help="A class wanted; plane:aircraft renames one. Aircraft by default."),
]
_SHOWN = 20  # findings of one kind


class Form(StrEnum):
    """What images can be turned into."""

    kitti = "kitti"
    tiles = "tiles"


class BadBox(StrEnum):
    """What happens to boxes that cannot be right."""

    fail = "fail"
    fix = "fix"
    drop = "drop"


@app.command()
def audit(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="COCO or KITTI folders, or image sets.")],
    classes: Classes = None,
    tests: Annotated[
        list[Path] | None,
        typer.Option("--test", metavar="DIR", help="A folder that results are measured on; repeatable."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Look for broken boxes, unreadable and duplicate images, and places on both sides of a split.

    Nothing is changed. The exit status is 2 when something is found that makes results untrue.
    """
    from rich.console import Console

    from aerodet.data import CocoSource
    from aerodet.data import audit as audit_sets

    places = {str(folder): folder for folder in [*folders, *(tests or [])]}
    sets = {name: _open(folder, classes, "fix") for name, folder in places.items()}
    reports = {name: images.report for name, images in sets.items() if isinstance(images, CocoSource)}
    result = audit_sets(sets, test_sets=[str(folder) for folder in tests] if tests else None)
    if as_json:
        read = {name: report.to_dict() for name, report in reports.items()}
        typer.echo(json.dumps({**result.to_dict(), "read": read}, indent=2))
    else:
        Console(width=None if Console().is_terminal else 120).print(_figures(result))
        _print_findings(result, reports)
    if result.errors or any(_broken(report) for report in reports.values()):
        raise typer.Exit(2)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A COCO or KITTI folder, or an image set.")],
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder.")],
    to: Annotated[Form, typer.Option(help="KITTI as TAO reads it, or an image set of tiles.")],
    classes: Classes = None,
    size: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 512,
    overlap: Annotated[float, typer.Option(help="Share of a tile that its neighbours have in common.")] = 0.2,
    on_bad_box: Annotated[BadBox, typer.Option(help="Boxes outside their image or without size.")] = BadBox.fail,
) -> None:
    """Write labelled images in another form."""
    require_new(destination)
    images = _open(source, classes, on_bad_box.value)
    from aerodet.data import tile_images, write_kitti

    report = write_kitti(images, destination) if to is Form.kitti else tile_images(images, destination, size, overlap)
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.to_dict().items())
    typer.echo(f"{destination}: {counts}")


def _open(folder: Path, classes: list[str] | None, on_bad_box: Literal["fail", "fix", "drop"]) -> Images:
    """Open labelled images, whatever form they have."""
    from aerodet.data import ImageSet, read_coco, read_kitti

    if not folder.exists():
        raise UserError(f"{folder} does not exist; give a folder of labelled images")
    if any(folder.glob("images-*-of-*.tar")):
        return ImageSet(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return read_kitti(folder, classes)
    return read_coco(folder, classes=classes or ("aircraft",), on_bad_box=on_bad_box)


def _figures(result: Audit) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for heading in ("set", "images", "empty", "places", "boxes", "small", "medium", "large"):
        table.add_column(heading, justify="left" if heading == "set" else "right")
    for name, figures in result.sets.items():
        counts = (figures.images, figures.empty_images, len(figures.groups), figures.boxes)
        sizes = (figures.sizes.get(size, 0) for size in ("small", "medium", "large"))
        table.add_row(name, *(f"{count:,}" for count in (*counts, *sizes)))
    return table


def _broken(report: CocoReport) -> int:
    return report.clipped + report.dropped


def _print_findings(result: Audit, reports: dict[str, CocoReport]) -> None:
    for name, report in reports.items():
        for sentence in report.sentences():
            typer.echo(f"note: {name}: {sentence}")
        if _broken(report):
            typer.echo(
                f"error: {name}: a run refuses its broken boxes; --set data.on_bad_box=fix or drop takes the rest"
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
