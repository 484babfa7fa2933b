"""Registry: where finished models are published, one version each, whole or not at all.

The embedded default needs no server: MLflow's registry on a SQLite file, the files in a folder beside it.
Read it from outside with ``mlflow ui --backend-store-uri sqlite:///.../registry.db`` or any MLflow client.
An MLflow server and a Kubeflow Model Registry are opened by their address in the same way.
"""

from aerodet.registry._address import open_registry
from aerodet.registry.base import ARCHIVED, CHALLENGER, CHAMPION, Registry, Version

__all__ = ["ARCHIVED", "CHALLENGER", "CHAMPION", "Registry", "Version", "open_registry"]
