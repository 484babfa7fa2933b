"""Take a fraction of an image set."""

from aerodet.components.gather.component import gather

__all__ = ["gather"]
