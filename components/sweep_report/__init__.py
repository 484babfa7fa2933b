"""Write the report of a sweep."""

from aerodet.components.sweep_report.component import sweep_report

__all__ = ["sweep_report"]
