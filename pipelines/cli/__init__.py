"""The ``aerodet`` command. One module a group of commands; each imports what is heavy when it is called."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import aerodet
from aerodet.errors import AerodetError
from aerodet.pipelines.cli import (
    bench,
    compress,
    data,
    detect,
    diff,
    doctor,
    engine,
    lineage,
    model,
    registry,
    reproduce,
    run,
    runs,
    schedule,
    spec,
    submit,
    sweep,
    synth,
    tao,
    trigger,
    ui,
)
from aerodet.pipelines.local import StoppedError

__all__ = ["app", "main"]

app = typer.Typer(
    name="aerodet",
    help="Real and synthetic overhead imagery in, a small INT8 aircraft detector out.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(run.run)
app.command()(compress.compress)
app.command()(sweep.sweep)
app.command()(runs.runs)
app.command()(runs.report)
app.command()(lineage.lineage)
app.command()(diff.diff)
app.command()(reproduce.reproduce)
app.command()(ui.ui)
app.command()(submit.submit)
app.command()(trigger.trigger)
app.command()(doctor.doctor)
app.add_typer(schedule.app, name="schedule")
app.command()(model.model)
app.command()(detect.detect)
app.command()(synth.synth)
app.command()(registry.verify)
app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.add_typer(engine.app, name="engine")
app.add_typer(registry.app, name="registry")
app.add_typer(spec.app, name="spec")
app.add_typer(tao.app, name="tao")


def main() -> None:
    """Run the command line; an :class:`~aerodet.errors.AerodetError` becomes one sentence and its exit status."""
    try:
        app()
    except StoppedError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except AerodetError as error:
        typer.echo(f"{typer.style('error:', fg='red', bold=True)} {error}", err=True)
        sys.exit(error.exit_code)


def _version(asked: bool) -> None:  # noqa: FBT001 (typer calls it so)
    if asked:
        typer.echo(aerodet.__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
