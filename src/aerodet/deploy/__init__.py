"""Deployment: ONNX graphs, calibration files, TensorRT engines, latency, and the bundle of them all."""

from aerodet.deploy.benchmark import compare_latency
from aerodet.deploy.bundle import write_bundle
from aerodet.deploy.calibration import (
    read_calibration_cache,
    read_calibration_json,
    tensor_scales,
    write_calibration_cache,
    write_calibration_json,
)
from aerodet.deploy.engine import EngineInfo, available_builder, build_engine, engine_summary, rebuild_engine
from aerodet.deploy.onnx import OnnxDetector, Target, export_float, export_int8, open_session

__all__ = [
    "EngineInfo",
    "OnnxDetector",
    "Target",
    "available_builder",
    "build_engine",
    "compare_latency",
    "engine_summary",
    "export_float",
    "export_int8",
    "open_session",
    "read_calibration_cache",
    "read_calibration_json",
    "rebuild_engine",
    "tensor_scales",
    "write_bundle",
    "write_calibration_cache",
    "write_calibration_json",
]
