"""What the commands that speak to a cluster have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError

if TYPE_CHECKING:
    from aerodet.pipelines.cluster import Access
    from aerodet.pipelines.profiles import Profile

__all__ = [
    "CaOption",
    "ContextOption",
    "DexOption",
    "ExperimentOption",
    "FlowOption",
    "ForwardOption",
    "HostOption",
    "KfpNamespaceOption",
    "NamespaceOption",
    "ParameterOption",
    "PipelineOption",
    "ProfileOption",
    "RootOption",
    "ServiceAccountOption",
    "SettingOption",
    "TokenOption",
    "UserOption",
    "access_of",
    "compiled",
    "parameters_of",
    "profile_of",
]

HostOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address of the pipeline API; else the pod's own, or the kubeconfig's way."),
]
NamespaceOption = Annotated[str, typer.Option(help="Namespace of runs, secrets and volumes: yours, with many users.")]
KfpNamespaceOption = Annotated[str, typer.Option(help="Namespace of Kubeflow Pipelines itself.")]
TokenOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File with a bearer token; or set AERODET_KFP_TOKEN.")
]
DexOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Log in to Dex as this user; set AERODET_DEX_PASSWORD.")
]
CaOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate of the server's authority.")]
ContextOption = Annotated[str | None, typer.Option(help="Context of the kubeconfig; the current one by default.")]
ForwardOption = Annotated[bool, typer.Option("--port-forward", help="Reach the API through kubectl port-forward.")]
UserOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="User to be, where a port-forward goes past the login.")
]
FlowOption = Annotated[str, typer.Option(help="What is run: main, or another flow such as sweep.")]
ProfileOption = Annotated[str, typer.Option(help="Name of a profile or a YAML file.")]
SettingOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the profile; repeatable.")
]
PipelineOption = Annotated[str | None, typer.Option(help="Name of the pipeline; aerodet-PROFILE by default.")]
ExperimentOption = Annotated[str, typer.Option(help="Name of the experiment.")]
RootOption = Annotated[
    str | None, typer.Option(metavar="URI", help="Where artifacts go, s3://bucket/prefix; the namespace's by default.")
]
ServiceAccountOption = Annotated[str | None, typer.Option(help="Service account of the pods; the API's by default.")]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the run, such as seed=3; repeatable."),
]


def access_of(options: dict[str, Any]) -> Access:
    """Return the way to the API from a command's options."""
    from aerodet.pipelines.cluster import Access

    return Access(**{field.name: options[field.name] for field in fields(Access) if field.name in options})


def profile_of(name: str, settings: list[str] | None) -> Profile:
    """Return the profile with its overrides. Its sources are the pods', and are not looked for on this machine."""
    from aerodet.pipelines.profiles import load_profile

    return load_profile(name, settings or [])


@contextmanager
def compiled(profile: Profile, flow: str = "main") -> Iterator[Path]:
    """Yield the package of a profile's flow for a cluster."""
    from aerodet.pipelines.flows import compile_pipeline

    with tempfile.TemporaryDirectory(prefix="aerodet-") as folder:
        yield compile_pipeline(profile, Path(folder) / "pipeline.yaml", cluster=True, flow=flow)


def parameters_of(
    given: list[str] | None, *, run_id: str, registry: str | None, state: str | None, publishes: bool = True
) -> dict[str, Any]:
    """Return the run's parameters.

    Args:
        given: ``name=value`` pairs.
        run_id: what the run is called.
        registry: address of the model registry, as the pods see it.
        state: where trainings keep their checkpoints, as the pods see it.
        publishes: the flow needs a registry; one that does not has no such parameter.

    Raises:
        UserError: there is no registry, or one too many, or a pair is none.
    """
    from aerodet.pipelines.cluster.runs import parameter_values

    values = parameter_values(given or [])
    registry = values.get("registry", registry)
    if not publishes:
        if registry:
            raise UserError("this flow publishes nothing; leave out --registry")
        return values | {"run_id": values.get("run_id", run_id)} | ({"state": state} if state else {})
    if not registry:
        raise UserError("say where the model goes: --registry ADDRESS, as the pods see it, such as /data/registry")
    values |= {"run_id": values.get("run_id", run_id), "registry": registry}
    return values | ({"state": state} if state else {})
