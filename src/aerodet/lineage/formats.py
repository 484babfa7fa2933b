"""A lineage graph as text: a tree for people; JSON, DOT, OpenLineage events and ``sha256sum``'s list for programs."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aerodet.lineage.graph import Edge, Graph, Node
from aerodet.lineage.provenance import Provenance

__all__ = ["FORMATS", "as_dot", "as_json", "as_openlineage", "as_sums", "as_tree", "printable"]

OPENLINEAGE = "https://openlineage.io/spec/2-0-2/OpenLineage.json"
VERSION_FACET = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
)
PRODUCER = "urn:aerodet:lineage:v1"
_NAMESPACE = uuid.UUID("6f0d7b9e-5a53-4c58-9d0e-3c3f0c4a2f61")  # for the ids of executions that have no UUID


def printable(text: str) -> str:
    """Return text from elsewhere in a form that a terminal can show: control characters, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def as_tree(graph: Graph, *, files: bool = True) -> str:
    """Return the graph as a tree, or two: what the start was made from, and what it was used for.

    Args:
        graph: the lineage.
        files: list the files of each artifact with their digests.
    """
    lines: list[str] = []
    for number, start in enumerate(graph.starts):
        lines += [""] if number else []
        lines += _branches(graph, start, graph.inputs, lambda edge: edge.source, files=files)
        if graph.uses(start):
            lines += ["", "used for"]
            lines += _branches(graph, start, graph.uses, lambda edge: edge.made, files=False, below=True)
    if graph.circular:
        lines += ["", f"circular, so some statement lies: {', '.join(d[:12] for d in graph.circular)}"]
    return "\n".join(lines) + "\n"


def _branches(
    graph: Graph,
    start: str,
    edges: Callable[[str], list[Edge]],
    other: Callable[[Edge], str],
    *,
    files: bool,
    below: bool = False,
) -> Iterator[str]:
    """Yield the lines of one tree; an artifact that was met before is only named. No recursion: data may be deep."""
    shown: set[str] = {start} if below else set()
    links = edges(start)[::-1] if below else []
    stack = [(edge, other(edge), "", index == 0) for index, edge in enumerate(links)]
    if not below:
        stack = [(None, start, "", True)]  # type: ignore[list-item]
    while stack:
        edge, digest, indent, last = stack.pop()
        node = graph.nodes[digest]
        own, inner = (indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")) if edge else ("", "")
        name = "" if edge is None else f"as {printable(edge.name)}: " if below else f"{printable(edge.name)}: "
        if digest in shown:
            yield f"{own}{name}{title(node)}  {digest[:12]} (above)"
            continue
        shown.add(digest)
        yield f"{own}{name}{title(node)}"
        children = edges(digest)
        bar = inner + ("│  " if children else "   ")
        yield f"{bar}{digest}  {printable(_short(place(node)))}"
        if files and node.record is not None:
            yield from (f"{bar}{d}  {printable(path)}" for path, d in node.record.provenance.files.items())
        stack += [(child, other(child), inner, i == len(children) - 1) for i, child in enumerate(children)][::-1]


def title(node: Node) -> str:
    """Return what a node is, for people."""
    record = node.record
    if record is None:
        return "nothing is known of it but its digest" if node.reference is None else "no provenance at hand"
    made = record.provenance
    copies = f", {len(node.records)} copies" if len(node.records) > 1 else ""
    detail = made.parameters.get({"train": "name", "evaluate": "graph"}.get(made.stage, ""))
    stage = f"{made.stage} {detail}" if isinstance(detail, str) and detail else made.stage
    when = made.started.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
    return printable(f"{record.kind}, made by {stage} on {when} with aerodet {made.code.label}{copies}")


def place(node: Node) -> str:
    """Return where a node's content is, or was."""
    if node.record is not None:
        return node.record.uri
    return f"(was {node.reference.uri})" if node.reference is not None else ""


def as_json(graph: Graph) -> str:
    """Return the graph as one JSON object of schema ``aerodet/lineage/1``."""
    artifacts = []
    for node in graph.nodes.values():
        record = node.record
        entry: dict[str, Any] = {"digest": node.digest, "missing": node.missing, "distance": node.distance}
        if node.reference is not None:
            entry["recorded_uri"] = node.reference.uri
        if record is not None:
            entry |= facts(record.provenance) | {"kind": record.kind, "uris": sorted(r.uri for r in node.records)}
        artifacts.append(entry)
    document = {
        "schema": "aerodet/lineage/1",
        "starts": list(graph.starts),
        "artifacts": artifacts,
        "edges": [{"source": e.source, "made": e.made, "name": e.name} for e in graph.edges],
        "circular": graph.circular,
    }
    return json.dumps(document, indent=2) + "\n"


def facts(made: Provenance) -> dict[str, Any]:
    """Return what a provenance tells, as JSON values."""
    return {
        "name": made.name,
        "stage": made.stage,
        "parameters": dict(made.parameters),
        "annotations": dict(made.annotations),
        "files": dict(made.files),
        "code": {"version": made.code.version, "commit": made.code.commit, "dirty": made.code.dirty},
        "image": made.image,
        "builder": made.builder,
        "invocation": made.invocation,
        "libraries": dict(made.libraries),
        "hardware": dict(made.hardware),
        "started": made.started.isoformat(),
        "finished": made.finished.isoformat(),
    }


def as_dot(graph: Graph) -> str:
    """Return the graph in Graphviz's DOT language."""
    lines = ["digraph lineage {", '  rankdir=LR; node [shape=box, style=rounded, fontname="sans-serif"];']
    for node in graph.nodes.values():
        record = node.record
        label = f"{record.kind}\n{record.provenance.stage}\n{node.digest[:12]}" if record else f"?\n{node.digest[:12]}"
        look = ", style=dashed" if node.missing else ", penwidth=2" if node.digest in graph.starts else ""
        lines.append(f'  "{node.digest}" [label={_dot(label)}{look}];')
    lines += [f'  "{edge.source}" -> "{edge.made}" [label={_dot(edge.name)}];' for edge in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _dot(text: str) -> str:
    """Quote a label; line ends become DOT's, every other control character is escaped."""
    lines = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'


def as_openlineage(graph: Graph) -> str:
    """Return START and COMPLETE events of every execution in the graph, one JSON object a line, oldest first."""
    executions: dict[str, list[Provenance]] = {}
    uris: dict[str, str] = {}
    for node in graph.nodes.values():
        for record in node.records:
            uris.setdefault(node.digest, record.uri)
            made = executions.setdefault(_run_id(record.provenance), [])
            if all(known.digest != node.digest for known in made):
                made.append(record.provenance)
    events: list[tuple[str, str]] = []
    for run_id, outputs in executions.items():
        first = outputs[0]
        common = {
            "run": {"runId": run_id, "facets": {"aerodet_stage": _stage_facet(first)}},
            "job": {"namespace": "aerodet", "name": first.stage},
            "producer": PRODUCER,
            "schemaURL": f"{OPENLINEAGE}#/$defs/RunEvent",
        }
        inputs = [_dataset(uris.get(ref.digest, ref.uri), ref.digest) for ref in first.inputs.values()]
        outs = [_dataset(uris[made.digest], made.digest) for made in outputs]
        for kind, moment, made_now in (("START", first.started, []), ("COMPLETE", first.finished, outs)):
            event = {
                "eventType": kind,
                "eventTime": moment.isoformat(),
                "inputs": inputs,
                "outputs": made_now,
                **common,
            }
            events.append((moment.isoformat(), json.dumps(event)))
    return "".join(f"{line}\n" for _, line in sorted(events, key=lambda pair: pair[0]))


def _run_id(made: Provenance) -> str:
    try:
        return str(uuid.UUID(made.invocation))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, f"{made.invocation} {made.digest}"))


