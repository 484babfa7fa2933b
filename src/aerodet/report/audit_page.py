"""The audit's page: what is in the data, what is wrong with them, and which labels a model doubts."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from aerodet.data import Images
from aerodet.errors import DataError
from aerodet.files import write_text
from aerodet.metrics.suspects import Suspect
from aerodet.report._render import resource
from aerodet.report._svg import Scale, element, figure, line, nice_step, text, ticks, y_axis
from aerodet.report.examples import FOUND, MISSED, draw_boxes

__all__ = ["Doubt", "draw_doubts", "render_audit"]

WIDTH = 460.0
SHOWN = 12  # findings of one kind
PLACES = 18  # bars of the places' chart
_CROP, _AROUND = 256, 2.2  # side of a picture in pixels, and of what it shows in sides of the box
_KINDS = {
    "broken-box": "Boxes that cannot be right",
    "tiny-box": "Boxes too small to be seen",
    "repeated-box": "Objects listed twice",
    "unreadable": "Images that cannot be read",
    "duplicate": "The same picture twice",
    "near-duplicate": "Pictures that look alike",
    "leak": "Places on both sides of a split",
}
_SAYS = {
    "unlabelled": "seen, not labelled",
    "unseen": "labelled, not seen",
    "class": "another class",
    "outline": "another outline",
}


@dataclass(frozen=True, slots=True)
class Doubt:
    """A suspect with its picture: the label dashed in yellow, what the model sees in green."""

    set: str
    file_name: str
    suspect: Suspect
    what: str
    jpeg: bytes


def draw_doubts(name: str, images: Images, suspects: Sequence[Suspect], count: int = 24) -> list[Doubt]:
    """Draw the first suspects of each kind in turn, so that one kind does not hide the others.

    Args:
        name: of the set.
        images: the set.
        suspects: the gravest first.
        count: how many.
    """
    doubts = []
    for suspect in _in_turn(suspects)[:count]:
        try:
            pixels = images.image(suspect.image)
        except DataError:  # the audit says so itself
            continue
        what = _SAYS[suspect.kind]
        if suspect.kind == "class" and suspect.seen_label is not None:
            what = f"{images.classes[suspect.label]}, seen as {images.classes[suspect.seen_label]}"
        doubts.append(Doubt(name, images.records[suspect.image].file_name, suspect, what, _crop(pixels, suspect)))
    return doubts


def _in_turn(suspects: Sequence[Suspect]) -> list[Suspect]:
    """Return the gravest of each kind, then the next of each..."""
    ranks: Counter[str] = Counter()
    ranked = []
    for suspect in suspects:
        ranks[suspect.kind] += 1
        ranked.append((ranks[suspect.kind], -suspect.doubt, suspect))
    return [suspect for _, _, suspect in sorted(ranked, key=lambda entry: entry[:2])]


def render_audit(result: Mapping[str, Any], out: Path, doubts: Sequence[Doubt] = (), title: str = "Data audit") -> None:
    """Write the page.

    Args:
        result: :meth:`aerodet.data.Audit.to_dict`.
        out: the HTML file, written by rename.
        doubts: labels that a model doubts, the gravest first.
        title: of the page.

    Raises:
        MachineError: the disk is full or read-only.
    """
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in result["findings"]:
        kinds.setdefault((finding["severity"], finding["kind"]), []).append(finding)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "count": lambda value: f"{value:,}",
        "percent": lambda value: f"{100 * value:.0f}\N{NO-BREAK SPACE}%",
        "picture": lambda jpeg: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}",
    }
    page = environment.from_string(resource("audit.html.j2")).render(
        title=title,
        style=Markup(resource("report.css")),  # our own file, nothing of the data's
        sets=result["sets"],
        severities=result["severities"],
        verdict=_verdict(result),
        kinds=[(severity, _KINDS.get(kind, kind), cases) for (severity, kind), cases in kinds.items()],
        shown=SHOWN,
        doubts=doubts,
        sizes=size_chart(result["sets"]),
        places={name: place_chart(figures["groups"]) for name, figures in result["sets"].items()},
        crowding=crowd_chart(result["sets"]),
    )
    write_text(out, page)


def size_chart(sets: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw the share of each set's boxes by size as bars beside each other."""
    edges = next(iter(sets.values()))["size_histogram"]["edges"]
    labels = [f"{low:g}" for low in edges[:-1]] + [f"{edges[-1]:g}+"]
    series = [(name, figures["size_histogram"]["counts"]) for name, figures in sets.items()]
    return _bars(labels, series, "Boxes by size", "√area, px")


