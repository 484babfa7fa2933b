"""TensorRT engines, built on this machine's GPU or, with TensorRT for RTX, on a machine without one.

An engine runs only on the kind of GPU and with the TensorRT version it was built for. So ``engine.json`` beside it says
which these are and how to build it again from the ONNX file, which is the portable form.
"""

from __future__ import annotations

import importlib
import shlex
import struct
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx

from aerodet.deploy._graph import INPUT
from aerodet.errors import DataError, MachineError, SpecError
from aerodet.files import atomic_path, file_digest, read_json, write_json

__all__ = [
    "METADATA",
    "EngineInfo",
    "available_builder",
    "build_engine",
    "engine_summary",
    "note_engine",
    "rebuild_engine",
    "runtime_logger",
]

METADATA = "engine.json"
_RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")  # in the order of the bits in its plan header
_INSTALL = "pip install 'aerodet[tensorrt]' on a machine with a GPU, or 'aerodet[tensorrt-rtx]' on one without"


@dataclass(frozen=True)
class EngineInfo:
    """What there is to know about a built engine.

    Args:
        file: its name.
        builder: ``tensorrt`` or ``tensorrt_rtx``; only the same library, in ``version``, is sure to read it.
        version: of the builder.
        compute_capabilities: of the GPUs it is for, such as ``8.9``.
        precision: ``int8`` (from Q/DQ) or ``float32``.
        batch: smallest, best and largest batch.
        size: (height, width) in pixels.
        bytes: of the file.
        onnx: name and ``onnx_sha256`` digest of the graph it was built from.
        rebuild: command lines that build one anew: with aerodet, and with TensorRT's own ``trtexec`` on the machine
            that shall run it.
        gpu: name of the GPU that it was built on and for; "" where it was built without one.
    """

    file: str
    builder: str
    version: str
    compute_capabilities: tuple[str, ...]
    precision: str
    batch: tuple[int, int, int]
    size: tuple[int, int]
    bytes: int
    onnx: str
    onnx_sha256: str
    rebuild: dict[str, str]
    gpu: str = ""


def available_builder(compute_capability: str | None = None) -> tuple[str, str | None]:
    """Choose the builder: TensorRT for this machine's own GPU, else TensorRT for RTX.

    Args:
        compute_capability: of the GPU that shall run the engine. None is this machine's where TensorRT is installed
            beside it; otherwise TensorRT for RTX builds one engine for 8.0 and all later RTX GPUs.

    Returns:
        The module's name, ``tensorrt`` or ``tensorrt_rtx``, and the compute capability; None is all of them.

    Raises:
        MachineError: no library is installed that can build for it.
        SpecError: TensorRT for RTX does not build for that compute capability.
    """
    local = _local_capability()
    if local is not None and compute_capability in (None, local) and _module("tensorrt") is not None:
        return "tensorrt", local
    if _module("tensorrt_rtx") is None:
        raise MachineError(
            "no TensorRT that could build this engine is installed; run pip install 'aerodet[tensorrt]' on a machine "
            "with the GPU that shall run it, or 'aerodet[tensorrt-rtx]' on any other"
        )
    if compute_capability not in (None, *_RTX_CAPABILITIES):
        choices = ", ".join(_RTX_CAPABILITIES)
        raise SpecError(f"TensorRT for RTX has no compute capability {compute_capability}; choose one of {choices}")
    return "tensorrt_rtx", compute_capability


