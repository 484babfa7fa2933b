"""Show which labels a trained model doubts."""

from aerodet.components.review.component import review

__all__ = ["review"]
