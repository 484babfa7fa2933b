"""The walk along digests: from an artifact to everything it was made from, and to everything made from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aerodet.lineage.catalog import Catalog, Record
from aerodet.lineage.provenance import InputRef, Provenance, read_provenance

__all__ = ["Ancestor", "Edge", "Graph", "Node", "upstream", "walk"]


@dataclass(frozen=True, slots=True)
class Node:
    """One content in the graph.

    Attributes:
        digest: SHA-256 of it.
        records: its copies; none where it is missing, or never had provenance (raw data, say).
        reference: how an artifact made from it recorded it; None where nothing in the graph was.
        distance: steps from the start: 0 is the start, -1 a direct input, 1 a direct use.
    """

    digest: str
    records: tuple[Record, ...]
    reference: InputRef | None
    distance: int

    @property
    def missing(self) -> bool:
        """No provenance of it was found."""
        return not self.records

    @property
    def record(self) -> Record | None:
        """The copy that was made first, if there is any."""
        return min(self.records, key=lambda r: (r.provenance.started, r.uri), default=None)


@dataclass(frozen=True, slots=True)
class Edge:
    """One artifact was made from another.

    Attributes:
        source: digest of what was used.
        made: digest of what was made.
        name: the name of the input.
    """

    source: str
    made: str
    name: str


@dataclass(frozen=True)  # no slots: the indices are made when they are asked for
class Graph:
    """A part of the lineage.

    Attributes:
        starts: the digests that the walk began with.
        nodes: what it met, by digest, nearest first.
        edges: what was made from what.
    """

    starts: tuple[str, ...]
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    def inputs(self, digest: str) -> list[Edge]:
        """Return the edges to what an artifact was made from, by input name."""
        return sorted((e for e in self._made.get(digest, ())), key=lambda e: (e.name, e.source))

    def uses(self, digest: str) -> list[Edge]:
        """Return the edges to what was made from an artifact, oldest first."""
        return list(self._used.get(digest, ()))

    @property
    def missing(self) -> list[Node]:
        """The nodes without provenance."""
        return [node for node in self.nodes.values() if node.missing]

    @property
    def circular(self) -> list[str]:
        """The digests on or between circles, where something is made from itself: some statement there lies."""
        inputs = {digest: {edge.source for edge in self._made.get(digest, ())} for digest in self.nodes}
        users = {digest: {edge.made for edge in self._used.get(digest, ())} for digest in self.nodes}
        left = set(self.nodes)
        _peel(left, inputs, users)
        _peel(left, users, inputs)
        return sorted(left)

    @cached_property
    def _made(self) -> dict[str, list[Edge]]:
        return _grouped((edge.made, edge) for edge in self.edges)

    @cached_property
    def _used(self) -> dict[str, list[Edge]]:
        return _grouped((edge.source, edge) for edge in self.edges)


def _grouped(pairs: Iterable[tuple[str, Edge]]) -> dict[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for digest, edge in pairs:
        found.setdefault(digest, []).append(edge)
    return found


def _peel(left: set[str], before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> None:
    """Take away, again and again, what has nothing before it."""
    count = {digest: len(before[digest] & left) for digest in left}
    ready = [digest for digest in left if not count[digest]]
    while ready:
        digest = ready.pop()
        left.discard(digest)
        for other in after[digest] & left:
            count[other] -= 1
            if not count[other]:
                ready.append(other)


def walk(catalog: Catalog, starts: Iterable[str], *, upstream: bool = True, downstream: bool = False) -> Graph:
    """Collect what some artifacts were made from, what was made from them, or both.

    Each content is met once, however many copies or ways lead to it, so bad data with circles ends as well.

    Args:
        catalog: the artifacts known.
        starts: digests to begin with; a start that the catalog does not know becomes a missing node.
        upstream: go to the roots.
        downstream: go to the uses.
    """
    begin = tuple(dict.fromkeys(starts))
    nodes = {digest: Node(digest, tuple(catalog.records(digest)), None, 0) for digest in begin}
    edges: dict[Edge, None] = {}
    if downstream:
        _go(catalog, begin, nodes, edges, step=1)
    if upstream:
        _go(catalog, begin, nodes, edges, step=-1)
    return Graph(begin, nodes, tuple(edges))


def _go(catalog: Catalog, starts: Iterable[str], nodes: dict[str, Node], edges: dict[Edge, None], step: int) -> None:
    """Walk one way and add what is met."""
    seen, queue = set(starts), deque((digest, step) for digest in starts)
    while queue:
        digest, distance = queue.popleft()
        for edge, reference in _above(catalog, digest) if step < 0 else _below(catalog, digest):
            edges[edge] = None
            other = edge.source if step < 0 else edge.made
            if other not in nodes:
                nodes[other] = Node(other, tuple(catalog.records(other)), reference, distance)
            if other not in seen:
                seen.add(other)
                queue.append((other, distance + step))


def _above(catalog: Catalog, digest: str) -> Iterator[tuple[Edge, InputRef | None]]:
    for record in catalog.records(digest):
        for name, reference in record.provenance.inputs.items():
            yield Edge(reference.digest, digest, name), reference


def _below(catalog: Catalog, digest: str) -> Iterator[tuple[Edge, InputRef | None]]:
    for use in catalog.uses.get(digest, ()):
        yield Edge(digest, use.user, use.name), None


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One artifact upstream of another.

    Attributes:
        reference: digest and address, as the artifact made from it recorded them.
        used_as: the name of the input it served as, nearest use first.
        depth: steps from the start; its direct inputs have 1.
        provenance: its own, or None where it is not under the search roots or never had one (raw data, say).
    """

    reference: InputRef
    used_as: str
    depth: int
    provenance: Provenance | None


def upstream(folder: Path, search_roots: Iterable[Path]) -> list[Ancestor]:
    """List what an artifact was made from, what that was made from, and so on.

    Args:
        folder: the artifact to start from.
        search_roots: folders under which the other artifacts may lie, at any depth and under any name.

    Returns:
        Each ancestor once, nearest first.

    Raises:
        DataError: ``folder`` has no valid provenance.
    """
    start, catalog = read_provenance(folder), Catalog.load(*search_roots)
    found: dict[str, Ancestor] = {}
    queue = deque([(start, 1)])
    while queue:
        provenance, depth = queue.popleft()
        for name, reference in provenance.inputs.items():
            if reference.digest in found or reference.digest == start.digest:
                continue
            copies = catalog.records(reference.digest)
            made = copies[0].provenance if copies else None
            found[reference.digest] = Ancestor(reference, name, depth, made)
            if made is not None:
                queue.append((made, depth + 1))
    return list(found.values())
