"""From a batch of bytes and boxes to what the network is trained on: augmented images, and targets.

On a GPU both are recorded, see :mod:`aerodet.detectnet.record`; where steps are compiled, Inductor makes three passes
over the pixels out of the ten that are written here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aerodet.detectnet.augment import Augmenter, change_images, clip_boxes, move_boxes
from aerodet.detectnet.dataset import Batch, in_unit
from aerodet.detectnet.record import CudaRecorder, RecordedFunction
from aerodet.detectnet.settings import Settings
from aerodet.detectnet.targets import TargetMaker, Targets

__all__ = ["Preparation", "Prepared"]


class Prepared(NamedTuple):
    """What a step takes.

    Attributes:
        images: [N, 3, H, W] in 0..1, in the numbers and the memory order of the network.
        targets: see :class:`~aerodet.detectnet.targets.Targets`.
    """

    images: Tensor
    targets: Targets


class Preparation:
    """Prepares batches. What it is made of can be called, and timed, by itself.

    Args:
        settings: of the training.
        generator: a CPU generator, from which augmentation draws.
        dtype: of the images.
        device: of the batches.
        mode: how steps are run, see :func:`aerodet.detectnet.step.how_to_run`.

    Attributes:
        draw: what augmentation changes.
        images: changes the pixels, (bytes, space, color) to a tuple of one.
        targets: moves the boxes and draws the targets, (boxes, labels, matrix) to a tuple of three.
    """

    def __init__(
        self, settings: Settings, generator: torch.Generator, dtype: torch.dtype, device: torch.device, mode: str
    ) -> None:
        self._size, self._dtype, self._device = settings.size, dtype, device
        self.draw = Augmenter(settings.augmentation, generator).draw
        self._make_targets = TargetMaker(
            settings.size,
            settings.shapes,
            deadzone_radius=settings.deadzone_radius,
            scale=settings.box_scale,
            offset=settings.box_offset,
        )
        self.images: Callable[..., tuple[Tensor, ...]] = self._change_images
        self.targets: Callable[..., tuple[Tensor, ...]] = self._draw_targets
        if device.type == "cuda" and mode != "off":
            recorder = CudaRecorder(device)
            compiled = torch.compile(self.images, dynamic=False) if mode == "inductor" else self.images
            self.images, self.targets = (RecordedFunction(made, recorder) for made in (compiled, self.targets))

    def __call__(self, batch: Batch) -> Prepared:
        """Augment a batch and draw its targets."""
        n, _, height, width = batch.images.shape
        space, matrix, color = self.draw(n, height, width, self._device)
        (images,) = self.images(batch.images, space, color)
        return Prepared(images, Targets(*self.targets(batch.boxes, batch.labels, matrix)))

    def _change_images(self, images: Tensor, space: Tensor | None, color: Tensor | None) -> tuple[Tensor]:
        changed = change_images(in_unit(images), space, color)
        return (changed.to(self._dtype, memory_format=torch.channels_last),)

    def _draw_targets(self, boxes: Tensor, labels: Tensor, matrix: Tensor | None) -> Targets:
        return self._make_targets(*clip_boxes(move_boxes(boxes, matrix), labels, self._size))