def _stage_facet(made: Provenance) -> dict[str, Any]:
    told = {key: value for key, value in facts(made).items() if key in ("parameters", "code", "image", "libraries")}
    return {"_producer": PRODUCER, "_schemaURL": f"{OPENLINEAGE}#/$defs/RunFacet", **told}


def _dataset(uri: str, digest: str) -> dict[str, Any]:
    """Name a dataset as OpenLineage does: ``file`` and the path, or scheme with bucket and the key."""
    scheme, separator, rest = uri.partition("://")
    authority, _, key = rest.partition("/")
    if not separator:
        namespace, name = "file", uri
    elif scheme == "file":
        namespace, name = "file", f"/{key}"
    else:
        namespace, name = f"{scheme}://{authority}", key
    version = {"_producer": PRODUCER, "_schemaURL": VERSION_FACET, "datasetVersion": f"sha256:{digest}"}
    return {"namespace": namespace, "name": name or digest, "facets": {"version": version}}


def as_sums(graph: Graph) -> str:
    """Return the files of every artifact that is on this machine in the form that ``sha256sum --check`` reads."""
    lines = []
    for node in graph.nodes.values():
        record = next((r for r in node.records if r.folder is not None and r.folder.is_dir()), None)
        if record is None:
            lines.append(f"# {node.digest} is not on this machine")
            continue
        lines.append(f"# {printable(record.kind)} {node.digest}")
        for path, digest in record.provenance.files.items():
            name = f"{_short(record.uri)}/{path}"
            escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")  # as sha256sum does
            lines.append(f"{'' if escaped == name else chr(92)}{digest}  {escaped}")
    return "\n".join(lines) + "\n"


def _short(uri: str) -> str:
    """Return a path as seen from the working folder, where it is below it."""
    here = f"{Path.cwd()}{os.sep}"
    return uri.removeprefix(here)


FORMATS: dict[str, Callable[[Graph], str]] = {
    "tree": as_tree,
    "json": as_json,
    "dot": as_dot,
    "openlineage": as_openlineage,
    "sums": as_sums,
}
