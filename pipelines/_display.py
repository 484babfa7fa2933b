"""What a person sees of a run: live lines on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from aerodet.pipelines.record import StageRecord

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "QuietDisplay", "default_display"]

_MARKS = {"SUCCEEDED": "[green]✓[/]", "FAILED": "[red]✗[/]", "STOPPED": "[yellow]■[/]", "RUNNING": " "}


class Display(Protocol):
    """Shows a run. Every method may be called from any thread, one call at a time."""

    def open(self, title: str, stages: int) -> None:
        """Begin: the run's title and how many stages it has (0: not known)."""

    def started(self, stage: str) -> None:
        """Show that a stage is running."""

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        """Show a progress event: description, done, total, note."""

    def finished(self, stage: StageRecord) -> None:
        """Show how a stage ended."""

    def close(self) -> None:
        """End."""


class QuietDisplay:
    """Shows nothing."""

    def open(self, title: str, stages: int) -> None:
        """Do nothing."""

    def started(self, stage: str) -> None:
        """Do nothing."""

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        """Do nothing."""

    def finished(self, stage: StageRecord) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class PlainDisplay:
    """One line an event, for logs and pipes.

    Args:
        stream: where the lines go; stderr by default.
        every: seconds between two progress lines of a stage.
    """

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._last: dict[str, float] = {}
        self._begun = 0
        self._stages = 0

    def open(self, title: str, stages: int) -> None:
        """Write the title."""
        self._stages = stages
        self._write(f"{title}: {stages} stages" if stages else title)

    def started(self, stage: str) -> None:
        """Write that a stage has started."""
        self._last[stage] = time.monotonic()
        self._write(f"  {stage}: started")

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        """Write how far a stage is, at most every ten seconds."""
        now = time.monotonic()
        if now - self._last.get(stage, 0.0) >= self._every:
            self._last[stage] = now
            self._write(f"  {stage}: {_step(event)}")

    def finished(self, stage: StageRecord) -> None:
        """Write how a stage ended."""
        self._begun += 1
        self._write(f"[{_place(self._begun, self._stages)}] {stage.name}: {_ending(stage)}")

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def _write(self, line: str) -> None:
        self._stream.write(line.rstrip() + "\n")
        self._stream.flush()


class LiveDisplay:
    """A line for each stage; those that run carry a bar.

    Args:
        console: the terminal; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[stage]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[step]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # stdout belongs to KFP's log while a run goes on
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._ended = 0
        self._stages = 0

    def open(self, title: str, stages: int) -> None:
        """Print the title and start drawing."""
        self._stages = stages
        self._console.print(
            f"[bold]{escape(title)}[/]" + (f"  [dim]{stages} stages[/]" if stages else ""), highlight=False
        )
        self._progress.start()

    def started(self, stage: str) -> None:
        """Add a line with a moving bar."""
        self._tasks[stage] = self._progress.add_task("", total=None, stage=stage, step="")

    def progress(self, stage: str, event: dict[str, Any]) -> None:
        """Move the bar of a stage."""
        done, total = event.get("done"), event.get("total") or None
        step = f"{done}/{total}" if total else str(done)
        self._progress.update(
            self._tasks[stage],
            description=str(event.get("description", "")),
            completed=done,
            total=total,
            step=f"{step} {event.get('note', '')}".strip(),
        )

    def finished(self, stage: StageRecord) -> None:
        """Turn the stage's line into its result."""
        self._ended += 1
        if stage.name in self._tasks:
            self._progress.remove_task(self._tasks.pop(stage.name))
        place = f"[dim]{_place(self._ended, self._stages)}[/]"
        self._console.print(
            f"{_MARKS[stage.state]} {place} {escape(stage.name)}  [dim]{_ending(stage)}[/]", highlight=False
        )

    def close(self) -> None:
        """Stop drawing."""
        self._progress.stop()


def default_display() -> Display:
    """Return the display that suits stderr."""
    return LiveDisplay() if sys.stderr.isatty() else PlainDisplay()


def _place(number: int, stages: int) -> str:
    return f"{number:>{len(str(stages))}}/{stages}" if stages else str(number)


def _step(event: dict[str, Any]) -> str:
    done, total = event.get("done"), event.get("total")
    return f"{event.get('description', '')} {done}/{total} {event.get('note', '')}".strip()


def _ending(stage: StageRecord) -> str:
    if stage.kept:
        return "kept"
    words = {"SUCCEEDED": "", "FAILED": "failed after ", "STOPPED": "stopped after ", "RUNNING": "running for "}
    return f"{words[stage.state]}{stage.seconds:.1f} s"