def crowd_chart(sets: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw the share of each set's images by number of boxes."""
    limits = (0, 1, 2, 3, 5, 9, 17, 33, 65)
    labels = ["0", "1", "2", "3–4", "5–8", "9–16", "17–32", "33–64", "65+"]
    series = []
    for name, figures in sets.items():
        counts = np.array(figures["boxes_per_image"]["counts"] or [0])
        where = np.searchsorted(limits, np.arange(len(counts)), side="right") - 1
        series.append((name, np.bincount(where, weights=counts, minlength=len(limits)).astype(int).tolist()))
    return _bars(labels, series, "Images by number of boxes", "boxes")


def place_chart(groups: Mapping[str, int]) -> Markup:
    """Draw the images of the largest places as bars from left to right; the rest is one bar."""
    ordered = sorted(groups.items(), key=lambda pair: (-pair[1], pair[0]))
    rows, rest = ordered[:PLACES], ordered[PLACES:]
    if rest:
        rows = [*rows, (f"{len(rest)} more", sum(count for _, count in rest))]
    pitch, left, right = 19.0, 118.0, WIDTH - 48
    longest = max(count for _, count in rows)
    parts = []
    for index, (name, count) in enumerate(rows):
        y, width = index * pitch + 4, max(2.0, (right - left) * count / longest)
        shade = "k-other" if rest and index == len(rows) - 1 else "k-real"
        parts.append(text(left - 8, y + 11, name if len(name) <= 17 else f"{name[:16]}…", anchor="end"))
        parts.append(element("rect", x=left, y=y, width=width, height=13.0, rx=3, class_=f"bar {shade}"))
        parts.append(text(left + width + 7, y + 11, f"{count:,}", anchor="start"))
    return figure(WIDTH, len(rows) * pitch + 6, f"Images by place: {len(groups)} places", *parts)


def _bars(labels: Sequence[str], series: Sequence[tuple[str, Sequence[int]]], spoken: str, unit: str) -> Markup:
    height, left, right, top, bottom = 238.0, 34.0, WIDTH - 6, 16.0, 186.0
    shares = [[100 * count / max(1, sum(counts)) for count in counts] for _, counts in series]
    most = nice_step(max(max(share) for share in shares) or 1)
    scale = Scale(0, most, bottom, top)
    slot = (right - left) / len(labels)
    thick = min(16.0, slot * 0.8 / len(series))
    parts = [y_axis(scale, left, right, 4, "%")] if ticks(0, most, 4) else []
    for column, label in enumerate(labels):
        centre = left + slot * (column + 0.5)
        for number, share in enumerate(shares):
            x, y = centre + thick * (number - len(series) / 2), scale(share[column])
            if share[column]:
                bar = {"x": x, "y": y, "width": max(1.0, thick - 1), "height": bottom - y}
                parts.append(element("rect", **bar, rx=1.5, class_=f"bar s-{number % 4}"))
        parts.append(text(centre, bottom + 17, label))
    parts.append(line((left, bottom), (right, bottom), "axis"))
    parts.append(text(right, bottom + 38, unit, class_="name", anchor="end"))
    return figure(WIDTH, height, spoken, *parts)


def _verdict(result: Mapping[str, Any]) -> str:
    errors, warnings = result["severities"]["error"], result["severities"]["warning"]
    if errors:
        return f"{errors:,} finding{'s' if errors > 1 else ''} would make results untrue."
    if warnings:
        return f"Nothing makes results untrue; {warnings:,} thing{'s' if warnings > 1 else ''} may cost accuracy."
    return "Nothing was found that makes results untrue or costs accuracy."


def _crop(pixels: NDArray[np.uint8], suspect: Suspect) -> bytes:
    """Return a square picture around a suspect as JPEG."""
    corners = np.array([suspect.box, suspect.seen or suspect.box], np.float64)
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    side = max(48.0, _AROUND * float((high - low).max()))
    x, y = ((low + high) / 2 - side / 2).astype(int).tolist()
    size = round(side)
    padded = np.zeros((size, size, 3), np.uint8)
    part = pixels[max(0, y) : y + size, max(0, x) : x + size]
    top, left = max(0, -y), max(0, -x)
    padded[top : top + part.shape[0], left : left + part.shape[1]] = part
    scale = _CROP / size
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.array(cv2.resize(padded, (_CROP, _CROP), interpolation=way), np.uint8)
    origin = np.array([x, y, x, y])
    labelled = [] if suspect.kind == "unlabelled" else [suspect.box]
    seen = [suspect.box] if suspect.kind == "unlabelled" else [suspect.seen] if suspect.seen else []
    for boxes, colour, dashed in ((labelled, MISSED, True), (seen, FOUND, False)):
        shown = (np.array(boxes).reshape(-1, 4) - origin) * scale
        draw_boxes(canvas, shown.astype(np.float32), colour, dashed=dashed)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()
