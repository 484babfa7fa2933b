"""``provenance.json``: an in-toto Statement v1 with a SLSA provenance v1 predicate, inside the artifact's own folder.

Sources: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance.

Build type ``urn:aerodet:stage:v1``
    One run of one aerodet stage. ``externalParameters`` is ``{"stage": <name>, "parameters": {...}}``: together with
    the resolved dependencies it says how to make the artifact again. ``internalParameters`` is ``{"hardware": {...}}``.
    ``resolvedDependencies`` holds the stage's inputs and, told apart by ``annotations.role``, the code and the image:

    ========== ==================================== ==============================================
    role       name                                 digest
    ========== ==================================== ==============================================
    ``input``  the stage's own name for the input   ``sha256``: :func:`aerodet.files.folder_digest`,
                                                    or the file's SHA-256
    ``code``   ``aerodet``                          ``gitCommit``, when known
    ``image``  ``image``                            ``sha256``, when the reference pins one
    ========== ==================================== ==============================================

    ``builder.version`` lists aerodet, Python and the libraries that shape results.

``subject`` holds the artifact first, with what the stage says of it (``kind``, ``metrics``...) as annotations, then its
files as ``<artifact>/<path>``, so that an engine which was copied to a device alone is still found.
"""

from __future__ import annotations

import json
import math
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aerodet.errors import DataError, UserError
from aerodet.files import PROVENANCE, digest_of, file_digest, file_digests, folder_digest, write_json
from aerodet.lineage.environment import CodeVersion, code_version, hardware, libraries

__all__ = ["BUILD_TYPE", "InputRef", "Provenance", "parse_provenance", "read_provenance", "verify", "write_provenance"]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:aerodet:stage:v1"
LIMIT = 16 << 20  # bytes of a statement; a longer one is not read
LISTED = 10_000  # files of an artifact; a folder with more goes by its own digest alone

