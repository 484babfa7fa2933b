"""What can be found out before a run is submitted: one line a check, what is wrong and how to mend it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aerodet.components._image import IMAGE
from aerodet.errors import AerodetError
from aerodet.pipelines.cluster._calls import TIMEOUT, MissingError
from aerodet.pipelines.cluster._kubernetes import Kubernetes, fits
from aerodet.pipelines.cluster.access import Access, healthz
from aerodet.pipelines.cluster.api import Api, connect
from aerodet.pipelines.profiles import Cluster, StagePods
from aerodet.registry import open_registry
from aerodet.storage import open_store

__all__ = ["Check", "examine"]

_OLDEST = (2, 15)  # KFP versions that this pipeline's settings need; tried with 2.17


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: ``ok``; ``wrong``: a run would fail; ``unknown``: it may not be looked at, or was not asked for.
        found: one sentence, with what to do where it is wrong.
    """

    name: str
    state: Literal["ok", "wrong", "unknown"]
    found: str


def examine(
    access: Access,
    cluster: Cluster,
    *,
    root: str | None = None,
    registry: str | None = None,
    service_account: str = "pipeline-runner",
    image: str = IMAGE,
    api: Callable[[Access], Api] = connect,
    kubernetes: Callable[[str | None], Kubernetes] = Kubernetes,
) -> Iterator[Check]:
    """Look at everything that a run of a profile needs.

    Args:
        access: the way to the pipeline API.
        cluster: the profile's pod settings.
        root: the pipeline root, an object store to write to; not looked at where None.
        registry: address of the model registry; not looked at where None.
        service_account: that the pods run under.
        image: that the stages are compiled for.
        api: opens the pipeline API.
        kubernetes: opens the Kubernetes API.

    Yields:
        The checks, as they are made.
    """
    yield from _guarded("pipeline API", lambda: _api(api(access)))
    try:
        k8s = kubernetes(access.context)
        namespace = k8s.namespace(access.namespace)
    except AerodetError as error:
        yield Check("Kubernetes API", "wrong", str(error))
    else:
        yield _namespace(access.namespace, namespace)
        if namespace is not None:
            yield from _guarded("service account", lambda: _account(k8s, access.namespace, service_account))
            yield from _guarded("secrets", lambda: _secrets(k8s, access.namespace, cluster))
            yield from _guarded("volumes", lambda: _volumes(k8s, access.namespace, cluster))
            yield from _guarded("quota", lambda: _quota(k8s, access.namespace, cluster))
        yield from _guarded("GPUs", lambda: _gpus(k8s, cluster))
    yield _image(image)
    if root is None:
        yield Check("object store", "unknown", "no pipeline root was given; name one to have it written to and read")
    else:
        yield from _guarded("object store", lambda: _store(root))
    if registry is None:
        yield Check("registry", "unknown", "no registry was given; name one to have it looked at")
    else:
        yield from _guarded("registry", lambda: _registry(registry))


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """Make checks; one that cannot be made, because a server refuses or is away, is a finding too."""
    try:
        yield from look()
    except AerodetError as error:
        yield Check(name, "wrong", str(error))


def _api(api: Api) -> Iterator[Check]:
    try:
        health = healthz(api.client, api.caller)
    except MissingError:
        yield Check("pipeline API", "wrong", f"{api.caller.server} has no API v2beta1; it wants Kubeflow Pipelines 2")
        return
    mode = "many users" if health.multi_user else "one user"
    version = _version(api)
    if version is None:
        yield Check("pipeline API", "ok", f"{api.caller.server} answers, for {mode}; it does not say its version")
    elif version < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        found = ".".join(map(str, version))
        yield Check("pipeline API", "wrong", f"Kubeflow Pipelines is {found}; upgrade it to {wanted} or newer")
    else:
        yield Check("pipeline API", "ok", f"Kubeflow Pipelines {'.'.join(map(str, version))}, for {mode}")
    yield from _allowed(api)


def _allowed(api: Api) -> Iterator[Check]:
    """Look whether the caller may list runs where it would submit them."""
    api.recurring_runs()
    yield Check("permission", "ok", f"runs may be listed in {api.namespace or 'the only namespace'}")


def _version(api: Api) -> tuple[int, int] | None:
    """Return major and minor version, which only the old health page tells."""
    client = api.client.runs.run_service_get_run.__self__.api_client
    try:
        answer = api.caller.read(
            "say its version",
            lambda: client.call_api(
                "/apis/v1beta1/healthz",
                "GET",
                auth_settings=["Bearer"],
                response_type="object",
                _return_http_data_only=True,
                _request_timeout=TIMEOUT,
            ),
        )
    except MissingError:
        return None
    match = re.match(r"v?(\d+)\.(\d+)", str((answer or {}).get("tag_name", "")))
    return (int(match[1]), int(match[2])) if match else None


def _namespace(name: str, found: Any) -> Check:
    if found is None:
        advice = "apply manifests/, or name the namespace of your profile"
        return Check("namespace", "wrong", f"there is no namespace {name}; {advice}")
    return Check("namespace", "ok", f"{name} is there")


def _account(k8s: Kubernetes, namespace: str, name: str) -> Iterator[Check]:
    if k8s.service_account(name, namespace) is None:
        found = f"there is no service account {name} in {namespace}; apply manifests/, or name another"
        yield Check("service account", "wrong", found)
    else:
        yield Check("service account", "ok", f"{name} is there")


