"""Batches for training: pictures are decoded once and kept as bytes where they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerodet.detectnet.device import send
from aerodet.progress import track

if TYPE_CHECKING:
    from aerodet.data import ImageRecord, Images

__all__ = ["Batch", "Mix", "TrainingSet", "fit_image", "in_unit"]

_HOST_CACHE_BYTES = 2 << 30
_GPU_BOXES = 16  # there the boxes of a batch are padded to this, or twice it, …: each shape is recorded anew


class Batch(NamedTuple):
    """One batch on the training device.

    Attributes:
        images: [N, 3, H, W] uint8; see :func:`in_unit`.
        boxes: [N, M, 4] float32, x1, y1, x2, y2 in pixels, padded with zeros.
        labels: [N, M] int64, -1 for padding, -2 for regions to ignore.
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor


def in_unit(images: Tensor) -> Tensor:
    """Return bytes as float32 in 0..1."""
    return images.float().div_(255)


@dataclass(frozen=True)
class Mix:
    """A set of which each epoch takes a few pictures, drawn anew.

    Attributes:
        source: the set.
        count: pictures an epoch; each comes once before any comes twice.
    """

    source: Images
    count: int


def fit_image(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], size: tuple[int, int], *, resize: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Bring a picture to the network's size as TAO does.

    Args:
        image: [H, W, 3].
        boxes: [M, 4] in pixels.
        size: wanted (H, W).
        resize: stretch, boxes with it (``enable_auto_resize``); otherwise pad with black or crop, right and below.
    """
    height, width = image.shape[:2]
    if (height, width) == size:
        return image, boxes
    if resize:
        factor = np.array([size[1] / width, size[0] / height] * 2, dtype=np.float32)
        return np.asarray(
            cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.uint8
        ), boxes * factor
    fitted = np.zeros((*size, 3), np.uint8)
    fitted[: min(height, size[0]), : min(width, size[1])] = image[: size[0], : size[1]]
    return fitted, boxes


@dataclass(frozen=True)
class _Item:
    source: Images
    index: int


class TrainingSet:
    """The pictures of one or more image sets, ready to be drawn in batches.

    Args:
        items: (set, picture indices) pairs; an epoch has all of them.
        size: (H, W) in pixels; a picture of another size is fitted, see :func:`fit_image`.
        resize: see :func:`fit_image`.
        mix: pictures that each epoch has besides; they follow those of ``items`` in :meth:`batch`'s numbering.
        device: where batches go; the decoded pictures are kept there too while they fit in ``cache_bytes``.
        cache_bytes: room for decoded pictures; a larger set is decoded batch by batch. Default 2 GiB on a CPU, half of
            the free memory on a GPU.
    """

    def __init__(
        self,
        items: Sequence[tuple[Images, Sequence[int]]],
        size: tuple[int, int],
        device: torch.device,
        *,
        resize: bool = False,
        mix: Mix | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self._items = [_Item(source, index) for source, indices in items for index in indices]
        self._own, self._drawn = len(self._items), mix.count if mix else 0
        if mix:
            self._items += [_Item(mix.source, index) for index in range(len(mix.source.records))]
        self._size, self._resize, self._device = size, resize, device
        self.boxes, self.labels = self._annotations()
        limit = _cache_bytes(device) if cache_bytes is None else cache_bytes
        self._cache: Tensor | None = None
        count = len(self._items)
        if count * size[0] * size[1] * 3 <= limit:
            self._cache = torch.empty((count, 3, *size), dtype=torch.uint8, device=device)
            for at, image in enumerate(track(self._decode(range(count)), "reading images", count)):
                self._cache[at] = image.to(device)

    def __len__(self) -> int:
        """Return the number of pictures of an epoch."""
        return self._own + self._drawn

    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the pictures ``indices`` as a batch."""
        at = send(torch.as_tensor(indices), self._device)
        images = (
            self._cache.index_select(0, at)
            if self._cache is not None
            else send(torch.stack(list(self._decode(indices))), self._device)
        )
        most = max((self._counts[i] for i in indices), default=0)  # the rest is padding in all of them
        if self._device.type == "cuda":
            most = max(_GPU_BOXES, 1 << (most - 1).bit_length())
        return Batch(images, self.boxes[at, :most], self.labels[at, :most])

    def steps(self, batch_size: int, workers: int = 1) -> int:
        """Return the number of batches that each of the workers gets in an epoch, as TAO counts them."""
        return math.ceil(math.ceil(len(self) / batch_size) / workers)

    def epoch(
        self, batch_size: int, generator: torch.Generator, *, worker: int = 0, workers: int = 1
    ) -> Iterator[Batch]:
        """Yield full batches of a random order; the last ones wrap round.

        Args:
            batch_size: pictures in a batch.
            generator: source of the order; workers of one epoch need the same state of it.
            worker: which share of the pictures, 0 to ``workers - 1``.
            workers: shares; each gets :meth:`steps` batches.
        """
        n = len(self)
        order = torch.randperm(n, generator=generator)
        if self._drawn:
            order = torch.cat([torch.arange(self._own), self._own + self._draw(generator)])[order]
        steps = self.steps(batch_size, workers)
        order = order.repeat(math.ceil(steps * workers * batch_size / n))  # a small set is used more than once
        for step in range(steps):
            start = (step * workers + worker) * batch_size
            yield self.batch(order[start : start + batch_size].tolist())

    def _draw(self, generator: torch.Generator) -> Tensor:
        """Return the numbers [count] of the pictures that an epoch takes from the mix."""
        pool = len(self._items) - self._own
        rounds = [torch.randperm(pool, generator=generator) for _ in range(-(-self._drawn // pool))]
        return torch.cat(rounds)[: self._drawn]

    def _decode(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield uint8 [3, H, W] pictures, decoded on all cores (OpenCV lets go of the GIL)."""
        with ThreadPoolExecutor() as pool:
            for image in pool.map(self._one, indices):
                yield torch.from_numpy(image).permute(2, 0, 1)

    def _one(self, index: int) -> NDArray[np.uint8]:
        item = self._items[index]
        return fit_image(item.source.image(item.index), self._record(index).boxes, self._size, resize=self._resize)[0]

    def _record(self, index: int) -> ImageRecord:
        item = self._items[index]
        return item.source.records[item.index]

    def _annotations(self) -> tuple[Tensor, Tensor]:
        """Return the padded boxes [N, M, 4] and labels [N, M] of all pictures, on the device."""
        records = [self._record(index) for index in range(len(self._items))]
        self._counts = [len(record.boxes) + len(record.ignored) for record in records]
        most = max(self._counts, default=0)
        boxes = np.zeros((len(records), most, 4), np.float32)
        labels = np.full((len(records), most), -1, np.int64)
        for at, (record, count) in enumerate(zip(records, self._counts, strict=True)):
            boxes[at, :count], labels[at, :count] = record.truth
            if self._resize:
                factor = [self._size[1] / record.width, self._size[0] / record.height] * 2
                boxes[at, :count] *= np.array(factor, np.float32)
        return torch.from_numpy(boxes).to(self._device), torch.from_numpy(labels).to(self._device)


def _cache_bytes(device: torch.device) -> int:
    return _HOST_CACHE_BYTES if device.type == "cpu" else torch.cuda.mem_get_info(device)[0] // 2
