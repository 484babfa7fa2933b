"""A profile's pod settings, put on the tasks of a pipeline while it is compiled."""

from __future__ import annotations

from typing import Any

from kfp import dsl, kubernetes

from aerodet import components
from aerodet.components._image import IMAGE
from aerodet.errors import SpecError
from aerodet.pipelines.profiles import Cluster, StagePods
from aerodet.stages import IMAGE_VARIABLE

__all__ = ["pipeline_config", "place_pods"]

_OUTSIDE = ("ingest",)  # reads what KFP's cache cannot see change


def pipeline_config(cluster: Cluster) -> dsl.PipelineConfig:
    """Return what holds for the whole pipeline."""
    return dsl.PipelineConfig(ttl_seconds_after_finished=cluster.ttl, active_deadline_seconds=cluster.deadline)


def place_pods(cluster: Cluster, tasks: dict[str, Any]) -> None:
    """Set resources, placement, secrets, volumes, retries and limits of every task.

    Args:
        cluster: the settings.
        tasks: the pipeline's tasks.

    Raises:
        SpecError: settings for a stage that the pipeline does not have, or shared memory without memory to hold it.
    """
    known = {"default", *components.__all__}  # a profile may speak of stages that its own data make needless
    for task in tasks.values():
        if task.importer_spec is not None:  # what is imported needs no pod
            continue
        component, name = task.component_spec.name, task._task_spec.display_name or task.name
        known |= {component, name}
        try:
            settings = cluster.pods(component, name)
        except ValueError as error:  # each entry is sound, their sum is not
            raise SpecError(f"cluster.stages.{name}: {' '.join(str(error).split())}") from error
        _place(task, settings)
        if cluster.image_pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
        if cluster.image_pull_policy:
            kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
        task.set_env_variable(IMAGE_VARIABLE, IMAGE)  # provenance names the image that made an artifact
        task.set_caching_options(settings.cache if settings.cache is not None else component not in _OUTSIDE)
    if unknown := sorted(cluster.stages.keys() - known):
        raise SpecError(f"cluster.stages.{unknown[0]}: there is no such stage; choose from {', '.join(sorted(known))}")


def _place(task: Any, settings: StagePods) -> None:
    _resources(task, settings)
    for label, value in (settings.node_selector or {}).items():
        kubernetes.add_node_selector(task, label, value)
    for t in settings.tolerations or ():
        kubernetes.add_toleration(task, t.key, t.operator, t.value, t.effect, t.seconds)
    for secret in settings.secrets or ():
        if secret.env:
            kubernetes.use_secret_as_env(task, secret.name, dict(secret.env), optional=secret.optional)
        if secret.mount:
            kubernetes.use_secret_as_volume(task, secret.name, secret.mount, optional=secret.optional)
    for volume in settings.volumes or ():
        kubernetes.mount_pvc(task, volume.claim, volume.mount, volume.sub_path)
    for variable, value in (settings.env or {}).items():
        task.set_env_variable(variable, value)
    if settings.retry and settings.retry.count:
        retry = settings.retry
        task.set_retry(retry.count, f"{retry.backoff}s", retry.factor, f"{retry.longest}s")
    if settings.timeout:
        kubernetes.set_timeout(task, settings.timeout)


def _resources(task: Any, settings: StagePods) -> None:
    if settings.cpu:
        task.set_cpu_request(settings.cpu).set_cpu_limit(settings.cpu_limit or settings.cpu)
    if settings.memory:
        task.set_memory_request(settings.memory).set_memory_limit(settings.memory)
    if settings.gpu:
        task.set_accelerator_type(settings.gpu.resource).set_accelerator_limit(settings.gpu.count)
        if settings.gpu.product:
            kubernetes.add_node_selector(task, "nvidia.com/gpu.product", settings.gpu.product)
    if settings.shm:
        kubernetes.empty_dir_mount(task, "dshm", "/dev/shm", medium="Memory", size_limit=settings.shm)
