"""Artifacts as the page shows them: what they are, their files, their place in the lineage."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from aerodet.errors import UserError
from aerodet.files import PROVENANCE
from aerodet.lineage import Graph, Node, Record, compare, facts, walk
from aerodet.pipelines.ui._library import Library

__all__ = ["artifact_list", "artifact_view", "diff_view", "files_of", "lineage_view"]

MOST = 500  # rows and nodes that a page shows


def artifact_list(library: Library, text: str = "", kind: str = "") -> dict[str, Any]:
    """Return artifacts, newest first, and how many there are of each kind.

    Args:
        library: where they lie.
        text: each of its words is in the name, stage, kind, digest or address; empty takes all.
        kind: of this kind only; empty takes all.
    """
    rows, kinds = [], dict[str, int]()
    words = text.lower().split()
    for copies in library.catalog().artifacts.values():
        record = library.sorted(copies)[0]
        row = _row(library, record) | {"copies": len(copies)}
        haystack = " ".join(str(row[name]) for name in ("name", "label", "kind", "digest", "uri", "run")).lower()
        if all(word in haystack for word in words):
            kinds[record.kind] = kinds.get(record.kind, 0) + 1
            if kind in ("", record.kind):
                rows.append(row)
    rows.sort(key=lambda row: (row["started"], row["digest"]), reverse=True)
    return {"artifacts": rows[:MOST], "total": len(rows), "kinds": dict(sorted(kinds.items()))}


def artifact_view(library: Library, digest: str) -> dict[str, Any]:
    """Return everything about one artifact.

    Raises:
        UserError: there is none of that digest.
    """
    records, catalog = library.artifact(digest), library.catalog()
    record = records[0]
    inputs = [_reference(library, ref.digest, ref.uri) | {"as": n} for n, ref in record.provenance.inputs.items()]
    uses = [_reference(library, use.user, "") | {"as": use.name} for use in catalog.uses.get(digest, ())]
    copies = [{"uri": copy.uri, "run": library.run_of(copy)} for copy in records]
    return {
        **facts(record.provenance),
        **_row(library, record),
        "inputs": inputs,
        "uses": uses[:MOST],
        "copies": copies[:MOST],
        "files": [{"path": path, "sha256": known, "bytes": size} for path, known, size in files_of(record)],
    }


def files_of(record: Record) -> list[tuple[str, str | None, int | None]]:
    """Return path, SHA-256 and size of an artifact's files, as far as they are known; links are left out."""
    known = record.provenance.files
    sizes: dict[str, int] = {}
    if record.folder is not None:
        for path in sorted(record.folder.rglob("*"))[: 20 * MOST]:
            if path.is_file() and not path.is_symlink() and path.name != PROVENANCE:
                with contextlib.suppress(OSError):
                    sizes[path.relative_to(record.folder).as_posix()] = path.stat().st_size
    names = known if known else sizes
    return [(name, known.get(name), sizes.get(name)) for name in sorted(names)[:MOST]]


def lineage_view(library: Library, digest: str, direction: str = "both") -> dict[str, Any]:
    """Return the lineage around an artifact, laid out in layers: 0 is the artifact, less is upstream.

    Raises:
        UserError: nothing is known of that digest, or the direction is none.
    """
    if direction not in ("both", "up", "down"):
        raise UserError(f"the direction is both, up or down, not {direction!r}")
    catalog = library.catalog()
    if digest not in catalog.artifacts and digest not in catalog.uses:
        raise UserError(f"no artifact here has the digest {digest}")
    graph = walk(catalog, [digest], upstream=direction != "down", downstream=direction != "up")
    nodes = sorted(graph.nodes.values(), key=lambda node: abs(node.distance))[:MOST]
    shown = {node.digest for node in nodes}
    edges = [e for e in graph.edges if e.source in shown and e.made in shown]
    return {
        "start": digest,
        "nodes": [_node(library, graph, node) for node in nodes],
        "edges": [{"from": e.source, "to": e.made, "name": e.name} for e in edges],
        "hidden": len(graph.nodes) - len(nodes),
        "circular": graph.circular,
    }


def diff_view(library: Library, left: str, right: str) -> dict[str, Any]:
    """Return what differs between two artifacts.

    Raises:
        UserError: one of them is not known.
    """
    rows = {side: _row(library, library.artifact(digest)[0]) for side, digest in (("a", left), ("b", right))}
    return {**compare(library.catalog(), left, right).to_dict(), **rows}


def _row(library: Library, record: Record) -> dict[str, Any]:
    made = record.provenance
    return {
        "digest": made.digest,
        "name": made.name,
        "kind": record.kind,
        "stage": made.stage,
        "label": f"{made.stage} {_detail(library, record)}".strip(),
        "started": made.started.isoformat(),
        "seconds": made.seconds,
        "uri": record.uri,
        "run": library.run_of(record),
        "place": Path(record.uri).parent.name,
    }


def _detail(library: Library, record: Record) -> str:
    """Return what tells one execution of a stage from another: the arm, the graph, the model that was looked at."""
    made = record.provenance
    own = made.parameters.get({"train": "name", "evaluate": "graph"}.get(made.stage, ""))
    if isinstance(own, str) and own:
        return own
    if made.stage == "evaluate" and "model" in made.inputs:
        copies = library.catalog().records(made.inputs["model"].digest)
        if copies:
            model = copies[0].provenance
            return str(model.parameters.get("name") or model.name)
    return ""


def _reference(library: Library, digest: str, uri: str) -> dict[str, Any]:
    copies = library.catalog().records(digest)
    return _row(library, library.sorted(copies)[0]) if copies else {"digest": digest, "missing": True, "uri": uri}


def _node(library: Library, graph: Graph, node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {"digest": node.digest, "missing": node.missing, "distance": node.distance}
    if not node.missing:
        return entry | _row(library, library.sorted(node.records)[0]) | {"copies": len(node.records)}
    names = sorted({edge.name for edge in graph.uses(node.digest)})
    return entry | {"label": " / ".join(names), "uri": node.reference.uri if node.reference else ""}
