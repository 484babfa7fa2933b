"""``aerodet trigger``: retrain when the data has changed."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from enum import StrEnum
from typing import Annotated

import typer

from aerodet.pipelines.cli._cluster import (
    CaOption,
    ContextOption,
    DexOption,
    ExperimentOption,
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

__all__ = ["StartOn", "trigger"]


class StartOn(StrEnum):
    """What is reason enough for a run."""

    change = "change"
    drift = "drift"


def trigger(
    data: Annotated[str, typer.Option(metavar="URI", help="Training data to watch: s3://bucket/prefix or a folder.")],
    notes: Annotated[str, typer.Option(metavar="URI", help="Where the trigger keeps what it knows; not in the data.")],
    profile: ProfileOption = "cluster",
    setting: SettingOption = None,
    param: ParameterOption = None,
    registry: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Model registry, as the pods see it.")] = None,
    champion: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The registry as seen from here, to look up the champion.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="URI", help="Where trainings keep checkpoints: s3://bucket/prefix.")
    ] = None,
    start_on: Annotated[StartOn, typer.Option(help="Start on any change, or only when images look different.")] = (
        StartOn.change
    ),
    pipeline: PipelineOption = None,
    experiment: ExperimentOption = "aerodet",
    root: RootOption = None,
    service_account: ServiceAccountOption = None,
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
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Start again for data whose last run failed.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Start a run if the training data has changed and no run is going on; exit 0 either way."""
    from aerodet.pipelines.cluster import connect
    from aerodet.pipelines.cluster import trigger as decide
    from aerodet.registry import open_registry
    from aerodet.storage import open_store

    chosen = profile_of(profile, setting)
    label = pipeline or f"aerodet-{chosen.name}"
    parameters = parameters_of(param, run_id=label, registry=registry, state=state)
    api = connect(access_of(locals()))
    with ExitStack() as stack:
        decision = decide(
            api,
            lambda: stack.enter_context(compiled(chosen)),
            {"started": time.time(), **parameters},
            data=open_store(data),
            notes=open_store(notes),
            pipeline=label,
            experiment=experiment,
            name=f"{label}-data",
            registry=open_registry(champion) if champion else None,
            model=chosen.publish.name,
            start_on=start_on.value,
            retry_failed=retry_failed,
            dry_run=dry_run,
            root=root,
            service_account=service_account,
        )
    if as_json:
        typer.echo(json.dumps(decision.to_dict()))
    else:
        run = f" ({decision.run.run_id})" if decision.run else ""
        typer.echo(f"{decision.action}{run}: {decision.reason}")
