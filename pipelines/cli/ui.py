"""``aerodet ui``: the web page."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from typing import Annotated

import typer

from aerodet.pipelines.cli._cluster import (
    CaOption,
    DexOption,
    ExperimentOption,
    NamespaceOption,
    TokenOption,
    UserOption,
    access_of,
)

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
    kfp: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of a pipeline API: its runs and schedules are shown too.")
    ] = None,
    experiment: ExperimentOption = "aerodet",
    namespace: NamespaceOption = "kubeflow",
    token_file: TokenOption = None,
    dex_user: DexOption = None,
    ca: CaOption = None,
    user_header: UserOption = None,
    *,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser too.")] = False,
) -> None:
    """Show runs, artifacts, lineage and published models in the browser, until Ctrl-C."""
    from aerodet.pipelines.ui import serve

    access = access_of({**locals(), "host": kfp}) if kfp else None

    def ready(address: str) -> None:
        typer.echo(f"aerodet ui on {address} (Ctrl-C ends it)")
        if show:
            typer.launch(address)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was fetched is removed
    with suppress(KeyboardInterrupt):
        serve(
            places or ["runs"],
            registries=registry or (),
            access=access,
            experiment=experiment,
            host=host,
            port=port,
            ready=ready,
        )
