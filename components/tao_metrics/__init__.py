"""Read the figures of TAO's own evaluation."""

from aerodet.components.tao_metrics.component import tao_metrics

__all__ = ["tao_metrics"]
