"""``aerodet submit``: a pipeline on a cluster."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aerodet.errors import UserError
from aerodet.files import atomic_path
from aerodet.pipelines.cli._cluster import (
    CaOption,
    ContextOption,
    DexOption,
    ExperimentOption,
    FlowOption,
    ForwardOption,
    HostOption,
    KfpNamespaceOption,
    NamespaceOption,
    ParameterOption,
    PipelineOption,
    ProfileOption,
    RootOption,
    ServiceAccountOption,
    SettingOption,
    TokenOption,
    UserOption,
    access_of,
    compiled,
    parameters_of,
    profile_of,
)
from aerodet.pipelines.local import StoppedError

if TYPE_CHECKING:
    from aerodet.pipelines.cluster import Api

__all__ = ["submit"]


def submit(
    profile: ProfileOption = "cluster",
    setting: SettingOption = None,
    flow: FlowOption = "main",
    param: ParameterOption = None,
    registry: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Model registry, as the pods see it.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="URI", help="Where trainings keep checkpoints: s3://bucket/prefix.")
    ] = None,
    pipeline: PipelineOption = None,
    experiment: ExperimentOption = "aerodet",
    name: Annotated[str | None, typer.Option(help="Name of the run; the same name is the same run.")] = None,
    root: RootOption = None,
    service_account: ServiceAccountOption = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where results and report go; runs/RUN by default.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds to wait at most; the run goes on.")] = None,
    dry_run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the compiled pipeline to FILE and start nothing.")
    ] = None,
    follow: Annotated[str | None, typer.Option(metavar="RUN_ID", help="Watch a run that goes on already.")] = None,
    host: HostOption = None,
    namespace: NamespaceOption = "kubeflow",
    kfp_namespace: KfpNamespaceOption = "kubeflow",
    token_file: TokenOption = None,
    dex_user: DexOption = None,
    ca: CaOption = None,
    context: ContextOption = None,
    user_header: UserOption = None,
    *,
    forward: ForwardOption = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the run and leave it.")] = False,
) -> None:
    """Run a profile on a Kubernetes cluster: compile, upload, start, watch, fetch results and report."""
    access = access_of(locals())
    if follow is not None:
        from aerodet.pipelines.cluster import connect

        _watch(connect(access), follow, out, root, timeout)
        return
    chosen = profile_of(profile, setting)
    with compiled(chosen, flow) as package:
        if dry_run is not None:
            with atomic_path(dry_run) as partial:
                shutil.copyfile(package, partial)
            typer.echo(str(dry_run))
            return
        from aerodet.pipelines.cluster import connect
        from aerodet.pipelines.cluster import submit as start

        label = pipeline or "-".join(["aerodet", *([flow] if flow != "main" else []), chosen.name])
        parameters = parameters_of(
            param, run_id=name or label, registry=registry, state=state, publishes=flow == "main"
        )
        api = connect(access)
        run = start(
            api,
            package,
            {"started": time.time(), **parameters},
            pipeline=label,
            experiment=experiment,
            name=name,
            root=root,
            service_account=service_account,
        )
    typer.echo(f"version {run.version} {'uploaded' if run.uploaded else 'is there already'}", err=True)
    typer.echo(run.run_id)
    if not no_wait:
        _watch(api, run.run_id, out or Path("runs") / run.name, root, timeout)


def _watch(api: Api, run_id: str, out: Path | None, root: str | None, timeout: float | None) -> None:
    """Wait for a run's end, and fetch what it made."""
    from aerodet.pipelines.cluster import RunFailedError, fetch, wait

    try:
        outcome = wait(api, run_id, timeout=timeout)
    except KeyboardInterrupt:
        sentence = f"run {run_id} goes on; `aerodet submit --follow {run_id}` watches it further"
        raise StoppedError(sentence, signal.SIGINT) from None
    if outcome.state != "SUCCEEDED":
        stages = f" in {', '.join(outcome.failed)}" if outcome.failed else ""
        reason = f": {outcome.reason}" if outcome.reason else ""
        raise RunFailedError(
            f"run {run_id} ended {outcome.state}{stages}{reason}; its pods' logs are in the run's page"
        )
    try:
        paths = fetch(api, run_id, out or Path("runs") / run_id, root=root)
    except UserError as error:
        raise UserError(f"run {run_id} succeeded, but its results were not fetched: {error}") from error
    for path in paths:
        typer.echo(f"{path.stem:8} {path}")
