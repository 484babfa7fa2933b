import collections
import copy
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from aerodet.deploy import OnnxDetector, _cpu, export_float, export_int8
from aerodet.deploy._fold import fold, four_columns
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import ActivationQuantizer, activation_scales, fake_quantize, prepare_qat
from aerodet.errors import DataError, SpecError

SIZE = (64, 64)
SHAPES = [
    {},
    {"num_classes": 3},
    {"all_projections": True},
    {"use_batch_norm": False},
    {"layers": 10},
    {"width": 0.25, "channels": {"conv1": 8, "block_1a_conv_1": 24, "block_3b_conv_1": 40}},
]


def names(shape: dict) -> str:
    return ",".join(shape) or "plain"


def to_tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


class Unsigned(nn.Module):
    """The quantiser that the CPU graph has behind a ReLU: 256 levels from 0 to the extent."""

    def __init__(self, extent: float) -> None:
        super().__init__()
        self.scale = np.float32(extent / 255)

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(torch.round(x / float(self.scale)), 0, 255) * float(self.scale)


def as_placed(model: DetectNet, target: str) -> DetectNet:
    """Return a copy of a QAT model that quantises exactly where a target's graph does."""
    model = copy.deepcopy(model)
    if target == "onnxruntime":
        model.q_input, model.q_relu = (Unsigned(float(q.extent)) for q in (model.q_input, model.q_relu))
    for _, block in model.blocks():
        block.q_add = nn.Identity()
        if target == "tensorrt":
            block.q_bn_2 = nn.Identity()
        else:
            block.q_relu_1, block.q_relu = (Unsigned(float(q.extent)) for q in (block.q_relu_1, block.q_relu))
    return model


