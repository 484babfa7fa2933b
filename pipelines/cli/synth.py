"""``aerodet synth``: rendered scenes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aerodet.pipelines.cli._paths import require_new

__all__ = ["Look", "synth"]


class Look(StrEnum):
    """How a scene is rendered."""

    sensor = "sensor"
    synthetic = "synthetic"


def synth(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the image set shall be.")],
    count: Annotated[int, typer.Option(min=1, help="Number of scenes.")] = 100,
    look: Annotated[Look, typer.Option(help="As a satellite delivers it, or as a renderer leaves it.")] = Look.sensor,
    size: Annotated[int, typer.Option(help="Side of a scene in pixels, a multiple of 16.")] = 256,
    gsd: Annotated[float, typer.Option(help="Ground sample distance, m/px.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same scenes.")] = 0,
) -> None:
    """Render airport scenes with labelled aircraft into an image set."""
    require_new(out)
    from aerodet.stages import synthesize

    outcome = synthesize(dataset=out, look=look.value, count=count, size=size, gsd=gsd, seed=seed)
    typer.echo(f"{out}: {outcome.metrics['images']:.0f} scenes with {outcome.metrics['boxes']:.0f} aircraft")
