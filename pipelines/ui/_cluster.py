"""Runs and schedules of a Kubeflow Pipelines server as the page shows them.

The server tells states and times; what a run made is found by its provenance in the places that the page reads, where
the run's artifacts lie under ``.../<run id>/<task>/``. Where the server keeps MLMD, that also tells which stages the
cache answered, and where what they gave lies: in the folder of the run that made it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aerodet.errors import MachineError
from aerodet.lineage import Record, main_artifact
from aerodet.pipelines.cluster import Api, Execution, executions, list_schedules
from aerodet.pipelines.cluster.runs import tasks_of
from aerodet.pipelines.ui._library import Library
from aerodet.pipelines.ui._runs import reduced

__all__ = ["Cluster"]

_STATES = {"CANCELED": "STOPPED", "CANCELING": "STOPPED", "SKIPPED": "SUCCEEDED", "ERROR": "FAILED"}
_NEXT = 3  # times of a schedule that are shown


class Cluster:
    """What a server tells.

    Args:
        api: the pipeline API.
        experiment: whose runs are shown.
    """

    def __init__(self, api: Api, experiment: str) -> None:
        self._api, self._experiment = api, experiment

    def runs(self, library: Library) -> list[dict[str, Any]]:
        """Return the experiment's runs, the newest first."""
        home = self._api.experiment(self._experiment, create=False)
        return [self._summary(library, run) for run in self._api.runs(home.experiment_id)] if home else []

    def run(self, library: Library, run_id: str) -> dict[str, Any]:
        """Return everything about one run.

        Raises:
            UserError: there is none.
        """
        run = self._api.run(run_id)
        tasks, details = tasks_of(self._api, run), _details(run)
        names = {key: _name(key, task) for key, task in tasks.items()}
        made = _by_task(library, run_id)
        known, note = self._executions(run_id)
        for key, execution in known.items():
            made.setdefault(key, []).extend(_outputs(library, execution, made.get(key, [])))
        stages = [
            _stage(names[key], details.get(key) or details.get(names[key]), made.get(key, []), known.get(key))
            for key in tasks
        ]
        links = reduced({names[key]: {names[d] for d in task.get("dependentTasks", ())} for key, task in tasks.items()})
        parameters = (run.runtime_config.parameters if run.runtime_config else None) or {}
        return {
            **self._summary(library, run),
            "parameters": parameters,
            "stages": stages,
            "links": [{"from": before, "to": name} for name, above in links.items() for before in sorted(above)],
            "report": False,
            "profile": [],
            "logs": False,
            "error": " ".join(str(run.error.message or "").split()) if run.error else None,
            "note": note,
        }

    def _executions(self, run_id: str) -> tuple[dict[str, Execution], str | None]:
        """Return MLMD's newest execution of each task, and what to say where MLMD is there and fails."""
        try:
            found = executions(self._api, run_id) or ()
        except MachineError as error:  # states and times are the API's, and stand without it
            return {}, str(error)
        return {execution.task: execution for execution in found if execution.task}, None

    def schedules(self) -> list[dict[str, Any]]:
        """Return the schedules of the namespace, by name."""
        return [
            {
                "name": schedule.name,
                "when": schedule.when,
                "enabled": schedule.enabled,
                "next": [moment.isoformat() for moment in schedule.next_times(count=_NEXT)] if schedule.enabled else [],
                "runs_at_a_time": schedule.max_concurrency,
                "catch_up": schedule.catch_up,
                "version": schedule.version_id or "the newest at each start",
                "parameters": dict(schedule.parameters),
            }
            for schedule in list_schedules(self._api)
        ]

    def _summary(self, library: Library, run: Any) -> dict[str, Any]:
        records = [record for found in _by_task(library, run.run_id).values() for record in found]
        details = _details(run).values()
        return {
            "id": run.run_id,
            "name": run.display_name,
            "uri": f"experiment {self._experiment}",
            "pipeline": self._experiment,
            "state": _state(run.state),
            "started": _text(run.created_at),
            "finished": _text(run.finished_at),
            "seconds": _seconds(run.created_at, run.finished_at),
            "done": sum(_state(detail.state) == "SUCCEEDED" for detail in details),
            "stages": len(details),
            "results": None,
            "main": main_artifact(records).provenance.digest if records else None,
        }


def _details(run: Any) -> dict[str, Any]:
    """Return the newest detail of each task that has one, by the name that the server gives it."""
    found = (run.run_details.task_details if run.run_details else None) or ()
    ordered = sorted(found, key=lambda detail: str(detail.create_time))
    return {detail.display_name: detail for detail in ordered if detail.display_name}


def _outputs(library: Library, execution: Execution, known: list[Record]) -> list[Record]:
    """Return what an execution gave as the page's places have it, besides what is known."""
    wanted = {_bare(uri) for _, uri in execution.outputs} - {_bare(record.uri) for record in known}
    records = (record for copies in library.catalog().artifacts.values() for record in copies)
    return [record for record in records if _bare(record.uri) in wanted] if wanted else []


def _bare(uri: str) -> str:
    """Return an address without its scheme: one bucket is ``minio://`` to Kubeflow and ``s3://`` to others."""
    return uri.partition("://")[2].rstrip("/")


def _stage(name: str, detail: Any, records: list[Record], execution: Execution | None) -> dict[str, Any]:
    outputs = [{"name": r.provenance.name, "digest": r.provenance.digest, "kind": r.kind} for r in records]
    if detail is None:
        return {"name": name, "state": "PENDING", "outputs": outputs}
    return {
        "name": name,
        "state": _state(detail.state),
        "seconds": _seconds(detail.start_time, detail.end_time) or 0.0,
        "began": _text(detail.start_time),
        "kept": execution is not None and execution.state == "CACHED",
        "execution": None if execution is None else execution.identity,
        "error": " ".join(str(detail.error.message or "").split()) if detail.error else None,
        "outputs": outputs,
        "progress": None,
    }


def _by_task(library: Library, run_id: str) -> dict[str, list[Record]]:
    """Return the artifacts of a run by the task that made them."""
    found: dict[str, list[Record]] = {}
    for record in (record for copies in library.catalog().artifacts.values() for record in copies):
        _, inside, rest = record.uri.partition(f"/{run_id}/")
        if inside:
            found.setdefault(rest.split("/")[0], []).append(record)
    return found


def _name(key: str, task: Mapping[str, Any]) -> str:
    return re.sub(r"[^\w.-]+", "-", str(task.get("taskInfo", {}).get("name", key)))


def _state(state: Any) -> str:
    text = str(state or "PENDING")
    return _STATES.get(text, text)


def _seconds(begin: Any, end: Any) -> float | None:
    """Return the time between; KFP's zero time, of 1970 or before, is none."""
    if not isinstance(begin, datetime) or begin.year <= 1970:
        return None
    until = end if isinstance(end, datetime) and end.year > 1970 else datetime.now(UTC)
    return max(0.0, (until - begin).total_seconds())


def _text(moment: Any) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) and moment.year > 1970 else None
