"""The page: one HTML file with everything in it, no scripts, nothing loaded from anywhere."""

from __future__ import annotations

import base64
from pathlib import Path

from markupsafe import Markup

from aerodet.files import write_text
from aerodet.report import _charts
from aerodet.report._render import change, delta, environment, flat, in_bytes, resource, unbroken
from aerodet.report.data import Evaluation, Example, ReportData
from aerodet.report.gap_page import gap_section

__all__ = ["headline", "render_report"]


def render_report(data: ReportData, out: Path) -> None:
    """Write the report.

    Args:
        data: what to show.
        out: the HTML file, written by rename.

    Raises:
        MachineError: the disk is full or read-only.
    """
    made = environment()
    made.filters["picture"] = _picture
    made.globals |= {
        "arms_chart": _charts.arms_chart,
        "chain_chart": _charts.chain_chart,
        "shrink_chart": _charts.shrink_chart,
        "precision_recall_chart": _charts.precision_recall_chart,
        "training_chart": _charts.training_chart,
    }
    template = made.from_string(resource("report.html.j2"))
    write_text(
        out,
        template.render(
            data=data,
            findings=[unbroken(sentence) for sentence in _findings(data)],
            tiles=_tiles(data),
            # Our own files, nothing of the data's.
            style=Markup(resource("tokens.css") + resource("report.css") + resource("gap.css")),
            gap_section=gap_section(data.gap) if data.gap else "",
            evaluations=_evaluations(data),
            int8_by=int8.evaluation.backend if (int8 := data.stage("int8")) else "",
            shrink=_charts.shrink_rows(data),
            parameters=list(flat(data.parameters)),
        ),
    )


def headline(data: ReportData) -> str:
    """Say in a sentence or two what the run found."""
    return " ".join(_findings(data))


def _findings(data: ReportData) -> list[str]:
    """Return what the arms say and what the compression says, as far as they were measured."""
    sentences = []
    real, synthetic, finetune = (data.arm(key) for key in ("real", "synthetic", "finetune"))
    if real and finetune and not real.evaluation.ap50 and not finetune.evaluation.ap50:
        sentences.append("Neither the real images nor the synthetic ones have taught the detector anything yet.")
    elif real and finetune:
        gap = change(finetune.evaluation.ap50, real.evaluation.ap50)
        distance = f"{abs(gap):.1f} points {'below' if gap < 0 else 'above'}" if gap else "level with"
        alone = f"; synthetic images alone reach {synthetic.evaluation.ap50:.1f}" if synthetic else ""
        sentences.append(
            f"Synthetic images and {_share(data)} of the real ones reach AP50 {finetune.evaluation.ap50:.1f}, "
            f"{distance} training on all real images ({real.evaluation.ap50:.1f}){alone}."
        )
    before, after = data.stage("finetune"), data.stage("int8")
    if before and after:
        facts = []
        if before.params_total and after.params_total and after.params_total < before.params_total:
            facts.append(f"has {100 * (1 - after.params_total / before.params_total):.0f} % fewer parameters")
        if before.file_bytes and after.file_bytes and after.file_bytes < before.file_bytes:
            facts.append(f"is {before.file_bytes / after.file_bytes:.1f} times smaller")
        if after.throughput:
            facts.append(f"runs {after.throughput:.1f} times as fast")
        facts.append(f"reaches AP50 {after.evaluation.ap50:.1f}")
        sentences.append(f"The INT8 model {_list(facts)}.")
    return sentences


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Return (figure, unit, meaning) of the four figures at the top, those that were measured."""
    tiles = []
    before, after = data.stage("finetune"), data.stage("int8")
    if after:
        against = f"; {delta(after.evaluation.ap50, before.evaluation.ap50)} against float" if before else ""
        tiles.append((f"{after.evaluation.ap50:.1f}", "AP50", f"INT8 model on the test set{against}"))
        if after.throughput:
            tiles.append((f"{after.throughput:.1f}", "×", "throughput of INT8 over the unpruned float model"))
        if before and before.file_bytes and after.file_bytes and after.file_bytes < before.file_bytes:
            tiles.append(
                (f"{before.file_bytes / after.file_bytes:.1f}", "×", f"smaller file: {in_bytes(after.file_bytes)}")
            )
    real, synthetic, finetune = (data.arm(key) for key in ("real", "synthetic", "finetune"))
    if real and synthetic and finetune and real.evaluation.ap50 > synthetic.evaluation.ap50:
        gap = real.evaluation.ap50 - synthetic.evaluation.ap50
        closed = 100 * (finetune.evaluation.ap50 - synthetic.evaluation.ap50) / gap
        tiles.append(
            (f"{closed:.0f}", "%", f"of the gap from synthetic to real, closed by {_share(data)} of the real images")
        )
    return tiles


def _evaluations(data: ReportData) -> list[tuple[str, str, Evaluation]]:
    """Return (key, label, evaluation) of every model, once: the finetune arm is also the first stage."""
    found = [(arm.key, arm.label, arm.evaluation) for arm in data.arms]
    known = {key for key, _, _ in found}
    return found + [(s.key, s.label, s.evaluation) for s in data.stages if s.key not in known]


def _list(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]


def _share(data: ReportData) -> str:
    return f"{100 * data.run.fraction:.3g} %" if data.run.fraction else "a part"


def _picture(example: Example) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(example.jpeg).decode()}"
