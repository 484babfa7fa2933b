"""A flow on this machine: what ``aerodet run`` and the other commands that run one have in common."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import UserError
from aerodet.files import atomic_path, disk_errors, write_text
from aerodet.pipelines.cli._cluster import SettingOption
from aerodet.pipelines.cli.runs import find_run
from aerodet.pipelines.local import run_local
from aerodet.pipelines.record import RECORD, RESULTS, RunRecord

if TYPE_CHECKING:
    from aerodet.pipelines.profiles import Profile

__all__ = [
    "NameOption",
    "OutOption",
    "RealOption",
    "ResumeOption",
    "RunDirArgument",
    "SeedOption",
    "SettingOption",
    "SyntheticOption",
    "TestOption",
    "checked_profile",
    "collect",
    "resumed",
    "run_flow",
]

RunDirArgument = Annotated[Path | None, typer.Argument(metavar="RUN_DIR", help="With --resume: the run to go on with.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with RUN_DIR, or with the newest run.")]
RealOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Real images in COCO form.")]
SyntheticOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Synthetic images in COCO form.")]
TestOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Test images; else places held apart.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Same seed, same result.")]
OutOption = Annotated[Path, typer.Option(metavar="DIR", help="The folder of the runs.")]
NameOption = Annotated[str | None, typer.Option(help="Name of the run; else time, profile and a few letters.")]

PACKAGE = "pipeline.yaml"


def run_flow(
    flow: str, profile: Profile, out: Path, name: str | None, parameters: dict[str, Any] | None = None
) -> Path:
    """Run a flow of a profile in a folder of its own under ``out``, and return that folder.

    Args:
        flow: one of :data:`aerodet.pipelines.flows.FLOWS`.
        profile: the choices; see :func:`checked_profile`.
        out: the folder of the runs.
        name: of the run; else time, profile and a few letters.
        parameters: the pipeline's, but for those that tell where the run lives and when it began.
    """
    folder = _create(profile, out, name)
    with _removed_unless_begun(folder):
        _fill(folder, profile, flow)
        collect(run_local(folder / PACKAGE, {**_place(folder), **(parameters or {})}, folder), folder)
    return folder


def resumed(
    run_dir: Path | None,
    out: Path,
    *,
    resume: bool,
    kind: str,
    choices: Mapping[str, object | None],
    pipeline: str = "",
) -> Path | None:
    """Go on with a stopped run where that is asked for; return its folder, or None where a new one is wanted.

    Args:
        run_dir: of the run to go on with; None: the newest.
        out: the folder of the runs.
        resume: it is asked for.
        kind: what the command calls a run.
        choices: the command's options for a new run by name, None where not given.
        pipeline: name of the only one to go on with; empty: any.

    Raises:
        UserError: a folder without ``--resume``, choices with it, or a run of another pipeline.
    """
    if not resume:
        if run_dir is not None:
            raise UserError(f"'{run_dir}' goes with --resume only; name a new {kind} with --name")
        return None
    if given := [f"--{option}" for option, value in choices.items() if value is not None]:
        raise UserError(f"a resumed {kind} keeps its settings; leave out {', '.join(given)}, or start a new one")
    folder = find_run(run_dir, out)
    record = RunRecord.read(folder)
    if pipeline and record.pipeline != pipeline:
        raise UserError(f"{folder} is no {kind}; `aerodet run --resume {folder}` goes on with it")
    collect(run_local(folder / PACKAGE, record.parameters, folder), folder)
    return folder


def checked_profile(name: str, settings: list[str] | None, **sources: Any) -> Profile:
    """Load the profile with the overrides and sources of the command line, and check it against this machine."""
    from aerodet.pipelines.preflight import check
    from aerodet.pipelines.profiles import load_profile

    profile = load_profile(name, settings or []).with_sources(**sources)
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


def _fill(folder: Path, profile: Profile, flow: str) -> None:
    """Write the profile and the compiled pipeline into a run's folder, and point ``latest`` to it."""
    import yaml

    from aerodet.pipelines.flows import compile_pipeline

    with disk_errors(folder):
        write_text(folder / "profile.yaml", yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False))
        compile_pipeline(profile, folder / PACKAGE, flow=flow)
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


def _place(folder: Path) -> dict[str, Any]:
    """Return the parameters that the profile does not know: where the run lives, and when it began."""
    return {"run_id": folder.name, "state": str(folder.absolute() / "state"), "started": time.time()}


def collect(record: RunRecord, run_dir: Path) -> None:
    """Copy ``results.json`` and ``report.html`` from the report stage's outputs into the run's folder."""
    stage = record.stage("report")
    if stage is None:
        raise RuntimeError(f"pipeline {record.pipeline} has no stage named report")
    for name, output in RESULTS.items():
        source = Path(stage.outputs[output])
        with atomic_path(run_dir / name) as partial:
            shutil.copyfile(source / name if source.is_dir() else source, partial)
