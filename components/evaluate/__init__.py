"""Evaluate a checkpoint or an exported graph."""

from aerodet.components.evaluate.component import evaluate

__all__ = ["evaluate"]
