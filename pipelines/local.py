"""The local runner: a compiled pipeline on this machine, stage by stage, each in a process of its own.

::

    record = run_local(Path("pipeline.yaml"), {"seed": 0}, Path("runs/first"))

A run lives in its folder: ``run.json`` (the record), ``artifacts/<stage>/<output>``, ``logs/<stage>.log``, ``.cache``.
Started again with the same folder, a run keeps the stages that were finished and goes on with the others.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerodet.errors import AerodetError, MachineError, UserError
from aerodet.files import disk_errors
from aerodet.pipelines._display import Display, default_display
from aerodet.pipelines._events import EventTail
from aerodet.pipelines._process import Interrupted, Interruption, catch_signals, run_process
from aerodet.pipelines.record import RunRecord, StageRecord, State, lock_run, note_holder, now
from aerodet.progress import EVENTS_VARIABLE

__all__ = ["StageError", "StoppedError", "run_local"]

LOG_LINES = 20


class StageError(AerodetError):
    """A stage failed without an error that was meant for a person; the end of its log is in the message."""


class StoppedError(AerodetError):
    """A signal stopped the run.

    Args:
        message: which stage, and how to go on.
        signal_number: the signal; it gives the exit status.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def run_local(
    package: Path, parameters: Mapping[str, Any], run_dir: Path, *, display: Display | None = None
) -> RunRecord:
    """Run a compiled pipeline on this machine, or go on with a run that was stopped or failed.

    Args:
        package: the pipeline's IR YAML.
        parameters: the pipeline's parameters by name; None stands for the pipeline's own default.
        run_dir: the run's folder, made if it is missing. Where it holds a run of the same pipeline and parameters, the
            stages which that run finished are kept.
        display: what shows the run; by default live lines on a terminal and plain ones elsewhere.

    Returns:
        The record of the run, which is also in ``run_dir/run.json``.

    Raises:
        UserError: the parameters do not suit the pipeline, the folder is in use or another run's, or a stage says it.
        MachineError: a stage or the disk says it.
        StageError: a stage failed in another way.
        StoppedError: SIGINT, SIGTERM or SIGHUP arrived; the stage's processes are gone.
    """
    run_dir = run_dir.absolute()
    with catch_signals() as interruption, lock_run(run_dir) as lock:
        from aerodet.pipelines._kfp import Package  # half a second

        pipeline = Package(package)
        pipeline.check(parameters)
        previous = _previous(run_dir, pipeline.name, parameters)
        record = RunRecord(run_dir.name, pipeline.name, dict(parameters))
        if previous:
            record.started = previous.started
        with (
            disk_errors(run_dir),
            tempfile.TemporaryDirectory(prefix="aerodet-", ignore_cleanup_errors=True) as scratch,
        ):
            (run_dir / "logs").mkdir(exist_ok=True)
            shown = display or default_display()
            run = _Run(record, previous, run_dir, Path(scratch), lock, interruption, shown)
            with run.recorded(pipeline.stages), disk_errors(run_dir):
                log = run_dir / "logs" / "pipeline.log"
                pipeline.run(parameters, run, run_id=record.run_id, folder=run_dir, scratch=Path(scratch), log=log)
    return record


def _previous(run_dir: Path, pipeline: str, parameters: Mapping[str, Any]) -> RunRecord | None:
    """Return the record that the folder holds already, after a look whether it is of the same run."""
    if not (run_dir / "run.json").exists():
        return None
    record = RunRecord.read(run_dir)
    if record.pipeline != pipeline:
        raise UserError(f"{run_dir} holds a run of pipeline {record.pipeline}, not of {pipeline}; take another folder")
    names = sorted(record.parameters.keys() | parameters.keys())
    if changed := [name for name in names if record.parameters.get(name) != parameters.get(name)]:
        raise UserError(f"{run_dir} holds a run with another {', '.join(changed)}; take another folder for a new run")
    return record