def build_engine(
    onnx_path: Path,
    out_path: Path,
    *,
    compute_capability: str | None = None,
    batch: tuple[int, int, int] = (1, 8, 16),
) -> EngineInfo:
    """Build an engine and note it in ``engine.json`` beside it. Two builds of one graph differ in some bytes.

    Args:
        onnx_path: a float graph, or the INT8 graph with target ``tensorrt``.
        out_path: the ``.engine`` file.
        compute_capability: see :func:`available_builder`.
        batch: smallest, best and largest batch.

    Raises:
        DataError: the ONNX file is missing or not one that TensorRT reads.
        SpecError: the batch sizes or the compute capability are out of their limits.
        MachineError: TensorRT is not installed, or fails.
    """
    if not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise SpecError(f"batch sizes must be 1 <= smallest <= best <= largest, not {batch}")
    precision, size = _inspect(onnx_path)
    builder, capability = available_builder(compute_capability)
    trt = importlib.import_module(builder)
    plan = _build(trt, onnx_path, capability, [(n, 3, *size) for n in batch], int8=precision == "int8")
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(plan)
    flags = ["--int8"] if precision == "int8" and hasattr(trt.BuilderFlag, "INT8") else []
    info = EngineInfo(
        file=out_path.name,
        builder=builder,
        version=trt.__version__,
        compute_capabilities=(capability,) if capability else tuple(_header(plan)["compute_capabilities"]),
        precision=precision,
        batch=batch,
        size=size,
        bytes=len(plan),
        onnx=onnx_path.name,
        onnx_sha256=file_digest(onnx_path),
        rebuild=_rebuild(onnx_path.name, out_path.name, compute_capability, batch, size, flags),
        gpu=_local_gpu("name") or "" if builder == "tensorrt" else "",
    )
    note_engine(out_path, info)
    return info


def rebuild_engine(bundle: Path, out_path: Path, *, compute_capability: str | None = None) -> EngineInfo:
    """Build an engine anew from a bundle: for the GPU and the TensorRT of this machine, or for another GPU.

    Args:
        bundle: the export; its INT8 graph is taken where there is one, and the batches of its own engine.
        out_path: the ``.engine`` file, outside of the bundle, whose list of files it is not in.
        compute_capability: see :func:`available_builder`.

    Raises:
        DataError: there is no bundle.
        SpecError: see :func:`build_engine`.
        MachineError: see :func:`build_engine`.
    """
    try:
        content = read_json(bundle / "files.json")
    except (OSError, ValueError) as error:
        raise DataError(f"{bundle} is not an export: it has no readable files.json; name the folder of one") from error
    graph = bundle / ("model.int8.onnx" if content["quantized"] else "model.onnx")
    smallest, best, largest = content["engines"][0]["batch"] if content["engines"] else (1, 8, 16)
    return build_engine(graph, out_path, compute_capability=compute_capability, batch=(smallest, best, largest))


def runtime_logger(trt: ModuleType) -> Any:
    """Return the logger that a runtime of TensorRT wants."""
    return _logger(trt)[0]


def note_engine(path: Path, info: EngineInfo) -> None:
    """Note an engine in the ``engine.json`` beside it."""
    metadata = path.with_name(METADATA)
    others = read_json(metadata) if metadata.is_file() else {}
    write_json(metadata, {**others, path.name: asdict(info)})


def engine_summary(path: Path) -> dict[str, Any]:
    """Describe an engine as far as that is possible without a GPU: from its header and from ``engine.json``.

    Returns:
        ``file``, ``bytes``, ``sha256``, ``builder``, ``version``; for TensorRT for RTX also ``compute_capabilities``;
        and the entry of ``engine.json``, if there is one, as ``metadata``.

    Raises:
        DataError: there is no such file, or it is not an engine.
    """
    if not path.is_file():
        raise DataError(f"there is no engine {path}")
    with path.open("rb") as stream:
        header = _header(stream.read(48))
    if not header:
        raise DataError(f"{path} is not a TensorRT engine; its first bytes are not those of one")
    summary = {"file": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path), **header}
    metadata = path.with_name(METADATA)
    if metadata.is_file():
        summary["metadata"] = read_json(metadata).get(path.name)
    return summary


