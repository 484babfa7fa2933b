"""kfp.local, held by the hand: its tasks run as our processes, its global state is given back, its noise goes to a log.

KFP 2.17 keeps no record of a run, does not say why a task failed, loses a task's process on a signal and rewrites the
text ``python3`` in every argument. The few functions that decide these things are replaced while a pipeline runs;
orchestration, caching and retries stay KFP's. ``tests/pipelines/test_local_runner.py`` fails when a new KFP moves them.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import json
import logging
import os
import re
import shlex
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol

from kfp import components, dsl, local
from kfp.local import cache, config, executor_input_utils, graph_utils, status, subprocess_task_handler
from kfp.local.orchestrator import task_executor

from aerodet.errors import UserError

__all__ = ["Hooks", "Package", "Task"]

ARGUMENT_BYTES = 131_072  # Linux: MAX_ARG_STRLEN, of one argument and its end mark
_session = threading.Lock()  # kfp.local's state is global


class Task(Protocol):
    """One task while it runs."""

    def execute(self, command: list[str], env: Mapping[str, str]) -> int:
        """Run the task's command and return its exit status. Not called when an earlier result is kept."""

    def succeed(self, outputs: Mapping[str, str], *, kept: bool) -> None:
        """Take the paths of the output artifacts; ``kept``: they were there already."""


class Hooks(Protocol):
    """What a caller of :meth:`Package.run` wants to know."""

    def task(self, name: str) -> AbstractContextManager[Task]:
        """Enclose one attempt to get a task's outputs, from the cache or by running it."""


class Package:
    """A compiled pipeline.

    Args:
        path: its IR YAML.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._component = components.load_component_from_file(str(path))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist; compile the pipeline first") from None
        self._spec = self._component.pipeline_spec
        self.name = str(self._spec.pipeline_info.name)

    @property
    def stages(self) -> int:
        """How many tasks the pipeline has; a loop over values that only a run knows counts once."""
        return _count(self._spec.root.dag, self._spec.components)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that the pipeline does not know, and the lack of those that it needs.

        Raises:
            UserError: naming them.
        """
        inputs = self._component.component_spec.inputs or {}
        if unknown := sorted(parameters.keys() - inputs.keys()):
            raise UserError(f"pipeline {self.name} has no parameter {', '.join(unknown)}; it has {', '.join(inputs)}")
        if missing := sorted(set(self._component.required_inputs) - parameters.keys()):
            raise UserError(f"pipeline {self.name} needs a value for {', '.join(missing)}")

    def run(
        self, parameters: Mapping[str, Any], hooks: Hooks, *, run_id: str, folder: Path, scratch: Path, log: Path
    ) -> None:
        """Run the pipeline in this process's thread, its tasks in processes.

        Args:
            parameters: by name.
            hooks: told of every task.
            run_id: what the pipeline job's name resolves to.
            folder: task outputs go to ``folder/artifacts/<stage>/<output>``, the cache to ``folder/.cache``.
            scratch: a temporary folder.
            log: where KFP's own words go.
        """
        arguments = {name: value for name, value in parameters.items() if value is not None}
        with _session, ExitStack() as stack:
            stack.enter_context(_quiet(log))
            stack.enter_context(_settings(folder / "artifacts", folder / ".cache", scratch / "workspace"))
            replace = functools.partial(_replaced, stack)
            replace(
                task_executor,
                "execute_single_task",
                functools.partial(_run_task, task_executor.execute_single_task, hooks),
            )
            replace(subprocess_task_handler, "SubprocessTaskHandler", _Handler)
            replace(graph_utils, "topological_sort_tasks", _order)
            # A stage that was stopped finds its own folder again: no time stamp in the path.
            replace(executor_input_utils, "get_local_pipeline_resource_name", lambda _name: run_id)
            root = functools.partial(_task_root, run_id, _folders(self._spec))
            replace(executor_input_utils, "construct_local_task_root", root)
            self._component(**arguments)


_current: ContextVar[_Attempt] = ContextVar("current")


class _Attempt:
    """A task as its handler sees it."""

    def __init__(self, name: str, task: Task) -> None:
        self.name, self.task, self.executed = name, task, False


class _Handler:
    """Takes the place of KFP's SubprocessTaskHandler."""

    def __init__(
        self,
        image: str,
        full_command: list[str],
        pipeline_root: str,
        runner: Any,
        env_vars: dict[str, str] | None = None,
    ) -> None:
        del image, pipeline_root, runner
        self._command, self._env = full_command, env_vars or {}

    def run(self) -> Any:
        """Run the task; return KFP's status."""
        attempt = _current.get()
        attempt.executed = True
        command = _prepare(attempt.name, self._command)
        _clear_partial(command)
        exit_status = attempt.task.execute(command, self._env)
        return status.Status.SUCCESS if exit_status == 0 else status.Status.FAILURE


def _run_task(original: Callable[..., Any], hooks: Hooks, *args: Any, **kwargs: Any) -> Any:
    """Wrap KFP's ``execute_single_task``, which looks into the cache, runs, and retries."""
    spec = kwargs["task_spec"]
    name = _stage_name(kwargs["task_name"], spec)
    with hooks.task(name) as task:
        attempt = _Attempt(name, task)
        token = _current.set(attempt)
        try:
            outputs, state = original(*args, **kwargs)
        finally:
            _current.reset(token)
        if state == status.Status.SUCCESS:
            artifacts = {name: value for name, value in outputs.items() if isinstance(value, dsl.Artifact)}
            for artifact in artifacts.values():
                _materialise(artifact)
            label = kwargs["components"][spec.component_ref.name].executor_label
            container = kwargs["executors"][label].WhichOneof("spec") == "container"
            paths = {name: str(artifact.path or artifact.uri) for name, artifact in artifacts.items()}
            task.succeed(paths, kept=container and not attempt.executed)
    return outputs, state


