"""Evaluate an engine with TAO Deploy."""

from aerodet.components.tao_engine_evaluate.component import tao_engine_evaluate

__all__ = ["tao_engine_evaluate"]