def as_float(model: DetectNet) -> DetectNet:
    """Return a copy of a QAT model with its float kernels and no quantisers."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d):
            module.__class__ = nn.Conv2d
        for name, child in list(module.named_children()):
            if isinstance(child, ActivationQuantizer):
                setattr(module, name, nn.Identity())
    return model


@pytest.mark.parametrize("shape", SHAPES, ids=names)
def test_float_graph_computes_what_torch_computes(make_model, tmp_path: Path, images, shape: dict) -> None:
    model = make_model(qat=False, **shape)
    export_float(model, tmp_path / "model.onnx", size=SIZE)
    coverage, boxes = OnnxDetector(tmp_path / "model.onnx", threads=1)(images)
    with torch.no_grad():
        expected_coverage, expected_boxes = model(to_tensor(images))
    np.testing.assert_allclose(coverage, expected_coverage, atol=1e-4)
    np.testing.assert_allclose(boxes, expected_boxes, atol=1e-4)


def test_float_graph_of_a_qat_model_keeps_relu_and_float_kernels(make_model, tmp_path: Path, images) -> None:
    model = make_model(qat=True)
    export_float(model, tmp_path / "model.onnx", size=SIZE)
    coverage, _ = OnnxDetector(tmp_path / "model.onnx", threads=1)(images)
    with torch.no_grad():
        expected, _ = as_float(model)(to_tensor(images))
    np.testing.assert_allclose(coverage, expected, atol=1e-4)
    assert "Clip" not in {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}


def run_unoptimised(path: Path, images: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
    """Run a graph exactly as drawn, quantisers as float arithmetic."""
    proto = onnx.load(path)
    known = {value.name for value in proto.graph.output}
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in outputs if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[np.ndarray] = session.run(outputs, {"input_1": to_tensor(images).numpy()})
    return results


@pytest.mark.parametrize("shape", SHAPES, ids=names)
def test_tensorrt_graph_is_the_fake_quantised_network_at_its_places(make_model, tmp_path, images, shape: dict) -> None:
    model = make_model(qat=True, **shape)
    export_int8(model, tmp_path / "model.onnx", size=SIZE, target="tensorrt")
    coverage, boxes = run_unoptimised(tmp_path / "model.onnx", images, ["output_cov", "output_bbox"])
    with torch.no_grad():
        expected_coverage, expected_boxes = as_placed(model, "tensorrt")(to_tensor(images))
    # Equal to 1e-7 in most pictures; where sums in another order round an activation the other way, an untrained
    # network multiplies that step.
    difference = np.abs(coverage - expected_coverage.numpy())
    assert np.median(difference) < 1e-5
    assert difference.mean() < 0.02
    assert np.median(np.abs(boxes - expected_boxes.numpy())) < 1e-4 * expected_boxes.abs().max()


@pytest.mark.parametrize("shape", SHAPES, ids=names)
def test_cpu_graph_rounds_as_the_fake_quantised_network_at_its_places(
    make_model, tmp_path: Path, images, shape: dict
) -> None:
    model = make_model(qat=True, **shape)
    export_int8(model, tmp_path / "model.onnx", size=SIZE, target="onnxruntime")
    placed, seen = as_placed(model, "onnxruntime"), {}
    for name in ("relu", "bn_2", "shortcut", "relu_1"):
        point = getattr(placed.block_1a, f"q_{name}")
        point.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.numpy()))
    with torch.no_grad():
        expected, _ = placed(to_tensor(images))
    tensors = {
        "relu_1": "block_1a_relu_1/Relu6:0",
        "bn_2": "block_1a_bn_2/batchnorm/add_1:0",
        "shortcut": "block_1a_bn_shortcut/batchnorm/add_1:0",
        "relu": "block_1a_relu/Relu6:0",
    }
    outputs = run_unoptimised(tmp_path / "model.onnx", images, [f"{name}/dequantized" for name in tensors.values()])
    for (point, name), actual in zip(tensors.items(), outputs, strict=True):
        step = activation_scales(model)[name] / 127
        difference = np.abs(actual - seen[point]) / step
        assert (difference > 0.01).mean() < 0.01, name  # the int32 bias rounds a few activations the other way,
        assert difference.max() < 2.01, name  # and by one step each
    coverage, _ = OnnxDetector(tmp_path / "model.onnx", threads=1)(images)
    # Further down an untrained network multiplies those steps.
    assert np.abs(coverage - expected.numpy()).mean() < 0.04


def test_integer_kernels_compute_what_the_drawn_graph_says(pruned_qat, tmp_path: Path, images) -> None:
    export_int8(pruned_qat, tmp_path / "model.onnx", size=SIZE, target="onnxruntime")
    coverage, _ = OnnxDetector(tmp_path / "model.onnx", threads=1)(images)
    (drawn,) = run_unoptimised(tmp_path / "model.onnx", images, ["output_cov"])
    assert np.abs(coverage - drawn).mean() < 0.01


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_int8_graph_stays_near_the_network_that_was_trained(pruned_qat, tmp_path: Path, images, target: str) -> None:
    export_int8(pruned_qat, tmp_path / "model.onnx", size=SIZE, target=target)
    coverage, _ = OnnxDetector(tmp_path / "model.onnx", threads=1)(images)
    with torch.no_grad():
        expected, _ = pruned_qat(to_tensor(images))
        floating, _ = as_float(pruned_qat)(to_tensor(images))
    # The graphs leave out quantisers that training has, so they lie between it and the float network.
    quantisation_noise = (floating - expected).abs().mean()
    assert np.abs(coverage - expected.numpy()).mean() < 1.5 * quantisation_noise


def test_cpu_graph_runs_its_backbone_in_integers_only(pruned_qat, tmp_path: Path) -> None:
    export_int8(pruned_qat, tmp_path / "model.onnx", size=SIZE, target="onnxruntime")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    counts = collections.Counter(node.op_type for node in nodes)
    assert counts["QLinearConv"] == 21
    assert counts["QLinearAdd"] == 8
    assert counts["Relu"] == counts["Clip"] == counts["Add"] == 0
    assert counts["QuantizeLinear"] == 1  # the input
    assert counts["DequantizeLinear"] <= 2  # in front of the heads
    assert counts["Conv"] + counts["FusedConv"] == 2  # the heads


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_int8_file_is_a_fraction_of_the_float_file(make_model, tmp_path: Path, target: str) -> None:
    model = make_model(qat=True, width=0.5)
    export_float(model, tmp_path / "float.onnx", size=SIZE)
    export_int8(model, tmp_path / "int8.onnx", size=SIZE, target=target)
    assert (tmp_path / "int8.onnx").stat().st_size < 0.3 * (tmp_path / "float.onnx").stat().st_size


def test_export_writes_the_same_bytes_twice(pruned_qat, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_int8(pruned_qat, tmp_path / name, size=SIZE, target="onnxruntime", classes=("plane",))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tensorrt_graph_is_symmetric_with_float_biases_and_heads(pruned_qat, tmp_path: Path) -> None:
    export_int8(pruned_qat, tmp_path / "model.onnx", size=SIZE, target="tensorrt")
    graph = onnx.load(tmp_path / "model.onnx").graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {node.output[0]: node for node in graph.node}
    zeros = [value for name, value in constants.items() if name.endswith("zero_point")]
    assert all(value.dtype == np.int8 and not value.any() for value in zeros)
    for node in graph.node:
        if node.op_type == "Conv":
            head = node.name.startswith("output_")
            assert (node.input[1] in constants) == head
            assert constants[node.input[2]].dtype == np.float32
            assert makers[node.input[0]].op_type == "DequantizeLinear"
        if node.op_type == "Add":  # the branch comes straight from its convolution, the shortcut through Q/DQ
            assert [makers[name].op_type for name in node.input] == ["Conv", "DequantizeLinear"]


def test_graph_has_taos_names_a_dynamic_batch_and_its_classes(make_model, tmp_path: Path, images) -> None:
    model = make_model(qat=False, num_classes=2)
    export_float(model, tmp_path / "model.onnx", size=(64, 96), classes=("jet", "propeller"))
    proto = onnx.load(tmp_path / "model.onnx")
    assert {"conv1", "block_1a_conv_1", "block_4b_relu", "add_8", "output_bbox", "output_cov"} <= {
        node.name for node in proto.graph.node
    }
    assert json.loads({p.key: p.value for p in proto.metadata_props}["classes"]) == ["jet", "propeller"]
    detector = OnnxDetector(tmp_path / "model.onnx", threads=1)
    assert detector.size == (64, 96)
    assert detector.classes == ("jet", "propeller")
    for batch in (1, 5):
        coverage, boxes = detector(np.zeros((batch, 3, 64, 96), np.float32))
        assert coverage.shape == (batch, 2, 4, 6)
        assert boxes.shape == (batch, 8, 4, 6)


def test_folded_integers_are_those_of_training(make_model) -> None:
    model = make_model(qat=True)
    conv, norm = model.block_1a.conv_1, model.block_1a.bn_1
    folded = fold(conv, norm)
    kernel = fake_quantize(conv.weight, conv.weight.abs().amax()).detach()
    gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    np.testing.assert_allclose(
        folded.integers * folded.scales[:, None, None, None], kernel * gain[:, None, None, None], rtol=1e-5
    )
    assert (gain < 0).any()
    assert (folded.scales > 0).all()


def test_channel_without_gain_folds_to_its_bias_and_still_exports(make_model, tmp_path: Path, images) -> None:
    model = make_model(qat=True)
    model.block_1a.bn_1.weight.data[:3] = torch.tensor([0.0, 1e-30, -1e-9])
    export_int8(model, tmp_path / "model.onnx", size=SIZE, target="onnxruntime")
    coverage, _ = OnnxDetector(tmp_path / "model.onnx", threads=1)(images)
    with torch.no_grad():
        expected, _ = as_placed(model, "onnxruntime")(to_tensor(images))
    assert np.abs(coverage - expected.numpy()).mean() < 0.04


def test_four_columns_convolve_as_the_plain_kernel_does() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 7, 2, 3)
    x = torch.rand(2, 3, 32, 48)
    wide = four_columns(fold(conv))
    grouped = x.permute(0, 2, 3, 1).reshape(2, 32, 12, 12).permute(0, 3, 1, 2)
    padded = nn.functional.pad(grouped, (wide.pads[1], wide.pads[3], wide.pads[0], wide.pads[2]))
    y = nn.functional.conv2d(padded, torch.from_numpy(wide.kernel), torch.from_numpy(wide.bias), wide.strides)
    y = y.permute(0, 2, 3, 1).reshape(2, 16, 24, 8).permute(0, 3, 1, 2)
    torch.testing.assert_close(y, conv(x).detach(), atol=1e-5, rtol=1e-5)


def test_model_without_scales_cannot_be_exported_in_int8(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="run quantisation-aware training first"):
        export_int8(DetectNet(width=0.125), tmp_path / "a.onnx", size=SIZE, target="tensorrt")
    with pytest.raises(SpecError, match="no scale yet"):
        export_int8(prepare_qat(DetectNet(width=0.125)), tmp_path / "a.onnx", size=SIZE, target="tensorrt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(60, 64), (64, 0), (8, 64)])
def test_size_off_the_grid_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="multiples of 16"):
        export_float(DetectNet(width=0.125), tmp_path / "a.onnx", size=size)


def test_detector_says_what_is_wrong_with_a_file_or_an_image(make_model, tmp_path: Path, images) -> None:
    with pytest.raises(DataError, match="there is no ONNX file"):
        OnnxDetector(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"junk\.onnx is not an ONNX model"):
        OnnxDetector(tmp_path / "junk.onnx")
    export_float(make_model(qat=False), tmp_path / "model.onnx", size=(32, 32))
    with pytest.raises(DataError, match="takes RGB images of 32x32"):
        OnnxDetector(tmp_path / "model.onnx", threads=1)(images)


@pytest.mark.parametrize(
    ("flags", "saturates"),
    [("fpu avx2 avx512f", True), ("fpu avx2 avx_vnni", False), ("avx512_vnni", False), ("", False)],
)
def test_processor_without_vnni_gets_the_exact_kernels(monkeypatch, flags: str, saturates: bool) -> None:
    monkeypatch.setattr(_cpu, "_information", lambda: {"flags": flags})
    assert _cpu.saturates_int8() == saturates