def _materialise(artifact: Any) -> None:
    """Give a metrics artifact its file: it lives in metadata, but the cache takes one without a file for lost."""
    if isinstance(artifact, dsl.Metrics | dsl.ClassificationMetrics | dsl.SlicedClassificationMetrics):
        path = Path(artifact.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _prepare(name: str, command: list[str]) -> list[str]:
    """Return the command as this machine runs it.

    KFP puts the interpreter's path for the text ``python3`` anywhere, also inside a path or a parameter. Here only the
    shell script is touched. Whole numbers inside lists and dictionaries are whole again, as they are on a cluster.
    """
    marker = next((i for i, part in enumerate(command) if '"$program_path/ephemeral_component.py"' in part), None)
    if marker is None:
        raise UserError(f"stage {name} needs its own container image and runs on a cluster only, not on this machine")
    python = shlex.quote(sys.executable)
    prepared = [part.replace("python3", python) if i <= marker else part for i, part in enumerate(command)]
    place = prepared.index("--executor_input") + 1
    prepared[place] = json.dumps(_whole_numbers(json.loads(prepared[place])))
    size = max(len(os.fsencode(part)) for part in prepared)
    if size >= ARGUMENT_BYTES:
        raise UserError(
            f"the parameters of stage {name} take {size} bytes and the system passes {ARGUMENT_BYTES - 1} at most; "
            "put long values into a file and pass its path"
        )
    return prepared


def _clear_partial(command: list[str]) -> None:
    """Remove what a killed attempt at the same task was still writing (see :func:`aerodet.files.atomic_path`)."""
    executor_input = json.loads(command[command.index("--executor_input") + 1])
    for leftover in Path(executor_input["outputs"]["outputFile"]).parent.glob(".*.partial"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _whole_numbers(executor_input: dict[str, Any]) -> dict[str, Any]:
    inputs = executor_input.get("inputs", {})
    for name, value in inputs.get("parameterValues", {}).items():
        if isinstance(value, dict | list):
            inputs["parameterValues"][name] = _whole(value)
    for entry in inputs.get("artifacts", {}).values():
        for artifact in entry["artifacts"]:
            artifact["metadata"] = _whole(artifact.get("metadata", {}))
    return executor_input


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _task_root(
    run_id: str, folders: Mapping[str, str], pipeline_root: str, pipeline_resource_name: str, task_resource_name: str
) -> str:
    loops = pipeline_resource_name.removeprefix(run_id).strip("/")  # inside a loop KFP adds the iteration
    return str(Path(pipeline_root) / loops / folders.get(task_resource_name, task_resource_name))


def _folders(spec: Any) -> dict[str, str]:
    """Return each task's name by its component's, where names are unique; KFP's folders are called by component."""
    dags = [spec.root.dag, *(part.dag for part in spec.components.values())]
    tasks = [(name, task) for dag in dags for name, task in dag.tasks.items()]
    names = {task.component_ref.name.removeprefix("comp-"): _stage_name(name, task) for name, task in tasks}
    return names if len(set(names.values())) == len(tasks) else {}


def _order(tasks: Mapping[str, Any]) -> list[str]:
    """Return tasks as KFP's stack, the last to run first: by depth, then as they were written.

    KFP's own order hangs on that of a protobuf map, which differs from process to process.
    """
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            above = (depth(other) for other in tasks[name].dependent_tasks if other in tasks)
            depths[name] = 1 + max(above, default=0)
        return depths[name]

    def written(name: str) -> tuple[str, int]:  # KFP calls the second task of a component train-2
        base, _, number = name.rpartition("-")
        return (base, int(number)) if number.isdigit() else (name, 1)

    return sorted(tasks, key=lambda name: (depth(name), written(name)), reverse=True)


def _stage_name(task_name: str, spec: Any) -> str:
    return re.sub(r"[^\w.-]+", "-", spec.task_info.name or task_name)


def _count(dag: Any, components_: Mapping[str, Any]) -> int:
    return sum(_turns(task) * _tasks(components_[task.component_ref.name], components_) for task in dag.tasks.values())


def _tasks(part: Any, components_: Mapping[str, Any]) -> int:
    return _count(part.dag, components_) if part.WhichOneof("implementation") == "dag" else 1


def _turns(task: Any) -> int:
    """Return how often a task runs, as far as the package says."""
    raw = task.parameter_iterator.items.raw
    return len(json.loads(raw)) if raw else 1


def _replaced(stack: ExitStack, module: Any, name: str, value: Any) -> None:
    stack.callback(setattr, module, name, getattr(module, name))
    setattr(module, name, value)


@contextmanager
def _settings(root: Path, cache_root: Path, workspace: Path) -> Iterator[None]:
    """Configure kfp.local, and leave its global state as it was found. KFP deletes the workspace after the run."""
    before = config.LocalExecutionConfig.instance
    workspace.mkdir(parents=True)
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        workspace_root=str(workspace),
        enable_caching=True,
        cache_root=str(cache_root),
    )
    try:
        yield
    finally:
        config.LocalExecutionConfig.instance = before
        cache.reset_local_cache_singleton()


@contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send KFP's prints and log lines to a file, and silence its warnings about what a cluster would have done."""
    printing, root = builtins.print, logging.getLogger()
    with log.open("a", encoding="utf-8", buffering=1) as stream, contextlib.redirect_stdout(stream):
        handler = logging.StreamHandler(stream)  # without one, logging would install its own on stderr
        root.addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"kfp\.")
                yield
        finally:
            root.removeHandler(handler)
            builtins.print = printing  # KFP's indentation outlives a parallel loop
