"""Add a point to those of a compression search."""

from aerodet.components.candidate.component import candidate

__all__ = ["candidate"]
