"""The Kubernetes API, as far as the doctor asks it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from aerodet.errors import UserError
from aerodet.pipelines.cluster._calls import TIMEOUT, Caller, MissingError

__all__ = ["Kubernetes", "fits"]

_ADVICE = "renew the kubeconfig, or look at the pod's service account"


class Kubernetes:
    """Reads objects of one cluster; nothing is changed.

    Args:
        context: context of the kubeconfig; the current one by default, the pod's service account in a pod.
        caller: through which calls go; by default one that names the server.

    Raises:
        UserError: there is no way to a cluster.
    """

    def __init__(self, context: str | None = None, caller: Caller | None = None) -> None:
        from kubernetes import client, config

        settings = client.Configuration()
        try:
            if context is None and _in_pod():
                config.load_incluster_config(client_configuration=settings)
            else:
                config.load_kube_config(context=context, client_configuration=settings)
        except (config.ConfigException, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"there is no way to the Kubernetes API ({reason}); set KUBECONFIG or name a context"
            ) from error
        settings.retries = False  # the caller's are bounded and announced
        self._api = client.ApiClient(settings)
        self._caller = caller or Caller(f"the Kubernetes API at {settings.host}", _ADVICE)

    @cached_property
    def _core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self._api)

    @cached_property
    def _storage(self) -> Any:
        from kubernetes import client

        return client.StorageV1Api(self._api)

    def namespace(self, name: str) -> Any:
        """Return a namespace, or None."""
        return self._get(f"read namespace {name}", self._core.read_namespace, name)

    def service_account(self, name: str, namespace: str) -> Any:
        """Return a service account, or None."""
        what = f"read service account {name} in {namespace}"
        return self._get(what, self._core.read_namespaced_service_account, name, namespace)

    def secret_keys(self, name: str, namespace: str) -> set[str] | None:
        """Return the names of a secret's keys, or None; its values are dropped at once."""
        secret = self._get(f"read secret {name} in {namespace}", self._core.read_namespaced_secret, name, namespace)
        return None if secret is None else set(secret.data or {})

    def claim(self, name: str, namespace: str) -> Any:
        """Return a persistent volume claim, or None."""
        what = f"read volume claim {name} in {namespace}"
        return self._get(what, self._core.read_namespaced_persistent_volume_claim, name, namespace)

    def storage_classes(self) -> list[Any]:
        """Return the storage classes."""
        listed = self._get("list storage classes", self._storage.list_storage_class)
        return list(listed.items if listed else ())

    def nodes(self) -> list[Any]:
        """Return the nodes."""
        listed = self._get("list nodes", self._core.list_node)
        return list(listed.items if listed else ())

    def quotas(self, namespace: str) -> list[Any]:
        """Return the resource quotas of a namespace."""
        listed = self._get(f"list quotas in {namespace}", self._core.list_namespaced_resource_quota, namespace)
        return list(listed.items if listed else ())

    def _get(self, what: str, call: Any, *names: str) -> Any:
        try:
            return self._caller.read(what, lambda: call(*names, _request_timeout=TIMEOUT))
        except MissingError:
            return None


def fits(node: Any, selector: Mapping[str, str]) -> bool:
    """Say whether a node is in use and has the labels that a pod wants."""
    labels = node.metadata.labels or {}
    return not node.spec.unschedulable and all(labels.get(key) == value for key, value in selector.items())


def _in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
