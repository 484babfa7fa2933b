"""``aerodet synth``: rendered scenes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli._paths import require_new

__all__ = ["synth"]

_SHOWN = 24  # scenes on a contact sheet


def synth(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the image set shall be.")],
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 100,
    look: Annotated[
        str, typer.Option(help="What is drawn at random: synthetic, sensor, varied, or a YAML file.")
    ] = "varied",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the look; repeatable."),
    ] = None,
    size: Annotated[int, typer.Option(help="Side of a scene in pixels, a multiple of 16.")] = 512,
    gsd: Annotated[float, typer.Option(help="Ground sample distance, m/px.")] = 0.5,
    aircraft: Annotated[float, typer.Option(help="Mean number of aircraft in a scene that has any.")] = 5.0,
    empty: Annotated[float, typer.Option(help="Share of scenes without aircraft.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same scenes.")] = 0,
    first: Annotated[int, typer.Option(min=0, help="Number of the first scene, to share a job out.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core by default.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write a contact sheet too, .png or .jpg.")
    ] = None,
    *,
    jpeg: Annotated[bool, typer.Option("--jpeg", help="JPEG instead of PNG images, a quarter of the size.")] = False,
) -> None:
    """Render airports with labelled aircraft: boxes, masks, visible fraction and RarePlanes' attributes.

    A job that was stopped goes on where it was when the same command is given again.
    """
    require_new(out)
    if sheet and sheet.suffix.lower() not in (".png", ".jpg"):
        raise UserError(f"--sheet {sheet}: contact sheets are written as .png or .jpg")
    from aerodet.data import ImageSet
    from aerodet.synth import SceneSettings, load_look, render_set, set_sheet

    settings = SceneSettings(size=size, gsd=gsd, look=load_look(look, setting or []), aircraft=aircraft, empty=empty)
    render_set(
        out,
        settings,
        count,
        seed,
        first=first,
        workers=workers or os.cpu_count(),
        suffix=".jpg" if jpeg else ".png",
        continued=True,
    )
    with ImageSet(out) as images:
        boxes = sum(len(record.boxes) for record in images.records)
        if sheet:
            set_sheet(images, sheet, _SHOWN)
    typer.echo(f"{out}: {count} scenes with {boxes} aircraft")
