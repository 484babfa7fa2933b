"""Compare the points of a compression search."""

from aerodet.components.compare.component import compare

__all__ = ["compare"]