_SECRET = re.compile(r"key|token|password|secret", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class InputRef:
    """One thing an artifact was made from.

    Attributes:
        digest: SHA-256 of its content, 64 hexadecimal digits.
        uri: where it was at the time.
    """

    digest: str
    uri: str = ""

    @classmethod
    def of(cls, path: Path) -> InputRef:
        """Refer to a file or an artifact folder; a folder's own provenance saves computing its digest again."""
        if not path.exists():
            raise UserError(f"{path} does not exist, so it cannot be recorded as an input")
        if path.is_file():
            return cls(file_digest(path), path.absolute().as_uri())
        try:
            digest = read_provenance(path).digest
        except DataError:
            digest = folder_digest(path)
        return cls(digest, path.absolute().as_uri())


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was made, from what, by which stage, with what, and when.

    Attributes:
        name: the artifact's name.
        digest: SHA-256 of the artifact's folder, as :func:`aerodet.files.folder_digest` gives it.
        stage: the stage that made it.
        parameters: the stage's parameters, JSON values.
        inputs: what it was made from, by the stage's names for its inputs.
        code: version of aerodet's code.
        started: when the stage began, UTC.
        finished: when it ended, UTC.
        image: container image it ran in, or None.
        invocation: id of this execution of the stage.
        builder: who ran it: ``urn:aerodet:builder:local`` or ``urn:aerodet:builder:kubernetes``.
        libraries: versions of Python and libraries.
        hardware: CPU, cores, memory, GPU.
        files: SHA-256 of each file of the artifact by its relative path; empty where the statement lists none.
        annotations: what the stage says of the artifact: ``kind``, ``schema``, ``metrics`` and more.
    """

    name: str
    digest: str
    stage: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, InputRef]
    code: CodeVersion
    started: datetime
    finished: datetime
    image: str | None = None
    invocation: str = ""
    builder: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str | int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int | None:
        """The stage's seed, when it has one."""
        return self.parameters.get("seed")

    @property
    def seconds(self) -> float:
        """Wall time of the stage."""
        return (self.finished - self.started).total_seconds()

    def statement(self) -> dict[str, Any]:
        """Return the in-toto statement, ready for JSON."""
        return {
            "_type": STATEMENT_TYPE,
            "subject": self._subjects(),
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"stage": self.stage, "parameters": dict(self.parameters)},
                    "internalParameters": {"hardware": dict(self.hardware)},
                    "resolvedDependencies": self._dependencies(),
                },
                "runDetails": {
                    "builder": {"id": self.builder, "version": {"aerodet": self.code.version, **self.libraries}},
                    "metadata": {
                        "invocationId": self.invocation,
                        "startedOn": _timestamp(self.started),
                        "finishedOn": _timestamp(self.finished),
                    },
                },
            },
        }

    @classmethod
    def from_statement(cls, statement: Mapping[str, Any]) -> Provenance:
        """Read an in-toto statement of our build type.

        Raises:
            KeyError, TypeError, ValueError: it is not one; :func:`read_provenance` makes a sentence of it.
        """
        _expect(statement["_type"], STATEMENT_TYPE)
        _expect(statement["predicateType"], PREDICATE_TYPE)
        subject, *files = statement["subject"]
        definition = statement["predicate"]["buildDefinition"]
        details = statement["predicate"]["runDetails"]
        _expect(definition["buildType"], BUILD_TYPE)
        external, versions = definition["externalParameters"], dict(details["builder"]["version"])
        by_role: dict[str, list[Mapping[str, Any]]] = {"input": [], "code": [], "image": []}
        for dependency in definition["resolvedDependencies"]:
            by_role[dependency["annotations"]["role"]].append(dependency)
        (code,), image = by_role["code"], by_role["image"]
        commit = code.get("digest", {}).get("gitCommit")
        return cls(
            name=str(subject["name"]),
            digest=_sha256(subject["digest"]["sha256"]),
            stage=str(external["stage"]),
            parameters=dict(external["parameters"]),
            inputs={d["name"]: InputRef(_sha256(d["digest"]["sha256"]), str(d["uri"])) for d in by_role["input"]},
            code=CodeVersion(str(versions.pop("aerodet")), commit, bool(code["annotations"]["dirty"])),
            started=_utc(datetime.fromisoformat(details["metadata"]["startedOn"])),
            finished=_utc(datetime.fromisoformat(details["metadata"]["finishedOn"])),
            image=str(image[0]["uri"]) if image else None,
            invocation=str(details["metadata"]["invocationId"]),
            builder=str(details["builder"]["id"]),
            libraries=versions,
            hardware=dict(definition["internalParameters"]["hardware"]),
            files=dict(_file(entry, str(subject["name"])) for entry in files),
            annotations=dict(subject.get("annotations", {})),
        )

    def _subjects(self) -> list[dict[str, Any]]:
        subject: dict[str, Any] = {"name": self.name, "digest": {"sha256": self.digest}}
        if self.annotations:
            subject["annotations"] = dict(self.annotations)
        files = ({"name": f"{self.name}/{p}", "digest": {"sha256": d}} for p, d in self.files.items())
        return [subject, *files]

    def _dependencies(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = [
            {"name": name, "uri": ref.uri, "digest": {"sha256": ref.digest}, "annotations": {"role": "input"}}
            for name, ref in sorted(self.inputs.items())
        ]
        code: dict[str, Any] = {"name": "aerodet", "uri": f"pkg:pypi/aerodet@{self.code.version}"}
        if self.code.commit:
            code["digest"] = {"gitCommit": self.code.commit}
        listed.append(code | {"annotations": {"role": "code", "dirty": self.code.dirty}})
        if self.image:
            image: dict[str, Any] = {"name": "image", "uri": self.image}
            pinned = re.search(r"@sha256:([0-9a-f]{64})$", self.image)
            if pinned:
                image["digest"] = {"sha256": pinned[1]}
            listed.append(image | {"annotations": {"role": "image"}})
        return listed


def write_provenance(
    folder: Path,
    *,
    name: str,
    inputs: Mapping[str, Path | InputRef],
    stage: str,
    parameters: Mapping[str, Any],
    started: datetime,
    finished: datetime,
    image: str | None = None,
    invocation: str | None = None,
    annotations: Mapping[str, Any] | None = None,
) -> Provenance:
    """Write ``provenance.json`` into an artifact folder, the last thing a stage does to it.

    Args:
        folder: the finished artifact.
        name: the artifact's name.
        inputs: what it was made from: files, artifact folders, or references with known digests.
        stage: the stage's name.
        parameters: the stage's parameters: JSON values and paths, at any depth.
        started: when the stage began, with a time zone.
        finished: when it ended, with a time zone.
        image: the container image, pinned by digest where possible.
        invocation: id of this execution, the same for all of its outputs; a new UUID by default.
        annotations: what the stage says of the artifact, JSON values.

    Returns:
        What was written; ``digest`` is the artifact's.

    Raises:
        UserError: a parameter looks like a secret, or an input or the folder is missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder, so no provenance can be written into it")
    _refuse_secrets(parameters)
    local = "KUBERNETES_SERVICE_HOST" not in os.environ
    files = file_digests(folder)
    provenance = Provenance(
        name=name,
        digest=digest_of(files),
        stage=stage,
        parameters=_json(parameters),
        inputs={key: value if isinstance(value, InputRef) else InputRef.of(value) for key, value in inputs.items()},
        code=code_version(),
        started=_utc(started),
        finished=_utc(finished),
        image=image,
        invocation=invocation or str(uuid.uuid4()),
        builder=f"urn:aerodet:builder:{'local' if local else 'kubernetes'}",
        libraries=libraries(),
        hardware=hardware(),
        files=files if len(files) <= LISTED else {},
        annotations=_json(annotations or {}),
    )
    write_json(folder / PROVENANCE, provenance.statement())
    return provenance


def read_provenance(folder: Path) -> Provenance:
    """Read and validate the ``provenance.json`` of an artifact folder.

    Raises:
        DataError: there is none, or it is not a statement of our build type.
    """
    path = folder / PROVENANCE
    try:
        with path.open("rb") as stream:
            content = stream.read(LIMIT + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataError(f"{folder} has no {PROVENANCE}; no aerodet stage made it, or it was copied in part") from error
    return parse_provenance(content, str(path))


def parse_provenance(content: bytes, where: str) -> Provenance:
    """Validate the bytes of a ``provenance.json``, which may come from anybody.

    Args:
        content: the file; more than :data:`LIMIT` bytes are refused.
        where: its path or address, for messages.

    Raises:
        DataError: it is not a statement of our build type.
    """
    if len(content) > LIMIT:
        raise DataError(f"{where} is not an aerodet provenance statement: it has more than {LIMIT >> 20} MiB")
    try:
        statement = json.loads(content.decode(), parse_constant=_no_constant, parse_float=_finite)
        if b"\\ud" in content.lower():  # half of a surrogate pair would break whoever prints it
            json.dumps(statement, ensure_ascii=False).encode()
        return Provenance.from_statement(statement)
    except KeyError as error:
        raise DataError(f"{where} is not an aerodet provenance statement: {error} is missing or unknown") from error
    except RecursionError as error:
        raise DataError(f"{where} is not an aerodet provenance statement: it is nested too deeply") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{where} is not an aerodet provenance statement: {error}") from error


def verify(folder: Path) -> Provenance:
    """Check that an artifact's content is what its provenance says.

    Returns:
        The provenance.

    Raises:
        DataError: there is no valid provenance, or the content differs from it; the files that differ are named.
    """
    provenance, files = read_provenance(folder), file_digests(folder)
    found = digest_of(files)
    if found != provenance.digest:
        changed = [p for p in sorted(files.keys() | provenance.files) if files.get(p) != provenance.files.get(p)]
        named = f" ({', '.join(changed[:5])}{'...' if changed[5:] else ''})" if provenance.files else ""
        raise DataError(
            f"the content of {folder} has changed since it was made{named}: its provenance records sha256 "
            f"{provenance.digest}, its files now have {found}; restore it or run the stage again"
        )
    return provenance


def _refuse_secrets(value: Any, where: str = "") -> None:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            path = f"{where}.{name}" if where else str(name)
            if _SECRET.search(str(name)):
                raise UserError(
                    f"parameter {path!r} looks like a secret, and provenance is published with the artifact; "
                    "pass it to the stage through its environment instead"
                )
            _refuse_secrets(inner, path)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_secrets(inner, f"{where}[{index}]")


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as it will be read back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values), default=_plain, allow_nan=False))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return value.tolist()
    raise TypeError(f"a parameter of type {type(value).__name__} cannot be recorded in {PROVENANCE}")


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("provenance needs times with a time zone: datetime.now(UTC)")
    return moment.astimezone(UTC)


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _file(subject: Mapping[str, Any], artifact: str) -> tuple[str, str]:
    """Return path and digest of a subject that is a file; the path may not leave the artifact."""
    name = str(subject["name"])
    path = name.removeprefix(f"{artifact}/")
    if path == name or path.startswith("/") or {"", ".", ".."} & set(path.split("/")):
        raise ValueError(f"{name!r} is not a file of {artifact!r}")
    return path, _sha256(subject["digest"]["sha256"])


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_constant(text)  # 1e999 is JSON, and read as infinity


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError(f"{text!r} is not a SHA-256 digest")
    return text


def _expect(found: Any, wanted: str) -> None:
    if found != wanted:
        raise ValueError(f"expected {wanted!r}, found {found!r}")
