"""ONNX out of a :class:`~aerodet.detectnet.model.DetectNet`, and detection with ONNX out of ONNX Runtime.

All graphs have a dynamic batch, a fixed size, the input ``input_1`` [N, 3, H, W] (RGB in 0..1) and the outputs
``output_bbox`` [N, 4C, H/16, W/16] and ``output_cov`` [N, C, H/16, W/16] (after the sigmoid), as TAO's exports have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from aerodet.deploy._cpu import saturates_int8
from aerodet.deploy._graph import BBOX, COVERAGE, INPUT, FloatGraph, OnnxRuntimeGraph, TensorRTGraph
from aerodet.detectnet.model import DetectNet
from aerodet.errors import DataError
from aerodet.files import atomic_path

__all__ = ["OnnxDetector", "Target", "detector_tensors", "export_float", "export_int8", "open_session"]

Target = Literal["tensorrt", "onnxruntime"]
_TENSORS = (
    (INPUT, BBOX, COVERAGE),
    (f"{INPUT}:0", f"{BBOX}/BiasAdd:0", f"{COVERAGE}/Sigmoid:0"),
)
_GRAPHS = {"tensorrt": TensorRTGraph, "onnxruntime": OnnxRuntimeGraph}


def export_float(model: DetectNet, path: Path, *, size: tuple[int, int], classes: tuple[str, ...] = ()) -> None:
    """Write the float graph, batch normalisation folded into the convolutions.

    Args:
        model: with or without fake quantisation; with it, the float weights are written.
        path: the ``.onnx`` file.
        size: (height, width) in pixels, multiples of 16.
        classes: class names in channel order, kept in the file's metadata.

    Raises:
        SpecError: the size does not fit the grid.
    """
    _save(FloatGraph(model, size), path, classes)


def export_int8(
    model: DetectNet, path: Path, *, size: tuple[int, int], target: Target, classes: tuple[str, ...] = ()
) -> None:
    """Write the graph with explicit Q/DQ, its kernels stored in 8 bits.

    The kernels are the integers of training (see :func:`aerodet.deploy._fold.fold`).

    Args:
        model: after quantisation-aware training.
        path: the ``.onnx`` file.
        size: (height, width) in pixels, multiples of 16.
        target: which runtime the placement is for: ``tensorrt`` (symmetric int8) or ``onnxruntime`` (uint8, CPU).
        classes: class names in channel order, kept in the file's metadata.

    Raises:
        SpecError: the model has no activation scales, or the size does not fit the grid.
    """
    _save(_GRAPHS[target](model, size), path, classes)


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open an ONNX file with ONNX Runtime on the CPU.

    Args:
        path: the file.
        threads: threads within an operation; None leaves it to the runtime, one a core.

    Raises:
        DataError: there is no such file, or the runtime does not read it.
    """
    if not path.is_file():
        raise DataError(f"there is no ONNX file {path}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    # Waiting threads sleep: where cores are shared, spinning ones cost others, and this session, tens of milliseconds.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if saturates_int8():  # sums of u8×s8 products would be cut off at 16 bits: slower kernels that are right
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no other base
        raise DataError(f"{path} is not an ONNX model that ONNX Runtime reads ({error})") from error


def detector_tensors(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, str, str]:
    """Find the tensors of a DetectNet_v2 by their names.

    Args:
        path: the graph, for the message.
        inputs: names of its inputs.
        outputs: names of its outputs.

    Returns:
        The names of input, boxes and coverage: ours and TAO's, or those of NGC's models and TAO's route through
        TensorFlow (``input_1:0``, ``output_bbox/BiasAdd:0``, ``output_cov/Sigmoid:0``).

    Raises:
        DataError: there are others.
    """
    for names in _TENSORS:
        if names[0] in inputs and set(names[1:]) <= set(outputs):
            return names
    raise DataError(
        f"{path} is not a DetectNet_v2: its inputs are {', '.join(inputs)} and its outputs {', '.join(outputs)}, where "
        f"{INPUT}, {BBOX} and {COVERAGE} are wanted; export it with TAO 5 or aerodet"
    )


class OnnxDetector:
    """Runs an exported graph on the CPU.

    Args:
        path: an ONNX file of :func:`export_float` or :func:`export_int8` with target ``onnxruntime``.
        threads: threads within an operation; None is one a core.

    Raises:
        DataError: the file is missing or not such a graph.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path = path
        self._session = open_session(path, threads)
        inputs = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        outputs = [tensor.name for tensor in self._session.get_outputs()]
        self._names = detector_tensors(path, list(inputs), outputs)
        _, _, height, width = inputs[self._names[0]]
        self.size: tuple[int, int] = (height, width)
        metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.classes: tuple[str, ...] = tuple(json.loads(metadata.get("classes", "[]")))
        self.precision = "int8" if metadata.get("target", "float") != "float" else "float32"

    def __call__(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Detect.

        Args:
            images: uint8 [N, H, W, 3] RGB, or float32 [N, 3, H, W] in 0..1.

        Returns:
            Coverage [N, C, H/16, W/16] in 0..1 and box distances [N, 4C, H/16, W/16], float32.

        Raises:
            DataError: the images do not have the size of the graph.
        """
        return self.run(self.prepare(images) if images.dtype == np.uint8 else images)

    def prepare(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return pictures [N, H, W, 3] as the graph wants them: [N, 3, H, W] in 0..1."""
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # bytes are moved quicker than floats
        return np.divide(planes, np.float32(255), dtype=np.float32)

    def run(self, images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run what :meth:`prepare` gave.

        Raises:
            DataError: the images do not have the size of the graph.
        """
        if images.shape[1:] != (3, *self.size):
            raise DataError(f"{self.path.name} takes RGB images of {self.size[0]}x{self.size[1]}, not {images.shape}")
        name, bbox, cov = self._names
        coverage, boxes = self._session.run([cov, bbox], {name: np.ascontiguousarray(images, np.float32)})
        return coverage, boxes


def _save(graph: FloatGraph, path: Path, classes: tuple[str, ...]) -> None:
    proto = graph.draw({"classes": json.dumps(list(classes))})
    onnx.checker.check_model(proto, full_check=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
