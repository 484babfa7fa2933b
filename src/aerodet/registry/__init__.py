"""Registry: where finished models are published, one version each, whole or not at all.

The embedded default needs no server: MLflow's registry on a SQLite file, the files in a folder beside it.
Read it from outside with ``mlflow ui --backend-store-uri sqlite:///.../registry.db`` or any MLflow client.
"""

from aerodet.registry.base import CHALLENGER, Registry, Version, open_registry

__all__ = ["CHALLENGER", "Registry", "Version", "open_registry"]
