"""Read a COCO folder and cut it into tiles."""

from aerodet.components.ingest.component import ingest

__all__ = ["ingest"]
