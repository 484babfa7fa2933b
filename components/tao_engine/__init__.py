"""Build an engine with TAO Deploy."""

from aerodet.components.tao_engine.component import tao_engine

__all__ = ["tao_engine"]
