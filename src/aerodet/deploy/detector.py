"""A detector from whatever is at hand: a run, one of its stages, an export, a graph or a checkpoint."""

from __future__ import annotations

from pathlib import Path

from aerodet.deploy.onnx import OnnxDetector
from aerodet.deploy.runner import EngineDetector, can_run
from aerodet.detectnet.checkpoint import load_model
from aerodet.detectnet.device import pick_device
from aerodet.detectnet.inference import Predictor, TorchPredictor
from aerodet.detectnet.settings import Settings, settings_of
from aerodet.detectnet.spec import read_spec
from aerodet.errors import DataError

__all__ = ["models_of", "open_detector"]

_FILES = ("model.int8.cpu.onnx", "model.onnx", "model.pt")  # the first that a folder has
_TEACHER = "artifacts/export-teacher/bundle"
_PLACES = (  # of a run, of a search, of a stage of either; what is meant for use comes last
    "artifacts/export-float/bundle",
    "artifacts/export-int8/bundle",
    _TEACHER,
    "artifacts/report/chosen",
    "bundle",
    "model",
    "pruned",
    "candidates/best",
    "chosen",
)


def models_of(path: Path) -> list[Path]:
    """Return where the models of a run, a search or a stage are, the one to use last; else the path itself."""
    if path.is_file() or any((path / name).is_file() for name in _FILES) or any(path.glob("*.engine")):
        return [path]
    return [path / name for name in _PLACES if (path / name).is_dir()] or [path]


def open_detector(path: Path | str) -> tuple[Predictor, Settings, str]:
    """Open a detector: of an export the fastest that this machine runs.

    That is an engine of it where the GPU and TensorRT are those it was built for, otherwise the INT8 graph by ONNX
    Runtime on the CPU, otherwise the float graph.

    Args:
        path: the folder of a run, a stage, an export or a checkpoint, or the file of an engine, an ONNX graph or a
            checkpoint; the spec lies beside it. Of a search the chosen network is taken.

    Returns:
        The predictor, its settings, and the file that it is.

    Raises:
        DataError: there is no detector.
    """
    file = _file_of(Path(path))
    graph = file.suffix in (".engine", ".onnx")
    model = None if graph else load_model(file)[0]
    spec = file.parent / "spec.txt"
    if not spec.is_file():
        raise DataError(f"{file} has no spec.txt beside it, which says how its outputs become boxes; put it there")
    settings = settings_of(read_spec(spec))
    if model is not None:
        return TorchPredictor(model, pick_device()), settings, str(file)
    return EngineDetector(file) if file.suffix == ".engine" else OnnxDetector(file), settings, str(file)


def _file_of(given: Path) -> Path:
    """Return the file of what is given that this machine runs best.

    Raises:
        DataError: there is none.
    """
    path = models_of(given)[-1]
    if path == given / _TEACHER:
        raise DataError(f"{given} is a search that has not ended; finish it, or give the export of one of its points")
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"{path} does not exist; give a run, an export, an ONNX graph or a checkpoint of aerodet")
    engines = [engine for engine in sorted(path.glob("*.engine")) if can_run(engine)]
    found = [*engines, *(path / name for name in _FILES if (path / name).is_file())]
    if found:
        return found[0]
    if (path / "chosen.json").is_file():
        raise DataError(f"{given} is a search that chose no network; give the export of one of its points")
    if (given / "run.json").is_file():
        raise DataError(f"{given} has no export; the run has not come so far, or was of another kind")
    raise DataError(f"{path} holds no detector; give a run, an export, an ONNX graph or a checkpoint")
