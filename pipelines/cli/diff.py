"""``aerodet diff``: what differs between two artifacts, and where it began."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated

import typer

from aerodet.pipelines.cli._lineage import Places, find_artifact, load_catalog

if TYPE_CHECKING:
    from aerodet.lineage import Change, Difference

__all__ = ["diff"]

_KINDS = {
    "data": "Data",
    "stage": "Stages",
    "parameter": "Parameters",
    "code": "Code",
    "image": "Images",
    "library": "Libraries",
    "hardware": "Hardware",
    "made here": "Same inputs and settings, another content",
}
_WIDEST = 60  # characters of a value


def diff(
    left: Annotated[str, typer.Argument(metavar="A", help="An engine, an artifact, a run or a digest.")],
    right: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    places: Places = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with status 1 if they differ.")] = False,
) -> None:
    """Say what differs between two artifacts in data, code, parameters and metrics; of runs, between their engines."""
    from aerodet.lineage import compare

    catalog = load_catalog(places, left, right)
    difference = compare(catalog, find_artifact(left, catalog), find_artifact(right, catalog))
    if as_json:
        typer.echo(json.dumps(difference.to_dict(), indent=2))
    else:
        _show(difference)
    if exit_code and not difference.identical:
        raise typer.Exit(1)


def _show(difference: Difference) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from aerodet.lineage import printable

    console = Console(width=None if Console().is_terminal else 160)
    console.print(Text(f"A  {difference.left}\nB  {difference.right}"))
    if difference.identical:
        console.print("A and B are the same content.")
        return

    def table(title: str, changes: list[Change], *, where: bool) -> None:
        shown = Table(title=title, box=None, header_style="bold", title_justify="left", title_style="bold")
        for heading in ("what", "A", "B", *(("in",) if where else ())):
            shown.add_column(heading, overflow="fold")
        for change in changes:
            cells = [change.name, _cut(change.left), _cut(change.right)]
            cells += [_cut(", ".join(change.steps))] if where else []
            shown.add_row(*(Text(printable(cell)) for cell in cells))
        console.print()
        console.print(shown)

    for kind, title in _KINDS.items():
        changes = [change for change in difference.changes if change.kind == kind]
        if changes:
            table(title, changes, where=True)
    if difference.metrics:
        table("Metrics", list(difference.metrics), where=False)
    if difference.alike:
        typer.echo(f"\n{difference.alike} of their inputs are the same content.")


def _cut(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
