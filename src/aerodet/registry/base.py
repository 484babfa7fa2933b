"""What every registry can do, and how one is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from aerodet.errors import RegistryError

__all__ = ["CHALLENGER", "Registry", "Version", "open_registry"]

CHALLENGER = "challenger"  # alias of the newest version; promotion moves another alias, never this meaning


@dataclass(frozen=True, slots=True)
class Version:
    """One published model version.

    Attributes:
        name: the registered model.
        version: its number, from 1.
        uri: the registry's address of it, such as ``models:/aircraft/3``.
        created: when it was published, UTC.
        folder: where its files are.
        digest: SHA-256 over the names and contents of its engines and ONNX graphs: what it is, however it was measured.
        tags: flat facts: ``digest.<artifact>``, ``file.<path>``, ``metric.<name>``, ``param.<name>``, ``run_id``.
        aliases: the names that point at it, such as ``challenger``.
    """

    name: str
    version: int
    uri: str
    created: datetime
    folder: Path
    digest: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()


class Registry(Protocol):
    """A place that models are published to."""

    def publish(
        self,
        name: str,
        files: Mapping[str, Path],
        *,
        digests: Mapping[str, str],
        metrics: Mapping[str, float],
        parameters: Mapping[str, Any],
        run_id: str,
    ) -> Version:
        """Publish a model version with everything in it; complete or absent.

        Publishing the same engines and graphs again returns the version that has them.

        Args:
            name: the registered model.
            files: files and folders to copy, by their names in the version.
            digests: SHA-256 of the artifacts it comes from, by name (data sets, checkpoints…).
            metrics: measured figures, AP50 in percent, latency in milliseconds.
            parameters: the run's parameters; nested mappings become dotted names.
            run_id: the run that made it.

        Raises:
            RegistryError: there is no engine or no ONNX graph among the files, or a name is not allowed.
            MachineError: the disk is full or read-only.
        """

    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""

    def get(self, name: str, version: int | str | None = None) -> Version:
        """Return one version, by number or alias; the newest by default.

        Raises:
            RegistryError: there is none.
        """

    def find_by_digest(self, digest: str) -> Version | None:
        """Return the newest version that is, contains or was made from the content with this SHA-256, if any."""


def open_registry(uri: str | os.PathLike[str]) -> Registry:
    """Open a registry, made on first use.

    Args:
        uri: ``sqlite:///absolute/or/relative/registry.db``, or a folder, which gets a ``registry.db``.

    Raises:
        RegistryError: the address is of no known kind, or the file is not a registry.
    """
    text = os.fspath(uri)
    scheme, separator, rest = text.partition(":///")
    if not separator and "://" not in text:
        database = Path(text) if text.endswith(".db") else Path(text) / "registry.db"
    elif separator and scheme == "sqlite" and rest:
        database = Path(rest)
    else:
        raise RegistryError(f"{text!r} is not a registry address; use sqlite:///PATH/registry.db or a folder")
    from aerodet.registry.mlflow import MlflowRegistry

    return MlflowRegistry(database)
