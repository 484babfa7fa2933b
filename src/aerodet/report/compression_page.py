"""The page of a compression search: its points as plots and a table, and which one to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from aerodet.files import write_text
from aerodet.report._render import environment, flat, resource
from aerodet.report._svg import Scale, element, figure, line, path, text, ticks, y_axis
from aerodet.report.compression import NARROW, Point, Search, front, is_pruned, no_choice
from aerodet.report.data import RunInfo

__all__ = ["Page", "render_compression"]

WIDTH = 460.0
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 300.0, 38.0, 446.0, 24.0, 250.0
_WAYS = {
    "l2": ("pruned by L2 norm", "k-real"),
    "bn": ("pruned by batch-norm scale", "k-retrained"),
    "taylor": ("pruned by Taylor", "k-qat"),
    "one-shot": ("pruned in one go", "k-finetune"),
    "narrow": ("narrow from scratch", "k-synthetic"),
    "narrow-distilled": ("narrow, distilled", "k-int8"),
}
_TARGETS = {"cpu": "a CPU", "sm_80": "GPUs of compute capability 8.0", "sm_90": "GPUs of compute capability 9.0"}


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows.

    Attributes:
        run: the run.
        search: its points, with latencies that can be compared.
        parameters: the profile.
        images: real images that were trained on.
        tests: images that were tested on.
    """

    run: RunInfo
    search: Search
    parameters: Mapping[str, Any]
    images: int
    tests: int


def render_compression(page: Page, out: Path) -> None:
    """Write the page.

    Args:
        page: what to show.
        out: the HTML file, written by rename.

    Raises:
        MachineError: the disk is full or read-only.
    """
    search = page.search
    page_environment = environment()
    page_environment.filters["change"] = _change
    sizes = scatter_chart(search, lambda p: p.parameters, _short, "AP50 against parameters", "parameters", log=True)
    times = scatter_chart(search, lambda p: p.median_ms, _plain, "AP50 against latency", "ms a batch", log=True)
    files = scatter_chart(search, lambda p: p.bytes, _size, "AP50 against file size", "INT8 file", log=True)
    loss = loss_chart(search)
    write_text(
        out,
        page_environment.from_string(resource("compression.html.j2")).render(
            page=page,
            search=search,
            style=Markup(resource("tokens.css") + resource("report.css")),  # our own files, nothing of the data's
            verdict=headline(search),
            sentence=search.sentence(),
            target=_TARGETS[search.target],
            charts=[
                ("AP50 against parameters", sizes),
                ("AP50 against latency", times),
                ("AP50 against file size", files),
                ("What quantisation cost", loss),
            ],
            legend=[_WAYS[way] for way in _WAYS if any(point.way == way for point in search.points)],
            ways=_WAYS,
            narrow=NARROW,
            front={point.name for point in front(search.points)},
            least=search.least_ap50,
            chosen=search.chosen,
            parameters=list(flat(page.parameters)),
        ),
    )


def headline(search: Search) -> str:
    """Say which point is to be taken, or that there is none."""
    best, reference = search.chosen, search.reference
    if best is None:
        return no_choice(reference.ap50, search.budget)
    return (
        f"{best.parameters:,} parameters, {reference.parameters / best.parameters:.1f} times fewer, reach AP50 "
        f"{best.ap50:.1f} against {reference.ap50:.1f}, {best.speedup:.1f} times as fast."
    )


