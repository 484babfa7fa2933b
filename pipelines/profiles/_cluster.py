"""The part of a profile that says how the stages' pods are run on a cluster."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

__all__ = ["Cluster", "Gpu", "Retry", "Secret", "StagePods", "Toleration", "Volume", "bytes_of"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_MEMORY = r"^[0-9]+([KMGT]i?)?$"
AsText = BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)  # cpu: 8
Cpu = Annotated[str, AsText, StringConstraints(pattern=r"^([0-9]+|[0-9]+\.[0-9]+|[0-9]+m)$")]
Memory = Annotated[str, StringConstraints(pattern=_MEMORY)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]  # of a Kubernetes object
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]
Place = Annotated[str, StringConstraints(pattern=r"^/[^:]+$")]


def bytes_of(quantity: str) -> int:
    """Return a memory quantity of Kubernetes, such as ``16Gi``, in bytes."""
    number, unit = re.fullmatch(r"([0-9]+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]  # it is validated
    return int(number) * _UNITS[unit]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gpu(_Section):
    """Accelerators of a pod."""

    resource: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = Field(
        "nvidia.com/gpu", description="what the device plug-in calls it; a MIG slice has a name of its own"
    )
    count: Annotated[int, Field(ge=1, le=16)] = 1
    product: str = Field("", description="value of the node label nvidia.com/gpu.product, such as NVIDIA-A10; or any")


class Toleration(_Section):
    """A taint that a pod may be put up with."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None
    seconds: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no `value`")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("operator Equal needs a `key`")
        return self


class Secret(_Section):
    """A secret of the namespace, given to a pod by its name: its content never enters the pipeline."""

    name: Name
    env: dict[str, Variable] = Field({}, description="variable by the secret's key")
    mount: Place | None = Field(None, description="folder in which each key is a file")
    optional: bool = False

    @model_validator(mode="after")
    def _used(self) -> Self:
        if not self.env and self.mount is None:
            raise ValueError("give `env`, `mount` or both")
        return self


class Volume(_Section):
    """A persistent volume claim that a pod mounts."""

    claim: Name
    mount: Place
    sub_path: str = ""


class Retry(_Section):
    """How often a failed or pre-empted pod is started again."""

    count: Annotated[int, Field(ge=0, le=20)] = 0
    backoff: Seconds = Field(30, description="seconds before the first retry")
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    longest: Seconds = Field(3600, description="seconds; no pause is longer")


class StagePods(_Section):
    """The pods of one stage; what is not given comes from ``default``."""

    cpu: Cpu | None = None
    cpu_limit: Cpu | None = Field(None, description="by default `cpu`")
    memory: Memory | None = Field(None, description="request and limit")
    gpu: Gpu | None = None
    shm: Memory | None = Field(None, description="size of /dev/shm, which counts against `memory`")
    node_selector: dict[str, Annotated[str, AsText]] | None = None
    tolerations: list[Toleration] | None = None
    secrets: list[Secret] | None = None
    volumes: list[Volume] | None = None
    env: dict[Variable, Annotated[str, AsText]] | None = None
    retry: Retry | None = None
    timeout: Seconds | None = Field(None, description="seconds after which the pod is ended")
    cache: bool | None = Field(None, description="whether KFP may take an earlier result; ingest never does by default")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.shm and self.memory and bytes_of(self.shm) >= bytes_of(self.memory):
            raise ValueError(f"`shm` of {self.shm} leaves nothing of the `memory` of {self.memory}, which holds it")
        return self

    def over(self, other: StagePods) -> StagePods:
        """Return these settings with those of ``other`` where they give none."""
        given = {name: getattr(self, name) for name in self.model_fields_set if getattr(self, name) is not None}
        return StagePods.model_validate({**dict(other), **given})


class Cluster(_Section):
    """How a run's pods are placed and fed; a run on this machine takes no notice of it."""

    image_pull_secrets: list[Name] = []
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    ttl: Seconds | None = Field(None, description="seconds that the finished workflow object is kept")
    deadline: Seconds | None = Field(None, description="seconds after which the whole run is ended")
    stages: dict[str, StagePods] = Field(
        {}, description="`default`, a component's name such as train, or a task's such as train-qat; the nearest wins"
    )

    def pods(self, *names: str) -> StagePods:
        """Return the settings of a stage.

        Args:
            names: its names, from the widest to the narrowest: component, task.
        """
        settings = StagePods()  # type: ignore[call-arg]
        for name in ("default", *names):
            settings = self.stages[name].over(settings) if name in self.stages else settings
        return settings

    def every(self, kind: Literal["secrets", "volumes"]) -> list[Any]:
        """Return the secrets or the volumes that any stage names, each once."""
        found = [item for settings in self.stages.values() for item in getattr(settings, kind) or ()]
        return [item for number, item in enumerate(found) if item not in found[:number]]
