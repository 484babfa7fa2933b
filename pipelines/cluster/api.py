"""The pipeline API's objects that aerodet uses: experiments, pipelines by content, runs, recurring runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from aerodet.errors import UserError
from aerodet.pipelines.cluster._calls import TIMEOUT, Caller, ConflictError, MissingError
from aerodet.pipelines.cluster.access import Access, healthz

__all__ = ["FINAL", "Api", "connect", "version_name"]

FINAL = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED"})
_PAGE = 100


def connect(access: Access | None = None) -> Api:
    """Return the pipeline API.

    Args:
        access: the way to it; by default the pod's own, or the kubeconfig's.

    Raises:
        UserError: there is no way to it, or the login is refused.
        MachineError: the login page does not answer.
    """
    access = access or Access()
    return Api(*access.client(), access)


def version_name(package: Path) -> str:
    """Return the name of a pipeline version: the same content has the same name."""
    return f"ir-{hashlib.sha256(package.read_bytes()).hexdigest()[:16]}"


class Api:
    """Kubeflow Pipelines' API, v2beta1.

    Every method raises :class:`~aerodet.errors.UserError` where the server refuses and
    :class:`~aerodet.errors.MachineError` where it does not answer, after bounded retries that make nothing twice.

    Args:
        client: a ``kfp.Client``.
        caller: through which its calls go.
        access: the way that it was reached.
    """

    def __init__(self, client: Any, caller: Caller, access: Access) -> None:
        self.client, self.caller, self.access = client, caller, access
        import kfp_server_api

        self.models = kfp_server_api

    @cached_property
    def namespace(self) -> str | None:
        """The namespace that objects are asked for in: the user's in multi-user mode, else none."""
        return self.access.namespace if healthz(self.client, self.caller).multi_user else None

    def experiment(self, name: str, *, create: bool = True) -> Any:
        """Return the experiment of that name; make it where it is missing and ``create`` says so, else return None."""
        service = self.client.experiments

        def find() -> Any:
            return self._first(
                f"look for experiment {name}",
                service.experiment_service_list_experiments,
                "experiments",
                name,
                **self._scope,
            )

        found = find()
        if found is not None or not create:
            return found
        body = self.models.V2beta1Experiment(display_name=name, namespace=self.namespace)
        return self._create(
            f"create experiment {name}",
            lambda: service.experiment_service_create_experiment(body, _request_timeout=TIMEOUT),
            find,
        )

    def pipeline(self, name: str, *, create: bool = True) -> Any:
        """Return the pipeline of that name; make it where it is missing and ``create`` says so, else return None."""
        service = self.client.pipelines

        def find() -> Any:
            try:
                return self.caller.read(
                    f"look for pipeline {name}",
                    lambda: service.pipeline_service_get_pipeline_by_name(
                        name, _request_timeout=TIMEOUT, **self._scope
                    ),
                )
            except MissingError:
                return None

        found = find()
        if found is not None or not create:
            return found
        body = self.models.V2beta1Pipeline(name=name, display_name=name, namespace=self.namespace)
        return self._create(
            f"create pipeline {name}",
            lambda: service.pipeline_service_create_pipeline(body, _request_timeout=TIMEOUT),
            find,
        )

    def version(self, pipeline: Any, package: Path) -> tuple[Any, bool]:
        """Return the version of a pipeline that has a package's content, and whether it was uploaded just now."""
        name, identity = version_name(package), pipeline.pipeline_id

        def find() -> Any:
            listed = self.client.pipelines.pipeline_service_list_pipeline_versions
            return self._first(f"look for version {name}", listed, "pipeline_versions", name, pipeline_id=identity)

        found = find()
        if found is not None:
            return found, False

        def upload() -> Any:
            return self.client.pipeline_uploads.upload_pipeline_version(
                str(package), name=name, display_name=name, pipelineid=identity, _request_timeout=TIMEOUT
            )

        return self._create(f"upload version {name}", upload, find), True

    def newest_version(self, pipeline_id: str) -> Any:
        """Return the newest version of a pipeline.

        Raises:
            UserError: it has none.
        """
        service = self.client.pipelines

        def page() -> Any:
            return service.pipeline_service_list_pipeline_versions(
                pipeline_id, page_size=1, sort_by="created_at desc", _request_timeout=TIMEOUT
            )

        versions = self.caller.read("list the pipeline's versions", page).pipeline_versions
        if not versions:
            raise UserError(f"pipeline {pipeline_id} has no version; submit it first")
        return versions[0]

    def create_run(
        self,
        name: str,
        *,
        experiment_id: str,
        version: Any,
        parameters: Mapping[str, Any],
        root: str | None = None,
        service_account: str | None = None,
        description: str = "",
    ) -> Any:
        """Create a run, once: the name is its own, and a run of that name in the experiment is taken for this one."""
        m = self.models
        body = m.V2beta1Run(
            display_name=name,
            description=description,
            experiment_id=experiment_id,
            pipeline_version_reference=m.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.pipeline_version_id
            ),
            runtime_config=m.V2beta1RuntimeConfig(parameters=dict(parameters), pipeline_root=root),
            service_account=service_account,
        )
        service = self.client.runs

        def named() -> list[Any]:
            found = self.runs(experiment_id, name=name)
            return sorted(found, key=lambda run: (str(run.created_at), run.run_id))

        def find() -> Any:
            return next(iter(named()), None)

        def call() -> Any:
            return service.run_service_create_run(body, _request_timeout=TIMEOUT)

        retried: list[bool] = []

        def find_again() -> Any:
            retried.append(True)
            return find()

        existing = find()
        if existing is not None:
            return existing
        run = self._create(f"create run {name}", call, find_again)
        return self._only(named(), run) if retried else run

    def _only(self, runs: list[Any], made: Any) -> Any:
        """Keep the first of several runs of one name: a slow server may have done late what was asked again."""
        first = runs[0] if runs else made
        for double in runs[1:]:
            self.terminate(double.run_id)
        return first

    def run(self, run_id: str) -> Any:
        """Return a run as it stands."""
        service = self.client.runs
        return self.caller.read(
            f"read run {run_id}", lambda: service.run_service_get_run(run_id, _request_timeout=TIMEOUT)
        )

    def runs(self, experiment_id: str, *, name: str | None = None) -> list[Any]:
        """Return the runs of an experiment, the newest first, all or those of one name."""
        listed = self.client.runs.run_service_list_runs
        found = self._pages(
            "list the runs", listed, "runs", name, experiment_id=experiment_id, sort_by="created_at desc"
        )
        return list(found)

    def terminate(self, run_id: str) -> None:
        """End a run; one that has ended already is no error."""
        service = self.client.runs
        self.caller.read(
            f"end run {run_id}", lambda: service.run_service_terminate_run(run_id, _request_timeout=TIMEOUT)
        )

    def recurring_runs(self, experiment_id: str | None = None, *, name: str | None = None) -> list[Any]:
        """Return the recurring runs of an experiment or of the namespace, the newest first."""
        listed = self.client.recurring_runs.recurring_run_service_list_recurring_runs
        scope = {"experiment_id": experiment_id} if experiment_id else self._scope
        found = self._pages("list the schedules", listed, "recurring_runs", name, sort_by="created_at desc", **scope)
        return list(found)

    def create_recurring_run(self, body: Any) -> Any:
        """Create a recurring run, once: its description has a mark of its own."""
        service = self.client.recurring_runs

        def find() -> Any:
            candidates = self.recurring_runs(body.experiment_id, name=body.display_name)
            return next((run for run in candidates if run.description == body.description), None)

        return self._create(
            f"create schedule {body.display_name}",
            lambda: service.recurring_run_service_create_recurring_run(body, _request_timeout=TIMEOUT),
            find,
        )

    def enable(self, recurring_run_id: str, *, enabled: bool) -> None:
        """Let a recurring run start runs, or keep it from that."""
        service = self.client.recurring_runs
        call = (
            service.recurring_run_service_enable_recurring_run
            if enabled
            else service.recurring_run_service_disable_recurring_run
        )
        what = "resume" if enabled else "pause"
        self.caller.read(f"{what} the schedule", lambda: call(recurring_run_id, _request_timeout=TIMEOUT))

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """Delete a recurring run; one that is gone is no error."""
        service = self.client.recurring_runs
        try:
            self.caller.read(
                "delete the schedule",
                lambda: service.recurring_run_service_delete_recurring_run(recurring_run_id, _request_timeout=TIMEOUT),
            )
        except MissingError:
            return  # by the attempt before, whose answer was lost

    @property
    def _scope(self) -> dict[str, str]:
        return {"namespace": self.namespace} if self.namespace else {}

    def _create(self, what: str, call: Callable[[], Any], find: Callable[[], Any]) -> Any:
        """Create something; where another was faster, return what it made."""
        try:
            return self.caller.create(what, call, find)
        except ConflictError:
            found = find()
            if found is None:
                raise
            return found

    def _first(self, what: str, listed: Callable[..., Any], field: str, name: str, **options: Any) -> Any:
        return next(self._pages(what, listed, field, name, **options), None)

    def _pages(
        self, what: str, listed: Callable[..., Any], field: str, name: str | None, **options: Any
    ) -> Iterator[Any]:
        """Yield the objects of a list over all its pages, those of one name where one is given."""
        if name is not None:
            predicate = {"operation": "EQUALS", "key": "display_name", "string_value": name}
            options["filter"] = json.dumps({"predicates": [predicate]})
        token = ""
        while True:
            page = self.caller.read(
                what,
                lambda token=token: listed(page_size=_PAGE, page_token=token, _request_timeout=TIMEOUT, **options),  # type: ignore[misc]
            )
            for item in getattr(page, field) or ():
                if name is None or item.display_name == name:
                    yield item
            token = page.next_page_token
            if not token:
                return
