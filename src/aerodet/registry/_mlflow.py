"""What both MLflow back ends share: models, versions, tags and aliases through MLflow's own client."""

from __future__ import annotations

import logging
import os
import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from aerodet.errors import MachineError, RegistryError
from aerodet.registry._shared import CHAMPIONS, SharedRegistry, check_name, history, numbers, stage_of
from aerodet.registry.base import ARCHIVED, CHALLENGER, CHAMPION, Version

__all__ = ["MlflowBase", "mlflow_errors"]

_ENVIRONMENT = {  # unless the user has set it
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # instead of 120 s
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # instead of 7
}


class MlflowBase(SharedRegistry):
    """Base of the MLflow back ends.

    Args:
        uri: tracking and registry URI.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @cached_property
    def _client(self) -> Any:
        return self._connect()

    def _connect(self) -> Any:
        """Return an MLflow client that says nothing and calls nobody but its registry."""
        for variable, value in _ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        with warnings.catch_warnings():
            # MLflow 3.17's own use of SQLAlchemy 2.1; seen once, while its tables are being mapped.
            warnings.filterwarnings("ignore", message="The ``noload`` loader strategy is deprecated")
            from mlflow import MlflowClient

            for logger in ("mlflow", "alembic"):  # "Creating initial MLflow database tables...", each migration
                logging.getLogger(logger).setLevel(logging.WARNING)
            with mlflow_errors():
                client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
                client.search_registered_models(max_results=1)  # the registry's own tables are mapped on first use
                return client

    @abstractmethod
    def _location(self, tags: Mapping[str, str], source: str) -> str:
        """Return where the files of a version are."""

    def models(self) -> list[str]:
        """List the names of the registered models."""
        with mlflow_errors():
            return sorted(entry.name for entry in _pages(self._client.search_registered_models))

    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""
        try:
            check_name(name)
        except RegistryError:
            return []
        with mlflow_errors():
            found = _pages(lambda **page: self._client.search_model_versions(f"name = '{name}'", **page))
            ours = sorted((v for v in found if "digest" in v.tags), key=lambda v: int(v.version))
            if not ours:  # another program may keep its models in the same registry
                return []
            model = self._client.get_registered_model(name)
        champions = self._history(model)
        seen: set[str] = set()
        versions = []
        for entry in ours:
            if entry.tags["digest"] not in seen:  # a publisher that was killed may have left its double
                seen.add(entry.tags["digest"])
                versions.append(self._version(entry, model.aliases, champions))
        return versions

    def _version(self, entry: Any, aliases: Mapping[str, str], champions: Sequence[int]) -> Version:
        number, tags = int(entry.version), dict(entry.tags)
        return Version(
            name=entry.name,
            version=number,
            uri=f"models:/{entry.name}/{number}",
            created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
            location=self._location(tags, entry.source),
            digest=tags.pop("digest"),
            tags={key: value for key, value in tags.items() if key != "folder"},
            aliases=tuple(sorted(alias for alias, target in aliases.items() if int(target) == number)),
            stage=stage_of(number, champions, tags),
        )

    def _champions(self, name: str) -> list[int]:
        with mlflow_errors():
            return self._history(self._client.get_registered_model(name))

    @staticmethod
    def _history(model: Any) -> list[int]:
        current = model.aliases.get(CHAMPION)
        return history(numbers(model.tags.get(CHAMPIONS, "")), None if current is None else int(current))

    def _set_champions(self, name: str, champions: Sequence[int]) -> None:
        with mlflow_errors():
            # The alias is what counts: a list that runs ahead of it is cut back when it is read.
            _put(lambda: self._client.set_registered_model_tag(name, CHAMPIONS, " ".join(map(str, champions))))
            _put(lambda: self._client.set_registered_model_alias(name, CHAMPION, str(champions[-1])))

    def _set_archived(self, version: Version, *, archived: bool) -> None:
        with mlflow_errors():
            if archived:
                _put(lambda: self._client.set_model_version_tag(version.name, str(version.version), ARCHIVED, "true"))
            elif ARCHIVED in version.tags:
                self._client.delete_model_version_tag(version.name, str(version.version), ARCHIVED)

    def _register(self, name: str, source: str, tags: Mapping[str, str], run_id: str | None = None) -> int:
        """Create the model, unless it is there, and one version of it; returns the version's number."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            try:
                self._client.create_registered_model(name)
            except MlflowException as conflict:  # somebody else just did
                if conflict.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        made = self._client.create_model_version(
            name, source=source, tags=dict(tags), run_id=run_id, await_creation_for=0
        )
        return int(made.version)

    def _published(self, name: str, digest: str) -> Version | None:
        """Return the version with these engines and graphs, if there is one; the alias of the newest is put right."""
        versions = self.versions(name)
        if versions and CHALLENGER not in versions[-1].aliases:
            with mlflow_errors():
                _put(lambda: self._client.set_registered_model_alias(name, CHALLENGER, str(versions[-1].version)))
            versions = self.versions(name)
        return next((version for version in versions if version.digest == digest), None)


@contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn MLflow's and SQLAlchemy's errors into sentences.

    Raises:
        MachineError: the registry cannot be reached or written.
        RegistryError: it refuses.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except (MlflowException, DBAPIError) as error:
        reason = str(error).splitlines()[0]
        if re.search(r"disk is full|disk I/O|readonly|unable to open|locked", reason):
            raise MachineError(f"the registry's database cannot be written: {reason}") from error
        if re.search(r"API request to .* failed|error code 5\d\d|timed out|Max retries", reason):
            raise MachineError(
                f"the model registry does not answer ({reason[:300]}); once it does, do it again: "
                "nothing is published twice"
            ) from error
        raise RegistryError(f"the registry refused: {reason}") from error


def _put(write: Callable[[], object]) -> None:
    """Write an alias or a tag, once more if another client inserted the same row meanwhile: then it is an update."""
    from mlflow.exceptions import MlflowException

    try:
        write()
    except MlflowException as error:
        if not re.search(r"IntegrityError|UniqueViolation", str(error)):
            raise
        write()


def _pages(search: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found