def _secrets(k8s: Kubernetes, namespace: str, cluster: Cluster) -> Iterator[Check]:
    pull: list[tuple[str, set[str]]] = [(name, set()) for name in cluster.image_pull_secrets]
    named = [(s.name, set(s.env)) for s in cluster.every("secrets") if not s.optional]
    for name, wanted in [*named, *pull]:
        keys = k8s.secret_keys(name, namespace)
        if keys is None:
            advice = f"kubectl -n {namespace} create secret generic {name} …"
            yield Check("secret", "wrong", f"there is no secret {name} in {namespace}; make it: {advice}")
        elif missing := sorted(wanted - keys):
            yield Check("secret", "wrong", f"secret {name} has no {', '.join(missing)}; add it")
        else:
            yield Check("secret", "ok", f"{name} is there" + (" with its keys" if wanted else ""))


def _volumes(k8s: Kubernetes, namespace: str, cluster: Cluster) -> Iterator[Check]:
    for name in dict.fromkeys(volume.claim for volume in cluster.every("volumes")):
        claim = k8s.claim(name, namespace)
        if claim is None:
            yield Check("volume", "wrong", f"there is no volume claim {name} in {namespace}; apply manifests/")
            continue
        phase, wanted = claim.status.phase, claim.spec.storage_class_name
        classes = {found.metadata.name: found for found in k8s.storage_classes()}
        if phase == "Bound":
            yield Check("volume", "ok", f"{name} is bound")
        elif phase == "Lost":
            yield Check("volume", "wrong", f"{name} has lost its volume; restore it, or make the claim anew")
        elif wanted and wanted not in classes:
            known = ", ".join(sorted(classes)) or "none"
            yield Check("volume", "wrong", f"{name} wants storage class {wanted}, which is not there; there is {known}")
        elif not wanted and not any(map(_is_default, classes.values())):
            yield Check("volume", "wrong", f"{name} names no storage class, and none is the default; name one")
        else:
            yield Check("volume", "ok", f"{name} waits for its first pod")


def _is_default(storage_class: Any) -> bool:
    annotations = storage_class.metadata.annotations or {}
    return bool(annotations.get("storageclass.kubernetes.io/is-default-class") == "true")


def _gpu_stages(cluster: Cluster) -> dict[str, StagePods]:
    merged = {name: cluster.pods(name) for name in cluster.stages}
    return {name: settings for name, settings in merged.items() if settings.gpu}


def _gpus(k8s: Kubernetes, cluster: Cluster) -> Iterator[Check]:
    stages = _gpu_stages(cluster)
    if not stages:
        yield Check("GPUs", "ok", "no stage asks for one")
        return
    nodes = k8s.nodes()
    for name, settings in stages.items():
        gpu = settings.gpu
        if gpu is None:
            continue
        selector = dict(settings.node_selector or {})
        if gpu.product:
            selector["nvidia.com/gpu.product"] = gpu.product
        with_labels = [node for node in nodes if fits(node, selector)]
        most = max((int((node.status.allocatable or {}).get(gpu.resource, 0)) for node in with_labels), default=0)
        asked = f"stage {name} asks for {gpu.count} {gpu.resource}"
        if most >= gpu.count:
            yield Check("GPUs", "ok", f"{asked}; a node has {most}")
        elif not with_labels:
            labels = ", ".join(f"{key}={value}" for key, value in selector.items())
            yield Check(
                "GPUs", "wrong", f"{asked} on nodes with {labels}, and there is no such node; mend the selector"
            )
        else:
            advice = "lower the count, or add a node (a pool that scales from nought shows none)"
            yield Check("GPUs", "wrong", f"{asked}, and no node has more than {most} to give; {advice}")


def _quota(k8s: Kubernetes, namespace: str, cluster: Cluster) -> Iterator[Check]:
    for quota in k8s.quotas(namespace):
        hard, used = quota.status.hard or {}, quota.status.used or {}
        for name, settings in _gpu_stages(cluster).items():
            key = f"requests.{settings.gpu.resource}" if settings.gpu else ""
            if settings.gpu and key in hard and int(hard[key]) < settings.gpu.count:
                found = f"quota {quota.metadata.name} allows {hard[key]} {settings.gpu.resource}"
                yield Check("quota", "wrong", f"{found}, and stage {name} asks for {settings.gpu.count}; raise it")
            elif settings.gpu and key in hard:
                yield Check("quota", "ok", f"{used.get(key, 0)} of {hard[key]} {settings.gpu.resource} are in use")


def _image(name: str) -> Check:
    """Say which image the pods will run; a name without a registry is one that only its own node can have."""
    if "/" in name:
        return Check("image", "ok", f"pods run {name}")
    advice = "set AERODET_IMAGE to the last line of `make images REGISTRY=…`"
    return Check("image", "unknown", f"pods run {name}, which names no registry; {advice}")


def _store(root: str) -> Iterator[Check]:
    store, key, content = open_store(root), f"aerodet-doctor-{secrets.token_hex(8)}", secrets.token_bytes(16)
    store.write(key, content)
    try:
        same = store.read(key) == content
    finally:
        store.delete(key)
    if not same or store.exists(key):
        yield Check("object store", "wrong", f"{store.uri} does not give back what was written; look at its server")
    else:
        yield Check("object store", "ok", f"{store.uri} takes, gives back and deletes")


def _registry(address: str) -> Iterator[Check]:
    place = Path(address.removeprefix("sqlite:///"))
    if "://" not in str(place) and not place.exists():
        yield Check("registry", "unknown", f"{address} is not there yet; the first publication makes it")
        return
    open_registry(address).versions("aerodet-doctor")
    yield Check("registry", "ok", f"{address} answers")
