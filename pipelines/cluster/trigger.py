"""Retraining when the data has changed, and a look whether what is new differs from what was trained on.

A trigger compares the content of a data prefix with that which the champion's run and the last run were started for.
Files written again with the same bytes are no change. What it read is kept in a store of notes, so that the next look
reads only what is new.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aerodet.drift import Drift, compare, look
from aerodet.errors import RegistryError, UserError
from aerodet.pipelines.cluster._calls import MissingError
from aerodet.pipelines.cluster.api import FINAL, Api
from aerodet.pipelines.cluster.runs import Submission, submit
from aerodet.registry import Registry
from aerodet.storage import FileNote, Snapshot, Store, snapshot

__all__ = ["Decision", "data_mark", "trained_on", "trigger"]

_NOTES = "notes.json"
_SCHEMA = "aerodet/trigger-notes/1"
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_SAMPLE = 200  # images looked at on each side; the statistic is then good to about 0.1


@dataclass(frozen=True)
class Decision:
    """What a trigger did, and why.

    Attributes:
        action: ``started`` a run; ``unchanged``: the data is what was trained on; ``busy``: a run is going on;
            ``alike``: there is new data, and it looks like the old.
        reason: one sentence.
        digest: of the data, SHA-256.
        added: files that are new since the last look.
        changed: files with other bytes.
        removed: files that are gone.
        drift: how far the new images are from the old ones, where there are any.
        run: the run that was started.
    """

    action: Literal["started", "unchanged", "busy", "alike"]
    reason: str
    digest: str
    added: int = 0
    changed: int = 0
    removed: int = 0
    drift: Drift | None = None
    run: Submission | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def data_mark(digest: str) -> str:
    """Return what a run's description says of the data that it was started for."""
    return f"data sha256:{digest}"


def trained_on(run: Any) -> str | None:
    """Return the digest of the data that a run was started for, where its description says it."""
    match = re.search(r"\bdata sha256:([0-9a-f]{64})\b", run.description or "")
    return match[1] if match else None


def trigger(
    api: Api,
    package: Callable[[], Path],
    parameters: Mapping[str, Any],
    *,
    data: Store,
    notes: Store,
    pipeline: str,
    experiment: str,
    name: str = "data",
    registry: Registry | None = None,
    model: str = "aircraft-detector",
    start_on: Literal["change", "drift"] = "change",
    retry_failed: bool = False,
    dry_run: bool = False,
    root: str | None = None,
    service_account: str | None = None,
) -> Decision:
    """Start a run if the data has changed, and none is going on.

    Args:
        api: the pipeline API.
        package: compiles the pipeline; called only when a run is to be started.
        parameters: of the run.
        data: what is watched.
        notes: where the trigger keeps what it knows; not inside ``data``.
        pipeline: see :func:`aerodet.pipelines.cluster.submit`.
        experiment: likewise; a run of it that goes on keeps the trigger from starting another.
        name: begins the names of the runs.
        registry: where the champion is; without it the last run alone is compared with.
        model: its name there.
        start_on: ``change``: on any change; ``drift``: only when new images look different.
        retry_failed: start again for data whose last run failed.
        dry_run: decide and start nothing.
        root: see :func:`aerodet.pipelines.cluster.submit`.
        service_account: likewise.

    Raises:
        UserError: there is no data, or a server refuses.
        MachineError: a server does not answer.
    """
    known, figures = _read_notes(notes)
    now = snapshot(data, known)
    if not now.files:
        raise UserError(f"there is nothing in {data.uri}; name the prefix of the training data")
    digest = now.digest
    added, changed, removed = now.changes(known)
    decide = partial(Decision, digest=digest, added=len(added), changed=len(changed), removed=len(removed))
    home = api.experiment(experiment, create=not dry_run)
    runs = api.runs(home.experiment_id) if home else []
    if going := next((run for run in runs if run.state not in FINAL), None):
        return decide("busy", f"run {going.display_name} is going on")
    reason = _known_reason(api, runs, digest, registry, model, retry_failed=retry_failed)
    if reason:
        _write_notes(notes, now, figures or _figures(data, list(now.files)))
        return decide("unchanged", reason)
    drift = _drift(data, figures, [*added, *changed]) if known.files else None
    if start_on == "drift" and drift is not None and not drift.drifted:
        return decide("alike", drift.sentence, drift=drift)
    sentence = f"the data has changed: {len(added)} files new, {len(changed)} changed, {len(removed)} gone"
    sentence = sentence if known.files else "this data has not been trained on"
    if drift is not None:
        sentence = f"{sentence}; {drift.sentence}"
    if dry_run:
        return decide("started", f"{sentence}; nothing is started, as asked", drift=drift)
    earlier = sum(trained_on(run) == digest for run in runs)
    run = submit(
        api,
        package(),
        parameters,
        pipeline=pipeline,
        experiment=experiment,
        name=f"{name}-{digest[:12]}" + (f"-{earlier + 1}" if earlier else ""),
        root=root,
        service_account=service_account,
        description=f"{sentence}\n{data_mark(digest)}",
    )
    _write_notes(notes, now, _figures(data, list(now.files)))
    return decide("started", sentence, drift=drift, run=run)


