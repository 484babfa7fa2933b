"""Submitting a run, watching it to its end, and fetching what it made."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from aerodet.errors import AerodetError, MachineError, UserError
from aerodet.files import atomic_path
from aerodet.pipelines._display import Display, default_display
from aerodet.pipelines.cluster._calls import TIMEOUT, MissingError
from aerodet.pipelines.cluster.api import FINAL, Api
from aerodet.pipelines.record import RESULTS, StageRecord, State
from aerodet.storage import Store, open_store

__all__ = [
    "DEFAULT_ROOT",
    "Outcome",
    "RunFailedError",
    "Submission",
    "artifacts_of",
    "fetch",
    "submit",
    "tasks_of",
    "wait",
]

DEFAULT_ROOT = "minio://mlpipeline/v2/artifacts"  # KFP's own, where no other is configured
_SHOWN: dict[str, State] = {"SUCCEEDED": "SUCCEEDED", "FAILED": "FAILED", "CANCELED": "STOPPED"}


class RunFailedError(AerodetError):
    """A run on the cluster ended in another way than by success."""


@dataclass(frozen=True)
class Submission:
    """A run that was created.

    Attributes:
        run_id: the server's id of it.
        name: what it is called.
        version: the name of the pipeline version, by content.
        uploaded: whether that version is new.
    """

    run_id: str
    name: str
    version: str
    uploaded: bool


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        run_id: the server's id of it.
        state: ``SUCCEEDED``, ``FAILED``, ``SKIPPED`` or ``CANCELED``.
        failed: the stages that failed, by the names that a person sees.
        reason: the server's words, where it has any.
    """

    run_id: str
    state: Literal["SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"]
    failed: tuple[str, ...] = ()
    reason: str = ""


def submit(
    api: Api,
    package: Path,
    parameters: Mapping[str, Any],
    *,
    pipeline: str,
    experiment: str,
    name: str | None = None,
    root: str | None = None,
    service_account: str | None = None,
    description: str = "",
) -> Submission:
    """Start a run of a compiled pipeline.

    The package becomes a version of the pipeline, named by its content, unless that version is there already. No fault
    of the server or the network starts a second run.

    Args:
        api: the pipeline API.
        package: IR YAML.
        parameters: the pipeline's parameters.
        pipeline: name of the pipeline, made where it is missing.
        experiment: name of the experiment, made where it is missing.
        name: of the run; a run of that name in the experiment is taken for this one. Default: pipeline, time, letters.
        root: where artifacts go; the namespace's default where None.
        service_account: of the pods.
        description: shown with the run.

    Raises:
        UserError: the server refuses.
        MachineError: the server does not answer, or fails.
    """
    home = api.experiment(experiment)
    version, uploaded = api.version(api.pipeline(pipeline), package)
    run = api.create_run(
        name or f"{pipeline}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        experiment_id=home.experiment_id,
        version=version,
        parameters=parameters,
        root=root,
        service_account=service_account,
        description=description,
    )
    return Submission(run.run_id, run.display_name, version.display_name, uploaded)


