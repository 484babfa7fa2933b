"""A registry on an MLflow server, the files in the server's artifact store.

The client takes its credentials and its CA as MLflow has them: ``MLFLOW_TRACKING_TOKEN``, or
``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``; ``MLFLOW_TRACKING_SERVER_CERT_PATH``.

A server knows no lock and gives each version a new number, so a publication ends with a look around: of the versions
with the same engines and graphs the lowest number stays and the others go, whoever made them. A publisher killed
before that look leaves a double that nobody is shown and that the next publication removes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from aerodet.errors import RegistryError
from aerodet.registry._bundle import Bundle
from aerodet.registry._mlflow import MlflowBase, mlflow_errors
from aerodet.registry._shared import check_name, facts
from aerodet.registry.base import Version

__all__ = ["MlflowServerRegistry"]

_FOLDER = "model"  # of the files, among a run's artifacts


class MlflowServerRegistry(MlflowBase):
    """A :class:`aerodet.registry.Registry` on an MLflow server.

    Args:
        address: ``http://host:port`` or ``https://...``.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        super().__init__(self.address)

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
        with mlflow_errors():
            if self._published(name, bundle.digest) is None:
                tags = facts(bundle, digests, metrics, parameters, run_id)
                mlflow_run, source = self._upload(name, bundle, run_id)
                self._register(name, source, tags, mlflow_run)
            self._remove_doubles(name, bundle.digest)
            found = self._published(name, bundle.digest)
        if found is None:
            raise RegistryError(f"somebody deleted the version of {name!r} that was just published; publish it again")
        return found

    def _upload(self, name: str, bundle: Bundle, run_id: str) -> tuple[str, str]:
        """Upload the files as artifacts of an MLflow run of its own; returns the run and where the files are."""
        client = self._client
        with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch:
            folder = Path(scratch) / _FOLDER
            bundle.copy_to(folder)  # a file that changes while it is sent would be another one
            run = client.create_run(self._experiment(name), run_name=run_id, tags={"aerodet.digest": bundle.digest})
            try:
                client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
            except BaseException:
                client.set_terminated(run.info.run_id, "FAILED")
                raise
            client.set_terminated(run.info.run_id)
        return run.info.run_id, f"{run.info.artifact_uri}/{_FOLDER}"

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        title = f"aerodet/{name}"
        found = self._client.get_experiment_by_name(title)
        if found is None:
            try:
                return str(self._client.create_experiment(title))
            except MlflowException as conflict:  # somebody else just did
                if conflict.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(title)
        return str(found.experiment_id)

    def _remove_doubles(self, name: str, digest: str) -> None:
        from mlflow.exceptions import MlflowException

        found = self._client.search_model_versions(f"name = '{name}' and tags.digest = '{digest}'")
        same = sorted(found, key=lambda entry: int(entry.version))
        for double in same[1:]:
            with suppress(MlflowException):  # the other publisher was faster
                self._client.delete_model_version(name, double.version)
                if double.run_id != same[0].run_id:  # they share it when a request was answered late and sent again
                    self._client.delete_run(double.run_id)

    def _location(self, tags: Mapping[str, str], source: str) -> str:
        del tags
        return source

    def _read(self, version: Version, path: str) -> bytes:
        from mlflow.artifacts import download_artifacts

        with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch, mlflow_errors():
            place = download_artifacts(
                artifact_uri=f"{version.location}/{path}", dst_path=scratch, tracking_uri=self._uri
            )
            return Path(place).read_bytes()
