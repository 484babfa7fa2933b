"""The page: one HTML file with everything in it, no scripts, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from aerodet.files import write_text
from aerodet.report import _charts
from aerodet.report.data import Evaluation, Example, ReportData

__all__ = ["byte_size", "duration", "flat", "headline", "moment", "render_report", "resource"]

NOTHING = "–"


def render_report(data: ReportData, out: Path) -> None:
    """Write the report.

    Args:
        data: what to show.
        out: the HTML file, written by rename.

    Raises:
        MachineError: the disk is full or read-only.
    """
    template = _environment().from_string(resource("report.html.j2"))
    write_text(
        out,
        template.render(
            data=data,
            findings=[_unbroken(sentence) for sentence in _findings(data)],
            tiles=_tiles(data),
            style=Markup(resource("tokens.css") + resource("report.css")),  # our own files, nothing of the data's
            evaluations=_evaluations(data),
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
    if real and finetune:
        gap = _change(finetune.evaluation.ap50, real.evaluation.ap50)
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
        change = f"; {_delta(after.evaluation.ap50, before.evaluation.ap50)} against float" if before else ""
        tiles.append((f"{after.evaluation.ap50:.1f}", "AP50", f"INT8 model on the test set{change}"))
        if after.throughput:
            tiles.append((f"{after.throughput:.1f}", "×", "throughput of INT8 over the unpruned float model"))
        if before and before.file_bytes and after.file_bytes and after.file_bytes < before.file_bytes:
            tiles.append(
                (f"{before.file_bytes / after.file_bytes:.1f}", "×", f"smaller file: {byte_size(after.file_bytes)}")
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


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "bytes": byte_size,
        "count": lambda value: NOTHING if value is None else f"{value:,}",
        "decimals": lambda value, places=1: NOTHING if value is None else f"{value:.{places}f}",
        "delta": _delta,
        "duration": duration,
        "moment": moment,
        "picture": _picture,
        "colour": _charts.colour,
    }
    environment.globals |= {
        "arms_chart": _charts.arms_chart,
        "chain_chart": _charts.chain_chart,
        "shrink_chart": _charts.shrink_chart,
        "precision_recall_chart": _charts.precision_recall_chart,
        "training_chart": _charts.training_chart,
    }
    return environment


def resource(name: str) -> str:
    """Return a file of this package as text."""
    return resources.files("aerodet.report").joinpath(name).read_text(encoding="utf-8")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a nested mapping's values as text, by their dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)


def _unbroken(sentence: str) -> str:
    """Keep a figure and what it counts on one line."""
    return sentence.replace("AP50 ", "AP50\N{NO-BREAK SPACE}").replace(" %", "\N{NO-BREAK SPACE}%")


def _list(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]


def byte_size(size: int | None) -> str:
    """Spell a number of bytes for people."""
    if size is None:
        return NOTHING
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= factor:
            return f"{size / factor:.{1 if size >= 10 * factor else 2}f} {unit}"
    return f"{size} B"


def _share(data: ReportData) -> str:
    return f"{100 * data.run.fraction:.3g} %" if data.run.fraction else "a part"


def _change(value: float, reference: float) -> float:
    """Return the difference of the two as they are printed, so that a reader's subtraction agrees."""
    return round(round(value, 1) - round(reference, 1), 1)


def _delta(value: float, reference: float) -> str:
    change = _change(value, reference)
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{abs(change):.1f}"


def duration(seconds: float) -> str:
    """Spell seconds for people."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def moment(moment: datetime) -> str:
    """Spell a moment to the minute."""
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()


def _picture(example: Example) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(example.jpeg).decode()}"
