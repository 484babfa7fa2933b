"""The engine is a header without a network: what is noted of it is read from the header and from the build."""

import json
from pathlib import Path

import onnx
import pytest

from aerodet.deploy import export_float, write_bundle, write_calibration_cache, write_calibration_json
from aerodet.deploy.onnx import OnnxDetector, detector_tensors
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import DataError

SPEC = format_spec(build_spec(SpecOptions(image_width=64, image_height=64)))
PLAN = b"ftrt" + bytes(20) + bytes([10, 13, 0, 35]) + bytes(100)


@pytest.fixture
def tao(tmp_path: Path, make_model) -> Path:
    folder = tmp_path / "tao"
    folder.mkdir()
    export_float(make_model(qat=True), folder / "model.onnx", size=(64, 64))
    write_calibration_json(folder / "calibration.json", {"input_1": 1.0})
    write_calibration_cache(folder / "calibration.cache", {"input_1": 1.0})
    (folder / "model.engine").write_bytes(PLAN)
    build = {"gpu": "NVIDIA L4", "compute_capability": "8.9", "batch": [1, 8, 16]}
    (folder / "build.json").write_text(json.dumps(build))
    return folder


def bundle(model, folder: Path, tao: Path):
    return write_bundle(model, folder, spec=SPEC, classes=("aircraft",), size=(64, 64), engines=(), tao=tao)


def renamed(path: Path, names: dict[str, str]) -> None:
    model = onnx.load(path)
    for node in model.graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                field[place] = names.get(name, name)
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    onnx.save(model, path)


def test_what_tao_built_is_in_the_bundle_with_gpu_version_and_rebuild_commands(make_model, tmp_path, tao) -> None:
    content = bundle(make_model(qat=True), tmp_path / "b", tao)
    names = {entry["name"] for entry in content["files"]}
    assert names >= {
        "model.tao.engine",
        "model.tao.onnx",
        "calibration.tao.json",
        "calibration.tao.cache",
        "engine.json",
    }
    purposes = {entry["name"]: entry["purpose"] for entry in content["files"]}
    assert purposes["model.tao.engine"] == "int8 engine for TensorRT 10.13.0.35 on GPUs of compute capability 8.9."
    (info,) = content["engines"]
    assert (info["gpu"], info["version"], info["compute_capabilities"]) == ("NVIDIA L4", "10.13.0.35", ["8.9"])
    assert info["rebuild"]["tao"].startswith("tao deploy detectnet_v2 gen_trt_engine -m model.tao.onnx -e spec.txt")
    assert "--calib=calibration.tao.cache" in info["rebuild"]["trtexec"]
    assert json.loads((tmp_path / "b" / "engine.json").read_text())["model.tao.engine"] == info
    triton = tmp_path / "b" / "serving" / "triton" / "detectnet"
    assert (triton / "1" / "model.plan").read_bytes() == PLAN
    assert 'platform: "tensorrt_plan"' in (triton / "config.pbtxt").read_text()


def test_the_names_of_ngc_models_are_known_too(make_model, tmp_path, tao) -> None:
    others = {"input_1": "input_1:0", "output_bbox": "output_bbox/BiasAdd:0", "output_cov": "output_cov/Sigmoid:0"}
    renamed(tao / "model.onnx", others)
    detector = OnnxDetector(tao / "model.onnx", threads=1)
    assert detector.size == (64, 64)
    assert "model.tao.onnx" in {e["name"] for e in bundle(make_model(qat=True), tmp_path / "b", tao)["files"]}


def test_a_graph_with_other_outputs_is_refused_with_their_names(make_model, tmp_path, tao) -> None:
    renamed(tao / "model.onnx", {"output_cov": "scores"})
    with pytest.raises(
        DataError, match="its outputs output_bbox, scores, where input_1, output_bbox and output_cov"
    ) as e:
        bundle(make_model(qat=True), tmp_path / "b", tao)
    assert e.value.exit_code == 2
    with pytest.raises(DataError, match="is not a DetectNet_v2"):
        OnnxDetector(tao / "model.onnx", threads=1)
    with pytest.raises(DataError, match="its inputs are image"):
        detector_tensors(tmp_path, ["image"], ["output_bbox", "output_cov"])
    assert not (tmp_path / "b").exists()


def test_a_graph_of_another_size_or_no_graph_is_refused(make_model, tmp_path, tao) -> None:
    export_float(make_model(qat=False), tao / "model.onnx", size=(32, 64))
    with pytest.raises(DataError, match=r"takes images of \(32, 64\), but the spec says \(64, 64\)"):
        bundle(make_model(qat=True), tmp_path / "b", tao)
    (tao / "model.onnx").write_bytes(b"junk")
    with pytest.raises(DataError, match="not an ONNX model"):
        bundle(make_model(qat=True), tmp_path / "b", tao)


def test_missing_files_and_what_is_no_engine_are_named(make_model, tmp_path, tao) -> None:
    (tao / "model.engine").write_bytes(b"PK" + bytes(100))
    with pytest.raises(DataError, match="is not a TensorRT engine"):
        bundle(make_model(qat=True), tmp_path / "b", tao)
    (tao / "calibration.cache").unlink()
    (tao / "build.json").unlink()
    with pytest.raises(DataError, match=r"has no calibration\.cache and no build\.json"):
        bundle(make_model(qat=True), tmp_path / "b", tao)
