"""Report: one self-contained HTML page of a run, and its ``results.json``.

A stage fills a :class:`ReportData` from the artifacts of a run and calls :func:`render_report`.
"""

from aerodet.report.data import (
    Arm,
    Benchmark,
    DatasetSummary,
    Evaluation,
    Example,
    FileEntry,
    Finding,
    Latency,
    OperatingPoint,
    ReportData,
    RunInfo,
    SizeSlice,
    StageResult,
    TrainingCurve,
)
from aerodet.report.examples import Match, draw_match, make_examples, match_detections, pick_examples, read_detections
from aerodet.report.gate import GateRule, GateSummary
from aerodet.report.page import headline, render_report
from aerodet.report.results import Measurement, results_json

__all__ = [
    "Arm",
    "Benchmark",
    "DatasetSummary",
    "Evaluation",
    "Example",
    "FileEntry",
    "Finding",
    "GateRule",
    "GateSummary",
    "Latency",
    "Match",
    "Measurement",
    "OperatingPoint",
    "ReportData",
    "RunInfo",
    "SizeSlice",
    "StageResult",
    "TrainingCurve",
    "draw_match",
    "headline",
    "make_examples",
    "match_detections",
    "pick_examples",
    "read_detections",
    "render_report",
    "results_json",
]
