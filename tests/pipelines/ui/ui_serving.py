"""The server as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COMMAND = [sys.executable, "-c", "from aerodet.pipelines.cli import main; main()", "ui", "--port", "0"]


@contextmanager
def serving(*arguments: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run ``aerodet ui``; yield the address that it prints."""
    command, environment = [*COMMAND, *arguments], {**os.environ, **(env or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("aerodet ui on "), line
            yield line.removeprefix("aerodet ui on ").split(" ")[0]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()  # a test that fails leaves nothing running either