def _known_reason(
    api: Api, runs: Sequence[Any], digest: str, registry: Registry | None, model: str, *, retry_failed: bool
) -> str:
    """Return why this data needs no run, or nothing."""
    last = next((run for run in runs if trained_on(run)), None)
    if last is not None and trained_on(last) == digest and not (retry_failed and last.state != "SUCCEEDED"):
        return f"run {last.display_name} ({str(last.state).lower()}) was started for this data"
    champion = _champion(api, registry, model)
    if champion is not None and trained_on(champion) == digest:
        return f"the champion of {model} was trained on this data, by run {champion.display_name}"
    return ""


def _champion(api: Api, registry: Registry | None, model: str) -> Any:
    """Return the run that made the champion, or the newest version where there is no champion; None if it is gone."""
    if registry is None:
        return None
    try:
        version = registry.get(model, "champion")
    except RegistryError:
        newest = registry.versions(model)[-1:]
        if not newest:
            return None
        (version,) = newest
    try:
        return api.run(version.tags["run_id"])
    except (KeyError, MissingError):
        return None  # it was made by hand, or its run was deleted


def _drift(data: Store, old: Sequence[Mapping[str, float]], keys: Sequence[str]) -> Drift | None:
    new = _figures(data, keys)
    return compare(old, new) if new else None


def _figures(data: Store, keys: Sequence[str]) -> list[dict[str, float]]:
    """Return the figures of some of the images, evenly spread over their names; unreadable ones are left out."""
    import cv2
    import numpy as np

    pictures = sorted(key for key in keys if key.lower().endswith(_PICTURES))
    count = min(_SAMPLE, len(pictures))
    found = []
    for number in range(count):
        content = np.frombuffer(data.read(pictures[number * len(pictures) // count]), np.uint8)
        image = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB) if content.size else None
        if image is not None:
            found.append(look(np.asarray(image, np.uint8)))
    return found


def _read_notes(notes: Store) -> tuple[Snapshot, list[dict[str, float]]]:
    if not notes.exists(_NOTES):
        return Snapshot({}), []
    content = json.loads(notes.read(_NOTES))
    if content.get("schema") != _SCHEMA:
        raise UserError(f"{notes.uri}/{_NOTES} is not a trigger's; name another place for the notes")
    return Snapshot({key: FileNote(*note) for key, note in content["files"].items()}), content["figures"]


def _write_notes(notes: Store, now: Snapshot, figures: Sequence[Mapping[str, float]]) -> None:
    """Keep what was read, and the figures of the data that the last run was started for."""
    files = {key: [note.etag, note.size, note.sha256] for key, note in sorted(now.files.items())}
    notes.write(_NOTES, json.dumps({"schema": _SCHEMA, "files": files, "figures": list(figures)}).encode())
