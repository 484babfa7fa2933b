"""Write the report of a run."""

from aerodet.components.report.component import report

__all__ = ["report"]
