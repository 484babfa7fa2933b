"""``aerodet runs`` and ``aerodet report``: what was run, and what came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError
from aerodet.files import read_json

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["find_run", "report", "results_tables", "runs", "show_results"]

_ARMS = ("real", "synthetic", "finetune")
_CHAIN = ("finetune", "pruned", "retrained", "qat", "int8")
_KINDS = {"aerodet": "run", "aerodet-compress": "search", "aerodet-sweep": "sweep"}
_STATES = {"SUCCEEDED": "green", "FAILED": "red", "STOPPED": "yellow", "RUNNING": "cyan"}


def runs(out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the runs.")] = Path("runs")) -> None:
    """List the runs with their state and the AP50 of each arm."""
    from rich.console import Console
    from rich.table import Table

    from aerodet.pipelines.record import RunRecord, is_running

    table = Table(box=None, header_style="bold")
    for heading in ("run", "kind", "started", "state", "stages", *_ARMS, "int8"):
        table.add_column(heading, justify="right" if heading in (*_ARMS, "int8", "stages") else "left", no_wrap=True)
    folders = sorted(record.parent for record in out.glob("*/run.json") if not record.parent.is_symlink())
    records = sorted(((RunRecord.read(folder), folder) for folder in folders), key=lambda pair: pair[0].started)
    for record, folder in records:
        state = record.state if record.state != "RUNNING" or is_running(folder) else "STOPPED"  # its runner was killed
        done = sum(stage.state == "SUCCEEDED" for stage in record.stages)
        results = _results(folder)
        scores = [results.get("arms", {}).get(arm, {}).get("ap50") for arm in _ARMS]
        scores.append((results.get("int8") or results.get("chosen") or {}).get("ap50"))
        kind = _KINDS.get(record.pipeline, record.pipeline)
        started = record.started.replace("T", " ").removesuffix("+00:00")
        table.add_row(
            record.run_id, kind, started, f"[{_STATES[state]}]{state.lower()}[/]", str(done), *map(_percent, scores)
        )
    if records:
        Console(width=None if Console().is_terminal else 160).print(table)
    else:
        typer.echo(f"no runs in {out}; `aerodet run` makes one")


def report(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="Folder or name of a run; the newest by default.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the runs.")] = Path("runs"),
    *,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser too.")] = False,
) -> None:
    """Print where the report of a run is."""
    from aerodet.pipelines.record import is_running

    folder = find_run(run, out)
    page = folder / "report.html"
    if not page.is_file() and is_running(folder):
        raise UserError(f"run {folder} goes on still, and its report comes last")
    if not page.is_file():
        raise UserError(f"run {folder} has no report yet; `aerodet run --resume {folder}` finishes it")
    typer.echo(str(page))
    if show:
        typer.launch(str(page))


def find_run(run: Path | None, out: Path) -> Path:
    """Return the folder of a run, given by its path, its name in ``out``, or not at all: the newest.

    Raises:
        UserError: there is no such run.
    """
    candidates = [out / "latest"] if run is None else [run, out / run]
    for folder in candidates:
        if (folder / "run.json").is_file():
            return folder.resolve() if folder.is_symlink() else folder
    if run is None:
        raise UserError(f"there is no run in {out} yet; `aerodet run` makes one")
    raise UserError(f"{run} holds no run; `aerodet runs` lists the runs")


def show_results(folder: Path) -> None:
    """Print the tables of a run that has ended, and where its files are."""
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 120)
    results = read_json(folder / "results.json")
    for table in results_tables(results):
        console.print(table)
        console.print()
    if (timed := results.get("int8", {}).get("ap50_cpu")) is not None:
        typer.echo(f"int8     timed as the graph for CPUs, which has an AP50 of {timed:.1f}")
    if seconds := results.get("wall_seconds"):
        typer.echo(f"time     {seconds / 60:.1f} minutes")
    failed = [name for name, verdict in results.get("gate", {}).get("rules", {}).items() if verdict == "failed"]
    if failed:
        typer.echo(f"gate     failed: {', '.join(failed)}; the model is a challenger, and the report says why")
    for what, name in (("results", "results.json"), ("report", "report.html"), ("record", "run.json")):
        typer.echo(f"{what:8} {folder / name}")


def results_tables(results: dict[str, Any]) -> list[Table]:
    """Return the tables of a run: of the main flow its arms and its chain, of another flow its points."""
    from rich.table import Table

    if results.get("flow") == "compress":
        return [_points_table(results)]
    if "sweep" in results:
        from aerodet.pipelines.cli.sweep import sweep_table

        return [sweep_table(results)]
    arms = Table(title="Arms", box=None, header_style="bold", title_justify="left")
    arms.add_column("trained on")
    arms.add_column("AP50, %", justify="right")
    for name in _ARMS:
        arms.add_row(name, _percent(results["arms"][name]["ap50"]))
    chain = Table(title="Chain", box=None, header_style="bold", title_justify="left")
    for heading in ("model", "AP50, %", "parameters", "bytes", "ms"):
        chain.add_column(heading, justify="left" if heading == "model" else "right")
    unpruned = {**results.get("float", {}), "ap50": results["arms"]["finetune"]["ap50"]}
    for name in _CHAIN:
        row = unpruned if name == "finetune" else results[name]
        parameters, size, latency = row.get("params_total"), row.get("file_bytes"), row.get("median_ms")
        chain.add_row(
            name,
            _percent(row["ap50"]),
            f"{parameters:,}" if parameters is not None else "",
            f"{size:,}" if size is not None else "",
            f"{latency:.2f}" if latency is not None else "",
        )
    return [arms, chain]


def _points_table(results: dict[str, Any]) -> Table:
    """Return the points of a compression search, the network that was compressed first."""
    from rich.table import Table

    table = Table(title=_verdict(results), box=None, header_style="bold", title_justify="left")
    for heading in ("point", "parameters", "bytes", "AP50, %", "AP75, %", "ms", "times as fast", ""):
        table.add_column(heading, justify="left" if heading in ("point", "") else "right", no_wrap=True)
    chosen = results["chosen"]["name"] if results["chosen"] else None
    for row in ({"name": "unpruned, float", "speedup": 1.0, **results["teacher"]}, *results["points"]):
        remark = "chosen" if row["name"] == chosen else "" if row.get("within_budget", True) else "over budget"
        figures = [_percent(row["ap50"]), _percent(row["ap75"]), f"{row['median_ms']:.2f}", f"{row['speedup']:.1f}"]
        table.add_row(row["name"], f"{row['parameters']:,}", f"{row['bytes']:,}", *figures, remark)
    return table


def _verdict(results: dict[str, Any]) -> str:
    if results["chosen"]:
        return str(results["sentence"])
    from aerodet.report.compression import no_choice

    return f"{no_choice(results['teacher']['ap50'], results['budget'])} {results['sentence']}".rstrip()


def _results(folder: Path) -> dict[str, Any]:
    path = folder / "results.json"
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return results


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
