"""A few SVG pieces that the charts share: elements, axes, text. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]


def element(name: str, *children: Markup | str, **attributes: float | str) -> Markup:
    """Return an SVG element; text and attribute values are escaped, ``class_`` and ``text_anchor`` are spelt right."""
    spelt = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value) if isinstance(value, float) else value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{spelt}>{''.join(escape(child) for child in children)}</{name}>")


def text(x: float, y: float, content: str, *, class_: str = "tick", anchor: str = "middle") -> Markup:
    """Return a text with its baseline at ``y``."""
    return element("text", content, x=float(x), y=float(y), class_=class_, text_anchor=anchor)


def line(start: Point, end: Point, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=float(start[0]), y1=float(start[1]), x2=float(end[0]), y2=float(end[1]), class_=class_)


def path(points: Sequence[Point], class_: str) -> Markup:
    """Return a line through the points."""
    return element("path", d="M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points), class_=class_)


def figure(width: float, height: float, label: str, *parts: Markup) -> Markup:
    """Return a chart that fills its column; ``label`` is what a screen reader says."""
    return element(
        "svg",
        element("title", label),
        *parts,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        role="img",
        class_="chart",
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round values from ``low`` to ``high``."""
    step = nice_step((high - low) / count)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def nice_step(raw: float) -> float:
    """Return the next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def y_axis(scale: Scale, left: float, right: float, count: int = 5, suffix: str = "") -> Markup:
    """Return grid lines with their values at the left."""
    parts = []
    for value in ticks(scale.low, scale.high, count):
        y = scale(value)
        parts.append(line((left, y), (right, y), "grid"))
        parts.append(text(left - 7, y + 4, f"{value:g}{suffix}", anchor="end"))
    return Markup().join(parts)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
