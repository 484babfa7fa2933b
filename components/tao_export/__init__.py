"""Export with TAO."""

from aerodet.components.tao_export.component import tao_export

__all__ = ["tao_export"]
