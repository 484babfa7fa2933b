"""Runs TensorRT engines on this machine's GPU, PyTorch holding the memory.

Source of the calls: https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/python-api-docs.html
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerodet.deploy.engine import engine_summary, runtime_logger
from aerodet.deploy.onnx import detector_tensors
from aerodet.errors import DataError, MachineError

__all__ = ["EngineDetector", "can_run"]


def can_run(path: Path) -> bool:
    """Say whether this machine runs an engine: it has its library in its version, and a GPU it was built for."""
    summary = engine_summary(path)
    builder = summary["builder"]
    if not torch.cuda.is_available() or importlib.util.find_spec(builder) is None:
        return False
    library = importlib.import_module(builder)
    if _numbers(library.__version__) != _numbers(summary["version"]):
        return False
    here = "{}.{}".format(*torch.cuda.get_device_capability())
    known = summary.get("compute_capabilities") or (summary.get("metadata") or {}).get("compute_capabilities")
    return known is not None and here in known


def _numbers(version: str) -> list[int]:
    """Return the three parts of a version that an engine is bound to."""
    return [int(part) for part in version.split(".")[:3] if part.isdecimal()]


class EngineDetector:
    """An engine as a :class:`~aerodet.detectnet.inference.Predictor`.

    Args:
        path: an engine that :func:`can_run`.

    Raises:
        DataError: it is no engine of a detector.
        MachineError: this machine does not run it.
    """

    def __init__(self, path: Path) -> None:
        if not can_run(path):
            raise MachineError(f"{path} does not run here; build one with `aerodet engine rebuild` on this machine")
        trt = importlib.import_module(engine_summary(path)["builder"])
        self._device = torch.device("cuda")
        self._runtime = trt.Runtime(runtime_logger(trt))
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise MachineError(f"{path} could not be loaded by {trt.__name__} {trt.__version__}; build it again")
        tensors = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        inputs = [t for t in tensors if self._engine.get_tensor_mode(t) == trt.TensorIOMode.INPUT]
        self._names = detector_tensors(path, inputs, [t for t in tensors if t not in inputs])
        _, _, best = self._engine.get_tensor_profile_shape(self._names[0], 0)
        self.most, self.size = int(best[0]), (int(best[2]), int(best[3]))
        self._context = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def prepare(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Return pictures [N, H, W, 3] as the engine wants them: [N, 3, H, W] float32 in 0..1 on the GPU."""
        with torch.cuda.stream(self._stream):
            pixels = torch.from_numpy(images).to(self._device)
            return pixels.permute(0, 3, 1, 2).float().div_(255).contiguous()

    def run(self, images: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run what :meth:`prepare` gave, in batches no larger than the engine's largest."""
        parts = [self._run(part) for part in torch.split(images, self.most)]
        cov, bbox = (np.concatenate(maps) for maps in zip(*parts, strict=True))
        return cov, bbox

    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict."""
        if images.shape[1:] != (*self.size, 3):
            raise DataError(f"the engine takes RGB images of {self.size[0]}x{self.size[1]}, not {images.shape}")
        return self.run(self.prepare(images))

    def _run(self, images: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        name, bbox, cov = self._names
        with torch.cuda.stream(self._stream):
            self._context.set_input_shape(name, tuple(images.shape))
            outputs: dict[str, Any] = {
                tensor: torch.empty(tuple(self._context.get_tensor_shape(tensor)), device=self._device)
                for tensor in (bbox, cov)
            }
            for tensor, memory in ((name, images), *outputs.items()):
                self._context.set_tensor_address(tensor, memory.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise MachineError("TensorRT failed to run the engine; build it again on this machine")
            return outputs[cov].cpu().numpy(), outputs[bbox].cpu().numpy()  # waits for the stream
