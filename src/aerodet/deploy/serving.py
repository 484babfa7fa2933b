"""What DeepStream, Triton and a program of one's own need beside the model.

::

    serving/decoder.json, decoder.py               pre- and post-processing: the numbers, and a decoder in NumPy
    serving/deepstream/config_infer.txt            for the nvinfer element, with labels.txt
    serving/triton/detectnet/config.pbtxt          a model repository, complete with the model
    serving/triton/detectnet/1/model.onnx or .plan

DeepStream's own parser for DetectNet_v2 decodes and clusters; it finds the outputs by ``bbox`` and ``cov`` in their
names, and takes scale 35 and offset 0.5 for granted, as TAO does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from aerodet.deploy._graph import BBOX, COVERAGE, INPUT
from aerodet.detectnet.model import STRIDE
from aerodet.detectnet.postprocess import ClusterOptions
from aerodet.detectnet.settings import Settings
from aerodet.files import write_json, write_text

__all__ = ["decoder_parameters", "deepstream_config", "triton_config", "write_serving"]

_NAME = "detectnet"
_SCALE = 1 / 255


def write_serving(folder: Path, settings: Settings, *, quantized: bool, batch: int, engine: str | None = None) -> None:
    """Write the files into a bundle that has its models, labels and calibration files already.

    Args:
        folder: the bundle.
        settings: of the spec that trained the model.
        quantized: it has INT8 graphs.
        batch: largest batch.
        engine: an engine in the bundle that TensorRT itself, and so Triton, can load; without one Triton gets the ONNX
            graph.
    """
    place = folder / "serving"
    (place / "deepstream").mkdir(parents=True)
    write_json(place / "decoder.json", decoder_parameters(settings))
    shutil.copyfile(os.fspath(files("aerodet.deploy") / "decoder.py"), place / "decoder.py")  # type: ignore[call-overload]
    graph = "model.int8.onnx" if quantized else "model.onnx"
    write_text(place / "deepstream" / "config_infer.txt", deepstream_config(settings, graph=graph, batch=batch))
    shutil.copyfile(folder / "labels.txt", place / "deepstream" / "labels.txt")
    repository = place / "triton" / _NAME
    (repository / "1").mkdir(parents=True)
    write_text(repository / "config.pbtxt", triton_config(settings, batch=batch, plan=engine is not None))
    shutil.copyfile(folder / (engine or graph), repository / "1" / ("model.plan" if engine else "model.onnx"))
    shutil.copyfile(folder / "labels.txt", repository / "labels.txt")


def decoder_parameters(settings: Settings) -> dict[str, Any]:
    """Return the numbers of pre- and post-processing, the content of ``decoder.json``."""
    height, width = settings.size
    return {
        "input": {
            "name": INPUT,
            "layout": "NCHW",
            "colour": "RGB",
            "scale": _SCALE,
            "height": height,
            "width": width,
            "fit": "stretch" if settings.auto_resize else "pad right and bottom with black",
        },
        "output": {
            "coverage": COVERAGE,
            "boxes": BBOX,
            "stride": STRIDE,
            "box_scale": settings.box_scale,
            "box_offset": settings.box_offset,
        },
        "classes": [_class(name, o) for name, o in zip(settings.classes, settings.clusters, strict=True)],
    }


def deepstream_config(settings: Settings, *, graph: str, batch: int) -> str:
    """Return ``config_infer.txt`` for DeepStream's ``nvinfer``, which builds its engine from the graph itself."""
    height, width = settings.size
    nms = all(option.algorithm == "nms" for option in settings.clusters)
    precision = "int8" if "int8" in graph else "fp16"
    lines = [
        "# nvinfer of DeepStream; paths are relative to this file. The engine is built at the first start.",
        "[property]",
        "gpu-id=0",
        f"net-scale-factor={_SCALE:.17g}",
        "model-color-format=0",  # RGB
        f"onnx-file=../../{graph}",
        f"model-engine-file=../../{graph}_b{batch}_gpu0_{precision}.engine",  # as nvinfer names what it builds
        "labelfile-path=labels.txt",
        f"infer-dims=3;{height};{width}",
        f"batch-size={batch}",
        f"network-mode={1 if precision == 'int8' else 2}",  # INT8 or FP16
        # nvinfer builds FP16, and fails at Q/DQ nodes, where no cache is named; TensorRT then takes the nodes' scales.
        *(["int8-calib-file=../../calibration.cache"] if precision == "int8" else []),
        f"num-detected-classes={len(settings.classes)}",
        "network-type=0",  # a detector
        "process-mode=1",  # on whole frames
        "interval=0",
        "gie-unique-id=1",
        f"output-blob-names={COVERAGE};{BBOX}",
        f"cluster-mode={2 if nms else 1}",  # NMS or DBSCAN
        f"maintain-aspect-ratio={0 if settings.auto_resize else 1}",
        "",
    ]
    for index, option in enumerate(settings.clusters):
        lines += [f"[class-attrs-{index}]", *_deepstream_class(option, nms=nms), ""]
    return "\n".join(lines)


def triton_config(settings: Settings, *, batch: int, plan: bool) -> str:
    """Return ``config.pbtxt`` for a Triton model repository.

    Args:
        settings: of the model.
        batch: largest batch.
        plan: the model is a TensorRT engine; otherwise the ONNX graph.
    """
    (height, width), classes = settings.size, len(settings.classes)
    grid = f"{height // STRIDE}, {width // STRIDE}"
    kind = 'platform: "tensorrt_plan"' if plan else 'backend: "onnxruntime"'
    return f"""name: "{_NAME}"
{kind}
max_batch_size: {batch}
input [
  {{ name: "{INPUT}" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, {height}, {width} ] }}
]
output [
  {{ name: "{BBOX}" data_type: TYPE_FP32 dims: [ {4 * classes}, {grid} ] }},
  {{ name: "{COVERAGE}" data_type: TYPE_FP32 dims: [ {classes}, {grid} ] }}
]
dynamic_batching {{ }}
"""


def _class(name: str, option: ClusterOptions) -> dict[str, Any]:
    return {
        "name": name,
        "coverage_threshold": option.coverage_threshold,
        "algorithm": option.algorithm,
        "minimum_height": option.minimum_height,
        "minimum_score": option.nms_confidence if option.algorithm == "nms" else option.dbscan_confidence,
        "dbscan_eps": option.dbscan_eps,
        "dbscan_min_samples": option.dbscan_min_samples,
        "nms_iou": option.nms_iou,
    }


def _deepstream_class(option: ClusterOptions, *, nms: bool) -> Iterator[str]:
    yield f"pre-cluster-threshold={option.coverage_threshold:g}"
    if nms:
        yield "# With NMS that is the least score of a box: raise it, to 0.4 say, for few false alarms."
        yield f"nms-iou-threshold={option.nms_iou:g}"
        yield "topk=-1"
    else:
        yield f"eps={option.dbscan_eps:g}"
        yield f"minBoxes={max(option.dbscan_min_samples, 1)}"
        yield f"dbscan-min-score={option.dbscan_confidence:g}"
        yield f"detected-min-h={int(option.minimum_height)}"
