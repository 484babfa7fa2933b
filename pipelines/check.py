"""Checks of a compiled pipeline that KFP leaves out: what refers to what, and whether it is there.

::

    faults = check_package(Path("pipeline.yaml"))

KFP's compiler checks types while it writes; what reads the file afterwards, ``load_component_from_file`` and the API
server's upload, takes a reference to nothing. A package that was edited, merged or written by another tool is held
against the schema and against itself here, without a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes_pb2
from kfp.pipeline_spec import pipeline_spec_pb2 as pb

from aerodet.errors import UserError

__all__ = ["check_package"]

_ANY = "system.Artifact"  # the type that every artifact is of
_VALUES = {  # what a constant of a parameter's type is in protobuf's Value
    "STRING": "string_value",
    "NUMBER_INTEGER": "number_value",
    "NUMBER_DOUBLE": "number_value",
    "BOOLEAN": "bool_value",
    "LIST": "list_value",
    "STRUCT": "struct_value",
}


def check_package(path: Path) -> list[str]:
    """Check a compiled pipeline.

    Checked are the schema (no unknown field), that every component, executor, task, input and output that something
    refers to is there and of the right type, that each task waits for those it reads from, that no task waits for
    itself, that each executor has an image and installs nothing, and that nothing is left unused.

    Args:
        path: the IR YAML, one document or two (the second for the platform).

    Returns:
        What is wrong, one sentence each; empty for a sound package.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); compile the pipeline first") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return [f"the file is not YAML: {' '.join(str(error).split())}"]
    if not 1 <= len(documents) <= 2 or not all(isinstance(document, dict) for document in documents):
        return ["the file must hold one document with the pipeline, or two, the second with the platform"]
    try:
        package = _parse(*documents)
    except json_format.ParseError as error:
        return [f"the schema is not kept: {error}"]
    return [*package.faults()]


def _parse(pipeline: Mapping[str, Any], platform: Mapping[str, Any] | None = None) -> _Package:
    """Read both documents into their messages.

    Raises:
        ParseError: naming an unknown field or a value of another type.
    """
    spec = json_format.ParseDict(pipeline, pb.PipelineSpec())
    deployment = json_format.MessageToDict(spec.deployment_spec)
    executors = json_format.ParseDict(deployment, pb.PipelineDeploymentConfig()).executors
    platforms = json_format.ParseDict(platform or {}, pb.PlatformSpec()).platforms
    for name, single in platforms.items():
        for config in single.deployment_spec.executors.values():
            if name == "kubernetes":
                json_format.ParseDict(json_format.MessageToDict(config), kubernetes_pb2.KubernetesExecutorConfig())
    configured = {label for single in platforms.values() for label in single.deployment_spec.executors}
    return _Package(spec.root, dict(spec.components), dict(executors), configured)


@dataclass(frozen=True)
class _Package:
    """A package in its parts."""

    root: Any
    components: Mapping[str, Any]
    executors: Mapping[str, Any]
    configured: set[str]  # executors that the platform has settings for

    def faults(self) -> Iterator[str]:
        yield from self._executors()
        if self.root.WhichOneof("implementation") != "dag":
            yield "root: a pipeline needs tasks, and there are none"
        for name, component in {"root": self.root, **self.components}.items():
            kind = component.WhichOneof("implementation")
            if kind == "dag":
                yield from _Dag(name, component, self.components).faults()
            elif kind is None:
                yield f"component {name} has neither an executor nor tasks"
            elif component.executor_label not in self.executors:
                yield f"component {name} refers to executor {component.executor_label}, which does not exist"
        yield from self._unused()

    def _executors(self) -> Iterator[str]:
        for label, executor in self.executors.items():
            kind = executor.WhichOneof("spec")
            if kind is None:
                yield f"executor {label} says nothing of what it runs"
            if kind == "container":
                if not executor.container.image.strip():
                    yield f"executor {label} has no image"
                if "pip install" in " ".join([*executor.container.command, *executor.container.args]):
                    yield f"executor {label} runs pip install; put what it needs into its image"
        for label in sorted(self.configured - set(self.executors)):
            yield f"the platform has settings for executor {label}, which does not exist"

    def _unused(self) -> Iterator[str]:
        used: set[str] = set()
        waiting = [self.root]
        while waiting:
            names = {task.component_ref.name for task in waiting.pop().dag.tasks.values()} & self.components.keys()
            waiting += [self.components[name] for name in names - used]
            used |= names
        for name in sorted(self.components.keys() - used):
            yield f"component {name} is not used by any task"
        labels = {component.executor_label for component in self.components.values()}
        for label in sorted(self.executors.keys() - labels):
            yield f"executor {label} is not used by any component"


