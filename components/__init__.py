"""The stages as Kubeflow Pipelines components: a signature, typed artifacts, and one call into the library.

One folder a stage; ``component.py`` is declaration only. What a stage does is the function of the same name in
``aerodet.stages``.
"""

from aerodet.components.audit import audit
from aerodet.components.benchmark import benchmark
from aerodet.components.evaluate import evaluate
from aerodet.components.export import export
from aerodet.components.ingest import ingest
from aerodet.components.prune import prune
from aerodet.components.publish import publish
from aerodet.components.report import report
from aerodet.components.review import review
from aerodet.components.sample import sample
from aerodet.components.synthesize import synthesize
from aerodet.components.train import train

__all__ = [
    "audit",
    "benchmark",
    "evaluate",
    "export",
    "ingest",
    "prune",
    "publish",
    "report",
    "review",
    "sample",
    "synthesize",
    "train",
]
