"""Train a DetectNet_v2."""

from aerodet.components.train.component import train

__all__ = ["train"]
