"""A Kubernetes API over HTTP on loopback, for reading: objects are models of the Kubernetes client."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kubernetes import client as k


class FakeKubernetes:
    """The server: ``objects`` by path; lists are lists."""

    def __init__(self, folder: Path) -> None:
        self.objects: dict[str, Any] = {}
        self.faults: list[list[Any]] = []
        self.requests: list[str] = []
        self.token = "of-the-kubeconfig"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.kubeconfig = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": self.token}}],
        }
        self.kubeconfig.write_text(json.dumps(config))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, match: str, kind: int | str, times: int = 1) -> None:
        self.faults.append([match, kind, times])

    def put(self, path: str, model: Any) -> None:
        self.objects[path] = model

    def answer(self, path: str) -> tuple[int, Any]:
        if path not in self.objects:
            return 404, k.V1Status(status="Failure", code=404, message=f"{path.rsplit('/', 1)[-1]!r} not found")
        return 200, self.objects[path]

    def _handler(fake) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                fake.requests.append(path)
                fault = next((f for f in fake.faults if f[2] > 0 and re.search(f[0], path)), None)
                if fault:
                    fault[2] -= 1
                if fault and fault[1] == "drop":
                    self.close_connection = True
                    return
                status, content = (
                    (fault[1], k.V1Status(status="Failure", code=fault[1], message=f"fault {fault[1]}"))
                    if fault
                    else fake.answer(path)
                )
                if self.headers.get("authorization") != f"Bearer {fake.token}":
                    status, content = 401, k.V1Status(status="Failure", code=401, message="Unauthorized")
                text = json.dumps(k.ApiClient().sanitize_for_serialization(content)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                return

        return Handler


def meta(name: str, **more: Any) -> k.V1ObjectMeta:
    return k.V1ObjectMeta(name=name, **more)


def node(name: str, gpus: int | None = None, *, resource: str = "nvidia.com/gpu", **labels: str) -> k.V1Node:
    allocatable = {"cpu": "8"} | ({resource: str(gpus)} if gpus is not None else {})
    return k.V1Node(
        metadata=meta(name, labels=labels), spec=k.V1NodeSpec(), status=k.V1NodeStatus(allocatable=allocatable)
    )


def claim(name: str, phase: str, storage_class: str | None = None) -> k.V1PersistentVolumeClaim:
    return k.V1PersistentVolumeClaim(
        metadata=meta(name),
        spec=k.V1PersistentVolumeClaimSpec(storage_class_name=storage_class),
        status=k.V1PersistentVolumeClaimStatus(phase=phase),
    )


def storage_class(name: str, *, default: bool = False) -> k.V1StorageClass:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else None
    return k.V1StorageClass(metadata=meta(name, annotations=annotations), provisioner="example/disk")


def quota(name: str, hard: dict[str, str], used: dict[str, str]) -> k.V1ResourceQuota:
    return k.V1ResourceQuota(metadata=meta(name), status=k.V1ResourceQuotaStatus(hard=hard, used=used))