def scatter_chart(
    search: Search,
    measure: Callable[[Point], float],
    spell: Callable[[float], str],
    spoken: str,
    unit: str,
    *,
    log: bool = False,
) -> Markup:
    """Draw AP50 of all points over a measure, the larger the further right, and the steps between the best of them.

    Pruned points are dots, those trained from scratch rings; the chosen one has a halo, the budget is a dashed line.
    """
    points, least = search.points, search.least_ap50
    scores = [point.ap50 for point in points]
    low = max(0.0, 5 * math.floor((min(*scores, least) - 1) / 5))
    high = min(100.0, 5 * math.ceil((max(*scores, search.reference.ap50) + 1) / 5))
    up = Scale(low, high, _BOTTOM, _TOP)
    bend: Callable[[float], float] = math.log10 if log else float
    values = [measure(point) for point in points]
    margin = max(0.08 * (bend(max(values)) - bend(min(values))), 0.05)
    across = Scale(bend(min(values)) - margin, bend(max(values)) + margin, _LEFT, _RIGHT)
    parts = [y_axis(up, _LEFT, _RIGHT, 4)]
    for value in _marks(min(values), max(values)) if log else ticks(min(values), max(values), 4):
        x = across(bend(value))
        parts += [line((x, _TOP), (x, _BOTTOM), "grid"), text(x, _BOTTOM + 18, spell(value))]
    parts.append(line((_LEFT, _BOTTOM), (_RIGHT, _BOTTOM), "axis"))
    parts.append(text(_RIGHT, _BOTTOM + 38, unit, class_="name", anchor="end"))
    parts.append(text(_LEFT - 30, 11, "AP50 of INT8", class_="name", anchor="start"))
    if least > 0:  # a budget that allows any AP50 has no line
        parts.append(line((_LEFT, up(least)), (_RIGHT, up(least)), "budget"))
    steps = _steps(points, measure)
    parts.append(
        path([(across(bend(measure(p))), up(p.ap50)) for p in steps], "thread") if len(steps) > 1 else Markup()
    )
    for point in points:
        parts.append(_mark(across(bend(measure(point))), up(point.ap50), point, search.chosen))
    if least > 0:
        parts.append(text(_LEFT + 4, up(least) - 5, "budget", class_="name lifted", anchor="start"))
    said = "; ".join(f"{point.name} {spell(measure(point))}, AP50 {point.ap50:.1f}" for point in points)
    return figure(WIDTH, _HEIGHT, f"{spoken}: {said}", *parts)


def loss_chart(search: Search) -> Markup:
    """Draw AP50 before and after quantisation of each point as a line between two dots."""
    pitch, left, right = 24.0, 118.0, WIDTH - 14
    points = search.points
    values = [value for point in points for value in (point.ap50, point.float_ap50)]
    low, high = max(0.0, math.floor(min(values) - 1)), min(100.0, math.ceil(max(values) + 1))
    across = Scale(low, high, left, right)
    bottom = len(points) * pitch + 8
    parts = []
    for value in ticks(low, high, 4):
        x = across(value)
        parts += [line((x, 4), (x, bottom), "grid"), text(x, bottom + 16, f"{value:g}")]
    for index, point in enumerate(points):
        y = index * pitch + 16
        shade = _WAYS[point.way][1]
        parts.append(text(left - 10, y + 4, point.name, anchor="end"))
        parts.append(path([(across(point.float_ap50), y), (across(point.ap50), y)], f"curve {shade}"))
        parts.append(element("circle", cx=across(point.float_ap50), cy=y, r=4.5, class_=f"ring {shade}"))
        parts.append(element("circle", cx=across(point.ap50), cy=y, r=5.0, class_=f"dot {shade}"))
    parts.append(text(right, bottom + 34, "ring: AP50 in float, dot: INT8", class_="name", anchor="end"))
    said = "; ".join(f"{p.name} {p.float_ap50:.1f} in float, {p.ap50:.1f} in INT8" for p in points)
    return figure(WIDTH, bottom + 40, f"AP50 before and after quantisation: {said}", *parts)


def _mark(x: float, y: float, point: Point, chosen: Point | None) -> Markup:
    shade = _WAYS[point.way][1]
    halo = element("circle", cx=x, cy=y, r=12.0, class_="halo") if point is chosen else Markup()
    kind = "dot" if is_pruned(point) else "ring"
    title = element("title", f"{point.name}: {point.parameters:,} parameters, AP50 {point.ap50:.1f}")
    return halo + element("circle", title, cx=x, cy=y, r=6.0, class_=f"{kind} {shade}")


def _steps(points: Sequence[Point], measure: Callable[[Point], float]) -> list[Point]:
    """Return the points that no other beats in AP50 at this measure or less, by the measure."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (measure(p), -p.ap50)):
        if not best or point.ap50 > best[-1].ap50:
            best.append(point)
    return best


def _marks(low: float, high: float) -> list[float]:
    """Return about four round values on a logarithmic axis, such as 1, 2 and 5 times powers of ten, or its ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 5, 6, 8), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        found = [f * 10.0**p for p in powers for f in factors if low * 0.95 <= f * 10.0**p <= high * 1.05]
        if len(found) >= 3:
            return found
    return [low, high] if len(found) < 2 and high > 1.1 * low else found or [low]


def _short(value: float) -> str:
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def _plain(value: float) -> str:
    return f"{value:.3g}"


def _size(value: float) -> str:
    return f"{value / 1e6:g} MB" if value >= 1e6 else f"{value / 1e3:g} kB"


def _change(value: float, reference: float) -> str:
    change = round(round(value, 1) - round(reference, 1), 1)
    return f"{'+' if change > 0 else '−' if change < 0 else '±'}{abs(change):.1f}"
