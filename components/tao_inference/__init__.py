"""Detect with an engine, with TAO Deploy."""

from aerodet.components.tao_inference.component import tao_inference

__all__ = ["tao_inference"]
