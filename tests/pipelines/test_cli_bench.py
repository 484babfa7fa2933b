"""``aerodet bench`` on a small network."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from aerodet.detectnet.step import _has_compiler

SMALL = ("--arch", "resnet10", "--width", "0.25", "--size", "64", "--batch", "2", "--steps", "2", "--device", "cpu")


def test_bench_train_prints_ratios_and_parts(aerodet):
    status, out, _ = aerodet("bench", "train", *SMALL, "--json")
    result = json.loads(out)
    row = result["modes"]["off"]

    assert status == 0
    assert row["bare_over_plain"] == pytest.approx(row["plain"]["step_ms"] / row["bare"]["step_ms"])
    assert row["whole_over_bare"] == pytest.approx(row["bare"]["step_ms"] / row["whole"]["step_ms"])
    assert list(result["parts_ms"]) == ["load", "augment", "targets", "forward", "backward", "optimiser"]
    assert sum(result["parts_percent"].values()) == pytest.approx(100)


@pytest.mark.slow
@pytest.mark.skipif(not _has_compiler(torch.device("cpu")), reason="needs a C++ compiler")
def test_bench_train_measures_each_way_to_run_a_step(aerodet):
    status, out, _ = aerodet("bench", "train", *SMALL, "--compile", "off", "--compile", "inductor")
    rows = [line.split() for line in out.splitlines() if line.split()[:1] in (["off"], ["inductor"])]

    assert status == 0
    assert [row[0] for row in rows] == ["off", "inductor"]
    assert float(rows[1][-2]) > float(rows[0][-2])  # its start compiles


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--device", "cpu", "--compile", "graph"), 3, "graph records CUDA graphs"),
        (("--compile", "inducter"), 2, "--compile should be off, graph or inductor, not inducter"),
        pytest.param(
            ("--device", "cuda"),
            3,
            "--device is cuda, and PyTorch sees no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_bench_train_refuses_what_the_machine_cannot_do(aerodet, options: tuple[str, ...], status: int, words: str):
    code, _, err = aerodet("bench", "train", "--size", "64", *options)

    assert code == status
    assert words in err


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["-c", "from aerodet.pipelines.cli import main; main()", "bench", "train"], signal.SIGINT),
        (["-c", "from aerodet.pipelines.cli import main; main()", "bench", "train"], signal.SIGKILL),
        (["-m", "aerodet.detectnet.profile"], signal.SIGTERM),
    ],
)
def test_a_bench_that_ends_early_ends_its_process(command, number):
    options = ["--size", "64", "--width", "0.1", "--batch", "2", "--steps", "1000000", "--device", "cpu"]
    with subprocess.Popen([sys.executable, *command, *options], stderr=subprocess.PIPE, text=True) as bench:
        for line in bench.stderr:
            if line.startswith("timing off"):
                break
        workers = Path(f"/proc/{bench.pid}/task/{bench.pid}/children").read_text().split()
        bench.send_signal(number)
        bench.stderr.read()  # to its end: nobody holds it any more

    assert workers
    assert bench.returncode == (130 if number == signal.SIGINT else -number)
    for _ in range(100):  # what multiprocessing cleans up by ends a moment later
        if not any(_runs(pid) for pid in workers):
            return
        time.sleep(0.1)
    pytest.fail("a process of the bench goes on")


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
