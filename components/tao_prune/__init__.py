"""Prune with TAO."""

from aerodet.components.tao_prune.component import tao_prune

__all__ = ["tao_prune"]
