"""Runs as the page shows them: states, times, the graph of stages, results."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from aerodet.errors import AerodetError, UserError
from aerodet.lineage import Record, main_artifact
from aerodet.pipelines.record import RECORD, RunRecord, StageRecord, is_running
from aerodet.pipelines.ui._library import RECORD_LIMIT, Library, Run, parse_json, path_inside
from aerodet.storage import open_store

__all__ = ["log", "reduced", "run_list", "run_view"]

PACKAGE, RESULTS, REPORT = "pipeline.yaml", "results.json", "report.html"
LOG_BYTES = 64 << 10  # the end of a log that is shown
MOST_TASKS, MOST_SETTINGS, DEEPEST = 500, 500, 8  # of a graph, and of a profile with its levels


def run_list(library: Library) -> list[dict[str, Any]]:
    """Return the runs, in no order."""
    return [_summary(library, run) for run in library.runs().values()]


def _summary(library: Library, run: Run) -> dict[str, Any]:
    try:
        record = _record(run)
    except AerodetError as error:
        return {"id": run.run_id, "uri": run.uri, "state": "UNREADABLE", "error": str(error)}
    records = library.records_of(run)
    done = sum(stage.state == "SUCCEEDED" for stage in record.stages)
    return {
        "id": run.run_id,
        "uri": run.uri,
        "pipeline": record.pipeline,
        "state": _state(run, record),
        "started": record.started,
        "finished": record.finished,
        "seconds": _seconds(record),
        "done": done,
        "stages": max(len(_tasks(run)), len(record.stages)),
        "results": _json(run, RESULTS),
        "main": main_artifact(records).provenance.digest if records else None,
    }


def run_view(library: Library, run_id: str) -> dict[str, Any]:
    """Return everything about one run.

    Raises:
        UserError: there is no such run, or its record is damaged.
    """
    run = library.run(run_id)
    record = _record(run)
    records = {r.uri: r for copies in library.catalog().artifacts.values() for r in copies}
    stages = [_stage(run, record, stage, records) for stage in record.stages]
    tasks = _tasks(run)
    started = {stage["name"] for stage in stages}
    stages += [{"name": name, "state": "PENDING", "outputs": []} for name in tasks if name not in started]
    links = reduced(tasks) if tasks else _links(stages)
    return {
        **_summary(library, run),
        "parameters": record.parameters,
        "stages": stages,
        "links": [{"from": before, "to": name} for name, above in links.items() for before in sorted(above)],
        "report": _has(run, REPORT),
        "profile": _profile(run),
        "logs": True,
    }


def log(library: Library, run_id: str, stage: str) -> str:
    """Return the end of a stage's log.

    Raises:
        UserError: there is no such run or log.
    """
    run = library.run(run_id)
    if stage not in {entry.name for entry in _record(run).stages}:
        raise UserError(f"run {run_id} has no stage {stage}")
    if run.folder is None:
        return run.read(f"logs/{stage}.log")[-LOG_BYTES:].decode(errors="replace")
    path = path_inside(run.uri, f"logs/{stage}.log")
    if not path.is_file():
        raise UserError(f"stage {stage} left no log")
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - LOG_BYTES))
        return stream.read(LOG_BYTES).decode(errors="replace")


def _record(run: Run) -> RunRecord:
    """Read a run's record, which may come from anybody."""
    try:
        fields = parse_json(run.read(RECORD, RECORD_LIMIT))
        stages = [StageRecord(**stage) for stage in fields.pop("stages")]
        record = RunRecord(stages=stages, **fields)
        _check(record)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise UserError(f"{run.uri}/{RECORD} is not the record of a run ({error})") from error
    return record


def _check(record: RunRecord) -> None:
    wanted: list[tuple[Any, Any]] = [
        (record.parameters, dict),
        (record.pipeline, str),
        (record.started, str),
        (record.state, str),
    ]
    for stage in record.stages:
        wanted += [(stage.name, str), (stage.state, str), (stage.seconds, (int, float)), (stage.outputs, dict)]
        if {"/", "\\", "\0"} & set(stage.name) or stage.name in (".", ".."):
            raise ValueError(f"{stage.name!r} is no name of a stage")
        wanted += [(path, str) for path in stage.outputs.values()]
    for value, kind in wanted:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is of the wrong type")


def _state(run: Run, record: RunRecord) -> str:
    if record.state == "RUNNING" and run.folder is not None and not is_running(run.folder):
        return "STOPPED"  # its runner was killed
    return record.state


