"""Signals, and runners that are killed: what is stopped, and that the run goes on later."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_stages import go

from aerodet.errors import UserError
from aerodet.pipelines import RunRecord, StoppedError
from aerodet.pipelines._display import QuietDisplay
from aerodet.pipelines.record import is_running

# Real processes and real signals ------------------------------------------------------------------------------------

DRIVER = """
import sys
from pathlib import Path
from aerodet.errors import AerodetError
from aerodet.pipelines import _process, run_local

_process.GRACE_SECONDS = 1.0
try:
    run_local(Path(sys.argv[1]), {"ledger": sys.argv[2], "mode": sys.argv[3]}, Path(sys.argv[4]))
except AerodetError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def start(package, ledger, tmp_path):
    started = []

    def _start(mode):
        command = [sys.executable, "-c", DRIVER, str(package), str(ledger), mode, str(tmp_path / "run")]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        pids = Path(f"{ledger}.pids")
        wait_for(lambda: pids.exists() and pids.read_text().endswith("\n"))
        stage_pids = [int(pid) for pid in pids.read_text().split()]
        started.extend(stage_pids)
        return process, stage_pids

    yield _start
    for process in started:
        if isinstance(process, int):
            if alive(process):
                os.kill(process, signal.SIGKILL)
        else:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("number", "mode", "status"),
    [(signal.SIGINT, "sleep", 130), (signal.SIGTERM, "sleep", 143), (signal.SIGTERM, "sleep stubbornly", 143)],
)
def test_a_signal_stops_the_stage_and_its_children_and_the_run_resumes(
    package, ledger, tmp_path, start, number, mode, status
):
    process, pids = start(mode)
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)

    assert process.returncode == status
    assert not any(alive(pid) for pid in pids)
    assert "the run was stopped in stage shout" in output
    assert not list(tmp_path.glob("aerodet-*"))
    assert f"aerodet run --resume {tmp_path / 'run'}" in output
    record = RunRecord.read(tmp_path / "run")
    assert (record.state, record.stage("shout").state) == ("STOPPED", "STOPPED")

    torn = tmp_path / "run" / "artifacts" / "shout" / ".out.7.partial"
    torn.mkdir(parents=True)
    Path(f"{ledger}.mended").touch()
    record = go(package, ledger, tmp_path / "run", mode=mode)
    assert record.state == "SUCCEEDED"
    assert record.stage("write").kept
    assert not torn.exists()


def test_a_second_signal_does_not_wait_for_a_stubborn_stage(start, monkeypatch):
    process, pids = start("sleep stubbornly")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 0.8
    assert not any(alive(pid) for pid in pids)


def test_a_stage_that_outlives_a_killed_runner_holds_the_folder(package, ledger, tmp_path, start):
    process, pids = start("sleep")
    process.kill()
    process.communicate()
    assert is_running(tmp_path / "run")
    with pytest.raises(UserError, match="is in use by stage shout, process"):
        go(package, ledger, tmp_path / "run", mode="sleep")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(tmp_path / "run"))
    Path(f"{ledger}.mended").touch()
    assert go(package, ledger, tmp_path / "run", mode="sleep").state == "SUCCEEDED"


def test_a_stop_leaves_the_signal_handlers_as_they_were(package, ledger, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    class Stopping(QuietDisplay):
        def started(self, stage):
            if stage == "write":
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError) as caught:
        go(package, ledger, tmp_path / "run", Stopping())
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
