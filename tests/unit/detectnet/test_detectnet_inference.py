from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from detectnet_pictures import PictureSet, small_spec

from aerodet.detectnet.inference import TorchPredictor, detect
from aerodet.detectnet.model import DetectNet
from aerodet.detectnet.settings import settings_of


class BrightCells:
    """A predictor that finds the one bright rectangle of a picture exactly, and remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, images: Any) -> tuple[Any, Any]:
        self.calls.append(images.shape)
        n, height, width, _ = images.shape
        cov, bbox = np.zeros((n, 1, height // 16, width // 16)), np.zeros((n, 4, height // 16, width // 16))
        for k, image in enumerate(images):
            rows, columns = np.nonzero(image[..., 0] > 128)
            x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            i, j = (y1 + y2) // 32, (x1 + x2) // 32
            x, y = 16 * j + 0.5, 16 * i + 0.5
            cov[k, 0, i, j] = 1.0
            bbox[k, :, i, j] = np.array([x - x1, y - y1, x2 - x, y2 - y]) / 35
        return cov.astype(np.float32), bbox.astype(np.float32)


def one_rectangle(height: int, width: int, box: tuple[int, int, int, int]) -> tuple[Any, Any]:
    image = np.zeros((height, width, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image, [box]


def picture_set(*entries: tuple[Any, Any]) -> PictureSet:
    return PictureSet([e[0] for e in entries], [e[1] for e in entries], [[0]] * len(entries), classes=("aircraft",))


def test_detections_are_in_pixels_of_the_picture_as_stored_when_pictures_are_stretched():
    source = picture_set(one_rectangle(32, 128, (40, 8, 80, 24)), one_rectangle(64, 64, (10, 12, 40, 44)))
    settings = settings_of(small_spec(auto_resize=True))

    found = detect(BrightCells(), source, settings, show=False)

    assert found[0].boxes.tolist() == [pytest.approx([40, 8, 80, 24], abs=1e-3)]
    assert found[1].boxes.tolist() == [pytest.approx([10, 12, 40, 44], abs=1e-3)]


def test_without_stretching_pictures_are_padded_and_pixels_stay_pixels():
    source = picture_set(one_rectangle(48, 32, (4, 8, 28, 40)))

    (found,) = detect(BrightCells(), source, settings_of(small_spec()), show=False)

    assert found.boxes.tolist() == [pytest.approx([4, 8, 28, 40], abs=1e-3)]


def test_pictures_are_taken_in_the_order_asked_and_in_batches():
    boxes = [(4, 4, 20 + 4 * n, 24) for n in range(5)]
    source = picture_set(*(one_rectangle(64, 64, box) for box in boxes))
    predictor = BrightCells()

    found = detect(predictor, source, settings_of(small_spec()), indices=[4, 0, 2], batch_size=2, show=False)

    assert [f.boxes[0, 2] for f in found] == pytest.approx([36, 20, 28], abs=1e-3)
    assert [shape[0] for shape in predictor.calls] == [2, 1]
    assert predictor.calls[0][1:] == (64, 64, 3)


def test_no_pictures_give_no_detections():
    source = picture_set(one_rectangle(64, 64, (4, 4, 30, 30)))

    assert detect(BrightCells(), source, settings_of(small_spec()), indices=[], show=False) == []


def test_a_torch_predictor_is_the_model_in_evaluation_on_scaled_pixels():
    torch.manual_seed(0)
    model = DetectNet(layers=10, width=0.125, num_classes=2)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    predictor = TorchPredictor(model)
    model.train()

    cov, bbox = predictor(images)

    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    assert (cov.dtype, bbox.shape) == (np.float32, (2, 8, 4, 6))
    np.testing.assert_allclose(cov, expected[0].numpy(), atol=1e-6)
    np.testing.assert_allclose(bbox, expected[1].numpy(), atol=1e-6)
