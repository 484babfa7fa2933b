"""What the pages of this package share: the template environment, numbers and times in words, packaged files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from aerodet.report._charts import colour

__all__ = ["NOTHING", "change", "delta", "environment", "flat", "in_bytes", "resource", "unbroken"]

NOTHING = "–"


def environment() -> Environment:
    """Return what the pages of this package are rendered with."""
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "bytes": in_bytes,
        "count": lambda value: NOTHING if value is None else f"{value:,}",
        "decimals": lambda value, places=1: NOTHING if value is None else f"{value:.{places}f}",
        "delta": delta,
        "duration": _duration,
        "moment": _moment,
        "colour": colour,
    }
    return made


def resource(name: str) -> str:
    """Return a file of this package as text."""
    return resources.files("aerodet.report").joinpath(name).read_text(encoding="utf-8")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a profile as dotted names and texts."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)


def unbroken(sentence: str) -> str:
    """Keep a figure and what it counts on one line."""
    return sentence.replace("AP50 ", "AP50\N{NO-BREAK SPACE}").replace(" %", "\N{NO-BREAK SPACE}%")


def in_bytes(size: int | None) -> str:
    """Return a file's size for people."""
    if size is None:
        return NOTHING
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= factor:
            return f"{size / factor:.{1 if size >= 10 * factor else 2}f} {unit}"
    return f"{size} B"


def change(value: float, reference: float) -> float:
    """Return the difference of the two as they are printed, so that a reader's subtraction agrees."""
    return round(round(value, 1) - round(reference, 1), 1)


def delta(value: float, reference: float) -> str:
    """Return :func:`change` with its sign."""
    difference = change(value, reference)
    return f"{'+' if difference > 0 else '−' if difference < 0 else '±'}{abs(difference):.1f}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M %Z").strip()
