"""``aerodet compress``: the smallest and fastest network that an accuracy budget allows, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aerodet.errors import SpecError, UserError
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
from aerodet.pipelines.record import RECORD, RunRecord

if TYPE_CHECKING:
    from aerodet.pipelines.profiles import Profile

__all__ = ["compress"]


def compress(
    run_dir: RunDirArgument = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Name of a profile or a YAML file, quickstart by default; its section `compress` holds the rest."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Checkpoint to compress, or the run of one; else one is trained first."),
    ] = None,
    budget_ap: Annotated[
        float | None, typer.Option(metavar="POINTS", help="AP50 that the chosen network may lose.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Whose INT8 kernels the channels shall suit: cpu, sm_80 or sm_90.")
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="N,N,…", help="4: a quarter of the parameters; 0.1: a tenth; 444000: so many."),
    ] = None,
    importances: Annotated[
        str | None, typer.Option("--importance", metavar="NAME,…", help="Branches of the search: l2, bn, taylor.")
    ] = None,
    real: RealOption = None,
    synthetic: SyntheticOption = None,
    test: TestOption = None,
    setting: SettingOption = None,
    seed: SeedOption = None,
    out: OutOption = Path("runs"),
    name: NameOption = None,
    *,
    resume: ResumeOption = False,
) -> None:
    """Compress a detector in many ways, compare the results, and choose within the budget, first by speed."""
    choices: dict[str, object] = {"profile": profile, "model": model, "budget-ap": budget_ap, "target": target}
    choices |= {"sizes": sizes, "importance": importances, "real": real, "synthetic": synthetic, "test": test}
    choices |= {"set": setting, "seed": seed, "name": name}
    folder = resumed(run_dir, out, resume=resume, kind="search", choices=choices, pipeline="aerodet-compress")
    if folder is None:
        given = {"model": model and _checkpoint(model), "budget": budget_ap, "target": target}
        lists = {"sizes": sizes, "importances": importances}
        settings = [
            *(setting or ()),
            *(f"compress.{key}={value}" for key, value in given.items() if value is not None),
            *(f"compress.{key}=[{value}]" for key, value in lists.items() if value is not None),
        ]
        chosen = checked_profile(
            profile or "quickstart", settings, real=real, synthetic=synthetic, test=test, seed=seed
        )
        folder = run_flow("compress", _checked(chosen), out, name)
    show_results(folder)


def _checkpoint(given: Path) -> Path:
    """Return a checkpoint's folder, of a run that of its fine-tuned arm, wherever ``runs/latest`` will lead.

    Raises:
        UserError: the run has no such model.
    """
    if not (given / RECORD).is_file():
        return given.resolve()
    record = RunRecord.read(given)
    # A search was given it where it did not train one.
    for name, output in (("train-finetune", "model"), ("import-teacher", "artifact")):
        stage = record.stage(name)
        if stage is not None and output in stage.outputs:
            return Path(record.place(stage.outputs[output], str(given))).resolve()
    raise UserError(f"--model {given} has no fine-tuned model yet; finish the run, or give the folder of a checkpoint")


def _checked(profile: Profile) -> Profile:
    """Return the profile as the search runs it; what it cannot do is said before there is a folder."""
    from aerodet.pipelines.flows.compress import sizes_of

    if profile.compress.model:
        profile = _as_the_checkpoint(profile)
    sizes_of(profile)
    return profile


def _as_the_checkpoint(profile: Profile) -> Profile:
    """Return the profile with the checkpoint's kind of network, and its number of parameters.

    Raises:
        UserError: the checkpoint is missing, or one that this profile cannot retrain.
    """
    from aerodet.detectnet.checkpoint import load_model
    from aerodet.detectnet.model import count_parameters
    from aerodet.detectnet.settings import settings_of
    from aerodet.detectnet.spec import parse_spec

    folder = Path(profile.compress.model)
    if not folder.is_dir():
        raise UserError(
            f"--model {folder} is not a folder; give one with model.pt and spec.txt, as a training leaves it"
        )
    network, content = load_model(folder)
    classes, size = tuple(content["classes"]), settings_of(parse_spec(content["spec"], str(folder))).size
    if content["quantized"]:
        raise UserError(f"--model {folder} is quantised already; compress the float checkpoint that it was made from")
    if classes != tuple(profile.classes):
        raise SpecError(
            f"--model {folder} detects {', '.join(classes)}, but the profile's classes are "
            f"{', '.join(profile.classes)}; make them the same"
        )
    if size != (profile.size, profile.size):
        raise SpecError(
            f"--model {folder} takes {size[1]}×{size[0]} px, but profile {profile.name} has {profile.size}; "
            f"give --set size={size[0]}"
        )
    shape = network.architecture
    model = profile.model.model_copy(
        update={"arch": f"resnet{shape.layers}", "width": shape.width, "all_projections": shape.all_projections}
    )
    counted = profile.compress.model_copy(update={"parameters": count_parameters(network)["total"]})
    return profile.model_copy(update={"model": model, "compress": counted})
