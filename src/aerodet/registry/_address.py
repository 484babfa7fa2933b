"""The address of a registry: which back end it means."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from aerodet.errors import RegistryError
from aerodet.registry.base import Registry

__all__ = ["open_registry"]

_KUBEFLOW = ("kubeflow+http", "kubeflow+https")


def open_registry(uri: str | os.PathLike[str]) -> Registry:
    """Open a registry; the embedded one is made on the first publication.

    Args:
        uri: a folder, which gets a ``registry.db``, or ``sqlite:///absolute/or/relative/registry.db``;
            ``https://host[:port]`` of an MLflow server; or
            ``kubeflow+https://host[:port]?files=s3://bucket/models[&ca=/path/ca.pem]`` of a Kubeflow Model Registry,
            whose files go to a bucket or a folder. Both servers by ``http`` too.

    Raises:
        RegistryError: the address is of no known kind, or the file is not a registry.
    """
    text = os.fspath(uri)
    if "://" not in text:
        return _embedded(Path(text) if text.endswith(".db") else Path(text) / "registry.db")
    parts = urlsplit(text)
    if parts.username or parts.password:
        raise RegistryError(
            f"the registry's address {parts.scheme}://…@{parts.hostname} holds a password, and addresses are recorded; "
            "give it in the environment instead"
        )
    if parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1:
        return _embedded(Path(text.removeprefix("sqlite:///")))
    if parts.scheme in ("http", "https") and parts.hostname:
        from aerodet.registry.mlflow_server import MlflowServerRegistry

        return MlflowServerRegistry(text)
    if parts.scheme in _KUBEFLOW and parts.hostname:
        from aerodet.registry.kubeflow import KubeflowRegistry

        return KubeflowRegistry.at(text)
    raise RegistryError(
        f"{text!r} is not a registry address; use a folder, sqlite:///PATH/registry.db, https://HOST of an MLflow "
        "server, or kubeflow+https://HOST?files=s3://BUCKET/PREFIX of a Kubeflow Model Registry"
    )


def _embedded(database: Path) -> Registry:
    from aerodet.registry.mlflow import MlflowRegistry

    return MlflowRegistry(database)
