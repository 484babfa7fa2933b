"""``aerodet doctor``: what would keep a run from succeeding, before it is started."""

from __future__ import annotations

from typing import Annotated

import typer

from aerodet.pipelines.cli._cluster import (
    CaOption,
    ContextOption,
    DexOption,
    ForwardOption,
    HostOption,
    KfpNamespaceOption,
    NamespaceOption,
    ProfileOption,
    SettingOption,
    TokenOption,
    UserOption,
    access_of,
    profile_of,
)

__all__ = ["doctor"]

_MARKS = {"ok": ("✓", "green"), "wrong": ("✗", "red"), "unknown": ("–", "yellow")}


def doctor(
    profile: ProfileOption = "cluster",
    setting: SettingOption = None,
    root: Annotated[
        str | None, typer.Option(metavar="URI", help="Pipeline root to write to, read and delete from.")
    ] = None,
    registry: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Model registry, as seen from here.")] = None,
    service_account: Annotated[str, typer.Option(help="Service account of the pods.")] = "pipeline-runner",
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
) -> None:
    """Look at everything that a run of a profile needs on a cluster, one line each; exit 1 when something is wrong."""
    from aerodet.pipelines.cluster import examine

    cluster = profile_of(profile, setting).cluster
    wrong = 0
    for check in examine(access_of(locals()), cluster, root=root, registry=registry, service_account=service_account):
        mark, colour = _MARKS[check.state]
        typer.echo(f"{typer.style(mark, fg=colour)} {check.name:16} {check.found}")
        wrong += check.state == "wrong"
    if wrong:
        raise typer.Exit(1)
