"""``aerodet lineage``: what an engine is made of, and what was made from a data set."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli._lineage import Places, find_target, load_catalog

__all__ = ["Format", "lineage"]


class Format(StrEnum):
    """How lineage is printed."""

    tree = "tree"
    json = "json"
    dot = "dot"
    openlineage = "openlineage"
    sums = "sums"


def lineage(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="An engine or other file, an artifact's folder, a run, or a digest.")
    ],
    form: Annotated[
        Format, typer.Option("--format", help="sums is what `sha256sum --check` reads; openlineage is a line an event.")
    ] = Format.tree,
    places: Places = None,
    *,
    upstream: Annotated[bool, typer.Option("--upstream", help="Only what it was made from.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="Only what was made from it.")] = False,
    files: Annotated[bool, typer.Option("--files/--no-files", help="List files in the tree.")] = True,
) -> None:
    """Show what an artifact was made from, down to the roots, and what it was used for."""
    from aerodet.lineage import FORMATS, as_tree, walk

    if upstream and downstream:
        raise UserError("--upstream and --downstream together are both, which is what neither of them means; take one")
    catalog = load_catalog(places, target)
    graph = walk(catalog, find_target(target, catalog).digests, upstream=not downstream, downstream=not upstream)
    typer.echo(as_tree(graph, files=files) if form is Format.tree else FORMATS[form](graph), nl=False)
