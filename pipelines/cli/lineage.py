"""``aerodet lineage``: what an engine is made of, and what was made from a data set."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError
from aerodet.pipelines.cli._cluster import (
    CaOption,
    DexOption,
    NamespaceOption,
    RootOption,
    TokenOption,
    UserOption,
    access_of,
)
from aerodet.pipelines.cli._lineage import Places, find_target, load_catalog

if TYPE_CHECKING:
    from aerodet.lineage import Catalog

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
    kfp: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of a pipeline API: TARGET is the id of one of its runs.")
    ] = None,
    root: RootOption = None,
    namespace: NamespaceOption = "kubeflow",
    token_file: TokenOption = None,
    dex_user: DexOption = None,
    ca: CaOption = None,
    user_header: UserOption = None,
    *,
    upstream: Annotated[bool, typer.Option("--upstream", help="Only what it was made from.")] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="Only what was made from it.")] = False,
    files: Annotated[bool, typer.Option("--files/--no-files", help="List files in the tree.")] = True,
) -> None:
    """Show what an artifact was made from, down to the roots, and what it was used for."""
    from aerodet.lineage import FORMATS, as_tree, walk

    if upstream and downstream:
        raise UserError("--upstream and --downstream together are both, which is what neither of them means; take one")
    if kfp is not None:
        catalog, digests = _cluster_run({**locals(), "host": kfp}, target, places)
    else:
        catalog = load_catalog(places, target)
        digests = find_target(target, catalog).digests
    graph = walk(catalog, digests, upstream=not downstream, downstream=not upstream)
    typer.echo(as_tree(graph, files=files) if form is Format.tree else FORMATS[form](graph), nl=False)


def _cluster_run(options: dict[str, Any], run_id: str, places: list[str] | None) -> tuple[Catalog, tuple[str, ...]]:
    """Read the artifacts of a cluster's run where its pods left them; return them all, and what the run ended in."""
    from aerodet.lineage import Catalog, sinks
    from aerodet.pipelines.cluster import artifacts_of, connect
    from aerodet.storage import open_store

    place = artifacts_of(connect(access_of(options)), run_id, root=options["root"])
    own = Catalog.load(open_store(place))
    records = [record for digest in own.artifacts for record in own.records(digest)]
    if not records:
        raise UserError(
            f"run {run_id} has left no artifact in {place}; if its pipeline root is another, give it by --root"
        )
    return load_catalog([*(places or ()), place]), tuple(sinks(records))
