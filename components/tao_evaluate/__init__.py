"""Evaluate with TAO."""

from aerodet.components.tao_evaluate.component import tao_evaluate

__all__ = ["tao_evaluate"]
