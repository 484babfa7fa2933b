"""The scales of quantisation-aware training as TAO and TensorRT (up to 10) keep them.

Both files name the tensors of our *float* ONNX graph, for which they are meant: TAO Deploy sets these ranges on it, and
TensorRT reads the cache in place of calibration images. The names are TAO's (``block_1a_relu_1/Relu6:0``); the input is
``input_1``, as in the graph. Graphs with explicit Q/DQ carry their scales themselves and need neither file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aerodet.deploy._graph import INPUT
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.quantize import activation_scales
from aerodet.errors import DataError
from aerodet.files import read_json, write_json, write_text

__all__ = [
    "read_calibration_cache",
    "read_calibration_json",
    "tensor_scales",
    "write_calibration_cache",
    "write_calibration_json",
]

_LEVELS = 127
_TENSORRT = 8503  # 8.5.3, the version that TAO 5.0 writes; TensorRT 8 and 10 read it
_LINE = re.compile(r"(?P<name>.+): (?P<bits>[0-9a-f]{8})")


def tensor_scales(model: DetectNet) -> dict[str, float]:
    """Return the absolute maximum of every quantised activation by its tensor's name in the float ONNX graph.

    Raises:
        SpecError: the model is not quantised.
    """
    return {INPUT if name == "input_1:0" else name: extent for name, extent in activation_scales(model).items()}


def write_calibration_json(path: Path, scales: Mapping[str, float]) -> None:
    """Write TAO's calibration JSON (``--cal_json_file``): ``{"tensor_scales": {name: absolute maximum}}``."""
    write_json(path, {"tensor_scales": dict(scales)})


def read_calibration_json(path: Path) -> dict[str, float]:
    """Read TAO's calibration JSON.

    Raises:
        DataError: it is not one.
    """
    try:
        content: Any = read_json(path)
        return {str(name): float(extent) for name, extent in content["tensor_scales"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is not a calibration JSON with tensor_scales ({error})") from error


def write_calibration_cache(path: Path, scales: Mapping[str, float]) -> None:
    """Write TensorRT's calibration cache.

    A header line, then a line a tensor: its name and the bits of ``float32(absolute maximum / 127)`` in hexadecimal,
    most significant byte first. Source: ``nvidia_tao_tf1/cv/common/export/base_exporter.py``.
    """
    lines = [f"{name}: {struct.pack('>f', extent / _LEVELS).hex()}\n" for name, extent in scales.items()]
    write_text(path, f"TRT-{_TENSORRT}-EntropyCalibration2\n" + "".join(lines))


def read_calibration_cache(path: Path) -> dict[str, float]:
    """Read TensorRT's calibration cache; return absolute maxima by tensor name.

    Raises:
        DataError: it is not one.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable calibration cache ({error})") from error
    if not re.fullmatch(r"TRT-\d+-EntropyCalibration2?", header):
        raise DataError(f"{path} is not a calibration cache: its first line is {header[:60]!r}")
    scales = {}
    for number, line in enumerate(lines, start=2):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{path}, line {number}: expected 'tensor name: 8 hexadecimal digits', found {line[:60]!r}")
        scales[match["name"]] = struct.unpack(">f", bytes.fromhex(match["bits"]))[0] * _LEVELS
    return scales
