import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from aerodet.deploy import (
    available_builder,
    build_engine,
    engine,
    engine_summary,
    export_float,
    export_int8,
    rebuild_engine,
    write_bundle,
)
from aerodet.deploy.engine import _header
from aerodet.detectnet.spec import format_spec
from aerodet.detectnet.spec_builder import SpecOptions, build_spec
from aerodet.errors import DataError, MachineError, SpecError

RTX = importlib.util.find_spec("tensorrt_rtx") is not None
needs_rtx = pytest.mark.skipif(not RTX, reason="needs the extra tensorrt-rtx")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_local_capability", lambda: None)


def pretend_installed(monkeypatch: pytest.MonkeyPatch, *names: str, gpu: str | None) -> None:
    monkeypatch.setattr(engine, "_local_capability", lambda: gpu)
    monkeypatch.setattr(engine, "_module", lambda name: SimpleNamespace() if name in names else None)


@needs_rtx
def test_int8_engine_is_built_without_a_gpu_and_described_beside_it(pruned_qat, tmp_path: Path, no_gpu: None) -> None:
    export_int8(pruned_qat, tmp_path / "model.int8.onnx", size=(64, 64), target="tensorrt")
    info = build_engine(tmp_path / "model.int8.onnx", tmp_path / "model.engine", batch=(1, 2, 4))
    assert (info.builder, info.precision) == ("tensorrt_rtx", "int8")
    assert {"8.0", "8.6", "8.9", "12.0"} <= set(info.compute_capabilities)
    assert info.bytes == (tmp_path / "model.engine").stat().st_size > 10_000
    summary = engine_summary(tmp_path / "model.engine")
    assert summary["builder"] == "tensorrt_rtx"
    assert info.version.startswith(summary["version"])
    assert summary["metadata"] == json.loads((tmp_path / "engine.json").read_text())["model.engine"]
    assert "--minShapes=input_1:1x3x64x64" in summary["metadata"]["rebuild"]["trtexec"]


@needs_rtx
def test_command_rebuilds_an_engine_for_one_gpu(make_model, tmp_path: Path, no_gpu: None) -> None:
    export_float(make_model(qat=False), tmp_path / "model.onnx", size=(64, 64))
    first = build_engine(tmp_path / "model.onnx", tmp_path / "a.engine", compute_capability="8.9", batch=(1, 1, 2))
    command = [sys.executable, *first.rebuild["aerodet"].replace("a.engine", "b.engine").split()[1:]]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert engine_summary(tmp_path / "b.engine")["compute_capabilities"] == ["8.9"]
    assert set(json.loads((tmp_path / "engine.json").read_text())) == {"a.engine", "b.engine"}


@needs_rtx
def test_a_bundle_s_engine_is_built_anew_outside_of_it(pruned_qat, tmp_path: Path, no_gpu: None) -> None:
    spec = format_spec(build_spec(SpecOptions(image_width=64, image_height=64)))
    write_bundle(pruned_qat, tmp_path / "b", spec=spec, classes=("aircraft",), size=(64, 64), batch=(1, 1, 2))
    before = sorted(path.name for path in (tmp_path / "b").iterdir())
    info = rebuild_engine(tmp_path / "b", tmp_path / "new" / "model.engine", compute_capability="8.6")
    assert (info.precision, info.batch, info.compute_capabilities) == ("int8", (1, 1, 2), ("8.6",))
    assert info.gpu == ""
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == before
    with pytest.raises(DataError, match="is not an export"):
        rebuild_engine(tmp_path, tmp_path / "a.engine")


@needs_rtx
def test_what_is_no_graph_for_tensorrt_is_refused_and_nothing_written(pruned_qat, tmp_path: Path, no_gpu: None) -> None:
    export_int8(pruned_qat, tmp_path / "cpu.onnx", size=(64, 64), target="onnxruntime")
    with pytest.raises(DataError, match="graph for ONNX Runtime"):
        build_engine(tmp_path / "cpu.onnx", tmp_path / "a.engine")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(DataError, match="not an ONNX model"):
        build_engine(tmp_path / "junk.onnx", tmp_path / "a.engine")
    with pytest.raises(DataError, match="there is no ONNX file"):
        build_engine(tmp_path / "none.onnx", tmp_path / "a.engine")
    with pytest.raises(SpecError, match="batch sizes"):
        build_engine(tmp_path / "cpu.onnx", tmp_path / "a.engine", batch=(4, 2, 8))
    assert not (tmp_path / "a.engine").exists()


def test_tensorrt_builds_for_the_gpu_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, "tensorrt", "tensorrt_rtx", gpu="9.0")
    assert available_builder() == ("tensorrt", "9.0")
    assert available_builder("8.9") == ("tensorrt_rtx", "8.9")


def test_tensorrt_without_a_gpu_leaves_it_to_tensorrt_for_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, "tensorrt", "tensorrt_rtx", gpu=None)
    assert available_builder() == ("tensorrt_rtx", None)
    with pytest.raises(SpecError, match=r"no compute capability 5\.3"):
        available_builder("5.3")


def test_without_a_builder_the_error_names_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, "tensorrt", gpu=None)
    with pytest.raises(MachineError, match=r"aerodet\[tensorrt-rtx\]"):
        available_builder()


def test_header_of_a_tensorrt_plan_gives_its_version() -> None:
    assert _header(b"ftrt" + bytes(20) + bytes([10, 8, 0, 43]) + bytes(20))["version"] == "10.8.0.43"
    assert _header(b"ONNX" + bytes(60)) == {}
    assert _header(b"vtrt") == {}


def test_what_is_no_engine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.engine").write_bytes(b"PK" + bytes(100))
    with pytest.raises(DataError, match="not a TensorRT engine"):
        engine_summary(tmp_path / "a.engine")
    with pytest.raises(DataError, match="there is no engine"):
        engine_summary(tmp_path / "b.engine")
