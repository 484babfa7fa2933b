"""Export a checkpoint for its consumers."""

from aerodet.components.export.component import export

__all__ = ["export"]
