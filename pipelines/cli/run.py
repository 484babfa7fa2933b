"""``aerodet run``: a pipeline on this machine."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError
from aerodet.files import atomic_path, disk_errors, read_json, write_text
from aerodet.pipelines.cli.runs import find_run, results_tables
from aerodet.pipelines.local import run_local
from aerodet.pipelines.record import RECORD, RunRecord

if TYPE_CHECKING:
    from aerodet.pipelines.profiles import Profile

__all__ = ["collect", "run"]

PACKAGE = "pipeline.yaml"
RESULTS = {"results.json": "results", "report.html": "report"}  # file in the run's folder: output of stage report


def run(
    run_dir: Annotated[
        Path | None, typer.Argument(metavar="RUN_DIR", help="With --resume: the run to go on with.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Name of a profile or a YAML file; quickstart by default.")
    ] = None,
    real: Annotated[Path | None, typer.Option(metavar="DIR", help="Real images in COCO form.")] = None,
    synthetic: Annotated[Path | None, typer.Option(metavar="DIR", help="Synthetic images in COCO form.")] = None,
    test: Annotated[Path | None, typer.Option(metavar="DIR", help="Test images; else places held apart.")] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the profile; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same result.")] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run; else time, profile and a few letters.")] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Model registry: a folder or a server's address; OUT/registry by default."
        ),
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with RUN_DIR, or with the newest run.")] = False,
) -> None:
    """Run the whole flow on this machine: three arms, prune, retrain, QAT, INT8 export, evaluation, publication."""
    if resume:
        choices: dict[str, object] = {"profile": profile, "real": real, "synthetic": synthetic, "test": test}
        choices |= {"set": setting, "seed": seed, "name": name, "registry": registry}
        if given := [f"--{option}" for option, value in choices.items() if value is not None]:
            raise UserError(f"a resumed run keeps its settings; leave out {', '.join(given)}, or start a new run")
        folder = find_run(run_dir, out)
        parameters = RunRecord.read(folder).parameters
    else:
        if run_dir is not None:
            raise UserError(f"'{run_dir}' goes with --resume only; name a new run with --name")
        _check_registry(registry or str(out / "registry"))
        chosen = _profile(profile or "quickstart", setting or [], real=real, synthetic=synthetic, test=test, seed=seed)
        folder = _create(chosen, out, name)
        parameters = _parameters(folder, registry or str(out / "registry"))
    with _removed_unless_begun(folder):
        if not resume:
            _fill(folder, chosen)
        record = run_local(folder / PACKAGE, parameters, folder)
    collect(record, folder)
    _show(folder)


def _check_registry(address: str) -> None:
    """Open the registry, and ask it for something if it is a server: the run publishes at its very end."""
    from aerodet.registry import open_registry

    opened = open_registry(address)
    if "://" in address and not address.startswith("sqlite:"):
        opened.models()


def _profile(name: str, settings: list[str], **sources: Any) -> Profile:
    """Load the profile with the overrides and sources of the command line, and check it against this machine."""
    from aerodet.pipelines.preflight import check
    from aerodet.pipelines.profiles import load_profile

    profile = load_profile(name, settings).with_sources(**sources)
    if profile.backend == "tao":
        raise UserError(
            f"profile {profile.name} trains with NVIDIA's TAO containers, which run on a cluster only; submit it there "
            "or train here with --set backend=torch"
        )
    check(profile)
    return profile


def _create(profile: Profile, out: Path, name: str | None) -> Path:
    """Make the empty folder of a new run."""
    if name is not None and (not re.fullmatch(r"\w[\w.-]*", name) or name == "latest"):
        raise UserError(f"--name {name} cannot name a folder; use letters, digits, dots, dashes and underscores")
    label = re.sub(r"[^\w.-]+", "-", profile.name)
    folder = out / (name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{label}-{secrets.token_hex(2)}")
    with disk_errors(folder):
        out.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            raise UserError(f"{folder} exists; take another --name, or continue it with --resume {folder}") from None
    return folder


def _fill(folder: Path, profile: Profile) -> None:
    """Write the profile and the compiled pipeline into a run's folder, and point ``latest`` to it."""
    import yaml

    from aerodet.pipelines.graph import compile_pipeline

    with disk_errors(folder):
        write_text(folder / "profile.yaml", yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False))
        compile_pipeline(profile, folder / PACKAGE)
        link = folder.with_name(f".latest.{os.getpid()}")
        link.symlink_to(folder.name)
        link.replace(folder.with_name("latest"))


@contextmanager
def _removed_unless_begun(folder: Path) -> Iterator[None]:
    """Remove a run's folder at the end if it has no record: such a run could not be resumed."""
    try:
        yield
    finally:
        if not (folder / RECORD).exists():
            shutil.rmtree(folder)


def _parameters(folder: Path, registry: str) -> dict[str, Any]:
    """Return the parameters that the profile does not know: where the run lives and publishes, and when it began."""
    return {
        "run_id": folder.name,
        "registry": registry if "://" in registry else str(Path(registry).absolute()),
        "state": str(folder.absolute() / "state"),
        "started": time.time(),
    }


def collect(record: RunRecord, run_dir: Path) -> None:
    """Copy ``results.json`` and ``report.html`` from the report stage's outputs into the run's folder."""
    stage = record.stage("report")
    if stage is None:
        raise RuntimeError(f"pipeline {record.pipeline} has no stage named report")
    for name, output in RESULTS.items():
        source = Path(stage.outputs[output])
        with atomic_path(run_dir / name) as partial:
            shutil.copyfile(source / name if source.is_dir() else source, partial)


def _show(folder: Path) -> None:
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 120)
    for table in results_tables(read_json(folder / "results.json")):
        console.print(table)
        console.print()
    for what, name in (("results", "results.json"), ("report", "report.html"), ("record", "run.json")):
        typer.echo(f"{what:8} {folder / name}")
