"""Render overhead scenes of airports."""

from aerodet.components.synthesize.component import synthesize

__all__ = ["synthesize"]
