"""Score what TAO Deploy's inference found."""

from aerodet.components.tao_score.component import tao_score

__all__ = ["tao_score"]