@dataclass(frozen=True)
class _Dag:
    """The tasks of the pipeline, or of one component that is a pipeline itself."""

    name: str
    component: Any
    components: Mapping[str, Any]

    @property
    def tasks(self) -> Mapping[str, Any]:
        tasks: Mapping[str, Any] = self.component.dag.tasks
        return tasks

    def faults(self) -> Iterator[str]:
        for name, task in self.tasks.items():
            for fault in self._task(task):
                yield f"{self.name}: task {name} {fault}"
        try:
            TopologicalSorter({name: task.dependent_tasks for name, task in self.tasks.items()}).prepare()
        except CycleError as error:
            yield f"{self.name}: tasks wait for each other: {' -> '.join(error.args[1])}"
        yield from self._outputs()

    def _task(self, task: Any) -> Iterator[str]:
        for other in task.dependent_tasks:
            if other not in self.tasks:
                yield f"waits for task {other}, which does not exist"
        called = self.components.get(task.component_ref.name)
        if called is None:
            yield f"refers to component {task.component_ref.name}, which does not exist"
            return
        yield from self._artifacts(task, called.input_definitions.artifacts)
        yield from self._parameters(task, called.input_definitions.parameters)

    def _artifacts(self, task: Any, wanted: Mapping[str, Any]) -> Iterator[str]:
        yield from _missing("artifact", task.inputs.artifacts, wanted, {task.artifact_iterator.item_input})
        for name, source in task.inputs.artifacts.items():
            if name not in wanted:
                yield f"is given artifact {name}, which its component does not take"
            elif source.WhichOneof("kind") == "component_input_artifact":
                offered = self.component.input_definitions.artifacts
                yield from _fit(name, wanted[name], offered, source.component_input_artifact, f"{self.name}'s input")
            else:
                origin = source.task_output_artifact
                offered, fault = self._made_by(origin.producer_task, task)
                yield from fault
                if offered is not None:
                    key, maker = origin.output_artifact_key, f"task {origin.producer_task}'s output"
                    yield from _fit(name, wanted[name], offered.artifacts, key, maker)

    def _parameters(self, task: Any, wanted: Mapping[str, Any]) -> Iterator[str]:
        yield from _missing("parameter", task.inputs.parameters, wanted, {task.parameter_iterator.item_input})
        for name, source in task.inputs.parameters.items():
            kind = source.WhichOneof("kind")
            if name not in wanted:
                yield f"is given parameter {name}, which its component does not take"
            elif kind == "component_input_parameter":
                if source.component_input_parameter not in self.component.input_definitions.parameters:
                    yield f"reads parameter {source.component_input_parameter} for {name}, which {self.name} lacks"
            elif kind == "task_output_parameter":
                origin = source.task_output_parameter
                offered, fault = self._made_by(origin.producer_task, task)
                yield from fault
                if offered is not None and origin.output_parameter_key not in offered.parameters:
                    yield (
                        f"reads parameter {origin.output_parameter_key} of task {origin.producer_task} for {name}, "
                        "which that does not put out"
                    )
            elif kind == "task_final_status":
                yield from self._made_by(source.task_final_status.producer_task, task)[1]
            elif kind == "runtime_value":
                yield from _constant(name, source.runtime_value, wanted[name])

    def _made_by(self, producer: str, task: Any) -> tuple[Any, list[str]]:
        """Return the outputs of a task that another reads from, or None, and what is wrong with reading from it."""
        if producer not in self.tasks:
            return None, [f"reads from task {producer}, which does not exist"]
        fault = [] if producer in task.dependent_tasks else [f"reads from task {producer} but does not wait for it"]
        made = self.components.get(self.tasks[producer].component_ref.name)
        return (made.output_definitions if made is not None else None), fault

    def _outputs(self) -> Iterator[str]:
        promised, chosen = self.component.output_definitions, self._chosen()
        for name in sorted({*promised.artifacts, *promised.parameters}):
            if not chosen.get(name):
                yield f"{self.name}: output {name} comes from no task"
        for name, sources in chosen.items():
            for producer, key in sources:
                task = self.tasks.get(producer)
                made = self.components.get(task.component_ref.name) if task is not None else None
                offered = made.output_definitions if made is not None else pb.ComponentOutputsSpec()
                if key not in offered.artifacts and key not in offered.parameters:
                    yield f"{self.name}: output {name} reads {key} of task {producer}, which does not exist"

    def _chosen(self) -> dict[str, list[tuple[str, str]]]:
        """Return the task and output that each output comes from; several where branches exclude each other."""
        outputs = self.component.dag.outputs
        chosen = {
            name: [(s.producer_subtask, s.output_artifact_key) for s in output.artifact_selectors]
            for name, output in outputs.artifacts.items()
        }
        for name, output in outputs.parameters.items():
            selectors = [output.value_from_parameter, *output.value_from_oneof.parameter_selectors]
            chosen[name] = [(s.producer_subtask, s.output_parameter_key) for s in selectors if s.producer_subtask]
        return chosen


def _missing(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any], looped: set[str]) -> Iterator[str]:
    for name, definition in wanted.items():
        if name not in given and not definition.is_optional and name not in looped:
            yield f"is not given {what} {name}, which its component needs"


def _fit(name: str, wanted: Any, offered: Mapping[str, Any], key: str, origin: str) -> Iterator[str]:
    if key not in offered:
        yield f"reads {origin} {key} for artifact {name}, which does not exist"
        return
    have, want = offered[key].artifact_type.schema_title, wanted.artifact_type.schema_title
    if have != want and _ANY not in (have, want):
        yield f"reads {origin} {key} for artifact {name}: a {have} where a {want} is wanted"


def _constant(name: str, value: Any, wanted: Any) -> Iterator[str]:
    kind = pb.ParameterType.ParameterTypeEnum.Name(wanted.parameter_type)
    found = value.constant.WhichOneof("kind")
    if kind in _VALUES and found != _VALUES[kind]:
        yield f"is given a {str(found).removesuffix('_value')} as parameter {name}, where a {kind} is wanted"
