"""Cut weak channels out of a checkpoint."""

from aerodet.components.prune.component import prune

__all__ = ["prune"]
