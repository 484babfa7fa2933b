"""Boxes out of a DetectNet_v2's two outputs, with NumPy and nothing else: copy this file into a program of your own.

::

    decoder = Decoder("decoder.json")
    cov, bbox = run(decoder.preprocess(image)[None])        # any runtime: ONNX Runtime, TensorRT, Triton
    for box in decoder.decode(cov, bbox, [image.shape[:2]])[0]:
        print(box["class"], box["score"], box["box"])       # x1, y1, x2, y2 in pixels of the image

    python decoder.py model.onnx image.npy                  # the whole of it, with ONNX Runtime

``decoder.json`` beside it, written with the model, says what the network wants and how its cells become boxes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decoder"]

_Floats = NDArray[np.float32]


class Decoder:
    """Turns images into the network's input, and its outputs into boxes.

    Args:
        parameters: ``decoder.json``, or its content.
    """

    def __init__(self, parameters: str | Path | dict[str, Any] = "decoder.json") -> None:
        given = parameters if isinstance(parameters, dict) else json.loads(Path(parameters).read_text(encoding="utf-8"))
        self.parameters: dict[str, Any] = given
        self.size: tuple[int, int] = (self.parameters["input"]["height"], self.parameters["input"]["width"])

    def preprocess(self, image: NDArray[np.uint8]) -> _Floats:
        """Return the network's input [3, H, W] of an RGB image [h, w, 3].

        A smaller image is padded with black, unless the network was trained on images that were stretched.

        Raises:
            ValueError: the image is larger than the network's input; cut it into tiles.
        """
        height, width = self.size
        if self._stretches and image.ndim == 3 and image.shape[2] == 3:
            stretched = _stretch(image, self.size) * np.float32(self.parameters["input"]["scale"])
            return np.ascontiguousarray(stretched.transpose(2, 0, 1))
        if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] > height or image.shape[1] > width:
            raise ValueError(f"the network takes RGB images of at most {height}x{width}, not {image.shape}; cut tiles")
        padded = np.zeros((height, width, 3), np.float32)
        padded[: image.shape[0], : image.shape[1]] = image
        return np.ascontiguousarray(padded.transpose(2, 0, 1) * np.float32(self.parameters["input"]["scale"]))

    @property
    def _stretches(self) -> bool:
        return bool(self.parameters["input"]["fit"] == "stretch")

    def decode(
        self, cov: NDArray[Any], bbox: NDArray[Any], sizes: Sequence[tuple[int, int]] = ()
    ) -> list[list[dict[str, Any]]]:
        """Turn coverage [N, C, h, w] and distances [N, 4C, h, w] into boxes, by falling score, a list an image.

        Args:
            cov: the network's coverage.
            bbox: its distances.
            sizes: heights and widths of the images, for a network that wants them stretched: its boxes are brought
                back to their pixels. Without them they are in pixels of the network's input.
        """
        images = []
        for index, (cells, distances) in enumerate(zip(cov, bbox, strict=True)):
            boxes = self._boxes(np.asarray(distances, np.float32))
            found = []
            for label, options in enumerate(self.parameters["classes"]):
                strong = cells[label] > options["coverage_threshold"]
                candidates = boxes[label][strong], np.asarray(cells[label][strong], np.float32)
                method = _nms if options["algorithm"] == "nms" else _dbscan
                found += [(options["name"], *result) for result in method(*candidates, options)]
            found.sort(key=lambda entry: -entry[1])
            if self._stretches and sizes:
                factor = np.array([sizes[index][1] / self.size[1], sizes[index][0] / self.size[0]] * 2)
                found = [(name, score, (factor * box).tolist()) for name, score, box in found]
            images.append([{"class": name, "score": score, "box": box} for name, score, box in found])
        return images

    def _boxes(self, distances: _Floats) -> _Floats:
        """Return the boxes [C, h, w, 4] that the cells stand for, clipped to the input."""
        p, (height, width) = self.parameters["output"], self.size
        left, top, right, bottom = distances.reshape(-1, 4, *distances.shape[1:]).transpose(1, 0, 2, 3) * p["box_scale"]
        x = np.arange(distances.shape[2], dtype=np.float32) * p["stride"] + p["box_offset"]
        y = (np.arange(distances.shape[1], dtype=np.float32) * p["stride"] + p["box_offset"])[:, None]
        x1, y1 = np.clip(x - left, 0, width), np.clip(y - top, 0, height)
        x2, y2 = np.maximum(np.minimum(x + right, width), x1), np.maximum(np.minimum(y + bottom, height), y1)
        return np.stack([x1, y1, x2, y2], axis=-1).astype(np.float32)


def _stretch(image: NDArray[np.uint8], size: tuple[int, int]) -> _Floats:
    """Return the image [h, w, 3] at another size, between its four nearest pixels."""
    result = image.astype(np.float32)
    for axis, wanted in enumerate(size):
        length = result.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
        low = at.astype(np.intp)
        shape = [-1 if a == axis else 1 for a in range(3)]
        part = (at - low).astype(np.float32).reshape(shape)
        high = np.minimum(low + 1, length - 1)
        result = result.take(low, axis) * (1 - part) + result.take(high, axis) * part
    return np.round(result).astype(np.float32)


def _dbscan(boxes: _Floats, cov: _Floats, options: dict[str, Any]) -> list[tuple[float, list[float]]]:
    """Gather cells whose boxes overlap; a box is their mean by coverage, its score their summed coverage."""
    near = 1 - _overlaps(boxes[:, None], boxes[None], pixel=0, epsilon=1e-5) <= np.float32(options["dbscan_eps"])
    core = near @ cov.astype(np.float64) >= max(options["dbscan_min_samples"], 1)
    labels = np.full(len(boxes), -1)
    count = 0
    for start in np.flatnonzero(core):
        if labels[start] >= 0:
            continue
        waiting = [start]
        while waiting:
            cell = waiting.pop()
            if labels[cell] < 0:
                labels[cell] = count
                waiting += list(np.flatnonzero(near[cell] & (labels < 0))) if core[cell] else []
        count += 1
    results = []
    for label in range(count):
        weight = cov[labels == label].astype(np.float64)
        box = (weight @ boxes[labels == label] / weight.sum()).astype(np.float32)
        score = float(np.float32(weight.sum()))
        if box[3] - box[1] > options["minimum_height"] and score >= options["minimum_score"]:
            results.append((score, box.tolist()))
    return results


def _nms(boxes: _Floats, cov: _Floats, options: dict[str, Any]) -> list[tuple[float, list[float]]]:
    """Take the strongest cell's box, drop what overlaps it, and so on."""
    rest = np.flatnonzero(cov > options["minimum_score"])
    rest = rest[np.argsort(-cov[rest], kind="stable")]
    results = []
    while rest.size:
        best, rest = rest[0], rest[1:]
        results.append((float(cov[best]), boxes[best].tolist()))
        rest = rest[_overlaps(boxes[best], boxes[rest], pixel=1, epsilon=0) <= options["nms_iou"]]
    return results


def _overlaps(a: _Floats, b: _Floats, *, pixel: int, epsilon: float) -> _Floats:
    """Return the IoU of boxes [..., 4] that are broadcast against each other."""
    sides = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + np.float32(pixel)).clip(0)
    both = sides.prod(axis=-1)
    area_a, area_b = ((box[..., 2:] - box[..., :2] + np.float32(pixel)).prod(axis=-1) for box in (a, b))
    result: _Floats = both / (area_a + area_b - both + np.float32(epsilon))
    return result


def _main(model: str, image: str) -> None:
    import onnxruntime

    decoder = Decoder(Path(__file__).with_name("decoder.json"))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = decoder.parameters["output"]
    pixels = np.load(image)
    feed = {decoder.parameters["input"]["name"]: decoder.preprocess(pixels)[None]}
    cov, bbox = session.run([names["coverage"], names["boxes"]], feed)
    print(json.dumps(decoder.decode(cov, bbox, [pixels.shape[:2]])[0], indent=2))


if __name__ == "__main__":
    _main(*sys.argv[1:3])
