"""The stages as Kubeflow Pipelines components: a signature, typed artifacts, and one call into the library.

One folder a stage; ``component.py`` is declaration only. What a stage does is the function of the same name in
``aerodet.stages``; those that run NVIDIA's TAO are a container and a script of ``_scripts/``.
"""

from aerodet.components.audit import audit
from aerodet.components.benchmark import benchmark
from aerodet.components.candidate import candidate
from aerodet.components.compare import compare
from aerodet.components.evaluate import evaluate
from aerodet.components.export import export
from aerodet.components.gate import gate
from aerodet.components.gather import gather
from aerodet.components.ingest import ingest
from aerodet.components.prune import prune
from aerodet.components.publish import publish
from aerodet.components.report import report
from aerodet.components.review import review
from aerodet.components.sample import sample
from aerodet.components.synthesize import synthesize
from aerodet.components.tao_collect import tao_collect
from aerodet.components.tao_engine import tao_engine
from aerodet.components.tao_engine_evaluate import tao_engine_evaluate
from aerodet.components.tao_evaluate import tao_evaluate
from aerodet.components.tao_export import tao_export
from aerodet.components.tao_inference import tao_inference
from aerodet.components.tao_metrics import tao_metrics
from aerodet.components.tao_prune import tao_prune
from aerodet.components.tao_records import tao_records
from aerodet.components.tao_score import tao_score
from aerodet.components.tao_train import tao_train
from aerodet.components.train import train

__all__ = [
    "audit",
    "benchmark",
    "candidate",
    "compare",
    "evaluate",
    "export",
    "gate",
    "gather",
    "ingest",
    "prune",
    "publish",
    "report",
    "review",
    "sample",
    "synthesize",
    "tao_collect",
    "tao_engine",
    "tao_engine_evaluate",
    "tao_evaluate",
    "tao_export",
    "tao_inference",
    "tao_metrics",
    "tao_prune",
    "tao_records",
    "tao_score",
    "tao_train",
    "train",
]
