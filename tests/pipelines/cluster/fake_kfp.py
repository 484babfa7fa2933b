"""A pipeline API over HTTP on loopback: the v2beta1 endpoints that aerodet uses, by ``kfp_server_api``'s own models.

A request with a field that the model does not have, or with a value of another type, is answered 400 and noted in
``wrong``; every answer is made of a model. Faults are put in beforehand, each for a number of requests.
"""

from __future__ import annotations

import base64
import email
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as api
import yaml


@dataclass
class Fault:
    """What goes wrong with the requests whose ``METHOD /path`` matches.

    Attributes:
        match: regular expression.
        kind: a status, or ``drop``: the connection closes without an answer; ``slow``: the answer takes a second.
        times: for how many requests.
        done: the request is carried out all the same, before.
        late: it is carried out, but only seconds after the client has given up.
        headers: of the answer.
    """

    match: str
    kind: int | str
    times: int = 1
    done: bool = False
    late: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class FakeKfp:
    """The server's state, and its faults."""

    def __init__(self) -> None:
        self.experiments: dict[str, Any] = {}
        self.pipelines: dict[str, Any] = {}
        self.versions: dict[str, Any] = {}
        self.runs: dict[str, Any] = {}
        self.recurring: dict[str, Any] = {}
        self.artifacts: dict[tuple[str, str, str], bytes] = {}
        self.multi_user = False
        self.tag_name: str | None = "2.17.0"
        self.token: str | None = None
        self.cookie: str | None = None
        self.faults: list[Fault] = []
        self.wrong: list[str] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.metadata: Callable[[str, bytes], tuple[int, dict[str, str], bytes]] | None = None
        self.on_get_run: Callable[[Any], None] = lambda _run: None
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self._began = datetime(2026, 11, 1, tzinfo=UTC)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, match: str, kind: int | str, times: int = 1, **options: Any) -> None:
        self.faults.append(Fault(match, kind, times, **options))

    def count(self, match: str) -> int:
        return sum(re.search(match, request) is not None for request in self.requests)

    def identity(self, kind: str) -> tuple[str, datetime]:
        number = next(self._ids)
        return f"{kind}-{number}", self._began + timedelta(seconds=number)

    # What the endpoints do.

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, content_type: str) -> Any:
        with self._lock:
            for pattern, action in self._routes:
                match = re.fullmatch(pattern, f"{method} {path}")
                if match:
                    return action(self, *match.groups(), query=query, body=body, content_type=content_type)
        raise Refused(404, f"no such endpoint: {method} {path}")

    def healthz(self, **_: Any) -> Any:
        return api.V2beta1GetHealthzResponse(multi_user=self.multi_user, pipeline_store="database")

    def old_healthz(self, **_: Any) -> Any:
        if self.tag_name is None:
            raise Refused(404, "Not Found")
        return {"tag_name": self.tag_name}

    def list_experiments(self, *, query: dict[str, str], **_: Any) -> Any:
        self._check_namespace(query.get("namespace"))
        found, token = self._page(self.experiments, query)
        return api.V2beta1ListExperimentsResponse(experiments=found, next_page_token=token)

    def create_experiment(self, *, body: bytes, **_: Any) -> Any:
        experiment = self._parse(body, "V2beta1Experiment")
        self._check_namespace(experiment.namespace)
        if any(e.display_name == experiment.display_name for e in self.experiments.values()):
            raise Refused(409, f"Experiment {experiment.display_name} already exists")
        experiment.experiment_id, experiment.created_at = self.identity("experiment")
        self.experiments[experiment.experiment_id] = experiment
        return experiment

    def pipeline_by_name(self, name: str, **_: Any) -> Any:
        for pipeline in self.pipelines.values():
            if pipeline.name == name:
                return pipeline
        raise Refused(404, f"Pipeline {name} not found")

    def create_pipeline(self, *, body: bytes, **_: Any) -> Any:
        pipeline = self._parse(body, "V2beta1Pipeline")
        if any(p.name == pipeline.name for p in self.pipelines.values()):
            raise Refused(409, f"Pipeline {pipeline.name} already exists")
        pipeline.pipeline_id, pipeline.created_at = self.identity("pipeline")
        self.pipelines[pipeline.pipeline_id] = pipeline
        return pipeline

    def list_versions(self, pipeline: str, *, query: dict[str, str], **_: Any) -> Any:
        self._known(self.pipelines, pipeline)
        own = {key: version for key, version in self.versions.items() if version.pipeline_id == pipeline}
        found, token = self._page(own, query)
        return api.V2beta1ListPipelineVersionsResponse(pipeline_versions=found, next_page_token=token)

    def get_version(self, pipeline: str, version: str, **_: Any) -> Any:
        self._known(self.pipelines, pipeline)
        return self._known(self.versions, version)

    def upload_version(self, *, query: dict[str, str], body: bytes, content_type: str, **_: Any) -> Any:
        self._known(self.pipelines, query["pipelineid"])
        message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        (part,) = message.get_payload()
        documents = list(yaml.load_all(part.get_payload(decode=True), Loader=yaml.CSafeLoader))
        own = [v for v in self.versions.values() if v.pipeline_id == query["pipelineid"]]
        if any(version.name == query["name"] for version in own):
            raise Refused(409, f"Version {query['name']} already exists")
        identity, created = self.identity("version")
        version = api.V2beta1PipelineVersion(
            pipeline_id=query["pipelineid"],
            pipeline_version_id=identity,
            name=query["name"],
            display_name=query.get("display_name", query["name"]),
            created_at=created,
            pipeline_spec=dict(zip(("pipeline_spec", "platform_spec"), documents, strict=False)),
        )
        self.versions[identity] = version
        return version

    def create_run(self, *, body: bytes, **_: Any) -> Any:
        run = self._parse(body, "V2beta1Run")
        self._known(self.experiments, run.experiment_id)
        reference = run.pipeline_version_reference
        self._known(self.versions, reference.pipeline_version_id)
        run.run_id, run.created_at = self.identity("run")
        run.state = "PENDING"
        self.runs[run.run_id] = run
        return run

    def get_run(self, identity: str, **_: Any) -> Any:
        run = self._known(self.runs, identity)
        self.on_get_run(run)
        return run

    def list_runs(self, *, query: dict[str, str], **_: Any) -> Any:
        own = {key: run for key, run in self.runs.items() if run.experiment_id == query.get("experiment_id")}
        found, token = self._page(own, query)
        return api.V2beta1ListRunsResponse(runs=found, next_page_token=token)

    def terminate(self, identity: str, **_: Any) -> Any:
        self._known(self.runs, identity).state = "CANCELED"
        return {}

    def read_artifact(self, run: str, node: str, name: str, **_: Any) -> Any:
        if (run, node, name) not in self.artifacts:
            raise Refused(404, "artifact not found")
        return {"data": base64.b64encode(self.artifacts[run, node, name]).decode()}

    def create_recurring(self, *, body: bytes, **_: Any) -> Any:
        recurring = self._parse(body, "V2beta1RecurringRun")
        self._known(self.experiments, recurring.experiment_id)
        cron = recurring.trigger.cron_schedule
        if cron and len(cron.cron.split()) not in (5, 6):
            raise Refused(400, f"Schedule cron is not supported: expected 5 to 6 fields: {cron.cron}")
        recurring.recurring_run_id, recurring.created_at = self.identity("recurring")
        recurring.status = "ENABLED" if recurring.mode == "ENABLE" else "DISABLED"
        self.recurring[recurring.recurring_run_id] = recurring
        return recurring

    def list_recurring(self, *, query: dict[str, str], **_: Any) -> Any:
        if "experiment_id" not in query:
            self._check_namespace(query.get("namespace"))
        own = {
            key: value
            for key, value in self.recurring.items()
            if query.get("experiment_id") in (None, value.experiment_id)
        }
        found, token = self._page(own, query)
        return api.V2beta1ListRecurringRunsResponse(recurring_runs=found, next_page_token=token)

    def get_recurring(self, identity: str, **_: Any) -> Any:
        return self._known(self.recurring, identity)

    def switch_recurring(self, identity: str, how: str, **_: Any) -> Any:
        self._known(self.recurring, identity).status = "ENABLED" if how == "enable" else "DISABLED"
        return {}

    def delete_recurring(self, identity: str, **_: Any) -> Any:
        self._known(self.recurring, identity)
        del self.recurring[identity]
        return {}

    _routes = (
        (r"GET /apis/v2beta1/healthz", healthz),
        (r"GET /apis/v1beta1/healthz", old_healthz),
        (r"GET /apis/v2beta1/experiments", list_experiments),
        (r"POST /apis/v2beta1/experiments", create_experiment),
        (r"GET /apis/v2beta1/pipelines/names/([^/]+)", pipeline_by_name),
        (r"POST /apis/v2beta1/pipelines", create_pipeline),
        (r"POST /apis/v2beta1/pipelines/upload_version", upload_version),
        (r"GET /apis/v2beta1/pipelines/([^/]+)/versions", list_versions),
        (r"GET /apis/v2beta1/pipelines/([^/]+)/versions/([^/]+)", get_version),
        (r"POST /apis/v2beta1/runs", create_run),
        (r"GET /apis/v2beta1/runs", list_runs),
        (r"GET /apis/v2beta1/runs/([^/:]+)", get_run),
        (r"POST /apis/v2beta1/runs/([^/:]+):terminate", terminate),
        (r"GET /apis/v2beta1/runs/([^/]+)/nodes/([^/]+)/artifacts/([^/:]+):read", read_artifact),
        (r"POST /apis/v2beta1/recurringruns", create_recurring),
        (r"GET /apis/v2beta1/recurringruns", list_recurring),
        (r"GET /apis/v2beta1/recurringruns/([^/:]+)", get_recurring),
        (r"POST /apis/v2beta1/recurringruns/([^/:]+):(enable|disable)", switch_recurring),
        (r"DELETE /apis/v2beta1/recurringruns/([^/:]+)", delete_recurring),
    )

    def _known(self, objects: dict[str, Any], identity: str) -> Any:
        if identity not in objects:
            raise Refused(404, f"{identity} not found")
        return objects[identity]

    def _check_namespace(self, namespace: str | None) -> None:
        if self.multi_user and not namespace:
            raise Refused(400, "Invalid input error: namespace is empty in multi-user mode")
        if not self.multi_user and namespace:
            raise Refused(400, "Invalid input error: namespace should not be specified in single-user mode")

    def _page(self, objects: dict[str, Any], query: dict[str, str]) -> tuple[list[Any], str | None]:
        """Filter, sort and cut a list as the server does; pages hold three, however many were asked for."""
        found = list(objects.values())
        if "filter" in query:
            given = self._parse(query["filter"].encode(), "V2beta1Filter")
            for predicate in given.predicates:
                assert (predicate.operation, predicate.key) == ("EQUALS", "display_name")
                found = [o for o in found if o.display_name == predicate.string_value]
        if query.get("sort_by") == "created_at desc":
            found.sort(key=lambda o: o.created_at, reverse=True)
        start, size = int(query.get("page_token") or 0), min(3, int(query.get("page_size", 3)))
        rest = start + size < len(found)
        return found[start : start + size], str(start + size) if rest else None

    def _parse(self, body: bytes, model: str) -> Any:
        """Read a model strictly: unknown fields and values that the model refuses are noted and answered 400."""
        content = json.loads(body)
        faults = list(_unknown_fields(content, model))
        if not faults:
            try:
                return api.ApiClient().deserialize(_Answer(json.dumps(content)), model)
            except (ValueError, TypeError) as error:
                faults = [str(error)]
        self.wrong += faults
        raise Refused(400, "; ".join(faults))

    # HTTP.

    def _handler(fake) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = f"{self.command} {parts.path}"
                fake.requests.append(request)
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                if fake.metadata is not None and parts.path.startswith("/ml_metadata.MetadataStoreService/"):
                    self.send_bytes(*fake.metadata(parts.path.rpartition("/")[2], body))
                    return
                query = {key: values[0] for key, values in parse_qs(parts.query).items()}
                fault = next((f for f in fake.faults if f.times > 0 and re.search(f.match, request)), None)
                if fault:
                    fault.times -= 1

                def carry_out() -> tuple[int, Any]:
                    return self.carry_out(parts.path, query, body)

                if fault is None:
                    self.send(*carry_out())
                    return
                if fault.late:
                    threading.Timer(fault.late, carry_out).start()
                answer = carry_out() if fault.done or (fault.kind == "slow" and not fault.late) else (200, {})
                if fault.kind == "slow":
                    time.sleep(1)
                    self.close_connection = True
                elif fault.kind == "drop":
                    self.close_connection = True
                else:
                    message = {"error": f"fault {fault.kind}", "message": f"fault {fault.kind}", "code": 13}
                    self.send(int(fault.kind), message, fault.headers)
                del answer

            def carry_out(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
                try:
                    self.check_credentials()
                    content_type = self.headers.get("Content-Type", "")
                    return 200, fake.answer(self.command, path, query, body, content_type)
                except Refused as refusal:
                    return refusal.status, {"error": str(refusal), "message": str(refusal), "code": 5}

            def check_credentials(self) -> None:
                if fake.token and self.headers.get("Authorization") != f"Bearer {fake.token}":
                    raise Refused(401, "Request header error: there is no valid token")
                if fake.cookie and fake.cookie not in self.headers.get("Cookie", ""):
                    raise Refused(401, "there is no session")

            def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
                text = json.dumps(api.ApiClient().sanitize_for_serialization(content)).encode()
                self.send_bytes(status, (headers or {}) | {"Content-Type": "application/json"}, text)

            def send_bytes(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = handle_any

            def log_message(self, *_: Any) -> None:
                return

        return Handler


@dataclass
class _Answer:
    """What ``ApiClient.deserialize`` reads from."""

    data: str


def _unknown_fields(content: Any, model: str, where: str = "") -> Iterator[str]:
    """Yield the fields of a JSON value that a model does not have, at every depth."""
    if match := re.fullmatch(r"list\[(.+)\]", model):
        for number, item in enumerate(content):
            yield from _unknown_fields(item, match[1], f"{where}[{number}]")
        return
    kind = getattr(api, model, None)
    if kind is None or not getattr(kind, "attribute_map", None) or not isinstance(content, dict):
        return
    names = {wire: name for name, wire in kind.attribute_map.items()}
    for key, value in content.items():
        if key not in names:
            yield f"{model}{where} has no field {key}"
        elif value is not None:
            yield from _unknown_fields(value, kind.openapi_types[names[key]], f"{where}.{key}")
