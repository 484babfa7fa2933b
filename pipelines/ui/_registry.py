"""Published models as the page shows them."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerodet.errors import UserError
from aerodet.registry import Registry, Version, open_registry

__all__ = ["Registries"]

DATABASE, GATE = "registry.db", "gate.json"


class Registries:
    """The registries that lie in some folders; a folder without one is passed over, and none is ever made.

    Args:
        folders: where to look: a registry's own folder, or one that holds it as ``registry``.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [inner for folder in folders for inner in (folder, folder / "registry")]
        self._open: dict[Path, Registry] = {}
        self._lock = threading.Lock()

    def models(self) -> list[dict[str, Any]]:
        """Return every model with its versions, newest first."""
        found = []
        for folder in self._present():
            registry = self._registry(folder)
            for name in registry.models():
                versions = registry.versions(name)
                if versions:
                    rows = [_row(version) for version in reversed(versions)]
                    found.append({"name": name, "registry": str(folder), "versions": rows})
        return found

    def version(self, name: str, number: str) -> dict[str, Any]:
        """Return one version with all that was recorded of it.

        Raises:
            UserError: there is none.
        """
        for folder in self._present():
            registry = self._registry(folder)
            for version in registry.versions(name):
                if str(version.version) == number:
                    tags = [[key, value] for key, value in sorted(version.tags.items())]
                    gate = json.loads(registry.read(version, GATE)) if GATE in version.files else None
                    return {**_row(version), "tags": tags, "gate": gate}
        raise UserError(f"there is no version {number} of a model {name} here")

    def _present(self) -> list[Path]:
        return [folder for folder in self._folders if (folder / DATABASE).is_file()]

    def _registry(self, folder: Path) -> Registry:
        with self._lock:
            if folder not in self._open:
                self._open[folder] = open_registry(folder)
            return self._open[folder]


def _row(version: Version) -> dict[str, Any]:
    made_from = {k.removeprefix("digest."): v for k, v in version.tags.items() if k.startswith("digest.")}
    files = {k.removeprefix("file."): v for k, v in version.tags.items() if k.startswith("file.")}
    return {
        "name": version.name,
        "version": version.version,
        "uri": version.uri,
        "created": version.created.isoformat(),
        "digest": version.digest,
        "stage": version.stage,
        "aliases": list(version.aliases),
        "run": version.tags.get("run_id", ""),
        "metrics": version.metrics,
        "digests": made_from,
        "files": files,
    }
