"""Progress of long work: a bar on a terminal, plain lines in a pod, events for the runner.

A stage says ``for item in track(items, "rendering")``. Where that shows is the caller's affair: when ``AERODET_EVENTS``
names a file, events are appended to it as JSON lines (the local runner draws them); otherwise a terminal gets a bar and
anything else a plain line every ten seconds.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

__all__ = ["EVENTS_VARIABLE", "QUIET_VARIABLE", "Bar", "emit", "progress", "track"]

EVENTS_VARIABLE = "AERODET_EVENTS"
QUIET_VARIABLE = "AERODET_QUIET"  # set in processes that work beside one that shows the progress
T = TypeVar("T")


class Bar(Protocol):
    """What :func:`progress` hands out."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on by ``steps``; ``note`` is shown beside the bar (a loss, say)."""


def emit(event: str, **fields: Any) -> None:
    """Append one event to the file that ``AERODET_EVENTS`` names; without it, do nothing."""
    target = os.environ.get(EVENTS_VARIABLE)
    if target:
        line = json.dumps({"event": event, "time": time.time(), **fields}) + "\n"
        with Path(target).open("a", encoding="utf-8") as stream:
            stream.write(line)


@contextmanager
def progress(description: str, total: int, *, done: int = 0) -> Iterator[Bar]:
    """Show the progress of ``total`` steps, ``done`` of them already made."""
    if os.environ.get(QUIET_VARIABLE):
        yield _Reporter(description, total, done, every=math.inf, write=_to_nowhere)
    elif os.environ.get(EVENTS_VARIABLE):
        yield _Reporter(description, total, done, every=0.25, write=_to_events)
    elif sys.stderr.isatty():
        with _rich_bar(description, total, done) as bar:
            yield bar
    else:
        yield _Reporter(description, total, done, every=10.0, write=_to_stderr)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield from ``items`` and show how far it is."""
    count = total if total is not None else len(items)  # type: ignore[arg-type]
    with progress(description, count) as bar:
        for item in items:
            yield item
            bar.advance()


class _Reporter:
    """Calls ``write`` at most once in ``every`` seconds, and at the end."""

    def __init__(self, description: str, total: int, done: int, every: float, write: Any) -> None:
        self._description, self._total, self._done = description, total, done
        self._every, self._write, self._last = every, write, 0.0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= self._every or self._done >= self._total:
            self._last = now
            self._write(self._description, self._done, self._total, note)


def _to_nowhere(description: str, done: int, total: int, note: str) -> None:
    del description, done, total, note


def _to_events(description: str, done: int, total: int, note: str) -> None:
    emit("progress", description=description, done=done, total=total, note=note)


def _to_stderr(description: str, done: int, total: int, note: str) -> None:
    print(f"{description}: {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)


@contextmanager
def _rich_bar(description: str, total: int, done: int) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(description, total=total, completed=done, note="")

        class _RichBar:
            def advance(self, steps: int = 1, note: str = "") -> None:
                display.update(task, advance=steps, note=note)

        yield _RichBar()
