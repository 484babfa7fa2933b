"""Turn a TAO checkpoint into one that the other stages know."""

from aerodet.components.tao_collect.component import tao_collect

__all__ = ["tao_collect"]
