"""Everything that a consumer of the model may need, in one folder, each file with its purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aerodet.deploy.calibration import tensor_scales, write_calibration_cache, write_calibration_json
from aerodet.deploy.engine import METADATA, EngineInfo, available_builder, build_engine
from aerodet.deploy.onnx import export_float, export_int8
from aerodet.deploy.serving import write_serving
from aerodet.deploy.tao_engine import TAO_PURPOSES, add_tao_engine
from aerodet.detectnet.model import DetectNet, count_parameters
from aerodet.detectnet.quantize import is_quantized
from aerodet.detectnet.settings import settings_of
from aerodet.detectnet.spec import parse_spec
from aerodet.errors import SpecError
from aerodet.files import atomic_path, file_digest, read_json, write_json, write_text

__all__ = ["FILES", "write_bundle"]

FILES = "files.json"
_PURPOSES = {
    "model.onnx": "Float graph: any ONNX runtime; TensorRT up to 10 with calibration.cache, or in FP16.",
    "model.int8.onnx": "INT8 graph with explicit Q/DQ for TensorRT 8.6 to 11: build engines for other GPUs from it.",
    "model.int8.cpu.onnx": "INT8 graph with explicit Q/DQ for ONNX Runtime on a CPU; TensorRT does not take it.",
    "calibration.json": "Activation ranges of model.onnx for TAO Deploy (gen_trt_engine --cal_json_file).",
    "calibration.cache": "Activation ranges of model.onnx in TensorRT's cache format, for TensorRT up to 10.",
    "labels.txt": "Class names, one a line, in the order of the output channels.",
    "spec.txt": "The experiment spec that trained the model; its postprocessing belongs to the model.",
    METADATA: "For each engine: its builder, version, GPUs, batch sizes, and the command that builds it again.",
    **TAO_PURPOSES,
    "serving/decoder.json": "Pre- and post-processing of the model in numbers.",
    "serving/decoder.py": "Decoder in NumPy alone, with an example: copy it into a program of your own.",
    "serving/deepstream/config_infer.txt": "Configuration of DeepStream's nvinfer for the graph of this bundle.",
    "serving/deepstream/labels.txt": "The labels for it.",
    "serving/triton/detectnet/config.pbtxt": "Triton's configuration; serving/triton is a model repository.",
    "serving/triton/detectnet/labels.txt": "The labels for it.",
    "serving/triton/detectnet/1/model.onnx": "The graph that Triton serves: the same as above.",
    "serving/triton/detectnet/1/model.plan": "The engine that Triton serves: the same as model.tao.engine.",
}


def write_bundle(
    model: DetectNet,
    folder: Path,
    *,
    spec: str,
    classes: tuple[str, ...],
    size: tuple[int, int],
    engines: Sequence[str | None] = (None,),
    batch: tuple[int, int, int] = (1, 8, 16),
    tao: Path | None = None,
) -> dict[str, Any]:
    """Export a model into a folder, which appears whole or not at all.

    A model with fake quantisation gives the float graph, both INT8 graphs, calibration files and INT8 engines; a float
    model the float graph and float engines.

    Args:
        model: the network, in evaluation mode.
        folder: the folder to write; an older one is replaced.
        spec: the experiment spec, protobuf text.
        classes: class names in channel order.
        size: (height, width) in pixels.
        engines: compute capabilities to build engines for; None is the choice of
            :func:`~aerodet.deploy.engine.available_builder`; empty builds none.
        batch: smallest, best and largest batch of the engines.
        tao: what TAO exported and built from the same network, to be put beside it; see
            :func:`~aerodet.deploy.tao_engine.add_tao_engine`.

    Returns:
        The content of ``files.json``: ``classes``, ``size``, ``quantized``, ``parameters``, ``engines`` and ``files``,
        a list of ``name``, ``sha256``, ``bytes`` and ``purpose``.

    Raises:
        SpecError: the classes are not as many as the model's, or see :func:`~aerodet.deploy.onnx.export_int8`.
        DataError: what TAO left is not whole, or its graph is of another network.
        MachineError: an engine is wanted and TensorRT is not installed or fails.
    """
    settings = settings_of(parse_spec(spec))
    if len(classes) != model.architecture.num_classes:
        raise SpecError(f"the model has {model.architecture.num_classes} classes, but {len(classes)} names were given")
    quantized = is_quantized(model)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_text(temporary / "labels.txt", "".join(f"{name}\n" for name in classes))
        write_text(temporary / "spec.txt", spec)
        export_float(model, temporary / "model.onnx", size=size, classes=classes)
        source = temporary / "model.onnx"
        if quantized:
            source = temporary / "model.int8.onnx"
            export_int8(model, source, size=size, target="tensorrt", classes=classes)
            export_int8(model, temporary / "model.int8.cpu.onnx", size=size, target="onnxruntime", classes=classes)
            write_calibration_json(temporary / "calibration.json", tensor_scales(model))
            write_calibration_cache(temporary / "calibration.cache", tensor_scales(model))
        built = [_engine(source, temporary, capability, batch) for capability in engines]
        if tao is not None:
            built.append(add_tao_engine(tao, temporary, size))
        write_serving(
            temporary,
            settings,
            quantized=quantized,
            batch=batch[2],
            engine=built[-1].file if tao is not None else None,
        )
        content = {
            "classes": list(classes),
            "size": list(size),
            "quantized": quantized,
            "parameters": count_parameters(model)["total"],
            "engines": [asdict(info) for info in built],
            "files": _listing(temporary, {**_PURPOSES, **{info.file: _engine_purpose(info) for info in built}}),
        }
        write_json(temporary / FILES, content)
    written: dict[str, Any] = read_json(folder / FILES)
    return written


def _engine(source: Path, folder: Path, capability: str | None, batch: tuple[int, int, int]) -> EngineInfo:
    _, chosen = available_builder(capability)
    label = f"sm{chosen.replace('.', '')}" if chosen else "rtx"
    return build_engine(source, folder / f"model.{label}.engine", compute_capability=capability, batch=batch)


def _engine_purpose(info: EngineInfo) -> str:
    library = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}[info.builder]
    capabilities = ", ".join(info.compute_capabilities)
    return f"{info.precision} engine for {library} {info.version} on GPUs of compute capability {capabilities}."


def _listing(folder: Path, purposes: dict[str, str]) -> list[dict[str, Any]]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [
        {
            "name": name,
            "sha256": file_digest(folder / name),
            "bytes": (folder / name).stat().st_size,
            "purpose": purposes[name],
        }
        for name in names
    ]
