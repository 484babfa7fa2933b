"""Schedules: recurring runs that are replaced without a gap or a double, and whose times are known beforehand."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from aerodet.errors import AerodetError, UserError
from aerodet.pipelines.cluster._cron import next_times, six_fields, written
from aerodet.pipelines.cluster.api import Api
from aerodet.pipelines.cluster.runs import Submission

__all__ = [
    "Schedule",
    "create_schedule",
    "delete_schedule",
    "get_schedule",
    "list_schedules",
    "pause_schedule",
    "resume_schedule",
    "run_now",
    "zone_of",
]

_MARK = "aerodet schedule "  # ends the description; tells one creation from another of the same name


@dataclass(frozen=True)
class Schedule:
    """A schedule.

    Attributes:
        name: unique in its experiment.
        identity: the server's id.
        experiment_id: where its runs go.
        enabled: whether it starts runs.
        cron: six fields, or None.
        interval: seconds, or None.
        pipeline_id: what it runs.
        version_id: the version that it is pinned to; None: the newest at each start.
        max_concurrency: runs at a time.
        catch_up: whether runs that were missed are made up for.
        parameters: what its runs are given.
        root: where their artifacts go; None: the namespace's default.
        service_account: of their pods.
        start: when an interval began to count.
    """

    name: str
    identity: str
    experiment_id: str
    enabled: bool
    cron: str | None
    interval: int | None
    pipeline_id: str | None
    version_id: str | None
    max_concurrency: int
    catch_up: bool
    parameters: Mapping[str, Any]
    root: str | None
    service_account: str | None
    start: datetime

    @property
    def when(self) -> str:
        """When it runs, as a person writes it."""
        return written(self.cron) if self.cron else f"every {self.interval} s"

    def next_times(self, zone: tzinfo = UTC, *, now: datetime | None = None, count: int = 5) -> list[datetime]:
        """Return the next times at which it starts a run.

        Args:
            zone: the server's zone, ``CRON_SCHEDULE_TIMEZONE``; UTC unless it was set.
            now: from when.
            count: how many.
        """
        now = now or datetime.now(UTC)
        return next_times(self.cron, self.interval, zone=zone, start=self.start, now=now, count=count)


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name.

    Raises:
        UserError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(f"there is no time zone {name!r}; use a name such as Europe/Vienna") from error


def create_schedule(
    api: Api,
    name: str,
    *,
    experiment: str,
    pipeline: str,
    cron: str | None = None,
    interval: int | None = None,
    version_id: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    root: str | None = None,
    service_account: str | None = None,
    max_concurrency: int = 1,
    catch_up: bool = False,
    paused: bool = False,
) -> Schedule:
    """Create a schedule, or replace the one of that name.

    The new one is created paused, the old one is paused, the new one is resumed and the old one deleted; whatever fails
    on the way, one of the two is left as the old one was.

    Args:
        api: the pipeline API.
        name: unique in the experiment.
        experiment: where its runs go.
        pipeline: what it runs; it must be there.
        cron: five fields, or six with seconds first; in the server's time zone.
        interval: seconds between two starts, instead of ``cron``.
        version_id: pin it to a version; by default each run takes the newest.
        parameters: of its runs.
        root: where their artifacts go.
        service_account: of their pods.
        max_concurrency: runs at a time, 1 to 10.
        catch_up: make up for the runs that were missed while it was paused.
        paused: leave it paused.

    Raises:
        UserError: an option cannot be, the pipeline is not there, or the server refuses.
        MachineError: the server does not answer.
    """
    if (cron is None) == (interval is None):
        raise UserError("a schedule has either a cron expression or an interval")
    if interval is not None and interval < 60:
        raise UserError(f"an interval is at least 60 seconds, not {interval}")
    if not 1 <= max_concurrency <= 10:
        raise UserError(f"1 to 10 runs can go at a time, not {max_concurrency}")
    six = six_fields(cron) if cron is not None else None
    home, flow = api.experiment(experiment), api.pipeline(pipeline, create=False)
    if flow is None:
        raise UserError(f"there is no pipeline {pipeline}; `aerodet submit` makes it")
    m = api.models
    trigger = (
        m.V2beta1Trigger(cron_schedule=m.V2beta1CronSchedule(cron=six))
        if six
        else m.V2beta1Trigger(periodic_schedule=m.V2beta1PeriodicSchedule(interval_second=str(interval)))
    )
    body = m.V2beta1RecurringRun(
        display_name=name,
        description=f"{_MARK}{secrets.token_hex(8)}",
        experiment_id=home.experiment_id,
        pipeline_version_reference=m.V2beta1PipelineVersionReference(
            pipeline_id=flow.pipeline_id, pipeline_version_id=version_id
        ),
        runtime_config=m.V2beta1RuntimeConfig(parameters=dict(parameters or {}), pipeline_root=root),
        trigger=trigger,
        mode=m.RecurringRunMode.DISABLE,
        max_concurrency=str(max_concurrency),
        no_catchup=not catch_up,
        service_account=service_account,
    )
    old = api.recurring_runs(home.experiment_id, name=name)
    new = api.create_recurring_run(body)
    _swap(api, [run for run in old if run.recurring_run_id != new.recurring_run_id], new, paused=paused)
    return get_schedule(api, name, experiment=experiment)


def _swap(api: Api, old: list[Any], new: Any, *, paused: bool) -> None:
    """Put a paused recurring run in the place of older ones, or leave those as they were."""
    running = [run for run in old if run.status == "ENABLED"]
    try:
        for run in running:
            api.enable(run.recurring_run_id, enabled=False)
        if not paused:
            api.enable(new.recurring_run_id, enabled=True)
    except AerodetError:
        try:
            api.delete_recurring_run(new.recurring_run_id)
        finally:
            for run in running:
                api.enable(run.recurring_run_id, enabled=True)
        raise
    for run in old:
        api.delete_recurring_run(run.recurring_run_id)


def list_schedules(api: Api, experiment: str | None = None) -> list[Schedule]:
    """Return the schedules of an experiment, or of the namespace, by name."""
    home = api.experiment(experiment, create=False) if experiment else None
    if experiment and home is None:
        return []
    found = api.recurring_runs(home.experiment_id if home else None)
    return sorted(map(_schedule, found), key=lambda schedule: schedule.name)


def get_schedule(api: Api, name: str, *, experiment: str) -> Schedule:
    """Return a schedule by its name.

    Raises:
        UserError: there is none.
    """
    return _schedule(_find(api, name, experiment))


def pause_schedule(api: Api, name: str, *, experiment: str) -> None:
    """Keep a schedule from starting runs; see :func:`get_schedule`."""
    api.enable(_find(api, name, experiment).recurring_run_id, enabled=False)


def resume_schedule(api: Api, name: str, *, experiment: str) -> None:
    """Let a schedule start runs again; see :func:`get_schedule`."""
    api.enable(_find(api, name, experiment).recurring_run_id, enabled=True)


def delete_schedule(api: Api, name: str, *, experiment: str) -> None:
    """Delete a schedule; its runs stay. See :func:`get_schedule`."""
    api.delete_recurring_run(_find(api, name, experiment).recurring_run_id)


def run_now(api: Api, name: str, *, experiment: str) -> Submission:
    """Start a run as a schedule would, now; see :func:`get_schedule`."""
    schedule = get_schedule(api, name, experiment=experiment)
    if schedule.pipeline_id is None:
        raise UserError(f"schedule {name} has its pipeline inside, not a version of one; create it anew")
    if schedule.version_id:
        version = api.models.V2beta1PipelineVersion(
            pipeline_id=schedule.pipeline_id, pipeline_version_id=schedule.version_id, display_name=schedule.version_id
        )
    else:
        version = api.newest_version(schedule.pipeline_id)
    run = api.create_run(
        f"{name}-now-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        experiment_id=schedule.experiment_id,
        version=version,
        parameters=schedule.parameters,
        root=schedule.root,
        service_account=schedule.service_account,
        description=f"started by hand from schedule {name}",
    )
    return Submission(run.run_id, run.display_name, version.display_name, uploaded=False)


def _find(api: Api, name: str, experiment: str) -> Any:
    home = api.experiment(experiment, create=False)
    found = api.recurring_runs(home.experiment_id, name=name) if home else []
    if not found:
        raise UserError(f"there is no schedule {name} in experiment {experiment}; `aerodet schedule list` shows all")
    return found[0]


def _schedule(run: Any) -> Schedule:
    cron = run.trigger.cron_schedule if run.trigger else None
    period = run.trigger.periodic_schedule if run.trigger else None
    reference, config = run.pipeline_version_reference, run.runtime_config
    began = (period.start_time if period else None) or run.created_at or datetime.now(UTC)
    return Schedule(
        name=run.display_name,
        identity=run.recurring_run_id,
        experiment_id=run.experiment_id,
        enabled=run.status == "ENABLED",
        cron=cron.cron if cron else None,
        interval=int(period.interval_second) if period else None,
        pipeline_id=reference.pipeline_id if reference else None,
        version_id=(reference.pipeline_version_id if reference else None) or None,
        max_concurrency=int(run.max_concurrency or 1),
        catch_up=not run.no_catchup,
        parameters=(config.parameters if config else None) or {},
        root=(config.pipeline_root if config else None) or None,
        service_account=run.service_account or None,
        start=began,
    )
