"""Detectors timed side by side, and which of them a machine runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aerodet.deploy import runner, write_bundle
from aerodet.deploy.detector import open_detector
from aerodet.deploy.runner import EngineDetector, can_run
from aerodet.deploy.speed import PARTS, speed_of_detectors, speed_table
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import prepare_qat
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import DataError, MachineError, UserError

PLAN = b"ftrt" + bytes(20) + bytes([10, 13, 2, 6]) + bytes(40)  # the header of TensorRT 10.13.2.6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of a tiny quantised network that has seen noise."""
    torch.manual_seed(0)
    network = prepare_qat(DetectNet(layers=10, num_classes=1, width=0.25))
    with torch.no_grad():
        network.train()(torch.rand(2, 3, 64, 64))
    folder = tmp_path_factory.mktemp("export") / "bundle"
    spec = format_spec(build_spec(SpecOptions(image_width=64, image_height=64, layers=10, width=0.25)))
    write_bundle(network.eval(), folder, spec=spec, classes=("aircraft",), size=(64, 64), engines=())
    return folder


def test_all_that_runs_of_an_export_is_timed_part_by_part(bundle: Path):
    result = speed_of_detectors([bundle], batch=3, threads=1, rounds=2)

    rows = result["detectors"]
    assert [(row["precision"], row["runtime"]) for row in rows] == [
        ("float32", "ONNX Runtime"),
        ("int8", "ONNX Runtime"),
    ]
    assert rows[1]["bytes"] == (bundle / "model.int8.cpu.onnx").stat().st_size
    for row in rows:
        for key in ("1", "batch"):
            parts = [row[key][part] for part in PARTS]
            assert min(parts) > 0
            assert row[key]["total"] >= max(parts)
        assert row["batch"]["images_per_s"] == pytest.approx(3000 / row["batch"]["total"])
    assert (rows[0]["1"]["network_ratio"], rows[0]["batch"]["total_ratio"]) == (1.0, 1.0)
    table = speed_table(result)
    assert "one picture" in table
    assert "3 pictures" in table
    assert [row["name"].rpartition("/")[2] for row in result["detectors"]] == ["model.onnx", "model.int8.cpu.onnx"]
    for row in result["detectors"]:
        assert f"\n{row['name']} {row['precision']}" in table  # whole, however long
    assert "bundle" not in table
    assert json.loads(json.dumps(result)) == result


def test_what_cannot_be_timed_is_refused(bundle: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes())

    with pytest.raises(DataError, match="holds no detector"):
        speed_of_detectors([tmp_path / "empty"])
    with pytest.raises(DataError, match=r"has no spec\.txt beside it"):
        speed_of_detectors([tmp_path / "model.onnx"])
    with pytest.raises(UserError, match="at least 1"):
        speed_of_detectors([bundle], rounds=0)


# ------------------------------------------------------------------------------------------------- engines


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """The header of an engine for compute capability 9.0, with what is noted of it."""
    (tmp_path / "model.engine").write_bytes(PLAN)
    noted = {"model.engine": {"compute_capabilities": ["9.0"], "precision": "int8"}}
    (tmp_path / "engine.json").write_text(json.dumps(noted))
    return tmp_path / "model.engine"


def machine(monkeypatch: pytest.MonkeyPatch, *, gpu: tuple[int, int] | None, version: str | None) -> None:
    monkeypatch.setattr(runner.torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(runner.torch.cuda, "get_device_capability", lambda: gpu)
    monkeypatch.setattr(runner.importlib.util, "find_spec", lambda name: version)
    monkeypatch.setattr(runner.importlib, "import_module", lambda name: SimpleNamespace(__version__=version))


@pytest.mark.parametrize(
    ("gpu", "version", "runs"),
    [
        ((9, 0), "10.13.2.6", True),
        ((9, 0), "10.13.2.post1", True),
        ((8, 9), "10.13.2.6", False),
        ((9, 0), "10.14.0.1", False),
        ((9, 0), None, False),
        (None, "10.13.2.6", False),
    ],
)
def test_an_engine_runs_on_its_own_gpu_and_tensorrt(engine: Path, monkeypatch, gpu, version, runs: bool):
    machine(monkeypatch, gpu=gpu, version=version)

    assert can_run(engine) is runs


def test_an_engine_that_nothing_is_noted_of_is_not_tried(engine: Path, monkeypatch: pytest.MonkeyPatch):
    (engine.parent / "engine.json").unlink()
    machine(monkeypatch, gpu=(9, 0), version="10.13.2.6")

    assert not can_run(engine)


def test_an_engine_of_another_machine_is_refused_and_of_an_export_left_alone(
    bundle: Path, tmp_path: Path, engine: Path
):
    with pytest.raises(MachineError, match="does not run here; build one with `aerodet engine rebuild`"):
        EngineDetector(engine)
    (engine.parent / "spec.txt").write_text((bundle / "spec.txt").read_text())
    (engine.parent / "model.onnx").write_bytes((bundle / "model.onnx").read_bytes())

    _, _, used = open_detector(engine.parent)

    assert used == str(engine.parent / "model.onnx")


@pytest.mark.parametrize(
    ("made", "used"),
    [
        (("artifacts/export-float/bundle", "artifacts/export-int8/bundle"), "artifacts/export-int8/bundle"),
        (("artifacts/export-float/bundle",), "artifacts/export-float/bundle"),
        (("artifacts/export-teacher/bundle", "artifacts/report/chosen"), "artifacts/report/chosen"),
    ],
)
def test_of_a_run_all_exports_are_timed_and_the_one_to_use_detects(bundle: Path, tmp_path: Path, made, used: str):
    (tmp_path / "run.json").write_text("{}")
    for place in made:
        shutil.copytree(bundle, tmp_path / place)

    assert open_detector(tmp_path)[2] == str(tmp_path / used / "model.int8.cpu.onnx")
    assert open_detector((tmp_path / used).parent)[2] == str(tmp_path / used / "model.int8.cpu.onnx")
    rows = speed_of_detectors([tmp_path], batch=2, threads=1, rounds=1)["detectors"]
    assert len(rows) == 2 * len(made)


@pytest.mark.parametrize("stage", ["bundle", "model", "pruned", "candidates/best", "chosen"])
def test_of_a_stage_its_model_is_taken(bundle: Path, tmp_path: Path, stage: str):
    shutil.copytree(bundle, tmp_path / stage)

    assert open_detector(tmp_path)[2] == str(tmp_path / stage / "model.int8.cpu.onnx")


def test_a_folder_that_holds_a_model_is_taken_itself(bundle: Path, tmp_path: Path):
    shutil.copytree(bundle, tmp_path / "mine")
    shutil.copytree(bundle, tmp_path / "mine" / "model")

    assert open_detector(tmp_path / "mine")[2] == str(tmp_path / "mine" / "model.int8.cpu.onnx")


def test_what_a_search_did_not_choose_is_not_taken(bundle: Path, tmp_path: Path):
    shutil.copytree(bundle, tmp_path / "artifacts" / "export-teacher" / "bundle")
    with pytest.raises(DataError, match="is a search that has not ended"):
        open_detector(tmp_path)

    chosen = tmp_path / "artifacts" / "report" / "chosen"
    chosen.mkdir(parents=True)
    (chosen / "chosen.json").write_text('{"chosen": null}')
    for folder in (tmp_path, chosen):
        with pytest.raises(DataError, match="is a search that chose no network"):
            open_detector(folder)


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="holds no detector; give a run, an export"):
        open_detector(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match="has no export; the run has not come so far"):
        open_detector(tmp_path)
