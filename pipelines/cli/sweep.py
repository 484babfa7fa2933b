"""``aerodet sweep``: how many real images it takes, with synthetic pretraining and without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aerodet.errors import SpecError
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

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["sweep", "sweep_table"]


def sweep(
    run_dir: RunDirArgument = None,
    profile: Annotated[
        str | None, typer.Option(help="Name of a profile or a YAML file; quickstart by default.")
    ] = None,
    real: RealOption = None,
    synthetic: SyntheticOption = None,
    test: TestOption = None,
    fractions: Annotated[
        str | None,
        typer.Option(metavar="PERCENT,…", help="Shares of the real images; 0: none. Else the profile's: 0,1,2,5,10,…"),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            metavar="COUNT,…", help="Points of so many whole frames; 0: no such point. Else the profile's: 1."
        ),
    ] = None,
    setting: SettingOption = None,
    seed: SeedOption = None,
    out: OutOption = Path("runs"),
    name: NameOption = None,
    *,
    resume: ResumeOption = False,
) -> None:
    """Measure AP50 over the share of real images, with and without synthetic pretraining, and the gap of the images."""
    choices: dict[str, object] = {"profile": profile, "real": real, "synthetic": synthetic, "test": test}
    choices |= {"fractions": fractions, "frames": frames, "set": setting, "seed": seed, "name": name}
    folder = resumed(run_dir, out, resume=resume, kind="sweep", choices=choices, pipeline="aerodet-sweep")
    if folder is None:
        settings = [*(setting or []), *_points(fractions, frames)]
        chosen = checked_profile(
            profile or "quickstart", settings, real=real, synthetic=synthetic, test=test, seed=seed
        )
        folder = run_flow("sweep", chosen, out, name)
    show_results(folder)


def _points(fractions: str | None, frames: str | None) -> list[str]:
    """Return the options as settings of the profile."""
    settings = []
    if fractions is not None:
        settings.append(f"sweep.fractions={_numbers('--fractions', fractions, '0,1,10,100')}")
    if frames is not None:
        counts = _numbers("--frames", frames, "1,4; 0 for no such point")
        settings.append(f"sweep.frames={[] if counts == [0] else counts}")
    return settings


def _numbers(option: str, given: str, example: str) -> list[float | int]:
    try:
        numbers = [float(part) for part in given.split(",")]
        return [int(number) if number.is_integer() else number for number in numbers]
    except ValueError:
        raise SpecError(f"{option} '{given}' is no list of numbers; write it as {example}") from None


def sweep_table(results: dict[str, Any]) -> Table:
    """Return the points of a sweep as a table."""
    from rich.table import Table

    found = results["sweep"]
    title = f"AP50, % over the {found['real']['images']:,} real images"
    table = Table(title=title, box=None, header_style="bold", title_justify="left")
    headings = ("real data", "images", "frames", "of the real, %", "of the mix, %", "pretrained", "from scratch")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "real data" else "right")
    for point in found["points"]:
        scores = (point[way]["ap50"] if point[way] else None for way in ("pretrained", "scratch"))
        table.add_row(
            point["name"],
            f"{point['real']['images']:,}",
            f"{point['real']['frames']:,}",
            *(f"{100 * point[share]:.3g}" for share in ("of_real", "of_mix")),
            *("" if score is None else f"{score:.1f}" for score in scores),
        )
    return table
