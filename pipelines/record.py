"""The record of a run: what ran, for how long, what came out of it. Kept in ``run.json`` of the run's folder."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from aerodet.errors import UserError
from aerodet.files import disk_errors, read_json, write_json

__all__ = ["RECORD", "RESULTS", "RunRecord", "StageRecord", "State", "is_running", "lock_run", "run_around"]

RECORD = "run.json"
RESULTS = {"results.json": "results", "report.html": "report"}  # file in a run's folder: output of stage report
LOCK = ".lock"
State = Literal["RUNNING", "SUCCEEDED", "FAILED", "STOPPED"]


def now() -> str:
    """Return the time, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_around(path: Path) -> Path | None:
    """Return the folder of the run that a file or folder is in, itself among them; None outside a run."""
    path = path.resolve()
    return next((folder for folder in (path, *path.parents) if (folder / RECORD).is_file()), None)


@dataclass(slots=True)
class StageRecord:
    """One stage of a run.

    Attributes:
        name: the stage's name, one of its kind in the run.
        state: how it stands.
        seconds: how long it took; of a kept stage, how long it took when it ran.
        kept: it was not run again, because an earlier start of this run had finished it.
        outputs: the path of each output artifact by its name.
        error: one sentence, where it failed.
    """

    name: str
    state: State = "RUNNING"
    seconds: float = 0.0
    kept: bool = False
    outputs: dict[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True)
class RunRecord:
    """One run of a pipeline.

    Attributes:
        run_id: the name of the run's folder.
        pipeline: the pipeline's name.
        parameters: what the pipeline was called with.
        started: when the run was first started, ISO 8601 in UTC.
        finished: when it ended the last time; None while it goes on.
        state: how it stands.
        stages: the stages in the order in which they were started.
    """

    run_id: str
    pipeline: str
    parameters: dict[str, Any]
    started: str = field(default_factory=now)
    finished: str | None = None
    state: State = "RUNNING"
    stages: list[StageRecord] = field(default_factory=list)

    @classmethod
    def read(cls, run_dir: Path) -> RunRecord:
        """Read the record of the run in ``run_dir``.

        Raises:
            UserError: there is no run there, or its record is damaged.
        """
        path = run_dir / RECORD
        try:
            fields = read_json(path)
            stages = [StageRecord(**stage) for stage in fields.pop("stages")]
            return cls(stages=stages, **fields)
        except FileNotFoundError:
            raise UserError(f"{run_dir} holds no run ({RECORD} is missing); `aerodet runs` lists the runs") from None
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not the record of a run ({error}); start a new run") from error

    def write(self, run_dir: Path) -> None:
        """Write the record into ``run_dir``, whole or not at all."""
        write_json(run_dir / RECORD, dataclasses.asdict(self))

    def stage(self, name: str) -> StageRecord | None:
        """Return the stage of that name, or None where it was not started."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def place(self, output: str, folder: str) -> str:
        """Return where an output is now: it is recorded where the run was made, and a run's folder may be moved.

        Args:
            output: path of an output of a stage.
            folder: path or address of the run's folder now.
        """
        parts = PurePosixPath(output).parts
        last = max((n for n, pair in enumerate(pairwise(parts)) if pair == (self.run_id, "artifacts")), default=None)
        if last is None:
            return output
        return "/".join([folder, *parts[last + 1 :]])


@contextmanager
def lock_run(run_dir: Path) -> Iterator[int]:
    """Hold the run's folder for this process; yield the descriptor of the lock.

    A stage inherits the descriptor, so that a stage which outlived a killed runner still holds the folder.

    Raises:
        UserError: somebody else holds it.
    """
    with disk_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode() or "another process"
            raise UserError(f"{run_dir} is in use by {holder}; wait until it has ended, or end it") from None
        with disk_errors(run_dir):
            note_holder(descriptor, f"process {os.getpid()}")
        yield descriptor
    finally:
        os.close(descriptor)


def note_holder(descriptor: int, holder: str) -> None:
    """Say in the lock file who holds the lock."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, holder.encode(), 0)


def is_running(run_dir: Path) -> bool:
    """Say whether a process holds the run's folder."""
    try:
        descriptor = os.open(run_dir / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
