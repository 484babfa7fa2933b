"""Executions of a run as ML Metadata (MLMD) has them, on servers that still keep it: Kubeflow Pipelines up to 2.18.

MLMD tells what the pipeline API does not: which stages were answered from the cache and by which earlier execution, in
which pod each ran, and the addresses of what it took and made. It is asked by gRPC-web through Kubeflow's own page,
``<host>/ml_metadata.MetadataStoreService/<method>``, with the credentials of the pipeline API. The package ml-metadata
wants an older protobuf than kfp does, so the few fields that are read are declared here.

Sources: https://github.com/google/ml-metadata/tree/master/ml_metadata/proto (metadata_store.proto and
metadata_store_service.proto), https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from aerodet.errors import MachineError
from aerodet.pipelines.cluster._calls import TIMEOUT
from aerodet.pipelines.cluster.api import Api

__all__ = ["Execution", "executions"]

_SERVICE = "ml_metadata.MetadataStoreService"
_RUN = "system.PipelineRun"  # type of the context that holds a run's executions; its name is the run's id
_STATES = ("UNKNOWN", "NEW", "RUNNING", "COMPLETE", "FAILED", "CACHED", "CANCELED")
_INPUT, _OUTPUT = 3, 4  # types of events
_ABSENT = frozenset({404, 405, 501})
_NOT_FOUND, _UNIMPLEMENTED = 5, 12  # statuses of gRPC
_PAGE, _MOST = 100, 10_000  # executions in one answer, and of one run
_LIMIT = 64 << 20  # bytes of an answer

# Message: field: number and type. A map is a repeated entry with key and value, an enum is an int32: the bytes are the
# same. What is not named here is skipped when it is read.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Value": {"int_value": (1, "int64"), "string_value": (3, "string")},
    "Property": {"key": (1, "string"), "value": (2, "Value")},
    "Step": {"key": (2, "string")},
    "Path": {"steps": (1, "Step*")},
    "Context": {"id": (1, "int64")},
    "Execution": {"id": (1, "int64"), "last_known_state": (3, "int32"), "custom_properties": (5, "Property*")},
    "Event": {"artifact_id": (1, "int64"), "execution_id": (2, "int64"), "path": (3, "Path"), "type": (4, "int32")},
    "Artifact": {"id": (1, "int64"), "uri": (3, "string")},
    "Options": {"max_result_size": (1, "int32"), "next_page_token": (3, "string")},
    "GetContextByTypeAndNameRequest": {"type_name": (1, "string"), "context_name": (2, "string")},
    "GetContextByTypeAndNameResponse": {"context": (1, "Context")},
    "GetExecutionsByContextRequest": {"context_id": (1, "int64"), "options": (2, "Options")},
    "GetExecutionsByContextResponse": {"executions": (1, "Execution*"), "next_page_token": (2, "string")},
    "GetEventsByExecutionIDsRequest": {"execution_ids": (1, "int64*")},
    "GetEventsByExecutionIDsResponse": {"events": (1, "Event*")},
    "GetArtifactsByIDRequest": {"artifact_ids": (1, "int64*")},
    "GetArtifactsByIDResponse": {"artifacts": (1, "Artifact*")},
}


@dataclass(frozen=True, slots=True)
class Execution:
    """One task of a run as MLMD has it.

    Attributes:
        identity: MLMD's number of it.
        task: the task's name in the pipeline.
        state: ``NEW``, ``RUNNING``, ``COMPLETE``, ``FAILED``, ``CACHED``, ``CANCELED`` (not triggered) or ``UNKNOWN``.
        pod: name of the pod that it ran in.
        cached_from: the execution whose outputs were taken instead, where the cache had them.
        inputs: addresses of what it took, with the names that it gives them.
        outputs: addresses of what it made.
    """

    identity: int
    task: str
    state: str
    pod: str = ""
    cached_from: int | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()


def executions(api: Api, run_id: str) -> list[Execution] | None:
    """Return the executions of a run, oldest first; None where the server keeps no MLMD, or none of this run.

    Args:
        api: the pipeline API; MLMD is asked at the same host.
        run_id: the run.

    Raises:
        MachineError: MLMD is there and fails, or its answer is none.
    """
    asked = _call(api, "GetContextByTypeAndName", type_name=_RUN, context_name=run_id)
    if asked is None or not asked.HasField("context"):
        return None
    stored = list(_executions(api, asked.context.id))
    events = _list(api, "GetEventsByExecutionIDs", "execution_ids", [entry.id for entry in stored], "events")
    wanted = sorted({event.artifact_id for event in events})
    uris = {a.id: a.uri for a in _list(api, "GetArtifactsByID", "artifact_ids", wanted, "artifacts")}
    taken: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for event in events:
        name = event.path.steps[0].key if event.path.steps else ""
        taken.setdefault((event.execution_id, event.type), []).append((name, uris.get(event.artifact_id, "")))
    return [_execution(entry, taken) for entry in sorted(stored, key=lambda entry: entry.id)]


def _executions(api: Api, context: int) -> Iterator[Any]:
    token, count = "", 0
    while count < _MOST:
        options = _message("Options", max_result_size=_PAGE, **({"next_page_token": token} if token else {}))
        page = _call(api, "GetExecutionsByContext", context_id=context, options=options)
        if page is None:
            return
        yield from page.executions
        token, count = page.next_page_token, count + len(page.executions)
        if not token:
            return


def _list(api: Api, method: str, key: str, identities: list[int], field: str) -> list[Any]:
    found: list[Any] = []
    for first in range(0, len(identities), _PAGE):
        answer = _call(api, method, **{key: identities[first : first + _PAGE]})
        found += getattr(answer, field) if answer is not None else ()
    return found


def _execution(entry: Any, taken: dict[tuple[int, int], list[tuple[str, str]]]) -> Execution:
    said = {item.key: item.value for item in entry.custom_properties}

    def text(key: str) -> str:
        return str(said[key].string_value) if key in said else ""

    state, cached = entry.last_known_state, text("cached_execution_id")
    return Execution(
        identity=entry.id,
        task=text("task_name"),
        state=_STATES[state] if 0 <= state < len(_STATES) else _STATES[0],
        pod=text("pod_name"),
        cached_from=int(cached) if cached.isdecimal() else None,
        inputs=tuple(sorted(taken.get((entry.id, _INPUT), ()))),
        outputs=tuple(sorted(taken.get((entry.id, _OUTPUT), ()))),
    )


def _call(api: Api, method: str, **fields: Any) -> Any:
    """Ask MLMD; None where it is not there, or knows no such thing."""
    client = api.client._run_api.api_client
    parts = urlsplit(client.configuration.host)
    url = f"{parts.scheme}://{parts.netloc}/{_SERVICE}/{method}"
    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1", **client.default_headers}
    if client.cookie:
        headers["Cookie"] = client.cookie
    client.update_params_for_auth(headers, [], ["Bearer"])
    content = _message(f"{method}Request", **fields).SerializeToString()
    try:
        answer = client.rest_client.pool_manager.request(
            "POST",
            url,
            body=struct.pack(">BI", 0, len(content)) + content,
            headers=headers,
            timeout=urllib3.Timeout(*TIMEOUT),
            retries=False,
            redirect=False,
        )
    except urllib3.exceptions.HTTPError as error:
        raise MachineError(f"MLMD at {url} does not answer ({type(error).__name__})") from error
    kind = answer.headers.get("Content-Type", "")
    if answer.status in _ABSENT or (answer.status == 200 and not kind.startswith("application/grpc-web")):
        return None  # the page itself answers, with its own HTML
    if answer.status != 200 or len(answer.data) > _LIMIT:
        raise MachineError(f"MLMD at {url} gives no answer ({answer.status}, {len(answer.data)} bytes)")
    return _read(answer, f"{method}Response", url)


def _read(answer: Any, kind: str, url: str) -> Any:
    """Take the frames of a gRPC-web answer apart: the message, and the status that comes last or in the headers."""
    data, at, content = answer.data, 0, b""
    said = {name.lower(): value for name, value in answer.headers.items()}
    while at + 5 <= len(data):
        flag, size = struct.unpack_from(">BI", data, at)
        frame, at = data[at + 5 : at + 5 + size], at + 5 + size
        if flag & 0x80:
            lines = (line.partition(":") for line in frame.decode("latin-1").splitlines())
            said |= {name.strip().lower(): value.strip() for name, _, value in lines}
        else:
            content += frame
    status = said.get("grpc-status", "")
    if status in (str(_NOT_FOUND), str(_UNIMPLEMENTED)):
        return None
    if at != len(data) or status != "0":
        words = " ".join(unquote(said.get("grpc-message", "")).split())[:300]
        raise MachineError(f"MLMD at {url} failed (status {status or 'missing'}{words and ': ' + words})")
    message = _class(kind)()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise MachineError(f"MLMD at {url} answers with bytes that are no {kind}") from error
    return message


def _message(name: str, **fields: Any) -> Any:
    return _class(name)(**fields)


@cache
def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"aerodet.mlmd.{name}"))


@cache
def _pool() -> Any:
    """Return the declarations as protobuf wants them."""
    file = descriptor_pb2.FileDescriptorProto(name="aerodet/mlmd.proto", package="aerodet.mlmd")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, members in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in members.items():
            plain = re.sub(r"\*$", "", kind)
            label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if plain in _MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".aerodet.mlmd.{plain}"
            else:
                added.type = kinds.Type.Value(f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
