"""A Model Registry server of the tests: the paths, models and rules of the real one, in memory, with faults to order.

It reads and writes the resources by the models of the ``model-registry`` client. Names are unique, a second one is
answered with 409; PATCH replaces the custom properties as a whole; nothing can be deleted.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from mr_openapi import models

_KINDS = {
    "registered_model": (models.RegisteredModel, models.RegisteredModelCreate, models.RegisteredModelUpdate),
    "model_version": (models.ModelVersion, models.ModelVersionCreate, models.ModelVersionUpdate),
}


class FakeRegistry:
    """The server's content and its manners.

    Attributes:
        api: ``v1`` or ``v1alpha3``.
        fault: called with the number of a request; ``before`` and ``after`` answer 500 without or after doing it,
            ``hang`` does it and never answers.
        token: what the Authorization header must be, when it is set.
        page: HTML to answer everything with, as a proxy does that wants a login.
    """

    def __init__(self, api="v1"):
        self.api, self.token, self.page = api, None, None
        self.fault: Callable[[int], str | None] = lambda number: None
        self.tables = {"registered_model": [], "model_version": [], "artifact": []}
        self.requests = []
        self.guard = threading.Lock()

    def versions(self, name):
        """Return the versions of a model as the server keeps them."""
        ids = [m["id"] for m in self.tables["registered_model"] if m["name"] == name]
        return [v for v in self.tables["model_version"] if v["registeredModelId"] in ids]

    def artifacts(self, version):
        return [a for a in self.tables["artifact"] if a["_of"] == version["id"]]

    def answer(self, method, path, query, body):
        """Return status and content for a request."""
        base = f"/api/model_registry/{self.api}/"
        if not path.startswith(base):
            return 404, {"code": "404", "message": "no such path"}
        parts = path.removeprefix(base).split("/")
        singular = parts[0].removesuffix("s")
        if method == "GET" and parts in (["registered_model"], ["model_version"]):
            return self._find(parts[0], query)
        if method == "GET" and len(parts) == 1:
            return self._page(self.tables[singular], query)
        if method == "GET" and parts[0] == "registered_models" and parts[2:] == ["versions"]:
            return self._page([v for v in self.tables["model_version"] if v["registeredModelId"] == parts[1]], query)
        if parts[0] == "model_versions" and parts[2:] == ["artifacts"]:
            mine = [a for a in self.tables["artifact"] if a["_of"] == parts[1]]
            return self._page(mine, query) if method == "GET" else self._add_artifact(parts[1], mine, body)
        if method == "POST" and len(parts) == 1:
            return self._create(singular, body)
        if method == "PATCH" and len(parts) == 2:
            return self._update(singular, parts[1], body)
        return 404, {"code": "404", "message": f"no {method} {path}"}

    def _find(self, kind, query):
        wanted = {"name": query["name"], "registeredModelId": query.get("parentResourceId")}
        for entry in self.tables[kind]:
            if all(value is None or entry.get(key) == value for key, value in wanted.items()):
                return 200, entry
        return 404, {"code": "404", "message": f"no {kind} found"}

    def _page(self, entries, query):
        start, size = int(query.get("nextPageToken") or 0), 2  # small, so that every list takes several
        items = [
            {key: value for key, value in entry.items() if key != "_of"} for entry in entries[start : start + size]
        ]
        token = str(start + size) if start + size < len(entries) else ""
        return 200, {"items": items, "nextPageToken": token, "pageSize": size, "size": len(items)}

    def _create(self, kind, body):
        made, create, _ = _KINDS[kind]
        fields = create.from_dict(body).to_dict()
        same = [e for e in self.tables[kind] if e["name"] == fields["name"]]
        if any(e.get("registeredModelId") == fields.get("registeredModelId") for e in same):
            return 409, {"code": "409", "message": f"{kind} {fields['name']} already exists"}
        return 201, self._store(kind, made, fields)

    def _store(self, kind, made, fields):
        now = str(int(time.time() * 1000))
        number = 1 + sum(map(len, self.tables.values()))
        stamps = {"id": str(number), "createTimeSinceEpoch": now, "lastUpdateTimeSinceEpoch": now}
        entry = made.from_dict(fields).to_dict() | stamps  # the client's models write none of the server's fields
        self.tables[kind].append(entry)
        return entry

    def _add_artifact(self, version, mine, body):
        fields = models.ModelArtifact.from_dict(body).to_dict()
        if any(artifact["name"] == fields["name"] for artifact in mine):
            return 409, {"code": "409", "message": f"artifact {fields['name']} already exists"}
        entry = self._store("artifact", models.ModelArtifact, fields)
        answer = dict(entry)
        entry["_of"] = version
        return 201, answer

    def _update(self, kind, key, body):
        made, _, update = _KINDS[kind]
        entry = next((e for e in self.tables[kind] if e["id"] == key), None)
        if entry is None:
            return 404, {"code": "404", "message": f"no {kind} {key}"}
        entry |= made.from_dict({**entry, **update.from_dict(body).to_dict()}).to_dict()
        return 200, entry


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self):
        registry = self.server.registry
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with registry.guard:
            fault = registry.fault(len(registry.requests))
            registry.requests.append((self.command, re.sub(r"\d+", "N", parts.path), self.headers.get("Authorization")))
            if registry.token and self.headers.get("Authorization") != f"Bearer {registry.token}":
                status, content = 401, {"code": "401", "message": "who are you?"}
            elif fault == "before":
                status, content = 500, {"code": "500", "message": "the database is away"}
            else:
                status, content = registry.answer(self.command, parts.path, query, body)
                if fault == "after":
                    status, content = 500, {"code": "500", "message": "the answer got lost"}
            text = registry.page or json.dumps(content).encode()
        if fault == "hang":
            self.server.over.wait(20)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if registry.page else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _handle

    def log_message(self, *arguments):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments):
        pass  # a publisher that was killed leaves a broken connection


@contextmanager
def serving(registry, certificate=None):
    """Serve a registry on the loopback interface; yields host and port.

    Args:
        registry: what to serve.
        certificate: file with certificate and key, for HTTPS.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.registry, server.over = registry, threading.Event()
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
