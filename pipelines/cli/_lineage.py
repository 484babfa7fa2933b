"""Where the commands about lineage look for artifacts, and what their arguments mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aerodet.errors import UserError
from aerodet.files import PROVENANCE
from aerodet.pipelines.record import RECORD, run_around

if TYPE_CHECKING:
    from aerodet.lineage import Catalog, Target

__all__ = ["Places", "find_artifact", "find_target", "load_catalog"]

RUNS = Path("runs")
Places = Annotated[
    list[str] | None,
    typer.Option(
        "--in",
        metavar="PLACE",
        help="Where artifacts lie: a folder or s3://BUCKET/PREFIX; repeatable. ./runs by default.",
    ),
]


def load_catalog(places: list[str] | None, *targets: str) -> Catalog:
    """Read the provenance in the places given, and around the targets that are paths.

    Raises:
        UserError: a place does not exist, or there is nowhere to look.
    """
    from aerodet.lineage import Catalog, printable
    from aerodet.storage import open_store

    stores = [open_store(place) if "://" in place else Path(place) for place in places or ()]
    if not places and RUNS.is_dir():
        stores.append(RUNS)
    stores += [_around(Path(target)) for target in targets if Path(target).exists()]
    if not stores:
        raise UserError(f"there is no folder {RUNS} here; say with --in where the artifacts lie")
    catalog = Catalog.load(*stores)
    for problem in catalog.problems:
        typer.echo(f"left out: {printable(problem.reason)}", err=True)
    return catalog


def find_target(target: str, catalog: Catalog) -> Target:
    """Find the artifacts that an argument means; a run may be given by its name.

    Raises:
        UserError: nothing is found, or more than one thing.
    """
    from aerodet.lineage import resolve

    return resolve(_expand(target), catalog)


def find_artifact(target: str, catalog: Catalog) -> str:
    """Return the digest of the one artifact that an argument means; of a run, its engine's.

    Raises:
        UserError: nothing is found, or more than one thing.
    """
    from aerodet.lineage import main_artifact, walk

    found, path = find_target(target, catalog), Path(_expand(target))
    if path.is_dir() and not (path / PROVENANCE).is_file():
        inside = path.resolve()
        nodes = walk(catalog, found.digests).nodes.values()
        records = [r for n in nodes for r in n.records if r.folder is not None and r.folder.is_relative_to(inside)]
        return main_artifact(records).provenance.digest
    if len(found.digests) > 1:
        raise UserError(f"{target} is a file of {len(found.digests)} artifacts; name the folder of one of them")
    return found.digests[0]


def _expand(target: str) -> str:
    """Return the folder of a run that is given by its name."""
    return str(RUNS / target) if not Path(target).exists() and (RUNS / target / RECORD).is_file() else target


def _around(path: Path) -> Path:
    """Return the folder of the run that a path is in, else its own."""
    return run_around(path) or (path if path.is_dir() else path.parent).resolve()
