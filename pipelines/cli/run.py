"""``aerodet run``: the whole flow on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerodet.pipelines.cli._local import (
    NameOption,
    OutOption,
    RealOption,
    ResumeOption,
    RunDirArgument,
    SeedOption,
    SettingOption,
    SyntheticOption,
    TestOption,
    checked_profile,
    resumed,
    run_flow,
)
from aerodet.pipelines.cli.runs import show_results

__all__ = ["run"]


def run(
    run_dir: RunDirArgument = None,
    profile: Annotated[
        str | None, typer.Option(help="Name of a profile or a YAML file; quickstart by default.")
    ] = None,
    real: RealOption = None,
    synthetic: SyntheticOption = None,
    test: TestOption = None,
    setting: SettingOption = None,
    seed: SeedOption = None,
    out: OutOption = Path("runs"),
    name: NameOption = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Model registry: a folder or a server's address; OUT/registry by default."
        ),
    ] = None,
    *,
    resume: ResumeOption = False,
) -> None:
    """Run the whole flow on this machine: three arms, prune, retrain, QAT, INT8 export, evaluation, publication."""
    choices: dict[str, object] = {"profile": profile, "real": real, "synthetic": synthetic, "test": test}
    choices |= {"set": setting, "seed": seed, "name": name, "registry": registry}
    folder = resumed(run_dir, out, resume=resume, kind="run", choices=choices)
    if folder is None:
        registry = registry or str(out / "registry")
        _check_registry(registry)
        chosen = checked_profile(profile or "quickstart", setting, real=real, synthetic=synthetic, test=test, seed=seed)
        place = registry if "://" in registry else str(Path(registry).absolute())
        folder = run_flow("main", chosen, out, name, {"registry": place})
    show_results(folder)


def _check_registry(address: str) -> None:
    """Open the registry, and ask it for something if it is a server: the run publishes at its very end."""
    from aerodet.registry import open_registry

    opened = open_registry(address)
    if "://" in address and not address.startswith("sqlite:"):
        opened.models()