@dataclass
class _Run:
    """A run going on: the hooks that the pipeline calls, and the record that grows by them."""

    record: RunRecord
    previous: RunRecord | None
    run_dir: Path
    scratch: Path
    lock: int
    interruption: Interruption
    display: Display
    failure: AerodetError | None = None
    guard: AbstractContextManager[object] = field(default_factory=threading.RLock)  # parallel loops call from threads

    @contextmanager
    def recorded(self, stages: int) -> Iterator[None]:
        """Open and close record and display around the run, and turn its end into the right error."""
        self.record.write(self.run_dir)
        self.display.open(f"{self.record.pipeline} in {_short(self.run_dir)}", stages)
        state: State = "FAILED"
        try:
            try:
                yield
                state = "SUCCEEDED"
            except Interrupted:
                state = "STOPPED"
                raise
            finally:
                self.display.close()
                self.record.state, self.record.finished = state, now()
                self.record.write(self.run_dir)
        except Interrupted:
            raise self._stopped() from None
        except AerodetError as error:
            raise type(error)(self._advice(error)) from error
        except Exception:
            if self.failure is None:  # a defect, of ours or of KFP's: let it be seen
                raise
            raise type(self.failure)(self._advice(self.failure)) from None

    def _stopped(self) -> StoppedError:
        stage = next((stage.name for stage in self.record.stages if stage.state == "STOPPED"), None)
        where = f"the run was stopped in stage {stage}" if stage else "the run was stopped"
        number = self.interruption.signal or signal.SIGINT
        return StoppedError(f"{where}; `{_resume(self.run_dir)}` continues it", number)

    def _advice(self, error: AerodetError) -> str:
        end = "\n" if "\n" in str(error) else "; "
        return f"{error}{end}once that is put right, `{_resume(self.run_dir)}` continues the run"

    @contextmanager
    def task(self, name: str) -> Iterator[_Stage]:
        """Record one stage (see :class:`aerodet.pipelines._kfp.Hooks`)."""
        self.interruption.check()
        with self.guard:
            stage = _Stage(self, StageRecord(self._free_name(name)))
            self.record.stages.append(stage.record)
        try:
            yield stage
        except Interrupted:
            stage.record.state = "STOPPED"
            raise
        except AerodetError as error:
            stage.error = error
            raise
        finally:
            self._close(stage)

    def _close(self, stage: _Stage) -> None:
        with self.guard:
            record = stage.record
            if record.state == "RUNNING":
                record.state = "FAILED"
            if record.state == "FAILED" and stage.error is not None:
                record.error = str(stage.error)
                self.failure = self.failure or stage.error
            earlier = self.previous.stage(record.name) if self.previous and record.kept else None
            record.seconds = round(earlier.seconds if earlier else time.monotonic() - stage.began, 3)
            self.display.finished(record)
            self.record.write(self.run_dir)

    def _free_name(self, name: str) -> str:
        count = sum(stage.name == name or stage.name.startswith(f"{name}#") for stage in self.record.stages)
        return f"{name}#{count + 1}" if count else name


class _Stage:
    """One stage going on (see :class:`aerodet.pipelines._kfp.Task`)."""

    def __init__(self, run: _Run, record: StageRecord) -> None:
        self.run, self.record = run, record
        self.error: AerodetError | None = None
        self.began = time.monotonic()

    def execute(self, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Run the stage's process to its end."""
        run, name = self.run, self.record.name
        logs = run.run_dir / "logs"
        log, tail = logs / f"{name}.log", EventTail(logs / f"{name}.events.jsonl")
        log.write_bytes(b"")
        failed: dict[str, Any] = {}

        def started(process: int) -> None:
            note_holder(run.lock, f"stage {name}, process {process}, of process {os.getpid()}")
            with run.guard:
                run.display.started(name)
                run.record.write(run.run_dir)

        def tick() -> None:
            latest: dict[str, Any] | None = None
            for event in tail.read():
                if event.get("event") == "progress":
                    latest = event
                elif event.get("event") == "failed":
                    failed.update(event)
            if latest is not None:
                with run.guard:
                    run.display.progress(name, latest)

        surroundings = {
            # Threads that wait by spinning make a training on busy cores twenty times slower.
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            **env,
            EVENTS_VARIABLE: str(tail.path),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # modules of the working folder must not shadow those of the stage
            "TMPDIR": str(run.scratch),  # what a killed stage leaves goes with the run
        }
        status = run_process(
            command, surroundings, log, run.interruption, started=started, tick=tick, inherit=[run.lock]
        )
        self.error = _stage_error(name, status, failed, log) if status else None
        return status

    def succeed(self, outputs: Mapping[str, str], *, kept: bool) -> None:
        """Take the stage's outputs."""
        self.record.state, self.record.kept, self.record.outputs = "SUCCEEDED", kept, dict(outputs)


def _stage_error(name: str, status: int, event: Mapping[str, Any], log: Path) -> AerodetError:
    """Return the error that tells why a stage ended with this exit status."""
    if event:
        kinds: dict[Any, type[AerodetError]] = {2: UserError, 3: MachineError}
        kind = kinds.get(event.get("exit"))
        if kind is not None:
            return kind(f"{name}: {event['message']}")
    if shutil.disk_usage(log.parent).free < 1 << 20:
        return MachineError(f"{name}: the disk that holds {log.parent} is full; free some space")
    ended_by = -status if status < 0 else status - 128  # a shell gives its own status 128 and the signal
    if ended_by == signal.SIGKILL:
        return MachineError(f"{name}: the system killed the stage, most likely for want of memory")
    said = f": {event['message']}" if event else ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    end = "".join(f"  {line}\n" for line in lines)
    how = f"failed with exit status {status}"
    if ended_by in signal.valid_signals():
        how = f"was ended by signal {ended_by} ({signal.strsignal(ended_by)})"
    return StageError(f"{name} {how}{said}\nThe end of {_short(log)}:\n{end}".rstrip("\n"))


def _resume(run_dir: Path) -> str:
    return f"aerodet run --resume {_short(run_dir)}"


def _short(path: Path) -> str:
    """Return the path as seen from the working folder, where that is shorter."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
