"""Judge whether an INT8 model may become the champion."""

from aerodet.components.gate.component import gate

__all__ = ["gate"]