def wait(
    api: Api,
    run_id: str,
    *,
    timeout: float | None = None,
    every: float = 5.0,
    display: Display | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Watch a run until it has ended, by success or otherwise.

    Args:
        api: the pipeline API.
        run_id: the run.
        timeout: seconds to wait at most; the run itself goes on.
        every: seconds between two looks.
        display: what shows the stages; by default live lines on a terminal and plain ones elsewhere.
        clock: the time in seconds.

    Raises:
        MachineError: the server does not answer, or the time is over.
    """
    shown, begun = display or default_display(), clock()
    stages = _Stages(shown)
    run = api.run(run_id)
    names = _names(api, run)
    shown.open(f"run {run.display_name}", len(names))
    try:
        while True:
            stages.update(run, names)
            if run.state in FINAL:
                break
            if timeout is not None and clock() - begun >= timeout:
                raise MachineError(
                    f"run {run_id} is {str(run.state or 'PENDING').lower()} after {timeout:g} s and goes on; "
                    f"`aerodet submit --follow {run_id}` watches it further"
                )
            api.caller.pause(every)
            run = api.run(run_id)
    finally:
        shown.close()
    reason = " ".join(str(run.error.message or "").split()) if run.error else ""
    return Outcome(run_id, cast("Any", run.state), tuple(stages.failed), reason)


class _Stages:
    """Shows the stages of a run as their states change."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._states: dict[str, str] = {}
        self.failed: list[str] = []

    def update(self, run: Any, names: Mapping[str, str]) -> None:
        details = (run.run_details.task_details if run.run_details else None) or ()
        for detail in sorted(details, key=lambda d: str(d.create_time)):
            name = _stage(detail.display_name or "", names)
            state = str(detail.state or "PENDING")
            if name is None or self._states.get(name) in (state, *FINAL):
                continue
            if state == "RUNNING":
                self._display.started(name)
            elif state in FINAL:
                self._end(name, state, detail)
            self._states[name] = state

    def _end(self, name: str, state: str, detail: Any) -> None:
        if self._states.get(name) != "RUNNING":
            self._display.started(name)
        seconds = 0.0
        if detail.start_time and detail.end_time:
            seconds = max(0.0, (detail.end_time - detail.start_time).total_seconds())
        record = StageRecord(name, _SHOWN.get(state, "STOPPED"), seconds, kept=state == "SKIPPED")
        self._display.finished(record)
        if state == "FAILED":
            self.failed.append(name)


def _stage(node: str, names: Mapping[str, str]) -> str | None:
    """Return the stage that a node of the workflow is the work of; None for drivers, retries and the root."""
    return names.get(node) or (node if node in names.values() else None)


def _spec(api: Api, run: Any) -> dict[str, Any]:
    """Return the pipeline spec of a run; empty where the server gives none."""
    spec = run.pipeline_spec
    if not spec and run.pipeline_version_reference and run.pipeline_version_reference.pipeline_version_id:
        reference, service = run.pipeline_version_reference, api.client.pipelines
        version = api.caller.read(
            "read the pipeline's version",
            lambda: service.pipeline_service_get_pipeline_version(
                reference.pipeline_id, reference.pipeline_version_id, _request_timeout=TIMEOUT
            ),
        )
        spec = version.pipeline_spec
    if isinstance(spec, str):
        spec = next(iter(yaml.safe_load_all(spec)), None)
    found: dict[str, Any] = (spec or {}).get("pipeline_spec", spec) or {}
    return found


def tasks_of(api: Api, run: Any) -> dict[str, dict[str, Any]]:
    """Return the tasks of a run's pipeline as its spec has them, by name; empty where the server gives no spec."""
    tasks: dict[str, dict[str, Any]] = _spec(api, run).get("root", {}).get("dag", {}).get("tasks", {})
    return tasks


def _names(api: Api, run: Any) -> dict[str, str]:
    """Return the names that a person sees by the pipeline's task names; empty where the server gives no spec."""
    tasks = tasks_of(api, run)
    return {key: re.sub(r"[^\w.-]+", "-", task.get("taskInfo", {}).get("name", key)) for key, task in tasks.items()}


def fetch(api: Api, run_id: str, folder: Path, *, root: str | None = None) -> list[Path]:
    """Fetch ``results.json`` and ``report.html`` of a run.

    They are looked for in the object store first, then asked of the API.

    Args:
        api: the pipeline API.
        run_id: a run that has ended.
        folder: where to put them.
        root: the pipeline root; by default the run's own, else KFP's.

    Returns:
        The files written.

    Raises:
        UserError: the run made neither, or the store refuses access.
        MachineError: neither store nor API answers.
    """
    run = api.run(run_id)
    place = _root(run, root)
    trouble: AerodetError | None = None
    found: dict[str, bytes] = {}
    try:
        found = _from_store(open_store(place), f"{_prefix(api, run)}/{_report_task(api, run)}/")
    except AerodetError as error:
        trouble = error
    for file, output in RESULTS.items():
        if file not in found and (content := _from_api(api, run, output)) is not None:
            found[file] = content
    if not found:
        raise trouble or UserError(
            f"run {run_id} has left no results in {place}; it ended before its report, or its root is another: give it"
        )
    paths = []
    for file, content in sorted(found.items()):
        with atomic_path(folder / file) as partial:
            partial.write_bytes(content)
        paths.append(folder / file)
    return paths


def artifacts_of(api: Api, run_id: str, *, root: str | None = None) -> str:
    """Return where the artifacts of a run are: ``<root>/<pipeline>/<run>``.

    Args:
        api: the pipeline API.
        run_id: the run.
        root: the pipeline root; by default the run's own, else KFP's.
    """
    run = api.run(run_id)
    return f"{_root(run, root).rstrip('/')}/{_prefix(api, run)}"


def _root(run: Any, root: str | None) -> str:
    return root or (run.runtime_config.pipeline_root if run.runtime_config else None) or DEFAULT_ROOT


def _prefix(api: Api, run: Any) -> str:
    return f"{_spec(api, run).get('pipelineInfo', {}).get('name', '')}/{run.run_id}"


def _report_task(api: Api, run: Any) -> str:
    """Return what KFP calls the stage that a person sees as ``report``: a sweep's component is another."""
    return next((key for key, name in _names(api, run).items() if name == "report"), "report")


def _from_store(store: Store, prefix: str) -> dict[str, bytes]:
    """Return the files among the report's artifacts: ``<pipeline>/<run>/report/[<salt>/]<output>[/<file>]``."""
    newest: dict[str, tuple[Any, str]] = {}
    for entry in store.keys(prefix):
        for file, output in RESULTS.items():
            if re.fullmatch(rf"([^/]+/)?{output}(/{re.escape(file)})?", entry.key.removeprefix(prefix)):
                newest[file] = max(newest.get(file, (entry.modified, entry.key)), (entry.modified, entry.key))
    return {file: store.read(key) for file, (_, key) in newest.items()}


def _from_api(api: Api, run: Any, output: str) -> bytes | None:
    """Return an output of stage report by the API's artifact endpoint, or None where that does not know it."""
    details = (run.run_details.task_details if run.run_details else None) or ()
    names = ("report", _report_task(api, run))
    nodes = [d.pod_name or d.task_id for d in details if d.display_name in names and (d.pod_name or d.task_id)]
    client = api.client.runs.run_service_get_run.__self__.api_client
    for node in nodes:
        path = f"/apis/v2beta1/runs/{run.run_id}/nodes/{node}/artifacts/{output}:read"
        try:
            answer = api.caller.read(
                f"read {output} of run {run.run_id}",
                lambda path=path: client.call_api(  # type: ignore[misc]
                    path,
                    "GET",
                    auth_settings=["Bearer"],
                    response_type="object",
                    _return_http_data_only=True,
                    _request_timeout=TIMEOUT,
                ),
            )
        except MissingError:
            continue
        return base64.b64decode(answer["data"])
    return None


def parameter_values(pairs: list[str]) -> dict[str, Any]:
    """Return ``name=value`` pairs of a command line as parameters; values are JSON where they parse, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise UserError(f"a parameter is given as name=value, such as seed=3, not {pair!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values
