"""What differs between two artifacts, and where in their making it began: data, code, parameters, metrics."""

from __future__ import annotations

import difflib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aerodet.lineage.catalog import Catalog, Record
from aerodet.lineage.provenance import Provenance

__all__ = ["Change", "Difference", "compare"]

NOTHING = "–"
# Parameters that say where a run works and publishes, or when it began; they shape nothing.
PLACES = frozenset({"registry", "run_id", "started", "state"})


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs.

    Attributes:
        kind: ``data``, ``stage``, ``code``, ``parameter``, ``library``, ``hardware``, ``image``, ``made here`` or
            ``metric``.
        name: of the parameter, library, metric...
        left: its value in the first artifact's lineage.
        right: its value in the second's.
        steps: where, as input names from the artifacts downwards (``model/init``); ``.`` is the artifacts themselves.
    """

    kind: str
    name: str
    left: str
    right: str
    steps: tuple[str, ...] = (".",)


@dataclass(frozen=True)
class Difference:
    """What differs between two artifacts.

    Attributes:
        left: digest of the first.
        right: digest of the second.
        changes: what differs in what they were made from and how.
        metrics: what was measured, of both, equal or not.
        alike: how many steps of the two lineages are the same content.
    """

    left: str
    right: str
    changes: tuple[Change, ...]
    metrics: tuple[Change, ...]
    alike: int = 0

    @property
    def identical(self) -> bool:
        """They are the same content."""
        return self.left == self.right

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, schema ``aerodet/diff/1``."""

        def plain(change: Change) -> dict[str, Any]:
            return {name: getattr(change, name) for name in ("kind", "name", "left", "right", "steps")}

        return {
            "schema": "aerodet/diff/1",
            "left": self.left,
            "right": self.right,
            "identical": self.identical,
            "alike": self.alike,
            "changes": [plain(change) for change in self.changes],
            "metrics": [plain(change) for change in self.metrics],
        }


@dataclass
class _Found:
    """Changes as they are met, those that are the same in many steps together."""

    steps: dict[tuple[str, str, str, str], list[str]] = field(default_factory=dict)
    count: int = 0

    def add(self, step: str, kind: str, name: str, left: Any, right: Any) -> None:
        self.count += 1
        self.steps.setdefault((kind, name, _text(left), _text(right)), []).append(step or ".")

    def changes(self) -> Iterator[Change]:
        for (kind, name, left, right), steps in self.steps.items():
            yield Change(kind, name, left, right, tuple(steps))


def compare(catalog: Catalog, left: str, right: str) -> Difference:
    """Hold the lineages of two artifacts against each other, step by step, from the artifacts to their roots.

    Where two inputs of the same name are the same content, nothing above them is looked at: it made no difference.

    Args:
        catalog: the artifacts known.
        left: digest of the first artifact.
        right: digest of the second.
    """
    found, alike = _Found(), 0
    queue, seen = deque([("", left, right)]), {(left, right)}
    while queue:
        step, a, b = queue.popleft()
        if a == b:
            alike += 1
            continue
        one, other = _record(catalog, a), _record(catalog, b)
        if one is None or other is None:
            found.add(step, "data", _last(step), a, b)
            continue
        if one.provenance.stage != other.provenance.stage:
            found.add(step, "stage", "stage", one.provenance.stage, other.provenance.stage)
            continue  # they have nothing in common that could be held together
        _settings(found, step, one.provenance, other.provenance)
        ours, theirs = one.provenance.inputs, other.provenance.inputs
        if not ours and not theirs:
            found.add(step, "data", _last(step), a, b)
        for name in sorted(ours.keys() | theirs.keys()):
            inner = f"{step}/{name}" if step else name
            if name not in ours or name not in theirs:
                found.add(
                    inner, "data", name, *(side[name].digest if name in side else None for side in (ours, theirs))
                )
            elif (pair := (ours[name].digest, theirs[name].digest)) not in seen:
                seen.add(pair)
                queue.append((inner, *pair))
    return Difference(left, right, tuple(found.changes()), tuple(_metrics(catalog, left, right)), alike)


def _record(catalog: Catalog, digest: str) -> Record | None:
    return min(catalog.records(digest), key=lambda r: (r.provenance.started, r.uri), default=None)


def _settings(found: _Found, step: str, one: Provenance, other: Provenance) -> None:
    """Compare how two artifacts were made, apart from what they were made from."""
    before = found.count
    if one.code != other.code:
        found.add(step, "code", "aerodet", one.code.label, other.code.label)
    elif one.code.dirty:  # two different modifications look alike from here
        found.add(step, "code", "aerodet", f"{one.code.label}, unknown changes", f"{other.code.label}, unknown changes")
    if one.image != other.image:
        found.add(step, "image", "image", one.image, other.image)
    for name, left, right in _unequal(one.parameters, other.parameters):
        if name not in PLACES:
            _parameter(found, step, name, left, right)
    for kind, ours, theirs in (
        ("library", one.libraries, other.libraries),
        ("hardware", one.hardware, other.hardware),
    ):
        for name, left, right in _unequal(ours, theirs):
            found.add(step, kind, name, left, right)
    same_inputs = {r.digest for r in one.inputs.values()} == {r.digest for r in other.inputs.values()}
    if same_inputs and one.inputs and found.count == before:
        found.add(step, "made here", _last(step), one.digest, other.digest)


def _parameter(found: _Found, step: str, name: str, left: Any, right: Any) -> None:
    """Note one parameter; of a text of many lines, the lines that differ."""
    if not (isinstance(left, str) and isinstance(right, str) and "\n" in left + right):
        found.add(step, "parameter", name, left, right)
        return
    ours, theirs = left.splitlines(), right.splitlines()
    for tag, a, b, c, d in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag != "equal":
            parts = (" ".join(line.strip() for line in lines) for lines in (ours[a:b], theirs[c:d]))
            found.add(step, "parameter", name, *(part or None for part in parts))


def _unequal(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted(left.keys() | right.keys()):
        if left.get(name) != right.get(name):
            yield name, left.get(name), right.get(name)


def _metrics(catalog: Catalog, left: str, right: str) -> Iterator[Change]:
    """Yield what was measured of either artifact, by its maker and by the stages that used it."""
    ours, theirs = _measured(catalog, left), _measured(catalog, right)
    for name in sorted(ours.keys() | theirs.keys()):
        yield Change("metric", name, _text(ours.get(name)), _text(theirs.get(name)))


def _measured(catalog: Catalog, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    users = (_record(catalog, use.user) for use in catalog.uses.get(digest, ()))
    for record in (_record(catalog, digest), *users):
        if record is None or (record.kind not in ("evaluation", "benchmark") and record.provenance.digest != digest):
            continue
        made = record.provenance
        graph = made.parameters.get("graph")
        where = f"{made.stage} {graph}" if isinstance(graph, str) and graph else made.stage
        metrics = made.annotations.get("metrics")
        for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
            found.setdefault(f"{where}: {name}", value)
    return found


def _last(step: str) -> str:
    return step.rpartition("/")[2] or "content"


def _text(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)
