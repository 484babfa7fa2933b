"""The data-efficiency curve: AP50 over the share of the real images, which doubles from tick to tick."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from aerodet.report._svg import Point, Scale, element, figure, line, path, text, y_axis
from aerodet.report.sweep import Sweep, SweepPoint

__all__ = ["curve_chart"]

_WIDTH, _HEIGHT = 760.0, 384.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 38.0, 748.0, 18.0, 330.0
_ZERO, _FIRST = 74.0, 150.0  # where nothing is, and the smallest share beside it: a logarithm has no zero
_APART = 44.0  # px between two labels of the axis
WAYS = (("pretrained", "finetune"), ("scratch", "real"))  # with its colour


@dataclass(frozen=True, slots=True)
class _Axis:
    """Shares on a logarithmic axis with a place for nothing at its left."""

    low: float
    first: float

    def __call__(self, share: float) -> float:
        if share <= 0:
            return _ZERO
        if self.low >= 1:
            return (self.first + _RIGHT - 24) / 2
        return self.first + math.log(share / self.low) / math.log(1 / self.low) * (_RIGHT - 24 - self.first)


def curve_chart(sweep: Sweep) -> Markup:
    """Draw both curves, the points of single frames as diamonds, and the real arm as a level."""
    values = [found["ap50"] for p in sweep.points for found in (p.pretrained, p.scratch) if found]
    low = max(0.0, 10 * math.floor((min(values, default=0.0) - 6) / 10))
    up = Scale(low, 100, _BOTTOM, _TOP)
    nothing = any(not p.real.images for p in sweep.points)
    across = _Axis(
        min((sweep.of_real(p) for p in sweep.points if p.real.images), default=1.0), _FIRST if nothing else _ZERO
    )
    parts = [y_axis(up, _LEFT, _RIGHT), *_level(sweep, up), *_x_axis(sweep, across, broken=nothing)]
    fractions = [p for p in sweep.points if not p.asked_frames]
    for way, colour in WAYS:
        parts += _line(sweep, fractions, way, colour, across, up)
    for point in sweep.points:
        if point.asked_frames:
            parts += _frames(point, across(sweep.of_real(point)), up)
    parts.append(text(_RIGHT, _BOTTOM + 46, "share of the real images, logarithmic", class_="name", anchor="end"))
    return figure(_WIDTH, _HEIGHT, _spoken(sweep), *parts)


def _line(sweep: Sweep, points: Sequence[SweepPoint], way: str, colour: str, across: _Axis, up: Scale) -> list[Markup]:
    known = [(p, found["ap50"]) for p in points if (found := getattr(p, way))]
    placed: list[Point] = [(across(sweep.of_real(p)), up(value)) for p, value in known]
    some = [place for (p, _), place in zip(known, placed, strict=True) if p.real.images]
    parts = [path(some, f"curve k-{colour}")] if len(some) > 1 else []
    if len(some) < len(placed) and some:
        parts.append(path([placed[0], some[0]], f"curve broken k-{colour}"))
    for (point, value), (x, y) in zip(known, placed, strict=True):
        parts.append(element("circle", cx=x, cy=y, r=5.5, class_=f"dot k-{colour}"))
        shift = _shift(point, way, up)
        if shift is not None:
            parts.append(text(x, y + shift, f"{value:.1f}", class_="value small"))
    return parts


def _shift(point: SweepPoint, way: str, up: Scale) -> float | None:
    """Return how far from its point a value stands: the higher of two above it, the lower below; None: no room."""
    mine, other = (point.pretrained, point.scratch) if way == "pretrained" else (point.scratch, point.pretrained)
    if mine is None:
        return None
    ahead = other is None or (mine["ap50"], way == "pretrained") > (other["ap50"], way != "pretrained")
    if ahead:
        return -12.0
    y = up(mine["ap50"])
    if y + 26 < _BOTTOM:
        return 22.0
    return -12.0 if other and y - up(other["ap50"]) > 34 else None  # the table tells it


def _frames(point: SweepPoint, x: float, up: Scale) -> list[Markup]:
    parts, ys = [], []
    for way, colour in WAYS:
        if found := getattr(point, way):
            y = up(found["ap50"])
            ys.append(y)
            parts.append(element("path", d=f"M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7-7z", class_=f"diamond k-{colour}"))
            parts.append(text(x - 11, y + 4.5, f"{found['ap50']:.1f}", class_="beside", anchor="end"))
    if not ys:
        return []
    parts.append(text(x, max(ys) + 24, point.name, class_="name"))
    return [line((x, min(ys)), (x, max(ys)), "thread"), *parts]


def _level(sweep: Sweep, up: Scale) -> list[Markup]:
    if "real" not in sweep.arms:
        return []
    y = up(sweep.arms["real"])
    return [line((_LEFT, y), (_RIGHT, y), "level k-real")]


def _x_axis(sweep: Sweep, across: _Axis, *, broken: bool) -> list[Markup]:
    parts, last = [], -_APART
    for point in sweep.points:
        x = across(sweep.of_real(point))
        if point.asked_frames or x - last < _APART:
            continue
        last = x
        share = f"{100 * sweep.of_real(point):.3g} %"
        parts += [line((x, _BOTTOM), (x, _BOTTOM + 5), "axis"), text(x, _BOTTOM + 21, share)]
    if not broken:
        return [*parts, line((_LEFT, _BOTTOM), (_RIGHT, _BOTTOM), "axis")]
    middle = (_ZERO + across.first) / 2
    parts += [
        line((_LEFT, _BOTTOM), (middle - 5, _BOTTOM), "axis"),
        line((middle + 5, _BOTTOM), (_RIGHT, _BOTTOM), "axis"),
    ]
    parts += [line((middle + at - 3, _BOTTOM + 6), (middle + at + 3, _BOTTOM - 6), "axis") for at in (-5, 5)]
    return parts


def _spoken(sweep: Sweep) -> str:
    said = [
        f"{p.name}: "
        + ", ".join(
            f"{word} {found['ap50']:.1f}" for word, found in (("with", p.pretrained), ("without", p.scratch)) if found
        )
        for p in sweep.points
    ]
    return f"AP50 over the share of real images, with and without synthetic pretraining; {'; '.join(said)}"
