"""The embedded registry: MLflow's, on a SQLite file, with no server and no network.

::

    registry.db                   models, versions, tags and aliases, in MLflow's own schema
    registry.lock                 one publisher at a time
    models/<name>/<digest>/...    the files of each version
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aerodet.errors import MachineError, RegistryError
from aerodet.files import disk_errors
from aerodet.registry._bundle import Bundle
from aerodet.registry.base import CHALLENGER, Version

__all__ = ["MlflowRegistry"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SQLITE_HEADER = b"SQLite format 3\0"


class MlflowRegistry:
    """A :class:`aerodet.registry.Registry` in a folder of this machine.

    Args:
        database: the SQLite file; the folder around it is made on first use.
    """

    def __init__(self, database: Path) -> None:
        self._root = database.absolute().parent
        with disk_errors(database):
            self._root.mkdir(parents=True, exist_ok=True)
        if database.exists() and database.stat().st_size:
            with database.open("rb") as stream:
                if stream.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:  # MLflow would retry for minutes
                    raise RegistryError(f"{database} is not a registry: it is no SQLite file; name another place")
        with self._lock():
            self._client = _connect(f"sqlite:///{database.absolute()}")

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
        if not _NAME.fullmatch(name):
            raise RegistryError(f"{name!r} is not a model name; use letters, digits, '.', '_' and '-' (at most 100)")
        bundle = Bundle.collect(files)
        with self._lock(), _mlflow_errors():
            existing = next((v for v in self.versions(name) if v.digest == bundle.digest), None)
            if existing is not None:
                return existing
            place = Path("models") / name / bundle.digest[:16]
            tags = {"digest": bundle.digest, "folder": place.as_posix(), "run_id": run_id}
            tags |= {f"digest.{key}": value for key, value in digests.items()}
            tags |= {f"file.{path}": value for path, value in bundle.digests.items()}
            tags |= {f"metric.{key}": repr(float(value)) for key, value in metrics.items()}
            tags |= _flat(parameters, "param")
            return self._register(name, bundle, self._root / place, tags)

    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""
        if not _NAME.fullmatch(name):
            return []
        return self._search(f"name = '{name}'")

    def get(self, name: str, version: int | str | None = None) -> Version:
        """Return one version, by number or alias; the newest by default."""
        known = self.versions(name)
        if not known:
            raise RegistryError(f"the registry in {self._root} has no model named {name!r}")
        if version is None:
            return known[-1]
        for candidate in known:
            if candidate.version == version or version in candidate.aliases:
                return candidate
        numbers = ", ".join(str(v.version) for v in known)
        raise RegistryError(f"model {name!r} has no version {version!r}; it has {numbers}")

    def find_by_digest(self, digest: str) -> Version | None:
        """Return the newest version that is, contains or was made from the content with this SHA-256, if any."""
        matches = [v for v in self._search("") if digest == v.digest or digest in _digests(v)]
        return max(matches, key=lambda v: v.created, default=None)

    def _register(self, name: str, bundle: Bundle, folder: Path, tags: Mapping[str, str]) -> Version:
        """Copy first, register last; undo both on any failure, Ctrl-C included."""
        from mlflow.exceptions import MlflowException

        created = None
        bundle.copy_to(folder)
        try:
            try:
                self._client.get_registered_model(name)
            except MlflowException:
                self._client.create_registered_model(name)
            created = self._client.create_model_version(name, source=folder.as_uri(), tags=dict(tags))
            self._client.set_registered_model_alias(name, CHALLENGER, created.version)
            return self.get(name, int(created.version))
        except BaseException:
            if created is not None:
                self._client.delete_model_version(name, created.version)
            shutil.rmtree(folder)
            raise

    def _search(self, criterion: str) -> list[Version]:
        with _mlflow_errors():
            found, token = [], None
            while True:
                page = self._client.search_model_versions(criterion, page_token=token)
                found.extend(page)
                token = page.token
                if not token:
                    break
            aliases = {name: self._client.get_registered_model(name).aliases for name in {v.name for v in found}}
        ours = [v for v in found if "folder" in v.tags]  # another program may keep its models in the same database
        return sorted((self._version(v, aliases[v.name]) for v in ours), key=lambda v: v.version)

    def _version(self, entry: Any, aliases: Mapping[str, str]) -> Version:
        number, tags = int(entry.version), dict(entry.tags)
        return Version(
            name=entry.name,
            version=number,
            uri=f"models:/{entry.name}/{number}",
            created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
            folder=self._root / tags.pop("folder"),  # relative in the tags, so that a registry may be moved
            digest=tags.pop("digest"),
            tags=tags,
            aliases=tuple(sorted(alias for alias, target in aliases.items() if int(target) == number)),
        )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self._root / "registry.lock"
        with disk_errors(path), path.open("w", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _connect(uri: str) -> Any:
    """Return an MLflow client that says nothing and calls nobody."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    with warnings.catch_warnings():
        # MLflow 3.17's own use of SQLAlchemy 2.1; seen once, while its tables are being mapped.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
        from mlflow import MlflowClient

        for logger in ("mlflow", "alembic"):  # "Creating initial MLflow database tables...", each migration
            logging.getLogger(logger).setLevel(logging.WARNING)
        with _mlflow_errors():
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_registered_models(max_results=1)  # the registry's own tables are mapped on first use
            return client


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (MlflowException, DBAPIError) as error:
        reason = str(error).splitlines()[0]
        if re.search(r"disk is full|disk I/O|readonly|unable to open|locked", reason):
            raise MachineError(f"the registry's database cannot be written: {reason}") from error
        raise RegistryError(f"the registry refused: {reason}") from error


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Turn nested parameters into flat tags; None leaves no tag."""
    tags: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            tags |= _flat(value, f"{prefix}.{key}")
        elif value is not None:
            tags[f"{prefix}.{key}"] = value if isinstance(value, str) else json.dumps(value, default=str)
    return tags


def _digests(version: Version) -> set[str]:
    return {value for key, value in version.tags.items() if key.startswith(("digest.", "file."))}
