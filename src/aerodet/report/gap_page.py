"""Real and synthetic images side by side: pictures, histograms, and how far apart each statistic is."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from aerodet.data import Images, Pixels
from aerodet.files import write_text
from aerodet.report._render import environment, resource
from aerodet.report._svg import Scale, figure, line, path, text, ticks
from aerodet.report.gap import SETS, Crop, GapData

__all__ = ["crop_images", "gap_section", "render_gap"]

_CROP = 256  # px of the image, which are px of the picture: sharpness and size are seen as they are
_WIDTH, _HEIGHT = 300.0, 150.0


def crop_images(images: Images, *, count: int = 4, seed: int = 0) -> list[Crop]:
    """Cut pictures out of images drawn by seed, those with objects first."""
    order = np.random.default_rng(seed).permutation(len(images.records)).tolist()
    order.sort(key=lambda index: not len(images.records[index].boxes))  # stable: empty images go last
    return [
        Crop(images.records[index].file_name, _crop(images.image(index), _centre(images, index)))
        for index in order[:count]
    ]


def gap_section(data: GapData) -> Markup:
    """Return the inside of the section, without its heading."""
    shown = environment()
    shown.filters |= {"figure": _figure, "crop": _picture}
    shown.globals |= {"chart": statistic_chart, "meter": _meter, "sets": SETS}
    return Markup(shown.from_string(resource("gap_section.html.j2")).render(gap=data.gap, crops=data.crops))


def render_gap(data: GapData, out: Path, title: str = "Real and synthetic images") -> None:
    """Write the page.

    Raises:
        MachineError: the disk is full or read-only.
    """
    style = Markup(resource("tokens.css") + resource("report.css") + resource("gap.css"))  # our own files
    page = environment().from_string(resource("gap.html.j2"))
    write_text(out, page.render(gap=data.gap, section=gap_section(data), style=style, title=title))


def statistic_chart(statistic: Mapping[str, Any]) -> Markup:
    """Draw a statistic of both sets: histograms over each other, or spectra with their middle four fifths."""
    return _spectra(statistic) if "frequency" in statistic else _histograms(statistic)


def _histograms(statistic: Mapping[str, Any]) -> Markup:
    edges, left, right, top, bottom = statistic["histogram"]["edges"], 4.0, _WIDTH - 4, 8.0, _HEIGHT - 24
    shares = {name: statistic["histogram"][name] for name in SETS}
    across = Scale(edges[0], edges[-1], left, right)
    up = Scale(0, max(max(found) for found in shares.values()) or 1, bottom, top)
    parts = []
    for name, found in shares.items():
        if statistic[name] is None:
            continue
        steps = [(across(x), up(share)) for low, high, share in _bins(edges, found) for x in (low, high)]
        outline = [(steps[0][0], bottom), *steps, (steps[-1][0], bottom)]
        parts += [path(outline, f"area k-{name}"), path(outline, f"curve thin k-{name}")]
    parts.append(line((left, bottom), (right, bottom), "axis"))
    for value in ticks(edges[0], edges[-1], 4):
        parts.append(text(min(max(across(value), left + 8), right - 8), bottom + 17, f"{value:g}"))
    return figure(_WIDTH, _HEIGHT, f"{statistic['label']}: {_spoken(statistic)}", *parts)


def _spectra(statistic: Mapping[str, Any]) -> Markup:
    left, right, top, bottom = 26.0, _WIDTH - 4, 8.0, _HEIGHT - 24
    bands = {name: statistic[name] for name in SETS if statistic[name] is not None}
    values = [value for found in bands.values() for value in (*found["low"], *found["high"])]
    low, high = np.floor(min(values)), np.ceil(max(values))
    across, up = Scale(0, 0.5, left, right), Scale(low, max(high, low + 1), bottom, top)
    parts = []
    for value in ticks(low, high, min(4, int(high - low) or 1)):
        parts.append(line((left, up(value)), (right, up(value)), "grid"))
        parts.append(text(left - 6, up(value) + 4, f"{value:g}".replace("-", "−"), anchor="end"))
    for name, found in bands.items():
        rows = {
            row: [(across(f), up(v)) for f, v in zip(statistic["frequency"], found[row], strict=True)]
            for row in ("low", "mean", "high")
        }
        parts += [
            path([*rows["low"], *rows["high"][::-1]], f"area k-{name}"),
            path(rows["mean"], f"curve thin k-{name}"),
        ]
    parts.append(line((left, bottom), (right, bottom), "axis"))
    parts += [text(across(value), bottom + 17, f"{value:g}") for value in (0.1, 0.2, 0.3, 0.4)]
    return figure(_WIDTH, _HEIGHT, f"{statistic['label']} of real and synthetic images", *parts)


def _bins(edges: Sequence[float], shares: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    return zip(edges[:-1], edges[1:], shares, strict=True)


def _spoken(statistic: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} median {_figure(statistic[name]['p50'])}" for name in SETS if statistic[name])


def _meter(value: float) -> float:
    """Return a bar's length in percent; three standard deviations and more fill it."""
    return min(100.0, 100 * value / 3)


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    places = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{places}f}".replace("-", "−")


def _centre(images: Images, index: int) -> tuple[float, float]:
    """Return the middle of the middlemost box by size, or of the image."""
    record = images.records[index]
    if not len(record.boxes):
        return record.width / 2, record.height / 2
    sides = record.boxes[:, 2:] - record.boxes[:, :2]
    box = record.boxes[np.argsort(sides.prod(axis=1), kind="stable")[len(sides) // 2]]
    return float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2


def _crop(pixels: Pixels, centre: tuple[float, float]) -> bytes:
    side = min(_CROP, *pixels.shape[:2])
    x, y = (
        int(np.clip(round(middle - side / 2), 0, length - side))
        for middle, length in zip(centre, pixels.shape[1::-1], strict=True)
    )
    part = cv2.cvtColor(np.ascontiguousarray(pixels[y : y + side, x : x + side]), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()


def _picture(crop: Crop) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(crop.jpeg).decode()}"
