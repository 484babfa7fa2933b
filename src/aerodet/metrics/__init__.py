"""Average precision, the COCO way and the TAO way. All figures are fractions, 0 to 1."""

from __future__ import annotations

from aerodet.metrics.boxes import areas, iou, share_inside
from aerodet.metrics.coco import CocoResult, Curve, SizeSlice, coco_ap, coco_results
from aerodet.metrics.detections import IGNORED, Detections, Truth
from aerodet.metrics.suspects import Suspect, rank_suspects
from aerodet.metrics.tao import BoxLimits, TaoResult, tao_ap

__all__ = [
    "IGNORED",
    "BoxLimits",
    "CocoResult",
    "Curve",
    "Detections",
    "SizeSlice",
    "Suspect",
    "TaoResult",
    "Truth",
    "areas",
    "coco_ap",
    "coco_results",
    "iou",
    "rank_suspects",
    "share_inside",
    "tao_ap",
]
