"""The report of a sweep: the data-efficiency curve, its points as a table, and the gap between both image sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from aerodet.files import write_text
from aerodet.report._curve import curve_chart
from aerodet.report._render import environment, flat, resource, unbroken
from aerodet.report.data import RunInfo
from aerodet.report.gap import GapData
from aerodet.report.gap_page import gap_section
from aerodet.report.sweep import Sweep, SweepPoint, same_images

__all__ = ["SweepData", "render_sweep", "sweep_findings"]

_NEAR = 0.98  # of the real arm's AP50, which a tile looks for


@dataclass(frozen=True)
class SweepData:
    """Everything on the page.

    Attributes:
        run: the run.
        sweep: the points.
        gap: real and synthetic images side by side.
        parameters: the profile.
    """

    run: RunInfo
    sweep: Sweep
    gap: GapData
    parameters: Mapping[str, Any]


def render_sweep(data: SweepData, out: Path) -> None:
    """Write the report.

    Raises:
        MachineError: the disk is full or read-only.
    """
    style = resource("tokens.css") + resource("report.css") + resource("gap.css") + resource("sweep.css")
    template = environment().from_string(resource("sweep.html.j2"))
    sweep = data.sweep
    page = template.render(
        run=data.run,
        sweep=sweep,
        gap=data.gap.gap,
        findings=[unbroken(sentence) for sentence in sweep_findings(sweep)],
        tiles=list(_tiles(sweep)),
        rows=[_row(sweep, point) for point in sweep.points],
        same=same_images(sweep.points),
        chart=curve_chart(sweep),
        section=gap_section(data.gap),
        parameters=list(flat(data.parameters)),
        style=Markup(style),  # our own files, nothing of the data's
    )
    write_text(out, page)


def sweep_findings(sweep: Sweep) -> list[str]:
    """Say in a few sentences what the sweep found, as far as its points tell."""
    real, synthetic = sweep.arms.get("real"), sweep.arms.get("synthetic")
    sentences = []
    if (few := _few(sweep)) and few.pretrained:
        reached = few.pretrained["ap50"]
        of_all = f", {_share_of(reached, real)} of what all of them reach without it ({real:.1f})" if real else ""
        sentences.append(f"With synthetic pretraining, {few.name} of the real images reach AP50 {reached:.1f}{of_all}.")
        if few.scratch:
            sentences.append(f"Without pretraining the same images reach {few.scratch['ap50']:.1f}.")
    if synthetic is not None:
        share = f", {_share_of(synthetic, real)} of the real arm" if real else ""
        sentences.append(f"Synthetic images alone reach AP50 {synthetic:.1f}{share}.")
    for point in sweep.points:
        if point.asked_frames and point.pretrained and point.scratch:
            subject = "One real frame reaches" if point.asked_frames == 1 else f"{point.asked_frames} real frames reach"
            with_, without = point.pretrained["ap50"], point.scratch["ap50"]
            sentences.append(f"{subject} {with_:.1f} with pretraining and {without:.1f} without.")
    return sentences


def _few(sweep: Sweep) -> SweepPoint | None:
    """Return the point that the headline is about: 10 %, or the nearest to it that is neither nothing nor all."""
    between = [p for p in sweep.points if p.pretrained and not p.asked_frames and 0 < p.percent < 100]
    return min(between, key=lambda point: abs(point.percent - 10), default=None)


def _tiles(sweep: Sweep) -> Iterator[tuple[str, str, str]]:
    """Yield (figure, unit, meaning) of the figures at the top, those that were measured."""
    real = sweep.arms.get("real")
    if "synthetic" in sweep.arms:
        yield f"{sweep.arms['synthetic']:.1f}", "AP50", "synthetic images alone"
    one = next((p for p in sweep.points if p.asked_frames and p.pretrained and p.scratch), None)
    if one and one.pretrained and one.scratch:
        gain = round(one.pretrained["ap50"] - one.scratch["ap50"], 1)
        yield f"{gain:+.1f}".replace("-", "−"), "points", f"that pretraining adds to {one.name} of the real set"
    if real is not None:
        yield f"{real:.1f}", "AP50", "all real images, without pretraining"
        enough = next((p for p in sweep.points if p.pretrained and p.pretrained["ap50"] >= _NEAR * real), None)
        if real and enough:
            share = f"{100 * sweep.of_real(enough):.3g}"
            yield share, "%", f"of the real images reach {100 * _NEAR:.0f} % of that with pretraining"


def _row(sweep: Sweep, point: SweepPoint) -> dict[str, Any]:
    real, reached = sweep.arms.get("real"), (point.pretrained or {}).get("ap50")
    return {
        "point": point,
        "of_real": _percent(sweep.of_real(point)),
        "of_mix": _percent(sweep.of_mix(point)),
        "pretrained": reached,
        "scratch": (point.scratch or {}).get("ap50"),
        "share": _share_of(reached, real) if real and reached is not None else None,
    }


def _share_of(value: float, whole: float | None) -> str:
    return f"{100 * value / whole:.1f} %" if whole else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share else "0 %"
