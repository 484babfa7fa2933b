"""Stages: what the components run, as plain functions of folders and parameters.

A stage can be called directly, ``stages.prune(model=..., pruned=..., keep=0.3)``, or by :func:`run` with KFP's
artifacts, which adds digests, provenance and one way to fail. Nothing here knows of KFP.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aerodet.stages._run import IMAGE_VARIABLE, Artifact, Outcome, Stage, execute, run, stage

if TYPE_CHECKING:
    from aerodet.stages._compress import candidate, compare
    from aerodet.stages._data import audit, gather, ingest, sample, synthesize
    from aerodet.stages._evaluate import benchmark, evaluate
    from aerodet.stages._export import export, publish
    from aerodet.stages._gate import gate
    from aerodet.stages._report import report
    from aerodet.stages._review import review
    from aerodet.stages._tao import tao_collect, tao_metrics, tao_records, tao_score
    from aerodet.stages._train import prune, train

__all__ = [
    "IMAGE_VARIABLE",
    "Artifact",
    "Outcome",
    "Stage",
    "audit",
    "benchmark",
    "candidate",
    "compare",
    "evaluate",
    "execute",
    "export",
    "gate",
    "gather",
    "ingest",
    "prune",
    "publish",
    "report",
    "review",
    "run",
    "sample",
    "stage",
    "synthesize",
    "tao_collect",
    "tao_metrics",
    "tao_records",
    "tao_score",
    "train",
]

# Loaded on first use: a stage that renders or samples needs no torch, which alone takes more than a second.
_HOMES = {
    "_compress": ("candidate", "compare"),
    "_data": ("audit", "gather", "ingest", "sample", "synthesize"),
    "_evaluate": ("benchmark", "evaluate"),
    "_export": ("export", "publish"),
    "_gate": ("gate",),
    "_report": ("report",),
    "_tao": ("tao_collect", "tao_metrics", "tao_records", "tao_score"),
    "_review": ("review",),
    "_train": ("prune", "train"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"aerodet.stages.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
