"""What TAO exported and TAO Deploy built, taken into a bundle with what there is to know about it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import onnx

from aerodet.deploy._graph import INPUT
from aerodet.deploy.engine import EngineInfo, engine_summary, note_engine
from aerodet.deploy.onnx import detector_tensors
from aerodet.errors import DataError
from aerodet.files import file_digest, read_json

__all__ = ["TAO_PURPOSES", "add_tao_engine"]

_ENGINE, _GRAPH, _SCALES, _CACHE = "model.tao.engine", "model.tao.onnx", "calibration.tao.json", "calibration.tao.cache"
_FILES = {
    "model.engine": _ENGINE,
    "model.onnx": _GRAPH,
    "calibration.json": _SCALES,
    "calibration.cache": _CACHE,
}
TAO_PURPOSES = {
    _GRAPH: "TAO's own float graph of the network: for TAO Deploy, and TensorRT up to 10 with calibration.tao.cache.",
    _SCALES: "Activation ranges of model.tao.onnx for TAO Deploy (gen_trt_engine --cal_json_file).",
    _CACHE: "Activation ranges of model.tao.onnx in TensorRT's cache format, for TensorRT up to 10.",
}


def add_tao_engine(tao: Path, folder: Path, size: tuple[int, int]) -> EngineInfo:
    """Copy what TAO left into a bundle and note the engine in its ``engine.json``.

    Args:
        tao: ``model.onnx``, ``calibration.json``, ``calibration.cache``, ``model.engine`` and ``build.json``, which
            says on what GPU and for what batches it was built.
        folder: the bundle.
        size: (height, width) of the input in pixels.

    Raises:
        DataError: a file is missing, the graph is of another network or input, or the engine is none of TensorRT.
    """
    missing = [name for name in (*_FILES, "build.json") if not (tao / name).is_file()]
    if missing:
        raise DataError(
            f"TAO's export {tao} has no {' and no '.join(missing)}; run TAO's export and engine stages again"
        )
    _check_graph(tao / "model.onnx", size)
    build = read_json(tao / "build.json")
    for source, target in _FILES.items():
        shutil.copyfile(tao / source, folder / target)
    summary = engine_summary(folder / _ENGINE)
    smallest, best, largest = (int(count) for count in build["batch"])
    info = EngineInfo(
        file=_ENGINE,
        builder=summary["builder"],
        version=summary["version"],
        compute_capabilities=(str(build["compute_capability"]),),
        precision="int8",
        batch=(smallest, best, largest),
        size=size,
        bytes=summary["bytes"],
        onnx=_GRAPH,
        onnx_sha256=file_digest(folder / _GRAPH),
        rebuild=_rebuild((smallest, best, largest), size),
        gpu=str(build["gpu"]),
    )
    note_engine(folder / _ENGINE, info)
    return info


def _check_graph(path: Path, size: tuple[int, int]) -> None:
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's decode errors share no public base
        raise DataError(f"{path} is not an ONNX model ({error}); export it again") from error
    inputs = {value.name: value.type.tensor_type.shape.dim for value in graph.input}
    weights = {tensor.name for tensor in graph.initializer}
    named = [name for name in inputs if name not in weights]
    name, _, _ = detector_tensors(path, named, [value.name for value in graph.output])
    found = tuple(side.dim_value for side in inputs[name])[2:]
    if found != size:
        raise DataError(f"{path} takes images of {found}, but the spec says {size}; export the model of this spec")


def _rebuild(batch: tuple[int, int, int], size: tuple[int, int]) -> dict[str, str]:
    from aerodet.tao.commands import Command

    command = Command(
        "deploy",
        "gen_trt_engine",
        {
            "-m": _GRAPH,
            "-e": "spec.txt",
            "-r": "results",
            "--data_type": "int8",
            "--cal_json_file": _SCALES,
            "--cal_cache_file": "results/calibration.cache",
            "--engine_file": _ENGINE,
            "--min_batch_size": batch[0],
            "--opt_batch_size": batch[1],
            "--max_batch_size": batch[2],
        },
    )
    shapes = [
        f"--{kind}Shapes={INPUT}:{count}x3x{size[0]}x{size[1]}"
        for kind, count in zip(("min", "opt", "max"), batch, strict=True)
    ]
    trtexec = ["trtexec", f"--onnx={_GRAPH}", f"--saveEngine={_ENGINE}", *shapes, "--int8", f"--calib={_CACHE}"]
    return {"tao": command.launcher(), "trtexec": shlex.join(trtexec)}
