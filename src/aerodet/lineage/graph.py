"""The walk from an artifact to everything it was made from, by digest."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aerodet.errors import DataError
from aerodet.files import PROVENANCE
from aerodet.lineage.provenance import InputRef, Provenance, read_provenance

__all__ = ["Ancestor", "upstream"]


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
    start = read_provenance(folder)
    known = _index(search_roots)
    found: dict[str, Ancestor] = {}
    queue = deque([(start, 1)])
    while queue:
        provenance, depth = queue.popleft()
        for name, reference in provenance.inputs.items():
            if reference.digest in found or reference.digest == start.digest:
                continue
            made = known.get(reference.digest)
            found[reference.digest] = Ancestor(reference, name, depth, made)
            if made is not None:
                queue.append((made, depth + 1))
    return list(found.values())


def _index(roots: Iterable[Path]) -> dict[str, Provenance]:
    known: dict[str, Provenance] = {}
    for root in roots:
        for path in sorted(root.rglob(PROVENANCE)):
            try:
                provenance = read_provenance(path.parent)
            except DataError:  # somebody else's provenance.json; ours refer to digests, so nothing is lost silently
                continue
            known.setdefault(provenance.digest, provenance)
    return known
