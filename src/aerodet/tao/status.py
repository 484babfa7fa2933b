"""What a TAO task says of itself: ``status.json`` of its results folder, and TAO Deploy's ``results.json``.

Despite its name ``status.json`` holds a JSON object a line, one an event: ``date``, ``time``, ``status`` (STARTED,
RUNNING, SUCCESS, FAILURE or SKIPPED), ``verbosity``, ``message`` and, in some, ``kpi``, ``categorical``, ``graphical``
and ``epoch``. Sources: ``nvidia_tao_tf1/cv/common/logging/logging.py`` and
``cv/detectnet_v2/tfhooks/task_progress_monitor_hook.py``; TAO Deploy writes the same.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerodet.errors import DataError

__all__ = ["TaoStatus", "read_results", "read_status"]

STATUS, RESULTS = "status.json", "results.json"


@dataclass(frozen=True)
class TaoStatus:
    """How a task ended.

    Args:
        message: the last words of the task.
        metrics: the last value of every figure that it logged, by a name of letters, digits and ``_``; average
            precisions as TAO prints them, of one class as ``average_precision_CLASS``.
        losses: epoch and loss of every epoch that was begun; the loss is of the epoch's first step.
    """

    message: str
    metrics: Mapping[str, float]
    losses: tuple[tuple[int, float], ...] = field(default=(), repr=False)


def read_status(folder: Path) -> TaoStatus:
    """Read how a task ended.

    Args:
        folder: its results folder, or the ``status.json`` itself.

    Raises:
        DataError: there is no ``status.json``, it is damaged, or the task failed or never ended.
    """
    path = folder / STATUS if folder.is_dir() else folder
    if not path.is_file():
        raise DataError(
            f"{folder} has no {STATUS}, so the TAO task left no result; look at its log, and at the results folder "
            "that it was given (-r)"
        )
    events = list(_events(path))
    if not events:
        raise DataError(f"{path} is empty, so the TAO task did not start; look at its log")
    last = events[-1]
    state, message = str(last.get("status", "")), str(last.get("message", "no message"))
    if state == "FAILURE":
        raise DataError(f"{path}: the TAO task failed: {message}")
    if state != "SUCCESS":
        raise DataError(f"{path}: the TAO task did not end, its last status is {state or 'missing'} ({message})")
    metrics: dict[str, float] = {}
    losses: dict[int, float] = {}  # a training that was continued tells of some epochs twice
    for event in events:
        metrics |= _figures(event)
        loss = dict(event.get("graphical") or {}).get("loss")
        if loss is not None and _is_figure(loss) and _is_figure(event.get("epoch")):
            losses[int(event["epoch"])] = float(loss)
    return TaoStatus(message, metrics, tuple(sorted(losses.items())))


def read_results(folder: Path) -> dict[str, float]:
    """Read TAO Deploy's ``results.json``: an average precision from 0 to 1 for each class, ``AP_CLASS``.

    It is the KITTI metric at IoU 0.5, which is neither the trainer's mAP nor COCO's.

    Raises:
        DataError: there is none, or it holds something else.
    """
    path = folder / RESULTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {_name(key): float(value) for key, value in content.items()}
    except OSError as error:
        raise DataError(f"{folder} has no {RESULTS}, so TAO Deploy evaluated nothing; look at its log") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a result of TAO Deploy ({error}); evaluate again") from error


def _events(path: Path) -> Iterator[dict[str, Any]]:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict):
            yield event
        elif number < len(lines):  # the last line may be torn: the pod was stopped while it was written
            raise DataError(f"{path}, line {number} is not an event of a TAO task; copy the file again")


def _figures(event: Mapping[str, Any]) -> dict[str, float]:
    figures = {_name(key): value for key, value in dict(event.get("kpi") or {}).items() if _is_figure(value)}
    for table, entries in dict(event.get("categorical") or {}).items():
        if isinstance(entries, dict):
            figures |= {f"{_name(table)}_{_name(key)}": v for key, v in entries.items() if _is_figure(v)}
    return {name: float(value) for name, value in figures.items()}


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _name(key: str) -> str:
    return re.sub(r"\W+", "_", str(key).strip()).strip("_")
