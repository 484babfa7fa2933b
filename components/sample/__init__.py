"""Take a fraction of an image set."""

from aerodet.components.sample.component import sample

__all__ = ["sample"]
