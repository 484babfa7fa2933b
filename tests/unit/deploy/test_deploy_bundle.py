import hashlib
import importlib.util
import json
from pathlib import Path

import pytest

from aerodet.deploy import compare_latency, engine, export_float, export_int8, write_bundle
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import MachineError, SpecError

RTX = importlib.util.find_spec("tensorrt_rtx") is not None
SPEC = format_spec(build_spec(SpecOptions(image_width=64, image_height=64)))
COMMON = {"spec": SPEC, "classes": ("aircraft",), "size": (64, 64)}

SERVING = [
    "serving/decoder.json",
    "serving/decoder.py",
    "serving/deepstream/config_infer.txt",
    "serving/deepstream/labels.txt",
    "serving/triton/detectnet/1/model.onnx",
    "serving/triton/detectnet/config.pbtxt",
    "serving/triton/detectnet/labels.txt",
]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_local_capability", lambda: None)


@pytest.mark.skipif(not RTX, reason="needs the extra tensorrt-rtx")
def test_bundle_lists_every_file_with_digest_and_purpose(pruned_qat, tmp_path: Path) -> None:
    content = write_bundle(pruned_qat, tmp_path / "bundle", **COMMON, batch=(1, 1, 2))
    listed = {entry["name"]: entry for entry in content["files"]}
    assert set(listed) == {
        "calibration.cache",
        "calibration.json",
        "engine.json",
        "labels.txt",
        "model.int8.cpu.onnx",
        "model.int8.onnx",
        "model.onnx",
        "model.rtx.engine",
        "spec.txt",
        *SERVING,
    }
    found = {
        path.relative_to(tmp_path / "bundle").as_posix() for path in (tmp_path / "bundle").rglob("*") if path.is_file()
    }
    assert found == {*listed, "files.json"}
    for name, entry in listed.items():
        data = (tmp_path / "bundle" / name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert entry["purpose"].endswith(".")
    assert content == json.loads((tmp_path / "bundle" / "files.json").read_text())
    assert (tmp_path / "bundle" / "labels.txt").read_text() == "aircraft\n"
    assert content["engines"][0]["onnx_sha256"] == listed["model.int8.onnx"]["sha256"]


def test_float_model_gives_the_float_files_only(make_model, tmp_path: Path) -> None:
    content = write_bundle(make_model(qat=False), tmp_path / "bundle", **COMMON, engines=())
    assert [entry["name"] for entry in content["files"]] == ["labels.txt", "model.onnx", *SERVING, "spec.txt"]
    assert not content["quantized"]
    assert content["engines"] == []


def test_bundle_that_fails_leaves_nothing(make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_module", lambda _: None)
    with pytest.raises(MachineError, match="tensorrt-rtx"):
        write_bundle(make_model(qat=False), tmp_path / "bundle", **COMMON)
    with pytest.raises(SpecError, match="1 classes, but 2 names"):
        write_bundle(make_model(qat=False), tmp_path / "bundle", spec=SPEC, classes=("a", "b"), size=(64, 64))
    assert not list(tmp_path.iterdir())


def test_latency_of_two_graphs_is_compared_pair_by_pair(make_model, pruned_qat, tmp_path: Path) -> None:
    export_float(make_model(qat=False, width=0.25), tmp_path / "float.onnx", size=(64, 64))
    export_int8(pruned_qat, tmp_path / "int8.onnx", size=(64, 64), target="onnxruntime")
    result = compare_latency(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", size=(64, 64), batch=2, threads=1, pairs=5, warmup=1
    )
    assert (result["threads"], result["batch"], result["pairs"]) == (1, 2, 5)
    assert result["cpu"]
    assert result["ratio"] > 0
    for name in ("float", "int8"):
        summary = result[name]
        assert 0 < summary["p10"] <= summary["median_ms"] <= summary["p90"]
        assert summary["images_per_s"] == pytest.approx(2000 / summary["median_ms"])
