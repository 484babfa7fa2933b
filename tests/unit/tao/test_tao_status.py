import json
import os
from pathlib import Path

import pytest

from aerodet.errors import DataError, SpecError
from aerodet.tao import read_results, read_status, write_mounts

STARTED = {"date": "1/25/2022", "time": "10:0:0", "status": "STARTED", "verbosity": "INFO", "message": "Starting"}
EPOCH = {
    **STARTED,
    "status": "RUNNING",
    "message": "Evaluation metrics generated.",
    "kpi": {"mean average precision": 61.5, "size": 42.7, "param_count": 11.19, "note": "x", "broken": float("nan")},
    "categorical": {"average_precision": {"aircraft": 61.5}, "odd": 3},
}
DONE = {**EPOCH, "status": "SUCCESS", "message": "Training finished", "kpi": {"mean average precision": 71.0}}


def write(folder: Path, *events: dict, torn: str = "") -> Path:
    (folder / "status.json").write_text("".join(json.dumps(event) + "\n" for event in events) + torn)
    return folder


def test_figures_of_a_task_are_the_last_that_it_logged(tmp_path: Path) -> None:
    status = read_status(write(tmp_path, STARTED, EPOCH, DONE))
    assert status.message == "Training finished"
    assert status.metrics == {
        "mean_average_precision": 71.0,
        "size": 42.7,
        "param_count": 11.19,
        "average_precision_aircraft": 61.5,
    }
    assert status.losses == ()
    assert read_status(tmp_path / "status.json") == status


def test_losses_of_the_epochs_are_kept_also_of_a_training_that_was_continued(tmp_path: Path) -> None:
    def epoch(number: int, loss: float) -> dict:
        graphical = {"loss": loss, "learning_rate": "5e-06"}
        return {**EPOCH, "epoch": number, "max_epoch": 3, "eta": "0:01:00", "graphical": graphical}

    status = read_status(
        write(tmp_path, STARTED, epoch(0, 3.0), epoch(1, 2.5), STARTED, epoch(1, 2.4), epoch(2, 1), DONE)
    )
    assert status.losses == ((0, 3.0), (1, 2.4), (2, 1.0))


def test_a_torn_last_line_does_not_hide_the_end(tmp_path: Path) -> None:
    assert read_status(write(tmp_path, STARTED, DONE, torn='{"date": "1/2')).metrics
    (tmp_path / "status.json").write_text("nothing\n" + json.dumps(DONE))
    with pytest.raises(DataError, match=r"status\.json, line 1 is not an event"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ((), "is empty, so the TAO task did not start"),
        (
            (STARTED, {**STARTED, "status": "FAILURE", "message": "Ran out of GPU memory"}),
            "failed: Ran out of GPU memory",
        ),
        ((STARTED, EPOCH), "did not end, its last status is RUNNING"),
    ],
)
def test_a_task_that_failed_or_never_ended_is_an_error(tmp_path: Path, events: tuple, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        read_status(write(tmp_path, *events))
    assert caught.value.exit_code == 2


def test_a_folder_without_status_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no status\.json, so the TAO task left no result"):
        read_status(tmp_path)


def test_results_of_tao_deploy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no results\.json"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('{"AP_aircraft": 0.9155}')
    assert read_results(tmp_path) == {"AP_aircraft": 0.9155}
    (tmp_path / "results.json").write_text('["AP"]')
    with pytest.raises(DataError, match="not a result of TAO Deploy"):
        read_results(tmp_path)


def test_mounts_are_added_to_what_the_launcher_has(tmp_path: Path) -> None:
    file, data, specs = tmp_path / "mounts.json", tmp_path / "data", tmp_path / "specs"
    data.mkdir()
    specs.mkdir()
    write_mounts({"/workspace/data": data}, file)
    content = json.loads(file.read_text())
    content["Envs"].append({"variable": "CUDA_DEVICE_ORDER", "value": "PCI_BUS_ID"})
    content["DockerOptions"]["shm_size"] = "32G"
    file.write_text(json.dumps(content))
    write_mounts({"/workspace/data": specs, "/workspace/specs": specs}, file)
    content = json.loads(file.read_text())
    assert content["Mounts"] == [
        {"source": str(specs), "destination": "/workspace/data"},
        {"source": str(specs), "destination": "/workspace/specs"},
    ]
    assert {e["variable"]: e["value"] for e in content["Envs"]} == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "TELEMETRY_OPT_OUT": "1",
    }
    assert content["DockerOptions"] == {"user": f"{os.getuid()}:{os.getgid()}", "shm_size": "32G"}


def test_mounts_that_cannot_be_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mounts.json"
    with pytest.raises(SpecError, match="'data' is no absolute path"):
        write_mounts({"data": tmp_path}, file)
    with pytest.raises(DataError, match="is not a folder"):
        write_mounts({"/data": tmp_path / "none"}, file)
    assert not file.exists()
    for text, sentence in (
        ("{", "is not JSON"),
        ('{"Mounts": [3]}', "not a configuration"),
        ("[]", "not a configuration"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=sentence):
            write_mounts({"/data": tmp_path}, file)
        assert file.read_text() == text
