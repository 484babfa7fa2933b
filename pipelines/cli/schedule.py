"""``aerodet schedule``: runs that start by themselves."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from aerodet.pipelines.cli._cluster import (
    CaOption,
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

if TYPE_CHECKING:
    from aerodet.pipelines.cluster import Api, Schedule

__all__ = ["app"]


class _Group(TyperGroup):
    """Takes the options of the way to the API behind the command's name too, where the other commands have them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the group's own options, and their values, to where the group reads them."""
        own = {name: parameter for parameter in self.params for name in parameter.opts if name != "--help"}
        front, rest, left = [], [], iter(args)
        for word in left:
            name, joined, _ = word.partition("=")
            if name not in own:
                rest.append(word)
                continue
            front.append(word)
            if not joined and not getattr(own[name], "is_flag", False):
                value = next(left, None)
                if value is None:
                    return super().parse_args(ctx, [word])  # which says that it wants an argument
                front.append(value)
        return super().parse_args(ctx, front + rest)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    help="Start runs by themselves, and see when.",
    epilog="The options above may stand behind the command too: aerodet schedule list --host URL",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the schedule.")]
ZoneOption = Annotated[
    str, typer.Option("--timezone", help="The server's CRON_SCHEDULE_TIMEZONE, in which cron expressions are read.")
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; times in UTC.")]


@app.callback()
def access(
    context: typer.Context,
    experiment: ExperimentOption = "aerodet",
    host: HostOption = None,
    namespace: NamespaceOption = "kubeflow",
    kfp_namespace: KfpNamespaceOption = "kubeflow",
    token_file: TokenOption = None,
    dex_user: DexOption = None,
    ca: CaOption = None,
    kube_context: Annotated[
        str | None, typer.Option("--context", help="Context of the kubeconfig; the current one by default.")
    ] = None,
    user_header: UserOption = None,
    *,
    forward: ForwardOption = False,
) -> None:
    """Start runs by themselves, and see when."""
    options: dict[str, Any] = {
        "host": host,
        "namespace": namespace,
        "kfp_namespace": kfp_namespace,
        "token_file": token_file,
    }
    options |= {"dex_user": dex_user, "ca": ca, "context": kube_context, "user_header": user_header, "forward": forward}
    context.obj = {"access": access_of(options), "experiment": experiment}


@app.command()
def create(
    context: typer.Context,
    name: NameArgument,
    cron: Annotated[
        str | None, typer.Option(help="Five fields as in a crontab, six with seconds first, or @daily and its like.")
    ] = None,
    every: Annotated[int | None, typer.Option(metavar="SECONDS", min=60, help="Instead of --cron.")] = None,
    profile: ProfileOption = "cluster",
    setting: SettingOption = None,
    param: ParameterOption = None,
    registry: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Model registry, as the pods see it.")] = None,
    state: Annotated[
        str | None, typer.Option(metavar="URI", help="Where trainings keep checkpoints: s3://bucket/prefix.")
    ] = None,
    pipeline: PipelineOption = None,
    root: RootOption = None,
    service_account: ServiceAccountOption = None,
    max_concurrency: Annotated[int, typer.Option(min=1, max=10, help="Runs at a time.")] = 1,
    timezone: ZoneOption = "UTC",
    *,
    pin: Annotated[bool, typer.Option("--pin", help="Keep to today's version; else the newest runs.")] = False,
    catch_up: Annotated[bool, typer.Option("--catch-up", help="Make up for runs missed while paused.")] = False,
    paused: Annotated[bool, typer.Option("--paused", help="Do not start runs yet.")] = False,
) -> None:
    """Create a schedule of a profile, or replace the one of that name."""
    from aerodet.pipelines.cluster import create_schedule, zone_of

    zone, api, chosen = zone_of(timezone), _api(context), profile_of(profile, setting)
    label = pipeline or f"aerodet-{chosen.name}"
    parameters = parameters_of(param, run_id=name, registry=registry, state=state)
    with compiled(chosen) as package:
        version, _ = api.version(api.pipeline(label), package)
    schedule = create_schedule(
        api,
        name,
        experiment=context.obj["experiment"],
        pipeline=label,
        cron=cron,
        interval=every,
        version_id=version.pipeline_version_id if pin else None,
        parameters=parameters,
        root=root,
        service_account=service_account,
        max_concurrency=max_concurrency,
        catch_up=catch_up,
        paused=paused,
    )
    _show(schedule, timezone, zone)


@app.command("list")
def list_(context: typer.Context, timezone: ZoneOption = "UTC", *, as_json: AsJson = False) -> None:
    """List the schedules of the experiment."""
    from rich.console import Console
    from rich.table import Table

    from aerodet.pipelines.cluster import list_schedules, zone_of

    zone, found = zone_of(timezone), list_schedules(_api(context), context.obj["experiment"])
    if as_json:
        typer.echo(json.dumps([_as_dict(schedule, zone) for schedule in found], indent=2))
        return
    if not found:
        typer.echo("there are no schedules; `aerodet schedule create` makes one")
        return
    table = Table(box=None, header_style="bold")
    for heading in ("schedule", "when", "state", f"next, {timezone}", "version"):
        table.add_column(heading, no_wrap=True)
    for schedule in found:
        times = schedule.next_times(zone, count=1) if schedule.enabled else []
        table.add_row(
            schedule.name,
            schedule.when,
            "on" if schedule.enabled else "paused",
            _written(times[0], zone) if times else "",
            schedule.version_id or "newest",
        )
    Console(width=None if Console().is_terminal else 160).print(table)


@app.command()
def show(context: typer.Context, name: NameArgument, timezone: ZoneOption = "UTC", *, as_json: AsJson = False) -> None:
    """Show a schedule and its next five times."""
    from aerodet.pipelines.cluster import get_schedule, zone_of

    zone = zone_of(timezone)
    schedule = get_schedule(_api(context), name, experiment=context.obj["experiment"])
    if as_json:
        typer.echo(json.dumps(_as_dict(schedule, zone), indent=2))
    else:
        _show(schedule, timezone, zone)


@app.command()
def pause(context: typer.Context, name: NameArgument) -> None:
    """Keep a schedule from starting runs."""
    from aerodet.pipelines.cluster import pause_schedule

    pause_schedule(_api(context), name, experiment=context.obj["experiment"])
    typer.echo(f"{name} is paused")


@app.command()
def resume(context: typer.Context, name: NameArgument) -> None:
    """Let a schedule start runs again."""
    from aerodet.pipelines.cluster import resume_schedule

    resume_schedule(_api(context), name, experiment=context.obj["experiment"])
    typer.echo(f"{name} is on")


@app.command()
def delete(context: typer.Context, name: NameArgument) -> None:
    """Delete a schedule; its runs stay."""
    from aerodet.pipelines.cluster import delete_schedule

    delete_schedule(_api(context), name, experiment=context.obj["experiment"])
    typer.echo(f"{name} is deleted")


@app.command("run-now")
def run_now(context: typer.Context, name: NameArgument) -> None:
    """Start a run as the schedule would, now."""
    from aerodet.pipelines.cluster import run_now as start

    typer.echo(start(_api(context), name, experiment=context.obj["experiment"]).run_id)


def _api(context: typer.Context) -> Api:
    from aerodet.pipelines.cluster import connect

    return connect(context.obj["access"])


def _show(schedule: Schedule, timezone: str, zone: Any) -> None:
    missed = "made up for" if schedule.catch_up else "left out"
    lines = {
        "schedule": schedule.name,
        "when": f"{schedule.when} ({timezone})" if schedule.cron else schedule.when,
        "state": "on" if schedule.enabled else "paused",
        "version": schedule.version_id or "the newest at each start",
        "at a time": f"{schedule.max_concurrency}, missed runs are {missed}",
        "next": ", ".join(_written(time, zone) for time in schedule.next_times(zone)) or "never",
    }
    for name, value in lines.items():
        typer.echo(f"{name:10} {value}")


def _as_dict(schedule: Schedule, zone: Any) -> dict[str, Any]:
    values = {**asdict(schedule), "start": schedule.start.isoformat()}
    times = schedule.next_times(zone) if schedule.enabled else []
    return {**values, "next": [time.astimezone(UTC).isoformat() for time in times]}


def _written(time: datetime, zone: Any) -> str:
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M:%S}".removesuffix(":00")
