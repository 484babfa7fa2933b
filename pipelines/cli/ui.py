"""``aerodet ui``: the web page."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["ui"]


def ui(
    places: Annotated[
        list[str] | None,
        typer.Option(
            "--in", metavar="PLACE", help="A folder of runs or s3://BUCKET/PREFIX; repeatable. ./runs by default."
        ),
    ] = None,
    registry: Annotated[
        list[str] | None, typer.Option(metavar="DIR", help="Folder of a registry; PLACE/registry is found by itself.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own makes a token that visitors need.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8642,
    *,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser too.")] = False,
) -> None:
    """Show runs, artifacts, lineage and published models in the browser, until Ctrl-C."""
    from aerodet.pipelines.ui import serve

    def ready(address: str) -> None:
        typer.echo(f"aerodet ui on {address} (Ctrl-C ends it)")
        if show:
            typer.launch(address)

    serve(places or ["runs"], registries=registry or (), host=host, port=port, ready=ready)
