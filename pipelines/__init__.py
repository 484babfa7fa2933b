"""Pipelines: the graph of stages, its profiles, and the runners.

This package and the names below load quickly: KFP is imported only when something is compiled or run.
"""

from aerodet.pipelines.local import StageError, StoppedError, run_local
from aerodet.pipelines.record import RunRecord, StageRecord

__all__ = ["RunRecord", "StageError", "StageRecord", "StoppedError", "run_local"]
