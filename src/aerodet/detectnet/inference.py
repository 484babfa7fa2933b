"""From pictures to detections, with any predictor: PyTorch here, ONNX Runtime in :mod:`aerodet.deploy`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerodet.detectnet.dataset import fit_image
from aerodet.detectnet.model import DetectNet, channels_last
from aerodet.detectnet.postprocess import cluster
from aerodet.detectnet.settings import Settings
from aerodet.metrics import Detections
from aerodet.progress import track

if TYPE_CHECKING:
    from aerodet.data import Images

__all__ = ["Predictor", "TorchPredictor", "detect"]


class Predictor(Protocol):
    """Maps uint8 pictures [N, H, W, 3] to coverage [N, C, h, w] and box distances [N, 4C, h, w], float32."""

    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict."""


class TorchPredictor:
    """A PyTorch model as a :class:`Predictor`.

    Args:
        model: put into evaluation mode at every call.
        device: where it runs.
        half: multiply in float16, by autocast.
    """

    def __init__(self, model: DetectNet, device: torch.device | str = "cpu", *, half: bool = False) -> None:
        self._model = channels_last(model.to(device))
        self._device, self._half = torch.device(device), half

    def __call__(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Predict."""
        return self.run(self.prepare(images))

    def prepare(self, images: NDArray[np.uint8]) -> Tensor:
        """Return pictures [N, H, W, 3] as the model wants them: [N, 3, H, W] float32 in 0..1, channels last."""
        with torch.inference_mode():
            return torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float().div_(255)

    def run(self, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run what :meth:`prepare` gave."""
        self._model.eval()
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=self._half):
            cov, bbox = self._model(images)
        return cov.cpu().numpy(), bbox.cpu().numpy()


def detect(
    predictor: Predictor,
    source: Images,
    settings: Settings,
    *,
    indices: Sequence[int] | None = None,
    batch_size: int = 16,
    show: bool = True,
) -> list[Detections]:
    """Detect on pictures of a set.

    Args:
        predictor: the model.
        source: the pictures.
        settings: image size and clustering.
        indices: which pictures; all by default.
        batch_size: pictures a call.
        show: show progress.

    Returns:
        One :class:`~aerodet.metrics.Detections` a picture, in pixels of the picture as stored.
    """
    wanted = list(range(len(source.records))) if indices is None else list(indices)
    starts: Sequence[int] = range(0, len(wanted), batch_size)
    found: list[Detections] = []
    for start in track(starts, "detecting") if show else starts:
        part = wanted[start : start + batch_size]
        found += _detect_batch(predictor, source, settings, part)
    return found


def _detect_batch(predictor: Predictor, source: Images, settings: Settings, indices: Sequence[int]) -> list[Detections]:
    resize = settings.auto_resize
    images = [fit_image(source.image(i), source.records[i].boxes, settings.size, resize=resize)[0] for i in indices]
    cov, bbox = predictor(np.stack(images))
    results = cluster(cov, bbox, settings.clusters, scale=settings.box_scale, offset=settings.box_offset)
    if not resize:
        return results
    for index, result in zip(indices, results, strict=True):
        record = source.records[index]
        factor = [record.width / settings.size[1], record.height / settings.size[0]] * 2
        result.boxes[:] = result.boxes * np.array(factor, np.float32)
    return results
