"""``aerodet reproduce``: make an artifact again and compare."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aerodet.pipelines.cli._lineage import Places, find_artifact, load_catalog
from aerodet.pipelines.cli._paths import require_new

if TYPE_CHECKING:
    from aerodet.pipelines.reproduce import Reproduced

__all__ = ["reproduce"]

_COLOURS = {"identical": "green", "alike": "yellow", "different": "red"}
_SHOWN = 8  # figures of one artifact


def reproduce(
    target: Annotated[str, typer.Argument(metavar="DIGEST", help="A digest, an artifact's folder or a file of it.")],
    places: Places = None,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep what was made again in this folder.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="How far figures may be apart, as a share of the larger.")
    ] = 0.01,
    *,
    chain: Annotated[bool, typer.Option("--chain", help="Make everything upstream again too.")] = False,
) -> None:
    """Run the stage that made an artifact again, in a scratch folder, and compare digests, else figures.

    The exit status is 0 when all that was made again is identical or its figures are within the tolerance, else 1.
    """
    catalog = load_catalog(places, target)
    digest = find_artifact(target, catalog)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads are slow on busy cores
    from aerodet.lineage import code_version
    from aerodet.pipelines.reproduce import reproduce as make_again

    with ExitStack() as stack:
        scratch = (
            require_new(keep) if keep else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aerodet-")))
        )
        typer.echo(f"made again with aerodet {code_version().label}", err=True)
        verdicts = []
        for made in make_again(catalog, digest, scratch, chain=chain, tolerance=tolerance):
            _show(made)
            verdicts.append(made.verdict)
    if "different" in verdicts:
        raise typer.Exit(1)


def _show(made: Reproduced) -> None:
    from aerodet.lineage import printable

    verdict = typer.style(made.verdict, fg=_COLOURS[made.verdict], bold=True)
    typer.echo(f"{verdict}  {printable(made.name)} of {made.stage}")
    typer.echo(f"  was  {made.before}\n  now  {made.after}")
    if made.verdict == "identical":
        return
    typer.echo(f"  files that differ: {printable(', '.join(made.files)) or 'not known'}")
    shown = made.beyond or list(made.figures)
    for figure in shown[:_SHOWN]:
        note = " (a time, not judged)" if figure.time else ""
        typer.echo(f"  {printable(figure.name)}: {figure.before:g} -> {figure.after:g}{note}")
    if len(shown) > _SHOWN:
        typer.echo(f"  and {len(shown) - _SHOWN} more figures")
    if made.lost:
        typer.echo(f"  only in one of the two: {printable(', '.join(made.lost[:_SHOWN]))}")