def _seconds(record: RunRecord) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        end = datetime.fromisoformat(record.finished) if record.finished else datetime.now(UTC)
        return max(0.0, (end - datetime.fromisoformat(record.started)).total_seconds())
    return None


def _stage(run: Run, record: RunRecord, stage: StageRecord, records: Mapping[str, Record]) -> dict[str, Any]:
    outputs, begins, inputs = [], [], set()
    for name, path in stage.outputs.items():
        made = records.get(record.place(path, run.uri))
        entry: dict[str, Any] = {"name": name}
        if made is not None:
            entry |= {"digest": made.provenance.digest, "kind": made.kind}
            begins.append(made.provenance.started)
            inputs |= {reference.digest for reference in made.provenance.inputs.values()}
        outputs.append(entry)
    shown = {name: value for name, value in dataclasses.asdict(stage).items() if name != "outputs"}
    if stage.state == "RUNNING" and _state(run, record) != "RUNNING":
        shown["state"] = "STOPPED"
    began = min(begins).isoformat() if begins else None
    progress = _progress(run, stage.name) if shown["state"] == "RUNNING" else None
    return {**shown, "began": began, "outputs": outputs, "inputs": sorted(inputs), "progress": progress}


def _progress(run: Run, stage: str) -> dict[str, Any] | None:
    """Return the newest progress event of a stage that is running here."""
    if run.folder is None:
        return None
    with contextlib.suppress(OSError, ValueError, TypeError, UserError):
        path = path_inside(run.uri, f"logs/{stage}.events.jsonl")
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 4096))
            lines = stream.read().splitlines()
        for line in reversed(lines):
            if line.startswith(b'{"event": "progress"'):
                event: dict[str, Any] = parse_json(line)
                return event
    return None


def _tasks(run: Run) -> dict[str, set[str]]:
    """Return the stages of the compiled pipeline, each with those that it waits for; empty where that is not told."""
    try:
        document = yaml.load(run.read(PACKAGE, RECORD_LIMIT), _Loader)
        tasks = document["root"]["dag"]["tasks"]
        names = {key: str(task.get("taskInfo", {}).get("name", key)) for key, task in tasks.items()}
        above = {names[k]: {names[d] for d in task.get("dependentTasks", ())} for k, task in tasks.items()}
    except (UserError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return {}  # made by another program, or copied without it: the artifacts tell most of it
    return above if len(above) == len(tasks) <= MOST_TASKS else {}


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _links(stages: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Return what each stage used of the others, by the digests of artifacts."""
    maker = {output["digest"]: stage["name"] for stage in stages for output in stage["outputs"] if "digest" in output}
    used = {stage["name"]: {maker[d] for d in stage.get("inputs", ()) if d in maker} for stage in stages}
    return reduced({name: above - {name} for name, above in used.items()})


def reduced(above: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out each link that a longer way says too."""
    over: dict[str, set[str]] = {}

    def ancestors(name: str, path: frozenset[str]) -> set[str]:
        if name not in over and name not in path:
            direct = above.get(name, set())
            over[name] = direct | {a for d in direct for a in ancestors(d, path | {name})}
        return over.get(name, set())

    for name in above:
        ancestors(name, frozenset())
    return {name: {d for d in direct if not any(d in over[o] for o in direct - {d})} for name, direct in above.items()}


def _profile(run: Run) -> list[list[str]]:
    """Return the settings of the profile as names and texts, at most so many: YAML can be small and mean very much."""
    try:
        values = yaml.load(run.read("profile.yaml", RECORD_LIMIT), _Loader)
    except (UserError, yaml.YAMLError, ValueError, RecursionError):
        return []
    return [[name, value] for name, value in itertools.islice(_settings(values), MOST_SETTINGS)]


def _settings(values: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(values, dict) and depth < DEEPEST:
        for key, value in values.items():
            yield from _settings(value, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(values, list):
        plain = [str(value) for value in values[:MOST_SETTINGS] if isinstance(value, str | int | float)]
        yield name, ", ".join(plain)
    elif not isinstance(values, dict):
        yield name, "" if values is None else str(values)


def _json(run: Run, name: str) -> Any:
    try:
        return parse_json(run.read(name, RECORD_LIMIT))
    except (UserError, ValueError, RecursionError):
        return None


def _has(run: Run, name: str) -> bool:
    return open_store(run.uri).exists(name)
