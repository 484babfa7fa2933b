"""Tiny COCO folders, made where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_pictures import picture

from aerodet.data import encode_image

MakeCoco = Callable[..., Path]


@pytest.fixture
def coco(tmp_path: Path) -> MakeCoco:
    """Return a function that writes a COCO folder of three images with one box each; keywords replace parts of it."""

    def make(
        folder: str = "set", name: str = "instances_train_aircraft.json", *, place: str = "images", **parts: Any
    ) -> Path:
        root = tmp_path / folder
        (root / place).mkdir(parents=True, exist_ok=True)
        images = [{"id": n, "file_name": f"image_{n}.png", "width": 64, "height": 48} for n in (1, 2, 3)]
        annotations = [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 10], "iscrowd": 0} for n in (1, 2, 3)
        ]
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "aircraft"}],
            **parts,
        }
        for number, entry in enumerate(images):
            (root / place / str(entry["file_name"])).write_bytes(encode_image(picture(number)))
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(document))
        return root

    return make
