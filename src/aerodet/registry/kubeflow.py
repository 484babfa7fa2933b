"""A registry on Kubeflow's Model Registry; it keeps facts, and the files go to a bucket or a folder.

::

    kubeflow+https://HOST[:PORT]?files=s3://BUCKET/PREFIX[&ca=/path/ca.pem]

    <files>/<model>/<digest>/<content>/...    the files of each version

The token is in ``AERODET_REGISTRY_TOKEN``, or the file that ``KF_PIPELINES_SA_TOKEN_PATH`` names, or the pod's own;
over plain HTTP only the first is sent. The bucket is found as :func:`aerodet.storage.open_store` finds it.

The server has no transactions, so the order of the steps makes a version complete or absent: the files first, in a
place named by their content; then the version, named by its digest, so that the server itself refuses a second one, and
archived; then its artifact; then it is brought to life. A version that is not alive yet is shown by nobody here, and
the next publication of the same engines and graphs goes on where the one before it stopped.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aerodet.errors import RegistryError, UserError
from aerodet.registry._bundle import Bundle
from aerodet.registry._kubeflow_api import Api, ConflictError, scalars, strings
from aerodet.registry._shared import CHAMPIONS, SharedRegistry, check_name, facts, numbers, stage_of
from aerodet.registry.base import ARCHIVED, CHALLENGER, CHAMPION, Version
from aerodet.storage import open_store

__all__ = ["TOKEN", "KubeflowRegistry"]

TOKEN = "AERODET_REGISTRY_TOKEN"
_TOKEN_FILES = (
    "/var/run/secrets/kubeflow/pipelines/token",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
)
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_COMPLETE, _LOCATION = "aerodet.complete", "aerodet.location"
_LIVE, _ASLEEP = "LIVE", "ARCHIVED"
_NUMBERS = ("metric.",)  # what is kept as a number; everything else is a text


class KubeflowRegistry(SharedRegistry):
    """A :class:`aerodet.registry.Registry` on a Kubeflow Model Registry.

    Args:
        api: the server.
        files: where the files go: ``s3://bucket/prefix`` or a folder.
    """

    def __init__(self, api: Api, files: str) -> None:
        self._api, self._files = api, files
        self.address = api.host

    @classmethod
    def at(cls, address: str) -> Self:
        """Open a registry by its address.

        Raises:
            RegistryError: the address does not say where the files go, or says something else that is not known.
        """
        parts = urlsplit(address)
        scheme = parts.scheme.removeprefix("kubeflow+")
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        unknown = ", ".join(sorted(options.keys() - {"files", "ca"}))
        if unknown or "files" not in options:
            fault = f"does not know {unknown}" if unknown else "does not say where the files go"
            raise RegistryError(
                f"{address!r} {fault}; write kubeflow+{scheme}://HOST?files=s3://BUCKET/PREFIX[&ca=FILE]"
            )
        if "://" not in options["files"] and not Path(options["files"]).is_absolute():
            raise RegistryError(
                f"files={options['files']} is a relative path; stages run elsewhere, so give a full one"
            )
        ca = options.get("ca")
        if ca and not Path(ca).is_file():
            raise RegistryError(f"the certificate authority's file {ca} of the registry does not exist")
        port = parts.port or {"http": 8080, "https": 443}[scheme]
        token = _token(secure=scheme == "https")
        return cls(Api(f"{scheme}://{parts.hostname}:{port}", token, ca), options["files"])

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
        model = self._model(name)
        entry = self._api.version(model.id, bundle.digest[:16])
        if entry is None:
            location = self._upload(name, bundle)
            known = facts(bundle, digests, metrics, parameters, run_id) | {_LOCATION: location, _COMPLETE: "false"}
            entry = self._create(model.id, bundle.digest[:16], known)
        if strings(entry.custom_properties).get(_COMPLETE) != "true":
            self._complete(entry)
        self._sweep(name, bundle.digest[:16], strings(entry.custom_properties)[_LOCATION])
        return next(version for version in self.versions(name) if version.digest == bundle.digest)

    def models(self) -> list[str]:
        """List the names of the registered models."""
        return sorted(model.name for model in self._api.models())

    def versions(self, name: str) -> list[Version]:
        """List a model's versions, oldest first; empty for an unknown name."""
        try:
            model = self._api.model(check_name(name))
        except RegistryError:
            if self._is_name(name):
                raise
            return []
        if model is None:
            return []
        champions = numbers(strings(model.custom_properties).get(CHAMPIONS, ""))
        # The server deletes no version and counts its ids up: a version's place in that order is its number for ever.
        entries = sorted(self._api.versions(model.id), key=lambda entry: int(entry.id))
        found = []
        for number, entry in enumerate(entries, 1):
            properties = strings(entry.custom_properties)
            if properties.get(_COMPLETE) == "true" and "digest" in properties:
                found.append((number, entry, properties))
        newest = found[-1][0] if found else 0
        return [self._version(name, *one, champions=champions, newest=newest) for one in found]

    @staticmethod
    def _is_name(name: str) -> bool:
        try:
            check_name(name)
        except RegistryError:
            return False
        return True

    def _version(
        self, name: str, number: int, entry: Any, properties: dict[str, str], *, champions: Sequence[int], newest: int
    ) -> Version:
        location, digest = properties.pop(_LOCATION), properties.pop("digest")
        del properties[_COMPLETE]
        if entry.state == _ASLEEP:
            properties[ARCHIVED] = "true"
        current = champions[-1] if champions else 0
        return Version(
            name=name,
            version=number,
            uri=f"models:/{name}/{number}",
            created=datetime.fromtimestamp(int(entry.create_time_since_epoch or 0) / 1000, UTC),
            location=location,
            digest=digest,
            tags=properties,
            aliases=tuple(a for a, target in ((CHALLENGER, newest), (CHAMPION, current)) if target == number),
            stage=stage_of(number, champions, properties),
        )

    def _model(self, name: str) -> Any:
        model = self._api.model(name)
        if model is None:
            try:
                return self._api.create_model(name=name, description="Published by aerodet.", state=_LIVE)
            except ConflictError:  # somebody else just did, or we did and the answer was lost
                model = self._api.model(name)
        return model

    def _create(self, model: str, name: str, known: Mapping[str, str]) -> Any:
        properties = {key: float(value) if key.startswith(_NUMBERS) else value for key, value in known.items()}
        try:
            return self._api.create_version(
                name=name,
                registered_model_id=model,
                author="aerodet",
                description=f"Run {known['run_id']}.",
                state=_ASLEEP,
                custom_properties=scalars(properties),
            )
        except ConflictError:
            return self._api.version(model, name)

    def _complete(self, entry: Any) -> None:
        """Give a version its artifact and bring it to life; every step may have been done before."""
        properties = strings(entry.custom_properties)
        if not self._api.artifacts(entry.id):
            location = properties[_LOCATION]
            with suppress(ConflictError):
                self._api.create_artifact(
                    entry.id,
                    name=entry.name,
                    uri=location if "://" in location else Path(location).as_uri(),
                    state=_LIVE,
                    model_format_name="onnx",
                    model_source_kind="kfp",
                    model_source_class="pipelinerun",
                    model_source_group=_namespace(),
                    model_source_id=properties["run_id"],
                    model_source_name=properties["run_id"],
                    custom_properties=scalars({"digest": properties["digest"]}),
                )
        self._update(entry, _LIVE, {_COMPLETE: "true"})

    def _update(self, entry: Any, state: str, changes: Mapping[str, str]) -> None:
        """Change a version's state and some of its properties; the others are sent along, the server replaces all."""
        merged = {**(entry.custom_properties or {}), **scalars(changes)}
        self._api.update_version(entry.id, state=state, custom_properties=merged)

    def _upload(self, name: str, bundle: Bundle) -> str:
        """Upload the files to a place named by what they are; returns it."""
        content = hashlib.sha256("".join(f"{d}  {p}\n" for p, d in sorted(bundle.digests.items())).encode()).hexdigest()
        place = f"{name}/{bundle.digest[:16]}/{content[:16]}"
        store = open_store(self._files)
        with tempfile.TemporaryDirectory(prefix="aerodet-") as scratch:
            bundle.copy_to(Path(scratch) / "files")  # a file that changes while it is sent would be another one
            for path in bundle.files:
                store.upload(Path(scratch) / "files" / path, f"{place}/{path}")
        return f"{store.uri.rstrip('/')}/{place}"

    def _sweep(self, name: str, digest: str, location: str) -> None:
        """Remove what publishers left that were killed or came second: the version has its files in one place."""
        store = open_store(self._files)
        root = store.uri.rstrip("/") + "/"
        if not location.startswith(root):  # published by way of another address: nothing here is ours to judge
            return
        for entry in list(store.keys(f"{name}/{digest}/")):
            if not entry.key.startswith(f"{location.removeprefix(root)}/"):
                store.delete(entry.key)

    def _champions(self, name: str) -> list[int]:
        model = self._api.model(name)
        return numbers(strings(model.custom_properties).get(CHAMPIONS, "")) if model is not None else []

    def _set_champions(self, name: str, champions: Sequence[int]) -> None:
        model = self._api.model(name)
        if model is None:
            raise RegistryError(f"the registry in {self.address} has no model named {name!r}")
        merged = {**(model.custom_properties or {}), **scalars({CHAMPIONS: " ".join(map(str, champions))})}
        self._api.update_model(model.id, state=model.state, custom_properties=merged)

    def _set_archived(self, version: Version, *, archived: bool) -> None:
        model = self._api.model(version.name)
        entry = self._api.version(model.id, version.digest[:16]) if model is not None else None
        if entry is None:
            raise RegistryError(f"{version.uri} is not in the registry at {self.address} any more")
        self._update(entry, _ASLEEP if archived else _LIVE, {})

    def _read(self, version: Version, path: str) -> bytes:
        try:
            return open_store(version.location).read(path)
        except UserError as error:
            raise FileNotFoundError(str(error)) from error


def _token(*, secure: bool) -> str | None:
    """Return the token to send; a pod's own only where nobody on the way can read it."""
    given = os.environ.get(TOKEN)
    if given or not secure:
        return given or None
    named = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH")
    for path in map(Path, (named,) if named else _TOKEN_FILES):
        try:
            return path.read_text(encoding="utf-8").strip() or None
        except OSError as error:
            if named:
                raise RegistryError(f"KF_PIPELINES_SA_TOKEN_PATH names {path}, which cannot be read") from error
    return None


def _namespace() -> str:
    try:
        return _NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
