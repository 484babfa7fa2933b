"""Make an artifact again from what its provenance says, beside the original, and hold the two against each other.

::

    catalog = Catalog.load(Path("runs"))
    for made in reproduce(catalog, digest, Path("scratch"), chain=True):
        print(made.name, made.verdict)
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aerodet import stages
from aerodet.errors import DataError, UserError
from aerodet.files import folder_digest
from aerodet.lineage import Catalog, Provenance, Record, printable, read_provenance, walk
from aerodet.storage import open_store

__all__ = ["Figure", "Reproduced", "reproduce"]

PUBLICATION = "publish"  # an act, not a content: made again, it would publish again
BLANK = {"state": ""}  # a training must not go on from the checkpoints of the first one
JSON_LIMIT = 64 << 20  # bytes of a figures file
_TIME = re.compile(r"(_ms|seconds|per_s|ratio|\bp[0-9]+)$")
Verdict = Literal["identical", "alike", "different"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that the first and the second making have.

    Attributes:
        name: file and place in it.
        before: in the original.
        after: made again.
        time: it is a time or made of times, which no two runs share.
    """

    name: str
    before: float
    after: float
    time: bool

    def within(self, tolerance: float) -> bool:
        """Say whether the two are the same but for a share ``tolerance`` of the larger."""
        return abs(self.before - self.after) <= tolerance * max(abs(self.before), abs(self.after))


@dataclass(frozen=True)
class Reproduced:
    """One artifact, made again.

    Attributes:
        name: the artifact's name.
        stage: the stage that made it, both times.
        before: SHA-256 of the original.
        after: SHA-256 of what was made again.
        folder: where that is.
        files: names of the files that differ.
        figures: the numbers in both that differ.
        tolerance: how far figures may be apart.
        lost: figures that only one of the two has.
    """

    name: str
    stage: str
    before: str
    after: str
    folder: Path
    files: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tolerance: float = 0.0
    lost: tuple[str, ...] = ()

    @property
    def beyond(self) -> list[Figure]:
        """The figures that are further apart than the tolerance; times are not judged."""
        return [figure for figure in self.figures if not figure.time and not figure.within(self.tolerance)]

    @property
    def verdict(self) -> Verdict:
        """``identical`` to the byte; ``alike``: every figure within the tolerance; ``different``."""
        if self.before == self.after:
            return "identical"
        return "different" if self.beyond or self.lost else "alike"


@dataclass
class _Artifact:
    """What a stage needs of a KFP artifact."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


def reproduce(
    catalog: Catalog, digest: str, scratch: Path, *, chain: bool = False, tolerance: float = 0.01
) -> Iterator[Reproduced]:
    """Run the stage that made an artifact again, in a scratch folder, and compare.

    Inputs are taken from where they lie, once their content is what their provenance says.

    Args:
        catalog: the artifacts known.
        digest: of the artifact.
        scratch: an empty folder, or one to be made.
        chain: make everything upstream again too, and use that.
        tolerance: how far figures may be apart where contents differ, as a share of the larger.

    Yields:
        Each artifact that was made again, in the order of making.

    Raises:
        UserError: something needed is missing, or the stage cannot be run again.
    """
    todo = _order(catalog, digest) if chain else [_known(catalog, digest)]
    made: dict[str, Path] = {}
    for number, record in enumerate(todo):
        if record.provenance.digest in made:
            continue  # another output of a stage that ran
        yield from _remake(catalog, record, scratch / f"{number:02d}-{record.provenance.stage}", made, tolerance)


def _order(catalog: Catalog, digest: str) -> list[Record]:
    """Return everything upstream that has provenance, roots first."""
    graph = walk(catalog, [_known(catalog, digest).provenance.digest])
    if graph.circular:
        raise UserError(f"{graph.circular[0][:12]} is made from itself according to its provenance, so nothing is run")
    order: dict[str, Record] = {}
    stack = [digest]
    while stack:
        current = stack[-1]
        waiting = [
            e.source for e in graph.inputs(current) if e.source not in order and not graph.nodes[e.source].missing
        ]
        stack += waiting
        if not waiting:
            order[stack.pop()] = _known(catalog, current)
    return list(order.values())


def _known(catalog: Catalog, digest: str) -> Record:
    """Return the copy of an artifact to compare with, one on this machine if there is any."""
    copies = catalog.records(digest)
    if not copies:
        raise UserError(f"nothing at hand tells how {digest[:12]} was made; say with --in where its provenance lies")
    return min(copies, key=lambda record: (record.folder is None, record.provenance.started, record.uri))


def _remake(
    catalog: Catalog, record: Record, place: Path, made: dict[str, Path], tolerance: float
) -> Iterator[Reproduced]:
    """Run one stage; note its outputs in ``made`` by the digest of their originals, and yield each known one."""
    provenance = record.provenance
    stage = _stage(provenance)
    inputs = {
        name: made.get(reference.digest) or _input(catalog, name, reference.digest, provenance, place)
        for name, reference in provenance.inputs.items()
    }
    outputs = {name: _Artifact(str(place / name)) for name in stage.outputs}
    parameters = {**provenance.parameters, **{k: v for k, v in BLANK.items() if k in provenance.parameters}}
    artifacts = _gathered(stage, {k: _Artifact(str(v)) for k, v in inputs.items()})
    _fits(stage, provenance, {**artifacts, **outputs, **parameters})
    stages.execute(stage, {**artifacts, **outputs, **parameters})
    for name in stage.outputs:
        original = record if name == provenance.name else _sibling(catalog, provenance, name)
        if original is not None and (place / name).is_dir():
            made[original.provenance.digest] = place / name
            yield _compare(original, place / name, tolerance)


def _gathered(stage: stages.Stage[Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return inputs by argument: ``parts-000`` and ``parts-001`` are the list ``parts`` again."""
    known, found = inspect.signature(stage.function).parameters, dict[str, Any]()
    for name, value in inputs.items():
        argument, _, number = name.rpartition("-")
        if name not in known and argument in known and number.isdigit():
            found.setdefault(argument, []).append(value)  # provenance keeps them in their order
        else:
            found[name] = value
    return found


