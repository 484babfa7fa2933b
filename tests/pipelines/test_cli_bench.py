"""``aerodet bench`` on a small network."""

import json

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


def test_bench_train_refuses_what_the_machine_cannot_do(aerodet):
    status, _, err = aerodet("bench", "train", "--size", "64", "--device", "cpu", "--compile", "graph")

    assert status == 3
    assert "graph records CUDA graphs" in err
