"""``aerodet bench`` on a small network."""

import json
import sys

import pytest

from aerodet.pipelines import cli


@pytest.fixture
def aerodet(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["aerodet", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return (caught.value.code or 0, *capsys.readouterr())

    return call


def test_bench_train_prints_ratios_and_parts(aerodet):
    small = ("--arch", "resnet10", "--width", "0.25", "--size", "64", "--batch", "2", "--steps", "2", "--device", "cpu")

    status, out, _ = aerodet("bench", "train", *small, "--json")
    result = json.loads(out)
    row = result["modes"]["off"]

    assert status == 0
    assert row["bare_over_plain"] == pytest.approx(row["plain"]["step_ms"] / row["bare"]["step_ms"])
    assert row["whole_over_bare"] == pytest.approx(row["bare"]["step_ms"] / row["whole"]["step_ms"])
    assert list(result["parts_ms"]) == ["load", "augment", "targets", "forward", "backward", "optimiser"]
    assert sum(result["parts_percent"].values()) == pytest.approx(100)


def test_bench_train_refuses_what_the_machine_cannot_do(aerodet):
    status, _, err = aerodet("bench", "train", "--size", "64", "--device", "cpu", "--compile", "graph")

    assert status == 3
    assert "graph records CUDA graphs" in err
