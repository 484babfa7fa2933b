from pathlib import Path

import onnx
import pytest

from aerodet.deploy import (
    export_float,
    read_calibration_cache,
    read_calibration_json,
    tensor_scales,
    write_calibration_cache,
    write_calibration_json,
)
from aerodet.errors import DataError

# float32(6 / 127) is 0x3d418306, float32(127 / 127) is 0x3f800000, float32(1 / 127) is 0x3c010204
GOLDEN = """TRT-8503-EntropyCalibration2
input_1: 3c010204
activation_1/Relu6:0: 3d418306
add_1/add:0: 3f800000
"""
SCALES = {"input_1": 1.0, "activation_1/Relu6:0": 6.0, "add_1/add:0": 127.0}


def test_cache_is_written_bit_by_bit_as_tensorrt_reads_it(tmp_path: Path) -> None:
    write_calibration_cache(tmp_path / "calibration.cache", SCALES)
    assert (tmp_path / "calibration.cache").read_text() == GOLDEN


def test_both_files_read_back_as_written(tmp_path: Path) -> None:
    write_calibration_cache(tmp_path / "c.cache", SCALES)
    write_calibration_json(tmp_path / "c.json", SCALES)
    assert read_calibration_cache(tmp_path / "c.cache") == pytest.approx(SCALES, rel=1e-6)
    assert read_calibration_json(tmp_path / "c.json") == SCALES


@pytest.mark.parametrize("all_projections", [False, True])
def test_scales_name_tensors_of_the_float_graph(make_model, tmp_path: Path, all_projections: bool) -> None:
    model = make_model(qat=True, all_projections=all_projections)
    export_float(model, tmp_path / "model.onnx", size=(64, 64))
    graph = onnx.load(tmp_path / "model.onnx").graph
    tensors = {graph.input[0].name} | {name for node in graph.node for name in node.output}
    scales = tensor_scales(model)
    assert len(scales) == (42 if all_projections else 38)
    assert set(scales) <= tensors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ninput_1: 3c010204\n", "not a calibration cache"),
        ("TRT-8503-EntropyCalibration2\ninput_1 3c01\n", "line 2"),
        ("", "not a readable calibration cache"),
    ],
)
def test_broken_cache_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.cache").write_text(text)
    with pytest.raises(DataError, match=message):
        read_calibration_cache(tmp_path / "c.cache")


@pytest.mark.parametrize("text", ["{", "[]", '{"scales": {}}', '{"tensor_scales": {"a": "b"}}'])
def test_broken_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(DataError, match="not a calibration JSON"):
        read_calibration_json(tmp_path / "c.json")