def _header(plan: bytes) -> dict[str, Any]:
    """Read a plan's header; what is no plan gives an empty dictionary.

    Bytes 24 to 27 are the version (https://github.com/NVIDIA/TensorRT/issues/3073). TensorRT for RTX 1.7 continues with
    a second tag and a bit for each compute capability (found by building for each in turn).
    """
    if len(plan) < 48 or plan[:4] not in (b"ftrt", b"ptrt", b"vtrt"):
        return {}
    version = ".".join(str(number) for number in plan[24:28])
    if plan[:4] != b"vtrt":
        return {"builder": "tensorrt", "version": version}
    (mask,) = struct.unpack("<Q", plan[32:40])
    capabilities = [c for bit, c in enumerate(_RTX_CAPABILITIES) if mask >> bit & 1]
    return {
        "builder": "tensorrt_rtx",
        "version": version,
        "compute_capabilities": capabilities if plan[28:32] == b"vtrt" else [],
    }


def _build(
    trt: ModuleType, onnx_path: Path, capability: str | None, shapes: list[tuple[int, ...]], *, int8: bool
) -> bytes:
    logger, messages = _logger(trt)
    messages.clear()
    builder = trt.Builder(logger)
    network = builder.create_network(0)  # batch dimensions are explicit by default from TensorRT 10 on
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_path.read_bytes()):
        reasons = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise DataError(f"TensorRT does not read {onnx_path}: {reasons}")
    config = builder.create_builder_config()
    if int8 and hasattr(trt.BuilderFlag, "INT8"):  # up to 10; from 11 on, Q/DQ nodes alone decide
        config.set_flag(trt.BuilderFlag.INT8)
    if trt.__name__ == "tensorrt_rtx" and capability is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}"), 0)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *shapes)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise MachineError(f"TensorRT could not build an engine from {onnx_path}: {'; '.join(messages[-3:])}")
    return bytes(plan)


@cache
def _logger(trt: ModuleType) -> tuple[Any, list[str]]:
    """Make the one logger that TensorRT accepts in a process, and the list where its errors arrive."""
    messages: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                messages.append(message)

    return Logger(), messages


def _inspect(path: Path) -> tuple[str, tuple[int, int]]:
    """Return (precision, (height, width)) of one of our ONNX files."""
    if not path.is_file():
        raise DataError(f"there is no ONNX file {path}")
    try:
        proto = onnx.load(str(path))
        _, _, height, width = proto.graph.input[0].type.tensor_type.shape.dim
    except Exception as error:  # protobuf's decode errors share no public base
        raise DataError(f"{path} is not an ONNX model of a detector ({error})") from error
    target = {entry.key: entry.value for entry in proto.metadata_props}.get("target")
    if target == "onnxruntime":
        raise DataError(f"{path} is the graph for ONNX Runtime; build engines from the one for TensorRT")
    quantized = any(node.op_type == "QuantizeLinear" for node in proto.graph.node)
    return "int8" if quantized else "float32", (height.dim_value, width.dim_value)


def _rebuild(
    graph: str,
    engine: str,
    capability: str | None,
    batch: tuple[int, int, int],
    size: tuple[int, int],
    flags: list[str],
) -> dict[str, str]:
    ours = ["python", "-m", "aerodet.deploy", graph, engine, "--batch", ",".join(str(n) for n in batch)]
    shapes = [
        f"--{k}Shapes={INPUT}:{n}x3x{size[0]}x{size[1]}" for k, n in zip(("min", "opt", "max"), batch, strict=True)
    ]
    theirs = ["trtexec", f"--onnx={graph}", f"--saveEngine={engine}", *shapes, *flags]
    named = ["--compute-capability", capability] if capability else []
    return {"aerodet": shlex.join(ours + named), "trtexec": shlex.join(theirs)}


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _local_capability() -> str | None:
    """Return the compute capability of this machine's first GPU."""
    return _local_gpu("compute_cap")


@cache
def _local_gpu(field: str) -> str | None:
    """Return what the driver says of this machine's first GPU, or None where there is none."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader", "--id=0"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
