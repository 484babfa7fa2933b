"""How a stage is called: artifacts in, artifacts out, with digests, provenance and one way to fail."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, NoReturn, ParamSpec, Protocol

from aerodet.errors import AerodetError, MachineError
from aerodet.files import atomic_path, file_digest, write_json
from aerodet.lineage import InputRef, write_provenance
from aerodet.progress import emit

__all__ = ["IMAGE_VARIABLE", "Artifact", "Outcome", "Stage", "execute", "run", "stage"]

IMAGE_VARIABLE = "AERODET_IMAGE"
P = ParamSpec("P")


class Artifact(Protocol):
    """What a stage needs of a KFP artifact; any object with these members will do."""

    path: str
    metadata: dict[str, Any]


@dataclass
class Outcome:
    """What a stage says of its outputs.

    Attributes:
        metadata: for each output by name, what goes into the artifact's metadata: ``kind`` and ``schema`` at least.
        metrics: scalars for the stage's Metrics artifact, if it has one.
    """

    metadata: Mapping[str, Mapping[str, Any]]
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage(Generic[P]):
    """A plain function that turns folders and parameters into folders; call it, or hand it to :func:`run`.

    Attributes:
        function: the function; paths it reads and writes are keyword arguments, so are its parameters.
        outputs: the names of the arguments that it writes.
    """

    function: Callable[P, Outcome]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.function.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Outcome:
        """Call the plain function: paths in, an :class:`Outcome` back, no artifacts and no provenance."""
        return self.function(*args, **kwargs)


def stage(*outputs: str) -> Callable[[Callable[P, Outcome]], Stage[P]]:
    """Mark a function as a stage that writes ``outputs``."""

    def mark(function: Callable[P, Outcome]) -> Stage[P]:
        return Stage(function, outputs)

    return mark


def run(target: Stage[Any], arguments: Mapping[str, Any]) -> None:
    """Run a stage on artifacts; a component's body is this one call.

    Outputs appear whole: each is written beside its place, gets its ``provenance.json``, and is renamed. Their metadata
    get the digest. An argument named ``metrics`` receives the scalars.

    Args:
        target: the stage.
        arguments: the component's ``locals()``: artifacts, absent optional artifacts (None), parameters, and the module
            that the component imported, which is left out.

    Raises:
        SystemExit: the stage failed for a reason that has a sentence; its status is the error's.
    """
    try:
        execute(target, arguments)
    except AerodetError as error:
        _fail(error)
    except MemoryError:
        _fail(MachineError("there is not enough memory; lower the batch size or the image size"))


def _fail(error: AerodetError) -> NoReturn:
    """Say it on stderr, tell the runner, and end with the error's status."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    try:
        emit("failed", message=str(error), exit=error.exit_code)
    except OSError:  # the disk is full: then stderr and the status have to do
        print("error: the failure could not be recorded", file=sys.stderr, flush=True)
    raise SystemExit(error.exit_code) from error


def execute(target: Stage[Any], arguments: Mapping[str, Any]) -> None:
    """Do what :func:`run` does, and let errors through.

    Raises:
        AerodetError: whatever the stage raises.
    """
    arguments = {k: v for k, v in arguments.items() if v is not None and not isinstance(v, ModuleType)}
    metrics = arguments.pop("metrics", None)
    artifacts = {k: v for k, v in arguments.items() if hasattr(v, "metadata")}
    collected = {k: v for k, v in arguments.items() if isinstance(v, list) and v and hasattr(v[0], "metadata")}
    outputs = {k: artifacts[k] for k in target.outputs}
    inputs = {k: v for k, v in artifacts.items() if k not in outputs}
    paths: dict[str, Any] = {k: Path(v.path) for k, v in inputs.items()}
    for name, members in collected.items():  # what a parallel loop made
        paths[name] = [Path(v.path) for v in members]
        inputs |= {f"{name}-{number:03d}": v for number, v in enumerate(members)}
    parameters = {k: v for k, v in arguments.items() if k not in artifacts and k not in collected}
    started, invocation = datetime.now(UTC), str(uuid.uuid4())
    with ExitStack() as stack:
        places = {k: stack.enter_context(atomic_path(Path(v.path))) for k, v in outputs.items()}
        outcome = target(**paths, **places, **parameters)
        for name, place in places.items():
            if place.is_dir():
                digest = write_provenance(
                    place,
                    name=name,
                    inputs={k: _reference(v) for k, v in inputs.items()},
                    stage=target.name,
                    parameters=parameters,
                    started=started,
                    finished=datetime.now(UTC),
                    image=os.environ.get(IMAGE_VARIABLE),
                    invocation=invocation,
                    annotations={**outcome.metadata.get(name, {}), "metrics": dict(outcome.metrics)},
                ).digest
            else:
                digest = file_digest(place)  # an HTML file has no room for provenance; nothing is made from it
            outputs[name].metadata.update({**outcome.metadata.get(name, {}), "digest": f"sha256:{digest}"})
    if metrics is not None:
        # KFP writes no file for Metrics, and a missing file defeats its cache: kfp.local would run the stage again.
        write_json(Path(metrics.path), dict(outcome.metrics))
        for name, value in outcome.metrics.items():
            metrics.metadata[name] = float(value)


def _reference(artifact: Artifact) -> InputRef | Path:
    """Return an input's digest as its producer gave it, else its path, to be digested."""
    digest = str(artifact.metadata.get("digest", ""))
    if digest.startswith("sha256:"):
        return InputRef(digest=digest.removeprefix("sha256:"), uri=str(getattr(artifact, "uri", artifact.path)))
    return Path(artifact.path)
