"""Draws a :class:`~aerodet.detectnet.model.DetectNet` as an ONNX graph, node by node.

Nodes carry TAO's layer names and tensors TAO's tensor names, so that calibration files, profiles and warnings speak of
the same things as the training code. Batch normalisation is folded into the convolutions everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from aerodet.deploy._fold import FoldedConv, fold, four_columns
from aerodet.detectnet.model import STRIDE, DetectNet
from aerodet.detectnet.quantize import activation_scales, is_quantized
from aerodet.errors import SpecError

__all__ = ["BBOX", "COVERAGE", "INPUT", "OPSET", "FloatGraph", "OnnxRuntimeGraph", "TensorRTGraph"]

OPSET = (
    17  # the newest that TensorRT 8.6 (TAO Deploy), 10, 11 and ONNX Runtime all read; nothing here needs a later one
)
_IR_VERSION = 8  # of the same ONNX release as opset 17
INPUT, BBOX, COVERAGE = "input_1", "output_bbox", "output_cov"
_LEVELS = 127
_BIAS_LIMIT = 2**30  # half of int32: leaves room for the sum of products


class FloatGraph:
    """The float graph; subclasses insert quantisation by overriding :meth:`activation` and :meth:`parameters`.

    Args:
        model: the network; of one with fake quantisation the float weights are drawn.
        size: (height, width) of the input in pixels, multiples of 16.

    Raises:
        SpecError: a side is not a positive multiple of 16.
    """

    target = "float"

    def __init__(self, model: DetectNet, size: tuple[int, int]) -> None:
        if any(side < STRIDE or side % STRIDE for side in size):
            raise SpecError(f"the input size must be positive multiples of {STRIDE}, not {size[0]}x{size[1]}")
        self.model, self.size = model, size
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}

    def draw(self, metadata: dict[str, str] | None = None) -> ModelProto:
        """Return the whole model: ``input_1`` [N,3,H,W] → ``output_bbox`` [N,4C,h,w], ``output_cov`` [N,C,h,w].

        Args:
            metadata: what else to keep in the file's metadata.
        """
        self._network()
        grid = (self.size[0] // STRIDE, self.size[1] // STRIDE)
        classes = self.model.architecture.num_classes

        def value(name: str, channels: int, sides: tuple[int, int]) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, *sides])

        graph = helper.make_graph(
            self._nodes,
            "detectnet_v2",
            [value(INPUT, 3, self.size)],
            [value(BBOX, 4 * classes, grid), value(COVERAGE, classes, grid)],
            list(self._initializers.values()),
        )
        opset = [helper.make_opsetid("", OPSET)]
        proto = helper.make_model(graph, producer_name="aerodet", opset_imports=opset, ir_version=_IR_VERSION)
        helper.set_model_props(proto, {"target": self.target, "input": "RGB in 0..1", **(metadata or {})})
        return proto

    def _network(self) -> None:
        model = self.model
        x = self.activation("input_1:0", INPUT, "input")
        x = self.convolution("conv1", model.conv1, model.bn_conv1, x)
        x = self.relu("activation_1", x)
        for index, (name, block) in enumerate(model.blocks(), start=1):
            y = self.convolution(f"{name}_conv_1", block.conv_1, block.bn_1, x)
            y = self.relu(f"{name}_relu_1", y)
            y = self.convolution(f"{name}_conv_2", block.conv_2, block.bn_2, y)
            y = self.activation(y, y, "branch")
            if block.conv_shortcut is not None:
                x = self.convolution(f"{name}_conv_shortcut", block.conv_shortcut, block.bn_shortcut, x)
                x = self.activation(x, x, "shortcut")
            x = self.node("Add", f"add_{index}", [y, x], f"add_{index}/add:0")
            x = self.relu(f"{name}_relu", x)
        self.heads(x)

    def convolution(self, name: str, conv: nn.Conv2d, norm: nn.Module | None, x: str) -> str:
        """Draw a convolution with its folded batch normalisation; return its output tensor."""
        folded = self.folded(name, conv, norm)
        bn = "bn_conv1" if name == "conv1" else name.replace("_conv_", "_bn_")
        return self._conv(name, [x, *self.parameters(name, folded, x)], folded, f"{bn}/batchnorm/add_1:0")

    def folded(self, name: str, conv: nn.Conv2d, norm: nn.Module | None) -> FoldedConv:  # noqa: ARG002
        """Return the convolution of a layer as it is drawn."""
        return fold(conv, norm)

    def parameters(self, name: str, conv: FoldedConv, x: str) -> tuple[str, str]:  # noqa: ARG002
        """Put kernel and bias of a backbone convolution that reads ``x`` into the graph; return their tensors."""
        return self.constant(f"{name}/kernel", conv.kernel), self.constant(f"{name}/bias", conv.bias)

    def relu(self, name: str, x: str) -> str:
        """Draw a ReLU; of a network with fake quantisation under the name that TAO's calibration files have for it."""
        return self.node("Relu", name, [x], f"{name}/Relu6:0" if is_quantized(self.model) else f"{name}/Relu:0")

    def activation(self, name: str, x: str, kind: str) -> str:  # noqa: ARG002
        """Pass an activation on; the place where quantised graphs put Q/DQ.

        Args:
            name: TAO's tensor name, the key of :func:`aerodet.detectnet.quantize.activation_scales`.
            x: the tensor.
            kind: ``input``, ``relu``, ``branch`` (a batch norm in front of a sum) or ``shortcut``.
        """
        return x

    def heads(self, x: str) -> None:
        """Draw the two 1×1 output layers, which are float in every graph."""
        for name, head in ((BBOX, self.model.output_bbox), (COVERAGE, self.model.output_cov)):
            folded = fold(head)
            inputs = [x, *FloatGraph.parameters(self, name, folded, x)]
            self._conv(name, inputs, folded, name if name == BBOX else f"{name}/BiasAdd:0")
        self.node("Sigmoid", f"{COVERAGE}/Sigmoid", [f"{COVERAGE}/BiasAdd:0"], COVERAGE)

    def constant(self, name: str, value: Any) -> str:
        """Add an initializer once; return its name."""
        if name not in self._initializers:
            self._initializers[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def node(self, kind: str, name: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output; return that output."""
        self._nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def _conv(self, name: str, inputs: list[str], conv: FoldedConv, output: str) -> str:
        geometry = {"kernel_shape": conv.kernel.shape[2:], "strides": conv.strides, "pads": conv.pads}
        return self.node("Conv", name, inputs, output, **geometry)


class _QuantizedGraph(FloatGraph):
    """What the graphs with explicit Q/DQ have in common.

    Raises:
        SpecError: the model has no fake quantisation, or was never run in training mode, so that it has no scales.
    """

    def __init__(self, model: DetectNet, size: tuple[int, int]) -> None:
        super().__init__(model, size)
        self.extents = activation_scales(model)
        empty = [name for name, extent in self.extents.items() if not extent > 0]
        if empty:
            raise SpecError(f"activation {empty[0]} has no scale yet; train the model with fake quantisation first")

    def relu(self, name: str, x: str) -> str:
        """Draw ReLU, then Q/DQ."""
        return self.activation(f"{name}/Relu6:0", self.node("Relu", name, [x], f"{name}/Relu6:0"), "relu")

    def quantize(self, x: str, scale: np.float32, zero: np.generic, grid: tuple[int, int] | None = None) -> str:
        """Draw QuantizeLinear and DequantizeLinear; return the dequantised tensor.

        Args:
            x: the tensor, [N, c, h, w].
            scale: of one level.
            zero: the zero point; its type is the quantised type.
            grid: (width, channels) to which the integers are regrouped, in the order columns, channels.
        """
        inputs = [self.constant(f"{x}/scale", scale), self.constant(f"{x}/zero_point", zero)]
        y = self.node("QuantizeLinear", f"{x}/quantize", [x, *inputs], f"{x}/quantized")
        if grid is not None:
            shape = self.constant(f"{x}/shape", np.array([0, 0, *grid]))
            y = self.node("Transpose", f"{x}/columns", [y], f"{x}/columns", perm=[0, 2, 3, 1])
            y = self.node("Reshape", f"{x}/regroup", [y, shape], f"{x}/regrouped")
            y = self.node("Transpose", f"{x}/channels", [y], f"{x}/channels", perm=[0, 3, 1, 2])
        return self.node("DequantizeLinear", f"{x}/dequantize", [y, *inputs], f"{x}/dequantized")

    def kernel(self, name: str, integers: NDArray[np.int8], scales: NDArray[np.float32]) -> str:
        """Store an int8 kernel behind a DequantizeLinear with one scale per output channel."""
        return self._dequantized(f"{name}/kernel", integers, scales)

    def _dequantized(self, name: str, integers: NDArray[Any], scales: NDArray[np.float32]) -> str:
        inputs = [
            self.constant(name, integers),
            self.constant(f"{name}/scale", scales),
            self.constant(f"{name}/zero_point", np.zeros(len(scales), integers.dtype)),
        ]
        return self.node("DequantizeLinear", f"{name}/dequantize", inputs, f"{name}/dequantized", axis=0)


class TensorRTGraph(_QuantizedGraph):
    """Q/DQ for TensorRT: symmetric int8 in front of each convolution.

    The branch into a sum has no Q/DQ of its own, only the other addend (the shortcut) has, which lets TensorRT run
    convolution, sum and ReLU as one kernel. Both heads read the last Q/DQ: the trunk ends in int8, and one reformat at
    the coarse grid feeds the float heads. Biases are float, the only kind that TensorRT takes.
    """

    target = "tensorrt"

    def activation(self, name: str, x: str, kind: str) -> str:
        """Quantise to int8 around zero, but not the branch that fuses with its sum."""
        return x if kind == "branch" else self.quantize(x, np.float32(self.extents[name] / _LEVELS), np.int8(0))

    def parameters(self, name: str, conv: FoldedConv, x: str) -> tuple[str, str]:  # noqa: ARG002
        """Kernel in int8, bias in float."""
        return self.kernel(name, conv.integers, conv.scales), self.constant(f"{name}/bias", conv.bias)


class OnnxRuntimeGraph(_QuantizedGraph):
    """Q/DQ for ONNX Runtime on a CPU: uint8 activations, int8 kernels, int32 biases.

    After a ReLU the zero point is 0, so that saturation *is* the ReLU and the runtime drops the node; the 256 levels
    then cover 0 to the extent, twice as fine as in training. Signed tensors keep training's grid with zero point 128.

    The first convolution is drawn on four image columns at a time (12 channels in, two columns of the result out): the
    same integer sums, but with channel counts that the runtime's direct int8 kernel takes, in half the time.
    """

    target = "onnxruntime"

    def __init__(self, model: DetectNet, size: tuple[int, int]) -> None:
        super().__init__(model, size)
        self._scale_of: dict[str, np.float32] = {}

    def folded(self, name: str, conv: nn.Conv2d, norm: nn.Module | None) -> FoldedConv:
        """Return the convolution of a layer, the first one on four columns."""
        return four_columns(fold(conv, norm)) if name == "conv1" else fold(conv, norm)

    def activation(self, name: str, x: str, kind: str) -> str:
        """Quantise to uint8; on both sides of the first convolution, regroup the columns too."""
        signed = kind in ("branch", "shortcut")
        scale = np.float32(self.extents[name] / (_LEVELS if signed else 255))
        width = self.size[1]
        grids = {"input_1:0": (width // 4, 12), "activation_1/Relu6:0": (width // 2, self.model.conv1.out_channels)}
        y = self.quantize(x, scale, np.uint8(128 if signed else 0), grids.get(name))
        self._scale_of[y] = scale
        return y

    def parameters(self, name: str, conv: FoldedConv, x: str) -> tuple[str, str]:
        """Kernel in int8, bias in int32 at the scale of the products."""
        # A channel whose gain is next to nothing would need a bias beyond int32: its kernel then rounds to less.
        scales = np.maximum(conv.scales, np.abs(conv.bias) / (_BIAS_LIMIT * self._scale_of[x])).astype(np.float32)
        integers = np.rint(conv.integers * (conv.scales / scales)[:, None, None, None]).astype(np.int8)
        product = (scales * self._scale_of[x]).astype(np.float32)
        bias = np.rint(conv.bias.astype(np.float64) / product).astype(np.int32)
        return self.kernel(name, integers, scales), self._dequantized(f"{name}/bias", bias, product)
