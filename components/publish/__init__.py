"""Publish an INT8 export to the model registry."""

from aerodet.components.publish.component import publish

__all__ = ["publish"]
