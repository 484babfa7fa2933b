"""The report's charts as inline SVG. Sizes are those of a phone's column, so that text stays legible when scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from aerodet.report._svg import Point, Scale, element, figure, line, nice_step, path, text, ticks, y_axis
from aerodet.report.data import Arm, Evaluation, ReportData, StageResult, TrainingCurve

KEYS = ("real", "synthetic", "finetune", "pruned", "retrained", "qat", "int8")
WIDTH = 460.0


def colour(key: str) -> str:
    """Return the CSS class that colours a step of the flow."""
    return f"k-{key}" if key in KEYS else "k-other"


def arms_chart(arms: Sequence[Arm]) -> Markup:
    """Draw AP50 of the arms as bars on a common axis from 0 to 100."""
    height, left, right, top, bottom = 266.0, 34.0, WIDTH - 6, 26.0, 220.0
    scale = Scale(0, 100, bottom, top)
    slot = (right - left) / len(arms)
    parts = [y_axis(scale, left, right)]
    for index, arm in enumerate(arms):
        centre, thick = left + slot * (index + 0.5), min(84.0, slot * 0.56)
        y = scale(max(arm.evaluation.ap50, 0.4))
        bar = f"M{centre - thick / 2:.1f} {bottom}V{y + 5:.1f}q0-5 5-5h{thick - 10:.1f}q5 0 5 5V{bottom}z"
        if bottom - y < 6:
            bar = f"M{centre - thick / 2:.1f} {bottom}V{y:.1f}h{thick:.1f}V{bottom}z"
        parts.append(element("path", d=bar, class_=f"bar {colour(arm.key)}"))
        parts.append(text(centre, y - 8, f"{arm.evaluation.ap50:.1f}", class_="value"))
        parts.append(text(centre, bottom + 20, arm.label, class_="label"))
        parts.append(text(centre, bottom + 37, arm.note))
    parts.append(line((left, bottom), (right, bottom), "axis"))
    spoken = ", ".join(f"{arm.label} {arm.evaluation.ap50:.1f}" for arm in arms)
    return figure(WIDTH, height, f"AP50 on the test set: {spoken}", *parts)


def chain_chart(stages: Sequence[StageResult]) -> Markup:
    """Draw AP50 along the stages as a line of dots."""
    height, left, right, top, bottom = 212.0, 34.0, WIDTH - 6, 26.0, 184.0
    values = [stage.evaluation.ap50 for stage in stages]
    low = max(0.0, 10 * math.floor((min(values) - 4) / 10))
    scale = Scale(low, 100, bottom, top)
    slot = (right - left) / len(stages)
    points = [(left + slot * (i + 0.5), scale(value)) for i, value in enumerate(values)]
    parts = [y_axis(scale, left, right, 4), path(points, "thread")]
    for index, (stage, (x, y)) in enumerate(zip(stages, points, strict=True)):
        # A dip carries its value below, out of the line's way.
        dips = 0 < index < len(values) - 1 and values[index] < min(values[index - 1], values[index + 1]) - 3
        parts.append(element("circle", cx=x, cy=y, r=6, class_=f"dot {colour(stage.key)}"))
        parts.append(
            text(x, y + 22 if dips and y + 22 < bottom else y - 12, f"{values[index]:.1f}", class_="value small")
        )
        parts.append(text(x, bottom + 20, stage.label, class_="label small"))
    parts.append(line((left, bottom), (right, bottom), "axis"))
    spoken = ", ".join(f"{s.label} {v:.1f}" for s, v in zip(stages, values, strict=True))
    return figure(WIDTH, height, f"AP50 along the stages: {spoken}", *parts)


def shrink_chart(rows: Sequence[tuple[str, float, float, str, str]]) -> Markup:
    """Draw INT8 beside float, each row scaled to its float value.

    Args:
        rows: (what, float value, INT8 value, float value for people, INT8 value for people).
    """
    left, right, pitch = 6.0, WIDTH - 6, 70.0
    parts = []
    for index, (what, before, after, before_label, after_label) in enumerate(rows):
        y, share = index * pitch + 16, after / before
        longest = max(1.0, share)
        parts.append(text(left, y, what, class_="label", anchor="start"))
        parts.append(text(right, y, f"{100 * share:.0f} %", class_="value small", anchor="end"))
        for step, (size, name, class_) in enumerate(
            ((1.0, before_label, "bar k-before"), (share, after_label, "bar k-int8"))
        ):
            top, width = y + 8 + step * 19, max(3.0, (right - left) * size / longest)
            parts.append(element("rect", x=left, y=top, width=width, height=15.0, rx=4, class_=class_))
            inside = width > 9.0 * len(name)
            x = left + 9 if inside else left + width + 8
            parts.append(text(x, top + 11.5, name, class_="in-bar" if inside else "tick", anchor="start"))
    spoken = "; ".join(f"{what}: {before} before, {after} after" for what, _, _, before, after in rows)
    return figure(WIDTH, len(rows) * pitch, f"Float against INT8: {spoken}", *parts)


def precision_recall_chart(curves: Sequence[tuple[str, str, Evaluation]]) -> Markup:
    """Draw precision over recall at IoU 0.5.

    Args:
        curves: (key, label, evaluation); evaluations without a curve are skipped.
    """
    height, left, right, top, bottom = 330.0, 30.0, WIDTH - 8, 28.0, 294.0
    across, up = Scale(0, 1, left, right), Scale(0, 1, bottom, top)
    parts = [y_axis(up, left, right)]
    for value in ticks(0, 1):
        parts.append(line((across(value), top), (across(value), bottom), "grid"))
        parts.append(text(across(value), bottom + 19, f"{value:g}"))
    for key, _, evaluation in curves:
        points = [(across(r), up(p)) for r, p in zip(evaluation.recall, evaluation.precision, strict=True) if p > 0]
        if points:  # COCO's precision is 0 from the recall that is never reached
            parts.append(path(points, f"curve {colour(key)}"))
            parts.append(element("circle", cx=points[-1][0], cy=points[-1][1], r=4, class_=f"dot {colour(key)}"))
    parts.append(line((left, bottom), (right, bottom), "axis"))
    parts.append(text(left - 20, 12, "precision", class_="name", anchor="start"))
    parts.append(text(right, bottom - 8, "recall", class_="name", anchor="end"))
    spoken = ", ".join(label for _, label, _ in curves)
    return figure(WIDTH, height, f"Precision over recall at IoU 0.5: {spoken}", *parts)


def training_chart(curve: TrainingCurve) -> Markup:
    """Draw one training: AP50 over the epochs above the loss over the same epochs."""
    width, left, right = 300.0, 36.0, 292.0
    epochs = [epoch for epoch, _ in (*curve.loss, *curve.ap50)]
    first, last = min(epochs), max(*epochs, min(epochs) + 1)
    across = Scale(first, last, left, right)
    parts, top = [], 14.0
    if curve.ap50:
        up = Scale(0, 100, 104, top)
        parts += [y_axis(up, left, right, 2), _trace(curve.ap50, across, up, f"curve {colour(curve.key)}")]
        parts.append(text(right, 9, "AP50", class_="name", anchor="end"))
        top = 128.0
    bottom = top + 70
    values = [value for _, value in curve.loss]
    high = max(*values, 1e-9) if values else 1.0
    up = Scale(0, nice_step(high), bottom, top)
    parts += [y_axis(up, left, right, 2), _trace(curve.loss, across, up, "curve thin")]
    parts.append(text(right, top - 5, "loss", class_="name", anchor="end"))
    parts.append(line((left, bottom), (right, bottom), "axis"))
    parts.append(text(left, bottom + 16, f"epoch {first}", anchor="start"))
    parts.append(text(right, bottom + 16, f"{last}", anchor="end"))
    return figure(width, bottom + 22, f"Training of {curve.label}: loss and AP50 by epoch", *parts)


def shrink_rows(data: ReportData) -> list[tuple[str, float, float, str, str]]:
    """Return the rows of :func:`shrink_chart` that were measured."""
    before, after = data.stage("finetune"), data.stage("int8")
    if before is None or after is None:
        return []
    rows: list[tuple[str, float, float, str, str]] = []
    if before.params_total and after.params_total:
        rows.append(_row("Parameters", before.params_total, after.params_total, "{:,.0f}"))
    if before.file_bytes and after.file_bytes:
        rows.append(_row("File", before.file_bytes / 1e6, after.file_bytes / 1e6, "{:.2f} MB"))
    if before.median_ms and after.median_ms:
        rows.append(_row("Latency", before.median_ms, after.median_ms, "{:.2f} ms"))
    return rows


def _row(what: str, before: float, after: float, form: str) -> tuple[str, float, float, str, str]:
    return what, before, after, f"{form.format(before)} float", f"{form.format(after)} INT8"


def _trace(pairs: Sequence[tuple[int, float]], across: Scale, up: Scale, class_: str) -> Markup:
    points: list[Point] = [(across(epoch), up(value)) for epoch, value in pairs]
    if len(points) == 1:
        return element("circle", cx=points[0][0], cy=points[0][1], r=3, class_=class_.replace("curve", "dot"))
    return path(points, class_)
