"""The embedded registry: MLflow's, on a SQLite file, with no server and no network.

::

    registry.db                   models, versions, tags and aliases, in MLflow's own schema
    registry.lock                 one publisher at a time
    models/<name>/<digest>/...    the files of each version
"""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aerodet.errors import RegistryError
from aerodet.files import disk_errors
from aerodet.registry._bundle import Bundle
from aerodet.registry._mlflow import MlflowBase, mlflow_errors
from aerodet.registry._shared import check_name, facts
from aerodet.registry.base import CHALLENGER, Version

__all__ = ["MlflowRegistry"]

_SQLITE_HEADER = b"SQLite format 3\0"


class MlflowRegistry(MlflowBase):
    """A :class:`aerodet.registry.Registry` in a folder of this machine.

    Args:
        database: the SQLite file; it and the folder around it are made on the first publication.
    """

    def __init__(self, database: Path) -> None:
        self._database = database.absolute()
        self._root = self._database.parent
        self.address = str(self._root)
        if self._exists():
            with database.open("rb") as stream:
                if stream.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:  # MLflow would retry for minutes
                    raise RegistryError(f"{database} is not a registry: it is no SQLite file; name another place")
        super().__init__(f"sqlite:///{self._database}")
        self._guard, self._depth = threading.RLock(), 0

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
        """Publish a model version; see :meth:`aerodet.registry.Registry.publish`."""
        check_name(name)
        bundle = Bundle.collect(files)
        with self._exclusive(), mlflow_errors():
            existing = self._published(name, bundle.digest)
            if existing is not None:
                return existing
            place = Path("models") / name / bundle.digest[:16]
            for partial in (self._root / place.parent).glob(".*.partial"):  # of a publisher that was killed
                shutil.rmtree(partial)
            tags = facts(bundle, digests, metrics, parameters, run_id) | {"folder": place.as_posix()}
            return self._add(name, bundle, self._root / place, tags)

    def models(self) -> list[str]:
        """List the names of the registered models."""
        return super().models() if self._exists() else []

    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""
        return super().versions(name) if self._exists() else []

    def _connect(self) -> Any:
        with self._exclusive():  # two at once would both create the tables
            return super()._connect()

    def _add(self, name: str, bundle: Bundle, folder: Path, tags: Mapping[str, str]) -> Version:
        """Copy first, register last; undo both on any failure, Ctrl-C included."""
        created = None
        bundle.copy_to(folder)
        try:
            created = self._register(name, folder.as_uri(), tags)
            self._client.set_registered_model_alias(name, CHALLENGER, str(created))
            return self.get(name, created)
        except BaseException:
            if created is not None:
                self._client.delete_model_version(name, str(created))
            shutil.rmtree(folder)
            raise

    def _location(self, tags: Mapping[str, str], source: str) -> str:
        del source  # relative in the tags, so that a registry may be moved
        return str(self._root / tags["folder"]) if "folder" in tags else ""

    def _read(self, version: Version, path: str) -> bytes:
        return (version.folder / path).read_bytes()

    def _exists(self) -> bool:
        return self._database.exists() and self._database.stat().st_size > 0

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Keep every other publisher out, of this process and of others; one that holds it may ask again."""
        with self._guard:
            if self._depth:
                yield
                return
            path = self._root / "registry.lock"
            with disk_errors(path):
                self._root.mkdir(parents=True, exist_ok=True)
                with path.open("w", encoding="utf-8") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX)
                    self._depth += 1
                    try:
                        yield
                    finally:
                        self._depth -= 1
