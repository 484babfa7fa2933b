"""``aerodet spec``: experiment specs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "check"]

app = typer.Typer(help="Experiment specs in TAO's text form.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep ``check`` a subcommand also while it is the only one."""


@app.command()
def check(file: Annotated[Path, typer.Argument(help="An experiment spec.")]) -> None:
    """Parse an experiment spec and hold it against TAO's limits; exit status 2 when it breaks any."""
    from aerodet.detectnet.limits import check_limits
    from aerodet.detectnet.spec import read_spec

    faults = check_limits(read_spec(file))
    if faults:
        for fault in faults:
            typer.echo(f"{file}: {fault}", err=True)
        raise typer.Exit(2)
    typer.echo(f"{file}: OK")
