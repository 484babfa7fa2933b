"""Look for what is wrong with the data."""

from aerodet.components.audit.component import audit

__all__ = ["audit"]
