"""Pictures held in memory, with bright rectangles to find, and small specs to train on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aerodet.data import ImageRecord, Pixels, encode_image
from aerodet.detectnet.spec import Experiment
from aerodet.detectnet.spec_builder import SpecOptions, build_spec


class PictureSet:
    """An image set without files."""

    def __init__(
        self, pictures: Sequence[Pixels], boxes: Sequence[Any], labels: Sequence[Any], *, classes: Sequence[str]
    ) -> None:
        self.classes = tuple(classes)
        self.pictures = list(pictures)
        self.records = [
            ImageRecord(
                n, f"{n}.png", p.shape[1], p.shape[0], str(n), np.array(b, np.float32).reshape(-1, 4), np.array(c, int)
            )
            for n, (p, b, c) in enumerate(zip(pictures, boxes, labels, strict=True))
        ]

    def image(self, index: int) -> Pixels:
        return self.pictures[index]

    def encoded(self, index: int) -> bytes:
        return encode_image(self.pictures[index])


def rectangles(count: int, *, seed: int = 0, size: int = 64, classes: Sequence[str] = ("aircraft",)) -> PictureSet:
    """Return pictures of dark noise with one bright rectangle each; classes have colours of their own."""
    rng = np.random.default_rng(seed)
    pictures, boxes, labels = [], [], []
    for n in range(count):
        picture = rng.integers(20, 60, (size, size, 3), dtype=np.uint8)
        label = n % len(classes)
        w, h = rng.integers(size // 4, size // 2, 2)
        x, y = rng.integers(0, size - w), rng.integers(0, size - h)
        colour = [220, 220, 220]
        colour[label] = 90
        picture[y : y + h, x : x + w] = colour
        pictures.append(picture)
        boxes.append([[x, y, x + w, y + h]])
        labels.append([label])
    return PictureSet(pictures, boxes, labels, classes=classes)


def small_spec(**options: Any) -> Experiment:
    """Return the spec of a tiny network without augmentation; keywords are those of SpecOptions."""
    defaults: dict[str, Any] = {
        "image_width": 64,
        "image_height": 64,
        "layers": 10,
        "width": 0.125,
        "bn_momentum": 0.8,
        "batch_size": 4,
        "epochs": 4,
        "min_learning_rate": 1e-4,
        "max_learning_rate": 5e-3,
        "hflip_probability": 0.0,
        "zoom_min": 1.0,
        "zoom_max": 1.0,
        "translate_max": 0.0,
        "hue_rotation_max": 0.0,
        "saturation_shift_max": 0.0,
        "contrast_scale_max": 0.0,
        "first_validation_epoch": 1,
        "validation_period": 1,
    }
    return build_spec(SpecOptions(**{**defaults, **options}))
