"""One stage as a process: its log, its end by a signal, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

__all__ = ["Interrupted", "Interruption", "catch_signals", "run_process"]

GRACE_SECONDS = 5.0  # between the request to end and the kill
TICK_SECONDS = 0.1


class Interrupted(BaseException):
    """The run was told to stop. Not an Exception: nothing between stage and runner may take it for a failure."""


class Interruption:
    """Whether a signal has told the run to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def check(self) -> None:
        """Raise :class:`Interrupted` when a signal has arrived."""
        if self.signal is not None:
            raise Interrupted

    def receive(self, number: int, _frame: FrameType | None = None) -> None:
        """Note the signal; the second one interrupts at once, whatever is going on."""
        again = self.signal is not None
        self.signal = number
        if again:
            raise Interrupted


@contextmanager
def catch_signals() -> Iterator[Interruption]:
    """Turn SIGINT, SIGTERM and SIGHUP into an :class:`Interruption` for as long as the block lasts.

    A signal that is ignored (under ``nohup``, say) stays ignored. Outside the main thread no signal is caught.
    """
    interruption = Interruption()
    previous = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(ValueError):  # not the main thread
                    previous[number] = signal.signal(number, interruption.receive)
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_process(
    command: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    interruption: Interruption,
    *,
    started: Callable[[int], None],
    tick: Callable[[], None],
    inherit: Sequence[int] = (),
) -> int:
    """Run a command in a session of its own and return its exit status (negative: the signal that ended it).

    Args:
        command: program and arguments.
        env: the whole environment.
        log: where its stdout and stderr go, appended.
        interruption: looked at ten times a second.
        started: called once with the process id.
        tick: called ten times a second, and once after the end.
        inherit: descriptors that the process shall inherit.

    Raises:
        Interrupted: a signal arrived. By then the process and all of its group are gone.
    """
    interruption.check()
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=inherit,
        )
    try:
        started(process.pid)
        while True:
            try:
                status = process.wait(TICK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                tick()
                interruption.check()
    except BaseException:
        _end(process)
        raise
    tick()
    return status


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group: ask, wait, kill."""
    try:
        _signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while _group_lives(process) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        _signal(process.pid, signal.SIGKILL)
        process.wait()


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    """Say whether any process of the group is alive; one that only waits to be reaped is not."""
    process.poll()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
                state, _parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(group) == process.pid and state not in "ZX":
                    return True
    return False
