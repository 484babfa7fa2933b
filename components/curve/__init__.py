"""Add a point to a data-efficiency curve."""

from aerodet.components.curve.component import curve

__all__ = ["curve"]
