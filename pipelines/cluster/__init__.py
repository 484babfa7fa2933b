"""Pipelines on a Kubernetes cluster: submit, watch, fetch, schedule, trigger, and a look beforehand.

::

    api = connect(Access(host="https://kubeflow.example", token_file=Path("token")))
    run = submit(api, Path("pipeline.yaml"), {"run_id": "first", "registry": "..."}, pipeline="p", experiment="e")
    wait(api, run.run_id)
    fetch(api, run.run_id, Path("runs/first"))
"""

from aerodet.pipelines.cluster.access import Access
from aerodet.pipelines.cluster.api import FINAL, Api, connect, version_name
from aerodet.pipelines.cluster.doctor import Check, examine
from aerodet.pipelines.cluster.metadata import Execution, executions
from aerodet.pipelines.cluster.runs import (
    DEFAULT_ROOT,
    Outcome,
    RunFailedError,
    Submission,
    artifacts_of,
    fetch,
    submit,
    wait,
)
from aerodet.pipelines.cluster.schedules import (
    Schedule,
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    run_now,
    zone_of,
)
from aerodet.pipelines.cluster.trigger import Decision, data_mark, trained_on, trigger

__all__ = [
    "DEFAULT_ROOT",
    "FINAL",
    "Access",
    "Api",
    "Check",
    "Decision",
    "Execution",
    "Outcome",
    "RunFailedError",
    "Schedule",
    "Submission",
    "artifacts_of",
    "connect",
    "create_schedule",
    "data_mark",
    "delete_schedule",
    "examine",
    "executions",
    "fetch",
    "get_schedule",
    "list_schedules",
    "pause_schedule",
    "resume_schedule",
    "run_now",
    "submit",
    "trained_on",
    "trigger",
    "version_name",
    "wait",
    "zone_of",
]
