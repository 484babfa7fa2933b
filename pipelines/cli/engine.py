"""``aerodet engine``: what a TensorRT engine is, and another one for another GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aerodet.pipelines.cli._paths import require_new

__all__ = ["app"]

app = typer.Typer(help="TensorRT engines: look at them, build them anew.", no_args_is_help=True)


@app.command()
def show(file: Annotated[Path, typer.Argument(metavar="FILE.engine", help="An engine.")]) -> None:
    """Print what is known of an engine: TensorRT version, GPU, batches, how to build it again."""
    from aerodet.deploy import engine_summary

    typer.echo(json.dumps(engine_summary(file), indent=2))


@app.command()
def rebuild(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="The bundle of an export stage.")],
    out: Annotated[Path, typer.Option(metavar="FILE.engine", help="A new file; engine.json appears beside it.")],
    compute_capability: Annotated[
        str | None, typer.Option(help="Of the GPU that shall run it, such as 8.9; this machine's by default.")
    ] = None,
) -> None:
    """Build a bundle's engine anew, for the GPU and the TensorRT of this machine or for another GPU."""
    from aerodet.deploy import rebuild_engine

    info = rebuild_engine(bundle, require_new(out), compute_capability=compute_capability)
    capabilities = ", ".join(info.compute_capabilities)
    typer.echo(f"{out}: {info.precision}, {info.builder} {info.version}, compute capability {capabilities}")
