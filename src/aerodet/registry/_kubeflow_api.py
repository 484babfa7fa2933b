"""The calls to a Kubeflow Model Registry that we need, by the generated client of the ``model-registry`` package.

The client speaks ``/api/model_registry/v1``; older servers have ``v1alpha3``, with the same content. The server is
asked once which of them it knows. Calls are retried: each is harmless when it is done twice.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aerodet.errors import MachineError, RegistryError

__all__ = ["Api", "ConflictError", "scalars", "strings"]

_VERSIONS = ("v1", "v1alpha3")
_PREFIX = "/api/model_registry/"
_PAGE = "100"
_NOT_FOUND, _SERVER_ERROR = 404, 500
_FIELDS = ("string_value", "bool_value", "int_value", "double_value")


class ConflictError(Exception):
    """What was to be created is there already."""


@dataclass
class Api:
    """One server.

    Args:
        host: ``https://host:port``.
        token: for the ``Authorization`` header; None sends none.
        ca: file of the certificate authorities to trust, PEM; None: those of the system.
        timeout: seconds for a call.
        waits: seconds before each further try after a call that got no answer or an error of the server's.
    """

    host: str
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    timeout: float = 30.0
    waits: Sequence[float] = (0.2, 1.0)
    _version: str | None = field(default=None, init=False)

    def models(self) -> list[Any]:
        """List the registered models."""
        return self._list("get_registered_models")

    def model(self, name: str) -> Any | None:
        """Return a registered model by its name."""
        return self._find("find_registered_model", name=name)

    def create_model(self, **fields: Any) -> Any:
        """Create a registered model.

        Raises:
            ConflictError: there is one of that name.
        """
        from mr_openapi.models import RegisteredModelCreate

        return self._call("create_registered_model", RegisteredModelCreate(**fields))

    def update_model(self, key: str, **fields: Any) -> Any:
        """Change the given fields of a registered model."""
        from mr_openapi.models import RegisteredModelUpdate

        return self._call("update_registered_model", key, RegisteredModelUpdate(**fields))

    def versions(self, model: str) -> list[Any]:
        """List the versions of a registered model, given by its id."""
        return self._list("get_registered_model_versions", model)

    def version(self, model: str, name: str) -> Any | None:
        """Return a version by its name and its model's id."""
        return self._find("find_model_version", name=name, parent_resource_id=model)

    def create_version(self, **fields: Any) -> Any:
        """Create a version.

        Raises:
            ConflictError: there is one of that name.
        """
        from mr_openapi.models import ModelVersionCreate

        return self._call("create_model_version", ModelVersionCreate(**fields))

    def update_version(self, key: str, **fields: Any) -> Any:
        """Change the given fields of a version."""
        from mr_openapi.models import ModelVersionUpdate

        return self._call("update_model_version", key, ModelVersionUpdate(**fields))

    def artifacts(self, version: str) -> list[Any]:
        """List the model artifacts of a version."""
        found = self._list("get_model_version_artifacts", version)
        return [entry.actual_instance for entry in found if entry.actual_instance.artifact_type == "model-artifact"]

    def create_artifact(self, version: str, **fields: Any) -> None:
        """Create the model artifact of a version.

        Raises:
            ConflictError: there is one of that name.
        """
        from mr_openapi.models import Artifact, ModelArtifact

        artifact = Artifact(ModelArtifact(artifactType="model-artifact", **fields))
        self._call("upsert_model_version_artifact", version, artifact)

    def _list(self, method: str, *arguments: Any) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._call(method, *arguments, page_size=_PAGE, next_page_token=token)
            found += page.items or []
            token = page.next_page_token or None
            if token is None or not page.items:
                return found

    def _find(self, method: str, **arguments: Any) -> Any | None:
        from mr_openapi.exceptions import NotFoundException

        try:
            return self._call(method, **arguments)
        except NotFoundException:
            return None

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the generated client, with retries.

        Raises:
            MachineError: no answer, or an error of the server's, each time.
            RegistryError: the server refuses.
            ConflictError: there is one of that name.
            NotFoundException: there is none, where one is looked for by its name.
        """
        self._client  # noqa: B018 (says so when the package is missing)
        import aiohttp
        from mr_openapi.exceptions import ApiException

        for wait in (*self.waits, None):
            try:
                return _run(lambda: self._ask(method, arguments, named))
            except aiohttp.ClientSSLError as error:
                raise RegistryError(
                    f"the certificate of {self.host} is not trusted ({error}); name its authority's file by &ca=FILE "
                    "in the registry's address"
                ) from error
            except (ApiException, aiohttp.ClientError, OSError, TimeoutError) as error:
                status = getattr(error, "status", None)
                if status == _NOT_FOUND and method.startswith("find_"):
                    raise
                if status is not None and status < _SERVER_ERROR:
                    raise self._refusal(error) from error
                if wait is None:
                    reason = f"status {status}" if status else str(error) or "no answer in time"
                    raise MachineError(
                        f"the model registry at {self.host} does not answer ({reason}); once it does, do it again: "
                        "nothing is published twice"
                    ) from error
            except ValueError as error:  # a page of a proxy that wants a login, say
                raise RegistryError(f"{self.host} answers, but not as a Kubeflow Model Registry does") from error
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _ask(self, method: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        from mr_openapi import ModelRegistryServiceApi

        service = ModelRegistryServiceApi(self._client)
        try:
            if self._version is None:
                self._version = await self._probe(service)
            return await getattr(service, method)(*arguments, **named, _request_timeout=self.timeout)
        finally:
            await self._client.close()
            self._client.rest_client.pool_manager = None  # a session belongs to the event loop of one call

    async def _probe(self, service: Any) -> str:
        from mr_openapi.exceptions import NotFoundException

        for version in _VERSIONS:
            self._client.api_version = version
            try:
                await service.get_registered_models(page_size="1", _request_timeout=self.timeout)
            except NotFoundException:
                continue
            return version
        paths = " nor ".join(f"{_PREFIX}{version}" for version in _VERSIONS)
        raise RegistryError(f"{self.host} is no Kubeflow Model Registry: it knows neither {paths}")

    @cached_property
    def _client(self) -> Any:
        """The generated client, made to put the server's own version into each path."""
        try:
            from mr_openapi import ApiClient, Configuration
        except ImportError as error:
            raise MachineError(
                "the Kubeflow Model Registry needs the package model-registry: pip install 'aerodet[kubeflow-registry]'"
            ) from error

        class Client(ApiClient):  # type: ignore[misc]
            api_version = _VERSIONS[0]

            def param_serialize(self, method: str, resource_path: str, *arguments: Any, **named: Any) -> Any:
                path = resource_path.replace(f"{_PREFIX}v1/", f"{_PREFIX}{self.api_version}/", 1)
                return super().param_serialize(method, path, *arguments, **named)

        return Client(Configuration(host=self.host, access_token=self.token, ssl_ca_cert=self.ca))

    def _refusal(self, error: Any) -> Exception:
        if error.status in (401, 403):
            what = "a token" if self.token is None else "another token"
            return RegistryError(
                f"the model registry at {self.host} does not let us in (status {error.status}); give it {what}, see "
                "docs/registry.md"
            )
        if error.status == 0:
            return RegistryError(f"{self.host} answers, but not as a Kubeflow Model Registry does")
        body = " ".join(str(error.body or error.reason).split())[:300]
        if error.status == 409 or re.search(r"already exists|duplicate", body, re.IGNORECASE):
            return ConflictError(body)
        return RegistryError(f"the model registry at {self.host} refused: {body} (status {error.status})")


def strings(properties: Mapping[str, Any] | None) -> dict[str, str]:
    """Return a resource's custom properties as texts."""
    found = {}
    for name, value in (properties or {}).items():
        kind = value.actual_instance
        plain = next((getattr(kind, f) for f in _FIELDS if getattr(kind, f, None) is not None), "")
        found[name] = str(plain).lower() if isinstance(plain, bool) else str(plain)
    return found


def scalars(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return custom properties for the client: flat, each a bool, an int, a float or a text."""
    from mr_openapi import models

    made = {}
    for name, value in properties.items():
        if isinstance(value, bool):
            kind = models.MetadataBoolValue(bool_value=value, metadataType="MetadataBoolValue")
        elif isinstance(value, int):
            kind = models.MetadataIntValue(int_value=str(value), metadataType="MetadataIntValue")
        elif isinstance(value, float):
            kind = models.MetadataDoubleValue(double_value=value, metadataType="MetadataDoubleValue")
        else:
            kind = models.MetadataStringValue(string_value=str(value), metadataType="MetadataStringValue")
        made[name] = models.MetadataValue(kind)
    return made


def _run(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()