def _stage(provenance: Provenance) -> stages.Stage[Any]:
    name = provenance.stage
    if name == PUBLICATION:
        raise UserError("a publication is not made again: it would publish; name the bundle that was published")
    found = getattr(stages, name, None) if name in stages.__all__ else None
    if not isinstance(found, stages.Stage):
        raise UserError(
            f"this version of aerodet has no stage {name!r}, so {printable(provenance.name)} is not made again here"
        )
    return found


def _fits(stage: stages.Stage[Any], provenance: Provenance, arguments: Mapping[str, Any]) -> None:
    """Check what the provenance says against the stage's signature, before anything runs."""
    names = [*_gathered(stage, provenance.inputs), *stage.outputs, *provenance.parameters]
    reason = "" if len(names) == len(arguments) else "a name is used twice"
    try:
        inspect.signature(stage.function).bind(**arguments)
    except TypeError as error:
        reason = str(error)
    if reason:
        raise UserError(
            f"the provenance of {printable(provenance.name)} does not fit stage {stage.name} of this version "
            f"({printable(reason)}); run the version that made it, {printable(provenance.code.label)}"
        )


def _sibling(catalog: Catalog, provenance: Provenance, name: str) -> Record | None:
    """Return another output of the same execution."""
    if not provenance.invocation:
        return None
    records = (record for copies in catalog.artifacts.values() for record in copies)
    same = (r for r in records if r.provenance.invocation == provenance.invocation and r.provenance.name == name)
    return next(same, None)


def _input(catalog: Catalog, name: str, digest: str, provenance: Provenance, place: Path) -> Path:
    """Return a folder with exactly the content of an input."""
    changed, what = [], f"input {printable(name)} ({digest[:12]}) of {printable(provenance.name)}"
    for record in sorted(catalog.records(digest), key=lambda r: r.folder is None):
        folder = record.folder or _download(record, place / "inputs" / digest[:16])
        if folder.is_dir() and folder_digest(folder) == digest:
            return folder
        changed.append(record.uri)
    if changed:
        raise DataError(
            f"{what} is not what it was: {printable(changed[0])} has changed; restore it, or make it again too with "
            "--chain"
        )
    raise UserError(f"{what} is not at hand; say with --in where it lies, or make it again too with --chain")


def _download(record: Record, folder: Path) -> Path:
    store = open_store(record.uri)
    for entry in store.keys():
        if {"", ".", ".."} & set(entry.key.split("/")):
            raise DataError(f"{record.uri} holds {entry.key!r}, which is no plain path; nothing is copied from it")
        store.download(entry.key, folder / entry.key)
    return folder


def _compare(original: Record, folder: Path, tolerance: float) -> Reproduced:
    before, after = original.provenance, read_provenance(folder)
    files = sorted(p for p in before.files.keys() | after.files.keys() if before.files.get(p) != after.files.get(p))
    ours, theirs = {"": before.annotations.get("metrics", {})}, {"": after.annotations.get("metrics", {})}
    for path in files:
        if path.endswith(".json"):
            ours[path] = _json(original, path)
            theirs[path] = json.loads((folder / path).read_text()) if (folder / path).is_file() else {}
    left, right = dict(_leaves(ours)), dict(_leaves(theirs))
    shared = sorted(left.keys() & right.keys())
    figures = (Figure(n, left[n], right[n], time=bool(_TIME.search(n))) for n in shared if left[n] != right[n])
    return Reproduced(
        before.name,
        before.stage,
        before.digest,
        after.digest,
        folder,
        tuple(files),
        tuple(figures),
        tolerance,
        tuple(sorted(left.keys() ^ right.keys())),
    )


def _json(record: Record, path: str) -> Any:
    """Read a JSON file of the original, which may be gone or damaged: then it has no figures."""
    try:
        return json.loads(open_store(record.uri).read(path, JSON_LIMIT))
    except (UserError, ValueError, RecursionError):
        return {}


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in a JSON value with their places."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield name, float(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name} {key}".strip())
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{index}]")
