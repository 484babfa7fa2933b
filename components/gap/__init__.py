"""Hold synthetic images against real ones."""

from aerodet.components.gap.component import gap

__all__ = ["gap"]
