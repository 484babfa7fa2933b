"""Train with TAO."""

from aerodet.components.tao_train.component import tao_train

__all__ = ["tao_train"]
